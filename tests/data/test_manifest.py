"""The manifest of the split: what is written is what is read."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bench import data
from bench.config import USUAL_SPLIT, RunConfig
from bench.data.dataset import upgrade_split_v1
from bench.errors import ConfigError, DataError
from bench.records import LeftOutKind


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
    assert data.load(path).picture(dataset.items[0]).pixels.shape == (12, 12, 3)


def test_drawn_pictures_too(tmp_path):
    dataset = data.open(RunConfig(images=12, seed=5))
    dataset.write(tmp_path / "split.json")
    again = data.load(tmp_path / "split.json")
    assert again == dataset
    np.testing.assert_array_equal(again.picture(again.items[0]).pixels, dataset.picture(dataset.items[0]).pixels)


def test_a_manifest_of_version_1_is_read():
    dataset = data.load(Path(__file__).parent / "saved" / "split-1.json")
    assert dataset.sha256 == data.open(RunConfig(images=12, seed=5, split=USUAL_SPLIT)).sha256
    assert (dataset.folds, dataset.sizes, dataset.alike) == (0, None, ())


def test_a_manifest_of_version_2_is_read_with_kinds_for_its_sentences():
    dataset = data.load(Path(__file__).parent / "saved" / "split-2.json")
    assert dataset.folds == 2
    assert {each.id: (each.kind, each.detail, each.label) for each in dataset.quarantined} == {
        "train/cats/<img src=x onerror=alert(1)>.jpg": (LeftOutKind.UNKNOWN_FORMAT, "", "cats"),
        "train/cats/bomb.png": (LeftOutKind.TOO_LARGE, "10500 x 10500 pixels, limit 100 megapixels", "cats"),
        "train/cats/dog.png": (LeftOutKind.CONTRADICTING_LABELS, "cats and dogs", "cats"),
        "train/cats/empty.jpg": (LeftOutKind.EMPTY, "", "cats"),
        "train/cats/leaked.png": (LeftOutKind.LEAKED_DUPLICATE, "test/cats/0.png in the test part", "cats"),
        "train/cats/link.png": (LeftOutKind.LINK, "leads nowhere", "cats"),
        "train/cats/nowhere.png": (LeftOutKind.LINK, "leads nowhere", "cats"),
        "train/cats/sound.png.bak": (LeftOutKind.DUPLICATE, "train/cats/sound.png", "cats"),
        "train/cats/truncated.jpg": (
            LeftOutKind.DAMAGED,
            "image file is truncated (0 bytes not processed)",
            "cats",
        ),
        "train/cats/truncated.png": (LeftOutKind.DAMAGED, "image file is truncated", "cats"),
        "train/dogs/0.png": (LeftOutKind.CONTRADICTING_LABELS, "cats and dogs", "dogs"),
        "train/dogs/pipe.png": (LeftOutKind.NOT_A_FILE, "", "dogs"),
        "train/dogs/scene.jpg": (LeftOutKind.LEAKED_NEAR_DUPLICATE, "test/dogs/scene.png in the test part", "dogs"),
    }


@pytest.mark.parametrize(
    ("reason", "kind", "detail"),
    [
        ("cannot be read: Permission denied", LeftOutKind.UNREADABLE, "Permission denied"),
        ("link, not followed", LeftOutKind.LINK, ""),
        ("link to a folder, not followed", LeftOutKind.LINK, "to a folder"),
        ("link that leads outside the folder, not followed", LeftOutKind.LINK, "leads outside the folder"),
        ("line 4: no label", LeftOutKind.TABLE_ROW, "line 4: no label"),
        ("its label is a in line 4 and b in line 5", LeftOutKind.TABLE_ROW, "its label is a in line 4 and b in line 5"),
        ("eaten by a dog", LeftOutKind.OTHER, "eaten by a dog"),
    ],
)
def test_other_sentences_of_older_versions_have_a_kind_too(reason, kind, detail):
    split = upgrade_split_v1({"classes": ["cat"], "quarantined": [{"id": "cat.0.jpg", "reason": reason}]})
    assert split["quarantined"] == [{"id": "cat.0.jpg", "kind": kind, "detail": detail, "label": "cat"}]


def test_tells_everything_in_plain_data(written):
    dataset, path = written
    manifest = json.loads(path.read_text())
    assert manifest["schema_version"] == 3
    assert manifest["sha256"] == dataset.sha256
    assert manifest["classes"] == ["cats", "dogs"]
    assert manifest["items"][0].keys() == {"id", "label", "part", "sha256"}
    assert manifest["sizes"]["median"] == [12, 12]
    assert manifest["quarantined"] == [{"id": "cats/empty.jpg", "kind": "empty", "detail": "", "label": "cats"}]


def test_nothing_else_is_left_in_the_folder(written):
    assert [each.name for each in written[1].parent.iterdir()] == ["split.json"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"schema_version": 4}, "schema version 4, this bench .* knows up to 3"),
        ({"schema_version": None}, "damaged"),
        ({"classes": ["cats"]}, "damaged"),
        ({"source": {"kind": "tape"}}, "unknown kind of source 'tape'"),
        ({"sha256": "0" * 64}, "edited by hand or damaged"),
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
    with pytest.raises(DataError, match="damaged"):
        data.load(path)


def test_a_missing_manifest_is_refused(tmp_path):
    with pytest.raises(DataError, match="cannot be read"):
        data.load(tmp_path / "split.json")


def test_folds_are_in_the_manifest(folder, tmp_path):
    dataset = data.open(RunConfig(data=str(folder({"cats": 12, "dogs": 18})), folds=5))
    dataset.write(tmp_path / "split.json")
    again = data.load(tmp_path / "split.json")
    assert again == dataset
    assert again.folds == again.info().folds == 5
    assert again.part("validation") == ()
    seen = []
    for number in range(5):
        train, validation = again.fold(number)
        assert {item.part for item in (*train, *validation)} == {"train"}
        assert not {*train} & {*validation}
        assert {*train, *validation} == {*again.part("train")}
        seen += validation
    assert sorted(seen, key=str) == sorted(again.part("train"), key=str)


def test_the_hash_covers_the_folds(folder):
    path = str(folder({"cats": 12, "dogs": 18}))
    assert len({data.open(RunConfig(data=path, folds=folds)).sha256 for folds in (0, 2, 5)}) == 3


class TestSplitFile:
    """`--split-file`: the split of another run, here or on another machine."""

    def test_gives_the_same_split_whatever_the_seed(self, written):
        dataset, path = written
        again = data.open(RunConfig(data=str(path.parent.parent / "pictures"), split_file=str(path), seed=9))
        assert again.items == dataset.items
        assert again.quarantined == dataset.quarantined

    def test_takes_the_pictures_from_where_they_were_or_where_data_says(self, written):
        dataset, path = written
        moved = path.parent.parent / "moved"
        assert data.open(RunConfig(split_file=str(path))).items == dataset.items
        shutil.move(path.parent.parent / "pictures", moved)
        again = data.open(RunConfig(data=str(moved), split_file=str(path)))
        assert again.items == dataset.items
        assert again.picture(again.items[0]).sha256 == dataset.items[0].sha256

    def test_a_picture_that_changed_since_is_named_before_anything_trains(self, written):
        dataset, path = written
        changed = path.parent.parent / "pictures" / dataset.part("test")[0].id
        changed.write_bytes(changed.read_bytes() + b"changed")
        with pytest.raises(DataError, match=f"{changed}': its content changed"):
            data.open(RunConfig(split_file=str(path)))

    def test_input_sizes_can_be_others(self, written):
        assert data.open(RunConfig(split_file=str(written[1]), input_sizes=(40,))).input_sizes == (40,)

    @pytest.mark.parametrize("given", [{"limit": 12}, {"folds": 3}, {"split": (0.5, 0.25, 0.25)}])
    def test_nothing_else_may_decide_the_split(self, written, given):
        with pytest.raises(ConfigError, match=f"leave out --{next(iter(given))}"):
            RunConfig(split_file=str(written[1]), **given)


def test_a_manifest_keeps_the_order_of_its_classes(folder, tmp_path):
    dataset = data.open(RunConfig(data=str(folder({"1": 3, "2": 3, "10": 3}))))
    earlier = ("1", "10", "2")  # the order of earlier versions
    labels = [earlier.index(dataset.classes[item.label]) for item in dataset.items]
    items = tuple(replace(item, label=label) for item, label in zip(dataset.items, labels, strict=True))
    old = replace(dataset, classes=earlier, items=items)
    old.write(tmp_path / "split.json")
    assert old.sha256 == dataset.sha256
    assert data.open(RunConfig(split_file=str(tmp_path / "split.json"))) == old
