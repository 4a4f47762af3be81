"""The leaderboard: one row per family, which unfolds to the family's trials."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bench import text
from bench.records import COMPLETE, FAIL, LEADERBOARD_COLUMNS, RUNNING, WAITING, FamilyInfo, Run, Trial, leaderboard_row
from bench.report.figures import anchor, rounded
from bench.report.sections.learning_curves import learning_phases
from bench.report.sections.pairwise import Standing, standings
from bench.report.sections.recommendation import efficient
from bench.report.sections.verdict import no_result, test_interval, unseparated

LISTED = 50
"""The page lists about this many trials of a family that has more."""

FAILURES = 12
"""Maximum number of failed trials among them; the first are listed."""

BOARD_COLUMNS = ("row", "rank", "best_rank", "worst_rank", "difference", *LEADERBOARD_COLUMNS)
"""Columns that the page's script sorts by and exports: a family's rank, then the columns of its chosen trial."""


@dataclass(frozen=True)
class BoardRow:
    """A family on the leaderboard.

    Attributes:
        status: "complete", "running", "waiting", "skipped", "failed" or "no result".
        states: States of its trials, in words.
        trials: The listed trials, in start order; `left_out` more are not listed.
        rank: From 1; None without a result, and `reason` says why.
        trial: The chosen trial.
        leader: The chosen trial of the first family.
        standing: Result of the paired comparison; None if it was not compared.
        tied: True if it is not separated from the leader.
        is_baseline: True if it cannot learn, and others can.
    """

    family: FamilyInfo
    status: str
    states: str
    trials: Sequence[Trial]
    left_out: int
    reason: str
    rank: int | None
    trial: Trial | None
    leader: Trial | None
    standing: Standing | None
    tied: bool
    is_baseline: bool

    @property
    def weights(self) -> str:
        """Initial weights of its chosen trial; without one, those that its trials would start from."""
        return self.trial.weights if self.trial else self.family.weights

    @property
    def ranks(self) -> str:
        """Its rank, or the range of ranks that the comparison allows: `1`, `1–3`; "" for a baseline and without one."""
        if self.is_baseline:
            return ""
        if self.standing and self.standing.best_rank < self.standing.worst_rank:
            return f"{self.standing.best_rank}–{self.standing.worst_rank}"
        return str(self.standing.best_rank if self.standing else self.rank or "")

    @property
    def difference(self) -> float | None:
        """Its test accuracy minus the leader's, as a share."""
        accuracy = self.trial.test_accuracy if self.trial else None
        best = self.leader.test_accuracy if self.leader else None
        return None if accuracy is None or best is None else accuracy - best

    @property
    def one_seed(self) -> bool:
        """True if it was compared with the leader on the run's own seed alone, although one of the two has several."""
        gap = self.standing.gap if self.standing else None
        compared = [trial for trial in (self.trial, self.leader) if trial]
        return gap is not None and not gap.over_seeds and any(trial.over_seeds for trial in compared)

    @property
    def label(self) -> str:
        """Its name, labelled if it trained from random weights."""
        return text.with_weights(self.family.name, self.weights)

    @property
    def seeds(self) -> tuple[str, ...]:
        """Test accuracy over several seeds, as unbreakable pieces of text: `3 seeds, sd 0.7:`, `91.0–92.4 %`.

        Older records rank by one seed; for these it covers the other seeds.
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
        scale: Ends of the common scale of the intervals.
        curve_scale: Ends of the common scale of the learning curves.
        states: Number of listed trials by state, plus the families without a trial by status.
    """

    rows: Sequence[BoardRow]
    scale: tuple[float, float]
    curve_scale: tuple[float, float]
    states: Mapping[str, int]
    cached: bool
    two_phases: bool

    @property
    def data(self) -> dict[str, Any]:
        """Values that the page's script sorts and exports: families in order, trials by the id of their row."""
        return {
            "columns": BOARD_COLUMNS,
            "families": [_family_values(row) for row in self.rows],
            "trialColumns": LEADERBOARD_COLUMNS,
            "trials": {anchor(trial): _trial_values(trial) for row in self.rows for trial in row.trials},
        }


