"""Writes a run that a test has made up into a run folder, as the driver would have written it."""

from __future__ import annotations

import contextlib
import json
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from optuna.study import StudyDirection

from bench.records import COMPLETE, Run, Trial, study_name, to_data
from bench.runs import predictions, store, thumbnails
from bench.runs.thumbnails import SIDE, Thumbnail, encoded


def save(run: Run, folder: Path, items: Sequence[Mapping[str, Any]] = ()) -> Run:
    """Writes a run.

    Args:
        run: Its engines must be known ones, and none of its texts may hold a lone surrogate: no database takes it.
        folder: New or empty.
        items: The pictures of its split.

    Returns:
        What is read back from there.
    """
    manifest = {"schema_version": 2, "sha256": run.split.sha256, "classes": run.split.classes, "items": list(items)}

    def write_split(path: Path) -> None:
        path.write_text(json.dumps(manifest), encoding="utf-8")

    with store.create(replace(run.config, out=str(folder))) as made:
        made.begin(run.split, write_split, run.families)
        for study in run.studies:
            name = study_name(study.engine, study.family)
            study_id = made.storage.create_new_study([StudyDirection.MAXIMIZE], name)
            made.storage.set_study_user_attr(study_id, "exhausted", study.exhausted)
            made.storage.set_study_user_attr(study_id, "importance", dict(study.importance))
    _save_trials(folder / "trials.sqlite3", run)
    store._write_run(replace(run, path=folder), prefix="")
    return store.load(folder)


def save_predictions(folder: Path, family: str, sha256: Any, labels: Any, probabilities: Any, repeat: int = 0) -> None:
    """Writes what a family's chosen model says of the test pictures, or what a retraining with another seed does."""
    target = predictions.path(folder, family, repeat)
    target.parent.mkdir(parents=True, exist_ok=True)
    with target.open("wb") as file:
        np.savez_compressed(
            file,
            sha256=np.asarray(sha256),
            labels=np.asarray(labels, np.int64),
            probabilities=np.asarray(probabilities, np.float32),
        )


def save_thumbnails(folder: Path, every: Sequence[Thumbnail], seed: int = 0) -> None:
    """Writes thumbnails of pictures that there are none of: coarse noise, which takes as much as a photograph."""
    thumbnails.write(folder, every)
    coarse = np.random.default_rng(seed).integers(0, 256, (len(every), 10, 10, 3), np.uint8)
    for each, blocks in zip(every, coarse, strict=True):
        target = thumbnails.path(folder, each.sha256)
        target.parent.mkdir(exist_ok=True)
        target.write_bytes(encoded(cv2.resize(blocks, (SIDE, SIDE), interpolation=cv2.INTER_CUBIC)))


def shrink(folder: Path) -> None:
    """Makes the database of a saved run small: its forty tables and indices take a page each at least."""
    with contextlib.closing(sqlite3.connect(folder / "trials.sqlite3", isolation_level=None)) as connection:
        connection.execute("PRAGMA page_size = 512")
        connection.execute("VACUUM")


def _save_trials(database: Path, run: Run) -> None:
    """Writes Optuna's tables in one transaction; Optuna commits each trial by itself, 25 ms a time."""
    with contextlib.closing(sqlite3.connect(database)) as connection, connection:
        studies = dict(connection.execute("SELECT study_name, study_id FROM studies"))
        trials = [trial for study in run.studies for trial in study.trials]
        for trial_id, trial in enumerate(trials, start=1):
            _save_trial(connection, trial_id, studies[trial.study], trial)


def _save_trial(connection: sqlite3.Connection, trial_id: int, study_id: int, trial: Trial) -> None:
    connection.execute(
        "INSERT INTO trials (trial_id, number, study_id, state, datetime_start, datetime_complete) "
        "VALUES (?, ?, ?, ?, ?, ?)",
        (trial_id, trial.number, study_id, trial.state, _at(trial.started_s), _at(trial.finished_s)),
    )
    if trial.state == COMPLETE:
        connection.execute(
            "INSERT INTO trial_values (trial_id, objective, value, value_type) VALUES (?, 0, ?, 'FINITE')",
            (trial_id, trial.value),
        )
    connection.execute(
        "INSERT INTO trial_user_attributes (trial_id, key, value_json) VALUES (?, 'record', ?)",
        (trial_id, json.dumps(to_data(trial))),
    )
    connection.executemany(
        "INSERT INTO trial_intermediate_values (trial_id, step, intermediate_value, intermediate_value_type) "
        "VALUES (?, ?, ?, 'FINITE')",
        [(trial_id, step, value) for step, value in trial.intermediate_values.items()],
    )


def _at(seconds: float | None) -> str | None:
    """A moment of the run, as Optuna writes it."""
    if seconds is None:
        return None
    return f"{datetime(2026, 11, 21, tzinfo=UTC) + timedelta(seconds=seconds):%Y-%m-%d %H:%M:%S.%f}"
