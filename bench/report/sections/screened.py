"""Estimates from screening, in words, and their comparison with the trials that followed."""

from __future__ import annotations

from dataclasses import dataclass

from bench import text
from bench.records import Run, Screening, Trial


@dataclass(frozen=True)
class ScreenedFamily:
    """A family's highest estimate, and its trial with the best validation accuracy; None without a complete one."""

    screening: Screening
    best: Trial | None

    @property
    def verdict(self) -> str:
        """Position of the trial's accuracy: "inside", "above" or "below" the interval; "" without a trial."""
        if self.best is None or self.best.value is None:
            return ""
        if self.best.value > self.screening.high:
            return "above"
        return "below" if self.best.value < self.screening.low else "inside"


def estimate(screening: Screening) -> str:
    """An estimate with its 95 % interval: `94 % (89 to 97)`."""
    if screening.accuracy is None:
        return text.NOTHING
    accuracy, low, high = (f"{100 * share:.0f}" for share in (screening.accuracy, screening.low, screening.high))
    return f"{accuracy}\u00a0% ({low} to {high})"


def in_words(screening: Screening) -> str:
    """An estimate, or the reason for a missing one, and the forecast of a trial."""
    result = f"not screened: {screening.reason}"
    if screening.accuracy is not None:
        result = f"screened: {estimate(screening)} on {text.plural(screening.n, 'picture')}"
    return result + ("" if screening.trial_s is None else f"; a trial would take {text.seconds(screening.trial_s)}")


def screened_families(run: Run) -> dict[str, ScreenedFamily]:
    """The families with an estimate by name, in the order in which they were screened."""
    names = dict.fromkeys(screening.family for screening in run.screenings)
    chosen = [screening for name in names if (screening := run.screening(name)) and screening.accuracy is not None]
    return {screening.family: ScreenedFamily(screening, run.best(screening.family)) for screening in chosen}


def hits(run: Run) -> str:
    """Say for how many families the best trial is inside the interval of the estimate; "" without such trials."""
    tried = [family for family in screened_families(run).values() if family.verdict]
    if not tried:
        return ""
    inside = sum(family.verdict == "inside" for family in tried)
    outside = [
        f"{text.one_line(family.screening.family, 40)} {text.percent(family.best.value)} is {family.verdict} "
        f"{estimate(family.screening)}"
        for family in tried
        if family.verdict != "inside" and family.best
    ]
    details = f" ({'; '.join(outside)})" if outside else ""
    families = text.plural(len(tried), "family", "families")
    return f"Screening: the best validation accuracy is inside the interval for {inside} of {families}{details}."
