"""Layouts of public data sets and of folders as people have them; the files are empty, nothing is decoded here."""

from __future__ import annotations

from collections import Counter

import pytest
from PIL import Image

from bench.data.sources.folder import Folder
from bench.errors import DataError


@pytest.fixture
def listing(tmp_path):
    """The listing of a folder with these files; a path that ends in "/" is an empty folder."""

    def make(*paths):
        for path in paths:
            (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / path).mkdir() if path.endswith("/") else (tmp_path / path).touch()
        return Folder(tmp_path).listing()

    return make


def below(*folders, names=("0.jpg", "1.jpg")):
    return [f"{folder}/{name}" for folder in folders for name in names]


def flat(folder, *classes):
    return [f"{folder}{each}.{number}.jpg" for each in classes for number in range(2)]


def counts(found):
    return dict(Counter((entry.part, entry.label) for entry in found.entries))


def each(*parts, classes="ab", n=2):
    return {(part, name): n for part in parts for name in classes}


CODE = ["README.md", "train.py", ".git/config", "__pycache__/train.cpython-312.pyc", "scripts/run.sh"]

LAYOUTS = {
    # what it is: (its files, pictures by part and class, the words of its guesses)
    "torchvision's ImageFolder": (below("a", "b/nested"), each(None), []),
    "a repository's root": ([*below("a", "b"), *CODE], each(None), ["no classes: '__pycache__', 'scripts'"]),
    "a sub-folder Imgs below each class": ([*below("a/Imgs", "b/Imgs"), *CODE], each(None), ["no classes"]),
    "nested patients": (below("a/p1", "a/p2/left", "b/p3", "b/p4"), each(None, n=4), []),
    "an empty folder beside the classes": ([*below("a", "b"), "c/"], each(None), ["no classes: 'c'"]),
    "Kaggle's PetImages": (["readme.txt", *below("Pet/a", "Pet/b")], each(None), ["the classes are in Pet/"]),
    "a wrapper above a wrapper": (
        [*below("D/CLS/a", "D/CLS/b"), "D/n.txt", "Sets/x.txt"],
        each(None),
        ["no classes: 'Sets'", "the classes are in D/CLS/"],
    ),
    "Kaggle's cats and dogs, unpacked": (
        below(*(f"{part}/{part}/{name}" for part in ("training_set", "test_set") for name in "ab")),
        each("train", "test"),
        ["in training_set/training_set/", "in test_set/test_set/"],
    ),
    "Kaggle's Dogs vs. Cats": (
        [*flat("train/", "a", "b"), *below("test1"), "sampleSubmission.csv"],
        each("train"),
        [
            "the class is the text before the last number",
            "test1/ has no labels: left out, a test part is split off train/",
        ],
    ),
    "fast.ai's imagenette": (
        [*below("net/train/a", "net/train/b", "net/val/a", "net/val/b"), "net/noisy.csv"],
        each("train", "validation"),
        ["the classes are in net/"],
    ),
    "train and test below data/": (
        [*below("data/train/a", "data/train/b", "data/test/a", "data/test/b"), *CODE],
        each("train", "test"),
        ["no classes", "the classes are in data/"],
    ),
    "a repository with figures beside parts": (
        [*below("data/train/a", "data/train/b", "data/val/a", "data/val/b", "docs/img"), *CODE],
        each("train", "validation"),
        ["left out beside 'data': 'docs'", "no classes", "the classes are in data/"],
    ),
    "a repository with figures beside classes": (
        below("data/a", "data/b", "docs/img"),
        {(None, "data"): 4, (None, "docs"): 2},
        ["the classes are 'data', 'docs'; if 'a', 'b' are, name their folder with --data"],
    ),
    "train alone": (below("train/a", "train/b"), each(None), ["the classes are in train/"]),
    "scenes as seg_train, seg_test, seg_pred": (
        below(
            "seg_train/seg_train/a", "seg_train/seg_train/b", "seg_test/seg_test/a", "seg_test/seg_test/b", "seg_pred"
        ),
        each("train", "test"),
        ["left out beside 'seg_test', 'seg_train': 'seg_pred'", "in seg_train/seg_train/", "in seg_test/seg_test/"],
    ),
    "chest X-rays, twice": (
        below(*(f"{above}{part}/{name}" for above in ("", "cxr/") for part in ("train", "test") for name in "ab")),
        each("train", "test"),
        ["left out beside 'test', 'train': 'cxr'"],
    ),
    "flowers, twice": (below("a", "b", "flowers/a", "flowers/b"), each(None), ["left out beside 'a', 'b': 'flowers'"]),
    "tiny ImageNet": (
        below("train/a/images", "train/b/images", "val/images", "test/images"),
        each("train"),
        [
            "val/images/ has no labels: left out, a validation part is split off train/",
            "test/images/ has no labels: left out, a test part is split off train/",
        ],
    ),
    "plant village": (
        below("color/a", "color/b", "grey/a", "grey/b"),
        each(None, classes=("color", "grey"), n=4),
        ["the classes are 'color', 'grey'; if 'a', 'b' are, name their folder with --data"],
    ),
    "a test part without labels in a folder": (
        below("train/a", "train/b", "test/unknown"),
        each("train"),
        ["test/unknown/ has no labels: left out, a test part is split off train/"],
    ),
    "the test part again, without labels": (
        below("train/a", "train/b", "test/a", "test/b", "test/testpile"),
        each("train", "test"),
        ["test/testpile/ is no class of train/: left out"],
    ),
    "MVTec's ground truth beside parts": (
        below("train/a", "train/b", "test/a", "test/b", "ground_truth/b"),
        each("train", "test"),
        ["left out beside 'test', 'train': 'ground_truth'"],
    ),
    "an earlier run": (
        [
            *below("a", "b"),
            "reports/1/run.json",
            *below("reports/1/thumbnails"),
            "a/run/run.json",
            *below("a/run/thumbnails"),
        ],
        each(None),
        ["no classes: 'reports'"],
    ),
}


