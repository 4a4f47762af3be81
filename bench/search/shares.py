"""Division of an engine's budget before the search: known configurations, proposals, and the share of each family."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from bench import text
from bench.config import RunConfig
from bench.hyperparameters import Value
from bench.records import SearchPlan, Work
from bench.search.families import Family
from bench.search.forecast import Forecaster, scaled

INPUT_SIZE = "input_size"

KNOWN_SHARE = 4
"""At most one in this number of trials is a known configuration, apart from the first one of every family."""


def make_plan(config: RunConfig, families: Sequence[Family]) -> SearchPlan:
    """Divide every engine's budget among the families, in their order."""
    counts, trials = [len(family.known) for family in families], config.budget.trials
    baselines = [family.name for family in families if not family.info.learns]
    if config.only_known or len(baselines) == len(families):
        baselines = []
    if config.only_known:
        known = trials = min(sum(counts), trials or sum(counts))
    else:
        known = sum(count > 0 for count in counts[:trials])
        others = sum(len(family.known) - 1 for family in families if family.known and family.name not in baselines)
        known = max(known, min(known + others, (trials or 0) // KNOWN_SHARE))
    return SearchPlan(
        engines=config.engines,
        trials=trials,
        seconds=config.budget.seconds,
        known=known,
        families=len(families),
        baselines=tuple(baselines),
        only_known=config.only_known,
        allocation=config.allocation,
    )


def expected_proposals(plan: SearchPlan, family: Family) -> int | None:
    """Return the number of configurations that an engine may propose for a family; None if only time limits it."""
    if plan.proposals is None or family.name in plan.baselines:
        return None if plan.proposals is None else 1
    return max(1, -(-plan.proposals // (plan.families - len(plan.baselines))))


def cheapest_first(families: Sequence[Family], forecaster: Forecaster) -> list[Family]:
    """Sort families by the forecast of their first known configuration; baselines first, those without one last."""

    def key(family: Family) -> tuple[bool, float]:
        predicted = forecaster.forecast(family.name, family.works[0]) if family.works and family.works[0] else None
        return family.info.learns, predicted.time_s if predicted else math.inf

    return sorted(families, key=key)


def fit(
    family: Family, known: Sequence[tuple[Mapping[str, Value], Work | None]], share_s: float, forecaster: Forecaster
) -> tuple[int, Mapping[str, Value], str]:
    """Choose the first known configuration whose forecast fits the share of its family.

    If none fits, take the cheapest with the largest input size that fits, or with the smallest.

    Returns:
        The number of the known configuration, its values, and the change in words.
    """
    forecasts = [
        (predicted.time_s, number)
        for number, (_, work) in enumerate(known)
        if work and (predicted := forecaster.forecast(family.name, work))
    ]
    number = next((number for seconds, number in forecasts if seconds <= share_s), None)
    if number is not None or not forecasts:
        return number or 0, known[number or 0][0], ""
    seconds, number = min(forecasts)
    values, work = known[number]
    size = int(values.get(INPUT_SIZE) or 0)
    sizes = (hyperparameter.finite_values() for hyperparameter in family.space if hyperparameter.name == INPUT_SIZE)
    smaller = sorted((int(choice or 0) for choices in sizes for choice in choices or ()), reverse=True)
    choice = size
    for choice in (choice for choice in smaller if choice < size and work):
        predicted = forecaster.forecast(family.name, scaled(work, (choice / size) ** 2)) if work else None
        if predicted and predicted.time_s <= share_s:
            break
    if choice == size:
        return number, values, ""
    change = f"input size {choice} instead of {size}: about {text.seconds(seconds)} exceed its share of the budget"
    return number, {**values, INPUT_SIZE: choice}, change
