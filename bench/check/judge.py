"""The regression gate: a baseline and a run in, findings out, without reading or writing anything.

The metric that the runs chose by fails if a change for the worse is both large and significant: at least `max_drop`,
and more than the noise of test pictures and seeds, with Holm's correction over the families. If only one of the two
holds, or if the noise of seeds is unknown, it warns. A floor is absolute. With `max_drop_by_class`, a class's recall
fails by the same rule, with Holm's correction over classes and families. Step times follow it with a ratio of medians
and a rank test, on the same hardware only.

On a CPU, the CPU time of a step must have grown too. Other programs can make all steps of a run two or three times as
long and hardly change their CPU time: beside three busy programs on two cores, steps took 3.3 times as long with the
CPU time of an idle machine within 2 %. If only the wall-clock time grew, it warns.

Sources:
    `stats.change`, `stats.slower`; S. Holm (1979). Airspeed velocity, too, requires a change to be both large and
    unlikely.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from statistics import median
from typing import Any

from bench import stats
from bench.check.changes import (
    CALIBRATE,
    FamilyChange,
    Power,
    differences,
    family_changes,
    incomplete,
    notes,
    power,
    same_hardware,
    scored,
    seed_sd,
    underpowered,
)
from bench.check.findings import Finding, GateOutcome, Judgement, Quantity, Sign
from bench.check.flips import RecallChange
from bench.check.policy import FamilyPolicy, Policy
from bench.check.wording import (
    amount,
    chance,
    exact,
    parameters,
    ratio,
    short,
    signed,
    sized,
    step_time,
    value,
)
from bench.errors import ConfigError
from bench.metrics import metric as named
from bench.metrics._metric import Metric
from bench.runs.results import Environment, FamilyResult, FamilyStatus, Results
from bench.text import listing, one_line

STEP_LEVEL = 0.002
"""Significance level of the test of step times, per family: strict enough to need no correction over families."""

FEWEST_STEPS = 6
"""Minimum number of step times per side: with fewer, p cannot get below `STEP_LEVEL` (6 against 6 give 1 / 924)."""

PASS, INFO, WARN, FAIL, SKIP = GateOutcome

MARKS = {PASS: Sign.NONE, INFO: Sign.NEW, WARN: Sign.DOUBTFUL, FAIL: Sign.WORSE, SKIP: Sign.UNJUDGED}
"""The default mark of an outcome."""

Build = Callable[..., Finding]
"""`_finding` with the arguments of one family filled in."""


def judge(
    baseline: Results,
    candidate: Results,
    policy: Policy | None = None,
    recalls: Mapping[str, Sequence[RecallChange]] | None = None,
) -> Judgement:
    """Judge whether a run is as good as the baseline.

    Args:
        baseline, candidate: Results of the two.
        policy: The limits; None: the documented ones.
        recalls: By family, the change of the recall of every class (`flips.recall_changes`); None or empty: unknown.

    Returns:
        Findings grouped by family: families with failures first, then those with warnings, then the others in the
        baseline's order.

    Raises:
        ConfigError: The policy has limits for a family that neither side has, or for classes that are unknown.
    """
    names = list({**baseline.families, **candidate.families})
    policy = (policy or Policy()).checked(names, baseline.metric)
    reasons, recalls = list(differences(baseline, candidate)), recalls or {}
    if policy.judges_classes and not reasons and not recalls:
        raise ConfigError(
            "max_drop_by_class: needs a run folder, which has the classes of the pictures; name RUN, not a results.json"
        )
    findings = list(
        _skipped(names, baseline, candidate, reasons[0])
        if reasons
        else _judged(names, baseline, candidate, policy, recalls)
    )
    weak = [finding.family for finding in findings if finding.underpowered]
    failed, warned = ({f.family for f in findings if f.outcome == outcome} for outcome in (FAIL, WARN))
    return Judgement(
        baseline=baseline,
        candidate=candidate,
        findings=sorted(findings, key=lambda f: 0 if f.family in failed else 1 if f.family in warned else 2),
        differences=reasons,
        incomplete=incomplete(candidate),
        notes=[*notes(baseline, candidate), *([underpowered(weak)] if weak else [])],
        policy=policy,
        recalls=recalls,
    )


def _skipped(names: Sequence[str], baseline: Results, candidate: Results, reason: str) -> Iterator[Finding]:
    """The findings if nothing is judged."""
    for name in names:
        for quantity in Quantity:
            message = f"not judged, because the two are not comparable: {reason}"
            finding = _finding(name, baseline, candidate, quantity, SKIP, message)
            if finding.before or finding.after:
                yield finding


def _judged(
    names: Sequence[str],
    baseline: Results,
    candidate: Results,
    policy: Policy,
    recalls: Mapping[str, Sequence[RecallChange]],
) -> Iterator[Finding]:
    """Judge every family."""
    changes, metric = family_changes(baseline, candidate), baseline.metric
    classes = sum(len(changed) for changed in recalls.values())
    for name in names:
        old, new, limits = baseline.families.get(name), candidate.families.get(name), policy.of(name)
        build = partial(_finding, name, baseline, candidate)
        yield _presence(build, old, new, metric)
        if not scored(new):
            continue
        if scored(old):
            tested = changes[name]
            seen = power(name, tested.change, policy, tested.families, baseline)
            finding = _change(build, old, new, tested, seen, policy.alpha)
            yield _with_floors(finding, new, limits, candidate)
            if limits.max_drop_by_class:
                yield _classes(build, recalls.get(name, ()), limits.max_drop_by_class, policy.alpha, classes)
            yield from _step_time(build, old, new, (baseline.env, candidate.env), limits.max_slowdown)
        elif limits.min_accuracy or limits.worst_value is not None:
            yield _with_floors(build(Quantity.METRIC, PASS), new, limits, candidate)
        yield from _size(build, old if scored(old) else None, new, limits.max_parameters)


def _finding(
    name: str,
    baseline: Results,
    candidate: Results,
    quantity: Quantity,
    outcome: GateOutcome,
    message: str = "",
    **more: Any,
) -> Finding:
    before, after = (_shown(quantity, side.families.get(name), side.metric) for side in (baseline, candidate))
    metric = candidate.metric.name if quantity == Quantity.METRIC else quantity
    usual: dict[str, Any] = {"metric": str(metric), "mark": MARKS[outcome], "before": before, "after": after}
    return Finding(family=name, quantity=quantity, outcome=outcome, message=message, **{**usual, **more})


def _shown(quantity: Quantity, family: FamilyResult | None, metric: Metric) -> str:
    """The figure of a family in words; "" if it has none."""
    if quantity == Quantity.METRIC:
        return value(family.value, metric) if family else ""
    shown = {Quantity.PRESENCE: ended, Quantity.TIME: step_time, Quantity.PARAMETERS: parameters}
    return shown[quantity](family) if quantity in shown else ""


# -- presence


def _presence(build: Build, old: FamilyResult | None, new: FamilyResult | None, metric: Metric) -> Finding:
    """Judge whether a family still has a result."""
    reason = f": {one_line(new.reason)}" if new and new.reason else ""
    now = f"has none now ({ended(new)}){reason}" if new else "is not in this run"
    result = f"test {metric.title}"
    if scored(old) and scored(new):
        return build(Quantity.PRESENCE, PASS, f"has a {result}, as in the baseline")
    if scored(old):
        hint = "" if new else ": was its file renamed or removed, or is it left out by --spaces?"
        message = f"had a {result} of {value(old.value, metric)} in the baseline and {now}{hint}"
        return build(Quantity.PRESENCE, FAIL, message, mark=Sign.GONE, change=ended(new))
    if scored(new):
        has = f"has a {result} of {value(new.value, metric)}"
        both = f"{has} and had none in the baseline ({ended(old)})" if old else f"is not in the baseline and {has}"
        return build(Quantity.PRESENCE, INFO, f"{both}: it is not compared until the baseline has it", change="new")
    had = f"had no {result} in the baseline ({ended(old)})" if old else "is not in the baseline"
    return build(Quantity.PRESENCE, WARN, f"{had} and {now}", mark=Sign.GONE, change=ended(new))


def ended(family: FamilyResult | None) -> str:
    """Status of a family, in one or two words."""
    if family is None:
        return "missing"
    return "not scored" if family.status == FamilyStatus.COMPLETE and not scored(family) else family.status


# -- the metric


def _change(
    build: Build, old: FamilyResult, new: FamilyResult, tested: FamilyChange, seen: Power, alpha: float
) -> Finding:
    """Judge the change of a family's metric."""
    change, metric, gain, limit = tested.change, tested.metric, tested.gain, seen.limit
    large, worse = gain < 0 and gain <= -limit, gain < 0 and tested.p_worse < alpha
    better = gain > 0 and tested.p_better < alpha
    message = _change_message(old, new, tested, limit, worse, better)
    if seen.underpowered:
        message += f"; UNDERPOWERED: with 80 % power only {seen.words} or more is detected"
    doubtful = Sign.DOUBTFUL if large or seen.underpowered else Sign.NONE
    return build(
        Quantity.METRIC,
        FAIL if large and worse and change.calibrated else WARN if large or worse or seen.underpowered else PASS,
        message,
        mark=Sign.WORSE if worse else Sign.BETTER if better else doubtful,
        change=signed(change.difference, metric, limit if gain < 0 else None),
        mde=f"{'' if change.calibrated else '>'}{amount(seen.drop, metric, 2 * limit)}",
        underpowered=seen.underpowered,
        figures={
            "before": old.value,
            "after": new.value,
            "difference": change.difference,
            "difference_low": change.low,
            "difference_high": change.high,
            "standard_error": change.standard_error,
            "degrees_of_freedom": change.freedom if math.isfinite(change.freedom) else None,
            "p_drop": change.p_rise if metric.lower_is_better else change.p_drop,
            "p_drop_holm": tested.p_worse,
            "p_mcnemar": tested.p_mcnemar,
            "minimum_detectable_drop": seen.drop,
            "n": tested.pictures,
            **({"groups": tested.independent} if tested.independent < tested.pictures else {}),
            "seeds_before": tested.seeds[0],
            "seeds_after": tested.seeds[1],
            "seed_sd": seed_sd(old, new),
            "calibrated": change.calibrated,
            "max_drop": limit,
        },
    )


