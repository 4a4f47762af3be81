"""A run folder: written by the driver while the run goes on, read by everyone else.

    run.json          schema version, configuration, environment, families, status
    split.json        the common split
    trials.sqlite3    Optuna storage: every trial of every engine (unless `--storage` names another)
    predictions/      class probabilities of the test pictures, one .npz a family
    models/           the best model of every family, .keras
    thumbnails/       small JPEGs of the pictures that the page shows; thumbnails.json says which they are
    leaderboard.csv   the board as data
    report.html       the page

A trial's figures are user attributes of its Optuna trial: `origin`, `validation`, `folds`, `test`, `repeats`,
`over_seeds`, `cost`, `history`, `failure`, `note`; the same names as in `records.Trial`.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import re
import shutil
import sqlite3
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import bench
from bench import errors
from bench.cache.files import write_text
from bench.config import RunConfig
from bench.records import (
    RUNNING,
    Cost,
    Epoch,
    Failure,
    FamilyInfo,
    Metrics,
    OverSeeds,
    PictureSizes,
    Prefix,
    Repeat,
    Run,
    SplitInfo,
    Study,
    Summary,
    Trial,
    from_dict,
    leaderboard_row,
    study_name,
)
from bench.runs import environment, predictions

SCHEMA_VERSION = 1
REPORTS = Path("reports")


class RunFolder:
    """A run folder that is being written.

    Attributes:
        path: The folder.
        storage: The Optuna storage: answers from memory, and writes trials when `write_trials` is called.
        prefix: Stands before the names of its studies where the storage is shared with other runs.
        run: The run as it was when `snapshot` was last called.
    """

    def __init__(self, path: Path, run: Run, storage: Any, prefix: str) -> None:
        self.path, self.storage, self.prefix = path, storage, prefix
        self.run = run
        self._began = time.monotonic() - run.elapsed_s

    def predictions(self, family: str, repeat: int = 0) -> Path:
        """Where a family's probabilities on the test pictures are kept (see `predictions.path`)."""
        return predictions.path(self.path, family, repeat)

    def elapsed_s(self) -> float:
        """Monotonic seconds since the run began, without those in which its folder was closed."""
        return time.monotonic() - self._began

    def note(self, text: str) -> None:
        """Adds something that a reader of the whole run should know."""
        if text not in self.run.notes:
            self.run = replace(self.run, notes=(*self.run.notes, text))

    def family(self, name: str, **changes: Any) -> None:
        """Changes what is recorded of a family."""
        families = tuple(replace(each, **changes) if each.name == name else each for each in self.run.families)
        self.run = replace(self.run, families=families)

    def attach(self, trial: Any, **figures: Any) -> None:
        """Writes figures of a trial (an `optuna.Trial` or its id in the storage) into the storage."""
        trial_id = trial if isinstance(trial, int) else trial._trial_id
        for name, value in figures.items():
            self.storage.set_trial_user_attr(trial_id, name, _as_read(value))

    def attach_to(self, chosen: Trial, **figures: Any) -> None:
        """Writes figures of a finished trial. Optuna closes finished trials, so they go to its study's attributes."""
        study_id = self.storage.get_study_id_from_name(study_name(chosen.engine, chosen.family, self.prefix))
        for name, value in figures.items():
            self.storage.set_study_user_attr(study_id, f"{name}/{chosen.number}", _as_read(value))

    def write_trials(self) -> None:
        """Writes the trials that have ended into the database, and now and then those that run."""
        self.storage.write()

    def snapshot(self, status: str = "running") -> Run:
        """Reads every trial and writes `run.json`; gives the run as it is now."""
        studies = _studies(self.storage, self.run, self.prefix)
        self.run = replace(self.run, status=status, elapsed_s=self.elapsed_s(), studies=studies)
        _write_run(self.path, self.run, self.prefix)
        return self.run

    def close(self) -> None:
        """Removes what is only of use while the run goes on, and leaves the storage as a single file."""
        self.storage.write(everything=True)
        for leftover in (self.path / "models").glob(".*"):  # of a process that was killed while it saved
            leftover.unlink(missing_ok=True)
        for folder in ("models", "predictions"):
            with contextlib.suppress(OSError):  # not empty: kept
                (self.path / folder).rmdir()
        self.storage.remove_session()
        database = self.path / "trials.sqlite3"
        if database.exists():
            with contextlib.suppress(sqlite3.Error), contextlib.closing(sqlite3.connect(database)) as connection:
                connection.execute("PRAGMA journal_mode=DELETE")


