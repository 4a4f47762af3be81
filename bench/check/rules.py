"""The gate's rule for each metric of a family: presence, accuracy, step time, parameters.

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
from dataclasses import replace
from functools import partial
from statistics import median

from bench import stats
from bench.check.changes import CALIBRATE, FamilyChange, same_hardware, scored, seed_sd
from bench.check.findings import Finding, GateOutcome, Metric, Sign
from bench.check.policy import FamilyPolicy
from bench.check.wording import accuracy, amount, chance, exact, parameters, percent, points, ratio, step_time
from bench.runs.results import Environment, FamilyResult, FamilyStatus
from bench.text import one_line

STEP_LEVEL = 0.002
"""Of the test of step times, for each family by itself: so strict that it needs no correction for their number."""

FEWEST_STEPS = 6
"""Step times on each side: of fewer, no order of them is that unlikely (6 against 6 give 1 / 924)."""


# -- presence


def presence(name: str, old: FamilyResult | None, new: FamilyResult | None) -> Finding:
    """Judge whether a family still has a result; None: it is not in the baseline, or not in the run."""
    finding = partial(Finding, family=name, metric=Metric.PRESENCE, before=ended(old), after=ended(new))
    why = f": {one_line(new.reason)}" if new and new.reason else ""
    now = f"has none now ({ended(new)}){why}" if new else "is not in this run"
    if scored(old) and scored(new):
        return finding(outcome=GateOutcome.PASS, message="has a test accuracy, as in the baseline")
    if scored(old):
        hint = "" if new else ": was its file renamed or removed, or is it left out by --spaces?"
        message = f"had a test accuracy of {accuracy(old)} in the baseline and {now}{hint}"
        return finding(outcome=GateOutcome.FAIL, mark=Sign.GONE, change=ended(new), message=message)
    if scored(new):
        has = f"has a test accuracy of {accuracy(new)}"
        both = f"{has} and had none in the baseline ({ended(old)})" if old else f"is not in the baseline and {has}"
        message = f"{both}: it is compared once the baseline has it"
        return finding(outcome=GateOutcome.INFO, mark=Sign.NEW, change="new", message=message)
    had = f"had no test accuracy in the baseline ({ended(old)})" if old else "is not in the baseline"
    return finding(outcome=GateOutcome.WARN, mark=Sign.GONE, change=ended(new), message=f"{had} and {now}")


def ended(family: FamilyResult | None) -> str:
    """Say how a family ended, in a word or two."""
    if family is None:
        return "missing"
    return "not scored" if family.status == FamilyStatus.COMPLETE and not scored(family) else family.status


# -- accuracy


def accuracy_change(
    name: str, old: FamilyResult, new: FamilyResult, tested: FamilyChange, *, allowed: FamilyPolicy, alpha: float
) -> Finding:
    """Judge how a family's accuracy changed."""
    change, limit = tested.accuracy, allowed.max_drop
    difference, mde = change.difference, change.detectable(alpha / tested.families, tested.pictures)
    large, sure = difference <= -limit, difference < 0 and tested.p_drop < alpha
    better = difference > 0 and tested.p_rise < alpha
    underpowered = mde > 2 * limit
    fails = large and sure and change.calibrated
    doubtful = Sign.DOUBTFUL if large or underpowered else Sign.NONE
    message = _accuracy_message(old, new, tested, limit=limit, large=large, sure=sure, better=better)
    if underpowered:
        message += (
            f"; UNDERPOWERED: only a drop of {amount(mde, 2 * limit)} points or more would be seen in 4 of 5 cases, "
            f"and the limit is {exact(limit)}: test on more pictures, or train with more seeds"
        )
    finding = Finding(
        family=name,
        metric=Metric.ACCURACY,
        outcome=GateOutcome.FAIL if fails else GateOutcome.WARN if large or sure or underpowered else GateOutcome.PASS,
        mark=Sign.WORSE if sure else Sign.BETTER if better else doubtful,
        change=points(difference, limit),
        before=accuracy(old),
        after=accuracy(new),
        mde=f"{'' if change.calibrated else '>'}{amount(mde, 2 * limit)}",
        underpowered=underpowered,
        message=message,
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
    return _with_floor(finding, new, allowed)


def accuracy_of_new(name: str, new: FamilyResult, allowed: FamilyPolicy) -> Finding | None:
    """Judge a family that is not compared: it may be below the floor, if there is one."""
    if not allowed.min_accuracy:
        return None
    finding = Finding(family=name, metric=Metric.ACCURACY, outcome=GateOutcome.PASS, after=accuracy(new))
    return _with_floor(finding, new, allowed)


def _accuracy_message(
    old: FamilyResult, new: FamilyResult, tested: FamilyChange, *, limit: float, large: bool, sure: bool, better: bool
) -> str:
    difference = tested.accuracy.difference
    if not difference:
        return f"is {accuracy(new)}, as in the baseline"
    holm = f" after Holm over {tested.families} families" if tested.families > 1 else ""
    p = tested.p_drop if difference < 0 else tested.p_rise
    evidence = f"{chance(p)}{holm}; exact McNemar of the first seeds {chance(tested.p_mcnemar)}"
    size = amount(difference, limit if difference < 0 else None)
    moved = f"{'fell' if difference < 0 else 'rose'} by {size} points from {accuracy(old)} to {accuracy(new)}"
    reaches = f"that reaches the limit of {exact(limit)} points"
    if large and sure and tested.accuracy.calibrated:
        return f"{moved}: {reaches} and is more than noise ({evidence})"
    if large and sure:
        return (
            f"{moved}: {reaches} and is more than the noise of the test pictures ({evidence}), but only warns, for "
            f"with one seed the noise of the seeds is not known; {CALIBRATE}"
        )
    if large:
        return f"{moved}: {reaches} but may be noise ({evidence})"
    if sure:
        return f"{moved}: that is more than noise ({evidence}) but less than the limit of {exact(limit)} points"
    return f"{moved}: that is {'more than' if better else 'within'} noise ({evidence})"


def _with_floor(finding: Finding, new: FamilyResult, allowed: FamilyPolicy) -> Finding:
    """The finding, worse where the accuracy is below the floor: surely, it fails; perhaps, it warns."""
    floor = allowed.min_accuracy
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
        outcome=GateOutcome.FAIL if surely or finding.outcome == GateOutcome.FAIL else GateOutcome.WARN,
        mark=Sign.WORSE if surely else finding.mark or Sign.DOUBTFUL,
        message=f"{message}; it {finding.message}" if finding.message else message,
        figures=figures,
    )


