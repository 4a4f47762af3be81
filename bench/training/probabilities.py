"""Class probabilities of a model: their conversion from its outputs, and what is measured from them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from bench import stats
from bench.metrics import metric
from bench.metrics._metric import Metric
from bench.records import Estimate, Metrics

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


def measure(
    probabilities: Probabilities, labels: Labels, chosen: Sequence[Metric] = (), groups: Labels | None = None
) -> Metrics:
    """Measure the quality of one part of the split.

    Args:
        probabilities: Shape (pictures, classes).
        chosen: The run's metrics.
        groups: Number of every picture's group; None without groups.
    """
    complete = len(np.unique(labels)) == probabilities.shape[1]
    usual = {name: metric(name).value(probabilities, labels) for name in ("accuracy", "balanced_accuracy", "brier")}
    return Metrics(
        n=len(labels),
        roc_auc=metric("roc_auc").value(probabilities, labels) if complete else None,
        log_loss=metric("log_loss").value(probabilities, labels),
        estimates={one.name: _estimate(one, probabilities, labels, groups) for one in chosen if one.name != "accuracy"},
        **usual,
    )


def _estimate(one: Metric, probabilities: Probabilities, labels: Labels, groups: Labels | None) -> Estimate:
    values = one.values(probabilities, labels)
    of_groups = stats.by_group(values, groups)
    return Estimate(float(values.mean()), standard_error=float(of_groups.std() / np.sqrt(len(of_groups))))
