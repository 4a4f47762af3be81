"""Failed trials, grouped by reason, the largest group first."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from bench import text
from bench.records import COMPLETE, FAIL, PRUNED, Failure, Run, Trial

GROUPS = 40
"""Maximum number of groups on the page."""

OPEN_UP_TO = 3
"""With at most so many groups, their tracebacks are unfolded."""

NAMED = 12
"""Maximum number of trials named per group."""

TRACEBACK_CHARACTERS = 4000
"""Longer tracebacks are cut at the beginning."""


@dataclass(frozen=True)
class FailureGroup:
    """Trials that failed in the same place with the same error name and message.

    Attributes:
        place: Position in the family's file: `search_spaces/mine.py:12 in build`; "" if unknown.
        name: Name of the failure; "Unknown" for trials without a reason.
        traceback: Traceback of the first trial that has one; "" if none has.
    """

    place: str
    name: str
    message: str
    traceback: str
    trials: Sequence[Trial]

    @property
    def reason(self) -> str:
        """Place, name and message in a line: `search_spaces/mine.py:12 in build: ZeroDivisionError: n is too large`."""
        return ": ".join(filter(None, (self.place, self.name, self.message)))

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
    """The section.

    Attributes:
        groups: The largest first.
        all_failed: True if trials of families that can learn have ended, and every one of them failed.
    """

    groups: Sequence[FailureGroup]
    all_failed: bool

    open_up_to = OPEN_UP_TO

    @property
    def summary(self) -> str:
        """The number of failed trials and the most frequent reason; "" without any."""
        if not self.groups:
            return ""
        failed = text.plural(sum(len(group.trials) for group in self.groups), "trial")
        return f"{failed}: {text.shorten(self.groups[0].reason, 100)}"


def section(run: Run) -> Failures:
    """The failures of a run."""
    ended = {trial.state for trial in run.trials if trial.family not in run.baselines} & {COMPLETE, PRUNED, FAIL}
    return Failures(groups(run), ended == {FAIL})


def groups(run: Run) -> list[FailureGroup]:
    """Group the failed trials; groups of equal size are in order of their first failure."""
    by_reason: dict[tuple[str, str, str], list[Trial]] = {}
    for trial in run.trials:
        if trial.state == FAIL:
            failure = trial.failure
            reason = (_place(failure), failure.name, failure.message) if failure else ("", "Unknown", "")
            by_reason.setdefault(reason, []).append(trial)
    unsorted = [FailureGroup(*reason, _traceback(trials), trials) for reason, trials in by_reason.items()]
    return sorted(unsorted, key=lambda group: -len(group.trials))


def _place(failure: Failure) -> str:
    """The position in the family's file, with the name of the function, which the traceback has."""
    frame = re.search(rf'File "{re.escape(failure.path)}", line {failure.line}, in (.+)', failure.traceback)
    return failure.place + (f" in {frame[1]}" if frame and failure.path else "")


def _traceback(trials: Sequence[Trial]) -> str:
    """The end of the first traceback, from the start of a line."""
    whole = next((trial.failure.traceback for trial in trials if trial.failure and trial.failure.traceback), "")
    if len(whole) <= TRACEBACK_CHARACTERS:
        return whole
    return "…\n" + whole[-TRACEBACK_CHARACTERS:].partition("\n")[2]
