"""Predictions of the chosen models on the test pictures: class probabilities in a run folder."""

from __future__ import annotations

import io
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench import stats
from bench.cache import files
from bench.errors import RunFolderError, reading
from bench.metrics._metric import Metric
from bench.records import Estimate, Run, Trial


@dataclass(frozen=True)
class Predictions:
    """Predictions of one model on the test pictures.

    Attributes:
        sha256: Hash of each picture's content, hexadecimal, shape (n,).
        labels: The true classes, int64, shape (n,).
        probabilities: float32, shape (n, classes).
        groups: Number of each picture's group, from 0 without gaps, shape (n,); None without groups.
    """

    sha256: NDArray[np.str_]
    labels: NDArray[np.int64]
    probabilities: NDArray[np.float32]
    groups: NDArray[np.int64] | None = None

    @property
    def predicted(self) -> NDArray[np.int64]:
        """The most probable classes, shape (n,)."""
        most: NDArray[np.int64] = self.probabilities.argmax(axis=1)
        return most

    @property
    def right(self) -> NDArray[np.bool_]:
        """True for correct predictions, shape (n,)."""
        return np.equal(self.predicted, self.labels)

    def values(self, metric: Metric) -> NDArray[np.generic]:
        """Values of the pictures of a metric, shape (n,)."""
        return metric.values(self.probabilities, self.labels)

    def bounds(self, metric: Metric) -> tuple[float, float]:
        """The 95 % interval of a metric."""
        _, low, high = interval(metric, self.values(metric)[np.newaxis], self.groups, metric.support(self.labels))
        return low, high

    def share_right(self, among: NDArray[np.bool_]) -> tuple[float, float, float]:
        """Share of correct predictions among some pictures, shape (n,), with its 95 % interval."""
        groups = None if self.groups is None else self.groups[among]
        return stats.over_seeds(self.right[np.newaxis, among], groups)

    @property
    def confidence(self) -> NDArray[np.float32]:
        """The probability of the most probable class, shape (n,)."""
        most: NDArray[np.float32] = self.probabilities.max(axis=1)
        return most

    def same_pictures(self, other: Predictions) -> bool:
        """Return whether both are of the same pictures in the same order."""
        return np.array_equal(self.sha256, other.sha256) and np.array_equal(self.labels, other.labels)

    def is_of_classes(self, classes: int) -> bool:
        """True if there are predictions, of this number of classes; a file that was put there by hand may differ."""
        labels, columns = self.labels, self.probabilities.shape[1]
        return columns == classes and len(labels) > 0 and bool(0 <= labels.min() <= labels.max() < classes)

    @property
    def mistakes(self) -> list[int]:
        """Positions of misclassified pictures, the most confident mistake first."""
        wrong = np.flatnonzero(~self.right)
        return [int(place) for place in wrong[np.argsort(-self.confidence[wrong], kind="stable")]]

    def varied(self, mistakes: Sequence[int], count: int) -> list[int]:
        """Select `count` of these mistakes, in their order: one of every confused pair before a second of any.

        The first mistakes of a pair are taken first, and the most frequent pairs.
        """
        pairs = list(zip(self.labels[mistakes].tolist(), self.predicted[mistakes].tolist(), strict=True))
        frequency, before, turns = Counter(pairs), Counter[tuple[int, int]](), []
        for number, pair in enumerate(pairs):
            turns.append((before[pair], -frequency[pair], number))
            before[pair] += 1
        return [mistakes[number] for number in sorted(number for *_, number in sorted(turns)[:count])]


def path(run: Path, family: str, repeat: int = 0) -> Path:
    """File of a family's predictions: those of its model, or of a repeat with another seed (from 1)."""
    return run / "predictions" / (f"{family}.{repeat}.npz" if repeat else f"{family}.npz")


def validation_path(run: Path, family: str) -> Path:
    """File of the predictions of the validation pictures by a family's model; there is none with folds."""
    return run / "predictions" / f"{family}.validation.npz"


