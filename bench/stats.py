"""Statistics of a comparison: pure functions, each with its source."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

LEVEL = 0.05
"""A corrected p-value below it counts as significant."""

Floats = NDArray[np.float64]
Counts = NDArray[np.int64]


def wilson(correct: int, n: int, confidence: float = 0.95) -> tuple[float, float]:
    """Wilson's score interval of a proportion, without continuity correction.

    Unlike the textbook interval it stays inside 0 to 1 and holds its level for shares near 0 and 1 and for small n.

    Args:
        correct: Number of successes, 0 to n.
        n: Number of trials, at least 1.
        confidence: Its level, above 0 and below 1.

    Returns:
        The lower and the upper bound.

    Raises:
        ValueError: An argument is outside its range.

    Source:
        E. B. Wilson (1927), "Probable inference, the law of succession, and statistical inference", Journal of the
        American Statistical Association 22, 209-212; recommended by Brown, Cai and DasGupta (2001), "Interval
        estimation for a binomial proportion", Statistical Science 16(2), 101-133.
    """
    if n < 1 or not 0 <= correct <= n:
        raise ValueError(f"0 <= correct <= n and n >= 1 must hold, but got correct={correct}, n={n}")
    low, high = _score_bounds(np.asarray(correct), np.asarray(n), confidence)
    return float(low), float(high)


def discordant(right: NDArray[np.bool_]) -> Counts:
    """How often one classifier is right where another is wrong, for every pair of them.

    Args:
        right: Which pictures each classifies rightly, shape (classifiers, pictures).

    Returns:
        Shape (classifiers, classifiers): at [i, j] the number of pictures that i has right and j has wrong.
    """
    shares = right.astype(np.float64)  # sums of ones and zeros are exact, and a product of matrices is fast
    counts: Counts = np.rint(shares @ (1.0 - shares).T).astype(np.int64)
    return counts


def mcnemar(only_first: ArrayLike, only_second: ArrayLike) -> Floats:
    """Two-sided p-values of McNemar's exact test: are two classifiers right equally often on the same pictures?

    Pictures that both have right, or both wrong, say nothing of that. Of the others each is as likely to be the
    first's as the second's under the null hypothesis, so their count is binomial with probability 1/2.

    Args:
        only_first: How many pictures the first alone has right; any shape.
        only_second: How many the second alone has right; the same shape.

    Returns:
        The p-values, same shape; 1 where no picture tells the two apart.

    Raises:
        ValueError: A count is negative.

    Source:
        Q. McNemar (1947), "Note on the sampling error of the difference between correlated proportions or
        percentages", Psychometrika 12(2), 153-157. For classifiers that were trained once, on one split:
        T. G. Dietterich (1998), "Approximate statistical tests for comparing supervised classification learning
        algorithms", Neural Computation 10(7), 1895-1923.
    """
    from scipy.special import bdtr

    first, second = np.asarray(only_first, np.int64), np.asarray(only_second, np.int64)
    if (first < 0).any() or (second < 0).any():
        raise ValueError(f"counts must be >= 0, but got {int(min(first.min(), second.min()))}")
    # With probability 1/2 the distribution is symmetric: both tails are twice the smaller one.
    tails: Floats = 2.0 * bdtr(np.minimum(first, second).astype(np.float64), first + second, 0.5)
    return np.minimum(tails, 1.0)


def holm(p: ArrayLike) -> Floats:
    """P-values of several tests, adjusted so that a false finding among all of them has at most the level's chance.

    It holds however the tests depend on each other, and finds whatever Bonferroni's correction finds.

    Args:
        p: P-values, shape (tests,).

    Returns:
        The adjusted p-values in the same order, each at least as large as before and at most 1.

    Source:
        S. Holm (1979), "A simple sequentially rejective multiple test procedure", Scandinavian Journal of Statistics
        6(2), 65-70.
    """
    given = np.asarray(p, np.float64)
    order = np.argsort(given, kind="stable")
    steps = given[order] * np.arange(len(given), 0, -1)
    adjusted = np.empty_like(given)
    adjusted[order] = np.minimum(np.maximum.accumulate(steps), 1.0)
    return adjusted


def paired_difference(
    both: ArrayLike, only_first: ArrayLike, only_second: ArrayLike, neither: ArrayLike, confidence: float = 0.95
) -> tuple[Floats, Floats]:
    """Newcombe's interval of the difference between two shares of right answers on the same pictures.

    It adds Wilson's intervals of the two shares in squares, less what their correlation takes away: it stays inside
    -1 to 1 and holds its level where the shares are near 1 and where few pictures tell the two apart.

    Args:
        both, only_first, only_second, neither: How many pictures both classify rightly, the first alone, the second
            alone, and neither; all of one shape, of which each sum is at least 1.
        confidence: Its level, above 0 and below 1.

    Returns:
        Lower and upper bounds of the first's share less the second's, same shape.

    Raises:
        ValueError: An argument is outside its range.

    Source:
        R. G. Newcombe (1998), "Improved confidence intervals for the difference between binomial proportions based on
        paired data", Statistics in Medicine 17, 2635-2650, method 10.
    """
    cells = np.stack([np.asarray(each, np.float64) for each in (both, only_first, only_second, neither)])
    e, f, g, h = cells
    n = cells.sum(axis=0)
    if (cells < 0).any() or (n < 1).any():
        raise ValueError(f"counts must be >= 0 and their sum >= 1, but got {cells.reshape(4, -1).T.tolist()}")
    first, second = (e + f) / n, (e + g) / n
    low_first, high_first = _score_bounds(e + f, n, confidence)
    low_second, high_second = _score_bounds(e + g, n, confidence)
    correlation = _correlation(e, f, g, h)

    def reach(one: Floats, other: Floats) -> Floats:
        squared: Floats = one**2 - 2 * correlation * one * other + other**2
        return np.sqrt(np.maximum(squared, 0.0))

    difference = first - second
    low = difference - reach(first - low_first, high_second - second)
    high = difference + reach(high_first - first, second - low_second)
    return low, high


def rank_intervals(p: Floats, accuracy: Floats, level: float = LEVEL) -> Counts:
    """The places that each may have: behind all that are significantly better, before all that are worse.

    Args:
        p: Corrected p-values of every pair, shape (k, k).
        accuracy: Their shares of right answers, shape (k,).
        level: What counts as significant.

    Returns:
        The best and the worst place, from 1, shape (k, 2).
    """
    beats = _beats(p, accuracy, level)
    places: Counts = np.column_stack([1 + beats.sum(axis=0), len(accuracy) - beats.sum(axis=1)])
    return places


def tied_with_best(p: Floats, accuracy: Floats, level: float = LEVEL) -> NDArray[np.bool_]:
    """Which ones no corrected test puts below the most accurate, which is itself among them.

    Args:
        p: Corrected p-values of every pair, shape (k, k).
        accuracy: Their shares of right answers, shape (k,), k at least 1; of equal ones the first is the best.
        level: What counts as significant.

    Returns:
        Shape (k,).
    """
    tied: NDArray[np.bool_] = ~_beats(p, accuracy, level)[int(np.argmax(accuracy))]
    return tied


def _beats(p: Floats, accuracy: Floats, level: float) -> NDArray[np.bool_]:
    """At [i, j] whether i is significantly better than j."""
    return (p < level) & (accuracy[:, np.newaxis] > accuracy)


def _score_bounds(correct: NDArray[np.generic], n: NDArray[np.generic], confidence: float) -> tuple[Floats, Floats]:
    """Wilson's intervals, any shape."""
    if not 0 < confidence < 1:
        raise ValueError(f"0 < confidence < 1 must hold, but got {confidence}")
    from scipy.special import ndtri

    z = float(ndtri(0.5 + confidence / 2))
    total = n.astype(np.float64)
    share = correct.astype(np.float64) / total
    centre = (share + z**2 / (2 * total)) / (1 + z**2 / total)
    half = z / (1 + z**2 / total) * np.sqrt(share * (1 - share) / total + z**2 / (4 * total**2))
    return np.where(share == 0, 0.0, centre - half), np.where(share == 1, 1.0, centre + half)


def _correlation(e: Floats, f: Floats, g: Floats, h: Floats) -> Floats:
    """Of two classifiers' right answers, with Newcombe's continuity correction; 0 where one has all right or none."""
    product = (e + f) * (g + h) * (e + g) * (f + h)
    covariance = e * h - f * g
    corrected = np.where(covariance > 0, np.maximum(covariance - (e + f + g + h) / 2, 0.0), covariance)
    correlation: Floats = np.where(product > 0, corrected / np.sqrt(np.where(product > 0, product, 1.0)), 0.0)
    return correlation
