"""Forecasts of trials: their computations, counted from the model, times rates that are measured on this machine.

A trial's time is the sum of four terms, each proportional to a count:

    start      building the model, tracing it, measuring and saving it: once; less if all features are in the cache,
               since backbones are then not built
    features   multiply-accumulates of the frozen layers, for features that are not in the cache
    steps      fixed cost of a training step
    training   multiply-accumulates of training steps and validation

Every family has a rate for each term: the median of those measured in its trials, in this run and in earlier ones on
the same hardware; before its first trial the rate of its dry run, or the median of all families. The spread of the
measured rates gives the interval.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import median, stdev

import msgspec

from bench.cache import directory
from bench.cache.files import write_text
from bench.config import RunConfig
from bench.data import machine
from bench.errors import ConfigError
from bench.records import COMPLETE, Forecast, SplitInfo, Trial, Work
from bench.search.families import Family

START, CACHED_START, FEATURES = "start", "start with cached features", "features"
STEPS, TRAINING, EPOCHS = "steps", "training", "epochs"

TYPICAL = {START: 2.0, CACHED_START: 1.0, FEATURES: 2e-11, STEPS: 2e-3, TRAINING: 2e-11, EPOCHS: 0.8}
"""Rates before anything is measured: seconds a trial, a multiply-accumulate, a step and a multiply-accumulate; and the
share of the planned epochs that are trained, because of early stopping."""

BACKWARD = 2.0
"""Multiply-accumulates of the backward pass, relative to the forward pass."""

RECENT = 20
"""Number of measured rates that are kept for each family and term."""

UNMEASURED = math.log(2)
"""Standard deviation of the logarithm of a rate that was not measured in a trial of the family."""

LEAST_SPREAD = 0.1
"""Minimum standard deviation of the logarithm of a rate."""

LEAST_SHARE = 0.2
"""Minimum share of a measured time that counts for the term whose rate is measured."""

SCALING = 0.8
"""Exponent of the number of cores in the speed of computations."""

SCORING = 0.5
"""Time for building and loading a model for the test pictures, relative to the start of a trial."""

Z = 1.645
"""Quantile of the normal distribution for a 90 % interval."""

BASE_MB = 450.0
"""Memory of a process with TensorFlow and without a model, before any trial was measured."""


@dataclass(frozen=True)
class Counts:
    """Counts of a trial's terms; `epochs` is the maximum number of epochs, the terms of training are per epoch."""

    epochs: int = 0
    features: float = 0.0
    cold_features: float = 0.0
    steps: float = 0.0
    training: float = 0.0
    memory_mb: float = 0.0
    disk_mb: float = 0.0


