"""Further test sets: which of their pictures are used, and what is said of the others."""

from __future__ import annotations

import re
import shutil
from collections import Counter
from pathlib import Path

import pytest

from bench import data
from bench.config import RunConfig
from bench.data import further
from bench.errors import ConfigError, DataError
from bench.records import CORRUPTED, FurtherSet, LeftOutKind

from .conftest import picture


@pytest.fixture
def photos(folder) -> Path:
    return folder({"cats": 20, "dogs": 20})


def save(target: Path, *names: str, first: int = 1000) -> Path:
    """Saves new pictures below a folder."""
    for number, name in enumerate(names, start=first):
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        picture(number).save(target / name)
    return target


def opened(
    photos: Path, *sources: object, **settings
) -> tuple[data.Dataset, dict[str, tuple[FurtherSet, data.Dataset]]]:
    config = RunConfig(data=str(photos), also_test=tuple(map(str, sources)), **settings)
    dataset = data.open(config)
    return dataset, {record.name: (record, pictures) for record, pictures in further.open(config, dataset)}


def only(photos: Path, source: object, **settings) -> tuple[FurtherSet, data.Dataset]:
    _, sets = opened(photos, source, **settings)
    ((record, pictures),) = sets.values()
    return record, pictures


def refusal(photos: Path, *sources: object, **settings) -> str:
    with pytest.raises(DataError) as error:
        opened(photos, *sources, **settings)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_the_classes_have_the_numbers_of_the_run(photos, tmp_path):
    other = save(tmp_path / "other", "dogs/1.png", "dogs/2.png", "cats/1.png")
    dataset, sets = opened(photos, other)
    record, pictures = sets["other"]
    assert (record.source, record.n, record.trained, record.left_out, record.notes) == (str(other), 3, 0, {}, ())
    assert pictures.classes == dataset.classes
    assert Counter(pictures.classes[item.label] for item in pictures.part("test")) == {"dogs": 2, "cats": 1}
    assert pictures.input_sizes == dataset.input_sizes


def test_pictures_of_the_training_and_validation_part_are_left_out_and_counted(photos, tmp_path):
    record, pictures = only(photos, photos)
    dataset = data.open(RunConfig(data=str(photos)))
    assert {item.sha256 for item in pictures.items} == {item.sha256 for item in dataset.part("test")}
    assert record.trained == len(dataset.part("train")) + len(dataset.part("validation"))
    trained = [item for item in dataset.items if item.part != "test"]
    for item in trained:
        (tmp_path / "seen" / item.id).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(photos / item.id, tmp_path / "seen" / item.id)
    assert f"all its {len(trained)} pictures are in the training or validation part" in refusal(
        photos, tmp_path / "seen"
    )


def test_unknown_and_missing_classes_are_said(photos, tmp_path):
    record, pictures = only(photos, save(tmp_path / "other", "cats/1.png", "owls/1.png", "owls/2.png"))
    assert len(pictures.items) == 1
    assert record.notes == ("2 pictures of classes that the run does not know: 'owls'", "no pictures of 'dogs'")


def test_one_class_is_enough(photos, tmp_path):
    record, pictures = only(photos, save(tmp_path / "other", "cats/1.png", "cats/2.png"))
    assert (record.n, {item.label for item in pictures.items}) == (2, {0})


def test_damaged_pictures_are_left_out_with_their_reason(photos, tmp_path):
    other = save(tmp_path / "other", "cats/1.png", "dogs/1.png")
    (other / "cats" / "2.png").write_bytes(b"")
    (other / "cats" / "3.png").write_bytes((other / "cats" / "1.png").read_bytes()[:100])
    (other / "dogs" / "2.png").write_bytes((other / "dogs" / "1.png").read_bytes())
    record, pictures = only(photos, other)
    assert record.n == 2
    assert record.left_out == {LeftOutKind.DAMAGED: 1, LeftOutKind.DUPLICATE: 1, LeftOutKind.EMPTY: 1}
    assert "empty file" in {item.id: item.reason for item in pictures.quarantined}["cats/2.png"]