def further_path(run: Path, family: str, name: str) -> Path:
    """File of the predictions of a further test set, one of `FurtherSet.names`, by a family's model."""
    return run / "predictions" / f"{family}.also-{name}.npz"


def read(file: Path) -> Predictions:
    """Read a file of `data.write_predictions`.

    Raises:
        RunFolderError: It is missing or damaged; the ZIP format has a checksum of every array.
    """
    with reading(file), np.load(io.BytesIO(files.read(file)), allow_pickle=False) as arrays:
        sha256, labels, probabilities = arrays["sha256"], arrays["labels"], arrays["probabilities"]
        groups = arrays.get("groups")
        n = labels.shape
        if not n == sha256.shape == probabilities.shape[:1] or probabilities.ndim != 2:
            raise ValueError(f"labels {n}, but pictures {sha256.shape} and probabilities {probabilities.shape}")
        if groups is not None and groups.shape != n:
            raise ValueError(f"labels {n}, but groups {groups.shape}")
        kinds = sha256.dtype.kind + labels.dtype.kind + probabilities.dtype.kind
        numbers = labels if groups is None else np.concatenate([labels, groups])
        if kinds != "Uif" or numbers.dtype.kind != "i" or (len(numbers) and numbers.min() < 0):
            raise ValueError(f"arrays of other types: {kinds}")
        if len(labels) and labels.max() >= probabilities.shape[1]:
            raise ValueError(f"label {labels.max()}, but {probabilities.shape[1]} classes")
        if not np.isfinite(probabilities).all():
            raise ValueError("a probability is not finite")
        return Predictions(sha256, labels, probabilities, groups)


def problems(run: Run) -> list[str]:
    """Describe the damaged files of predictions of the chosen trials; missing ones are no damage."""
    readable, reasons = of_run(run), []
    for trial in run.ranking():
        intact = of_seeds(run, trial) if trial.repeats else {0} if trial.family in readable else ()
        unread = [path(run.path, trial.family, number) for number in _numbers(trial) if number not in intact]
        unread += [
            further_path(run.path, trial.family, name)
            for name in trial.also
            if trial.family not in of_further(run, name)
        ]
        for file in unread:
            try:
                if trial.test and (file.is_symlink() or file.exists()):
                    read(file)
            except RunFolderError as error:
                reasons.append(str(error).replace(f"{run.path}{os.sep}", ""))
    return reasons


def of_run(run: Run) -> dict[str, Predictions]:
    """Read the predictions of the chosen trials, by family, best first; all are of the same pictures in the same order.

    A family is left out if its file is missing, damaged, or of other pictures than the first. Files are cached until
    they change, since a page reads them several times.
    """
    paths = {trial.family: path(run.path, trial.family) for trial in run.ranking() if trial.test is not None}
    return dict(_of_families(tuple((family, file, _version(file)) for family, file in paths.items())))


def of_validation(run: Run, families: Sequence[str]) -> list[Predictions]:
    """Read the predictions of the validation pictures by the families that have them, all of the same pictures."""
    paths = ((family, validation_path(run.path, family)) for family in families)
    return list(_of_families(tuple((family, file, _version(file)) for family, file in paths)).values())


def of_further(run: Run, name: str) -> dict[str, Predictions]:
    """Read the predictions of a further test set, one of `FurtherSet.names`, by family, best first; see `of_run`."""
    paths = {trial.family: further_path(run.path, trial.family, name) for trial in run.ranking() if name in trial.also}
    return dict(_of_further(tuple((family, file, _version(file)) for family, file in paths.items())))


def of_seeds(run: Run, trial: Trial) -> dict[int, Predictions]:
    """Read the predictions of a scored trial by number: 0 is its model, others are its repeats.

    A file is left out if it is missing, damaged, or of other pictures than the model's; empty without the model's.
    """
    paths = ((number, path(run.path, trial.family, number)) for number in _numbers(trial))
    by_number = _of_seeds(tuple((number, file, _version(file)) for number, file in paths))
    return dict(by_number) if 0 in by_number else {}


