"""Groups of pictures: named by a pattern, suggested by names, in one part, and what they give away."""

from __future__ import annotations

import json
import re
from collections import defaultdict

import numpy as np
import pytest
from PIL import Image

from bench import RunConfig, data
from bench.cli.parser import main
from bench.config import Budget
from bench.data import groups, leak
from bench.data.sources import ListedPicture
from bench.data.split import UsablePicture
from bench.errors import ConfigError, DataError
from bench.report.inventory import Inventory
from bench.text import plain

from .conftest import picture

PATIENT = r"(p\d+)_"


@pytest.fixture
def patients(tmp_path):
    """Makes a folder of patients with a tint and five shots each; their labels are random."""

    def make(count=40, shots=5, name="p{patient:02d}_{shot}.png"):
        generator = np.random.default_rng(5)
        for patient in range(count):
            label = ("ill", "well")[patient % 2]
            (tmp_path / "photos" / label).mkdir(parents=True, exist_ok=True)
            tint = generator.uniform(0.5, 1, 3)
            for shot in range(shots):
                grey = np.asarray(picture(1000 * patient + shot, 24).convert("L"), float)[..., np.newaxis]
                file = name.format(patient=patient, shot=shot)
                Image.fromarray((grey * tint).astype(np.uint8)).save(tmp_path / "photos" / label / file)
        return tmp_path / "photos"

    return make


def opened(path, **settings):
    return data.open(RunConfig(data=str(path), **settings))


def parts_by(pattern, dataset):
    parts = defaultdict(set)
    for item in dataset.items:
        parts[re.search(pattern, item.id)[1]].add((item.part, item.fold))
    return parts


@pytest.mark.parametrize("folds", [0, 3])
@pytest.mark.parametrize("seed", [0, 7])
def test_a_group_is_in_one_part_and_fold(patients, folds, seed):
    dataset = opened(patients(), group_by=PATIENT, folds=folds, seed=seed)
    parts = parts_by(PATIENT, dataset)
    assert len(parts) == 40
    assert all(len(places) == 1 for places in parts.values())
    assert sum(dataset.info().groups.values()) == 40
    assert {
        part: round(dataset.info().n(part) / 5) for part in ("train", "validation", "test")
    } == dataset.info().groups


def test_without_groups_patients_are_in_several_parts_and_the_names_suggest_them(patients):
    dataset = opened(patients())
    assert any(len(places) > 1 for places in parts_by(PATIENT, dataset).values())
    suggested = dataset.suggested
    assert (suggested.groups, suggested.pictures) == (40, 200)
    assert suggested.parts == opened(patients(), group_by=suggested.pattern).info().groups
    (warning,) = Inventory(dataset.info(), RunConfig()).suggestions
    assert "40 groups of 200 pictures" in plain(warning)
    assert suggested.pattern in warning


def test_the_manifest_keeps_groups_and_the_suggestion(patients, tmp_path):
    for settings in ({"group_by": PATIENT}, {}):
        dataset = opened(patients(), **settings)
        dataset.write(tmp_path / "split.json")
        assert data.load(tmp_path / "split.json") == dataset


def test_pictures_without_a_match_are_alone(patients):
    dataset = opened(patients(), group_by=r"(p0\d)_")
    assert dataset.info().groups == {
        part: len({item.group for item in dataset.part(part)}) for part in ("train", "validation", "test")
    }
    assert sum(dataset.info().groups.values()) == 10 + 30 * 5


def test_groups_grow_together_through_near_duplicates(patients):
    photos = patients(count=12)
    twin = Image.open(photos / "ill" / "p00_0.png").resize((96, 96))
    twin.save(photos / "ill" / "p02_9.png")
    parts = parts_by(PATIENT, opened(photos, group_by=PATIENT))
    assert parts["p00"] == parts["p02"]


def test_of_a_group_in_several_ready_made_parts_the_test_part_keeps_its_pictures(folder):
    photos = folder({f"{part}/{name}": 6 for part in ("train", "test") for name in "ab"})
    for part, first in (("train", 0), ("test", 5)):  # object 5 is in both parts
        for name in "ab":
            for index in range(6):
                path = photos / part / name / f"{index}.png"
                path.rename(path.with_name(f"{name}o{first + index}_x.png"))
    dataset = opened(photos, group_by=r"([ab]o\d+)")
    assert [left.id for left in dataset.quarantined] == ["train/a/ao5_x.png", "train/b/bo5_x.png"]
    assert {left.reason.partition(":")[0] for left in dataset.quarantined} == {
        "of the same group as a picture in another part"
    }


def test_a_column_of_a_table_names_the_groups(patients, tmp_path):
    rows = [f"{path.relative_to(tmp_path)},{path.parent.name},L{path.stem[:3]}" for path in patients().rglob("*.png")]
    (tmp_path / "table.csv").write_text("path,label,lesion_id\n" + "\n".join(rows))
    dataset = opened(tmp_path / "table.csv", group_by="lesion_id")
    assert all(len(places) == 1 for places in parts_by(PATIENT, dataset).values())
    assert sum(dataset.info().groups.values()) == 40


