"""A pool that trains nothing, with which the whole driver runs in milliseconds without TensorFlow.

pool = FakePool(build=lambda hp, family: hp.Int("depth", 1, 9), score=lambda family, params: params["depth"] / 10)
run = runner.run(RunConfig(spaces=("my_space.py",)), pool=pool)
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bench import data
from bench.data.further import load_set
from bench.hyperparameters import HyperParameters, Value, fixed
from bench.records import (
    CORRUPTED_SETS,
    Cost,
    Ending,
    Epoch,
    Estimate,
    Failure,
    FailureKind,
    Metrics,
    Shortcuts,
    Weights,
    Work,
)
from bench.training.messages import (
    FURTHER,
    ChosenJob,
    CurveJob,
    CurveResult,
    Job,
    ProbeJob,
    ProbeResult,
    RefitJob,
    SampleAnswers,
    ScoreJob,
    ScoreResult,
    ShortcutJob,
    TrainingJob,
    TrialJob,
    TrialResult,
)
from bench.workers import Listener, Outcome
from bench.workers.process import failure_of

Build = Callable[[HyperParameters, str], object]
"""Declares hyperparameters, from `hp` and the family's name."""

Score = Callable[[str, Mapping[str, Value]], float]
"""Returns the accuracy of a family's configuration; an exception fails the trial."""

SEED_NOISE = 0.1
"""Share of the test pictures on which another seed may give another answer."""


class InProcessPool:
    """A `workers.Pool` in this process, which runs the oldest job whenever `finished` is called.

    Args:
        slots: Number of jobs that it accepts before it runs them.
    """

    cache: Path | None = None

    def __init__(self, slots: int = 1) -> None:
        self._slots = slots
        self._waiting: list[tuple[Job, Listener]] = []
        self._cancelled: Failure | None = None
        self.closed = False

    def has_room(self) -> bool:
        return len(self._waiting) < self._slots

    def divide(self, jobs: int) -> None:
        """Do nothing: a pool without cores."""

    def submit(self, job: Job, listener: Listener) -> None:
        """Accept a job, which runs when `finished` is called."""
        self._cancelled = None
        self._waiting.append((job, listener))
        listener.started(0)

    def finished(self, timeout_s: float) -> list[Outcome]:
        """Run the oldest waiting job."""
        if not self._waiting:
            return []
        job, listener = self._waiting.pop(0)
        if self._cancelled is not None:
            return [Outcome(job, failure=self._cancelled)]
        try:
            result = self._run(job, listener)
        except Exception as error:
            result = replace(failure_of(error), traceback="")
        return [Outcome(job, failure=result) if isinstance(result, Failure) else Outcome(job, result=result)]

    def cancel(self, kind: FailureKind, message: str) -> None:
        self._cancelled = Failure(kind, message)

    def close(self) -> None:
        self._waiting, self.closed = [], True

    def _run(self, job: Job, listener: Listener) -> object:
        """Run a job; return its result, or a `Failure`."""
        raise NotImplementedError


