"""The benchmark driver: from a configuration to a run folder with its report. Read this first.

    data → families → a run folder → every engine's search → the chosen trials scored once on the test set → the page

No TensorFlow here: models are built, trained and scored in worker processes (`workers/`, `training/`), which ask the
driver what to try (`search.py`, `engines/`) and tell it what came out; the driver alone writes the records
(`store.py`).
"""

from __future__ import annotations

import contextlib
import importlib
import signal
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from types import FrameType
from typing import Any

from bench import cache, data, overview, preparation, report, spaces, stats, store, workers
from bench.config import RunConfig
from bench.engines import check_installed
from bench.errors import Interrupted, WeightsError
from bench.gallery import Gallery
from bench.preparation import Family, run_all
from bench.progress import Progress
from bench.records import Metrics, Run, Trial, from_dict
from bench.search import Search, trial_payload
from bench.store import RunFolder
from bench.study import Ledger
from bench.trial import INTERRUPTED, Context
from bench.workers import Job, Outcome, Pool

COMES_LATER = [
    "alembic.command",
    "optuna.storages._rdb.models",
    "optuna.importance",
    "scipy.special",
    "bench.report.page",
]
"""What the database and the page need: imported while the workers are busy importing TensorFlow."""

RENDERING_SHARE = 0.05
"""At most so much of a run's time goes into drawing its page while it goes on."""


def run(config: RunConfig, progress: Progress | None = None, command: str = "", pool: Pool | None = None) -> Run:
    """Runs the benchmark.

    Args:
        config: What to do.
        progress: Told of everything that happens; None is silent.
        command: The command line that repeats this run, for the records.
        pool: Where jobs run; None starts worker processes on this machine.

    Raises:
        UsageError: Something given is wrong; nothing was made then.
        Interrupted: Ctrl-C or SIGTERM during the search; the partial run and its report are written.
    """
    progress = progress or Progress()
    target = store.check_target(config)
    chosen = spaces.select(config.spaces)
    check_installed(config.engines)
    pool = pool or workers.start(config)  # it imports TensorFlow while the pictures are looked at
    with contextlib.closing(pool):
        dataset = data.open(config, progress.stage, cache.folder())
        split = dataset.info()
        progress.data(split, config)
        for module in COMES_LATER:
            importlib.import_module(module)
        families, gpus = preparation.prepare(config, chosen, dataset, pool, progress)
        infos = [family.info for family in families]
        if all(info.skipped for info in infos):
            raise WeightsError(f"every family is skipped: {infos[0].skipped}. Choose --missing-weights random")
        if config.only_known:
            preparation.check_known(families)
        with store.create(config, target, split, dataset.write, infos, command, gpus) as folder:
            gallery = Gallery(dataset, folder.path, config.seed, progress.warning)
            return _Driver(config, families, folder, pool, progress, gallery).drive()


