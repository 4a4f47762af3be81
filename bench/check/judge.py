"""The regression gate: a baseline and a run in, findings out. Nothing is read, printed or written.

Accuracy fails where a drop is both practical and statistical: at least `max_drop`, and more than the noise of test
pictures and seeds, with Holm's correction over the families. Where one of the two holds it warns, and where the noise
of seeds is not known it does no more than that. A floor is absolute. Step times are held to the same rule with a ratio
of medians and a rank test, on the same hardware only.

On a CPU the time that the CPU worked must have grown as well. Other programs make steps two and three times as long,
for the whole of a run, and hardly change that: beside three busy ones on two cores steps took 3.3 times as long, and
the CPU worked as long as on an idle machine within 2 %. Where only the clock says slower, it warns.

Sources:
    `stats.change`, `stats.slower`; S. Holm (1979). That a change has to be both large and unlikely is the rule of
    airspeed velocity.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from statistics import median
from typing import Any

from bench import stats
from bench.check.changes import (
    CALIBRATE,
    FamilyChange,
    differences,
    family_changes,
    incomplete,
    notes,
    same_hardware,
    scored,
    seed_sd,
)
from bench.check.findings import Finding, GateOutcome, Judgement, Metric, Sign
from bench.check.policy import FamilyPolicy, Policy
from bench.check.wording import accuracy, amount, chance, exact, parameters, percent, points, ratio, step_time
from bench.runs.results import Environment, FamilyResult, FamilyStatus, Results
from bench.text import one_line

STEP_LEVEL = 0.002
"""Of the test of step times, for each family by itself: so strict that it needs no correction for their number."""

FEWEST_STEPS = 6
"""Step times on each side: of fewer, no order of them is that unlikely (6 against 6 give 1 / 924)."""

PASS, INFO, WARN, FAIL, SKIP = GateOutcome

MARKS = {PASS: Sign.NONE, INFO: Sign.NEW, WARN: Sign.DOUBTFUL, FAIL: Sign.WORSE, SKIP: Sign.UNJUDGED}
"""The usual mark of an outcome."""

Build = Callable[..., Finding]
"""`_finding` of one family."""


def judge(baseline: Results, candidate: Results, policy: Policy | None = None) -> Judgement:
    """Judge whether a run is as good as the baseline.

    Args:
        baseline, candidate: The results of the two.
        policy: What is allowed; None: the documented rule.

    Returns:
        Families with failures first, then those with warnings, then the others in the baseline's order; a family's
        findings stand together.

    Raises:
        ConfigError: The policy has limits for a family that neither side has.
    """
    names = list({**baseline.families, **candidate.families})
    policy = (policy or Policy()).meant_for(names)
    unlike = list(differences(baseline, candidate))
    judged = _skipped(names, baseline, candidate, unlike[0]) if unlike else _judged(names, baseline, candidate, policy)
    findings = list(judged)
    failed, warned = ({finding.family for finding in findings if finding.outcome == each} for each in (FAIL, WARN))
    return Judgement(
        baseline=baseline,
        candidate=candidate,
        findings=sorted(findings, key=lambda each: 0 if each.family in failed else 1 if each.family in warned else 2),
        differences=unlike,
        incomplete=incomplete(candidate),
        notes=list(notes(baseline, candidate)),
        policy=policy,
    )


def _skipped(names: Sequence[str], baseline: Results, candidate: Results, why: str) -> Iterator[Finding]:
    """Give the findings where nothing is judged."""
    for name in names:
        for metric in Metric:
            old, new = baseline.families.get(name), candidate.families.get(name)
            finding = _finding(name, old, new, metric, SKIP, f"not judged, for the two do not compare: {why}")
            if finding.before or finding.after:
                yield finding


def _judged(names: Sequence[str], baseline: Results, candidate: Results, policy: Policy) -> Iterator[Finding]:
    """Judge every family."""
    changes = family_changes(baseline, candidate)
    for name in names:
        old, new, limits = baseline.families.get(name), candidate.families.get(name), policy.of(name)
        build = partial(_finding, name, old, new)
        yield _presence(build, old, new)
        if not scored(new):
            continue
        if scored(old):
            yield _with_floor(_accuracy(build, old, new, changes[name], limits.max_drop, policy.alpha), new, limits)
            yield from _step_time(build, old, new, (baseline.env, candidate.env), limits.max_slowdown)
        elif limits.min_accuracy:
            yield _with_floor(build(Metric.ACCURACY, PASS), new, limits)
        yield from _size(build, old if scored(old) else None, new, limits.max_parameters)


def _finding(
    name: str,
    old: FamilyResult | None,
    new: FamilyResult | None,
    metric: Metric,
    outcome: GateOutcome,
    message: str = "",
    **more: Any,
) -> Finding:
    figures: dict[str, Any] = {"mark": MARKS[outcome], "before": SHOWN[metric](old), "after": SHOWN[metric](new)}
    return Finding(family=name, metric=metric, outcome=outcome, message=message, **{**figures, **more})


# -- presence


def _presence(build: Build, old: FamilyResult | None, new: FamilyResult | None) -> Finding:
    """Judge whether a family still has a result."""
    why = f": {one_line(new.reason)}" if new and new.reason else ""
    now = f"has none now ({ended(new)}){why}" if new else "is not in this run"
    if scored(old) and scored(new):
        return build(Metric.PRESENCE, PASS, "has a test accuracy, as in the baseline")
    if scored(old):
        hint = "" if new else ": was its file renamed or removed, or is it left out by --spaces?"
        message = f"had a test accuracy of {accuracy(old)} in the baseline and {now}{hint}"
        return build(Metric.PRESENCE, FAIL, message, mark=Sign.GONE, change=ended(new))
    if scored(new):
        has = f"has a test accuracy of {accuracy(new)}"
        both = f"{has} and had none in the baseline ({ended(old)})" if old else f"is not in the baseline and {has}"
        return build(Metric.PRESENCE, INFO, f"{both}: it is compared once the baseline has it", change="new")
    had = f"had no test accuracy in the baseline ({ended(old)})" if old else "is not in the baseline"
    return build(Metric.PRESENCE, WARN, f"{had} and {now}", mark=Sign.GONE, change=ended(new))


def ended(family: FamilyResult | None) -> str:
    """Say how a family ended, in a word or two."""
    if family is None:
        return "missing"
    return "not scored" if family.status == FamilyStatus.COMPLETE and not scored(family) else family.status


SHOWN = {
    Metric.PRESENCE: ended,
    Metric.ACCURACY: accuracy,
    Metric.TIME: step_time,
    Metric.PARAMETERS: parameters,
}
"""The figures of a family in words; "" where it has none."""


# -- accuracy


def _accuracy(
    build: Build, old: FamilyResult, new: FamilyResult, tested: FamilyChange, limit: float, alpha: float
) -> Finding:
    """Judge how a family's accuracy changed."""
    change, difference = tested.accuracy, tested.accuracy.difference
    mde = change.detectable(alpha / tested.families, tested.pictures)
    large, worse = difference <= -limit, difference < 0 and tested.p_drop < alpha
    better, underpowered = difference > 0 and tested.p_rise < alpha, mde > 2 * limit
    message = _accuracy_message(old, new, tested, limit, worse, better)
    if underpowered:
        message += (
            f"; UNDERPOWERED: only a drop of {amount(mde, 2 * limit)} points or more would be seen in 4 of 5 cases, "
            f"and the limit is {exact(limit)}: test on more pictures, or train with more seeds"
        )
    doubtful = Sign.DOUBTFUL if large or underpowered else Sign.NONE
    return build(
        Metric.ACCURACY,
        FAIL if large and worse and change.calibrated else WARN if large or worse or underpowered else PASS,
        message,
        mark=Sign.WORSE if worse else Sign.BETTER if better else doubtful,
        change=points(difference, limit),
        mde=f"{'' if change.calibrated else '>'}{amount(mde, 2 * limit)}",
        underpowered=underpowered,
        figures={
            "before": old.accuracy,
            "after": new.accuracy,
            "difference": difference,
            "difference_low": change.low,
            "difference_high": change.high,
            "standard_error": change.standard_error,
            "degrees_of_freedom": change.freedom if math.isfinite(change.freedom) else None,
            "p_drop": change.p_drop,
            "p_drop_holm": tested.p_drop,
            "p_mcnemar": tested.p_mcnemar,
            "minimum_detectable_drop": mde,
            "n": tested.pictures,
            "seeds_before": tested.seeds[0],
            "seeds_after": tested.seeds[1],
            "seed_sd": seed_sd(old, new),
            "calibrated": change.calibrated,
            "max_drop": limit,
        },
    )


