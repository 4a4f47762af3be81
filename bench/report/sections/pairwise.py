"""Families compared in pairs, on the same test pictures: which differences are more than chance.

The leaderboard and the verdict rest on the same tests: `standings`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from bench import stats, text
from bench.records import Run, Trial
from bench.report.styles import Mark, family_marks
from bench.runs import predictions

MATRIX_UP_TO = 12
"""A matrix of so many families at most stands open; of more, each is listed against the leader and it is folded."""


@dataclass(frozen=True)
class Difference:
    """One family's test accuracy minus another's, as a share, with its 95 % interval.

    Attributes:
        p: P-value of the test, corrected over all pairs (Holm).
        over_seeds: Whether means over seeds were compared, else the run's own seed of each (see `FamilyComparison`).
    """

    value: float
    low: float
    high: float
    p: float
    over_seeds: bool

    @property
    def significant(self) -> bool:
        """Whether the test tells the two apart."""
        return self.p < stats.LEVEL and self.value != 0


@dataclass(frozen=True)
class Standing:
    """The place of a family among those that were compared.

    Attributes:
        best_rank, worst_rank: The places that it may have, from 1: behind all that are significantly better, before
            all that are significantly worse.
        tied: Whether it shares the first place: no test puts it below the leader. The leader shares it if another
            family does.
        gap: The difference to the leader; None for the leader itself.
    """

    family: str
    best_rank: int
    worst_rank: int
    tied: bool
    gap: Difference | None = None


@dataclass(frozen=True)
class Competitor:
    """A family in the matrix, under the name that its weights demand."""

    label: str
    mark: Mark


@dataclass(frozen=True)
class PairRow:
    """A family against others: in the matrix against those behind it, in the list against the leader.

    Attributes:
        differences: One a column; None where the matrix has the pair elsewhere.
    """

    family: Competitor
    differences: Sequence[Difference | None]


@dataclass(frozen=True)
class Pairwise:
    """The section.

    Attributes:
        empty: Why there is nothing to compare; "" where there is.
        n: How many test pictures all were compared on.
        pairs: How many pairs there are.
        found: What came of it, in a sentence.
        columns: The families that stand above the matrix: all but the best.
        rows: The matrix, best family first, without the last one.
        leader: The best family.
        against_leader: Its difference to every other, with the other as the row; empty where the matrix stands open.
        left_out: Which families with a result are not compared and why, in sentences.
        over_seeds: How many of the pairs are compared over seeds.
        seeds: How many other seeds families were trained with, at most; 0 where none was.
    """

    empty: str = ""
    n: int = 0
    pairs: int = 0
    found: str = ""
    columns: Sequence[Competitor] = ()
    rows: Sequence[PairRow] = ()
    leader: Competitor | None = None
    against_leader: Sequence[PairRow] = ()
    left_out: Sequence[str] = ()
    over_seeds: int = 0
    seeds: int = 0


@dataclass(frozen=True, eq=False)
class FamilyComparison:
    """Every pair of families on the test pictures that they have in common.

    Where both have several seeds, the means over these are compared (`stats.difference_over_seeds`); else the run's own
    seed of each (McNemar, Newcombe), as always where there is one seed.

    Attributes:
        families: Best first.
        n: How many pictures.
        accuracy: What they are ranked by, shape (families,).
        value: The row's accuracy less the column's as it was compared, shape (families, families), as are the rest.
        low, high: 95 % interval of that.
        p: Corrected p-values; 1 on the diagonal. 1 too where one seed cannot decide, because that of a family with
            several says the opposite of their mean, or the 95 % intervals, which have the noise of the seeds, overlap.
        over_seeds: Whether the means over seeds were compared.
    """

    families: tuple[str, ...]
    n: int
    accuracy: NDArray[np.float64]
    value: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    p: NDArray[np.float64]
    over_seeds: NDArray[np.bool_]

    def difference(self, one: int, other: int) -> Difference:
        """The accuracy of the family at one place less that of the family at the other."""
        value, low, high, p = (float(each[one, other]) for each in (self.value, self.low, self.high, self.p))
        return Difference(value, low, high, p, bool(self.over_seeds[one, other]))


def compare(run: Run) -> FamilyComparison | None:
    """Compares all families whose predictions of the test pictures are there; None where these are less than two."""
    found = predictions.of_run(run)
    right = np.array([own.right for own in found.values()])
    if len(found) < 2 or not right.size:
        return None
    k, n = right.shape
    ahead = stats.discordant(right)
    both = right.sum(axis=1)[:, np.newaxis] - ahead
    value = (ahead - ahead.T) / n
    low, high = stats.paired_difference(both, ahead, ahead.T, n - both - ahead - ahead.T)
    above = np.triu_indices(k, 1)
    p = np.ones((k, k))
    p[above] = stats.mcnemar(ahead[above], ahead.T[above])
    over_seeds = np.zeros((k, k), np.bool_)
    trials = [trial for trial in run.ranking() if trial.family in found]
    for (one, other), each in _over_seeds(run, trials).items():
        value[one, other], low[one, other], high[one, other] = each.value, each.low, each.high
        value[other, one], low[other, one], high[other, one] = -each.value, -each.high, -each.low
        p[one, other], over_seeds[one, other], over_seeds[other, one] = each.p, True, True
    p[above] = p.T[above] = stats.holm(p[above])
    accuracy = np.array([trial.test_accuracy for trial in trials])
    p[(value * (accuracy[:, np.newaxis] - accuracy) <= 0) | _undecided(trials, over_seeds)] = 1.0
    return FamilyComparison(
        families=tuple(found),
        n=n,
        accuracy=accuracy,
        value=value,
        low=low,
        high=high,
        p=p,
        over_seeds=over_seeds,
    )


def _over_seeds(run: Run, trials: Sequence[Trial]) -> dict[tuple[int, int], stats.SeedsDifference]:
    """The pairs of trials that both have predictions of several seeds, by their places, the lower one first."""
    right = {}
    for place, trial in enumerate(trials):
        found = predictions.right_by_seed(run, trial) if trial.over_seeds else None
        if found is not None and len(found) > 1 < found.shape[1]:
            right[place] = found
    return {(i, j): stats.difference_over_seeds(right[i], right[j]) for i, j in combinations(right, 2)}


def _undecided(trials: Sequence[Trial], over_seeds: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The pairs that one seed cannot tell apart: of a family with several, whose interval overlaps the other's."""
    several = np.array([trial.over_seeds is not None for trial in trials])
    low, high = np.array([trial.test_interval for trial in trials], np.float64).T
    apart = (low[:, np.newaxis] > high) | (low > high[:, np.newaxis])
    undecided: NDArray[np.bool_] = (several[:, np.newaxis] | several) & ~over_seeds & ~apart
    return undecided


