"""Whether two runs say anything of each other, and what a reader should know of them beside the findings.

Another split, other settings or other weights are not comparable: that is never "all new, pass".
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from bench.check.accuracy import calibrated
from bench.check.words import scored, short
from bench.runs.results import COMPLETE, Environment, FamilyResult, Results, Split, settings
from bench.text import listing, one_line, plain, plural

MISSING = object()
"""Stands for a setting that one side does not have."""


def differences(baseline: Results, candidate: Results) -> Iterator[str]:
    """Why the two do not compare, each naming what differs; nothing where they do."""
    if baseline.status != COMPLETE:
        yield f"the baseline is of a run that is {one_line(baseline.status)}, not complete"
    yield from _split(baseline.split, candidate.split)
    for name, old, new in _differing(settings(baseline.config), settings(candidate.config)):
        yield f"setting {name}: {old} in the baseline, {new} in this run"
    for name, (before, after) in pairs(baseline, candidate).items():
        if before.weights != after.weights:
            yield (
                f"other weights: {short(name)} started from {_weights(before)} in the baseline and from "
                f"{_weights(after)} in this run, so its accuracy says nothing of the code"
            )
    if not any(scored(family) for family in baseline.families.values()):
        yield "the baseline has no family with a test accuracy, so there is nothing to compare with"


def incomplete(candidate: Results) -> str:
    """Why a run is not complete; "" where it is."""
    if candidate.status == COMPLETE:
        return ""
    why = {
        "partial": "it was stopped before its budget was used",
        "running": "it is still going on, or was killed",
        "failed": "it ended with an error",
    }
    more = f": {why[candidate.status]}" if candidate.status in why else ""
    return f"the run is {one_line(candidate.status)}{more}"


def notes(baseline: Results, candidate: Results) -> Iterator[str]:
    """What a reader should know, none of which is judged."""
    old, new = baseline.env, candidate.env
    if (baseline.run, baseline.created_utc) == (candidate.run, candidate.created_utc):
        yield "the baseline is of this very run"
    if old.hardware != new.hardware:
        yield f"other hardware, so step times only warn: {_hardware(old)} in the baseline, {_hardware(new)} in this run"
    both = pairs(baseline, candidate)
    if blind := [short(name) for name, (before, after) in both.items() if not calibrated(before, after)]:
        yield (
            f"the noise of the seeds is not known, so accuracy only warns: {listing(blind)}; "
            "`python -m bench baseline RUN --seeds 5` measures it"
        )
    versions = [
        f"{what} {short(before) or 'unknown'}, now {short(after) or 'unknown'}"
        for what, before, after in (
            ("Python", old.python, new.python),
            ("Keras", old.keras, new.keras),
            ("backend", old.backend, new.backend),
            ("bench", baseline.tool_version, candidate.tool_version),
        )
        if before != after
    ]
    if versions:
        yield f"other versions: {'; '.join(versions)}"
    for name, (before, after) in both.items():
        if changed := [f"{key} {was}, now {now}" for key, was, now in _differing(before.params, after.params)]:
            yield f"{short(name)}: another configuration was chosen: {'; '.join(changed)}"


def pairs(baseline: Results, candidate: Results) -> dict[str, tuple[FamilyResult, FamilyResult]]:
    """The families that have a test accuracy on both sides, in the baseline's order."""
    both = ((name, old, candidate.families.get(name)) for name, old in baseline.families.items())
    return {name: (old, new) for name, old, new in both if scored(old) and scored(new)}


def _split(old: Split, new: Split) -> Iterator[str]:
    data = f"(data {short(old.source)} in the baseline, {short(new.source)} in this run)"
    if old.n != new.n:
        yield f"other test pictures: {old.n:,} in the baseline, {new.n:,} in this run {data}"
    elif changed := list(_differing(old.class_counts, new.class_counts)):
        told = [f"class {name}: {was} in the baseline, {now} in this run" for name, was, now in changed]
        yield f"other test pictures: {listing(told)} {data}"
    elif old.test_ids_sha256 != new.test_ids_sha256:
        yield f"other test pictures: as many, {old.n:,}, but not the same {data}"
    elif old.sha256 != new.sha256:
        yield "the test pictures are the same, but those for training and validation are not: it is another split"
    elif old.n < 2:
        yield f"there are too few test pictures to compare anything: {old.n}"


def _differing(old: Mapping[str, object], new: Mapping[str, object]) -> Iterator[tuple[str, str, str]]:
    """What is not the same on both sides, or on one side only: name, before, after."""
    for name in {**old, **new}:
        was, now = old.get(name, MISSING), new.get(name, MISSING)
        if was != now or isinstance(was, bool) != isinstance(now, bool):
            yield short(name), _value(was), _value(now)


def _value(value: object) -> str:
    return "not there" if value is MISSING else short(repr(value) if isinstance(value, str) else str(value))


def _weights(family: FamilyResult) -> str:
    return f"weights {short(family.weights)!r}" if family.weights else "no weights"


def _hardware(env: Environment) -> str:
    cores = plain(plural(env.cores, "core"))
    return ", ".join([short(env.cpu) or "unknown CPU", cores, *([short(env.gpu)] if env.gpu else [])])
