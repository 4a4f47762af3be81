"""A run as large as they come, made up from a seed: thousands of trials, and what the models say of the test pictures.

Its figures behave as real ones do: training longer costs more and gives a little more, a larger model costs more, and a
better model is right on more pictures, of which some are hard for all.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import stdev
from typing import Any

import numpy as np

from bench.config import Budget, RunConfig
from bench.metrics._metric import Metric
from bench.records import (
    COMPLETE,
    FAIL,
    PRUNED,
    Cost,
    Ending,
    Epoch,
    Estimate,
    Failure,
    FailureKind,
    FamilyInfo,
    Metrics,
    OverSeeds,
    PictureSizes,
    Repeat,
    Run,
    SplitInfo,
    State,
    Study,
    Trial,
    Weights,
)
from bench.runs import predictions
from bench.runs.thumbnails import MAX_SAMPLES, MISTAKES, SHARED_MISTAKES, Thumbnail
from bench.stats import over_seeds, wilson

from .saved import save_predictions, save_thumbnails

ENGINES = ("optuna:tpe", "optuna:random", "keras-tuner:bayesian")
GAP_S = 0.4
"""Between two trials of a worker."""

SEED_SD = 0.01
"""Of the accuracy, from seed to seed."""


@dataclass(frozen=True)
class Size:
    """How large a run is."""

    trials: int = 5000
    families: int = 10
    engines: int = 3
    epochs: int = 10
    pictures: int = 1000
    classes: int = 10
    seeds: int = 1


def generate(folder: Path, size: Size | None = None, seed: int = 0) -> Run:
    """A complete run, of which what lies beside the records is written: predictions and thumbnails.

    Args:
        folder: Where these are made.
        size: How large it is.
        seed: Of everything that is drawn.
    """
    size = size or Size()
    draw = np.random.default_rng(seed)
    families = [f"family_{number:02d}" for number in range(size.families)]
    engines = ENGINES[: size.engines]
    studies: dict[tuple[str, str], list[Trial]] = {(engine, family): [] for engine in engines for family in families}
    clock = 0.0
    for order in range(size.trials):
        engine, rank = engines[order * size.engines // size.trials], order % size.families
        own = studies[engine, families[rank]]
        trial = _trial(draw, size, rank, started_s=clock)
        own.append(replace(trial, family=families[rank], engine=engine, number=len(own), order=order + 1))
        clock = (trial.finished_s or clock) + GAP_S
    _score(draw, folder, size, studies, families)
    budget = size.trials // size.engines
    run = Run(
        path=folder,
        status="complete",
        created_utc="2026-11-21T08:00:00Z",
        config=RunConfig(data="photos", engines=engines, budget=Budget(budget)),
        environment={
            "python": "3.11.7",
            "platform": "Linux x86_64",
            "packages": {"tensorflow": "2.21.0", "keras": "3.15.1", "optuna": "5.0.0"},
            "cpu": "A processor",
            "cores": 16,
            "memory_gb": 64.0,
            "gpus": [],
            "git_commit": "0123456789ab",
        },
        split=_split(size),
        families=tuple(FamilyInfo(family, f"Family number {n}.", Weights.RANDOM) for n, family in enumerate(families)),
        studies=tuple(Study(family, engine, tuple(trials)) for (engine, family), trials in studies.items()),
        command=f"python -m bench run --data photos --budget {budget} --engine {','.join(engines)}",
        elapsed_s=clock,
    )
    save_thumbnails(folder, _thumbnails(run, size))
    return run


def with_metrics(run: Run, *names: str) -> Run:
    """The run by other metrics: the first decides. In validation a loss is 1 - accuracy, and all others are as it.

    The test results are those of the predictions.
    """
    run = replace(run, config=replace(run.config, metric=names))
    chosen = {trial.name for trial in run.ranking()}

    def measured(metric: Metric, value: float) -> float:
        return 1 - value if metric.lower_is_better else value

    def changed(trial: Trial) -> Trial:
        by, value, validation = run.metric, trial.value, trial.validation
        if value is None or validation is None:
            return replace(trial, metric=by.name)
        estimates = {other.name: Estimate(measured(other, value), standard_error=0.02) for other in run.metrics}
        history = tuple(replace(epoch, value=measured(by, epoch.val_accuracy)) for epoch in trial.history)
        trial = replace(
            trial,
            metric=by.name,
            value=measured(by, value),
            history=history,
            validation=replace(validation, estimates=estimates),
            over_seeds=None,
        )
        if trial.test is None or trial.name not in chosen:
            return trial
        values = {other.name: predictions.over_seeds(run, replace(trial, repeats=()), other) for other in run.metrics}
        tests = {name: Estimate(*ends) for name, ends in values.items() if ends}
        several = predictions.values_by_seed(run, trial)[0].mean(axis=1).tolist()
        repeats = tuple(
            replace(repeat, test=replace(repeat.test, estimates={by.name: Estimate(several[repeat.number])}))
            for repeat in trial.repeats
        )
        trial = replace(trial, test=replace(trial.test, estimates=tests), repeats=repeats)
        ends = predictions.over_seeds(run, trial, by)
        over = OverSeeds(len(several), *ends, sd=stdev(several)) if ends and len(several) > 1 else None
        return replace(trial, over_seeds=over)

    studies = (replace(study, trials=tuple(map(changed, study.trials))) for study in run.studies)
    return replace(run, studies=tuple(studies))


def _thumbnails(run: Run, size: Size) -> list[Thumbnail]:
    """As many as a run has (see `bench.runs.thumbnails`)."""
    found = list(predictions.of_run(run).values())
    chosen = {place for each in found for place in each.varied(each.mistakes, MISTAKES)}
    chosen.update(predictions.shared_mistakes(found)[:SHARED_MISTAKES])
    samples = [Thumbnail(digest(f"train {n}"), f"train/{n}.jpg", n % size.classes, "train") for n in range(MAX_SAMPLES)]
    labels = found[0].labels
    mistakes = [
        Thumbnail(digest(f"test {place}"), f"test/{place}.jpg", int(labels[place]), "test") for place in sorted(chosen)
    ]
    return samples + mistakes


def _trial(draw: np.random.Generator, size: Size, rank: int, started_s: float) -> Trial:
    """A trial of the family of that rank, from the worst; whose it is, is still to be said."""
    params: dict[str, Any] = {
        "input_size": int(draw.choice([96, 128, 160])),
        "learning_rate": float(10 ** draw.uniform(-5, -2)),
        "units": int(draw.integers(1, 17) * 32),
        "dropout": round(float(draw.uniform(0, 0.6)), 3),
        "optimizer": str(draw.choice(["adam", "rmsprop", "sgd"])),
        "batch_size": int(draw.choice([16, 32, 64])),
        "augmentation": str(draw.choice(["none", "flip", "light"])),
        "dense_layer": bool(draw.integers(2)),
    }
    fit = 1 - 0.12 * abs(math.log10(params["learning_rate"]) + 3) - 0.1 * params["dropout"]
    strength = 0.55 + 0.4 * (rank + 1) / size.families
    accuracy = float(np.clip(strength * fit + draw.normal(0, 0.01), 1 / size.classes, 0.999))
    seconds = 3.0 * (1 + rank) * (params["input_size"] / 96) ** 2 * float(draw.uniform(0.8, 1.2))
    state = State(draw.choice([COMPLETE, PRUNED, FAIL], p=[0.86, 0.1, 0.04]))
    epochs = {COMPLETE: size.epochs, PRUNED: size.epochs // 3, FAIL: 0}[state]
    history = _history(draw, accuracy, epochs, seconds / size.epochs)
    trial = Trial(
        "",
        "",
        0,
        0,
        state,
        params=params,
        started_s=started_s,
        finished_s=started_s + seconds + 2.0,
        history=history,
        intermediate_values={epoch.epoch: epoch.val_accuracy for epoch in history},
        input_size=params["input_size"],
        weights=Weights.RANDOM,
        seed=0,
        max_epochs=size.epochs,
    )
    if state == FAIL:
        return replace(
            trial,
            failure=Failure(
                FailureKind.EXCEPTION, f"out of memory at {started_s:.0f} s", "…", error="ResourceExhaustedError"
            ),
        )
    if state == PRUNED:
        return replace(trial, ending=Ending.PRUNER)
    cost = _cost(seconds, parameters=50_000 * 2**rank + 1_000 * params["units"])
    return replace(trial, value=accuracy, validation=_metrics(accuracy, size.pictures), cost=cost)


def _history(draw: np.random.Generator, accuracy: float, epochs: int, seconds: float) -> tuple[Epoch, ...]:
    rise = accuracy * (1 - 0.6 * np.exp(-0.6 * np.arange(1, epochs + 1))) + draw.normal(0, 0.005, epochs)
    return tuple(
        Epoch(number, 1.2 - value, min(value + 0.02, 1.0), 1.25 - value, value, seconds)
        for number, value in enumerate(np.clip(rise, 0, 1).tolist(), start=1)
    )


def _metrics(accuracy: float, n: int, *interval: float) -> Metrics:
    return Metrics(n, accuracy, accuracy, min(accuracy + 0.03, 1.0), 1 - accuracy, 1 - accuracy, *interval)


def _cost(seconds: float, parameters: int) -> Cost:
    return Cost(
        fit_time_s=0.7 * seconds,
        train_time_s=seconds,
        features_time_s=0.3 * seconds,
        saved_time_s=0.2 * seconds,
        total_time_s=seconds + 2.0,
        latency_ms=1.0 + parameters / 1e6,
        parameters=parameters,
        trainable_parameters=parameters // 10,
        macs=30 * parameters,
        model_size_mb=4e-6 * parameters,
        peak_rss_mb=900.0,
        cores=2,
    )


def _score(
    draw: np.random.Generator,
    folder: Path,
    size: Size,
    studies: dict[tuple[str, str], list[Trial]],
    families: list[str],
) -> None:
    """Scores the best trial of every family on the test pictures and writes what its model says of them."""
    sha256 = [digest(f"test {number}") for number in range(size.pictures)]
    labels = np.arange(size.pictures) % size.classes
    hardness = draw.normal(0, 1, size.pictures)
    for family in families:
        own = [trial for (_, name), trials in studies.items() if name == family for trial in trials]
        best = min((trial for trial in own if trial.state == COMPLETE), key=lambda trial: trial.rank_key)
        assert best.value is not None
        right = []
        for number in range(size.seeds):
            share = best.value + (draw.normal(0, SEED_SD) if number else 0.0)
            scores = draw.normal(0, 1, (size.pictures, size.classes))
            wrong = np.argsort(hardness + draw.normal(0, 0.7, size.pictures))[round(share * size.pictures) :]
            scores[np.arange(size.pictures), labels] += 5
            scores[wrong, labels[wrong]] -= 6
            exponents = np.exp(scores - scores.max(axis=1, keepdims=True))
            probabilities = exponents / exponents.sum(axis=1, keepdims=True)
            save_predictions(folder, family, sha256, labels, probabilities, number)
            right.append(probabilities.argmax(axis=1) == labels)
        trials = studies[best.engine, family]
        trials[best.number] = _scored(best, np.array(right))


def _scored(trial: Trial, right: Any) -> Trial:
    """With the accuracy on the test pictures; right has the shape (seeds, pictures)."""
    n = right.shape[1]
    tests = [_metrics(count / n, n, *wilson(count, n)) for count in map(int, right.sum(axis=1))]
    if len(tests) == 1:
        return replace(trial, test=tests[0])
    repeats = tuple(Repeat(number, test) for number, test in enumerate(tests[1:], start=1))
    over = OverSeeds(len(tests), *over_seeds(right), sd=stdev(test.accuracy for test in tests))
    return replace(trial, test=tests[0], repeats=repeats, over_seeds=over)


def _split(size: Size) -> SplitInfo:
    classes = tuple(f"class {number}" for number in range(size.classes))
    shares = {"train": 7 * size.pictures, "validation": size.pictures, "test": size.pictures}
    counts = {part: dict.fromkeys(classes, count // size.classes) for part, count in shares.items()}
    sizes = PictureSizes((42, 32), (500, 374), (1050, 702))
    return SplitInfo("photos", classes, counts, digest("split"), input_sizes=(96, 128, 160), sizes=sizes)


def digest(text: str) -> str:
    """A content hash of something that has no content."""
    return hashlib.sha256(text.encode()).hexdigest()
