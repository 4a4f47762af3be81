"""The manifest of the split: what is written is what is read."""

from __future__ import annotations

import json

import pytest

from bench import data
from bench.config import RunConfig
from bench.errors import DataError


@pytest.fixture
def written(folder, tmp_path):
    """A data set with a quarantined picture, and its manifest."""
    path = folder({"cats": 8, "dogs": 8})
    (path / "cats" / "empty.jpg").touch()
    dataset = data.open(RunConfig(data=str(path)))
    dataset.write(tmp_path / "run" / "split.json")
    return dataset, tmp_path / "run" / "split.json"


def test_round_trip(written):
    dataset, path = written
    assert data.load(path) == dataset
    assert data.load(path).image(dataset.items[0]).size == (12, 12)


def test_drawn_pictures_too(tmp_path):
    dataset = data.open(RunConfig(images=12, seed=5))
    dataset.write(tmp_path / "split.json")
    again = data.load(tmp_path / "split.json")
    assert again == dataset
    assert again.image(again.items[0]).tobytes() == dataset.image(dataset.items[0]).tobytes()


def test_tells_everything_in_plain_data(written):
    dataset, path = written
    manifest = json.loads(path.read_text())
    assert manifest["schema_version"] == 1
    assert manifest["sha256"] == dataset.sha256
    assert manifest["classes"] == ["cats", "dogs"]
    assert manifest["items"][0].keys() == {"id", "label", "part", "sha256"}
    assert manifest["quarantined"] == [{"id": "cats/empty.jpg", "reason": "empty file (0 bytes)"}]


def test_nothing_else_is_left_in_the_folder(written):
    assert [each.name for each in written[1].parent.iterdir()] == ["split.json"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"schema_version": 2}, "schema version 2 is newer than 1"),
        ({"schema_version": None}, "not a split manifest"),
        ({"classes": ["cats"]}, "not a split manifest"),
        ({"source": {"kind": "tape"}}, "unknown kind of source 'tape'"),
        ({"sha256": "0" * 64}, "changed by hand or damaged"),
    ],
)
def test_what_is_not_understood_is_refused_in_one_line(written, change, message):
    _, path = written
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(DataError, match=message) as caught:
        data.load(path)
    assert str(caught.value).startswith(str(path)) or "tape" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kept", [0, 10, 400])
def test_a_torn_manifest_is_refused(written, kept):
    _, path = written
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(DataError, match="not a split manifest"):
        data.load(path)


def test_a_missing_manifest_is_refused(tmp_path):
    with pytest.raises(DataError, match="cannot be read"):
        data.load(tmp_path / "split.json")


def test_a_picture_that_changed_or_vanished_is_named(written):
    dataset, path = written
    folder = path.parent.parent / "pictures"
    changed, vanished = dataset.items[:2]
    (folder / changed.id).write_bytes((folder / dataset.items[2].id).read_bytes())
    (folder / vanished.id).unlink()
    again = data.load(path)
    with pytest.raises(DataError, match=f"{changed.id}': its content changed"):
        again.image(changed)
    with pytest.raises(DataError, match=f"{vanished.id}': cannot be read"):
        again.image(vanished)
