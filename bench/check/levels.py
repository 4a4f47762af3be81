"""Changes of level in a series of runs: a scan proposes the positions, the gate's test gives the p-values.

Consecutive runs that repeat each other picture by picture are one entry of a series, since a deterministic program
repeats itself until it changes. Their number counts only for how long a level has lasted.
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
"""Minimum number of runs in a level, for a metric and for times: a single deviating run is an outlier, and a machine
that is busy with something else stays busy for a while.
"""

Floats = NDArray[np.float64]


class Window(NamedTuple):
    """Neighbouring entries to compare: `begin` up to `split` with `split` up to `end`, ends excluded."""

    begin: int
    split: int
    end: int


@dataclass(frozen=True, eq=False)
class Measured:
    """A figure over a series of runs, oldest first.

    Attributes:
        runs: Number of consecutive runs that each entry stands for.
        samples: Per entry, the figure of each training: the metric of the seeds, or the logarithm of a step time.
        sums: Sums of the pictures' values over an entry's seeds, shape (entries, n), whole numbers for an accuracy;
            None for times.
        distinct: Number of entries that do not repeat an earlier one.
        shortest: Minimum number of runs in a level.
        groups: Number of each picture's group, see `stats.by_group`; None without groups.
        pictures: As for `stats.detectable`; 0 for times.
    """

    runs: tuple[int, ...]
    samples: tuple[Floats, ...]
    sums: NDArray[np.int64] | Floats | None
    distinct: int
    shortest: int
    groups: NDArray[np.int64] | None = None
    pictures: float = 0

    @property
    def calibrated(self) -> bool:
        """True if the noise between repeated runs is known, from several seeds or from enough runs."""
        return max(map(len, self.samples)) > 1 or self.distinct >= stats.CALIBRATION_SEEDS

    @cached_property
    def means(self) -> Floats:
        """The figure of each entry."""
        return np.array([sample.mean() for sample in self.samples])

    @cached_property
    def seed_sd(self) -> float | None:
        """Standard deviation over seeds, of the first calibrated entry; None without one."""
        calibrated = (sample for sample in self.samples if len(sample) >= stats.CALIBRATION_SEEDS)
        return next((float(sample.std(ddof=1)) for sample in calibrated), None)

    @cached_property
    def run_sd(self) -> float | None:
        """Standard deviation over runs, from the median step between neighbours; None with too few runs.

        Source: F. R. Hampel (1974), "The influence curve and its role in robust estimation", Journal of the American
        Statistical Association 69, 383-393, for the median of absolute deviations; a step has twice a run's variance.
        """
        if len(self.means) < stats.CALIBRATION_SEEDS:
            return None
        return float(1.4826 / np.sqrt(2) * np.median(np.abs(np.diff(self.means))))

    @cached_property
    def windows(self) -> tuple[Window, ...]:
        """The windows to compare: at every position 1, 2, 4, ... entries on both sides, and all entries."""
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
        """The first run of every entry, then the number of runs."""
        return [0, *np.cumsum(self.runs).tolist()]

    def test(self, window: Window) -> stats.MeanChange:
        """Compare the trainings of the two sides, as the gate does.

        Runs may scatter more than their seeds, so the larger of two errors is used: over trainings and over runs.
        """
        begin, split, end = window
        before, after = np.concatenate(self.samples[begin:split]), np.concatenate(self.samples[split:end])
        if self._totals is None:
            return stats.change_of_means(before, after)
        first, second = self._totals[split] - self._totals[begin], self._totals[end] - self._totals[split]
        by_picture = stats.by_group(second / len(after) - first / len(before), self.groups)
        freedom = np.inf if self._totals.dtype == np.int64 else stats.freedom_of(by_picture)
        by_training = stats.change_of_means(before, after, by_picture, self.seed_sd, freedom)
        by_run = stats.change_of_means(self.means[begin:split], self.means[split:end], by_picture, self.run_sd, freedom)
        return max(by_training, by_run, key=lambda change: change.standard_error)

    @cached_property
    def _totals(self) -> NDArray[np.int64] | Floats | None:
        return None if self.sums is None else np.concatenate([0 * self.sums[:1], self.sums.cumsum(axis=0)])


def values(
    runs: Sequence[NDArray[np.generic]], groups: NDArray[np.int64] | None = None, pictures: float | None = None
) -> Measured:
    """Measure a family's metric over runs.

    Args:
        runs: For each run, the values of the pictures by each seed's model, True for correct answers, shape (seeds, n).
            The pictures and their order are the same, n is at least 2, and there is at least one run and one seed per
            run.
        groups: As for `stats.by_group`.
        pictures: As for `stats.detectable`; None for all pictures, or groups.
    """
    entries = [(content, len([*group])) for content, group in groupby(runs, lambda run: (run.shape, run.tobytes()))]
    starts = np.cumsum([0, *(runs for _, runs in entries)])[:-1]
    figures = [runs[at] for at in starts.tolist()]
    sums = np.stack([run.sum(axis=0) for run in figures])
    independent = sums.shape[1] if groups is None else int(groups.max()) + 1
    return Measured(
        runs=tuple(runs for _, runs in entries),
        samples=tuple(run.mean(axis=1) for run in figures),
        sums=sums,
        distinct=len({content for content, _ in entries}),
        shortest=LEAST_RUNS,
        groups=groups,
        pictures=independent if pictures is None else pictures,
    )


def step_times(seconds: Sequence[Sequence[float]]) -> Measured:
    """Measure the logarithm of a family's median step time over runs, so that a change is a ratio.

    Args:
        seconds: For each run, step times above 0; at least one run, and one time per run.
    """
    medians = tuple(np.log([np.median(times)]) for times in seconds)
    return Measured((1,) * len(medians), medians, None, len(medians), LEAST_TIMED_RUNS)


@dataclass(frozen=True)
class LevelStep:
    """A change of level that is more than noise.

    Attributes:
        at: The first run of the new level, from 0.
        before, after: The two levels: means of the entries up to the neighbouring steps.
        low, high: 95 % interval of after minus before.
        p: Two-sided p-value of the window that showed it, corrected for all tests.
    """

    at: int
    before: float
    after: float
    low: float
    high: float
    p: float


def steps(measured: Measured, least: float, tests: int) -> list[LevelStep]:
    """Find the changes of level, oldest first.

    Windows are taken in order of their p-value, skipping those that already contain a step. The step of a window is at
    the position where two levels fit best. A window must be significant after Bonferroni's correction for all tests of
    all series, so that the chance of any false step is at most `stats.LEVEL`.

    Args:
        measured: The series.
        least: The smallest change to report, in the unit of the figure.
        tests: Number of windows compared in all series, this one included.
    """
    places: dict[int, float] = {}
    tested = [(measured.test(window), window) for window in measured.windows]
    for change, window in sorted(tested, key=lambda test: test[0].p):
        if change.p * tests >= stats.LEVEL:
            break
        if not any(window.begin < at < window.end for at in places):
            places[_fitted(measured, window)] = change.p * tests
    return [*_placed(measured, places, least)]


def _fitted(measured: Measured, window: Window) -> int:
    """Locate the step within a window by least squares, which is more accurate than the position of the smallest p."""
    begin, _, end = window
    means, ends = measured.means, measured.starts
    places = [
        at for at in range(begin + 1, end) if min(ends[at] - ends[begin], ends[end] - ends[at]) >= measured.shortest
    ]
    explained = [(means[at:end].mean() - means[begin:at].mean()) ** 2 * (at - begin) * (end - at) for at in places]
    return places[int(np.argmax(explained))]


def _placed(measured: Measured, places: dict[int, float], least: float) -> Iterator[LevelStep]:
    """Measure each step between its neighbours; leave out steps smaller than `least`."""
    bounds = [0, *sorted(places), len(measured.runs)]
    for begin, split, end in zip(bounds, bounds[1:], bounds[2:], strict=False):
        change = measured.test(Window(begin, split, end))
        before, after = float(measured.means[begin:split].mean()), float(measured.means[split:end].mean())
        if abs(after - before) >= least - 1e-12:
            yield LevelStep(measured.starts[split], before, after, low=change.low, high=change.high, p=places[split])


def smallest_visible(measured: Measured, least: float, tests: int) -> float | None:
    """Estimate the smallest change in the middle that is detected with 80 % power; None with too few runs."""
    whole = [window for window in measured.windows if window.begin == 0 and window.end == len(measured.runs)]
    if not whole:
        return None
    middle = min(whole, key=lambda window: abs(2 * window.split - window.end))
    return max(measured.test(middle).detectable(stats.LEVEL / (2 * tests), measured.pictures), least)
