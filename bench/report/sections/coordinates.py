"""The searched space of a family in parallel coordinates: a line a trial, a row a hyperparameter.

Drawn as an inline picture and not by Plotly's `parcoords`, which makes code while it runs (regl), as the page's policy
forbids, has no hover and no place for what is inactive. Its axes lie, so that names and values read as text does and a
telephone has room for them.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from markupsafe import Markup

from bench import text
from bench.records import Run, Trial
from bench.report.links import anchor
from bench.report.sections.importance import Importance, distinct, importance, leading, logarithmic, numeric, spaced
from bench.report.styles import Mark, family_marks

BEST_DRAWN, OTHERS_DRAWN = 200, 100
"""Of more trials the best are drawn, and of the others an evenly spaced sample."""

CHOICES = 8
"""Numbers of which there are at most so many different ones are choices; others lie on a scale."""

LABELS = 8
"""An axis has at most so many labels; of more choices every second, third, … has one."""

ROW_PX = 56
"""From one row to the next."""

LINE_PX = 20
"""From the top of a row to its axis."""

INACTIVE = 0.1
"""The share of an axis, at its left, for trials in which the hyperparameter is not active."""


@dataclass(frozen=True)
class Tick:
    """A label on an axis: its middle and its width as shares of the axis, and what it says."""

    place: float
    label: str
    width: float


@dataclass(frozen=True)
class Axis:
    """A hyperparameter, or the validation accuracy, as a row.

    Attributes:
        name: What it is.
        kind: "choice", "linear" or "log".
        ticks: Its labels.
        places: Where each of the drawn trials is, 0 to 1, in their order.
        tried, best: What was tried in all trials and in the best, in words.
        inactive: In how many of all trials it was not active.
        importance: Its share of the importance, 0 to 1; None where that is not known.
    """

    name: str
    kind: str
    ticks: tuple[Tick, ...]
    places: tuple[float, ...]
    tried: str = ""
    best: str = ""
    inactive: int = 0
    importance: float | None = None


@dataclass(frozen=True)
class Coordinates:
    """The searched space of a family.

    Attributes:
        family, label, mark: The family.
        n: How many distinct complete trials it has.
        drawn: Those that are drawn, best first.
        best: How many of them, the first ones, are among the best, which are drawn in colour.
        axes: The hyperparameters that are not the same in every trial, the most important first.
        accuracy: The validation accuracy, the last row.
        fixed: Hyperparameters that are the same in every trial.
        importance: What the hyperparameters weigh; None where there are too few trials, and while a run goes on.
    """

    family: str
    label: str
    mark: Mark
    n: int
    drawn: tuple[Trial, ...]
    best: int
    axes: tuple[Axis, ...]
    accuracy: Axis
    fixed: Mapping[str, object]
    importance: Importance | None

    @property
    def rows(self) -> tuple[Axis, ...]:
        """The axes from top to bottom."""
        return (*self.axes, self.accuracy)

    @property
    def inactive(self) -> bool:
        """Whether a hyperparameter is not active in every trial."""
        return any(axis.inactive for axis in self.axes)

    @property
    def picture(self) -> Markup:
        """The lines; the template lays the labels over them."""
        return draw_coordinates(self)


def spaces(run: Run) -> list[Coordinates]:
    """The families of which at least two complete trials differ, in the order in which they are declared.

    While a run goes on, no importance is worked out: the page is drawn after every trial.
    """
    looks, weigh = family_marks(run), run.status != "running"
    own: dict[str, list[Trial]] = {family: [] for family in looks}
    for trial in run.trials:
        own[trial.family].append(trial)
    shown = (coordinates(trials, looks[family], weigh) for family, trials in own.items())
    return [each for each in shown if each]


def coordinates(trials: Sequence[Trial], mark: Mark, weigh: bool = True) -> Coordinates | None:
    """The space of one family; None where no two complete trials differ.

    Args:
        trials: Its trials; only distinct complete ones are shown.
        mark: Its colour.
        weigh: Whether importance is worked out.
    """
    different = distinct(trials)
    found = importance(different) if weigh else None
    ordered = sorted(different, key=lambda trial: trial.rank_key)
    values = {name: _values(name, ordered) for name in _names(different)}
    always = {name for name in values if all(name in trial.params for trial in ordered)}
    varied = [name for name in values if len(values[name]) > 1 or name not in always]
    if not varied:
        return None
    best = leading(ordered)
    drawn = ordered[:BEST_DRAWN] + spaced(ordered[BEST_DRAWN:], OTHERS_DRAWN)
    axes = [
        replace(
            _axis(name, values[name], drawn, gutter=not always.issuperset(varied)),
            tried=_tried(name, ordered),
            best=_tried(name, best),
            inactive=sum(name not in trial.params for trial in ordered),
            importance=found.shares.get(name, 0.0) if found else None,
        )
        for name in varied
    ]
    return Coordinates(
        family=ordered[0].family,
        label=text.label(ordered[0]),
        mark=mark,
        n=len(ordered),
        drawn=tuple(drawn),
        best=min(len(best), len(drawn)),
        axes=tuple(sorted(axes, key=lambda axis: -(axis.importance or 0.0))),  # equal ones as they are declared
        accuracy=_accuracy(drawn),
        fixed={name: own[0] for name, own in values.items() if name not in varied},
        importance=found,
    )


def _names(trials: Sequence[Trial]) -> list[str]:
    """The hyperparameters, in the order in which the first trial that has them names them."""
    return list(dict.fromkeys(name for trial in trials for name in trial.params))


def _values(name: str, trials: Sequence[Trial]) -> list[object]:
    """The values of a hyperparameter, each once: numbers by size, others by name."""
    found = list({repr(trial.params[name]): trial.params[name] for trial in trials if name in trial.params}.values())
    numbers = numeric(found)
    if numbers is not None:
        return [found[place] for place in sorted(range(len(found)), key=numbers.__getitem__)]
    return sorted(found, key=str)  # "False" before "True" too


def _tried(name: str, trials: Sequence[Trial]) -> str:
    """What was tried of a hyperparameter, in words: `0.0001 to 0.01`; `adam 12, rmsprop 4`."""
    values = [trial.params[name] for trial in trials if name in trial.params]
    if not values:
        return text.NOTHING
    different = _values(name, trials)
    numbers = numeric(different)
    if numbers is not None and len(different) > CHOICES:
        return f"{text.number(different[0])} to {text.number(different[-1])}"
    counts = Counter(map(repr, values))
    words = [f"{text.shorten(text.number(value), 40)} {counts[repr(value)]}\u00d7" for value in different]
    return ", ".join(words[:LABELS]) + (f" and {len(words) - LABELS} more" if len(words) > LABELS else "")


# -- where values lie


def _axis(name: str, values: Sequence[object], drawn: Sequence[Trial], gutter: bool) -> Axis:
    """A hyperparameter's axis; with a gutter, what is not active lies at the left."""
    numbers = numeric(values)
    active = [name in trial.params for trial in drawn]
    if numbers is None or len(values) <= CHOICES:
        kind, ticks = "choice", _choice_ticks(values)
        places = _among_choices(values, name, drawn)
    else:
        kind = "log" if logarithmic([float(str(t.params[name])) for t in drawn if name in t.params]) else "linear"
        low, high = min(numbers), max(numbers)
        ticks = _scale_ticks(kind, low, high)
        places = [_on_scale(kind, float(str(t.params.get(name, low))), low, high) for t in drawn]
    if gutter:
        places = [INACTIVE + (1 - INACTIVE) * place for place in places]
        ticks = [Tick(INACTIVE + (1 - INACTIVE) * t.place, t.label, (1 - INACTIVE) * t.width) for t in ticks]
    if not all(active):
        places = [place if on else INACTIVE / 3 for place, on in zip(places, active, strict=True)]
        ticks = [Tick(INACTIVE / 3, text.NOTHING, INACTIVE / 2), *ticks]
    return Axis(name, kind, tuple(ticks), tuple(places))


