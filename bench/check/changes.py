"""The changes between two runs: one rule for `check`, `compare` and `history`.

Two runs compare where their test pictures, their settings and their weights are the same: everything else is named by
`differences`, and never judged. How a family's accuracy changed, and how surely, is `family_changes`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple, TypeGuard

import numpy as np

from bench import stats
from bench.check.wording import short
from bench.runs.results import Environment, FamilyResult, Results, Split, flat_settings
from bench.text import listing, one_line, plain, plural

CALIBRATE = "`python -m bench baseline RUN --seeds 5` measures it"

ABSENT = object()
"""Stands for a setting that one side does not have."""


class SettingChange(NamedTuple):
    """A setting that is not the same on both sides, or `ABSENT` on one."""

    name: str
    before: object
    after: object


def setting_changes(before: Mapping[str, object], after: Mapping[str, object]) -> list[SettingChange]:
    """Compare two sets of settings, in the order in which they are first named; those in tables as `budget.trials`."""
    one, other = flat_settings(before), flat_settings(after)
    pairs = (SettingChange(name, one.get(name, ABSENT), other.get(name, ABSENT)) for name in {**one, **other})
    return [
        pair
        for pair in pairs
        if pair.before != pair.after or isinstance(pair.before, bool) != isinstance(pair.after, bool)
    ]


@dataclass(frozen=True)
class FamilyChange:
    """The change of a family's accuracy and its p-values, among all families that are compared.

    Attributes:
        p_drop, p_rise: One-sided p-values after Holm.
        p: Two-sided p-value after Holm. With one seed on a side it is never below McNemar's.
        p_mcnemar: Exact McNemar p of the first seeds of both sides.
        gained, lost: Number of pictures that the first seed after has right and the one before wrong, and the reverse.
        seeds: Number of trainings before and after.
        families: Number of families that were compared.
    """

    accuracy: stats.MeanChange
    p_drop: float
    p_rise: float
    p: float
    p_mcnemar: float
    gained: int
    lost: int
    pictures: int
    seeds: tuple[int, int]
    families: int

    @property
    def significant(self) -> bool:
        """True where the change is more than noise, in either direction."""
        return self.p < stats.LEVEL


def family_changes(before: Results, after: Results) -> dict[str, FamilyChange]:
    """Compare every family that has a test accuracy on both sides; none where the test pictures are not the same."""
    if before.split.test_ids_sha256 != after.split.test_ids_sha256 or not 1 < before.split.n == after.split.n:
        return {}
    changes = {name: _family_change(old, new) for name, (old, new) in scored_pairs(before, after).items()}
    drops, rises, both = (
        stats.holm([getattr(change, name) for change in changes.values()]).tolist()
        for name in ("p_drop", "p_rise", "p")
    )
    return {
        name: replace(change, p_drop=drops[at], p_rise=rises[at], p=both[at], families=len(changes))
        for at, (name, change) in enumerate(changes.items())
    }


def _family_change(old: FamilyResult, new: FamilyResult) -> FamilyChange:
    """The change of a family by itself, its p-values not yet corrected."""
    accuracy = stats.change(old.correct, new.correct, seed_sd(old, new))
    ahead = stats.discordant(np.array([old.correct[0], new.correct[0]]))
    p_mcnemar = float(stats.mcnemar(ahead[0, 1], ahead[1, 0]))
    return FamilyChange(
        accuracy=accuracy,
        p_drop=accuracy.p_drop,
        p_rise=accuracy.p_rise,
        p=accuracy.p if accuracy.calibrated else max(accuracy.p, p_mcnemar),
        p_mcnemar=p_mcnemar,
        gained=int(ahead[1, 0]),
        lost=int(ahead[0, 1]),
        pictures=old.correct.shape[1],
        seeds=(len(old.correct), len(new.correct)),
        families=1,
    )


def seed_sd(old: FamilyResult, new: FamilyResult) -> float | None:
    """The noise of a single seed: of the baseline if it was calibrated, else of the run."""
    return new.seed_sd if old.seed_sd is None else old.seed_sd


def scored(family: FamilyResult | None) -> TypeGuard[FamilyResult]:
    """Tell whether a family has a test accuracy."""
    return family is not None and family.accuracy is not None


def scored_pairs(before: Results, after: Results) -> dict[str, tuple[FamilyResult, FamilyResult]]:
    """The families that have a test accuracy on both sides, in the order of the earlier run."""
    both = ((name, old, after.families.get(name)) for name, old in before.families.items())
    return {name: (old, new) for name, old, new in both if scored(old) and scored(new)}


def same_hardware(before: Environment, after: Environment) -> bool:
    """Tell whether times compare: the same processor, as many cores for a trial, the same GPU."""
    return before.hardware == after.hardware


# -- in words


def differences(baseline: Results, candidate: Results) -> Iterator[str]:
    """Say why the two do not compare, each naming what differs; nothing where they do."""
    if baseline.status != "complete":
        yield f"the baseline is of a run that is {one_line(baseline.status)}, not complete"
    yield from _split_differences(baseline.split, candidate.split)
    for name, old, new in setting_changes(baseline.config, candidate.config):
        yield f"setting {short(name)}: {_value(old)} in the baseline, {_value(new)} in this run"
    for name, (before, after) in scored_pairs(baseline, candidate).items():
        if before.weights != after.weights:
            yield (
                f"other weights: {short(name)} started from {_weights(before)} in the baseline and from "
                f"{_weights(after)} in this run, so its accuracy says nothing of the code"
            )
    if not any(scored(family) for family in baseline.families.values()):
        yield "the baseline has no family with a test accuracy, so there is nothing to compare with"


def _split_differences(old: Split, new: Split) -> Iterator[str]:
    data = f"(data {short(old.source)} in the baseline, {short(new.source)} in this run)"
    if old.n != new.n:
        yield f"other test pictures: {old.n:,} in the baseline, {new.n:,} in this run {data}"
    elif old.test_ids_sha256 != new.test_ids_sha256:
        yield f"other test pictures: as many, {old.n:,}, but not the same {data}"
    elif old.sha256 != new.sha256:
        yield "the test pictures are the same, but those for training and validation are not: it is another split"
    elif old.n < 2:
        yield f"there are too few test pictures to compare anything: {old.n}"


def incomplete(candidate: Results) -> str:
    """Say why a run is not complete; "" where it is."""
    if candidate.status == "complete":
        return ""
    why = {
        "partial": "it was stopped before its budget was used",
        "running": "it is still going on, or was killed",
        "failed": "it ended with an error",
    }
    more = f": {why[candidate.status]}" if candidate.status in why else ""
    return f"the run is {one_line(candidate.status)}{more}"


def notes(baseline: Results, candidate: Results) -> Iterator[str]:
    """Say what a reader should know, none of which is judged."""
    old, new = baseline.env, candidate.env
    if (baseline.run, baseline.created_utc) == (candidate.run, candidate.created_utc):
        yield "the baseline is of this very run"
    if not same_hardware(old, new):
        yield f"other hardware, so step times only warn: {_hardware(old)} in the baseline, {_hardware(new)} in this run"
    both = scored_pairs(baseline, candidate)
    uncalibrated = [
        short(name)
        for name, (before, after) in both.items()
        if min(len(before.correct), len(after.correct)) < 2 and seed_sd(before, after) is None
    ]
    if uncalibrated:
        yield f"the noise of the seeds is not known, so accuracy only warns: {listing(uncalibrated)}; {CALIBRATE}"
    before, after = (
        {"Python": side.env.python, "Keras": side.env.keras, "backend": side.env.backend, "bench": side.tool_version}
        for side in (baseline, candidate)
    )
    if versions := setting_changes(before, after):
        yield f"other versions: {_now(versions)}"
    for name, (was, now) in both.items():
        if chosen := setting_changes(was.params, now.params):
            yield f"{short(name)}: another configuration was chosen: {_now(chosen)}"


def _now(changes: Sequence[SettingChange]) -> str:
    return "; ".join(f"{short(name)} {_value(before)}, now {_value(after)}" for name, before, after in changes)


def _value(value: object) -> str:
    return "not there" if value is ABSENT else short(repr(value) if isinstance(value, str) else str(value))


def _weights(family: FamilyResult) -> str:
    return f"weights {short(family.weights)!r}" if family.weights else "no weights"


def _hardware(env: Environment) -> str:
    cores = plain(plural(env.cores, "core"))
    return ", ".join([short(env.cpu) or "unknown CPU", cores, *([short(env.gpu)] if env.gpu else [])])
