"""Score the chosen trials on the test pictures, and train them again with other seeds.

With folds, trials have no model, so the best configurations are first trained on all folds together.
"""

from __future__ import annotations

import contextlib
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from statistics import stdev
from typing import Any

import numpy as np

from bench import metrics, stats, text, workers
from bench.cache.files import sha256
from bench.config import LARGEST_SEED, RunConfig
from bench.data import Dataset, labels
from bench.errors import ConfigError, WorkerError
from bench.records import Ending, FailureKind, Metrics, OverSeeds, Repeat, Run, Trial
from bench.report.live import LivePage
from bench.runs import environment, predictions, store
from bench.runs.store import RunFolder
from bench.search import spaces
from bench.search.families import Family, prepare_again, run_all, training
from bench.search.progress import Progress
from bench.search.stopping import SignalStop
from bench.training.messages import FURTHER, Job, RefitJob, ScoreJob, ScoreResult, TrialJob, TrialResult
from bench.workers import Listener, Outcome, Pool, Stop

SEVERAL = 3
"""Time limit of a job that scores on further sets too, as a multiple of a trial's: they end themselves after one."""


class ScoringListener(Listener):
    """Ends the scoring on further test sets after a signal; the score on the test pictures is complete by then."""

    def __init__(self, stop: SignalStop) -> None:
        self._stop = stop

    def progress(self, stage: str, done: int, total: int) -> Ending | None:
        return Ending.INTERRUPTED if stage == FURTHER and self._stop.signal else None


class ScoringStop(Stop):
    """After a signal no job starts, and running ones have a while to end; see `SignalStop`."""

    def __init__(self, signals: SignalStop) -> None:
        self._signals = signals

    def closed(self) -> bool:
        self._signals.announce()
        return self._signals.signal != 0

    def reason(self) -> tuple[FailureKind, str] | None:
        return self._signals.reason()


def check_metrics(config: RunConfig, dataset: Dataset) -> None:
    """Raise ConfigError if a metric is not defined on the pictures: a class is unknown or lacks pictures in a part."""
    held_out = [dataset.fold(number)[1] for number in range(dataset.folds)] or [dataset.part("validation")]
    for name in config.metric:
        metric = metrics.metric(name, dataset.classes, config.costs)
        for part, items in (*(("validation", items) for items in held_out), ("test", dataset.part("test"))):
            even = np.full((len(items), len(dataset.classes)), 1 / len(dataset.classes))
            if not math.isfinite(metric.value(even, labels(items))):
                counts = Counter(dataset.classes[item.label] for item in items)
                present = ", ".join(f"{text.one_line(name, 40)} {count}" for name, count in counts.most_common(4))
                raise ConfigError(
                    f"metric {name}: is not defined on the {part} pictures, which are {present or 'none'}"
                )


class Scoring:
    """Scores the chosen trials of a run, and records the results.

    Args:
        in_haste: Leave out the further test sets.
    """

    def __init__(self, config: RunConfig, folder: RunFolder, in_haste: bool = False) -> None:
        self._config, self._folder = config, folder
        further = () if in_haste else folder.run.further
        self._also = [name for one in further for name in one.names]

    def jobs(self, family: Family, trial: Trial, numbers: Sequence[int]) -> list[Job]:
        """Jobs that score the chosen trial of a family, one per number.

        A number is added to the run's seed; 0 scores the existing trial.
        """
        return [self._job(family, trial, number) for number in numbers]

    def missing(self, trial: Trial, seeds: int) -> list[int]:
        """Numbers of the jobs that are to be done: all, unless the run was scored before it was resumed."""
        done = predictions.of_seeds(self._folder.run, trial) if trial.test else {}
        if self._unscored(trial):
            done.pop(0, None)
        return [number for number in range(seeds) if number not in done]

    def _unscored(self, trial: Trial) -> list[str]:
        """Return the further test sets on which the chosen trial is not scored."""
        run = self._folder.run
        return [
            name
            for name in self._also
            if not predictions.further_path(run.path, trial.family, name).is_file() or name not in trial.also
        ]

    def record(self, trial: Trial, numbers: Sequence[int], outcomes: Sequence[Outcome]) -> Trial:
        """Add the outcomes of `jobs` to the trial's repeats; record and return the trial."""
        results = {number: outcome.result for number, outcome in zip(numbers, outcomes, strict=False)}
        scored = {
            number: (result.test, result.history)
            for number, result in results.items()
            if isinstance(result, ScoreResult | TrialResult) and result.test
        }
        if isinstance(result := results.get(0), ScoreResult):
            trial = replace(trial, also={**trial.also, **result.also})
        if 0 in scored:
            test = _with_interval(scored[0][0], self._folder.run, trial)
            trial = replace(trial, test=test, model_sha256=sha256(self._folder.run.model(trial.family)))
        repeats = {repeat.number: repeat for repeat in trial.repeats}
        repeats |= {number: Repeat.of(number, test, history) for number, (test, history) in scored.items() if number}
        trial = replace(trial, repeats=tuple(repeats[number] for number in sorted(repeats)))
        if repeats and trial.test:
            run = self._folder.run
            values, _ = predictions.values_by_seed(run, trial)
            if len(values) > 1 and (over_seeds := predictions.over_seeds(run, trial, run.metric)):
                sd = stdev(map(float, values.mean(axis=1)))
                trial = replace(trial, over_seeds=OverSeeds(len(values), *over_seeds, sd=sd))
        if scored:
            self._folder.amend(trial)
        return trial

    def _job(self, family: Family, trial: Trial, number: int) -> Job:
        """With folds, the refit with the run's own seed makes the family's model."""
        model = self._folder.run.model(family.name)
        shared: dict[str, Any] = {
            **retraining(self._config, self._folder.run, family, trial),
            "id": f"score {family.name} {number}",
            "timeout_s": self._config.trial_timeout_s * (1 if number or not self._also else SEVERAL),
            "seed": (self._config.seed + number) % (LARGEST_SEED + 1),
            "predictions": str(predictions.path(self._folder.path, family.name, number).absolute()),
        }
        path = self._folder.path
        further: dict[str, Any] = {
            "also": {name: str(predictions.further_path(path, family.name, name).absolute()) for name in self._also},
            "also_time_s": self._config.trial_timeout_s,
        }
        if self._folder.run.split.folds and number:
            return RefitJob(**shared, phase_epochs=trial.best_epochs)
        if self._folder.run.split.folds:
            return RefitJob(**shared, **further, phase_epochs=trial.best_epochs, model=str(model.absolute()))
        if number:
            return TrialJob(**shared, score=True)
        trained = store.model_file(self._folder.as_run(), trial)
        if trained is None:  # another trial's, if the driver was killed before it placed this one
            for foreign in (model, model.with_suffix(".npz")):
                foreign.unlink(missing_ok=True)
        return ScoreJob(
            **shared,
            trained=str(trained.absolute()) if trained else "",
            model=str(model.absolute()),
            validated=str(predictions.validation_path(path, family.name).absolute()),
            **further,
        )


