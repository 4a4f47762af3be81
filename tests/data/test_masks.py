"""Masks beside pictures, and pointers in place of them: what is left out, what stays."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFilter

from bench import data
from bench.cli.data import print_inventory
from bench.config import RunConfig
from bench.data import masks
from bench.errors import DataError
from bench.records import LeftOutKind

from .conftest import encoded, scene

LFS = "version https://git-lfs.github.com/spec/v1\noid sha256:{:064d}\nsize 48213\n"


def mask(number: int, size: tuple[int, int] = (48, 48)) -> Image.Image:
    image = Image.new("L", size)
    ImageDraw.Draw(image).ellipse([8 + number, 8, 30 + number, 36], fill=255)
    return image


def labels(number: int) -> Image.Image:
    return Image.fromarray(np.asarray(mask(number)) // 255 + np.arange(48, dtype=np.uint8) // 16)


def opened(path: Path, **settings) -> data.Dataset:
    return data.open(RunConfig(data=str(path), **settings))


def left_out(dataset: data.Dataset) -> dict[str, str]:
    return {each.id: each.detail for each in dataset.quarantined if each.kind is LeftOutKind.MASK}


def printed(dataset: data.Dataset, **settings) -> str:
    stream = io.StringIO()
    print_inventory(dataset.info(), RunConfig(**settings), stream=stream)
    return stream.getvalue()


@pytest.fixture
def put(tmp_path):
    """Saves six pictures of each of two classes at paths with `{label}` and `{i}`, no two alike."""

    def save(template: str, image=lambda number: scene(number, 48, 48), first: int = 0) -> Path:
        for number in range(12):
            path = tmp_path / template.format(label="ab"[number % 2], i=number)
            path.parent.mkdir(parents=True, exist_ok=True)
            image(first + number).save(path)
        return tmp_path

    return save


@pytest.mark.parametrize("image", [mask, labels], ids=["two-valued", "levels"])
@pytest.mark.parametrize(
    ("pictures", "found", "detail"),
    [
        ("{label}/exp{i}_num_1.jpg", "{label}/exp{i}_num_1.png", "{label}/exp{i}_num_1.jpg"),
        ("{label}/{label} ({i}).png", "{label}/{label} ({i})_mask.png", ""),
        ("{label}/{label} ({i}).png", "{label}/{label} ({i})_mask_1.png", ""),
        ("{label}/images/{i}.png", "{label}/masks/{i}.png", ""),
        ("{label}/{i}.png", "ground_truth/{i}.png", ""),
        ("train/{label}/{i}.png", "train/{label}/GT/{i}.png", ""),
    ],
)
def test_masks_are_left_out_and_counted(put, image, pictures, found, detail):
    put(pictures)
    dataset = opened(put(found, image))
    every = [{"label": "ab"[number % 2], "i": number} for number in range(12)]
    assert left_out(dataset) == {found.format(**each): detail.format(**each) for each in every}
    assert {item.id for item in dataset.items} == {pictures.format(**each) for each in every}
    assert dataset.classes == ("a", "b")
    shown = printed(dataset)
    whole = " (all of ground_truth)" if found.startswith("ground_truth") else ""
    assert f"warning: 12 masks{whole} beside pictures: left out; --masks use takes them as pictures." in shown
    assert "mask of a picture: 12" in shown
    assert "are left out" not in shown


def test_masks_are_pictures_on_request(put):
    put("{label}/{i}.jpg")
    dataset = opened(put("{label}/{i}.png", mask), masks="use", near_duplicates="ignore")
    assert len(dataset.items) == 24
    assert left_out(dataset) == {}


@pytest.mark.parametrize("suffix", ["jpg", "png"])
def test_a_blurred_mask_is_one(suffix):
    blurred = mask(3, (256, 256)).filter(ImageFilter.GaussianBlur(1))
    with Image.open(io.BytesIO(encoded(blurred, {"jpg": "JPEG"}.get(suffix, "PNG")))) as image:
        assert masks.is_flat(np.asarray(image.convert("RGB")))


@pytest.mark.parametrize(
    ("pictures", "others", "image"),
    [
        ("{label}/{i}.jpg", "{label}/{i}.png", lambda number: scene(number, 48, 48)),
        ("{label}/{i}.jpg", "{label}/{i}.png", lambda number: scene(number + 50, 48, 48)),
        ("{label}/{i}.jpg", "{label}/{i}_mask.jpg", lambda number: scene(number + 50, 48, 48)),
        ("{label}/{i}.jpg", "mask/{i}.jpg", lambda number: scene(number + 50, 48, 48)),
        ("{label}/{i}.jpg", "{label}/drawing {i}.png", mask),
        ("{label}/{i}.jpg", "drawings/{i}.png", mask),
    ],
    ids=["saved twice", "the same stem", "faces with masks", "a class mask", "drawings", "a class of drawings"],
)
def test_other_pictures_stay(put, pictures, others, image):
    put(pictures)
    dataset = opened(put(others, image), near_duplicates="ignore")
    assert left_out(dataset) == {}
    assert len(dataset.items) == 24


@pytest.mark.parametrize("name", ["{label}/{i}.png", "masks/{label}/{i}.png", "{label}/{i}_mask.png"])
def test_a_set_of_letters_stays(put, name):
    put("{label}/more {i}.png", lambda number: mask(number).transpose(Image.Transpose.ROTATE_90))
    assert left_out(opened(put(name, mask))) == {}


def test_a_picture_saved_twice_stays_though_it_has_two_colours(put):
    put("{label}/{i}.png")
    put("{label}/logo {i}.png", mask)
    assert left_out(opened(put("{label}/logo {i}.bmp", mask))) == {}


def test_one_class_beside_masks_is_no_data_set(put):
    put("images/{i}.png")
    with pytest.raises(DataError, match=r"one class, 'images', and masks \('masks'\).*--masks use"):
        opened(put("masks/{i}.png", mask))


@pytest.mark.parametrize("name", ["images/{label}_{i}.jpg", "images/{label}/{i}.jpg"])
def test_a_folder_of_masks_beside_the_folder_of_the_classes_is_passed_by(put, name):
    put(name)
    dataset = opened(put(name.replace("images", "annotations/trimaps").replace("jpg", "png"), labels))
    assert dataset.classes == ("a", "b")
    assert len(dataset.items) == 12
    assert dataset.guesses[:2] == (
        "left out beside 'images': 'annotations'; --data names another folder",
        "the classes are in images/; --data names another folder",
    )


def test_faces_with_masks_are_a_class(put):
    put("no_mask/person {label}/{i}.jpg")
    dataset = opened(put("mask/person {label}/{i}.jpg", lambda number: scene(number, 48, 48), first=50))
    assert dataset.classes == ("mask", "no_mask")
    assert len(dataset.items) == 24


# -- pointers


def test_a_folder_of_pointers_says_what_downloads_the_pictures(folder):
    path = folder({"a": 0, "b": 0})
    for number in range(1000):
        (path / "ab"[number % 2] / f"{number}.jpg").write_text(LFS.format(number))
    with pytest.raises(DataError, match=r"^1,000 of 1,000 files are Git LFS pointers: run git lfs pull$") as caught:
        opened(path)
    assert caught.value.exit_status == 2


def test_a_few_pointers_are_left_out_and_said(folder):
    path = folder({"a": 6, "b": 6})
    (path / "a" / "x.jpg").write_text(LFS.format(1))
    (path / "a" / "y.jpg").symlink_to("../.git/annex/objects/gG/f3/SHA256E-s9--1.jpg/SHA256E-s9--1.jpg")
    (path / "b" / "z.jpg").write_text("/annex/objects/SHA256E-s9--1.jpg\n")
    dataset = opened(path)
    assert {each.id: each.kind for each in dataset.quarantined} == {
        "a/x.jpg": LeftOutKind.LFS_POINTER,
        "a/y.jpg": LeftOutKind.ANNEX_POINTER,
        "b/z.jpg": LeftOutKind.ANNEX_POINTER,
    }
    shown = printed(dataset)
    assert "warning: 1 file: Git LFS pointer; run git lfs pull to have the pictures." in shown
    assert "warning: 2 files: git-annex pointer; run git annex get to have the pictures." in shown
