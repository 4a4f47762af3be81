"""Accuracy against what it costs: training time and parameters, on logarithmic axes, with the Pareto front."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bench import stats, text
from bench.records import COMPLETE, Run, Trial
from bench.report.figures import Figure, anchor, figure, label, layout, log_axis, rounded
from bench.report.figures import points as trial_points
from bench.report.sections.leaderboard import listed
from bench.report.sections.verdict import test_interval
from bench.report.styles import Mark, family_marks

COSTS: Mapping[str, str] = {"train_time_s": "Training time", "parameters": "Parameters"}
"""The costs, fields of `records.Cost`, and the titles of their axes."""

TICKS: Mapping[str, Figure] = {
    "train_time_s": {"tickformat": "~f", "ticksuffix": " s"},
    "parameters": {"tickformat": "~s"},
}
"""Plotly's format of the costs on their axes."""

TABLE_UP_TO = 100
"""Limit on the rows of the table; of more trials, those on a front or with a test accuracy are in it."""

HOVER_WIDTH = 60
"""Characters in a line of hyperparameters beside a point."""


@dataclass(frozen=True)
class CostPoint:
    """A complete trial in a chart: its cost, and its test accuracy with the 95 % interval where it was scored."""

    trial: Trial
    cost: float
    test: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True)
class CostChart:
    """A chart and its Pareto front, cheapest first."""

    points: tuple[CostPoint, ...]
    front: tuple[CostPoint, ...]
    figure: Figure


@dataclass(frozen=True)
class CostCharts:
    """The section.

    Attributes:
        charts: By cost; empty where no trial is complete.
        rows: Rows of the table, in the order in which the trials were started: a point and the costs for which it is on
            the front, in words.
        drawn, left_out: Numbers of complete trials in the charts and not in them.
        hovers: Text beside a point, by its trial's anchor, once for all charts.
        families: The legend.
    """

    charts: Mapping[str, CostChart]
    rows: Sequence[tuple[CostPoint, Sequence[str]]]
    drawn: int
    left_out: int
    hovers: Mapping[str, str]
    families: Sequence[tuple[str, Mark]]


def section(run: Run) -> CostCharts:
    """The charts of a run."""
    trials, looks = drawn(run), family_marks(run)
    charts = cost_charts(trials, looks)
    points = {anchor(point.trial): point for chart in charts.values() for point in chart.points}
    fronts = {COSTS[cost].lower(): {anchor(p.trial) for p in chart.front} for cost, chart in charts.items()}
    rows = [(point, [cost for cost in fronts if row_id in fronts[cost]]) for row_id, point in points.items()]
    names = {point.trial.family: text.label(point.trial) for point in points.values()}
    return CostCharts(
        charts=charts,
        rows=[row for row in rows if len(rows) <= TABLE_UP_TO or row[1] or row[0].test is not None],
        drawn=len(points),
        left_out=sum(map(_is_shown, run.trials)) - len(trials),
        hovers={row_id: _hover(point) for row_id, point in points.items()},
        families=[(names[family], looks[family]) for family in looks if family in names],
    )


def drawn(run: Run) -> list[Trial]:
    """The complete trials that the leaderboard lists, answers from the record left out."""
    names = {trial.name for trials in listed(run).values() for trial in trials}
    return [trial for trial in run.trials if _is_shown(trial) and trial.name in names]


def _is_shown(trial: Trial) -> bool:
    return trial.state == COMPLETE and not trial.duplicate_of and trial.cost is not None and trial.value is not None


def points_of(trials: Sequence[Trial], cost: str) -> list[CostPoint]:
    """Trials as points of accuracy against one of the `COSTS`, without those for which either is not finite."""
    return [
        CostPoint(trial, float(getattr(trial.cost, cost)), *test_interval(trial))
        for trial in trials
        if trial.value is not None and math.isfinite(getattr(trial.cost, cost)) and math.isfinite(trial.value)
    ]


def front(points: Sequence[CostPoint]) -> list[CostPoint]:
    """The Pareto front of validation accuracy and cost, cheapest first; of equal points the first."""
    best = [points[place] for place in stats.pareto([(point.cost, -(point.trial.value or 0.0)) for point in points])]
    distinct: dict[tuple[float, float | None], CostPoint] = {}
    for point in sorted(best, key=lambda point: point.cost):
        distinct.setdefault((point.cost, point.trial.value), point)
    return list(distinct.values())


