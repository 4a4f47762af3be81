"""The charts, in two steps: what is shown, as plain data; then how it is drawn, as Plotly figures in plain data.

Drawing says `var(--name)` where a colour belongs; the page's script puts in what the stylesheet has for the theme.
"""

from __future__ import annotations

import html
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bench.records import COMPLETE, FAIL, PRUNED, Run, Trial
from bench.report import text
from bench.report.marks import Mark, engine_marks, family_marks

Figure = dict[str, Any]
"""What `Plotly.newPlot` takes: `data` and `layout`."""

COSTS: Mapping[str, str] = {"train_time_s": "Training time", "parameters": "Parameters"}
"""The costs that accuracy is held against, fields of `records.Cost`, and the title of their axis."""


# -- what is shown


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
class Step:
    """The state of an engine's search after so many trials.

    Attributes:
        n: How many trials of its budget the engine had used, from 1.
        best: The highest validation accuracy until then; None before the first complete trial.
        trial: The trial that came then.
    """

    n: int
    best: float | None
    trial: Trial


def accuracy_against(run: Run, cost: str) -> list[Point]:
    """Every complete trial that was trained, with one of its `COSTS`; answers from the record are left out."""
    return [
        Point(trial, text.label(trial), float(getattr(trial.cost, cost)), trial.value, *test_interval(trial))
        for trial in run.trials
        if trial.state == COMPLETE and not trial.duplicate_of and trial.cost and trial.value is not None
        if math.isfinite(getattr(trial.cost, cost)) and math.isfinite(trial.value)
    ]


def test_interval(trial: Trial) -> tuple[float | None, float | None, float | None]:
    """Test accuracy of a trial with its 95 % Wilson interval; three times None where it was not scored."""
    test = trial.test
    if test is None:
        return None, None, None
    if test.accuracy_low is None or test.accuracy_high is None:
        from bench.stats import wilson

        return test.accuracy, *wilson(round(test.accuracy * test.n), test.n)
    return test.accuracy, test.accuracy_low, test.accuracy_high


def best_so_far(run: Run) -> dict[str, list[Step]]:
    """For every engine, the best validation accuracy over all families after each trial of its budget.

    Trials count in the order in which they ended; failed and pruned ones used budget too, running ones not yet.
    """
    searches: dict[str, list[Step]] = {engine: [] for engine in engine_marks(run)}
    ended = [trial for trial in run.trials if trial.counted and trial.state in (COMPLETE, PRUNED, FAIL)]
    for trial in sorted(ended, key=lambda trial: trial.started_s if trial.finished_s is None else trial.finished_s):
        steps = searches[trial.engine]
        best = steps[-1].best if steps else None
        if trial.state == COMPLETE and trial.value is not None and math.isfinite(trial.value):
            best = trial.value if best is None else max(best, trial.value)
        steps.append(Step(len(steps) + 1, best, trial))
    return searches


@dataclass(frozen=True)
class LogAxis:
    """A logarithmic axis for costs of which some may be zero.

    Attributes:
        zero_at: Where a cost of zero is drawn: left of a gap below the smallest cost; None where none is zero.
        low, high: Its ends, as powers of ten.
        ticks: Where its ticks are and what they say.
    """

    zero_at: float | None
    low: float
    high: float
    ticks: tuple[tuple[float, str], ...]

    def place(self, value: float) -> float:
        """Where a cost is drawn."""
        return value if value > 0 or self.zero_at is None else self.zero_at


def log_axis(values: Sequence[float], cost: str) -> LogAxis:
    """The axis for these costs (at least one), with ticks that a person reads: `10 s`, `1 min`, `2 M`."""
    powers = [math.log10(value) for value in values if value > 0] or [0.0]
    low, high = min(powers), max(powers)
    padding = max(0.08 * (high - low), (1.2 - (high - low)) / 2, 0.1)  # at least 1.2 decades, so that ticks fall in
    low, high = low - padding, high + padding
    zero_at = None
    left = low
    if any(value <= 0 for value in values):
        zero_at = 10 ** (low - 0.12 * (high - low))
        left = low - 0.24 * (high - low)
    ticks = [(value, label) for value, label in _round_values(cost, high - low) if low <= math.log10(value) <= high]
    if zero_at is not None:
        ticks.insert(0, (zero_at, "0"))
    return LogAxis(zero_at, left, high, tuple(ticks))


def _round_values(cost: str, decades: float) -> list[tuple[float, str]]:
    """Round numbers for a logarithmic axis, the closer the fewer decades it spans, with their labels."""
    if cost == "train_time_s":
        small = [m * 10**e for e in range(-6, 1) for m in ((1, 2, 5) if decades < 2 else (1,))]
        clock = [10, 20, 30, 60, 120, 300, 600, 1200, 1800] if decades < 2 else [10, 60, 600]
        hours = [m * 3600 * 10**e for e in range(6) for m in ((1, 2, 5) if decades < 2 else (1,))]
        return [(value, _tick(text.seconds(value))) for value in [*small, *clock, *hours]]
    steps = (1, 2, 5) if decades < 2 else (1,)
    return [(m * 10.0**e, _tick(text.count(m * 10.0**e))) for e in range(13) for m in steps]


