"""Search-space files import the files beside them, and nothing of that outlives their loading."""

from __future__ import annotations

import sys

import pytest

from bench.errors import SpaceError
from bench.hyperparameters import HyperParameters, fixed
from bench.training.loading import load, space_error

FAMILY = """\
from _shared import NAME
from shared import OTHER


def build(hp):
    import _shared

    return NAME, OTHER, _shared.NAME, _shared


KNOWN_CONFIGURATIONS = [{"depth": 3}]
"""


@pytest.fixture
def folder(tmp_path):
    """Makes a folder with a family and two files that it imports."""

    def make(name, family=FAMILY):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "_shared.py").write_text(f"NAME = {name!r}\n")
        (folder / "shared.py").write_text(f"OTHER = 'other {name}'\n")
        (folder / "family.py").write_text(family)
        return folder / "family.py"

    return make


def built(family):
    return family.model(HyperParameters(fixed({})), None)


def test_two_folders_with_a_shared_file_of_one_name_do_not_mix(folder):
    first, second = load(folder("first")), load(folder("second"))
    assert built(first)[:3] == ("first", "other first", "first")
    assert built(second)[:3] == ("second", "other second", "second")
    assert built(first)[3] is built(first)[3]  # imported once
    assert first.known == ({"depth": 3},)
    assert first.line == 5


def test_loading_and_building_leave_no_trace(folder):
    path, modules = list(sys.path), set(sys.modules)
    built(load(folder("first")))
    assert sys.path == path
    assert set(sys.modules) == modules


def test_a_module_of_the_same_name_that_others_have_imported_stays(folder, monkeypatch):
    ours = object()
    monkeypatch.setitem(sys.modules, "_shared", ours)
    assert built(load(folder("first")))[0] == "first"
    assert sys.modules["_shared"] is ours


def test_a_changed_shared_file_is_read_anew(folder):
    path = folder("first")
    load(path)
    path.with_name("_shared.py").write_text("NAME = 'changed name'\n")
    assert built(load(path))[0] == "changed name"


def test_a_file_that_cannot_be_imported_leaves_no_trace_either(folder):
    before = list(sys.path)
    path = folder("broken", "from _shared import NAME\nraise RuntimeError('no\\nluck')\n\ndef build(hp):\n    pass\n")
    with pytest.raises(SpaceError) as caught:
        load(path)
    assert (caught.value.path, caught.value.line, caught.value.message) == (path, 2, "RuntimeError: no luck")
    assert sys.path == before
    assert "_shared" not in sys.modules


@pytest.mark.parametrize(
    ("signature", "gets"),
    [
        ("hp", "no task"),
        ("hp, task", "task"),
        ("hp, t", "task"),
        ("hp, num_classes=10, task=None", "task"),
        ("hp, *, task", "task"),
        ("hp, num_classes='no task'", "no task"),
        ("hp, *more", "no task"),
        ("hp, **more", "no task"),
        ("hp, *, verbose=False", "no task"),
    ],
)
def test_the_task_goes_to_the_parameter_of_that_name_or_to_a_second_one_without_a_default(folder, signature, gets):
    names = [name.split("=")[0].strip("* ") for name in signature.split(",")]
    value = "task" if "task" in names else "t" if "t" in names else "'no task'"
    path = folder("a", f"def build({signature}): return {value}\n")
    assert load(path).model(HyperParameters(fixed({})), "task") == gets


@pytest.mark.parametrize("known", ["{'depth': 3}", "'depth'", "3", "[{'depth': 3}, 'depth']"])
def test_known_configurations_that_are_no_list_of_dicts_are_one_line(folder, known):
    path = folder("a", f"def build(hp): ...\n\n\nKNOWN_CONFIGURATIONS = {known}\n")
    with pytest.raises(SpaceError, match=r"family\.py:4: KNOWN_CONFIGURATIONS must be a list of dicts"):
        load(path)


