"""Fakes for tests: a pool that trains nothing, so that the whole driver runs in milliseconds and without TensorFlow.

pool = FakePool(build=lambda hp, family: hp.Int("depth", 1, 9), score=lambda family, params: params["depth"] / 10)
run = runner.run(RunConfig(spaces=("my_space.py",)), pool=pool)
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from bench import data
from bench.cache.files import replacing
from bench.hyperparameters import HyperParameters, Value, fixed
from bench.records import Cost, Epoch, Failure, Metrics
from bench.workers import Job, Listener, Outcome

Build = Callable[[HyperParameters, str], object]
"""Declares hyperparameters; takes `hp` and the family's name."""

SEED_NOISE = 0.1
"""The share of the test pictures on which another seed may come to another answer."""

Score = Callable[[str, Mapping[str, Value]], float]
"""The accuracy of a family's configuration; what it raises is a failed trial."""


class FakePool:
    """A `workers.Pool` in this process; a trial's accuracy is a function of its hyperparameters.

    Where the data is in folds, that is their mean: each fold is 0.01 better than the one before it. About as many of
    the test pictures are classified rightly: mostly the same ones whatever the family, some others with another seed.

    Args:
        build: What every family declares.
        score: What every trial reaches, in each of its epochs.
        known: Every family's known configurations.
        epochs: How many epochs a trial reports.
        slots: How many jobs it takes before it runs them.
    """

    def __init__(
        self,
        build: Build,
        score: Score,
        known: Mapping[str, list[dict[str, Value]]] | None = None,
        epochs: int = 1,
        slots: int = 1,
    ) -> None:
        self._build, self._score, self._known = build, score, dict(known or {})
        self._epochs, self._slots = epochs, slots
        self._waiting: list[tuple[Job, Listener]] = []
        self._cancelled: Failure | None = None
        self.trained: list[tuple[str, dict[str, Value]]] = []
        self.closed = False

    def has_room(self) -> bool:
        """Whether fewer than `slots` jobs wait."""
        return len(self._waiting) < self._slots

    def running(self) -> int:
        """How many jobs wait."""
        return len(self._waiting)

    def submit(self, job: Job, listener: Listener) -> None:
        """Takes a job; it runs when `finished` is called."""
        self._cancelled = None
        self._waiting.append((job, listener))

    def finished(self, timeout_s: float) -> list[Outcome]:
        """Runs the job that has waited longest."""
        if not self._waiting:
            return []
        job, listener = self._waiting.pop(0)
        if self._cancelled is not None:
            return [Outcome(job, failure=self._cancelled)]
        try:
            return [Outcome(job, result=self._run(job, listener))]
        except Exception as error:
            return [Outcome(job, failure=Failure(type(error).__name__, str(error)))]

    def cancel(self, kind: str, message: str) -> None:
        """Waiting jobs end as failures of that kind."""
        self._cancelled = Failure(kind, message)

    def close(self) -> None:
        """Forgets what waits."""
        self._waiting, self.closed = [], True

    def _run(self, job: Job, listener: Listener) -> dict[str, Any]:
        family = Path(job.payload["path"]).stem
        if job.kind == "probe":
            hp = HyperParameters(fixed({}))
            self._build(hp, family)
            known = self._known.get(family, [])
            space = [each.to_dict() for each in hp.space]
            return {"space": space, "known": known, "weights_files": {}, "backbones": 0, "gpus": []}
        values = job.payload.get("values")
        hp = HyperParameters(listener.suggest if values is None else fixed(values))
        self._build(hp, family)
        if listener.report(0, {"params": hp.values}):
            return {"stopped": True, "params": hp.values}
        self.trained.append((family, dict(hp.values)))
        return self._result(family, hp.values, job, listener)

    def _save(self, path: Path, values: Mapping[str, Value]) -> None:
        path.write_text(json.dumps(dict(values)), encoding="utf-8")

    def _result(self, family: str, values: Mapping[str, Value], job: Job, listener: Listener) -> dict[str, Any]:
        accuracy = self._score(family, values)
        test = {"test": asdict(_metrics(accuracy, 1000))}
        if job.payload.get("predictions"):
            _predict(accuracy, job.payload)
        if job.kind == "refit":
            if job.payload["model"]:
                self._save(Path(job.payload["model"]), values)
            return test
        folds = data.load(Path(job.payload["manifest"])).folds
        shares = [accuracy + 0.01 * (number - (folds - 1) / 2) for number in range(folds)] or [accuracy]
        histories = []
        for number, share in enumerate(shares, start=1):
            place = {"fold": number, "folds": folds} if folds else {}
            histories.append(self._train(share, job.payload["epochs"], place, listener))
            if histories[-1] is None:
                return {"stopped": True, "params": values}
        validated = [_metrics(share, 100) for share in shares]
        cost = Cost(fit_time_s=1.0, train_time_s=1.0, latency_ms=1.0, parameters=10, macs=100, cores=1)
        result = {
            "params": values,
            "weights": "",
            "validation": asdict(Metrics.mean(validated)),
            "history": histories[0],
            "input_size": min(job.payload["input_sizes"]),
            "cost": asdict(cost),
        }
        if folds:
            result |= {
                "folds": [asdict(each) for each in validated],
                "best_epochs": [len(histories[0])] if histories[0] else [],
            }
        if keep := listener.result(result).get("keep"):
            self._save(Path(keep), values)
        if job.kind == "score" or job.payload.get("part") == "test":
            result |= test
        return result

    def _train(
        self, accuracy: float, epochs: int, place: Mapping[str, int], listener: Listener
    ) -> list[dict[str, Any]] | None:
        """Reports every epoch; None where the training was stopped."""
        history = []
        for number in range(1, min(self._epochs, epochs) + 1):
            epoch = asdict(Epoch(number, 1 - accuracy, accuracy, 1 - accuracy, accuracy, 0.01))
            history.append(epoch)
            if listener.report(number, {**epoch, **place}):
                return None
        return history


def _predict(accuracy: float, payload: Mapping[str, Any]) -> None:
    """Writes what a model with that accuracy says of the test pictures."""
    items = data.load(Path(payload["manifest"])).part("test")
    draw, file = np.random.default_rng(payload["seed"]), Path(payload["predictions"])
    hardness = np.array([int(item.sha256[8:16], 16) / 2**32 for item in items])
    hardness = np.where(draw.random(len(items)) < SEED_NOISE, draw.random(len(items)), hardness)
    labels, classes = data.labels(items), len(payload["class_names"])
    predicted = np.where(hardness < accuracy, labels, (labels + 1) % classes)
    with replacing(file) as temporary, temporary.open("wb") as stream:
        sha256 = np.array([item.sha256 for item in items])
        np.savez_compressed(stream, sha256=sha256, labels=labels, probabilities=np.eye(classes, dtype="f4")[predicted])


def _metrics(accuracy: float, n: int) -> Metrics:
    return Metrics(n, accuracy, accuracy, accuracy, 1 - accuracy, 1 - accuracy)
