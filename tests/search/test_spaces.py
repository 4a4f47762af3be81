"""Search-space files are found and checked without being imported."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.config import RunConfig
from bench.errors import ConfigError, SpaceError
from bench.search import spaces
from bench.training import loading


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def test_the_built_in_families_are_there_cheapest_first():
    assert [each.name for each in spaces.select(())] == [
        "dummy",
        "metadata",
        "gradients",
        "cnn",
        "mobilenet",
        "mobilenet_v2",
        "vgg16",
        "vgg19",
    ]


def test_every_built_in_family_says_what_it_is():
    assert all(len(each.title) > 20 for each in spaces.select(()))


def test_families_are_selected_by_name_file_and_folder(space, tmp_path):
    path = space("mine")
    assert [each.name for each in spaces.select(["cnn", path])] == ["cnn", "mine"]
    space("other")
    space("_shared", "SIZE = 3\n")
    assert [each.name for each in spaces.select([str(tmp_path / "spaces")])] == ["mine", "other"]


def test_an_optional_family_is_searched_only_by_its_name_or_path(space, tmp_path):
    known = {path.stem: spaces.read(path) for path in spaces.known()}
    assert {name for name, read in known.items() if read.optional} >= {"efficientnet_v2", "convnext", "resnet50"}
    assert [each.name for each in spaces.select(["resnet50", "cnn"])] == ["resnet50", "cnn"]
    path, folder = space("rare", "OPTIONAL = True\ndef build(hp): ...\n"), str(tmp_path / "spaces")
    assert [each.name for each in spaces.select([path])] == ["rare"]
    with pytest.raises(ConfigError, match="all families in the folder are optional, name their files: rare"):
        spaces.select([folder])
    space("usual", "OPTIONAL = False\ndef build(hp): ...\n")
    assert [each.name for each in spaces.select([folder])] == ["usual"]


def test_optional_must_be_readable_without_an_import(space):
    with pytest.raises(SpaceError, match=r"maybe\.py:1: OPTIONAL must be True or False"):
        spaces.select([space("maybe", "OPTIONAL = 1 + 1\ndef build(hp): ...\n")])


def test_a_folder_search_spaces_where_one_stands_adds_families(tmp_path):
    (tmp_path / "search_spaces").mkdir()
    (tmp_path / "search_spaces" / "mine.py").write_text("def build(hp, task):\n    pass\n")
    assert [each.name for each in spaces.select(())][-1] == "mine"
    assert [each.name for each in spaces.select(("mine",))] == ["mine"]


def test_a_local_file_that_hides_a_built_in_family_is_known(tmp_path):
    assert spaces.hidden() == []
    local = tmp_path / "search_spaces" / "cnn.py"
    local.parent.mkdir()
    local.write_text("def build(hp, task):\n    pass\n")
    assert spaces.hidden() == [local]
    assert [space.path for space in spaces.select(["cnn"])] == [local]


def test_in_the_folder_of_the_built_in_families_none_is_hidden(monkeypatch):
    monkeypatch.chdir(spaces.BUILT_IN.parent)
    assert spaces.hidden() == []


def test_nothing_is_imported(space):
    assert spaces.select([space("mine", "raise SystemExit('imported')\ndef build(hp): ...\n")])


@pytest.mark.parametrize(
    ("text", "line", "says"),
    [
        ("import keras\n\ndef build(hp, task:\n    pass\n", 3, "SyntaxError"),
        ("x = 1\n", 1, "no function `build(hp, task)`"),
        ("\n\ndef build():\n    pass\n", 3, "build(): must be build(hp) or build(hp, task)"),
        ("def build(hp, task, size):\n    pass\n", 1, "build(hp, task, size): must be"),
        ("def build(hp, *, verbose):\n    pass\n", 1, "must be"),
        ("\nasync def build(hp):\n    pass\n", 2, "not async"),
        ("class build_model:\n    pass\n", 1, "no function"),
    ],
)
def test_a_broken_file_is_one_line_with_its_place(space, text, line, says):
    path = space("broken", text)
    with pytest.raises(SpaceError) as caught:
        spaces.select([path])
    assert str(caught.value).startswith(f"{path}:{line}: ")
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["def build(hp): ...", "def build(hp, task, size=3): ...", "def build(*a): ...",
                                  "from elsewhere import build", "build = make(3)", "build: object = make(3)",
                                  "from elsewhere import *", "from elsewhere import x as build", "a, (build, *b) = c",
                                  "if True:\n    def build(hp): ...", "(build := make(3))",
                                  "@wrapped\ndef build(): ...",
                                  "try:\n    from a import build\nexcept ImportError:\n    build = None",
                                  "def build(): ...\nbuild = make(build)"])  # fmt: skip
def test_what_may_be_callable_is_accepted(space, text):
    assert spaces.select([space("fine", text)])


@pytest.mark.parametrize("text", ["def f():\n    build = 3\n", "class A:\n    def build(self, hp): ...\n",
                                  "a = [build for build in ()]\n", "build.x = 3\n", "import a.build\n"])  # fmt: skip
def test_what_is_bound_elsewhere_is_no_build(space, text):
    with pytest.raises(SpaceError, match=r"other\.py:1: there is no function"):
        spaces.select([space("other", text)])


@pytest.mark.parametrize(
    "content",
    [
        b"\xef\xbb\xbf" + '"""Gr\u00f6\u00dfe."""\n\ndef build(hp): ...\n'.encode(),
        '# -*- coding: latin-1 -*-\n"""Gr\u00f6\u00dfe."""\ndef build(hp): ...\n'.encode("latin-1"),
    ],
    ids=["byte order mark", "PEP 263"],
)
def test_a_file_is_read_in_the_encoding_that_python_reads_it_in(tmp_path, content):
    path = tmp_path / "encoded.py"
    path.write_bytes(content)
    assert spaces.read(path).title == "Gr\u00f6\u00dfe."
    assert loading.load(path).line == 3


def test_bytes_that_are_no_text_are_a_broken_file(tmp_path):
    path = tmp_path / "binary.py"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(SpaceError, match=r"binary\.py:1: "):
        spaces.select([str(path)])


@pytest.mark.parametrize(
    ("wanted", "says"),
    [
        ("mobilnet_v2", "unknown family 'mobilnet_v2'. Did you mean mobilenet_v2"),
        ("no/such", "no such file or folder"),
        ("missing.py", "no such file or folder"),
        ("empty", "no search-space file"),
    ],
)
def test_what_is_not_there_is_said_clearly(tmp_path, wanted, says):
    (tmp_path / "empty").mkdir()
    with pytest.raises(ConfigError) as caught:
        spaces.select([wanted])
    assert says in str(caught.value)


def test_two_files_of_one_name_are_refused(space, tmp_path):
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "mine.py").write_text("def build(hp): ...\n")
    with pytest.raises(ConfigError, match=r"two files for the family 'mine': .*; rename one"):
        spaces.select([space("mine"), str(tmp_path / "more")])


def test_a_family_name_must_be_fit_for_paths_and_pages(space):
    with pytest.raises(SpaceError, match="names the family"):
        spaces.select([space("a<b>", "def build(hp): ...\n")])


def test_the_folders_of_a_project_are_those_of_its_families_and_its_pictures(tmp_path):
    (tmp_path / "photos").mkdir()
    (tmp_path / "table.csv").touch()
    built_in, mine = spaces.BUILT_IN / "cnn.py", tmp_path / "spaces" / "mine.py"
    assert spaces.folders(RunConfig(), [built_in]) == []
    assert spaces.folders(RunConfig(data="photos"), [built_in, mine, mine]) == [mine.parent, Path("photos")]
    assert spaces.folders(RunConfig(data=str(tmp_path / "table.csv")), []) == [tmp_path]
