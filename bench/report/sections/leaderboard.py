"""The leaderboard: a row for every family, unfolding to its trials."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from markupsafe import Markup

from bench import text
from bench.records import (
    COMPLETE,
    FAIL,
    LEADERBOARD_COLUMNS,
    RUNNING,
    WAITING,
    FamilyInfo,
    Run,
    Trial,
    leaderboard_row,
)
from bench.report.links import anchor
from bench.report.sections.pairwise import Standing, standings
from bench.report.sections.recommendation import efficient
from bench.report.sections.verdict import no_result, savings, test_interval, unseparated
from bench.report.styles import Mark, Phase, family_marks, interval_bar, learning_phases, sparkline

LISTED = 50
"""Of a family with more trials than that, about so many are on the page."""

FAILURES = 12
"""Of those, so many failed ones, the first."""

BOARD_COLUMNS = ("row", "rank", "best_rank", "worst_rank", "difference", *LEADERBOARD_COLUMNS)
"""What the script sorts by and exports: a family's place, then its chosen trial as in `leaderboard.csv`."""


@dataclass(frozen=True)
class Column:
    """A column of the leaderboard.

    Attributes:
        key: Which of the `BOARD_COLUMNS` it sorts by.
        about: What it says, in a sentence or two.
        numeric: Whether it holds numbers.
    """

    key: str
    title: str
    about: str
    numeric: bool = True


@dataclass(frozen=True)
class TrialRow:
    """A trial in its family's table.

    Attributes:
        anchor: The id of its row.
        phases: The named phases of its training; empty where there is one without a name.
        saved_time_s: What the feature cache saved; None where the trial was answered from the record.
        notes: What a reader should know of it.
        frozen: What became of its frozen layers, phase by phase.
    """

    trial: Trial
    anchor: str
    label: str
    chosen: bool
    curve: Markup
    phases: tuple[Phase, ...]
    time_s: float | None
    saved_time_s: float | None
    notes: tuple[str, ...]
    frozen: tuple[str, ...]


@dataclass(frozen=True)
class BoardRow:
    """A family on the leaderboard.

    Attributes:
        weights: What its chosen trial started from, or would have.
        status: "complete", "running", "waiting", "skipped", "failed" or "no result".
        states: How its trials ended, in words.
        trials: Those that are listed, in the order in which they were started.
        left_out: How many more there are.
        rank: From 1; None where the family has no result, and `reason` says why.
        trial: The chosen one.
        accuracy, low, high: Test accuracy and its 95 % interval.
        bar: The same as a picture.
        standing: What the paired comparison says; None where it was not compared.
        difference: Its test accuracy minus the leader's, as a share.
        one_seed: Whether it was compared with the leader on the run's own seed alone, though one of the two has more.
        tied: Whether it is not separated from the leader.
        seeds: Test accuracy over several seeds, in words that do not break.
    """

    family: FamilyInfo
    weights: str
    mark: Mark
    status: str
    states: str = ""
    trials: tuple[TrialRow, ...] = ()
    left_out: int = 0
    rank: int | None = None
    trial: Trial | None = None
    accuracy: float | None = None
    low: float | None = None
    high: float | None = None
    bar: Markup = field(default_factory=Markup)
    standing: Standing | None = None
    difference: float | None = None
    one_seed: bool = False
    tied: bool = False
    seeds: tuple[str, ...] = ()
    reason: str = ""

    @property
    def ranks(self) -> str:
        """Its rank, or the ranks that the comparison leaves open: `1`, `1–3`; "" without a result."""
        if self.standing and self.standing.best_rank < self.standing.worst_rank:
            return f"{self.standing.best_rank}–{self.standing.worst_rank}"
        return str(self.standing.best_rank if self.standing else self.rank or "")

    @property
    def chosen(self) -> TrialRow | None:
        """Its chosen trial among those that are listed."""
        return next((each for each in self.trials if each.chosen), None)

    @property
    def label(self) -> str:
        """Its name, with the label that its weights demand."""
        return text.with_weights(self.family.name, self.weights)


@dataclass(frozen=True)
class Leaderboard:
    """The section.

    Attributes:
        columns: What the columns are.
        rows: Families, best first.
        scale: The ends of the scale that the intervals share.
        states: How many of the listed trials are in each state, families without a trial by their own.
        savings: What the feature cache saved, in a sentence.
        two_phases: Whether a trial was trained in two phases.
    """

    columns: tuple[Column, ...]
    rows: tuple[BoardRow, ...]
    scale: tuple[float, float]
    states: Mapping[str, int]
    savings: str
    two_phases: bool

    @property
    def data(self) -> dict[str, Any]:
        """What the page's script sorts and exports: values row by row, trials by the id of their row."""
        return {
            "columns": BOARD_COLUMNS,
            "families": [_family_values(row) for row in self.rows],
            "trialColumns": LEADERBOARD_COLUMNS,
            "trials": {each.anchor: _trial_values(each.trial) for row in self.rows for each in row.trials},
        }


