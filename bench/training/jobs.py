"""What a trial's process does: look at a family, check weights, train and score a configuration, score the chosen one.

Every job takes plain data and gives plain data back, so that it runs in a process here or on another machine.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

import keras
import numpy as np
import tensorflow as tf

from bench import data
from bench.atomic import replacing
from bench.data.pixels import pixels
from bench.errors import SpaceError, unknown
from bench.hyperparameters import Hyperparameter, HyperParameters, Suggest, Value, fixed
from bench.records import Epoch, Metrics
from bench.training import cost, family, keras_trainer, metrics, weights
from bench.training.keras_trainer import Part, Predictor, WrongModel
from bench.training.task import Task, backbone_key

Payload = Mapping[str, Any]
Result = dict[str, Any]


class Channel(Protocol):
    """The way from a trial to the driver; every call waits for its answer."""

    def suggest(self, hyperparameter: Hyperparameter) -> Value:
        """The value of an active hyperparameter in this trial."""
        ...

    def report(self, epoch: int, figures: Mapping[str, Any]) -> bool:
        """What an epoch gave (epoch 0: the model is built, nothing trained yet); True stops the trial."""
        ...

    def result(self, result: Mapping[str, Any]) -> Mapping[str, Any]:
        """How the trial ended; the answer's `keep` is a path to save its model to, or None."""
        ...


def run(kind: str, payload: Payload, channel: Channel) -> None:
    """Does one job and sends its result: "probe", "weights", "trial" or "score"."""
    {"probe": probe, "weights": check_weights, "trial": trial, "score": score}[kind](payload, channel)


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
        elif not (hasattr(model, "fit") and hasattr(model, "predict_proba")):
            raise WrongModel(
                f"build returned {type(model).__name__}: must be a Keras model or a scikit-learn classifier"
                " with predict_proba"
            )
    except WrongModel as error:
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
    """Builds, trains and scores one configuration.

    The payload's `values` replay a configuration; without them the driver's engine is asked. With `part` "test" the
    trained model is scored on the test pictures too.
    """
    begun = time.perf_counter()
    keras.utils.set_random_seed(payload["seed"])
    if payload["deterministic"]:
        tf.config.experimental.enable_op_determinism()
    dataset = data.load(Path(payload["manifest"]))
    task = _task(payload)
    suggest: Suggest = fixed(payload["values"]) if "values" in payload else channel.suggest
    hp = HyperParameters(suggest)
    model = family.load(Path(payload["path"])).model(hp, task)
    about = {"params": hp.values, "weights": task.weights_used}
    if channel.report(0, about):
        channel.result({**about, "stopped": True})
        return
    trained = _train(model, hp.values, dataset, task, payload, channel)
    if trained is None:
        channel.result({**about, "stopped": True})
        return
    result = {**about, **trained.result}
    if payload.get("part") == "test":
        result["test"] = asdict(_score(trained.predict, trained.size, dataset, payload))
    result["cost"] = {
        **result["cost"],
        "total_time_s": time.perf_counter() - begun,
        "peak_rss_mb": peak_rss_mb(),
        "cores": payload["cores"],
    }
    keep = channel.result(result).get("keep")
    if keep and isinstance(model, keras.Model):
        save(model, Path(keep))


def score(payload: Payload, channel: Channel) -> None:
    """Restores the chosen trial's model (a scikit-learn one is trained again) and scores it on the test pictures."""
    if not payload["model"]:
        trial({**payload, "part": "test"}, channel)
        return
    dataset = data.load(Path(payload["manifest"]))
    task = _task(payload)
    hp = HyperParameters(fixed(payload["values"]))
    model = family.load(Path(payload["path"])).model(hp, task)
    model.load_weights(payload["model"])
    size = keras_trainer.check_model(model, task.num_classes)
    channel.result({"test": asdict(_score(Predictor(model), size, dataset, payload))})


@dataclass(frozen=True)
class _Trained:
    predict: Callable[[Any], Any]
    size: int
    result: Result


