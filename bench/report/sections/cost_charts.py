"""Accuracy against training time and against parameters, on logarithmic axes, with the Pareto front."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bench import stats, text
from bench.records import COMPLETE, Run, Trial
from bench.report.figures import Figure, anchor, figure, label, layout, log_axis, points, rounded
from bench.report.sections.leaderboard import listed
from bench.report.sections.recommendation import cost_of
from bench.report.styles import Mark, family_marks

COSTS: Mapping[str, str] = {"train_time_s": "Training time", "parameters": "Parameters"}
"""Costs (fields of `records.Cost`) and the titles of their axes."""

TICKS: Mapping[str, Figure] = {
    "train_time_s": {"tickformat": "~f", "ticksuffix": " s"},
    "parameters": {"tickformat": "~s"},
}
"""Plotly's tick format by cost."""

TABLE_UP_TO = 100
"""Tables of more trials list only those on a front or with a test accuracy."""

HOVER_WIDTH = 60
"""Characters in a line of hyperparameters in the hover text."""


@dataclass(frozen=True)
class CostChart:
    """A chart of complete trials, and their Pareto front, cheapest first."""

    trials: Sequence[Trial]
    front: Sequence[Trial]
    figure: Figure


@dataclass(frozen=True)
class CostCharts:
    """The section.

    Attributes:
        charts: By cost; empty if no trial is complete.
        rows: Rows of the table, in start order: a trial, and the costs on whose front it lies, in words.
        drawn, left_out: Number of complete trials in the charts, and of those left out.
        hovers: Hover text by the trial's anchor, shared by all charts.
        families: The legend.
    """

    charts: Mapping[str, CostChart]
    rows: Sequence[tuple[Trial, Sequence[str]]]
    drawn: int
    left_out: int
    hovers: Mapping[str, str]
    families: Sequence[tuple[str, Mark]]


def section(run: Run) -> CostCharts:
    """The charts of a run."""
    trials, looks = drawn(run), family_marks(run)
    charts = {}
    for cost in COSTS:
        if charted := with_cost(trials, cost):
            best = front(charted, cost)
            charts[cost] = CostChart(charted, best, draw_cost_chart(charted, best, cost, looks))
    shown = {trial.name: trial for chart in charts.values() for trial in chart.trials}
    fronts = {COSTS[cost].lower(): {trial.name for trial in chart.front} for cost, chart in charts.items()}
    rows = [(trial, [cost for cost in fronts if name in fronts[cost]]) for name, trial in shown.items()]
    labels = {trial.family: text.label(trial) for trial in shown.values()}
    return CostCharts(
        charts=charts,
        rows=[row for row in rows if len(rows) <= TABLE_UP_TO or row[1] or row[0].test],
        drawn=len(shown),
        left_out=sum(map(_is_shown, run.trials)) - len(trials),
        hovers={anchor(trial): _hover(trial) for trial in shown.values()},
        families=[(labels[family], mark) for family, mark in looks.items() if family in labels],
    )


def drawn(run: Run) -> list[Trial]:
    """The complete trials that the leaderboard lists, without answers from the record."""
    names = {trial.name for trials in listed(run).values() for trial in trials}
    return [trial for trial in run.trials if _is_shown(trial) and trial.name in names]


def _is_shown(trial: Trial) -> bool:
    return trial.state == COMPLETE and not trial.duplicate_of and trial.cost is not None and trial.value is not None


def with_cost(trials: Sequence[Trial], cost: str) -> list[Trial]:
    """The trials whose cost and validation accuracy are finite."""
    return [t for t in trials if math.isfinite(cost_of(t, cost)) and t.value is not None and math.isfinite(t.value)]


def front(trials: Sequence[Trial], cost: str) -> list[Trial]:
    """The Pareto front of validation accuracy and cost, cheapest first; among equal trials the first."""
    places = [(cost_of(trial, cost), -(trial.value or 0.0)) for trial in trials]
    distinct = {places[i]: trials[i] for i in reversed(stats.pareto(places))}
    return [distinct[place] for place in sorted(distinct)]


