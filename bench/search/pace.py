"""Times of a run's trials as measured by the driver, and estimates of the remaining work from them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from statistics import median

from bench.config import RunConfig
from bench.records import COMPLETE, Epoch, SplitInfo, Trial

MIN_ENDING_S = 1.0
"""Minimum estimate of the time between a trial's last epoch and its end: validate, measure, save."""

WHOLE_BUILD_S = 3.0
"""Time for building and saving a backbone that the trial replaced by a sketch."""

CLOSING_S = 2.0
"""Time for ending the workers and closing the storage."""


@dataclass(eq=False)
class TrialTimes:
    """Times of one trial, by the clock of `Pace`; None until they are known.

    Attributes:
        first_epoch_s: End of the first epoch.
        trained_s: End of the last epoch so far; None for a trial that ended without a result.
        epoch_s: Duration of the first epoch, which includes the tracing of its graph.
        val_time_s: Duration of the last validation.
    """

    name: str
    family: str
    began_s: float
    built_s: float | None = None
    first_epoch_s: float | None = None
    trained_s: float | None = None
    ended_s: float | None = None
    epoch_s: float = 0.0
    val_time_s: float = 0.0

    @property
    def until_first_epoch_s(self) -> float | None:
        """Duration from the start to the end of the first epoch."""
        return None if self.first_epoch_s is None else self.first_epoch_s - self.began_s


@dataclass(eq=False)
class Pace:
    """The times of all trials of a run.

    Attributes:
        now_s: Returns the time; the clock of the whole search.
        page_s: Returns the seconds that writing the page takes.
        further: Number of pictures of further test sets.
    """

    config: RunConfig
    split: SplitInfo
    now_s: Callable[[], float]
    page_s: Callable[[], float] = lambda: 0.0
    further: int = 0
    _times: dict[str, TrialTimes] = field(default_factory=dict)

    def began(self, trial: Trial) -> None:
        """Record the start of a trial."""
        self._times[trial.name] = TrialTimes(trial.name, trial.family, self.now_s())

    def built(self, trial: Trial) -> None:
        """Record the time at which a trial's model was built."""
        self._times[trial.name].built_s = self.now_s()

    def epoch(self, trial: Trial, epoch: Epoch) -> None:
        """Record an epoch that has just ended."""
        times = self._times[trial.name]
        times.trained_s, times.val_time_s = self.now_s(), epoch.val_time_s or 0.0
        if times.first_epoch_s is None:
            times.first_epoch_s, times.epoch_s = times.trained_s, epoch.time_s

    def ended(self, trial: Trial) -> None:
        """Record the end of a trial; one without a result has not shown how long an ending takes."""
        times = self._times[trial.name]
        times.ended_s = self.now_s()
        if trial.state != COMPLETE:
            times.trained_s = None

    def restore(self, trial: Trial) -> None:
        """Add an ended trial of a resumed run; its first epoch began at the latest when its others would not fit."""
        times = TrialTimes(trial.name, trial.family, trial.started_s, ended_s=trial.finished_s)
        if trial.history and trial.finished_s is not None:
            times.epoch_s, times.val_time_s = trial.history[0].time_s, trial.history[-1].val_time_s or 0.0
            times.first_epoch_s = trial.finished_s - sum(epoch.time_s for epoch in trial.history[1:])
        self._times[trial.name] = times

    def in_training(self) -> bool:
        """Return whether a running trial has completed an epoch."""
        return any(times.first_epoch_s is not None and times.ended_s is None for times in self._times.values())

    def first_epoch_s(self, family: str) -> float | None:
        """Return the median time of a family's trials up to the end of their first epoch; None without any."""
        times = [times.until_first_epoch_s for times in self._times.values() if times.family == family]
        return median(known) if (known := [until_s for until_s in times if until_s is not None]) else None

    def ending_s(self) -> float:
        """Return the longest time so far between the last epoch of a trial and its end."""
        ended = [
            times.ended_s - times.trained_s
            for times in self._times.values()
            if times.ended_s is not None and times.trained_s is not None
        ]
        return max(ended, default=MIN_ENDING_S)

    def reserve_s(self, chosen: Iterable[Trial]) -> float:
        """Estimate the time after the search: score the chosen and the running trials, and write the page twice.

        Args:
            chosen: The best trial so far of every family that has one.
        """
        best = {trial.family: trial for trial in chosen}
        times = [(self._times[trial.name], trial) for trial in best.values() if trial.name in self._times]
        running = {
            times.family: (times, None)
            for times in self._times.values()
            if times.family not in best and times.ended_s is None and times.first_epoch_s is not None
        }
        return CLOSING_S + 2 * self.page_s() + sum(self._scoring_s(*pair) for pair in [*times, *running.values()])

    def _scoring_s(self, times: TrialTimes, trial: Trial | None) -> float:
        """Estimate the time for scoring a trial on the test pictures and further sets: building, features, prediction.

        With folds it includes one more training, with repeats one per repeat.
        """
        split, cost = self.split, trial.cost if trial else None
        trained_s = cost.total_time_s if cost else 0.0
        repeats_s = math.ceil(self.config.repeats / self.config.workers) * trained_s
        train, validation, test = (split.n(part) for part in ("train", "validation", "test"))
        if times.first_epoch_s is None:  # a model without epochs is not saved, but trained again
            return trained_s * (1 + self.further / max(1, train + validation)) + repeats_s
        began_s = times.began_s if times.built_s is None else times.built_s
        prepared_s = max(times.first_epoch_s - times.epoch_s - began_s, cost.features_time_s if cost else 0.0)
        views = [prefix.views for prefix in trial.prefixes if prefix.used] if trial else [1]
        prepared = max(1, max(views, default=1) * train + validation)
        validated = max(1, validation or train // max(1, split.folds))
        refit_s = cost.train_time_s if cost and split.folds else 0.0
        build_s = began_s - times.began_s + (WHOLE_BUILD_S if views else 0.0)
        predicted_s = (test + self.further) * (prepared_s / prepared + times.val_time_s / validated)
        return build_s + predicted_s + refit_s + repeats_s
