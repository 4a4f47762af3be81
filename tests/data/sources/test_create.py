"""Which source `--data` names."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.config import RunConfig
from bench.data.sources import KNOWN, create, rebuild
from bench.data.sources.drawn import Drawn
from bench.data.sources.folder import Folder
from bench.data.sources.table import Table
from bench.errors import DataError


def test_a_known_name_wins_over_a_folder_which_its_path_tells_from_it(tmp_path, monkeypatch):
    (tmp_path / "drawn").mkdir()
    monkeypatch.chdir(tmp_path)
    assert create(RunConfig(data="drawn", images=20, seed=3)) == Drawn(20, 3)
    assert create(RunConfig(data="./drawn")) == Folder(tmp_path / "drawn")


def test_a_path_is_a_folder_or_a_table(tmp_path, monkeypatch):
    (tmp_path / "pets.csv").mkdir()
    (tmp_path / "labels.TSV").touch()
    monkeypatch.setenv("HOME", str(tmp_path))
    assert create(RunConfig(data="~/pets.csv")) == Folder(tmp_path / "pets.csv")
    assert create(RunConfig(data=str(tmp_path / "labels.TSV"))) == Table(tmp_path / "labels.TSV")


@pytest.mark.parametrize("source", [Drawn(20, 3), Folder(Path("/a/b")), Table(Path("/a/b.csv"))])
def test_what_is_described_is_rebuilt(source):
    assert rebuild(source.describe()) == source


def test_a_kind_of_a_later_version_is_refused():
    with pytest.raises(DataError, match="unknown kind of source 'tape': this version knows drawn, "):
        rebuild({"kind": "tape"})


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("cats_vs_dog", r"unknown data set 'cats_vs_dog'\. Did you mean cats_vs_dogs\?.*existing folder or table"),
        ("tfds", r"unknown data set 'tfds'\. .*Choices: cats_vs_dogs, drawn, tfds:NAME"),
        ("missing/", "data folder 'missing' does not exist"),
        ("~nobody-of-that-name/x", "does not exist"),
        ("missing.csv", "data table '.*missing.csv' does not exist"),
        ("x" * 300, "cannot be read: File name too long"),
        ("photos.zip", "'photos.zip' is a file: .* unpack an archive first"),
    ],
)
def test_what_is_neither_is_one_clear_line(tmp_path, monkeypatch, name, says):
    (tmp_path / "photos.zip").touch()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match=says) as caught:
        create(RunConfig(data=name)).listing()
    assert "\n" not in str(caught.value)


def test_every_source_says_what_it_is_in_one_line():
    assert {"drawn", "cats_vs_dogs"} < set(KNOWN)
    assert all(about and len(about) < 100 for about in KNOWN.values())
