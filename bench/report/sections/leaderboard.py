"""The leaderboard: one row per family, which unfolds to the family's trials."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from bench import text
from bench.metrics import metric
from bench.metrics._metric import Metric
from bench.records import (
    COMPLETE,
    FAIL,
    LEADERBOARD_COLUMNS,
    RUNNING,
    WAITING,
    Estimate,
    FamilyInfo,
    Run,
    Trial,
    leaderboard_row,
    metric_columns,
)
from bench.report.figures import anchor, rounded
from bench.report.inventory import accuracy_misleads
from bench.report.sections.learning_curves import learning_phases
from bench.report.sections.recommendation import cost_of, efficient
from bench.report.sections.verdict import no_result
from bench.runs.predictions import estimate
from bench.runs.standings import Standing, constant, no_better, recommended, scored, standings

LISTED = 50
"""The page lists about this many trials of a family that has more."""

FAILURES = 12
"""Maximum number of failed trials among them; the first are listed."""

BOARD_COLUMNS = ("row", "rank", "difference", *LEADERBOARD_COLUMNS)
"""Columns that the page's script sorts by and exports: a family's rank, then the columns of its chosen trial.

The `metric_columns` of the other metrics follow.
"""

SHADED = ("latency_ms", "parameters", "train_time_s")
"""Columns that are shaded, the darker the lower the cost, on a logarithmic scale."""

STARS = (0.001, 0.01, 0.05)
"""P-values below which a difference has three stars, two or one."""


@dataclass(frozen=True)
class MetricColumn:
    """A further metric of the board.

    Attributes:
        optional: True if it is hidden until a reader chooses it.
        values: By family, its value on the test pictures.
    """

    metric: Metric
    optional: bool
    values: Mapping[str, Estimate]

    @property
    def key(self) -> str:
        """The name of the column as data."""
        return f"test_{self.metric.name}"

    def words(self, family: str) -> tuple[str, str]:
        """The value of a family and its 95 % interval; "" for what there is not."""
        estimate = self.values.get(family)
        if estimate is None:
            return "", ""
        value, low, high = text.figure(estimate.value, self.metric), estimate.low, estimate.high
        return value, "" if low is None or high is None else text.figures(low, high, self.metric)


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
        standing: Its rank and the test against the best; None if it was not scored or is a baseline.
        difference: Its test result minus that of the best family.
        value: Test result if no trial has it, that of the best constant answer.
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
    value: float | None = None
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
        """Its rank; None for a baseline and without a test result."""
        return self.standing.rank if self.standing else None

    @property
    def stars(self) -> str:
        """Stars for the p-value of the difference; "" if it is not significant."""
        gap = self.standing.gap if self.standing else None
        return "*" * sum(gap.p < level for level in STARS) if gap else ""

    @property
    def test(self) -> str:
        """The test against the best family in words: `p < 0.001, 95 % interval −25.1 to −13.4 points`."""
        gap = self.standing.gap if self.standing else None
        if gap is None or self.trial is None:
            return ""
        by = metric(self.trial.metric)
        ends = f"{text.gap(gap.low, by)} to {text.gap(gap.high, by)}{' points' if by.percent else ''}"
        return f"{text.p_value(gap.p)}, 95\u202f% interval {ends}"

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
        """Test result over several seeds, as unbreakable pieces of text: `3 seeds, sd 0.7:`, `91.0–92.4 %`.

        Older records rank by one seed; for these it covers the other seeds.
        """
        trial = self.trial
        if trial is None or not trial.repeats:
            return ()
        by = metric(trial.metric)
        values = [repeat.test.of(by.name).value for repeat in trial.repeats]
        words = text.plural(len(values), "other seed")
        if trial.over_seeds and trial.test:
            values.append(trial.test.of(by.name).value)
            sd = text.gap(trial.over_seeds.sd, by).removeprefix("+")
            words = f"{text.plural(trial.over_seeds.seeds, 'seed')}, sd\u00a0{sd}"
        return f"{words}:", text.figures(min(values), max(values), by)


@dataclass(frozen=True)
class Leaderboard:
    """The section.

    Attributes:
        metric: The run's metric.
        others: The other metrics that have a column.
        scale: Left and right end of the common scale of the intervals; better values are on the right.
        chance: Test result of the best constant answer; None without test pictures.
        curve_scale: Bottom and top of the common scale of the learning curves.
        states: Number of listed trials by state, plus the families without a trial by status.
    """

    rows: Sequence[BoardRow]
    metric: Metric
    others: Sequence[MetricColumn]
    scale: tuple[float, float]
    chance: float | None
    curve_scale: tuple[float, float]
    states: Mapping[str, int]
    two_phases: bool

    @property
    def data(self) -> dict[str, Any]:
        """Values that the page's script sorts and exports: families in order, trials by the id of their row."""
        names = [self.metric.name, *(column.metric.name for column in self.others)]
        metrics = [self.metric, *(column.metric for column in self.others)]
        more = metric_columns(names)
        high_first = [f"{part}_{by.name}" for part in ("test", "val") for by in metrics if not by.lower_is_better]
        high_first += [] if self.metric.lower_is_better else ["difference"]
        return {
            "columns": [*BOARD_COLUMNS, *more],
            "descending": high_first,
            "families": [self._family_values(row, names) for row in self.rows],
            "trialColumns": [*LEADERBOARD_COLUMNS, *more, "params"],
            "trials": {anchor(trial): _trial_values(trial, names) for row in self.rows for trial in row.trials},
        }

    def _family_values(self, row: BoardRow, names: Sequence[str]) -> list[Any]:
        family = {"family": row.family.name, "weights": row.weights}
        values = leaderboard_row(row.trial, names) if row.trial else family
        values = dict(values) | {"row": "family", "rank": row.rank, "difference": row.difference, "state": row.status}
        values |= {} if row.value is None else {f"test_{self.metric.name}": row.value}
        for column in self.others:
            if estimate := column.values.get(row.family.name):
                ends = {f"{column.key}_low": estimate.low, f"{column.key}_high": estimate.high}
                values |= {column.key: estimate.value} | ends
        return [_value(values.get(column)) for column in (*BOARD_COLUMNS, *metric_columns(names))]


