"""What the cache of frozen layers' features saved, family by family."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bench.records import Run
from bench.report.styles import Mark


@dataclass(frozen=True)
class Saved:
    """What the cache saved in the training of one family, or of all.

    Attributes:
        family: Its name; "" for all together.
        mark: Its mark; None for all together.
        trials: How many trials were trained.
        served: How many of them the cache saved anything.
        cold_s: What all their training takes from a cold start, every fold of it.
        saved_s: What the cache saved of that.
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

    Answers from the record count for nothing: nothing was trained. With folds, a trial's times are means over them.

    Args:
        run: The records.
        looks: The marks of its families.
    """
    every = [_saved(run, family, mark) for family, mark in looks.items()]
    return sorted((each for each in every if each.trials), key=lambda each: -each.saved_s)


def in_all(saved: Sequence[Saved]) -> Saved:
    """All of them together."""
    return Saved(
        "",
        None,
        sum(each.trials for each in saved),
        sum(each.served for each in saved),
        sum(each.cold_s for each in saved),
        sum(each.saved_s for each in saved),
    )


def _saved(run: Run, family: str, mark: Mark) -> Saved:
    trials = [trial for study in run.studies if study.family == family for trial in study.trials]
    costs = [(trial.cost, len(trial.folds) or 1) for trial in trials if trial.cost and not trial.duplicate_of]
    return Saved(
        family,
        mark,
        len(costs),
        sum(cost.saved_time_s > 0 for cost, _ in costs),
        sum(cost.train_time_s * times for cost, times in costs),
        sum(cost.saved_time_s * times for cost, times in costs),
    )
