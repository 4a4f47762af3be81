"""Area under the ROC curve: the probability that a picture of a class scores higher for it than one of the others.

With more than two classes it is the mean over the classes, each against the rest. A class can be named.

Source:
    The values of pictures: E. R. DeLong, D. M. DeLong and D. L. Clarke-Pearson (1988), "Comparing the areas under two
    or more correlated receiver operating characteristic curves: a nonparametric approach", Biometrics 44(3), 837-845.
"""

import numpy as np
from numpy.typing import NDArray

from bench.metrics._metric import Floats, Metric
from bench.metrics._ranks import by_class


def area(scores: NDArray[np.floating], true: NDArray[np.bool_]) -> Floats:
    """Return the area plus the influence of every picture: its share of pairs in the right order, minus the area."""
    ordered, others = np.sort(scores[~true]), np.sort(scores[true])
    share = np.empty(len(scores))
    for positive, opposite in ((True, ordered), (False, others)):
        here = scores[true == positive]
        below = np.searchsorted(opposite, here, "left") + np.searchsorted(opposite, here, "right")
        share[true == positive] = below / (2 * len(opposite)) if positive else 1 - below / (2 * len(opposite))
    whole = share[true].mean()
    return np.asarray(whole + (share - whole) / np.where(true, true.mean(), (~true).mean()))


METRIC = Metric("ROC AUC", by_class(area), by_class=True, of_class="optional")
