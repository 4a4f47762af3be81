"""The order in which the families get their next trials: the same for all, or where more can be gained.

Adaptively, the next trial goes to the family with the largest expected gain a second. The error of a family's next
trial is log-normal, with the mean and the spread of the logarithms of its errors so far; before its first trial the
mean is the error that its screening estimates. The expected gain is the mean improvement on the smallest error of the
engine's trials (expected improvement: Jones, Schonlau and Welch, 1998), divided by the forecast seconds (Snoek,
Larochelle and Adams, 2012).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist, fmean
from typing import Protocol, TypeVar

from bench import text
from bench.records import SearchPlan
from bench.search.shares import KNOWN_SHARE
from bench.search.state import StudyState

SPREAD = 0.7
"""Standard deviation of the logarithm of an error, before trials have shown it."""

SPREAD_WEIGHT = 2
"""Number of trials that `SPREAD` counts as."""

UNSEEN_ERROR = 0.15
"""Error that is expected of a family without trials and screening."""

MIN_CHANCE = 0.01
"""Minimum probability of an improvement for another trial of a family."""

LEAST_ERROR = 0.5
"""Number of wrong predictions that stands for none, since the logarithm of no error is infinite."""

TIME_SHARE = 0.2
"""Share of the time so far that one trial takes at most, itself included."""

LEAST_SHARE = 0.05
"""Share of the time budget that one trial may take from the beginning."""

MAX_SHARE = 0.15
"""Maximum share of the time budget for one trial."""

LATEST_FIRST = 1 / 3
"""Share of the time budget after which families get their first trial whatever it takes."""

NORMAL = NormalDist()


@dataclass(frozen=True)
class Outlook:
    """Expected result of a family's next trial.

    Attributes:
        log_error: Mean of the logarithm of its error.
        spread: Standard deviation of that logarithm.
    """

    log_error: float
    spread: float

    @classmethod
    def of(cls, values: Sequence[float], screened: float | None, least_error: float) -> Outlook:
        """Estimate it from the results of the family's trials.

        Args:
            values: Quality of the trials on the validation pictures (`Trial.quality`); an error is 1 minus it.
            screened: Accuracy that the screening estimates; None without one.
            least_error: Smallest error that the validation pictures can show.
        """
        errors = [math.log(max(least_error, 1 - value)) for value in values]
        if not errors:
            return cls(math.log(UNSEEN_ERROR if screened is None else max(least_error, 1 - screened)), SPREAD)
        mean = fmean(errors)
        squares = SPREAD_WEIGHT * SPREAD**2 + sum((error - mean) ** 2 for error in errors)
        return cls(mean, math.sqrt(squares / (SPREAD_WEIGHT + len(errors) - 1)))

    def gain(self, error: float) -> float:
        """Return the expected improvement on an error."""
        distance = self._distance(error)
        mean = math.exp(self.log_error + self.spread**2 / 2)
        return error * NORMAL.cdf(distance) - mean * NORMAL.cdf(distance - self.spread)

    def chance(self, error: float) -> float:
        """Return the probability of an improvement on an error."""
        return NORMAL.cdf(self._distance(error))

    def _distance(self, error: float) -> float:
        return (math.log(error) - self.log_error) / self.spread


class Counted(Protocol):
    """A study, or one that `planning` simulates."""

    @property
    def trials(self) -> int: ...

    @property
    def known_trials(self) -> int: ...

    def spent_s(self) -> float: ...


CountedT = TypeVar("CountedT", bound=Counted)


def evenly(studies: Sequence[CountedT], plan: SearchPlan) -> list[CountedT]:
    """Sort studies by their number of trials, or by seconds if only time limits them; those without trials first."""
    by_time = plan.trials is None and plan.seconds is not None
    return sorted(studies, key=lambda study: (study.trials > 0, study.spent_s() if by_time else study.trials))


def affordable_s(used_s: float, budget_s: float) -> float:
    """Return the seconds of one trial that a search can afford, which grows with the time that it has used."""
    return min(MAX_SHARE * budget_s, max(LEAST_SHARE * budget_s, used_s * TIME_SHARE / (1 - TIME_SHARE)))


def adaptively(studies: Sequence[StudyState], least_error: float, first_s: float) -> list[StudyState]:
    """Sort studies by the expected gain a second of their next trials, and drop those that cannot catch up.

    A study without trials and screening comes first if its first trial takes at most `first_s`, the cheapest before the
    others.

    Args:
        least_error: Smallest error that the validation pictures can show.
        first_s: Maximum seconds of a first trial of which nothing is known.
    """
    candidates = [study for study in studies if study.family.info.learns]
    least = max(least_error, 1 - max((value for study in candidates for value in study.values), default=0.0))
    outlooks = {study: Outlook.of(study.values, study.screened, least_error) for study in studies}

    for study in studies:
        seen = study.values or study.screened is not None
        chance = outlooks[study].chance(least)
        others = any(not other.is_done for other in studies if other is not study)
        if seen and others and not study.is_done and chance < MIN_CHANCE:
            study.drop(_reason(study, 1 - least))

    def key(study: StudyState) -> tuple[bool, float]:
        next_s = study.next_s()
        if not study.trials and study.screened is None and next_s <= first_s:
            return False, next_s
        return True, -outlooks[study].gain(least) * study.success_rate / (next_s * (1 + study.running))

    return sorted((study for study in studies if not study.is_done), key=key)


def _reason(study: StudyState, best: float) -> str:
    metric = study.context.folder.run.metric

    def figure(quality: float) -> str:
        return text.figure(metric.of_quality(quality), metric)

    if study.values:
        seen = f"its {text.plural(len(study.values), 'trial')} reached {figure(max(study.values))}"
    else:
        seen = f"screened: {figure(study.screened or 0.0)}"
    return f"{seen}; the probability that another improves on {figure(best)} is below {text.percent(MIN_CHANCE)}"


def is_known_due(study: Counted, studies: Sequence[Counted], plan: SearchPlan) -> bool:
    """Return whether the next trial of a study should be a known configuration, if its family has one left.

    `KNOWN_SHARE` refers to the budget of trials; without one, to the trials started so far, including the next one.
    """
    if plan.only_known or not study.trials:
        return True
    trials = sum(other.trials for other in studies) + 1 if plan.trials is None else plan.trials
    return sum(other.known_trials for other in studies) < trials // KNOWN_SHARE
