"""What a trial's process does: look at a family, check weights, train and score a configuration, score the chosen one.

Every job takes plain data and gives plain data back, so that it runs in a process here or on another machine.
"""

from __future__ import annotations

import gc
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean
from typing import Any, Protocol

import keras
import numpy as np
import tensorflow as tf

from bench import data
from bench.atomic import replacing
from bench.data.dataset import Items
from bench.data.pixels import pixels
from bench.data.sources import Progress
from bench.errors import SpaceError, unknown
from bench.hyperparameters import Hyperparameter, HyperParameters, Suggest, Value, fixed
from bench.records import Epoch, Metrics
from bench.training import augmentation, estimators, family, keras_trainer, metrics, weights
from bench.training.estimators import Estimator, Training
from bench.training.keras_trainer import EpochReport, Part, Predictor, WrongModel
from bench.training.task import Task, backbone_key

TOLD_EVERY_S = 1.0
"""Decoding that goes on for longer is told of so often."""

Payload = Mapping[str, Any]
Result = dict[str, Any]


class Channel(Protocol):
    """The way from a trial to the driver; every call waits for its answer."""

    def suggest(self, hyperparameter: Hyperparameter) -> Value:
        """The value of an active hyperparameter in this trial."""
        ...

    def report(self, epoch: int, figures: Mapping[str, Any]) -> bool:
        """What an epoch gave (epoch 0: the model is built, or pictures are decoded); True stops the trial."""
        ...

    def result(self, result: Mapping[str, Any]) -> Mapping[str, Any]:
        """How the trial ended; the answer's `keep` is a path to save its model to, or None."""
        ...


def run(kind: str, payload: Payload, channel: Channel) -> None:
    """Does one job and sends its result: "probe", "weights", "trial", "score" or "refit"."""
    jobs = {"probe": probe, "weights": check_weights, "trial": trial, "score": score, "refit": refit}
    jobs[kind](payload, channel)


# -- before the search


def probe(payload: Payload, channel: Channel) -> None:
    """Builds a family with default values: what it declares, which backbones it wants, whether it can be trained.

    Raises:
        SpaceError: The file, its output shape or a known configuration is wrong; names file and line.
    """
    loaded = family.load(Path(payload["path"]))
    first = _declared(loaded, payload, {})
    space = first.space
    for hidden in [each for each in space if not each.is_active(first.values)]:
        parents = {parent: allowed[0] for parent, allowed in hidden.conditions}
        try:
            more = _declared(loaded, payload, parents).space
        except SpaceError:
            continue  # a corner that does not build is a failed trial later, not a broken file
        space = space + [each for each in more if each not in space]
    known = [_known(loaded, payload, number, each, space) for number, each in enumerate(loaded.known)]
    wanted = {backbone_key(application, options): (application, options) for application, options in first.backbones}
    files = {
        key: {**found, "application": application.__name__, "options": dict(options)}
        for key, (application, options) in wanted.items()
        if payload["weights"] == "imagenet" and (found := weights.weights_file(application, options))
    }
    channel.result(
        {
            "space": [each.to_dict() for each in space],
            "known": known,
            "weights_files": files,
            "backbones": len(wanted),
            "gpus": [device.name for device in tf.config.list_physical_devices("GPU")],
        }
    )


@dataclass(frozen=True)
class _Build:
    space: list[Hyperparameter]
    values: dict[str, Value]
    backbones: list[tuple[Callable[..., Any], dict[str, Any]]]


def _declared(loaded: family.Family, payload: Payload, values: Mapping[str, Value]) -> _Build:
    """Builds once with given values and defaults; raises SpaceError with the line where it fails."""
    task = Task(payload["class_names"], payload["input_sizes"])
    hp = HyperParameters(fixed(values))
    try:
        model = loaded.model(hp, task)
    except Exception as error:
        raise family.space_error(loaded.path, error) from error
    try:
        if isinstance(model, keras.Model):
            keras_trainer.check_model(model, task.num_classes)
            augmentation.check_declared(hp.space)
        elif not (hasattr(model, "fit") and hasattr(model, "predict_proba")):
            raise WrongModel(
                f"build returned {type(model).__name__}: must be a Keras model or a scikit-learn classifier"
                " with predict_proba"
            )
    except ValueError as error:
        raise SpaceError(loaded.path, loaded.line, str(error)) from error
    return _Build(hp.space, hp.values, [(application, options) for application, options, _ in task.backbones])


