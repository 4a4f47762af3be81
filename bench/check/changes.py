"""The changes between two runs: one rule for `check`, `compare` and `history`.

Two runs are comparable if their test pictures, settings and weights are equal; `differences` lists what is not, and
then nothing is judged. `family_changes` tests the change of every family's metric, the one that both runs chose by.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple, TypeGuard

from bench import stats
from bench.check.policy import Policy
from bench.check.wording import decline, short, sized
from bench.metrics._metric import Metric
from bench.runs.results import NEWER_SETTINGS, Environment, FamilyResult, Results, Split, flat_settings
from bench.text import listing, one_line, plain, plural

CALIBRATE = "`python -m bench baseline RUN --seeds 5` measures it"

ABSENT = object()
"""Value of a setting that one side does not have."""


class SettingChange(NamedTuple):
    """A setting that differs between the two sides, or is `ABSENT` on one."""

    name: str
    before: object
    after: object


def setting_changes(before: Mapping[str, object], after: Mapping[str, object]) -> list[SettingChange]:
    """Compare two sets of settings, in order of first occurrence; nested ones are named like `budget.trials`."""
    one, other = flat_settings(before), flat_settings(after)
    pairs = (SettingChange(name, one.get(name, ABSENT), other.get(name, ABSENT)) for name in {**one, **other})
    return [
        pair
        for pair in pairs
        if pair.before != pair.after or isinstance(pair.before, bool) != isinstance(pair.after, bool)
    ]


def config_changes(before: Results, after: Results) -> list[SettingChange]:
    """Compare the settings of two runs; those that older files lack have the value that those runs had."""
    return setting_changes(*({**NEWER_SETTINGS, **side.config} for side in (before, after)))


def setting_text(value: object) -> str:
    """The value of a setting: several values are separated by commas."""
    return ", ".join(map(str, value)) or "none" if isinstance(value, list | tuple) else str(value)


@dataclass(frozen=True)
class FamilyChange:
    """The change of a family's metric, with p-values corrected over all compared families.

    Attributes:
        change: After minus before; of a loss, a rise is a change for the worse.
        p_worse, p_better: One-sided p-values after Holm.
        p: Two-sided p-value after Holm. With one seed on a side that of an accuracy is at least McNemar's.
        p_mcnemar: Exact McNemar p of the first seeds of both sides; with groups that of their sign test.
        gained, lost: Number of pictures that only the first seed after classifies correctly, and only the one before.
        independent: Number of independent pictures: of groups, where there are groups.
        seeds: Number of trainings before and after.
        families: Number of compared families.
    """

    metric: Metric
    change: stats.MeanChange
    p_worse: float
    p_better: float
    p: float
    p_mcnemar: float
    gained: int
    lost: int
    pictures: int
    independent: int
    seeds: tuple[int, int]
    families: int

    @property
    def gain(self) -> float:
        """The change in the direction of the metric: above 0 if it got better."""
        return -self.change.difference if self.metric.lower_is_better else self.change.difference

    @property
    def significant(self) -> bool:
        """True if the change is more than noise, in either direction."""
        return self.p < stats.LEVEL


def family_changes(before: Results, after: Results) -> dict[str, FamilyChange]:
    """Compare every scored family of both sides by their metric; empty if the metrics or the test pictures differ."""
    if not same_metric(before, after):
        return {}
    if before.split.test_ids_sha256 != after.split.test_ids_sha256 or not 1 < before.split.n == after.split.n:
        return {}
    pairs = scored_pairs(before, after)
    changes = {name: _family_change(old, new, before) for name, (old, new) in pairs.items()}
    losses, gains, two_sided = (
        stats.holm([getattr(change, name) for change in changes.values()]).tolist()
        for name in ("p_worse", "p_better", "p")
    )
    return {
        name: replace(change, p_worse=losses[at], p_better=gains[at], p=two_sided[at], families=len(changes))
        for at, (name, change) in enumerate(changes.items())
    }


def same_metric(before: Results, after: Results) -> bool:
    """Return whether both runs chose by the same metric, with the same prices."""
    sides = [(side.metric.name, side.config.get("costs")) for side in (before, after)]
    return sides[0] == sides[1]


def _family_change(old: FamilyResult, new: FamilyResult, run: Results) -> FamilyChange:
    """Compare one family; the p-values are not yet corrected."""
    metric, groups = run.metric, run.split.group_numbers
    change = stats.change(old.compared, new.compared, seed_sd(old, new), groups)
    before, after = old.correct[0], new.correct[0]
    p_mcnemar = stats.exact_test(before, after, groups)
    one_sided = change.p_drop, change.p_rise
    p_worse, p_better = reversed(one_sided) if metric.lower_is_better else one_sided
    return FamilyChange(
        metric=metric,
        change=change,
        p_worse=p_worse,
        p_better=p_better,
        p=max(change.p, p_mcnemar) if metric.exact and not change.calibrated else change.p,
        p_mcnemar=p_mcnemar,
        gained=int((after & ~before).sum()),
        lost=int((before & ~after).sum()),
        pictures=old.correct.shape[1],
        independent=run.split.independent,
        seeds=(len(old.correct), len(new.correct)),
        families=1,
    )


class Power(NamedTuple):
    """The change for the worse that a check detects with 80 % power, and the policy's limit, in the metric's unit."""

    drop: float
    limit: float
    metric: Metric

    @property
    def underpowered(self) -> bool:
        """True if a drop of twice the limit could be missed."""
        return self.drop > 2 * self.limit

    @property
    def words(self) -> str:
        """The change in words: `a drop of 1.2 points`, `a rise of 0.021`."""
        return f"a {decline(self.metric)} of {sized(self.drop, self.metric, 2 * self.limit)}"


def power(name: str, change: stats.MeanChange, policy: Policy, families: int, baseline: Results) -> Power:
    """The power of the test of a family's change from the baseline, among so many families."""
    metric, before = baseline.metric, baseline.families[name].value or 0.0
    pictures = baseline.split.support(metric) / metric.span
    return Power(change.detectable(policy.alpha / families, pictures), policy.of(name).limit(metric, before), metric)


