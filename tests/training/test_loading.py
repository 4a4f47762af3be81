"""Search-space files import the files beside them, and nothing of that outlives their loading."""

from __future__ import annotations

import sys

import pytest

from bench.errors import SpaceError
from bench.hyperparameters import HyperParameters, fixed
from bench.training.loading import load

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
