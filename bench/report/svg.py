"""Small line charts as inline SVG, in the stylesheet's colours.

They need no script: a page has several for every family, and Plotly would take seconds to draw them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby

from markupsafe import Markup

from bench import text
from bench.metrics._metric import Metric
from bench.report.styles import DASHES, SHAPES, Mark

WIDTH, HEIGHT = 400, 200
"""Size of a chart, in units of its view box; a frame may have another height."""

LEFT, RIGHT, TOP, BOTTOM = 46, 12, 20, 40
"""Margins of the plot, for ticks and titles."""

LETTER, LINE = 6.6, 13.0
"""Width of a letter and height of a line of a label."""

Point = tuple[float, float]


@dataclass(frozen=True)
class Axis:
    """A linear axis from `low`, left or at the bottom, to `high`; `ticks` are pairs of a value and its label."""

    title: str
    low: float
    high: float
    ticks: tuple[tuple[float, str], ...]


@dataclass(frozen=True)
class Box:
    """A rectangle in coordinates of the view box."""

    left: float
    top: float
    right: float
    bottom: float

    def shared(self, other: Box) -> float:
        """The area that it shares with another one."""
        across = min(self.right, other.right) - max(self.left, other.left)
        return max(across, 0.0) * max(min(self.bottom, other.bottom) - max(self.top, other.top), 0.0)


@dataclass(frozen=True)
class Frame:
    """Two axes, with methods that draw marks in their coordinates."""

    x: Axis
    y: Axis
    height: int = HEIGHT

    def place(self, x: float, y: float) -> Point:
        """Convert a point of the data to coordinates of the view box."""
        across = (x - self.x.low) / (self.x.high - self.x.low)
        up = (y - self.y.low) / (self.y.high - self.y.low)
        return LEFT + across * (WIDTH - LEFT - RIGHT), self.height - BOTTOM - up * (self.height - TOP - BOTTOM)

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

    def symbol(self, point: Point, mark: Mark, link: str, title: str) -> Markup:
        """Draw the mark of a series as a link to the element with the id `link`; `title` is shown on hover."""
        x, y = self.place(*point)
        return Markup(
            '<a href="#{}" aria-label="{}"><title>{}</title>'
            '<path d="{}" fill="{}" transform="translate({:.1f} {:.1f})"/></a>'
        ).format(link, text.one_line(title), text.clean(title), SHAPES[mark.symbol], mark.colour, x - 8, y - 8)

    def rule(self, begin: Point, end: Point, kind: str) -> Markup:
        """Draw a straight line; `kind` is its class in the stylesheet."""
        (x1, y1), (x2, y2) = self.place(*begin), self.place(*end)
        return Markup('<line class="{}" x1="{:.1f}" y1="{:.1f}" x2="{:.1f}" y2="{:.1f}"/>').format(kind, x1, y1, x2, y2)

    def bar(self, begin: float, end: float, share: float, words: str) -> Markup:
        """Draw a bar on the x axis, with words above it; its height is `share` of the plot's."""
        (left, bottom), (right, _) = self.place(begin, self.y.low), self.place(end, self.y.low)
        height = share * (self.height - TOP - BOTTOM)
        label = _text((left + right) / 2, bottom - height - 3, "middle", words, "count-label")
        return label + Markup('<rect class="count" x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}"/>').format(
            left + 0.5, bottom - height, max(right - left - 1, 0.5), height
        )

    def word(self, words: str, x: float, limit: int = 24) -> Markup:
        """Write text from outside, at most `limit` characters, centred above the plot at `x`."""
        left, _ = self.place(x, self.y.low)
        return _text(left, TOP - 7, "middle", text.one_line(words, limit))

    def labels(self, labelled: Sequence[tuple[Point, str]], taken: Iterable[Box] = ()) -> Markup:
        """Write a label beside each point, where it covers no mark, no other label and no box that is `taken`.

        A place right or left of the point is preferred to those above and below; a line leads from a distant label to
        its point. Without a free place the one is taken that covers least.
        """
        places = [self.place(*point) for point, _ in labelled]
        covered = [*taken, *(Box(x - 7, y - 7, x + 7, y + 7) for x, y in places)]
        lines = range(1, int(self.height / LINE))
        drawn = Markup()
        for (x, y), (_, words) in zip(places, labelled, strict=True):
            width, shifts = LETTER * len(words), [0.0, *(sign * n * LINE for n in lines for sign in (-1, 1))]
            sides = (x + 9, x - 9 - width, x - width / 2)
            boxes = [Box(left, y + dy - LINE / 2, left + width, y + dy + LINE / 2) for dy in shifts for left in sides]
            inside = [box for box in boxes if self._holds(box)] or boxes
            best = min(inside, key=lambda box: sum(box.shared(other) for other in covered))
            covered.append(best)
            middle = (best.top + best.bottom) / 2
            if abs(middle - y) > 2 * LINE:
                near = min(max(x, best.left), best.right)
                drawn += Markup('<line class="lead-line" x1="{:.1f}" y1="{:.1f}" x2="{:.1f}" y2="{:.1f}"/>').format(
                    near, middle, x, y
                )
            drawn += _text(best.left, middle + 4, "start", words, "label")
        return drawn

    def note(self, words: str, y: float) -> tuple[Markup, Box]:
        """Write words above a height of the data, at the right end; return also the box that they take."""
        right, at = self.place(self.x.high, y)
        box = Box(right - LETTER * len(words), at - 4 - LINE, right, at)
        return _text(right, at - 4, "end", words), box

    def _holds(self, box: Box) -> bool:
        return box.left >= LEFT and box.right <= WIDTH and box.top >= 0 and box.bottom <= self.height - BOTTOM

    def chart(self, label: str, drawn: Iterable[Markup], role: str = "img") -> Markup:
        """Put the axes and the marks together; screen readers read the label. A chart with links has role `group`."""
        return Markup('<svg class="small-chart" viewBox="0 0 {} {}" role="{}" aria-label="{}">{}{}</svg>').format(
            WIDTH, self.height, role, text.one_line(label), self._axes(), Markup("").join(drawn)
        )

    def _axes(self) -> Markup:
        drawn = [self.rule((self.x.low, self.y.low), (self.x.high, self.y.low), "axis")]
        for value, label in self.y.ticks:
            drawn.append(self.rule((self.x.low, value), (self.x.high, value), "grid"))
            drawn.append(_text(LEFT - 6, self.place(self.x.low, value)[1] + 4, "end", label))
        for value, label in self.x.ticks:
            drawn.append(_text(self.place(value, self.y.low)[0], self.height - BOTTOM + 16, "middle", label))
        drawn.append(_text((LEFT + WIDTH - RIGHT) / 2, self.height - 6, "middle", self.x.title))
        return Markup("").join(drawn)


