"""Screening: under a time budget, a cheap estimate of every backbone before the first trial."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from bench import text
from bench.config import RunConfig
from bench.records import Failure, FailureKind, Screening
from bench.runs.store import RunFolder
from bench.search.families import Family, training
from bench.search.forecast import Forecaster
from bench.search.progress import Progress
from bench.stats import wilson
from bench.training.messages import Job, KnownBackbones, ScreenJob
from bench.workers import Listener, Outcome, Pool, Stop, run_jobs

MAX_SHARE = 0.1
"""Maximum share of the time budget."""

WORTHWHILE = 3.0
"""Minimum time of a trial, relative to its screening; a faster trial says more for little more time."""

PICTURES, MIN_PICTURES = 200, 60
"""Number of sampled pictures, and the minimum if time is short."""

CLASS_PICTURES, MIN_CLASS_PICTURES = 4, 2
"""The same as a mean over the classes, for data with many classes."""

STAGE = "screening backbones on a sample of the pictures"

_logger = logging.getLogger(__name__)


def screen(
    families: Sequence[Family],
    folder: RunFolder,
    forecaster: Forecaster,
    pool: Pool,
    stop: Stop,
    progress: Progress,
    meanwhile: Callable[[], object],
) -> None:
    """Estimate the accuracy of all backbones and input sizes of the known configurations, and record the estimates.

    Without a time budget nothing is estimated. A job that fails is a missing estimate with a reason.
    """
    config = folder.run.config
    if config.budget.seconds is None:
        return
    screener = _Screener(families, folder, forecaster, MAX_SHARE * config.budget.seconds * len(config.engines))
    progress.stage(STAGE, 0, screener.count)
    for outcome in run_jobs(pool, screener.ask, stop, meanwhile):
        screener.record(outcome)
        progress.stage(STAGE, len(folder.run.screenings), screener.count)
    progress.screened(folder.run)


@dataclass(frozen=True)
class _Candidate:
    """A family's backbones at one input size; `first` is true for those that cost least."""

    family: Family
    known: KnownBackbones
    first: bool = False

    @property
    def label(self) -> Screening:
        """Its record without an estimate."""
        return Screening(self.family.name, " + ".join(self.known.names), self.known.input_size)

    @property
    def macs(self) -> float:
        """Multiply-accumulates for one picture; those of the default configuration, scaled, if it was not built."""
        if self.known.work:
            return self.known.work.macs
        sizes = [(work.macs, work.input_size) for work in self.family.other_works if work.input_size]
        return next((macs * (self.known.input_size / size) ** 2 for macs, size in sizes), 0.0)


class _Screener:
    """Screens backbones within a time limit: first the cheapest one of every family, then the others, dearest last.

    Attributes:
        count: Number of records in the end.
    """

    def __init__(self, families: Sequence[Family], folder: RunFolder, forecaster: Forecaster, limit_s: float) -> None:
        self._folder, self._forecaster = folder, forecaster
        self._end_s = folder.elapsed_s() + limit_s
        split = folder.run.split
        available = split.n("train") + split.n("validation")
        self._wanted = min(available, max(PICTURES, CLASS_PICTURES * len(split.classes)))
        self._least = min(available, max(MIN_PICTURES, MIN_CLASS_PICTURES * len(split.classes)))
        self._jobs: dict[str, _Candidate] = {}
        candidates: list[_Candidate] = []
        for family in families:
            if reason := _obstacle(folder.run.config, family):
                folder.screened(Screening(family.name, reason=reason))
                continue
            pretrained = [known for known in family.backbones if all(map(family.files.get, known.names))]
            known = pretrained or family.backbones
            cheapest, *others = sorted((_Candidate(family, one) for one in known), key=lambda one: one.macs)
            candidates += [replace(cheapest, first=True), *others]
        self._waiting = sorted(candidates, key=lambda candidate: (not candidate.first, candidate.macs))
        self.count = len(folder.run.screenings) + len(self._waiting)

    def ask(self) -> tuple[Job, Listener] | None:
        """Return the next job that fits into the time that is left; None if there is none."""
        run = self._folder.run
        while self._waiting:
            candidate, left_s = self._waiting.pop(0), self._end_s - self._folder.elapsed_s()
            build_s, picture_s = self._expected_s(candidate)
            trial_s = self._trial_s(candidate)
            if trial_s and trial_s < WORTHWHILE * (build_s + self._wanted * picture_s):
                self._add(
                    replace(candidate.label, reason=f"a trial takes only about {text.seconds(trial_s)}"), candidate
                )
                continue
            if left_s < (needed_s := build_s + self._least * picture_s):
                needed = f"{text.plural(self._least, 'picture')} would take about {text.seconds(needed_s)}"
                self._add(replace(candidate.label, reason=f"{needed}, {text.seconds(left_s)} were left"), candidate)
                continue
            others = [self._expected_s(other) for other in self._waiting if other.first]
            free_s = left_s - build_s - sum(build_s + self._least * picture_s for build_s, picture_s in others)
            job = ScreenJob(
                id=f"screen {candidate.family.name} {len(self._jobs)}",
                timeout_s=left_s,
                **training(run.config, run, candidate.family),
                epochs=run.config.epochs,
                values=candidate.known.values,
                pictures=min(self._wanted, max(self._least, int(free_s / picture_s))),
            )
            self._jobs[job.id] = candidate
            return job, Listener()
        return None

    def record(self, outcome: Outcome) -> None:
        """Record an estimate, or the reason why there is none."""
        candidate, result = self._jobs[outcome.job.id], outcome.result
        if isinstance(result, Screening) and result.accuracy is not None:
            low, high = wilson(round(result.accuracy * result.n), result.n)
            label = candidate.label
            result = replace(result, family=label.family, backbone=label.backbone, low=low, high=high)
            self._forecaster.learn_features(result.family, candidate.macs, result.seconds_per_picture)
            self._add(result, candidate)
        elif outcome.failure:
            self._add(replace(candidate.label, reason=_reason(outcome.failure)), candidate)
            _logger.warning("%s failed: %s\n%s", outcome.job.id, outcome.failure.name, outcome.failure.traceback)

    def _expected_s(self, candidate: _Candidate) -> tuple[float, float]:
        """Return the expected seconds of a job without its features, and for the features of a picture."""
        start_s, picture_s = self._forecaster.features_s(candidate.family.name, candidate.macs)
        return start_s, max(1e-6, picture_s)

    def _add(self, screening: Screening, candidate: _Candidate) -> None:
        """Record a screening with the forecast of a trial."""
        self._folder.screened(replace(screening, trial_s=self._trial_s(candidate)))

    def _trial_s(self, candidate: _Candidate) -> float | None:
        """Forecast a trial of a candidate; None if it was not built."""
        return self._forecaster.trial_s(candidate.family.name, candidate.known.work)


def _obstacle(config: RunConfig, family: Family) -> str:
    """Return the reason why a family cannot be screened; "" if it can."""
    if not family.backbones:
        return "no backbone"
    return "the feature cache is off" if config.features == "off" else ""


def _reason(failure: Failure) -> str:
    if failure.kind is FailureKind.TIMEOUT:
        return "the time for screening was over"
    message = text.shorten(failure.message, 120)
    return message if failure.error == "NoPrefix" else f"{failure.name}: {message}"