def _accuracy(drawn: Sequence[Trial]) -> Axis:
    values = [100 * (trial.value or 0.0) for trial in drawn]
    low, high = min(values), max(values)
    if high - low < 1e-9:
        low, high = low - 0.5, high + 0.5
    ticks = [replace(tick, label=f"{tick.label}\u00a0%") for tick in _scale_ticks("linear", low, high)]
    places = [_on_scale("linear", value, low, high) for value in values]
    return Axis("Validation accuracy", "linear", tuple(ticks), tuple(places))


def _choice_ticks(values: Sequence[object]) -> list[Tick]:
    every = math.ceil(len(values) / LABELS)
    return [
        Tick((place + 0.5) / len(values), text.shorten(text.clean(text.number(value)), 40), every / len(values))
        for place, value in enumerate(values)
        if place % every == 0
    ]


def _among_choices(values: Sequence[object], name: str, drawn: Sequence[Trial]) -> list[float]:
    """Lines of the same choice lie side by side, the better the further right."""
    band = {repr(value): (place + 0.5) / len(values) for place, value in enumerate(values)}
    last = max(len(drawn) - 1, 1)
    return [
        band.get(repr(trial.params.get(name)), 0.0) + (0.5 - place / last) * 0.6 / len(values)
        for place, trial in enumerate(drawn)
    ]


