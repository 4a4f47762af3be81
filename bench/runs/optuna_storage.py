"""The Optuna storage of a run: open it, and read the records of the trials."""

from __future__ import annotations

import contextlib
import logging
import os
import re
import sqlite3
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from functools import cache, wraps
from pathlib import Path
from types import FunctionType
from typing import Any, TypeVar, cast

from bench.engines import end_trial
from bench.errors import RunFolderError, one_line, reading
from bench.records import (
    COMPLETE,
    FAIL,
    PRUNED,
    WAITING,
    Run,
    RunRecord,
    Study,
    Trial,
    from_data,
    sealed,
    state_counts,
    study_name,
    to_data,
    unsealed,
)
from bench.runs import upgrades
from bench.text import masked_url

T = TypeVar("T")

_logger = logging.getLogger(__name__)

STORAGE = "BENCH_STORAGE"
"""Environment variable with the URL of a storage, instead of `--storage`."""

PAUSES_S = (0.1, 0.5, 2.0, 5.0, 15.0, 30.0)
"""Seconds before each new attempt after a fault of the database."""

pause = time.sleep

FACTS = ("exhausted", "dropped", "dropped_s", "importance")
"""Fields of a study that are attributes of Optuna's."""

FILE = "trials.sqlite3"
"""Name of the storage in a run folder."""


def sqlite_url(path: Path) -> str:
    """URL of the storage in a run folder."""
    return f"sqlite:///{(path / FILE).absolute()}"


def shared_url(path: Path, recorded: str, url: str = "") -> str:
    """URL of a run's shared storage, which the user names by `url` or `STORAGE`; "" if its trials are in its folder.

    Raises:
        RunFolderError: The user names none, or another one than the run folder, which may come from elsewhere.
    """
    url, recorded = url or os.environ.get(STORAGE, ""), masked_url(recorded)
    if recorded and masked_url(url) != recorded:
        raise RunFolderError(
            f"{path}: its trials are in {recorded}, which is opened only if named: by --storage or {STORAGE}, with the "
            "password"
        )
    return url if recorded else ""


def open_storage(url: str, exclusive: bool = False) -> Any:
    """Open an Optuna storage by its URL; `exclusive` means that no other process writes it.

    Raises:
        RunFolderError: It cannot be opened, or its driver is not installed.
    """
    import optuna
    import sqlalchemy
    from sqlalchemy.exc import SQLAlchemyError

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    sqlite = url.startswith("sqlite")
    try:
        storage = _patient_class()(url, engine_kwargs={"connect_args": {"timeout": 60}} if sqlite else None)
        if sqlite and exclusive:
            sqlalchemy.event.listen(storage.engine, "connect", _commit_without_waiting)
            storage.engine.dispose()  # close the connections that are already open
    except (ImportError, SQLAlchemyError, RuntimeError) as error:
        reason = " ".join(str(error).replace(url, masked_url(url)).split())[:200]
        if isinstance(error, ImportError) and not sqlite:
            reason += "; pip install '.[postgresql]' or '.[mysql]' (with a URL mysql+pymysql://…)"
        elif url.startswith("postgres://"):
            reason += "; the scheme is postgresql://"
        raise RunFolderError(f"storage {masked_url(url)}: cannot be opened, {reason}") from error
    return storage


@cache
def _patient_class() -> Any:
    """Optuna's storage, whose calls are repeated while the database is locked, full or not connected."""
    from optuna.storages import RDBStorage

    names = [name for name, value in vars(RDBStorage).items() if isinstance(value, FunctionType)]
    calls = {name: _patient(getattr(RDBStorage, name)) for name in names if re.match("_?(get|set|create)_", name)}
    return type("_PatientStorage", (RDBStorage,), calls)


