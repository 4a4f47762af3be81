"""Learning curves: loss and metric of a trial by epoch, with the phases of its training."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, groupby, pairwise

from markupsafe import Markup

from bench import text
from bench.metrics import metric
from bench.metrics._metric import Metric
from bench.records import Epoch, Trial
from bench.report import svg
from bench.report.styles import Mark, marks

TABLED = 40
"""Approximate maximum number of epochs in a table; of a longer training, evenly spaced epochs are listed."""

NARROW = 0.2
"""Phases that take a smaller share of the chart's width are drawn without their name."""

PART_MARKS: Mapping[str, Mark] = marks(("validation", "training"))

Series = Mapping[str, Sequence[float | None]]
"""One value per epoch, by the part of the data it was measured on."""


@dataclass(frozen=True)
class LearningPhase:
    """A phase of training: its name as in `records.Epoch`, its epochs, and the metric of the validation after each."""

    name: str
    epochs: tuple[int, ...]
    values: tuple[float, ...]


def learning_phases(trial: Trial) -> list[LearningPhase]:
    """The phases of a trial's training; for a running or pruned trial, as far as reported."""
    epochs = [(epoch.phase, epoch.epoch, epoch.measured) for epoch in trial.history]
    epochs = epochs or [("", epoch, value) for epoch, value in sorted(trial.intermediate_values.items())]
    phases = []
    for name, reports in groupby(epochs, key=lambda report: report[0]):
        _, numbers, values = zip(*reports, strict=True)
        phases.append(LearningPhase(name, numbers, values))
    return phases


def sparkline(trial: Trial, scale: tuple[float, float]) -> Markup:
    """Draw the metric of the validation by epoch, as an inline picture of 96 by 24; empty without an epoch.

    `scale` has the values at the bottom and at the top. A vertical dashed line separates two phases. Screen readers get
    the curve in words. The colour is the `--mark` of the enclosing element, which keeps thousands of curves small.
    """
    phases = learning_phases(trial)
    values = [value for phase in phases for value in phase.values]
    if not values:
        return Markup()
    (bottom, top), by = scale, metric(trial.metric)
    step = 88 / max(len(values) - 1, 1)
    points = [(4 + i * step, 20 - 16 * (value - bottom) / ((top - bottom) or 1e-9)) for i, value in enumerate(values)]
    lines = [
        Markup('<line class="phase" x1="{x}" x2="{x}" y1="0" y2="24"/>').format(x=f"{4 + (n - 0.5) * step:.1f}")
        for n in accumulate(len(phase.values) for phase in phases[:-1])
    ]
    best = max(values, key=trial.quality)
    title = (
        f"Validation {text.metric_name(by)} by epoch: {text.figure(values[0], by)} to {text.figure(values[-1], by)}, "
    )
    title += f"best {text.figure(best, by)} of {text.plural(len(values), 'epoch')}"
    parts = [f"{len(phase.values)} {text.one_line(phase.name)}" for phase in phases if phase.name]
    title += f": {', then '.join(parts)}" if parts else ""
    x, y = points[values.index(best)]
    return Markup(
        '<svg class="spark" viewBox="0 0 96 24" role="img" aria-label="{title}">'
        '{lines}<polyline points="{points}"/><circle cx="{x:.1f}" cy="{y:.1f}" r="2.5"/></svg>'
    ).format(
        title=title + (" (first fold)" if trial.folds else ""),
        lines=Markup("").join(lines),
        points=" ".join(f"{x:.1f},{y:.1f}" for x, y in points),
        x=x,
        y=y,
    )


