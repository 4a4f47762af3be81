"""The worth of more pictures: accuracy by the number of training pictures, measured and extrapolated."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from bench import text
from bench.records import Run, SampleCurve, Trial
from bench.report import svg
from bench.report.styles import Mark, family_marks

UNTOLD = 0.0005
"""A gain whose interval begins below it could be 0."""


@dataclass(frozen=True)
class Worth:
    """The curve of a trial, its worth in a sentence, and its chart; "" without a curve.

    Attributes:
        chosen: The family's chosen trial.
    """

    trial: Trial
    chosen: Trial
    curve: SampleCurve
    sentence: str
    chart: Markup


@dataclass(frozen=True)
class MorePictures:
    """The section: the curves, the leader's first."""

    curves: Sequence[Worth]

    @property
    def summary(self) -> str:
        """The worth of more pictures for the leader; "" without a curve."""
        return self.curves[0].sentence if self.curves else ""


def section(run: Run) -> MorePictures:
    """The curves of a run."""
    looks = family_marks(run)
    trials = {trial.name: trial for trial in run.trials}
    return MorePictures(
        [
            Worth(trial, chosen, curve, worth(curve), _draw(curve, text.label(trial), looks[trial.family]))
            for curve in run.sample_curves
            if (trial := trials.get(curve.trial)) and (chosen := run.best(curve.family))
        ]
    )


def worth(curve: SampleCurve) -> str:
    """Say what more pictures are worth: `1,000 more training pictures are worth about 0.6 points (0.2 to 1.3)`."""
    if curve.reason:
        return f"Not estimated: {curve.reason}."
    low, high = (f"{100 * bound:.1f}" for bound in (curve.gain_low, curve.gain_high))
    pictures = text.plural(curve.more, "more training picture")
    if curve.gain_low < UNTOLD:
        return f"No gain from {pictures} can be told: {low} to {high} points."
    return f"{pictures} are worth about {100 * curve.gain:.1f} points of accuracy ({low} to {high})."


def worth_of_more(run: Run) -> list[str]:
    """Return a sentence for each family with a curve."""
    return [f"{curve.family}: {worth(curve)}" for curve in run.sample_curves if not curve.reason]


def _draw(curve: SampleCurve, name: str, mark: Mark) -> Markup:
    """Draw the fitted curve, the mean of the trainings of each size, and the intervals of the forecasts."""
    if curve.reason:
        return Markup()
    fitted, measured = curve.fitted, curve.measured
    points = (*measured, *fitted[len(measured) :])
    ticks = tuple((math.log2(point.pictures), text.count(point.pictures)) for point in fitted)
    frame = svg.Frame(
        svg.Axis("training pictures", ticks[0][0] - 0.2, ticks[-1][0] + 0.2, ticks),
        svg.percentages("", min(point.low for point in points), max(point.high for point in points)),
    )

    def place(pictures: int, accuracy: float) -> svg.Point:
        return math.log2(pictures), accuracy

    drawn = [
        frame.rule(place(point.pictures, point.low), place(point.pictures, point.high), "reach") for point in points
    ]
    drawn.append(frame.line([place(point.pictures, point.accuracy) for point in fitted], mark))
    drawn += [frame.dot(place(point.pictures, point.accuracy), mark) for point in measured]
    label = f"{name}: validation accuracy by training pictures. {worth(curve)} The table below has the numbers"
    return frame.chart(label, drawn)
