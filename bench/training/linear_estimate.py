"""Estimate of the accuracy that features allow: a linear classifier on a small sample, in closed form.

Such a classifier is the usual measure of pretrained features, a "linear probe" (Alain and Bengio, 2016, "Understanding
intermediate layers using linear classifier probes").
"""

from __future__ import annotations

import warnings
from collections import Counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.data import Dataset
from bench.data.dataset import Item, Items

FOLDS = 10

ALPHA = 1.0
"""Strength of the ridge penalty for features of length 1.

On 200 photographs, this was as accurate as linear discriminant analysis with a shrunk covariance, in a hundredth of the
time, and more accurate than a penalty that is chosen by cross-validation (docs/decisions.md).
"""


def sample(dataset: Dataset, count: int) -> Items:
    """Draw a stratified sample of the training and validation pictures, the same in every run.

    A class is represented by its share, and near duplicates by one picture, because cross-validation would train on one
    and validate on the other. A smaller sample is part of a larger one.
    """
    groups = {picture: number for number, group in enumerate(dataset.alike) for picture in group}
    ordered = sorted((item for item in dataset.items if item.part != "test"), key=lambda item: item.sha256)
    distinct: dict[str | int, Item] = {}
    for item in ordered:
        distinct.setdefault(groups.get(item.id, item.id), item)
    counts = Counter(item.label for item in distinct.values())
    ranks = Counter[int]()
    ranked = []
    for item in distinct.values():
        ranked.append(((ranks[item.label] + 0.5) / counts[item.label], item.label, item))
        ranks[item.label] += 1
    return tuple(item for *_, item in sorted(ranked, key=lambda entry: entry[:2])[:count])


def probabilities(features: NDArray[np.floating[Any]], labels: NDArray[np.int64], classes: int) -> NDArray[np.float64]:
    """Predict the classes of pictures by ridge regression of the one-hot labels, in stratified cross-validation.

    The most probable class is that of scikit-learn's `RidgeClassifier`.

    Args:
        features: Shape (n, features).
        labels: Shape (n,).

    Returns:
        Probabilities, shape (n, classes).

    Raises:
        ValueError: There is one class, or at most one picture of every class.
    """
    from sklearn.linear_model import Ridge
    from sklearn.model_selection import StratifiedKFold, cross_val_predict
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import Normalizer

    counts = Counter(labels.tolist())
    if len(counts) == 1:
        raise ValueError("all sampled pictures are of one class")
    if max(counts.values()) == 1:
        raise ValueError("at most one picture of every class was sampled")
    folds = StratifiedKFold(min(FOLDS, max(counts.values())))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # a class may have fewer pictures than there are folds
        splits = list(folds.split(features, labels))
    model = make_pipeline(Normalizer(), Ridge(ALPHA))
    expected = cross_val_predict(model, features, np.eye(classes)[labels], cv=splits).clip(1e-6, 1.0)
    return np.asarray(expected / expected.sum(axis=1, keepdims=True), np.float64)
