"""The decision in words: which model to ship, why, and at what cost."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from bench import text
from bench.records import COMPLETE, FAIL, PRUNED, RUNNING, WAITING, FamilyInfo, Run, RunStatus, Trial
from bench.report.sections.recommendation import command, cost_of
from bench.report.sections.screened import in_words
from bench.runs.standings import Standing, chance, recommended, scored, standings
from bench.stats import luck_of_best, standard_error

NAMED = 3
"""Maximum number of families that a sentence names."""

LEAST_TRIALS, LEAST_LUCK = 5, 0.005
"""Minimum number of a family's trials, and share of their best accuracy that is luck, for a sentence about it."""

MUCH = 1.5
"""A cost of the recommended model is named if it is this many times that of the most accurate one."""


@dataclass(frozen=True)
class Verdict:
    """The answer.

    Attributes:
        title: The decision in a few words: `Ship mobilenet`.
        reason: Its reason; "" if there is none to give.
        details: Sentences that qualify it.
        leader: The most accurate trial; None if no trial is complete.
        shipped: The recommended trial; None if none is recommended.
        command: The command that exports its model; "" if that is impossible.
    """

    title: str
    reason: str = ""
    details: tuple[str, ...] = ()
    leader: Trial | None = None
    shipped: Trial | None = None
    command: str = ""

    @property
    def headline(self) -> str:
        """Title, accuracy and reason in one sentence."""
        parts = [self.title]
        if self.shipped and self.shipped.test:
            low, high = self.shipped.test_interval
            within = "" if low is None or high is None else f" ({text.interval(low, high)})"
            parts[0] += f": {text.percent(self.shipped.test_accuracy)} of the test pictures are right{within}"
        return ", ".join(filter(None, [*parts, self.reason])).rstrip(".") + "."


def verdict(run: Run) -> Verdict:
    """The decision: the recommended model (`standings.recommended`), or the reason why there is none."""
    ranking = run.ranking()
    if not ranking:
        return Verdict(*_without_result(run))
    leader, so_far = ranking[0], " so far" if run.status == "running" else ""
    if leader.family in run.baselines:
        return Verdict(f"No model has a result{so_far}, only {_named(ranking)}", details=_alone(run, ranking))
    if leader.test is None:
        title = f"{text.label(leader)} leads{so_far} with {text.percent(leader.value)} validation accuracy"
        return Verdict(title, "no model has been scored on the test pictures yet", _alone(run, ranking), leader)
    details = (*luck(run), *_seeds(ranking), *_alone(run, ranking))
    shipped, places = recommended(run), standings(run)
    if shipped is None:
        title = f"No model is better than always answering the most frequent class ({text.percent(chance(run))})"
        low, high = leader.test_interval
        within = "" if low is None or high is None else f" ({text.interval(low, high)})"
        reason = f"the most accurate, {text.label(leader)}, has {text.percent(leader.test_accuracy)}{within}"
        return Verdict(title, reason, details, leader)
    return Verdict(
        title=f"{text.label(shipped)} leads so far" if so_far else f"Ship {text.label(shipped)}",
        reason=_reason(run, shipped, places),
        details=details,
        leader=leader,
        shipped=shipped,
        command="" if so_far else command(run, shipped, chosen=True),
    )


def no_result(run: Run, family: FamilyInfo) -> str:
    """Reason why a family has no result, in a few words."""
    trials = [trial for trial in run.trials if trial.family == family.name and trial.counted]
    if family.skipped:
        return f"skipped: {family.skipped}"
    if any(trial.state in (RUNNING, WAITING) for trial in trials) and run.status == "running":
        return "in training"
    screening = run.screening(family.name)
    screened = [in_words(screening)] if screening else []
    if not trials:
        if run.status == "running":
            return "; ".join(["waiting for its turn", *screened])
        if screening and screening.accuracy is not None:
            return screened[0]
        refused = text.refusals((trial for trial in run.trials if trial.family == family.name), run.config)
        return "; ".join([f"no trial: {refused or 'the budget went to other families'}", *screened])
    failures = [trial.failure for trial in trials if trial.failure]
    last = [failures[-1].name, text.shorten(failures[-1].message, 120)] if failures else []
    why = ": ".join(filter(None, last))
    return "; ".join([f"no complete trial: {text.states(trials)}" + (f" ({why})" if why else ""), *screened])


def progress(run: Run) -> str:
    """Progress of a run: `7 of 20 trials`."""
    done = sum(trial.counted and trial.state in (COMPLETE, PRUNED, FAIL) for trial in run.trials)
    budget = run.config.budget.trials
    engines = len(run.config.engines)
    return f"{done} of {text.plural(budget * engines, 'trial')}" if budget else text.plural(done, "trial")


# -- reasons


