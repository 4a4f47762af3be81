"""The history of runs as one page: a chart for every family, its changes marked, and all of it as text below."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from markupsafe import Markup

from bench import text
from bench.check.history_wording import (
    ACCURACY,
    PARAMETERS,
    STEP_TIME,
    ChangeInWords,
    accuracy_unchanged,
    day,
    differing,
    in_words,
    times_unchanged,
)
from bench.check.series import FamilyHistories, FamilyHistory, RunSeries, SeriesRun, StoredResults, Track
from bench.report import svg
from bench.report.assets import assets
from bench.report.page import document, environment
from bench.report.styles import Mark, marks

ROOM = 0.09
"""Two labels of changes stand apart by such a share of the chart's width; of closer ones the earlier stands."""

LISTED = 200
"""So many runs are in a table, the latest."""


@dataclass(frozen=True)
class LevelChangeRow:
    """A change of level in the table."""

    mark: Mark
    family: str
    words: ChangeInWords


@dataclass(frozen=True)
class FamilyPanel:
    """A family: its charts, and what they come to in words."""

    mark: Mark
    name: str
    weights: str
    now: str
    accuracy: Markup
    accuracy_text: str
    times: Markup
    times_text: str
    times_changed: bool
    parameters: str


@dataclass(frozen=True)
class ReadingRow:
    """A run in the table, with its accuracies in the order of the panels."""

    entry: SeriesRun
    since: str
    accuracies: tuple[str, ...]


@dataclass(frozen=True)
class SeriesSection:
    """A series on the page."""

    series: RunSeries
    title: str
    differs: str
    panels: tuple[FamilyPanel, ...]
    changes: tuple[LevelChangeRow, ...]
    rows: tuple[ReadingRow, ...]
    calibrated: bool


def html(stored: StoredResults, histories: FamilyHistories) -> str:
    """Draw the page."""
    names = dict.fromkeys(family.name for series in histories.series for family in series.families)
    looks = marks(list(names))
    sections = [_section(series, looks) for series in histories.series]
    headline = _headline(histories)
    unreadable = [f"{path.parent.name}/{path.name}" for path in stored.unreadable]
    values = {
        "headline": headline,
        "sections": sections,
        "unreadable": unreadable,
        "underived": stored.underived,
        "unfinished": histories.unfinished,
    }
    body = environment().get_template("history.html").render(values)
    return document(headline, body, assets(("page", "sections/models", "history"), None))


def _headline(histories: FamilyHistories) -> str:
    if not histories.series:
        return "No complete run yet."
    latest = histories.series[0]
    moved = [family for family in latest.families if family.accuracy.changes]
    if not moved:
        return f"No accuracy changed by more than noise in {text.plural(len(latest.runs), 'run')}."
    names = text.listing([text.one_line(name, 40) for name in dict.fromkeys(family.name for family in moved)])
    if all(family.accuracy.calibrated for family in moved):
        return f"The accuracy of {names} changed by more than noise."
    return f"The accuracy of {names} changed by more than the test pictures explain; the noise of seeds is not known."


def _section(series: RunSeries, looks: dict[str, Mark]) -> SeriesSection:
    runs = series.runs
    span = " to ".join(dict.fromkeys((day(runs[0]), day(runs[-1]))))
    readings = [{each.at: text.percent(each.value) for each in family.accuracy.readings} for family in series.families]
    rows = [
        ReadingRow(runs[at], day(runs[at]), tuple(own.get(at, text.NOTHING) for own in readings))
        for at in reversed(range(len(runs)))
    ]
    return SeriesSection(
        series=series,
        title=f"{text.one_line(series.source, 40)}, {text.plural(len(runs), 'run')}, {span}",
        differs=differing(series),
        panels=tuple(_panel(family, runs, looks[family.name], span) for family in series.families),
        changes=tuple(row for family in series.families for row in _changes(family, runs, looks[family.name])),
        rows=tuple(rows[:LISTED]),
        calibrated=all(family.accuracy.calibrated for family in series.families),
    )


# -- a family


