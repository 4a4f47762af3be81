"""Brier score: the mean squared distance of the probabilities to the one-hot label, halved for two classes.

Source:
    G. W. Brier (1950), "Verification of forecasts expressed in terms of probability", Monthly Weather Review 78(1),
    1-3.
"""

import numpy as np

from bench.metrics._metric import Answers, Floats, Metric


def values(answers: Answers) -> Floats:
    """Return the squared distance of every picture."""
    distance = answers.probabilities - np.eye(answers.classes)[answers.labels]
    squared: Floats = np.sum(distance**2, axis=1)
    return squared / 2 if answers.classes == 2 else squared


METRIC = Metric("Brier score", values, best=0.0, worst=2.0)
