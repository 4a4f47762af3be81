"""Whether a family classifies as well as it did.

A drop fails where it is both practical and statistical: at least `max_drop`, and more than the noise of test pictures
and seeds, with Holm's correction over the families. Where one of the two holds it warns, and where the noise of seeds
is not known it does no more than that. A floor is absolute.

Sources:
    `stats.change`; S. Holm (1979). That a change has to be both large and unlikely is the rule of airspeed velocity.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from bench import stats
from bench.check.findings import ACCURACY, FAIL, PASS, WARN, Finding
from bench.check.policy import FamilyPolicy
from bench.check.words import accuracy, amount, chance, exact, percent, points
from bench.runs.results import FamilyResult


@dataclass(frozen=True)
class Compared:
    """How a family's accuracy changed, and how surely, among all families that are compared.

    Attributes:
        p_drop, p_rise: One-sided p-values after Holm.
        families: How many were compared.
    """

    change: stats.Change
    p_drop: float
    p_rise: float
    families: int


def compare(pairs: Mapping[str, tuple[FamilyResult, FamilyResult]]) -> dict[str, Compared]:
    """Every family's accuracy before and after, on the same test pictures."""
    changes = {name: stats.change(old.correct, new.correct, seed_sd(old, new)) for name, (old, new) in pairs.items()}
    drops = stats.holm([change.p_drop for change in changes.values()]).tolist()
    rises = stats.holm([_p_rise(change) for change in changes.values()]).tolist()
    return {
        name: Compared(change, drop, rise, len(changes))
        for (name, change), drop, rise in zip(changes.items(), drops, rises, strict=True)
    }


def _p_rise(change: stats.Change) -> float:
    return 1 - change.p_drop if change.difference > 0 else max(0.5, 1 - change.p_drop)


def seed_sd(old: FamilyResult, new: FamilyResult) -> float | None:
    """The noise of a single seed: of the baseline if it was calibrated, else of the run."""
    return new.seed_sd if old.seed_sd is None else old.seed_sd


def calibrated(old: FamilyResult, new: FamilyResult) -> bool:
    """Whether the noise of the seeds is known, so that a drop can fail."""
    return min(len(old.correct), len(new.correct)) > 1 or seed_sd(old, new) is not None


def finding(
    name: str, old: FamilyResult, new: FamilyResult, compared: Compared, allowed: FamilyPolicy, alpha: float
) -> Finding:
    """What became of a family's accuracy."""
    change, limit = compared.change, allowed.max_drop
    difference, mde = change.difference, change.detectable(alpha / compared.families, new.correct.shape[1])
    mcnemar = _mcnemar(old, new)
    large, sure = difference <= -limit, difference < 0 and compared.p_drop < alpha
    better = difference > 0 and compared.p_rise < alpha
    underpowered = mde > 2 * limit
    fails = large and sure and change.calibrated
    outcome = FAIL if fails else WARN if large or sure or underpowered else PASS
    mark = "-" if sure else "+" if better else "~" if large or underpowered else ""
    message = _message(old, new, compared, limit, mcnemar, large, sure, better)
    if underpowered:
        message += (
            f"; UNDERPOWERED: only a drop of {amount(mde, 2 * limit)} points or more would be seen in 4 of 5 cases, "
            f"and the limit is {exact(limit)}: test on more pictures, or train with more seeds"
        )
    figures: dict[str, float | int | str | None] = {
        "before": old.accuracy,
        "after": new.accuracy,
        "difference": difference,
        "difference_low": change.low,
        "difference_high": change.high,
        "standard_error": change.standard_error,
        "degrees_of_freedom": change.freedom if math.isfinite(change.freedom) else None,
        "p_drop": change.p_drop,
        "p_drop_holm": compared.p_drop,
        "p_mcnemar": mcnemar,
        "minimum_detectable_drop": mde,
        "n": new.correct.shape[1],
        "seeds_before": len(old.correct),
        "seeds_after": len(new.correct),
        "seed_sd": seed_sd(old, new),
        "calibrated": change.calibrated,
        "max_drop": limit,
    }
    least = f"{'' if change.calibrated else '>'}{amount(mde, 2 * limit)}"
    found = Finding(name, ACCURACY, outcome, mark, points(difference, limit), accuracy(old), accuracy(new), least,
                    underpowered, message, figures)  # fmt: skip
    return _with_floor(found, new, allowed)


def of_new(name: str, new: FamilyResult, allowed: FamilyPolicy) -> Finding | None:
    """What is to be said of a family that is not compared: whether it is above the floor, if there is one."""
    if not allowed.min_accuracy:
        return None
    return _with_floor(Finding(name, ACCURACY, PASS, after=accuracy(new)), new, allowed)


def _mcnemar(old: FamilyResult, new: FamilyResult) -> float:
    """Exact McNemar p of the first seeds of both sides."""
    counts = stats.discordant(np.array([old.correct[0], new.correct[0]]))
    return float(stats.mcnemar(counts[0, 1], counts[1, 0]))


def _message(
    old: FamilyResult, new: FamilyResult, compared: Compared, limit: float, mcnemar: float,
    large: bool, sure: bool, better: bool,
) -> str:  # fmt: skip
    difference = compared.change.difference
    if not difference:
        return f"is {accuracy(new)}, as in the baseline"
    holm = f" after Holm over {compared.families} families" if compared.families > 1 else ""
    p = compared.p_drop if difference < 0 else compared.p_rise
    evidence = f"{chance(p)}{holm}; exact McNemar of the first seeds {chance(mcnemar)}"
    size = amount(difference, limit if difference < 0 else None)
    moved = f"{'fell' if difference < 0 else 'rose'} by {size} points from {accuracy(old)} to {accuracy(new)}"
    reaches = f"that reaches the limit of {exact(limit)} points"
    if large and sure and compared.change.calibrated:
        return f"{moved}: {reaches} and is more than noise ({evidence})"
    if large and sure:
        return (
            f"{moved}: {reaches} and is more than the noise of the test pictures ({evidence}), but only warns, for "
            "with one seed the noise of the seeds is not known; `python -m bench baseline RUN --seeds 5` measures it"
        )
    if large:
        return f"{moved}: {reaches} but may be noise ({evidence})"
    if sure:
        return f"{moved}: that is more than noise ({evidence}) but less than the limit of {exact(limit)} points"
    return f"{moved}: that is {'more than' if better else 'within'} noise ({evidence})"


def _with_floor(found: Finding, new: FamilyResult, allowed: FamilyPolicy) -> Finding:
    """The finding, worse where the accuracy is below the floor: surely, it fails; perhaps, it warns."""
    floor = allowed.min_accuracy
    if not floor or new.accuracy is None:
        return found
    n = new.correct.shape[1]
    upper = stats.wilson(round(new.accuracy * n), n)[1]
    figures = {**found.figures, "after": new.accuracy, "after_high": upper, "min_accuracy": floor}
    if new.accuracy >= floor:
        message = found.message or f"is {accuracy(new)}; the floor is {exact(floor)} %"
        return replace(found, message=message, figures=figures)
    surely = upper < floor
    message = (
        f"is {percent(new.accuracy, floor)}, {'surely' if surely else 'perhaps'} below the floor of "
        f"{exact(floor)} % (95 % Wilson interval up to {percent(upper, floor)})"
    )
    return replace(
        found,
        outcome=FAIL if surely or found.outcome == FAIL else WARN,
        mark="-" if surely else found.mark or "~",
        message=f"{message}; it {found.message}" if found.message else message,
        figures=figures,
    )
