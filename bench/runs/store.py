"""A run folder: reserved and written by the driver of a run, read by all others.

    run.json          schema version, configuration, environment, families, status
    split.json        the common split
    trials.sqlite3    Optuna storage: every trial of every engine (unless `--storage` names another)
    predictions/      class probabilities of the test pictures, one .npz per family
    models/           the best model of every family, .keras
    thumbnails/       small JPEGs of the pictures that the page shows; thumbnails.json lists them
    results.json      the results that the gate compares
    leaderboard.csv   the leaderboard
    report.html       the page
    log.txt           when the run began, and what it logged: the traceback of every fault that it survived

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
from dataclasses import fields, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import bench
from bench import errors
from bench.cache import files
from bench.cache.files import write_text
from bench.config import RunConfig
from bench.records import (
    FamilyInfo,
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
    leaderboard_row,
    sealed,
    state_counts,
    study_name,
    to_data,
    upgraded,
)
from bench.runs import environment, optuna_storage, predictions, upgrades
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

    Attributes:
        run: The run at the last `as_run`.
        begun: True after `begin`; a folder that was only reserved is removed.
    """

    def __init__(self, path: Path, run: Run, prefix: str, storage: Any = None) -> None:
        self.path, self.prefix, self.run = path, prefix, run
        self.begun = False
        self.storage = storage
        self._began_s = time.monotonic() - run.elapsed_s
        self._trials: dict[_StudyKey, dict[int, Trial]] = defaultdict(dict)
        self._ended: dict[_StudyKey, dict[str, Any]] = {}
        for study in run.studies:
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
        if self.storage is None:
            self.storage = optuna_storage.open_storage(optuna_storage.sqlite_url(self.path), exclusive=True)
        try:
            for folder in ("models", "predictions"):
                (self.path / folder).mkdir()
            write_split(self.path / "split.json")
            self.snapshot()
        except OSError as error:
            raise errors.RunFolderError(f"out {str(self.path)!r}: cannot be written, {error.strerror}") from error
        self.begun = True

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

    def add_curve(self, curve: SampleCurve) -> None:
        """Add the curve of a family."""
        self.run = replace(self.run, sample_curves=(*self.run.sample_curves, curve))

    def keep(self, trial: Trial) -> None:
        """Store the record of a trial that has just begun, without writing it."""
        self._trials[trial.engine, trial.family][trial.number] = trial

    def record(self, trial: Trial, optuna_trial: Any) -> None:
        """Write a trial's record into its Optuna trial, which must not be finished."""
        self.keep(trial)
        optuna_trial.set_user_attr("record", sealed(to_data(trial)))

    def amend(self, trial: Trial) -> None:
        """Write the record of a finished trial again, for instance with its test figures."""
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
        run = self.as_run(status)
        _write_run(run, self.prefix)
        return run

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
    folder = None
    try:
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
        )
        prefix = f"{path.name}-{secrets.token_hex(4)}/" if config.storage else ""
        folder = RunFolder(path, run, prefix, storage)
        with _logging(path):
            yield folder
    finally:
        try:
            if folder is not None:
                folder.close()
        finally:
            if folder is None or not folder.begun:
                _remove(path, created)


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
    raise errors.RunFolderError(f"out {config.out!r}: exists and is not an empty folder; name another one")


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
    url = optuna_storage.shared_url(run.path, file.config.storage, run.storage)
    storage = optuna_storage.open_storage(url or optuna_storage.sqlite_url(run.path))
    folder = RunFolder(run.path, run, file.prefix, storage)
    folder.begun = True
    try:
        with _logging(run.path):
            yield folder
    finally:
        folder.close()


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
    run = replace(run, config=config, studies=optuna_storage.read_studies(run, file, url))
    return replace(run, notes=(*run.notes, *predictions.problems(run)))


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
            return from_data(RunRecord, upgraded(json.loads(content), UPGRADES))
        except errors.ConfigError as error:
            raise ValueError(str(error)) from None


def _write_run(run: Run, prefix: str) -> None:
    ranking = run.ranking()
    row = leaderboard_row(ranking[0]) if ranking else {}
    content = RunRecord(
        prefix=prefix,
        trials=state_counts(run.trials),
        best=Leader(**{name.name: row[name.name] for name in fields(Leader)}) if row else None,
        **run.header(),
    )
    data = {"schema_version": SCHEMA_VERSION, **to_data(content)}
    write_text(run.path / "run.json", json.dumps(data, indent=1) + "\n")
