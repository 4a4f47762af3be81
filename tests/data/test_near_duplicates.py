"""Pictures that show nearly the same are found, and others are not."""

from __future__ import annotations

import io
from collections.abc import Iterable

import numpy as np
import pytest
from PIL import Image, ImageEnhance

from bench import data
from bench.config import RunConfig
from bench.data import near_duplicates
from bench.data.sources.drawn import draw
from bench.records import Change

from .conftest import encoded, picture, scene


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
def test_what_may_well_be_another_picture_is_not(changed):
    scenes = [scene(number) for number in range(20)]
    assert groups([*scenes, *map(changed, scenes)]) == []


@pytest.mark.parametrize(
    "made",
    [
        lambda number: picture(number),
        lambda number: picture(number, 2),
        lambda number: scene(number),
        lambda number: Image.new("RGB", (16, 16), (number, number, number)),
    ],
    ids=["noise", "tiny noise", "scenes", "plain"],
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