def _patient(call: Callable[..., T]) -> Callable[..., T]:
    """Repeat a call of a storage after each of `PAUSES_S`, if it failed by the database; then RunFolderError.

    A connection may be lost after the database has committed: then the repeated end of a trial is its second one.
    """

    @wraps(call)
    def patient(storage: Any, *arguments: Any, **keywords: Any) -> T:
        from optuna.exceptions import StorageInternalError, UpdateFinishedTrialError
        from sqlalchemy.exc import OperationalError

        if vars(storage).get("is_patient"):  # a call within a call
            return call(storage, *arguments, **keywords)
        storage.is_patient, repeated = True, False
        try:
            for wait_s in (*PAUSES_S, None):
                try:
                    return call(storage, *arguments, **keywords)
                except UpdateFinishedTrialError:
                    if not repeated:
                        raise
                    return cast(T, True)  # as `set_trial_state_values` returns
                except (StorageInternalError, OperationalError) as error:
                    cause = error.__cause__ or error
                    reason = one_line(getattr(cause, "orig", None) or cause, 200)
                    if wait_s is None:
                        raise RunFolderError(f"the storage of the trials failed for long: {reason}") from error
                    _logger.warning("the storage failed, and is asked again: %s", reason)
                    pause(wait_s)
                    repeated = True
        finally:
            storage.is_patient = False
        raise AssertionError  # the last attempt returns or raises

    return patient


def open_file(path: Path) -> Any:
    """Open the storage in a run folder to read it; nothing is created and nothing written.

    A file without a write-ahead log is opened as immutable, because SQLite would create a log
    (https://sqlite.org/wal.html#read_only_databases).

    Raises:
        RunFolderError: It is missing or damaged.
    """
    import optuna

    file = path / FILE
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    with reading(file):
        if not file.is_file():
            raise RunFolderError(f"{file}: is missing, the file of the trials")
        state = "mode=ro" if file.with_name(f"{FILE}-wal").exists() else "mode=ro&immutable=1"
        uri = f"{file.absolute().as_uri()}?{state}"
        connect = {"creator": lambda: sqlite3.connect(uri, timeout=60, uri=True, check_same_thread=False)}
        return optuna.storages.RDBStorage(f"sqlite:///{FILE}", engine_kwargs=connect, skip_table_creation=True)


def checkpoint(storage: Any) -> None:
    """Move the committed trials from the write-ahead log into the file itself; only SQLite needs it."""
    if getattr(storage, "url", "").startswith("sqlite"):
        with storage.engine.connect() as connection:
            connection.exec_driver_sql("PRAGMA wal_checkpoint")


def close_storage(storage: Any) -> None:
    storage.remove_session()
    if hasattr(storage, "engine"):
        storage.engine.dispose()


def _commit_without_waiting(connection: sqlite3.Connection, record: object) -> None:
    """Do not wait for the disk at a commit: a crash of the machine, not of the program, may lose the last commits.

    The file stays intact in both cases (https://sqlite.org/pragma.html#pragma_synchronous).
    """
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=NORMAL")


def read_studies(run: Run, record: RunRecord, url: str = "") -> tuple[Study, ...]:
    """Read the studies of a run, ordered by engine and family; `url` is that of a shared storage.

    Raises:
        RunFolderError: The storage cannot be opened, is damaged, or lacks trials that `run.json` counts.
    """
    storage = open_storage(url) if url else open_file(run.path)
    try:
        with reading(f"storage {masked_url(url)}" if url else run.path / FILE):
            studies = studies_in(storage, run, record.prefix)
            counts = state_counts(replace(run, studies=studies).trials)
            for state in (COMPLETE, PRUNED, FAIL):
                if counts[state] < (counted := record.trials.get(state, 0)):
                    raise ValueError(f"has {counts[state]} trials that are {state}, but run.json counts {counted}")
            return studies
    finally:
        close_storage(storage)


def studies_in(storage: Any, run: Run, prefix: str) -> tuple[Study, ...]:
    """Read the studies of a run in an open storage, ordered by engine and family."""
    studies = []
    for engine in run.config.engines:
        for family in run.families:
            try:
                study_id = storage.get_study_id_from_name(study_name(engine, family.name, prefix))
            except KeyError:  # not yet started
                continue
            attributes = storage.get_study_user_attrs(study_id)
            trials = storage.get_all_trials(study_id, deepcopy=False)
            facts = {name: attributes[name] for name in FACTS if name in attributes}
            study = from_data(Study, {"family": family.name, "engine": engine, **facts})
            read = tuple(_trial(frozen, family.name, engine, attributes) for frozen in trials if _has_begun(frozen))
            studies.append(replace(study, trials=read))
    return tuple(studies)