def percentages(title: str, low: float = 0.0, high: float = 1.0) -> Axis:
    """An axis of shares, 0 to 1, in percent; `low` and `high` are rounded outwards."""
    step = _step(max(100 * (high - low), 1.0))
    last = max(math.ceil(100 * high / step - 1e-9), 1)
    first = min(math.floor(100 * low / step + 1e-9), last - 1)
    return _axis(title, {n * step / 100: f"{n * step:.6g}\u202f%" for n in range(first, last + 1)})


def numbers(title: str, low: float, high: float) -> Axis:
    """An axis of numbers; `low` and `high` are rounded outwards."""
    step = _step((high - low) or 1.0)
    first = math.floor(low / step + 1e-9)
    last = max(math.ceil(high / step - 1e-9), first + 1)
    return _axis(title, {n * step: f"{n * step:.4g}" for n in range(first, last + 1)})


def values(title: str, low: float, high: float, metric: Metric) -> Axis:
    """An axis of a metric, in percent where it is shown so; better values are higher."""
    axis = percentages(title, low, high) if metric.percent else numbers(title, low, high)
    return replace(axis, low=axis.high, high=axis.low) if metric.lower_is_better else axis


def counts(title: str, last: int) -> Axis:
    """An axis of whole numbers from 1 to `last`, at least 1."""
    step = max(1, round(_step(last - 1, 8)))
    ticks = sorted({1, *range(step, last + 1, step)})
    return Axis(
        title, min(1.0, last - 0.5), max(float(last), 1.5), tuple((float(tick), text.thousands(tick)) for tick in ticks)
    )


DECADES = tuple(tuple(digit * 10.0**power for power in range(-6, 15) for digit in digits) for digits in ((1,), (2, 5)))
"""Round numbers of a logarithmic axis, by preference."""

DURATIONS = (
    (1e-3, 1e-2, 0.1, 1.0, 10.0, 60.0, 600.0, 3600.0, 36_000.0, 360_000.0),
    (30.0, 300.0, 1800.0, 18_000.0),
    (2.0, 5.0, 20.0, 120.0, 1200.0, 7200.0, 72_000.0),
)
"""Round numbers of seconds."""


def logarithmic(
    title: str,
    values: Sequence[float],
    write: Callable[[float], str],
    rounds: Sequence[Sequence[float]] = DECADES,
) -> Axis:
    """A logarithmic axis for one or more positive values: its coordinates are their logarithms to base 10.

    Args:
        write: Formatter of a tick.
        rounds: The numbers that ticks may have, by preference.
    """
    low, high = math.log10(min(values)), math.log10(max(values))
    padding = max(0.1 * (high - low), (1.1 - (high - low)) / 2)
    low, high = low - padding, high + padding
    ticks: dict[float, str] = {}
    for round_number in (number for numbers in rounds for number in numbers):
        place = math.log10(round_number)
        if low <= place <= high and all(abs(place - other) > 0.14 * (high - low) for other in ticks):
            ticks[place] = write(round_number).replace(".0", "")
    return Axis(title, low, high, tuple(sorted(ticks.items())))


def _axis(title: str, ticks: Mapping[float, str]) -> Axis:
    return Axis(title, min(ticks), max(ticks), tuple(ticks.items()))


def _step(span: float, most: int = 5) -> float:
    """Distance between ticks: 1, 2 or 5 times a power of ten, for about `most` ticks."""
    rough = max(span, 1e-9) / most
    power: float = 10.0 ** math.floor(math.log10(rough))
    return next((factor * power for factor in (1, 2, 5) if factor * power >= rough * (1 - 1e-9)), 10 * power)


def _text(x: float, y: float, anchor: str, words: str, kind: str = "") -> Markup:
    shown = Markup(' class="{}"').format(kind) if kind else Markup()
    return Markup('<text{} x="{:.1f}" y="{:.1f}" text-anchor="{}">{}</text>').format(shown, x, y, anchor, words)
