"""Confusion: the classes that a model mistakes for others, and the classes with the lowest recall."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from bench.runs.predictions import Predictions

MAX_CLASSES = 20
"""Maximum number of classes in a matrix; with more classes only the most frequent confusions are shown."""

MAX_PAIRS = 15
"""Maximum number of confusions shown instead of a matrix."""

WORST = 10
"""Maximum number of classes in the list of the worst."""


@dataclass(frozen=True)
class ConfusedPair:
    """`count` of the `n` pictures of class `true`, predicted as class `predicted`; `pair` has both indices: `0-2`."""

    true: str
    predicted: str
    count: int
    n: int
    pair: str


@dataclass(frozen=True)
class ClassRecall:
    """The recall of a class: `right` of `n` pictures, with its 95 % interval.

    Attributes:
        taken_for: The class that is most often predicted instead.
    """

    name: str
    right: int
    n: int
    low: float
    high: float
    taken_for: str

    @property
    def recall(self) -> float:
        """Share of the class's pictures that are classified correctly."""
        return self.right / self.n


@dataclass(frozen=True, eq=False)
class Confusion:
    """Number of pictures by true class (rows) and predicted class (columns), shape (classes, classes)."""

    predictions: Predictions
    classes: Sequence[str]
    counts: NDArray[np.int64]

    @property
    def matrix(self) -> list[list[int]]:
        """The counts; empty with more than `MAX_CLASSES` classes."""
        return self.counts.tolist() if len(self.classes) <= MAX_CLASSES else []

    @cached_property
    def confused(self) -> list[ConfusedPair]:
        """All confusions, most frequent first; of equal ones the most confident."""
        wrong, sure = self.counts - np.diag(self.counts.diagonal()), np.zeros(self.counts.shape)
        np.maximum.at(sure, (self.predictions.labels, self.predictions.predicted), self.predictions.confidence)
        true, predicted = wrong.nonzero()
        order = np.lexsort((-sure[true, predicted], -wrong[true, predicted]))
        return [
            ConfusedPair(self.classes[i], self.classes[j], int(wrong[i, j]), int(self.counts[i].sum()), f"{i}-{j}")
            for i, j in zip(true[order], predicted[order], strict=True)
        ]

    @property
    def pairs(self) -> list[ConfusedPair]:
        """The most frequent confusions, most frequent first."""
        return self.confused[:MAX_PAIRS]

    @property
    def worst(self) -> list[ClassRecall]:
        """The classes with the lowest recall, lowest first; classes without a mistake are left out."""
        taken_for = {pair.true: pair.predicted for pair in reversed(self.confused)}
        recalls = []
        for label, (name, row) in enumerate(zip(self.classes, self.counts, strict=True)):
            if name in taken_for:
                _, low, high = self.predictions.share_right(self.predictions.labels == label)
                recalls.append(ClassRecall(name, int(row[label]), int(row.sum()), low, high, taken_for[name]))
        return sorted(recalls, key=lambda recall: (recall.recall, -recall.n, recall.name))[:WORST]


def confusion(predictions: Predictions, classes: Sequence[str]) -> Confusion:
    """Count the pictures by true and by predicted class; a label is an index into `classes`."""
    k = len(classes)
    counts = np.bincount(predictions.labels * k + predictions.predicted, minlength=k * k)
    return Confusion(predictions, classes, counts.reshape(k, k))
