"""Calibration: the accuracy of a model against the probability of its predictions.

Source: C. Guo, G. Pleiss, Y. Sun and K. Q. Weinberger (2017), "On calibration of modern neural networks", ICML,
sections 2 and 5: reliability diagrams, and the expected calibration error over 15 bins of equal width.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from markupsafe import Markup

from bench import text
from bench.report import svg
from bench.report.styles import Mark
from bench.runs.predictions import Predictions

BINS = 15
"""Number of bins of equal width between 0 and 1; a bin includes its upper end, not its lower end."""

HIGHEST_BAR = 0.25
"""Height of the bar of the fullest bin, as a share of the chart's."""


@dataclass(frozen=True)
class Bin:
    """Test pictures, `n` of them, whose predicted class has a probability between `low` and `high`.

    Attributes:
        confidence: Mean probability of the predicted class.
        accuracy: Share of pictures that are classified correctly, with its 95 % interval.
    """

    low: float
    high: float
    n: int
    confidence: float
    accuracy: float
    accuracy_low: float
    accuracy_high: float


@dataclass(frozen=True)
class Calibration:
    """Mean probability of the predicted class, and accuracy: over all pictures, and in each bin that is not empty."""

    bins: tuple[Bin, ...]
    confidence: float
    accuracy: float

    @property
    def ece(self) -> float:
        """Expected calibration error: |accuracy - confidence| of a picture's bin, averaged over the pictures."""
        n = sum(group.n for group in self.bins)
        return sum(group.n * abs(group.accuracy - group.confidence) for group in self.bins) / n

    @property
    def summary(self) -> str:
        """Mean confidence and accuracy, and the direction of the error, in a sentence."""
        points = 100 * (self.confidence - self.accuracy)
        means = f"On average it is {text.percent(self.confidence)} sure and {text.percent(self.accuracy)} right"
        if abs(points) < 0.05:
            return f"{means}."
        return f"{means}: {'too sure' if points > 0 else 'not sure enough'} by {abs(points):.1f} points."


def calibration(predictions: Predictions) -> Calibration:
    """Compute the calibration of a model from one or more pictures."""
    sure, right = predictions.confidence.astype(np.float64), predictions.right
    numbers = np.clip(np.ceil(sure * BINS).astype(int) - 1, 0, BINS - 1)
    bins = []
    for number in np.unique(numbers):
        is_in = numbers == number
        n, mean = int(is_in.sum()), float(sure[is_in].mean())
        bins.append(Bin(number / BINS, (number + 1) / BINS, n, mean, *predictions.share_right(is_in)))
    return Calibration(tuple(bins), float(sure.mean()), float(right.mean()))


def draw_reliability(data: Calibration, name: str, mark: Mark) -> Markup:
    """Draw the reliability diagram: one point with its interval per bin, and the diagonal of perfect calibration.

    Bars at the bottom are labelled with their number of pictures.
    """
    frame = svg.Frame(svg.percentages("probability of the predicted class"), svg.percentages(""))
    most = max(group.n for group in data.bins)
    drawn = [frame.bar(bin.low, bin.high, HIGHEST_BAR * bin.n / most, text.count(bin.n)) for bin in data.bins]
    drawn.append(frame.rule((0.0, 0.0), (1.0, 1.0), "diagonal"))
    for group in data.bins:
        ends = (group.confidence, group.accuracy_low), (group.confidence, group.accuracy_high)
        drawn.append(frame.rule(*ends, "reach"))
        drawn.append(frame.dot((group.confidence, group.accuracy), mark))
    label = f"{name}: accuracy by probability of the predicted class. {data.summary} The table below has the numbers"
    return frame.chart(label, drawn)
