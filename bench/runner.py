"""The benchmark driver: one run from top to bottom. Read this first.

    check families and engines, reserve the run folder
    → audit and split the pictures → build every family once, find its weights
    → test the data for shortcuts
    → under a time budget, screen the backbones on a sample
    → search with every engine: ask → train in a worker → record
    → score the chosen trials once on the test pictures
    → train the two best on fewer pictures, to say what more are worth → write the page

A time budget covers all of it, so that the run ends in time (`search/stopping.py`).

The driver does not import TensorFlow: worker processes build, train and score models (`workers/`, `training/`). They
ask the driver for hyperparameters (`search/`, `engines/`) and send it their results; only the driver writes records
(`runs/store.py`).
"""

from __future__ import annotations

import contextlib
import importlib
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from bench import cache, data, engines, workers
from bench.config import Budget, RunConfig
from bench.data import further
from bench.errors import Interrupted, UsageError, WorkerError
from bench.records import Run, RunStatus
from bench.report.live import LivePage
from bench.runs import store
from bench.runs.shifts import left_out
from bench.runs.store import RunFolder
from bench.runs.thumbnails import ThumbnailWriter
from bench.search import families as preparation
from bench.search import sample_curves, screening, shares, spaces
from bench.search.families import Family, run_all
from bench.search.forecast import Forecaster
from bench.search.pace import Pace
from bench.search.planning import unaffordable
from bench.search.progress import SILENT, Progress
from bench.search.resuming import accepted_changes, located
from bench.search.schedule import Schedule
from bench.search.scoring import Scoring, ScoringListener, ScoringStop, check_metrics
from bench.search.shortcut_search import look_for_shortcuts
from bench.search.state import Context, Ledger
from bench.search.stopping import Deadline, SignalStop, stop_on_signal
from bench.training.messages import ScoreResult
from bench.workers import Pool, run_jobs

WARM_UP_IMPORTS = ("optuna.importance", "scipy.special", "bench.report.page")
"""Modules that the search and the page need, imported while the workers import TensorFlow."""


MAX_PREPARATION = 0.5
"""Maximum share of the time budget that is charged for reading the pictures and building the families, e.g. for a long
download."""


def run(config: RunConfig, progress: Progress = SILENT, command: str = "", pool: Pool | None = None) -> Run:
    """Run the benchmark.

    Args:
        config: The run's configuration.
        progress: Receives the events of the run.
        command: The command line that repeats this run, for the records.
        pool: Pool for the jobs; None starts worker processes on this machine.

    Raises:
        UsageError: A setting, the pictures or a family's file is wrong; then no folder is left behind.
        Interrupted: Ctrl-C, SIGTERM or SIGHUP during the search; the partial run and its report are written.
    """
    with store.create(config, command) as folder:
        return _run(folder, progress, pool)


def resume(
    path: Path,
    budget: Budget | None = None,
    progress: Progress = SILENT,
    accept_changes: bool = False,
    pool: Pool | None = None,
    storage: str = "",
) -> Run:
    """Continue a run that was killed, interrupted, or has used its budget: its ended trials count, others run again.

    Args:
        path: Its folder.
        budget: The new total, including what was spent; None: as before.
        progress: Receives the events of the run.
        accept_changes: Whether to go on with changed files of families or other versions of packages.
        pool: Pool for the jobs; None starts worker processes on this machine.
        storage: URL of the storage, if the run had a shared one.

    Raises:
        UsageError: Another process writes the folder, the run is complete, or the pictures, the weights, a family's
            file or a package are not those of the run; then the folder is as before.
        Interrupted: As for `run`.
    """
    with store.resume(path, budget, storage) as folder:
        return _run(folder, progress, pool, accept_changes)


