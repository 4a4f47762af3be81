"""Pairwise comparison of the families on the same test pictures; leaderboard and verdict use its `standings`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from bench import stats
from bench.records import Run, Trial
from bench.runs import predictions


@dataclass(frozen=True)
class Difference:
    """One family's test accuracy minus another's, as a share, with its 95 % interval.

    Attributes:
        p: P-value of the test, corrected over all pairs (Holm).
        over_seeds: True if means over seeds were compared; else only the run's own seed (see `PairwiseTests`).
    """

    value: float
    low: float
    high: float
    p: float
    over_seeds: bool

    @property
    def significant(self) -> bool:
        """True if the test finds a difference."""
        return self.p < stats.LEVEL and self.value != 0


@dataclass(frozen=True)
class Standing:
    """The rank of a family among the compared ones.

    Attributes:
        best_rank, worst_rank: Range of its possible ranks, from 1: behind all significantly better families, before all
            significantly worse ones. A baseline has its place after the others.
        tied: True if it shares the first rank: no test puts it below the leader. The leader is tied if another family
            that is no baseline is.
        gap: The difference to the leader; None for the leader itself.
    """

    best_rank: int
    worst_rank: int
    tied: bool
    gap: Difference | None = None


@dataclass(frozen=True, eq=False)
class PairwiseTests:
    """Tests of every pair of families on their common test pictures.

    If both families have several seeds, their means are compared (`stats.difference_over_seeds`); else the models of
    the run's own seed (McNemar, Newcombe; with groups `stats.grouped_difference`).

    Attributes:
        trials: Chosen trials of the families, best first.
        n: Number of pictures.
        groups: Number of groups of pictures, which then count; None without groups.
        accuracy: Accuracies that rank the families, shape (families,).
        value: The row's accuracy minus the column's, shape (families, families), as for the fields below.
        low, high: Its 95 % interval.
        p: Corrected p-values; 1 on the diagonal. Also 1 where one seed cannot decide: it contradicts the mean of a
            family's several seeds, or the 95 % intervals, which include the noise of the seeds, overlap.
        over_seeds: True where means over seeds were compared.
    """

    trials: Sequence[Trial]
    n: int
    groups: int | None
    accuracy: NDArray[np.float64]
    value: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    p: NDArray[np.float64]
    over_seeds: NDArray[np.bool_]

    summary = "differences, intervals and tests"

    @property
    def pairs(self) -> int:
        """Number of pairs."""
        return len(self.trials) * (len(self.trials) - 1) // 2

    @property
    def pairs_over_seeds(self) -> int:
        """Number of pairs that are compared over seeds."""
        return int(self.over_seeds.sum()) // 2

    @property
    def apart(self) -> int:
        """Number of pairs with a significant difference."""
        return sum(self.difference(i, j).significant for i, j in combinations(range(len(self.trials)), 2))

    def difference(self, one: int, other: int) -> Difference:
        """The accuracy of the family at position `one` minus that of the family at `other`."""
        value, low, high, p = (float(matrix[one, other]) for matrix in (self.value, self.low, self.high, self.p))
        return Difference(value, low, high, p, bool(self.over_seeds[one, other]))


def compare(run: Run) -> PairwiseTests | None:
    """Compare all families with predictions of the test pictures; None if there are fewer than two."""
    by_family = predictions.of_run(run)
    right = np.array([predicted.right for predicted in by_family.values()])
    if len(by_family) < 2 or not right.size:
        return None
    k, n = right.shape
    ahead = stats.discordant(right)
    both = right.sum(axis=1)[:, np.newaxis] - ahead
    value = (ahead - ahead.T) / n
    low, high = stats.paired_difference(both, ahead, ahead.T, n - both - ahead - ahead.T)
    above = np.triu_indices(k, 1)
    p = np.ones((k, k))
    p[above] = stats.mcnemar(ahead[above], ahead.T[above])
    groups = next(iter(by_family.values())).groups
    if groups is not None:
        for i, j in zip(*above, strict=True):
            low[i, j], high[i, j], p[i, j] = stats.grouped_difference(right[i], right[j], groups)
            low[j, i], high[j, i] = -high[i, j], -low[i, j]
    over_seeds = np.zeros((k, k), np.bool_)
    trials = [trial for trial in run.ranking() if trial.family in by_family]
    for (one, other), difference in _over_seeds(run, trials).items():
        value[one, other], low[one, other], high[one, other] = difference.value, difference.low, difference.high
        value[other, one], low[other, one], high[other, one] = -difference.value, -difference.high, -difference.low
        p[one, other], over_seeds[one, other], over_seeds[other, one] = difference.p, True, True
    p[above] = p.T[above] = stats.holm(p[above])
    accuracy = np.array([trial.test_accuracy for trial in trials])
    p[(value * (accuracy[:, np.newaxis] - accuracy) <= 0) | _undecided(trials, over_seeds)] = 1.0
    return PairwiseTests(
        trials=trials,
        n=n,
        groups=None if groups is None else int(groups.max()) + 1,
        accuracy=accuracy,
        value=value,
        low=low,
        high=high,
        p=p,
        over_seeds=over_seeds,
    )


def _over_seeds(run: Run, trials: Sequence[Trial]) -> dict[tuple[int, int], stats.SeedsDifference]:
    """Compare the pairs of trials that both have predictions of several seeds, by their positions, the lower first."""
    right, groups = {}, None
    for place, trial in enumerate(trials):
        if trial.over_seeds:
            rights, groups = predictions.right_by_seed(run, trial)
            if len(rights) > 1 < rights.shape[1]:
                right[place] = rights
    return {(i, j): stats.difference_over_seeds(right[i], right[j], groups) for i, j in combinations(right, 2)}


def _undecided(trials: Sequence[Trial], over_seeds: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The pairs that one seed cannot decide: one family has several seeds, and the two intervals overlap."""
    several = np.array([trial.over_seeds is not None for trial in trials])
    low, high = np.array([trial.test_interval for trial in trials], np.float64).T
    apart = (low[:, np.newaxis] > high) | (low > high[:, np.newaxis])
    undecided: NDArray[np.bool_] = (several[:, np.newaxis] | several) & ~over_seeds & ~apart
    return undecided


def standings(run: Run) -> dict[str, Standing]:
    """The standing of every compared family, best first; empty if the leader cannot be compared.

    The first is the leader of `Run.ranking`. Families without matching predictions are left out.
    """
    comparison = compare(run)
    if comparison is None or comparison.trials[0] is not run.ranking()[0]:
        return {}
    accuracy = np.minimum(comparison.accuracy, comparison.accuracy[0])  # a baseline never beats the leader
    tied = stats.tied_with_best(comparison.p, accuracy)
    candidates = sum(trial.family not in run.baselines for trial in comparison.trials)  # the baselines come after them
    places = np.tile(np.arange(1, len(accuracy) + 1), (2, 1)).T
    places[:candidates] = stats.rank_intervals(comparison.p[:candidates, :candidates], accuracy[:candidates])
    return {
        trial.family: Standing(
            best_rank=int(places[place][0]),
            worst_rank=int(places[place][1]),
            tied=bool(tied[place] if place else tied[1:candidates].any()),
            gap=comparison.difference(place, 0) if place else None,
        )
        for place, trial in enumerate(comparison.trials)
    }
