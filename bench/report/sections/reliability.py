"""Calibration: whether a model is right as often as it says.

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
"""Of equal width between 0 and 1; each has its upper end, not its lower one."""

HIGHEST_BAR = 0.25
"""The bar of the fullest bin takes so much of the chart's height."""


@dataclass(frozen=True)
class Bin:
    """Pictures of which the model is about equally sure.

    Attributes:
        low, high: Its ends.
        n: How many pictures, at least 1.
        confidence: The mean probability of the predicted class.
        accuracy: The share of them that is classified rightly.
        accuracy_low, accuracy_high: Its 95 % Wilson interval.
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
    """How well a model knows what it knows.

    Attributes:
        bins: Those that are not empty, in order.
        confidence: The mean probability of the predicted classes.
        accuracy: The share of pictures that is classified rightly.
    """

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
        """Which way it errs, in a sentence."""
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
        own = numbers == number
        n, known = int(own.sum()), int(right[own].sum())
        ends = stats.wilson(known, n)
        bins.append(Bin(number / BINS, (number + 1) / BINS, n, float(sure[own].mean()), known / n, *ends))
    return Calibration(tuple(bins), float(sure.mean()), float(right.mean()))


def draw_reliability(found: Calibration, name: str, mark: Mark) -> Markup:
    """The reliability diagram: a point a bin with its interval, on the diagonal where the model is as right as sure.

    Bars at the bottom have the number of pictures.
    """
    frame = svg.Frame(svg.percentages("probability of the predicted class"), svg.percentages(""))
    most = max(each.n for each in found.bins)
    drawn = [frame.bar(each.low, each.high, HIGHEST_BAR * each.n / most) for each in found.bins]
    drawn.append(frame.rule((0.0, 0.0), (1.0, 1.0), "diagonal"))
    for each in found.bins:
        ends = (each.confidence, each.accuracy_low), (each.confidence, each.accuracy_high)
        drawn.append(frame.rule(*ends, "reach"))
        drawn.append(frame.dot((each.confidence, each.accuracy), mark))
    label = f"{name}: accuracy by probability of the predicted class. {found.summary} The table below has the numbers"
    return frame.chart(label, drawn)