@dataclass(frozen=True)
class LearningCurves:
    """The curves of one trial; `best` is the epoch with the best validation result, the first of several.

    Without another metric, `values` has the accuracy in training too.
    """

    metric: Metric
    epochs: tuple[Epoch, ...]
    phases: tuple[LearningPhase, ...]
    best: Epoch
    losses: Markup
    values: Markup

    @property
    def rows(self) -> tuple[Epoch, ...]:
        """The epochs of the table: all or evenly spaced ones, plus the best and the ends of the first phases."""
        step = math.ceil(len(self.epochs) / TABLED)
        ends = {end for phase in self.phases[:3] for end in (phase.epochs[0], phase.epochs[-1])} | {self.best.epoch}
        last = len(self.epochs) - 1
        return tuple(epoch for n, epoch in enumerate(self.epochs) if n % step == 0 or epoch.epoch in ends or n == last)

    @property
    def summary(self) -> str:
        """The charts in words."""
        extreme = "lowest" if self.metric.lower_is_better else "highest"
        value = f"{text.metric_name(self.metric)} {text.figure(self.best.measured, self.metric)}"
        best = f"{extreme} validation {value} in epoch {self.best.epoch}"
        spans = [f"{text.one_line(p.name)}: epochs {p.epochs[0]} to {p.epochs[-1]}" for p in self.phases]
        course = f"; {text.listing(spans)}" if len(spans) > 1 else ""
        return f"{text.plural(len(self.epochs), 'epoch')}, {best}{course}"


def learning_curves(trial: Trial) -> LearningCurves | None:
    """The curves of a trial that has ended; None if it was not trained in epochs."""
    epochs = tuple(sorted(trial.history, key=lambda epoch: epoch.epoch))
    if not epochs:
        return None
    phases, by = tuple(learning_phases(trial)), metric(trial.metric)
    best = max(epochs, key=lambda e: (by.quality(e.measured) if math.isfinite(e.measured) else -math.inf, -e.epoch))
    losses: Series = {
        "training": [epoch.loss for epoch in epochs],
        "validation": [epoch.val_loss for epoch in epochs],
    }
    training: Series = {"training": [epoch.accuracy for epoch in epochs]} if by.name == "accuracy" else {}
    measured: Series = {**training, "validation": [epoch.measured for epoch in epochs]}
    low, high = _ends(losses)
    frame = svg.Frame(svg.counts("epoch", epochs[-1].epoch), svg.numbers("", min(low, 0.0), high))
    of_metric = svg.Frame(frame.x, svg.values("", *_ends(measured), by))
    shown = _curves(of_metric, epochs, phases, measured)
    if math.isfinite(best.measured):
        shown.append(of_metric.dot((float(best.epoch), best.measured), PART_MARKS["validation"]))
    name, below = text.label(trial), "by epoch; the table below has the same numbers"
    return LearningCurves(
        metric=by,
        epochs=epochs,
        phases=phases,
        best=best,
        losses=frame.chart(f"{name}: loss {below}", _curves(frame, epochs, phases, losses)),
        values=of_metric.chart(f"{name}: {text.metric_name(by)} {below}", shown),
    )


def _ends(series: Series) -> tuple[float, float]:
    shown = [value for values in series.values() for value in values if value is not None and math.isfinite(value)]
    return min(shown, default=0.0), max(shown, default=1.0)


def _curves(frame: svg.Frame, epochs: Sequence[Epoch], phases: Sequence[LearningPhase], series: Series) -> list[Markup]:
    """Draw vertical lines between phases, their names where there is room, and one curve per part."""
    drawn = []
    for before, after in pairwise(phases):
        between = (before.epochs[-1] + after.epochs[0]) / 2
        drawn.append(frame.rule((between, frame.y.low), (between, frame.y.high), "phase"))
    for phase in phases if len(phases) > 1 else ():
        begin, end = max(phase.epochs[0] - 0.5, frame.x.low), min(phase.epochs[-1] + 0.5, frame.x.high)
        if (end - begin) / (frame.x.high - frame.x.low) >= NARROW:
            drawn.append(frame.word(phase.name, (begin + end) / 2))
    for part, values in series.items():
        points = zip((float(epoch.epoch) for epoch in epochs), values, strict=True)
        drawn.append(
            frame.line([(n, v) if v is not None and math.isfinite(v) else None for n, v in points], PART_MARKS[part])
        )
    return drawn