class _Driver:
    """One run, once everything is known to be in order."""

    def __init__(
        self,
        config: RunConfig,
        families: Sequence[Family],
        folder: RunFolder,
        pool: Pool,
        progress: Progress,
        gallery: Gallery,
    ) -> None:
        self._config, self._folder, self._pool, self._progress = config, folder, pool, progress
        self._gallery = gallery
        self._families = [family for family in families if not family.info.skipped]
        self._ledger = Ledger()
        self._page = Page(folder, progress)

    def drive(self) -> Run:
        """Searches with every engine, then scores the chosen trials."""
        try:
            self._begin()
            with _signals() as stop:
                for engine in self._config.engines:
                    self._search(engine, stop)
                self._score_all(stop)
                self._gallery.shared_mistakes(self._folder.snapshot())
        except Exception as error:
            if not isinstance(error, Interrupted):
                self._page.write("failed")
            raise
        result = self._page.write("complete")
        self._progress.end(result, self._page.path)
        return result

    def _begin(self) -> None:
        budget, engines = self._config.budget, len(self._config.engines)
        trials = self._trials()
        seconds = None if budget.seconds is None else budget.seconds * engines
        self._gallery.samples()
        self._page.write("running")
        infos = [family.info for family in self._families]
        self._progress.begin(infos, self._folder.path, None if trials is None else trials * engines, seconds)
        self._warn_of_families_without_trials()
        keras_tuner = [engine for engine in self._config.engines if engine.startswith("keras-tuner:")]
        if self._config.pruner != "none" and keras_tuner:
            self._warn(
                f"the pruner {self._config.pruner} works with Optuna's engines, not with {', '.join(keras_tuner)}"
            )

    def _trials(self) -> int | None:
        """How many trials an engine will make; None where only time ends its search."""
        trials = self._config.budget.trials
        if not self._config.only_known:
            return trials
        known = sum(len(family.known) for family in self._families)
        return known if trials is None else min(known, trials)

    def _warn_of_families_without_trials(self) -> None:
        only_known, budget = self._config.only_known, self._config.budget
        tried = [family.name for family in self._families if family.known or not only_known]
        unknown = [family.name for family in self._families if family.name not in tried]
        if unknown:
            self._warn(f"--only-known runs nothing of {', '.join(unknown)}: no known configurations in the file")
        if budget.trials is not None and budget.trials < len(tried):
            without = ", ".join(tried[budget.trials :])
            self._warn(f"a budget of {budget} does not reach every family: {without} will get none")

    def _warn(self, text: str) -> None:
        self._folder.note(text)
        self._progress.warning(text)

    def _search(self, engine: str, stop: _Stop) -> None:
        context = Context(engine, self._config, self._folder, self._ledger, self._progress)
        search = Search(context, self._families, self._pool)
        ended: list[Trial] = []
        while search.submit():
            if ended:
                self._page.refresh()  # while the next trial's process starts
            ended = search.wait()
            if stop.signal:
                search.interrupt()
                self._leave(stop)
        self._page.refresh()
        self._note_exhausted(search)

    def _note_exhausted(self, search: Search) -> None:
        for study in search.studies:
            if study.exhausted and not study.only_known:
                name, tried = study.family.name, len(study.distinct)
                storage = self._folder.storage
                storage.set_study_user_attr(study.engine.study._study_id, "exhausted", True)
                if study.family.info.configurations != tried:
                    text = f"{name}: {search.engine} proposed nothing new after {tried} configurations"
                else:
                    text = f"{name}: all {tried} configurations were tried, the rest of its share went to others"
                self._folder.note(text)

    def _leave(self, stop: _Stop) -> None:
        """Writes what there is and says goodbye."""
        result = self._page.write("partial")
        self._progress.end(result, self._page.path)
        raise Interrupted(stop.signal, self._folder.path)

    # -- the chosen trials

    def _score_all(self, stop: _Stop) -> None:
        """Scores every family's best trial on the test pictures; with `repeats`, retrained with other seeds too.

        With folds no trial has a model: the best configurations are trained once more, on all folds together.
        """
        run = self._folder.snapshot()
        chosen = [(family, trial) for family in self._families if (trial := run.best(family.name))]
        for done, (family, trial) in enumerate(chosen):
            self._progress.scoring(family.name, done, len(chosen))
            try:
                outcomes = run_all(self._pool, self._scoring_jobs(family, trial), _Interruptible(stop), "")
            except _StopNow:
                self._pool.cancel(INTERRUPTED, "the run was interrupted")
                self._leave(stop)
            self._record_scores(trial, outcomes)
            self._page.refresh()

    def _scoring_jobs(self, family: Family, trial: Trial) -> list[Job]:
        """What scores the chosen trial of a family: as it is, then with other seeds."""
        repeats = range(1, self._config.repeats + 1)
        if self._folder.run.split.folds:
            return [self._refit_job(family, trial, number) for number in (0, *repeats)]
        return [self._score_job(family, trial), *(self._repeat_job(family, trial, number) for number in repeats)]

    def _score_job(self, family: Family, trial: Trial) -> Job:
        model = self._folder.model(family.name)
        trained = next((path for path in (model, model.with_suffix(".npz")) if path.exists()), None)
        return self._job(
            "score",
            family,
            trial,
            trained=str(trained.absolute()) if trained else "",
            model=str(model.absolute()),
            predictions=str(self._folder.predictions(family.name).absolute()),
        )

    def _repeat_job(self, family: Family, trial: Trial, number: int) -> Job:
        return self._job("trial", family, trial, part="test", seed=self._config.seed + number)

    def _refit_job(self, family: Family, trial: Trial, number: int) -> Job:
        """With the run's own seed (`number` 0) it gives the family's model and predictions."""
        files = {"model": self._folder.model(family.name), "predictions": self._folder.predictions(family.name)}
        return self._job(
            "refit",
            family,
            trial,
            seed=self._config.seed + number,
            epochs=list(trial.best_epochs),
            **{name: "" if number else str(path.absolute()) for name, path in files.items()},
        )

    def _job(self, kind: str, family: Family, trial: Trial, **more: Any) -> Job:
        payload = {
            **trial_payload(self._config, self._folder.run, family),
            "values": dict(trial.params),
            "epochs": trial.max_epochs or self._config.epochs,
            **more,
        }
        return Job(kind, payload, self._config.trial_timeout_s)

    def _record_scores(self, trial: Trial, outcomes: Sequence[Outcome]) -> None:
        measured = [_with_interval(outcome.result["test"]) if outcome.result else None for outcome in outcomes]
        for outcome in outcomes:
            if outcome.failure:
                failure = outcome.failure
                self._warn(f"{trial.family}: scoring on the test set failed, {failure.kind}: {failure.message}")
        if measured[0]:
            self._folder.attach_to(trial, test=measured[0])
            self._gallery.mistakes(trial.family)
        repeats = [each for each in measured[1:] if each]
        if repeats:
            self._folder.attach_to(trial, repeats=repeats)


