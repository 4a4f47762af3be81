"""Whether a family trains as fast as it did: seconds of a step in steady state, on the same hardware only.

Slower fails where it is both practical and statistical, as with accuracy: the median above `max_slowdown` times the old
one, and a one-sided Mann-Whitney test below 0.002 with six figures or more on each side. Elsewhere it warns.

On a CPU the same must hold for the time that the CPU worked. Other programs make steps two and three times as long, for
the whole of a run, and hardly change that: beside three busy ones on two cores steps took 3.3 times as long, and the
CPU worked as long as on an idle machine within 2 %. Where only the clock says slower, it warns.
"""

from __future__ import annotations

from statistics import median

from bench import stats
from bench.check.findings import FAIL, PASS, SKIP, TIME, WARN, Finding
from bench.check.policy import FamilyPolicy
from bench.check.words import chance, ratio, step_time
from bench.runs.results import Environment, FamilyResult

LEVEL = 0.002
"""Of the test, for each family by itself: so strict that it needs no correction for their number."""

FEWEST = 6
"""Figures on each side: of fewer, no order of them is that unlikely (6 against 6 give 1 / 924)."""


def finding(
    name: str, old: FamilyResult, new: FamilyResult, on: tuple[Environment, Environment], allowed: FamilyPolicy
) -> Finding | None:
    """What became of a family's step time, on what the two ran; None where neither side has one."""
    if not old.step_time_s and not new.step_time_s:
        return None
    before, after, limit = step_time(old), step_time(new), allowed.max_slowdown
    if not _timed(old) or not _timed(new):
        message = f"has no step times {'now' if _timed(old) else 'in the baseline'}, so they are not compared"
        return Finding(name, TIME, SKIP, "x", "", before, after, message=message)
    before_s, after_s = median(old.step_time_s), median(new.step_time_s)
    times = after_s / before_s
    figures: dict[str, float | int | str | None] = {
        "before_s": before_s,
        "after_s": after_s,
        "ratio": times,
        "times_before": len(old.step_time_s),
        "times_after": len(new.step_time_s),
        "max_slowdown": limit,
    }

    def found(outcome: str, mark: str, message: str) -> Finding:
        return Finding(name, TIME, outcome, mark, f"x{ratio(times, limit)}", before, after,
                       message=f"a step takes {after}, {ratio(times, limit)} times the baseline's "
                       f"{before} (medians): {message}", figures=figures)  # fmt: skip

    other = _unlike(old, new, on)
    if times <= limit:
        if other:
            return found(SKIP, "x", f"not judged, for {other}")
        faster = times * limit < 1 and _slower(new, old, figures, "p_faster") < LEVEL and not _few(old, new)
        faster = faster and not _waiting(new, old, on, limit, {})
        return found(PASS, "+" if faster else "", f"within the limit of {limit:g}")
    if doubt := other or _few(old, new):
        return found(WARN, "~", f"above the limit of {limit:g}, but that only warns, for {doubt}")
    p = _slower(old, new, figures, "p_slower")
    if p < LEVEL and (waits := _waiting(old, new, on, limit, figures)):
        return found(WARN, "~", f"that is above the limit of {limit:g}, but {waits}")
    if p < LEVEL:
        return found(FAIL, "-", f"that is above the limit of {limit:g} and more than noise ({chance(p)})")
    return found(WARN, "~", f"that is above the limit of {limit:g} but may be noise ({chance(p)})")


def _slower(old: FamilyResult, new: FamilyResult, figures: dict[str, float | int | str | None], name: str) -> float:
    """One-sided p that `new` is slower, also put among the figures."""
    p = figures[name] = stats.slower(old.step_time_s, new.step_time_s)[1]
    return p


def _waiting(
    old: FamilyResult,
    new: FamilyResult,
    on: tuple[Environment, Environment],
    limit: float,
    figures: dict[str, float | int | str | None],
) -> str:
    """What says that the steps did not work more but waited longer; "" where nothing does."""
    before, after = old.step_cpu_s, new.step_cpu_s
    if any(each.gpu for each in on) or min(len(before), len(after)) < FEWEST or min(*before, *after) <= 0:
        return ""
    times, p = stats.slower(before, after)
    figures["cpu_ratio"], figures["p_cpu_slower"] = times, p
    if times > limit and p < LEVEL:
        return ""
    return f"the CPU works {ratio(times, limit)} times as long: they waited, most likely for other programs"


def _unlike(old: FamilyResult, new: FamilyResult, on: tuple[Environment, Environment]) -> str:
    """Why the two are not times of the same thing; "" where they are."""
    if on[0].hardware != on[1].hardware:
        return "the two ran on other hardware"
    if old.on_features != new.on_features:
        words = {True: "features of frozen layers", False: "pictures"}
        return f"its steps were on {words[old.on_features]} in the baseline and are on {words[new.on_features]} now"
    return ""


def _few(old: FamilyResult, new: FamilyResult) -> str:
    if min(len(old.step_time_s), len(new.step_time_s)) >= FEWEST:
        return ""
    return (
        f"a verdict needs {FEWEST} times on each side, and there are {len(old.step_time_s)} and {len(new.step_time_s)}"
    )


def _timed(family: FamilyResult) -> bool:
    return bool(family.step_time_s) and min(family.step_time_s) > 0
