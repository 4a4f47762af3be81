"""The list of a run's thumbnails, and what is read of a folder that somebody else wrote."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from bench.records import Run, SplitInfo
from bench.runs import thumbnails
from bench.runs.thumbnails import Thumbnail

HOSTILE = "<img src=x onerror=alert(1)>\u202e\n\ud800/../cat.jpg"
FIRST, SECOND = "ab" * 32, "0" * 64
JPEG = b"\xff\xd8\xff and so on"


@pytest.fixture
def run(tmp_path: Path) -> Run:
    split = SplitInfo("photos", ("cat", "dog"), {}, "")
    return Run(tmp_path, "complete", "", {}, {}, split, (), ())


def test_what_is_written_is_read(run: Run) -> None:
    every = [Thumbnail(FIRST, HOSTILE, 1, "train"), Thumbnail(SECOND, "cat/1.jpg", 0, "test")]
    thumbnails.write(run.path, every)
    assert list(thumbnails.of_run(run).values()) == every
    assert [each.name for each in run.path.iterdir()] == ["thumbnails.json"]


def test_a_run_of_an_earlier_version_has_none(run: Run) -> None:
    assert thumbnails.of_run(run) == {}
    assert thumbnails.jpeg(run.path, FIRST) == b""
    with pytest.raises(OSError, match=r"thumbnails\.json"):
        thumbnails.read(run.path)


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[]",
        "{}",
        '{"schema_version": 2, "pictures": {}}',
        '{"schema_version": "x", "pictures": {}}',
        '{"schema_version": 1, "pictures": []}',
        json.dumps({"schema_version": 1, "pictures": {FIRST: {"id": "cat.jpg", "label": 0}}}),
        json.dumps({"schema_version": 1, "pictures": {FIRST: {"id": "cat.jpg", "label": "0", "part": "test"}}}),
        json.dumps({"schema_version": 1, "pictures": {"../../key": {"id": "cat.jpg", "label": 0, "part": "test"}}}),
    ],
)
def test_a_list_that_is_damaged_hostile_or_newer_is_none(run: Run, content: str) -> None:
    (run.path / "thumbnails.json").write_text(content)
    with pytest.raises(ValueError, match=r"thumbnails\.json: no list of thumbnails"):
        thumbnails.read(run.path)
    assert thumbnails.of_run(run) == {}


def test_a_picture_of_a_class_that_the_run_does_not_have_is_left_out(run: Run) -> None:
    thumbnails.write(run.path, [Thumbnail(FIRST, "a", 7, "test"), Thumbnail(SECOND, "b", 1, "test")])
    assert list(thumbnails.of_run(run)) == [SECOND]
    assert thumbnails.of_run(replace(run, split=replace(run.split, classes=()))) == {}


@pytest.mark.parametrize(("content", "read"), [(JPEG, JPEG), (b"<svg onload=alert(1)>", b""), (b"", b"")])
def test_only_a_small_jpeg_is_given(run: Run, content: bytes, read: bytes) -> None:
    file = thumbnails.path(run.path, FIRST)
    file.parent.mkdir()
    file.write_bytes(content)
    assert thumbnails.jpeg(run.path, FIRST) == read
    file.write_bytes(content.ljust(thumbnails.MOST_BYTES + 1, b"\0"))
    assert thumbnails.jpeg(run.path, FIRST) == b""