def _change_message(
    old: FamilyResult, new: FamilyResult, tested: FamilyChange, limit: float, worse: bool, better: bool
) -> str:
    metric, gain = tested.metric, tested.gain
    if not gain:
        return f"is {value(new.value, metric)}, as in the baseline"
    holm = f" after Holm over {tested.families} families" if tested.families > 1 else ""
    mcnemar = f"; exact McNemar of the first seeds {chance(tested.p_mcnemar)}" if metric.exact else ""
    evidence = f"({chance(tested.p_worse if gain < 0 else tested.p_better)}{holm}{mcnemar})"
    size = sized(gain, metric, limit if gain < 0 else None)
    ends = f"from {value(old.value, metric)} to {value(new.value, metric)}"
    moved = f"{'fell' if tested.change.difference < 0 else 'rose'} by {size} {ends}: that"
    reaches = f"{moved} reaches the limit of {exact(limit, metric)}"
    if gain > -limit:
        less = f" but less than the limit of {exact(limit, metric)}" if worse else ""
        return f"{moved} is {'more than' if worse or better else 'within'} noise {evidence}{less}"
    if not worse:
        return f"{reaches} but may be noise {evidence}"
    if tested.change.calibrated:
        return f"{reaches} and is more than noise {evidence}"
    return (
        f"{reaches} and is more than the noise of the test pictures {evidence}, but only warns, because with one seed "
        f"the noise of seeds is unknown; {CALIBRATE}"
    )


