"""What `bench.data.open` makes of folders, good and bad."""

from __future__ import annotations

import shutil
from collections import Counter
from pathlib import Path

import pytest

from bench import data
from bench.config import RunConfig
from bench.errors import DataError
from bench.records import LeftOutKind
from bench.report.inventory import Inventory


def opened(path: Path, **settings) -> data.Dataset:
    return data.open(RunConfig(data=str(path), **settings))


def counts(dataset: data.Dataset) -> dict[tuple[str, str], int]:
    return dict(Counter((item.part, dataset.classes[item.label]) for item in dataset.items))


def reasons(dataset: data.Dataset) -> dict[str, str]:
    return {each.id: each.reason for each in dataset.quarantined}


def membership(dataset: data.Dataset) -> dict[str, str]:
    return {item.sha256: item.part for item in dataset.items}


class TestSplit:
    def test_every_class_is_split_by_the_shares(self, folder):
        dataset = opened(folder({"cats": 40, "dogs": 20, "owls": 10}), split=(0.7, 0.15, 0.15))
        assert dataset.classes == ("cats", "dogs", "owls")
        for name, total in (("cats", 40), ("dogs", 20), ("owls", 10)):
            for part, share in (("train", 0.7), ("validation", 0.15), ("test", 0.15)):
                assert abs(counts(dataset)[part, name] - share * total) <= 1

    def test_names_and_their_order_do_not_matter(self, folder, tmp_path):
        first = folder({"cats": 12, "dogs": 15})
        copy = tmp_path / "copy"
        for index, path in enumerate(sorted(first.rglob("*.png"), reverse=True)):
            target = copy / path.parent.name / f"{index * 7919 % 1000:03d}-renamed.dat"
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, target)
        assert opened(copy).sha256 == opened(first).sha256
        assert [item.sha256 for item in opened(copy).part("test")] == [
            item.sha256 for item in opened(first).part("test")
        ]

    def test_another_seed_is_another_split_of_the_same_sizes(self, folder):
        path = folder({"cats": 30, "dogs": 30})
        one, other = opened(path, seed=0), opened(path, seed=1)
        assert counts(one) == counts(other)
        assert membership(one) != membership(other)

    def test_parts_follow_the_configured_shares(self, folder):
        dataset = opened(folder({"cats": 20, "dogs": 20}), split=(0.5, 0.25, 0.25))
        assert counts(dataset)["train", "cats"] == 10
        assert counts(dataset)["test", "dogs"] == 5

    def test_the_smallest_class_is_in_every_part(self, folder):
        dataset = opened(folder({"cats": 20, "owls": 3}))
        assert [counts(dataset)[part, "owls"] for part in ("train", "validation", "test")] == [1, 1, 1]

    def test_labels_follow_the_order_of_the_part(self, folder):
        dataset = opened(folder({"cats": 10, "dogs": 10}))
        labels = data.labels(dataset.part("train"))
        assert labels.dtype == "int64"
        assert labels.tolist() == [item.label for item in dataset.part("train")]
        assert [item.id.split("/")[0] for item in dataset.part("train")] == [dataset.classes[each] for each in labels]

    def test_info_counts_what_there_is(self, folder):
        info = opened(folder({"cats": 10, "dogs": 20})).info()
        assert info.source == "pictures"
        assert info.n("train") + info.n("validation") + info.n("test") == 30
        assert sum(info.counts[part]["cats"] for part in info.counts) == 10

    def test_an_unknown_part_is_a_programming_error(self, folder):
        dataset = opened(folder({"cats": 3, "dogs": 3}))
        with pytest.raises(ValueError, match="one of train, validation, test"):
            dataset.part("valid")


class TestReadyParts:
    @pytest.mark.parametrize(("train", "test"), [("train", "test"), ("training_set", "test_set"), ("Train", "TEST")])
    def test_a_test_folder_is_kept_and_validation_taken_from_train(self, folder, train, test):
        path = folder({f"{train}/cats": 20, f"{train}/dogs": 20, f"{test}/cats": 4, f"{test}/dogs": 6})
        dataset = opened(path, split=(0.7, 0.15, 0.15))
        assert {item.id.split("/")[0] for item in dataset.part("test")} == {test}
        assert counts(dataset)["test", "dogs"] == 6
        assert abs(counts(dataset)["validation", "cats"] - 20 * 0.15 / 0.85) <= 1
        assert {item.id.split("/")[0] for item in dataset.part("validation")} == {train}

    @pytest.mark.parametrize("name", ["val", "Valid", "validation"])
    def test_three_ready_parts_are_kept(self, folder, name):
        dataset = opened(folder({f"{part}/{each}": 4 for part in ("train", name, "test") for each in ("cats", "dogs")}))
        for part, above in (("train", "train"), ("validation", name), ("test", "test")):
            assert {item.id.split("/")[0] for item in dataset.part(part)} == {above}

    def test_without_a_test_folder_the_test_part_comes_from_train(self, folder):
        dataset = opened(folder({f"{part}/{each}": 10 for part in ("train", "val") for each in ("cats", "dogs")}))
        assert len(dataset.part("validation")) == 20
        assert {item.id.split("/")[0] for item in dataset.part("test")} == {"train"}

    def test_an_unlabelled_test_folder_is_ignored_and_counted(self, folder):
        path = folder({"train/cats": 10, "train/dogs": 10, "test": 5})
        dataset = opened(path)
        assert {item.id.split("/")[0] for item in dataset.part("test")} == {"train"}
        assert sum(dataset.ignored.values()) == 5

    def test_two_folders_for_one_part_are_refused(self, folder):
        path = folder({f"{part}/{each}": 3 for part in ("train", "val", "valid") for each in ("cats", "dogs")})
        with pytest.raises(DataError, match=r"'val' and 'valid' both mean validation"):
            opened(path)


