"""The chosen trials on the test pictures: each as it is, and trained again with other seeds.

With folds no trial has a model: the best configurations are trained once more, on all folds together.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from statistics import stdev
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench import stats
from bench.config import RunConfig
from bench.records import Epoch, Metrics, OverSeeds, Repeat, Trial, from_dict
from bench.runs import predictions
from bench.runs.store import RunFolder
from bench.search.families import Family
from bench.search.schedule import trial_payload
from bench.workers import Job, Outcome


class Scoring:
    """Scores chosen trials, and records what comes out.

    Args:
        config: Of the run.
        folder: Of the run.
    """

    def __init__(self, config: RunConfig, folder: RunFolder) -> None:
        self._config, self._folder = config, folder

    def jobs(self, family: Family, trial: Trial, numbers: Sequence[int]) -> list[Job]:
        """What scores the chosen trial of a family.

        Args:
            family: Its family.
            trial: The trial.
            numbers: How much is added to the run's seed, for each: 0 scores the trial as it is.
        """
        if self._folder.run.split.folds:
            return [self._refit_job(family, trial, number) for number in numbers]
        return [
            self._repeat_job(family, trial, number) if number else self._score_job(family, trial) for number in numbers
        ]

    def record(self, trial: Trial, numbers: Sequence[int], outcomes: Sequence[Outcome]) -> Trial:
        """Records what came of `jobs`, beside the repeats that the trial has; gives the trial as it is now."""
        found = {number: outcome.result for number, outcome in zip(numbers, outcomes, strict=True) if outcome.result}
        if 0 in found:
            test = _with_interval(from_dict(Metrics, found[0]["test"]))
            self._folder.attach_to(trial, test=asdict(test))
            trial = replace(trial, test=test)
        repeats = {repeat.number: repeat for repeat in trial.repeats}
        repeats |= {number: _repeat(number, result) for number, result in found.items() if number}
        if repeats:
            trial = replace(trial, repeats=tuple(repeats[number] for number in sorted(repeats)))
            right = predictions.right_by_seed(self._folder.run, trial)
            if trial.test and len(right) > 1:
                over_seeds = _over_seeds(right)
                self._folder.attach_to(trial, over_seeds=asdict(over_seeds))
                trial = replace(trial, over_seeds=over_seeds)
            # Last: whoever is interrupted before it trains them again.
            self._folder.attach_to(trial, repeats=[repeat.to_dict() for repeat in trial.repeats])
        return trial

    def _score_job(self, family: Family, trial: Trial) -> Job:
        model = self._folder.run.model(family.name)
        trained = next((path for path in (model, model.with_suffix(".npz")) if path.exists()), None)
        return self._job(
            "score", family, trial, 0, trained=str(trained.absolute()) if trained else "", model=str(model.absolute())
        )

    def _repeat_job(self, family: Family, trial: Trial, number: int) -> Job:
        return self._job("trial", family, trial, number, part="test")

    def _refit_job(self, family: Family, trial: Trial, number: int) -> Job:
        """With the run's own seed it gives the family's model."""
        model = "" if number else str(self._folder.run.model(family.name).absolute())
        return self._job("refit", family, trial, number, epochs=list(trial.best_epochs), model=model)

    def _job(self, kind: str, family: Family, trial: Trial, number: int, **more: Any) -> Job:
        payload = {
            **trial_payload(self._config, self._folder.run, family),
            "values": dict(trial.params),
            "epochs": trial.max_epochs or self._config.epochs,
            "seed": self._config.seed + number,
            "predictions": str(self._folder.predictions(family.name, number).absolute()),
            **more,
        }
        return Job(kind, payload, self._config.trial_timeout_s)


def _with_interval(test: Metrics) -> Metrics:
    low, high = stats.wilson(round(test.accuracy * test.n), test.n)
    return replace(test, accuracy_low=low, accuracy_high=high)


def _repeat(number: int, result: Mapping[str, Any]) -> Repeat:
    history = [from_dict(Epoch, epoch) for epoch in result.get("history", ())]
    return Repeat.of(number, _with_interval(from_dict(Metrics, result["test"])), history)


def _over_seeds(right: NDArray[np.bool_]) -> OverSeeds:
    """Of shape (seeds, pictures)."""
    return OverSeeds(len(right), *stats.over_seeds(right), sd=stdev(map(float, right.mean(axis=1))))
