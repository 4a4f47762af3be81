"""The metrics that a run can choose by: one file each, named after the metric, with a constant `METRIC`.

A new file in this folder is a new value of `--metric`.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Sequence
from dataclasses import replace
from functools import cache, lru_cache
from typing import TYPE_CHECKING

from bench.errors import ConfigError, unknown

if TYPE_CHECKING:
    from bench.metrics._metric import Metric

Price = tuple[str, str, float]
"""True class, predicted class, and the price of that answer."""


@cache
def names() -> tuple[str, ...]:
    """The names of all metrics; none of them is imported."""
    modules = (module.name for module in pkgutil.iter_modules(__path__))
    return tuple(sorted(name for name in modules if not name.startswith("_")))


@lru_cache(maxsize=256)
def metric(name: str, classes: Sequence[str] = (), prices: Sequence[Price] = ()) -> Metric:
    """Return a metric by its name, e.g. `accuracy`, `recall:defect`, `cost`.

    Args:
        classes: The classes in the order of the labels; without them, only the facts about the metric can be used.
        prices: The prices of `cost`; a pair that is not listed costs 0.

    Raises:
        ConfigError: There is no such metric or class, or a class, or prices, must be named and are not.
    """
    stem, _, of = name.partition(":")
    if stem not in names():
        raise unknown("metric", stem, names())
    chosen: Metric = importlib.import_module(f"bench.metrics.{stem}").METRIC
    if of and not chosen.of_class:
        raise ConfigError(f"metric {name!r}: {stem} is of all classes; leave out {of!r}")
    if not of and chosen.of_class == "always":
        raise ConfigError(f"metric {name!r}: needs a class, as {stem}:defect")
    if of and classes and of not in classes:
        raise unknown("class of --metric", of, classes)
    label = classes.index(of) if of and classes else None
    return replace(chosen, name=name, label=label, prices=_matrix(prices, classes))


def _matrix(prices: Sequence[Price], classes: Sequence[str]) -> tuple[tuple[float, ...], ...]:
    """Prices by true and predicted class; empty without prices or classes."""
    for true, predicted, _ in prices if classes else ():
        for name in (true, predicted):
            if name not in classes:
                raise unknown("class in --costs", name, classes)
    by_pair = {(true, predicted): price for true, predicted, price in prices}
    return tuple(tuple(by_pair.get((true, predicted), 0.0) for predicted in classes) for true in classes if prices)
