"""Standings of the families on the test pictures: their ranks, who is tied for the best, and the recommended one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bench import stats
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
            so do families of equal accuracy.
        tied: True if several families are tied for the best and it is one of them.
        guesses: True if its 95 % interval holds the accuracy of the best constant answer, or lies below it.
        gap: Its accuracy minus that of the most accurate family, tested; None for that one, or without predictions.
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
    """The standing of every scored family, by rank and then by accuracy; the first is the most accurate.

    Every family is tested against the most accurate one; the tests are corrected for their number (Bonferroni), so that
    the intervals hold simultaneously. Without matching predictions the overlap of the 95 % intervals decides, which is
    more cautious: intervals may overlap although a test would find a difference.
    """
    ranked, floor = scored(run), chance(run) or 0.0
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
    guessing = {trial.family for trial in ranked if (trial.test_interval[0] or 0.0) <= floor}
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
    """The trial to ship; None without a scored family, or if the most accurate is no better than chance.

    It is the one that trains fastest among the most accurate and those tied with it whose accuracy is within one
    standard error; the most accurate itself unless another saves a fifth of the time.

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
    least = (leader.test_accuracy or 0.0) - error
    equal = [
        trial
        for trial in ranked[1:]
        if places[trial.family].tied and trial.cost and (trial.test_accuracy or 0) >= least
    ]
    cheapest = min(equal, key=_training_s, default=leader)
    return cheapest if leader.cost and _training_s(cheapest) <= CHEAPER * _training_s(leader) else leader


def overlaps(trial: Trial, leader: Trial) -> bool:
    """True if the 95 % interval of a trial's test accuracy reaches into the leader's."""
    high, low = trial.test_interval[1], leader.test_interval[0]
    return low is not None and high is not None and high >= low


def _training_s(trial: Trial) -> float:
    return trial.cost.train_time_s if trial.cost else float("inf")


def _is_alike(trial: Trial, other: Trial, guessing: set[str]) -> bool:
    both_guess = {trial.family, other.family} <= guessing
    return both_guess or trial.test_accuracy == other.test_accuracy


def _gaps(run: Run, leader: Trial, others: Sequence[Trial]) -> Mapping[str, tuple[Difference, bool]]:
    """Test the families with predictions against the leader; True for those compared over seeds.

    If only one side has several seeds, or both do but lack predictions, the models of the run's own seed are compared.
    That decides nothing where it contradicts the means over seeds, or where the 95 % intervals, which include the noise
    of the seeds, overlap.
    """
    by_family = predictions.of_run(run)
    compared = [trial for trial in others if trial.family in by_family]
    if leader.family not in by_family or not by_family[leader.family].right.size:
        return {}
    first, gaps = by_family[leader.family], {}
    seeds = {
        trial.family: predictions.right_by_seed(run, trial)[0] for trial in (leader, *compared) if trial.over_seeds
    }
    several = {family: right for family, right in seeds.items() if len(right) > 1 < right.shape[1]}
    for trial in compared:
        over_seeds = {trial.family, leader.family} <= several.keys()
        if over_seeds:
            both = several[trial.family], several[leader.family]
            gap = stats.difference_over_seeds(*both, first.groups, tests=len(compared))
        else:
            gap = stats.difference(by_family[trial.family].right, first.right, first.groups, tests=len(compared))
            mixed = trial.over_seeds is not None or leader.over_seeds is not None
            if gap.value * ((trial.test_accuracy or 0) - (leader.test_accuracy or 0)) <= 0 or (
                mixed and overlaps(trial, leader)
            ):
                gap = gap.undecided()
        gaps[trial.family] = (gap, over_seeds)
    return gaps


def chance(run: Run) -> float | None:
    """Test accuracy of the best constant answer, as a share; None without test pictures."""
    counts = run.split.counts.get("test", {})
    return max(counts.values()) / sum(counts.values()) if sum(counts.values()) else None
