"""Division of an engine's budget: known configurations, proposals, and the share of each family."""

from __future__ import annotations

from collections.abc import Sequence

from bench.config import RunConfig
from bench.records import SearchPlan
from bench.search.families import Family
from bench.search.state import StudyState

KNOWN_SHARE = 4
"""At most one trial in this many is a known configuration, apart from the first one of every family."""


def make_plan(config: RunConfig, families: Sequence[Family]) -> SearchPlan:
    """Divide every engine's budget among the families that are searched, in their order."""
    listed, trials = [len(family.known) for family in families], config.budget.trials
    baselines = [family.name for family in families if not family.info.learns]
    if config.only_known or len(baselines) == len(families):
        baselines = []
    if config.only_known:
        known = trials = min(sum(listed), trials or sum(listed))
    else:
        known = sum(count > 0 for count in listed[:trials])
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
    """Number of configurations that an engine may propose for a family; None if only time limits it."""
    if plan.proposals is None or family.name in plan.baselines:
        return None if plan.proposals is None else 1
    return max(1, -(-plan.proposals // (plan.families - len(plan.baselines))))


def even(studies: Sequence[StudyState], plan: SearchPlan) -> list[StudyState]:
    """Order studies so that all get the same: trials, or seconds if only time limits them; unused ones come first."""
    by_time = plan.trials is None and plan.seconds is not None
    return sorted(studies, key=lambda study: (study.trials > 0, study.spent_s() if by_time else study.trials))


def is_known_due(study: StudyState, studies: Sequence[StudyState], plan: SearchPlan) -> bool:
    """Tell whether the next trial of a study is a known configuration, if its family has one left.

    Without a budget of trials, `KNOWN_SHARE` is counted in those that have begun, the next one included.
    """
    if plan.only_known or not study.trials:
        return True
    trials = sum(other.trials for other in studies) + 1 if plan.trials is None else plan.trials
    return sum(other.known_trials for other in studies) < trials // KNOWN_SHARE
