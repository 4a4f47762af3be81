"""Training time that the cache of frozen layers' features saved."""

from __future__ import annotations

from dataclasses import dataclass

from bench import text
from bench.records import Run


@dataclass(frozen=True)
class Saved:
    """Training time that the cache saved a family, or all together.

    Attributes:
        trials: Number of trained trials.
        served: Number of those for which the cache saved any time.
        cold_s: Time that all their training takes from a cold start, every fold of it.
        saved_s: Time that the cache saved of that.
    """

    trials: int
    served: int
    cold_s: float
    saved_s: float

    @property
    def share(self) -> float:
        """The saved share of the cold time, 0 to 1."""
        return min(self.saved_s / self.cold_s, 1.0) if self.cold_s > 0 else 0.0


def saved(run: Run, family: str = "") -> Saved:
    """The time saved for a family, or for all of them.

    Answers from the record are left out: nothing was trained for them. With folds, a trial's times are means over them.
    """
    trials = [trial for trial in run.trials if not trial.duplicate_of and family in ("", trial.family)]
    costs = [(trial.cost, len(trial.folds) or 1) for trial in trials if trial.cost]
    return Saved(
        trials=len(costs),
        served=sum(cost.saved_time_s > 0 for cost, _ in costs),
        cold_s=sum(cost.train_time_s * times for cost, times in costs),
        saved_s=sum(cost.saved_time_s * times for cost, times in costs),
    )


def savings(run: Run) -> str:
    """The training time that the cache saved, in a sentence; "" where it is less than a second."""
    every = saved(run)
    if not 1 <= every.saved_s <= every.cold_s:
        return ""
    so_far = " so far" if run.status == "running" else ""
    return (
        f"The feature cache saved {text.seconds(every.saved_s)} of the {text.seconds(every.cold_s)} that all "
        f"training{so_far} takes from a cold start ({text.percent(every.share)})."
    )