def _panel(family: FamilyHistory, runs: Sequence[SeriesRun], mark: Mark, span: str) -> FamilyPanel:
    track = family.accuracy
    latest = track.readings[-1]
    interval = "" if latest.low is None or latest.high is None else f" ({text.interval(latest.low, latest.high)})"
    axis = _runs(len(runs), span)
    times = family.times[0] if family.times else None
    counts = [round(reading.value) for reading in family.parameters.readings] if family.parameters else []
    moved = len(family.parameters.changes) if family.parameters else 0
    changed = f" ({text.plural(moved, 'change')})" if moved else ""
    return FamilyPanel(
        mark=mark,
        name=family.name,
        weights=text.random_weights(family.weights),
        now=f"{text.percent(latest.value)}{interval}",
        accuracy=_accuracy(track, family.name, axis, mark),
        accuracy_text=_changed(track) or accuracy_unchanged(track),
        times=_times(times, family.name, axis, mark) if times else Markup(),
        times_text=_changed(times) or times_unchanged(times) if times else "",
        times_changed=bool(times and times.changes),
        parameters=f"{text.count(counts[-1])} parameters{changed}" if counts else "",
    )


def _changed(track: Track) -> str:
    return text.plural(len(track.changes), "change") if track.changes else ""


def _runs(m: int, span: str) -> svg.Axis:
    counted = svg.counts(f"run, {span}", m)
    return svg.Axis(counted.title, 0.5, m + 0.5, counted.ticks)


def _accuracy(track: Track, name: str, x: svg.Axis, mark: Mark) -> Markup:
    ends = [end for each in track.readings for end in (each.low, each.value, each.high) if end is not None]
    frame = svg.Frame(x, svg.percentages("", min(ends), max(ends)))
    labels = [text.points(change.after - change.before) for change in track.changes]
    drawn = [*_marked(frame, track, labels), *_read(frame, track, mark), *_levels(frame, track, lambda level: level)]
    return frame.chart(f"{text.one_line(name, 40)}: test accuracy by run. The tables below have the numbers", drawn)


def _times(track: Track, name: str, x: svg.Axis, mark: Mark) -> Markup:
    ends = [1000 * end for each in track.readings for end in (each.low, each.value, each.high) if end is not None]
    frame = svg.Frame(x, svg.numbers("", 0.0, max(ends)))
    labels = [f"×\u2009{change.after / change.before:.2f}" for change in track.changes]
    drawn = [
        *_marked(frame, track, labels),
        *_read(frame, track, mark, 1000.0),
        *_levels(frame, track, lambda level: 1000 * level),
    ]
    return frame.chart(f"{text.one_line(name, 40)}: milliseconds of a training step by run", drawn)


def _marked(frame: svg.Frame, track: Track, labels: Sequence[str]) -> Iterator[Markup]:
    """An upright line before the first run of each new level, with how far it moved."""
    room, last = ROOM * (frame.x.high - frame.x.low), -math.inf
    for change, label in zip(track.changes, labels, strict=True):
        place = change.at + 0.5
        yield frame.rule((place, frame.y.low), (place, frame.y.high), "phase")
        if place - last >= room:
            yield frame.word(label, place)
            last = place


def _read(frame: svg.Frame, track: Track, mark: Mark, unit: float = 1.0) -> Iterator[Markup]:
    """A dot for each run on the bar of its interval; of very many runs, dots alone."""
    many = len(track.readings) > 60
    for each in track.readings:
        if each.low is not None and each.high is not None and not many:
            yield frame.rule((each.at + 1, unit * each.low), (each.at + 1, unit * each.high), "reach")
    for each in track.readings:
        yield frame.dot((each.at + 1, unit * each.value), mark, 1.5 if many else 3)


def _levels(frame: svg.Frame, track: Track, unit: Callable[[float], float]) -> Iterator[Markup]:
    """The level of the runs between two changes; none where nothing changed."""
    if not track.changes:
        return
    heights = [track.changes[0].before, *(change.after for change in track.changes)]
    ends = [track.readings[0].at, *(change.at for change in track.changes), track.readings[-1].at + 1]
    for height, (begin, end) in zip(heights, pairwise(ends), strict=True):
        yield frame.rule((begin + 0.5, unit(height)), (end + 0.5, unit(height)), "level")


# -- the table of changes


def _changes(family: FamilyHistory, runs: Sequence[SeriesRun], mark: Mark) -> Iterator[LevelChangeRow]:
    tracks = [(family.accuracy, ACCURACY), *((track, STEP_TIME) for track in family.times)]
    tracks += [(family.parameters, PARAMETERS)] if family.parameters else []
    for track, figure in tracks:
        for change in track.changes:
            label = text.with_weights(family.name, family.weights)
            yield LevelChangeRow(mark, label, in_words(change, runs, figure))
