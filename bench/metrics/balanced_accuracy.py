"""Balanced accuracy: the mean recall of the classes that occur."""

from bench.metrics._counts import mean_where, of_counts, ratio
from bench.metrics._metric import Floats, Metric


def formula(right: Floats, labelled: Floats, predicted: Floats) -> Floats:
    """Average right answers / pictures of a class."""
    return mean_where(ratio(right, labelled), labelled.real > 0)


METRIC = Metric("balanced accuracy", of_counts(formula), percent=True, by_class=True)
