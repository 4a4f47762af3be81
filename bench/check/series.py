"""Every family over the runs of a folder: accuracy, step time, parameters, and where they changed.

Runs stand in one series where they compare: the same test pictures and the same settings. Within it a family's
accuracies compare where it started from the same weights, and its step times where the hardware is the same too. The
terminal, the JSON and the page all show this model.
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

from bench import stats
from bench.check import levels
from bench.check.changes import ABSENT, setting_changes
from bench.check.levels import Measured
from bench.errors import BaselineError, RunFolderError, unknown
from bench.runs.results import FILE, Environment, FamilyResult, Results, of_path
from bench.text import (
    NOTHING,
    listing,
    one_line,
    percent,
    plural,
    points,
    seconds,
    thousands,
    with_weights,
)

SCHEMA_VERSION = 1
"""Of `FamilyHistories.as_data`."""

BASELINE = "baseline.json"
"""The baseline among the runs."""

LEAST = 0.005
"""Smallest change of accuracy that counts, as a share."""

LEAST_RATIO = 1.1
"""Smallest factor between two step times that counts."""

SEEN, SEEN_RATIO = 0.5, 10.0
"""A change that would show only beyond that, a share and a factor, counts as invisible."""

DEPTH = 4
"""Runs are looked for so far below the folder."""

DIRTY = "+"
"""Ends a commit whose working tree had changes that are in no commit."""


class Figure(NamedTuple):
    """The words for a figure: one value, a change, an end of a change's interval, the smallest change to be seen."""

    name: str
    level: Callable[[float], str]
    size: Callable[[float, float], str]
    end: Callable[[float], str] = str
    visible: Callable[[float], str] = str