def _known(
    loaded: family.Family, payload: Payload, number: int, values: Mapping[str, Value], space: list[Hyperparameter]
) -> dict[str, Value]:
    """A known configuration, checked against what the family declares.

    `input_size` takes the nearest size that this data offers, so that one file serves small and large pictures.
    """
    checked: dict[str, Value] = {}
    for name, value in values.items():
        named = [each for each in space if each.name == name]
        if not named:
            message = str(unknown("hyperparameter", name, [each.name for each in space]))
            raise SpaceError(
                loaded.path, _line_of(loaded.path, "KNOWN_CONFIGURATIONS"), f"configuration {number}: {message}"
            )
        if name == "input_size" and named[0].kind == "Choice" and isinstance(value, int):
            wanted = value
            value = min((int(each or 0) for each in named[0].values), key=lambda size: abs(size - wanted))
        if named[0].kind == "Float" and isinstance(value, int) and not isinstance(value, bool):
            value = float(value)
        if not any(each.accepts(value) for each in named):
            raise SpaceError(
                loaded.path,
                _line_of(loaded.path, "KNOWN_CONFIGURATIONS"),
                f"configuration {number}: {name}={value!r} is outside {named[0].describe()}",
            )
        checked[name] = value
    return checked


def _line_of(path: Path, name: str) -> int:
    lines = path.read_text(encoding="utf-8").splitlines()
    return next((number for number, line in enumerate(lines, 1) if line.startswith(name)), 1)


def check_weights(payload: Payload, channel: Channel) -> None:
    """Loads a weights file into its application; the result says what is wrong with it, "" if nothing."""
    try:
        weights.check(payload["application"], payload["options"], payload["path"])
        wrong = ""
    except Exception as error:
        wrong = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
    channel.result({"wrong": wrong})


# -- a trial


def trial(payload: Payload, channel: Channel) -> None:
    """Builds, trains and validates one configuration.

    The payload's `values` replay a configuration; without them the driver's engine is asked. With `part` "test" the
    trained model is scored on the test pictures too.

    Where the data is in folds, the model is built anew for every fold, with the same values and the same seed; trained
    on the other folds, with early stopping on this one; and validated on this one. The result has every fold's metrics
    and their mean, the first fold's epochs, and for how many epochs the best of all folds would be trained. No fold's
    model is kept or scored: `refit` trains the chosen one.
    """
    begun = time.perf_counter()
    dataset = data.load(Path(payload["manifest"]))
    folds = [dataset.fold(number) for number in range(dataset.folds)]
    splits = folds or [(dataset.part("train"), dataset.part("validation"))]
    model, about = _build(payload, fixed(payload["values"]) if "values" in payload else channel.suggest)
    stopped = {**about, "stopped": True}
    if channel.report(0, about):
        channel.result(stopped)
        return
    validated: list[_Validated] = []
    try:
        for number, split in enumerate(splits, start=1):
            estimator = _estimator(model, about["params"], payload)
            place = {"fold": number, "folds": len(folds)} if folds else {}
            train, validation = (_part(dataset, items, estimator.size, payload, channel) for items in split)
            validated.append(_validate(estimator, train, validation, payload, _reporter(channel, place)))
            if number == 1:
                cost = estimator.cost()
            if number < len(splits):
                estimator.release()  # the next fold's model needs the memory
                del model, estimator
                keras.utils.clear_session()
                gc.collect()
                model, _ = _build(payload, fixed(about["params"]))
    except keras_trainer.Stopped:
        channel.result(stopped)
        return
    result = {**about, **_figures(validated), "input_size": estimator.size}
    if folds:
        result |= _over_folds(validated)
    elif payload.get("part") == "test":
        result["test"] = asdict(_score(estimator.predict, estimator.size, dataset, payload))
    result["cost"] = {
        **_times(validated),
        **cost,
        "total_time_s": time.perf_counter() - begun,
        "peak_rss_mb": peak_rss_mb(),
        "cores": payload["cores"],
    }
    if keep := channel.result(result).get("keep"):
        estimator.save(Path(keep))


@dataclass(frozen=True)
class _Validated:
    """One training and what came out of it; not the model, which a later fold's may have to replace."""

    training: Training
    metrics: Metrics


def _validate(estimator: Estimator, train: Part, validation: Part, payload: Payload, report: EpochReport) -> _Validated:
    training = estimator.fit(train, validation, epochs=payload["epochs"], patience=payload["patience"], report=report)
    return _Validated(training, metrics.measure(estimator.predict(validation.pixels), validation.labels))


def _reporter(channel: Channel, place: Mapping[str, int]) -> EpochReport:
    def report(epoch: Epoch) -> bool:
        return channel.report(epoch.epoch, {**asdict(epoch), **place})

    return report


