"""Which test pictures are right from which kind of metadata."""

from __future__ import annotations

import numpy as np
import pytest

from bench.cache.rows import Rows
from bench.data.metadata import FEATURES
from bench.hyperparameters import HyperParameters, fixed
from bench.records import FeatureKind
from bench.search import spaces
from bench.training import loading, shortcuts
from bench.training.batches import Part
from bench.training.estimators import Classifier
from bench.training.task import Task

pytestmark = pytest.mark.slow

FILE, COMPRESSION, LIGHT, ALL = FeatureKind


def classifier() -> Classifier:
    family = loading.load(spaces.BUILT_IN / "metadata.py")
    return Classifier(family.model(HyperParameters(fixed({})), Task("abc", (32,))), 32, 0, family.input)


def part(labels: np.ndarray, seed: int, **informative: np.ndarray) -> Part:
    """Noise in all features but those that are given."""
    features = np.random.default_rng(seed).normal(size=(len(labels), len(FEATURES)))
    for name, values in informative.items():
        features[:, list(FEATURES).index(name)] = values
    return Part(Rows.of(features), labels)


def test_each_kind_is_judged_by_its_features_alone() -> None:
    train, test = np.arange(240) % 3, np.repeat([0, 1, 2], (40, 30, 30))
    measured = shortcuts.measure(classifier, part(train, 0, camera=10.0 * train), part(test, 1, camera=10.0 * test))
    assert (measured.n, measured.constant) == (100, 40)
    right = {
        kind: int(np.unpackbits(np.frombuffer(bits, np.uint8), count=100).sum())
        for kind, bits in measured.right.items()
    }
    assert right[COMPRESSION] == right[ALL] == 100
    assert max(right[FILE], right[LIGHT]) < 55


def test_a_class_that_training_does_not_have_is_never_answered() -> None:
    train, test = np.repeat([0, 2], 60), np.repeat([0, 1, 2], 20)
    measured = shortcuts.measure(classifier, part(train, 0, width=train), part(test, 1, width=test))
    right = np.unpackbits(np.frombuffer(measured.right[FILE], np.uint8), count=60)
    assert right.reshape(3, 20).sum(axis=1).tolist() == [20, 0, 20]
