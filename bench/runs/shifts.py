"""The chosen models on further test sets: the run's metric and ranks there, and a test of whether the leader stays."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from statistics import fmean

import numpy as np

from bench import stats, text
from bench.metrics._metric import Metric
from bench.records import CORRUPTED, CORRUPTED_SETS, Corruption, FurtherSet, Metrics, Run, Trial
from bench.runs import predictions
from bench.runs.predictions import Predictions
from bench.runs.standings import recommended, scored
from bench.stats import Difference

AS_THEY_ARE, *CORRUPTIONS = CORRUPTED_SETS
"""Names of the sets of corrupted pictures; the first one has them uncorrupted."""


@dataclass(frozen=True)
class ShiftedScore:
    """A chosen model on a further test set.

    Attributes:
        value: The run's metric there; for corrupted pictures the mean over all corruptions and strengths.
        test: The metric on the test pictures.
        before: The same; for corrupted pictures that on the same ones as they are.
        low, high: 95 % interval of `value`; None without predictions.
        rank: From 1, equal values share one; None for a baseline.
    """

    metric: Metric
    trial: Trial
    value: float
    test: float
    before: float
    low: float | None = None
    high: float | None = None
    rank: int | None = None

    @property
    def change(self) -> float:
        """The rise over `before`; below 0 for a drop."""
        return self.value - self.before

    @property
    def quality(self) -> float:
        """Its `value`, better the higher it is (`Metric.quality`)."""
        return self.metric.quality(self.value)

    @property
    def test_quality(self) -> float:
        """The same of `test`."""
        return self.metric.quality(self.test)


@dataclass(frozen=True)
class SetStanding:
    """The families on a further test set.

    Attributes:
        scores: Those that were scored on it, best first, baselines last.
        leader: The recommended family, else the best one on the test pictures; None if it was not scored.
        rival: The best other family on this set; None without one, or without a leader.
        gap: The leader minus the rival, tested; None without predictions.
    """

    further: FurtherSet
    scores: Sequence[ShiftedScore]
    leader: ShiftedScore | None
    rival: ShiftedScore | None
    gap: Difference | None

    @property
    def title(self) -> str:
        """The set in words."""
        return "corrupted test pictures" if self.further.name == CORRUPTED else text.one_line(self.further.source, 60)

    @property
    def order_stays(self) -> bool:
        """True if the families are in the same order as on the test pictures."""
        ranked = [score for score in self.scores if score.rank]
        return all(better.test_quality >= worse.test_quality for better, worse in pairwise(ranked))

    @property
    def sentence(self) -> str:
        """The sentence on the recommended family, still leading or not, and on the order; "" without a leader."""
        if self.leader is None:
            return ""
        name, metric = text.label(self.leader.trial), self.leader.metric
        unit = " points" if metric.percent else ""
        has = f"{text.figure(self.leader.value, metric)} ({text.gap(self.leader.change, metric)}{unit})"
        if self.rival is None:
            return f"On {self.title}, {name} has {has}."
        rival, ahead = text.label(self.rival.trial), self.leader.quality - self.rival.quality
        p = f" ({text.p_value(self.gap.p)})" if self.gap else ""
        certain, points = self.gap is not None and self.gap.significant, text.sized(ahead, metric)
        if ahead >= 0:
            led = all(self.leader.test_quality >= score.test_quality for score in self.scores if score.rank)
            lead = f"On {self.title}, {name} {'still leads' if led else 'leads'} with {has}"
            lead += f", {points} above {rival}{p}" if certain else f"; {rival} is not told apart from it{p}"
        elif certain:
            lead = f"On {self.title}, {name} does not lead: it has {has}, and {rival} is {points} above it{p}"
        else:
            lead = f"On {self.title}, {name} has {has}; {rival}, {points} above it, is not told apart from it{p}"
        return f"{lead}; the order of the families {'stays' if self.order_stays else 'changes'}."


def measured(metrics: Metrics, metric: Metric) -> float:
    """The metric by which models are compared on a further set."""
    return metrics.of(metric.name).value


def set_standings(run: Run) -> list[SetStanding]:
    """The families on every further test set on which one was scored, in the order of the setting."""
    standings = [_standing(run, further) for further in run.further]
    return [standing for standing in standings if standing.scores]


def left_out(further: FurtherSet) -> str:
    """A sentence on the pictures of a further set that are left out, and on its classes; "" if there is nothing."""
    reasons = [f"{text.plural(count, 'picture')} ({kind.words})" for kind, count in further.left_out.items()]
    if further.trained:
        also = f"{text.plural(further.trained, 'picture')} (also in the training or validation part)"
        reasons.insert(0, also)
    parts = [f"left out: {', '.join(reasons)}"] if reasons else []
    return f"also-test {further.source!r}: {'; '.join([*parts, *further.notes])}" if parts or further.notes else ""


def _standing(run: Run, further: FurtherSet) -> SetStanding:
    by_family, metric = _predictions(run, further), run.metric
    scores = []
    for trial in run.ranking():
        if trial.test is None or not set(further.names) <= trial.also.keys():
            continue
        names = further.names if further.name != CORRUPTED else CORRUPTIONS
        value, test = fmean(measured(trial.also[name], metric) for name in names), measured(trial.test, metric)
        before = measured(trial.also[AS_THEY_ARE], metric) if further.name == CORRUPTED else test
        if not math.isfinite(value):  # not defined there, e.g. the recall of a class without pictures
            continue
        interval = by_family[trial.family].bounds(metric) if trial.family in by_family else (None, None)
        scores.append(ShiftedScore(metric, trial, value, test, before, *interval))
    candidates = [score for score in scores if score.trial.family not in run.baselines]
    qualities = [score.quality for score in candidates]
    ranked = [replace(score, rank=1 + sum(other > score.quality for other in qualities)) for score in candidates]
    ranked.sort(key=lambda score: score.rank or 0)
    chosen = recommended(run) or next(iter(scored(run)), None)
    leader = next((score for score in ranked if chosen and score.trial.family == chosen.family), None)
    rival = next((score for score in ranked if leader and score is not leader), None)
    pair = [by_family.get(score.trial.family) for score in (leader, rival) if score]
    one, other = pair if len(pair) == 2 else (None, None)
    gap = None
    if one and other:
        gap = stats.difference(one.values(metric), other.values(metric), one.groups, len(ranked) - 1)
    baselines = [score for score in scores if score.trial.family in run.baselines]
    return SetStanding(further, (*ranked, *baselines), leader, rival, gap)


def _predictions(run: Run, further: FurtherSet) -> Mapping[str, Predictions]:
    """The predictions of a further set by family; those of all corruptions together, with a group for each picture."""
    if further.name != CORRUPTED:
        return predictions.of_further(run, further.name)
    every = [predictions.of_further(run, name) for name in CORRUPTIONS]
    return {
        family: _together([by_family[family] for by_family in every])
        for family in every[0]
        if all(family in by_family for by_family in every)
    }


def _together(parts: Sequence[Predictions]) -> Predictions:
    """Join predictions of the same pictures, in the same order, corrupted in several ways."""
    groups = np.arange(len(parts[0].labels)) if parts[0].groups is None else parts[0].groups
    return Predictions(
        np.concatenate([part.sha256 for part in parts]),
        np.concatenate([part.labels for part in parts]),
        np.concatenate([part.probabilities for part in parts]),
        np.tile(groups, len(parts)),
    )


@dataclass(frozen=True)
class CorruptionRow:
    """A model on corrupted test pictures.

    Attributes:
        before: The run's metric on the same pictures as they are.
        strengths: For each corruption the metric in each strength.
    """

    trial: Trial
    before: float
    strengths: Mapping[Corruption, Sequence[float]]


def corruption_rows(standing: SetStanding) -> list[CorruptionRow]:
    """The metric by corruption and strength, in the order of the standing; empty for another set."""
    if standing.further.name != CORRUPTED:
        return []
    rows = []
    for score in standing.scores:
        strengths: dict[Corruption, list[float]] = {}
        for name in CORRUPTIONS:
            strengths.setdefault(CORRUPTED_SETS[name][0], []).append(measured(score.trial.also[name], score.metric))
        rows.append(CorruptionRow(score.trial, score.before, strengths))
    return rows
