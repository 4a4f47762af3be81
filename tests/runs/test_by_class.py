"""Scores by class, against scikit-learn, and their intervals."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sklearn import metrics as sk

from bench.records import BY_CLASS_COLUMNS, Run
from bench.runs.by_class import by_class
from bench.stats import wilson
from tests.report.generated import Size, generate
from tests.report.saved import save_predictions


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return generate(tmp_path, Size(trials=8, families=2, engines=1, pictures=200, classes=4, seeds=2))


def answered(run: Run, labels: np.ndarray, predicted: np.ndarray, classes: int = 4) -> Run:
    """The run with other answers of all families: one seed, none of them sure."""
    for trial in run.ranking():
        probabilities = 0.5 * np.eye(classes)[predicted] + 0.5 / classes
        save_predictions(run.path, trial.family, [f"{n:064x}" for n in range(len(labels))], labels, probabilities)
    studies = [replace(s, trials=tuple(replace(t, repeats=(), over_seeds=None) for t in s.trials)) for s in run.studies]
    return replace(run, studies=tuple(studies))


def test_the_scores_are_those_of_scikit_learn_and_the_recall_of_a_class_has_wilsons_interval(run: Run) -> None:
    generator = np.random.default_rng(0)
    labels = generator.choice(4, 200, p=[0.6, 0.3, 0.08, 0.02])
    predicted = np.where(generator.random(200) < 0.7, labels, generator.integers(0, 3, 200))
    run = answered(run, labels, predicted)
    precision, recall, f1, support = sk.precision_recall_fscore_support(labels, predicted, zero_division=0)
    scores = by_class(run, run.ranking()[0])
    assert [each.support for each in scores] == support.tolist()
    for place, each in enumerate(scores):
        assert each.recall
        assert each.f1
        assert each.recall.value == pytest.approx(recall[place])
        assert each.f1.value == pytest.approx(f1[place])
        assert (
            each.precision is None
            if place not in predicted
            else each.precision.value == pytest.approx(precision[place])
        )
        expected = wilson(round(recall[place] * support[place]), int(support[place]))
        if support[place] >= 10:
            assert (each.recall.low, each.recall.high) == pytest.approx(expected, abs=0.05)
    assert by_class(run, run.ranking()[0], [2]) == scores[2:3]


def test_a_class_that_nobody_answers_has_no_precision_and_one_without_pictures_no_recall(run: Run) -> None:
    labels = np.repeat([0, 1, 2], [150, 40, 10])
    run = answered(run, labels, np.where(labels == 1, 1, 0))
    _, second, third, fourth = by_class(run, run.ranking()[0])
    assert (second.recall.value, second.precision.value, second.f1.value) == (1, 1, 1)
    assert second.recall.low == pytest.approx(wilson(40, 40)[0])
    assert third.precision is None
    assert (third.recall.value, third.f1.value) == (0, 0)
    assert (third.recall.low, third.recall.high) == pytest.approx(wilson(0, 10))
    assert (fourth.support, fourth.recall, fourth.precision, fourth.f1) == (0, None, None, None)


def test_a_run_has_them_as_data_with_the_mean_of_all_seeds(run: Run) -> None:
    frame = run.by_class()
    assert list(frame.columns) == BY_CLASS_COLUMNS
    assert len(frame) == 2 * 4
    trial = run.ranking()[0]
    own = frame[frame.family == trial.family]
    assert trial.over_seeds
    assert np.average(own.recall, weights=own.support) == pytest.approx(trial.over_seeds.value)
    assert (own.f1_low < own.f1).all()
    assert (own.f1 < own.f1_high).all()


def test_without_predictions_there_are_none(run: Run) -> None:
    assert by_class(replace(run, path=run.path / "elsewhere"), run.ranking()[0]) == ()