class FakePool(InProcessPool):
    """A pool in which a trial's accuracy is a function of its hyperparameters.

    With folds it is their mean: each fold is 0.01 better than the previous one. About this share of the test pictures
    is classified correctly: mostly the same pictures in all families, some others with another seed.

    Args:
        build: Declares the hyperparameters of every family.
        score: Returns the accuracy of a trial, which is the same in all its epochs.
        known: Known configurations by family.
        baselines: Families that cannot learn.
        epochs: Number of epochs that a trial reports.
        slots: Number of jobs that it accepts before it runs them.
        epoch_s: Time that every epoch reports.
        work: Returns the work of a trial.
        shortcuts: Result of the test for shortcuts; by default of no pictures.
        wait: Called with `epoch_s` in every epoch of a trial, e.g. to advance a clock.
    """

    def __init__(
        self,
        build: Build,
        score: Score,
        known: Mapping[str, list[dict[str, Value]]] | None = None,
        epochs: int = 1,
        slots: int = 1,
        baselines: Collection[str] = (),
        epoch_s: float = 0.01,
        wait: Callable[[float], object] = lambda seconds: None,
        work: Callable[[str, Mapping[str, Value]], Work] = lambda family, params: Work(),
        shortcuts: Shortcuts | None = None,
    ) -> None:
        super().__init__(slots)
        self._build, self._score, self._known = build, score, dict(known or {})
        self._epochs, self._baselines, self._shortcuts = epochs, baselines, shortcuts or Shortcuts()
        self._epoch_s, self._wait, self._work = epoch_s, wait, work
        self.trained: list[tuple[str, dict[str, Value]]] = []

    def _run(self, job: Job, listener: Listener) -> object:
        if isinstance(job, ProbeJob):
            family = Path(job.path).stem
            hp = HyperParameters(fixed({}))
            self._build(hp, family)
            known = tuple(self._known.get(family, []))
            return ProbeResult(
                space=tuple(hp.space),
                known=known,
                learns=family not in self._baselines,
                works=tuple(self._work(family, values) for values in known),
                other_works=(self._work(family, hp.values),),
                proposed_works=tuple(self._proposed(job, listener, family)),
            )
        if isinstance(job, ShortcutJob):
            return self._shortcuts
        assert isinstance(job, TrainingJob)
        family = Path(job.path).stem
        hp = HyperParameters(listener.suggest if job.values is None else fixed(job.values))
        self._build(hp, family)
        if listener.built(hp.values, Weights.NONE, self._work(family, hp.values)):
            return TrialResult(hp.values, stopped=True)
        if isinstance(job, CurveJob):
            return self._sampled(self._score(family, hp.values), job)
        self.trained.append((family, dict(hp.values)))
        accuracy = self._score(family, hp.values)
        if job.predictions:
            _predict(accuracy, job)
        also = _predict_further(accuracy, job, listener) if isinstance(job, ChosenJob) else {}
        if isinstance(job, RefitJob):
            if job.model:
                self._save(Path(job.model), hp.values)
            return ScoreResult(_metrics(accuracy, 1000, job), also=also)
        result = self._train(accuracy, hp.values, job, listener)
        if isinstance(job, ScoreJob):
            return ScoreResult(_metrics(accuracy, 1000, job), result.history, also)
        if not result.stopped and (path := listener.result(result)):
            try:
                self._save(Path(path), hp.values)
            except OSError as error:
                return replace(result, unsaved=str(error))
        return result

    def _sampled(self, accuracy: float, job: CurveJob) -> CurveResult:
        dataset = data.load(Path(job.manifest))
        train, validation = dataset.fold(0) if dataset.folds else (dataset.part("train"), dataset.part("validation"))
        answers = []
        for draw in range(job.draws):
            for share in job.shares:
                right = _right(1 - (1 - accuracy) * share**-0.5, validation, job.seed + 1 + draw)
                number = len(data.sampled(train, share, job.seed + 1 + draw))
                answers.append(SampleAnswers(share, number, "".join(map(str, right.astype(int)))))
        return CurveResult(tuple(answers), tuple(item.group for item in validation) if dataset.grouped else ())

    def _proposed(self, job: ProbeJob, listener: Listener, family: str) -> Iterator[Work]:
        for _ in range(job.proposals):
            hp = HyperParameters(listener.suggest)
            self._build(hp, family)
            yield (work := self._work(family, hp.values))
            listener.built(hp.values, Weights.NONE, work)

    def _save(self, path: Path, values: Mapping[str, Value]) -> None:
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("config.json", json.dumps(dict(values)))

    def _train(self, accuracy: float, values: Mapping[str, Value], job: TrainingJob, listener: Listener) -> TrialResult:
        folds = data.load(Path(job.manifest)).folds
        shares = [accuracy + 0.01 * (number - (folds - 1) / 2) for number in range(folds)] or [accuracy]
        planned = min(self._epochs, job.epochs)
        histories, endings = [], []
        for fold, share in enumerate(shares, start=1):
            history: list[Epoch] = []
            ending: Ending | None = None
            while len(history) < planned and not ending:
                if isinstance(job, TrialJob):
                    self._wait(self._epoch_s)
                history.append(Epoch(len(history) + 1, 1 - share, share, 1 - share, share, self._epoch_s, value=share))
                ending = listener.epoch(history[-1], fold, folds)
                if len(history) == job.stop_after:
                    ending = ending or Ending.BUDGET
            if ending is Ending.PRUNER:
                return TrialResult(values, stopped=True, ending=ending)
            histories.append(tuple(history))
            endings.append(ending if len(history) < planned else None)
        validated = [_metrics(share, 100, job) for share in shares]
        return TrialResult(
            params=values,
            validation=Metrics.mean(validated),
            test=_metrics(accuracy, 1000, job) if isinstance(job, TrialJob) and job.score else None,
            folds=tuple(validated) if folds else (),
            best_epochs=(len(histories[0]),) if folds and histories[0] else (),
            planned_epochs=planned,
            ending=next(filter(None, endings), None),
            history=histories[0],
            cost=Cost(1.0, 1.0, total_time_s=1.0, latency_ms=1.0, parameters=10, macs=100, cores=1),
            input_size=min(job.input_sizes),
        )


def _predict(accuracy: float, job: TrainingJob) -> None:
    """Write predictions of the test pictures with about this accuracy."""
    _write(accuracy, data.load(Path(job.manifest)).part("test"), job, job.predictions)


def _predict_further(accuracy: float, job: ChosenJob, listener: Listener) -> dict[str, Metrics]:
    """Write predictions of the further test sets, with half the errors more in each strength of a corruption."""
    manifest = Path(job.manifest)
    dataset, scores = data.load(manifest), dict[str, Metrics]()
    for done, (name, file) in enumerate(job.also.items()):
        if listener.progress(FURTHER, done, len(job.also)):
            break
        items = load_set(dataset, manifest.parent, name, job.seed).part("test")
        _, strength = CORRUPTED_SETS.get(name, (None, 0))
        share = _write(1 - (1 - accuracy) * (1 + strength / 2), items, job, file)
        scores[name] = _metrics(share, len(items), job)
    return scores


def _write(accuracy: float, items: Sequence[data.Item], job: TrainingJob, file: str) -> float:
    """Write predictions with about this accuracy; return the share of correct ones."""
    labels, classes = data.labels(tuple(items)), len(job.class_names)
    right = _right(accuracy, items, job.seed)
    data.write_predictions(Path(file), tuple(items), np.eye(classes)[np.where(right, labels, (labels + 1) % classes)])
    return float(right.mean())


def _right(accuracy: float, items: Sequence[data.Item], seed: int) -> NDArray[np.bool_]:
    """Choose the pictures that are classified correctly, about this share."""
    draw = np.random.default_rng(seed)
    hardness = np.array([int(item.sha256[8:16], 16) / 2**32 for item in items])
    hardness = np.where(draw.random(len(items)) < SEED_NOISE, draw.random(len(items)), hardness)
    return np.asarray(hardness < accuracy)


def _metrics(accuracy: float, n: int, job: TrainingJob) -> Metrics:
    """All metrics of the run have the accuracy's value."""
    estimates = {name: Estimate(accuracy) for name in job.metrics if name != "accuracy"}
    return Metrics(n, accuracy, accuracy, accuracy, 1 - accuracy, 1 - accuracy, estimates=estimates)
