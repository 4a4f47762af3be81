"""Seed noise: the chosen configuration of every family of a run, trained with more seeds."""

from __future__ import annotations

import contextlib

from bench import store, workers
from bench.config import RunConfig
from bench.errors import WorkerError
from bench.page import Page
from bench.preparation import prepare_again, run_all
from bench.progress import Progress
from bench.records import Run, Trial
from bench.scoring import Scoring
from bench.store import RunFolder
from bench.workers import Pool


def calibrate(run: Run, seeds: int, progress: Progress, pool: Pool | None = None) -> Run:
    """Trains what a run has chosen until each has so many seeds, and records it as `run --repeats` would have.

    What is trained is recorded family by family: where it is interrupted, it goes on from there.

    Args:
        run: A complete one.
        seeds: How many in all, the run's own among them.
        progress: Told of the trainings.
        pool: Where they run; None starts processes on this machine, as many as the run had.

    Returns:
        The run as it is now.

    Raises:
        UsageError: A family cannot be trained again.
        WorkerError: A training failed.
    """
    if not any(_missing(trial, seeds) for trial in run.ranking()):
        return run
    with store.reopen(run.path) as folder, contextlib.closing(pool or workers.start(_config(run))) as used:
        try:
            for trial in run.ranking():
                _repeat(folder, trial, _missing(trial, seeds), progress, used)
        finally:
            made = Page(folder, progress).write(run.status)
    return made


def _config(run: Run) -> RunConfig:
    return RunConfig.from_dict(run.config)


def _missing(trial: Trial, seeds: int) -> list[int]:
    """Which repeats are to be trained; none of a trial that was not scored."""
    there = {repeat.number for repeat in trial.repeats}
    return [number for number in range(1, seeds) if number not in there] if trial.test else []


def _repeat(folder: RunFolder, trial: Trial, numbers: list[int], progress: Progress, pool: Pool) -> None:
    if not numbers:
        return
    config, family = prepare_again(folder.run, trial, pool, progress)
    scoring = Scoring(config, folder)
    outcomes = run_all(
        pool, scoring.jobs(family, trial, numbers), progress, f"training {trial.family} with other seeds"
    )
    scoring.record(trial, numbers, outcomes)
    for failure in [outcome.failure for outcome in outcomes if outcome.failure]:
        raise WorkerError(f"{trial.family} with another seed: {failure.kind}: {failure.message}")
