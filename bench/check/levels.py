"""Changes of level in a series of runs: a scan proposes the places, the gate's own test gives the p-values.

Runs in a row that repeat each other picture by picture are one entry of a series: a deterministic program repeats
itself until it changes, and says nothing new. How many they are counts only for how long a level has lasted.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from bench import stats

LEAST_RUNS, LEAST_TIMED_RUNS = 2, 3
"""A level of accuracies and of times has so many runs or more: one that stands out is an outlier until the next is like
it, and a machine that is busy with something else stays so for a while.
"""

Floats = NDArray[np.float64]


class Window(NamedTuple):
    """Neighbouring entries of a series that are compared: those from `begin` to before `split` with those to `end`."""

    begin: int
    split: int
    end: int


@dataclass(frozen=True, eq=False)
class Measured:
    """A figure over a series of runs, oldest first.

    Attributes:
        runs: How many runs in a row each entry stands for.
        samples: The figure of each training of an entry: accuracies of its seeds, or the logarithm of a step time.
        right: How many of an entry's seeds have each picture right, shape (entries, n); None for times.
        distinct: How many entries do not repeat an earlier one.
        shortest: How many runs a level has at least.
    """

    runs: tuple[int, ...]
    samples: tuple[Floats, ...]
    right: NDArray[np.int64] | None
    distinct: int
    shortest: int

    @property
    def pictures(self) -> int:
        """The number of test pictures; 0 for times."""
        return 0 if self.right is None else self.right.shape[1]

    @property
    def calibrated(self) -> bool:
        """True where the noise of making a run once more is known, from several seeds or from enough runs."""
        return max(map(len, self.samples)) > 1 or self.distinct >= stats.CALIBRATION_SEEDS

    @cached_property
    def means(self) -> Floats:
        """The figure of each entry."""
        return np.array([each.mean() for each in self.samples])

    @cached_property
    def seed_sd(self) -> float | None:
        """The noise of a single seed, by the first entry that was calibrated; None where none was."""
        several = (each for each in self.samples if len(each) >= stats.CALIBRATION_SEEDS)
        return next((float(each.std(ddof=1)) for each in several), None)

    @cached_property
    def run_sd(self) -> float | None:
        """The scatter of a run's figure, by the median step between neighbours; None of too few runs.

        Source: F. R. Hampel (1974), "The influence curve and its role in robust estimation", Journal of the American
        Statistical Association 69, 383-393, for the median of absolute deviations; a step has twice a run's variance.
        """
        if len(self.means) < stats.CALIBRATION_SEEDS:
            return None
        return float(1.4826 / np.sqrt(2) * np.median(np.abs(np.diff(self.means))))

    @cached_property
    def windows(self) -> tuple[Window, ...]:
        """The windows that are compared: at every place 1, 2, 4, ... entries on both sides, and all entries."""
        ends, m, windows = self.starts, len(self.runs), []
        for split in range(1, m):
            lengths = (2**power for power in range(m.bit_length()) if 2**power <= min(split, m - split))
            around = dict.fromkeys([*((split - length, split + length) for length in lengths), (0, m)])
            windows += [
                Window(begin, split, end)
                for begin, end in around
                if min(ends[split] - ends[begin], ends[end] - ends[split]) >= self.shortest
            ]
        return tuple(windows)

    @cached_property
    def starts(self) -> list[int]:
        """The first run of every entry, and how many runs there are."""
        return [0, *np.cumsum(self.runs).tolist()]

    def test(self, window: Window) -> stats.MeanChange:
        """Test the trainings of the two sides against each other, as the gate does.

        Runs may scatter beyond their seeds, so the larger of two errors counts: that of single trainings and that of
        runs.
        """
        begin, split, end = window
        before, after = np.concatenate(self.samples[begin:split]), np.concatenate(self.samples[split:end])
        if self._totals is None:
            return stats.change_of_means(before, after)
        first, second = self._totals[split] - self._totals[begin], self._totals[end] - self._totals[split]
        each = second / len(after) - first / len(before)
        by_training = stats.change_of_means(before, after, each, self.seed_sd)
        by_run = stats.change_of_means(self.means[begin:split], self.means[split:end], each, self.run_sd)
        return max(by_training, by_run, key=lambda change: change.standard_error)

    @cached_property
    def _totals(self) -> NDArray[np.int64] | None:
        return None if self.right is None else np.concatenate([0 * self.right[:1], self.right.cumsum(axis=0)])


def accuracies(correct: Sequence[NDArray[np.bool_]]) -> Measured:
    """Measure the accuracy of a family over runs.

    Args:
        correct: For each run, which pictures each seed's model classifies rightly, shape (seeds, n): the same pictures
            in the same order, n at least 2, at least one run and a seed each.
    """
    entries = [(own, len([*group])) for own, group in groupby(correct, lambda each: (each.shape, each.tobytes()))]
    starts = np.cumsum([0, *(runs for _, runs in entries)])[:-1]
    figures = [correct[at] for at in starts.tolist()]
    return Measured(
        runs=tuple(runs for _, runs in entries),
        samples=tuple(each.mean(axis=1) for each in figures),
        right=np.stack([each.sum(axis=0) for each in figures]),
        distinct=len({own for own, _ in entries}),
        shortest=LEAST_RUNS,
    )


def step_times(seconds: Sequence[Sequence[float]]) -> Measured:
    """Measure the logarithm of a family's step time over runs, so that a change is a ratio; of each run its median.

    Args:
        seconds: For each run, step times above 0, at least one run and a time each.
    """
    medians = tuple(np.log([np.median(each)]) for each in seconds)
    return Measured((1,) * len(medians), medians, None, len(medians), LEAST_TIMED_RUNS)


@dataclass(frozen=True)
class LevelStep:
    """A change of level that noise does not explain.

    Attributes:
        at: The first run of the new level, counted from 0.
        before, after: The two levels: means of the entries up to the neighbouring steps.
        low, high: 95 % interval of after less before.
        p: Two-sided, of the test that found it, corrected for all tests.
    """

    at: int
    before: float
    after: float
    low: float
    high: float
    p: float


def steps(measured: Measured, least: float, tests: int) -> list[LevelStep]:
    """Find where the level changes, oldest first.

    The window that noise explains least is taken first, and its step is where its two levels fit best; others follow
    in which no step was found yet. Each must be significant after Bonferroni's correction for all tests of all series,
    so that the chance of a single false one is at most `stats.LEVEL`.

    Args:
        measured: The series.
        least: The smallest change that counts, in the unit of the figure.
        tests: How many windows were compared in all series together, this one's own among them.
    """
    places: dict[int, float] = {}
    tested = [(measured.test(window), window) for window in measured.windows]
    for change, window in sorted(tested, key=lambda each: each[0].p):
        if change.p * tests >= stats.LEVEL:
            break
        if not any(window.begin < at < window.end for at in places):
            places[_fitted(measured, window)] = change.p * tests
    return [*_placed(measured, places, least)]


def _fitted(measured: Measured, window: Window) -> int:
    """Place a step within a window by least squares: it is more likely there than where p is smallest."""
    begin, _, end = window
    means, ends = measured.means, measured.starts
    places = [
        at for at in range(begin + 1, end) if min(ends[at] - ends[begin], ends[end] - ends[at]) >= measured.shortest
    ]
    explained = [(means[at:end].mean() - means[begin:at].mean()) ** 2 * (at - begin) * (end - at) for at in places]
    return places[int(np.argmax(explained))]


def _placed(measured: Measured, places: dict[int, float], least: float) -> Iterator[LevelStep]:
    """Measure each step between its neighbours, and leave out those smaller than `least`."""
    bounds = [0, *sorted(places), len(measured.runs)]
    for begin, split, end in zip(bounds, bounds[1:], bounds[2:], strict=False):
        change = measured.test(Window(begin, split, end))
        before, after = float(measured.means[begin:split].mean()), float(measured.means[split:end].mean())
        if abs(after - before) >= least - 1e-12:
            yield LevelStep(measured.starts[split], before, after, low=change.low, high=change.high, p=places[split])


def smallest_visible(measured: Measured, least: float, tests: int) -> float | None:
    """Estimate the smallest change in the middle that is found with 80 % power; None where there are too few runs."""
    whole = [window for window in measured.windows if window.begin == 0 and window.end == len(measured.runs)]
    if not whole:
        return None
    middle = min(whole, key=lambda window: abs(2 * window.split - window.end))
    return max(measured.test(middle).detectable(stats.LEVEL / (2 * tests), measured.pictures), least)
