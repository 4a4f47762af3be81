"""Matthews correlation coefficient of answers and labels, for any number of classes; 0 if all answers are the same.

Source:
    J. Gorodkin (2004), "Comparing two K-category assignments by a K-category correlation coefficient", Computational
    Biology and Chemistry 28, 367-374.
"""

import numpy as np

from bench.metrics._counts import of_counts, ratio
from bench.metrics._metric import Floats, Metric


def formula(right: Floats, labelled: Floats, predicted: Floats) -> Floats:
    """Compute the covariance of answers and labels, divided by their standard deviations."""
    n = labelled.sum(axis=-1)
    together = right.sum(axis=-1) * n - (labelled * predicted).sum(axis=-1)
    alone = (n**2 - (labelled**2).sum(axis=-1)) * (n**2 - (predicted**2).sum(axis=-1))
    return ratio(together, np.sqrt(alone))


METRIC = Metric("MCC", of_counts(formula), worst=-1.0, by_class=True)
