"""What `bench.data.open` makes of folders, good and bad."""

from __future__ import annotations

import os
import shutil
import sys
from collections import Counter
from pathlib import Path

import pytest
from PIL import Image

from bench import data
from bench.config import RunConfig
from bench.errors import DataError

from .conftest import picture


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
        labels = dataset.labels("train")
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

    def test_a_class_that_is_missing_in_a_part_is_named(self, folder):
        path = folder({"train/cats": 5, "train/dogs": 5, "test/cats": 5})
        with pytest.raises(DataError, match=r"class 'dogs' is in train/ but not in test/"):
            opened(path)

    def test_two_folders_for_one_part_are_refused(self, folder):
        path = folder({f"{part}/{each}": 3 for part in ("train", "val", "valid") for each in ("cats", "dogs")})
        with pytest.raises(DataError, match=r"'val' and 'valid' both mean validation"):
            opened(path)

    def test_a_picture_in_train_and_test_stays_in_test_alone(self, folder):
        path = folder({f"{part}/{each}": 6 for part in ("train", "test") for each in ("cats", "dogs")})
        shutil.copy(path / "test/cats/0.png", path / "train/cats/leaked.png")
        dataset = opened(path)
        assert reasons(dataset) == {"train/cats/leaked.png": "the same content as test/cats/0.png"}
        assert counts(dataset)["test", "cats"] == 6


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


class TestDamage:
    def test_damaged_pictures_are_quarantined_with_their_reason(self, folder):
        path = folder({"cats": 6, "dogs": 6}) / "cats"
        (path / "empty.jpg").touch()
        (path / "truncated.png").write_bytes((path / "0.png").read_bytes()[:200])
        (path / "text.jpg").write_text("not a picture at all")
        before = sorted(path.iterdir())
        dataset = opened(path.parent)
        found = reasons(dataset)
        assert found["cats/empty.jpg"] == "empty file (0 bytes)"
        assert found["cats/truncated.png"].startswith("cannot be decoded: ")
        assert found["cats/text.jpg"] == "not a picture of a known format"
        assert len(found) == 3
        assert len(dataset.items) == 12
        assert sorted(path.iterdir()) == before

    def test_a_bomb_is_refused_before_it_is_decoded(self, folder, monkeypatch):
        path = folder({"cats": 4, "dogs": 4})
        Image.new("RGB", (60, 50)).save(path / "cats" / "bomb.png")
        (path / "cats" / "bomb.png").write_bytes((path / "cats" / "bomb.png").read_bytes()[:45])  # decoding would fail
        monkeypatch.setattr("bench.data.pictures.MOST_PIXELS", 2000)
        assert reasons(opened(path))["cats/bomb.png"].startswith("60 x 50 pixels, limit")

    @pytest.mark.parametrize("side", [10_500, 14_000])
    def test_a_bomb_that_pillow_warns_of_or_refuses_is_quarantined(self, folder, side):
        path = folder({"cats": 4, "dogs": 4})
        Image.new("1", (side, side)).save(path / "cats" / "bomb.png")
        assert "pixels, limit 100 megapixels" in reasons(opened(path))["cats/bomb.png"]

    def test_pictures_are_known_by_content_whatever_they_are_called(self, folder):
        path = folder({"cats": 4, "dogs": 4})
        (path / "cats" / "0.png").rename(path / "cats" / "0.jpg")
        (path / "cats" / "1.png").rename(path / "cats" / "no suffix")
        dataset = opened(path)
        assert {"cats/0.jpg", "cats/no suffix"} <= {item.id for item in dataset.items}
        assert dataset.quarantined == ()

    def test_clutter_is_ignored_and_counted(self, folder):
        path = folder({"cats": 4, "dogs": 4, "cats/.hidden": 2, "__MACOSX/cats": 2})
        for name in ("cats/Thumbs.db", "cats/.DS_Store", "cats/notes.txt", "README.md"):
            (path / name).write_text("clutter")
        dataset = opened(path)
        assert dataset.classes == ("cats", "dogs")
        assert dataset.quarantined == ()
        assert sum(dataset.ignored.values()) == 6
        assert len(dataset.items) == 8

    def test_equal_files_count_once(self, folder):
        path = folder({"cats": 6, "dogs": 6})
        shutil.copy(path / "cats" / "0.png", path / "cats" / "copy.png")
        dataset = opened(path)
        assert reasons(dataset) == {"cats/copy.png": "the same content as cats/0.png"}
        assert len(dataset.items) == 12

    def test_one_picture_under_two_labels_is_dropped_from_both(self, folder):
        path = folder({"cats": 6, "dogs": 6})
        shutil.copy(path / "cats" / "0.png", path / "dogs" / "cat.png")
        dataset = opened(path)
        assert set(reasons(dataset)) == {"cats/0.png", "dogs/cat.png"}
        assert set(reasons(dataset).values()) == {"the same content is labelled cats and dogs"}

    @pytest.mark.skipif(not hasattr(os, "symlink"), reason="needs symbolic links")
    def test_links_out_of_the_folder_are_not_followed_but_listed(self, folder, tmp_path):
        path = folder({"cats": 4, "dogs": 4})
        outside = folder({"secret": 2}, "outside")
        (path / "cats" / "file.png").symlink_to(outside / "secret" / "0.png")
        (path / "cats" / "nowhere.png").symlink_to(outside / "missing.png")
        (path / "cats" / "loop").symlink_to(path)
        (path / "owls").symlink_to(outside / "secret")
        dataset = opened(path)
        assert dataset.classes == ("cats", "dogs")
        assert set(reasons(dataset)) == {"cats/file.png", "cats/nowhere.png", "cats/loop", "owls"}
        assert len(dataset.items) == 8

    @pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
    def test_what_is_no_file_is_not_opened(self, folder):
        path = folder({"cats": 4, "dogs": 4})
        os.mkfifo(path / "cats" / "pipe.png")
        assert reasons(opened(path)) == {"cats/pipe.png": "not a regular file"}

    @pytest.mark.skipif(sys.platform != "linux", reason="needs file names of any bytes")
    def test_names_of_any_bytes_are_kept(self, folder, tmp_path):
        path = folder({"cats": 4, "dogs": 4})
        for name in (b"\xff\xfe.png", b"<img onerror=x>\n.png", "\u202egnp.png".encode(), b"x" * 255):
            picture(len(name) + 100).save(path / "cats" / "new.png")
            (path / "cats" / "new.png").rename(path / "cats" / os.fsdecode(name))
        (path / "dogs").rename(path / os.fsdecode(b"d\xffgs"))
        dataset = opened(path)
        assert len(dataset.items) == 12
        dataset.write(tmp_path / "split.json")
        again = data.load(tmp_path / "split.json")
        assert again == dataset
        assert all(again.image(item) for item in again.items)

    def test_progress_counts_every_picture(self, folder):
        seen = []
        data.open(RunConfig(data=str(folder({"cats": 5, "dogs": 5}))), lambda *each: seen.append(each))
        assert seen == [("checking pictures", done, 10) for done in range(1, 11)]


