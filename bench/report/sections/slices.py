"""Slice plots of what was searched: for each hyperparameter, its value against the validation accuracy.

They show what `optuna.visualization.plot_slice` shows: one small panel a hyperparameter, one point a complete trial.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bench import text
from bench.records import COMPLETE, Run, Trial
from bench.report.figures import Figure, figure, label, layout, log_axis, points, thinned
from bench.report.sections.leaderboard import listed
from bench.report.styles import Mark, family_marks

DRAWN = 120
"""Limit on the points of a panel."""

CHOICES = 8
"""Numbers with at most so many different values, all of them short, are drawn as choices, evenly spaced."""


@dataclass(frozen=True)
class Slice:
    """One hyperparameter of a family.

    Attributes:
        trials, values: The complete trials in which it was active, as they were started, and its value in each.
        choices: The different values as labels, in order, where it is drawn as choices; else empty.
        inactive: Number of complete trials in which it was not active.
        importance: Its share of the importance, 0 to 1, by engine; only engines for which the record has it.
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
        trials: Its complete trials, answers from the record left out.
        best: The best of these; a hyperparameter need not be active in it.
        slices: Hyperparameters with more than one value, most important first; the others are `fixed`.
        figures: A figure for each of the slices.
        engines: Engines for which the record has importances.
    """

    family: str
    trials: Sequence[Trial]
    best: Trial
    slices: Sequence[Slice]
    figures: Sequence[Figure]
    fixed: Mapping[str, object]
    engines: Sequence[str]


def slices(run: Run) -> list[FamilySlices]:
    """The families of which at least two complete trials differ, in the order in which they are declared."""
    families, rows = [], listed(run)
    for family, mark in family_marks(run).items():
        complete = [trial for trial in run.trials if trial.family == family and trial.state == COMPLETE]
        trials = [t for t in complete if not t.duplicate_of and t.value is not None and math.isfinite(t.value)]
        importance = {study.engine: study.importance for study in run.studies if study.family == family}
        every = [_slice(name, trials, importance) for name in dict.fromkeys(name for t in trials for name in t.params)]
        varied = [each for each in every if len(set(map(_choice, each.values))) > 1 or each.inactive]
        if varied:
            varied.sort(key=lambda each: -sum(each.importance.values()))
            best = min(trials, key=lambda trial: trial.rank_key)
            shape, linked = layout([trial.value or 0.0 for trial in trials]), {trial.name for trial in rows[family]}
            families.append(
                FamilySlices(
                    family=family,
                    trials=trials,
                    best=best,
                    slices=varied,
                    figures=[draw_slice(each, best, mark, shape, linked) for each in varied],
                    fixed={each.name: each.values[0] for each in every if each not in varied},
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
    """A value as the label of a choice; a text that looks like a number or a truth value has quotes."""
    is_ambiguous = isinstance(value, str) and re.fullmatch(r"True|False|None|[-+.\de]+", value)
    return repr(value) if is_ambiguous else text.shorten(text.clean(text.number(value)), 40)


def _number(value: object) -> float:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else math.nan


def _is_short(number: float) -> bool:
    """True for whole numbers and those of one or two digits; a sampled fraction has more, for which no room is."""
    return number.is_integer() or float(f"{number:.2g}") == number


def _looks_logarithmic(numbers: Sequence[float]) -> bool:
    """Guess the scale, which records do not hold: over a decade, with the median nearer to the geometric middle."""
    low, high, median = min(numbers), max(numbers), sorted(numbers)[len(numbers) // 2]
    if low <= 0 or high < 10 * low:
        return False
    return abs(math.log(median) - math.log(low * high) / 2) < abs(math.log(median) - math.log((low + high) / 2))


# -- drawing


def draw_slice(data: Slice, best: Trial, mark: Mark, shape: Figure, linked: Container[str]) -> Figure:
    """A panel: the later a trial, the stronger its colour; the best one has a ring.

    `shape` is the layout that the family's panels have in common, `linked` names the trials with a row to lead to.
    """
    drawn = thinned(data.trials, DRAWN)

    def trace(trials: Sequence[Trial], marker: Figure) -> Any:
        values = [trial.params[data.name] for trial in trials]
        return points(
            trials,
            [label(_choice(value)) if data.choices else _number(value) for value in values],
            [trial.value or 0.0 for trial in trials],
            listed=linked,
            marker=marker,
            hoverinfo=None,
            hovertemplate="%{x}: %{y:.1f} %<extra></extra>",
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
    """A logarithmic axis with ticks at powers of ten, at least two of them: `1e-4`, `1e-3`."""
    low, high = log_axis(numbers)[0]["range"]
    if math.ceil(low) == math.floor(high):
        below, above = math.floor(low), math.ceil(high)
        low, high = (below, high) if low - below < above - high else (low, above)  # the nearer neighbour too
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
