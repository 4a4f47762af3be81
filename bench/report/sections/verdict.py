"""The decision in words: which model to ship, why, and at what cost."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from bench import text
from bench.metrics import metric
from bench.records import COMPLETE, FAIL, PRUNED, RUNNING, WAITING, FamilyInfo, Run, RunStatus, Trial
from bench.report.sections.recommendation import command, cost_of
from bench.report.sections.screened import in_words
from bench.runs.by_class import unfound
from bench.runs.standings import Standing, constant, recommended, scored, standings
from bench.stats import luck_of_best, standard_error

NAMED = 3
"""Maximum number of families that a sentence names."""

LEAST_TRIALS, LEAST_LUCK = 5, 0.005
"""Minimum number of a family's trials, and the luck in their best result, for a sentence about it."""

MUCH = 1.5
"""A cost of the recommended model is named if it is this many times that of the best one."""


@dataclass(frozen=True)
class Verdict:
    """The answer.

    Attributes:
        title: The decision in a few words: `Ship mobilenet`.
        reason: Its reason; "" if there is none to give.
        details: Sentences that qualify it.
        leader: The best trial; None if no trial is complete.
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
        """Title, test result and reason in one sentence."""
        parts = [self.title]
        if self.shipped and self.shipped.test:
            parts[0] += f": {_test_result(self.shipped)}"
        return ", ".join(filter(None, [*parts, self.reason])).rstrip(".") + "."


def _test_result(trial: Trial) -> str:
    """The result on the test pictures: `93.3 % of the test pictures are right (88.7–96.1 %)`, `macro F1 83.4 % (…)`."""
    by = metric(trial.metric)
    value = text.figure(trial.test_value, by)
    if by.name == "accuracy":
        return f"{value} of the test pictures are right{_within(trial)}"
    return f"{text.metric_name(by)} {value}{_within(trial)}"


def _within(trial: Trial) -> str:
    """The 95 % interval in brackets; "" without one."""
    low, high = trial.test_interval
    return "" if low is None or high is None else f" ({text.figures(low, high, metric(trial.metric))})"


def verdict(run: Run) -> Verdict:
    """The decision: the recommended model (`standings.recommended`), or the reason why there is none."""
    ranking = run.ranking()
    if not ranking:
        return Verdict(*_without_result(run))
    leader, so_far = ranking[0], " so far" if run.status == "running" else ""
    if leader.family in run.baselines:
        return Verdict(f"No model has a result{so_far}, only {_named(ranking)}", details=_alone(run, ranking))
    if leader.test is None:
        value = f"{text.figure(leader.value, run.metric)} validation {text.metric_name(run.metric)}"
        title = f"{text.label(leader)} leads{so_far} with {value}"
        return Verdict(title, "no model has been scored on the test pictures yet", _alone(run, ranking), leader)
    details = (*luck(run), *_seeds(ranking), *_alone(run, ranking))
    shipped, places = recommended(run), standings(run)
    if shipped is None:
        title, reason = _no_better(run, leader)
        return Verdict(title, reason, details, leader)
    return Verdict(
        title=f"{text.label(shipped)} leads so far" if so_far else f"Ship {text.label(shipped)}",
        reason=_reason(run, shipped, places) + (f"; no model finds {missed}" if (missed := _missed(run)) else ""),
        details=details,
        leader=leader,
        shipped=shipped,
        command="" if so_far else command(run, shipped, chosen=True),
    )


def _no_better(run: Run, leader: Trial) -> tuple[str, str]:
    """Title and reason where no model is better than a constant answer: first the classes that none finds."""
    by, floor = run.metric, constant(run)
    answer = "always answering the most frequent class" if by.name == "accuracy" else "the best constant answer"
    name = "" if by.name == "accuracy" else f"{text.metric_name(by)} "
    answer += "" if floor is None else f" ({name}{text.figure(floor, by)})"
    best = f"the {text.most(by)}, {text.label(leader)}, has {text.figure(leader.test_value, by)}{_within(leader)}"
    if missed := _missed(run):
        return f"No model finds {missed}", f"and none is better than {answer}; {best}"
    return f"No model is better than {answer}", best


def _missed(run: Run) -> str:
    """The classes that no model finds, and the number of their test pictures: `crack: 0 of 12 test pictures`."""
    missed = unfound(run)
    names = text.listing([text.one_line(name, 40) for name in missed], NAMED)
    return f"{names}: 0 of {text.plural(sum(missed.values()), 'test picture')}" if missed else ""


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
    by, (leader, *others) = run.metric, scored(run)
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
        return f"the {text.most(by)}; {_named(tied)} {'is' if len(tied) == 1 else 'are'} not told apart from it{tests}"
    if others:
        lead = leader.quality(leader.test_value) - leader.quality(others[0].test_value)
        return f"{text.ahead(lead, by)} than {text.label(others[0])}, the next"
    floor, only = constant(run), "the only family with a result"
    if floor is None:
        return only
    above = leader.quality(leader.test_value) - leader.quality(floor)
    chance = "above chance" if by.name == "accuracy" else "better than the best constant answer"
    return f"{text.sized(above, by)} {chance}, {only}"


def _but(shipped: Trial, leader: Trial) -> list[str]:
    """Costs that the recommended model has more of than the best one, in words."""
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
    """A sentence about how much of the leader's validation result is luck; empty with few trials or little luck."""
    leader = next(iter(run.ranking()), None)
    if leader is None or leader.test is None or leader.validation is None or leader.value is None:
        return ()
    trials = [trial for trial in run.trials if trial.family == leader.family and not trial.duplicate_of]
    values = [trial.value for trial in trials if trial.state == COMPLETE and trial.value is not None]
    n, groups = leader.validation.n, run.split.groups.get("validation") or math.inf
    noise = standard_error(fmean(values), int(min(n, groups)))
    if run.metric.name != "accuracy":
        noise = leader.validation.of(leader.metric).standard_error or 0.0
    lucky = luck_of_best([leader.quality(value) for value in values], noise)
    if len(values) < LEAST_TRIALS or lucky < LEAST_LUCK:
        return ()
    by = run.metric
    size = f"{100 * lucky:.1f}".removesuffix(".0") + " points" if by.percent else text.sized(lucky, by)
    tested = leader.test.of(leader.metric).value
    return (
        f"{text.label(leader)} was chosen from {text.plural(len(values), 'trial')} by {text.plural(n, 'picture')}: "
        f"{text.figure(leader.value, by)} there, {text.figure(tested, by)} on the test pictures. About "
        f"{size} of the former {'are' if by.percent else 'is'} luck, by the spread of the trials.",
    )


def _seeds(ranking: Sequence[Trial]) -> tuple[str, ...]:
    mean = text.mean_of_seeds(ranking)
    name = text.metric_name(metric(ranking[0].metric))
    sentence = f"Test {name} is the {mean}; the interval includes the noise of the test pictures and of the seeds."
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