def test_a_family_says_what_its_models_see(folder):
    build = "def build(hp): ...\n"
    assert [load(folder(name, build + text)).input for name, text in (("a", ""), ("b", "INPUT = 'metadata'"))] == [
        "pixels",
        "metadata",
    ]
    with pytest.raises(SpaceError, match=r"family\.py:2: INPUT is 'sounds': must be one of pixels, metadata"):
        load(folder("c", build + "INPUT = 'sounds'\n"))


HYPERMODEL = """\
import functools
import json
from _shared import NAME
from shared import make_model

class HyperModel:  # as Keras Tuner's
    def __init__(self):
        self._build = self.build
        self.build = self._build_wrapper

    def build(self, hp):
        raise NotImplementedError

    def _build_wrapper(self, hp, *args, **kwargs):
        return self._build(hp, *args, **kwargs)

    def fit(self, hp, model, *args, **kwargs):
        return model.fit(*args, **kwargs)

    fit.__module__ = "keras_tuner.src.engine.hypermodel"


class Mine(HyperModel):
    def build(self, hp):
        return "no task"


class WithTask(HyperModel):
    def build(self, hp, task):
        return task


class Trains(Mine):
    def fit(self, hp, model, *args, **kwargs):
        return model.fit(*args, epochs=hp.Int("epochs", 1, 3), **kwargs)


class Plain:
    @classmethod
    def build(cls, hp, task):
        return task


def prepared(classes, hp, task):
    return task


"""


@pytest.fixture
def bound(folder):
    """Loads a file that ends with this line."""

    def make(line):
        path = folder("a", f"{HYPERMODEL}{line}\n")
        (path.parent / "shared.py").write_text("def make_model(hp, task):\n    return task\n")
        return load(path)

    return make


@pytest.mark.parametrize(
    ("line", "gets"),
    [
        ("build = Mine().build", "no task"),
        ("build = Mine()", "no task"),
        ("build = WithTask().build", "task"),
        ("build = WithTask()", "task"),
        ("build = Plain.build", "task"),
        ("build = Plain()", "task"),
        ("build = functools.partial(prepared, 10)", "task"),
        ("build = lambda hp, task: task", "task"),
        ("build = lambda hp: 'no task'", "no task"),
        ("from shared import make_model as build", "task"),
        ("build: object = make_model", "task"),
    ],
)
def test_whatever_can_be_called_with_hp_is_a_build(bound, line, gets):
    family = bound(line)
    assert family.model(HyperParameters(fixed({})), "task") == gets
    assert family.line == len(HYPERMODEL.splitlines()) + 1


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("build = Mine", "build is <class 'search_space_family.Mine'>: must be build(hp) or build(hp, task)"),
        ("build = 3", "build is 3: must be"),
        ("build = functools.partial(int)", "no signature found for builtin"),
        ("build = Trains()", "Trains.fit would not be called: models are trained by the suite; declare batch_size"),
        ("build = Trains().build", "Trains.fit would not be called"),
        ("build = prepared", "build(classes, hp, task): must be"),
        ("build = lambda: 3", "build(): must be"),
        ("build = lambda *, verbose: 3", "build(*, verbose): must be"),
    ],
)
def test_what_cannot_be_called_with_hp_is_one_line(bound, line, says):
    with pytest.raises(SpaceError) as caught:
        bound(line)
    assert caught.value.line == len(HYPERMODEL.splitlines()) + 1
    assert caught.value.message.startswith(says)


def test_a_build_that_no_import_has_brought_is_one_line(folder):
    with pytest.raises(SpaceError, match=r"family\.py:1: build is None: must be"):
        load(folder("a", "from _shared import *\n"))


def test_an_error_of_a_package_stands_at_the_line_of_build(bound):
    family = bound("build = json.dumps")
    with pytest.raises(TypeError) as caught:
        family.model(HyperParameters(fixed({})), None)
    error = space_error(family.path, caught.value, family.line)
    assert (error.path, error.line) == (family.path, family.line)
