"""Precision of a class: the share of right answers among all answers of that class; 0 without any."""

import numpy as np

from bench.metrics._metric import Answers, Floats, Metric


def values(answers: Answers) -> Floats:
    """Return the precision plus the influence of every picture, which is 0 without an answer of the class."""
    answered = answers.predicted == answers.label
    if not answered.any():
        return np.zeros(len(answered))
    right = answers.labels == answers.label
    precision = right[answered].mean()
    return np.asarray(precision + np.where(answered, right - precision, 0.0) / answered.mean())


METRIC = Metric("precision", values, percent=True, of_class="always")
