"""The result in words: which family leads, at what cost and how reliably, and the notices above it."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from bench import text
from bench.records import COMPLETE, FAIL, PRUNED, RUNNING, WAITING, FamilyInfo, Run, RunStatus, Trial, Weights
from bench.report.inventory import Inventory
from bench.report.sections import pairwise
from bench.report.sections.pairwise import Standing
from bench.report.sections.screened import in_words
from bench.report.sections.shortcut_notice import shortcut
from bench.runs import predictions
from bench.stats import luck_of_best, wilson

NAMED = 4
"""Maximum number of families that a sentence names."""

LEAST_TRIALS, LEAST_LUCK = 5, 0.005
"""Minimum number of a family's trials, and share of their best accuracy that is luck, for a sentence about it."""

LEAST_MISSED = 2
"""Minimum number of test pictures of a class that counts as not found by any family."""

_NBSP = "\u00a0"


@dataclass(frozen=True)
class Notice:
    """A banner at the top of the page: `kind` is "going", "note", "warning" or "error"."""

    kind: str
    title: str
    text: str = ""


@dataclass(frozen=True)
class Verdict:
    """The answer in a sentence, and the sentences that qualify it.

    Attributes:
        leader: The most accurate trial; None if no trial is complete.
        tied: The trials that are not separated from it, best first.
    """

    headline: str
    details: tuple[str, ...] = ()
    leader: Trial | None = None
    tied: tuple[Trial, ...] = ()


def verdict(run: Run) -> Verdict:
    """The family that wins, or the families tied for the best, and their cost.

    Families are separated by the corrected paired tests on the test pictures (`pairwise.standings`). For a family
    without predictions the overlap of its 95 % interval with the leader's decides, which is more cautious: intervals
    may overlap although a paired test would find a difference.
    """
    ranking = run.ranking()
    if not ranking:
        return Verdict(*_without_result(run))
    if ranking[0].family in run.baselines:
        so_far = " so far" if run.status == "running" else ""
        return Verdict(f"No model has a result{so_far}, only {_named(ranking)}.", _alone(run, ranking))
    leader, alone = ranking[0], _alone(run, ranking)
    if leader.test is None:
        lead = "leads so far" if run.status == "running" else "leads"
        headline = f"{text.label(leader)} {lead} with {text.percent(leader.value)} validation accuracy."
        return Verdict(headline, (*_cost(leader), "No model has been scored on the test set yet.", *alone), leader)
    standings = pairwise.standings(run)
    overlapping = unseparated(ranking)
    close = [t for t in ranking[1:] if (standings[t.family].tied if t.family in standings else t in overlapping)]
    tied = [trial for trial in close if trial.family not in run.baselines]
    group = [leader, *tied]
    separation = _tests(run, ranking, standings) if standings else _overlap(ranking)
    if tied and standings:
        headline, details = _tie(run, group), (*separation, *luck(run), *_seeds(ranking), *_costs(group))
    else:
        headline = _lead(run, ranking, standings, close)
        details = (*_cost(leader), *separation, *luck(run), *_seeds(ranking))
    return Verdict(headline, (*details, *alone), leader, tuple(tied))


def test_interval(trial: Trial) -> tuple[float | None, float | None, float | None]:
    """Test accuracy of a trial with its 95 % interval; three times None if it was not scored.

    With several seeds it is their mean, and the interval includes the noise of pictures and seeds. With one it is
    Wilson's interval, which is computed here for older records.
    """
    low, high = trial.test_interval
    if trial.test and (low is None or high is None):
        low, high = wilson(round(trial.test.accuracy * trial.test.n), trial.test.n)
    return trial.test_accuracy, low, high


def unseparated(ranking: Sequence[Trial]) -> list[Trial]:
    """The trials whose 95 % interval of test accuracy overlaps that of the first."""
    if not ranking or ranking[0].test is None:
        return []
    low = test_interval(ranking[0])[1]
    others = [(trial, test_interval(trial)[2]) for trial in ranking[1:]]
    return [trial for trial, high in others if low is not None and high is not None and high >= low]


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


# -- headlines


def _without_result(run: Run) -> tuple[str, tuple[str, ...]]:
    ended = [trial for trial in run.trials if trial.state in (FAIL, PRUNED)]
    if run.status == "running":
        if ended:
            return "No trial is complete yet.", (f"So far: {text.states(run.trials)}.",)
        return "No trial has finished yet.", ("The first result appears here.",)
    if ended and all(trial.state == FAIL for trial in ended):
        return f"No result: every trial failed ({len(ended)} of {len(ended)}).", ("The failures below say why.",)
    if ended:
        return "No result: no trial was trained to its end.", (f"The trials: {text.states(run.trials)}.",)
    if run.status == "partial":
        return "No result: the run was stopped before its first trial ended.", ()
    return "No result: nothing was trained.", ("The table below gives the reason for every family.",)


