"""Phases of a training: either one for all layers, or the head on frozen backbones followed by fine-tuning.

Two phases are usual in transfer learning (Keras guide "Transfer learning & fine-tuning"): the large gradients of an
untrained head would destroy the pretrained weights.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property

import keras

from bench.hyperparameters import Value
from bench.records import Prefix
from bench.training import footprint
from bench.training.batches import Examples, Part
from bench.training.frozen.features import Fetched
from bench.training.keras_private import layers_within
from bench.training.objective import Objective
from bench.training.trainer import Predictor

FINE_TUNE_LEARNING_RATE = 1e-5
"""Learning rate of fine-tuning if a family declares `head_epochs` but no `fine_tune_learning_rate`."""


@dataclass(frozen=True)
class TrainingPhase:
    """One phase of a training.

    Attributes:
        name: Label of its epochs; "" if it is the only phase.
        epochs: Maximum number of epochs.
        learning_rate: None uses the hyperparameter.
        head_only: Whether all layers of the backbones are frozen.
    """

    name: str
    epochs: int
    learning_rate: float | None = None
    head_only: bool = False

    @contextmanager
    def freezing(self, backbones: Sequence[keras.Model]) -> Iterator[None]:
        """Freeze the backbones if only the head is trained; afterwards restore the layers' `trainable`."""
        layers = [layer for model in backbones for layer in layers_within(model)] if self.head_only else []
        previous = [layer.trainable for layer in layers]
        for layer in layers:
            layer.trainable = False
        try:
            yield
        finally:
            for layer, trainable in zip(layers, previous, strict=True):  # models before their layers: they set these
                layer.trainable = trainable


def phases(values: Mapping[str, Value], epochs: int) -> list[TrainingPhase]:
    """Return the phases of a configuration, each with at most this number of epochs."""
    max_epochs = min(epochs, int(values.get("epochs") or epochs))
    head_epochs = min(epochs, int(values.get("head_epochs") or 0))
    if not head_epochs:
        return [TrainingPhase("", max_epochs)]
    learning_rate = float(values.get("fine_tune_learning_rate") or FINE_TUNE_LEARNING_RATE)
    return [
        TrainingPhase("head", head_epochs, head_only=True),
        TrainingPhase("fine-tuning", max_epochs, learning_rate),
    ]


@dataclass(frozen=True)
class PreparedPhase:
    """One phase, ready for compiling and fitting.

    Attributes:
        model: The model to train.
        train, validation: Examples for the model; `validation` is None if no pictures are held out.
        prefix: Record of the use of the frozen layers.
        examples: Converts other pictures to examples for the model.
        fetched: Features of all training and validation pictures; None if the model takes pictures.
    """

    phase: TrainingPhase
    model: keras.Model
    objective: Objective
    train: Examples
    validation: Examples | None
    prefix: Prefix
    examples: Callable[[Part], Examples]
    fetched: Fetched | None = None

    @cached_property
    def predict(self) -> Predictor:
        """Predictor of the model; traced once."""
        return Predictor(self.model, self.objective)

    def latency_ms(self) -> float:
        """Measure the median milliseconds for predicting one picture, including its features."""
        latency_ms = footprint.latency_ms(self.predict.raw, self.train.read(slice(0, 1)))
        return latency_ms + (self.fetched.latency_ms if self.fetched else 0.0)
