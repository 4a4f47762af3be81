"""What is measured from probabilities, against values worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from bench.metrics import metric
from bench.training.probabilities import as_probabilities, measure

LABELS = np.array([0, 0, 1, 1])


def test_one_sigmoid_unit_becomes_two_columns():
    np.testing.assert_allclose(as_probabilities(np.array([[0.25], [1.0]])), [[0.75, 0.25], [0.0, 1.0]])


def test_two_classes():
    probabilities = as_probabilities(np.array([[0.1], [0.6], [0.4], [0.9]]))
    found = measure(probabilities, LABELS)
    assert (found.n, found.accuracy, found.balanced_accuracy) == (4, 0.5, 0.5)
    assert found.roc_auc == 0.75  # three of the four pairs are in order
    assert found.log_loss == pytest.approx(-(2 * math.log(0.9) + 2 * math.log(0.4)) / 4)
    assert found.brier == pytest.approx((2 * 0.1**2 + 2 * 0.6**2) / 4)


def test_three_classes():
    probabilities = np.array([[0.8, 0.1, 0.1], [0.2, 0.5, 0.3], [0.1, 0.6, 0.3]])
    found = measure(probabilities, np.array([0, 1, 2]))
    assert found.accuracy == pytest.approx(2 / 3)
    assert found.balanced_accuracy == pytest.approx(2 / 3)
    assert found.roc_auc == pytest.approx((1 + 0.5 + 0.75) / 3)
    assert found.brier == pytest.approx((0.06 + 0.38 + 0.86) / 3)


def test_balanced_accuracy_is_not_fooled_by_a_common_class():
    probabilities = np.tile([0.9, 0.1], (10, 1))
    found = measure(probabilities, np.array([0] * 9 + [1]))
    assert (found.accuracy, found.balanced_accuracy) == (0.9, 0.5)


def test_certainty_in_the_wrong_class_costs_much_but_not_everything():
    assert 15 < metric("log_loss").value(np.array([[1.0, 0.0]]), np.array([1])) < 17


def test_a_part_with_one_class_has_no_roc_curve():
    assert measure(np.array([[0.9, 0.1]]), np.array([0])).roc_auc is None


def test_the_first_of_equally_probable_classes_is_taken():
    assert metric("accuracy").value(np.array([[0.5, 0.5]]), np.array([0])) == 1.0