def underpowered(names: Sequence[str]) -> str:
    """The families whose test is underpowered, and what helps, in a sentence."""
    cause = "a drop of twice the limit could go unseen; test on more pictures, or train with more seeds"
    return f"UNDERPOWERED: {listing([short(name) for name in names], 8)}: {cause}"


def expected_power(baseline: Results, policy: Policy) -> dict[str, Power]:
    """The power to expect from checks of runs with as many seeds; families with one seed are left out."""
    split, tested = baseline.split, [name for name, family in baseline.families.items() if scored(family)]
    several = ((name, baseline.families[name].compared) for name in tested if len(baseline.families[name].seeds) > 1)
    return {
        name: power(name, stats.repetition(values, split.group_numbers), policy, len(tested), baseline)
        for name, values in several
    }


def seed_sd(old: FamilyResult, new: FamilyResult) -> float | None:
    """The metric's standard deviation over seeds: of the baseline if it was calibrated, else of the run."""
    return new.seed_sd if old.seed_sd is None else old.seed_sd


def edited_file(old: FamilyResult, new: FamilyResult) -> bool:
    """Return whether the family's file, or a shared part next to it, has changed; False if that is unknown."""
    return bool(old.file_sha256 and new.file_sha256) and old.file_sha256 != new.file_sha256


def scored(family: FamilyResult | None) -> TypeGuard[FamilyResult]:
    """Return whether a family has a test accuracy."""
    return family is not None and family.accuracy is not None


def scored_pairs(before: Results, after: Results) -> dict[str, tuple[FamilyResult, FamilyResult]]:
    """The families with a test accuracy on both sides, in the order of the earlier run."""
    both = ((name, old, after.families.get(name)) for name, old in before.families.items())
    return {name: (old, new) for name, old, new in both if scored(old) and scored(new)}


def same_hardware(before: Environment, after: Environment) -> bool:
    """Return whether times are comparable: same processor, same number of cores per trial, same GPU."""
    return before.hardware == after.hardware


# -- in words


