"""Slice plots of the search spaces: the value of each hyperparameter against the validation result.

As in `optuna.visualization.plot_slice`: one small panel per hyperparameter, one point per complete trial.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bench import text
from bench.metrics._metric import Metric
from bench.records import COMPLETE, Run, Trial
from bench.report.figures import LEAST_DRAWN, Figure, figure, label, layout, points, thinned, value_axis
from bench.report.styles import Mark, family_marks

DRAWN = 120
"""Maximum number of points in a panel."""

CHOICES = 8
"""A hyperparameter with at most this many different numbers, all short, is drawn as evenly spaced choices."""


@dataclass(frozen=True)
class Slice:
    """One hyperparameter of a family.

    Attributes:
        trials, values: The complete trials in which it was active, in start order, and its value in each.
        choices: The different values as ordered labels if it is drawn as choices; else empty.
        inactive: Number of complete trials in which it was not active.
        importance: Its importance by engine, as a share from 0 to 1; only engines with recorded importances.
    """

    name: str
    trials: Sequence[Trial]
    values: Sequence[object]
    choices: Sequence[str]
    log: bool
    inactive: int
    importance: Mapping[str, float]

    @property
    def tried(self) -> str:
        """The values in words: `0.0001 to 0.01`; `adam 12×, rmsprop 4×`."""
        if not self.choices:
            return f"{text.number(min(self.values, key=_number))} to {text.number(max(self.values, key=_number))}"
        counts = Counter(map(_choice, self.values))
        words = [f"{choice} {counts[choice]}\u00d7" for choice in self.choices]
        return ", ".join(words[:CHOICES]) + (f" and {len(words) - CHOICES} more" if len(words) > CHOICES else "")


@dataclass(frozen=True)
class FamilySlices:
    """The searched space of a family.

    Attributes:
        trials: Its complete trials, without answers from the record.
        best: The best of these; a hyperparameter may be inactive in it.
        slices: Hyperparameters with more than one value, most important first; the others are in `fixed`.
        figures: One figure per slice.
        engines: Engines with recorded importances.
    """

    family: str
    trials: Sequence[Trial]
    best: Trial
    slices: Sequence[Slice]
    figures: Sequence[Figure]
    fixed: Mapping[str, object]
    engines: Sequence[str]

    @property
    def label(self) -> str:
        """The family's name, labelled if it trained from random weights."""
        return text.one_line(text.label(self.trials[0]), 40)


@dataclass(frozen=True)
class SearchSpaces:
    """The section: the families with enough trials."""

    families: Sequence[FamilySlices]

    panel_points = DRAWN

    @property
    def summary(self) -> str:
        """For each family its most important hyperparameter: `cnn: learning_rate 62.0 %, mobilenet: head 40.3 %`.

        Without recorded importances it has the number of hyperparameters; "" without a family.
        """
        lines = []
        for space in self.families:
            first, shares = space.slices[0], list(space.slices[0].importance.values())
            most = f"{text.one_line(first.name, 30)} {text.percent(max(shares))}" if shares else ""
            lines.append(f"{space.label}: {most or text.plural(len(space.slices), 'hyperparameter')}")
        return text.listing(lines)


def section(run: Run) -> SearchSpaces:
    """The hyperparameters of a run."""
    return SearchSpaces(slices(run))


def slices(run: Run) -> list[FamilySlices]:
    """The families with at least `LEAST_DRAWN` different complete trials, in order of declaration."""
    families = []
    for family, mark in family_marks(run).items():
        complete = [trial for trial in run.trials if trial.family == family and trial.state == COMPLETE]
        trials = [t for t in complete if not t.duplicate_of and t.value is not None and math.isfinite(t.value)]
        importance = {study.engine: study.importance for study in run.studies if study.family == family}
        names = dict.fromkeys(name for trial in trials for name in trial.params)
        declared = [_slice(name, trials, importance) for name in names]
        varied = [data for data in declared if len(set(map(_choice, data.values))) > 1 or data.inactive]
        if varied and len(trials) >= LEAST_DRAWN:
            varied.sort(key=lambda data: -sum(data.importance.values()))
            best = min(trials, key=lambda trial: trial.rank_key)
            shape = layout(value_axis([trial.value or 0.0 for trial in trials], run.metric))
            families.append(
                FamilySlices(
                    family=family,
                    trials=trials,
                    best=best,
                    slices=varied,
                    figures=[draw_slice(data, best, mark, shape, run.metric) for data in varied],
                    fixed={data.name: data.values[0] for data in declared if data not in varied},
                    engines=[engine for engine, shares in importance.items() if shares],
                )
            )
    return families


