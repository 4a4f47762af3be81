"""Colour, symbol and dash of every family and engine, the same in all charts and tables.

Colours are CSS variables with a value per theme. They follow the palette of Okabe and Ito (2008), "Color universal
design", which stays distinct under the common colour vision deficiencies. A symbol or a dash always repeats what the
colour says.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from bench.records import Run

COLOURS = 8
"""Number of `--series-N` variables in the stylesheet, N from 1."""

SHAPES: Mapping[str, str] = {
    "circle": "M8 2.5a5.5 5.5 0 1 0 0 11a5.5 5.5 0 1 0 0-11z",
    "square": "M3 3h10v10H3z",
    "diamond": "M8 1.2L14.8 8L8 14.8L1.2 8z",
    "triangle-up": "M8 2L14.5 13.4H1.5z",
    "cross": "M6 2h4v4h4v4h-4v4H6v-4H2V6h4z",
    "triangle-down": "M8 14L1.5 2.6H14.5z",
    "star": "M8 1l1.9 4.9 5.3.3-4.1 3.3 1.4 5.1L8 11.7l-4.5 2.9 1.4-5.1L.8 6.2l5.3-.3z",
}
"""Plotly's name of a marker symbol, and the same shape as an SVG path in a box of 16 by 16."""

DASHES: Mapping[str, str] = {"solid": "none", "dash": "6 4", "dot": "1.5 3", "dashdot": "6 3 1.5 3"}
"""Plotly's name of a line style, and the same as an SVG dash array."""


@dataclass(frozen=True)
class Mark:
    """The style of one series.

    Attributes:
        colour: A CSS expression, `var(--series-3)`.
        symbol: A key of `SHAPES`.
        dash: A key of `DASHES`.
    """

    colour: str
    symbol: str
    dash: str

    @property
    def point(self) -> Markup:
        """The marker as an inline picture, for legends and tables."""
        return Markup('<svg class="mark" viewBox="0 0 16 16" aria-hidden="true"><path d="{}" fill="{}"/></svg>').format(
            SHAPES[self.symbol], self.colour
        )

    @property
    def line(self) -> Markup:
        """The line as an inline picture, for legends."""
        return Markup(
            '<svg class="mark line" viewBox="0 0 28 16" aria-hidden="true">'
            '<path d="M1 8H27" fill="none" stroke="{}" stroke-width="2.5" stroke-dasharray="{}"/></svg>'
        ).format(self.colour, DASHES[self.dash])


def marks(names: Sequence[str]) -> dict[str, Mark]:
    """Assign a mark to every name by its position; marks repeat only after 56 names."""
    symbols, dashes = list(SHAPES), list(DASHES)
    return {
        name: Mark(f"var(--series-{i % COLOURS + 1})", symbols[i % len(symbols)], dashes[i % len(dashes)])
        for i, name in enumerate(names)
    }


def family_marks(run: Run) -> dict[str, Mark]:
    """The marks of a run's families, in the order in which they are declared."""
    return marks(list(dict.fromkeys([*(family.name for family in run.families), *(s.family for s in run.studies)])))


def engine_marks(run: Run) -> dict[str, Mark]:
    """The marks of a run's engines, in the order in which they were asked for."""
    return marks(list(dict.fromkeys([*run.config.engines, *(study.engine for study in run.studies)])))


def interval_bar(
    mark: Mark,
    scale: tuple[float, float],
    value: float | None,
    low: float | None,
    high: float | None,
    chance: float | None = None,
) -> Markup:
    """Draw a value and its interval on a common scale, with a dashed line for chance; empty without an interval.

    `scale` has its left and its right end; the left one may be the higher. Screen readers skip it: the numbers are
    beside it.
    """
    if value is None or low is None or high is None:
        return Markup()
    left, right = scale

    def place(value: float) -> str:
        return f"{100 * (min(max(value, min(scale)), max(scale)) - left) / (right - left):.2f}%"

    line = (
        Markup('<line class="chance" x1="{0}" x2="{0}" y1="0" y2="16"/>').format(place(chance))
        if chance is not None
        else ""
    )
    return Markup(
        '<svg class="interval" aria-hidden="true"><line class="track" x1="0" x2="100%" y1="8" y2="8"/>{line}'
        '<line class="span" x1="{low}" x2="{high}" y1="8" y2="8" stroke="{colour}"/>'
        '<circle cx="{value}" cy="8" r="4" fill="{colour}"/></svg>'
    ).format(line=line, low=place(low), high=place(high), value=place(value), colour=mark.colour)
