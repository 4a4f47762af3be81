"""Learning curves: the error of a model as a power law of the number of training pictures, fitted and extrapolated."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bench.stats import QUANTILE

EXPONENTS = np.linspace(0.05, 1.5, 59)
"""Exponents that are tried. Hestness et al. measured 0.07 to 0.35, for Hoiem et al. 0.5 is typical."""

SAMPLES = 400
"""Number of bootstrap samples."""

PAIRED = 0.25
"""Variance between two sizes that the validation pictures add, relative to that of an accuracy: they are the same."""

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Extrapolation:
    """Accuracy at several numbers of training pictures.

    Attributes:
        expected: Mean accuracy of a training, shape (1 + samples, numbers): of the data, then of the bootstrap samples.
        single: The same with the noise of a single training.
    """

    expected: Floats
    single: Floats


def bounds(samples: Floats) -> tuple[float, float]:
    """Return the 95 % interval of a figure from its values in the bootstrap samples, shape (1 + samples,)."""
    low, high = np.quantile(samples[1:], [1 - QUANTILE, QUANTILE])
    return float(low), float(high)


def extrapolate(
    pictures: Sequence[float], right: Sequence[NDArray[np.bool_]], groups: Sequence[str], at: Sequence[float]
) -> Extrapolation:
    """Fit error(n) = a + b n^-c with a, b >= 0 and c > 0 by weighted least squares, and evaluate it.

    A size weighs the inverse variance of its mean error. Each bootstrap sample draws the validation pictures anew, the
    same for all trainings, and adds the noise of the trainings: normal, with the pooled variance over the draws of a
    size, which is itself as uncertain as its degrees of freedom say. Drawing from two or three trainings would make the
    noise too small.

    Args:
        pictures: Numbers of training pictures, ascending, at least three.
        right: For each number, True for correct answers, shape (trainings, validation pictures).
        groups: Group of every validation picture, which are drawn whole; empty without groups.
        at: Numbers of training pictures to evaluate.

    Source:
        The power law: J. Hestness et al. (2017), "Deep learning scaling is predictable, empirically", arXiv 1712.00409.
        Weighted least squares on classifiers with pretrained features: D. Hoiem, T. Gupta, Z. Li and M. Shlapentokh-
        Rothman (2021), "Learning curves for analysis of deep networks", ICML, PMLR 139.
    """
    random = np.random.default_rng(0)
    trainings = np.array([len(answers) for answers in right])
    errors = _resampled_errors(np.concatenate(right), groups, random)
    by_size = np.split(errors, np.cumsum(trainings)[:-1], axis=1)
    means = np.stack([size.mean(axis=1) for size in by_size], axis=1)
    freedom = int((trainings - 1).sum())
    variance = sum(float(size[0].var()) * size.shape[1] for size in by_size) / freedom if freedom else 0.0
    spread = np.sqrt(variance * max(1, freedom) / random.chisquare(max(1, freedom), SAMPLES + 1))
    spread[0] = 0.0
    means += random.normal(size=means.shape) * spread[:, None] / np.sqrt(trainings)
    of_pictures = np.maximum(means[0] * (1 - means[0]), 1e-4) / right[0].shape[1]
    numbers, last = np.asarray(pictures, np.float64), float(pictures[-1])
    a, b, c = _fit(numbers / last, means, 1 / (variance / trainings + PAIRED * of_pictures))
    expected = 1 - a[:, None] - b[:, None] * (np.asarray(at, np.float64) / last) ** -c[:, None]
    single = expected + random.normal(size=expected.shape) * np.sqrt(variance)
    return Extrapolation(expected.clip(0, 1), np.concatenate([expected[:1], single[1:]]).clip(0, 1))


def _resampled_errors(right: NDArray[np.bool_], groups: Sequence[str], random: np.random.Generator) -> Floats:
    """Return the errors of every training, shape (1 + SAMPLES, trainings), on the pictures and on pictures drawn anew.

    Pictures with the same answers of all trainings are drawn together, so that many take no longer than few.
    """
    wrong = (~right).T.astype(np.int64)
    if groups:
        numbers = np.unique(np.array(groups, dtype=object).astype(str), return_inverse=True)[1]
        sums = np.zeros((numbers.max() + 1, wrong.shape[1] + 1), np.int64)
        np.add.at(sums, numbers, np.column_stack([wrong, np.ones(len(wrong), np.int64)]))
    else:
        sums = np.column_stack([wrong, np.ones(len(wrong), np.int64)])
    kinds, counts = np.unique(sums, axis=0, return_counts=True)
    times = np.vstack([counts, random.multinomial(counts.sum(), counts / counts.sum(), SAMPLES)])
    totals: Floats = (times @ kinds).astype(np.float64)
    return totals[:, :-1] / totals[:, -1:]


def _fit(n: Floats, errors: Floats, weights: Floats) -> tuple[Floats, Floats, Floats]:
    """Fit every row of errors: for each exponent the best a and b in closed form, then the best exponent.

    Args:
        n: Numbers of pictures, shape (sizes,), the last 1.
        errors: Shape (rows, sizes).
        weights: Shape (sizes,).
    """
    x = n[:, None] ** -EXPONENTS
    w, wx, wxx = weights.sum(), weights @ x, weights @ x**2
    wy, wxy, wyy = (errors @ weights)[:, None], (errors * weights) @ x, (errors**2 @ weights)[:, None]
    b = np.maximum((w * wxy - wx * wy) / (w * wxx - wx**2), 0.0)
    a = (wy - b * wx) / w
    b = np.where(a < 0, wxy / wxx, b)
    a = np.maximum(a, 0.0)
    residuals = wyy - 2 * a * wy - 2 * b * wxy + w * a**2 + 2 * a * b * wx + b**2 * wxx
    best = residuals.argmin(axis=1)
    rows = np.arange(len(errors))
    return a[rows, best], b[rows, best], EXPONENTS[best]
