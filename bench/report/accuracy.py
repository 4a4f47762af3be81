"""Accuracy against what it costs: training time and parameters, on logarithmic axes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bench.records import COMPLETE, Run, Trial
from bench.report import text
from bench.report.figures import Figure, LogAxis, figure, label, layout, log_axis
from bench.report.marks import Mark, family_marks
from bench.report.verdict import test_interval

COSTS: Mapping[str, str] = {"train_time_s": "Training time", "parameters": "Parameters"}
"""The costs that accuracy is held against, fields of `records.Cost`, and the title of their axis."""


@dataclass(frozen=True)
class Accuracy:
    """The section.

    Attributes:
        charts: For each of the `COSTS` its points and its figure; empty where no trial is complete.
        families: The legend: names and marks of the families that are shown.
    """

    charts: Mapping[str, tuple[Sequence[Point], Figure]]
    families: Sequence[tuple[str, Mark]]


def section(run: Run) -> Accuracy:
    """The charts of a run."""
    return Accuracy(accuracy_charts(run), _legend(run))


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


def accuracy_against(run: Run, cost: str) -> list[Point]:
    """Every complete trial that was trained, with one of its `COSTS`; answers from the record are left out."""
    return [
        Point(trial, text.label(trial), float(getattr(trial.cost, cost)), trial.value, *test_interval(trial))
        for trial in run.trials
        if trial.state == COMPLETE and not trial.duplicate_of and trial.cost and trial.value is not None
        if math.isfinite(getattr(trial.cost, cost)) and math.isfinite(trial.value)
    ]


def accuracy_charts(run: Run) -> dict[str, tuple[list[Point], Figure]]:
    """For each of the `COSTS`: its points and its figure; empty where no trial is complete."""
    looks = family_marks(run)
    every = {cost: accuracy_against(run, cost) for cost in COSTS}
    return {cost: (points, draw_accuracy_against(points, cost, looks)) for cost, points in every.items() if points}


def _legend(run: Run) -> list[tuple[str, Mark]]:
    """The families that the charts show, with the label that their weights demand."""
    looks = family_marks(run)
    shown = {
        trial.family: text.label(trial) for trial in run.trials if trial.state == COMPLETE and not trial.duplicate_of
    }
    return [(shown[family], looks[family]) for family in looks if family in shown]


# -- how it is drawn


def draw_accuracy_against(points: Sequence[Point], cost: str, looks: Mapping[str, Mark]) -> Figure:
    """Hollow marks for validation accuracy, filled ones with error bars for the test accuracy of chosen trials."""
    import plotly.graph_objects as go

    axis = log_axis([point.x for point in points], cost)
    traces = []
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
            "array": [100 * ((p.high or 0) - (p.test or 0)) for p in points],
            "arrayminus": [100 * ((p.test or 0) - (p.low or 0)) for p in points],
            "color": mark.colour,
            "thickness": 1.75,
            "width": 5,
        }
    return go.Scatter(
        x=[axis.place(point.x) for point in points],
        y=[100 * share for share in shares],
        mode="markers",
        name=label(points[0].label),
        marker=look,
        error_y=bars,
        hovertext=[_point_hover(point) for point in points],
        hoverinfo="text",
        cliponaxis=False,
    )


def _point_hover(point: Point) -> str:
    lines = [f"<b>{label(point.label)}</b>", f"validation {text.validation(point.trial)}"]
    if point.test is not None and point.low is not None and point.high is not None:
        lines.append(f"test {text.percent(point.test)} ({text.interval(point.low, point.high)})")
    if point.trial.cost:
        cost = point.trial.cost
        lines.append(f"{text.seconds(cost.train_time_s)} · {text.count(cost.parameters)} parameters")
    lines.append(f"{label(point.trial.engine)} #{point.trial.number}")
    lines += [label(f"{name} {text.number(value)}", 60) for name, value in list(point.trial.params.items())[:12]]
    return "<br>".join(lines)
