"""Before the search: what is said of families whose pretrained weights are there, wrong or missing."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bench import RunConfig
from bench import data as pictures
from bench.errors import SpaceError, WeightsError, WorkerError
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
        self._file = WeightsFile("Net", {}, NOWHERE, str(path), missing=wrong is None, problem=wrong or "")
        self.downloaded = ""  # what is found wrong with the file after a download

    def _run(self, job, listener):
        if isinstance(job, WeightsJob):
            return replace(job.file, missing=False, problem=self.downloaded)
        return replace(super()._run(job, listener), weights_files={"Net {}": self._file}, backbones=1)


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
    assert family.files == {"Net {}": str(tmp_path / "net.h5")}
    assert told.warnings == []


def test_weights_that_are_not_there_are_downloaded_and_looked_at(prepare, tmp_path, monkeypatch):
    monkeypatch.setattr(families.downloads, "fetch", lambda url, path, *rest: path.write_bytes(b"some"))
    pool = Backbones(tmp_path / "net.h5", wrong=None)
    assert prepare(pool).files == {"Net {}": str(tmp_path / "net.h5")}
    (tmp_path / "net.h5").unlink()
    pool.downloaded, told = "OSError: a page in its place", Told()
    assert prepare(pool, told).info.weights == "random (missing)"
    assert "a page in its place" in told.warnings[0]


@pytest.mark.parametrize(("wrong", "says"), [("OSError: truncated", "truncated"), (None, "cannot be reached")])
def test_missing_or_damaged_weights_are_said_and_labelled(prepare, tmp_path, wrong, says):
    told = Told()
    family = prepare(Backbones(tmp_path / "net.h5", wrong), told)
    assert family.info.weights == "random (missing)"
    assert family.files == {}
    assert not family.info.skipped
    assert len(told.warnings) == 1
    assert "no imagenet weights for Net" in told.warnings[0]
    assert says in told.warnings[0]


def test_a_file_that_does_not_come_says_nothing_of_the_next_one(prepare, tmp_path, monkeypatch):
    class Two(Backbones):
        def _run(self, job, listener):
            if isinstance(job, WeightsJob):
                return super()._run(job, listener)
            files = {name: replace(self._file, path=str(tmp_path / name)) for name in ("first", "second")}
            return replace(super()._run(job, listener), weights_files=files)

    def fetch(url, path, *rest):
        if path.name == "first":
            raise families.downloads.DownloadError("HTTP Error 404: Not Found")
        path.write_bytes(b"some")

    monkeypatch.setattr(families.downloads, "fetch", fetch)
    told = Told()
    family = prepare(Two(tmp_path / "net.h5", wrong=None), told)
    assert family.files == {"second": str(tmp_path / "second")}
    assert told.warnings[0].startswith(
        "no imagenet weights for Net: not in the Keras cache, and 127.0.0.1:9 did not send"
    )


def test_a_family_without_weights_can_be_skipped(prepare, tmp_path):
    family = prepare(Backbones(tmp_path / "net.h5", None), missing_weights="skip")
    assert family.info.skipped.startswith("no imagenet weights")


def test_missing_weights_can_be_an_error(prepare, tmp_path):
    with pytest.raises(WeightsError, match=r"KERAS_HOME.*--missing-weights random or skip"):
        prepare(Backbones(tmp_path / "net.h5", None), missing_weights="error")


def test_random_weights_that_were_asked_for_are_no_missing_ones(prepare, tmp_path):
    class Wanting(Backbones):
        def _run(self, job, listener):
            return replace(super()._run(job, listener), weights_files={})

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


def test_configurations_are_counted(prepare, tmp_path):
    assert prepare(Backbones(tmp_path / "net.h5")).info.configurations == 2


def test_the_place_of_a_broken_file_comes_back_whole_from_its_worker(tmp_path):
    error = SpaceError(tmp_path / "a: 3: b" / "mine.py", 5, "ValueError: c: 7: d")
    space = SearchSpace("mine", error.path, "")
    with pytest.raises(SpaceError) as caught:
        families._probe_result(space, Outcome(None, failure=failure_of(error)))
    assert (caught.value.path, caught.value.line, caught.value.message) == (error.path, error.line, error.message)
