"""What all charts have in common: what a figure is, its layout, its axes, its labels.

A figure is made in two steps: what is shown, as plain data; then how it is drawn, as Plotly's JSON. Drawing says
`var(--name)` where a colour belongs; the page's script puts in what the stylesheet has for the theme.
"""

from __future__ import annotations

import html
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from bench import text

Figure = dict[str, Any]
"""What `Plotly.newPlot` takes: `data` and `layout`."""


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


def layout(shares: Sequence[float]) -> Figure:
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


def figure(go: Any, traces: Sequence[Any], layout: Figure) -> Figure:
    # An empty template, since Plotly's own would bring its colours and seven kilobytes to every chart.
    drawn: Figure = go.Figure(data=list(traces), layout={**layout, "template": go.layout.Template()}).to_plotly_json()
    return {"data": drawn["data"], "layout": drawn["layout"]}


def label(name: str, limit: int = 80) -> str:
    """Outside text for Plotly, which reads a subset of HTML in every label."""
    return html.escape(text.shorten(text.clean(name), limit), quote=False)
