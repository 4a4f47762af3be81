"""A scikit-learn classifier as an estimator."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bench.training import cost, metrics
from bench.training.batches import Part
from bench.training.cost import ModelCost
from bench.training.estimator import Training
from bench.training.trainer import EpochReport


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
        """Train on all training pictures at once, without epochs to validate or report."""
        pictures = _flattened(train.pixels)
        start = time.perf_counter()
        self._model.fit(pictures, train.labels)
        return Training((), time.perf_counter() - start)

    def refit(self, train: Part, epochs: Sequence[int]) -> None:
        """Train on all pictures at once."""
        self._model.fit(_flattened(train.pixels), train.labels)

    def predict(self, part: Part) -> metrics.Probabilities:
        """Return class probabilities, shape (n, classes)."""
        return self._probabilities(part.pixels)

    def cost(self) -> ModelCost:
        """Measure its speed."""
        return ModelCost(cost.latency_ms(self._probabilities, [(self.size, self.size, 3)]))

    def is_ready(self, train: Part, validation: Part, epochs: int) -> bool:
        """Return True: it has no backbone."""
        return True

    def save(self, path: Path) -> None:
        """Write nothing: the only format is a pickle, which nobody should load."""

    def release(self) -> None:
        """Do nothing: the last reference gives the memory back."""

    def _probabilities(self, pictures: Any) -> metrics.Probabilities:
        return metrics.as_probabilities(self._model.predict_proba(_flattened(pictures)))


def _flattened(pictures: Any) -> Any:
    return np.asarray(pictures).reshape(len(pictures), -1)