def _figures(validated: Sequence[_Validated]) -> Result:
    first = validated[0].training
    return {
        "validation": asdict(Metrics.mean([each.metrics for each in validated])),
        "history": [asdict(epoch) for epoch in first.history],
    }


def _times(validated: Sequence[_Validated]) -> Result:
    """What one training took, in the mean."""
    fit_time_s = fmean(each.training.fit_time_s for each in validated)
    return {"fit_time_s": fit_time_s, "train_time_s": fit_time_s}


def _over_folds(validated: Sequence[_Validated]) -> Result:
    best = [keras_trainer.best_epoch(each.training.history) for each in validated if each.training.history]
    return {
        "folds": [asdict(each.metrics) for each in validated],
        "best_epochs": round(fmean(best)) if best else None,
    }


# -- the chosen trials


def score(payload: Payload, channel: Channel) -> None:
    """Restores the chosen trial's model (a scikit-learn one is trained again) and scores it on the test pictures."""
    if not payload["model"]:
        trial({**payload, "part": "test"}, channel)
        return
    dataset = data.load(Path(payload["manifest"]))
    model, _ = _build(payload, fixed(payload["values"]))
    model.load_weights(payload["model"])
    size = keras_trainer.check_model(model, len(payload["class_names"]))
    channel.result({"test": asdict(_score(Predictor(model), size, dataset, payload))})


def refit(payload: Payload, channel: Channel) -> None:
    """Trains a configuration on every picture outside the test set, and scores it on the test pictures.

    So the chosen trial of data in folds gets its model: there is nothing to stop early by, so it trains for the
    payload's `epochs`. The model is kept as the file that the payload's `model` names, if any.
    """
    dataset = data.load(Path(payload["manifest"]))
    model, about = _build(payload, fixed(payload["values"]))
    estimator = _estimator(model, about["params"], payload)
    items = dataset.part("train") + dataset.part("validation")
    estimator.refit(_part(dataset, items, estimator.size, payload, channel), payload["epochs"])
    if payload["model"]:
        estimator.save(Path(payload["model"]))
    channel.result({"test": asdict(_score(estimator.predict, estimator.size, dataset, payload))})


def _score(predict: Callable[[Any], Any], size: int, dataset: data.Dataset, payload: Payload) -> Metrics:
    """Scores on the test pictures; their class probabilities go to the file that the payload names, if any."""
    items = dataset.part("test")
    test = _part(dataset, items, size, payload)
    probabilities = predict(test.pixels)
    if payload.get("predictions"):
        with replacing(Path(payload["predictions"])) as temporary, temporary.open("wb") as file:
            np.savez_compressed(
                file,
                sha256=np.array([item.sha256 for item in items]),
                labels=test.labels,
                probabilities=probabilities.astype(np.float32),
            )
    return metrics.measure(probabilities, test.labels)


# -- shared


def _build(payload: Payload, suggest: Suggest) -> tuple[Any, Result]:
    """What the family's `build` returns, and its hyperparameters and the weights that it started from.

    The seed is set, and the file imported, anew: what is built depends on nothing that was built before.
    """
    keras.utils.set_random_seed(payload["seed"])
    if payload["deterministic"]:
        tf.config.experimental.enable_op_determinism()
    task = Task(payload["class_names"], payload["input_sizes"], payload["weights"], payload["files"])
    hp = HyperParameters(suggest)
    model = family.load(Path(payload["path"])).model(hp, task)
    return model, {"params": hp.values, "weights": task.weights_used}


def _estimator(model: Any, values: Mapping[str, Value], payload: Payload) -> Estimator:
    sizes, classes = payload["input_sizes"], len(payload["class_names"])
    return estimators.create(model, values, num_classes=classes, input_sizes=sizes, seed=payload["seed"])


def _part(dataset: data.Dataset, items: Items, size: int, payload: Payload, channel: Channel | None = None) -> Part:
    progress = _decoding(channel) if channel else None
    return Part(pixels(dataset, items, size, Path(payload["cache"]), progress), data.labels(items))


def _decoding(channel: Channel) -> Progress:
    """Tells the driver now and then how many pictures are decoded."""
    told_s = time.monotonic()

    def tell(what: str, done: int, total: int) -> None:
        nonlocal told_s
        if time.monotonic() - told_s >= TOLD_EVERY_S:
            told_s = time.monotonic()
            channel.report(0, {"stage": what, "done": done, "total": total})

    return tell


def peak_rss_mb() -> float:
    """The most memory that this process has held, in 10**6 bytes."""
    if sys.platform == "win32":
        import psutil

        return float(psutil.Process().memory_info().peak_wset) / 1e6
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 1e6 if sys.platform == "darwin" else peak * 1024 / 1e6
