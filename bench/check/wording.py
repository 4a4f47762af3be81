"""The gate's figures and names in words, the same in every output.

They are plain ASCII, because some logs, XML readers and terminals support nothing else.
"""

from __future__ import annotations

from statistics import median

from bench.metrics._metric import Metric
from bench.runs.results import FamilyResult
from bench.text import one_line, p_value, plain, seconds

LONGEST_NAME = 120
"""Maximum characters of a name from outside in a sentence."""

MORE_DECIMALS = 3
"""Maximum number of additional decimals of a figure near a limit."""


def short(text: str, limit: int = LONGEST_NAME) -> str:
    """Cut a name from outside to one line of at most `limit` characters."""
    return one_line(text, limit, "...")


def amount(difference: float, metric: Metric, limit: float | None = None) -> str:
    """The size of a difference of a metric, in points or its unit: 0.021 as `2.1` or `0.021`.

    If rounding would move it to the other side of the limit, it gets more decimals: with a limit of 0.01, 0.0096 is
    `0.96`.
    """
    return _rounded(abs(difference), metric.percent, limit)


def sized(difference: float, metric: Metric, limit: float | None = None) -> str:
    """The same with its unit: `2.1 points`, `0.021`."""
    return f"{amount(difference, metric, limit)}{_points(metric)}"


def signed(difference: float, metric: Metric, limit: float | None = None) -> str:
    """The same with its sign and without the unit: `-2.1`, `+0.4`, `0.0`."""
    figure = amount(difference, metric, limit)
    return figure if not float(figure) else f"{'-' if difference < 0 else '+'}{figure}"


def exact(limit: float, metric: Metric) -> str:
    """A limit of a difference in full: 0.01 as `1.0 points` or `0.01`."""
    return f"{float(f'{100 * limit:.10g}')} points" if metric.percent else f"{limit:.4g}"


def value(figure: float | None, metric: Metric, limit: float | None = None) -> str:
    """The value of a metric: `88.9 %`, `0.412`; "" for None."""
    if metric.percent or figure is None:
        return percent(figure, limit)
    return f"{'-' if figure < 0 else ''}{_rounded(abs(figure), False, None if limit is None else abs(limit))}"


def percent(share: float | None, limit: float | None = None) -> str:
    """0.8889 as `88.9 %`; with more decimals if rounding would move it to the other side of the limit."""
    return "" if share is None else f"{_rounded(share, True, limit)} %"


def decline(metric: Metric) -> str:
    """The direction in which a metric gets worse: `drop`, or `rise` of a loss."""
    return "rise" if metric.lower_is_better else "drop"


def ratio(value: float, limit: float) -> str:
    """A ratio with two decimals, or more if rounding would move it to the other side of the limit."""
    decimals = next((k for k in range(2, 6) if (round(value, k) > limit) == (value > limit)), 6)
    return f"{value:.{decimals}f}"


def chance(p: float) -> str:
    """A p-value: `p = 0.032`, `p < 0.001`."""
    return plain(p_value(p))


def _points(metric: Metric) -> str:
    return " points" if metric.percent else ""


def _rounded(figure: float, in_percent: bool, limit: float | None) -> str:
    """A figure from 0 with a tenth of a percent, or three decimals; with more near the limit."""
    decimals = 3
    if limit is not None:
        most = decimals + MORE_DECIMALS
        decimals = next((k for k in range(3, most) if (round(figure, k) >= limit) == (figure >= limit)), most)
    return f"{100 * figure:.{decimals - 2}f}" if in_percent else f"{figure:.{decimals}f}"


# -- figures of a family; "" if there is none


def step_time(family: FamilyResult | None) -> str:
    """The median: `10.2 ms`."""
    return plain(seconds(median(family.step_time_s))) if family is not None and family.step_time_s else ""


def parameters(family: FamilyResult | None) -> str:
    """`123,456`."""
    return f"{family.parameters:,}" if family is not None and family.parameters is not None else ""
