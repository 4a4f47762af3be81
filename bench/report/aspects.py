"""What was different about two runs: how they went, what they were told, their pictures, and what they ran on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bench import text
from bench.records import Run, to_data
from bench.report.sections.reproduce import environment_facts

UNCOMPARED = ("out", "plotlyjs")
"""Settings that say where a run lies and how its page is written, not what was done."""


@dataclass(frozen=True)
class Value:
    """One thing that both runs have, as each has it."""

    name: str
    before: str
    after: str


@dataclass(frozen=True)
class Aspect:
    """A group of values: those that differ, and those that are equal."""

    title: str
    differing: Sequence[Value]
    equal: Sequence[Value]


def aspects(before: Run, after: Run) -> list[Aspect]:
    """What is compared of two runs beside their results."""
    return [_course(before, after), _configuration(before, after), _split(before, after), _ground(before, after)]


def aspect(title: str, before: Mapping[str, str], after: Mapping[str, str]) -> Aspect:
    """Values by name, held against each other in the order in which they are first named."""
    names = dict.fromkeys([*before, *after])
    values = [Value(name, before.get(name, text.NOTHING), after.get(name, text.NOTHING)) for name in names]
    return Aspect(
        title,
        [value for value in values if value.before != value.after],
        [value for value in values if value.before == value.after],
    )


def _course(before: Run, after: Run) -> Aspect:
    def told(run: Run) -> dict[str, str]:
        return {
            "begun": run.created_utc.replace("T", " ").replace("Z", " UTC"),
            "status": run.status,
            "took": text.seconds(run.elapsed_s),
            "trials": text.states(trial for trial in run.trials if not trial.duplicate_of),
        }

    return aspect("The run", told(before), told(after))


def _configuration(before: Run, after: Run) -> Aspect:
    def told(run: Run) -> dict[str, str]:
        settings = {name: _plain(value) for name, value in to_data(run.config).items() if name not in UNCOMPARED}
        return settings | {"budget": text.budget(run.config)}

    return aspect("Configuration", told(before), told(after))


def _split(before: Run, after: Run) -> Aspect:
    def told(run: Run) -> dict[str, str]:
        split = run.split
        parts = {
            part: text.listing([f"{text.thousands(n)} {name}" for name, n in own.items()])
            for part, own in split.counts.items()
            if own
        }
        return {
            "source": split.source,
            "classes": text.listing(split.classes, 8),
            **parts,
            "folds": str(split.folds or text.NOTHING),
            "left out": text.thousands(len(split.quarantined)),
            "input sizes": _plain(split.input_sizes),
            "sha256 of the split": split.sha256,
        }

    return aspect("Data and split", told(before), told(after))


def _ground(before: Run, after: Run) -> Aspect:
    return aspect("Environment", dict(environment_facts(before)), dict(environment_facts(after)))


def _plain(value: object) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value)) or text.NOTHING
    return text.NOTHING if value in (None, "") else str(value)