def _accuracy_message(
    old: FamilyResult, new: FamilyResult, tested: FamilyChange, limit: float, worse: bool, better: bool
) -> str:
    difference = tested.accuracy.difference
    if not difference:
        return f"is {accuracy(new)}, as in the baseline"
    holm = f" after Holm over {tested.families} families" if tested.families > 1 else ""
    p = tested.p_drop if difference < 0 else tested.p_rise
    evidence = f"({chance(p)}{holm}; exact McNemar of the first seeds {chance(tested.p_mcnemar)})"
    size = amount(difference, limit if difference < 0 else None)
    moved = f"{'fell' if difference < 0 else 'rose'} by {size} points from {accuracy(old)} to {accuracy(new)}: that"
    reaches = f"{moved} reaches the limit of {exact(limit)} points"
    if difference > -limit:
        less = f" but less than the limit of {exact(limit)} points" if worse else ""
        return f"{moved} is {'more than' if worse or better else 'within'} noise {evidence}{less}"
    if not worse:
        return f"{reaches} but may be noise {evidence}"
    if tested.accuracy.calibrated:
        return f"{reaches} and is more than noise {evidence}"
    return (
        f"{reaches} and is more than the noise of the test pictures {evidence}, but only warns, for with one seed the "
        f"noise of the seeds is not known; {CALIBRATE}"
    )