def _run(folder: RunFolder, progress: Progress, pool: Pool | None, accept_changes: bool = False) -> Run:
    config, resumed = folder.run.config, bool(folder.run.split.sha256)
    start = folder.run.working_folder
    chosen = spaces.select(config.spaces, start)
    engines.check_installed(config.engines)
    with contextlib.closing(pool or workers.start(config)) as pool:
        dataset = data.open(located(config, start) if resumed else config, progress.stage, cache.folder())
        progress.data(dataset.info(), config)
        check_metrics(config, dataset)
        _warm_up()
        warn = partial(_warn, folder, progress)
        opened = () if folder.run.further else further.open(config, dataset, progress.stage)
        prepared, gpus = preparation.prepare(config, chosen, dataset, pool, progress, warn=warn)
        families = preparation.searchable(config, prepared)
        forecaster = Forecaster(config, dataset.info(), families, pool.cache)
        families = shares.cheapest_first(families, forecaster, folder.run.plan)
        plan = shares.make_plan(config, families)
        project = spaces.folders(config, [space.path for space in chosen])
        if resumed:
            changed = accepted_changes(folder.run, dataset, prepared, accept_changes)
            folder.go_on(plan)
            for change in changed:
                warn(f"resumed although {change}")
        else:
            folder.begin(dataset.info(), dataset.write, [family.info for family in prepared], gpus, project, plan)
        if opened:
            further.write(opened, folder.path)
            folder.will_test([record for record, _ in opened])
            for sentence in map(left_out, folder.run.further):
                if sentence:
                    warn(sentence)
        page, ledger, status = LivePage(folder, progress.warning), Ledger(folder.run.baselines), RunStatus.FAILED
        pictures = sum(record.n * len(record.names) for record in folder.run.further)
        pace = Pace(config, folder.run.split, folder.elapsed_s, page_s=lambda: page.last_s, further=pictures)
        thumbnails = ThumbnailWriter(dataset, folder.path, config.seed, progress.warning)
        try:
            with stop_on_signal(progress.warning) as stop:
                thumbnails.add_samples()
                page.write(RunStatus.RUNNING)
                if folder.run.shortcuts is None:
                    look_for_shortcuts(folder, pool, Deadline(stop, pace), progress, warn)
                preparation.announce(families, folder, progress, warn)
                if dear := unaffordable(config, families, forecaster):
                    warn(dear)
                if not folder.run.trials:
                    screening.screen(families, folder, forecaster, pool, Deadline(stop, pace), progress, page.refresh)
                seconds, engine_count = _search_s(config, folder), len(config.engines)
                for engine in config.engines:
                    deadline = Deadline(stop, pace, seconds, ledger.best.values, engine_count)
                    context = Context(engine, config, folder, ledger, progress, plan, deadline, forecaster)
                    _search(context, families, pool, page)
                _score(families, folder, pool, stop, pace, page, thumbnails, progress)
                sample_curves.add(families, folder, pool, Deadline(stop, pace), pace, progress)
            status = RunStatus.COMPLETE
        except (UsageError, WorkerError):  # a fault of the pictures, the disk or the machine, which every trial met
            status = RunStatus.PARTIAL
            raise
        finally:
            done = page.write(RunStatus.PARTIAL if stop.signal else status)
        progress.end(done, page.path)
        if stop.signal:
            raise Interrupted(stop.signal, folder.path)
        return done


def _search_s(config: RunConfig, folder: RunFolder) -> float | None:
    """Return the seconds for each engine's search: its budget minus its share of the preparation; None if unlimited."""
    budget_s = config.budget.seconds
    if budget_s is None:
        return None
    prepared_s = folder.elapsed_s() - folder.searched_s
    return budget_s - min(prepared_s / len(config.engines), MAX_PREPARATION * budget_s)


def _search(context: Context, families: Sequence[Family], pool: Pool, page: LivePage) -> None:
    """Search with one engine: ask, train in a worker, record, until the budget is spent or nothing is left."""
    if context.deadline.interrupted:
        return
    schedule, progress, ledger = Schedule(context, families), context.progress, context.ledger
    context.clock.start()
    for outcome in run_jobs(pool, schedule.ask, context.deadline, meanwhile=page.refresh):
        for trial in schedule.record(outcome):
            progress.trial_ended(trial, ledger.best_of_all())
    schedule.end()


def _score(
    families: Sequence[Family],
    folder: RunFolder,
    pool: Pool,
    stop: SignalStop,
    pace: Pace,
    page: LivePage,
    thumbnails: ThumbnailWriter,
    progress: Progress,
) -> None:
    """Score every family's best trial on the test pictures; with `repeats`, also retrained with other seeds.

    After a signal there are no repeats, and little time (`stopping.SIGNAL_S`).
    """
    run, config = folder.as_run(), folder.run.config
    chosen = [(family, trial) for family in families if (trial := run.best(family.name))]
    for done, (family, trial) in enumerate(chosen):
        if stop.reason():
            return
        progress.scoring(family.name, done, len(chosen))
        scoring = Scoring(config, folder, in_haste=bool(stop.signal))
        numbers = [*scoring.missing(trial, 1 if stop.signal else 1 + config.repeats)]
        jobs = scoring.jobs(family, trial, numbers)
        ends = stop if stop.signal else ScoringStop(stop) if folder.run.further else Deadline(stop, pace)
        outcomes = run_all(pool, jobs, SILENT, "", ends, listener=lambda job: ScoringListener(stop))
        for number, outcome in zip(numbers, outcomes, strict=False):
            if (failure := outcome.failure) and not stop.signal:
                task = f"training with seed {config.seed + number}" if number else "scoring on the test set"
                text = f"{trial.family}: {task} failed, {failure.name}: {failure.message}"
                _warn(folder, progress, text)
            elif isinstance(outcome.result, ScoreResult):
                for name, reason in outcome.result.unscored.items():
                    _warn(folder, progress, f"{trial.family}: not scored on {name}: {reason}")
        if scoring.record(trial, numbers, outcomes).test:
            thumbnails.add_mistakes(trial.family)
        page.refresh()
    thumbnails.add_shared_mistakes(folder.as_run())
    thumbnails.add_doubted(folder.as_run())


def _warn(folder: RunFolder, progress: Progress, text: str) -> None:
    """Warn the user, and add the warning to the page."""
    folder.note(text)
    progress.warning(text)


def _warm_up() -> None:
    for module in WARM_UP_IMPORTS:
        with contextlib.suppress(Exception):  # an error is raised again at the import that needs the module
            importlib.import_module(module)