def _lead(run: Run, ranking: Sequence[Trial], standings: Mapping[str, Standing], close: Sequence[Trial]) -> str:
    """Headline for one leading family; it "wins" if the tests put every other family below it."""
    accuracy, low, high = test_interval(ranking[0])
    if run.status == "running":
        verb = "leads so far with"
    elif len(ranking) == 1:
        verb = "reaches"
    else:
        verb = "wins with" if len(standings) == len(ranking) and not close else "leads with"
    share = f"{text.percent(accuracy)} test accuracy"
    if low is not None and high is not None:
        share += f" (95{_NBSP}% interval {text.interval(low, high)})"
    qualified = f", not separated from {_named(close)}" if close else ""
    return f"{text.label(ranking[0])} {verb} {share}{qualified}."


def _tie(run: Run, group: Sequence[Trial]) -> str:
    """Headline for several families that share the first rank."""
    shares = [trial.test_accuracy for trial in group if trial.test_accuracy is not None]
    few = len(group) <= NAMED
    reached = text.listing([text.percent(share) for share in shares]) if few else text.interval(shares[-1], shares[0])
    n = group[0].test.n if group[0].test else 0
    so_far = " so far" if run.status == "running" else ""
    pictures = text.plural(n, "picture") + in_groups(run)
    return f"{_named(group)} are tied for the best test accuracy{so_far}: {reached} of {pictures}."


# -- details


def luck(run: Run) -> tuple[str, ...]:
    """A sentence about how much of the leader's validation accuracy is luck; empty with few trials or little luck."""
    leader = next(iter(run.ranking()), None)
    if leader is None or leader.test is None or leader.validation is None or leader.value is None:
        return ()
    trials = [trial for trial in run.trials if trial.family == leader.family and not trial.duplicate_of]
    values = [trial.value for trial in trials if trial.state == COMPLETE and trial.value is not None]
    n = leader.validation.n
    lucky = luck_of_best(values, min(n, run.split.groups.get("validation") or n))
    if len(values) < LEAST_TRIALS or lucky < LEAST_LUCK:
        return ()
    points = f"{100 * lucky:.1f}".removesuffix(".0")
    return (
        f"{text.label(leader)} was chosen from {text.plural(len(values), 'trial')} by {text.plural(n, 'picture')}: "
        f"{text.percent(leader.value)} there, {text.percent(leader.test.accuracy)} on the test pictures. About "
        f"{points} points of the former are luck, by the spread of the trials.",
    )


def in_groups(run: Run) -> str:
    """Number of groups of the test pictures: ` in 12 groups`; "" without groups."""
    return f" in {text.plural(run.split.groups['test'], 'group')}" if run.split.groups else ""


def _seeds(ranking: Sequence[Trial]) -> tuple[str, ...]:
    mean = text.mean_of_seeds(ranking)
    sentence = f"Test accuracy is the {mean}; the interval includes the noise of the test pictures and of the seeds."
    return (sentence,) if mean else ()


def _cost(trial: Trial, subject: str = "It") -> tuple[str, ...]:
    cost = trial.cost
    if cost is None:
        return ()
    size = f"has {text.count(cost.parameters)} parameters" if cost.parameters else "has no trained parameters"
    parts = [f"{subject} trains in {text.seconds(cost.train_time_s)}", size]
    if cost.latency_ms is not None:
        parts.append(f"classifies a picture in {text.milliseconds(cost.latency_ms)}")
    return (f"{text.listing(parts)}.",)


_LEAST: Mapping[str, tuple[str, Callable[[float], str]]] = {
    "train_time_s": ("the cheapest to train", text.seconds),
    "parameters": ("the smallest", lambda n: f"{text.count(n)} parameters"),
    "latency_ms": ("the fastest", lambda time_ms: f"{text.milliseconds(time_ms)} a picture"),
}
"""Fields of `records.Cost`: title of the trial with the lowest value, and the formatter of a value."""


def _costs(group: Sequence[Trial]) -> tuple[str, ...]:
    """The cost of the most accurate trial of a group, and the lowest costs in the group."""
    least: dict[str, list[str]] = {}
    for cost, (title, write) in _LEAST.items():
        measured = [trial for trial in group if trial.cost and getattr(trial.cost, cost) is not None]
        if len(measured) > 1:
            trial = min(measured, key=lambda trial: getattr(trial.cost, cost))
            least.setdefault(text.label(trial), []).append(f"{title} ({write(getattr(trial.cost, cost))})")
    best = _cost(group[0], f"The most accurate of them, {text.label(group[0])},")
    winners = [f"{label} is {text.listing(titles)}" for label, titles in least.items()]
    return (*best, f"Among the tied families, {'; '.join(winners)}.") if winners else best