def _tick(label: str) -> str:
    return label.replace(".00", "").replace(".0", "")


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
    layout = _layout(shares)
    layout["xaxis"] |= {
        "type": "log",
        "range": [axis.low, axis.high],
        "tickvals": [value for value, _ in axis.ticks],
        "ticktext": [label for _, label in axis.ticks],
        "title": {"text": COSTS[cost] + " (log scale)"},
    }
    return _figure(go, traces, layout)


def draw_best_so_far(searches: Mapping[str, Sequence[Step]], looks: Mapping[str, Mark]) -> Figure:
    """One stepped line an engine, with a marker where the best improved."""
    import plotly.graph_objects as go

    traces, shares = [], []
    for engine, steps in searches.items():
        found = [(step, before) for before, step in zip([None, *steps], steps, strict=False) if step.best is not None]
        if not found:
            continue
        shares += [step.best for step, _ in found if step.best is not None]
        improved = [before is None or before.best != step.best for step, before in found]
        traces.append(
            go.Scatter(
                x=[step.n for step, _ in found],
                y=[100 * (step.best or 0.0) for step, _ in found],
                mode="lines+markers",
                name=_label(engine),
                line={"shape": "hv", "color": looks[engine].colour, "dash": looks[engine].dash, "width": 2.5},
                marker={
                    "symbol": looks[engine].symbol,
                    "size": [9 if new else 0 for new in improved],
                    "opacity": 1,
                    "line": {"width": 0},
                },
                hovertext=[_step_hover(engine, step) for step, _ in found],
                hoverinfo="text",
                cliponaxis=False,
            )
        )
    layout = _layout(shares)
    longest = max((len(steps) for steps in searches.values()), default=1)
    layout["xaxis"] |= {
        "title": {"text": "Trials"},
        "range": [0.5, longest + 0.5],
        "tickformat": "d",
        "dtick": max(1, math.ceil(longest / 10)),
        "tick0": 0,
    }
    return _figure(go, traces, layout)


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
        name=_label(points[0].label),
        marker=look,
        error_y=bars,
        hovertext=[_point_hover(point) for point in points],
        hoverinfo="text",
        cliponaxis=False,
    )


def _layout(shares: Sequence[float]) -> Figure:
    """What all charts have in common; accuracy in percent upwards."""
    least, most = (100 * min(shares), 100 * max(shares)) if shares else (0.0, 100.0)
    padding = max(0.06 * (most - least), 1.0)
    line = {"gridcolor": "var(--grid)", "linecolor": "var(--rule)", "zeroline": False, "automargin": True}
    return {
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "font": {
            "family": "system-ui, -apple-system, 'Segoe UI', Roboto, sans-serif",
            "size": 13,
            "color": "var(--soft)",
        },
        "margin": {"l": 8, "r": 16, "t": 12, "b": 8},
        "showlegend": False,
        "hovermode": "closest",
        "hoverlabel": {
            "bgcolor": "var(--raised)",
            "bordercolor": "var(--rule)",
            "font": {"color": "var(--ink)"},
            "align": "left",
        },
        "xaxis": {**line, "showline": True, "showgrid": False, "ticks": "outside", "tickcolor": "var(--rule)"},
        "yaxis": {
            **line,
            "range": [max(least - padding, -1), min(most + padding, 101)],
            "ticksuffix": " %",
            "nticks": 7,
        },
    }


def _figure(go: Any, traces: Sequence[Any], layout: Figure) -> Figure:
    # An empty template, since Plotly's own would bring its colours and seven kilobytes to every chart.
    drawn: Figure = go.Figure(data=list(traces), layout={**layout, "template": go.layout.Template()}).to_plotly_json()
    return {"data": drawn["data"], "layout": drawn["layout"]}


def _label(name: str, limit: int = 80) -> str:
    """Outside text for Plotly, which reads a subset of HTML in every label."""
    return html.escape(text.shorten(text.clean(name), limit), quote=False)


def _point_hover(point: Point) -> str:
    lines = [f"<b>{_label(point.label)}</b>", f"validation {text.validation(point.trial)}"]
    if point.test is not None and point.low is not None and point.high is not None:
        lines.append(f"test {text.percent(point.test)} ({text.interval(point.low, point.high)})")
    if point.trial.cost:
        cost = point.trial.cost
        lines.append(f"{text.seconds(cost.train_time_s)} · {text.count(cost.parameters)} parameters")
    lines.append(f"{_label(point.trial.engine)} #{point.trial.number}")
    lines += [_label(f"{name} {text.number(value)}", 60) for name, value in list(point.trial.params.items())[:12]]
    return "<br>".join(lines)


def _step_hover(engine: str, step: Step) -> str:
    return (
        f"<b>{_label(engine)}</b><br>best after {text.plural(step.n, 'trial')}: {text.percent(step.best)}"
        f"<br>this one: {_label(text.label(step.trial))} #{step.trial.number} {text.percent(step.trial.value)}"
    )


def accuracy_charts(run: Run) -> dict[str, tuple[list[Point], Figure]]:
    """For each of the `COSTS`: its points and its figure; empty where no trial is complete."""
    looks = family_marks(run)
    every = {cost: accuracy_against(run, cost) for cost in COSTS}
    return {cost: (points, draw_accuracy_against(points, cost, looks)) for cost, points in every.items() if points}
