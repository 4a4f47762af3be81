"""Corrupted test pictures: stronger is worse, the same seed gives the same pixels, and no model sees others."""

from __future__ import annotations

import numpy as np
import pytest

from bench import data
from bench.config import RunConfig
from bench.data import corruptions
from bench.data.corruptions import corrupt, corrupted
from bench.data.pixels import pixels
from bench.errors import DataError
from bench.records import CORRUPTED_SETS, Corruption

from .conftest import scene, texture

KINDS = [kind for kind in Corruption if kind is not Corruption.NONE]


def damage(side: int, kind: Corruption, strength: int) -> float:
    """The mean change of a picture with details of every size, in levels of 255."""
    original = np.asarray(texture(0, side))
    changed = corrupt(original, kind, strength, np.random.default_rng(0))
    assert (changed.shape, changed.dtype) == (original.shape, np.uint8)
    return float(np.abs(changed.astype(float) - original).mean())


@pytest.fixture
def dataset(folder):
    return data.open(RunConfig(data=str(folder({"cats": 20, "dogs": 20}, size=40)), input_sizes=(32,)))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("side", [32, 64, 100, 224])
def test_a_greater_strength_changes_more(side, kind):
    weak, middle, strong = (damage(side, kind, strength) for strength in (1, 2, 3))
    assert 1 < weak < middle < strong < 128


def test_a_blur_is_as_wide_as_in_the_paper_s_sets():
    point = np.zeros((224, 224, 3), np.uint8)
    point[112, 112] = 255
    blurred = corrupt(point, Corruption.BLUR, 1, np.random.default_rng(0))
    assert blurred[112, 112, 0] == pytest.approx(255 / (2 * np.pi), abs=3)  # standard deviation of one pixel


def test_noise_depends_on_the_seed_and_the_rest_does_not(dataset):
    def of(name: str, seed: int) -> list[np.ndarray]:
        changed = corrupted(dataset, *CORRUPTED_SETS[name], seed)
        return [changed.picture(item).pixels for item in changed.items]

    for name in ("corrupted-noise-2", "corrupted-blur-2"):
        assert all(map(np.array_equal, of(name, 0), of(name, 0)))
    assert not any(map(np.array_equal, of("corrupted-noise-2", 0), of("corrupted-noise-2", 1)))
    assert all(map(np.array_equal, of("corrupted-blur-2", 0), of("corrupted-blur-2", 1)))


def test_every_set_has_the_test_pictures_in_one_order(dataset):
    sets = [corrupted(dataset, *which, seed=0) for which in CORRUPTED_SETS.values()]
    assert len(sets) == 13
    for changed in sets:
        assert [(item.id, item.label, item.part) for item in changed.items] == [
            (item.id, item.label, item.part) for item in dataset.part("test")
        ]
    assert len({item.sha256 for changed in sets for item in changed.items}) == 13 * len(dataset.part("test"))


def test_a_large_photograph_is_corrupted_at_the_largest_input_size(folder):
    """A blur of its own pixels would be lost where 400 of them become one."""
    path = folder({"cats": 6, "dogs": 6})
    for number, file in enumerate(sorted(path.rglob("*.png"))):
        scene(number, 1280, 960).save(file)
    dataset = data.open(RunConfig(data=str(path), input_sizes=(32, 64)))
    changed = corrupted(dataset, Corruption.NOISE, 3, seed=0)
    assert changed.picture(changed.items[0]).pixels.shape == (64, 85, 3)


def test_more_pictures_than_the_maximum_are_sampled_from_every_class(dataset, monkeypatch):
    monkeypatch.setattr(corruptions, "MAX_PICTURES", 4)
    chosen = [corrupted(dataset, Corruption.BLUR, strength, seed=0).items for strength in (1, 2)]
    assert len(chosen[0]) == 4
    assert [item.id for item in chosen[0]] == [item.id for item in chosen[1]]
    assert {item.label for item in chosen[0]} == {0, 1}


def test_corrupted_pictures_are_stored_beside_the_others(dataset, tmp_path):
    changed = corrupted(dataset, Corruption.BRIGHTNESS, 3, seed=0)
    plain = pixels(dataset, dataset.part("test"), 32, tmp_path)
    bright = pixels(changed, changed.part("test"), 32, tmp_path)
    assert np.asarray(bright).mean() > np.asarray(plain).mean() + 20
    assert np.array_equal(np.asarray(pixels(changed, changed.part("test"), 32, tmp_path)), np.asarray(bright))


def test_a_picture_that_changed_is_an_error(dataset):
    changed = corrupted(dataset, Corruption.JPEG, 1, seed=0)
    scene(99).save(dataset.source.file(changed.items[0].id))
    with pytest.raises(DataError, match="its content changed since the split was made"):
        changed.picture(changed.items[0])
