"""Folders whose pictures are labelled by name, as in Kaggle's competition; class folders are in `test_open.py`."""

from __future__ import annotations

import contextlib
import os
from collections import Counter

import pytest

from bench.data.sources.folder import Folder
from bench.errors import DataError


@pytest.fixture
def listing(tmp_path):
    """What is listed in a folder with these files; they are empty, for nothing is decoded here."""

    def make(*names):
        for name in names:
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).touch()
        return Folder(tmp_path).listing()

    return make


def of(label, count, above=""):
    return [f"{above}{label}.{number}.jpg" for number in range(count)]


@pytest.fixture
def labelled_from(tmp_path, listing):
    """What is listed with a pattern of the user's."""

    def make(pattern, *names):
        with contextlib.suppress(DataError):
            listing(*names)
        return Folder(tmp_path, label_from=pattern).listing()

    return make


def counts(listing):
    return dict(Counter((entry.part, entry.label) for entry in listing.entries))


def test_a_flat_folder_is_labelled_by_names(listing):
    found = listing(*of("cat", 3), *of("dog", 2), "1.jpg", "2.jpg", "notes.txt", "Thumbs.db", ".hidden/x.jpg")
    assert found.classes == ("cat", "dog")
    assert counts(found) == {(None, "cat"): 3, (None, "dog"): 2}
    assert {entry.id for entry in found.entries} == {*of("cat", 3), *of("dog", 2)}
    assert found.ignored == {
        "unlabelled: no class in the name": 2,
        "not a picture": 1,
        "hidden or system file": 1,
        "hidden or system folder": 1,
    }


def test_the_pattern_of_the_names_is_said_with_examples(listing):
    (note,) = listing(*of("cat", 3), *of("dog", 2)).guesses
    assert "the text before the last number of a file's name (cat.0.jpg is cat, dog.0.jpg is dog)" in note
    assert note.endswith("--label-from REGEX reads it otherwise")
    assert listing(*(f"{each}/{name}" for each in "ab" for name in of("cat", 2))).guesses == ()


def test_the_pattern_of_the_training_names_holds_for_the_other_parts(listing):
    train = [f"train/{number}_{label}.jpg" for label in ("cat", "dog") for number in range(3)]
    assert counts(listing(*train, "test/7_cat.jpg", "test/8_dog.jpg")) == {
        ("train", "cat"): 3,
        ("train", "dog"): 3,
        ("test", "cat"): 1,
        ("test", "dog"): 1,
    }


@pytest.mark.parametrize(
    ("pattern", "names", "labels"),
    [
        (r"^(\w)-", ["a-x.jpg", "b-x.jpg"], ["a", "b"]),
        (r"(?P<id>\d+)_(?P<label>[a-z]+)", ["1_x.jpg", "2_y.jpg"], ["x", "y"]),
        (r"^(\w)_\d", ["train/a_1.jpg", "train/b_1.jpg", "test/a_2.jpg", "test/b_2.jpg"], ["a", "b", "a", "b"]),
        (r"^(\w+)/", ["train/a/1/x.jpg", "train/b/y.jpg", "test/a/z.jpg", "test/b/x.jpg"], ["a", "b", "a", "b"]),
        (r"^(\w+)/", ["red/1/x.jpg", "blue/2/x.jpg", "blue/__MACOSX/y.jpg"], ["blue", "red"]),
        (r"/.*-(\w+)", ["red/1/x-up.jpg", "blue/2/x-down.jpg", "blue/notes-up.txt"], ["down", "up"]),
    ],
)
def test_a_pattern_reads_the_class_in_a_name_or_else_in_a_path(labelled_from, pattern, names, labels):
    found = labelled_from(pattern, *names)
    assert sorted(entry.label for entry in found.entries) == sorted(labels)
    assert found.guesses == ()


def test_a_pattern_that_matches_nothing_is_an_error_with_a_name(labelled_from):
    with pytest.raises(DataError, match=r"label-from '\(x\+\)' matches none of its files, e.g. 'a.1.jpg'"):
        labelled_from("(x+)", "a.1.jpg", "b.1.jpg")


