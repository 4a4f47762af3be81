"""A run folder: reserved and written by the driver of a run, read by all others.

    run.json          schema version, configuration, environment, families, status
    split.json        the common split
    also/             the pictures of further test sets, a file for each set
    trials.sqlite3    Optuna storage: every trial of every engine (unless `--storage` names another)
    predictions/      class probabilities of the test pictures and of further sets, one .npz per family and set
    models/           the best model of every family, .keras
    thumbnails/       small JPEGs of the pictures that the page shows; thumbnails.json lists them
    results.json      the results that the gate compares
    leaderboard.csv   the leaderboard
    report.html       the page
    log.txt           when the run began, and what it logged: the traceback of every fault that it survived
    driver.json       the process that writes the folder, as long as it lives (`runs/lock.py`)

A trial's record is the user attribute `record` of its Optuna trial: a `records.Trial` as JSON. Optuna does not change
finished trials. The record of a trial that is scored later is the attribute `trial/<number>` of its study, which
replaces the other.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import re
import secrets
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import bench
from bench import errors
from bench.cache import files
from bench.cache.files import sha256, write_text
from bench.config import Budget, RunConfig
from bench.records import (
    FamilyInfo,
    FurtherSet,
    Leader,
    Run,
    RunRecord,
    RunStatus,
    SampleCurve,
    Screening,
    SearchPlan,
    Shortcuts,
    SplitInfo,
    Study,
    Summary,
    Trial,
    from_data,
    sealed,
    state_counts,
    study_name,
    to_data,
    upgraded,
)
from bench.runs import environment, lock, optuna_storage, predictions, upgrades
from bench.runs.lock import Lock
from bench.runs.standings import recommended
from bench.text import masked_url, without_password

UPGRADES = (upgrades.run_1_to_2, upgrades.run_2_to_3)
SCHEMA_VERSION = len(UPGRADES) + 1
REPORTS = Path("reports")
LOG = "log.txt"

_StudyKey = tuple[str, str]  # engine, family


class RunFolder:
    """A run folder that a single driver writes.

    Args:
        path: The folder.
        run: The run so far, with its studies.
        prefix: Prefix of the names of its studies in the storage.
        storage: The open Optuna storage; None opens SQLite in the folder when the run begins, because importing Optuna
            takes a second in which workers can start.
        held: The folder's lock; None for a folder that is not on the disk.

    Attributes:
        run: The run at the last `as_run`.
        begun: True after `begin`; a folder that was only reserved is removed.
        searched_s: Seconds of a resumed run from its first trial until it was stopped.
    """

    def __init__(self, path: Path, run: Run, prefix: str, storage: Any = None, held: Lock | None = None) -> None:
        self.path, self.prefix, self.run = path, prefix, run
        self.begun = False
        self.storage, self._lock = storage, held
        times = [time_s for trial in run.trials for time_s in (trial.started_s, trial.finished_s) if time_s is not None]
        stopped_s = max([run.elapsed_s, *times])  # run.json is as old as the last page
        self.searched_s = stopped_s - min(times, default=stopped_s)
        self._began_s = time.monotonic() - stopped_s
        self._trials: dict[_StudyKey, dict[int, Trial]] = defaultdict(dict)
        self._ended: dict[_StudyKey, dict[str, Any]] = {}
        self._adopt(run.studies)

    def _adopt(self, studies: Sequence[Study]) -> None:
        for study in studies:
            key = study.engine, study.family
            self._trials[key] = {trial.number: trial for trial in study.trials}
            self._ended[key] = {"exhausted": study.exhausted, "importance": study.importance}

    def begin(
        self,
        split: SplitInfo,
        write_split: Callable[[Path], None],
        families: Sequence[FamilyInfo],
        gpus: Sequence[str] = (),
        folders: Sequence[Path] = (),
        plan: SearchPlan | None = None,
    ) -> None:
        """Write the split and the first `run.json`.

        Args:
            split: The split in numbers.
            write_split: Writes the split's manifest to a path.
            families: Records of the families.
            gpus: Names of the GPUs that the workers see.
            folders: Those of the user's own files, which may be under git.
            plan: Division of the budget.

        Raises:
            RunFolderError: The folder cannot be written.
        """
        described = {**environment.describe(gpus, folders), "bench": bench.__version__}
        self.run = replace(self.run, split=split, families=tuple(families), environment=described, plan=plan)
        for half in self.path.glob("trials.sqlite3*"):  # of a driver that was killed while it made the tables
            half.unlink()
        self._open()
        try:
            write_split(self.path / "split.json")
            self.snapshot()
        except OSError as error:
            raise errors.RunFolderError(f"out {str(self.path)!r}: cannot be written, {error.strerror}") from error
        self.begun = True

    def _open(self) -> None:
        if self.storage is None:
            self.storage = optuna_storage.open_storage(optuna_storage.sqlite_url(self.path), exclusive=True)
        for folder in ("models", "predictions"):
            (self.path / folder).mkdir(exist_ok=True)

    def go_on(self, plan: SearchPlan) -> None:
        """Prepare the records of a resumed run: its trials that were in flight or interrupted are to be run again."""
        self._open()
        names = [study_name(study.engine, study.family, self.prefix) for study in self.run.studies]
        optuna_storage.requeue(self.storage, names)
        studies = optuna_storage.studies_in(self.storage, self.run, self.prefix)
        self._adopt(studies)
        (self.path / "results.json").unlink(missing_ok=True)  # of the run as it was stopped
        screenings = self.run.screenings if any(study.trials for study in studies) else ()
        self.run = replace(self.run, studies=studies, plan=plan, screenings=screenings, sample_curves=())
        self.snapshot()

    def elapsed_s(self) -> float:
        """Monotonic seconds since the run began, without the time in which its folder was closed."""
        return time.monotonic() - self._began_s

    def note(self, text: str) -> None:
        """Add a note for readers of the run."""
        if text not in self.run.notes:
            self.run = replace(self.run, notes=(*self.run.notes, text))

    def screened(self, screening: Screening) -> None:
        """Add the result of a screening."""
        self.run = replace(self.run, screenings=(*self.run.screenings, screening))

    def tested(self, shortcuts: Shortcuts) -> None:
        """Add the test of the data for shortcuts."""
        self.run = replace(self.run, shortcuts=shortcuts)

    def will_test(self, further: Sequence[FurtherSet]) -> None:
        """Add the further test sets."""
        self.run = replace(self.run, further=tuple(further))

    def add_curve(self, curve: SampleCurve) -> None:
        """Add the curve of a family."""
        self.run = replace(self.run, sample_curves=(*self.run.sample_curves, curve))

    def keep(self, trial: Trial) -> None:
        """Store the record of a trial that has just begun, without writing it."""
        self._trials[trial.engine, trial.family][trial.number] = trial

    def record(self, trial: Trial, optuna_trial: Any) -> None:
        """Write a trial's record into its Optuna trial, which must not be finished."""
        self._check_lock()
        self.keep(trial)
        optuna_trial.set_user_attr("record", sealed(to_data(trial)))

    def amend(self, trial: Trial) -> None:
        """Write the record of a finished trial again, for instance with its test figures."""
        self._check_lock()
        self.keep(trial)
        name = study_name(trial.engine, trial.family, self.prefix)
        self.storage.set_study_user_attr(
            self.storage.get_study_id_from_name(name), f"trial/{trial.number}", sealed(to_data(trial))
        )

    def end_study(self, engine: str, family: str, optuna_study: Any, **facts: Any) -> None:
        """Write facts about a study whose search has ended: fields of `records.Study`."""
        self._ended[engine, family] = facts
        for name, value in facts.items():
            optuna_study.set_user_attr(name, value)

    def as_run(self, status: RunStatus = RunStatus.RUNNING) -> Run:
        """The current state of the run."""
        begun = self._trials.keys() | self._ended.keys()
        studies = [
            Study(
                family=family.name,
                engine=engine,
                trials=tuple(trial for _, trial in sorted(self._trials[engine, family.name].items())),
                **self._ended.get((engine, family.name), {}),
            )
            for engine in self.run.config.engines
            for family in self.run.families
            if (engine, family.name) in begun
        ]
        self.run = replace(self.run, status=status, elapsed_s=self.elapsed_s(), studies=tuple(studies))
        return self.run

    def snapshot(self, status: RunStatus = RunStatus.RUNNING) -> Run:
        """Write `run.json` and return the current state of the run.

        Raises:
            OSError: It cannot be written; the old file is intact.
        """
        self._check_lock()
        run = self.as_run(status)
        _write_run(run, self.prefix)
        return run

    def _check_lock(self) -> None:
        if self._lock:
            self._lock.check()

    def close(self) -> None:
        """Remove files that only a running driver needs, and turn the storage into a single file."""
        for leftover in (self.path / "models").glob(".*"):  # of a process that was killed while saving
            leftover.unlink(missing_ok=True)
        for folder in ("models", "predictions"):
            with contextlib.suppress(OSError):  # not empty
                (self.path / folder).rmdir()
        if self.storage is not None:
            optuna_storage.close_storage(self.storage)
            optuna_storage.as_single_file(self.path)
        if self._lock:
            self._lock.release()


