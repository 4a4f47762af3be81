"""The chosen models on further test sets: other pictures, and corrupted test pictures."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from bench import text
from bench.records import Corruption, Run, Trial
from bench.runs.shifts import (
    CorruptionRow,
    SetStanding,
    ShiftedScore,
    corruption_rows,
    left_out,
    measured,
    set_standings,
)


@dataclass(frozen=True)
class FurtherSets:
    """The section.

    Attributes:
        standings: The sets on which a family was scored.
        rows: Every family that was scored on one, with the metric on the test pictures and its score on each set, if
            any; best on the test pictures first.
        corruptions: The families by corruption and strength; empty without corrupted pictures.
        remarks: Sentences on pictures that are left out.
    """

    standings: Sequence[SetStanding]
    rows: Sequence[tuple[Trial, float, Sequence[ShiftedScore | None]]]
    corruptions: Sequence[CorruptionRow]
    remarks: Sequence[str]

    kinds = tuple(corruption for corruption in Corruption if corruption is not Corruption.NONE)

    @property
    def rivals(self) -> int:
        """Number of families with which the recommended one is compared."""
        return max(sum(score.rank is not None for score in standing.scores) for standing in self.standings) - 1

    @property
    def summary(self) -> str:
        """The recommended family on each set: `corrupted: mobilenet_v2 76.0 %, rank 1`; "" without a set."""
        parts = []
        for standing in self.standings:
            score = standing.leader or standing.scores[0]
            rank = f", rank {score.rank}" if score.rank else ""
            parts.append(
                f"{standing.further.name}: {text.label(score.trial)} {text.figure(score.value, score.metric)}{rank}"
            )
        return " · ".join(parts)


def section(run: Run) -> FurtherSets:
    """The further test sets of a run."""
    standings = set_standings(run)
    by_set: list[Mapping[str, ShiftedScore]] = [
        {score.trial.family: score for score in standing.scores} for standing in standings
    ]
    rows = [
        (trial, measured(trial.test, run.metric), [scores.get(trial.family) for scores in by_set])
        for trial in run.ranking()
        if trial.test and any(trial.family in scores for scores in by_set)
    ]
    return FurtherSets(
        standings=standings,
        rows=rows,
        corruptions=[row for standing in standings for row in corruption_rows(standing)],
        remarks=[sentence for standing in standings if (sentence := left_out(standing.further))],
    )


def shift_sentences(run: Run) -> Iterator[str]:
    """A sentence for each further set: whether the recommended family still leads there."""
    return (standing.sentence for standing in set_standings(run) if standing.sentence)