def count(work: Work, split: SplitInfo) -> Counts:
    """Count the computations of a trial on these pictures; with folds, of all of its trainings."""
    train, validation, trainings = split.n("train"), split.n("validation"), max(1, split.folds)
    if split.folds:
        train, validation = train - train // split.folds, train // split.folds
    total = Counts()
    for phase in work.phases:
        views = phase.views * train + validation if phase.prefix_macs else 0
        cold = trainings * views * phase.prefix_macs
        steps = trainings * -(-train // work.batch_size)
        total = Counts(
            epochs=total.epochs + phase.epochs,
            features=total.features + cold * (1 - phase.cached),
            cold_features=total.cold_features + cold,
            steps=total.steps + phase.epochs * steps,
            training=total.training + phase.epochs * trainings * phase.macs * ((1 + BACKWARD) * train + validation),
            memory_mb=max(total.memory_mb, phase.memory_mb),
            disk_mb=total.disk_mb + 1e-6 * views * phase.row_bytes * (1 - phase.cached),
        )
    return total


def scaled(work: Work, factor: float) -> Work:
    """Return the work for pictures with so many times the pixels."""
    phases = (
        replace(phase, macs=int(phase.macs * factor), prefix_macs=int(phase.prefix_macs * factor))
        for phase in work.phases
    )
    return replace(work, macs=int(work.macs * factor), phases=tuple(phases)).with_cached(0.0)


@dataclass
class Rates:
    """Measured rates of one family, the newest last, by term."""

    measured: dict[str, list[float]] = field(default_factory=dict)
    dry_run: dict[str, float] = field(default_factory=dict)
    screened: dict[str, float] = field(default_factory=dict)

    def add(self, term: str, rate: float) -> None:
        """Add a measured rate."""
        if rate > 0 and math.isfinite(rate):
            self.measured[term] = [*self.measured.get(term, ()), rate][-RECENT:]

    def find(self, term: str) -> float | None:
        """Return the rate that trials, else the screening measured; None without one."""
        return median(self.measured[term]) if term in self.measured else self.screened.get(term)


class Forecaster:
    """Forecasts of one run's trials.

    Args:
        families: The families to search.
        folder: The cache folder, which keeps the rates for later runs; None keeps none.
    """

    def __init__(
        self, config: RunConfig, split: SplitInfo, families: Sequence[Family], folder: Path | None = None
    ) -> None:
        self._split, self._families = split, {family.name: family for family in families}
        cores = max(1, machine.core_count() // config.workers)
        self._path: Path | None = None
        if folder:
            with contextlib.suppress(ConfigError):  # no folder for the cache: nothing is kept
                self._path = directory.kind_folder("speeds", folder) / f"{_hardware(cores)}.json"
        self._stored = _read(self._path)
        self._rates = {
            family.name: Rates(self._stored.get(_key(family), {}), _dry_run(family, cores)) for family in families
        }
        self._base_mb = BASE_MB

    def forecast(self, family: str, work: Work) -> Forecast | None:
        """Forecast a trial; None for a model without epochs of which no trial was measured."""
        if not work.phases and START not in self._rates[family].measured:
            return None
        counts, start = count(work, self._split), _start(work)
        epochs, _ = self._rate(family, EPOCHS)
        numbers = {
            start: 1.0,
            FEATURES: counts.features,
            STEPS: epochs * counts.steps,
            TRAINING: epochs * counts.training,
        }
        rates = {term: self._rate(family, term) for term in numbers}
        terms_s = {term: number * rates[term][0] for term, number in numbers.items()}
        seconds = sum(terms_s.values())
        variance = sum((terms_s[term] * math.expm1(spread)) ** 2 for term, (_, spread) in rates.items())
        width = math.log1p(Z * math.sqrt(variance) / seconds)
        before_s, trained_epochs = terms_s[start] + terms_s[FEATURES], max(1.0, epochs * counts.epochs)
        return Forecast(
            time_s=seconds,
            low_s=seconds * math.exp(-width),
            high_s=seconds * math.exp(width),
            cold_s=seconds + (counts.cold_features - counts.features) * rates[FEATURES][0],
            first_epoch_s=before_s + (seconds - before_s) / trained_epochs,
            memory_mb=self._base_mb + counts.memory_mb,
            disk_mb=counts.disk_mb,
        )

    def trial_s(self, family: str, work: Work | None) -> float | None:
        """Forecast only the seconds of a trial; None if its work is unknown, or without a forecast."""
        predicted = self.forecast(family, work) if work else None
        return predicted.time_s if predicted else None

    def features_s(self, family: str, macs: float) -> tuple[float, float]:
        """Return the expected seconds for building a frozen model, and for the features of a picture."""
        build_s = self._rates[family].dry_run.get(START, TYPICAL[START])
        return build_s, macs * self._rate(family, FEATURES)[0]

    def learn_features(self, family: str, macs: float, picture_s: float) -> None:
        """Use the time for the features of a picture until a trial of the family has measured it."""
        if macs and picture_s > 0:
            self._rates[family].screened[FEATURES] = picture_s / macs

    def scoring_s(self, family: str, work: Work, further: int = 0) -> float:
        """Estimate the seconds for scoring a family's best trial: build, predict; with folds also train.

        `further` is the number of pictures of further test sets.
        """
        predicted_s = (self._split.n("test") + further) * work.macs * self._rate(family, FEATURES)[0]
        forecast = self.forecast(family, work) if self._split.folds else None
        fit_s = forecast.time_s / (self._split.folds - 1) if forecast else 0.0
        return SCORING * self._rate(family, START)[0] + predicted_s + fit_s

    def learn(self, trial: Trial) -> None:
        """Measure the rates of a trial that has ended, and keep them."""
        if trial.state != COMPLETE or trial.work is None or trial.cost is None or trial.duplicate_of:
            return
        rates, counts, cost = self._rates[trial.family], count(trial.work, self._split), trial.cost
        trainings = max(1, len(trial.folds))
        features_s = trainings * max(0.0, cost.features_time_s - cost.saved_time_s)
        epochs_s = 0.0
        if trial.history and counts.epochs:
            steady = [epoch.time_s for epoch in trial.history[1:]] or [trial.history[0].time_s]
            epochs_s = trainings * len(trial.history) * median(steady)
            share = len(trial.history) / counts.epochs
            if not trial.cut:
                rates.add(EPOCHS, share)
            self._attribute(trial.family, epochs_s, {STEPS: share * counts.steps, TRAINING: share * counts.training})
        if counts.features:
            rates.add(FEATURES, features_s / counts.features)
        rates.add(_start(trial.work), max(0.1, trial.took_s - features_s - epochs_s))
        self._base_mb = max(0.0, cost.peak_rss_mb - counts.memory_mb) or self._base_mb
        self._write(trial.family)

    def _attribute(self, family: str, seconds: float, numbers: Mapping[str, float]) -> None:
        """Measure the rate of the term whose share of the seconds is least certain, given the rates of the others."""
        shares = {term: numbers[term] * self._rate(family, term)[0] for term in numbers}
        term = max(shares, key=lambda term: shares[term] * math.expm1(self._rate(family, term)[1]))
        others_s = sum(shares.values()) - shares[term]
        self._rates[family].add(term, max(seconds - others_s, LEAST_SHARE * seconds) / numbers[term])

    def _rate(self, family: str, term: str) -> tuple[float, float]:
        """Return a family's rate and the standard deviation of its logarithm."""
        rates = self._rates[family]
        if (rate := rates.find(term)) is not None:
            measured = rates.measured.get(term, ())
            return rate, _spread(measured)
        others = [(other.find(term), other.dry_run.get(term)) for other in self._rates.values()]
        if term in rates.dry_run:  # corrected as those of other families turned out to be wrong
            factors = [rate / dry_run for rate, dry_run in others if rate and dry_run]
            return rates.dry_run[term] * (median(factors) if factors else 1.0), UNMEASURED
        known = [rate for rate, _ in others if rate]
        return (median(known) if known else TYPICAL[term]), UNMEASURED

    def _write(self, family: str) -> None:
        if self._path is None:
            return
        self._stored[_key(self._families[family])] = self._rates[family].measured
        with contextlib.suppress(OSError):  # a full disk: they are measured again
            write_text(self._path, json.dumps(self._stored))


def _start(work: Work) -> str:
    is_cached = bool(work.phases) and all(phase.cached == 1 for phase in work.phases)
    return CACHED_START if is_cached else START


def _spread(rates: Sequence[float]) -> float:
    logarithms = [math.log(rate) for rate in rates]
    if len(rates) < 2:
        return UNMEASURED / 2
    return max(LEAST_SPREAD, stdev(logarithms))


def _dry_run(family: Family, cores: int) -> dict[str, float]:
    """Return the rates of a family's dry run, converted to those of a trial on this number of cores."""
    speed = family.speed
    if speed is None:
        return {}
    rates = {START: TYPICAL[START] + speed.build_s}
    macs = speed.work.macs
    if macs:
        rates[FEATURES] = rates[TRAINING] = speed.predict_s / macs * ((speed.cores or cores) / cores) ** SCALING
    return rates


def _key(family: Family) -> str:
    return f"{family.name} {family.info.sha256[:16]}"


def _hardware(cores: int) -> str:
    description = json.dumps([platform.node(), platform.machine(), machine.core_count(), cores])
    return hashlib.sha256(description.encode()).hexdigest()[:16]


def _read(path: Path | None) -> dict[str, dict[str, list[float]]]:
    """Read the stored rates by family and term; none if there is no such file, or it is damaged."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=dict[str, dict[str, list[float]]]) if path else {}
    except (OSError, msgspec.MsgspecError):
        return {}