ACCURACY = Figure(
    name="accuracy",
    level=percent,
    size=lambda before, after: f"{points(after - before)} points",
    end=points,
    visible=lambda share: f"{100 * share:.1f} points",
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
    """A run of a series; `baseline` says that it is the committed one."""

    run: str
    created_utc: str
    git_sha: str
    baseline: bool = False

    @property
    def day(self) -> str:
        """The day it began, UTC."""
        return one_line(self.created_utc[:10], 10) or NOTHING

    @property
    def commit(self) -> str:
        """Its commit in short; "" where it is not known."""
        dirty = DIRTY if self.git_sha.endswith(DIRTY) else ""
        return one_line(self.git_sha.removesuffix(DIRTY)[:9], 9) + dirty


@dataclass(frozen=True)
class Reading:
    """A figure of the run `at`, from 0, in the series: a share, seconds, or a count.

    `low` and `high` are the 95 % interval of an accuracy, and the middle half of the step times.
    """

    at: int
    value: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class LevelChange:
    """A change of level.

    Attributes:
        last: The last run of the level before, in the series from 0.
        at: The first run of the one after.
        before, after: The levels: a share, seconds (a geometric mean of the runs' medians), or a count.
        low, high: 95 % interval of after less before, or of after divided by before for seconds; None for a count.
        p: Corrected p-value; None for a count, which has no noise.
        reconfigured: Whether the run before and the run after have chosen different configurations.
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
        different: How many of the readings do not repeat an earlier one, picture by picture for accuracies.
        comparisons: How many windows of runs were compared; 0 where there are too few runs for any.
        smallest: About the smallest change that would be seen: a share, or a factor for seconds; None where there is no
            comparison or the noise is too large to see any.
        calibrated: Whether the noise of making a run once more is known, from several seeds or enough runs.
        where: The hardware that the figures were measured on; "" where that does not matter.
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

    def in_short(self, figure: Figure) -> str:
        """Count the changes, or say which ones would have been seen."""
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
    """A family over a series, as far as it started from the same weights.

    Attributes:
        times: Step times, a track for each hardware, the latest first; empty where none was measured.
        parameters: None where they were not counted.
        without: In how many runs it has no scored model, by how it ended there.
    """

    name: str
    weights: str
    accuracy: Track
    times: tuple[Track, ...] = ()
    parameters: Track | None = None
    without: Mapping[str, int] = field(default_factory=dict)

    @property
    def label(self) -> str:
        """Its name, with the weights where they were not pretrained."""
        return with_weights(self.name, self.weights)

    @property
    def tracks(self) -> list[tuple[Figure, Track]]:
        """All that was measured of it."""
        sizes = [(PARAMETERS, self.parameters)] if self.parameters else []
        return [(ACCURACY, self.accuracy), *((STEP_TIME, track) for track in self.times), *sizes]


@dataclass(frozen=True)
class RunSeries:
    """Runs that compare.

    Attributes:
        n: Number of test pictures.
        runs: Oldest first.
        families: In the order of the latest run, then those that it does not have.
        differs: What is different from the series before it, in words; empty for the first.
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
        """The days of the first and the last run."""
        return " to ".join(dict.fromkeys((self.runs[0].day, self.runs[-1].day)))

    @property
    def differing(self) -> str:
        """The differences to the series before it, in short."""
        return listing([one_line(difference, 60) for difference in self.differs])

    @property
    def calibrated(self) -> bool:
        """False where a change of some family may be the luck of a seed."""
        return all(family.accuracy.calibrated for family in self.families)

    @property
    def changes(self) -> list[tuple[FamilyHistory, Figure, LevelChange]]:
        """All changes, family by family."""
        return [
            (family, figure, change)
            for family in self.families
            for figure, track in family.tracks
            for change in track.changes
        ]

    def commits(self, change: LevelChange) -> str:
        """Name the two commits between which a change lies; "" where they are not known.

        Two runs of one commit are of the same code only where neither has changes beside it.
        """
        last, at = self.runs[change.last], self.runs[change.at]
        if not last.commit and not at.commit:
            return ""
        if last.git_sha == at.git_sha and not at.git_sha.endswith(DIRTY):
            return f"same commit {at.commit}"
        return f"{last.commit or 'unknown'}..{at.commit or 'unknown'}"


@dataclass(frozen=True)
class UnreadableFile:
    """A file, or a run folder, that is damaged or too new."""

    file: str
    reason: str


@dataclass(frozen=True)
class StoredResults:
    """The results below a folder: of the runs, oldest first, and of the committed baseline."""

    results: tuple[Results, ...] = ()
    baseline: Results | None = None
    unreadable: tuple[UnreadableFile, ...] = ()


@dataclass(frozen=True)
class FamilyHistories:
    """Every family over the runs: the series, the latest first, and what was left out."""

    series: tuple[RunSeries, ...]
    unfinished: tuple[SeriesRun, ...] = ()
    unreadable: tuple[UnreadableFile, ...] = ()

    def as_data(self) -> dict[str, Any]:
        """Give all of it as plain data, for JSON: shares, seconds and counts, nothing rounded."""
        return {"schema_version": SCHEMA_VERSION, **asdict(self)}


# -- from files


def find(folder: Path) -> StoredResults:
    """Read the results of every run below a folder; those that cannot be read are named, never fatal."""
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
    """Identify a run: a copy of it has the same."""
    return results.created_utc, results.run, results.git_sha, results.env


# -- series


def history(stored: StoredResults, families: Iterable[str] = (), least: float = LEAST) -> FamilyHistories:
    """Put all complete runs into series, the baseline's among them, the latest series first.

    Args:
        stored: The results.
        families: Names of those that are wanted; empty: all. Either way changes are corrected for all of them.
        least: The smallest change of accuracy that counts, as a share.

    Raises:
        ConfigError: There is no such family.
    """
    every = {_identity(results): results for results in stored.results}
    baseline = _identity(stored.baseline) if stored.baseline else None
    if stored.baseline:
        every[_identity(stored.baseline)] = stored.baseline  # it may have more seeds than its run
    known = {name for results in every.values() for name in results.families}
    for name in set(families) - known if known else ():
        raise unknown("family", name, map(one_line, known))
    groups: dict[tuple[str, str, int], list[Results]] = {}
    unfinished = []
    for results in sorted(every.values(), key=_when):
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
        yield f"other test pictures ({sides[0]} → {sides[1]})"
    for name, old, new in setting_changes(before.config, after.config):
        yield f"{name} {' → '.join('not set' if value is ABSENT else str(value) for value in (old, new))}"


# -- families

FamilyRuns = Mapping[int, FamilyResult]
"""The results of a family by the number of the run in the series."""


def _families(group: Sequence[Results], wanted: set[str], least: float) -> Iterator[FamilyHistory]:
    scored = _scored(group)
    shares = {key: levels.accuracies([family.correct for family in runs.values()]) for key, runs in scored.items()}
    timed = {(key, where): each for key, runs in scored.items() for where, each in _by_hardware(runs, group).items()}
    times = {key: levels.step_times([family.step_time_s for family in runs.values()]) for key, runs in timed.items()}
    share_tests, time_tests = (sum(len(m.windows) for m in every.values()) for every in (shares, times))
    for key, runs in scored.items():
        name, weights = key
        if wanted and name not in wanted:
            continue
        ended = [str(results.families[name].status) for results in group if name in results.families]
        yield FamilyHistory(
            name=name,
            weights=weights,
            accuracy=_accuracy_track(runs, shares[key], share_tests, least),
            times=tuple(
                _time_track(timed[place], measured, time_tests, place[1])
                for place, measured in times.items()
                if place[0] == key
            ),
            parameters=_parameter_track(runs),
            without={status: ended.count(status) for status in dict.fromkeys(ended) if status != "complete"},
        )


def _scored(group: Sequence[Results]) -> dict[tuple[str, str], FamilyRuns]:
    """Collect the scored results by name and weights: names in the latest run's order, the latest weights first."""
    scored: dict[tuple[str, str], dict[int, FamilyResult]] = {}
    names = [*dict.fromkeys(name for results in reversed(group) for name in results.families)]
    for at, results in enumerate(group):
        for name, family in results.families.items():
            if family.accuracy is not None and results.split.n > 1:
                scored.setdefault((name, family.weights), {})[at] = family
    return dict(sorted(scored.items(), key=lambda item: (names.index(item[0][0]), -max(item[1]))))


def _by_hardware(runs: FamilyRuns, group: Sequence[Results]) -> dict[str, FamilyRuns]:
    """Collect the runs with step times by what they were measured on, that of the latest run first."""
    places: dict[str, dict[int, FamilyResult]] = {}
    for at, family in runs.items():
        if family.step_time_s and min(family.step_time_s) > 0:
            cpu, cores, gpu = group[at].env.hardware
            parts = (cpu, f"{cores} cores", gpu, "on features" if family.on_features else "")
            places.setdefault(", ".join(filter(None, parts)), {})[at] = family
    return dict(sorted(places.items(), key=lambda place: -max(place[1])))


def _accuracy_track(runs: FamilyRuns, measured: Measured, tests: int, least: float) -> Track:
    readings = [Reading(at, *stats.over_seeds(family.correct)) for at, family in runs.items()]
    return _track(runs, readings, measured, tests, least=least, most=SEEN)


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
    """Every change counts: a number of parameters has no noise."""
    counts = {at: family.parameters for at, family in runs.items() if family.parameters is not None}
    changes = [
        LevelChange(last, at, before, after, reconfigured=_reconfigured(runs, last, at))
        for (last, before), (at, after) in pairwise(counts.items())
        if before != after
    ]
    readings = tuple(Reading(at, count) for at, count in counts.items())
    return Track(readings, tuple(changes), len(set(counts.values()))) if readings else None
