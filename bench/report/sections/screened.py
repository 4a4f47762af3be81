"""Estimates from screening, in words, and their comparison with the trials that followed."""

from __future__ import annotations

from dataclasses import dataclass

from bench import text
from bench.records import COMPLETE, Run, Screening, Trial


@dataclass(frozen=True)
class Comparison:
    """A screening and the family's best trial with its input size; None without such a trial or without an estimate."""

    screening: Screening
    best: Trial | None

    @property
    def accuracy(self) -> float | None:
        """Validation accuracy of the trial."""
        return self.best.validation.accuracy if self.best and self.best.validation else None

    @property
    def verdict(self) -> str:
        """Position of the trial's accuracy: "inside", "above" or "below" the interval; "" without a trial."""
        if self.accuracy is None:
            return ""
        if self.accuracy > self.screening.high:
            return "above"
        return "below" if self.accuracy < self.screening.low else "inside"


def estimate(screening: Screening) -> str:
    """An estimate with its 95 % interval: `94 % (89 to 97)`."""
    if screening.accuracy is None:
        return text.NOTHING
    accuracy, low, high = (f"{100 * share:.0f}" for share in (screening.accuracy, screening.low, screening.high))
    return f"{accuracy}\u202f% ({low} to {high})"


def in_words(screening: Screening) -> str:
    """An estimate, or the reason for a missing one, and the forecast of a trial."""
    result = f"not screened: {screening.reason}"
    if screening.accuracy is not None:
        result = f"screened: {estimate(screening)} on {text.plural(screening.n, 'picture')}"
    return result + ("" if screening.trial_s is None else f"; a trial would take {text.seconds(screening.trial_s)}")


def compare_screening(run: Run) -> list[Comparison]:
    """Compare every screening with the best trial of its family that has the same input size."""
    return [Comparison(screening, _best(run, screening)) for screening in run.screenings]


def _best(run: Run, screening: Screening) -> Trial | None:
    trials = [
        trial
        for trial in run.trials
        if (trial.family, trial.input_size, trial.state) == (screening.family, screening.input_size, COMPLETE)
    ]
    if screening.accuracy is None:
        return None
    return max(trials, key=lambda trial: trial.validation.accuracy if trial.validation else 0.0, default=None)


def hits(run: Run) -> str:
    """Say how many intervals hold the best trial's validation accuracy; "" without trials to compare."""
    compared = [comparison for comparison in compare_screening(run) if comparison.verdict]
    if not compared:
        return ""
    inside = sum(comparison.verdict == "inside" for comparison in compared)
    outside = [
        f"{text.one_line(comparison.screening.family, 40)} at {comparison.screening.input_size}\u00a0px: "
        f"{text.percent(comparison.accuracy)} is {comparison.verdict} {estimate(comparison.screening)}"
        for comparison in compared
        if comparison.verdict != "inside"
    ]
    details = f" ({'; '.join(outside)})" if outside else ""
    return (
        "Screening: the best validation accuracy of the trials with the same input size is inside the interval of "
        f"{inside} of {text.plural(len(compared), 'estimate')}{details}."
    )
