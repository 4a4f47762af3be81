"""Training time saved by the cache of the frozen layers' features."""

from __future__ import annotations

from dataclasses import dataclass

from bench import text
from bench.records import Run


@dataclass(frozen=True)
class Saved:
    """Training time that the cache saved for one family or for all.

    Attributes:
        served: Number of trials for which the cache saved time.
        cold_s: Training time of all trained trials with an empty cache, over all folds.
        saved_s: Time saved by the cache.
    """

    served: int
    cold_s: float
    saved_s: float

    @property
    def share(self) -> float:
        """The saved share of the cold time, 0 to 1."""
        return min(self.saved_s / self.cold_s, 1.0) if self.cold_s > 0 else 0.0


def saved(run: Run, family: str = "") -> Saved:
    """The time saved for a family, or for all families.

    Answers from the record are left out, since nothing was trained. With folds, a trial's times are means over them.
    """
    trials = [trial for trial in run.trials if not trial.duplicate_of and family in ("", trial.family)]
    costs = [(trial.cost, len(trial.folds) or 1) for trial in trials if trial.cost]
    return Saved(
        served=sum(cost.saved_time_s > 0 for cost, _ in costs),
        cold_s=sum(cost.train_time_s * times for cost, times in costs),
        saved_s=sum(cost.saved_time_s * times for cost, times in costs),
    )


def savings(run: Run) -> str:
    """The training time that the cache saved, in a sentence; "" if it is less than a second."""
    total = saved(run)
    if not 1 <= total.saved_s <= total.cold_s:
        return ""
    so_far = " so far" if run.status == "running" else ""
    return (
        f"The feature cache saved {text.seconds(total.saved_s)} of the {text.seconds(total.cold_s)} that all "
        f"training{so_far} takes from a cold start ({text.percent(total.share)})."
    )
