"""The leaderboard: a row for every family, which unfolds to its trials."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from markupsafe import Markup

from bench import text
from bench.records import COMPLETE, FAIL, LEADERBOARD_COLUMNS, RUNNING, WAITING, FamilyInfo, Run, Trial, leaderboard_row
from bench.report.figures import anchor
from bench.report.sections.learning_curves import LearningPhase, learning_phases, sparkline
from bench.report.sections.pairwise import Standing, standings
from bench.report.sections.recommendation import efficient
from bench.report.sections.verdict import no_result, savings, test_interval, unseparated
from bench.report.styles import Mark, family_marks, interval_bar

LISTED = 50
"""Families with more trials than that have about so many of them on the page."""

FAILURES = 12
"""Limit on the failed trials among them; the first ones are listed."""

BOARD_COLUMNS = ("row", "rank", "best_rank", "worst_rank", "difference", *LEADERBOARD_COLUMNS)
"""Columns that the page's script sorts by and exports: a family's place, then the columns of its chosen trial."""


@dataclass(frozen=True)
class TrialRow:
    """A trial in its family's table; `curve` is its learning curve as a picture."""

    trial: Trial
    chosen: bool
    curve: Markup

    @property
    def phases(self) -> list[LearningPhase]:
        """The named phases of its training; empty where there is one without a name."""
        return [phase for phase in learning_phases(self.trial) if phase.name]

    @property
    def time_s(self) -> float | None:
        """The time that it took in all; None where it was answered from the record."""
        trial = self.trial
        if trial.cost and trial.cost.total_time_s:
            return trial.cost.total_time_s
        return None if trial.finished_s is None or trial.duplicate_of else trial.finished_s - trial.started_s

    @property
    def saved_time_s(self) -> float | None:
        """The time that the feature cache saved; None where it was answered from the record."""
        return self.trial.cost.saved_time_s if self.trial.cost and not self.trial.duplicate_of else None

    @property
    def notes(self) -> list[str]:
        """Remarks for a reader."""
        trial = self.trial
        remarks = [
            "known configuration" if trial.known else "",
            f"answered from the record of {trial.duplicate_of}" if trial.duplicate_of else "",
            "" if trial.counted else "used no budget",
            trial.failure.name if trial.failure else "",
            trial.note,
        ]
        return [remark for remark in dict.fromkeys(remarks) if remark]

    @property
    def frozen(self) -> list[str]:
        """The use of its frozen layers, phase by phase, in words."""
        return [text.frozen(prefix) for prefix in self.trial.prefixes]


@dataclass(frozen=True)
class BoardRow:
    """A family on the leaderboard.

    Attributes:
        status: "complete", "running", "waiting", "skipped", "failed" or "no result".
        states: States of its trials, in words.
        trials: The listed ones, as they were started; `left_out` are not listed.
        rank: From 1; None where the family has no result, for the `reason`.
        trial: The chosen trial, with its test accuracy and interval as the picture `bar`.
        standing: Result of the paired comparison; None where it was not compared.
        difference: Its test accuracy minus the leader's, as a share.
        one_seed: Whether it was compared with the leader on the run's own seed alone, though one of the two has more.
        tied: Whether it is not separated from the leader.
    """

    family: FamilyInfo
    mark: Mark
    status: str
    states: str
    trials: tuple[TrialRow, ...]
    left_out: int
    rank: int | None = None
    trial: Trial | None = None
    bar: Markup = field(default_factory=Markup)
    standing: Standing | None = None
    difference: float | None = None
    one_seed: bool = False
    tied: bool = False
    reason: str = ""

    @property
    def weights(self) -> str:
        """The weights that its chosen trial started from, or would have."""
        return self.trial.weights if self.trial else self.family.weights

    @property
    def interval(self) -> tuple[float | None, float | None, float | None]:
        """Test accuracy and its 95 % interval."""
        return test_interval(self.trial) if self.trial else (None, None, None)

    @property
    def ranks(self) -> str:
        """Its rank, or the ranks that the comparison leaves open: `1`, `1–3`; "" without a result."""
        if self.standing and self.standing.best_rank < self.standing.worst_rank:
            return f"{self.standing.best_rank}–{self.standing.worst_rank}"
        return str(self.standing.best_rank if self.standing else self.rank or "")

    @property
    def chosen(self) -> Trial | None:
        """Its chosen trial, where that is listed."""
        return next((each.trial for each in self.trials if each.chosen), None)

    @property
    def label(self) -> str:
        """Its name, with the label that its weights demand."""
        return text.with_weights(self.family.name, self.weights)

    @property
    def seeds(self) -> tuple[str, ...]:
        """Test accuracy over several seeds, in words that do not break: `3 seeds, sd 0.7:`, `91.0–92.4 %`.

        Older records rank by one seed; theirs are the other ones.
        """
        trial = self.trial
        if trial is None or not trial.repeats:
            return ()
        shares = [repeat.test.accuracy for repeat in trial.repeats]
        words = text.plural(len(shares), "other seed")
        if trial.over_seeds and trial.test:
            shares.append(trial.test.accuracy)
            words = f"{text.plural(trial.over_seeds.seeds, 'seed')}, sd\u00a0{100 * trial.over_seeds.sd:.1f}"
        return f"{words}:", text.interval(min(shares), max(shares))


