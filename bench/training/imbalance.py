"""Rare classes in training: weights of the loss by class, and samples with as many pictures of every class."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bench.hyperparameters import Value

CLASS_WEIGHTS = ("none", "balanced")
"""Values of the hyperparameter `class_weight`."""

SAMPLINGS = ("natural", "balanced")
"""Values of the hyperparameter `sampling`."""


@dataclass(frozen=True)
class Balancing:
    """Treatment of rare classes in training.

    Attributes:
        weighted: Whether a picture counts in the loss by the inverse frequency of its class.
        sampled: Whether every class is drawn equally often. All weights would then be 1, so `weighted` is False.
    """

    weighted: bool = False
    sampled: bool = False

    @classmethod
    def of(cls, values: Mapping[str, Value]) -> Balancing:
        """Read the hyperparameters `class_weight` and `sampling`."""
        sampled = values.get("sampling") == "balanced"
        return cls(weighted=values.get("class_weight") == "balanced" and not sampled, sampled=sampled)

    def weights(self, labels: NDArray[np.int64]) -> NDArray[np.float32] | None:
        """Return the weight of each picture, shape (n,), 1 on average; None if all count the same.

        It is n / (classes * pictures of its class): scikit-learn's "balanced", King and Zeng (2001), "Logistic
        regression in rare events data".
        """
        if not self.weighted:
            return None
        from sklearn.utils.class_weight import compute_sample_weight

        return np.asarray(compute_sample_weight("balanced", labels), np.float32)

    def draw(self, labels: NDArray[np.int64], random: np.random.Generator) -> NDArray[np.int64]:
        """Draw as many pictures as there are, in random order; return their indices, shape (n,).

        If balanced, the numbers of two classes differ by at most 1. The pictures of a rare class are repeated, equally
        often or once more; of a frequent class a part is drawn, another one in each call.
        """
        if not self.sampled:
            return random.permutation(len(labels))
        classes, numbers = np.unique(labels, return_inverse=True)
        counts = np.full(len(classes), len(labels) // len(classes))
        counts[random.permutation(len(classes))[: len(labels) % len(classes)]] += 1
        drawn = []
        for number, count in enumerate(counts):
            pictures = np.flatnonzero(numbers == number)
            repeated = [random.permutation(pictures) for _ in range(-(-count // len(pictures)))]
            drawn.append(np.concatenate(repeated)[:count])
        return random.permutation(np.concatenate(drawn))
