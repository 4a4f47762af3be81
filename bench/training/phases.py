"""Phases of a training: one for all layers, or first the head on frozen backbones and then fine-tuning.

Two phases are the usual way of transfer learning (Keras guide "Transfer learning & fine-tuning"): an untrained head
sends large gradients, which would spoil the pretrained layers below it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import keras

from bench.hyperparameters import Value

FINE_TUNE_LEARNING_RATE = 1e-5
"""Learning rate of fine-tuning where a family declares `head_epochs` and no `fine_tune_learning_rate`."""


@dataclass(frozen=True)
class TrainingPhase:
    """One phase of a training.

    Attributes:
        name: Label of its epochs; "" where it is the only one.
        epochs: Maximum number of epochs.
        learning_rate: None takes the hyperparameter of that name.
        head_only: Whether the backbones are frozen as a whole.
    """

    name: str
    epochs: int
    learning_rate: float | None = None
    head_only: bool = False

    @contextmanager
    def freezing(self, backbones: Sequence[keras.Model]) -> Iterator[None]:
        """Freeze what this phase does not train; afterwards restore what `build` has frozen."""
        layers = [layer for model in backbones for layer in model._flatten_layers()] if self.head_only else []
        before = [layer.trainable for layer in layers]
        for layer in layers:
            layer.trainable = False
        try:
            yield
        finally:
            for layer, trainable in zip(layers, before, strict=True):  # a model before its layers, which it sets too
                layer.trainable = trainable


def phases(values: Mapping[str, Value], epochs: int) -> list[TrainingPhase]:
    """List the phases in which a configuration is trained.

    Args:
        values: Hyperparameters; `epochs`, `head_epochs` and `fine_tune_learning_rate` are read.
        epochs: Maximum number of epochs in each phase.
    """
    most = min(epochs, int(values.get("epochs") or epochs))
    head = min(epochs, int(values.get("head_epochs") or 0))
    if not head:
        return [TrainingPhase("", most)]
    learning_rate = float(values.get("fine_tune_learning_rate") or FINE_TUNE_LEARNING_RATE)
    return [TrainingPhase("head", head, head_only=True), TrainingPhase("fine-tuning", most, learning_rate)]
