"""F1 of a class: the harmonic mean of its precision and recall; 0 if it neither occurs nor is predicted."""

import numpy as np

from bench.metrics._metric import Answers, Floats, Metric


def values(answers: Answers) -> Floats:
    """Return the F1 plus the influence of every picture: right answers / (pictures + answers of the class), twice."""
    of_class, answered = answers.labels == answers.label, answers.predicted == answers.label
    both, right = of_class.astype(np.float64) + answered, 2.0 * (of_class & answered)
    if not both.any():
        return np.zeros(len(both))
    f1 = right.sum() / both.sum()
    return np.asarray(f1 + (right - f1 * both) / both.mean())


METRIC = Metric("F1", values, percent=True, of_class="always")
