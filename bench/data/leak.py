"""Measure a leak: the accuracy of a cheap classifier where groups are split at random, and where they stay together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bench import stats
from bench.data import groups
from bench.data.dataset import Dataset, Item
from bench.data.pictures import SHARED_SIDE, ordered, quiet, resized
from bench.data.sources import StageCallback
from bench.data.split import rank
from bench.errors import ConfigError, DataError

SIDE = 32
"""Side of the squares whose features are computed, in pixels."""

TINTS = 16
"""Number of bins of each of two axes of the tint: the shares of red and of green in a pixel, around a third."""

TINT_WIDTH = 0.03
"""Width of a bin."""

MAX_PICTURES = 3000
"""Maximum number of pictures: whole groups are drawn up to it."""

FOLDS = 5


@dataclass(frozen=True)
class LeakEstimate:
    """Cross-validated accuracies of a linear classifier, each with its 95 % interval.

    Attributes:
        pattern: The value of `--group-by` by which the pictures were grouped.
        pictures, groups: Number of pictures and of groups.
        chance: Share of the largest class.
        random: Accuracy and interval where pictures are split at random.
        grouped: The same where groups stay together; the interval counts groups.
    """

    pattern: str
    pictures: int
    groups: int
    chance: float
    random: tuple[float, float, float]
    grouped: tuple[float, float, float]


def measure(dataset: Dataset, pattern: str, seed: int, progress: StageCallback | None = None) -> LeakEstimate:
    """Cross-validate a linear classifier on the pixels of small squares, under both splits.

    Raises:
        ConfigError: No groups are given, and the names suggest none.
        DataError: A class has too few groups.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold, cross_val_predict

    pattern = pattern or (dataset.suggested.pattern if dataset.suggested else "")
    if not pattern:
        raise ConfigError("leak: no groups are given, and the names suggest none; give them with --group-by")
    items, names = _sample(dataset, pattern, seed)
    _, numbers = np.unique(names, return_inverse=True)
    labels = np.array([item.label for item in items])
    least = min(len(set(numbers[labels == label].tolist())) for label in set(labels.tolist()))
    if least < 2:
        raise DataError(f"leak: a class has one group by {pattern!r}: at least two are needed")
    features = _features(dataset, items, progress)
    folds = min(FOLDS, least)
    model = LogisticRegression(C=10.0, max_iter=1000)
    accuracies = [
        stats.over_seeds((cross_val_predict(model, features, labels, cv=cv, groups=by) == labels)[np.newaxis], by)
        for cv, by in (
            (StratifiedKFold(folds, shuffle=True, random_state=seed), None),
            (StratifiedGroupKFold(folds, shuffle=True, random_state=seed), numbers.astype(np.int64)),
        )
    ]
    chance = float(np.bincount(labels).max()) / len(labels)
    return LeakEstimate(pattern, len(items), int(numbers.max()) + 1, chance, *accuracies)


def _sample(dataset: Dataset, pattern: str, seed: int) -> tuple[list[Item], list[str]]:
    """Draw whole groups up to `MAX_PICTURES`, and return the pictures with the names of their groups."""
    if dataset.grouped:
        by_id = {item.id: item.group for item in dataset.items}
    else:
        by_id = groups.by_pattern(pattern, [item.id for item in dataset.items])
    items = sorted(dataset.items, key=lambda item: rank(seed, by_id.get(item.id, item.sha256)))
    last = by_id.get(items[MAX_PICTURES].id) if len(items) > MAX_PICTURES else None
    drawn = [item for item in items[:MAX_PICTURES] if last is None or by_id.get(item.id) != last]
    return drawn, [by_id.get(item.id, item.sha256) for item in drawn]


def _features(dataset: Dataset, items: Sequence[Item], progress: StageCallback | None) -> NDArray[np.float64]:
    """Features of the pictures: a square of 16 pixels, and the square roots of the shares of tints and brightnesses."""

    def compute(item: Item) -> NDArray[np.float64]:
        square = resized(dataset.picture(item, SHARED_SIDE).pixels, SIDE)
        colours = square.reshape(-1, 3) + 1.0
        shares = (colours / colours.sum(axis=1, keepdims=True) - 1 / 3) / TINT_WIDTH + TINTS / 2
        red, green, _ = np.clip(shares.astype(np.int64), 0, TINTS - 1).T
        tints = np.bincount(red * TINTS + green, minlength=TINTS**2)
        brightness, _ = np.histogram(colours.mean(axis=1), TINTS, (0, 257))
        small = resized(square, SIDE // 2).ravel() / 255
        return np.concatenate([4 * small / np.sqrt(len(small)), np.sqrt(np.append(tints, brightness) / SIDE**2)])

    rows = []
    with quiet():
        for row in ordered(compute, items):
            rows.append(row)
            if progress:
                progress("measuring the leak", len(rows), len(items))
    return np.stack(rows)
