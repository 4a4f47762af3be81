"""The best model within limits on size, latency and training time, and the command that exports it."""

from __future__ import annotations

import math
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import quote

from bench import stats, text
from bench.records import COMPLETE, Run, Trial
from bench.report.figures import rounded
from bench.report.sections.shortcut_notice import FoundShortcut, shortcut
from bench.runs.standings import recommended

LIMITS: Mapping[str, tuple[str, str, Callable[[float | None], str]]] = {
    "parameters": ("Parameters", "weights of the model", text.count),
    "latency_ms": ("Latency", "one picture, in a batch of one, on this run's machine", text.milliseconds),
    "train_time_s": ("Training time", "of the trial alone, from a cold start", text.seconds),
}
"""Costs that a reader can limit (fields of `records.Cost`): title, explanation, and the formatter of a value."""


@dataclass(frozen=True)
class Candidate:
    """A trial that is the best within some limits.

    Attributes:
        steps: Position of the trial's cost among the steps of each of the `LIMITS`.
        chosen: True for its family's chosen trial.
        command: Command that exports its model; "" if that is impossible.
        model: File of its trained model, relative to the page; "" if the run did not keep it.
    """

    trial: Trial
    steps: tuple[int, ...]
    chosen: bool
    command: str
    model: str

    @property
    def link(self) -> str:
        """The model's address, relative to the page."""
        return quote(self.model, errors="replace")


@dataclass(frozen=True)
class Recommendation:
    """The section.

    Attributes:
        candidates: The recommended trial first, then the best of the validation.
        shortcut: The shortcut in the data, without which no model is recommended; None without one.
        steps: Choices for each of the `LIMITS`, ascending, as value and words. They are the costs of the candidates,
            so that every step admits one more.
    """

    candidates: Sequence[Candidate]
    steps: Mapping[str, Sequence[tuple[float, str]]]
    shortcut: FoundShortcut | None = None

    limits = LIMITS

    @property
    def summary(self) -> str:
        """The number of candidates; "" without any."""
        if not self.candidates:
            return ""
        return f"limits on size, latency and training time; {text.plural(len(self.candidates), 'trial')} to choose from"


def section(run: Run) -> Recommendation:
    """The candidates of a run."""
    shipped, trials = recommended(run), efficient(run)
    if shipped is not None and shipped.cost:
        trials = [shipped, *(trial for trial in trials if trial is not shipped)]
    steps = {cost: sorted({cost_of(trial, cost) for trial in trials} - {math.inf}) for cost in LIMITS}
    best = {family: run.best(family) for family in {trial.family for trial in trials}}
    candidates = []
    for trial in trials:
        chosen = trial is best[trial.family]
        places = tuple(sum(step < cost_of(trial, cost) for step in steps[cost]) for cost in LIMITS)
        model = _model(run, trial.family) if chosen else ""
        candidates.append(Candidate(trial, places, chosen, command(run, trial, chosen), model))
    return Recommendation(
        candidates,
        {cost: [(rounded(value), write(value)) for value in steps[cost]] for cost, (_, _, write) in LIMITS.items()},
        shortcut(run),
    )


def efficient(run: Run) -> list[Trial]:
    """The complete trials that no other beats, the best in the validation first.

    Answers from the record and baselines are left out. A trial beats another if it is at least as good in the metric,
    size, latency and training time, and better in one of them. The best trial within any limits on the three costs is
    always among these trials.
    """
    trials = [
        trial
        for trial in run.trials
        if trial.state == COMPLETE and not trial.duplicate_of and trial.cost and trial.value is not None
        if trial.family not in run.baselines
        if math.isfinite(trial.value)
    ]
    points = [(-trial.quality(trial.value), *(cost_of(trial, cost) for cost in LIMITS)) for trial in trials]
    return sorted((trials[place] for place in stats.pareto(points)), key=lambda trial: trial.rank_key)


def cost_of(trial: Trial, cost: str) -> float:
    """A field of a trial's `Cost`; infinite if it was not measured."""
    value = getattr(trial.cost, cost, None)
    return float(value) if value is not None and math.isfinite(value) else math.inf


def _model(run: Run, family: str) -> str:
    model = run.model(family)
    return str(model.relative_to(run.path)) if model.is_file() else ""


def command(run: Run, trial: Trial, chosen: bool) -> str:
    """The command that exports a trial's model, trained again if the run did not keep it; "" if that is impossible.

    Only Keras models have a file. With folds, only chosen trials are trained on all the data.
    """
    if not (chosen and _model(run, trial.family)) and (run.split.folds or not trial.history):
        return ""
    name = trial.family if chosen else trial.name
    return shlex.join(["python", "-m", "bench", "export", str(run.path), name])
