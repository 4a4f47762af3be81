"""The chosen trials on the test pictures: each as it is, and trained again with other seeds.

With folds no trial has a model: the best configurations are trained once more, on all folds together.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from statistics import stdev
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench import stats
from bench.config import RunConfig
from bench.records import Metrics, OverSeeds, Repeat, Trial
from bench.runs import predictions
from bench.runs.store import RunFolder
from bench.search.families import Family, training
from bench.workers import Job, Outcome, RefitJob, ScoreJob, ScoreResult, TrialJob, TrialResult


class Scoring:
    """Scores chosen trials, and records the result.

    Args:
        config: Of the run.
        folder: Of the run.
    """

    def __init__(self, config: RunConfig, folder: RunFolder) -> None:
        self._config, self._folder = config, folder

    def jobs(self, family: Family, trial: Trial, numbers: Sequence[int]) -> list[Job]:
        """The jobs that score the chosen trial of a family.

        Args:
            family: Its family.
            trial: The trial.
            numbers: What is added to the run's seed, one job each: 0 scores the trial as it is.
        """
        return [self._job(family, trial, number) for number in numbers]

    def record(self, trial: Trial, numbers: Sequence[int], outcomes: Sequence[Outcome]) -> Trial:
        """Record the outcomes of `jobs` beside the repeats that the trial has; gives the trial as it is now."""
        results = {number: outcome.result for number, outcome in zip(numbers, outcomes, strict=False)}
        scored = {
            number: (_with_interval(result.test), result.history)
            for number, result in results.items()
            if isinstance(result, ScoreResult | TrialResult) and result.test
        }
        if 0 in scored:
            trial = replace(trial, test=scored[0][0])
        repeats = {repeat.number: repeat for repeat in trial.repeats}
        repeats |= {number: Repeat.of(number, test, history) for number, (test, history) in scored.items() if number}
        trial = replace(trial, repeats=tuple(repeats[number] for number in sorted(repeats)))
        if repeats and trial.test:
            right = predictions.right_by_seed(self._folder.run, trial)
            if len(right) > 1:
                trial = replace(trial, over_seeds=_over_seeds(right))
        if scored:
            self._folder.amend(trial)
        return trial

    def _job(self, family: Family, trial: Trial, number: int) -> Job:
        """With folds, the refit with the run's own seed gives the family's model."""
        model = self._folder.run.model(family.name)
        shared: dict[str, Any] = {
            **training(self._config, self._folder.run, family),
            "id": f"score {family.name} {number}",
            "timeout_s": self._config.trial_timeout_s,
            "epochs": trial.max_epochs or self._config.epochs,
            "values": dict(trial.params),
            "seed": self._config.seed + number,
            "predictions": str(self._folder.predictions(family.name, number).absolute()),
        }
        if self._folder.run.split.folds:
            return RefitJob(**shared, phase_epochs=trial.best_epochs, model="" if number else str(model.absolute()))
        if number:
            return TrialJob(**shared, score=True)
        trained = next((path for path in (model, model.with_suffix(".npz")) if path.exists()), None)
        return ScoreJob(**shared, trained=str(trained.absolute()) if trained else "", model=str(model.absolute()))


def _with_interval(test: Metrics) -> Metrics:
    low, high = stats.wilson(round(test.accuracy * test.n), test.n)
    return replace(test, accuracy_low=low, accuracy_high=high)


def _over_seeds(right: NDArray[np.bool_]) -> OverSeeds:
    """The accuracy over seeds of answers of shape (seeds, pictures)."""
    return OverSeeds(len(right), *stats.over_seeds(right), sd=stdev(map(float, right.mean(axis=1))))
