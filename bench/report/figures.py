"""Plotly charts: the layout, axes, labels and links to trials that all of them share.

A chart is made in two steps: plain data, then a Plotly figure. A figure says `var(--name)` where a colour belongs; the
page's script puts in the stylesheet's colour for the theme. Plotly places the ticks.
"""

from __future__ import annotations

import html
import math
from collections.abc import Container, Sequence
from hashlib import blake2b
from typing import Any

from bench import text
from bench.records import COMPLETE, Trial

Figure = dict[str, Any]
"""Arguments of `Plotly.newPlot`: `data` and `layout`."""


def figure(traces: Sequence[Any], layout: Figure) -> Figure:
    """A figure as plain data, from traces of `plotly.graph_objects`."""
    import plotly.graph_objects as go

    # An empty template, since Plotly's own would bring its colours and seven kilobytes to every chart.
    drawn: Figure = go.Figure(data=list(traces), layout={**layout, "template": go.layout.Template()}).to_plotly_json()
    return {"data": drawn["data"], "layout": drawn["layout"]}


def layout(accuracies: Sequence[float]) -> Figure:
    """The common layout, with an accuracy axis in percent that holds these shares."""
    low, high = (100 * min(accuracies), 100 * max(accuracies)) if accuracies else (0.0, 100.0)
    padding = max(0.06 * (high - low), 1.0)
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
        "yaxis": {**line, "range": [max(low - padding, -1), min(high + padding, 101)], "ticksuffix": " %", "nticks": 7},
    }


def log_axis(values: Sequence[float]) -> tuple[Figure, float, float]:
    """A logarithmic axis for these costs, of which there is at least one.

    Zero has no place on such an axis. Where there is a cost of zero, the axis is longer on its left.

    Returns:
        The axis, the place at which zero is shown, and the power of ten at which the other costs begin.
    """
    powers = [math.log10(value) for value in values if value > 0] or [0.0]
    low, high = min(powers), max(powers)
    padding = max(0.08 * (high - low), (1.2 - (high - low)) / 2, 0.1)  # at least 1.2 decades, so that ticks fall in
    low, high = low - padding, high + padding
    gap = 0.12 * (high - low)
    left = low - 2 * gap if min(values) <= 0 else low
    ticks = {"dtick": 1} if high - low > 2.5 else {"nticks": 6}  # powers of ten alone: 1, 2 and 5 would run together
    return {"type": "log", "range": [left, high], **ticks}, 10 ** (low - gap), low


def time_axis(title: str, longest_s: float) -> tuple[Figure, float]:
    """A linear axis of time from zero, and its unit in seconds: a second, a minute or an hour."""
    units = ((3600.0, "hours"), (60.0, "minutes"))
    unit, name = next(((unit, name) for unit, name in units if longest_s > 2 * unit), (1.0, "seconds"))
    return {"title": {"text": f"{title}, {name}"}, "range": [0, 1.02 * (longest_s or 1) / unit]}, unit


def points(
    trials: Sequence[Trial],
    x: Sequence[object],
    shares: Sequence[float],
    listed: Container[str] | None = None,
    **more: Any,
) -> Any:
    """A `go.Scatter` with a marker a trial, which leads to its row in the leaderboard if it is `listed` there.

    Numbers are rounded finer than any screen shows, so that thousands of points stay small. `listed` holds names; None
    means all.
    """
    import plotly.graph_objects as go

    defaults = {"mode": "markers", "hoverinfo": "text", "cliponaxis": False}
    return go.Scatter(
        x=[rounded(value) if isinstance(value, float) else value for value in x],
        y=[round(100 * share, 2) for share in shares],
        customdata=[anchor(trial) if listed is None or trial.name in listed else "" for trial in trials],
        **{**defaults, **more},
    )


def anchor(trial: Trial) -> str:
    """The id of a trial's row, such as `trial-3f2a9c0d41be`: a hash, so that nothing from outside shows in it."""
    name = trial.name.encode("utf-8", "surrogatepass")
    return f"trial-{blake2b(name, digest_size=6).hexdigest()}"


def title(trial: Trial) -> str:
    """The name of a trial as the first line beside its point."""
    return f"<b>{label(text.label(trial), 60)}</b> {label(trial.engine, 40)} #{trial.number}"


def whole_numbers(most: int) -> Figure:
    """An axis of whole numbers up to `most`."""
    return {"tickformat": "d", **({"dtick": 1, "tick0": 1} if most <= 10 else {"nticks": 10})}


def label(name: str, limit: int = 80) -> str:
    """Text from outside for Plotly, which reads a subset of HTML in every label."""
    return html.escape(text.shorten(text.clean(name), limit), quote=False)


def rounded(value: float) -> float:
    """A number with six significant digits."""
    return float(f"{value:.6g}")


def thinned(trials: Sequence[Trial], limit: int) -> list[Trial]:
    """At most `limit` of the trials, in their order: the best half, and an evenly spaced sample of the others."""
    if len(trials) <= limit:
        return list(trials)
    best_first = sorted(trials, key=lambda trial: (trial.state != COMPLETE, trial.rank_key))
    chosen = {trial.name for trial in best_first[: limit // 2]}
    others = [trial for trial in trials if trial.name not in chosen]
    step = len(others) / (limit - limit // 2)
    chosen |= {others[int(place * step)].name for place in range(limit - limit // 2)}
    return [trial for trial in trials if trial.name in chosen]