def _train(
    model: Any, values: Mapping[str, Value], dataset: data.Dataset, task: Task, payload: Payload, channel: Channel
) -> _Trained | None:
    if not isinstance(model, keras.Model):
        return _train_classifier(model, values, dataset, payload)
    size = keras_trainer.check_model(model, task.num_classes)
    keras_trainer.compile_model(model, values)
    batch_size = int(values.get("batch_size") or keras_trainer.BATCH_SIZE)
    keras_trainer.refuse_too_large(model, batch_size, available_memory_mb())
    parts = {part: _part(dataset, part, size, payload) for part in ("train", "validation")}

    def report(epoch: Epoch) -> bool:
        return channel.report(epoch.epoch, asdict(epoch))

    try:
        predict, history, fit_time_s = keras_trainer.fit(
            model,
            parts["train"],
            parts["validation"],
            values=values,
            epochs=payload["epochs"],
            patience=payload["patience"],
            seed=payload["seed"],
            report=report,
        )
    except keras_trainer.Stopped:
        return None
    validation = metrics.measure(predict(parts["validation"].pixels), parts["validation"].labels)
    latency_ms, throughput = cost.speed(predict.raw, (size, size, 3))
    parameters = model.count_params()
    result = {
        "validation": asdict(validation),
        "history": [asdict(epoch) for epoch in history],
        "input_size": size,
        "cost": {
            "fit_time_s": fit_time_s,
            "train_time_s": fit_time_s,
            "latency_ms": latency_ms,
            "throughput_per_s": throughput,
            "parameters": parameters,
            "trainable_parameters": sum(int(np.prod(each.shape)) for each in model.trainable_weights),
            "macs": cost.macs(model),
            "model_size_mb": 4e-6 * parameters,
        },
    }
    return _Trained(predict, size, result)


def _train_classifier(model: Any, values: Mapping[str, Value], dataset: data.Dataset, payload: Payload) -> _Trained:
    """Trains a scikit-learn classifier on flattened pixels, 0 to 255."""
    size = int(values.get("input_size") or min(payload["input_sizes"]))
    if "random_state" in model.get_params():
        model.set_params(random_state=payload["seed"])

    def predict(pictures: Any) -> metrics.Probabilities:
        flat = np.asarray(pictures).reshape(len(pictures), -1)
        return metrics.as_probabilities(model.predict_proba(flat))

    train, validation = (_part(dataset, part, size, payload) for part in ("train", "validation"))
    start = time.perf_counter()
    model.fit(train.pixels.reshape(len(train.pixels), -1), train.labels)
    fit_time_s = time.perf_counter() - start
    latency_ms, throughput = cost.speed(predict, (size, size, 3))
    result = {
        "validation": asdict(metrics.measure(predict(validation.pixels), validation.labels)),
        "history": [],
        "input_size": size,
        "cost": {
            "fit_time_s": fit_time_s,
            "train_time_s": fit_time_s,
            "latency_ms": latency_ms,
            "throughput_per_s": throughput,
        },
    }
    return _Trained(predict, size, result)


def _score(predict: Callable[[Any], Any], size: int, dataset: data.Dataset, payload: Payload) -> Metrics:
    """Scores on the test pictures; their class probabilities go to the file that the payload names, if any."""
    test = _part(dataset, "test", size, payload)
    probabilities = predict(test.pixels)
    if payload.get("predictions"):
        with replacing(Path(payload["predictions"])) as temporary, temporary.open("wb") as file:
            np.savez_compressed(
                file,
                sha256=np.array([item.sha256 for item in dataset.part("test")]),
                labels=test.labels,
                probabilities=probabilities.astype(np.float32),
            )
    return metrics.measure(probabilities, test.labels)


# -- shared


def _task(payload: Payload) -> Task:
    return Task(payload["class_names"], payload["input_sizes"], payload["weights"], payload["files"])


def _part(dataset: data.Dataset, part: str, size: int, payload: Payload) -> Part:
    return Part(pixels(dataset, part, size, Path(payload["cache"])), dataset.labels(part))


def save(model: keras.Model, path: Path) -> None:
    """Writes a `.keras` file without the optimizer's state, replacing the old one whole."""
    if isinstance(model, keras.src.models.functional.Functional):
        model = keras.Model(model.input, model.output, name=model.name)  # shares the layers, is not compiled
    temporary = path.with_name(f".{os.getpid()}-{path.name}")
    model.save(temporary)
    temporary.replace(path)


def available_memory_mb() -> float:
    """Memory that a process could still get, in 10**6 bytes."""
    import psutil

    return float(psutil.virtual_memory().available) / 1e6


def peak_rss_mb() -> float:
    """The most memory that this process has held, in 10**6 bytes."""
    if sys.platform == "win32":
        import psutil

        return float(psutil.Process().memory_info().peak_wset) / 1e6
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 1e6 if sys.platform == "darwin" else peak * 1024 / 1e6
