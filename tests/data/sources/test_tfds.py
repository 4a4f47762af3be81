"""TensorFlow Datasets, with a package of that name that knows data sets in memory."""

from __future__ import annotations

import sys
from collections import Counter

import pytest

from bench.config import RunConfig
from bench.data.sources import create, rebuild
from bench.data.sources.folder import Folder
from bench.data.sources.tfds import _folder_names, export
from bench.errors import DataError

PACKAGE = '''
"""Stands in for the real package; the data sets are in `pets.py` beside it."""
import io, os, sys
from types import SimpleNamespace
import numpy as np
from PIL import Image as Pillow

class Image: pass
class Text: pass
class ClassLabel:
    def __init__(self, names): self.names = names

features = SimpleNamespace(Image=Image, Text=Text, ClassLabel=ClassLabel)
decode = SimpleNamespace(SkipDecoding=lambda: "as stored", PartialDecoding=lambda some, decoders: (some, decoders))
as_numpy = iter

def encoded(number):
    noise = np.random.default_rng(number).integers(0, 256, (20, 20, 3), dtype=np.uint8)
    file = io.BytesIO()
    Pillow.fromarray(noise).save(file, "JPEG" if number % 2 else "PNG")
    return file.getvalue()

class Builder:
    def __init__(self, features, splits, keys=None):
        self.prepared = False
        sizes = {split: SimpleNamespace(num_examples=len(labels)) for split, labels in splits.items()}
        self.info = SimpleNamespace(features=features, splits=sizes, supervised_keys=keys)
        self._labels = splits

    def download_and_prepare(self):
        print("libraries print what they like")
        self.prepared = True

    def as_dataset(self, split, decoders, shuffle_files):
        assert self.prepared
        some, (image, decoder) = decoders[0], *decoders[1].items()
        assert decoder == "as stored"
        for number, label in enumerate(self._labels[split]):
            yield dict(zip(some, (encoded(100 * len(split) + number), label)))

PETS = {"image": Image(), "label": ClassLabel(["cat", "dog"]), "file_name": Text()}

def builder(name):
    with open(os.environ["TFDS_ASKED"], "a") as asked:
        print(name, file=asked)
    match name:
        case "pets": return Builder(PETS, {"train": [0, 1] * 3})
        case "parts": return Builder(PETS, {"train": [0, 1] * 3, "validation": [0, 1], "test": [0, 1], "extra": [0]})
        case "competition": return Builder(PETS, {"train": [0, 1] * 3, "test": [-1] * 4})
        case "train_and_extra": return Builder(PETS, {"train": [0, 1] * 3, "extra": [0]})
        case "masks/small":
            more = {"mask": Image(), "species": ClassLabel(["a"])}
            return Builder(more | PETS, {"train": [0, 1]}, ("image", "label"))
        case "two": return Builder({"mask": Image(), **PETS}, {"train": [0, 1]})
        case "texts": return Builder({"text": Text(), "label": ClassLabel(["cat"])}, {"train": [0]})
        case "no_train": return Builder(PETS, {"test": [0, 1], "validation": [0, 1]})
        case "unlabelled": return Builder(PETS, {"train": [-1, -1]})
        case "crash": print("going down", file=sys.stderr, flush=True); os._exit(7)
    raise LookupError("Dataset " + name + " not found.\\nAvailable:\\n - pets\\n\\nDid you mean: pets ?")
'''


@pytest.fixture
def package(tmp_path, monkeypatch):
    """The stand-in, here and where the exporting process finds it."""
    (tmp_path / "packages").mkdir()
    (tmp_path / "packages" / "tensorflow_datasets.py").write_text(PACKAGE)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "packages"))
    monkeypatch.setenv("TFDS_ASKED", str(tmp_path / "asked"))
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.syspath_prepend(tmp_path / "packages")
    monkeypatch.delitem(sys.modules, "tensorflow_datasets", raising=False)
    yield
    sys.modules.pop("tensorflow_datasets", None)


