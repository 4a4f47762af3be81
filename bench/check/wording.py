"""The gate's figures and names in words, the same in every output.

They are plain ASCII, because some logs, XML readers and terminals support nothing else.
"""

from __future__ import annotations

from statistics import median

from bench.runs.results import FamilyResult
from bench.text import one_line, p_value, plain, seconds

LONGEST_NAME = 120
"""Maximum characters of a name from outside in a sentence."""

MAX_DECIMALS = 4


def short(text: str, limit: int = LONGEST_NAME) -> str:
    """Cut a name from outside to one line of at most `limit` characters."""
    return one_line(text, limit, "...")


def amount(share: float, limit: float | None = None) -> str:
    """The size of a difference in points: 0.021 as `2.1`.

    If rounding would move it to the other side of the limit, it gets more decimals: with a limit of 0.01, 0.0096 is
    `0.96`.
    """
    return _percentage(abs(share), limit)


def points(difference: float, limit: float) -> str:
    """A difference in points, with its sign: `-2.1`, `+0.4`, `0.0`; a drop has the decimals of `amount`."""
    figure = amount(difference, limit if difference < 0 else None)
    return figure if not float(figure) else f"{'-' if difference < 0 else '+'}{figure}"


def percent(share: float | None, limit: float | None = None) -> str:
    """0.8889 as `88.9 %`; with more decimals if rounding would move it to the other side of the limit."""
    return "" if share is None else f"{_percentage(share, limit)} %"


def exact(limit: float) -> str:
    """A limit in full: 0.01 as `1.0`, 0.0125 as `1.25`."""
    return str(float(f"{100 * limit:.10g}"))


def ratio(value: float, limit: float) -> str:
    """A ratio with two decimals, or more if rounding would move it to the other side of the limit."""
    decimals = next((k for k in range(2, 6) if (round(value, k) > limit) == (value > limit)), 6)
    return f"{value:.{decimals}f}"


def chance(p: float) -> str:
    """A p-value: `p = 0.032`, `p < 0.001`."""
    return plain(p_value(p))


def _percentage(share: float, limit: float | None) -> str:
    decimals = 1
    if limit is not None:
        sides = (k for k in range(1, MAX_DECIMALS) if (round(share, k + 2) >= limit) == (share >= limit))
        decimals = next(sides, MAX_DECIMALS)
    return f"{100 * share:.{decimals}f}"


# -- figures of a family; "" if there is none


def accuracy(family: FamilyResult | None) -> str:
    """`88.9 %`."""
    return percent(family.accuracy) if family is not None else ""


def step_time(family: FamilyResult | None) -> str:
    """The median: `10.2 ms`."""
    return plain(seconds(median(family.step_time_s))) if family is not None and family.step_time_s else ""


def parameters(family: FamilyResult | None) -> str:
    """`123,456`."""
    return f"{family.parameters:,}" if family is not None and family.parameters is not None else ""