def check_target(config: RunConfig) -> Path:
    """Where a run's folder will be, before anything is made.

    Raises:
        RunFolderError: The folder that `out` names is in use, or cannot be written.
    """
    path = Path(config.out) if config.out else REPORTS / _default_name(config)
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise errors.RunFolderError(f"out {str(path)!r}: exists and is not an empty folder; name another one")
    above = next(parent for parent in (path, *path.absolute().parents) if parent.exists())
    probe = above / f".bench-write-test-{time.time_ns()}"
    try:
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise errors.RunFolderError(f"out {str(path)!r}: cannot be written, {error.strerror}") from error
    return path


def _default_name(config: RunConfig) -> str:
    data = Path(config.split_file).stem if config.split_file and config.data == RunConfig.data else config.data
    slug = re.sub(r"[^a-z0-9]+", "-", Path(data).name.lower()).strip("-") or "run"
    name = f"{datetime.now(UTC):%Y%m%dT%H%M%S}-{slug[:40]}"
    taken = sum(1 for _ in REPORTS.glob(f"{name}*"))
    return f"{name}-{taken + 1}" if taken else name


@contextlib.contextmanager
def create(
    config: RunConfig,
    path: Path,
    split: SplitInfo,
    write_split: Callable[[Path], None],
    families: Sequence[FamilyInfo],
    command: str = "",
    gpus: Sequence[str] = (),
) -> Iterator[RunFolder]:
    """Makes a run folder and closes it at the end.

    Args:
        config: The run's configuration.
        path: The folder, new or empty (see `check_target`).
        split: The split in numbers.
        write_split: Writes the split's manifest to a path.
        families: What is known of them.
        command: The command line that repeats the run.
        gpus: Names of the GPUs that the workers see.

    Raises:
        RunFolderError: It cannot be written, or the storage cannot be opened; nothing is left behind then.
    """
    existed = path.exists()
    try:
        for folder in (path, path / "models", path / "predictions"):
            folder.mkdir(parents=True, exist_ok=True)
        write_split(path / "split.json")
        storage = _open_storage(config.storage or _sqlite_url(path), create=True)
    except BaseException as error:
        shutil.rmtree(path, ignore_errors=True)
        if existed:
            path.mkdir(exist_ok=True)
        if isinstance(error, OSError):
            raise errors.RunFolderError(f"out {str(path)!r}: cannot be written, {error.strerror}") from error
        raise
    run = Run(
        path=path,
        status=RUNNING.lower(),
        created_utc=f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}",
        config=config,
        environment={**environment.describe(gpus), "bench": bench.__version__},
        split=split,
        families=tuple(families),
        studies=(),
        command=command,
    )
    prefix = f"{path.name}/" if config.storage else ""
    folder_open = RunFolder(path, run, _written_behind(storage), prefix)
    try:
        yield folder_open
    finally:
        folder_open.close()


@contextlib.contextmanager
def reopen(run: Run) -> Iterator[RunFolder]:
    """Opens the folder of a run that has ended, so that more can be recorded of it, and closes it at the end.

    Args:
        run: As `load` gives it.

    Raises:
        RunFolderError: It cannot be read any more, or not be written.
    """
    _, url, prefix = _place(run.path)
    if not os.access(run.path, os.W_OK):
        raise errors.RunFolderError(f"{run.path}: cannot be written")
    storage = _written_behind(_open_storage(url, create=False))
    for study in run.studies:
        storage.read_study(study_name(study.engine, study.family, prefix))
    folder = RunFolder(run.path, run, storage, prefix)
    try:
        yield folder
    finally:
        folder.close()


def load(path: Path) -> Run:
    """Reads a run folder.

    Raises:
        RunFolderError: It is no run folder, is damaged, or was written by a newer version.
    """
    run, url, prefix = _place(path)
    storage = _open_storage(url, create=False)
    try:
        return replace(run, studies=_studies(storage, run, prefix))
    except (KeyError, TypeError, ValueError, AttributeError, _database_error()) as error:
        reason = " ".join(str(error).split())[:200]
        raise errors.RunFolderError(f"storage {_without_password(url)}: damaged, {reason}") from error
    finally:
        storage.remove_session()


def _place(path: Path) -> tuple[Run, str, str]:
    """A run without its trials, the storage that has them, and what stands before the names of its studies there."""
    data = _read_run(path)
    try:
        run = _run(path, data)
        url = run.config.storage or _sqlite_url(path)
        prefix = str(data["prefix"])
    except (KeyError, TypeError, ValueError, AttributeError, errors.ConfigError) as error:
        raise errors.RunFolderError(f"{path / 'run.json'}: damaged, {error!r}") from error
    if url == _sqlite_url(path) and not (path / "trials.sqlite3").exists():
        raise errors.RunFolderError(f"{path}: trials.sqlite3 is missing; it holds the trials")
    return run, url, prefix


