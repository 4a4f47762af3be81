"""The benchmark driver: one run from top to bottom. Read this first.

    check families and engines, reserve the run folder
    → audit and split the pictures → build every family once, find its weights
    → search with every engine: ask → train in a worker → record
    → score the chosen trials once on the test pictures → write the page

The driver does not import TensorFlow: worker processes build, train and score models (`workers/`, `training/`). They
ask the driver for hyperparameters (`search/`, `engines/`) and send it their results; only the driver writes records
(`runs/store.py`).
"""

from __future__ import annotations

import contextlib
import importlib
from collections.abc import Sequence

from bench import cache, data, engines, workers
from bench.config import RunConfig
from bench.errors import Interrupted
from bench.records import Run, RunStatus
from bench.report.live import LivePage
from bench.runs import store
from bench.runs.store import RunFolder
from bench.runs.thumbnails import ThumbnailWriter
from bench.search import families as preparation
from bench.search import shares, spaces
from bench.search.families import Family, run_all
from bench.search.progress import SILENT, Progress
from bench.search.schedule import Schedule
from bench.search.scoring import Scoring
from bench.search.state import Context, Ledger
from bench.search.stopping import Deadline, SignalStop, stop_on_signal
from bench.workers import Pool, run_jobs

WARM_UP_IMPORTS = ("optuna.importance", "scipy.special", "bench.report.page")
"""Modules that the search and the page need, imported while the workers import TensorFlow."""


def run(config: RunConfig, progress: Progress = SILENT, command: str = "", pool: Pool | None = None) -> Run:
    """Run the benchmark.

    Args:
        config: The run's configuration.
        progress: Receives the events of the run.
        command: The command line that repeats this run, for the records.
        pool: Pool for the jobs; None starts worker processes on this machine.

    Raises:
        UsageError: A setting, the pictures or a family's file is wrong; then no folder is left behind.
        Interrupted: Ctrl-C or SIGTERM during the search; the partial run and its report are written.
    """
    chosen = spaces.select(config.spaces)
    engines.check_installed(config.engines)
    with store.create(config, command) as folder, contextlib.closing(pool or workers.start(config)) as pool:
        dataset = data.open(config, progress.stage, cache.folder())
        progress.data(dataset.info(), config)
        _warm_up()
        prepared, gpus = preparation.prepare(config, chosen, dataset, pool, progress)
        families = preparation.searchable(config, prepared)
        plan = shares.make_plan(config, families)
        project = spaces.folders(config, [space.path for space in chosen])
        folder.begin(dataset.info(), dataset.write, [family.info for family in prepared], gpus, project, plan)
        page, ledger, status = LivePage(folder, progress.warning), Ledger(), RunStatus.FAILED
        thumbnails = ThumbnailWriter(dataset, folder.path, config.seed, progress.warning)
        try:
            with stop_on_signal() as stop:
                thumbnails.add_samples()
                page.write(RunStatus.RUNNING)
                preparation.announce(families, folder, progress)
                for engine in config.engines:
                    _search(Context(engine, config, folder, ledger, progress, plan), families, pool, stop, page)
                _score(families, folder, pool, stop, page, thumbnails, progress)
            status = RunStatus.PARTIAL if stop.signal else RunStatus.COMPLETE
        finally:
            done = page.write(status)
        progress.end(done, page.path)
        if stop.signal:
            raise Interrupted(stop.signal, folder.path)
        return done


def _search(context: Context, families: Sequence[Family], pool: Pool, stop: SignalStop, page: LivePage) -> None:
    """Search with one engine: ask, train in a worker, record, until the budget is spent or nothing is left."""
    if stop.signal:
        return
    schedule, progress, ledger = Schedule(context, families), context.progress, context.ledger
    deadline = Deadline(stop, context.clock.start(), context.config.budget.seconds)
    for outcome in run_jobs(pool, schedule.ask, deadline, meanwhile=page.refresh):
        for trial in schedule.record(outcome):
            progress.trial_ended(trial, ledger.best_of_all())
    schedule.end()


def _score(
    families: Sequence[Family],
    folder: RunFolder,
    pool: Pool,
    stop: SignalStop,
    page: LivePage,
    thumbnails: ThumbnailWriter,
    progress: Progress,
) -> None:
    """Score every family's best trial on the test pictures; with `repeats`, retrained with other seeds too."""
    run, config = folder.as_run(), folder.run.config
    scoring, numbers = Scoring(config, folder), range(1 + config.repeats)
    chosen = [(family, trial) for family in families if (trial := run.best(family.name))]
    for done, (family, trial) in enumerate(chosen):
        if stop.signal:
            return
        progress.scoring(family.name, done, len(chosen))
        outcomes = run_all(pool, scoring.jobs(family, trial, numbers), SILENT, "", stop)
        for number, outcome in zip(numbers, outcomes, strict=False):
            if (failure := outcome.failure) and not stop.signal:
                task = f"training with seed {config.seed + number}" if number else "scoring on the test set"
                text = f"{trial.family}: {task} failed, {failure.name}: {failure.message}"
                folder.note(text)
                progress.warning(text)
        if scoring.record(trial, numbers, outcomes).test:
            thumbnails.add_mistakes(trial.family)
        page.refresh()
    thumbnails.add_shared_mistakes(folder.as_run())


def _warm_up() -> None:
    for module in WARM_UP_IMPORTS:
        with contextlib.suppress(Exception):  # an error is raised again at the import that needs the module
            importlib.import_module(module)
