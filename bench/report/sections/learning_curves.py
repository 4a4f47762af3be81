"""Learning curves: how a trial's loss and accuracy went, epoch by epoch, through the phases of its training."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise

from markupsafe import Markup

from bench import text
from bench.records import Epoch, Trial
from bench.report import svg
from bench.report.styles import Mark, marks

MOST_ROWS = 40
"""A longer training is thinned out in its table."""

NARROW = 0.2
"""A phase that takes a smaller share of the chart has no room for its name."""

Series = Mapping[str, Sequence[float | None]]
"""Values by epoch, under the name of the part that they were measured on."""

LOOKS: Mapping[str, Mark] = marks(("validation", "training"))
"""How the two parts are drawn."""


@dataclass(frozen=True)
class Phase:
    """A part of a training: its name as in `records.Epoch`, its first and its last epoch."""

    name: str
    first: int
    last: int


@dataclass(frozen=True)
class LearningCurves:
    """The curves of one trial.

    Attributes:
        epochs: What was measured in each, at least one.
        phases: The parts of the training, in order.
        best: The epoch with the highest validation accuracy, the first of several.
        losses, accuracies: The charts.
    """

    epochs: tuple[Epoch, ...]
    phases: tuple[Phase, ...]
    best: Epoch
    losses: Markup
    accuracies: Markup

    @property
    def rows(self) -> tuple[Epoch, ...]:
        """The epochs of the table: all, or evenly some and the best, the first and the last of each phase."""
        step = math.ceil(len(self.epochs) / MOST_ROWS)
        ends = {epoch for phase in self.phases[:3] for epoch in (phase.first, phase.last)} | {self.best.epoch}
        return tuple(
            epoch
            for place, epoch in enumerate(self.epochs)
            if place % step == 0 or epoch.epoch in ends or place == len(self.epochs) - 1
        )

    @property
    def course(self) -> str:
        """The phases in words: `head: epochs 1 to 5, fine-tuning: epochs 6 to 8`; "" where there is one."""
        if len(self.phases) < 2:
            return ""
        return text.listing([f"{text.one_line(each.name)}: epochs {each.first} to {each.last}" for each in self.phases])

    @property
    def summary(self) -> str:
        """What the charts show, for who does not see them."""
        said = f"{text.plural(len(self.epochs), 'epoch')}, highest validation accuracy"
        course = f"; {self.course}" if self.course else ""
        return f"{said} {text.percent(self.best.val_accuracy)} in epoch {self.best.epoch}{course}"


def learning_curves(trial: Trial, name: str) -> LearningCurves | None:
    """The curves of a trial; None where nothing was trained by epochs.

    Args:
        trial: A trial that has ended.
        name: What it is called, for the charts' descriptions.
    """
    epochs = tuple(sorted(trial.history, key=lambda epoch: epoch.epoch))
    if not epochs:
        return None
    phases = []
    for phase, group in groupby(epochs, key=lambda epoch: epoch.phase):
        own = [epoch.epoch for epoch in group]
        phases.append(Phase(phase, own[0], own[-1]))
    best = max(epochs, key=lambda epoch: (_finite(epoch.val_accuracy, -1.0), -epoch.epoch))
    losses: Series = {"training": [each.loss for each in epochs], "validation": [each.val_loss for each in epochs]}
    accuracies: Series = {
        "training": [each.accuracy for each in epochs],
        "validation": [each.val_accuracy for each in epochs],
    }
    return LearningCurves(
        epochs,
        tuple(phases),
        best,
        _chart(f"{name}: loss by epoch", losses, epochs, phases),
        _chart(f"{name}: accuracy by epoch", accuracies, epochs, phases, best),
    )


def _chart(
    label: str,
    series: Series,
    epochs: Sequence[Epoch],
    phases: Sequence[Phase],
    best: Epoch | None = None,
) -> Markup:
    """A line for each series; of accuracies where there is a `best` epoch, of losses otherwise."""
    shown = [value for values in series.values() for value in values if value is not None and math.isfinite(value)]
    low, high = min(shown, default=0.0), max(shown, default=1.0)
    y = svg.percentages("", low, high) if best else svg.numbers("", min(low, 0.0), high)
    frame = svg.Frame(svg.counts("epoch", epochs[-1].epoch), y)
    drawn = _phase_lines(frame, phases)
    for name, values in series.items():
        points = [_point(epoch, value) for epoch, value in zip(epochs, values, strict=True)]
        drawn.append(frame.line(points, LOOKS[name]))
    if best and (point := _point(best, best.val_accuracy)):
        drawn.append(frame.dot(point, LOOKS["validation"]))
    return frame.chart(f"{label}; the table below has the same numbers", drawn)


def _phase_lines(frame: svg.Frame, phases: Sequence[Phase]) -> list[Markup]:
    """Upright lines between phases, and the name of each where there is room."""
    drawn = []
    for before, after in pairwise(phases):
        between = (before.last + after.first) / 2
        drawn.append(frame.rule((between, frame.y.low), (between, frame.y.high), "phase"))
    for phase in phases if len(phases) > 1 else ():
        begin, end = max(phase.first - 0.5, frame.x.low), min(phase.last + 0.5, frame.x.high)
        if (end - begin) / (frame.x.high - frame.x.low) >= NARROW:
            drawn.append(frame.word(phase.name, (begin + end) / 2))
    return drawn


def _point(epoch: Epoch, value: float | None) -> svg.Point | None:
    return None if value is None or not math.isfinite(value) else (float(epoch.epoch), value)


def _finite(value: float, otherwise: float) -> float:
    return value if math.isfinite(value) else otherwise
