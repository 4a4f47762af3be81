"""Small line charts as inline SVG, in the stylesheet's colours.

They need no script. A page has several for every family, which Plotly would take seconds to draw.
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
"""Size of every chart in the units of its view box."""

LEFT, RIGHT, TOP, BOTTOM = 46, 12, 20, 40
"""Room around the plot for ticks and titles."""

Point = tuple[float, float]


@dataclass(frozen=True)
class Axis:
    """A linear axis: its ends, `low` below `high`, and its ticks as places and labels."""

    title: str
    low: float
    high: float
    ticks: tuple[tuple[float, str], ...]


@dataclass(frozen=True)
class Frame:
    """Two axes, and the marks that are drawn over them."""

    x: Axis
    y: Axis

    def place(self, x: float, y: float) -> Point:
        """The place of a point of the data in the view box."""
        across = (x - self.x.low) / (self.x.high - self.x.low)
        up = (y - self.y.low) / (self.y.high - self.y.low)
        return LEFT + across * (WIDTH - LEFT - RIGHT), HEIGHT - BOTTOM - up * (HEIGHT - TOP - BOTTOM)

    def line(self, points: Sequence[Point | None], mark: Mark) -> Markup:
        """A line through points of the data, with a gap at each None; a point alone is a dot."""
        drawn = Markup()
        for is_there, stroke in groupby(points, key=lambda point: point is not None):
            present = [point for point in stroke if is_there and point]
            places = " ".join("{:.1f},{:.1f}".format(*self.place(*point)) for point in present)
            if len(present) == 1:
                drawn += self.dot(present[0], mark, 2.5)
            elif present:
                drawn += Markup('<polyline points="{}" fill="none" stroke="{}" stroke-dasharray="{}"/>').format(
                    places, mark.colour, DASHES[mark.dash]
                )
        return drawn

    def dot(self, point: Point, mark: Mark, radius: float = 3.5) -> Markup:
        """A filled circle."""
        x, y = self.place(*point)
        return Markup('<circle cx="{:.1f}" cy="{:.1f}" r="{}" fill="{}"/>').format(x, y, radius, mark.colour)

    def rule(self, begin: Point, end: Point, kind: str) -> Markup:
        """A straight line of that class in the stylesheet."""
        (x1, y1), (x2, y2) = self.place(*begin), self.place(*end)
        return Markup('<line class="{}" x1="{:.1f}" y1="{:.1f}" x2="{:.1f}" y2="{:.1f}"/>').format(kind, x1, y1, x2, y2)

    def bar(self, begin: float, end: float, share: float) -> Markup:
        """A bar on the x axis, `share` of the plot high."""
        (left, bottom), (right, _) = self.place(begin, self.y.low), self.place(end, self.y.low)
        height = share * (HEIGHT - TOP - BOTTOM)
        return Markup('<rect class="count" x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}"/>').format(
            left + 0.5, bottom - height, max(right - left - 1, 0.5), height
        )

    def word(self, said: str, x: float, most: int = 24) -> Markup:
        """Text from outside, centred above a place on the x axis."""
        left, _ = self.place(x, self.y.low)
        return _text(left, TOP - 7, "middle", text.one_line(said, most))

    def chart(self, label: str, drawn: Iterable[Markup]) -> Markup:
        """The chart as a whole; a screen reader gets the label."""
        return Markup('<svg class="small-chart" viewBox="0 0 {} {}" role="img" aria-label="{}">{}{}</svg>').format(
            WIDTH, HEIGHT, text.one_line(label), self._axes(), Markup("").join(drawn)
        )

    def _axes(self) -> Markup:
        drawn = [self.rule((self.x.low, self.y.low), (self.x.high, self.y.low), "axis")]
        for value, said in self.y.ticks:
            drawn.append(self.rule((self.x.low, value), (self.x.high, value), "grid"))
            drawn.append(_text(LEFT - 6, self.place(self.x.low, value)[1] + 4, "end", said))
        for value, said in self.x.ticks:
            drawn.append(_text(self.place(value, self.y.low)[0], HEIGHT - BOTTOM + 16, "middle", said))
        drawn.append(_text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 6, "middle", self.x.title))
        return Markup("").join(drawn)


def percentages(title: str, low: float = 0.0, high: float = 1.0) -> Axis:
    """An axis of shares between 0 and 1 in percent, with round ends around `low` and `high`."""
    step = _step(max(100 * (high - low), 1.0))
    last = max(math.ceil(100 * high / step - 1e-9), 1)
    first = min(math.floor(100 * low / step + 1e-9), last - 1)
    return _axis(title, {n * step / 100: f"{n * step:.6g}\u00a0%" for n in range(first, last + 1)})


def numbers(title: str, low: float, high: float) -> Axis:
    """An axis of numbers with round ends around `low` and `high`."""
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
    """The distance between ticks, 1, 2 or 5 times a power of ten, so that about `most` of them fit."""
    rough = max(span, 1e-9) / most
    power: float = 10.0 ** math.floor(math.log10(rough))
    return next((factor * power for factor in (1, 2, 5) if factor * power >= rough * (1 - 1e-9)), 10 * power)


def _text(x: float, y: float, anchor: str, said: str) -> Markup:
    return Markup('<text x="{:.1f}" y="{:.1f}" text-anchor="{}">{}</text>').format(x, y, anchor, said)
