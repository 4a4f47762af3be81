"""Training time that the cache of frozen layers' features saved, by family."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bench.records import Run
from bench.report.styles import Mark


@dataclass(frozen=True)
class Saved:
    """Training time that the cache saved one family, or all together.

    Attributes:
        family: "" for all together, as is `mark` None.
        trials: Number of trained trials.
        served: Number of those for which the cache saved any time.
        cold_s: Time that all their training takes from a cold start, every fold of it.
        saved_s: Time that the cache saved of that.
    """

    family: str
    mark: Mark | None
    trials: int
    served: int
    cold_s: float
    saved_s: float

    @property
    def share(self) -> float:
        """The saved share of the cold time, 0 to 1."""
        return min(self.saved_s / self.cold_s, 1.0) if self.cold_s > 0 else 0.0


def saved_by_family(run: Run, looks: Mapping[str, Mark]) -> list[Saved]:
    """The families of which something was trained, those that the cache saved most first.

    Answers from the record are left out: nothing was trained for them. With folds, a trial's times are means over them.
    """
    every = []
    for family, mark in looks.items():
        trials = [t for t in run.trials if t.family == family and t.cost and not t.duplicate_of]
        costs = [(trial.cost, len(trial.folds) or 1) for trial in trials if trial.cost]
        saved = Saved(
            family=family,
            mark=mark,
            trials=len(costs),
            served=sum(cost.saved_time_s > 0 for cost, _ in costs),
            cold_s=sum(cost.train_time_s * times for cost, times in costs),
            saved_s=sum(cost.saved_time_s * times for cost, times in costs),
        )
        every += [saved] if costs else []
    return sorted(every, key=lambda saved: -saved.saved_s)


def in_all(saved: Sequence[Saved]) -> Saved:
    """All families together."""
    return Saved(
        family="",
        mark=None,
        trials=sum(each.trials for each in saved),
        served=sum(each.served for each in saved),
        cold_s=sum(each.cold_s for each in saved),
        saved_s=sum(each.saved_s for each in saved),
    )
