"""Accuracy: the share of pictures whose most probable class is the true one."""

import numpy as np

from bench.metrics._metric import Answers, Floats, Metric


def values(answers: Answers) -> Floats:
    """Return 1 for a right answer, 0 for a wrong one."""
    return np.equal(answers.predicted, answers.labels).astype(np.float64)


METRIC = Metric("accuracy", values, percent=True, exact=True)
