"""Cost: the mean price of an answer by true and predicted class, which `--costs` lists."""

import math

import numpy as np

from bench.metrics._metric import Answers, Floats, Metric


def values(answers: Answers) -> Floats:
    """Return the price of every answer."""
    prices: Floats = np.array(answers.prices)[answers.labels, answers.predicted]
    return prices


METRIC = Metric("cost", values, best=0.0, worst=math.inf)