@pytest.mark.parametrize(("paths", "expected", "guesses"), LAYOUTS.values(), ids=LAYOUTS)
def test_a_layout_is_read_and_its_guesses_are_said(listing, paths, expected, guesses):
    found = listing(*paths)
    assert counts(found) == expected
    assert len(found.guesses) == len(guesses), found.guesses
    assert all(words in guess for words, guess in zip(guesses, found.guesses, strict=True)), found.guesses
    assert len(found.entries) + sum(found.ignored.values()) == len(counted_once(paths))


def counted_once(paths):
    """The files; a hidden folder and a run folder count as one."""
    runs = [path.removesuffix("run.json") for path in paths if path.endswith("/run.json")]
    whole = [*runs, ".git/"]
    return {next((above for above in whole if path.startswith(above)), path) for path in paths if path[-1] != "/"}


def test_a_folder_of_pictures_without_their_suffixes_is_a_class(tmp_path):
    for name in ("a/0.dat", "a/1", "b/0.jpg"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.new("RGB", (8, 8)).save(tmp_path / name, "PNG")
    assert counts(Folder(tmp_path).listing()) == {(None, "a"): 2, (None, "b"): 1}


@pytest.mark.parametrize(
    ("paths", "says"),
    [
        (
            below("train/a", "train/b", "train/c", "test/a", "test/b"),
            r"class 'c' is in train/ but not in test/; add its pictures there, or .*: --data \S*/train$",
        ),
        (
            [*below("train/a", "train/b", "test/a", "test/b"), "test/c/new.jpg"],
            "'c' is in test/",
        ),
        (below("train/good", "test/good", "test/broken"), r"one class, 'good': .* Did you mean '\S*/test'"),
        (
            ["a/0.jpg", "b/", "c/notes.txt"],
            r"one class, 'a': at least two are needed \(class 'b', 'c' has no pictures\)",
        ),
        ([*below("images"), "labels.csv"], r"one class, 'images': .* Did you mean '\S*/labels.csv'"),
        (["1.jpg", "labels.csv"], r"has 2 files but no sub-folder, .* Did you mean '\S*/labels.csv'"),
        (CODE, "has 4 files but no sub-folder with pictures"),
        (["run.json", *below("thumbnails/a", "thumbnails/b")], "is a run folder: its pictures are thumbnails"),
    ],
)
def test_what_cannot_be_read_is_said_with_what_to_do(listing, paths, says):
    with pytest.raises(DataError, match=says) as caught:
        listing(*paths)
    assert "\n" not in str(caught.value)


def test_links_to_class_folders_are_said(tmp_path):
    for name in ("a", "b"):
        (tmp_path / "else" / name).mkdir(parents=True)
        (tmp_path / "photos").mkdir(exist_ok=True)
        (tmp_path / "photos" / name).symlink_to(tmp_path / "else" / name)
    with pytest.raises(DataError, match="nothing that can be used; 'a': link, not followed: leads to a folder"):
        Folder(tmp_path / "photos").listing()
