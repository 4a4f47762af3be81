"""What became of every family over the runs of a folder: accuracy, step time, parameters, and where they changed.

Runs stand in one series where they compare: the same test pictures and the same settings. Within it a family's
accuracies compare where it started from the same weights, and its step times where the hardware is the same too.
Nothing here prints: `terminal.py` and `page.py` do, in the words of `words.py`.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

from bench import stats
from bench.check import changepoints
from bench.check.changepoints import ChangePoint, Levels
from bench.errors import BaselineError
from bench.runs.results import FILE, Environment, FamilyResult, Results, read, settings

SCHEMA_VERSION = 1
"""Of `plain`."""

BASELINE = "baseline.json"
"""The kept results among the runs."""

LEAST = 0.005
"""An accuracy that changes by less is no change point, as a share: half a point."""

LEAST_RATIO = 1.1
"""A step time that changes by a smaller factor is none."""

SEEN, SEEN_RATIO = 0.5, 10.0
"""What is visible only beyond that, a share and a factor, is not visible."""

DEPTH = 4
"""So far below the folder are runs looked for."""


@dataclass(frozen=True)
class Entry:
    """A run of a series; `baseline` says that it is the one that was kept."""

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
class Change:
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
        comparisons: How many pairs of levels were compared; 0 where there are too few runs for any.
        smallest: About the smallest change that would be seen: a share, or a factor for seconds; None where there is no
            comparison or the noise is too large to see any.
        calibrated: Whether the noise of making a run once more is known, from several seeds or enough runs.
        where: What the figures were measured on; "" where that does not matter.
    """

    readings: tuple[Reading, ...]
    changes: tuple[Change, ...] = ()
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
class Series:
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
    runs: tuple[Entry, ...]
    families: tuple[FamilyHistory, ...]
    differs: tuple[str, ...] = ()