# -- step time


def step_time_change(
    name: str, old: FamilyResult, new: FamilyResult, on: tuple[Environment, Environment], allowed: FamilyPolicy
) -> Finding | None:
    """Judge how a family's step time changed, on the two machines; None where neither side has one."""
    if not old.step_time_s and not new.step_time_s:
        return None
    before, after, limit = step_time(old), step_time(new), allowed.max_slowdown
    finding = partial(Finding, family=name, metric=Metric.TIME, before=before, after=after)
    if not _timed(old) or not _timed(new):
        message = f"has no step times {'now' if _timed(old) else 'in the baseline'}, so they are not compared"
        return finding(outcome=GateOutcome.SKIP, mark=Sign.UNJUDGED, message=message)
    times, p = stats.slower(old.step_time_s, new.step_time_s)
    shown = ratio(times, limit)
    figures: dict[str, float | int | str | None] = {
        "before_s": median(old.step_time_s),
        "after_s": median(new.step_time_s),
        "ratio": times,
        "times_before": len(old.step_time_s),
        "times_after": len(new.step_time_s),
        "max_slowdown": limit,
    }
    change = f"a step takes {after}, {shown} times the baseline's {before} (medians)"

    def judged(outcome: GateOutcome, mark: Sign, message: str) -> Finding:
        message = f"{change}: {message}"
        return finding(outcome=outcome, mark=mark, change=f"x{shown}", message=message, figures=figures)

    unlike, few = _unlike(old, new, on), _few_times(old, new)
    if times <= limit and unlike:
        return judged(GateOutcome.SKIP, Sign.UNJUDGED, f"not judged, for {unlike}")
    if times <= limit:
        faster = False
        if times * limit < 1:
            p = figures["p_faster"] = stats.slower(new.step_time_s, old.step_time_s)[1]
            faster = p < STEP_LEVEL and not few and not _waits(new, old, on, limit, {})
        return judged(GateOutcome.PASS, Sign.BETTER if faster else Sign.NONE, f"within the limit of {limit:g}")
    if doubt := unlike or few:
        message = f"above the limit of {limit:g}, but that only warns, for {doubt}"
        return judged(GateOutcome.WARN, Sign.DOUBTFUL, message)
    figures["p_slower"] = p
    above = f"that is above the limit of {limit:g}"
    if p >= STEP_LEVEL:
        return judged(GateOutcome.WARN, Sign.DOUBTFUL, f"{above} but may be noise ({chance(p)})")
    if waits := _waits(old, new, on, limit, figures):
        return judged(GateOutcome.WARN, Sign.DOUBTFUL, f"{above}, but {waits}")
    return judged(GateOutcome.FAIL, Sign.WORSE, f"{above} and more than noise ({chance(p)})")