# -- the log


class _Log(logging.Handler):
    """Adds to `log.txt`; a log that cannot be written costs nothing else."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path / LOG

    def emit(self, record: logging.LogRecord) -> None:
        line = f"{_now()} {record.levelname} {record.name}: {self.format(record)}\n"
        with contextlib.suppress(OSError), self._path.open("a", encoding="utf-8", errors="backslashreplace") as file:
            file.write(without_password(line))


@contextlib.contextmanager
def _logging(path: Path) -> Iterator[None]:
    """Write this package's log messages to the log in a run folder."""
    logger, log = logging.getLogger(bench.__name__), _Log(path)
    logger.addHandler(log)
    try:
        yield
    finally:
        logger.removeHandler(log)


# -- a new run


@contextlib.contextmanager
def create(config: RunConfig, command: str = "") -> Iterator[RunFolder]:
    """Reserve a run folder and open the storage that `config.storage` names; close both at the end.

    If `begin` was not called, the folder is removed, except for files of others.

    Raises:
        RunFolderError: The folder is in use or cannot be written, or the storage cannot be opened.
    """
    path, created = _reserve(config)
    folder = held = None
    try:
        held = Lock(path)
        storage = optuna_storage.open_storage(config.storage) if config.storage else None
        run = Run(
            path=path,
            status=RunStatus.RUNNING,
            created_utc=_now(),
            config=_without_password(config),
            environment={},
            split=SplitInfo("", (), {}, ""),
            families=(),
            studies=(),
            command=command,
            started_in=_started_in(path),
        )
        prefix = f"{path.name}-{secrets.token_hex(4)}/" if config.storage else ""
        folder = RunFolder(path, run, prefix, storage, held)
        folder.snapshot()
        with _logging(path):
            yield folder
    finally:
        try:
            if folder is not None:
                folder.close()
            elif held is not None:
                held.release()
        finally:
            if folder is None or not folder.begun:
                _remove(path, created)