def _run(path: Path, data: Mapping[str, Any]) -> Run:
    return Run(
        path=path,
        status=str(data["status"]),
        created_utc=str(data["created_utc"]),
        config=RunConfig.from_dict(data["config"]),
        environment=dict(data["environment"]),
        split=_split(data["split"]),
        families=tuple(from_dict(FamilyInfo, each) for each in data["families"]),
        studies=(),
        command=str(data["command"]),
        elapsed_s=float(data["elapsed_s"]),
        notes=tuple(map(str, data["notes"])),
    )


def _split(data: Mapping[str, Any]) -> SplitInfo:
    lists = {key: tuple(value) for key, value in data.items() if isinstance(value, list)}
    groups = {key: tuple(map(tuple, data.get(key, ()))) for key in ("alike", "contradicting")}
    sizes = PictureSizes.from_dict(data["sizes"]) if data.get("sizes") else None
    return from_dict(SplitInfo, {**data, **lists, **groups, "sizes": sizes})


def find_runs(folder: Path = REPORTS) -> list[Path]:
    """Run folders below a folder, newest first."""
    if not folder.is_dir():
        return []
    return sorted((path.parent for path in folder.glob("*/run.json")), reverse=True)


def summaries(folder: Path = REPORTS) -> list[Summary]:
    """Every run below a folder, the newest first and what cannot be read last; of each, only `run.json` is read."""
    return sorted(map(_summary, find_runs(folder)), key=lambda each: (each.created_utc, each.path.name), reverse=True)


def _summary(path: Path) -> Summary:
    try:
        data = _read_run(path)
        best = data.get("best") or {}
        return Summary(
            path,
            status=str(data["status"]),
            created_utc=str(data["created_utc"]),
            data=str(data["split"]["source"]),
            families=tuple(str(family["name"]) for family in data["families"]),
            engines=tuple(map(str, data["config"]["engines"])),
            trials={str(state): int(n) for state, n in (data.get("trials") or {}).items()},
            best=str(best.get("family", "")),
            weights=str(best.get("weights", "")),
            test_accuracy=_share(best.get("test_accuracy")),
            test_accuracy_low=_share(best.get("test_accuracy_low")),
            test_accuracy_high=_share(best.get("test_accuracy_high")),
            val_accuracy=_share(best.get("val_accuracy")),
            elapsed_s=float(data["elapsed_s"]),
        )
    except errors.RunFolderError as error:
        return Summary(path, problem=str(error))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        return Summary(path, problem=f"{path / 'run.json'}: damaged, {error!r}")


def _share(value: Any) -> float | None:
    return None if value is None else float(value)


def _read_run(path: Path) -> dict[str, Any]:
    file = path / "run.json"
    try:
        data = json.loads(file.read_text(encoding="utf-8"))
        version = int(data["schema_version"])
    except (FileNotFoundError, NotADirectoryError):
        raise errors.RunFolderError(f"{path}: not a run folder, there is no run.json") from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise errors.RunFolderError(f"{file}: damaged, {error}") from error
    if version > SCHEMA_VERSION:
        raise errors.RunFolderError(
            f"{file}: schema version {version}, this bench {bench.__version__} knows up to {SCHEMA_VERSION}; "
            "update bench"
        )
    result: dict[str, Any] = data
    return result


def _write_run(path: Path, run: Run, prefix: str) -> None:
    data = {
        "schema_version": SCHEMA_VERSION,
        "status": run.status,
        "created_utc": run.created_utc,
        "command": run.command,
        "elapsed_s": run.elapsed_s,
        "config": run.config.to_dict(),
        "environment": run.environment,
        "split": asdict(run.split),
        "families": [asdict(family) for family in run.families],
        "notes": run.notes,
        "prefix": prefix,
        **_account(run),
    }
    write_text(path / "run.json", json.dumps(data, indent=1, default=str) + "\n")


def _account(run: Run) -> dict[str, Any]:
    """What a list of runs tells of the trials, so that it need not open the storage: see `records.Summary`."""
    ranking = run.ranking()
    states = Counter(trial.state for trial in run.trials if not trial.duplicate_of)
    return {"trials": states, "best": leaderboard_row(ranking[0]) if ranking else None}


# -- the Optuna storage