def _reason(run: Run, shipped: Trial, places: dict[str, Standing]) -> str:
    """Say why a model is recommended: `as good as mobilenet_v2 (p = 0.6), 3 times cheaper to train`."""
    leader, *others = scored(run)
    tied = [trial for trial in others if places[trial.family].tied]
    if shipped is not leader:
        gap = places[shipped.family].gap
        return ", ".join(
            [
                f"as good as {text.label(leader)}" + (f" ({text.p_value(gap.p)})" if gap else ""),
                f"{_times(cost_of(leader, 'train_time_s') / cost_of(shipped, 'train_time_s'))} cheaper to train",
                *_but(shipped, leader),
            ]
        )
    if tied:
        p = min((gap.p for trial in tied if (gap := places[trial.family].gap)), default=None)
        tests = f" ({text.p_value(p).replace('=', '≥') if len(tied) > 1 else text.p_value(p)})" if p is not None else ""
        return f"the most accurate; {_named(tied)} {'is' if len(tied) == 1 else 'are'} not told apart from it{tests}"
    if others:
        lead = (leader.test_accuracy or 0.0) - (others[0].test_accuracy or 0.0)
        return f"{100 * lead:.1f} points more accurate than {text.label(others[0])}, the next"
    above = 100 * ((leader.test_accuracy or 0.0) - (chance(run) or 0.0))
    return f"{above:.1f} points above chance, the only family with a result"


def _but(shipped: Trial, leader: Trial) -> list[str]:
    """Costs that the recommended model has more of than the most accurate one, in words."""
    more = []
    for cost, words in (("latency_ms", "slower"), ("parameters", "larger")):
        high, low = cost_of(shipped, cost), cost_of(leader, cost)
        if high < math.inf and 0 < MUCH * low <= high:
            more.append(f"{_times(high / low)} {words}")
    return [f"but {text.listing(more)}"] if more else []


def _times(ratio: float) -> str:
    return f"{ratio:.1f}".removesuffix(".0") + " times" if ratio < 10 else f"{ratio:.0f} times"


def _named(trials: Sequence[Trial]) -> str:
    return text.listing([text.label(trial) for trial in trials], NAMED)


# -- details


def luck(run: Run) -> tuple[str, ...]:
    """A sentence about how much of the leader's validation accuracy is luck; empty with few trials or little luck."""
    leader = next(iter(run.ranking()), None)
    if leader is None or leader.test is None or leader.validation is None or leader.value is None:
        return ()
    trials = [trial for trial in run.trials if trial.family == leader.family and not trial.duplicate_of]
    values = [trial.value for trial in trials if trial.state == COMPLETE and trial.value is not None]
    n, groups = leader.validation.n, run.split.groups.get("validation") or math.inf
    noise = standard_error(fmean(values), int(min(n, groups)))
    if run.metric.name != "accuracy":
        noise = leader.validation.of(leader.metric).standard_error or 0.0
    lucky = luck_of_best(values, noise)
    if len(values) < LEAST_TRIALS or lucky < LEAST_LUCK:
        return ()
    points = f"{100 * lucky:.1f}".removesuffix(".0")
    return (
        f"{text.label(leader)} was chosen from {text.plural(len(values), 'trial')} by {text.plural(n, 'picture')}: "
        f"{text.percent(leader.value)} there, {text.percent(leader.test.accuracy)} on the test pictures. About "
        f"{points} points of the former are luck, by the spread of the trials.",
    )


def _seeds(ranking: Sequence[Trial]) -> tuple[str, ...]:
    mean = text.mean_of_seeds(ranking)
    sentence = f"Test accuracy is the {mean}; the interval includes the noise of the test pictures and of the seeds."
    return (sentence,) if mean else ()


def _alone(run: Run, ranking: Sequence[Trial]) -> tuple[str, ...]:
    if len(run.families) == 1:
        return ("Only this family was searched, so there is nothing to compare it with.",)
    unscored = [text.label(trial) for trial in ranking if ranking[0].test and not trial.test]
    return (f"Not scored on the test set: {text.listing(unscored)}.",) if unscored else ()


def _without_result(run: Run) -> tuple[str, str]:
    """Title and reason without any complete trial."""
    ended = [trial for trial in run.trials if trial.state in (FAIL, PRUNED)]
    if run.status == "running":
        if ended:
            return "No trial is complete yet", f"so far: {text.states(run.trials)}"
        return "No trial has finished yet", "the first result appears here"
    if ended and all(trial.state == FAIL for trial in ended):
        return "No result", f"every trial failed ({len(ended)} of {len(ended)}); the failures below say why"
    if ended:
        return "No result", f"no trial was trained to its end: {text.states(run.trials)}"
    if run.status in (RunStatus.PARTIAL, RunStatus.KILLED):
        return "No result", "the run was stopped before its first trial ended"
    return "No result", "nothing was trained; the table below gives the reason for every family"