def retraining(config: RunConfig, run: Run, family: Family, trial: Trial) -> dict[str, Any]:
    """Return the fields of a `TrainingJob` that trains a trial's configuration again, with the run's seed."""
    return {
        **training(config, run, family),
        "epochs": trial.max_epochs or config.epochs,
        "stop_after": trial.epochs if trial.cut else None,
        "values": dict(trial.params),
        "halved": trial.halved,
    }


def _with_interval(test: Metrics, run: Run, trial: Trial) -> Metrics:
    """Add the intervals of the accuracy, Wilson's or that of groups of pictures, and of the run's other metrics."""
    low, high = stats.wilson(round(test.accuracy * test.n), test.n)
    single, estimates = replace(trial, repeats=()), dict(test.estimates)
    right, groups = predictions.values_by_seed(run, single, metrics.metric("accuracy"))
    if groups is not None:
        _, low, high = stats.over_seeds(right, groups)
    for metric in run.metrics:
        if metric.name in estimates and (measured := predictions.over_seeds(run, single, metric)):
            value, least, most = measured
            estimates[metric.name] = replace(estimates[metric.name], value=value, low=least, high=most)
    return replace(test, accuracy_low=low, accuracy_high=high, estimates=estimates)


def add_seeds(run: Run, seeds: int, progress: Progress, pool: Pool | None = None) -> Run:
    """Train the chosen configurations of a run until each has this many seeds; record them as `run --repeats` does.

    Every training is recorded when it ends, so that a call after an interruption continues from there.

    Args:
        run: A complete run.
        seeds: Total number of seeds, including the run's own.
        progress: Receives the events of the trainings.
        pool: Pool for the trainings; None starts as many processes on this machine as the run had.

    Raises:
        UsageError: A family cannot be trained again, e.g. because its file was changed; then nothing is trained.
        WorkerError: A training failed.
    """
    present = {trial.family: predictions.of_seeds(run, trial) if trial.test else {} for trial in run.ranking()}
    wanted = {
        family: numbers
        for family, seen in present.items()
        if seen and (numbers := [number for number in range(1, seeds) if number not in seen])
    }
    if not wanted:
        return run
    config = run.config
    with store.reopen(run) as folder, contextlib.closing(pool or workers.start(config)) as running:
        chosen = [trial for trial in run.ranking() if trial.family in wanted]
        ready = [(trial, *prepare_again(run, trial, running, progress)) for trial in chosen]
        now = environment.commits(spaces.folders(config, [family.path for _, _, family in ready]))
        for name, then in run.commits().items():
            if then != now[name]:
                progress.warning(
                    f"the run's {name.replace('_', ' ')} is {then or 'unknown'}, and now it is "
                    f"{now[name] or 'unknown'}: changes between them become part of the noise of seeds"
                )
        try:
            for trial, its_config, family in ready:
                numbers = wanted[trial.family]
                for place in range(0, len(numbers), config.workers):
                    batch = numbers[place : place + config.workers]
                    stage = f"{trial.family}, seed {' and '.join(str(number + 1) for number in batch)} of {seeds}"
                    scoring = Scoring(its_config, folder)
                    outcomes = run_all(running, scoring.jobs(family, trial, batch), progress, f"training {stage}")
                    trial = scoring.record(trial, batch, outcomes)
                    for failure in [outcome.failure for outcome in outcomes if outcome.failure]:
                        raise WorkerError(f"{trial.family} with another seed: {failure.name}: {failure.message}")
        finally:
            result = LivePage(folder, progress.warning).write(run.status)
    return result