@pytest.mark.parametrize(
    ("pattern", "message"),
    [("(", "no regular expression"), ("lesion_id", "matches no path, e.g. .* or a column of the table")],
)
def test_a_pattern_that_names_no_group_is_refused(patients, pattern, message):
    with pytest.raises(DataError, match=message):
        opened(patients(), group_by=pattern)


def test_a_class_whose_pictures_are_one_group_says_what_to_do(patients):
    with pytest.raises(DataError, match=r"'ill' has too many pictures in groups.*group-by"):
        opened(patients(), group_by="(ill|well)")


def named(*ids):
    return [UsablePicture(item_id, item_id.split("/")[0], f"{number:08x}") for number, item_id in enumerate(ids)]


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("{:08d}_000.png", "{:08d}_003.png"),  # a patient's number, and that of the picture
        ("{:04d}.png", "{:04d}_Uhm.png"),  # siblings
        ("IMG_{:04d} (1).jpg", "IMG_{:04d} (2).jpg"),
        ("v_Walk_g{:02d}_c01_1.png", "v_Walk_g{:02d}_c01_27.png"),  # frames of a video
        ("patient{:d}/1.png", "patient{:d}/2.png"),
    ],
)
def test_names_that_repeat_are_suggested_as_groups(first, second):
    ids = [f"{'ab'[number % 2]}/{name.format(number)}" for number in range(30) for name in (first, second)]
    suggested = groups.suggest(named(*ids))
    assert (suggested.groups, suggested.pictures) == (30, 60)
    together = groups.names(suggested.pattern, [ListedPicture(item_id, "") for item_id in ids])
    assert all(together[ids[place]] == together[ids[place + 1]] for place in range(0, 60, 2))


@pytest.mark.parametrize(
    "names",
    [
        ["cat.{:d}.jpg", "dog.{:d}.jpg"],  # Kaggle's: the first word is the class
        ["{:04d}.png", "{:04d}.png"],  # numbers that start again in every class
        ["{:d}.png", "{:d}.png"],
        ["cat{:d}.png", "dog{:d}.png"],
        ["benign ({:d}).png", "malignant ({:d}).png"],
        ["n01440764_{:d}.JPEG", "n02102040_{:d}.JPEG"],  # ImageNet's
        ["IMG_{:04d}.jpg", "IMG_{:04d}.jpg"],
        ["{:06d}-num7.png", "{:06d}-num3.png"],
    ],
)
def test_ordinary_names_suggest_nothing(names):
    ids = [f"{'ab'[place]}/{name.format(number)}" for number in range(100) for place, name in enumerate(names)]
    assert groups.suggest(named(*ids)) is None


def test_drawn_pictures_suggest_nothing():
    assert data.open(RunConfig(images=60)).suggested is None


def test_the_leak_is_seen_where_groups_give_each_other_away(patients, capsys, monkeypatch):
    monkeypatch.setattr(leak, "FOLDS", 2)
    assert main(["data", str(patients()), "--leak", "--json"]) == 0
    measured = json.loads(capsys.readouterr().out)["leak"]
    assert (measured["pictures"], measured["groups"]) == (200, 40)
    assert measured["random"][1] > 0.7
    assert measured["grouped"][1] < 0.5 < measured["grouped"][2]
    assert main(["data", str(patients()), "--leak", "--group-by", PATIENT]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "200 small pictures in 40 groups" in said
    assert "keep them together" in said


def test_the_leak_needs_groups(folder):
    with pytest.raises(ConfigError, match="leak: no groups are given"):
        leak.measure(opened(folder({"a": 6, "b": 6})), "", seed=0)


def test_a_run_on_groups_counts_them(patients, space, tmp_path, monkeypatch):
    """Its page, its results and its statistics say so."""
    from bench import runner
    from bench.testing import FakePool

    monkeypatch.chdir(tmp_path)
    found = {}
    for name, pattern in (("pictures", ""), ("patients", PATIENT)):
        pool = FakePool(lambda hp, family: hp.Int("depth", 1, 9), lambda family, params: 0.7)
        config = RunConfig(
            data=str(patients()), group_by=pattern, spaces=(space("a"), space("b")), budget=Budget(2), out=name
        )
        run = runner.run(config, pool=pool)
        found[name] = run
    assert found["patients"].split.groups["test"] == 8
    page = plain((tmp_path / "patients" / "report.html").read_text())
    assert "in 8 groups" in page
    assert "interval over groups of pictures" in page
    results = json.loads((tmp_path / "patients" / "results.json").read_text())
    assert len(results["split"]["groups"]) == results["split"]["n"]
    assert len(set(results["split"]["groups"])) == 8
    assert not json.loads((tmp_path / "pictures" / "results.json").read_text())["split"]["groups"]