def section(run: Run) -> Leaderboard:
    """The leaderboard of a run."""
    rows = tuple(board(run))
    found = [each for row in rows for each in ([t.trial.state.lower() for t in row.trials] or [row.status])]
    return Leaderboard(
        columns=columns(
            run.split.folds,
            any(trial.cost and trial.cost.saved_time_s for trial in run.trials),
            text.mean_of_seeds(run.ranking()),
        ),
        rows=rows,
        scale=board_scale(run),
        states={state: found.count(state) for state in dict.fromkeys(found)},
        savings=savings(run),
        two_phases=any(len(each.phases) > 1 for row in rows for each in row.trials),
    )


def columns(folds: int = 0, cached: bool = True, seeds: str = "") -> tuple[Column, ...]:
    """The columns.

    Args:
        folds: How many there are: what is a mean over them says so.
        cached: Whether a cache saved time: what stands for that is explained.
        seeds: What the test accuracy is the mean of, in words (`text.mean_of_seeds`).
    """
    validation, mean = (f", the {text.over_folds(folds)}", ", in the mean of its folds") if folds else ("", "")
    saved = " Below it is what the cache saved." if cached else ""
    scored = (
        f"Share of test pictures that the chosen trial classifies rightly, the {seeds}. The bar is the 95 % interval: "
        "the test pictures and the seeds are in it. Below it are the standard deviation of the seeds and their range."
        if seeds
        else "Share of test pictures that the chosen trial classifies rightly. The bar is the 95 % Wilson interval."
    )
    return (
        Column(
            "rank",
            "Rank",
            "Place by test accuracy. An interval, such as 1–3, has all places that paired tests on the same test "
            "pictures leave open.",
        ),
        Column("family", "Family", "The architecture family. “Tied” ones cannot be told from the best.", False),
        Column("test_accuracy", "Test accuracy", scored),
        Column(
            "difference",
            "Δ to best",
            "Test accuracy minus that of the best family, in percentage points; below it the 95 % interval and the "
            "corrected p-value of the paired comparison, where there is one.",
        ),
        Column("val_accuracy", "Validation", f"Validation accuracy{validation}: it chose the trial."),
        Column(
            "train_time_s",
            "Training",
            "What the trial takes alone, from a cold start: computing the features of its frozen layers and the fit, "
            f"whether or not the features came from the cache{mean}.{saved}",
        ),
        Column("latency_ms", "Latency", "Median time for one picture, in a batch of one, on this run's machine."),
        Column("parameters", "Parameters", "Numbers in the model; below it, how many of them are trained."),
        Column("macs", "MACs", "Multiply-accumulate operations for one picture."),
        Column("peak_rss_mb", "Memory", "Most memory that the trial's process held, TensorFlow's own included."),
        Column("weights", "Weights", "What the backbone started from; empty for a model without one.", False),
        Column("engine", "Engine", "Who proposed the chosen trial, and its number in that study.", False),
        Column("state", "Status", "How the family stands, and how its trials ended.", False),
    )


def board_scale(run: Run) -> tuple[float, float]:
    """The ends of the scale that the leaderboard's intervals share: whole tens of percent, up to 1."""
    lows = [low for trial in run.ranking() if (low := test_interval(trial)[1]) is not None]
    return min(max(int(10 * min(lows, default=0.0)) / 10, 0.0), 0.9), 1.0


def board(run: Run) -> list[BoardRow]:
    """One row a family: those with a result, best first, then the others with the reason."""
    looks, scale, ranking, standing = family_marks(run), board_scale(run), run.ranking(), standings(run)
    known, shown = {family.name: family for family in run.families}, listed(run)
    every = _by_family(run)
    tied = {trial.family for trial in unseparated(ranking)}
    curves = [value for own in shown.values() for t in own for phase in learning_phases(t) for value in phase.values]
    curve_scale = (min(curves, default=0.0), max(curves, default=1.0))
    chosen = {trial.family: trial for trial in ranking}
    order = [*chosen, *(family.name for family in run.families if family.name not in chosen)]
    rows = []
    for place, name in enumerate(order, start=1):
        family, mark, own = known.get(name, FamilyInfo(name)), looks[name], every.get(name, [])
        best, compared = chosen.get(name), standing.get(name)
        accuracy, low, high = test_interval(best) if best else (None, None, None)
        trials = shown.get(name, [])
        rows.append(
            BoardRow(
                family,
                best.weights if best else family.weights,
                mark,
                _status(run, family, own, best),
                text.states(own),
                tuple(_trial_row(trial, trial is best, curve_scale) for trial in trials),
                len(own) - len(trials),
                place if best else None,
                best,
                accuracy,
                low,
                high,
                interval_bar(mark, scale, accuracy, low, high),
                compared,
                _difference(accuracy, ranking),
                _one_seed(best, compared, ranking),
                (compared.tied if compared else name in tied) and place > 1,
                _seeds(best) if best else (),
                "" if best else no_result(run, family),
            )
        )
    return rows


