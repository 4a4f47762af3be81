"""Metrics computed from class probabilities and labels: pure functions on arrays."""

from __future__ import annotations

import warnings

import numpy as np
from numpy.typing import NDArray

from bench.records import Metrics

Labels = NDArray[np.int64]
Probabilities = NDArray[np.float64]


TOLERANCE = 1e-3
"""Maximum excess over the range 0 to 1 that counts as rounding error; allows for half precision."""


def as_probabilities(output: NDArray[np.floating]) -> Probabilities:
    """Convert a model's output to class probabilities, shape (n, classes), that sum to 1.

    One column becomes two. Rows with several columns are divided by their sum, as in Keras' cross-entropy; with one
    sigmoid per class they do not sum to 1.

    Raises:
        ValueError: An output is not between 0 and 1.
    """
    values = np.asarray(output, dtype=np.float64)
    values = values.reshape(len(values), -1)
    if len(values) and not (values.min() >= -TOLERANCE and values.max() <= 1 + TOLERANCE):
        raise ValueError(
            f"the model's outputs lie between {values.min():.4g} and {values.max():.4g}: must be probabilities, 0 to 1;"
            " if they are logits, compile a loss with from_logits=True"
        )
    values = values.clip(0.0, 1.0)
    if values.shape[1] == 1:
        return np.concatenate([1.0 - values, values], axis=1)
    sums = values.sum(axis=1, keepdims=True)
    return np.where(sums > 0, values / np.where(sums > 0, sums, 1.0), 1 / values.shape[1])


def accuracy(probabilities: Probabilities, labels: Labels) -> float:
    """Compute the share of pictures whose most probable class is the right one."""
    return float(np.mean(probabilities.argmax(axis=1) == labels))


def log_loss(probabilities: Probabilities, labels: Labels) -> float:
    """Compute the mean negative log-likelihood in nats; as in Keras, probabilities are clipped to float32's epsilon."""
    right = probabilities[np.arange(len(labels)), labels] / probabilities.sum(axis=1)
    return float(-np.mean(np.log(np.clip(right, np.finfo(np.float32).eps, 1.0))))


def measure(probabilities: Probabilities, labels: Labels) -> Metrics:
    """Compute all metrics of one part of the split from probabilities of shape (pictures, classes)."""
    from sklearn import metrics

    classes = probabilities.shape[1]
    one_hot = np.eye(classes)[labels]
    squared = float(np.mean(np.sum((probabilities - one_hot) ** 2, axis=1)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # for classes that are never predicted or have no pictures
        balanced = float(metrics.balanced_accuracy_score(labels, probabilities.argmax(axis=1)))
        if len(np.unique(labels)) < classes:
            auc = None
        elif classes == 2:
            auc = float(metrics.roc_auc_score(labels, probabilities[:, 1]))
        else:
            normalised = probabilities / probabilities.sum(axis=1, keepdims=True)
            auc = float(metrics.roc_auc_score(labels, normalised, multi_class="ovr"))
    return Metrics(
        n=len(labels),
        accuracy=accuracy(probabilities, labels),
        balanced_accuracy=balanced,
        roc_auc=auc,
        log_loss=log_loss(probabilities, labels),
        brier=squared / 2 if classes == 2 else squared,
    )