def _on_scale(kind: str, value: float, low: float, high: float) -> float:
    if kind == "log":
        return math.log(value / low) / math.log(high / low)
    return (value - low) / (high - low)


def _scale_ticks(kind: str, low: float, high: float) -> list[Tick]:
    """Round numbers between the ends, some two to six of them."""
    values = _powers(low, high) if kind == "log" else _multiples(low, high)
    return [Tick(_on_scale(kind, value, low, high), f"{value:.4g}", 1 / max(len(values), 2)) for value in values]


def _multiples(low: float, high: float) -> list[float]:
    exponent = math.floor(math.log10(high - low))
    steps = [m * 10.0**e for e in (exponent - 1, exponent) for m in (1, 2, 5)]
    step = next(step for step in [*steps, 10.0 ** (exponent + 1)] if (high - low) / step < 6)
    first = math.ceil(low / step - 1e-9)
    return [number * step for number in range(first, math.floor(high / step + 1e-9) + 1)]


def _powers(low: float, high: float) -> list[float]:
    decades = math.log10(high / low)
    exponents = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    digits, every = ((1, 2, 5) if decades < 1.5 else (1,)), math.ceil(decades / 6)
    values = [digit * 10.0**e for e in exponents if e % every == 0 for digit in digits]
    return [value for value in values if low * (1 - 1e-9) <= value <= high * (1 + 1e-9)]


# -- how it is drawn


def draw_coordinates(shown: Coordinates) -> Markup:
    """The lines as an inline picture that stretches with its place; those of the best trials lead to them.

    The others are one path: the page of a long run stays small. A screen reader gets none of it, but the table.
    """
    points = [[f"{1000 * axis.places[i]:.0f} {y}" for axis, y in _heights(shown)] for i in range(len(shown.drawn))]
    others = "".join(f"M{'L'.join(line)}" for line in points[shown.best :])
    best = Markup("").join(
        Markup('<a href="#{}" tabindex="-1"><title>{}</title><path d="M{}"/></a>').format(
            anchor(trial), text.clean(_title(trial)), "L".join(line)
        )
        for trial, line in reversed(list(zip(shown.drawn[: shown.best], points, strict=False)))  # the best on top
    )
    return Markup(
        '<svg viewBox="0 0 1000 {height}" height="{height}" preserveAspectRatio="none" aria-hidden="true">'
        '<path class="others" d="{others}"/><g class="best" stroke="{colour}">{best}</g></svg>'
    ).format(height=ROW_PX * len(shown.rows), others=others, colour=shown.mark.colour, best=best)


def _heights(shown: Coordinates) -> list[tuple[Axis, int]]:
    return [(axis, ROW_PX * row + LINE_PX) for row, axis in enumerate(shown.rows)]


def _title(trial: Trial) -> str:
    return f"{trial.engine} #{trial.number}: {text.validation(trial)}; {text.parameters(trial.params)}"
