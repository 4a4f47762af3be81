"""The interface that a Keras model and a scikit-learn classifier share, and the record of a training."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from bench.records import Epoch, Prefix
from bench.training.batches import Part
from bench.training.cost import ModelCost
from bench.training.metrics import Probabilities
from bench.training.trainer import EpochReport


@dataclass(frozen=True)
class Training:
    """Record of one training.

    Attributes:
        history: Its epochs; empty where nothing is trained by epochs.
        fit_time_s: Seconds of training and validation.
        features_time_s: Seconds that computing the features takes, measured when they were computed.
        saved_time_s: Part of `features_time_s` that was not spent, since the features were in the cache.
        prefixes: Use of the frozen layers, phase by phase.
    """

    history: tuple[Epoch, ...]
    fit_time_s: float
    features_time_s: float = 0.0
    saved_time_s: float = 0.0
    prefixes: tuple[Prefix, ...] = ()


class Estimator(Protocol):
    """A model that is trained once, and then predicts.

    Attributes:
        size: Side of the pictures that it takes, in pixels.
    """

    size: int

    def fit(self, train: Part, validation: Part, *, epochs: int, patience: int, report: EpochReport) -> Training:
        """Train with early stopping; see `trainer.fit`."""
        ...

    def refit(self, train: Part, epochs: Sequence[int]) -> None:
        """Train for a given number of epochs in each phase, with nothing held out."""
        ...

    def predict(self, part: Part) -> Probabilities:
        """Return class probabilities, shape (n, classes)."""
        ...

    def cost(self) -> ModelCost:
        """Measure the cost of using it, once it is trained."""
        ...

    def is_ready(self, train: Part, validation: Part, epochs: int) -> bool:
        """Tell whether it can be trained without the backbones that it has only sketches of."""
        ...

    def save(self, path: Path) -> None:
        """Write a Keras model as a `.keras` file; a scikit-learn classifier is not saved.

        A model with a sketch for a backbone writes what was trained, an `.npz` file of the same name.
        """
        ...

    def release(self) -> None:
        """Give its memory back; it is of no use afterwards."""
        ...