def listed(run: Run) -> dict[str, list[Trial]]:
    """The trials that the page lists, by family, in the order in which they were started.

    Of a family with more than `LISTED` these are the chosen one and those that `ship.efficient` names, what is
    running, the first failures, and then the best.
    """
    front = {trial.name for trial in efficient(run)}
    return {family: _listed(own, front) for family, own in _by_family(run).items()}


def _listed(own: list[Trial], front: set[str]) -> list[Trial]:
    if len(own) <= LISTED:
        return own
    best = sorted(own, key=lambda trial: (trial.state != COMPLETE or trial.duplicate_of != "", trial.rank_key))
    must = [best[0], *(trial for trial in own if trial.name in front or trial.state in (RUNNING, WAITING))]
    must += [trial for trial in own if trial.state == FAIL][:FAILURES]
    kept = {trial.name for trial in must}
    kept |= {trial.name for trial in [each for each in best if each.name not in kept][: max(0, LISTED - len(kept))]}
    return [trial for trial in own if trial.name in kept]


def _by_family(run: Run) -> dict[str, list[Trial]]:
    found: dict[str, list[Trial]] = {}
    for trial in run.trials:
        found.setdefault(trial.family, []).append(trial)
    return found


def _status(run: Run, family: FamilyInfo, own: Sequence[Trial], best: Trial | None) -> str:
    if run.status == "running" and any(trial.state in (RUNNING, WAITING) for trial in own):
        return "running"
    if best:
        return "complete"
    if family.skipped:
        return "skipped"
    if own:
        return "failed" if any(trial.state == FAIL for trial in own) else "no result"
    return "waiting" if run.status == "running" else "no result"


def _difference(accuracy: float | None, ranking: Sequence[Trial]) -> float | None:
    """To the leader."""
    leader = ranking[0].test_accuracy if ranking else None
    return None if accuracy is None or leader is None else accuracy - leader


def _one_seed(best: Trial | None, compared: Standing | None, ranking: Sequence[Trial]) -> bool:
    if best is None or compared is None or compared.difference is None or compared.over_seeds:
        return False
    return bool(best.over_seeds or ranking[0].over_seeds)


def _family_values(row: BoardRow) -> list[Any]:
    values = leaderboard_row(row.trial) if row.trial else {"family": row.family.name, "weights": row.weights}
    values = dict(values) | {
        "row": "family",
        "rank": row.rank,
        "best_rank": row.standing.best_rank if row.standing else row.rank,
        "worst_rank": row.standing.worst_rank if row.standing else row.rank,
        "difference": row.difference,
        "state": row.status,
    }
    return [_value(values.get(column)) for column in BOARD_COLUMNS]


def _trial_values(trial: Trial) -> list[Any]:
    values = leaderboard_row(trial)
    return [_value(value.lower() if column == "state" else value) for column, value in values.items()]


def _value(value: object) -> object:
    """For a script: what is missing is None, six digits are enough, and a text is safe to look at."""
    if isinstance(value, float):
        return float(f"{value:.6g}") if math.isfinite(value) else None
    return text.one_line(value) or None if isinstance(value, str) else value


def _trial_row(trial: Trial, chosen: bool, scale: tuple[float, float]) -> TrialRow:
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
        notes.append(trial.failure.name)
    if trial.note:
        notes.append(trial.note)
    return TrialRow(
        trial,
        anchor(trial),
        text.label(trial),
        chosen,
        sparkline(trial, scale, _curve_title(trial)),
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


def _seeds(trial: Trial) -> tuple[str, ...]:
    """Several seeds in words: `3 seeds, sd 0.7: 91.0–92.4 %`; of older records, which rank by one, the other ones."""
    shares = [repeat.test.accuracy for repeat in trial.repeats]
    if not shares:
        return ()
    said = text.plural(len(shares), "other seed")
    if trial.over_seeds and trial.test:
        shares.append(trial.test.accuracy)
        said = f"{text.plural(trial.over_seeds.seeds, 'seed')}, sd\u00a0{100 * trial.over_seeds.sd:.1f}"
    return f"{said}:", text.interval(min(shares), max(shares))
