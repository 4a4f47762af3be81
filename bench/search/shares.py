"""Division of an engine's budget: known configurations, proposals, and the share of each family."""

from __future__ import annotations

from collections.abc import Sequence

from bench.config import RunConfig
from bench.records import SearchPlan
from bench.search.families import Family
from bench.search.state import StudyState

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
    )


def expected_proposals(plan: SearchPlan, family: Family) -> int | None:
    """Return the number of configurations that an engine may propose for a family; None if only time limits it."""
    if plan.proposals is None or family.name in plan.baselines:
        return None if plan.proposals is None else 1
    return max(1, -(-plan.proposals // (plan.families - len(plan.baselines))))


def evenly(studies: Sequence[StudyState], plan: SearchPlan) -> list[StudyState]:
    """Sort studies by their number of trials, or by seconds if only time limits them; those without trials first."""
    by_time = plan.trials is None and plan.seconds is not None
    return sorted(studies, key=lambda study: (study.trials > 0, study.spent_s() if by_time else study.trials))


def is_known_due(study: StudyState, studies: Sequence[StudyState], plan: SearchPlan) -> bool:
    """Return whether the next trial of a study should be a known configuration, if its family has one left.

    `KNOWN_SHARE` refers to the budget of trials; without one, to the trials started so far, including the next one.
    """
    if plan.only_known or not study.trials:
        return True
    trials = sum(other.trials for other in studies) + 1 if plan.trials is None else plan.trials
    return sum(other.known_trials for other in studies) < trials // KNOWN_SHARE