def standings(run: Run) -> dict[str, Standing]:
    """Where every compared family stands, best first; empty where the leader cannot be compared with another.

    A family with a result that is not in it has no predictions that could be compared. The first is the leader of
    `Run.ranking`: what is compared is ranked by the same accuracies.
    """
    comparison = compare(run)
    if comparison is None or comparison.families[0] != run.ranking()[0].family:
        return {}
    places = stats.rank_intervals(comparison.p, comparison.accuracy)
    tied = stats.tied_with_best(comparison.p, comparison.accuracy)
    return {
        family: Standing(
            family,
            best_rank=int(places[place][0]),
            worst_rank=int(places[place][1]),
            tied=bool(tied[place] if place else tied[1:].any()),
            gap=comparison.difference(place, 0) if place else None,
        )
        for place, family in enumerate(comparison.families)
    }


def section(run: Run) -> Pairwise:
    """The comparison of a run's families."""
    ranking = run.ranking()
    comparison = compare(run)
    if comparison is None:
        return Pairwise(empty=_nothing(run, ranking))
    chosen, looks = {trial.family: trial for trial in ranking}, family_marks(run)
    families = [Competitor(text.label(chosen[family]), looks[family]) for family in comparison.families]
    k = len(families)
    rows = [
        PairRow(family, [comparison.difference(i, j) if j > i else None for j in range(1, k)])
        for i, family in enumerate(families[:-1])
    ]
    against = [PairRow(family, [comparison.difference(i, 0)]) for i, family in enumerate(families) if i]
    return Pairwise(
        n=comparison.n,
        pairs=k * (k - 1) // 2,
        found=_found(rows),
        columns=families[1:],
        rows=rows,
        leader=families[0],
        against_leader=against if k > MATRIX_UP_TO else (),
        left_out=_left_out(ranking, comparison),
        over_seeds=int(comparison.over_seeds.sum()) // 2,
        seeds=max(len(trial.repeats) for trial in ranking),
    )


def _found(rows: Sequence[PairRow]) -> str:
    every = [each for row in rows for each in row.differences if each]
    apart = sum(each.significant for each in every)
    if len(every) == 1:
        return f"The tests {'tell the two apart' if apart else 'do not tell the two apart'}."
    pairs = text.plural(len(every), "pair")
    if apart == len(every):
        return f"The tests tell all {pairs} apart."
    return f"The tests tell {text.thousands(apart) if apart else 'none'} of the {pairs} apart."


def _nothing(run: Run, ranking: Sequence[Trial]) -> str:
    """Why nothing can be compared."""
    going, scored = run.status == "running", [trial for trial in ranking if trial.test]
    if len(run.families) == 1:
        return "Only one family was searched, so there is no pair to compare."
    if going and len(scored) < 2:
        return "Families are compared at the end of the run, once their models are scored on the test pictures."
    if not ranking:
        return "No trial is complete, so there is nothing to compare."
    if len(ranking) == 1:
        return f"Only {text.label(ranking[0])} has a result, so there is no pair to compare."
    if len(scored) < 2:
        return "Fewer than two families were scored on the test pictures, so there is no pair to compare."
    return (
        "The predictions of the test pictures are missing, damaged or of different pictures, so no two families can be "
        "compared picture by picture."
    )


def _left_out(ranking: Sequence[Trial], comparison: FamilyComparison) -> list[str]:
    missing = [trial for trial in ranking if trial.family not in comparison.families]
    unscored = [text.label(trial) for trial in missing if not trial.test]
    lost = [text.label(trial) for trial in missing if trial.test]
    said = [f"Not scored on the test pictures: {text.listing(unscored, 8)}."] if unscored else []
    if lost:
        named = text.listing(lost, 8)
        said.append(f"Left out, since the predictions are missing, damaged or of other pictures: {named}.")
    return said