# -- drawing


def draw_cost_chart(trials: Sequence[Trial], front: Sequence[Trial], cost: str, looks: Mapping[str, Mark]) -> Figure:
    """Draw hollow marks for validation accuracy, and filled marks with error bars for the chosen trials' test accuracy.

    The front is a stepped line: the best validation accuracy at or below each cost. The page's script adds the hover
    texts (`CostCharts.hovers`).
    """
    import plotly.graph_objects as go

    axis, zero_at, paid_from = log_axis([cost_of(trial, cost) for trial in trials])

    def across(trials: Sequence[Trial]) -> list[float]:
        return [rounded(cost_of(trial, cost) or zero_at) for trial in trials]

    steps = [rounded(100 * (trial.value or 0.0)) for trial in front]
    line = go.Scatter(
        x=[*across(front), rounded(10 ** axis["range"][1])],
        y=[*steps, steps[-1]],
        mode="lines",
        name="Pareto front",
        line={"shape": "hv", "width": 1.5, "color": "var(--soft)", "dash": "dot"},
        hoverinfo="skip",
    )
    families: dict[str, list[Trial]] = {}
    for trial in trials:
        families.setdefault(trial.family, []).append(trial)
    hollow, filled = [], []
    for family, group in families.items():
        name, mark = label(text.label(group[0])), looks[family]
        look = {
            "symbol": f"{mark.symbol}-open",
            "size": 9,
            "color": mark.colour,
            "opacity": 0.75,
            "line": {"width": 1.75},
        }
        hollow.append(points(group, across(group), [t.value or 0.0 for t in group], name=name, marker=look))
        if scored := [trial for trial in group if trial.test]:
            accuracies = [trial.test_accuracy or 0.0 for trial in scored]
            filled.append(points(scored, across(scored), accuracies, name=name, **_test_marks(scored, mark)))
    ends = [share for trial in trials for share in (trial.value, *trial.test_with_interval[1:]) if share is not None]
    shape = layout(ends)
    shape["xaxis"] |= {**axis, **TICKS[cost], "title": {"text": COSTS[cost] + " (log scale)"}}
    if any(cost_of(trial, cost) <= 0 for trial in trials):
        powers = [10.0**exponent for exponent in range(math.ceil(paid_from), math.floor(axis["range"][1]) + 1)]
        names = [text.count(power).replace(".0", "") for power in powers]
        shape["xaxis"] |= {"tickvals": [zero_at, *powers], "ticktext": ["0", *names]}
    return figure([line, *hollow, *filled], shape)


def _test_marks(trials: Sequence[Trial], mark: Mark) -> dict[str, Any]:
    intervals = [[share or 0.0 for share in trial.test_with_interval] for trial in trials]
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
            "array": [rounded(100 * (high - test)) for test, _, high in intervals],
            "arrayminus": [rounded(100 * (test - low)) for test, low, _ in intervals],
            "color": mark.colour,
            "thickness": 1.75,
            "width": 5,
        },
    }


def _hover(trial: Trial) -> str:
    test, low, high = trial.test_with_interval
    lines = [f"<b>{label(text.label(trial))}</b>", f"validation {text.validation(trial)}"]
    if low is not None and high is not None:
        mean = text.mean_of_seeds([trial])
        lines.append(f"test {text.percent(test)} ({text.interval(low, high)}{f', {mean}' if mean else ''})")
    if trial.cost:
        lines.append(f"{text.seconds(trial.cost.train_time_s)} · {text.count(trial.cost.parameters)} parameters")
    lines.append(f"{label(trial.engine)} #{trial.number}")
    chosen = ", ".join(f"{name}\u00a0{text.number(value)}" for name, value in trial.params.items())
    lines += [label(line) for line in textwrap.wrap(text.clean(chosen), HOVER_WIDTH, max_lines=6, placeholder=" …")]
    return "<br>".join(lines)
