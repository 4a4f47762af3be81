"""Metrics of the order in which a class's probability puts the pictures, as a mean over the classes."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from bench.metrics._metric import Answers, Floats

Binary = Callable[[NDArray[np.floating], NDArray[np.bool_]], Floats]
"""Computes the pictures' values of a metric of two classes from scores and true answers, both of shape (n,)."""


def by_class(binary: Binary) -> Callable[[Answers], Floats]:
    """Return the function that averages a metric of one class against the rest, over the classes that occur.

    With a class named it is that class's; NaN if that one, or all but one, do not occur.
    """

    def values(answers: Answers) -> Floats:
        labels, counts = answers.labels, answers.counts
        occur = np.flatnonzero((counts > 0) & (counts < len(labels)))
        chosen = occur if answers.label is None else occur[occur == answers.label]
        if not len(chosen):
            return np.full(len(labels), np.nan)
        return np.asarray(
            np.mean([binary(answers.probabilities[:, label], labels == label) for label in chosen], axis=0)
        )

    return values
