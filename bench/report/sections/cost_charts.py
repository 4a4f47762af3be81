"""Accuracy against what it costs: training time and parameters, on logarithmic axes, with the Pareto front."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bench import text
from bench.records import COMPLETE, Run, Trial
from bench.report.figures import Figure, LogAxis, figure, label, layout, log_axis
from bench.report.links import anchor
from bench.report.sections.leaderboard import listed
from bench.report.sections.recommendation import pareto
from bench.report.sections.verdict import test_interval
from bench.report.styles import Mark, family_marks

COSTS: Mapping[str, str] = {"train_time_s": "Training time", "parameters": "Parameters"}
"""The costs that accuracy is held against, fields of `records.Cost`, and the title of their axis."""

TABLE_UP_TO = 100
"""The table of the charts has so many trials at most."""

HOVER_WIDTH = 60
"""Hyperparameters stand in lines of about so many characters beside a point."""


@dataclass(frozen=True)
class Point:
    """One complete trial in a chart of accuracy against a cost.

    Attributes:
        trial: The trial.
        label: Its family's name, with the label that its weights demand.
        x: The cost as recorded: seconds or a count.
        validation: Validation accuracy.
        test, low, high: Test accuracy and its 95 % interval, where the trial was chosen and scored.
    """

    trial: Trial
    label: str
    x: float
    validation: float
    test: float | None = None
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Chart:
    """One chart.

    Attributes:
        points: What it shows.
        front: The Pareto front, cheapest first: no other point is at once as accurate and as cheap, and one of the
            two more so.
    """

    points: tuple[Point, ...]
    front: tuple[Point, ...]
    figure: Figure


@dataclass(frozen=True)
class Row:
    """A point of all charts in their table; `fronts` names the costs for which it is on the front."""

    point: Point
    anchor: str
    fronts: tuple[str, ...]


@dataclass(frozen=True)
class Accuracy:
    """The section.

    Attributes:
        charts: For each of the `COSTS` its chart; empty where no trial is complete.
        rows: The charts as one table, in the order in which the trials were started. Of more than `TABLE_UP_TO` points
            those that are on a front or scored: the leaderboard has the figures of all.
        drawn: How many points there are.
        left_out: How many complete trials are not drawn.
        hovers: What is said beside a point, by its trial's anchor: once for all charts.
        families: The legend: names and marks of the families that are shown.
    """

    charts: Mapping[str, Chart]
    rows: tuple[Row, ...]
    drawn: int
    left_out: int
    hovers: Mapping[str, str]
    families: Sequence[tuple[str, Mark]]


def section(run: Run) -> Accuracy:
    """The charts of a run."""
    trials, looks = drawn(run), family_marks(run)
    charts = accuracy_charts(trials, looks)
    points = {anchor(point.trial): point for chart in charts.values() for point in chart.points}
    fronts = {cost: {anchor(point.trial) for point in chart.front} for cost, chart in charts.items()}
    rows = [
        Row(point, own, tuple(COSTS[cost].lower() for cost in fronts if own in fronts[cost]))
        for own, point in points.items()
    ]
    shown = {point.trial.family: point.label for point in points.values()}
    return Accuracy(
        charts,
        rows=tuple(row for row in rows if len(rows) <= TABLE_UP_TO or row.fronts or row.point.test is not None),
        drawn=len(points),
        left_out=sum(map(_is_shown, run.trials)) - len(trials),
        hovers={own: _point_hover(point) for own, point in points.items()},
        families=[(shown[family], looks[family]) for family in looks if family in shown],
    )


def drawn(run: Run) -> list[Trial]:
    """The complete trials of those that the leaderboard lists; answers from the record are left out."""
    kept = {anchor(trial) for trials in listed(run).values() for trial in trials}
    return [trial for trial in run.trials if _is_shown(trial) and anchor(trial) in kept]


def _is_shown(trial: Trial) -> bool:
    return trial.state == COMPLETE and not trial.duplicate_of and trial.cost is not None and trial.value is not None


def accuracy_against(trials: Sequence[Trial], cost: str) -> list[Point]:
    """Trials as points of accuracy against one of the `COSTS`, without those for which either is not finite."""
    return [
        Point(trial, text.label(trial), float(getattr(trial.cost, cost)), trial.value, *test_interval(trial))
        for trial in trials
        if trial.value is not None and math.isfinite(getattr(trial.cost, cost)) and math.isfinite(trial.value)
    ]


def front(points: Sequence[Point]) -> list[Point]:
    """The Pareto front of validation accuracy and cost, cheapest first; of equal points the first."""
    best = [points[place] for place in pareto([(point.x, -point.validation) for point in points])]
    found: dict[tuple[float, float], Point] = {}
    for point in sorted(best, key=lambda point: point.x):
        found.setdefault((point.x, point.validation), point)
    return list(found.values())


def accuracy_charts(trials: Sequence[Trial], looks: Mapping[str, Mark]) -> dict[str, Chart]:
    """For each of the `COSTS` its chart; empty where no trial is complete."""
    charts = {}
    for cost in COSTS:
        if points := accuracy_against(trials, cost):
            best = front(points)
            charts[cost] = Chart(tuple(points), tuple(best), draw_accuracy_against(points, best, cost, looks))
    return charts


# -- how it is drawn


def draw_accuracy_against(
    points: Sequence[Point], front: Sequence[Point], cost: str, looks: Mapping[str, Mark]
) -> Figure:
    """Hollow marks for validation accuracy, filled ones with error bars for the test accuracy of chosen trials.

    The front is a stepped line: at every cost the best validation accuracy that can be had for it.
    """
    import plotly.graph_objects as go

    axis = log_axis([point.x for point in points], cost)
    traces = [_front_trace(axis, front)]
    for family in dict.fromkeys(point.trial.family for point in points):
        mark, own = looks[family], [point for point in points if point.trial.family == family]
        traces.append(_marker_trace(axis, own, "validation", mark))
    for family in dict.fromkeys(point.trial.family for point in points):
        scored = [point for point in points if point.trial.family == family and point.test is not None]
        if scored:
            traces.append(_marker_trace(axis, scored, "test", looks[family]))
    shares = [share for p in points for share in (p.validation, p.low, p.high) if share is not None]
    shape = layout(shares)
    shape["xaxis"] |= {
        "type": "log",
        "range": [axis.low, axis.high],
        "tickvals": [value for value, _ in axis.ticks],
        "ticktext": [label for _, label in axis.ticks],
        "title": {"text": COSTS[cost] + " (log scale)"},
    }
    return figure(go, traces, shape)


def _front_trace(axis: LogAxis, front: Sequence[Point]) -> Any:
    import plotly.graph_objects as go

    shares = [point.validation for point in front]
    return go.Scatter(
        x=[*(_rounded(axis.place(point.x)) for point in front), _rounded(10**axis.high)],
        y=[_rounded(100 * share) for share in [*shares, shares[-1]]],
        mode="lines",
        name="Pareto front",
        line={"shape": "hv", "width": 1.5, "color": "var(--soft)", "dash": "dot"},
        hoverinfo="skip",
    )


def _rounded(value: float) -> float:
    """Six digits, which is finer than any screen: thousands of points stay small."""
    return float(f"{value:.6g}")


def _marker_trace(axis: LogAxis, points: Sequence[Point], part: str, mark: Mark) -> Any:
    import plotly.graph_objects as go

    shares = [getattr(point, part) for point in points]
    chosen = part == "test"
    look: dict[str, Any] = {"symbol": mark.symbol, "size": 13, "color": mark.colour, "opacity": 1}
    look["line"] = {"color": "var(--paper)", "width": 1.5}
    if not chosen:
        look |= {"symbol": f"{mark.symbol}-open", "size": 9, "opacity": 0.75, "line": {"width": 1.75}}
    bars = None
    if chosen:
        bars = {
            "type": "data",
            "symmetric": False,
            "array": [_rounded(100 * ((p.high or 0) - (p.test or 0))) for p in points],
            "arrayminus": [_rounded(100 * ((p.test or 0) - (p.low or 0))) for p in points],
            "color": mark.colour,
            "thickness": 1.75,
            "width": 5,
        }
    return go.Scatter(
        x=[_rounded(axis.place(point.x)) for point in points],
        y=[_rounded(100 * share) for share in shares],
        customdata=[anchor(point.trial) for point in points],
        mode="markers",
        name=label(points[0].label),
        marker=look,
        error_y=bars,
        hoverinfo="text",  # the page's script puts it in
        cliponaxis=False,
    )


def _point_hover(point: Point) -> str:
    lines = [f"<b>{label(point.label)}</b>", f"validation {text.validation(point.trial)}"]
    if point.test is not None and point.low is not None and point.high is not None:
        mean = text.mean_of_seeds([point.trial])
        lines.append(
            f"test {text.percent(point.test)} ({text.interval(point.low, point.high)}{f', {mean}' if mean else ''})"
        )
    if point.trial.cost:
        cost = point.trial.cost
        lines.append(f"{text.seconds(cost.train_time_s)} · {text.count(cost.parameters)} parameters")
    lines.append(f"{label(point.trial.engine)} #{point.trial.number}")
    chosen = ", ".join(f"{name}\u00a0{text.number(value)}" for name, value in point.trial.params.items())
    lines += [label(line) for line in textwrap.wrap(text.clean(chosen), HOVER_WIDTH, max_lines=6, placeholder=" …")]
    return "<br>".join(lines)
