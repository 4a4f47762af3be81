"""Macro F1: the mean over the classes of the harmonic mean of precision and recall.

As in scikit-learn, a class that neither occurs nor is predicted does not count.
"""

from bench.metrics._counts import mean_where, of_counts, ratio
from bench.metrics._metric import Floats, Metric


def formula(right: Floats, labelled: Floats, predicted: Floats) -> Floats:
    """Average 2 right answers / (pictures of a class + answers of it)."""
    return mean_where(ratio(2 * right, labelled + predicted), (labelled + predicted).real > 0)


METRIC = Metric("macro F1", of_counts(formula), percent=True, by_class=True)
