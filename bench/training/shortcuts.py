"""Test of the data for shortcuts: the test pictures that a classifier gets right without a look at them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from bench.cache.rows import Rows
from bench.data.metadata import FEATURES
from bench.records import FeatureKind, Shortcuts
from bench.training.batches import Part
from bench.training.estimators import Classifier

MAX_PICTURES = 4000
"""Maximum number of pictures of a part that are looked at: the first ones by their hash, which is a random sample."""


def measure(build: Callable[[], Classifier], train: Part, test: Part) -> Shortcuts:
    """Classify the test pictures from each kind of features alone, and from all.

    Args:
        build: Returns an untrained classifier.
        train, test: Rows of `metadata.FEATURES` and labels; at least one of each.
    """
    classes = np.unique(train.labels)
    right: dict[FeatureKind, NDArray[np.bool_]] = {}
    for kind in FeatureKind:
        columns = [place for place, other in enumerate(FEATURES.values()) if kind in (other, FeatureKind.ALL)]
        chosen = [Part(Rows.of(np.asarray(part.pixels)[:, columns]), part.labels) for part in (train, test)]
        classifier = build()
        classifier.refit(chosen[0], ())
        right[kind] = classes[classifier.predict(chosen[1]).argmax(axis=1)] == test.labels
    return Shortcuts(
        n=len(test.labels),
        constant=max(Counter(test.labels.tolist()).values()),
        right={kind: np.packbits(bits).tobytes() for kind, bits in right.items()},
    )