def section(run: Run) -> Leaderboard:
    """The leaderboard of a run."""
    rows = board(run)
    states = [state for row in rows for state in ([trial.state.lower() for trial in row.trials] or [row.status])]
    phases = [learning_phases(trial) for row in rows for trial in row.trials]
    values = [value for of_trial in phases for phase in of_trial for value in phase.values]
    curves = (min(values, default=0.0), max(values, default=1.0))
    return Leaderboard(
        rows=rows,
        metric=run.metric,
        others=further_metrics(run),
        scale=board_scale(run),
        chance=constant(run),
        curve_scale=curves[::-1] if run.metric.lower_is_better else curves,
        states={state: states.count(state) for state in dict.fromkeys(states) if state != "chance"},
        two_phases=any(sum(phase.name != "" for phase in of_trial) > 1 for of_trial in phases),
    )


def further_metrics(run: Run) -> list[MetricColumn]:
    """The metrics beside the one that decides: those of the run, and accuracy as an optional one.

    An accuracy of unbalanced classes has balanced accuracy beside it.
    """
    named = {by.name: by for by in run.metrics}
    visible = [*run.metrics[1:], *([metric("balanced_accuracy")] if accuracy_misleads(run.split, run.config) else [])]
    hidden = [] if "accuracy" in named else [metric("accuracy")]
    return [
        MetricColumn(by, by in hidden, {t.family: value for t in run.ranking() if (value := estimate(run, t, by))})
        for by in [*visible, *hidden]
    ]


def board_scale(run: Run) -> tuple[float, float]:
    """Ends of the common scale of the intervals, from a round number to the best value; better values come last."""
    by, ends = run.metric, [end for trial in scored(run) for end in trial.test_interval if end is not None]
    ends += [value for value in [constant(run)] if value is not None and ends]
    if by.percent and not by.lower_is_better:
        return min(max(int(10 * min(ends, default=0.0)) / 10, 0.0), 0.9), 1.0
    farthest = max((abs(by.best - end) for end in ends), default=1.0)
    step = 10.0 ** math.floor(math.log10(max(farthest, 1e-3)))
    reach = step * math.ceil(round(farthest / step, 6))
    return by.best + (reach if by.lower_is_better else -reach), by.best


def board(run: Run) -> list[BoardRow]:
    """One row per family: the recommended one, the others by rank, those without a result, baselines, and chance."""
    ranking, places, by_family, shown = run.ranking(), standings(run), _by_family(run), listed(run)
    infos, shipped, heat = {family.name: family for family in run.families}, recommended(run), _heat(run)
    chosen = {trial.family: trial for trial in ranking}
    best = scored(run)[0].test_value if places else None
    floor = constant(run)
    rows, guessing = [], []
    for name in dict.fromkeys([*places, *chosen, *infos]):
        info, trial = infos.get(name, FamilyInfo(name)), chosen.get(name)
        value = trial.test_value if trial else None
        is_baseline = name in run.baselines
        if is_baseline and floor is not None and (not trial or no_better(trial, floor)):
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
                difference=None if value is None or best is None else value - best,
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
    answer = FamilyInfo("chance", title=_constant_answer(run, guessing))
    return [*rows, BoardRow(answer, "chance", "", trials, left_out, value=floor)]


def _constant_answer(run: Run, guessing: Sequence[str]) -> str:
    """The best constant answer, and the baselines that are no better, in words."""
    counts = run.split.counts["test"]
    answer = "The best constant answer"
    if run.metric.name == "accuracy":
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


def _trial_values(trial: Trial, metrics: Sequence[str]) -> list[Any]:
    values = leaderboard_row(trial, metrics)
    params = {text.one_line(name): text.one_line(str(text.number(value))) for name, value in trial.params.items()}
    return [*(_value(value.lower() if column == "state" else value) for column, value in values.items()), params]


def _value(value: object) -> object:
    """Convert a value for the page's script: None if missing, numbers with six digits, cleaned text."""
    if isinstance(value, float):
        return rounded(value) if math.isfinite(value) else None
    return text.one_line(value) or None if isinstance(value, str) else value