def _with_interval(test: Mapping[str, Any]) -> dict[str, Any]:
    metrics = from_dict(Metrics, test)
    low, high = stats.wilson(round(metrics.accuracy * metrics.n), metrics.n)
    return asdict(replace(metrics, accuracy_low=low, accuracy_high=high))


class Page:
    """The run's page and table, drawn from the records; a fault in drawing never costs a result."""

    def __init__(self, folder: RunFolder, progress: Progress) -> None:
        self._folder, self._progress = folder, progress
        self._spent_s, self._broken = 0.0, False
        self._listed = ""

    @property
    def path(self) -> Path:
        """The page."""
        return self._folder.path / "report.html"

    def refresh(self) -> None:
        """Draws the page of a run that goes on, unless that has taken too much of its time already."""
        if self._spent_s <= RENDERING_SHARE * self._folder.elapsed_s():
            self.write("running")

    def write(self, status: str) -> Run:
        """Reads the records, draws the page and gives the run."""
        begun = time.monotonic()
        run = self._folder.snapshot(status)
        try:
            report.render(run, self.path)
            report.write_csv(run, self._folder.path / "leaderboard.csv")
            if status != self._listed:  # where it begins and where it ends
                overview.write(self._folder.path)
                self._listed = status
        except Exception as error:
            if not self._broken:
                self._progress.warning(
                    f"the page could not be drawn ({type(error).__name__}: {error}); the results are safe, "
                    f"`python -m bench report {self._folder.path}` draws it again"
                )
            self._broken = True
        self._spent_s += time.monotonic() - begun
        return run


# -- Ctrl-C and SIGTERM


class _Stop:
    """Which signal has asked the run to stop, 0 if none."""

    signal = 0


class _StopNow(Exception):
    """Leaves a wait when the run is asked to stop."""


class _Interruptible(Progress):
    """Leaves `run_all` between two polls."""

    def __init__(self, stop: _Stop) -> None:
        self._stop = stop

    def stage(self, what: str, done: int, total: int) -> None:
        if self._stop.signal and done < total:
            raise _StopNow


@contextlib.contextmanager
def _signals() -> Iterator[_Stop]:
    """Notes the first Ctrl-C or SIGTERM, so that the run can end in order; a second one stops at once."""
    stop = _Stop()
    if threading.current_thread() is not threading.main_thread():  # Python handles signals only there
        yield stop
        return

    def note(number: int, frame: FrameType | None) -> None:
        stop.signal = number
        for each in before:
            signal.signal(each, signal.SIG_DFL)

    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
