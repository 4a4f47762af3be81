"""Properties of the split that hold for any pictures."""

from __future__ import annotations

import hashlib
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from bench.data.split import Placed, allocate, assign, content_hash, sample

SHARES = (0.7, 0.15, 0.15)
QUICKLY = settings(max_examples=40, deadline=None)


def pictures(sizes: list[int]) -> list[Placed]:
    """Classes of these sizes; every content once."""
    return [
        Placed(f"{label}/{index}", f"class{label}", hashlib.sha256(f"{label}/{index}".encode()).hexdigest())
        for label, size in enumerate(sizes)
        for index in range(size)
    ]


@QUICKLY
@given(some.integers(0, 500), some.lists(some.floats(0.01, 1), min_size=1, max_size=8), some.integers(0, 7))
def test_allocate_gives_out_everything_within_one_of_the_share(total, weights, turn):
    counts = allocate(total, weights, turn)
    assert sum(counts) == total
    if total >= len(counts):
        assert min(counts) >= 1
    if min(total * weight / sum(weights) for weight in weights) >= 1:
        assert all(
            abs(count - total * weight / sum(weights)) < 1 + 1e-6 for count, weight in zip(counts, weights, strict=True)
        )


def test_many_small_classes_do_not_all_favour_one_part():
    placed = assign(pictures([10] * 30), SHARES, seed=0)
    parts = Counter(each.part for each in placed)
    assert parts["train"] == 210
    assert abs(parts["validation"] - parts["test"]) <= 2


@QUICKLY
@given(some.lists(some.integers(3, 30), min_size=2, max_size=4), some.integers(0, 2**32))
def test_every_picture_is_in_one_part_stratified_and_whatever_the_order(sizes, seed):
    every = pictures(sizes)
    placed = assign(every[::-1], SHARES, seed)
    assert Counter(each.id for each in placed) == Counter(each.id for each in every)
    assert set(placed) == set(assign(every, SHARES, seed))
    counts = Counter((each.label, each.part) for each in placed)
    for label, size in enumerate(sizes):
        for part, share in zip(("train", "validation", "test"), SHARES, strict=True):
            count = counts[f"class{label}", part]
            assert count >= 1
            if size * min(SHARES) >= 1:
                assert abs(count - size * share) <= 1


@QUICKLY
@given(some.lists(some.integers(3, 30), min_size=2, max_size=4), some.data())
def test_a_sample_is_stratified(sizes, data):
    placed = assign(pictures(sizes), SHARES, seed=0)
    limit = data.draw(some.integers(3 * len(sizes), sum(sizes)))
    drawn = sample(placed, limit, seed=0)
    assert len(set(drawn)) == len(drawn) == limit
    assert set(drawn) <= set(placed)
    assert {(each.label, each.part) for each in drawn} == {(each.label, each.part) for each in placed}


def test_a_few_pictures_more_move_only_a_few():
    before = {each.id: each.part for each in assign(pictures([100, 100]), SHARES, seed=0)}
    after = {each.id: each.part for each in assign(pictures([105, 100]), SHARES, seed=0)}
    assert sum(before[name] != after[name] for name in before) <= 10


@pytest.mark.parametrize("other", [("test", "cats", "a"), ("train", "dogs", "a"), ("train", "cats", "b")])
def test_the_content_hash_covers_part_class_and_content(other):
    assert content_hash([("train", "cats", "a")]) != content_hash([other])


def test_the_split_of_a_seed_is_the_same_for_ever():
    placed = assign(pictures([6, 6]), SHARES, seed=7)
    digest = content_hash((str(each.part), each.label, each.sha256) for each in placed)
    assert digest == "687576d7ae468287e576bff66721b780a4afbac93e56c8c6d8cd870db196a32d"
