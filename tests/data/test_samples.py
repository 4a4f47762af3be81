"""Samples of the training pictures: stratified, nested, with whole groups."""

from __future__ import annotations

import hashlib
from collections import Counter

import pytest

from bench.data import Item, sampled


def items(counts, group=lambda number: ""):
    """Pictures of classes, so many of each."""
    names = [(label, number) for label, count in enumerate(counts) for number in range(count)]
    hashes = [hashlib.sha256(repr(name).encode()).hexdigest() for name in names]
    return tuple(
        Item(f"{label}/{number}.png", label, "train", sha256, group=group(number))
        for (label, number), sha256 in zip(names, hashes, strict=True)
    )


@pytest.mark.parametrize("share", [1 / 8, 1 / 4, 1 / 2])
def test_every_class_has_its_share(share):
    counts = Counter(item.label for item in sampled(items([400, 80, 16]), share, 0))
    assert [counts[label] for label in range(3)] == pytest.approx([400 * share, 80 * share, 16 * share], abs=1)


def test_a_smaller_sample_is_part_of_a_larger_one_and_of_another_seed_it_is_another():
    everything = items([60, 40])
    eighth, half = set(sampled(everything, 1 / 8, 0)), set(sampled(everything, 1 / 2, 0))
    assert eighth < half
    assert eighth != set(sampled(everything, 1 / 8, 1))
    assert set(sampled(everything, 1.0, 0)) == set(everything)


def test_a_rare_class_has_a_picture_in_the_smallest_sample():
    assert Counter(item.label for item in sampled(items([200, 2]), 1 / 8, 3))[1] == 1


def test_groups_stay_whole():
    everything = items([120, 120], group=lambda number: f"patient {number % 24}")
    chosen = sampled(everything, 1 / 4, 0)
    names = {item.group for item in chosen}
    assert len(chosen) == sum(item.group in names for item in everything) == pytest.approx(60, abs=10)


def test_pictures_are_ordered_by_content():
    chosen = sampled(items([30, 30]), 1 / 2, 0)
    assert [item.sha256 for item in chosen] == sorted(item.sha256 for item in chosen)
