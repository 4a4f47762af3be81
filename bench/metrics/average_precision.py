"""Average precision: the mean over the pictures of a class of the precision among all that score at least as high.

It is the mean over the classes, each against the rest. A class can be named.
"""

import numpy as np
from numpy.typing import NDArray

from bench.metrics._metric import Floats, Metric
from bench.metrics._ranks import by_class


def average(scores: NDArray[np.floating], true: NDArray[np.bool_]) -> Floats:
    """Return the average precision plus the influence of every picture.

    A picture changes the precision at its score and at all lower ones, and as one of the class also the mean itself.
    """
    levels, place = np.unique(-scores, return_inverse=True)  # from the highest score
    of_class, all_pictures = np.bincount(place, true, len(levels)), np.bincount(place, minlength=len(levels))
    true_so_far, seen, total = np.cumsum(of_class), np.cumsum(all_pictures), true.sum()
    precision = true_so_far / seen
    metric = float(precision @ of_class / total)
    lower = np.cumsum((of_class / seen)[::-1])[::-1]  # sum over this score and lower ones
    lower_precise = np.cumsum((of_class * precision / seen)[::-1])[::-1]
    as_one_of_class = precision[place] - metric + lower[place] - lower_precise[place]
    influence = np.where(true, as_one_of_class, -lower_precise[place]) / total
    return np.asarray(metric + len(scores) * influence)


METRIC = Metric("average precision", by_class(average), by_class=True, of_class="optional")
