"""The leaderboard: one row per family, which unfolds to the family's trials."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from bench import text
from bench.records import COMPLETE, FAIL, LEADERBOARD_COLUMNS, RUNNING, WAITING, FamilyInfo, Run, Trial, leaderboard_row
from bench.report.figures import anchor, rounded
from bench.report.sections.learning_curves import learning_phases
from bench.report.sections.recommendation import cost_of, efficient
from bench.report.sections.verdict import no_result
from bench.runs.standings import Standing, chance, recommended, scored, standings

LISTED = 50
"""The page lists about this many trials of a family that has more."""

FAILURES = 12
"""Maximum number of failed trials among them; the first are listed."""

BOARD_COLUMNS = ("row", "rank", "difference", *LEADERBOARD_COLUMNS)
"""Columns that the page's script sorts by and exports: a family's rank, then the columns of its chosen trial."""

SHADED = ("latency_ms", "parameters", "train_time_s")
"""Columns that are shaded, the darker the lower the cost, on a logarithmic scale."""

STARS = (0.001, 0.01, 0.05)
"""P-values below which a difference has three stars, two or one."""


@dataclass(frozen=True)
class BoardRow:
    """A row of the leaderboard: a family, or the best constant answer with the baselines that are no better.

    Attributes:
        status: "complete", "running", "waiting", "skipped", "failed", "no result" or "chance".
        states: States of its trials, in words.
        trials: The listed trials, in start order; `left_out` more are not listed.
        answered: Number of its trials that were answered from the record, and so not trained.
        reason: Reason why there is no result; "" with one.
        trial: The chosen trial; None without a result, and in the row of the best constant answer.
        standing: Its rank and the test against the most accurate; None if it was not scored or is a baseline.
        difference: Its test accuracy minus that of the most accurate family, as a share.
        accuracy: Test accuracy if no trial has it, that of the best constant answer.
        is_baseline: True if it cannot learn, and others can.
        is_shipped: True for the recommended family.
        heat: By column of `SHADED`, 0 for the highest cost to 1 for the lowest.
    """

    family: FamilyInfo
    status: str
    states: str
    trials: Sequence[Trial]
    left_out: int = 0
    answered: int = 0
    reason: str = ""
    trial: Trial | None = None
    standing: Standing | None = None
    difference: float | None = None
    accuracy: float | None = None
    is_baseline: bool = False
    is_shipped: bool = False
    heat: Mapping[str, float] = field(default_factory=dict)

    @property
    def weights(self) -> str:
        """Initial weights of its chosen trial; without one, those of its trials, "" without trials."""
        if self.trial:
            return self.trial.weights
        return self.trials[0].weights if self.trials else ""

    @property
    def rank(self) -> int | None:
        """Its rank; None for a baseline and without a test accuracy."""
        return self.standing.rank if self.standing else None

    @property
    def stars(self) -> str:
        """Stars for the p-value of the difference; "" if it is not significant."""
        gap = self.standing.gap if self.standing else None
        return "*" * sum(gap.p < level for level in STARS) if gap else ""

    @property
    def test(self) -> str:
        """The test against the most accurate family in words: `p < 0.001, 95 % interval −25.1 to −13.4 points`."""
        gap = self.standing.gap if self.standing else None
        if gap is None:
            return ""
        return f"{text.p_value(gap.p)}, 95\u202f% interval {text.points(gap.low)} to {text.points(gap.high)} points"

    @property
    def label(self) -> str:
        """Its name, labelled if it trained from random weights."""
        return text.with_weights(self.family.name, self.weights)

    @property
    def hyperparameters(self) -> Sequence[str]:
        """Names of the hyperparameters of the listed trials, the most frequent first; each is a column."""
        counts = Counter(name for trial in self.trials for name in trial.params)
        return [name for name, _ in counts.most_common()]

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
        chance: Test accuracy of the best constant answer; None without test pictures.
        curve_scale: Ends of the common scale of the learning curves.
        states: Number of listed trials by state, plus the families without a trial by status.
    """

    rows: Sequence[BoardRow]
    scale: tuple[float, float]
    chance: float | None
    curve_scale: tuple[float, float]
    states: Mapping[str, int]
    two_phases: bool

    @property
    def data(self) -> dict[str, Any]:
        """Values that the page's script sorts and exports: families in order, trials by the id of their row."""
        return {
            "columns": BOARD_COLUMNS,
            "families": [_family_values(row) for row in self.rows],
            "trialColumns": [*LEADERBOARD_COLUMNS, "params"],
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
        chance=chance(run),
        curve_scale=(min(values, default=0.0), max(values, default=1.0)),
        states={state: states.count(state) for state in dict.fromkeys(states) if state != "chance"},
        two_phases=any(sum(phase.name != "" for phase in of_trial) > 1 for of_trial in phases),
    )