def _numbers(trial: Trial) -> tuple[int, ...]:
    return (0, *(repeat.number for repeat in trial.repeats))


def values_by_seed(
    run: Run, trial: Trial, metric: Metric | None = None
) -> tuple[NDArray[Any], NDArray[np.int64] | None]:
    """Values of the test pictures by each training of a scored trial, shape (seeds, n), and the pictures' groups.

    The trainings are in the order of `of_seeds`; the metric is the run's unless another is given.
    """
    scored = of_seeds(run, trial)
    groups = scored[0].groups if scored else None
    return np.array([predictions.values(metric or run.metric) for predictions in scored.values()]), groups


def over_seeds(run: Run, trial: Trial, metric: Metric) -> tuple[float, float, float] | None:
    """A metric on the test pictures over all trainings of a scored trial, with its 95 % interval; None without any."""
    values, groups = values_by_seed(run, trial, metric)
    if not values.size:
        return None
    return interval(metric, values, groups, metric.support(of_seeds(run, trial)[0].labels))


def interval(
    metric: Metric, values: NDArray[np.generic], groups: NDArray[np.int64] | None, support: float
) -> tuple[float, float, float]:
    """A metric from the values of the pictures, shape (seeds, n), with its 95 % interval (`stats.over_seeds`).

    `support` is as `Metric.support`; right and wrong answers count as many as there are.
    """
    return stats.over_seeds(values, groups, metric.worst, metric.best, None if metric.exact else support)


def estimate(run: Run, trial: Trial, metric: Metric) -> Estimate | None:
    """A metric on the test pictures over all trainings, with its 95 % interval; None if the trial was not scored.

    It is read from the record if that has it, else computed from the predictions. Without these it is that of the run's
    own seed.
    """
    if trial.test is None:
        return None
    if metric.name == trial.metric:
        value, *ends = trial.test_with_interval
        return None if value is None else Estimate(value, *ends)
    is_recorded = metric.name == "accuracy" or metric.name in trial.test.estimates
    computed = None if is_recorded and not trial.over_seeds else over_seeds(run, trial, metric)
    return Estimate(*computed) if computed else trial.test.of(metric.name)


def _read_all(paths: tuple[tuple[Any, Path, tuple[int, ...]], ...]) -> dict[Any, Predictions]:
    """Read files by key; unreadable ones, and those of other pictures than the first, are left out."""
    readable: dict[Any, Predictions] = {}
    for key, file, _ in paths:
        try:
            predictions = read(file)
        except RunFolderError:
            continue
        first = next(iter(readable.values()), predictions)
        if predictions.same_pictures(first):  # share the hashes, which take the most memory
            readable[key] = replace(predictions, sha256=first.sha256, labels=first.labels)
    return readable


_of_families = lru_cache(maxsize=4)(_read_all)
_of_further = lru_cache(maxsize=32)(_read_all)
_of_seeds = lru_cache(maxsize=32)(_read_all)


def _version(file: Path) -> tuple[int, ...]:
    """Key that changes with the file; empty without a file."""
    try:
        status = file.stat()
    except (OSError, ValueError):
        return ()
    return status.st_ino, status.st_mtime_ns, status.st_size


def shared_mistakes(every: Sequence[Predictions]) -> list[int]:
    """Positions of the pictures that all of two or more models misclassify; empty for a single model.

    They are sorted by the mean probability of the true class, lowest first.
    """
    if len(every) < 2:
        return []
    wrong = np.flatnonzero(~np.any([predictions.right for predictions in every], axis=0))
    labels = every[0].labels[wrong]
    truth = np.mean([predictions.probabilities[wrong, labels] for predictions in every], axis=0)
    return [int(place) for place in wrong[np.argsort(truth, kind="stable")]]
