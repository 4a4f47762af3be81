"""Calibration: the accuracy of a model against the probability that it gives to its predictions.

Source: C. Guo, G. Pleiss, Y. Sun and K. Q. Weinberger (2017), "On calibration of modern neural networks", ICML,
sections 2 and 5: reliability diagrams, and the expected calibration error over 15 bins of equal width.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from markupsafe import Markup

from bench import stats, text
from bench.report import svg
from bench.report.styles import Mark
from bench.runs.predictions import Predictions

BINS = 15
"""Bins of equal width between 0 and 1; each includes its upper end, not its lower one."""

HIGHEST_BAR = 0.25
"""Share of the chart's height that the bar of the fullest bin takes."""


@dataclass(frozen=True)
class Bin:
    """Test pictures, `n` of them, whose predicted class has a probability between `low` and `high`.

    Attributes:
        confidence: Mean probability of the predicted class.
        accuracy: Share of pictures that are classified rightly, with its 95 % Wilson interval.
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
    """Mean probability of the predicted class and accuracy, over all pictures and in the bins that are not empty."""

    bins: tuple[Bin, ...]
    confidence: float
    accuracy: float

    @property
    def ece(self) -> float:
        """Expected calibration error: the mean over the pictures of |accuracy - confidence| of their bin."""
        n = sum(each.n for each in self.bins)
        return sum(each.n * abs(each.accuracy - each.confidence) for each in self.bins) / n

    @property
    def summary(self) -> str:
        """The direction of its error, in a sentence."""
        points = 100 * (self.confidence - self.accuracy)
        sure = f"In the mean it is {text.percent(self.confidence)} sure and {text.percent(self.accuracy)} right"
        if abs(points) < 0.05:
            return f"{sure}."
        return f"{sure}: {'too sure' if points > 0 else 'not sure enough'} by {abs(points):.1f} points."


def calibration(predictions: Predictions) -> Calibration:
    """The calibration of a model, on at least one picture."""
    sure, right = predictions.confidence.astype(np.float64), predictions.right
    numbers = np.clip(np.ceil(sure * BINS).astype(int) - 1, 0, BINS - 1)
    bins = []
    for number in np.unique(numbers):
        is_in = numbers == number
        n, correct, mean = int(is_in.sum()), int(right[is_in].sum()), float(sure[is_in].mean())
        bins.append(Bin(number / BINS, (number + 1) / BINS, n, mean, correct / n, *stats.wilson(correct, n)))
    return Calibration(tuple(bins), float(sure.mean()), float(right.mean()))


def draw_reliability(data: Calibration, name: str, mark: Mark) -> Markup:
    """The reliability diagram: a point a bin with its interval, on the diagonal where the model is as right as sure.

    Bars at the bottom have the number of pictures.
    """
    frame = svg.Frame(svg.percentages("probability of the predicted class"), svg.percentages(""))
    most = max(each.n for each in data.bins)
    drawn = [frame.bar(each.low, each.high, HIGHEST_BAR * each.n / most) for each in data.bins]
    drawn.append(frame.rule((0.0, 0.0), (1.0, 1.0), "diagonal"))
    for each in data.bins:
        ends = (each.confidence, each.accuracy_low), (each.confidence, each.accuracy_high)
        drawn.append(frame.rule(*ends, "reach"))
        drawn.append(frame.dot((each.confidence, each.accuracy), mark))
    label = f"{name}: accuracy by probability of the predicted class. {data.summary} The table below has the numbers"
    return frame.chart(label, drawn)
