"""What is trained, a Keras model or a scikit-learn classifier, behind one face."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import keras
import numpy as np
import tensorflow as tf

from bench.hyperparameters import Value
from bench.records import Epoch
from bench.training import cost, keras_trainer, metrics
from bench.training.keras_trainer import EpochReport, Part, Predictor


@dataclass(frozen=True)
class Training:
    """What a training took: its epochs (none where nothing is trained by epochs) and its seconds."""

    history: tuple[Epoch, ...]
    fit_time_s: float


class Estimator(Protocol):
    """A model that is trained once, and then predicts.

    Attributes:
        size: Side of the pictures that it takes, in pixels.
    """

    size: int

    def fit(self, train: Part, validation: Part, *, epochs: int, patience: int, report: EpochReport) -> Training:
        """Trains, stopping early where validation gets no better; see `keras_trainer.fit`."""
        ...

    def refit(self, train: Part, epochs: int) -> None:
        """Trains for so many epochs, with nothing held out."""
        ...

    def predict(self, pictures: Any) -> metrics.Probabilities:
        """Class probabilities of uint8 pictures, shape (n, classes)."""
        ...

    def cost(self) -> dict[str, float]:
        """What using it costs, fields of `records.Cost`; once it is trained."""
        ...

    def save(self, path: Path) -> None:
        """Writes it as a `.keras` file; nothing where it is no Keras model."""
        ...

    def release(self) -> None:
        """Gives its memory back; it is of no use afterwards."""
        ...


def create(
    model: Any, values: Mapping[str, Value], *, num_classes: int, input_sizes: Sequence[int], seed: int
) -> Estimator:
    """An estimator for what `build` returned.

    Args:
        model: A Keras model or a scikit-learn classifier.
        values: Hyperparameters.
        num_classes: How many there are.
        input_sizes: Picture sizes in pixels; a classifier without the hyperparameter `input_size` takes the smallest.
        seed: Of the training.

    Raises:
        WrongModel: It cannot be trained on these pictures.
        TooLarge: It would not fit into memory.
    """
    if isinstance(model, keras.Model):
        return Network(model, values, num_classes, seed)
    return Classifier(model, int(values.get("input_size") or min(input_sizes)), seed)


class Network:
    """A Keras model, compiled and known to fit into memory; the arguments are `create`'s."""

    _predictor: Predictor  # of the trained model

    def __init__(self, model: keras.Model, values: Mapping[str, Value], num_classes: int, seed: int) -> None:
        self.size = keras_trainer.check_model(model, num_classes)
        keras_trainer.compile_model(model, values)
        batch_size = int(values.get("batch_size") or keras_trainer.BATCH_SIZE)
        keras_trainer.refuse_too_large(model, batch_size, available_memory_mb())
        self._model, self._values, self._seed = model, values, seed

    def fit(self, train: Part, validation: Part, *, epochs: int, patience: int, report: EpochReport) -> Training:
        """Trains with early stopping; the best epoch's weights are restored."""
        self._predictor, history, fit_time_s = keras_trainer.fit(
            self._model,
            train,
            validation,
            values=self._values,
            epochs=epochs,
            patience=patience,
            seed=self._seed,
            report=report,
        )
        return Training(tuple(history), fit_time_s)

    def refit(self, train: Part, epochs: int) -> None:
        """Trains for so many epochs, with nothing held out."""
        self._predictor = keras_trainer.refit(self._model, train, values=self._values, epochs=epochs, seed=self._seed)

    def predict(self, pictures: Any) -> metrics.Probabilities:
        """Class probabilities of uint8 pictures, shape (n, classes)."""
        return self._predictor(pictures)

    def cost(self) -> dict[str, float]:
        """Speed, size and operations."""
        latency_ms, throughput = cost.speed(self._predictor.raw, (self.size, self.size, 3))
        parameters = self._model.count_params()
        return {
            "latency_ms": latency_ms,
            "throughput_per_s": throughput,
            "parameters": parameters,
            "trainable_parameters": sum(int(np.prod(each.shape)) for each in self._model.trainable_weights),
            "macs": cost.macs(self._model),
            "model_size_mb": 4e-6 * parameters,
        }

    def save(self, path: Path) -> None:
        """Writes a `.keras` file without the optimizer's state, replacing the old one whole."""
        model = self._model
        if isinstance(model, keras.src.models.functional.Functional):
            model = keras.Model(model.input, model.output, name=model.name)  # shares the layers, is not compiled
        temporary = path.with_name(f".{os.getpid()}-{path.name}")
        model.save(temporary)
        temporary.replace(path)

    def release(self) -> None:
        """Gives back what the weights and the optimizer's state hold.

        Nothing else would: TensorFlow registers custom gradients for good (`tf.custom_gradient` in a graph), Keras sums
        gradients through one, and so every training's graph and its variables outlive the model. Their values do not.
        """
        for variable in (*self._model.variables, *self._model.optimizer.variables):
            nothing = tf.zeros((), variable.value.dtype)
            tf.raw_ops.AssignVariableOp(resource=variable.value.handle, value=nothing)


class Classifier:
    """A scikit-learn classifier on flattened pixels, 0 to 255.

    Args:
        model: It has `fit` and `predict_proba`.
        size: Side of the pictures, in pixels.
        seed: Its `random_state`, where it has one.
    """

    def __init__(self, model: Any, size: int, seed: int) -> None:
        if "random_state" in model.get_params():
            model.set_params(random_state=seed)
        self.size = size
        self._model = model

    def fit(self, train: Part, validation: Part, *, epochs: int, patience: int, report: EpochReport) -> Training:
        """Trains on all training pictures at once; nothing is validated meanwhile or reported."""
        pictures = _flat(train.pixels)
        start = time.perf_counter()
        self._model.fit(pictures, train.labels)
        return Training((), time.perf_counter() - start)

    def refit(self, train: Part, epochs: int) -> None:
        """Trains on all pictures at once."""
        self._model.fit(_flat(train.pixels), train.labels)

    def predict(self, pictures: Any) -> metrics.Probabilities:
        """Class probabilities of uint8 pictures, shape (n, classes)."""
        return metrics.as_probabilities(self._model.predict_proba(_flat(pictures)))

    def cost(self) -> dict[str, float]:
        """Speed."""
        latency_ms, throughput = cost.speed(self.predict, (self.size, self.size, 3))
        return {"latency_ms": latency_ms, "throughput_per_s": throughput}

    def save(self, path: Path) -> None:
        """Nothing: it could only be kept as a pickle, which nobody should load."""

    def release(self) -> None:
        """Nothing: the last reference to it does that."""


def _flat(pictures: Any) -> Any:
    return np.asarray(pictures).reshape(len(pictures), -1)


def available_memory_mb() -> float:
    """Memory that a process could still get, in 10**6 bytes."""
    import psutil

    return float(psutil.virtual_memory().available) / 1e6
