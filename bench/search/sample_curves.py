"""The worth of more pictures: configurations of the two best families, trained on samples of the training pictures.

That is the chosen configuration, or where it takes too long the best one that does not and is hardly worse, such as a
head on features that are in the cache.

All trainings validate on the validation pictures; the test pictures are not used again. The chosen trial itself does
not count, because it was chosen for its accuracy on them.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from statistics import fmean

import numpy as np
from numpy.typing import NDArray

from bench import text
from bench.records import COMPLETE, CurvePoint, Run, SampleCurve, Trial, Weights
from bench.runs.store import RunFolder
from bench.search.families import Family, run_all
from bench.search.pace import Pace
from bench.search.power_law import bounds, extrapolate
from bench.search.progress import SILENT, Progress
from bench.search.scoring import retraining
from bench.search.stopping import Deadline
from bench.training.messages import CurveJob, CurveResult, SampleAnswers
from bench.workers import Pool

SHARES = (1 / 8, 1 / 4, 1 / 2, 1.0)
"""Shares of the training pictures."""

FORECAST = (2, 4)
"""The curve is extrapolated to so many times the training pictures."""

DRAWS = 3
"""Maximum number of trainings of each share; as many as there is time for."""

FAMILIES = 2
"""Number of families that get a curve."""

MAX_SHARE = 0.1
"""Maximum time, relative to that of the run so far."""

ENDING = 0.8
"""Share of the time after which no training starts; what runs after all of it is stopped."""

ALIKE = 1.5
"""Maximum validation error, relative to that of the chosen trial, of one that stands for it where it takes too long."""

MORE = 1000
"""Number of further pictures whose worth is estimated; with fewer training pictures, as many as there are."""

MIN_PICTURES, MIN_CLASS_PICTURES = 20, 2
"""Minimum number of pictures in the smallest sample, and as a mean over the classes."""

_logger = logging.getLogger(__name__)


def add(
    families: Sequence[Family], folder: RunFolder, pool: Pool, deadline: Deadline, pace: Pace, progress: Progress
) -> None:
    """Record the curves of the leader and the runner-up, or the reason why there is none; after a signal, nothing."""
    run, by_name = folder.as_run(), {family.name: family for family in families}
    config, end_s = run.config, (1 + MAX_SHARE) * folder.elapsed_s()
    if config.budget.seconds is not None:
        end_s = min(end_s, config.budget.seconds * len(config.engines) - pace.reserve_s(()))
    learning = [trial for trial in run.ranking() if by_name[trial.family].info.learns and trial.cost]
    for number, chosen in enumerate(learning[:FAMILIES]):
        if deadline.interrupted:
            return
        left_s = max(0.0, end_s - folder.elapsed_s())
        trial = next((trial for trial in _alike(run, chosen) if _round_s(trial) <= ENDING * left_s), chosen)
        if reason := _obstacle(run, trial, ENDING * left_s):
            folder.add_curve(SampleCurve(trial.family, trial.name, reason=reason))
            continue
        progress.stage(f"training {trial.name} on fewer pictures", number, FAMILIES)
        job = CurveJob(
            **retraining(config, run, by_name[trial.family], trial),
            id=f"curve {trial.family}",
            timeout_s=left_s,
            shares=SHARES,
            draws=DRAWS,
            time_s=ENDING * left_s,
        )
        for outcome in run_all(pool, [job], SILENT, "", deadline):
            if isinstance(outcome.result, CurveResult):
                folder.add_curve(curve_of(trial, outcome.result))
            elif outcome.failure and not deadline.interrupted:
                failure = outcome.failure
                folder.add_curve(SampleCurve(trial.family, trial.name, reason=text.shorten(failure.message, 120)))
                _logger.warning("%s failed: %s\n%s", job.id, failure.name, failure.traceback)


def curve_of(trial: Trial, result: CurveResult) -> SampleCurve:
    """Fit the curve of a trial's configuration; with a reason if a size has no training."""
    by_share: Mapping[float, list[SampleAnswers]] = {
        share: [answers for answers in result.answers if answers.share == share] for share in SHARES
    }
    if not all(by_share.values()):
        return SampleCurve(
            trial.family, trial.name, reason=f"the time was over after {text.plural(len(result.answers), 'training')}"
        )
    right = [_right(answers) for answers in by_share.values()]
    numbers = [fmean(answers.pictures for answers in same) for same in by_share.values()]
    last = round(numbers[-1])
    more = min(MORE, last)
    at = [*numbers, *(factor * last for factor in FORECAST)]
    curve = extrapolate(numbers, right, result.groups, [*at, last + more])
    gains = curve.expected[:, -1] - curve.expected[:, len(numbers) - 1]
    measured = [answers.mean(axis=1) for answers in right]
    return SampleCurve(
        trial.family,
        trial.name,
        validation=right[0].shape[1],
        measured=tuple(
            CurvePoint(round(n), float(accuracies.mean()), float(accuracies.min()), float(accuracies.max()))
            for n, accuracies in zip(numbers, measured, strict=True)
        ),
        fitted=tuple(
            CurvePoint(round(n), float(curve.expected[0, place]), *bounds(curve.single[:, place]))
            for place, n in enumerate(at)
        ),
        more=more,
        gain=float(gains[0]),
        gain_low=bounds(gains)[0],
        gain_high=bounds(gains)[1],
    )


def _right(answers: Sequence[SampleAnswers]) -> NDArray[np.bool_]:
    return np.array([[letter == "1" for letter in training.right] for training in answers])


def _alike(run: Run, chosen: Trial) -> list[Trial]:
    """Return the chosen trial and those of its family that are hardly worse, the best first."""
    error = ALIKE * (1 - chosen.quality(chosen.value))
    complete = [trial for trial in run.trials if trial.family == chosen.family and trial.state == COMPLETE]
    trained = [
        trial for trial in complete if trial.cost and not trial.duplicate_of and 1 - trial.quality(trial.value) <= error
    ]
    return sorted(trained, key=lambda trial: trial.rank_key)


def _obstacle(run: Run, trial: Trial, left_s: float) -> str:
    """Return the reason why there can be no curve; "" if there can."""
    split = run.split
    pictures = split.n("train") - (split.n("train") // split.folds if split.folds else 0)
    needed = int(max(MIN_PICTURES, MIN_CLASS_PICTURES * len(split.classes)) / SHARES[0])
    if pictures < needed:
        return f"{text.plural(pictures, 'training picture')} are too few, {text.thousands(needed)} are needed"
    needed_s = _round_s(trial)
    if needed_s > left_s:
        within = " within the time budget" if run.config.budget.seconds is not None else ""
        limit = f"at most {MAX_SHARE:.0%} of the run's time{within}".replace("%", "\u202f%")
        return f"its trainings would take about {text.seconds(needed_s)}, {text.seconds(left_s)} were left ({limit})"
    return ""


def _round_s(trial: Trial) -> float:
    """Estimate the seconds for one training with each share, from the chosen trial's times.

    The features of frozen layers are in the cache, unless they depend on the seed.
    """
    cost = trial.cost
    assert cost is not None
    folds = max(1, len(trial.folds))
    start_s = max(0.0, cost.total_time_s - folds * (cost.train_time_s - cost.saved_time_s))
    used = [prefix for prefix in trial.prefixes if prefix.used]
    seeded = any(trial.weights != Weights.IMAGENET or prefix.views > 2 for prefix in used)
    return len(SHARES) * start_s + sum(SHARES) * (cost.fit_time_s + seeded * cost.features_time_s)