class TestLimit:
    def test_takes_a_stratified_sample(self, folder):
        dataset = opened(folder({"cats": 40, "dogs": 20}), limit=30)
        assert len(dataset.items) == 30
        for (part, name), count in counts(opened(folder({"cats": 40, "dogs": 20}, "again"))).items():
            assert abs(counts(dataset)[part, name] - count / 2) <= 1

    def test_is_a_subset_of_the_full_split_and_of_larger_limits(self, folder):
        path = folder({"cats": 40, "dogs": 20})
        full, larger, smaller = (membership(opened(path, limit=limit)) for limit in (None, 40, 20))
        assert smaller.items() <= larger.items() <= full.items()

    def test_above_the_number_of_pictures_takes_all(self, folder):
        assert len(opened(folder({"cats": 10, "dogs": 10}), limit=1000).items) == 20

    def test_too_small_for_every_class_is_refused(self, folder):
        path = folder({f"class{number}": 4 for number in range(6)})
        with pytest.raises(DataError, match=r"limit 12: .* at least 18"):
            opened(path, limit=12)


def test_one_level_too_high_is_said_and_the_right_folder_is_used(folder):
    dataset = opened(folder({"dataset/cats": 3, "dataset/dogs": 3}))
    assert dataset.classes == ("cats", "dogs")
    assert dataset.guesses == ("the classes are in dataset/; --data names another folder",)


def test_numbers_are_classes_in_their_order(folder):
    dataset = opened(folder({str(number): 3 for number in (0, 1, 2, 9, 10, 11)}))
    assert dataset.classes == ("0", "1", "2", "9", "10", "11")
    assert all(dataset.classes[item.label] == item.id.split("/")[0] for item in dataset.items)
    assert [row.name for row in Inventory(dataset.info(), RunConfig()).rows] == ["0", "1", "2", "9", "10", "11"]


class TestInputSizes:
    @pytest.mark.parametrize(
        ("side", "sizes"),
        [(20, (32,)), (50, (32, 48)), (80, (32, 48, 64)), (100, (96, 128, 160, 192, 224))],
    )
    def test_follow_the_size_of_the_pictures(self, folder, side, sizes):
        assert opened(folder({"cats": 3, "dogs": 3}, size=side)).input_sizes == sizes

    def test_can_be_chosen(self, folder):
        assert opened(folder({"cats": 3, "dogs": 3}), input_sizes=(40,)).input_sizes == (40,)


@pytest.mark.slow
def test_real_photographs_keep_their_parts_and_their_duplicates_are_found(assets):
    dataset = opened(assets / "photos", limit=1200)
    assert len(dataset.items) == 1200
    assert dataset.input_sizes == (96, 128, 160, 192, 224)
    assert {item.id.split("/")[0] for item in dataset.part("test")} == {"test_set"}
    assert dataset.alike == (
        ("test_set/cats/cat.4126.jpg", "test_set/cats/cat.4575.jpg"),
        ("test_set/cats/cat.4435.jpg", "training_set/cats/cat.3411.jpg"),
        ("test_set/cats/cat.4726.jpg", "training_set/cats/cat.2580.jpg"),
        ("training_set/cats/cat.2565.jpg", "training_set/cats/cat.3565.jpg"),
        ("training_set/dogs/dog.1273.jpg", "training_set/dogs/dog.980.jpg"),
        ("training_set/dogs/dog.180.jpg", "training_set/dogs/dog.74.jpg"),
    )
    assert {each.id: each.kind for each in dataset.quarantined} == {
        "training_set/dogs/dog.3082.jpg": LeftOutKind.DUPLICATE,
        "training_set/cats/cat.2580.jpg": LeftOutKind.LEAKED_NEAR_DUPLICATE,
        "training_set/cats/cat.3411.jpg": LeftOutKind.LEAKED_NEAR_DUPLICATE,
    }
