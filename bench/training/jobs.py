"""What a trial's process does: look at a family, check weights, train and score a configuration, score the chosen one.

Every job takes plain data and gives plain data back, so that it runs in a process here or on another machine.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from bench import data
from bench.cache.files import replacing
from bench.data.dataset import Items
from bench.data.pixels import pixels
from bench.data.sources import StageCallback
from bench.hyperparameters import Hyperparameter, HyperParameters, Suggest, Value, fixed
from bench.records import Epoch, Metrics
from bench.training import family, memory, metrics, trainer
from bench.training.channel import Channel, Payload, Result
from bench.training.estimators import Classifier, Estimator, Network, Training
from bench.training.examples import Part, Pictures
from bench.training.frozen import sketch
from bench.training.frozen.features import FeatureCache
from bench.training.probe import check_weights, probe
from bench.training.task import Backbone, Task
from bench.training.trainer import EpochReport, Predictor

TOLD_EVERY_S = 1.0
"""Decoding that goes on for longer is told of so often."""


def run(kind: str, payload: Payload, channel: Channel) -> None:
    """Does one job and sends its result: "probe", "weights", "trial", "score" or "refit"."""
    jobs = {"probe": probe, "weights": check_weights, "trial": trial, "score": score, "refit": refit}
    jobs[kind](payload, channel)


# -- a trial


def trial(payload: Payload, channel: Channel) -> None:
    """Builds, trains and validates one configuration.

    The payload's `values` replay a configuration; without them the driver's engine is asked. With `part` "test" the
    trained model is scored on the test pictures too; with `whole` what is kept of it is a `.keras` file in any case.

    Where the data is in folds, the model is built anew for every fold, with the same values and the same seed; trained
    on the other folds, with early stopping on this one; and validated on this one. The result has every fold's metrics
    and their mean, the first fold's epochs, and for how many epochs the best of all folds would be trained. No fold's
    model is kept or scored: `refit` trains the chosen one.
    """
    begun = time.perf_counter()
    dataset = data.load(Path(payload["manifest"]))
    folds = [dataset.fold(number) for number in range(dataset.folds)]
    splits = folds or [(dataset.part("train"), dataset.part("validation"))]
    built, about = _sketched(payload, fixed(payload["values"]) if "values" in payload else channel.suggest)
    stopped = {**about, "stopped": True}
    if channel.report(0, about):
        channel.result(stopped)
        return
    validated: list[_Validated] = []
    try:
        for number, split in enumerate(splits, start=1):
            estimator = _estimator(built, about["params"], payload, channel)
            place = {"fold": number, "folds": len(folds)} if folds else {}
            train, validation = (_part(dataset, items, estimator.size, payload, channel) for items in split)
            if built.sketched and not estimator.is_ready(train, validation, payload["epochs"]):
                built, _ = _build(payload, fixed(about["params"]))
                estimator = _estimator(built, about["params"], payload, channel)
            validated.append(_validate(estimator, train, validation, payload, _reporter(channel, place)))
            if number == 1:
                cost = estimator.cost()
            if number < len(splits):
                estimator.release()  # the next fold's model needs the memory
                del built, estimator
                keras.utils.clear_session()
                gc.collect()
                built, _ = _sketched(payload, fixed(about["params"]))
    except trainer.Stopped:
        channel.result(stopped)
        return
    result = {**about, **_figures(validated), "input_size": estimator.size}
    if folds:
        result |= _over_folds(validated)
    elif payload.get("part") == "test":
        result["test"] = asdict(_score(estimator.predict, estimator.size, dataset, payload, channel))
    store = _feature_cache(payload)
    result["cost"] = {
        **_times(validated),
        **cost,
        "total_time_s": time.perf_counter() - begun,
        "peak_rss_mb": memory.peak_rss_mb(),
        "cache_mb": store.held_mb() if store else 0.0,
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
    return _Validated(training, metrics.measure(estimator.predict(validation), validation.labels))


def _reporter(channel: Channel, place: Mapping[str, int]) -> EpochReport:
    def report(epoch: Epoch) -> bool:
        return channel.report(epoch.epoch, {**asdict(epoch), **place})

    return report


def _figures(validated: Sequence[_Validated]) -> Result:
    first = validated[0].training
    return {
        "validation": asdict(Metrics.mean([each.metrics for each in validated])),
        "history": [asdict(epoch) for epoch in first.history],
        "prefixes": [asdict(prefix) for prefix in first.prefixes],
    }


def _times(validated: Sequence[_Validated]) -> Result:
    """What one training took, in the mean."""
    fit_time_s = fmean(each.training.fit_time_s for each in validated)
    features_time_s = fmean(each.training.features_time_s for each in validated)
    return {
        "fit_time_s": fit_time_s,
        "features_time_s": features_time_s,
        "train_time_s": fit_time_s + features_time_s,
        "saved_time_s": fmean(each.training.saved_time_s for each in validated),
    }


def _over_folds(validated: Sequence[_Validated]) -> Result:
    best = zip(*(trainer.best_epochs(each.training.history) for each in validated), strict=True)
    return {
        "folds": [asdict(each.metrics) for each in validated],
        "best_epochs": [round(fmean(phase)) for phase in best],
    }


# -- the chosen trials


def score(payload: Payload, channel: Channel) -> None:
    """Restores the chosen trial's model (a scikit-learn one is trained again) and scores it on the test pictures.

    The payload's `trained` is the model's file. Where that has only what was trained beside a sketch of its backbone,
    the whole model is made of it, and kept as the file that `model` names.
    """
    if not payload["trained"]:
        trial({**payload, "part": "test"}, channel)
        return
    dataset, trained = data.load(Path(payload["manifest"])), Path(payload["trained"])
    built, about = _build(payload, fixed(payload["values"]))
    network = _estimator(built, about["params"], payload, channel)
    assert isinstance(network, Network)
    if trained.suffix == ".npz":
        network.take_over(trained)
        network.save(Path(payload["model"]))
        trained.unlink()
    else:
        built.model.load_weights(trained)
    predict = Predictor(built.model)
    test = _score(lambda part: predict(Pictures(part)), network.size, dataset, payload, channel)
    channel.result({"test": asdict(test)})


def refit(payload: Payload, channel: Channel) -> None:
    """Trains a configuration on every picture outside the test set, and scores it on the test pictures.

    So the chosen trial of data in folds gets its model: there is nothing to stop early by, so it trains for the
    payload's `epochs`. The model is kept as the file that the payload's `model` names, if any.
    """
    dataset = data.load(Path(payload["manifest"]))
    built, about = _build(payload, fixed(payload["values"]))
    estimator = _estimator(built, about["params"], payload, channel)
    items = dataset.part("train") + dataset.part("validation")
    estimator.refit(_part(dataset, items, estimator.size, payload, channel), payload["epochs"])
    if payload["model"]:
        estimator.save(Path(payload["model"]))
    channel.result({"test": asdict(_score(estimator.predict, estimator.size, dataset, payload, channel))})


def _score(
    predict: Callable[[Part], metrics.Probabilities],
    size: int,
    dataset: data.Dataset,
    payload: Payload,
    channel: Channel,
) -> Metrics:
    """Scores on the test pictures; their class probabilities go to the file that the payload names, if any."""
    items = dataset.part("test")
    test = _part(dataset, items, size, payload, channel)
    probabilities = predict(test)
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


@dataclass(frozen=True)
class _Built:
    """What a family's `build` returned, and the backbones that it asked for."""

    model: Any
    backbones: list[Backbone]

    @property
    def sketched(self) -> bool:
        """Whether a sketch stands for one of them."""
        return any(isinstance(each.model, sketch.Backbone) for each in self.backbones)


