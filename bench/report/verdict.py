"""What the page says in words: who leads, at what cost, how sure that is, and what a reader must know first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bench.records import COMPLETE, FAIL, PRUNED, RUNNING, WAITING, FamilyInfo, Run, Trial
from bench.report import text
from bench.report.inventory import inventory


@dataclass(frozen=True)
class Notice:
    """A banner above everything: `kind` is "going", "note", "warning" or "error"."""

    kind: str
    title: str
    text: str = ""


@dataclass(frozen=True)
class Verdict:
    """The answer.

    Attributes:
        headline: One sentence.
        details: Sentences that qualify it.
        leader: The trial it speaks of; None where nothing is complete.
    """

    headline: str
    details: tuple[str, ...] = ()
    leader: Trial | None = None


@dataclass(frozen=True)
class Top:
    """The section: the answer, and what a reader wants to know first of a run, as names and values."""

    verdict: Verdict
    facts: Sequence[tuple[str, str]]


def section(run: Run) -> Top:
    """The top of the page."""
    return Top(verdict(run), facts(run))


def verdict(run: Run) -> Verdict:
    """Which family leads, its cost, and from which others it is not separated: their 95 % intervals overlap.

    Overlap is the cautious reading: two intervals may overlap where a paired test would tell the two apart.
    """
    ranking = run.ranking()
    if not ranking:
        return Verdict(*_without_result(run))
    leader = ranking[0]
    accuracy, low, high = test_interval(leader)
    if accuracy is None or low is None or high is None:
        lead = "leads so far" if run.status == "running" else "leads"
        headline = f"{text.label(leader)} {lead} with {text.percent(leader.value)} validation accuracy."
        return Verdict(
            headline, (*_cost(leader), "The test set has not been touched yet.", *_alone(run, ranking)), leader
        )
    close = [text.label(trial) for trial in unseparated(ranking)]
    verb = "leads so far with" if run.status == "running" else "leads with" if len(ranking) > 1 else "reaches"
    qualified = f", not separated from {text.listing(close)}" if close else ""
    headline = (
        f"{text.label(leader)} {verb} {text.percent(accuracy)} test accuracy"
        f" (95{_NBSP}% interval {text.interval(low, high)}){qualified}."
    )
    return Verdict(headline, (*_cost(leader), *_separation(ranking), *_alone(run, ranking)), leader)


_NBSP = "\u00a0"


def test_interval(trial: Trial) -> tuple[float | None, float | None, float | None]:
    """Test accuracy of a trial with its 95 % Wilson interval; three times None where it was not scored."""
    test = trial.test
    if test is None:
        return None, None, None
    if test.accuracy_low is None or test.accuracy_high is None:
        from bench.stats import wilson

        return test.accuracy, *wilson(round(test.accuracy * test.n), test.n)
    return test.accuracy, test.accuracy_low, test.accuracy_high


def unseparated(ranking: list[Trial]) -> list[Trial]:
    """The trials whose 95 % interval of test accuracy overlaps that of the first."""
    if not ranking or ranking[0].test is None:
        return []
    low = test_interval(ranking[0])[1]
    others = [(trial, test_interval(trial)[2]) for trial in ranking[1:]]
    return [trial for trial, high in others if low is not None and high is not None and high >= low]


def no_result(run: Run, family: FamilyInfo) -> str:
    """Why a family has no result, in a few words."""
    own = [trial for trial in run.trials if trial.family == family.name and trial.counted]
    if family.skipped:
        return f"skipped: {family.skipped}"
    if any(trial.state in (RUNNING, WAITING) for trial in own) and run.status == "running":
        return "in training"
    failures = [trial.failure for trial in own if trial.failure]
    if own:
        last = (
            [each for each in (failures[-1].kind, text.shorten(failures[-1].message, 120)) if each] if failures else []
        )
        why = f" ({': '.join(last)})" if last else ""
        return f"no complete trial: {text.states(own)}{why}"
    return "waiting for its turn" if run.status == "running" else "no trial: the budget went to other families"


def savings(run: Run) -> str:
    """What the feature cache saved in a run, in a sentence; "" where that is less than a second.

    Answers from the record count for nothing: nothing was trained. With folds, a trial's times are means over them.
    """
    trained = [(trial.cost, len(trial.folds) or 1) for trial in run.trials if trial.cost and not trial.duplicate_of]
    saved = sum(cost.saved_time_s * times for cost, times in trained)
    cold = sum(cost.train_time_s * times for cost, times in trained)
    if not 1 <= saved <= cold:
        return ""
    so_far = " so far" if run.status == "running" else ""
    return (
        f"The feature cache saved {text.seconds(saved)} of the {text.seconds(cold)} that all training{so_far} "
        f"takes from a cold start ({text.percent(saved / cold)})."
    )


def notices(run: Run) -> list[Notice]:
    """The banners, the state of the run first."""
    notes = [Notice("note", "Note", note) for note in run.notes]
    return [*_state(run), *_weights(run), *_families(run), *_data(run), *notes]


def progress(run: Run) -> str:
    """How far a run is: `7 of 20 trials`."""
    done = sum(trial.counted and trial.state in (COMPLETE, PRUNED, FAIL) for trial in run.trials)
    budget = (run.config.get("budget") or {}).get("trials")
    engines = len(run.config.get("engines", ())) or 1
    return f"{done} of {text.plural(budget * engines, 'trial')}" if budget else text.plural(done, "trial")


def _without_result(run: Run) -> tuple[str, tuple[str, ...]]:
    ended = [trial for trial in run.trials if trial.state in (FAIL, PRUNED)]
    if run.status == "running":
        if ended:
            return "No trial is complete yet.", (f"So far: {text.states(run.trials)}.",)
        return "No trial has finished yet.", ("The first result appears here as soon as it is there.",)
    if ended and all(trial.state == FAIL for trial in ended):
        return f"No result: every trial failed ({len(ended)} of {len(ended)}).", ("The failures below say why.",)
    if ended:
        return "No result: no trial was trained to its end.", (f"Of the trials, {text.states(run.trials)}.",)
    if run.status == "partial":
        return "No result: the run was stopped before its first trial ended.", ()
    return "No result: nothing was trained.", ("The table below says why, family by family.",)


def _cost(leader: Trial) -> tuple[str, ...]:
    cost = leader.cost
    if cost is None:
        return ()
    size = f"has {text.count(cost.parameters)} parameters" if cost.parameters else "has no trained parameters"
    parts = [f"It trains in {text.seconds(cost.train_time_s)}", size]
    if cost.latency_ms is not None:
        parts.append(f"classifies a picture in {text.milliseconds(cost.latency_ms)}")
    return (f"{text.listing(parts)}.",)


def _separation(ranking: list[Trial]) -> tuple[str, ...]:
    close = unseparated(ranking)
    if close:
        named = [f"{text.label(trial)} ({text.percent(test_interval(trial)[0])})" for trial in close]
        intervals, overlap = ("interval", "overlaps") if len(close) == 1 else ("intervals", "overlap")
        return (f"The 95{_NBSP}% {intervals} of {text.listing(named)} {overlap} its own.",)
    scored = [trial for trial in ranking[1:] if trial.test]
    return (f"Its 95{_NBSP}% interval lies above that of every other family.",) if scored else ()


def _alone(run: Run, ranking: list[Trial]) -> tuple[str, ...]:
    if len(run.families) == 1:
        return ("Only this family was searched, so there is nothing to compare it with.",)
    if len(ranking) == 1 and run.status != "running":
        return ("No other family has a result to compare it with.",)
    unscored = [text.label(trial) for trial in ranking if ranking[0].test and not trial.test]
    return (f"Not scored on the test set: {text.listing(unscored)}.",) if unscored else ()


def _state(run: Run) -> list[Notice]:
    if run.status == "running":
        running = sum(trial.state == RUNNING for trial in run.trials)
        now = f", {running} in training" if running else ""
        return [Notice("going", "Still going", f"{progress(run)}{now}, {text.seconds(max(run.elapsed_s, 1))} so far.")]
    if run.status == "partial":
        done = f"It was stopped after {progress(run)}; what was finished by then is here."
        return [Notice("warning", "Partial run", done)]
    if run.status == "failed":
        return [Notice("error", "Failed run", f"It ended with an error after {progress(run)}.")]
    return []


def _weights(run: Run) -> list[Notice]:
    missing = {family.name for family in run.families if family.weights == "random (missing)" and not family.skipped}
    missing |= {trial.family for trial in run.trials if trial.weights == "random (missing)"}
    if not missing:
        return []
    names = text.listing(sorted(missing), 8)
    what = "started from random weights, because the pretrained ones could not be had."
    warning = "What these figures say holds for training from scratch, not for fine-tuning."
    return [Notice("warning", "Pretrained weights missing", f"{names} {what} {warning}")]


def _families(run: Run) -> list[Notice]:
    tried = {trial.family for trial in run.trials}
    skipped = [family.name for family in run.families if family.skipped]
    idle = [family.name for family in run.families if family.name not in tried and not family.skipped]
    reasons = {
        "No complete trial": run.failed_families(),
        "No trial within the budget": idle if run.status != "running" else [],
        "Skipped": skipped,
    }
    said = [f"{reason}: {text.listing(names, 8)}." for reason, names in reasons.items() if names]
    return [Notice("warning", "Some families have no result", " ".join(said))] if said else []


def _data(run: Run) -> list[Notice]:
    found = inventory(run.split, run.config)
    titled = (("Pictures left out", found.losses), ("Labels in doubt", found.doubts))
    return [Notice("warning", title, " ".join(warnings)) for title, warnings in titled if warnings]


def facts(run: Run) -> list[tuple[str, str]]:
    """What a reader wants to know first of a run, as names and values."""
    split, environment, config = run.split, run.environment, run.config
    classes = text.listing(split.classes) if 0 < len(split.classes) <= 4 else f"{len(split.classes)} classes"
    engines = config.get("engines") or [study.engine for study in run.studies]
    parts = inventory(split, config).parts
    each = " for each engine" if len(engines) > 1 else ""
    hardware = [str(environment["cpu"])] if environment.get("cpu") else []
    hardware += [text.plural(int(environment["cores"]), "core")] if environment.get("cores") else []
    hardware += [str(gpu) for gpu in environment.get("gpus") or ()]
    return [
        ("Data", f"{split.source}: {classes}"),
        ("Pictures", " · ".join(f"{text.thousands(n)} {part}" for part, n in parts.items())),
        ("Budget", text.budget(config) + each),
        ("Engines" if len(engines) > 1 else "Engine", ", ".join(dict.fromkeys(engines)) or text.NOTHING),
        ("Seed", str(config.get("seed", text.NOTHING))),
        ("Took" if run.status != "running" else "So far", text.seconds(max(run.elapsed_s, 1))),
        ("Hardware", ", ".join(hardware) or text.NOTHING),
        ("Commit", _commit(str(environment.get("git_commit") or text.NOTHING))),
    ]


def _commit(commit: str) -> str:
    return f"{commit[:-1]} (modified)" if commit.endswith("+") else commit