class TestBadInput:
    """Each is one clear line that names what is wrong."""

    def refused(self, path, message: str, **settings) -> None:
        with pytest.raises(DataError, match=message) as caught:
            opened(path, **settings)
        assert "\n" not in str(caught.value)

    def test_a_folder_that_is_not_there(self, tmp_path):
        self.refused(tmp_path / "missing", "missing' does not exist")
        self.refused("./missing", "does not exist")

    def test_an_unknown_data_set(self):
        self.refused("drwn", r"unknown data set 'drwn'\. Did you mean drawn\?")

    def test_a_file(self, tmp_path):
        (tmp_path / "pictures.zip").touch()
        self.refused(tmp_path / "pictures.zip", "is a file")

    def test_an_empty_folder(self, tmp_path):
        self.refused(tmp_path, "holds nothing: one sub-folder a class is expected")

    def test_a_folder_of_files(self, folder):
        self.refused(folder({"": 3}), "3 files but no sub-folder")

    def test_one_class(self, folder):
        self.refused(folder({"cats": 3}), "holds one class, 'cats': at least two are needed")

    def test_one_level_too_high(self, folder):
        self.refused(folder({"dataset/cats": 3, "dataset/dogs": 3}), r"Did you mean '.*dataset'\?")

    def test_an_empty_class(self, folder):
        self.refused(folder({"cats": 3, "dogs": 0}), "class 'dogs' has no pictures")

    def test_a_class_of_one_picture(self, folder):
        self.refused(folder({"cats": 5, "dogs": 1}), "class 'dogs' has 1 picture .*at least 3 are needed")

    def test_a_class_of_damaged_pictures(self, folder):
        path = folder({"cats": 5, "dogs": 0})
        (path / "dogs" / "0.jpg").touch()
        self.refused(path, r"class 'dogs' has no picture that can be used; 'dogs/0.jpg': empty file")

    def test_a_hostile_name_stays_on_its_line(self, folder):
        self.refused(folder({"cats": 5, "do\ngs": 1}), r"class 'do\\ngs' has 1 picture")


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
def test_real_photographs_keep_their_parts_and_their_duplicate_is_found(assets):
    dataset = opened(assets / "photos", limit=1200)
    assert len(dataset.items) == 1200
    assert dataset.input_sizes == (96, 128, 160, 192, 224)
    assert {item.id.split("/")[0] for item in dataset.part("test")} == {"test_set"}
    assert set(reasons(dataset)) == {"training_set/dogs/dog.3082.jpg"}
