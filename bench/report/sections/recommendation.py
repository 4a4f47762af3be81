"""What to ship: the best model within limits on its size, its speed and its training time, and how to have it."""

from __future__ import annotations

import math
import shlex
from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from operator import le
from urllib.parse import quote

from bench import text
from bench.records import COMPLETE, Run, Trial
from bench.report.links import anchor
from bench.report.sections.verdict import test_interval
from bench.report.styles import Mark, family_marks


@dataclass(frozen=True)
class Limit:
    """A cost that a reader may limit.

    Attributes:
        cost: A field of `records.Cost`.
        title: What it is called.
        about: What exactly it is.
        steps: The limits to choose from, as value and words, ascending: the costs of the candidates, so that every
            step lets one more in.
    """

    cost: str
    title: str
    about: str
    steps: tuple[tuple[float, str], ...]

    def place(self, trial: Trial) -> int:
        """The first step that lets a trial in; behind the last one where its cost was not measured."""
        return bisect_left([value for value, _ in self.steps], _value(trial, self.cost))


@dataclass(frozen=True)
class Candidate:
    """A trial that is the best within some limits.

    Attributes:
        label: Its family's name, with the label that its weights demand.
        steps: For each limit the place of the first step that lets it in.
        chosen: Whether it is its family's chosen trial.
        accuracy, low, high: Test accuracy and its 95 % interval, where it was scored.
        configuration: Its hyperparameters as a Python dictionary.
        command: What writes its model; "" where none can.
        model: Where its trained model is kept, relative to the page; "" where none is.
    """

    trial: Trial
    anchor: str
    label: str
    mark: Mark
    steps: tuple[int, ...]
    chosen: bool
    accuracy: float | None
    low: float | None
    high: float | None
    configuration: str
    command: str
    model: str

    @property
    def mean(self) -> str:
        """What its test accuracy is the mean of, in words; "" with one seed."""
        return text.mean_of_seeds([self.trial])

    @property
    def link(self) -> str:
        """The model's address, relative to the page."""
        return quote(self.model, errors="replace")


@dataclass(frozen=True)
class Ship:
    """The section: the candidates, best validation accuracy first, and what may be limited."""

    candidates: tuple[Candidate, ...]
    limits: tuple[Limit, ...]

    @property
    def steps(self) -> dict[str, Sequence[tuple[float, str]]]:
        """For the page's script: the limits to choose from, by cost."""
        return {limit.cost: [(float(f"{value:.6g}"), words) for value, words in limit.steps] for limit in self.limits}


COSTS: Mapping[str, tuple[str, str, Callable[[float | None], str]]] = {
    "parameters": ("Parameters", "numbers in the model", text.count),
    "latency_ms": ("Latency", "one picture, in a batch of one, on this run's machine", text.milliseconds),
    "train_time_s": ("Training time", "of the trial alone, from a cold start", text.seconds),
}
"""What may be limited, fields of `records.Cost`: title, explanation, and how a value is written."""


def section(run: Run) -> Ship:
    """The candidates of a run."""
    trials = efficient(run)
    limits = tuple(
        Limit(cost, title, about, tuple((value, write(value)) for value in _steps(trials, cost)))
        for cost, (title, about, write) in COSTS.items()
    )
    marks = family_marks(run)
    best = {family: run.best(family) for family in marks}
    candidates = []
    for trial in trials:
        chosen, model = trial is best[trial.family], _model(run, trial.family)
        candidates.append(
            Candidate(
                trial,
                anchor(trial),
                text.label(trial),
                marks[trial.family],
                tuple(limit.place(trial) for limit in limits),
                chosen,
                *test_interval(trial),
                configuration=repr(dict(trial.params)),
                command=command(run, trial, chosen),
                model=model if chosen else "",
            )
        )
    return Ship(tuple(candidates), limits)


def efficient(run: Run) -> list[Trial]:
    """The complete trials that no other one beats: best validation accuracy first.

    One beats another that is at least as accurate and at most as large, slow and long to train, and better in one of
    these. What is best within any limits on the three is always among them. Answers from the record are left out.
    """
    trials = [
        trial
        for trial in run.trials
        if trial.state == COMPLETE and not trial.duplicate_of and trial.cost and trial.value is not None
        if math.isfinite(trial.value)
    ]
    points = [(-(trial.value or 0.0), *(_value(trial, cost) for cost in COSTS)) for trial in trials]
    return sorted((trials[place] for place in pareto(points)), key=lambda trial: trial.rank_key)


def pareto(points: Sequence[Sequence[float]]) -> list[int]:
    """The Pareto front of points of which every figure is better the smaller it is.

    Args:
        points: Of the same length each, without NaN; infinity is the worst.

    Returns:
        The places of those that no other point dominates, ascending. A point dominates another where it is at most
        as large in every figure and smaller in one; so equal points stand or fall together.

    Source:
        H. T. Kung, F. Luccio and F. P. Preparata (1975), "On finding the maxima of a set of vectors", Journal of the
        ACM 22(4), 469-476: in lexicographic order a point can only be dominated by one before it.
    """
    front: list[int] = []
    for place in sorted(range(len(points)), key=lambda place: tuple(points[place])):
        point = tuple(points[place])
        rivals = (tuple(points[other]) for other in front)
        if not any(rival != point and all(map(le, rival, point)) for rival in rivals):
            front.append(place)
    return sorted(front)


def _value(trial: Trial, cost: str) -> float:
    """A trial's cost; infinite where it was not measured."""
    value = getattr(trial.cost, cost)
    return float(value) if value is not None and math.isfinite(value) else math.inf


def _steps(trials: Sequence[Trial], cost: str) -> list[float]:
    return sorted({_value(trial, cost) for trial in trials} - {math.inf})


def _model(run: Run, family: str) -> str:
    model = run.model(family)
    return str(model.relative_to(run.path)) if model.is_file() else ""


def command(run: Run, trial: Trial, chosen: bool) -> str:
    """The command that writes a trial's model, trained again where the run did not keep it; "" where none can.

    What is no Keras model has no file, and of data in folds only chosen trials are trained on all of it.
    """
    if not (chosen and _model(run, trial.family)) and (run.split.folds or not trial.history):
        return ""
    name = trial.family if chosen else trial.name
    return shlex.join(["python", "-m", "bench", "export", str(run.path), name])
