"""The tests of every family against the best one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bench import text
from bench.metrics import metric
from bench.records import Run, Trial
from bench.runs.standings import Standing, scored, standings


@dataclass(frozen=True)
class Differences:
    """The section: every other family against the best.

    Attributes:
        leader: The best trial.
        gaps: The other trials that could be tested, with their differences, best first.
        untested: Scored trials without matching predictions: they are tied if the intervals overlap.
        n, groups: Number of test pictures, and of their groups, which then count; None without groups.
    """

    leader: Trial | None
    gaps: Sequence[tuple[Trial, Standing]]
    untested: Sequence[Trial]
    n: int
    groups: int | None

    @property
    def summary(self) -> str:
        """The number of families that are significantly below the leader; "" without a test."""
        if self.leader is None or not self.gaps:
            return ""
        below = [trial for trial, standing in self.gaps if not standing.tied]
        tied = [trial for trial, standing in self.gaps if standing.tied]
        parts = {"below it": below, "tied with it": tied}
        named = [
            f"{words}: {text.listing([text.label(t) for t in trials])}" for words, trials in parts.items() if trials
        ]
        return f"{text.label(self.leader)} is the {text.most(metric(self.leader.metric))}; {'; '.join(named)}"


def section(run: Run) -> Differences:
    """The tests of a run."""
    places, ranked = standings(run), scored(run)
    leader = ranked[0] if ranked else None
    gaps = [(trial, places[trial.family]) for trial in ranked if places[trial.family].gap]
    tested = {trial.family for trial, _ in gaps}
    untested = [trial for trial in ranked[1:] if trial.family not in tested]
    n = leader.test.n if leader and leader.test else 0
    return Differences(leader, gaps, untested, n, run.split.groups.get("test"))
