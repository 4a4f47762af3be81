"""Confusion: the classes that a model takes for others, and those that it knows worst."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from bench import stats
from bench.runs.predictions import Predictions

MOST_CLASSES = 20
"""Limit on the classes of a matrix; of more, only the most frequent confusions are shown."""

MOST_PAIRS = 15
"""Limit on these."""

WORST = 10
"""Limit on the worst classes that are listed."""


@dataclass(frozen=True)
class ConfusedPair:
    """A class that is taken for another: `count` of its `n` pictures."""

    true: str
    predicted: str
    count: int
    n: int


@dataclass(frozen=True)
class ClassRecall:
    """The recall of a class: `right` of `n` pictures, with the 95 % Wilson interval of the share.

    Attributes:
        taken_for: The class that most of the others are taken for.
    """

    name: str
    right: int
    n: int
    low: float
    high: float
    taken_for: str

    @property
    def recall(self) -> float:
        """The share."""
        return self.right / self.n


@dataclass(frozen=True, eq=False)
class Confusion:
    """Pictures by true class, a row each, and by predicted class; `counts` has the shape (classes, classes)."""

    classes: Sequence[str]
    counts: NDArray[np.int64]

    @property
    def matrix(self) -> list[list[int]]:
        """The counts; empty where the classes are too many."""
        return self.counts.tolist() if len(self.classes) <= MOST_CLASSES else []

    @cached_property
    def confused(self) -> list[ConfusedPair]:
        """All confusions, most frequent first."""
        wrong = self.counts - np.diag(self.counts.diagonal())
        true, predicted = wrong.nonzero()
        order = np.argsort(-wrong[true, predicted], kind="stable")
        return [
            ConfusedPair(self.classes[i], self.classes[j], int(wrong[i, j]), int(self.counts[i].sum()))
            for i, j in zip(true[order], predicted[order], strict=True)
        ]

    @property
    def pairs(self) -> list[ConfusedPair]:
        """The most frequent confusions, most frequent first."""
        return self.confused[:MOST_PAIRS]

    @property
    def worst(self) -> list[ClassRecall]:
        """The classes with the lowest recall, lowest first; only those of which a picture is classified wrongly."""
        taken_for = {pair.true: pair.predicted for pair in reversed(self.confused)}
        recalls = []
        for name, row, right in zip(self.classes, self.counts, self.counts.diagonal().tolist(), strict=True):
            if name in taken_for:
                n = int(row.sum())
                recalls.append(ClassRecall(name, right, n, *stats.wilson(right, n), taken_for=taken_for[name]))
        return sorted(recalls, key=lambda each: (each.recall, -each.n, each.name))[:WORST]


def confusion(predictions: Predictions, classes: Sequence[str]) -> Confusion:
    """Count the pictures by true and by predicted class; a label is an index into `classes`."""
    k = len(classes)
    counts = np.bincount(predictions.labels * k + predictions.predicted, minlength=k * k)
    return Confusion(classes, counts.reshape(k, k))
