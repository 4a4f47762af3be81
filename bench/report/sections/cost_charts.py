"""Test results of the chosen trials against training time, parameters and latency, with the Pareto fronts."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from markupsafe import Markup

from bench import stats, text
from bench.metrics import metric
from bench.records import Run, Trial
from bench.report import svg
from bench.report.figures import anchor
from bench.report.sections.recommendation import cost_of
from bench.report.styles import Mark, family_marks
from bench.runs.standings import constant

COSTS: Mapping[str, tuple[str, Callable[[float | None], str]]] = {
    "train_time_s": ("Training time", text.seconds),
    "parameters": ("Parameters", text.count),
    "latency_ms": ("Latency", text.milliseconds),
}
"""Costs (fields of `records.Cost`): title and formatter."""

HEIGHT = 260
"""Height of a chart."""

FRONT = Mark("var(--soft)", "circle", "dot")
"""The line of a Pareto front."""

LABEL_CHARACTERS = 20
"""Longer names of families are cut beside their marks."""


@dataclass(frozen=True)
class CostChart:
    """A chart, the Pareto front, cheapest first, and the names of the families whose cost is not known."""

    title: str
    front: Sequence[Trial]
    missing: Sequence[str]
    drawing: Markup


@dataclass(frozen=True)
class CostCharts:
    """The section.

    Attributes:
        charts: By cost.
        trials: The chosen trials that are drawn, best first.
        scored: True if the results are those on the test pictures; False while nothing is scored.
        has_chance: True if the charts have the best constant answer.
        unscored: Names of the families that are left out because only the others are scored.
    """

    charts: Mapping[str, CostChart]
    trials: Sequence[Trial]
    scored: bool
    has_chance: bool
    unscored: Sequence[str]

    costs = COSTS

    def fronts(self, trial: Trial) -> list[str]:
        """The costs on whose front a trial lies, in words."""
        return [chart.title.lower() for chart in self.charts.values() if trial in chart.front]


def section(run: Run) -> CostCharts | None:
    """The charts of a run, without its baselines; None with fewer than two trials to compare."""
    chosen = [trial for trial in run.ranking() if trial.family not in run.baselines and trial.cost]
    scored = [trial for trial in chosen if trial.test]
    trials = scored or [trial for trial in chosen if trial.value is not None and math.isfinite(trial.value)]
    if len(trials) < 2:
        return None
    looks, guess = family_marks(run), constant(run) if scored else None
    charts = {}
    for cost, (title, _) in COSTS.items():
        if charted := [trial for trial in trials if 0 < cost_of(trial, cost) < math.inf]:
            missing = [text.label(trial) for trial in trials if trial not in charted]
            best = front(charted, cost)
            charts[cost] = CostChart(title, best, missing, draw_cost_chart(charted, best, cost, looks, guess))
    return CostCharts(
        charts, trials, bool(scored), guess is not None, [text.label(t) for t in chosen if scored and not t.test]
    )


def front(trials: Sequence[Trial], cost: str) -> list[Trial]:
    """The Pareto front of the metric and a cost, cheapest first; among equal trials the first."""
    places = [(cost_of(trial, cost), -trial.quality(result(trial)[0])) for trial in trials]
    distinct = {places[i]: trials[i] for i in reversed(stats.pareto(places))}
    return [distinct[place] for place in sorted(distinct)]


def result(trial: Trial) -> tuple[float, float, float]:
    """Test result of a trial with its 95 % interval; three times its validation result if it was not scored."""
    test, low, high = trial.test_with_interval
    value = trial.value or 0.0
    return (value, value, value) if test is None or low is None or high is None else (test, low, high)


def draw_cost_chart(
    trials: Sequence[Trial], front: Sequence[Trial], cost: str, looks: Mapping[str, Mark], guess: float | None
) -> Markup:
    """Draw a labelled mark with its interval for each trial, the front as a stepped line, and chance as a dashed one.

    If chance is so far below that the marks would share less than half of the chart, it stands below it in words.
    """
    (title, write), by = COSTS[cost], metric(trials[0].metric)
    rounds = svg.DURATIONS if cost == "train_time_s" else svg.DECADES
    low = min(result(trial)[1] for trial in trials)
    high = max(result(trial)[2] for trial in trials)
    near = guess is not None and min(by.quality(low), by.quality(high)) - by.quality(guess) <= high - low
    ends = [low, high] if guess is None or not near else [low, high, guess]
    frame = svg.Frame(
        svg.logarithmic("", [cost_of(trial, cost) for trial in trials], write, rounds),
        svg.values("", min(ends), max(ends), by),
        HEIGHT,
    )
    at = {trial.name: (math.log10(cost_of(trial, cost)), result(trial)[0]) for trial in trials}
    drawn = [frame.line(_steps([at[trial.name] for trial in front], frame.x.high), FRONT)]
    labelled, taken = [], []
    if guess is not None:
        drawn.append(frame.rule((frame.x.low, guess), (frame.x.high, guess), "diagonal") if near else Markup())
        words = f"chance {text.figure(guess, by)}"
        note, box = frame.note(words if near else f"{words} \u2193", guess if near else frame.y.low)
        drawn.append(note)
        taken.append(box)
    for trial in trials:
        value, below, above = result(trial)
        x, mark = at[trial.name][0], looks[trial.family]
        drawn.append(frame.line([(x, below), (x, above)], replace(mark, dash="solid")) if above > below else Markup())
        (left, one), (_, other) = frame.place(x, below), frame.place(x, above)
        taken.append(svg.Box(left - 1, min(one, other), left + 1, max(one, other)))
        drawn.append(frame.symbol(at[trial.name], mark, anchor(trial), _hover(trial)))
        labelled.append(((x, value), text.one_line(trial.family, LABEL_CHARACTERS)))
    drawn.append(frame.labels(labelled, taken))
    return frame.chart(
        f"{text.metric_heading(by)} against {title.lower()}; the table below has the same numbers", drawn, "group"
    )


def _steps(corners: Sequence[svg.Point], end: float) -> list[svg.Point]:
    """Turn the corners of a front into a stepped line up to `end`."""
    ends = [*(x for x, _ in corners[1:]), end]
    return [step for (x, y), right in zip(corners, ends, strict=True) for step in ((x, y), (right, y))]


def _hover(trial: Trial) -> str:
    by, (value, low, high) = metric(trial.metric), trial.test_with_interval
    shown = f"validation {text.validation(trial)}"
    if low is not None and high is not None:
        mean = text.mean_of_seeds([trial])
        shown = f"test {text.figure(value, by)} ({text.figures(low, high, by)}{f', {mean}' if mean else ''})"
    costs = [f"{write(cost_of(trial, cost))} {title.lower()}" for cost, (title, write) in COSTS.items()]
    return ", ".join((f"{text.label(trial)}: {shown}", *costs))
