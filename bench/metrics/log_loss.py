"""Log loss: the mean negative log-likelihood of the true class, in nats.

Probabilities are clipped to the resolution of float32, as in Keras.
"""

import math

import numpy as np

from bench.metrics._metric import Answers, Floats, Metric


def values(answers: Answers) -> Floats:
    """Return the negative logarithm of the true class's probability."""
    probabilities = answers.probabilities
    right = probabilities[np.arange(len(answers.labels)), answers.labels].astype(np.float64)
    right /= probabilities.sum(axis=1, dtype=np.float64)
    return np.asarray(-np.log(np.clip(right, np.finfo(np.float32).eps, 1.0)))


METRIC = Metric("log loss", values, best=0.0, worst=math.inf)