def test_parts_of_a_further_set_are_tested_together(photos, tmp_path):
    names = [f"{part}/{label}/{n}.png" for part in ("train", "test") for label in ("cats", "dogs") for n in range(2)]
    _, pictures = only(photos, save(tmp_path / "other", *names))
    assert len(pictures.part("test")) == 8


def test_a_table_of_test_rows_of_one_class_is_enough(photos, tmp_path):
    save(tmp_path / "other", "1.png", "2.png")
    table = tmp_path / "other" / "list.csv"
    table.write_text("path,label,part\n1.png,dogs,test\n2.png,dogs,test\n")
    record, _ = only(photos, table)
    assert (record.name, record.n) == ("list.csv", 2)


def test_settings_of_the_run_s_table_do_not_concern_a_folder(photos, tmp_path):
    table = photos / "list.csv"
    rows = [f"{path.relative_to(photos)},{path.parent.name}" for path in photos.rglob("*.png")]
    table.write_text("\n".join(["place,animal", *rows]))
    other = save(tmp_path / "other", "cats/1.png", "dogs/1.png")
    record, _ = only(table, other, path_column="place", label_column="animal")
    assert record.n == 2


def test_groups_are_those_of_the_run_s_pattern(photos, tmp_path):
    other = save(tmp_path / "other", "cats/a_1.png", "cats/a_2.png", "dogs/b_1.png")
    _, pictures = only(photos, other, group_by=r"([a-z]+|\d+)[_.]")
    assert len({item.group for item in pictures.items}) == 2
    assert pictures.grouped
    record, pictures = only(photos, save(tmp_path / "third", "cats/x.png", first=2000), group_by=r"(\d+)\.png")
    assert not pictures.grouped
    assert "intervals count pictures" in record.notes[-1]


def test_names_of_files_are_those_of_the_sets_and_differ(photos, tmp_path):
    sources = [
        save(tmp_path / place, "cats/1.png", first=n) for n, place in enumerate(("a/new", "b/new", "c/a b"), 3000)
    ]
    _, sets = opened(photos, *sources, save(tmp_path / "corrupted", "cats/1.png", first=4000), CORRUPTED)
    assert list(sets) == ["new", "new-2", "a-b", "corrupted-2", "corrupted"]


def test_the_manifest_has_the_set(photos, tmp_path):
    other = save(tmp_path / "other", "cats/1.png", "dogs/1.png")
    dataset, sets = opened(photos, other, CORRUPTED)
    (tmp_path / "run").mkdir()
    further.write(list(sets.values()), tmp_path / "run")
    assert [path.name for path in (tmp_path / "run" / "also").iterdir()] == ["other.json"]
    assert further.load_set(dataset, tmp_path / "run", "other", 0).sha256 == sets["other"][1].sha256
    plain = further.load_set(dataset, tmp_path / "run", "corrupted-none", 0)
    assert plain.sha256 == sets[CORRUPTED][1].sha256


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("./nowhere", r"also-test './nowhere': data folder '.*nowhere' does not exist"),
        ("corupted", r"also-test 'corupted': unknown data set 'corupted'.*are named corrupted"),
        (
            "birds",
            r"also-test '.*/birds': has no picture of a class of the run \('cats', 'dogs'\), but of 'owls'",
        ),
        ("empty", r"also-test '.*/empty': data folder .* is empty"),
    ],
)
def test_a_mistake_is_one_line(photos, tmp_path, monkeypatch, source, message):
    monkeypatch.chdir(tmp_path)
    save(tmp_path / "birds", "owls/1.png", "tits/1.png")
    (tmp_path / "empty").mkdir()
    path = source if source in ("./nowhere", "corupted") else tmp_path / source
    assert re.fullmatch(f"{message}.*", refusal(photos, path))


def test_a_setting_without_a_name_is_refused():
    with pytest.raises(ConfigError, match="also-test"):
        RunConfig(also_test=",")
