"""Parts that all Plotly charts share: layout, axes, labels and links to trials.

A chart is made in two steps: plain data, then a Plotly figure. Colours are written as `var(--name)`; the page's script
replaces them by the theme's colours.
"""

from __future__ import annotations

import html
from collections.abc import Sequence
from hashlib import blake2b
from typing import Any

from bench import text
from bench.metrics._metric import Metric
from bench.records import COMPLETE, Trial

Figure = dict[str, Any]
"""Arguments of `Plotly.newPlot`: `data` and `layout`."""

LEAST_DRAWN = 10
"""Charts of fewer trials say nothing, and are left out."""


def figure(traces: Sequence[Any], layout: Figure) -> Figure:
    """Convert traces of `plotly.graph_objects` and a layout to plain data."""
    import plotly.graph_objects as go

    # An empty template: Plotly's default would add its colours and seven kilobytes to every chart.
    drawn: Figure = go.Figure(data=list(traces), layout={**layout, "template": go.layout.Template()}).to_plotly_json()
    return {"data": drawn["data"], "layout": drawn["layout"]}


LINE = {"gridcolor": "var(--grid)", "linecolor": "var(--rule)", "zeroline": False, "automargin": True}
"""Properties of all axes."""


def value_axis(values: Sequence[float], metric: Metric) -> Figure:
    """An axis that contains these values of a metric, in percent where it is shown so; better values are higher."""
    unit = 100.0 if metric.percent else 1.0
    low, high = (unit * min(values), unit * max(values)) if values else (0.0, unit)
    padding = max(0.06 * (high - low), 0.01 * unit)
    ends = [low - padding, high + padding]
    if metric.percent:
        ends = [max(ends[0], -1), min(ends[1], 101)]
    suffix = {"ticksuffix": " %"} if metric.percent else {}
    return {**LINE, "range": ends[::-1] if metric.lower_is_better else ends, **suffix, "nticks": 7}


def layout(yaxis: Figure) -> Figure:
    """The common layout, with this y axis."""
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
        "xaxis": {**LINE, "showline": True, "showgrid": False, "ticks": "outside", "tickcolor": "var(--rule)"},
        "yaxis": yaxis,
    }


def time_axis(title: str, longest_s: float) -> tuple[Figure, float]:
    """A linear axis of time from zero, and its unit in seconds: 1, 60 or 3600."""
    units = ((3600.0, "hours"), (60.0, "minutes"))
    unit, name = next(((unit, name) for unit, name in units if longest_s > 2 * unit), (1.0, "seconds"))
    return {"title": {"text": f"{title}, {name}"}, "range": [0, 1.02 * (longest_s or 1) / unit]}, unit


def points(
    trials: Sequence[Trial],
    x: Sequence[object],
    values: Sequence[float],
    metric: Metric,
    **more: Any,
) -> Any:
    """A `go.Scatter` with one marker per trial, which links to the trial's row in the leaderboard.

    Numbers are rounded to more than a screen's precision, which keeps thousands of points small.
    """
    import plotly.graph_objects as go

    defaults = {"mode": "markers", "hoverinfo": "text", "cliponaxis": False}
    return go.Scatter(
        x=[rounded(value) if isinstance(value, float) else value for value in x],
        y=[round(100 * value, 2) if metric.percent else rounded(value) for value in values],
        customdata=[anchor(trial) for trial in trials],
        **{**defaults, **more},
    )


def anchor(trial: Trial) -> str:
    """The HTML id of a trial's row, such as `trial-3f2a9c0d41be`: a hash, because names come from outside."""
    name = trial.name.encode("utf-8", "surrogatepass")
    return f"trial-{blake2b(name, digest_size=6).hexdigest()}"


def title(trial: Trial) -> str:
    """The name of a trial, as the first line of its hover text."""
    return f"<b>{label(text.label(trial), 60)}</b> {label(trial.engine, 40)} #{trial.number}"


def label(name: str, limit: int = 80) -> str:
    """Escape and shorten text from outside for Plotly, which interprets a subset of HTML in labels."""
    return html.escape(text.shorten(text.clean(name), limit), quote=False)


def rounded(value: float) -> float:
    """Round to six significant digits."""
    return float(f"{value:.6g}")


def thinned(trials: Sequence[Trial], limit: int) -> list[Trial]:
    """Select at most `limit` trials, in their order: half of them the best, half an even sample of the others."""
    if len(trials) <= limit:
        return list(trials)
    best_first = sorted(trials, key=lambda trial: (trial.state != COMPLETE, trial.rank_key))
    chosen = {trial.name for trial in best_first[: limit // 2]}
    others = [trial for trial in trials if trial.name not in chosen]
    step = len(others) / (limit - limit // 2)
    chosen |= {others[int(place * step)].name for place in range(limit - limit // 2)}
    return [trial for trial in trials if trial.name in chosen]