def section(run: Run) -> Leaderboard:
    """The leaderboard of a run."""
    rows = board(run)
    states = [state for row in rows for state in ([trial.state.lower() for trial in row.trials] or [row.status])]
    phases = [learning_phases(trial) for row in rows for trial in row.trials]
    values = [value for of_trial in phases for phase in of_trial for value in phase.values]
    return Leaderboard(
        rows=rows,
        scale=board_scale(run),
        curve_scale=(min(values, default=0.0), max(values, default=1.0)),
        states={state: states.count(state) for state in dict.fromkeys(states)},
        cached=any(trial.cost and trial.cost.saved_time_s for trial in run.trials),
        two_phases=any(sum(phase.name != "" for phase in of_trial) > 1 for of_trial in phases),
    )


def board_scale(run: Run) -> tuple[float, float]:
    """Ends of the common scale of the intervals, as shares: from a multiple of 0.1 to 1."""
    lows = [low for trial in run.ranking() if (low := test_interval(trial)[1]) is not None]
    return min(max(int(10 * min(lows, default=0.0)) / 10, 0.0), 0.9), 1.0


def board(run: Run) -> list[BoardRow]:
    """One row per family: those with a result, best first, then the others with the reason."""
    ranking, compared, by_family, shown = run.ranking(), standings(run), _by_family(run), listed(run)
    infos, overlapping = {family.name: family for family in run.families}, unseparated(ranking)
    chosen = {trial.family: trial for trial in ranking}
    rows = []
    for place, name in enumerate(dict.fromkeys([*chosen, *infos]), start=1):
        info, best, standing = infos.get(name, FamilyInfo(name)), chosen.get(name), compared.get(name)
        trials, on_page = by_family[name], shown.get(name, [])
        rows.append(
            BoardRow(
                family=info,
                status=_status(run, info, trials, best),
                states=text.states(trials),
                trials=on_page,
                left_out=len(trials) - len(on_page),
                reason="" if best else no_result(run, info),
                rank=place if best else None,
                trial=best,
                leader=ranking[0] if ranking else None,
                standing=standing,
                tied=place > 1 and name not in run.baselines and (standing.tied if standing else best in overlapping),
                is_baseline=name in run.baselines,
            )
        )
    return rows


def time_s(trial: Trial) -> float | None:
    """Total time of a trial; None if it was answered from the record."""
    if trial.cost and trial.cost.total_time_s:
        return trial.cost.total_time_s
    return None if trial.finished_s is None or trial.duplicate_of else trial.finished_s - trial.started_s


def remarks(trial: Trial) -> list[str]:
    """Short remarks on a trial."""
    candidates = [
        "known configuration" if trial.known else "",
        f"answered from the record of {trial.duplicate_of}" if trial.duplicate_of else "",
        "" if trial.counted else "used no budget",
        trial.failure.name if trial.failure else "",
        trial.note,
    ]
    return [remark for remark in dict.fromkeys(candidates) if remark]


def listed(run: Run) -> dict[str, list[Trial]]:
    """The trials that the page lists, by family, in start order.

    Of a family with more than `LISTED` these are the chosen trial, the efficient ones, those in training and the first
    failures, filled up with the best.
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
    others = [trial.name for trial in best if trial.name not in names]
    names |= set(others[: max(0, LISTED - len(names))])
    return [trial for trial in trials if trial.name in names]


def _by_family(run: Run) -> defaultdict[str, list[Trial]]:
    families = defaultdict(list)
    for trial in run.trials:
        families[trial.family].append(trial)
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
    """Convert a value for the page's script: None if missing, numbers with six digits, cleaned text."""
    if isinstance(value, float):
        return rounded(value) if math.isfinite(value) else None
    return text.one_line(value) or None if isinstance(value, str) else value
