"""A run folder: reserved and written by the driver of a run, read by everyone else.

    run.json          schema version, configuration, environment, families, status
    split.json        the common split
    trials.sqlite3    Optuna storage: every trial of every engine (unless `--storage` names another)
    predictions/      class probabilities of the test pictures, one .npz a family
    models/           the best model of every family, .keras
    thumbnails/       small JPEGs of the pictures that the page shows; thumbnails.json lists them
    results.json      what the gate compares
    leaderboard.csv   the board as data
    report.html       the page
    log.txt           when the run began, and what it logged: the traceback of every fault that it survived

A trial's record is one user attribute of its Optuna trial, `record`: a `records.Trial` as JSON. Optuna closes a
finished trial: the record of one that is scored later is an attribute of its study, `trial/<number>`, and replaces the
other.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import re
import secrets
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import fields, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import bench
from bench import errors
from bench.cache.files import write_text
from bench.config import RunConfig
from bench.records import (
    FamilyInfo,
    Leader,
    Run,
    RunRecord,
    RunStatus,
    SplitInfo,
    Study,
    Summary,
    Trial,
    from_data,
    leaderboard_row,
    study_name,
    to_data,
    upgraded,
)
from bench.runs import environment, optuna_storage, upgrades
from bench.text import masked_url, without_password

UPGRADES = (upgrades.run_1_to_2,)
SCHEMA_VERSION = len(UPGRADES) + 1
REPORTS = Path("reports")
LOG = "log.txt"

_StudyKey = tuple[str, str]  # engine, family


class RunFolder:
    """A run folder that is being written, by one driver alone.

    Args:
        path: The folder.
        run: The run as it is known so far; its studies are read once and kept here from then on.
        prefix: Stands before the names of its studies in the storage.
        storage: The open Optuna storage; None opens SQLite in the folder once the run begins: Optuna takes a second to
            import, in which workers start.

    Attributes:
        run: The run as it was at the last `as_run`.
        begun: Whether `begin` was called; a folder that was only reserved is removed again.
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
    ) -> None:
        """Write the split and the first `run.json`: all that can be wrong was found before.

        Args:
            split: The split in numbers.
            write_split: Writes the split's manifest to a path.
            families: Their records.
            gpus: Names of the GPUs that the workers see.
            folders: Those of the user's own files, which may be under git.

        Raises:
            RunFolderError: The folder cannot be written.
        """
        described = {**environment.describe(gpus, folders), "bench": bench.__version__}
        self.run = replace(self.run, split=split, families=tuple(families), environment=described)
        if self.storage is None:
            self.storage = optuna_storage.open_storage(optuna_storage.sqlite_url(self.path), own=True)
        try:
            for folder in ("models", "predictions"):
                (self.path / folder).mkdir()
            write_split(self.path / "split.json")
            self.snapshot()
        except OSError as error:
            raise errors.RunFolderError(f"out {str(self.path)!r}: cannot be written, {error.strerror}") from error
        self.begun = True

    def elapsed_s(self) -> float:
        """Monotonic seconds since the run began, without those in which its folder was closed."""
        return time.monotonic() - self._began_s

    def note(self, text: str) -> None:
        """Add something that a reader of the whole run should know."""
        if text not in self.run.notes:
            self.run = replace(self.run, notes=(*self.run.notes, text))

    def keep(self, trial: Trial) -> None:
        """Take over a trial's record without writing it: one that has just begun."""
        self._trials[trial.engine, trial.family][trial.number] = trial

    def record(self, trial: Trial, optuna_trial: Any) -> None:
        """Write a trial's record into its Optuna trial, which must not be finished yet."""
        self.keep(trial)
        optuna_trial.set_user_attr("record", to_data(trial))

    def amend(self, trial: Trial) -> None:
        """Write the record of a finished trial again, for instance with its test figures."""
        self.keep(trial)
        name = study_name(trial.engine, trial.family, self.prefix)
        self.storage.set_study_user_attr(
            self.storage.get_study_id_from_name(name), f"trial/{trial.number}", to_data(trial)
        )

    def end_study(self, engine: str, family: str, optuna_study: Any, **facts: Any) -> None:
        """Write what is known of a study once its search has ended: `exhausted`, `importance`."""
        self._ended[engine, family] = facts
        for name, value in facts.items():
            optuna_study.set_user_attr(name, value)

    def as_run(self, status: RunStatus = RunStatus.RUNNING) -> Run:
        """The run as it is now."""
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
        """Write `run.json` and give the run as it is now.

        Raises:
            OSError: It cannot be written; what was there is still there.
        """
        run = self.as_run(status)
        _write_run(run, self.prefix)
        return run

    def close(self) -> None:
        """Remove files that only a running driver needs, and leave the storage as a single file."""
        for leftover in (self.path / "models").glob(".*"):  # of a process that was killed while it saved
            leftover.unlink(missing_ok=True)
        for folder in ("models", "predictions"):
            with contextlib.suppress(OSError):  # not empty: kept
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
    """Write what the loggers of this package are told to the log in a run folder."""
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

    A folder in which `begin` was not called is removed again, without anything that others have put there.

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
    """Make the folder of a run that nobody else has; gives it and the folders that were made, the outermost first.

    Who creates the log in a folder owns it: two runs that begin in the same moment cannot both.
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
    """Remove what a start that failed has left, and nothing else."""
    ours = (LOG, "run.json", "split.json", "thumbnails.json", *(f"trials.sqlite3{end}" for end in ("", "-wal", "-shm")))
    for name in ours:
        with contextlib.suppress(OSError):
            (path / name).unlink()
    for folder in [*(path / name for name in ("models", "predictions", "thumbnails")), *reversed(created)]:
        with contextlib.suppress(OSError):  # it is not there, or not empty: somebody else's
            folder.rmdir()


def _now() -> str:
    return f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"


# -- a run that is there


@contextlib.contextmanager
def reopen(run: Run) -> Iterator[RunFolder]:
    """Open the folder of a run that has ended, so that more can be recorded of it, and close it at the end.

    Raises:
        RunFolderError: It cannot be read any more, or not be written.
    """
    file = _read_run(run.path)
    if not os.access(run.path, os.W_OK):
        raise errors.RunFolderError(f"{run.path}: cannot be written")
    storage = optuna_storage.open_storage(optuna_storage.storage_url(run.path, file.config))
    folder = RunFolder(run.path, run, file.prefix, storage)
    folder.begun = True
    try:
        with _logging(run.path):
            yield folder
    finally:
        folder.close()


def load(path: Path) -> Run:
    """Read a run folder.

    Raises:
        RunFolderError: It is no run folder, is damaged, or was written by a newer version.
    """
    file = _read_run(path)
    run = Run(path=path, studies=(), **file.header())
    studies = optuna_storage.read_studies(run, file.prefix)
    return replace(run, config=_without_password(run.config), studies=studies)  # older versions wrote the password


def summaries(folder: Path = REPORTS) -> list[Summary]:
    """Every run below a folder, the newest first and what cannot be read last; of each, only `run.json` is read."""

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
    try:
        return from_data(RunRecord, upgraded(json.loads(file.read_text(encoding="utf-8")), UPGRADES))
    except (FileNotFoundError, NotADirectoryError):
        raise errors.RunFolderError(f"{path}: not a run folder, there is no run.json") from None
    except errors.NewerSchemaError as error:
        raise errors.RunFolderError(f"{file}: {error}") from None
    except (OSError, ValueError, KeyError, TypeError, AttributeError, errors.ConfigError) as error:
        raise errors.RunFolderError(f"{file}: damaged, {error}") from error


def _write_run(run: Run, prefix: str) -> None:
    ranking = run.ranking()
    row = leaderboard_row(ranking[0]) if ranking else {}
    content = RunRecord(
        prefix=prefix,
        trials=Counter(trial.state.value for trial in run.trials if not trial.duplicate_of),
        best=Leader(**{name.name: row[name.name] for name in fields(Leader)}) if row else None,
        **run.header(),
    )
    data = {"schema_version": SCHEMA_VERSION, **to_data(content)}
    write_text(run.path / "run.json", json.dumps(data, indent=1) + "\n")
