"""Before the search: what is said of families whose pretrained weights are there, wrong or missing."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from bench import RunConfig
from bench import data as pictures
from bench.errors import ConfigError, SpaceError, WeightsError, WorkerError
from bench.records import Failure, FailureKind
from bench.search import families, spaces
from bench.search.progress import Progress
from bench.search.spaces import SearchSpace
from bench.testing import FakePool
from bench.training.messages import WeightsFile, WeightsJob
from bench.workers import Outcome
from bench.workers.process import failure_of

NOWHERE = "http://127.0.0.1:9/weights.h5"


class Backbones(FakePool):
    """Every family wants the weights of one backbone; `wrong` says what is wrong with their file, None of none."""

    def __init__(self, path, wrong=""):
        super().__init__(lambda hp, family: hp.Boolean("flag"), lambda family, params: 0.5)
        self._file = WeightsFile("Net", url=NOWHERE, path=str(path), missing=wrong is None, problem=wrong or "")
        self.downloaded = ""  # what is found wrong with the file after a download

    def _run(self, job, listener):
        if isinstance(job, WeightsJob):
            return replace(job.file, missing=False, problem=self.downloaded)
        return replace(super()._run(job, listener), weights_files=(self._file,), backbones=1)


class Told(Progress):
    def __init__(self):
        self.warnings = []

    def warning(self, text):
        self.warnings.append(text)


@pytest.fixture
def prepare(space):
    def run(pool, progress=None, **config):
        config = RunConfig(images=24, **config)
        chosen = spaces.select([space("net")])
        return families.prepare(config, chosen, pictures.open(config), pool, progress or Progress())[0][0]

    return run


def test_weights_that_are_there_and_load_are_used(prepare, tmp_path):
    told = Told()
    family = prepare(Backbones(tmp_path / "net.h5"), told)
    assert family.info.weights == "imagenet"
    assert family.files == {"Net": str(tmp_path / "net.h5")}
    assert told.warnings == []


def test_weights_that_are_not_there_are_downloaded_and_looked_at(prepare, tmp_path, monkeypatch):
    monkeypatch.setattr(families.downloads, "fetch", lambda url, path, *rest: path.write_bytes(b"some"))
    pool = Backbones(tmp_path / "net.h5", wrong=None)
    assert prepare(pool).files == {"Net": str(tmp_path / "net.h5")}
    (tmp_path / "net.h5").unlink()
    pool.downloaded, told = "OSError: a page in its place", Told()
    assert "a page in its place" in prepare(pool, told).info.skipped
    assert "a page in its place" in told.warnings[0]


@pytest.mark.parametrize(("wrong", "says"), [("OSError: truncated", "truncated"), (None, "cannot be reached")])
def test_missing_or_damaged_weights_are_said_and_labelled(prepare, tmp_path, wrong, says):
    told = Told()
    family = prepare(Backbones(tmp_path / "net.h5", wrong), told, missing_weights="random")
    assert family.info.weights == "random (missing)"
    assert family.files == {"Net": ""}
    assert not family.info.skipped
    assert len(told.warnings) == 1
    assert "no imagenet weights for Net" in told.warnings[0]
    assert says in told.warnings[0]


def test_a_file_that_does_not_come_says_nothing_of_the_next_one(prepare, tmp_path, monkeypatch):
    class Two(Backbones):
        def _run(self, job, listener):
            if isinstance(job, WeightsJob):
                return super()._run(job, listener)
            files = [replace(self._file, backbone=name, path=str(tmp_path / name)) for name in ("first", "second")]
            return replace(super()._run(job, listener), weights_files=tuple(files))

    def fetch(url, path, *rest):
        if path.name == "first":
            raise families.downloads.DownloadError("HTTP Error 404: Not Found")
        path.write_bytes(b"some")

    monkeypatch.setattr(families.downloads, "fetch", fetch)
    told = Told()
    family = prepare(Two(tmp_path / "net.h5", wrong=None), told)
    assert family.files == {"first": "", "second": str(tmp_path / "second")}
    assert family.info.weights == "imagenet"  # a trial that asks for the other one says so itself
    assert told.warnings[0].startswith(
        "no imagenet weights for first: not in the Keras cache, and 127.0.0.1:9 did not send"
    )


def test_a_family_without_weights_is_skipped(prepare, tmp_path):
    family = prepare(Backbones(tmp_path / "net.h5", None))
    assert family.info.skipped.startswith("no imagenet weights")
    assert family.info.weights == ""  # nothing starts from random ones


def test_missing_weights_can_be_an_error(prepare, tmp_path):
    with pytest.raises(WeightsError, match=r"KERAS_HOME.*--missing-weights random or skip"):
        prepare(Backbones(tmp_path / "net.h5", None), missing_weights="error")


def test_random_weights_that_were_asked_for_are_no_missing_ones(prepare, tmp_path):
    class Wanting(Backbones):
        def _run(self, job, listener):
            return replace(super()._run(job, listener), weights_files=())

    told = Told()
    family = prepare(Wanting(tmp_path / "net.h5"), told, weights="random")
    assert (family.info.weights, told.warnings) == ("random", [])


@pytest.mark.parametrize(
    ("failure", "error", "says"),
    [
        (
            Failure(FailureKind.EXCEPTION, "ValueError: x: y", error="SpaceError", path="/a b: c/net.py", line=7),
            SpaceError,
            "^/a b: c/net.py:7: ValueError: x: y$",
        ),
        (
            Failure(FailureKind.TIMEOUT, "took too long"),
            SpaceError,
            r"net\.py:1: cannot be built: TIMEOUT: took too long",
        ),
        (Failure(FailureKind.EXCEPTION, "no keras", error="ImportError"), WorkerError, "ImportError: no keras"),
    ],
)
def test_a_family_that_cannot_be_built_stops_the_run(prepare, tmp_path, failure, error, says):
    class Failing(Backbones):
        def finished(self, timeout_s):
            return [Outcome(job, failure=failure) for job, _ in (self._waiting.pop(0),)]

    with pytest.raises(error, match=says):
        prepare(Failing(tmp_path / "net.h5"))


def test_some_backbones_without_weights_do_not_skip_the_family(prepare, tmp_path):
    class Some(Backbones):
        def _run(self, job, listener):
            files = self._file, replace(self._file, backbone="Net(alpha=0.6)", path="", problem="there are none")
            return replace(super()._run(job, listener), weights_files=files)

    told = Told()
    family = prepare(Some(tmp_path / "net.h5"), told, missing_weights="skip")
    assert (family.info.skipped, family.info.weights) == ("", "imagenet")
    assert family.files == {"Net": str(tmp_path / "net.h5"), "Net(alpha=0.6)": ""}
    assert told.warnings == [
        "no imagenet weights for Net(alpha=0.6): there are none. It is skipped (--missing-weights skip)"
    ]
    with pytest.raises(WeightsError, match=r"Net\(alpha=0.6\): there are none"):
        prepare(Some(tmp_path / "net.h5"), missing_weights="error")


def test_two_families_may_have_backbones_of_one_name(space, tmp_path, monkeypatch):
    class Two(Backbones):
        def _run(self, job, listener):
            if isinstance(job, WeightsJob):
                checked.append((job.path, job.file.path))
                return replace(job.file, missing=False)
            path = str(tmp_path / Path(job.path).stem)
            return replace(super()._run(job, listener), weights_files=(replace(self._file, path=path),))

    fetched, checked = [], []
    monkeypatch.setattr(families.downloads, "fetch", lambda url, path, *rest: fetched.append(path.name))
    config, paths = RunConfig(images=24), [space("one"), space("other")]
    pool = Two(tmp_path / "net.h5", wrong=None)
    prepared, _ = families.prepare(config, spaces.select(paths), pictures.open(config), pool, Progress())
    assert [family.files for family in prepared] == [{"Net": str(tmp_path / name)} for name in ("one", "other")]
    assert fetched == ["one", "other"]
    assert checked == [(path, str(tmp_path / Path(path).stem)) for path in paths]


def test_a_file_that_two_families_want_is_downloaded_and_checked_once(space, tmp_path, monkeypatch):
    class Same(Backbones):
        def _run(self, job, listener):
            jobs.append(type(job).__name__)
            return super()._run(job, listener)

    fetched, jobs, told = [], [], Told()
    monkeypatch.setattr(families.downloads, "fetch", lambda url, path, *rest: fetched.append(path.name))
    pool = Same(tmp_path / "net.h5", wrong=None)
    pool.downloaded = "OSError: a page in its place"
    config, paths = RunConfig(images=24), [space("one"), space("other")]
    prepared, _ = families.prepare(config, spaces.select(paths), pictures.open(config), pool, told)
    assert (fetched, jobs) == (["net.h5"], ["ProbeJob", "ProbeJob", "WeightsJob"])
    assert [family.info.skipped for family in prepared] == ["no imagenet weights: OSError: a page in its place"] * 2
    assert len(told.warnings) == 1


class Sized(Backbones):
    """Its backbone needs more pixels than these sizes have."""

    def __init__(self, path, *too_small):
        super().__init__(path)
        self._too_small = too_small

    def _run(self, job, listener):
        small = tuple(size for size in job.input_sizes if size in self._too_small)
        warnings = (f"input sizes {small} left out",) if small else ()
        return replace(super()._run(job, listener), too_small=small, warnings=warnings)


def test_input_sizes_that_a_backbone_cannot_take_are_left_out_for_its_family(prepare, tmp_path):
    family = prepare(Sized(tmp_path / "net.h5", 16), input_sizes=(16, 32))
    assert (family.input_sizes, family.info.skipped) == ((32,), "")
    assert family.warnings == ("input sizes (16,) left out",)


def test_a_family_without_an_input_size_is_skipped_and_alone_an_error(prepare, tmp_path):
    told = Told()
    family = prepare(Sized(tmp_path / "net.h5", 16), told, input_sizes=(16,))
    assert family.info.skipped == "input sizes (16,) left out"
    assert told.warnings == [f"{family.path}: skipped, input sizes (16,) left out"]
    with pytest.raises(ConfigError, match=r"left out\. Choose larger --input-sizes$"):
        families.searchable(RunConfig(), [family])


def test_configurations_are_counted(prepare, tmp_path):
    assert prepare(Backbones(tmp_path / "net.h5")).info.configurations == 2


def test_the_place_of_a_broken_file_comes_back_whole_from_its_worker(tmp_path):
    error = SpaceError(tmp_path / "a: 3: b" / "mine.py", 5, "ValueError: c: 7: d")
    space = SearchSpace("mine", error.path, "")
    with pytest.raises(SpaceError) as caught:
        families._probe_result(space, Outcome(None, failure=failure_of(error)))
    assert (caught.value.path, caught.value.line, caught.value.message) == (error.path, error.line, error.message)