@dataclass(frozen=True)
class Found:
    """What lies below a folder.

    Attributes:
        results: Of the runs that could be read, oldest first.
        baseline: The one that was kept; None where there is none.
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
class History:
    """What became of every family.

    Attributes:
        series: The latest first.
        unfinished: Runs that were left out because they are not complete.
    """

    series: tuple[Series, ...]
    unfinished: tuple[Entry, ...] = ()


# -- from files


def find(folder: Path) -> Found:
    """Reads the results of every run below a folder; those that cannot be read are named, never fatal."""
    files, underived = _files(folder)
    found, unreadable = [], {}
    kept = folder / BASELINE
    for path in [*files, *([kept] if kept.is_file() else [])]:
        try:
            found.append((path, read(path)))
        except BaselineError as error:
            unreadable[path] = str(error).removeprefix(f"{path}: ")
    baseline = next((results for path, results in found if path == kept), None)
    runs = sorted((results for path, results in found if path != kept), key=_when)
    return Found(tuple(runs), baseline, unreadable, tuple(underived))


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
    """What a copy of a run has in common with it."""
    return results.created_utc, results.run, results.git_sha, results.env


# -- series


def history(found: Found, families: Iterable[str] = (), least: float = LEAST) -> History:
    """The series of all complete runs, the baseline's among them, the latest first.

    Args:
        found: The results.
        families: Names of those that are wanted; empty: all. What is found of them is the same either way: where a
            change is looked for in all families, it is corrected for all.
        least: The smallest change of accuracy that counts, as a share.
    """
    runs = {_identity(results): results for results in found.results}
    kept = found.baseline
    if kept is not None:
        runs[_identity(kept)] = kept  # the same run as its folder has, perhaps with more seeds
    finished = sorted((results for results in runs.values() if results.status == "complete"), key=_when)
    unfinished = sorted((results for results in runs.values() if results.status != "complete"), key=_when)
    groups: dict[tuple[str, str, int], list[Results]] = {}
    for results in finished:
        groups.setdefault((results.split.test_ids_sha256, results.config_sha256, results.split.n), []).append(results)
    in_order = sorted(groups.values(), key=lambda group: _when(group[-1]))
    wanted = set(families)
    series = [
        _series(group, kept, wanted, least, earlier)
        for earlier, group in zip([None, *(group[-1] for group in in_order)], in_order, strict=False)
    ]
    return History(tuple(reversed(series)), tuple(_entry(results, kept) for results in unfinished))


def _entry(results: Results, kept: Results | None) -> Entry:
    return Entry(
        results.run, results.created_utc, results.git_sha, kept is not None and _identity(results) == _identity(kept)
    )


def _series(
    group: Sequence[Results], kept: Results | None, wanted: set[str], least: float, earlier: Results | None
) -> Series:
    latest = group[-1]
    names = dict.fromkeys(name for results in reversed(group) for name in results.families)
    own: dict[tuple[str, str], dict[int, FamilyResult]] = {}
    for name in names if latest.split.n > 1 else ():
        for at, results in enumerate(group):
            family = results.families.get(name)
            if family is not None and family.accuracy is not None:
                own.setdefault((name, family.weights), {})[at] = family
    order = {name: place for place, name in enumerate(names)}
    own = dict(sorted(own.items(), key=lambda each: (order[each[0][0]], -max(each[1]))))
    return Series(
        latest.split.source,
        latest.split.n,
        latest.split.test_ids_sha256,
        latest.config_sha256,
        tuple(_entry(results, kept) for results in group),
        tuple(_families(own, group, wanted, least)),
        tuple(_differences(earlier, latest)) if earlier else (),
    )


def _families(
    own: Mapping[tuple[str, str], Mapping[int, FamilyResult]],
    group: Sequence[Results],
    wanted: set[str],
    least: float,
) -> Iterator[FamilyHistory]:
    shares = {key: changepoints.accuracies([family.correct for family in runs.values()]) for key, runs in own.items()}
    timed = {key: _by_hardware(runs, group) for key, runs in own.items()}
    seconds = {
        (key, where): changepoints.times([runs[at].step_time_s for at in runs])
        for key, places in timed.items()
        for where, runs in places.items()
    }
    among_shares, among_seconds = _comparisons(shares.values()), _comparisons(seconds.values())
    for key, runs in own.items():
        name, weights = key
        if wanted and name not in wanted:
            continue
        times = [
            _time(places, seconds[key, where], among_seconds, where) for where, places in reversed(timed[key].items())
        ]
        ended = [results.families[name].status for results in group if name in results.families]
        without = {status: ended.count(status) for status in dict.fromkeys(ended) if status != "complete"}
        accuracy = _accuracy(runs, shares[key], among_shares, least)
        yield FamilyHistory(name, weights, accuracy, tuple(times), _parameters(runs), without)


def _comparisons(every: Iterable[Levels]) -> int:
    """How many comparisons are made in several series together."""
    return sum(_compared(levels) for levels in every)


def _compared(levels: Levels) -> int:
    return len(levels.comparisons[0])


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


def _accuracy(runs: Mapping[int, FamilyResult], levels: Levels, tests: int, least: float) -> Track:
    readings = [Reading(at, *stats.over_seeds(family.correct)) for at, family in runs.items()]
    points = changepoints.change_points(levels, least, tests)
    return Track(
        tuple(readings),
        tuple(_changes(points, runs, lambda value: value)),
        different=levels.different,
        comparisons=_compared(levels),
        smallest=_within(changepoints.smallest_visible(levels, least, tests), SEEN),
        calibrated=levels.calibrated,
    )


def _time(runs: Mapping[int, FamilyResult], levels: Levels, tests: int, where: str) -> Track:
    import numpy as np

    quartiles = [np.percentile(family.step_time_s, (50, 25, 75)).tolist() for family in runs.values()]
    readings = [Reading(at, *each) for at, each in zip(runs, quartiles, strict=True)]
    points = changepoints.change_points(levels, math.log(LEAST_RATIO), tests)
    smallest = changepoints.smallest_visible(levels, math.log(LEAST_RATIO), tests)
    return Track(
        tuple(readings),
        tuple(_changes(points, runs, math.exp)),
        different=levels.different,
        comparisons=_compared(levels),
        smallest=_within(smallest, math.log(SEEN_RATIO), math.exp),
        calibrated=levels.calibrated,
        where=where,
    )


def _within(smallest: float | None, most: float, unit: Callable[[float], float] = float) -> float | None:
    return None if smallest is None or smallest > most else unit(smallest)


def _changes(
    points: Iterable[ChangePoint], runs: Mapping[int, FamilyResult], unit: Callable[[float], float]
) -> Iterator[Change]:
    places = list(runs)
    for point in points:
        last, at = places[point.at - 1], places[point.at]
        reconfigured = runs[last].config_sha256 != runs[at].config_sha256
        ends = (unit(point.before), unit(point.after), unit(point.low), unit(point.high))
        yield Change(last, at, *ends, point.p, reconfigured)


def _parameters(runs: Mapping[int, FamilyResult]) -> Track | None:
    """Every change is one: a count has no noise."""
    counts = {at: family.parameters for at, family in runs.items() if family.parameters is not None}
    if not counts:
        return None
    changes = [
        Change(last, at, before, after, reconfigured=runs[last].config_sha256 != runs[at].config_sha256)
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
    sides_of = [settings(results.config) for results in (before, after)]
    for name in sorted({*sides_of[0], *sides_of[1]}):
        old, new = (_setting(side[name]) if name in side else "not set" for side in sides_of)
        if old != new:
            yield f"{name} {old} → {new}"


def _setting(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


# -- as plain data


def plain(found: Found, made: History) -> dict[str, Any]:
    """All of it as plain data, for JSON: shares, seconds and counts, nothing rounded."""
    return {
        "schema_version": SCHEMA_VERSION,
        "series": [asdict(series) for series in made.series],
        "unfinished": [asdict(entry) for entry in made.unfinished],
        "unreadable": [{"file": str(path), "reason": reason} for path, reason in found.unreadable.items()],
        "without_results": [str(path) for path in found.underived],
    }
