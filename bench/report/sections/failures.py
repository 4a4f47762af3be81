"""What failed and why: trials that failed alike stand together, the most frequent failure first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bench import text
from bench.records import FAIL, Failure, FailureKind, Run, Trial

SHOWN_KINDS = 40
"""So many different failures are on the page, the most frequent ones; the others are counted."""

SHOWN_TRIALS = 12
"""So many trials of a failure are named, the first ones; the others are counted."""

TRACEBACK_CHARACTERS = 4000
"""So much of a traceback is on the page: its end."""

UNKNOWN = Failure(FailureKind.EXCEPTION, "", error="Unknown")
"""Of a trial that failed without leaving a reason."""


@dataclass(frozen=True)
class Group:
    """Trials that failed with the same kind and the same message.

    Attributes:
        failure: What is known of it, from the first of the trials that left a traceback.
        trials: The trials, in the order in which they were started.
    """

    failure: Failure
    trials: Sequence[Trial]

    @property
    def families(self) -> list[str]:
        """The families that it hit, with the label that their weights demand."""
        return list(dict.fromkeys(text.label(trial) for trial in self.trials))

    @property
    def named(self) -> str:
        """The trials in words: `vgg19 optuna:tpe #0, #3 and 9 more`."""
        shown = self.trials[:SHOWN_TRIALS]
        studies: dict[tuple[str, str], list[str]] = {}
        for trial in shown:
            studies.setdefault((trial.family, trial.engine), []).append(f"#{trial.number}")
        names = [f"{family} {engine} {', '.join(numbers)}" for (family, engine), numbers in studies.items()]
        more = len(self.trials) - len(shown)
        return "; ".join(names) + (f" and {text.thousands(more)} more" if more else "")

    @property
    def traceback(self) -> str:
        """The end of the traceback, from a whole line on; "" where there is none."""
        whole = self.failure.traceback
        if len(whole) <= TRACEBACK_CHARACTERS:
            return whole
        return "…\n" + whole[-TRACEBACK_CHARACTERS:].partition("\n")[2]


@dataclass(frozen=True)
class Failures:
    """The section.

    Attributes:
        groups: The failures that are shown.
        trials: How many trials failed.
        left_out: How many more kinds of failure there are.
    """

    groups: Sequence[Group]
    trials: int
    left_out: int


def section(run: Run) -> Failures:
    """What failed in a run."""
    every = groups(run)
    return Failures(every[:SHOWN_KINDS], sum(len(group.trials) for group in every), max(0, len(every) - SHOWN_KINDS))


def groups(run: Run) -> list[Group]:
    """The failed trials by kind and message; the largest group first, of equal ones the one that came first."""
    found: dict[tuple[str, str], list[Trial]] = {}
    for trial in run.trials:
        if trial.state == FAIL:
            failure = trial.failure or UNKNOWN
            found.setdefault((failure.name, failure.message), []).append(trial)
    made = [Group(_told(trials), trials) for trials in found.values()]
    return sorted(made, key=lambda group: -len(group.trials))


def _told(trials: Sequence[Trial]) -> Failure:
    failures = [trial.failure for trial in trials if trial.failure]
    return next((failure for failure in failures if failure.traceback), failures[0] if failures else UNKNOWN)
