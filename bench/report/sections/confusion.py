"""Confusion: the classes that a model takes for others, and those that it knows worst."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from bench import stats
from bench.runs.predictions import Predictions

MOST_CLASSES = 20
"""Limit on the classes of a matrix; of more, only the most frequent confusions are shown."""

MOST_PAIRS = 15
"""Limit on these."""

WORST = 10
"""Limit on the worst classes that are listed."""


@dataclass(frozen=True)
class ConfusionRow:
    """A class of the matrix: its pictures by predicted class and in all, and its own place among the classes."""

    name: str
    counts: tuple[int, ...]
    n: int
    place: int


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


@dataclass(frozen=True)
class Confusion:
    """Pictures by true and by predicted class.

    Attributes:
        classes: Names of the classes; a label is an index into them.
        counts: Pictures by labels, (true, predicted); pairs that do not occur are left out.
    """

    classes: tuple[str, ...]
    counts: Mapping[tuple[int, int], int]

    @property
    def matrix(self) -> list[ConfusionRow]:
        """The rows of the matrix; empty where the classes are too many."""
        labels = range(len(self.classes) if len(self.classes) <= MOST_CLASSES else 0)
        counts = [tuple(self.counts.get((true, other), 0) for other in labels) for true in labels]
        return [ConfusionRow(self.classes[true], row, sum(row), true) for true, row in enumerate(counts)]

    @property
    def pairs(self) -> list[ConfusedPair]:
        """The most frequent confusions, most frequent first."""
        return [
            ConfusedPair(self.classes[true], self.classes[other], count, self._n[true])
            for (true, other), count in self._confused[:MOST_PAIRS]
        ]

    @property
    def confused(self) -> int:
        """Number of different confusions."""
        return len(self._confused)

    @property
    def worst(self) -> list[ClassRecall]:
        """The classes with the lowest recall, lowest first; only those of which a picture is classified wrongly."""
        taken_for = {true: other for (true, other), _ in reversed(self._confused)}
        recalls = []
        for true, other in taken_for.items():
            right, n = self.counts.get((true, true), 0), self._n[true]
            low, high = stats.wilson(right, n)
            recalls.append(
                ClassRecall(
                    name=self.classes[true], right=right, n=n, low=low, high=high, taken_for=self.classes[other]
                )
            )
        return sorted(recalls, key=lambda each: (each.recall, -each.n, each.name))[:WORST]

    @cached_property
    def _n(self) -> Mapping[int, int]:
        """Pictures by true label."""
        totals: Counter[int] = Counter()
        for (true, _), count in self.counts.items():
            totals[true] += count
        return totals

    @cached_property
    def _confused(self) -> list[tuple[tuple[int, int], int]]:
        """Wrong pairs with their counts, most frequent first."""
        wrong = [(pair, count) for pair, count in self.counts.items() if pair[0] != pair[1]]
        return sorted(wrong, key=lambda each: (-each[1], each[0]))


def confusion(predictions: Predictions, classes: Sequence[str]) -> Confusion:
    """Count the pictures by true and by predicted class; a label is an index into `classes`."""
    pairs = zip(predictions.labels.tolist(), predictions.predicted.tolist(), strict=True)
    return Confusion(tuple(classes), Counter(pairs))
