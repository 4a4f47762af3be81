"""The regression gate: a baseline and a run in, findings out, without reading or writing anything.

Accuracy fails if a drop is both large and significant: at least `max_drop`, and more than the noise of test pictures
and seeds, with Holm's correction over the families. If only one of the two holds, or if the noise of seeds is unknown,
it warns. A floor is absolute. Step times follow the same rule with a ratio of medians and a rank test, on the same
hardware only.

On a CPU, the CPU time of a step must have grown too. Other programs can make all steps of a run two or three times as
long and hardly change their CPU time: beside three busy programs on two cores, steps took 3.3 times as long with the
CPU time of an idle machine within 2 %. If only the wall-clock time grew, it warns.

Sources:
    `stats.change`, `stats.slower`; S. Holm (1979). Airspeed velocity, too, requires a change to be both large and
    unlikely.
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
from bench.check.findings import Finding, GateOutcome, Judgement, Metric, Sign
from bench.check.policy import FamilyPolicy, Policy
from bench.check.wording import accuracy, amount, chance, exact, parameters, percent, points, ratio, step_time
from bench.runs.results import Environment, FamilyResult, FamilyStatus, Results, Split
from bench.text import one_line

STEP_LEVEL = 0.002
"""Significance level of the test of step times, per family: strict enough to need no correction over families."""

FEWEST_STEPS = 6
"""Minimum number of step times per side: with fewer, p cannot get below `STEP_LEVEL` (6 against 6 give 1 / 924)."""

PASS, INFO, WARN, FAIL, SKIP = GateOutcome

MARKS = {PASS: Sign.NONE, INFO: Sign.NEW, WARN: Sign.DOUBTFUL, FAIL: Sign.WORSE, SKIP: Sign.UNJUDGED}
"""The default mark of an outcome."""

Build = Callable[..., Finding]
"""`_finding` with the arguments of one family filled in."""


def judge(baseline: Results, candidate: Results, policy: Policy | None = None) -> Judgement:
    """Judge whether a run is as good as the baseline.

    Args:
        baseline, candidate: Results of the two.
        policy: The limits; None: the documented ones.

    Returns:
        Findings grouped by family: families with failures first, then those with warnings, then the others in the
        baseline's order.

    Raises:
        ConfigError: The policy has limits for a family that neither side has.
    """
    names = list({**baseline.families, **candidate.families})
    policy = (policy or Policy()).checked(names)
    reasons = list(differences(baseline, candidate))
    findings = list(
        _skipped(names, baseline, candidate, reasons[0]) if reasons else _judged(names, baseline, candidate, policy)
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
    )


def _skipped(names: Sequence[str], baseline: Results, candidate: Results, reason: str) -> Iterator[Finding]:
    """The findings if nothing is judged."""
    for name in names:
        for metric in Metric:
            old, new = baseline.families.get(name), candidate.families.get(name)
            message = f"not judged, because the two are not comparable: {reason}"
            finding = _finding(name, old, new, metric, SKIP, message)
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
            tested = changes[name]
            seen = power(name, tested.accuracy, policy, tested.families, tested.independent)
            finding = _accuracy(build, old, new, tested, seen, policy.alpha)
            yield _with_floor(finding, new, limits, candidate.split)
            yield from _step_time(build, old, new, (baseline.env, candidate.env), limits.max_slowdown)
        elif limits.min_accuracy:
            yield _with_floor(build(Metric.ACCURACY, PASS), new, limits, candidate.split)
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
    reason = f": {one_line(new.reason)}" if new and new.reason else ""
    now = f"has none now ({ended(new)}){reason}" if new else "is not in this run"
    if scored(old) and scored(new):
        return build(Metric.PRESENCE, PASS, "has a test accuracy, as in the baseline")
    if scored(old):
        hint = "" if new else ": was its file renamed or removed, or is it left out by --spaces?"
        message = f"had a test accuracy of {accuracy(old)} in the baseline and {now}{hint}"
        return build(Metric.PRESENCE, FAIL, message, mark=Sign.GONE, change=ended(new))
    if scored(new):
        has = f"has a test accuracy of {accuracy(new)}"
        both = f"{has} and had none in the baseline ({ended(old)})" if old else f"is not in the baseline and {has}"
        return build(Metric.PRESENCE, INFO, f"{both}: it is not compared until the baseline has it", change="new")
    had = f"had no test accuracy in the baseline ({ended(old)})" if old else "is not in the baseline"
    return build(Metric.PRESENCE, WARN, f"{had} and {now}", mark=Sign.GONE, change=ended(new))


def ended(family: FamilyResult | None) -> str:
    """Status of a family, in one or two words."""
    if family is None:
        return "missing"
    return "not scored" if family.status == FamilyStatus.COMPLETE and not scored(family) else family.status


SHOWN = {
    Metric.PRESENCE: ended,
    Metric.ACCURACY: accuracy,
    Metric.TIME: step_time,
    Metric.PARAMETERS: parameters,
}
"""The figures of a family in words; "" if it has none."""


# -- accuracy


def _accuracy(
    build: Build, old: FamilyResult, new: FamilyResult, tested: FamilyChange, seen: Power, alpha: float
) -> Finding:
    """Judge the change of a family's accuracy."""
    change, difference, limit = tested.accuracy, tested.accuracy.difference, seen.limit
    large, worse = difference <= -limit, difference < 0 and tested.p_drop < alpha
    better = difference > 0 and tested.p_rise < alpha
    message = _accuracy_message(old, new, tested, limit, worse, better)
    if seen.underpowered:
        message += f"; UNDERPOWERED: with 80 % power only a drop of {seen.points} points or more is detected"
    doubtful = Sign.DOUBTFUL if large or seen.underpowered else Sign.NONE
    return build(
        Metric.ACCURACY,
        FAIL if large and worse and change.calibrated else WARN if large or worse or seen.underpowered else PASS,
        message,
        mark=Sign.WORSE if worse else Sign.BETTER if better else doubtful,
        change=points(difference, limit),
        mde=f"{'' if change.calibrated else '>'}{seen.points}",
        underpowered=seen.underpowered,
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
        f"{reaches} and is more than the noise of the test pictures {evidence}, but only warns, because with one seed "
        f"the noise of seeds is unknown; {CALIBRATE}"
    )


