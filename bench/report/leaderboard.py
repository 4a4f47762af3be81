"""The leaderboard: a row for every family, unfolding to its trials."""

from __future__ import annotations

from dataclasses import dataclass, field

from markupsafe import Markup

from bench.records import FamilyInfo, Run, Trial
from bench.report import text
from bench.report.marks import Mark, Phase, family_marks, interval_bar, learning_phases, sparkline
from bench.report.verdict import no_result, savings, test_interval, unseparated


@dataclass(frozen=True)
class BoardRow:
    """A family on the leaderboard.

    Attributes:
        weights: What its chosen trial started from, or would have.
        rank: From 1; None where the family has no result, and `reason` says why.
        accuracy, low, high: Test accuracy and its 95 % interval.
        bar: The same as a picture.
        tied: Whether its interval overlaps the leader's.
        repeats: Test accuracy over other seeds, in words.
        states: How its trials ended, in words.
    """

    family: FamilyInfo
    weights: str
    mark: Mark
    rank: int | None = None
    trial: Trial | None = None
    accuracy: float | None = None
    low: float | None = None
    high: float | None = None
    bar: Markup = field(default_factory=Markup)
    tied: bool = False
    repeats: str = ""
    reason: str = ""
    states: str = ""


@dataclass(frozen=True)
class TrialRow:
    """A trial in its family's table.

    Attributes:
        phases: The named phases of its training; empty where there is one without a name.
        saved_time_s: What the feature cache saved; None where the trial was answered from the record.
        notes: What a reader should know of it.
        frozen: What became of its frozen layers, phase by phase.
    """

    trial: Trial
    label: str
    chosen: bool
    curve: Markup
    phases: tuple[Phase, ...]
    time_s: float | None
    saved_time_s: float | None
    notes: tuple[str, ...]
    frozen: tuple[str, ...]


@dataclass(frozen=True)
class TrialTable:
    """All trials of a family, in the order in which they were started."""

    family: str
    label: str
    mark: Mark
    rows: tuple[TrialRow, ...]
    best: Trial | None
    states: str


@dataclass(frozen=True)
class Leaderboard:
    """The section.

    Attributes:
        rows: Families, best first.
        scale: The ends of the scale that the intervals share.
        tables: The trials of every family.
        savings: What the feature cache saved, in a sentence.
        two_phases: Whether a trial was trained in two phases.
    """

    rows: tuple[BoardRow, ...]
    scale: tuple[float, float]
    tables: tuple[TrialTable, ...]
    savings: str
    two_phases: bool


def section(run: Run) -> Leaderboard:
    """The leaderboard of a run."""
    return Leaderboard(
        rows=tuple(board(run)),
        scale=board_scale(run),
        tables=tuple(trial_tables(run)),
        savings=savings(run),
        two_phases=any(len(learning_phases(trial)) > 1 for trial in run.trials),
    )


def board_scale(run: Run) -> tuple[float, float]:
    """The ends of the scale that the leaderboard's intervals share: whole tens of percent, up to 1."""
    lows = [low for trial in run.ranking() if (low := test_interval(trial)[1]) is not None]
    return min(max(int(10 * min(lows, default=0.0)) / 10, 0.0), 0.9), 1.0


def board(run: Run) -> list[BoardRow]:
    """One row a family: those with a result, best first, then the others with the reason."""
    looks, scale, ranking = family_marks(run), board_scale(run), run.ranking()
    known = {family.name: family for family in run.families}
    tied = unseparated(ranking)
    rows = []
    for rank, trial in enumerate(ranking, start=1):
        accuracy, low, high = test_interval(trial)
        mark = looks[trial.family]
        bar = Markup()
        if accuracy is not None and low is not None and high is not None:
            bar = interval_bar(mark, scale, accuracy, low, high)
        rows.append(
            BoardRow(
                known.get(trial.family, FamilyInfo(trial.family)),
                trial.weights,
                mark,
                rank,
                trial,
                accuracy,
                low,
                high,
                bar=bar,
                tied=trial in tied,
                repeats=_repeats(trial),
                states=text.states(each for each in run.trials if each.family == trial.family),
            )
        )
    ranked = {trial.family for trial in ranking}
    rest = [family for family in run.families if family.name not in ranked]
    return rows + [
        BoardRow(family, family.weights, looks[family.name], reason=no_result(run, family)) for family in rest
    ]


def trial_tables(run: Run) -> list[TrialTable]:
    """Every trial, by family."""
    curves = [value for trial in run.trials for phase in learning_phases(trial) for value in phase.values]
    scale = (min(curves, default=0.0), max(curves, default=1.0))
    tables = []
    for family, mark in family_marks(run).items():
        own = [trial for trial in run.trials if trial.family == family]
        if own:
            best = run.best(family)
            weights = next((each.weights for each in run.families if each.name == family), own[0].weights)
            label = text.label(best) if best else text.with_weights(family, weights)
            rows = tuple(_trial_row(trial, trial is best, mark, scale) for trial in own)
            tables.append(TrialTable(family, label, mark, rows, best, text.states(own)))
    return tables


def _trial_row(trial: Trial, chosen: bool, mark: Mark, scale: tuple[float, float]) -> TrialRow:
    phases = tuple(phase for phase in learning_phases(trial) if phase.name)
    time_s = trial.cost.total_time_s or None if trial.cost else None
    if time_s is None and trial.finished_s is not None and not trial.duplicate_of:
        time_s = trial.finished_s - trial.started_s
    notes = []
    if trial.known:
        notes.append("known configuration")
    if trial.duplicate_of:
        notes.append(f"answered from the record of {trial.duplicate_of}")
    if not trial.counted:
        notes.append("used no budget")
    if trial.failure:
        notes.append(trial.failure.kind)
    if trial.note:
        notes.append(trial.note)
    return TrialRow(
        trial,
        text.label(trial),
        chosen,
        sparkline(trial, mark, scale, _curve_title(trial)),
        phases,
        time_s,
        trial.cost.saved_time_s if trial.cost and not trial.duplicate_of else None,
        tuple(notes),
        tuple(map(text.frozen, trial.prefixes)),
    )


def _curve_title(trial: Trial) -> str:
    """A learning curve in words; "" where there is none."""
    phases = learning_phases(trial)
    values = [value for phase in phases for value in phase.values]
    if not values:
        return ""
    title = f"Validation accuracy by epoch: {text.percent(values[0])} to {text.percent(values[-1])}, "
    title += f"best {text.percent(max(values))} of {text.plural(len(values), 'epoch')}"
    parts = [f"{len(phase.values)} {text.one_line(phase.name)}" for phase in phases if phase.name]
    title += f": {', then '.join(parts)}" if parts else ""
    return title + (" (first fold)" if trial.folds else "")


def _repeats(trial: Trial) -> str:
    shares = [metrics.accuracy for metrics in trial.repeats]
    if not shares:
        return ""
    return f"{text.plural(len(shares), 'other seed')}: {text.interval(min(shares), max(shares))}"
