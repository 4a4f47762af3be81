"""Every family over the runs of a folder: accuracy, step time, parameters, and where they changed.

Runs stand in one series where they compare: the same test pictures and the same settings. Within it a family's
accuracies compare where it started from the same weights, and its step times where the hardware is the same too.
Nothing here prints.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from bench import stats
from bench.check import levels
from bench.check.changes import ABSENT, setting_changes
from bench.check.levels import Measured
from bench.errors import BaselineError
from bench.runs.results import FILE, Environment, FamilyResult, Results, read

SCHEMA_VERSION = 1
"""Of `as_data`."""

BASELINE = "baseline.json"
"""The baseline among the runs."""

LEAST = 0.005
"""An accuracy that changes by less is no change point, as a share: half a point."""

LEAST_RATIO = 1.1
"""A step time that changes by a smaller factor is none."""

SEEN, SEEN_RATIO = 0.5, 10.0
"""What is visible only beyond that, a share and a factor, is not visible."""

DEPTH = 4
"""So far below the folder are runs looked for."""


@dataclass(frozen=True)
class SeriesRun:
    """A run of a series; `baseline` says that it is the committed one."""

    run: str
    created_utc: str
    git_sha: str
    baseline: bool = False


@dataclass(frozen=True)
class Reading:
    """A figure of one run.

    Attributes:
        at: Which run of the series, from 0.
        value: A share, seconds, or a count.
        low, high: Its 95 % interval (accuracy), or the middle half of what it is the median of (step time).
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


@dataclass(frozen=True)
class Track:
    """One figure of one family over a series.

    Attributes:
        readings: Oldest first, at least one.
        changes: Oldest first.
        different: How many of the readings do not repeat an earlier one, picture by picture for accuracies.
        comparisons: How many windows of runs were compared; 0 where there are too few runs for any.
        smallest: About the smallest change that would be seen: a share, or a factor for seconds; None where there is no
            comparison or the noise is too large to see any.
        calibrated: Whether the noise of making a run once more is known, from several seeds or enough runs.
        where: What the figures were measured on; "" where that does not matter.
    """

    readings: tuple[Reading, ...]
    changes: tuple[LevelChange, ...] = ()
    different: int = 0
    comparisons: int = 0
    smallest: float | None = None
    calibrated: bool = True
    where: str = ""


@dataclass(frozen=True)
class FamilyHistory:
    """A family over a series, as far as it started from the same weights.

    Attributes:
        weights: As in `FamilyResult`.
        accuracy: On the test pictures.
        times: Step times, a track for each hardware, the latest first; empty where none was measured.
        parameters: How many numbers are in the model; None where that was not measured.
        without: In how many runs it has no scored model, by how it ended there.
    """

    name: str
    weights: str
    accuracy: Track
    times: tuple[Track, ...] = ()
    parameters: Track | None = None
    without: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class RunSeries:
    """Runs that compare.

    Attributes:
        source: What people call the data, by the latest run.
        n: How many test pictures.
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


@dataclass(frozen=True)
class StoredResults:
    """The results below a folder.

    Attributes:
        results: Of the runs that could be read, oldest first.
        baseline: The committed one; None where there is none.
        unreadable: Files that are damaged or too new, with the reason.
        underived: Run folders that have no file of results.
    """

    results: tuple[Results, ...] = ()
    baseline: Results | None = None
    unreadable: Mapping[Path, str] = field(default_factory=dict)
    underived: tuple[Path, ...] = ()

    @property
    def families(self) -> list[str]:
        """All names, sorted."""
        every = [*self.results, *([self.baseline] if self.baseline else [])]
        return sorted({name for results in every for name in results.families})


@dataclass(frozen=True)
class FamilyHistories:
    """Every family over the runs, series by series.

    Attributes:
        series: The latest first.
        unfinished: Runs that were left out because they are not complete.
    """

    series: tuple[RunSeries, ...]
    unfinished: tuple[SeriesRun, ...] = ()


# -- from files


def find(folder: Path) -> StoredResults:
    """Read the results of every run below a folder; those that cannot be read are named, never fatal."""
    files, underived = _files(folder)
    contents, unreadable = [], {}
    baseline_path = folder / BASELINE
    for path in [*files, *([baseline_path] if baseline_path.is_file() else [])]:
        try:
            contents.append((path, read(path)))
        except BaselineError as error:
            unreadable[path] = str(error).removeprefix(f"{path}: ")
    baseline = next((results for path, results in contents if path == baseline_path), None)
    runs = sorted((results for path, results in contents if path != baseline_path), key=_when)
    return StoredResults(tuple(runs), baseline, unreadable, tuple(underived))


def _files(folder: Path) -> tuple[list[Path], list[Path]]:
    """The files of results below a folder, and the run folders without one; links to folders are not followed."""
    files, without = [], []
    for name, folders, names in os.walk(folder):
        path = Path(name)
        if FILE in names:
            files.append(path / FILE)
        elif "run.json" in names:
            without.append(path)
        deep = len(path.relative_to(folder).parts) >= DEPTH
        ended = deep or FILE in names or "run.json" in names
        folders[:] = [] if ended else sorted(each for each in folders if not each.startswith("."))
    return sorted(files), sorted(without)


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
        families: Names of those that are wanted; empty: all. What is found of them is the same either way: where a
            change is looked for in all families, it is corrected for all.
        least: The smallest change of accuracy that counts, as a share.
    """
    runs = {_identity(results): results for results in stored.results}
    baseline = stored.baseline
    if baseline is not None:
        runs[_identity(baseline)] = baseline  # the same run as its folder has, perhaps with more seeds
    finished = sorted((results for results in runs.values() if results.status == "complete"), key=_when)
    unfinished = sorted((results for results in runs.values() if results.status != "complete"), key=_when)
    groups: dict[tuple[str, str, int], list[Results]] = {}
    for results in finished:
        groups.setdefault((results.split.test_ids_sha256, results.config_sha256, results.split.n), []).append(results)
    in_order = sorted(groups.values(), key=lambda group: _when(group[-1]))
    wanted = set(families)
    series = [
        _series(group, baseline, wanted, least, earlier)
        for earlier, group in zip([None, *(group[-1] for group in in_order)], in_order, strict=False)
    ]
    return FamilyHistories(tuple(reversed(series)), tuple(_series_run(results, baseline) for results in unfinished))