def _tests(run: Run, ranking: Sequence[Trial], standings: Mapping[str, Standing]) -> tuple[str, ...]:
    """Results of the paired tests for the families behind the leader."""
    leader, *others = [trial for trial in ranking if trial.family in standings]
    tied = [trial for trial in others if standings[trial.family].tied]
    below = [trial for trial in others if not standings[trial.family].tied]
    lost = [trial for trial in ranking if trial.test and trial.family not in standings]
    sentences = []
    if tied:
        p = _p_values([standings[trial.family] for trial in tied], min, "≥")
        sentences.append(f"No paired test puts {_named(tied)} below {text.label(leader)} ({p}).")
    if below:
        p = _p_values([standings[trial.family] for trial in below], max, "≤")
        verb, best = "is" if len(below) == 1 else "are", text.label(leader) if tied else "it"
        sentences.append(f"{_named(below)} {verb} significantly below {best} ({p}).")
    if lost:
        intervals = "interval decides" if len(lost) == 1 else "intervals decide"
        sentences.append(
            f"The predictions of {_named(lost)} are missing: the overlap of the 95{_NBSP}% {intervals} there."
        )
    exact = "exact sign tests of the groups" if run.split.groups else "McNemar's exact tests"
    over_seeds = [gap.over_seeds for trial in others if (gap := standings[trial.family].gap)]
    if all(over_seeds):
        kind = "compare means over seeds, with the noise of seeds and pictures,"
    elif any(over_seeds):
        kind = f"compare means over seeds if both families have several, else are {exact},"
    else:
        kind = f"are {exact}" + (" of the run's own seed" if text.mean_of_seeds(ranking) else "")
    pairs = len(standings) * (len(standings) - 1) // 2
    corrected = f", corrected for {pairs} pairs (Holm)" if others[1:] else ""
    n = text.plural(leader.test.n if leader.test else 0, "picture") + in_groups(run)
    return (*sentences, f"The tests {kind} on the same {n}{corrected}.")


def _p_values(standings: Sequence[Standing], bound: Callable[[Sequence[float]], float], sign: str) -> str:
    """Several p-values as one bound: `p ≤ 0.012`."""
    p_values = [standing.gap.p for standing in standings if standing.gap]
    is_one = len({text.p_value(p) for p in p_values}) == 1
    return text.p_value(p_values[0]) if is_one else text.p_value(bound(p_values)).replace("=", sign)


def _named(trials: Sequence[Trial]) -> str:
    return text.listing([text.label(trial) for trial in trials], NAMED)


def _overlap(ranking: Sequence[Trial]) -> tuple[str, ...]:
    """The overlap of intervals, when no paired test is possible."""
    if not any(trial.test for trial in ranking[1:]):
        return ()
    untested = "The predictions of the test pictures are missing, so only intervals are compared."
    close = unseparated(ranking)
    if not close:
        return (f"Its 95{_NBSP}% interval lies above that of every other family.", untested)
    named = [f"{text.label(trial)} ({text.percent(test_interval(trial)[0])})" for trial in close]
    intervals, overlap = ("interval", "overlaps") if len(close) == 1 else ("intervals", "overlap")
    return (f"The 95{_NBSP}% {intervals} of {text.listing(named)} {overlap} with its own.", untested)


def _alone(run: Run, ranking: Sequence[Trial]) -> tuple[str, ...]:
    if len(run.families) == 1:
        return ("Only this family was searched, so there is nothing to compare it with.",)
    if len(ranking) == 1 and run.status != "running":
        return ("No other family has a result to compare it with.",)
    unscored = [text.label(trial) for trial in ranking if ranking[0].test and not trial.test]
    return (f"Not scored on the test set: {text.listing(unscored)}.",) if unscored else ()


# -- notices and facts