def _with_floor(finding: Finding, new: FamilyResult, limits: FamilyPolicy, split: Split) -> Finding:
    """Worsen a finding if the accuracy is below the floor: fail if its interval is below too, else warn."""
    floor = limits.min_accuracy
    if not floor or new.accuracy is None:
        return finding
    upper = stats.wilson(round(new.accuracy * split.n), split.n)[1]
    if split.groups:
        upper = stats.over_seeds(new.correct, split.group_numbers)[2]
    figures = {**finding.figures, "after": new.accuracy, "after_high": upper, "min_accuracy": floor}
    if new.accuracy >= floor:
        message = finding.message or f"is {accuracy(new)}; the floor is {exact(floor)} %"
        return replace(finding, message=message, figures=figures)
    significant = upper < floor
    message = (
        f"is {percent(new.accuracy, floor)}, {'significantly' if significant else 'perhaps'} below the floor of "
        f"{exact(floor)} % (95 % Wilson interval up to {percent(upper, floor)})"
    )
    return replace(
        finding,
        outcome=FAIL if significant or finding.outcome == FAIL else WARN,
        mark=Sign.WORSE if significant else finding.mark or Sign.DOUBTFUL,
        message=f"{message}; it {finding.message}" if finding.message else message,
        figures=figures,
    )


# -- step time


def _step_time(
    build: Build, old: FamilyResult, new: FamilyResult, machines: tuple[Environment, Environment], limit: float
) -> Iterator[Finding]:
    """Judge the change of a family's step time; no finding if neither side has step times."""
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
        Metric.PARAMETERS,
        outcome,
        message,
        change=f"{now - then:+,}" if changed and now is not None and then is not None else "",
        figures={"before": then, "after": now, "max_parameters": cap},
    )
