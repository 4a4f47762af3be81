"""A metric of class probabilities as values of single pictures, on which all intervals and tests stand.

The mean of the values is the metric, and their variance divided by the number of pictures is the variance of the
metric, to first order. For a mean over pictures, as accuracy, they are the figures of the pictures. For any other
metric a picture's value is the metric plus the picture's influence on it: the derivative by the picture's weight, times
the number of pictures (infinitesimal jackknife). So one analysis of variance over pictures, groups and seeds serves all
metrics, at a thousandth of the cost of a bootstrap.

Source:
    L. A. Jaeckel (1972), "The infinitesimal jackknife", Bell Laboratories memorandum 72-1215-11; B. Efron (1982), "The
    Jackknife, the Bootstrap and Other Resampling Plans", SIAM, chapter 6. Measured beside the bootstrap, and coverage:
    docs/statistics.md.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Labels = NDArray[np.int64]


MAX_CONSTANTS = 50
"""Maximum number of constant answers that are tried."""


@dataclass(frozen=True)
class Answers:
    """A model's answers, and the truth.

    Attributes:
        probabilities: Shape (n, classes), in single or double precision.
        labels: True classes, shape (n,).
        label: The class that the metric is of; None for all.
        prices: Price of an answer by true and predicted class, shape (classes, classes); empty without prices.
    """

    probabilities: NDArray[np.floating]
    labels: Labels
    label: int | None = None
    prices: tuple[tuple[float, ...], ...] = ()

    @property
    def classes(self) -> int:
        """Number of classes."""
        return int(self.probabilities.shape[1])

    @cached_property
    def predicted(self) -> Labels:
        """The most probable class, shape (n,)."""
        most: Labels = self.probabilities.argmax(axis=1)
        return most

    @cached_property
    def counts(self) -> Floats:
        """Number of pictures by true class, shape (classes,)."""
        return np.bincount(self.labels, minlength=self.classes).astype(np.float64)


@dataclass(frozen=True)
class Metric:
    """A metric, with what is needed to choose by it, to show it and to test it.

    Attributes:
        words: Its name in sentences and headings.
        formula: Returns the values of the pictures, shape (n,).
        best, worst: The ends of its range; infinite without one. It is better the nearer it is to `best`.
        percent: True if it is shown in percent; else with three decimals.
        exact: True if the values of pictures are 0 and 1, so that exact tests apply.
        by_class: True if a rare class counts as much as a frequent one.
        of_class: "always" if a class must be named, "optional" if it can, else "".
        has_chance: False if a constant answer can have the best value.
        name: The name by which it was chosen, e.g. `recall:defect`.
        label, prices: As in `Answers`.
    """

    words: str
    formula: Callable[[Answers], Floats]
    best: float = 1.0
    worst: float = 0.0
    percent: bool = False
    exact: bool = False
    by_class: bool = False
    of_class: str = ""
    has_chance: bool = True
    name: str = ""
    label: int | None = None
    prices: tuple[tuple[float, ...], ...] = ()

    @property
    def title(self) -> str:
        """Its words with the class: `recall of defect`."""
        _, _, of = self.name.partition(":")
        return f"{self.words} of {of}" if of else self.words

    @property
    def lower_is_better(self) -> bool:
        return self.best < self.worst

    def values(self, probabilities: NDArray[np.floating], labels: Labels) -> NDArray[np.generic]:
        """Compute the values of the pictures: bool if `exact`, else float; NaN if the metric is not defined for them.

        Args:
            probabilities: Shape (n, classes).
            labels: True classes, shape (n,).
        """
        with np.errstate(divide="ignore", invalid="ignore"):
            values = self.formula(Answers(probabilities, labels, self.label, self.prices))
        return values.astype(np.bool_) if self.exact else values

    def value(self, probabilities: NDArray[np.floating], labels: Labels) -> float:
        """Compute the metric; NaN if it is not defined for these labels."""
        return float(self.values(probabilities, labels).mean())

    def quality(self, value: float) -> float:
        """A value as a figure that is better the higher it is, and 1 at best: what comparisons and planning use."""
        return 1.0 - abs(self.best - value)

    def of_quality(self, quality: float) -> float:
        """The value that has a quality."""
        return self.best + (1.0 - quality) * (1 if self.lower_is_better else -1)

    def support(self, labels: Labels) -> float:
        """Number of pictures that would tell as much about a share of pictures as these tell about the metric.

        For a mean over classes of equal values this is the squared number of classes divided by the sum of 1 / pictures
        of a class: 4 pictures in one of two classes count as at most 16, however many are in the other.
        """
        counts = np.bincount(labels)
        if self.label is not None:
            return float(counts[self.label]) if self.label < len(counts) else 0.0
        if self.by_class:
            return float(np.count_nonzero(counts) ** 2 / (1 / counts[counts > 0]).sum())
        return float(len(labels))

    @lru_cache(maxsize=64)  # noqa: B019
    def chance(self, counts: tuple[int, ...]) -> float:
        """Compute the metric of the best constant answer: one class, or the shares of the classes as probabilities.

        Args:
            counts: Number of pictures by class. With many classes, only the most frequent ones are tried.
        """
        if not self.has_chance:
            return self.worst
        labels = np.repeat(np.arange(len(counts)), counts)
        frequent = np.argsort(counts)[::-1][:MAX_CONSTANTS]
        rows = [np.array(counts) / len(labels), *np.eye(len(counts))[frequent]]
        values = [self.value(np.broadcast_to(row, (len(labels), len(row))), labels) for row in rows]
        return max((value for value in values if math.isfinite(value)), key=self.quality, default=self.worst)

    @property
    def span(self) -> float:
        """Length of its range; infinite without one."""
        return abs(self.best - self.worst)
