"""The sample that a backbone is screened on, and the classifier on its features."""

from __future__ import annotations

import hashlib
from collections import Counter

import numpy as np
import pytest

from bench.data import Dataset
from bench.data.dataset import Item
from bench.training import linear_estimate


def dataset(counts, alike=()):
    """A data set with this number of pictures by part and class."""
    items = [
        Item(name := f"{part}/{label}/{number}", label, part, hashlib.sha256(name.encode()).hexdigest())
        for (part, label), n in counts.items()
        for number in range(n)
    ]
    return Dataset(None, ("a", "b", "c"), tuple(items), (32,), alike=alike)


def test_the_sample_is_stratified_and_has_no_test_picture():
    pictures = dataset(
        {(part, label): n for part, n in (("train", 60), ("validation", 30), ("test", 90)) for label in (0, 1)}
        | {("train", 2): 20}
    )
    sample = linear_estimate.sample(pictures, 50)
    assert Counter(item.label for item in sample) == {0: 23, 1: 22, 2: 5}
    assert {item.part for item in sample} == {"train", "validation"}


def test_a_smaller_sample_is_part_of_a_larger_one_and_the_order_of_the_files_is_nothing():
    pictures = dataset({("train", 0): 40, ("validation", 1): 25})
    small, large = (linear_estimate.sample(pictures, n) for n in (20, 30))
    assert large[:20] == small
    assert len(linear_estimate.sample(pictures, 1000)) == 65


def test_near_duplicates_are_sampled_once():
    pictures = dataset({("train", 0): 6, ("train", 1): 6}, alike=(("train/0/1", "train/0/2", "train/0/5"),))
    assert Counter(item.label for item in linear_estimate.sample(pictures, 12)) == {0: 4, 1: 6}


def correct(features, labels):
    estimated = linear_estimate.probabilities(features, labels, labels.max() + 1)
    np.testing.assert_allclose(estimated.sum(axis=1), 1)
    return int((estimated.argmax(axis=1) == labels).sum())


def test_features_that_separate_the_classes_are_seen_and_others_not():
    draw = np.random.default_rng(0)
    labels = np.arange(200) % 2
    noise = draw.normal(size=(200, 300))
    assert 70 < correct(noise, labels) < 130
    assert correct(noise + 1.5 * labels[:, None], labels) > 190


def test_a_class_with_one_picture_is_wrong_but_no_error():
    labels = np.array([0] * 30 + [1] * 29 + [2])
    features = np.eye(3)[labels] + 0.1
    assert correct(features, labels) == 59


@pytest.mark.parametrize(("labels", "reason"), [([0, 0, 0], "of one class"), ([0, 1, 2], "at most one picture")])
def test_a_sample_that_says_nothing_is_an_error(labels, reason):
    with pytest.raises(ValueError, match=reason):
        linear_estimate.probabilities(np.ones((3, 4)), np.array(labels), 3)