def differences(baseline: Results, candidate: Results) -> Iterator[str]:
    """Reasons why the two are not comparable, one per difference; empty if they are comparable."""
    if baseline.status != "complete":
        yield f"the baseline's run is {one_line(baseline.status)}, not complete"
    yield from _split_differences(baseline.split, candidate.split)
    for name, old, new in config_changes(baseline, candidate):
        yield f"setting {short(name)}: {_value(old)} in the baseline, {_value(new)} in this run"
    for name, (before, after) in scored_pairs(baseline, candidate).items():
        if before.weights != after.weights:
            yield (
                f"different weights: {short(name)} started from {_weights(before)} in the baseline and from "
                f"{_weights(after)} in this run, so its accuracy says nothing about the code"
            )
        if before.cut_after != after.cut_after:
            yield (
                f"different training: {short(name)} was trained {_cut(before)} in the baseline and {_cut(after)} in "
                "this run, which depends on the speed of the machine"
            )
    if not any(scored(family) for family in baseline.families.values()):
        yield "the baseline has no family with a test accuracy, so there is nothing to compare with"


def _split_differences(old: Split, new: Split) -> Iterator[str]:
    sides = f" (data {short(old.source)} in the baseline, {short(new.source)} in this run)"
    data = sides if old.source != new.source else ""
    if old.n != new.n:
        yield f"different test pictures: {old.n:,} in the baseline, {new.n:,} in this run{data}"
    elif old.test_ids_sha256 != new.test_ids_sha256:
        yield f"different test pictures: {old.n:,} in both, but not the same ones{data}"
    elif old.sha256 != new.sha256:
        yield "different split: the test pictures are the same, but not those for training and validation"
    elif old.n < 2:
        yield f"too few test pictures to compare anything: {old.n}"


def incomplete(candidate: Results) -> str:
    """Reason why a run is not complete; "" if it is."""
    if candidate.status == "complete":
        return ""
    reasons = {
        "partial": "it was stopped before its budget was used",
        "running": "it has not ended, or was killed",
        "failed": "it ended with an error",
    }
    reason = f": {reasons[candidate.status]}" if candidate.status in reasons else ""
    return f"the run is {one_line(candidate.status)}{reason}"


def notes(baseline: Results, candidate: Results) -> Iterator[str]:
    """Notes for the reader; none of them is judged."""
    old, new = baseline.env, candidate.env
    if (baseline.run, baseline.created_utc) == (candidate.run, candidate.created_utc):
        yield "the baseline was made from this run"
    if not same_hardware(old, new):
        sides = f"{_hardware(old)} in the baseline, {_hardware(new)} in this run"
        yield f"different hardware, so step times only warn: {sides}"
    both = scored_pairs(baseline, candidate)
    uncalibrated = [
        short(name)
        for name, (before, after) in both.items()
        if min(len(before.correct), len(after.correct)) < 2 and seed_sd(before, after) is None
    ]
    if uncalibrated:
        metric = short(baseline.metric.title)
        yield f"the noise of seeds is unknown, so {metric} only warns: {listing(uncalibrated)}; {CALIBRATE}"
    if edited := [short(f"{name}.py") for name, (before, after) in both.items() if edited_file(before, after)]:
        yield f"{listing(edited, 8)} changed since the baseline"
    before, after = (
        {"Python": side.env.python, "Keras": side.env.keras, "backend": side.env.backend, "bench": side.tool_version}
        for side in (baseline, candidate)
    )
    if versions := setting_changes(before, after):
        yield f"different versions: {_listed(versions)}"
    for name, (was, now) in both.items():
        if chosen := setting_changes(was.params, now.params):
            yield f"{short(name)}: a different configuration was chosen: {_listed(chosen)}"


def _listed(changes: Sequence[SettingChange]) -> str:
    return "; ".join(f"{short(name)} {_value(before)}, now {_value(after)}" for name, before, after in changes)


def _value(value: object) -> str:
    return "absent" if value is ABSENT else short(repr(value) if isinstance(value, str) else setting_text(value))


def _weights(family: FamilyResult) -> str:
    return f"weights {short(family.weights)!r}" if family.weights else "no weights"


def _cut(family: FamilyResult) -> str:
    return "to the end" if family.cut_after is None else f"only until epoch {family.cut_after}"


def _hardware(env: Environment) -> str:
    cores = plain(plural(env.cores, "core"))
    return ", ".join([short(env.cpu) or "unknown CPU", cores, *([short(env.gpu)] if env.gpu else [])])
