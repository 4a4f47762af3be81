"""The end of a search before its budget, when another trial would gain less than the noise of the validation pictures.

Source of the rule: A. Makarova et al. (2022), "Automatic termination for hyperparameter optimization", AutoML
Conference: search until the possible gain is below the standard error of the best validation result. They bound the
gain by a Gaussian process over one space; here it is the expected gain of `allocation`, over all families.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import partial

from bench import text
from bench.metrics import metric
from bench.records import COMPLETE, Origin, Trial
from bench.search.allocation import LEAST_ERROR, Outlook

MIN_PROPOSALS = 10
"""Minimum number of an engine's proposals before its search may count as settled."""

MIN_FAMILY_PROPOSALS = 3
"""Minimum number of these in every family that is still searched."""


@dataclass(frozen=True)
class Settled:
    """Figures of a settled search, in units of the metric.

    Attributes:
        trials: Number of trials so far.
        family: The family whose next proposal is expected to gain most; "" if none has a complete one.
        gain: This gain over the best validation result so far.
        recent: Number of proposals in the later half.
        recent_gain: Their gain over all trials before them.
        noise: Standard error of the best validation result.
        pictures: Number of its validation pictures.
        metric: Name of the run's metric.
    """

    trials: int
    family: str
    gain: float
    recent: int
    recent_gain: float
    noise: float
    pictures: int
    metric: str = "accuracy"

    def __str__(self) -> str:
        sized = partial(text.sized, metric=metric(self.metric))
        another = f"another trial of {text.one_line(self.family, 40)}" if self.family else "another trial"
        return (
            f"settled after {text.plural(self.trials, 'trial')}, {another} is expected to gain {sized(self.gain)}"
            f" (the last {text.plural(self.recent, 'proposal')} gained {sized(self.recent_gain)}), less than the"
            f" standard error of {text.plural(self.pictures, 'validation picture')}, {sized(self.noise)}"
        )


def settled(trials: Sequence[Trial], families: Collection[str], baselines: Collection[str] = ()) -> Settled | None:
    """Return the figures of a settled search; None if it has not settled.

    It has if two gains are below the standard error of the best validation result: the one that the next proposal is
    expected to bring, in the family where it is largest, and the one that the later half of the proposals brought. The
    latter keeps a search alive whose engine improves step by step.

    Args:
        trials: The ended trials of one engine that used budget, in their order.
        families: The families that get more trials. Each that is no baseline needs `MIN_FAMILY_PROPOSALS`.
        baselines: Families whose result does not count.
    """
    count, trials = len(trials), [trial for trial in trials if trial.family not in baselines]
    families = set(families).difference(baselines)
    proposals = [trial for trial in trials if trial.origin is Origin.PROPOSED]
    counts = Counter(trial.family for trial in proposals)
    if len(proposals) < MIN_PROPOSALS or any(counts[family] < MIN_FAMILY_PROPOSALS for family in families):
        return None
    recent = proposals[len(proposals) // 2 :]
    best, before = _best(trials), _best(trials[: trials.index(recent[0])])
    if best is None or best.validation is None or before is None:
        return None
    quality, pictures = best.quality(best.value), best.validation.n
    noise = best.validation.of(best.metric).standard_error or 0.0
    recent_gain = max(0.0, quality - before.quality(before.value))
    least, gains = LEAST_ERROR / pictures, {"": 0.0}
    for family in families:
        if draws := [trial.quality(trial.value) for trial in _complete(proposals) if trial.family == family]:
            gains[family] = Outlook.of(draws, None, least).gain(max(least, 1 - quality))
    family = max(gains, key=gains.__getitem__)
    if max(gains[family], recent_gain) >= noise:
        return None
    return Settled(count, family, gains[family], len(recent), recent_gain, noise, pictures, best.metric)


def _best(trials: Sequence[Trial]) -> Trial | None:
    return min(_complete(trials), key=lambda trial: trial.rank_key, default=None)


def _complete(trials: Sequence[Trial]) -> list[Trial]:
    return [trial for trial in trials if trial.state == COMPLETE]
