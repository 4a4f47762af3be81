"""How often the intervals of the metrics hold the truth, and how often equal models are told apart: docs/statistics.md.

`BENCH_SIMULATIONS=1500 python -m pytest tests/metrics/test_coverage.py -s` prints the tables. A model gives each class
of a picture a score: a signal for the true class plus noise, of which more than half belongs to the picture, or to its
group, and is the same for every model.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.special import softmax

from bench import stats
from bench.metrics import metric

pytestmark = pytest.mark.slow

RUNS = int(os.environ.get("BENCH_SIMULATIONS", "150"))
NAMES = (
    "accuracy balanced_accuracy macro_f1 roc_auc average_precision log_loss brier cohen_kappa mcc recall:b precision:b "
    "f1:b cost"
).split()
TRUTH = 400_000

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Setting:
    """A data set: number of pictures, shares of its classes, whether the pictures are in groups of 1 to 9."""

    words: str
    n: int
    shares: Sequence[float]
    grouped: bool = False

    def metric(self, name: str):
        classes = tuple("abcdefgh"[: len(self.shares)])
        return metric(name, classes, (("a", "b", 1.0), ("b", "a", 20.0)) if name == "cost" else ())

    def drawn(self, rng: np.random.Generator, models: int, n: int):
        """Probabilities by each model, shape (models, n, classes), the labels, and the groups or None."""
        groups = np.repeat(np.arange(n), rng.integers(1, 10, n))[:n] if self.grouped else np.arange(n)
        classes = len(self.shares)
        labels = rng.choice(classes, groups[-1] + 1, p=self.shares)[groups]
        hard = rng.normal(size=(groups[-1] + 1, classes))[groups] if self.grouped else rng.normal(size=(n, classes))
        noise = np.sqrt(0.6) * hard + np.sqrt(0.4) * rng.normal(size=(models, n, classes))
        scores = 1.3 * np.eye(classes)[labels] + 0.6 * np.log(self.shares) + noise
        return softmax(1.5 * scores, axis=-1), labels, groups if self.grouped else None


SETTINGS = [
    Setting("two classes, 1:1", 500, (0.5, 0.5)),
    Setting("two classes, 1:9", 1000, (0.9, 0.1)),
    Setting("two classes, 1:30", 2000, (30 / 31, 1 / 31)),
    Setting("five classes, 10:1", 1000, (0.4, 0.3, 0.16, 0.1, 0.04)),
    Setting("five classes, groups", 2000, (0.4, 0.3, 0.16, 0.1, 0.04), grouped=True),
]


def interval(chosen, probabilities: Floats, labels: NDArray[np.int64], groups) -> tuple[float, float]:
    values, support = chosen.values(probabilities, labels)[None], chosen.support(labels)
    return stats.over_seeds(values, groups, chosen.worst, chosen.best, None if chosen.exact else support)[1:]


def show(title: str, rates: dict[tuple[str, str], float]) -> None:
    words = [setting.words for setting in SETTINGS]
    print(f"\n{title}\n| metric | {' | '.join(words)} |\n|---|{'--:|' * len(words)}")
    for name in NAMES:
        print(f"| {name} | {' | '.join(f'{100 * rates[name, each]:.1f}' for each in words)} |")


def test_intervals_of_every_metric_hold_the_truth_in_95_of_100() -> None:
    rates: dict[tuple[str, str], float] = {}
    for setting in SETTINGS:
        rng = np.random.default_rng(41)
        many, labels, _ = setting.drawn(rng, 1, TRUTH)
        truth = {name: setting.metric(name).value(many[0], labels) for name in NAMES}
        held: dict[str, list[bool]] = {name: [] for name in NAMES}
        for _ in range(RUNS):
            probabilities, labels, groups = setting.drawn(rng, 1, setting.n)
            for name in NAMES:
                low, high = interval(setting.metric(name), probabilities[0], labels, groups)
                held[name].append(low <= truth[name] <= high)
        rates |= {(name, setting.words): float(np.mean(held[name])) for name in NAMES}
    show("Coverage of the 95 % interval of a metric, %", rates)
    assert 0.93 <= np.mean(list(rates.values())) <= 0.97
    assert min(rates.values()) >= 0.95 - 4 * np.sqrt(0.05 * 0.95 / RUNS) - 0.01, rates


def test_equal_models_are_told_apart_in_at_most_5_of_100() -> None:
    rates: dict[tuple[str, str], float] = {}
    for setting in SETTINGS:
        rng = np.random.default_rng(42)
        found: dict[str, list[bool]] = {name: [] for name in NAMES}
        for _ in range(RUNS):
            (one, other), labels, groups = setting.drawn(rng, 2, setting.n)
            for name in NAMES:
                chosen = setting.metric(name)
                gap = stats.difference(chosen.values(one, labels), chosen.values(other, labels), groups)
                found[name].append(gap.significant)
                assert gap.significant == (gap.low > 0 or gap.high < 0)
        rates |= {(name, setting.words): float(np.mean(found[name])) for name in NAMES}
    show("Two equally good models that are told apart, %", rates)
    assert np.mean(list(rates.values())) <= 0.06
    assert max(rates.values()) <= 0.05 + 4 * np.sqrt(0.05 * 0.95 / RUNS) + 0.01, rates