def _with_floors(finding: Finding, new: FamilyResult, limits: FamilyPolicy, run: Results) -> Finding:
    """Worsen a finding if the accuracy, or the run's metric, is beyond its floor: fail if its interval is too."""
    if limits.min_accuracy:
        finding = _with_floor(finding, new, "min_accuracy", limits.min_accuracy, named("accuracy"), run)
    if limits.worst_value is not None:
        finding = _with_floor(finding, new, "worst_value", limits.worst_value, run.metric, run)
    return finding


def _with_floor(
    finding: Finding, new: FamilyResult, setting: str, floor: float, metric: Metric, run: Results
) -> Finding:
    mean, low, high = run.over_seeds(new, metric)
    if metric.exact and not run.split.groups:
        high = stats.wilson(round(mean * run.split.n), run.split.n)[1]
    best_end, side = (low, "above") if metric.lower_is_better else (high, "below")
    of = "" if metric.name == run.metric.name else f"{metric.title} "
    after, end = ("after", "after_high") if not of else (metric.name, f"{metric.name}_high")
    figures = {**finding.figures, after: mean, end: best_end, setting: floor}
    kind = "ceiling" if side == "above" else "floor"
    exactly = f"{float(f'{100 * floor:.10g}')} %" if metric.percent else f"{floor:.4g}"
    if metric.quality(mean) >= metric.quality(floor):
        message = finding.message or f"{of}is {value(mean, metric)}; the {kind} is {exactly}"
        return replace(finding, message=message, figures=figures)
    significant = metric.quality(best_end) < metric.quality(floor)
    interval = "Wilson interval up to" if metric.exact else f"interval {'from' if side == 'above' else 'up to'}"
    message = (
        f"{of}is {value(mean, metric, floor)}, {'significantly' if significant else 'perhaps'} {side} the {kind} of "
        f"{exactly} (95 % {interval} {value(best_end, metric, floor)})"
    )
    return replace(
        finding,
        outcome=FAIL if significant or finding.outcome == FAIL else WARN,
        mark=Sign.WORSE if significant else finding.mark or Sign.DOUBTFUL,
        message=f"{message}; it {finding.message}" if finding.message else message,
        figures=figures,
    )


