"""Runs that every version wrote are read and drawn, for good; damaged ones are refused, or give a page with less."""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

import bench
from bench.cli import parser
from bench.runs.store import SCHEMA_VERSION

pytestmark = pytest.mark.slow

RUNS = Path(__file__).parent / "runs"
GOLDEN = sorted(str(file.parent.relative_to(RUNS)) for file in RUNS.glob("v*/*/run.json"))
LATEST = f"v{SCHEMA_VERSION}/engines"
PARTS = {"data:image/jpeg;base64,", "Confusion matrix of"}
"""What shows that pictures and predictions are on a page."""


@pytest.fixture
def copied(tmp_path: Path) -> Callable[[str], Path]:
    """Copies a golden run, since drawing a page writes into its folder."""
    return lambda name: shutil.copytree(RUNS / name, tmp_path / name)


def words(folder: Path) -> str:
    """The page of a run, drawn from its folder as `bench report` does it."""
    assert parser.main(["report", str(folder)]) == 0
    return (folder / "report.html").read_text(encoding="utf-8").replace("\u00a0", " ").replace("\u202f", " ")


def test_every_schema_version_has_golden_runs_and_they_are_small() -> None:
    assert {name.split("/")[0] for name in GOLDEN} == {f"v{version}" for version in range(1, SCHEMA_VERSION + 1)}
    for version in RUNS.glob("v*"):
        assert sum(file.stat().st_size for file in version.rglob("*") if file.is_file()) < 300_000


@pytest.mark.parametrize("name", GOLDEN)
def test_a_golden_run_is_drawn(name: str, copied: Callable[[str], Path]) -> None:
    folder = copied(name)
    run, shown = bench.load(folder), words(folder)
    best = run.ranking()[0]
    assert best.test_accuracy is not None
    assert f"{100 * best.test_accuracy:.1f} % test accuracy" in shown
    assert shown.count('<tr id="trial-') == len(run.trials)
    assert "data:image/jpeg;base64," in shown
    for family in run.families:
        assert f"<bdi>{family.name}</bdi>" in shown
    for text in (run.split.sha256, run.command, best.engine):
        assert text in shown


def test_what_was_written_in_the_first_version_is_still_read(copied: Callable[[str], Path]) -> None:
    engines, folds = (bench.load(copied(f"v1/{name}")) for name in ("engines", "folds"))
    states = Counter(trial.state for trial in engines.trials)
    assert set(states) == {"COMPLETE", "FAIL"}
    assert [trial.family for trial in engines.ranking()] == ["dummy", "brittle", "cnn"]
    assert {study.engine for study in engines.studies} == {"optuna:tpe", "keras-tuner:random"}
    assert {trial.family: len(trial.folds) for trial in folds.trials} == {"dummy": 3, "cnn": 3}
    assert {trial.family: len(trial.repeats) for trial in folds.ranking()} == {"dummy": 2, "cnn": 2}


def test_the_origin_of_a_trial_is_read_in_every_version(copied: Callable[[str], Path]) -> None:
    for version in range(1, SCHEMA_VERSION + 1):
        trials = bench.load(copied(f"v{version}/engines")).trials
        assert {trial.origin for trial in trials} == {"known", "proposed"}
        first = {trial.family: trial.origin for trial in reversed(trials)}
        assert first == {"dummy": "known", "cnn": "known", "brittle": "proposed"}


# -- damaged folders


def cut_the_database(folder: Path) -> None:
    file = folder / "trials.sqlite3"
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def remove_the_database(folder: Path) -> None:
    (folder / "trials.sqlite3").unlink()


def break_a_trial(folder: Path) -> None:
    with closing(sqlite3.connect(folder / "trials.sqlite3")) as connection, connection:
        connection.execute("UPDATE trial_user_attributes SET value_json = '{' WHERE key IN ('cost', 'record')")


def cut_the_json(folder: Path) -> None:
    file = folder / "run.json"
    file.write_text(file.read_text(encoding="utf-8")[:500], encoding="utf-8")


def lose_the_split(folder: Path) -> None:
    change(folder, lambda data: data.pop("split"))


def come_from_the_future(folder: Path) -> None:
    change(folder, lambda data: data.update(schema_version=SCHEMA_VERSION + 1))


def change(folder: Path, changed: Callable[[dict[str, object]], object]) -> None:
    file = folder / "run.json"
    data = json.loads(file.read_text(encoding="utf-8"))
    changed(data)
    file.write_text(json.dumps(data), encoding="utf-8")


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (cut_the_database, "trials.sqlite3: damaged"),
        (remove_the_database, "trials.sqlite3: is missing"),
        (break_a_trial, "trials.sqlite3: damaged"),
        (cut_the_json, "run.json: damaged"),
        (lose_the_split, "run.json: damaged, Object missing required field `split`"),
        (come_from_the_future, f"schema version {SCHEMA_VERSION + 1}"),
    ],
)
def test_a_damaged_run_is_refused_in_a_line(
    damage: Callable[[Path], None], said: str, copied: Callable[[str], Path], capsys: pytest.CaptureFixture[str]
) -> None:
    folder = copied(LATEST)
    damage(folder)
    assert parser.main(["report", str(folder)]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1
    assert not (folder / "report.html").exists()


def lose_the_predictions(folder: Path) -> None:
    shutil.rmtree(folder / "predictions")


def cut_the_predictions(folder: Path) -> None:
    for file in (folder / "predictions").iterdir():
        file.write_bytes(file.read_bytes()[:200])


def lose_the_thumbnails(folder: Path) -> None:
    shutil.rmtree(folder / "thumbnails")


def cut_the_list_of_thumbnails(folder: Path) -> None:
    file = folder / "thumbnails.json"
    file.write_text(file.read_text(encoding="utf-8")[:300], encoding="utf-8")


def test_a_whole_run_has_pictures_and_a_confusion_matrix(copied: Callable[[str], Path]) -> None:
    shown = words(copied(LATEST))
    assert {part for part in PARTS if part in shown} == PARTS


@pytest.mark.parametrize(
    ("damage", "kept"),
    [
        (lose_the_predictions, "data:image/jpeg;base64,"),
        (cut_the_predictions, "data:image/jpeg;base64,"),
        (lose_the_thumbnails, "Confusion matrix of"),
        (cut_the_list_of_thumbnails, "Confusion matrix of"),
    ],
)
def test_a_run_that_lacks_a_part_has_a_page_with_less(
    damage: Callable[[Path], None], kept: str, copied: Callable[[str], Path]
) -> None:
    folder = copied(LATEST)
    damage(folder)
    shown = words(folder)
    assert {part for part in PARTS if part in shown} == {kept}