def _series_run(results: Results, baseline: Results | None) -> SeriesRun:
    is_baseline = baseline is not None and _identity(results) == _identity(baseline)
    return SeriesRun(results.run, results.created_utc, results.git_sha, is_baseline)


def _series(
    group: Sequence[Results], baseline: Results | None, wanted: set[str], least: float, earlier: Results | None
) -> RunSeries:
    latest = group[-1]
    names = dict.fromkeys(name for results in reversed(group) for name in results.families)
    scored: dict[tuple[str, str], dict[int, FamilyResult]] = {}
    for name in names if latest.split.n > 1 else ():
        for at, results in enumerate(group):
            family = results.families.get(name)
            if family is not None and family.accuracy is not None:
                scored.setdefault((name, family.weights), {})[at] = family
    order = {name: place for place, name in enumerate(names)}
    scored = dict(sorted(scored.items(), key=lambda each: (order[each[0][0]], -max(each[1]))))
    return RunSeries(
        source=latest.split.source,
        n=latest.split.n,
        test_ids_sha256=latest.split.test_ids_sha256,
        config_sha256=latest.config_sha256,
        runs=tuple(_series_run(results, baseline) for results in group),
        families=tuple(_families(scored, group, wanted, least)),
        differs=tuple(_differences(earlier, latest)) if earlier else (),
    )


def _families(
    scored: Mapping[tuple[str, str], Mapping[int, FamilyResult]],
    group: Sequence[Results],
    wanted: set[str],
    least: float,
) -> Iterator[FamilyHistory]:
    shares = {key: levels.accuracies([family.correct for family in runs.values()]) for key, runs in scored.items()}
    timed = {key: _by_hardware(runs, group) for key, runs in scored.items()}
    seconds = {
        (key, where): levels.step_times([runs[at].step_time_s for at in runs])
        for key, places in timed.items()
        for where, runs in places.items()
    }
    among_shares, among_seconds = _tests(shares.values()), _tests(seconds.values())
    for key, runs in scored.items():
        name, weights = key
        if wanted and name not in wanted:
            continue
        times = [
            _time_track(places, seconds[key, where], among_seconds, where)
            for where, places in reversed(timed[key].items())
        ]
        ended = [str(results.families[name].status) for results in group if name in results.families]
        without = {status: ended.count(status) for status in dict.fromkeys(ended) if status != "complete"}
        accuracy = _accuracy_track(runs, shares[key], among_shares, least)
        yield FamilyHistory(
            name=name,
            weights=weights,
            accuracy=accuracy,
            times=tuple(times),
            parameters=_parameter_track(runs),
            without=without,
        )


