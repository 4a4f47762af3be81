"""Properties of the split that hold for any pictures."""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from bench.data.split import UsablePicture, allocate, assign, content_hash, sample
from bench.errors import DataError
from bench.records import LeftOutKind

SHARES = (0.7, 0.15, 0.15)
QUICKLY = settings(max_examples=40)


def pictures(sizes: list[int]) -> list[UsablePicture]:
    """Classes of these sizes; every content once."""
    return [
        UsablePicture(f"{label}/{index}", f"class{label}", hashlib.sha256(f"{label}/{index}".encode()).hexdigest())
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
    placed, _ = assign(pictures([10] * 30), SHARES, seed=0)
    parts = Counter(each.part for each in placed)
    assert parts["train"] == 210
    assert abs(parts["validation"] - parts["test"]) <= 2


@QUICKLY
@given(some.lists(some.integers(3, 30), min_size=2, max_size=4), some.integers(0, 2**32))
def test_every_picture_is_in_one_part_stratified_and_whatever_the_order(sizes, seed):
    every = pictures(sizes)
    placed, rejected = assign(every[::-1], SHARES, seed)
    assert not rejected
    assert Counter(each.id for each in placed) == Counter(each.id for each in every)
    assert set(placed) == set(assign(every, SHARES, seed)[0])
    counts = Counter((each.label, each.part) for each in placed)
    for label, size in enumerate(sizes):
        for part, share in zip(("train", "validation", "test"), SHARES, strict=True):
            count = counts[f"class{label}", part]
            assert count >= 1
            if size * min(SHARES) >= 1:
                assert abs(count - size * share) <= 1


@some.composite
def with_groups(draw) -> list[UsablePicture]:
    """Classes with near-duplicate groups of up to 4, some across classes, among enough single pictures."""
    classes = draw(some.integers(2, 4))
    every = pictures([draw(some.integers(24, 40)) for _ in range(classes)])
    for number, members in enumerate(draw(some.lists(some.integers(2, 4), max_size=5))):
        labels = draw(some.lists(some.integers(0, classes - 1), min_size=members, max_size=members))
        digests = sorted(hashlib.sha256(f"group {number}/{each}".encode()).hexdigest() for each in range(members))
        every += [
            UsablePicture(f"group{number}/{index}", f"class{label}", digest, group=digests[0])
            for index, (label, digest) in enumerate(zip(labels, digests, strict=True))
        ]
    return every


@QUICKLY
@given(with_groups(), some.sampled_from([0, 2, 3, 5]), some.integers(0, 2**32), some.randoms())
def test_parts_and_folds_are_disjoint_stratified_and_keep_groups_whole(every, folds, seed, random):
    placed, rejected = assign(every, SHARES, seed, folds)
    assert not rejected
    assert Counter(each.sha256 for each in placed) == Counter(each.sha256 for each in every)
    for group in {each.group for each in every} - {""}:
        assert len({(each.part, each.fold) for each in placed if each.group == group}) == 1
    bins = {("test", None): 0.15}
    if folds:
        bins |= {("train", fold): 0.85 / folds for fold in range(folds)}
    else:
        bins |= {("train", None): 0.7, ("validation", None): 0.15}
    counts = Counter((each.label, each.part, each.fold) for each in placed)
    assert {(part, fold) for _, part, fold in counts} == set(bins)
    for label, size in Counter(each.label for each in every).items():
        for (part, fold), share in bins.items():
            assert abs(counts[label, part, fold] - size * share) <= 1
    random.shuffle(every)
    renamed = [replace(each, id=str(number)) for number, each in enumerate(every)]
    where = {each.sha256: (each.part, each.fold) for each in placed}
    assert {each.sha256: (each.part, each.fold) for each in assign(renamed, SHARES, seed, folds)[0]} == where


def test_groups_that_leave_nothing_for_a_part_are_an_error_with_the_way_out():
    every = [replace(each, group="0" * 64) if each.label == "class0" else each for each in pictures([6, 6])]
    with pytest.raises(
        DataError, match=r"'class0' has too many pictures in groups .*near dup.* none is left for validation.*near-dup"
    ):
        assign(every, SHARES, seed=0)


def test_of_near_duplicates_in_ready_made_parts_the_judging_part_keeps_its_own():
    every = [replace(each, part="test" if index % 2 else "train") for index, each in enumerate(pictures([8, 8]))]
    twins = [replace(each, group=every[0].sha256) if index in (0, 1, 2) else each for index, each in enumerate(every)]
    placed, rejected = assign(twins, SHARES, seed=0)
    assert [each.id for each in rejected] == [every[0].id, every[2].id]
    assert rejected[0].kind is LeftOutKind.LEAKED_NEAR_DUPLICATE
    assert rejected[0].detail == f"{every[1].id} in the test part"
    assert every[1].id in {each.id for each in placed if each.part == "test"}


def test_folds_take_in_a_ready_made_validation_part():
    parts = ("train", "train", "validation", "test")
    every = [replace(each, part=parts[index % 4]) for index, each in enumerate(pictures([20, 20]))]
    placed, _ = assign(every, SHARES, seed=0, folds=5)
    assert Counter((each.part, each.fold) for each in placed) == {("train", fold): 6 for fold in range(5)} | {
        ("test", None): 10
    }


def test_too_few_pictures_for_the_folds_are_named():
    with pytest.raises(DataError, match=r"class 'class1' has 4 pictures .* at least 6 .* fold 5, test"):
        assign(pictures([20, 4]), SHARES, seed=0, folds=5)


@QUICKLY
@given(some.lists(some.integers(3, 30), min_size=2, max_size=4), some.data())
def test_a_sample_is_stratified(sizes, data):
    placed, _ = assign(pictures(sizes), SHARES, seed=0)
    limit = data.draw(some.integers(3 * len(sizes), sum(sizes)))
    drawn = sample(placed, limit, seed=0)
    assert len(set(drawn)) == len(drawn) == limit
    assert set(drawn) <= set(placed)
    assert {(each.label, each.part) for each in drawn} == {(each.label, each.part) for each in placed}


def test_a_few_pictures_more_move_only_a_few():
    before = {each.id: each.part for each in assign(pictures([100, 100]), SHARES, seed=0)[0]}
    after = {each.id: each.part for each in assign(pictures([105, 100]), SHARES, seed=0)[0]}
    assert sum(before[name] != after[name] for name in before) <= 10


@pytest.mark.parametrize("other", [("test", "cats", "a"), ("train", "dogs", "a"), ("train", "cats", "b")])
def test_the_content_hash_covers_part_class_and_content(other):
    assert content_hash([("train", "cats", "a")]) != content_hash([other])


def test_the_split_of_a_seed_is_the_same_for_ever():
    placed, _ = assign(pictures([6, 6]), SHARES, seed=7)
    digest = content_hash((str(each.part), each.label, each.sha256) for each in placed)
    assert digest == "687576d7ae468287e576bff66721b780a4afbac93e56c8c6d8cd870db196a32d"