@dataclass(frozen=True)
class Leaderboard:
    """The section.

    Attributes:
        scale: Ends of the scale that the intervals share.
        states: Numbers of listed trials by state, and of families without a trial by status.
        savings: The time that the feature cache saved, in a sentence; "" where it is less than a second.
    """

    rows: tuple[BoardRow, ...]
    scale: tuple[float, float]
    states: Mapping[str, int]
    savings: str
    cached: bool
    two_phases: bool

    @property
    def data(self) -> dict[str, Any]:
        """Values that the page's script sorts and exports: row by row, of trials by the id of their row."""
        return {
            "columns": BOARD_COLUMNS,
            "families": [_family_values(row) for row in self.rows],
            "trialColumns": LEADERBOARD_COLUMNS,
            "trials": {anchor(each.trial): _trial_values(each.trial) for row in self.rows for each in row.trials},
        }


def section(run: Run) -> Leaderboard:
    """The leaderboard of a run."""
    rows = tuple(board(run))
    states = [state for row in rows for state in ([t.trial.state.lower() for t in row.trials] or [row.status])]
    return Leaderboard(
        rows=rows,
        scale=board_scale(run),
        states={state: states.count(state) for state in dict.fromkeys(states)},
        savings=savings(run),
        cached=any(trial.cost and trial.cost.saved_time_s for trial in run.trials),
        two_phases=any(len(each.phases) > 1 for row in rows for each in row.trials),
    )


def board_scale(run: Run) -> tuple[float, float]:
    """Ends of the scale that the leaderboard's intervals share: whole tens of percent, up to 1."""
    lows = [low for trial in run.ranking() if (low := test_interval(trial)[1]) is not None]
    return min(max(int(10 * min(lows, default=0.0)) / 10, 0.0), 0.9), 1.0


def board(run: Run) -> list[BoardRow]:
    """One row a family: those with a result, best first, then the others with the reason."""
    looks, scale, ranking, compared = family_marks(run), board_scale(run), run.ranking(), standings(run)
    infos, every, shown = {family.name: family for family in run.families}, _by_family(run), listed(run)
    overlapping = unseparated(ranking)
    values = [
        value
        for family_trials in shown.values()
        for t in family_trials
        for phase in learning_phases(t)
        for value in phase.values
    ]
    curve_scale = (min(values, default=0.0), max(values, default=1.0))
    chosen = {trial.family: trial for trial in ranking}
    rows = []
    for place, name in enumerate(dict.fromkeys([*chosen, *infos]), start=1):
        info, family_trials = infos.get(name, FamilyInfo(name)), every.get(name, [])
        best, standing = chosen.get(name), compared.get(name)
        trials = tuple(TrialRow(t, t is best, sparkline(t, curve_scale)) for t in shown.get(name, []))
        row = BoardRow(
            family=info,
            mark=looks[name],
            status=_status(run, info, family_trials, best),
            states=text.states(family_trials),
            trials=trials,
            left_out=len(family_trials) - len(trials),
            reason="" if best else no_result(run, info),
        )
        if best:
            accuracy, leader = best.test_accuracy, ranking[0].test_accuracy
            gap = standing.gap if standing else None
            row = replace(
                row,
                rank=place,
                trial=best,
                bar=interval_bar(looks[name], scale, *test_interval(best)),
                standing=standing,
                difference=None if accuracy is None or leader is None else accuracy - leader,
                one_seed=bool(gap and not gap.over_seeds and (best.over_seeds or ranking[0].over_seeds)),
                tied=place > 1 and (standing.tied if standing else best in overlapping),
            )
        rows.append(row)
    return rows


def listed(run: Run) -> dict[str, list[Trial]]:
    """The trials that the page lists, by family, in the order in which they were started.

    Of a family with more than `LISTED` these are the chosen one, the efficient ones, those in training, the first
    failures, and then the best.
    """
    front = {trial.name for trial in efficient(run)}
    return {family: _listed(trials, front) for family, trials in _by_family(run).items()}


def _listed(trials: list[Trial], front: set[str]) -> list[Trial]:
    if len(trials) <= LISTED:
        return trials
    best = sorted(trials, key=lambda trial: (trial.state != COMPLETE or trial.duplicate_of != "", trial.rank_key))
    must = [best[0], *(trial for trial in trials if trial.name in front or trial.state in (RUNNING, WAITING))]
    must += [trial for trial in trials if trial.state == FAIL][:FAILURES]
    names = {trial.name for trial in must}
    names |= {trial.name for trial in [each for each in best if each.name not in names][: max(0, LISTED - len(names))]}
    return [trial for trial in trials if trial.name in names]


def _by_family(run: Run) -> dict[str, list[Trial]]:
    families: dict[str, list[Trial]] = {}
    for trial in run.trials:
        families.setdefault(trial.family, []).append(trial)
    return families


def _status(run: Run, family: FamilyInfo, trials: Sequence[Trial], best: Trial | None) -> str:
    if run.status == "running" and any(trial.state in (RUNNING, WAITING) for trial in trials):
        return "running"
    if best:
        return "complete"
    if family.skipped:
        return "skipped"
    if trials:
        return "failed" if any(trial.state == FAIL for trial in trials) else "no result"
    return "waiting" if run.status == "running" else "no result"


# -- the data of the page's script


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
    """A value for a script: None where it is missing, numbers with six digits, harmless texts."""
    if isinstance(value, float):
        return float(f"{value:.6g}") if math.isfinite(value) else None
    return text.one_line(value) or None if isinstance(value, str) else value
