"""The chosen configuration of every family of a run, trained with more seeds."""

from __future__ import annotations

import contextlib

from bench import workers
from bench.errors import WorkerError
from bench.records import Run, Trial
from bench.report.live import LivePage
from bench.runs import environment, predictions, store
from bench.search.families import Family, prepare_again, run_all
from bench.search.progress import Progress
from bench.search.scoring import Scoring
from bench.workers import Pool


def add_seeds(run: Run, seeds: int, progress: Progress, pool: Pool | None = None) -> Run:
    """Train what a run has chosen until each has so many seeds, and record it as `run --repeats` would have.

    Every training is recorded at once: where this is interrupted, the next call goes on from there.

    Args:
        run: A complete one.
        seeds: Their number in all, the run's own among them.
        progress: Told of the trainings.
        pool: Where they run; None starts processes on this machine, as many as the run had.

    Returns:
        The run as it is now.

    Raises:
        UsageError: A family cannot be trained again, for instance since its file was changed; nothing was trained then.
        WorkerError: A training failed.
    """
    wanted = {trial.family: numbers for trial in run.ranking() if (numbers := _missing(run, trial, seeds))}
    if not wanted:
        return run
    if (now := environment.git_commit()) != (then := run.environment.get("git_commit", "")):
        progress.warning(
            f"the run is of commit {then or 'unknown'}, and what is trained now of {now or 'unknown'}: "
            "whatever changed between them is in the noise of the seeds"
        )
    config = run.config
    with store.reopen(run) as folder, contextlib.closing(pool or workers.start(config)) as used:
        chosen = [trial for trial in run.ranking() if trial.family in wanted]
        ready = [(trial, *prepare_again(run, trial, used, progress)) for trial in chosen]
        try:
            for trial, own, family in ready:
                numbers = wanted[trial.family]
                for place in range(0, len(numbers), config.workers):
                    some = numbers[place : place + config.workers]
                    stage = f"{trial.family}, seed {' and '.join(str(number + 1) for number in some)} of {seeds}"
                    trial = _train(Scoring(own, folder), trial, family, some, f"training {stage}", progress, used)
        finally:
            made = LivePage(folder, progress.warning).write(run.status)
    return made


def _missing(run: Run, trial: Trial, seeds: int) -> list[int]:
    """Numbers of the repeats to be trained, those with lost predictions too; none of a trial without its own."""
    there = predictions.of_seeds(run, trial) if trial.test else {}
    return [number for number in range(1, seeds) if number not in there] if there else []


def _train(
    scoring: Scoring, trial: Trial, family: Family, numbers: list[int], stage: str, progress: Progress, pool: Pool
) -> Trial:
    outcomes = run_all(pool, scoring.jobs(family, trial, numbers), progress, stage)
    trial = scoring.record(trial, numbers, outcomes)
    for failure in [outcome.failure for outcome in outcomes if outcome.failure]:
        raise WorkerError(f"{trial.family} with another seed: {failure.name}: {failure.message}")
    return trial
