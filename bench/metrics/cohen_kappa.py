"""Cohen's kappa: the agreement of answers and labels beyond that of independent ones with the same frequencies.

Source:
    J. Cohen (1960), "A coefficient of agreement for nominal scales", Educational and Psychological Measurement 20(1),
    37-46.
"""

from bench.metrics._counts import of_counts, ratio
from bench.metrics._metric import Floats, Metric


def formula(right: Floats, labelled: Floats, predicted: Floats) -> Floats:
    """Compute (agreement - chance agreement) / (1 - chance agreement)."""
    n = labelled.sum(axis=-1)
    by_chance = (labelled * predicted).sum(axis=-1) / n
    return ratio(right.sum(axis=-1) - by_chance, n - by_chance)


METRIC = Metric("Cohen's kappa", of_counts(formula), worst=-1.0, by_class=True)
