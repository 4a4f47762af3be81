"""Where a series of runs changes level by more than its noise: pure functions, with their sources.

The noise of a run is not guessed from the series' looks. Test accuracies of two runs are of the same pictures, so what
the choice of pictures does to their difference is known from the bits, and what the seed does from the runs that were
trained with several. What runs differ by beyond that is measured, robustly, from one run to the next.

A deterministic program repeats itself until it changes, and a run that repeats the one before says nothing new. Such
runs are one figure, which counts once in a mean, in the noise and among the comparisons; how many they are counts for
how long a level has lasted.

1. `accuracies` or `times` makes `Levels` of the measurements: values, and how far noise alone moves them.
2. `change_points` compares the mean of some runs with that of the next ones, at every place, in windows of every
   length, and keeps what no chance of so many comparisons gives.
3. `smallest_visible` says what could have been found.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from bench.stats import LEVEL

LEAST_RUNS, LEAST_TIMED_RUNS = 2, 3
"""A level of accuracies and of times has so many runs or more: one that stands out is an outlier until the next is like
it, and a machine that is busy with something else stays so for a while.
"""

LEAST_STEPS = 4
"""Of so many steps between runs, or more, their scatter can be told; of fewer, a change would pass for it."""

Floats = NDArray[np.float64]
Counts = NDArray[np.int64]
Bits = NDArray[np.bool_]

_MAD = 1.4826  # the median of absolute deviations of a normal distribution, times this, is its standard deviation
_TRIMMED = 0.2  # this share of the steps between runs may be changes of level
_FREEDOM = 0.47  # degrees of freedom of `scatter` for every step: they share runs, and some are left out (simulated)
_FEW = 2.3  # `scatter` of k normal steps would be too large by a factor of 1 + 2.3 / k (simulated, 4 to 99 steps)
_POOLING = 0.25  # see `_pooled`
_EXACT = 1e-12  # what rounding may do to a difference of means
_MEDIAN = 1.2533  # standard error of a median of normal values, as a multiple of that of their mean


@dataclass(frozen=True, eq=False)
class Levels:
    """A series, oldest first, and its noise: a figure for each run that does not repeat the one before.

    Attributes:
        values: The figures, shape (m,).
        runs: How many runs in a row each stands for, shape (m,).
        variance: Of each figure, were its run made once more on the same pictures, shape (m,).
        freedom: How many degrees of freedom `variance` was estimated with; 0 where it is not known (and is 0).
        shared: What the choice of pictures adds, as a covariance of the figures, shape (m, m): they share the pictures.
        same: A number a figure; those with an equal one repeat each other picture by picture (a program that went back
            to what it was), shape (m,).
        pictures: How many test pictures there are; 0 where the figures are not of pictures.
        shortest: How many runs a level has at least.
    """

    values: Floats
    runs: Counts
    variance: Floats
    freedom: float
    shared: Floats
    same: Counts
    pictures: int = 0
    shortest: int = LEAST_RUNS

    def __len__(self) -> int:
        return len(self.values)

    @property
    def different(self) -> int:
        """How many of the runs are not the same as an earlier one."""
        return len(np.unique(self.same))

    @property
    def calibrated(self) -> bool:
        """Whether the noise of making a run once more is known."""
        return self.freedom > 0

    @cached_property
    def comparisons(self) -> tuple[Counts, Counts, Counts]:
        """See `comparisons`."""
        return comparisons(self.runs, self.shortest)

    @cached_property
    def _chosen(self) -> Floats:
        """Sums of `shared`, see `_totals`."""
        return _totals(self.shared)

    @cached_property
    def _made(self) -> Floats:
        """The same of the covariance of making runs: what repeats another figure has all of its noise in common."""
        return _totals(np.where(self.same[:, None] == self.same, self.variance, 0.0))

    def compare(self, begin: Counts, split: Counts, end: Counts) -> tuple[Floats, Floats, Floats]:
        """The mean of the figures from `split` to before `end` less that of those from `begin` to before `split`.

        Returns:
            The differences, their standard errors, and the degrees of freedom of these (F. E. Satterthwaite, 1946, "An
            approximate distribution of estimates of variance components", Biometrics Bulletin 2(6), 110-114), same
            shape.
        """
        sums = np.concatenate([[0.0], np.cumsum(self.values)])
        first, second = (split - begin).astype(np.float64), (end - split).astype(np.float64)
        difference = (sums[end] - sums[split]) / second - (sums[split] - sums[begin]) / first
        pictures, runs = (
            _block(totals, begin, split, begin, split) / first**2
            + _block(totals, split, end, split, end) / second**2
            - 2 * _block(totals, begin, split, split, end) / (first * second)
            for totals in (self._chosen, self._made)
        )
        runs = np.where(runs > _EXACT * self.variance.max(initial=0.0), runs, 0.0)
        squared = np.maximum(pictures, 0.0) + runs
        freedom = np.full(len(squared), np.inf)
        known = runs > 0
        freedom[known] = self.freedom * (squared[known] / runs[known]) ** 2
        return difference, np.sqrt(squared), freedom


def _totals(square: Floats) -> Floats:
    """At [i, j] the sum of what is above and left of it."""
    totals = np.zeros((len(square) + 1, len(square) + 1))
    totals[1:, 1:] = square.cumsum(axis=0).cumsum(axis=1)
    return totals


def _block(totals: Floats, top: Counts, bottom: Counts, left: Counts, right: Counts) -> Floats:
    """The sum over a block, from the sums of `_totals`."""
    block: Floats = totals[bottom, right] - totals[top, right] - totals[bottom, left] + totals[top, left]
    return block


@dataclass(frozen=True)
class ChangePoint:
    """A change of level that noise does not explain.

    Attributes:
        at: The first run of the new level, counted from 0.
        before, after: The two levels: means of the figures up to the neighbouring change points.
        low, high: 95 % interval of after less before.
        p: Two-sided p-value of the comparison that found it, corrected for all comparisons.
    """

    at: int
    before: float
    after: float
    low: float
    high: float
    p: float

    @property
    def difference(self) -> float:
        """After less before."""
        return self.after - self.before


# -- measurements and their noise


def accuracies(correct: Sequence[Bits]) -> Levels:
    """Levels of a family's test accuracy.

    There are two estimates of a run's variance: that over its seeds (pooled over all runs with several, divided by how
    many it has), and that of the steps from one run to the next (`scatter`); see `_pooled`. The covariance over
    pictures holds what single models get right by chance as well, so the noise is rather too large than too small.

    Args:
        correct: For each run, which pictures each seed's model classifies rightly, shape (seeds, n): the same pictures
            in the same order, n at least 2, at least one seed each.

    Raises:
        ValueError: There is no run, or the shapes do not fit.
    """
    if not correct or any(run.ndim != 2 or run.shape[1] != correct[0].shape[1] for run in correct):
        raise ValueError(f"shapes must be (seeds, n) with the same n, but got {[run.shape for run in correct]}")
    n = correct[0].shape[1]
    if n < 2 or not all(len(run) for run in correct):
        raise ValueError(f"n >= 2 and a seed a run must hold, but got {[run.shape for run in correct]}")
    kinds: dict[tuple[tuple[int, ...], bytes], int] = {}
    every = np.array([kinds.setdefault((run.shape, run.tobytes()), len(kinds)) for run in correct], np.int64)
    starts = np.flatnonzero(np.diff(every, prepend=-1))
    same, figures = every[starts], [correct[run] for run in starts.tolist()]
    shares = np.stack([figure.mean(axis=0) for figure in figures])
    values = shares.mean(axis=1)
    fresh = np.unique(same, return_index=True)[1]  # repeats say nothing new of the noise
    fresh.sort()
    seeds, of_seeds = _seed_variance([figures[figure] for figure in fresh])
    of_runs = np.array([seeds / len(figure) for figure in figures])
    variance, freedom = _pooled(of_runs, of_seeds, *scatter(values[fresh]))
    shared = np.cov(shares, ddof=1).reshape(len(shares), len(shares)) / n
    return Levels(values, np.diff(starts, append=len(correct)), variance, freedom, shared, same, n)


def times(seconds: Sequence[Sequence[float]]) -> Levels:
    """Levels of a family's step time, as natural logarithms, so that a change is a ratio.

    A run's figure is the median of its own. There are two estimates of its variance: that of the median, from the
    spread within the runs, and that of the steps from one run to the next (`scatter`); see `_pooled`.

    Args:
        seconds: For each run, step times above 0, at least one.

    Raises:
        ValueError: There is no run, a run without a time, or a time that is not above 0.
    """
    if not seconds or any(not len(run) or min(run) <= 0 for run in seconds):
        raise ValueError("each run needs a step time, and all must be above 0")
    logs = [np.log(np.asarray(run, np.float64)) for run in seconds]
    values = np.array([np.median(run) for run in logs])
    spreads = [_MAD * float(np.median(np.abs(run - np.median(run)))) for run in logs if len(run) > 2]
    spread, within = (float(np.median(spreads)), float(sum(len(run) - 1 for run in logs))) if spreads else (0.0, 0.0)
    of_median = np.array([(_MEDIAN * spread) ** 2 / len(run) for run in logs])
    variance, freedom = _pooled(of_median, within, *scatter(values))
    m = len(values)
    runs, shared, same = np.ones(m, np.int64), np.zeros((m, m)), np.arange(m)
    return Levels(values, runs, variance, freedom, shared, same, shortest=LEAST_TIMED_RUNS)


def _pooled(inside: Floats, of_inside: float, between: float, of_between: float) -> tuple[Floats, float]:
    """The variance of each run's figure, and its degrees of freedom, from what is known inside runs and between them.

    Where the runs scatter more than what is inside them explains (F test at `_POOLING`), their scatter is taken; else
    both estimate the same thing and are pooled, but never below what is known inside.

    Source:
        H. Bozivich, T. A. Bancroft and H. O. Hartley (1956), "Power of analysis of variance test procedures for certain
        incompletely specified models", Annals of Mathematical Statistics 27(4), 1017-1043, for the level of 0.25.
    """
    from scipy.special import fdtrc

    expected = float(inside.mean())
    if not of_inside or not expected:  # seeds that all agree are known to make no noise
        return np.full(len(inside), between), of_between if between > 0 else max(of_inside, of_between)
    if not of_between:
        return inside, of_inside
    if fdtrc(of_between, of_inside, between / expected) < _POOLING:
        return np.maximum(inside, between), of_between
    pooled = (of_inside * expected + of_between * between) / (of_inside + of_between)
    return inside * max(pooled / expected, 1.0), of_inside + of_between


def scatter(values: Floats) -> tuple[float, float]:
    """The variance of a series' values about its levels, wherever these change, and its degrees of freedom.

    It is that of the steps from one value to the next, halved (von Neumann et al., 1941, "The mean square successive
    difference", Annals of Mathematical Statistics 12(2), 153-162), which a change of level enters once only. A fifth of
    them, the largest, is left out, for they may be such changes, and what they have of a normal distribution's variance
    is made up for (a trimmed estimate: P. J. Huber, 1981, "Robust Statistics", chapter 5).

    Returns:
        (0, 0) where there are fewer than `LEAST_STEPS` steps.
    """
    from scipy.special import ndtri

    steps = np.sort(np.square(np.diff(values)))
    if len(steps) < LEAST_STEPS:
        return 0.0, 0.0
    kept = len(steps) - math.ceil(_TRIMMED * len(steps))
    share = kept / len(steps)
    z = float(ndtri(0.5 + share / 2))
    left = 1 - 2 * z * math.exp(-(z**2) / 2) / math.sqrt(2 * math.pi) / share
    return float(steps[:kept].mean()) / left / (1 + _FEW / len(steps)) / 2, _FREEDOM * len(steps)


def _seed_variance(correct: Sequence[Bits]) -> tuple[float, float]:
    """The variance of a single model's accuracy over seeds, pooled over runs, and its degrees of freedom."""
    shares = [run.mean(axis=1) for run in correct if len(run) > 1]
    freedom = sum(len(run) - 1 for run in shares)
    if not freedom:
        return 0.0, 0.0
    return float(sum(np.square(run - run.mean()).sum() for run in shares)) / freedom, float(freedom)


# -- the search


def comparisons(runs: Counts, shortest: int = LEAST_RUNS) -> tuple[Counts, Counts, Counts]:
    """All comparisons of neighbouring figures that are made in a series.

    The windows are the whole series, and then shorter and shorter ones, half as long each time, that overlap by half:
    so a drop that was put right later is seen as well as one that stayed. They are so many runs long, and as what
    repeats is one figure, which is in a window or not, many of them come to the same. Two neighbouring figures of
    enough runs each are a window of their own. In each window every split is tried that leaves enough runs on both
    sides.

    Args:
        runs: How many runs in a row each figure stands for, shape (m,).
        shortest: How many runs a level has at least.

    Returns:
        At which figure the window begins, where it is split, and before which figure it ends, each of shape
        (comparisons,).

    Source:
        A. J. Scott and M. Knott (1974), "A cluster analysis method for grouping means in the analysis of variance",
        Biometrics 30(3), 507-512, and L. Y. Vostrikova (1981), "Detecting 'disorder' in multidimensional random
        processes", Soviet Mathematics Doklady 24, 55-59, for the search by splitting; for the windows, S. Kovács, P.
        Bühlmann, H. Li and A. Munk (2023), "Seeded binary segmentation: a general methodology for fast and optimal
        changepoint detection", Biometrika 110(1), 249-256, definition 1 with decay 1/2.
    """
    figure = np.repeat(np.arange(len(runs)), runs)
    windows: dict[tuple[int, int], None] = {}
    layer, length = 0, float(len(figure))
    while length >= 2 * shortest:
        count = 2 ** (layer + 1) - 1
        for begin in np.linspace(0, len(figure) - length, count):
            first, last = figure[int(np.floor(begin + 1e-9))], figure[int(np.ceil(begin + length - 1e-9)) - 1]
            windows[int(first), int(last) + 1] = None
        layer, length = layer + 1, length / 2
    enough = runs >= shortest
    windows |= dict.fromkeys((at, at + 2) for at in np.flatnonzero(enough[:-1] & enough[1:]).tolist())
    return _splits(runs, shortest, windows)


def _splits(runs: Counts, shortest: int, windows: Iterable[tuple[int, int]]) -> tuple[Counts, Counts, Counts]:
    """Every split of some windows that leaves enough runs on both sides, as `comparisons` gives them."""
    ends = [0, *np.cumsum(runs).tolist()]
    found = [
        (a, k, b)
        for a, b in windows
        for k in range(a + 1, b)
        if ends[k] - ends[a] >= shortest and ends[b] - ends[k] >= shortest
    ]
    begin, split, end = np.array(found, np.int64).reshape(-1, 3).T
    return begin, split, end


def change_points(levels: Levels, least: float, tests: int, level: float = LEVEL) -> list[ChangePoint]:
    """Where the level changes, oldest first.

    The window of the comparison that noise explains least is taken first, and the change is where its two levels fit
    best; others follow that hold no change point yet, and what lies between two change points is searched as a window
    of its own, as long as that finds any. Each must be significant after Bonferroni's correction for all comparisons,
    of all windows and all series, so that the chance of a single false one is at most `level`; the two levels must
    differ by `least`, in the mean and in the median, whichever single run is left out. In the end each is moved to
    where its neighbours' levels fit best.

    Args:
        levels: The series.
        least: The smallest change that counts, in the unit of the values.
        tests: How many comparisons were made in all, this series' own among them.
        level: What counts as significant.

    Source:
        For the correction K. J. Worsley (1979), "On the likelihood ratio test for a shift in location of normal
        populations", Journal of the American Statistical Association 74, 365-367, who bounds the largest of all
        statistics by Bonferroni's inequality; for moving them J. Bai (1997), "Estimating multiple breaks one at a
        time", Econometric Theory 13(3), 315-352.
    """
    found: dict[int, float] = {}
    looked = levels.comparisons
    while len(looked[0]):
        known = len(found)
        for a, b, p in _significant(levels, *looked, tests, level):
            if not any(a < at < b for at in found) and _holds(levels, a, k := _fitted(levels, a, b), b, least):
                found[k] = p
        between = pairwise([0, *sorted(found), len(levels)]) if len(found) > known else []
        looked = _splits(levels.runs, levels.shortest, between)
    return _placed(levels, found, least)


def _significant(
    levels: Levels, begin: Counts, split: Counts, end: Counts, tests: int, level: float
) -> Iterator[tuple[int, int, float]]:
    """The windows with a comparison below a level after the correction, with its p-value, the smallest first."""
    p = np.minimum(_p_values(*levels.compare(begin, split, end)) * tests, 1.0)
    for each in np.argsort(p, kind="stable"):
        if p[each] < level:
            yield int(begin[each]), int(end[each]), float(p[each])


def smallest_visible(
    levels: Levels, least: float, tests: int, level: float = LEVEL, power: float = 0.8
) -> float | None:
    """The smallest change in the middle of the series that would be found, with probability `power`.

    The test pictures that make an accuracy change add to the noise of the change: their part is in it.

    Returns:
        In the unit of the values; None where the series is too short for any.
    """
    m = len(levels)
    _, places, _ = _splits(levels.runs, levels.shortest, [(0, m)])
    if not len(places) or not tests:
        return None
    middle = int(places[np.argmin(np.abs(places - m / 2))])
    _, error, freedom = (float(each[0]) for each in levels.compare(*(np.array([at]) for at in (0, middle, m))))
    needed, luck = _quantile(freedom, 1 - level / (2 * tests)), _quantile(np.inf, power) * error
    # The d of the pictures that change it give an accuracy's difference a variance of d / n more, so that what is to be
    # solved is (d - luck)^2 = needed^2 * (error^2 + d / n).
    half = luck + (needed**2 / levels.pictures / 2 if levels.pictures else 0.0)
    found = half + math.sqrt(max(half**2 - luck**2 + (needed * error) ** 2, 0.0))
    return max(found, least + luck)


def _quantile(freedom: float, p: float) -> float:
    """Of Student's t, and of the normal distribution for endless degrees of freedom."""
    from scipy.special import stdtrit

    return float(stdtrit(freedom, p))


def _p_values(difference: Floats, error: Floats, freedom: Floats) -> Floats:
    """Two-sided, of Student's t; without any noise a difference of nothing has 1, any other 0."""
    from scipy.special import stdtr

    sure = error > 0
    t = np.abs(difference[sure]) / error[sure]
    p = np.where(np.abs(difference) > _EXACT, 0.0, 1.0)
    p[sure] = 2 * stdtr(freedom[sure], -t)
    return p


def _holds(levels: Levels, begin: int, split: int, end: int, least: float) -> bool:
    """Whether means and medians of the two sides differ by `least`, the medians of runs also without any one run."""
    values, runs = levels.values, levels.runs
    difference = values[split:end].mean() - values[begin:split].mean()
    sign = -1 if difference < 0 else 1
    before, after = (np.repeat(sign * values[a:b], runs[a:b]) for a, b in ((begin, split), (split, end)))
    # Without its lowest run the upper median of the lower side, without its highest the lower one of the higher side.
    highest_before = np.sort(before)[1:][(len(before) - 1) // 2]
    lowest_after = np.sort(after)[:-1][(len(after) - 2) // 2]
    return bool(min(abs(difference), lowest_after - highest_before) >= least - _EXACT)


def _placed(levels: Levels, found: dict[int, float], least: float) -> list[ChangePoint]:
    """Each where its neighbours' levels fit best, with the two levels; without those that are too small there."""
    places, p = sorted(found), dict(found)
    for number, place in enumerate(places):
        places[number] = _fitted(levels, [0, *places][number], [*places, len(levels)][number + 1])
        p[places[number]] = found[place]
    made, starts = [], [0, *np.cumsum(levels.runs).tolist()]
    for a, k, b in zip([0, *places], places, [*places[1:], len(levels)], strict=False):
        one, error, freedom = (float(each[0]) for each in levels.compare(np.array([a]), np.array([k]), np.array([b])))
        reach = _quantile(freedom, 0.975) * error
        if abs(one) >= least - _EXACT:
            before, after = float(levels.values[a:k].mean()), float(levels.values[k:b].mean())
            made.append(ChangePoint(starts[k], before, after, one - reach, one + reach, p[k]))
    return made


def _fitted(levels: Levels, begin: int, end: int) -> int:
    """Where least squares put a change of level between two figures.

    It need not be where noise explains it least: where the choice of pictures is most of the noise, a split beside the
    change is as unlikely as the right one, for it has less of both.
    """
    begins, splits, ends = _splits(levels.runs, levels.shortest, [(begin, end)])
    difference, _, _ = levels.compare(begins, splits, ends)
    return int(splits[np.argmax(np.square(difference) * (splits - begin) * (end - splits))])
