"""Small line charts as inline SVG, in the stylesheet's colours.

They need no script: a page has several for every family, and Plotly would take seconds to draw them.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

from markupsafe import Markup

from bench import text
from bench.report.styles import DASHES, Mark

WIDTH, HEIGHT = 400, 230
"""Size of every chart, in units of its view box."""

LEFT, RIGHT, TOP, BOTTOM = 46, 12, 20, 40
"""Margins of the plot, for ticks and titles."""

Point = tuple[float, float]


@dataclass(frozen=True)
class Axis:
    """A linear axis from `low` to `high`; `ticks` are pairs of a value and its label."""

    title: str
    low: float
    high: float
    ticks: tuple[tuple[float, str], ...]


@dataclass(frozen=True)
class Frame:
    """Two axes, with methods that draw marks in their coordinates."""

    x: Axis
    y: Axis

    def place(self, x: float, y: float) -> Point:
        """Convert a point of the data to coordinates of the view box."""
        across = (x - self.x.low) / (self.x.high - self.x.low)
        up = (y - self.y.low) / (self.y.high - self.y.low)
        return LEFT + across * (WIDTH - LEFT - RIGHT), HEIGHT - BOTTOM - up * (HEIGHT - TOP - BOTTOM)

    def line(self, points: Sequence[Point | None], mark: Mark) -> Markup:
        """Draw a line through points of the data, with a gap at each None; a single point becomes a dot."""
        drawn = Markup()
        for is_present, stroke in groupby(points, key=lambda point: point is not None):
            present = [point for point in stroke if is_present and point]
            places = " ".join("{:.1f},{:.1f}".format(*self.place(*point)) for point in present)
            if len(present) == 1:
                drawn += self.dot(present[0], mark, 2.5)
            elif present:
                drawn += Markup('<polyline points="{}" fill="none" stroke="{}" stroke-dasharray="{}"/>').format(
                    places, mark.colour, DASHES[mark.dash]
                )
        return drawn

    def dot(self, point: Point, mark: Mark, radius: float = 3.5) -> Markup:
        """Draw a filled circle."""
        x, y = self.place(*point)
        return Markup('<circle cx="{:.1f}" cy="{:.1f}" r="{}" fill="{}"/>').format(x, y, radius, mark.colour)

    def rule(self, begin: Point, end: Point, kind: str) -> Markup:
        """Draw a straight line; `kind` is its class in the stylesheet."""
        (x1, y1), (x2, y2) = self.place(*begin), self.place(*end)
        return Markup('<line class="{}" x1="{:.1f}" y1="{:.1f}" x2="{:.1f}" y2="{:.1f}"/>').format(kind, x1, y1, x2, y2)

    def bar(self, begin: float, end: float, share: float) -> Markup:
        """Draw a bar on the x axis; its height is `share` of the plot's."""
        (left, bottom), (right, _) = self.place(begin, self.y.low), self.place(end, self.y.low)
        height = share * (HEIGHT - TOP - BOTTOM)
        return Markup('<rect class="count" x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}"/>').format(
            left + 0.5, bottom - height, max(right - left - 1, 0.5), height
        )

    def word(self, words: str, x: float, limit: int = 24) -> Markup:
        """Write text from outside, at most `limit` characters, centred above the plot at `x`."""
        left, _ = self.place(x, self.y.low)
        return _text(left, TOP - 7, "middle", text.one_line(words, limit))

    def chart(self, label: str, drawn: Iterable[Markup]) -> Markup:
        """Put the axes and the marks together; screen readers read the label."""
        return Markup('<svg class="small-chart" viewBox="0 0 {} {}" role="img" aria-label="{}">{}{}</svg>').format(
            WIDTH, HEIGHT, text.one_line(label), self._axes(), Markup("").join(drawn)
        )

    def _axes(self) -> Markup:
        drawn = [self.rule((self.x.low, self.y.low), (self.x.high, self.y.low), "axis")]
        for value, label in self.y.ticks:
            drawn.append(self.rule((self.x.low, value), (self.x.high, value), "grid"))
            drawn.append(_text(LEFT - 6, self.place(self.x.low, value)[1] + 4, "end", label))
        for value, label in self.x.ticks:
            drawn.append(_text(self.place(value, self.y.low)[0], HEIGHT - BOTTOM + 16, "middle", label))
        drawn.append(_text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 6, "middle", self.x.title))
        return Markup("").join(drawn)


def percentages(title: str, low: float = 0.0, high: float = 1.0) -> Axis:
    """An axis of shares, 0 to 1, in percent; `low` and `high` are rounded outwards."""
    step = _step(max(100 * (high - low), 1.0))
    last = max(math.ceil(100 * high / step - 1e-9), 1)
    first = min(math.floor(100 * low / step + 1e-9), last - 1)
    return _axis(title, {n * step / 100: f"{n * step:.6g}\u00a0%" for n in range(first, last + 1)})


def numbers(title: str, low: float, high: float) -> Axis:
    """An axis of numbers; `low` and `high` are rounded outwards."""
    step = _step((high - low) or 1.0)
    first = math.floor(low / step + 1e-9)
    last = max(math.ceil(high / step - 1e-9), first + 1)
    return _axis(title, {n * step: f"{n * step:.4g}" for n in range(first, last + 1)})


def counts(title: str, last: int) -> Axis:
    """An axis of whole numbers from 1 to `last`, at least 1."""
    step = max(1, round(_step(last - 1, 8)))
    ticks = sorted({1, *range(step, last + 1, step)})
    return Axis(title, min(1.0, last - 0.5), max(float(last), 1.5), tuple((float(tick), str(tick)) for tick in ticks))


def _axis(title: str, ticks: Mapping[float, str]) -> Axis:
    return Axis(title, min(ticks), max(ticks), tuple(ticks.items()))


def _step(span: float, most: int = 5) -> float:
    """Distance between ticks: 1, 2 or 5 times a power of ten, for about `most` ticks."""
    rough = max(span, 1e-9) / most
    power: float = 10.0 ** math.floor(math.log10(rough))
    return next((factor * power for factor in (1, 2, 5) if factor * power >= rough * (1 - 1e-9)), 10 * power)


def _text(x: float, y: float, anchor: str, words: str) -> Markup:
    return Markup('<text x="{:.1f}" y="{:.1f}" text-anchor="{}">{}</text>').format(x, y, anchor, words)