@pytest.mark.parametrize("test", ["test", "test1"])
def test_kaggles_unlabelled_test_folder_is_ignored_with_its_count(listing, test):
    found = listing(*of("cat", 3, "train/"), *of("dog", 3, "train/"), f"{test}/1.jpg", f"{test}/2.jpg", "sample.csv")
    assert counts(found) == {("train", "cat"): 3, ("train", "dog"): 3}
    assert {entry.id.split("/")[0] for entry in found.entries} == {"train"}
    assert found.ignored == {"unlabelled: no class in the name": 2, "beside the classes": 1}


def test_a_labelled_test_folder_is_kept_as_the_test_part(listing):
    found = listing(*(name for part in ("train", "val", "test") for each in "ab" for name in of(each, 2, f"{part}/")))
    assert counts(found) == {(part, each): 2 for part in ("train", "validation", "test") for each in "ab"}


def test_names_that_training_does_not_know_are_no_classes(listing):
    found = listing("train/cat/x.jpg", "train/dog/x.jpg", "test/image_1.jpg", "test/image_2.jpg")
    assert counts(found) == {("train", "cat"): 1, ("train", "dog"): 1}
    assert found.ignored == {"unlabelled: no class in the name": 2}


def test_a_training_folder_may_stand_alone(listing):
    assert counts(listing(*of("cat", 3, "train/"), *of("dog", 3, "train/"))) == {
        ("train", "cat"): 3,
        ("train", "dog"): 3,
    }


def test_class_folders_come_first_whatever_their_files_are_called(listing):
    found = listing(*of("cat", 3, "tabby/"), *of("cat", 3, "siamese/"), "cat.0.jpg", "dog.0.jpg")
    assert counts(found) == {(None, "tabby"): 3, (None, "siamese"): 3}
    assert found.ignored == {"beside the classes": 2}


def test_a_class_may_be_called_train(listing):
    found = listing(*of("train", 3, "train/"), *of("plane", 3, "plane/"))
    assert found.classes == ("plane", "train")


@pytest.mark.parametrize(
    ("names", "says"),
    [
        ((*of("cat", 2), *of("dog", 2), "more/x.jpg"), r"named after their class \('cat', 'dog'\) beside .* 'more'"),
        (("1.jpg", "2.jpg"), "has 2 files but no sub-folder, and none named after its class"),
        (("train/1.jpg", "test/1.jpg"), r"train' has 1 file but no sub-folder"),
        ((*of("cat", 2, "train/"), "test1/1.jpg"), r"train' has one class, 'cat'"),
        (of("cat", 2), r"has one class, 'cat': .*; the class is the text before the last number .*--label-from"),
        (
            (*of("cat", 2, "train/"), *of("dog", 2, "train/"), *of("cat", 2, "test/")),
            "class 'dog' is in train/ but not in test/",
        ),
    ],
)
def test_what_is_not_understood_is_one_line_with_the_layouts(listing, names, says):
    with pytest.raises(DataError, match=says) as caught:
        listing(*names)
    assert "\n" not in str(caught.value)


@pytest.mark.skipif(not hasattr(os, "symlink"), reason="needs symbolic links")
def test_links_are_followed_inside_the_folder_alone(listing, tmp_path):
    (tmp_path / "cat.8.jpg").symlink_to(tmp_path / "cat.0.jpg")
    (tmp_path / "cat.9.jpg").symlink_to(tmp_path.parent / "outside.jpg")
    (tmp_path.parent / "outside.jpg").touch()
    (tmp_path / "owls").symlink_to(tmp_path.parent)
    os.mkfifo(tmp_path / "dog.7.jpg")
    found = listing(*of("cat", 2), *of("dog", 2))
    assert counts(found) == {(None, "cat"): 3, (None, "dog"): 2}
    assert {each.id: each.reason for each in found.left_out} == {
        "cat.9.jpg": "link, not followed: leads outside the folder",
        "dog.7.jpg": "not a regular file",
        "owls": "link, not followed: leads to a folder",
    }
