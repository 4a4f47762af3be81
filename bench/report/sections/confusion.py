"""Confusion: the classes that a model mistakes for others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from bench.runs.predictions import Predictions

MAX_CLASSES = 20
"""Maximum number of classes in a table; of more classes the worst are shown."""

MAX_PAIRS = 15
"""Maximum number of confusions shown instead of a matrix."""


@dataclass(frozen=True)
class ConfusedPair:
    """`count` of the `n` pictures of class `true`, predicted as class `predicted`; `pair` has both indices: `0-2`."""

    true: str
    predicted: str
    count: int
    n: int
    pair: str


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
    def hardest(self) -> list[int]:
        """Labels of the classes that occur: all in their order, or `MAX_CLASSES` by recall, the lowest first."""
        occur = [label for label in range(len(self.classes)) if self.counts[label].any() or self.counts[:, label].any()]
        if len(occur) <= MAX_CLASSES:
            return occur
        recall = self.counts.diagonal() / np.maximum(self.counts.sum(axis=1), 1)
        return sorted(occur, key=lambda label: (recall[label], label))[:MAX_CLASSES]

    def taken_for(self, name: str) -> str:
        """The class that is most often predicted instead of another one; "" without a mistake."""
        return next((pair.predicted for pair in self.confused if pair.true == name), "")


def confusion(predictions: Predictions, classes: Sequence[str]) -> Confusion:
    """Count the pictures by true and by predicted class; a label is an index into `classes`."""
    k = len(classes)
    counts = np.bincount(predictions.labels * k + predictions.predicted, minlength=k * k)
    return Confusion(predictions, classes, counts.reshape(k, k))
