"""Standings of the families on the test pictures: their ranks, who is tied for the best, and the recommended one."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bench import stats
from bench.metrics import metric
from bench.records import Run, Trial
from bench.runs import predictions
from bench.stats import Difference

CHEAPER = 0.8
"""A tied family is recommended for its training time if that is at most this share of the most accurate one's."""


@dataclass(frozen=True)
class Standing:
    """Place of a scored family that is no baseline.

    Attributes:
        rank: From 1. All that are tied for the best have rank 1, all that are no better than chance share a rank, and
            so do families of equal value.
        tied: True if several families are tied for the best and it is one of them.
        guesses: True if its 95 % interval holds the value of the best constant answer, or is worse.
        gap: Its value of the metric minus that of the best family, tested; None for that one, or without predictions.
        seeds: True if `gap` compares means over seeds; else the models of the run's own seed.
    """

    rank: int
    tied: bool
    guesses: bool
    gap: Difference | None = None
    seeds: bool = False


def scored(run: Run) -> list[Trial]:
    """The chosen trials that were scored on the test pictures, best first, without baselines."""
    return [trial for trial in run.ranking() if trial.test and trial.family not in run.baselines]


def standings(run: Run) -> dict[str, Standing]:
    """The standing of every scored family, by rank and then by the run's metric; the first is the best.

    Every family is tested against the best one; the tests are corrected for their number (Bonferroni), so that
    the intervals hold simultaneously. Without matching predictions the overlap of the 95 % intervals decides, which is
    more cautious: intervals may overlap although a test would find a difference.
    """
    ranked, floor = scored(run), chance(run)
    if not ranked:
        return {}
    leader, *others = ranked
    gaps = _gaps(run, leader, others)
    tied = {
        trial.family
        for trial in others
        if (not gaps[trial.family][0].significant if trial.family in gaps else overlaps(trial, leader))
    }
    if tied:
        tied.add(leader.family)
    guessing = {trial.family for trial in ranked if no_better(trial, floor)}
    ranks: dict[str, int] = {}
    for place, trial in enumerate(ranked, start=1):
        same = [other.family for other in ranked[: place - 1] if _is_alike(trial, other, guessing)]
        ranks[trial.family] = 1 if trial.family in tied else ranks[same[0]] if same else place
    places = {
        trial.family: Standing(
            ranks[trial.family],
            trial.family in tied,
            trial.family in guessing,
            *gaps.get(trial.family, (None, False)),
        )
        for trial in ranked
    }
    return dict(sorted(places.items(), key=lambda place: place[1].rank))


def recommended(run: Run) -> Trial | None:
    """The trial to ship; None without a scored family, or if the best is no better than chance.

    It is the one that trains fastest among the best and those tied with it whose value is within one standard error;
    the best itself unless another saves a fifth of the time.

    Source:
        The one-standard-error rule: L. Breiman, J. H. Friedman, R. A. Olshen and C. J. Stone (1984), "Classification
        and Regression Trees", section 3.4.3.
    """
    ranked, places = scored(run), standings(run)
    if not ranked or places[ranked[0].family].guesses:
        return None
    leader = ranked[0]
    low, high = leader.test_interval
    error = 0.0 if low is None or high is None else (high - low) / (2 * 1.96)
    least = leader.quality(leader.test_value) - error
    equal = [
        trial
        for trial in ranked[1:]
        if places[trial.family].tied and trial.cost and trial.quality(trial.test_value) >= least
    ]
    cheapest = min(equal, key=_training_s, default=leader)
    return cheapest if leader.cost and _training_s(cheapest) <= CHEAPER * _training_s(leader) else leader


def no_better(trial: Trial, floor: float | None) -> bool:
    """True if the 95 % interval of a trial's test result holds the value of the best constant answer, or is worse."""
    worst_end = 1 if metric(trial.metric).lower_is_better else 0
    return trial.quality(trial.test_interval[worst_end]) <= trial.quality(floor)


def overlaps(trial: Trial, leader: Trial) -> bool:
    """True if the 95 % interval of a trial's test result overlaps the leader's."""
    ends = [*trial.test_interval, *leader.test_interval]
    low, high, leader_low, leader_high = (math.nan if end is None else end for end in ends)
    return high >= leader_low and low <= leader_high


def _training_s(trial: Trial) -> float:
    return trial.cost.train_time_s if trial.cost else float("inf")


def _is_alike(trial: Trial, other: Trial, guessing: set[str]) -> bool:
    both_guess = {trial.family, other.family} <= guessing
    return both_guess or trial.test_value == other.test_value


def _gaps(run: Run, leader: Trial, others: Sequence[Trial]) -> Mapping[str, tuple[Difference, bool]]:
    """Test the families with predictions against the leader; True for those compared over seeds.

    If only one side has several seeds, or both do but lack predictions, the models of the run's own seed are compared.
    That decides nothing where it contradicts the means over seeds, or where the 95 % intervals, which include the noise
    of the seeds, overlap.
    """
    by_family = predictions.of_run(run)
    compared = [trial for trial in others if trial.family in by_family]
    if leader.family not in by_family or not by_family[leader.family].labels.size:
        return {}
    first, gaps = by_family[leader.family], {}
    values = {trial.family: by_family[trial.family].values(run.metric) for trial in (leader, *compared)}
    seeds = {
        trial.family: predictions.values_by_seed(run, trial)[0] for trial in (leader, *compared) if trial.over_seeds
    }
    several = {family: matrix for family, matrix in seeds.items() if len(matrix) > 1 < matrix.shape[1]}
    for trial in compared:
        over_seeds = {trial.family, leader.family} <= several.keys()
        if over_seeds:
            both = several[trial.family], several[leader.family]
            gap = stats.difference_over_seeds(*both, first.groups, tests=len(compared))
        else:
            both = values[trial.family], values[leader.family]
            gap = stats.difference(*both, first.groups, tests=len(compared))
            mixed = trial.over_seeds is not None or leader.over_seeds is not None
            if gap.value * ((trial.test_value or 0) - (leader.test_value or 0)) <= 0 or (
                mixed and overlaps(trial, leader)
            ):
                gap = gap.undecided()
        gaps[trial.family] = (gap, over_seeds)
    return gaps


def chance(run: Run) -> float | None:
    """The metric of the best constant answer on the test pictures; None without test pictures."""
    counts = run.split.counts.get("test", {})
    return run.metric.chance(tuple(counts.get(name, 0) for name in run.split.classes)) if any(counts.values()) else None


def constant(run: Run) -> float | None:
    """The metric of the best constant answer, as a measure; None if such an answer can have the best value."""
    return chance(run) if run.metric.has_chance else None