@pytest.fixture
def exported(package, tmp_path):
    """The folder that a data set of that name becomes."""

    def make(name):
        (tmp_path / "exported").mkdir()
        export(name, tmp_path / "exported", lambda *about: None)
        return Folder(tmp_path / "exported")

    return make


def counts(source):
    return dict(Counter((entry.part, entry.label) for entry in source.listing().entries))


@pytest.mark.slow
def test_pictures_are_exported_once_as_they_are_stored_by_a_process_of_its_own(package, tmp_path):
    told, config = [], RunConfig(data="tfds:pets")
    source = create(config, lambda *about: told.append(about))
    assert source.title == "tfds:pets"
    assert counts(source) == {(None, "cat"): 3, (None, "dog"): 3}
    assert {entry.id.rpartition(".")[2] for entry in source.listing().entries} == {"png", "jpg"}
    assert all(source.picture(entry.id).pixels.shape == (20, 20, 3) for entry in source.listing().entries)
    assert told[0] == ("preparing tfds:pets", 0, 0)
    assert told[-1] == ("writing the pictures of tfds:pets", 6, 6)
    assert create(config) == rebuild(source.describe()) == source
    assert (tmp_path / "asked").read_text() == "pets\n"
    assert "tensorflow_datasets" not in sys.modules


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("unheard_of", r"'tfds:unheard_of': LookupError: Dataset unheard_of not found\. Did you mean: pets \?$"),
        ("crash", "its export ended with status 7: going down"),
    ],
)
def test_what_goes_wrong_there_is_one_line_and_leaves_nothing(package, tmp_path, name, says):
    with pytest.raises(DataError, match=says) as caught:
        create(RunConfig(data=f"tfds:{name}"))
    assert "\n" not in str(caught.value)
    assert list((tmp_path / "cache").rglob("*.png")) == []


def test_splits_that_are_parts_are_kept(exported):
    assert counts(exported("parts")) == {
        **{("train", name): 3 for name in ("cat", "dog")},
        **{(part, name): 1 for part in ("validation", "test") for name in ("cat", "dog")},
    }


@pytest.mark.parametrize("name", ["competition", "train_and_extra", "masks/small"])
def test_training_alone_is_split_by_the_suite(exported, name):
    assert counts(exported(name)).keys() == {(None, "cat"), (None, "dog")}


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("two", r"needs one Image and one ClassLabel, but its features are mask \(Image\), image \(Image\)"),
        ("texts", r"its features are text \(Text\), label \(ClassLabel\)"),
        ("no_train", "one of its splits must be named train; they are test, validation"),
        ("unlabelled", "has no labelled pictures"),
    ],
)
def test_what_is_no_set_of_labelled_pictures_is_refused(exported, name, says):
    with pytest.raises(DataError, match=says):
        exported(name)


def test_a_missing_package_names_the_extra(exported, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorflow_datasets", None)
    with pytest.raises(DataError, match=r"pip install 'image-model-bench\[tfds\]'"):
        exported("mnist")


@pytest.mark.parametrize("name", ["", "../up", "a b", "a:latest", "a/b/c"])
def test_what_is_no_name_is_refused(name):
    with pytest.raises(DataError, match="must be tfds:NAME, tfds:NAME:VERSION or tfds:NAME/CONFIG:VERSION"):
        create(RunConfig(data=f"tfds:{name}"))


def test_names_with_versions_and_configurations_are_kept_apart(tmp_path, monkeypatch):
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path))
    names = ["a", "a:1.0.0", "a/b", "a/b:1.0.0", "a/b-1.0.0"]
    assert len({rebuild({"kind": "tfds", "name": name}).path for name in names}) == len(names)


def test_any_class_gets_a_folder_of_its_own():
    names = ["cat", "Cat", "a/b", "a_b", "..", "", ".git", "x\n\0", "con\u202e", "cat-1", "__MACOSX", "n" * 300]
    folders = _folder_names(names)
    assert folders[0] == "cat"
    assert len({each.casefold() for each in folders}) == len(names)
    assert all(each and "/" not in each and each[0] != "." and len(each) < 80 for each in folders)
