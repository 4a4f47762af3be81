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
from collections.abc import Iterator, Sequence
from types import FrameType

from bench import cache, data, workers
from bench.config import RunConfig
from bench.engines import check_installed
from bench.errors import Interrupted, WeightsError
from bench.records import Run, Trial
from bench.report.live import Page
from bench.runs import store
from bench.runs.gallery import Gallery
from bench.runs.store import RunFolder
from bench.search import families as preparation
from bench.search import spaces
from bench.search.families import Family, run_all
from bench.search.ledger import Ledger
from bench.search.listener import INTERRUPTED, Context
from bench.search.progress import Progress
from bench.search.schedule import Search
from bench.search.scoring import Scoring
from bench.workers import Pool

COMES_LATER = [
    "alembic.command",
    "optuna.storages._rdb.models",
    "optuna.importance",
    "scipy.special",
    "bench.report.page",
]
"""What the database and the page need: imported while the workers are busy importing TensorFlow."""


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
        self._page = Page(folder, progress.warning)

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
        """Scores every family's best trial on the test pictures; with `repeats`, retrained with other seeds too."""
        run, scoring = self._folder.snapshot(), Scoring(self._config, self._folder)
        chosen = [(family, trial) for family in self._families if (trial := run.best(family.name))]
        numbers = range(1 + self._config.repeats)
        for done, (family, trial) in enumerate(chosen):
            self._progress.scoring(family.name, done, len(chosen))
            try:
                outcomes = run_all(self._pool, scoring.jobs(family, trial, numbers), _Interruptible(stop), "")
            except _StopNow:
                self._pool.cancel(INTERRUPTED, "the run was interrupted")
                self._leave(stop)
            for failure in [outcome.failure for outcome in outcomes if outcome.failure]:
                self._warn(f"{trial.family}: scoring on the test set failed, {failure.kind}: {failure.message}")
            if scoring.record(trial, numbers, outcomes).test:
                self._gallery.mistakes(trial.family)
            self._page.refresh()


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
