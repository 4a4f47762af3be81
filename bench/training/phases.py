"""Phases of a training: one for all layers, or first the head on frozen backbones and then fine-tuning.

Two phases are the usual way of transfer learning (Keras guide "Transfer learning & fine-tuning"): an untrained head
sends large gradients, which would spoil the pretrained layers below it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property

import keras

from bench.hyperparameters import Value
from bench.records import Prefix
from bench.training import cost
from bench.training.batches import Examples, Part
from bench.training.frozen.features import Fetched
from bench.training.keras_private import layers_within
from bench.training.objective import Objective
from bench.training.trainer import Predictor

FINE_TUNE_LEARNING_RATE = 1e-5
"""Learning rate of fine-tuning where a family declares `head_epochs` and no `fine_tune_learning_rate`."""


@dataclass(frozen=True)
class TrainingPhase:
    """One phase of a training.

    Attributes:
        name: Label of its epochs; "" where it is the only one.
        epochs: Maximum number of epochs.
        learning_rate: None takes the hyperparameter.
        head_only: Whether the backbones are frozen as a whole.
    """

    name: str
    epochs: int
    learning_rate: float | None = None
    head_only: bool = False

    @contextmanager
    def freezing(self, backbones: Sequence[keras.Model]) -> Iterator[None]:
        """Freeze what this phase does not train; afterwards restore what `build` has frozen."""
        layers = [layer for model in backbones for layer in layers_within(model)] if self.head_only else []
        before = [layer.trainable for layer in layers]
        for layer in layers:
            layer.trainable = False
        try:
            yield
        finally:
            for layer, trainable in zip(layers, before, strict=True):  # a model before its layers, which it sets too
                layer.trainable = trainable


def phases(values: Mapping[str, Value], epochs: int) -> list[TrainingPhase]:
    """List the phases of a configuration, of at most so many epochs each."""
    most = min(epochs, int(values.get("epochs") or epochs))
    head = min(epochs, int(values.get("head_epochs") or 0))
    if not head:
        return [TrainingPhase("", most)]
    learning_rate = float(values.get("fine_tune_learning_rate") or FINE_TUNE_LEARNING_RATE)
    return [TrainingPhase("head", head, head_only=True), TrainingPhase("fine-tuning", most, learning_rate)]


@dataclass(frozen=True)
class PreparedPhase:
    """One phase, ready to be compiled and fitted.

    Attributes:
        model: The model that is trained.
        train, validation: Examples such as it takes; no validation where nothing is held out.
        prefix: Use of the frozen layers, for the record.
        examples: Makes examples such as it takes of other pictures.
        fetched: Features of all training and validation pictures; None where the model takes pictures.
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
        """Measure the median milliseconds from one picture to its prediction, those of its features included."""
        latency_ms = cost.latency_ms(self.predict.raw, self.train.read(slice(0, 1)))
        return latency_ms + (self.fetched.latency_ms if self.fetched else 0.0)