def _has_begun(frozen: Any) -> bool:
    """Return False for a trial that was created when the driver or its connection ended, so that it has no record."""
    return frozen.state.is_finished() or not {"record", "origin"}.isdisjoint(frozen.user_attrs)


def _trial(frozen: Any, family: str, engine: str, of_study: Mapping[str, Any]) -> Trial:
    data = of_study.get(f"trial/{frozen.number}") or frozen.user_attrs.get("record")
    if data is not None:
        data = unsealed(data)
    elif frozen.state.is_finished() and "origin" not in frozen.user_attrs:
        raise ValueError(f"trial {frozen.number} of {family} has no record")
    else:
        data = upgrades.trial_from_1(frozen.number, frozen.user_attrs, of_study)
        data["value"] = frozen.value if frozen.state.is_finished() else None
        data.setdefault("params", frozen.params)
    if not frozen.state.is_finished() or "intermediate_values" not in data:
        data = {**data, "intermediate_values": frozen.intermediate_values}
    names = {"family": family, "engine": engine, "number": frozen.number, "state": frozen.state.name}
    return from_data(Trial, {"order": 0, **upgrades.trial_from_2(data), **names})


def requeue(storage: Any, names: Iterable[str]) -> None:
    """Finish the trials of a stopped run whose records are final; set those in flight or interrupted to WAITING.

    A waiting trial keeps its number, and its values if its model was built; Optuna's `ask` returns it before it begins
    another one. Optuna has no call for that, so it is done in its tables, in one transaction for each trial.

    Args:
        names: Names of the studies.
    """
    import optuna

    for name in names:
        study = optuna.load_study(study_name=name, storage=storage)
        study_id = storage.get_study_id_from_name(name)
        for frozen in study.get_trials(deepcopy=False):
            data = frozen.user_attrs.get("record")
            trial = from_data(Trial, upgrades.trial_from_2(unsealed(data))) if data else None
            if trial and trial.finished_s is not None and not trial.interrupted:
                if not frozen.state.is_finished():
                    end_trial(study, frozen.number, trial.state, trial.value)
            elif trial or not frozen.state.is_finished():
                trial_id = storage.get_trial_id_from_study_id_trial_number(study_id, frozen.number)
                built = trial is not None and trial.work is not None
                _set_waiting(storage, study_id, trial_id, frozen.number, built)
                if trial:
                    storage.set_trial_user_attr(trial_id, "record", sealed(to_data(_unfinished(trial))))


def _unfinished(trial: Trial) -> Trial:
    """A trial's record without its results."""
    names = "family engine number params origin started_s weights work seed max_epochs fitted".split()
    return Trial(order=0, state=WAITING, **{name: getattr(trial, name) for name in names})


@_patient
def _set_waiting(storage: Any, study_id: int, trial_id: int, number: int, built: bool) -> None:
    """Set a trial to WAITING without its results, and without its values if some may be missing."""
    import sqlalchemy

    def table(name: str) -> Any:
        return sqlalchemy.Table(name, sqlalchemy.MetaData(), autoload_with=storage.engine)

    trials, of_study = table("trials"), table("study_user_attributes")
    with storage.engine.begin() as connection:
        for name in ("trial_values", "trial_intermediate_values", *(() if built else ("trial_params",))):
            results = table(name)
            connection.execute(results.delete().where(results.c.trial_id == trial_id))
        of_trial = table("trial_system_attributes")  # those of a sampler stay with the values
        gone = sqlalchemy.literal(not built) | of_trial.c.key.like("completed_rung%")
        connection.execute(of_trial.delete().where((of_trial.c.trial_id == trial_id) & gone))
        amended = (of_study.c.study_id == study_id) & (of_study.c.key == f"trial/{number}")
        connection.execute(of_study.delete().where(amended))
        waiting = {"state": "WAITING", "datetime_start": None, "datetime_complete": None}
        connection.execute(trials.update().where(trials.c.trial_id == trial_id).values(**waiting))


def as_single_file(path: Path) -> None:
    """Turn the SQLite storage of a run folder into a single file, without a write-ahead log."""
    database = path / FILE
    if database.exists():
        with contextlib.suppress(sqlite3.Error), contextlib.closing(sqlite3.connect(database)) as connection:
            connection.execute("PRAGMA journal_mode=DELETE")