def _tests(every: Iterable[Measured]) -> int:
    """Count the windows that are compared in several series together."""
    return sum(len(measured.windows) for measured in every)


def _by_hardware(runs: Mapping[int, FamilyResult], group: Sequence[Results]) -> dict[str, dict[int, FamilyResult]]:
    """The runs with step times by what they were measured on, that of the latest run last."""
    places: dict[str, dict[int, FamilyResult]] = {}
    for at, family in runs.items():
        if family.step_time_s and min(family.step_time_s) > 0:
            cpu, cores, gpu = group[at].env.hardware
            machine = ", ".join(each for each in (cpu, f"{cores} cores", gpu) if each)
            where = f"{machine}, on features" if family.on_features else machine
            places.setdefault(where, {})[at] = family
    return dict(sorted(places.items(), key=lambda place: max(place[1])))


# -- tracks


def _accuracy_track(runs: Mapping[int, FamilyResult], measured: Measured, tests: int, least: float) -> Track:
    readings = [Reading(at, *stats.over_seeds(family.correct)) for at, family in runs.items()]
    return _track(runs, readings, measured, tests, least=least, most=SEEN)


def _time_track(runs: Mapping[int, FamilyResult], measured: Measured, tests: int, where: str) -> Track:
    quartiles = [np.percentile(family.step_time_s, (50, 25, 75)).tolist() for family in runs.values()]
    readings = [Reading(at, *each) for at, each in zip(runs, quartiles, strict=True)]
    ends = {"least": math.log(LEAST_RATIO), "most": math.log(SEEN_RATIO)}
    return _track(runs, readings, measured, tests, unit=math.exp, where=where, **ends)


def _track(
    runs: Mapping[int, FamilyResult],
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
    changes = [
        LevelChange(
            last=places[step.at - 1],
            at=places[step.at],
            before=unit(step.before),
            after=unit(step.after),
            low=unit(step.low),
            high=unit(step.high),
            p=step.p,
            reconfigured=_reconfigured(runs, places[step.at - 1], places[step.at]),
        )
        for step in levels.steps(measured, least, tests)
    ]
    return Track(
        readings=tuple(readings),
        changes=tuple(changes),
        different=measured.distinct,
        comparisons=len(measured.windows),
        smallest=None if smallest is None or smallest > most else unit(smallest),
        calibrated=measured.calibrated,
        where=where,
    )


def _reconfigured(runs: Mapping[int, FamilyResult], last: int, at: int) -> bool:
    return runs[last].config_sha256 != runs[at].config_sha256


def _parameter_track(runs: Mapping[int, FamilyResult]) -> Track | None:
    """Every change is one: a count has no noise."""
    counts = {at: family.parameters for at, family in runs.items() if family.parameters is not None}
    if not counts:
        return None
    changes = [
        LevelChange(last, at, before, after, reconfigured=_reconfigured(runs, last, at))
        for (last, before), (at, after) in pairwise(counts.items())
        if before != after
    ]
    different = len(set(counts.values()))
    return Track(tuple(Reading(at, value) for at, value in counts.items()), tuple(changes), different)


# -- what sets two series apart


def _differences(before: Results, after: Results) -> Iterator[str]:
    if before.split.test_ids_sha256 != after.split.test_ids_sha256 or before.split.n != after.split.n:
        sides = [f"{results.split.n:,} of {results.split.source}" for results in (before, after)]
        yield f"other test pictures ({sides[0]} → {sides[1]})"
    for name, old, new in setting_changes(before.config, after.config):
        yield f"{name} {_setting(old)} → {_setting(new)}"


def _setting(value: object) -> str:
    return "not set" if value is ABSENT else str(value)


# -- as plain data


def as_data(stored: StoredResults, histories: FamilyHistories) -> dict[str, Any]:
    """Give all of it as plain data, for JSON: shares, seconds and counts, nothing rounded."""
    return {
        "schema_version": SCHEMA_VERSION,
        "series": [asdict(series) for series in histories.series],
        "unfinished": [asdict(entry) for entry in histories.unfinished],
        "unreadable": [{"file": str(path), "reason": reason} for path, reason in stored.unreadable.items()],
        "without_results": [str(path) for path in stored.underived],
    }