def _slice(name: str, trials: Sequence[Trial], importance: Mapping[str, Mapping[str, float]]) -> Slice:
    active = [trial for trial in trials if name in trial.params]
    values = [trial.params[name] for trial in active]
    different = {_choice(value): value for value in values}
    numbers = [_number(value) for value in different.values()]
    is_numeric = all(map(math.isfinite, numbers))
    is_choice = not is_numeric or (len(numbers) <= CHOICES and all(map(_is_short, numbers)))
    ordered = sorted(different, key=lambda choice: (_number(different[choice]) if is_numeric else 0.0, choice))
    return Slice(
        name=name,
        trials=active,
        values=values,
        choices=ordered if is_choice else [],
        log=not is_choice and _looks_logarithmic([_number(value) for value in values]),
        inactive=len(trials) - len(active),
        importance={engine: shares[name] for engine, shares in importance.items() if name in shares},
    )


def _choice(value: object) -> str:
    """Label of a value; text that looks like a number or a boolean gets quotes."""
    is_ambiguous = isinstance(value, str) and re.fullmatch(r"True|False|None|[-+.\de]+", value)
    return repr(value) if is_ambiguous else text.shorten(text.clean(text.number(value)), 40)


def _number(value: object) -> float:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else math.nan


def _is_short(number: float) -> bool:
    """True for whole numbers and for fractions of at most two digits; sampled fractions are too long for a label."""
    return number.is_integer() or float(f"{number:.2g}") == number


def _looks_logarithmic(numbers: Sequence[float]) -> bool:
    """Guess the scale, which is not recorded: more than a decade, and the median is nearer to the geometric mean."""
    low, high, median = min(numbers), max(numbers), sorted(numbers)[len(numbers) // 2]
    if low <= 0 or high < 10 * low:
        return False
    return abs(math.log(median) - math.log(low * high) / 2) < abs(math.log(median) - math.log((low + high) / 2))


# -- drawing


def draw_slice(data: Slice, best: Trial, mark: Mark, shape: Figure, metric: Metric) -> Figure:
    """Draw a panel: the later a trial, the stronger its colour; the best has a ring.

    `shape` is the common layout of the family's panels.
    """
    drawn = thinned(data.trials, DRAWN)

    def trace(trials: Sequence[Trial], marker: Figure) -> Any:
        values = [trial.params[data.name] for trial in trials]
        y = "%{y:.1f} %" if metric.percent else "%{y:.3f}"
        return points(
            trials,
            [label(_choice(value)) if data.choices else _number(value) for value in values],
            [trial.value or 0.0 for trial in trials],
            metric,
            marker=marker,
            hoverinfo=None,
            hovertemplate=f"%{{x}}: {y}<extra></extra>",
        )

    shades = {
        "color": list(range(len(drawn))),
        "colorscale": [[0, "var(--rule)"], [1, mark.colour]],
        "size": 8,
        "line": {"color": "var(--soft)", "width": 0.75},
    }
    ring = {"symbol": "circle-open", "size": 14, "color": "var(--ink)", "line": {"width": 1.5}}
    axis = {**shape["xaxis"], "title": {"text": label(data.name, 30) + (" (log)" if data.log else "")}, "nticks": 4}
    if data.choices:
        choices = [label(choice) for choice in data.choices]
        axis |= {"type": "category", "categoryorder": "array", "categoryarray": choices}
        axis |= {"range": [-0.6, len(choices) - 0.4], "nticks": 8}
    elif data.log:
        axis |= _powers_of_ten([_number(value) for value in data.values])
    else:
        axis |= {"type": "linear", "tickformat": "~g", "tickangle": 0}
    small = {"font": {**shape["font"], "size": 11}, "yaxis": {**shape["yaxis"], "nticks": 5}, "xaxis": axis}
    return figure([trace(drawn, shades), trace([t for t in drawn if t is best], ring)], {**shape, **small})


def _powers_of_ten(numbers: Sequence[float]) -> Figure:
    """A logarithmic axis with ticks at two or more powers of ten: `1e-4`, `1e-3`."""
    low, high = math.log10(min(numbers)), math.log10(max(numbers))
    padding = max(0.08 * (high - low), (1.2 - (high - low)) / 2)  # at least 1.2 decades, which contain ticks
    low, high = low - padding, high + padding
    if math.ceil(low) == math.floor(high):
        below, above = math.floor(low), math.ceil(high)
        low, high = (below, high) if low - below < above - high else (low, above)  # extend to the nearer power
    powers = range(math.ceil(low), math.floor(high) + 1)
    step = math.ceil(len(powers) / 5)
    return {
        "type": "log",
        "range": [low, high],
        "tickvals": [10.0**power for power in powers[::step]],
        "ticktext": [f"1e{power}" for power in powers[::step]],
        "tickangle": 0,
        "hoverformat": ".4~g",
    }
