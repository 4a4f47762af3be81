"""Records of trials in folds."""

from __future__ import annotations

import pytest

from bench.records import COMPLETE, Metrics, Trial, leaderboard_row


def fold(n: int, accuracy: float, roc_auc: float | None = 0.5) -> Metrics:
    return Metrics(n, accuracy, accuracy - 0.1, roc_auc, 1 - accuracy, 2 - accuracy)


def test_folds_count_the_same_whatever_they_hold():
    mean = Metrics.mean([fold(10, 0.6, 0.7), fold(11, 0.7, None), fold(12, 0.95, 0.9)])
    assert mean.n == 33
    assert mean.accuracy == pytest.approx(0.75)
    assert mean.balanced_accuracy == pytest.approx(0.65)
    assert mean.log_loss == pytest.approx(0.25)
    assert mean.brier == pytest.approx(1.25)
    assert mean.roc_auc == pytest.approx(0.8)  # of the two that have one
    assert Metrics.mean([fold(10, 0.6, None)]).roc_auc is None


def test_the_spread_is_the_sample_standard_deviation_of_the_folds():
    folds = (fold(10, 0.6), fold(10, 0.7), fold(10, 0.8))
    trial = Trial("cnn", "optuna:tpe", 0, 1, COMPLETE, value=0.7, folds=folds)
    assert trial.spread == pytest.approx(0.1)
    assert leaderboard_row(trial)["val_accuracy_std"] == trial.spread
    assert Trial("cnn", "optuna:tpe", 0, 1, COMPLETE, value=0.7).spread is None
