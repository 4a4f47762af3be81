"""Damaged run folders: every command reads or refuses them in one line, and takes no damaged file for a good one.

`BENCH_DAMAGED=800 pytest tests/runs/test_damaged.py` damages 800 folders instead of 60.
"""

from __future__ import annotations

import io
import json
import os
import random
import shutil
import sqlite3
import zipfile
from collections.abc import Iterator
from contextlib import closing, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pytest

from bench.cli import parser
from bench.errors import WorkerError
from bench.records import sealed

CASES = int(os.environ.get("BENCH_DAMAGED", "60"))

GOLDEN = Path(__file__).parents[1] / "report" / "runs" / "v3" / "engines"

COMMANDS = (
    ("report", "reports/run"),
    ("compare", "reports/run", "sound", "--out", "compared.html"),
    ("compare", "sound", "reports/run", "--out", "compared.html"),
    ("check", "reports/run", "--baseline", "baseline.json"),
    ("check", "sound", "--baseline", "reports/run"),
    ("baseline", "reports/run", "--out", "written.json"),
    ("export", "reports/run", "cnn", "--out", "cnn.keras"),
    ("history", "reports", "--all"),
    ("list",),
)
"""Every command that reads a run folder; `reports/run` is the damaged one."""

PROTECTED = ("trials.sqlite3", "predictions", "models")
"""Files with checksums: if one was changed, a command must not give another result without a word."""


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A place with a whole run, a copy of it, and its baseline."""
    place = tmp_path_factory.mktemp("sound")
    shutil.copytree(GOLDEN, place / "sound")
    with closing(sqlite3.connect(place / "sound" / "trials.sqlite3")) as connection, connection:
        for table in ("trial_user_attribute", "study_user_attribute"):
            rows = f"SELECT rowid, value_json FROM {table}s WHERE key = 'record' OR key LIKE 'trial/%'"
            for row, text in connection.execute(rows).fetchall():
                record = json.dumps(sealed(json.loads(text)))
                connection.execute(f"UPDATE {table}s SET value_json = ? WHERE rowid = ?", (record, row))
    (place / "sound" / "models").mkdir()
    with zipfile.ZipFile(place / "sound" / "models" / "cnn.keras", "w") as archive:
        archive.writestr("metadata.json", "{}")
        archive.writestr("config.json", json.dumps({"module": "keras", "class_name": "Functional"}))
        archive.writestr("model.weights.h5", bytes(range(256)) * 16)
    shutil.copytree(place / "sound", place / "reports" / "run")
    shutil.copy(place / "sound" / "results.json", place / "baseline.json")
    return place


def answers(place: Path) -> Iterator[tuple[tuple[str, ...], int, str]]:
    """Run every command in a folder: its words, exit status, and what it printed on standard error."""
    before = Path.cwd()
    os.chdir(place)
    try:
        for command in COMMANDS:
            for name in ("written.json", "cnn.keras"):
                Path(name).unlink(missing_ok=True)
            with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()) as err:
                status = parser.main(list(command))
            yield command, status, err.getvalue()
    finally:
        os.chdir(before)


# -- damage


def some_file(run: Path, rng: random.Random, *endings: str) -> Path:
    """A file of a run: first one of the kinds of names, so that thumbnails are not most of them."""
    files = [file for file in sorted(run.rglob("*")) if file.is_file() and file.name.endswith(endings or ("",))]
    kinds = sorted({file.suffix for file in files})
    kind = rng.choice(kinds)
    return rng.choice([file for file in files if file.suffix == kind])


def truncate(run: Path, rng: random.Random) -> Path:
    file = some_file(run, rng)
    os.truncate(file, rng.randrange(max(1, file.stat().st_size)))
    return file


def flip(run: Path, rng: random.Random) -> Path:
    file = some_file(run, rng)
    content = bytearray(file.read_bytes())
    for _ in range(rng.choice((1, 1, 8, 64))):
        content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
    file.write_bytes(content)
    return file


NUMBERS = (True, -1, 0, 10**30, 1e308, float("nan"))
VALUES: tuple[Any, ...] = (None, *NUMBERS, "", "text", "\x1b[31m", [], [[1]], {}, {"a": [1]})


def parts_of(value: Any) -> list[tuple[Any, Any]]:
    """Every place in JSON data, as a container and a key."""
    keys = list(value) if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    return [place for key in keys for place in ((value, key), *parts_of(value[key]))]


def change_value(text: str, rng: random.Random) -> str:
    data = json.loads(text)
    places = parts_of(data)
    if not places:
        return json.dumps(rng.choice(VALUES))
    for _ in range(rng.choice((1, 1, 1, 3))):
        container, key = rng.choice(places)
        if isinstance(container, dict) and rng.random() < 0.2:
            container.pop(key, None)
        else:
            container[key] = rng.choice(VALUES)
    return json.dumps(data)


def swap_json(run: Path, rng: random.Random) -> Path:
    file = some_file(run, rng, ".json")
    file.write_text(change_value(file.read_text(encoding="utf-8"), rng), encoding="utf-8")
    return file


def replace_file(run: Path, rng: random.Random) -> Path:
    file = some_file(run, rng)
    file.unlink()
    match rng.choice(("removed", "link", "folder", "empty", "pipe", "zeros", "brackets")):
        case "link":
            file.symlink_to(file.name)
        case "folder":
            file.mkdir()
        case "empty":
            file.touch()
        case "pipe":
            os.mkfifo(file)
        case "zeros":
            file.write_bytes(bytes(4096))
        case "brackets":
            file.write_text("[" * 100_000)
    return file


def change_cell(run: Path, rng: random.Random) -> Path:
    """Change a cell of the database, of the tables that have rows."""
    file = run / "trials.sqlite3"
    with closing(sqlite3.connect(file)) as connection, connection:
        connection.execute("PRAGMA ignore_check_constraints = 1")
        names = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        table = rng.choice([name for name in names if connection.execute(f"SELECT 1 FROM {name}").fetchone()])
        columns = [row[1] for row in connection.execute(f"PRAGMA table_info({table})")]
        (row,) = rng.choice(connection.execute(f"SELECT rowid FROM {table}").fetchall())
        column = "value_json" if "value_json" in columns and rng.random() < 0.7 else rng.choice(columns)
        (old,) = connection.execute(f"SELECT {column} FROM {table} WHERE rowid = ?", (row,)).fetchone()
        is_json = column == "value_json" and rng.random() < 0.8
        new = change_value(old, rng) if is_json else rng.choice((None, -1, 10**12, 1e308, "text", b"\xff\x00", ""))
        try:
            connection.execute(f"UPDATE {table} SET {column} = ? WHERE rowid = ?", (new, row))
        except sqlite3.IntegrityError:  # keys and NOT NULL
            connection.execute(f"DELETE FROM {table} WHERE rowid = ?", (row,))
    return file


def change_page(run: Path, rng: random.Random) -> Path:
    file = run / "trials.sqlite3"
    content = bytearray(file.read_bytes())
    start = 512 * rng.randrange(len(content) // 512)
    content[start : start + 512] = rng.choice((bytes(512), rng.randbytes(512)))
    file.write_bytes(content)
    return file


def change_arrays(run: Path, rng: random.Random) -> Path:
    file = some_file(run, rng, ".npz")
    with np.load(file) as loaded:
        arrays = dict(loaded)
    name = rng.choice(sorted(arrays))
    array = arrays[name]
    match rng.choice(("text", "bool", "shorter", "huge", "scalar", "nan", "objects")):
        case "text":
            arrays[name] = array.astype(str)[..., np.newaxis]
        case "bool":
            arrays[name] = np.ones(array.shape, np.bool_)
        case "shorter":
            arrays[name] = array[:-1]
        case "huge":
            arrays[name] = array
        case "scalar":
            arrays[name] = np.float32(7)
        case "nan":
            arrays[name] = np.full(array.shape, np.nan)
        case "objects":
            arrays[name] = np.array([{}], dtype=object)
    np.savez(file, **arrays)
    if name != "groups" and rng.random() < 0.2:
        with zipfile.ZipFile(file, "w") as archive:
            for key, value in arrays.items():
                with archive.open(f"{key}.npy", "w") as out:
                    header = {"descr": "<f8", "fortran_order": False, "shape": (10 ** rng.choice((9, 13, 20)), 2)}
                    np.lib.format.write_array_header_1_0(out, header) if key == name else np.save(out, value)
    return file


DAMAGES = (truncate, flip, swap_json, swap_json, replace_file, change_cell, change_cell, change_page, change_arrays)


def results_of(place: Path, command: tuple[str, ...]) -> object:
    """The result that a command has written; None for commands that only print or draw."""
    match command[0]:
        case "report":
            return (place / "reports" / "run" / "leaderboard.csv").read_bytes()
        case "baseline":
            return json.loads((place / "written.json").read_text())
        case "export":
            return (place / "cnn.keras").read_bytes()
    return None


def fault(place: Path, command: tuple[str, ...], status: int, err: str, expected: object, file: Path) -> str:
    """What is wrong with an answer; "" if nothing is."""
    is_verdict = command[0] == "check" and not err  # of `check`, which prints why on standard output
    if status not in range(5) or len(err.splitlines()) > 1 or (bool(status) != bool(err) and not is_verdict):
        return "not one line"
    if is_verdict:
        return ""
    if status:
        return "" if any(name in err for name in ("run", "sound", file.name)) else "names no file"
    result = results_of(place, command)
    if file.parts[0] not in PROTECTED or result == expected:
        return ""
    words = json.dumps(result) if command[0] == "baseline" else (place / "reports" / "run" / "report.html").read_text()
    return "" if "damaged" in words else "another result"


@pytest.mark.slow
@pytest.mark.parametrize("first", range(0, CASES, 20))
def test_every_command_reads_or_refuses_a_damaged_folder_in_one_line(
    first: int, sound: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def start(config: object) -> NoReturn:  # `export` trains a missing model again
        raise WorkerError("cnn of the run: trains nothing here")

    monkeypatch.setattr("bench.workers.start", start)
    monkeypatch.setattr(os, "fsync", lambda file: None)
    whole, place, faults = tmp_path / "whole", tmp_path / "damaged", []
    shutil.copytree(sound, whole)
    expected = {}
    for command, status, err in answers(whole):
        assert (status, err) == (0, ""), command
        expected[command] = results_of(whole, command)
    for number in range(first, min(first + 20, CASES)):
        shutil.rmtree(place, ignore_errors=True)
        shutil.copytree(sound, place)
        damage, run = DAMAGES[number % len(DAMAGES)], place / "reports" / "run"
        file = damage(run, random.Random(number)).relative_to(run)
        for command, status, err in answers(place):
            if wrong := fault(place, command, status, err, expected[command], file):
                faults.append(
                    f"{number} {damage.__name__} {file}: {' '.join(command)}: {status}, {wrong}\n{err[-2000:]}"
                )
    assert not faults, f"{len(faults)} faults\n" + "\n".join(faults[:20])
