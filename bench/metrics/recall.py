"""Recall of a class: the share of its pictures that are answered with it."""

import numpy as np

from bench.metrics._metric import Answers, Floats, Metric


def values(answers: Answers) -> Floats:
    """Return the recall plus the influence of every picture, which is 0 outside the class."""
    of_class = answers.labels == answers.label
    right = answers.predicted == answers.label
    recall = right[of_class].mean() if of_class.any() else np.nan
    return np.asarray(recall + np.where(of_class, right - recall, 0.0) / of_class.mean())


METRIC = Metric("recall", values, percent=True, of_class="always", has_chance=False)
