"""Failed trials, grouped by reason, the largest group first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bench import text
from bench.records import FAIL, Run, Trial

GROUPS = 40
"""Maximum number of groups on the page."""

NAMED = 12
"""Maximum number of trials named per group."""

TRACEBACK_CHARACTERS = 4000
"""Longer tracebacks are cut at the beginning."""


@dataclass(frozen=True)
class FailureGroup:
    """Trials that failed with the same error name and message.

    Attributes:
        name: Name of the failure; "Unknown" for trials without a reason.
        traceback: Traceback of the first trial that has one; "" if none has.
    """

    name: str
    message: str
    traceback: str
    trials: Sequence[Trial]

    @property
    def named(self) -> str:
        """The trials in words: `vgg19 optuna:tpe #0, #3 and 9 more`."""
        studies: dict[tuple[str, str], list[str]] = {}
        for trial in self.trials[:NAMED]:
            studies.setdefault((trial.family, trial.engine), []).append(f"#{trial.number}")
        names = [f"{family} {engine} {', '.join(numbers)}" for (family, engine), numbers in studies.items()]
        more = len(self.trials) - NAMED
        return "; ".join(names) + (f" and {text.thousands(more)} more" if more > 0 else "")


@dataclass(frozen=True)
class Failures:
    """The section: the groups, and the number of failed trials in a line; "" without any."""

    groups: Sequence[FailureGroup]

    @property
    def summary(self) -> str:
        """The number of failed trials and the most frequent reason; "" without any."""
        if not self.groups:
            return ""
        first = self.groups[0]
        failed = text.plural(sum(len(group.trials) for group in self.groups), "trial")
        return f"{failed}: {text.shorten(': '.join(filter(None, (first.name, first.message))), 100)}"


def section(run: Run) -> Failures:
    """The failures of a run."""
    return Failures(groups(run))


def groups(run: Run) -> list[FailureGroup]:
    """Group the failed trials; groups of equal size are in order of their first failure."""
    by_reason: dict[tuple[str, str], list[Trial]] = {}
    for trial in run.trials:
        if trial.state == FAIL:
            reason = (trial.failure.name, trial.failure.message) if trial.failure else ("Unknown", "")
            by_reason.setdefault(reason, []).append(trial)
    unsorted = [
        FailureGroup(name, message, _traceback(trials), trials) for (name, message), trials in by_reason.items()
    ]
    return sorted(unsorted, key=lambda group: -len(group.trials))


def _traceback(trials: Sequence[Trial]) -> str:
    """The end of the first traceback, from the start of a line."""
    whole = next((trial.failure.traceback for trial in trials if trial.failure and trial.failure.traceback), "")
    if len(whole) <= TRACEBACK_CHARACTERS:
        return whole
    return "…\n" + whole[-TRACEBACK_CHARACTERS:].partition("\n")[2]
