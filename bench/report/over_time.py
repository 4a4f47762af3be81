"""The history of runs as one page: a chart per family with its changes marked, and a table of the same numbers."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

from markupsafe import Markup

from bench import text
from bench.check.series import STEP_TIME, FamilyHistories, Figure, RunSeries, SeriesRun, Track
from bench.report import svg
from bench.report.assets import assets
from bench.report.page import document, environment
from bench.report.styles import Mark, marks

ROOM = 0.2
"""Minimum distance of two change labels, as a share of the chart's width; of closer labels only the first is drawn."""

LISTED = 200
"""Maximum number of runs in a table; the latest are listed."""

BARS = 60
"""Charts of more runs have no intervals."""


def html(histories: FamilyHistories) -> str:
    """Draw the page."""
    headline = _headline(histories)
    values = {
        "headline": headline,
        "it": histories,
        "unreadable": [Path(problem.file).name for problem in histories.unreadable],
        "marks": marks([*dict.fromkeys(family.name for series in histories.series for family in series.families)]),
        "values": _values,
        "chart": _chart,
        "listed": LISTED,
        "STEP_TIME": STEP_TIME,
    }
    body = environment().get_template("history.html").render(values)
    return document(headline, body, assets(("page", "sections/models", "history"), None))


def _headline(histories: FamilyHistories) -> str:
    if not histories.series:
        return "No complete run yet."
    latest = histories.series[0]
    metric = latest.families[0].figure.name if latest.families else "accuracy"
    moved = [family for family in latest.families if family.quality.changes]
    if len(latest.runs) == 1:
        return "Nothing to compare yet: the latest run is the only one with its test pictures and settings."
    if not moved and all(family.quality.unseen for family in latest.families):
        return f"Too few runs to see a change of {metric}: {len(latest.runs)} with the same pictures and settings."
    if not moved:
        return f"No {metric} changed by more than noise in {text.plural(len(latest.runs), 'run')}."
    names = text.listing([text.one_line(name, 40) for name in dict.fromkeys(family.name for family in moved)])
    if all(family.quality.calibrated for family in moved):
        return f"The {metric} of {names} changed by more than noise."
    return f"The {metric} of {names} changed by more than the test pictures explain; the noise of seeds is unknown."


def _values(series: RunSeries) -> Iterator[tuple[SeriesRun, list[str]]]:
    """Rows of the table: the latest runs, with the metric in the order of the families."""
    columns = [
        {reading.at: family.figure.level(reading.value) for reading in family.quality.readings}
        for family in series.families
    ]
    for at in range(len(series.runs) - 1, max(len(series.runs) - 1 - LISTED, -1), -1):
        yield series.runs[at], [column.get(at, text.NOTHING) for column in columns]


def _chart(series: RunSeries, name: str, figure: Figure, track: Track, mark: Mark) -> Markup:
    """Draw a figure by run: shares in percent, times in milliseconds."""
    unit = 1000.0 if figure is STEP_TIME else 1.0
    ends = [unit * end for r in track.readings for end in (r.low, r.value, r.high) if end is not None]
    runs = svg.counts(f"run, {series.span}", len(series.runs))
    axis = svg.percentages if figure.in_percent else svg.numbers
    frame = svg.Frame(
        svg.Axis(runs.title, 0.5, len(series.runs) + 0.5, runs.ticks),
        axis("", 0.0 if figure is STEP_TIME else min(ends), max(ends)),
    )
    drawn = [*_changes(frame, figure, track), *_readings(frame, track, mark, unit), *_levels(frame, track, unit)]
    return frame.chart(f"{text.one_line(name, 40)}: {figure.name} by run. The tables have the numbers", drawn)


def _changes(frame: svg.Frame, figure: Figure, track: Track) -> Iterator[Markup]:
    """Draw a vertical line before the first run of each new level, labelled with the change."""
    room, last = ROOM * (frame.x.high - frame.x.low), -math.inf
    for change in track.changes:
        place = change.at + 0.5
        yield frame.rule((place, frame.y.low), (place, frame.y.high), "phase")
        if place - last >= room:
            yield frame.word(figure.size(change.before, change.after), place)
            last = place


def _readings(frame: svg.Frame, track: Track, mark: Mark, unit: float) -> Iterator[Markup]:
    """Draw a dot and an interval for every run; dots alone for more than `BARS` runs."""
    many = len(track.readings) > BARS
    for reading in track.readings:
        if reading.low is not None and reading.high is not None and not many:
            yield frame.rule((reading.at + 1, unit * reading.low), (reading.at + 1, unit * reading.high), "reach")
    for reading in track.readings:
        yield frame.dot((reading.at + 1, unit * reading.value), mark, 1.5 if many else 3)


def _levels(frame: svg.Frame, track: Track, unit: float) -> Iterator[Markup]:
    """Draw the level of the runs between two changes; nothing if there is no change."""
    if not track.changes:
        return
    heights = [track.changes[0].before, *(change.after for change in track.changes)]
    ends = [track.readings[0].at, *(change.at for change in track.changes), track.readings[-1].at + 1]
    for height, (begin, end) in zip(heights, pairwise(ends), strict=True):
        yield frame.rule((begin + 0.5, unit * height), (end + 0.5, unit * height), "level")