def notices(run: Run) -> list[Notice]:
    """The banners, the state of the run first."""
    banners, resume = [], shlex.join(["python", "-m", "bench", "resume", str(run.path)])
    if run.status == "running":
        training = sum(trial.state == RUNNING for trial in run.trials)
        now = f", {training} in training" if training else ""
        so_far = f"{progress(run)}{now}, {text.seconds(max(run.elapsed_s, 1))} so far."
        banners.append(Notice("going", "Still going", so_far))
    elif run.status == "partial":
        stopped = f"It was stopped after {progress(run)}; the results up to then are shown. Continue it: {resume}"
        banners.append(Notice("warning", "Partial run", stopped))
    elif run.status == RunStatus.KILLED:
        lost = f"Its process is gone after {progress(run)}, and nothing ended is lost. Continue it: {resume}"
        banners.append(Notice("warning", "Stopped (killed)", lost))
    elif run.status == RunStatus.FAILED:
        banners.append(Notice("error", "Failed run", f"It ended with an error after {progress(run)}."))
    if noticed := shortcut(run):
        banners.append(Notice(noticed.level, noticed.title, str(noticed)))
    missing = {family.name for family in run.families if family.weights == Weights.MISSING and not family.skipped}
    missing |= {trial.family for trial in run.trials if trial.weights == Weights.MISSING}
    if missing:
        warning = (
            f"{text.listing(sorted(missing), 8)} started from random weights, because the pretrained weights were not "
            "available. These figures are about training from scratch, not about fine-tuning."
        )
        banners.append(Notice("warning", "Pretrained weights missing", warning))
    tried = {trial.family for trial in run.trials}
    idle = [family.name for family in run.families if family.name not in tried and not family.skipped]
    reasons = {
        "No complete trial": run.failed_families(),
        "No trial within the budget": idle if run.status != "running" else [],
        "Skipped": [family.name for family in run.families if family.skipped],
    }
    families = [f"{reason}: {text.listing(names, 8)}." for reason, names in reasons.items() if names]
    account = Inventory(run.split, run.config)
    titled = {
        "Accuracy hides a class": hidden_classes(run),
        "Some families have no result": families,
        "Pictures left out": account.losses,
        "Labels in doubt": account.doubts,
        "Pictures that may belong together": account.suggestions,
    }
    banners += [Notice("warning", title, " ".join(warnings)) for title, warnings in titled.items() if warnings]
    return banners + [Notice("note", "Note", note) for note in run.notes]


def hidden_classes(run: Run) -> list[str]:
    """Sentences about classes that no family finds, and about families that are no better than one constant answer.

    Balanced accuracies, the means over classes of the recall, stand beside them.
    """
    ranked = [trial for trial in run.ranking() if trial.family not in run.baselines and trial.test]
    by_family = predictions.of_run(run)
    scored = [by_family[trial.family] for trial in ranked if trial.family in by_family]
    if not scored:
        return []
    labels, sentences = scored[0].labels, []
    recalled = np.any([model.right for model in scored], axis=0)
    counts = np.bincount(labels, minlength=len(run.split.classes)).tolist()
    missed = {
        text.one_line(name): count
        for label, (name, count) in enumerate(zip(run.split.classes, counts, strict=False))
        if count >= LEAST_MISSED and not recalled[labels == label].any()
    }
    if missed:
        pictures = text.plural(sum(missed.values()), "test picture")
        sentences.append(f"No family finds {text.listing(list(missed), NAMED)}: all have a recall of 0 of {pictures}.")
    constant = int(np.bincount(labels).max())
    if len(labels) > constant >= max(int(model.right.sum()) for model in scored):
        name, share = text.one_line(run.split.classes[int(np.bincount(labels).argmax())]), constant / len(labels)
        sentences.append(f"No family is better than always answering {name} ({text.percent(share)}).")
    if not sentences:
        return []
    balanced = [f"{trial.family} {text.percent(trial.test.balanced_accuracy)}" for trial in ranked if trial.test]
    return [*sentences, f"Balanced accuracy: {text.listing(balanced, NAMED)}."]


def facts(run: Run) -> list[tuple[str, str]]:
    """The main facts of a run, as names and values."""
    split, environment, config = run.split, run.environment, run.config
    classes = text.listing(split.classes) if 0 < len(split.classes) <= 4 else f"{len(split.classes)} classes"
    engines = config.engines
    per_engine = " for each engine" if len(engines) > 1 else ""
    hardware = [str(environment["cpu"])] if environment.get("cpu") else []
    hardware += [text.plural(int(environment["cores"]), "core")] if environment.get("cores") else []
    hardware += [str(gpu) for gpu in environment.get("gpus") or ()]
    commit = run.commit or text.NOTHING
    parts = Inventory(split, config).parts
    return [
        ("Data", f"{split.source}: {classes}"),
        ("Pictures", " · ".join(f"{text.thousands(n)} {part}" for part, n in parts.items())),
        ("Budget", text.budget(config) + per_engine),
        ("Engines" if len(engines) > 1 else "Engine", ", ".join(dict.fromkeys(engines)) or text.NOTHING),
        ("Seed", str(config.seed)),
        ("Took" if run.status != "running" else "So far", text.seconds(max(run.elapsed_s, 1))),
        ("Hardware", ", ".join(hardware) or text.NOTHING),
        ("Commit", f"{commit[:-1]} (modified)" if commit.endswith("+") else commit),
    ]