# -- the classes


def _classes(build: Build, changes: Sequence[RecallChange], limit: float, alpha: float, tests: int) -> Finding:
    """Judge the change of the recall of every class, among so many of all families."""
    recall = named("accuracy")
    worse = [one for one in changes if one.change.difference <= -limit and one.p_drop < alpha]
    known = all(one.change.calibrated for one in changes)
    figures = {f"drop of {one.label}": -one.change.difference for one in worse}
    build = partial(build, Quantity.CLASSES, figures={**figures, "max_drop_by_class": limit})
    blind = [short(one.label) for one in changes if one.change.detectable(alpha / tests, one.n) > 2 * limit]
    unseen = f"; a drop of twice the limit could go unseen in {listing(blind, 4)}" if blind else ""
    if not worse:
        return build(PASS, f"no class's recall fell by {exact(limit, recall)} or more by more than noise{unseen}")
    names = listing([one.over_seeds for one in worse], 4)
    message = f"of {names}: that reaches the limit of {exact(limit, recall)} and is more than noise"
    holm = f", after Holm over {tests} classes of all families"
    if not known:
        holm += f", but only warns, because with one seed the noise of seeds is unknown; {CALIBRATE}"
    return build(
        FAIL if known else WARN,
        f"{message}{holm}{unseen}",
        mark=Sign.WORSE,
        change=signed(min(one.change.difference for one in worse), recall, limit),
    )


# -- step time


