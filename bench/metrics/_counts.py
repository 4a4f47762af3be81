"""Metrics that are functions of three counts by class: right answers, pictures, and answers."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from bench.metrics._metric import Answers, Floats

STEP = 1e-40
"""Imaginary step of a derivative; it can be as small as a number can, since nothing is subtracted."""

LEAST = 1e-9
"""A smaller whole counts as 0: a difference of counts is a multiple of 1 / n, and the root of a step is near 0."""

Formula = Callable[[Floats, Floats, Floats], Floats]
"""Computes a metric from right answers, pictures and answers by class, each of shape (..., classes).

The counts may be complex: only sums, products, quotients, roots, and `ratio` and `mean_where` may be used.
"""


def ratio(part: Floats, whole: Floats) -> Floats:
    """Divide; 0 where the whole is 0 but for a step."""
    none = np.abs(whole) < LEAST
    quotient: Floats = np.where(none, 0.0, part) / np.where(none, 1.0, whole)
    return quotient


def mean_where(values: Floats, condition: np.ndarray) -> Floats:
    """Average over the classes for which the condition holds."""
    mean: Floats = np.where(condition, values, 0.0).sum(axis=-1) / condition.sum(axis=-1)
    return mean


def of_counts(formula: Formula) -> Callable[[Answers], Floats]:
    """Return the function that computes the pictures' values of a metric which a formula of counts defines.

    The derivatives by the counts are exact to the last digits, from an imaginary step.

    Source:
        W. Squire and G. Trapp (1998), "Using complex variables to estimate derivatives of real functions", SIAM Review
        40(1), 110-112.
    """

    def values(answers: Answers) -> Floats:
        predicted, labels, classes = answers.predicted, answers.labels, answers.classes
        right = np.bincount(labels[predicted == labels], minlength=classes)
        counts = np.concatenate([right, answers.counts, np.bincount(predicted, minlength=classes)])
        stepped = counts + 1j * STEP * np.eye(len(counts))
        by_count = formula(*np.split(stepped, 3, axis=-1)).imag / STEP
        by_right, by_label, by_answer = np.split(by_count, 3)
        influence = by_label[labels] + by_answer[predicted] + np.where(predicted == labels, by_right[labels], 0.0)
        metric = formula(*np.split(counts, 3))
        return np.asarray(metric + len(labels) * (influence - influence.mean()))

    return values