def _sketched(payload: Payload, suggest: Suggest) -> tuple[_Built, Result]:
    """What `_build` gives, with sketches for backbones that were built before, if that does for the family."""
    answers: dict[str, Value] = {}

    def remembered(hyperparameter: Hyperparameter) -> Value:
        if hyperparameter.name not in answers:
            answers[hyperparameter.name] = suggest(hyperparameter)
        return answers[hyperparameter.name]

    path = Path(payload["path"])
    if payload["features"] == "off" or payload.get("part") == "test" or payload.get("whole"):  # needs the backbone
        return _build(payload, suggest)
    if any(b"type(" in each.read_bytes() for each in (path, *path.parent.glob("_*.py"))):  # a sketch's type is its own
        return _build(payload, suggest)
    try:
        return _build(payload, remembered, sketching=True)
    except sketch.NotSketched:
        return _build(payload, remembered)


def _build(payload: Payload, suggest: Suggest, sketching: bool = False) -> tuple[_Built, Result]:
    """What the family's `build` returns, and its hyperparameters and the weights that it started from.

    The seed is set, and the file imported, anew: what is built depends on nothing that was built before.
    """
    cache = _feature_cache(payload)
    keras.utils.set_random_seed(payload["seed"])
    if payload["deterministic"]:
        tf.config.experimental.enable_op_determinism()
    task = Task(
        payload["class_names"],
        payload["input_sizes"],
        payload["weights"],
        payload["files"],
        payload["seed"],
        outlines=sketch.Outlines(cache.root) if cache else None,
        sketching=sketching,
    )
    hp = HyperParameters(suggest)
    model = family.load(Path(payload["path"])).model(hp, task)
    return _Built(model, task.backbones), {"params": hp.values, "weights": task.weights_used}


def _estimator(built: _Built, values: Mapping[str, Value], payload: Payload, channel: Channel) -> Estimator:
    """An estimator for what `build` returned; a classifier without an `input_size` takes the smallest pictures."""
    if not isinstance(built.model, keras.Model):
        return Classifier(built.model, int(values.get("input_size") or min(payload["input_sizes"])), payload["seed"])
    return Network(
        built.model,
        values,
        len(payload["class_names"]),
        payload["seed"],
        backbones=built.backbones,
        cache=_feature_cache(payload),
        progress=_telling(channel),
    )


def _feature_cache(payload: Payload) -> FeatureCache | None:
    if payload["features"] == "off":
        return None
    return FeatureCache(Path(payload["cache"]), payload["features"], payload["cores"])


def _part(dataset: data.Dataset, items: Items, size: int, payload: Payload, channel: Channel) -> Part:
    pictures = pixels(dataset, items, size, Path(payload["cache"]), _telling(channel))
    return Part(pictures, data.labels(items), [item.sha256 for item in items])


def _telling(channel: Channel) -> StageCallback:
    """Tells the driver now and then how many pictures are decoded, or how many features are computed."""
    told_s = time.monotonic()

    def tell(what: str, done: int, total: int) -> None:
        nonlocal told_s
        if time.monotonic() - told_s >= TOLD_EVERY_S:
            told_s = time.monotonic()
            channel.report(0, {"stage": what, "done": done, "total": total})

    return tell