def _started_in(path: Path) -> str:
    """The working folder, relative to a run folder, so that both can be moved together; "" on another drive."""
    with contextlib.suppress(ValueError):
        return os.path.relpath(Path.cwd(), path.resolve())
    return ""


def _without_password(config: RunConfig) -> RunConfig:
    return replace(config, storage=masked_url(config.storage))


def _reserve(config: RunConfig) -> tuple[Path, list[Path]]:
    """Create a folder that no other run has; return it and the created folders, the outermost first.

    The run that creates the log owns the folder, so two runs that start at the same moment cannot share it.
    """
    for path in [Path(config.out)] if config.out else _default_paths(config):
        created = [parent for parent in (path, *path.absolute().parents) if not parent.exists()][::-1]
        try:
            path.mkdir(parents=True, exist_ok=bool(config.out))
            if any(path.iterdir()):
                raise FileExistsError
            with (path / LOG).open("x", encoding="utf-8") as log:
                log.write(f"{_now()} the run begins\n")
        except FileExistsError:
            continue
        except OSError as error:
            _remove(path, created)
            raise errors.RunFolderError(f"out {str(path)!r}: cannot be written, {error.strerror}") from error
        return path, created
    if other := lock.living(path):
        raise errors.RunFolderError(f"out {config.out!r}: is in use by {other}; this is {lock.this_driver()}")
    way = f", or `python -m bench resume {config.out}`" if (path / "run.json").exists() else ""
    raise errors.RunFolderError(f"out {config.out!r}: exists and is not an empty folder; name another one{way}")


def _default_paths(config: RunConfig) -> Iterator[Path]:
    data = Path(config.split_file).stem if config.split_file and config.data == RunConfig.data else config.data
    slug = re.sub(r"[^a-z0-9]+", "-", Path(data).name.lower()).strip("-") or "run"
    name = f"{datetime.now(UTC):%Y%m%dT%H%M%S}-{slug[:40]}"
    yield REPORTS / name
    for number in range(2, 1000):
        yield REPORTS / f"{name}-{number}"


def _remove(path: Path, created: Sequence[Path]) -> None:
    """Remove the files of a failed start, and no others."""
    ours = (LOG, "run.json", "split.json", "thumbnails.json", *(f"trials.sqlite3{end}" for end in ("", "-wal", "-shm")))
    for name in ours:
        with contextlib.suppress(OSError):
            (path / name).unlink()
    for folder in [*(path / name for name in ("models", "predictions", "thumbnails")), *reversed(created)]:
        with contextlib.suppress(OSError):  # missing, or not empty
            folder.rmdir()


def _now() -> str:
    return f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"


# -- an existing run