def _sqlite_url(path: Path) -> str:
    return f"sqlite:///{(path / 'trials.sqlite3').absolute()}"


def _open_storage(url: str, create: bool) -> Any:
    import optuna
    import sqlalchemy
    from sqlalchemy.exc import SQLAlchemyError

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    sqlite = url.startswith("sqlite")
    try:
        storage = optuna.storages.RDBStorage(url, engine_kwargs={"connect_args": {"timeout": 60}} if sqlite else None)
        if sqlite and create:
            sqlalchemy.event.listen(storage.engine, "connect", _commit_without_waiting)
            storage.engine.dispose()  # the connections that were opened before
    except ImportError as error:
        raise errors.RunFolderError(
            f"storage {_without_password(url)}: its driver is not installed; pip install "
            "'image-model-bench[postgresql]' or 'image-model-bench[mysql]' (with a URL mysql+pymysql://…)"
        ) from error
    except (SQLAlchemyError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise errors.RunFolderError(f"storage {_without_password(url)}: cannot be opened, {reason}") from error
    return storage


def _database_error() -> type[Exception]:
    """What reading the storage raises where the database is damaged; SQLAlchemy is heavy, so it is imported late."""
    from sqlalchemy.exc import SQLAlchemyError

    return SQLAlchemyError


def _commit_without_waiting(connection: sqlite3.Connection, record: object) -> None:
    """A commit then waits for no disk: a crash of the program loses none, one of the machine the last ones at most.

    The file stays whole either way (https://sqlite.org/pragma.html#pragma_synchronous).
    """
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=NORMAL")


def _written_behind(storage: Any) -> Any:
    from bench.engines.storage import WriteBehindStorage

    return WriteBehindStorage(storage)


def _as_read(value: Any) -> Any:
    """What whoever reads the storage will find there: tuples are lists in JSON."""
    return json.loads(json.dumps(value))


def _without_password(url: str) -> str:
    return re.sub(r"(://[^:/@]*):[^@]*@", r"\1:***@", url)


def _studies(storage: Any, run: Run, prefix: str) -> tuple[Study, ...]:
    studies = []
    for engine in run.config.engines:
        for family in run.families:
            try:
                study_id = storage.get_study_id_from_name(study_name(engine, family.name, prefix))
            except KeyError:  # not begun yet
                continue
            about = storage.get_study_user_attrs(study_id)
            trials = storage.get_all_trials(study_id, deepcopy=False)
            studies.append(
                Study(
                    family.name,
                    engine,
                    tuple(_trial(each, family.name, engine, about) for each in trials),
                    exhausted=bool(about.get("exhausted")),
                )
            )
    return tuple(studies)


def _trial(frozen: Any, family: str, engine: str, about: Mapping[str, Any]) -> Trial:
    """A trial of the storage as a record; `about` are its study's attributes, where the test figures are."""
    figures = frozen.user_attrs
    origin = dict(figures.get("origin", {}))
    test, over_seeds = (about.get(f"{figure}/{frozen.number}") for figure in ("test", "over_seeds"))
    best_epochs = figures.get("ending", {}).get("best_epochs") or ()
    if isinstance(best_epochs, int):  # as it was written while training had one phase
        best_epochs = (best_epochs,)
    return from_dict(
        Trial,
        {
            **origin,
            **figures.get("ending", {}),
            "family": family,
            "engine": engine,
            "number": frozen.number,
            "state": frozen.state.name,
            "params": figures.get("params", frozen.params),
            "value": frozen.value if frozen.state.is_finished() else None,
            "validation": _metrics(figures.get("validation")),
            "test": _metrics(test),
            "folds": tuple(from_dict(Metrics, each) for each in figures.get("folds", ())),
            "repeats": tuple(map(Repeat.from_dict, about.get(f"repeats/{frozen.number}", ()), itertools.count(1))),
            "over_seeds": from_dict(OverSeeds, over_seeds) if over_seeds else None,
            "cost": from_dict(Cost, figures["cost"]) if "cost" in figures else None,
            "history": tuple(from_dict(Epoch, each) for each in figures.get("history", ())),
            "prefixes": tuple(Prefix.from_dict(each) for each in figures.get("prefixes", ())),
            "best_epochs": tuple(best_epochs),
            "intermediate_values": dict(frozen.intermediate_values),
            "failure": from_dict(Failure, figures["failure"]) if "failure" in figures else None,
        },
    )


def _metrics(data: Mapping[str, Any] | None) -> Metrics | None:
    return from_dict(Metrics, data) if data else None
