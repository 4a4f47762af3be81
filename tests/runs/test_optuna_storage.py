"""Trials are read from the database in the run folder, without writing, and from no place that only a folder names."""

from __future__ import annotations

import json
import shutil
import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
import sqlalchemy
import sqlalchemy.orm

import bench
from bench import Budget, RunConfig, runner
from bench.cli import parser
from bench.errors import RunFolderError
from bench.runs import optuna_storage
from bench.testing import FakePool

pytestmark = [pytest.mark.slow, pytest.mark.storage]


@pytest.fixture
def config(space, tmp_path: Path) -> RunConfig:
    return RunConfig(images=24, spaces=(space("net"),), budget=Budget(trials=4), out=str(tmp_path / "run"))


def start(config: RunConfig) -> bench.Run:
    pool = FakePool(lambda hp, family: hp.Int("layers", 1, 9), lambda family, params: 0.5 + params["layers"] / 20)
    return runner.run(config, pool=pool)


def contents(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.rglob("*") if file.is_file()}


@pytest.mark.parametrize("killed", [False, True])
def test_reading_a_run_changes_and_adds_no_file(config, tmp_path, killed):
    start(config)
    run = tmp_path / "run"
    (run / "results.json").unlink()
    with closing(sqlite3.connect(run / "trials.sqlite3")) as connection:
        if killed:
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("CREATE TABLE more (number)")
            run = Path(shutil.copytree(run, tmp_path / "killed"))
    before = contents(run)
    assert {"trials.sqlite3-wal"} <= before.keys() or not killed
    for command in (["check", run], ["baseline", run, "--out", tmp_path / "b.json"], ["history", tmp_path]):
        parser.main([str(word) for word in command])
    assert len(bench.load(run).trials) == 4
    after = contents(run)
    after.pop("trials.sqlite3-shm", None), before.pop("trials.sqlite3-shm", None)  # the index of the log
    assert after == before


@pytest.mark.parametrize("exists", [False, True])
def test_a_run_folder_cannot_choose_a_storage_the_user_names_it(config, tmp_path, capsys, exists):
    run, stranger = start(config).path, tmp_path / "stranger.sqlite3"
    (run / "results.json").unlink()
    url = f"sqlite:///{stranger}"
    if exists:
        shutil.move(run / "trials.sqlite3", stranger)
    before = contents(tmp_path)
    record = json.loads((run / "run.json").read_text())
    record["config"]["storage"] = url
    (run / "run.json").write_text(json.dumps(record))
    for command in (["report"], ["check"], ["baseline"], ["export"]):
        words = [*command, str(run), *(["net"] if command == ["export"] else [])]
        assert parser.main(words) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert f"its trials are in {url}, which is opened only if named: by --storage" in line
    assert parser.main(["report", str(run), "--storage", url.replace("stranger", "other")]) == 2
    assert {**contents(tmp_path), "run.json": b""} == {**before, "run.json": b""}
    if exists:
        assert parser.main(["report", str(run), "--storage", url]) == 0


def test_a_database_without_the_trials_that_run_json_counts_is_refused(config, tmp_path, capsys):
    run = start(config).path
    database = run / "trials.sqlite3"
    whole = database.read_bytes()
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute("DELETE FROM trials WHERE number = 3")
    for content, reason in ((database.read_bytes(), "run.json counts 4"), (b"", "damaged")):
        database.write_bytes(content)
        assert parser.main(["report", str(run)]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert "trials.sqlite3: " in line
        assert reason in line
        assert database.read_bytes() == content
    database.write_bytes(whole)
    assert parser.main(["report", str(run)]) == 0


def test_ended_trials_do_not_need_the_log_of_the_database(config, tmp_path):
    storage = optuna_storage.open_storage(optuna_storage.sqlite_url(tmp_path), exclusive=True)
    study = storage.create_new_study([], "study")
    optuna_storage.checkpoint(storage)
    shutil.copy(tmp_path / "trials.sqlite3", tmp_path / "copy.sqlite3")
    optuna_storage.close_storage(storage)
    with closing(sqlite3.connect(tmp_path / "copy.sqlite3")) as connection:
        assert connection.execute("SELECT study_id, study_name FROM studies").fetchall() == [(study, "study")]


def test_a_record_with_a_changed_digit_is_refused(config, capsys):
    run = start(config).path
    with closing(sqlite3.connect(run / "trials.sqlite3")) as connection, connection:
        change = "UPDATE trial_user_attributes SET value_json = replace(value_json, '\"order\": 2', '\"order\": 3')"
        assert connection.execute(change).rowcount
    assert parser.main(["report", str(run)]) == 2
    assert "does not match its checksum" in capsys.readouterr().err


def test_an_answer_that_is_lost_after_the_commit_costs_no_trial(config, monkeypatch):
    whole, commit, heard = start(config), sqlalchemy.orm.Session.commit, [True]

    def commit_unheard(session):
        is_of_trial = any(type(row).__name__ == "TrialModel" for row in (*session.new, *session.dirty))
        commit(session)
        if is_of_trial:  # a trial begins or ends: every second answer is lost
            heard.append(not heard[-1])
            if not heard[-1]:
                raise sqlalchemy.exc.OperationalError("COMMIT", {}, Exception("the connection is lost"))

    monkeypatch.setattr(sqlalchemy.orm.Session, "commit", commit_unheard)
    monkeypatch.setattr(optuna_storage, "pause", lambda seconds: None)
    monkeypatch.setattr("optuna.storages._rdb.storage.time.sleep", lambda seconds: None)  # of Optuna's own attempts
    run = start(replace(config, out=f"{config.out}-lost"))
    monkeypatch.undo()
    assert heard.count(False) >= 4
    for again in (run, bench.load(run.path)):
        assert [(dict(trial.params), trial.value) for trial in again.trials] == [
            (dict(trial.params), trial.value) for trial in whole.trials
        ]
        assert (again.status, again.notes) == (whole.status, whole.notes)


@pytest.mark.parametrize(
    ("table", "faults"),
    [("studies", 99), ("trial_params", 2), ("trial_user_attributes", 2), ("trial_user_attributes", 99)],
)
def test_a_database_that_is_locked_or_full_for_a_while_is_asked_again(config, monkeypatch, table, faults):
    left, pauses = [faults], []
    opened = optuna_storage.open_storage

    def open_storage(url, exclusive=False):
        storage = opened(url, exclusive)

        def fail(connection, cursor, statement, *_):
            if statement.startswith(f"INSERT INTO {table} ") and left[0]:
                left[0] -= 1
                raise sqlalchemy.exc.OperationalError(statement, {}, Exception("database or disk is full"))

        sqlalchemy.event.listen(storage.engine, "before_cursor_execute", fail)
        return storage

    monkeypatch.setattr(optuna_storage, "open_storage", open_storage)
    monkeypatch.setattr(optuna_storage, "pause", pauses.append)
    if faults == 2:
        assert len(start(config).trials) == 4
        assert tuple(pauses) == optuna_storage.PAUSES_S[:2]
        assert "database or disk is full" in (Path(config.out) / "log.txt").read_text()
    else:
        with pytest.raises(RunFolderError, match=r"the storage of the trials failed for long: .*disk is full"):
            start(config)
        assert tuple(pauses[: len(optuna_storage.PAUSES_S)]) == optuna_storage.PAUSES_S