def _step_time(
    build: Build, old: FamilyResult, new: FamilyResult, machines: tuple[Environment, Environment], limit: float
) -> Iterator[Finding]:
    """Judge the change of a family's step time; no finding if neither side has step times."""
    build = partial(build, Quantity.TIME)
    timed = [bool(side.step_time_s) and min(side.step_time_s) > 0 for side in (old, new)]
    if not all(timed):
        when = "now" if timed[0] else "in the baseline"
        if old.step_time_s or new.step_time_s:
            yield build(SKIP, f"has no step times {when}, so they are not compared")
        return
    times, p = stats.slower(old.step_time_s, new.step_time_s)
    figures: dict[str, Any] = {
        "before_s": median(old.step_time_s),
        "after_s": median(new.step_time_s),
        "ratio": times,
        "times_before": len(old.step_time_s),
        "times_after": len(new.step_time_s),
        "max_slowdown": limit,
    }
    unlike, few, mark = _unlike(old, new, machines), _few_times(old, new), None
    above = f"that is above the limit of {limit:g}"
    if times <= limit and unlike:
        outcome, message = SKIP, f"not judged, because {unlike}"
    elif times <= limit:
        outcome, message = PASS, f"within the limit of {limit:g}"
        if times * limit < 1:
            p = figures["p_faster"] = stats.slower(new.step_time_s, old.step_time_s)[1]
            if p < STEP_LEVEL and not few and not _waits(new, old, machines, limit, {}):
                mark = Sign.BETTER
    elif doubt := unlike or few:
        outcome, message = WARN, f"above the limit of {limit:g}, but that only warns, because {doubt}"
    else:
        figures["p_slower"] = p
        if p >= STEP_LEVEL:
            outcome, message = WARN, f"{above} but may be noise ({chance(p)})"
        elif waits := _waits(old, new, machines, limit, figures):
            outcome, message = WARN, f"{above}, but {waits}"
        else:
            outcome, message = FAIL, f"{above} and more than noise ({chance(p)})"
    shown = ratio(times, limit)
    change = f"a step takes {step_time(new)}, {shown} times the baseline's {step_time(old)} (medians)"
    more = {"mark": mark} if mark else {}
    yield build(outcome, f"{change}: {message}", change=f"x{shown}", figures=figures, **more)


def _waits(
    old: FamilyResult,
    new: FamilyResult,
    machines: tuple[Environment, Environment],
    limit: float,
    figures: dict[str, Any],
) -> str:
    """Message if the steps took longer without more CPU time; "" if that is not so or not known."""
    before, after = old.step_cpu_s, new.step_cpu_s
    if (
        any(machine.gpu for machine in machines)
        or min(len(before), len(after)) < FEWEST_STEPS
        or min(*before, *after) <= 0
    ):
        return ""
    times, p = stats.slower(before, after)
    figures["cpu_ratio"], figures["p_cpu_slower"] = times, p
    if times > limit and p < STEP_LEVEL:
        return ""
    return f"the CPU time is {ratio(times, limit)} times the baseline's: steps waited, most likely for other programs"


def _unlike(old: FamilyResult, new: FamilyResult, machines: tuple[Environment, Environment]) -> str:
    """Reason why the step times are not comparable; "" if they are."""
    if not same_hardware(*machines):
        return "the two ran on different hardware"
    if old.on_features != new.on_features:
        words = {True: "features of frozen layers", False: "pictures"}
        return f"its steps were on {words[old.on_features]} in the baseline and are on {words[new.on_features]} now"
    return ""


def _few_times(old: FamilyResult, new: FamilyResult) -> str:
    counts = len(old.step_time_s), len(new.step_time_s)
    if min(counts) >= FEWEST_STEPS:
        return ""
    return f"a verdict needs {FEWEST_STEPS} step times on each side, but there are {counts[0]} and {counts[1]}"


# -- parameters


def _size(build: Build, old: FamilyResult | None, new: FamilyResult, cap: int | None) -> Iterator[Finding]:
    """Judge the number of parameters: a change warns, more than the cap fails; no finding with nothing to compare."""
    now, then = new.parameters, old.parameters if old else None
    if cap is None and then is None:
        return
    changed = then is not None and now != then
    was = "" if then is None else f"{then:,}"
    if now is None:
        more = f", so the cap of {cap:,} could not be checked" if cap is not None else f"; they were {was}"
        outcome, message = WARN, f"are not known{more}"
    elif cap is not None and now > cap:
        outcome = FAIL
        message = f"are {now:,}{f', and were {was}' if changed else ''}: that is more than the cap of {cap:,}"
    elif changed:
        outcome, message = WARN, f"were {was} and are {now:,}: it is a different model"
    else:
        outcome, message = PASS, f"are {now:,}, as in the baseline" if then else f"are {now:,}; the cap is {cap:,}"
    yield build(
        Quantity.PARAMETERS,
        outcome,
        message,
        change=f"{now - then:+,}" if changed and now is not None and then is not None else "",
        figures={"before": then, "after": now, "max_parameters": cap},
    )
