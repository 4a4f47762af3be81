"""Confusion: which classes a model takes for which, and which it knows worst."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bench import stats
from bench.runs.predictions import Predictions

MOST_CLASSES = 20
"""A matrix of more classes is too large to read; then there are the most frequent confusions alone."""

MOST_PAIRS = 15
"""So many of these are listed."""

WORST = 10
"""So many of the worst classes are listed."""


@dataclass(frozen=True)
class Cell:
    """Pictures of one class that are taken for one: how many, as a share of the class, and whether that is right."""

    count: int
    share: float
    right: bool


@dataclass(frozen=True)
class Row:
    """A class of the matrix: its cells by predicted class, and its pictures in all."""

    name: str
    cells: tuple[Cell, ...]
    n: int


@dataclass(frozen=True)
class Pair:
    """A class that is taken for another: how often, of `n` pictures."""

    true: str
    predicted: str
    count: int
    n: int


@dataclass(frozen=True)
class ClassRecall:
    """How many pictures of a class are known as such.

    Attributes:
        name: The class.
        right, n: Of so many pictures, so many are.
        low, high: 95 % Wilson interval of their share.
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
    def matrix(self) -> tuple[Row, ...]:
        """Row by row, as a table shows it; empty where the classes are too many."""
        labels = range(len(self.classes))
        if len(labels) > MOST_CLASSES:
            return ()
        rows = []
        for true in labels:
            counts = [self.counts.get((true, other), 0) for other in labels]
            n = sum(counts)
            cells = [Cell(count, count / n if n else 0.0, true == other) for other, count in enumerate(counts)]
            rows.append(Row(self.classes[true], tuple(cells), n))
        return tuple(rows)

    @property
    def pairs(self) -> tuple[Pair, ...]:
        """The most frequent confusions, most frequent first."""
        n = self._n
        return tuple(
            Pair(self.classes[true], self.classes[other], count, n[true])
            for (true, other), count in self._confused[:MOST_PAIRS]
        )

    @property
    def confused(self) -> int:
        """How many different confusions there are."""
        return len(self._confused)

    @property
    def worst(self) -> tuple[ClassRecall, ...]:
        """The classes that are known worst, worst first; those alone of which a picture is classified wrongly."""
        n, taken_for = self._n, {true: other for (true, other), _ in reversed(self._confused)}
        right = {true: self.counts.get((true, true), 0) for true in taken_for}
        worst = sorted(taken_for, key=lambda true: (right[true] / n[true], -n[true], self.classes[true]))[:WORST]
        return tuple(
            ClassRecall(
                self.classes[true],
                right[true],
                n[true],
                *stats.wilson(right[true], n[true]),
                self.classes[taken_for[true]],
            )
            for true in worst
        )

    @property
    def _n(self) -> Mapping[int, int]:
        """Pictures by true label."""
        found: Counter[int] = Counter()
        for (true, _), count in self.counts.items():
            found[true] += count
        return found

    @property
    def _confused(self) -> list[tuple[tuple[int, int], int]]:
        """What is wrong of the counts, most frequent first."""
        wrong = [(pair, count) for pair, count in self.counts.items() if pair[0] != pair[1]]
        return sorted(wrong, key=lambda each: (-each[1], each[0]))


def confusion(predictions: Predictions, classes: Sequence[str]) -> Confusion:
    """Counts what is taken for what.

    Args:
        predictions: Of a model that knows as many classes.
        classes: Their names; labels are indices into them.
    """
    pairs = zip(predictions.labels.tolist(), predictions.predicted.tolist(), strict=True)
    return Confusion(tuple(classes), Counter(pairs))
