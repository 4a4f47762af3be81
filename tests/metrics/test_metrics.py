"""Every metric against scikit-learn, its values of pictures against the jackknife, and its names."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sk

from bench import metrics
from bench.errors import ConfigError
from bench.metrics import metric

CLASSES = ("crack", "dent", "free", "scratch", "stain")
PRICES = (("crack", "dent", 50.0), ("dent", "crack", 1.0), ("dent", "free", 5.0))


def drawn(classes: int, n: int, seed: int, levels: int = 0):
    """Probabilities and labels of a classifier that is right more often than not; few `levels` give ties."""
    generator = np.random.default_rng(seed)
    labels = np.concatenate([np.arange(classes), generator.choice(classes, n - classes, p=shares(classes))])
    probabilities = generator.dirichlet(np.ones(classes), n)
    probabilities[np.arange(n), labels] += 0.4
    if levels:
        probabilities = np.round(probabilities * levels) / levels + 1e-3
    return probabilities / probabilities.sum(axis=1, keepdims=True), labels


def shares(classes: int):
    falling = 0.4 ** np.arange(classes)
    return falling / falling.sum()


Theirs = Callable[[np.ndarray, np.ndarray, np.ndarray], float]
THEIRS: dict[str, Theirs] = {
    "accuracy": lambda y, p, predicted: sk.accuracy_score(y, predicted),
    "balanced_accuracy": lambda y, p, predicted: sk.balanced_accuracy_score(y, predicted),
    "macro_f1": lambda y, p, predicted: sk.f1_score(y, predicted, average="macro", zero_division=0),
    "roc_auc": lambda y, p, predicted: sk.roc_auc_score(y, p[:, 1] if p.shape[1] == 2 else p, multi_class="ovr"),
    "roc_auc:dent": lambda y, p, predicted: sk.roc_auc_score(y == 1, p[:, 1]),
    "average_precision": lambda y, p, predicted: sk.average_precision_score(np.eye(p.shape[1])[y], p),
    "average_precision:dent": lambda y, p, predicted: sk.average_precision_score(y == 1, p[:, 1]),
    "log_loss": lambda y, p, predicted: sk.log_loss(y, p),
    "brier": lambda y, p, predicted: sk.brier_score_loss(y, p[:, 1] if p.shape[1] == 2 else p),
    "cohen_kappa": lambda y, p, predicted: sk.cohen_kappa_score(y, predicted),
    "mcc": lambda y, p, predicted: sk.matthews_corrcoef(y, predicted),
    "recall:dent": lambda y, p, predicted: sk.recall_score(y, predicted, average=None)[1],
    "precision:dent": lambda y, p, predicted: sk.precision_score(y, predicted, average=None, zero_division=0)[1],
    "f1:dent": lambda y, p, predicted: sk.f1_score(y, predicted, average=None, zero_division=0)[1],
    "cost": lambda y, p, predicted: (sk.confusion_matrix(y, predicted) * priced(p.shape[1])).sum() / len(y),
}


def priced(classes: int) -> np.ndarray:
    prices = np.zeros((classes, classes))
    for true, predicted, price in PRICES:
        if {CLASSES.index(true), CLASSES.index(predicted)} <= set(range(classes)):
            prices[CLASSES.index(true), CLASSES.index(predicted)] = price
    return prices


def opened(name: str, classes: int):
    within = [price for price in PRICES if {*price[:2]} <= {*CLASSES[:classes]}]
    return metric(name, CLASSES[:classes], tuple(within) if name == "cost" else ())


def test_every_metric_is_compared():
    assert {name.partition(":")[0] for name in THEIRS} == set(metrics.names())


@pytest.mark.parametrize("name", THEIRS)
@given(classes=st.integers(2, 5), n=st.integers(12, 120), seed=st.integers(0, 999), levels=st.sampled_from([0, 3]))
@settings(max_examples=12, deadline=None)
def test_the_value_is_that_of_scikit_learn(name: str, classes: int, n: int, seed: int, levels: int):
    probabilities, labels = drawn(classes, n, seed, levels)
    expected = THEIRS[name](labels, probabilities, probabilities.argmax(axis=1))
    assert opened(name, classes).value(probabilities, labels) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("classes", [2, 4])
@pytest.mark.parametrize("name", THEIRS)
def test_the_values_of_pictures_are_those_of_leaving_one_out(name: str, classes: int):
    """Their differences are those of the jackknife up to the order of 1 / n."""
    probabilities, labels = drawn(classes, 400, seed=5)
    chosen = opened(name, classes)
    values = chosen.values(probabilities, labels).astype(float)
    without = [chosen.value(np.delete(probabilities, i, 0), np.delete(labels, i)) for i in range(0, 400, 5)]
    jackknife = 399 * (values.mean() - np.array(without))
    ours = (values - values.mean())[::5]
    assert np.corrcoef(jackknife, ours)[0, 1] > 0.99
    assert np.polyfit(jackknife, ours, 1)[0] == pytest.approx(1, abs=0.1)


@pytest.mark.parametrize("name", THEIRS)
def test_a_perfect_model_has_the_best_value_and_a_constant_one_no_better_than_chance(name: str):
    _, labels = drawn(3, 90, seed=1)
    chosen, counts = opened(name, 3), tuple(np.bincount(labels).tolist())
    assert chosen.value(np.eye(3)[labels], labels) == pytest.approx(chosen.best, abs=1e-6)
    assert chosen.quality(chosen.best) == 1
    for row in (*np.eye(3), np.array(counts) / 90):
        constant = chosen.value(np.tile(row, (90, 1)), labels)
        if chosen.has_chance and np.isfinite(constant):
            assert chosen.quality(constant) <= chosen.quality(chosen.chance(counts)) + 1e-12


def test_chance_of_common_metrics():
    counts = (60, 30, 10)
    expected = {"accuracy": 0.6, "balanced_accuracy": 1 / 3, "roc_auc": 0.5, "cohen_kappa": 0.0, "mcc": 0.0}
    for name, value in expected.items():
        assert metric(name, CLASSES[:3]).chance(counts) == pytest.approx(value), name
    always_cracked = metric("cost", ("crack", "dent"), PRICES[:2])
    assert always_cracked.chance((10, 90)) == pytest.approx(0.9)


def test_the_standard_error_is_that_of_the_bootstrap():
    probabilities, labels = drawn(3, 300, seed=2)
    generator = np.random.default_rng(0)
    samples = [generator.integers(0, 300, 300) for _ in range(400)]
    for name in ("balanced_accuracy", "macro_f1", "roc_auc", "average_precision", "mcc", "precision:dent"):
        chosen = opened(name, 3)
        ours = chosen.values(probabilities, labels).std() / np.sqrt(300)
        theirs = np.std([chosen.value(probabilities[sample], labels[sample]) for sample in samples])
        assert ours == pytest.approx(theirs, rel=0.15), name


def test_an_undefined_metric_is_not_a_number():
    one_class = np.full((4, 2), 0.5), np.zeros(4, np.int64)
    for name in ("roc_auc", "average_precision", "recall:dent"):
        assert np.isnan(metric(name, CLASSES[:2]).value(*one_class)), name


def test_the_support_of_a_mean_over_classes_is_that_of_the_rare_one():
    labels = np.repeat([0, 1], [4, 996])
    assert metric("accuracy").support(labels) == 1000
    assert metric("balanced_accuracy").support(labels) == pytest.approx(4 / (1 / 4 + 1 / 996))
    assert metric("recall:crack", CLASSES[:2]).support(labels) == 4


@pytest.mark.parametrize(
    ("name", "classes", "words"),
    [
        ("acuracy", (), "Did you mean accuracy"),
        ("recall", (), "needs a class, as recall:defect"),
        ("accuracy:dent", (), "is of all classes"),
        ("recall:dnet", CLASSES, "dent"),
    ],
)
def test_a_wrong_name_is_refused_with_the_right_ones(name: str, classes: Sequence[str], words: str):
    with pytest.raises(ConfigError, match=words):
        metric(name, tuple(classes))


def test_a_price_of_an_unknown_class_is_refused():
    with pytest.raises(ConfigError, match="crack"):
        metric("cost", ("crak", "dent"), PRICES[:1])
