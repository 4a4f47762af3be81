"""The Optuna storage of a run: open it, and read the records of the trials."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from bench.config import RunConfig
from bench.engines import end_trial
from bench.errors import RunFolderError
from bench.records import WAITING, Run, Study, Trial, from_data, study_name, to_data
from bench.runs import upgrades
from bench.text import MASK, masked_url

STORAGE = "BENCH_STORAGE"
"""Environment variable with the URL of a storage with password, since run folders do not record passwords."""


def sqlite_url(path: Path) -> str:
    """URL of the storage in a run folder."""
    return f"sqlite:///{(path / 'trials.sqlite3').absolute()}"


def storage_url(path: Path, config: RunConfig) -> str:
    """URL of the storage of a run's trials; one with a password is taken from the environment variable `STORAGE`.

    Raises:
        RunFolderError: The file is missing in the folder, or the password is unknown.
    """
    if MASK in config.storage:
        url = os.environ.get(STORAGE, "")
        if masked_url(url) != config.storage:
            raise RunFolderError(
                f"{path}: its trials are in {config.storage}, and passwords are not recorded; set {STORAGE} to it "
                "with the password"
            )
        return url
    if config.storage:
        return config.storage
    if not (path / "trials.sqlite3").exists():
        raise RunFolderError(f"{path}: trials.sqlite3 is missing, the file of the trials")
    return sqlite_url(path)


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
        storage = optuna.storages.RDBStorage(url, engine_kwargs={"connect_args": {"timeout": 60}} if sqlite else None)
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


def read_studies(run: Run, prefix: str) -> tuple[Study, ...]:
    """Read the studies of a run, ordered by engine and family, with every trial's record.

    Raises:
        RunFolderError: The storage cannot be opened, or is damaged.
    """
    from sqlalchemy.exc import SQLAlchemyError

    url = storage_url(run.path, run.config)
    storage = open_storage(url)
    try:
        return _read(storage, run, prefix)
    except (KeyError, TypeError, ValueError, AttributeError, SQLAlchemyError) as error:
        reason = " ".join(str(error).split())[:200]
        raise RunFolderError(f"storage {masked_url(url)}: damaged, {reason}") from error
    finally:
        close_storage(storage)


def _read(storage: Any, run: Run, prefix: str) -> tuple[Study, ...]:
    studies = []
    for engine in run.config.engines:
        for family in run.families:
            try:
                study_id = storage.get_study_id_from_name(study_name(engine, family.name, prefix))
            except KeyError:  # not yet started
                continue
            attributes = storage.get_study_user_attrs(study_id)
            trials = storage.get_all_trials(study_id, deepcopy=False)
            studies.append(
                Study(
                    family=family.name,
                    engine=engine,
                    trials=tuple(_trial(frozen, family.name, engine, attributes) for frozen in trials),
                    exhausted=bool(attributes.get("exhausted")),
                    dropped=attributes.get("dropped", ""),
                    dropped_s=attributes.get("dropped_s"),
                    importance=attributes.get("importance", {}),
                )
            )
    return tuple(studies)


def _trial(frozen: Any, family: str, engine: str, of_study: Mapping[str, Any]) -> Trial:
    data = of_study.get(f"trial/{frozen.number}") or frozen.user_attrs.get("record")
    if data is None:
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
            trial = from_data(Trial, upgrades.trial_from_2(data)) if data else None
            if trial and trial.finished_s is not None and not trial.interrupted:
                if not frozen.state.is_finished():
                    end_trial(study, frozen.number, trial.state, trial.value)
            elif trial or not frozen.state.is_finished():
                trial_id = storage.get_trial_id_from_study_id_trial_number(study_id, frozen.number)
                built = trial is not None and trial.work is not None
                _set_waiting(storage, study_id, trial_id, frozen.number, built)
                if trial:
                    storage.set_trial_user_attr(trial_id, "record", to_data(_unfinished(trial)))


def _unfinished(trial: Trial) -> Trial:
    """A trial's record without its results."""
    names = "family engine number params origin started_s weights work seed max_epochs fitted".split()
    return Trial(order=0, state=WAITING, **{name: getattr(trial, name) for name in names})


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
    database = path / "trials.sqlite3"
    if database.exists():
        with contextlib.suppress(sqlite3.Error), contextlib.closing(sqlite3.connect(database)) as connection:
            connection.execute("PRAGMA journal_mode=DELETE")
