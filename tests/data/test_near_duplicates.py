"""Pictures that show nearly the same, or changed copies, are found, and others are not."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable

import numpy as np
import pytest
from PIL import Image, ImageEnhance

from bench import data
from bench.config import RunConfig
from bench.data import keypoints, near_duplicates
from bench.data.sources.drawn import draw
from bench.records import Change

from .conftest import encoded, picture, scene, texture


def groups(images: Iterable[Image.Image]) -> list[list[int]]:
    return [numbers for numbers, _ in groups_and_changes(images)]


def groups_and_changes(images: Iterable[Image.Image]) -> list[tuple[list[int], tuple[Change, ...]]]:
    squares = [near_duplicates.squeezed(np.asarray(image.convert("RGB"))) for image in images]
    return near_duplicates.groups(near_duplicates.fingerprints(squares), range(len(squares)))


def saved(image: Image.Image, quality: int) -> Image.Image:
    return Image.open(io.BytesIO(encoded(image, "JPEG", quality=quality)))


def scaled(image: Image.Image, factor: float) -> Image.Image:
    return image.resize((round(image.width * factor), round(image.height * factor)), Image.Resampling.LANCZOS)


@pytest.mark.parametrize(
    "changed",
    [
        lambda image: saved(image, 70),
        lambda image: saved(image, 30),
        lambda image: scaled(image, 0.9),
        lambda image: scaled(image, 0.5),
        lambda image: saved(scaled(image, 1.1), 70),
        lambda image: image.resize((image.width, image.height * 3 // 4)),
        lambda image: image.convert("L"),
    ],
    ids=["quality 70", "quality 30", "10 % smaller", "half", "10 % larger, quality 70", "squeezed", "grey"],
)
def test_a_picture_that_was_saved_again_is_found(changed):
    scenes = [scene(number) for number in range(20)]
    assert groups([*scenes, *map(changed, scenes)]) == [[number, number + 20] for number in range(20)]


@pytest.mark.parametrize(
    "changed",
    [
        lambda image: image.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
        lambda image: ImageEnhance.Brightness(image).enhance(1.5),
        lambda image: image.crop((image.width // 5, 0, image.width, image.height)),
    ],
    ids=["mirrored", "brighter", "cropped"],
)
def test_changed_copies_of_pictures_with_few_details_are_not(changed):
    scenes = [scene(number) for number in range(20)]
    assert groups([*scenes, *map(changed, scenes)]) == []


def cropped(image: Image.Image, left: float, top: float, right: float, bottom: float) -> Image.Image:
    """The picture without these shares of its sides, enlarged to the same size."""
    width, height = image.size
    box = round(width * left), round(height * top), round(width * (1 - right)), round(height * (1 - bottom))
    return image.crop(box).resize(image.size, Image.Resampling.BICUBIC)


def levelled(image: Image.Image, curve: Callable[[np.ndarray], np.ndarray]) -> Image.Image:
    return Image.fromarray(curve(np.asarray(image, np.float64)).clip(0, 255).round().astype(np.uint8))


MIRROR, FLIP, *TURNS = (
    getattr(Image.Transpose, name) for name in "FLIP_LEFT_RIGHT FLIP_TOP_BOTTOM ROTATE_90 ROTATE_180 ROTATE_270".split()
)
COPIES: dict[str, tuple[Callable[[Image.Image], Image.Image], set[Change]]] = {
    "mirrored": (lambda image: image.transpose(MIRROR), {Change.MIRRORED}),
    "upside down": (lambda image: image.transpose(FLIP), {Change.MIRRORED}),
    "turned by 90": (lambda image: image.transpose(TURNS[0]), {Change.TURNED}),
    "turned by 180": (lambda image: image.transpose(TURNS[1]), {Change.TURNED}),
    "turned by 270": (lambda image: image.transpose(TURNS[2]), {Change.TURNED}),
    "darker": (lambda image: levelled(image, lambda levels: 0.6 * levels), {Change.BRIGHTENED}),
    "lighter": (lambda image: levelled(image, lambda levels: 1.5 * levels), {Change.BRIGHTENED}),
    "gamma 2": (lambda image: levelled(image, lambda levels: 255 * (levels / 255) ** 2), {Change.BRIGHTENED}),
    "half the contrast": (lambda image: levelled(image, lambda levels: 64 + levels / 2), {Change.BRIGHTENED}),
    "cropped by 5 %": (lambda image: cropped(image, 0.05, 0.05, 0.05, 0.05), {Change.CROPPED}),
    "cropped by 12 %": (lambda image: cropped(image, 0.12, 0.12, 0.12, 0.12), {Change.CROPPED}),
    "cropped unevenly": (lambda image: cropped(image, 0.15, 0.05, 0.08, 0.12), {Change.CROPPED}),
    "mirrored, darker, quality 70": (
        lambda image: saved(levelled(image.transpose(MIRROR), lambda levels: 0.7 * levels), 70),
        {Change.MIRRORED, Change.BRIGHTENED},
    ),
    "mirrored, cropped": (
        lambda image: cropped(image.transpose(MIRROR), 0.1, 0.1, 0.05, 0.05),
        {Change.MIRRORED, Change.CROPPED},
    ),
}
"""Copies that are recognised, and the changes that are named."""


@pytest.mark.parametrize("name", COPIES)
def test_a_changed_copy_of_a_picture_with_details_is_found_and_the_change_is_named(name):
    changed, changes = COPIES[name]
    pictures = [texture(number) for number in range(8)]
    found = groups_and_changes([*pictures, *map(changed, pictures)])
    assert all(other == one + 8 for (one, other), _ in found)
    assert sum(set(named) == changes for _, named in found) >= 7


def test_copies_saved_again_have_no_change():
    pictures = [texture(number) for number in range(8)]
    found = groups_and_changes([*pictures, *(saved(image, 50) for image in pictures)])
    assert found == [([number, number + 8], ()) for number in range(8)]


def test_pictures_in_the_same_frame_stay_apart():
    frames = []
    for number in range(40):
        frames.append(Image.new("RGB", (200, 200), "white"))
        frames[-1].paste((20, 60, 20), (8, 8, 192, 192))
        frames[-1].paste(texture(number, 160), (20, 20))
    assert groups(frames) == []


def test_a_fingerprint_does_not_depend_on_the_others():
    squares = [near_duplicates.squeezed(np.asarray(image)) for image in (texture(0), picture(1), texture(2), scene(3))]
    alone = b"".join(near_duplicates.fingerprints([square]) for square in squares)
    assert near_duplicates.fingerprints(squares) == alone


def test_hashes_of_key_points_are_exact():
    """The sums are of whole numbers that a float of 32 bits holds, so no order of summation changes them."""
    brightest = 255 * 81  # a patch is read from sums over 3 x 3 pixels, twice
    assert np.maximum(keypoints._BASIS, 0).sum(axis=0).max() * brightest < 2**24
    assert not keypoints._BASIS.sum(axis=0).any()


@pytest.mark.slow
@pytest.mark.parametrize("name", COPIES)
def test_copies_of_photographs_are_found(assets, name):
    changed, _ = COPIES[name]
    paths = sorted((assets / "photos" / "test_set").rglob("*.jpg"))[::10]
    photographs = [Image.open(path).convert("RGB") for path in paths]
    found = groups([*photographs, *map(changed, photographs)])
    assert all(other == one + len(paths) for one, other in found)
    assert len(found) >= 0.95 * len(paths)


@pytest.mark.parametrize(
    "made",
    [
        lambda number: picture(number),
        lambda number: picture(number, 2),
        lambda number: scene(number),
        lambda number: texture(number, 64),
        lambda number: Image.new("RGB", (16, 16), (number, number, number)),
    ],
    ids=["noise", "tiny noise", "scenes", "textures", "plain"],
)
def test_different_pictures_stay_apart(made):
    assert groups(made(number) for number in range(250)) == []


@pytest.mark.slow
def test_pictures_in_one_style_stay_apart():
    from sklearn.datasets import load_digits

    digits = load_digits().images
    assert groups(Image.fromarray((digit * 15).astype(np.uint8)) for digit in digits) == []
    assert groups(draw(0, number) for number in range(500)) == []


def test_groups_are_tied_through_others():
    """Each frame of a film is like the next, but the first is not like the last."""
    one, other = scene(0), scene(1)
    frames = [Image.blend(one, other, step / 100) for step in range(101)]
    assert groups([frames[0], frames[-1]]) == []
    assert groups(frames) == [list(range(101))]


@pytest.mark.parametrize("seed", range(5))
def test_all_pairs_of_near_hashes_are_found_once(seed):
    rng = np.random.default_rng(seed)
    first = rng.integers(0, 2**64, 60, dtype=np.uint64)
    hashes = [first]
    for bits in (1, 2, 3, 4, 5):
        flips = np.array([rng.choice(64, bits, replace=False) for _ in first], dtype=np.uint64)
        hashes.append(first ^ np.bitwise_or.reduce(np.uint64(1) << flips, axis=1))
    every = rng.permutation(np.concatenate(hashes))
    found = [tuple(sorted(pair)) for pairs in near_duplicates._close(every) for pair in pairs.T.tolist()]
    differing = np.bitwise_count(every[:, None] ^ every[None])
    assert sorted(found) == list(zip(*np.nonzero(np.triu(differing <= near_duplicates.MAX_BITS, 1)), strict=True))


def test_a_thousand_pictures_of_one_hash_are_not_all_compared(monkeypatch):
    compared = 0
    alike_of = near_duplicates._Thumbnails.alike

    def counted(self, pairs):
        nonlocal compared
        compared += pairs.shape[1]
        return alike_of(self, pairs)

    monkeypatch.setattr(near_duplicates._Thumbnails, "alike", counted)
    form = np.asarray(scene(0, 32, 32).convert("L"))
    sheets = []
    for number in range(1000):
        sheets.append(form.copy())
        sheets[-1][number % 32, number // 32] ^= 1
    assert len(groups(map(Image.fromarray, sheets))) == 1
    assert compared <= 1000 * near_duplicates.MAX_NEIGHBOURS


def test_names_and_their_order_do_not_matter(tmp_path):
    pictures = [scene(number) for number in range(12)] + [scaled(scene(number), 0.9) for number in range(3)]
    found = []
    for name, order in (("one", range(15)), ("other", reversed(range(15)))):
        for place, number in enumerate(order):
            path = tmp_path / name / ("cats" if number % 3 else "dogs") / f"{place:02}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            pictures[number].save(path)
        dataset = data.open(RunConfig(data=str(tmp_path / name)))
        contents = {item.id: item.sha256 for item in dataset.items}
        found.append({frozenset(contents[each] for each in group) for group in dataset.alike})
        assert list(dataset.alike) == sorted(tuple(sorted(group)) for group in dataset.alike)
    assert len(found[0]) == 3
    assert found[0] == found[1]
