"""Every family over the runs of a folder: the run's metric, step time, parameters, and their changes.

A series holds comparable runs: same test pictures, same settings, same metric. Within it, a family's figures are
comparable if they started from the same weights, and its step times if the hardware is the same too. Terminal, JSON and
page all show this model.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from bench.check import levels
from bench.check.changes import ABSENT, config_changes, setting_text
from bench.check.levels import Measured
from bench.errors import BaselineError, RunFolderError, unknown
from bench.metrics import metric as named
from bench.metrics._metric import Metric
from bench.runs.results import FILE, Environment, FamilyResult, Results, of_path
from bench.text import (
    NOTHING,
    figure,
    gap,
    listing,
    one_line,
    plural,
    seconds,
    sized,
    thousands,
    with_weights,
)

SCHEMA_VERSION = 2
"""Version of `FamilyHistories.as_data`."""

BASELINE = "baseline.json"
"""File name of the committed baseline."""

LEAST = 0.005
"""Smallest change of the metric to report: 0.5 points; of a metric without a range, as a share of its mean."""

LEAST_RATIO = 1.1
"""Smallest ratio of two step times to report."""

SEEN, SEEN_RATIO = 0.5, 10.0
"""If only larger changes (as for `LEAST`, a ratio) can be detected, the noise counts as too large to see any."""

DEPTH = 4
"""Maximum depth below the folder at which runs are searched."""

DIRTY = "+"
"""Suffix of a commit whose working tree had uncommitted changes."""


class Figure(NamedTuple):
    """Formatters of a figure: a value, a change, an end of a change's interval, the smallest visible change.

    `in_percent` is True if a chart shows it in percent.
    """

    name: str
    level: Callable[[float], str]
    size: Callable[[float, float], str]
    end: Callable[[float], str] = str
    visible: Callable[[float], str] = str
    in_percent: bool = False


def metric_figure(metric: Metric) -> Figure:
    """The formatters of a metric."""
    unit = " points" if metric.percent else ""
    return Figure(
        name=one_line(metric.title, 60),
        level=lambda value: figure(value, metric),
        size=lambda before, after: f"{gap(after - before, metric)}{unit}",
        end=lambda difference: gap(difference, metric),
        visible=lambda difference: sized(difference, metric),
        in_percent=metric.percent,
    )


STEP_TIME = Figure(
    name="step time",
    level=seconds,
    size=lambda before, after: f"{after / before:.2f} times",
    end="{:.2f}".format,
    visible=lambda factor: f"{100 * (factor - 1):.0f} %",
)
PARAMETERS = Figure("parameters", lambda count: thousands(round(count)), lambda before, after: "")


@dataclass(frozen=True)
class SeriesRun:
    """A run of a series; `baseline` is True for the committed one."""

    run: str
    created_utc: str
    git_sha: str
    baseline: bool = False

    @property
    def day(self) -> str:
        """Start date, UTC."""
        return one_line(self.created_utc[:10], 10) or NOTHING

    @property
    def commit(self) -> str:
        """Its abbreviated commit; "" if unknown."""
        dirty = DIRTY if self.git_sha.endswith(DIRTY) else ""
        return one_line(self.git_sha.removesuffix(DIRTY)[:9], 9) + dirty


@dataclass(frozen=True)
class Reading:
    """A figure of run number `at` (from 0) of the series: a share, seconds, or a count.

    `low` and `high` are the 95 % interval of a metric, or the quartiles of step times.
    """

    at: int
    value: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class LevelChange:
    """A change of level.

    Attributes:
        last: Number of the last run of the level before, from 0.
        at: Number of the first run of the level after.
        before, after: The levels: of the metric, seconds (a geometric mean of the runs' medians), or a count.
        low, high: 95 % interval of after minus before, or, for seconds, of after divided by before; None for a count.
        p: Corrected p-value; None for a count, which has no noise.
        reconfigured: True if these two runs chose different configurations.
    """

    last: int
    at: int
    before: float
    after: float
    low: float | None = None
    high: float | None = None
    p: float | None = None
    reconfigured: bool = False

    def interval(self, figure: Figure) -> str:
        """The interval in words; "" without one."""
        return " to ".join(figure.end(end) for end in (self.low, self.high) if end is not None)


@dataclass(frozen=True)
class Track:
    """One figure of one family over a series.

    Attributes:
        readings, changes: Oldest first; at least one reading.
        different: Number of readings that do not repeat an earlier one (of the metric: picture by picture).
        comparisons: Number of windows of runs that were compared; 0 with too few runs.
        smallest: Estimate of the smallest visible change, or ratio for seconds; None without comparisons, or
            if the noise is too large.
        calibrated: True if the noise between repeated runs is known, from several seeds or enough runs.
        where: The hardware that the figures were measured on; "" if it does not matter.
    """

    readings: tuple[Reading, ...]
    changes: tuple[LevelChange, ...] = ()
    different: int = 0
    comparisons: int = 0
    smallest: float | None = None
    calibrated: bool = True
    where: str = ""

    @property
    def values(self) -> list[float]:
        """The figure of each run."""
        return [reading.value for reading in self.readings]

    @property
    def unseen(self) -> bool:
        """True if the figures differ and there are too few runs to tell a change from noise."""
        return not self.comparisons and len(set(self.values)) > 1

    def in_short(self, figure: Figure) -> str:
        """Summary: the number of changes, or the smallest change that would have been seen."""
        n = len(self.readings)
        if self.changes:
            return plural(len(self.changes), "change")
        if n > 1 and len(set(self.values)) == 1:
            return f"always the same ({plural(n, 'run')})"
        runs = plural(n, "run") + (f", {self.different} different" if self.different < n else "")
        if not self.comparisons:
            return f"too few runs to see a change ({runs})"
        if self.smallest is None:
            return f"the noise is too large to see a change ({runs}): more seeds or more runs would show one"
        return f"no change larger than noise ({runs}, smallest visible change about {figure.visible(self.smallest)})"


@dataclass(frozen=True)
class FamilyHistory:
    """A family over those runs of a series in which it started from the same weights.

    Attributes:
        metric: The metric that the runs chose by, as in `--metric`.
        quality: Its values.
        times: Step times, one track per hardware, the latest first; empty if none were measured.
        parameters: None if they were not counted.
        without: Number of runs in which it has no scored model, by its status there.
    """

    name: str
    weights: str
    metric: str
    quality: Track
    times: tuple[Track, ...] = ()
    parameters: Track | None = None
    without: Mapping[str, int] = field(default_factory=dict)

    @property
    def label(self) -> str:
        """Its name, labelled if it trained from random weights."""
        return with_weights(self.name, self.weights)

    @property
    def figure(self) -> Figure:
        """The formatters of its metric."""
        return metric_figure(named(self.metric))

    @property
    def tracks(self) -> list[tuple[Figure, Track]]:
        """All its tracks, with the figure that each shows."""
        sizes = [(PARAMETERS, self.parameters)] if self.parameters else []
        return [(self.figure, self.quality), *((STEP_TIME, track) for track in self.times), *sizes]


@dataclass(frozen=True)
class RunSeries:
    """Comparable runs.

    Attributes:
        n: Number of test pictures.
        runs: Oldest first.
        families: In the order of the latest run, then those that it does not have.
        differs: Differences from the previous series, in words; empty for the first.
    """

    source: str
    n: int
    test_ids_sha256: str
    config_sha256: str
    runs: tuple[SeriesRun, ...]
    families: tuple[FamilyHistory, ...]
    differs: tuple[str, ...] = ()

    @property
    def span(self) -> str:
        """Dates of the first and the last run."""
        return " to ".join(dict.fromkeys((self.runs[0].day, self.runs[-1].day)))

    @property
    def differing(self) -> str:
        """Short list of the differences from the previous series."""
        return listing([one_line(difference, 60) for difference in self.differs])

    @property
    def calibrated(self) -> bool:
        """False if the change of some family may be due to its seed alone."""
        return all(family.quality.calibrated for family in self.families)

    @property
    def changes(self) -> list[tuple[FamilyHistory, Figure, LevelChange]]:
        """All changes, grouped by family."""
        return [
            (family, figure, change)
            for family in self.families
            for figure, track in family.tracks
            for change in track.changes
        ]

    def commits(self, change: LevelChange) -> str:
        """Name the two commits between which a change lies; "" if they are unknown.

        Two runs of one commit have the same code only if neither has uncommitted changes.
        """
        last, at = self.runs[change.last], self.runs[change.at]
        if not last.commit and not at.commit:
            return ""
        if last.git_sha == at.git_sha and not at.git_sha.endswith(DIRTY):
            return f"same commit {at.commit}"
        return f"{last.commit or 'unknown'}..{at.commit or 'unknown'}"


@dataclass(frozen=True)
class UnreadableFile:
    """A file or run folder that is damaged or too new."""

    file: str
    reason: str


@dataclass(frozen=True)
class StoredResults:
    """The results below a folder: those of runs, oldest first, and those of the committed baseline."""

    results: tuple[Results, ...] = ()
    baseline: Results | None = None
    unreadable: tuple[UnreadableFile, ...] = ()


@dataclass(frozen=True)
class FamilyHistories:
    """Every family over the runs: the series, the latest first, and the runs that were left out."""

    series: tuple[RunSeries, ...]
    unfinished: tuple[SeriesRun, ...] = ()
    unreadable: tuple[UnreadableFile, ...] = ()

    def as_data(self) -> dict[str, Any]:
        """Convert to plain data for JSON: shares, seconds and counts, not rounded."""
        return {"schema_version": SCHEMA_VERSION, **asdict(self)}


# -- from files


def find(folder: Path) -> StoredResults:
    """Read the results of every run below a folder; unreadable ones are listed."""
    contents, unreadable, baseline = {}, [], folder / BASELINE
    for path in (*_run_folders(folder), *([baseline] if baseline.is_file() else [])):
        try:
            contents[path] = of_path(path)
        except (BaselineError, RunFolderError) as error:
            unreadable.append(UnreadableFile(str(path), str(error).removeprefix(f"{path}: ")))
    committed = contents.pop(baseline, None)
    return StoredResults(tuple(sorted(contents.values(), key=_when)), committed, tuple(unreadable))


def _run_folders(folder: Path) -> Iterator[Path]:
    """Find the run folders below a folder; links are not followed."""
    for name, folders, files in os.walk(folder):
        path = Path(name)
        is_run = FILE in files or "run.json" in files
        if is_run:
            yield path
        ends = is_run or len(path.relative_to(folder).parts) >= DEPTH
        folders[:] = [] if ends else sorted(below for below in folders if not below.startswith("."))


def _when(results: Results) -> tuple[str, str]:
    return results.created_utc, results.run


def _identity(results: Results) -> tuple[str, str, str, Environment]:
    """Key of a run, which a copy of the run shares."""
    return results.created_utc, results.run, results.git_sha, results.env


# -- series


def history(stored: StoredResults, families: Iterable[str] = (), least: float = LEAST) -> FamilyHistories:
    """Group all complete runs, including the baseline's, into series, the latest series first.

    Args:
        stored: The results.
        families: Names of the families to show; empty: all. Changes are corrected for all families in any case.
        least: The smallest change of the metric to report, as for `LEAST`.

    Raises:
        ConfigError: There is no such family.
    """
    by_identity = {_identity(results): results for results in stored.results}
    baseline = _identity(stored.baseline) if stored.baseline else None
    if stored.baseline:
        by_identity[_identity(stored.baseline)] = stored.baseline  # it may have more seeds than its run
    known = {name for results in by_identity.values() for name in results.families}
    for name in set(families) - known if known else ():
        raise unknown("family", name, map(one_line, known))
    groups: dict[tuple[str, str, int], list[Results]] = {}
    unfinished = []
    for results in sorted(by_identity.values(), key=_when):
        if results.status == "complete":
            key = results.split.test_ids_sha256, results.config_sha256, results.split.n
            groups.setdefault(key, []).append(results)
        else:
            unfinished.append(results)

    def described(runs: Iterable[Results]) -> tuple[SeriesRun, ...]:
        return tuple(
            SeriesRun(results.run, results.created_utc, results.git_sha, _identity(results) == baseline)
            for results in runs
        )

    series: list[RunSeries] = []
    earlier: Results | None = None
    for group in sorted(groups.values(), key=lambda group: _when(group[-1])):
        latest = group[-1]
        series.append(
            RunSeries(
                source=latest.split.source,
                n=latest.split.n,
                test_ids_sha256=latest.split.test_ids_sha256,
                config_sha256=latest.config_sha256,
                runs=described(group),
                families=tuple(_families(group, set(families), least)),
                differs=tuple(_differences(earlier, latest)) if earlier else (),
            )
        )
        earlier = latest
    return FamilyHistories(tuple(reversed(series)), described(unfinished), stored.unreadable)


def _differences(before: Results, after: Results) -> Iterator[str]:
    if before.split.test_ids_sha256 != after.split.test_ids_sha256 or before.split.n != after.split.n:
        sides = [f"{results.split.n:,} of {results.split.source}" for results in (before, after)]
        yield f"different test pictures ({sides[0]} → {sides[1]})"
    for name, old, new in config_changes(before, after):
        shown = ("not set" if value is ABSENT else setting_text(value) for value in (old, new))
        yield f"{name} {' → '.join(shown)}"


# -- families

FamilyRuns = Mapping[int, FamilyResult]
"""Results of a family by the number of the run in the series."""


def _families(group: Sequence[Results], wanted: set[str], least: float) -> Iterator[FamilyHistory]:
    scored, latest = _scored(group), group[-1]
    groups, pictures = latest.split.group_numbers, latest.split.support(latest.metric) / latest.metric.span
    qualities = {
        key: levels.values([family.compared for family in runs.values()], groups, pictures)
        for key, runs in scored.items()
    }
    timed = {
        (key, where): timed_runs
        for key, runs in scored.items()
        for where, timed_runs in _by_hardware(runs, group).items()
    }
    times = {key: levels.step_times([family.step_time_s for family in runs.values()]) for key, runs in timed.items()}
    tests, time_tests = (sum(len(m.windows) for m in measured.values()) for measured in (qualities, times))
    for key, runs in scored.items():
        name, weights = key
        if wanted and name not in wanted:
            continue
        ended = [str(results.families[name].status) for results in group if name in results.families]
        yield FamilyHistory(
            name=name,
            weights=weights,
            metric=latest.metric.name,
            quality=_quality_track(runs, latest, qualities[key], tests, least),
            times=tuple(
                _time_track(timed[place], measured, time_tests, place[1])
                for place, measured in times.items()
                if place[0] == key
            ),
            parameters=_parameter_track(runs),
            without={status: ended.count(status) for status in dict.fromkeys(ended) if status != "complete"},
        )


def _scored(group: Sequence[Results]) -> dict[tuple[str, str], FamilyRuns]:
    """Group the scored results by name and weights: names in the latest run's order, the latest weights first."""
    scored: dict[tuple[str, str], dict[int, FamilyResult]] = {}
    names = [*dict.fromkeys(name for results in reversed(group) for name in results.families)]
    for at, results in enumerate(group):
        for name, family in results.families.items():
            if family.accuracy is not None and results.split.n > 1:
                scored.setdefault((name, family.weights), {})[at] = family
    return dict(sorted(scored.items(), key=lambda item: (names.index(item[0][0]), -max(item[1]))))


def _by_hardware(runs: FamilyRuns, group: Sequence[Results]) -> dict[str, FamilyRuns]:
    """Group the runs with step times by hardware, that of the latest run first."""
    places: dict[str, dict[int, FamilyResult]] = {}
    for at, family in runs.items():
        if family.step_time_s and min(family.step_time_s) > 0:
            cpu, cores, gpu = group[at].env.hardware
            parts = (cpu, f"{cores} cores", gpu, "on features" if family.on_features else "")
            places.setdefault(", ".join(filter(None, parts)), {})[at] = family
    return dict(sorted(places.items(), key=lambda place: -max(place[1])))


def _quality_track(runs: FamilyRuns, latest: Results, measured: Measured, tests: int, least: float) -> Track:
    readings = [Reading(at, *latest.over_seeds(family)) for at, family in runs.items()]
    unit = 1.0 if math.isfinite(latest.metric.span) else abs(float(measured.means.mean()))
    return _track(runs, readings, measured, tests, least=least * unit, most=SEEN * unit)


def _time_track(runs: FamilyRuns, measured: Measured, tests: int, where: str) -> Track:
    readings = [Reading(at, *np.percentile(family.step_time_s, (50, 25, 75)).tolist()) for at, family in runs.items()]
    ends = {"least": math.log(LEAST_RATIO), "most": math.log(SEEN_RATIO)}
    return _track(runs, readings, measured, tests, unit=math.exp, where=where, **ends)


def _track(
    runs: FamilyRuns,
    readings: Sequence[Reading],
    measured: Measured,
    tests: int,
    *,
    least: float,
    most: float,
    unit: Callable[[float], float] = float,
    where: str = "",
) -> Track:
    places, smallest = list(runs), levels.smallest_visible(measured, least, tests)
    changes = []
    for step in levels.steps(measured, least, tests):
        last, at = places[step.at - 1], places[step.at]
        values = {name: unit(getattr(step, name)) for name in ("before", "after", "low", "high")}
        changes.append(LevelChange(last, at, **values, p=step.p, reconfigured=_reconfigured(runs, last, at)))
    return Track(
        readings=tuple(readings),
        changes=tuple(changes),
        different=measured.distinct,
        comparisons=len(measured.windows),
        smallest=None if smallest is None or smallest > most else unit(smallest),
        calibrated=measured.calibrated,
        where=where,
    )


def _reconfigured(runs: FamilyRuns, last: int, at: int) -> bool:
    return runs[last].config_sha256 != runs[at].config_sha256


def _parameter_track(runs: FamilyRuns) -> Track | None:
    """Track the number of parameters, which has no noise: every change counts."""
    counts = {at: family.parameters for at, family in runs.items() if family.parameters is not None}
    changes = [
        LevelChange(last, at, before, after, reconfigured=_reconfigured(runs, last, at))
        for (last, before), (at, after) in pairwise(counts.items())
        if before != after
    ]
    readings = tuple(Reading(at, count) for at, count in counts.items())
    return Track(readings, tuple(changes), len(set(counts.values()))) if readings else None