def cost_charts(trials: Sequence[Trial], looks: Mapping[str, Mark]) -> dict[str, CostChart]:
    """A chart for each of the `COSTS`; empty where no trial is complete."""
    charts = {}
    for cost in COSTS:
        if points := points_of(trials, cost):
            best = front(points)
            charts[cost] = CostChart(tuple(points), tuple(best), draw_cost_chart(points, best, cost, looks))
    return charts


# -- drawing


def draw_cost_chart(
    points: Sequence[CostPoint], front: Sequence[CostPoint], cost: str, looks: Mapping[str, Mark]
) -> Figure:
    """Hollow marks for validation accuracy, filled ones with error bars for the test accuracy of chosen trials.

    The front is a stepped line: at every cost the best validation accuracy that can be had for it. The page's script
    puts in the text beside a point (`CostCharts.hovers`).
    """
    import plotly.graph_objects as go

    axis, zero_at, paid_from = log_axis([point.cost for point in points])

    def across(trials: Sequence[CostPoint]) -> list[float]:
        return [rounded(point.cost if point.cost > 0 else zero_at) for point in trials]

    steps = [100 * (point.trial.value or 0.0) for point in front]
    line = go.Scatter(
        x=[*across(front), rounded(10 ** axis["range"][1])],
        y=[*map(rounded, steps), rounded(steps[-1])],
        mode="lines",
        name="Pareto front",
        line={"shape": "hv", "width": 1.5, "color": "var(--soft)", "dash": "dot"},
        hoverinfo="skip",
    )
    traces = [line]
    for part, drawn_as in (("validation", _validation_marks), ("test", _test_marks)):
        for family in dict.fromkeys(point.trial.family for point in points):
            shown = [p for p in points if p.trial.family == family and (part == "validation" or p.test is not None)]
            if shown:
                shares = [(p.trial.value if part == "validation" else p.test) or 0.0 for p in shown]
                name, look = label(text.label(shown[0].trial)), drawn_as(shown, looks[family])
                traces.append(trial_points([p.trial for p in shown], across(shown), shares, name=name, **look))
    shares = [share for p in points for share in (p.trial.value, p.low, p.high) if share is not None]
    shape = layout(shares)
    shape["xaxis"] |= {**axis, **TICKS[cost], "title": {"text": COSTS[cost] + " (log scale)"}}
    if min(point.cost for point in points) <= 0:
        powers = [10.0**exponent for exponent in range(math.ceil(paid_from), math.floor(axis["range"][1]) + 1)]
        names = [text.count(power).replace(".0", "") for power in powers]
        shape["xaxis"] |= {"tickvals": [zero_at, *powers], "ticktext": ["0", *names]}
    return figure(traces, shape)


def _validation_marks(points: Sequence[CostPoint], mark: Mark) -> dict[str, Any]:
    look = {"symbol": f"{mark.symbol}-open", "size": 9, "color": mark.colour, "opacity": 0.75, "line": {"width": 1.75}}
    return {"marker": look}


def _test_marks(points: Sequence[CostPoint], mark: Mark) -> dict[str, Any]:
    return {
        "marker": {
            "symbol": mark.symbol,
            "size": 13,
            "color": mark.colour,
            "opacity": 1,
            "line": {"color": "var(--paper)", "width": 1.5},
        },
        "error_y": {
            "type": "data",
            "symmetric": False,
            "array": [rounded(100 * ((p.high or 0.0) - (p.test or 0.0))) for p in points],
            "arrayminus": [rounded(100 * ((p.test or 0.0) - (p.low or 0.0))) for p in points],
            "color": mark.colour,
            "thickness": 1.75,
            "width": 5,
        },
    }


def _hover(point: CostPoint) -> str:
    trial = point.trial
    lines = [f"<b>{label(text.label(trial))}</b>", f"validation {text.validation(trial)}"]
    if point.test is not None and point.low is not None and point.high is not None:
        mean = text.mean_of_seeds([trial])
        interval = text.interval(point.low, point.high)
        lines.append(f"test {text.percent(point.test)} ({interval}{f', {mean}' if mean else ''})")
    if trial.cost:
        lines.append(f"{text.seconds(trial.cost.train_time_s)} · {text.count(trial.cost.parameters)} parameters")
    lines.append(f"{label(trial.engine)} #{trial.number}")
    chosen = ", ".join(f"{name}\u00a0{text.number(value)}" for name, value in trial.params.items())
    lines += [label(line) for line in textwrap.wrap(text.clean(chosen), HOVER_WIDTH, max_lines=6, placeholder=" …")]
    return "<br>".join(lines)