@contextlib.contextmanager
def reopen(run: Run) -> Iterator[RunFolder]:
    """Open the folder of an ended run to add records, and close it at the end.

    Raises:
        RunFolderError: It cannot be read or written.
    """
    file = _read_run(run.path)
    if not os.access(run.path, os.W_OK):
        raise errors.RunFolderError(f"{run.path}: cannot be written")
    held = Lock(run.path)
    try:
        storage = None  # it was killed before it had one
        if file.config.storage or file.split.sha256:
            url = optuna_storage.shared_url(run.path, file.config.storage, run.storage)
            exclusive = not file.config.storage
            storage = optuna_storage.open_storage(url or optuna_storage.sqlite_url(run.path), exclusive=exclusive)
        folder = RunFolder(run.path, run, file.prefix, storage, held)
    except BaseException:
        held.release()
        raise
    folder.begun = True
    try:
        with _logging(run.path):
            yield folder
    finally:
        folder.close()


@contextlib.contextmanager
def resume(path: Path, budget: Budget | None = None, storage: str = "") -> Iterator[RunFolder]:
    """Open the folder of a run that was stopped, to continue it; `budget` is the new total, `storage` as for `load`.

    Raises:
        RunFolderError: Another driver is alive, it is complete, or it cannot be read or written.
        ConfigError: The budget is smaller than that of the run.
    """
    run = load(path, storage)
    if budget is None and run.status == RunStatus.COMPLETE:
        raise errors.RunFolderError(f"{path}: is complete; --budget names a larger total, it had {run.config.budget}")
    for name in ("trials", "seconds"):
        new, old = getattr(budget, name, None), getattr(run.config.budget, name)
        if new is not None and old is not None and new < old:
            raise errors.ConfigError(f"budget {budget}: is the new total, so at least the run's {run.config.budget}")
    run = replace(run, config=replace(run.config, budget=budget or run.config.budget))
    with reopen(run) as folder:
        yield folder


def load(path: Path, storage: str = "") -> Run:
    """Read a run folder; nothing is written, and no storage is opened that only the folder names.

    Args:
        path: The folder.
        storage: URL of the storage, if the run had a shared one; default: that in `optuna_storage.STORAGE`.

    Raises:
        RunFolderError: It is not a run folder, is damaged, or was written by a newer version.
    """
    file = _read_run(path)
    url = optuna_storage.shared_url(path, file.config.storage, storage)
    run = Run(path=path, studies=(), storage=url, **file.header())
    config = _without_password(run.config)  # older versions wrote the password
    studies = optuna_storage.read_studies(run, file, url) if run.split.sha256 else ()  # else it never began
    run = replace(run, config=config, studies=studies)
    return replace(run, notes=(*run.notes, *predictions.problems(run)))


def model_file(run: Run, trial: Trial) -> Path | None:
    """File of a trial's model in its run folder: complete, or its trained weights alone (`.npz`).

    None without one, and if the file is another trial's, e.g. because the driver was killed before it placed this one.
    """
    best, model = run.best(trial.family), run.model(trial.family)
    if best is None or best.name != trial.name:
        return None
    files = [file for file in (model, model.with_suffix(".npz")) if file.is_file()]
    return next((file for file in files if trial.model_sha256 in (None, sha256(file))), None)


def summaries(folder: Path = REPORTS) -> list[Summary]:
    """Every run below a folder, the newest first, unreadable ones last; only their `run.json` is read."""

    def begun(run: Summary) -> tuple[str, str]:
        return run.record.created_utc if run.record else "", run.path.name

    return sorted((_summary(file.parent) for file in folder.glob("*/run.json")), key=begun, reverse=True)


def _summary(path: Path) -> Summary:
    try:
        return Summary(path, _read_run(path))
    except errors.RunFolderError as error:
        return Summary(path, problem=str(error))


# -- run.json


def _read_run(path: Path) -> RunRecord:
    file = path / "run.json"
    with errors.reading(file):
        try:
            content = files.read(file)
        except (FileNotFoundError, NotADirectoryError):
            raise errors.RunFolderError(f"{path}: not a run folder, run.json is missing") from None
        try:
            record = from_data(RunRecord, upgrades.leader(upgraded(json.loads(content), UPGRADES)))
        except errors.ConfigError as error:
            raise ValueError(str(error)) from None
    killed = record.status == RunStatus.RUNNING and lock.living(path) is None
    return replace(record, status=RunStatus.KILLED) if killed else record


def _write_run(run: Run, prefix: str) -> None:
    best = recommended(run) or next(iter(run.ranking()), None)
    content = RunRecord(
        prefix=prefix,
        trials=state_counts(run.trials),
        best=Leader.of(best) if best else None,
        **run.header(),
    )
    data = {"schema_version": SCHEMA_VERSION, **to_data(content)}
    write_text(run.path / "run.json", json.dumps(data, indent=1) + "\n")