def _waits(
    old: FamilyResult,
    new: FamilyResult,
    on: tuple[Environment, Environment],
    limit: float,
    figures: dict[str, float | int | str | None],
) -> str:
    """Say that the steps did not work more but waited longer; "" where nothing shows that."""
    before, after = old.step_cpu_s, new.step_cpu_s
    if any(each.gpu for each in on) or min(len(before), len(after)) < FEWEST_STEPS or min(*before, *after) <= 0:
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


def _timed(family: FamilyResult) -> bool:
    return bool(family.step_time_s) and min(family.step_time_s) > 0


# -- parameters


def size(name: str, old: FamilyResult | None, new: FamilyResult, allowed: FamilyPolicy) -> Finding | None:
    """Judge a family's parameters: a change warns, more than the cap fails; None where there is nothing to compare.

    Args:
        name: Its name.
        old: Its result in the baseline; None where it had none there.
        new: Its result.
        allowed: With the cap, if there is one.
    """
    cap, now, then = allowed.max_parameters, new.parameters, old.parameters if old else None
    if cap is None and (old is None or (now is None and then is None)):
        return None
    changed = old is not None and now != then
    finding = partial(
        Finding,
        family=name,
        metric=Metric.PARAMETERS,
        change=f"{now - then:+,}" if changed and now is not None and then is not None else "",
        before=parameters(old),
        after=parameters(new),
        figures={"before": then, "after": now, "max_parameters": cap},
    )
    was = "not known" if then is None else f"{then:,}"
    if now is None:
        held = f", so the cap of {cap:,} could not be checked" if cap is not None else f"; they were {was}"
        return finding(outcome=GateOutcome.WARN, mark=Sign.DOUBTFUL, message=f"are not known{held}")
    if cap is not None and now > cap:
        message = f"are {now:,}{f', and were {was}' if changed else ''}: that is more than the cap of {cap:,}"
        return finding(outcome=GateOutcome.FAIL, mark=Sign.WORSE, message=message)
    if changed:
        message = f"were {was} and are {now:,}: the model is another one"
        return finding(outcome=GateOutcome.WARN, mark=Sign.DOUBTFUL, message=message)
    message = f"are {now:,}, as in the baseline" if old else f"are {now:,}; the cap is {cap:,}"
    return finding(outcome=GateOutcome.PASS, message=message)
