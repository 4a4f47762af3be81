"""Division of an engine's budget before the search: known configurations, proposals, and the share of each family."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

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
        order=tuple(family.name for family in families),
    )


def expected_proposals(plan: SearchPlan, family: Family) -> int | None:
    """Return the number of configurations that an engine may propose for a family; None if only time limits it."""
    if plan.proposals is None or family.name in plan.baselines:
        return None if plan.proposals is None else 1
    return max(1, -(-plan.proposals // (plan.families - len(plan.baselines))))


def cheapest_first(
    families: Sequence[Family], forecaster: Forecaster, earlier: SearchPlan | None = None
) -> list[Family]:
    """Sort families by the forecast of their first known configuration; baselines first, those without one last.

    In a resumed run the order is that of the earlier plan.
    """
    if earlier:
        places = {name: place for place, name in enumerate(earlier.order)}
        return sorted(families, key=lambda family: places.get(family.name, len(places)))

    def key(family: Family) -> tuple[bool, float]:
        predicted_s = forecaster.trial_s(family.name, family.works[0] if family.works else None)
        return family.info.learns, math.inf if predicted_s is None else predicted_s

    return sorted(families, key=key)


Known = tuple[Mapping[str, Value], Work | None]
"""A known configuration and its work; None if it was not counted."""


class Fitted(NamedTuple):
    """A known configuration that fits the share of its family: its number, its values, and their change in words."""

    number: int
    values: Mapping[str, Value]
    change: str = ""


def fitting(family: Family, known: Sequence[Known], share_s: float, forecaster: Forecaster) -> Fitted | None:
    """Return the first known configuration whose forecast is within the share; one without forecast is."""
    for number, (values, work) in enumerate(known):
        predicted_s = forecaster.trial_s(family.name, work)
        if predicted_s is None or predicted_s <= share_s:
            return Fitted(number, values)
    return None


def fitted(family: Family, known: Sequence[Known], share_s: float, forecaster: Forecaster) -> Fitted:
    """Change the cheapest known configuration to the largest input size that fits the share, or to the smallest."""

    def forecast_s(work: Work | None) -> float:
        predicted_s = forecaster.trial_s(family.name, work)
        return math.inf if predicted_s is None else predicted_s

    number = min(range(len(known)), key=lambda number: forecast_s(known[number][1]))
    values, work = known[number]
    size = int(values.get(INPUT_SIZE) or 0)
    choices = {
        int(choice or 0)
        for hyperparameter in family.space
        if hyperparameter.name == INPUT_SIZE
        for choice in hyperparameter.finite_values() or ()
    }
    smaller = sorted(choice for choice in choices if choice < size)
    if not smaller or work is None:
        return Fitted(number, values)
    within = [choice for choice in smaller if forecast_s(scaled(work, (choice / size) ** 2)) <= share_s]
    chosen = within[-1] if within else smaller[0]
    reason = f"about {text.seconds(forecast_s(work))} exceed its share of the budget"
    return Fitted(number, {**values, INPUT_SIZE: chosen}, f"input size {chosen} instead of {size}: {reason}")