def board_scale(run: Run) -> tuple[float, float]:
    """Ends of the common scale of the intervals, as shares: from a multiple of 0.1 to 1."""
    lows = [low for trial in scored(run) if (low := trial.test_interval[0]) is not None]
    lows += [share for share in [chance(run)] if share is not None and lows]
    return min(max(int(10 * min(lows, default=0.0)) / 10, 0.0), 0.9), 1.0


def board(run: Run) -> list[BoardRow]:
    """One row per family: the recommended one, the others by rank, those without a result, baselines, and chance."""
    ranking, places, by_family, shown = run.ranking(), standings(run), _by_family(run), listed(run)
    infos, shipped, heat = {family.name: family for family in run.families}, recommended(run), _heat(run)
    chosen = {trial.family: trial for trial in ranking}
    best = scored(run)[0].test_accuracy if places else None
    floor = chance(run)
    rows, guessing = [], []
    for name in dict.fromkeys([*places, *chosen, *infos]):
        info, trial = infos.get(name, FamilyInfo(name)), chosen.get(name)
        accuracy = trial.test_accuracy if trial else None
        is_baseline = name in run.baselines
        if is_baseline and floor is not None and (not trial or (trial.test_interval[0] or 0.0) <= floor):
            guessing.append(name)
            continue
        trials, on_page = by_family[name], shown.get(name, [])
        rows.append(
            BoardRow(
                family=info,
                status=_status(run, info, trials, trial),
                states=text.states(trials),
                trials=on_page,
                left_out=len(trials) - len(on_page),
                answered=sum(trial.duplicate_of != "" for trial in trials),
                reason="" if trial else no_result(run, info),
                trial=trial,
                standing=places.get(name),
                difference=None if accuracy is None or best is None else accuracy - best,
                is_baseline=is_baseline,
                is_shipped=shipped is not None and trial is shipped,
                heat=heat.get(name, {}),
            )
        )
    rows.sort(key=lambda row: (row.is_baseline, row.trial is None, row.rank or math.inf, not row.is_shipped))
    if floor is None or not run.families:
        return rows
    trials = [trial for name in guessing for trial in shown.get(name, [])]
    left_out = sum(len(by_family[name]) for name in guessing) - len(trials)
    constant = FamilyInfo("chance", title=_constant_answer(run, guessing))
    return [*rows, BoardRow(constant, "chance", "", trials, left_out, accuracy=floor)]


def _constant_answer(run: Run, guessing: Sequence[str]) -> str:
    """The best constant answer, and the baselines that are no better, in words."""
    counts = run.split.counts["test"]
    answer = f"Always answering {text.one_line(max(counts, key=lambda name: counts[name]))}"
    tested = [trial.family for trial in run.ranking() if trial.family in guessing and trial.test]
    same = f"; {text.listing(tested)} {'is' if len(tested) == 1 else 'are'} no better" if tested else ""
    return answer + same


def _heat(run: Run) -> dict[str, dict[str, float]]:
    """By family and column, the position of a cost between the highest, 0, and the lowest, 1, on a log scale."""
    heat: dict[str, dict[str, float]] = defaultdict(dict)
    for column in SHADED:
        costs = {trial.family: cost_of(trial, column) for trial in scored(run)}
        logs = {family: math.log(cost) for family, cost in costs.items() if 0 < cost < math.inf}
        low, high = min(logs.values(), default=0.0), max(logs.values(), default=0.0)
        for family, value in logs.items():
            heat[family][column] = (high - value) / (high - low) if high > low else 0.0
    return heat


def remarks(trial: Trial) -> list[str]:
    """Short remarks on a trial."""
    saved = trial.cost.saved_time_s if trial.cost and not trial.duplicate_of else 0.0
    candidates = [
        f"the cache saved {text.seconds(saved)}" if saved else "",
        f"answered from the record of {trial.duplicate_of}, not trained" if trial.duplicate_of else trial.note,
        "" if trial.counted else "used no budget",
        trial.failure.name if trial.failure else "",
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
    values = dict(values) | {"row": "family", "rank": row.rank, "difference": row.difference, "state": row.status}
    values |= {} if row.accuracy is None else {"test_accuracy": row.accuracy}
    return [_value(values.get(column)) for column in BOARD_COLUMNS]


def _trial_values(trial: Trial) -> list[Any]:
    values = leaderboard_row(trial)
    params = {text.one_line(name): text.one_line(str(text.number(value))) for name, value in trial.params.items()}
    return [*(_value(value.lower() if column == "state" else value) for column, value in values.items()), params]


def _value(value: object) -> object:
    """Convert a value for the page's script: None if missing, numbers with six digits, cleaned text."""
    if isinstance(value, float):
        return rounded(value) if math.isfinite(value) else None
    return text.one_line(value) or None if isinstance(value, str) else value