def _with_floor(finding: Finding, new: FamilyResult, limits: FamilyPolicy) -> Finding:
    """Make a finding worse where the accuracy is below the floor: surely, it fails; perhaps, it warns."""
    floor = limits.min_accuracy
    if not floor or new.accuracy is None:
        return finding
    n = new.correct.shape[1]
    upper = stats.wilson(round(new.accuracy * n), n)[1]
    figures = {**finding.figures, "after": new.accuracy, "after_high": upper, "min_accuracy": floor}
    if new.accuracy >= floor:
        message = finding.message or f"is {accuracy(new)}; the floor is {exact(floor)} %"
        return replace(finding, message=message, figures=figures)
    surely = upper < floor
    message = (
        f"is {percent(new.accuracy, floor)}, {'surely' if surely else 'perhaps'} below the floor of "
        f"{exact(floor)} % (95 % Wilson interval up to {percent(upper, floor)})"
    )
    return replace(
        finding,
        outcome=FAIL if surely or finding.outcome == FAIL else WARN,
        mark=Sign.WORSE if surely else finding.mark or Sign.DOUBTFUL,
        message=f"{message}; it {finding.message}" if finding.message else message,
        figures=figures,
    )


# -- step time


def _step_time(
    build: Build, old: FamilyResult, new: FamilyResult, on: tuple[Environment, Environment], limit: float
) -> Iterator[Finding]:
    """Judge how a family's step time changed, on the two machines; no finding where neither side has one."""
    build = partial(build, Metric.TIME)
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
    unlike, few, mark = _unlike(old, new, on), _few_times(old, new), None
    above = f"that is above the limit of {limit:g}"
    if times <= limit and unlike:
        outcome, message = SKIP, f"not judged, for {unlike}"
    elif times <= limit:
        outcome, message = PASS, f"within the limit of {limit:g}"
        if times * limit < 1:
            p = figures["p_faster"] = stats.slower(new.step_time_s, old.step_time_s)[1]
            if p < STEP_LEVEL and not few and not _waits(new, old, on, limit, {}):
                mark = Sign.BETTER
    elif doubt := unlike or few:
        outcome, message = WARN, f"above the limit of {limit:g}, but that only warns, for {doubt}"
    else:
        figures["p_slower"] = p
        if p >= STEP_LEVEL:
            outcome, message = WARN, f"{above} but may be noise ({chance(p)})"
        elif waits := _waits(old, new, on, limit, figures):
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
    on: tuple[Environment, Environment],
    limit: float,
    figures: dict[str, Any],
) -> str:
    """Say that the steps did not work more but waited longer; "" where nothing shows that."""
    before, after = old.step_cpu_s, new.step_cpu_s
    if any(machine.gpu for machine in on) or min(len(before), len(after)) < FEWEST_STEPS or min(*before, *after) <= 0:
        return ""
    times, p = stats.slower(before, after)
    figures["cpu_ratio"], figures["p_cpu_slower"] = times, p
    if times > limit and p < STEP_LEVEL:
        return ""
    return f"the CPU works {ratio(times, limit)} times as long: they waited, most likely for other programs"


def _unlike(old: FamilyResult, new: FamilyResult, on: tuple[Environment, Environment]) -> str:
    """Say why the two are not times of the same thing; "" where they are."""
    if not same_hardware(*on):
        return "the two ran on other hardware"
    if old.on_features != new.on_features:
        words = {True: "features of frozen layers", False: "pictures"}
        return f"its steps were on {words[old.on_features]} in the baseline and are on {words[new.on_features]} now"
    return ""


def _few_times(old: FamilyResult, new: FamilyResult) -> str:
    counts = len(old.step_time_s), len(new.step_time_s)
    if min(counts) >= FEWEST_STEPS:
        return ""
    return f"a verdict needs {FEWEST_STEPS} times on each side, and there are {counts[0]} and {counts[1]}"


# -- parameters


def _size(build: Build, old: FamilyResult | None, new: FamilyResult, cap: int | None) -> Iterator[Finding]:
    """Judge a family's parameters: a change warns, more than the cap fails; no finding with nothing to compare."""
    now, then = new.parameters, old.parameters if old else None
    if cap is None and (old is None or (now is None and then is None)):
        return
    changed = old is not None and now != then
    was = "not known" if then is None else f"{then:,}"
    if now is None:
        held = f", so the cap of {cap:,} could not be checked" if cap is not None else f"; they were {was}"
        outcome, message = WARN, f"are not known{held}"
    elif cap is not None and now > cap:
        outcome = FAIL
        message = f"are {now:,}{f', and were {was}' if changed else ''}: that is more than the cap of {cap:,}"
    elif changed:
        outcome, message = WARN, f"were {was} and are {now:,}: the model is another one"
    else:
        outcome, message = PASS, f"are {now:,}, as in the baseline" if old else f"are {now:,}; the cap is {cap:,}"
    yield build(
        Metric.PARAMETERS,
        outcome,
        message,
        change=f"{now - then:+,}" if changed and now is not None and then is not None else "",
        figures={"before": then, "after": now, "max_parameters": cap},
    )
