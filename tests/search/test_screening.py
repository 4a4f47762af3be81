"""Screening before the first trial, with a pool that trains nothing and a clock that only the pool advances."""

from __future__ import annotations

import signal
from dataclasses import replace
from pathlib import Path

import pytest

import bench
from bench import Budget, RunConfig, runner
from bench.config import USUAL_SPLIT
from bench.errors import Interrupted
from bench.records import Failure, FailureKind, PhaseWork, Screening, Work
from bench.report.sections.verdict import no_result
from bench.search import screening
from bench.search.progress import SILENT, Progress
from bench.testing import FakePool
from bench.training.messages import KnownBackbones, ProbeJob, ScreenJob, ShortcutJob, TrialJob, WeightsFile
from bench.workers import Outcome

UNCOUNTED = 80
"""Input size of which the computations are not known before."""


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr("time.monotonic", clock)
    return clock


class Pool(FakePool):
    """Screens and trains on the test's clock: a picture of 10 pixels takes 0.1 s, a job 1 s more, a trial 10 s.

    Args:
        sizes: Input sizes by family.
        fails: Failure of the screening by family.
    """

    def __init__(self, clock, sizes, fails=None, **more):
        super().__init__(lambda hp, family: hp.Int("depth", 1, 9), lambda family, params: 0.97, **more)
        self._clock, self._sizes, self._fails = clock, sizes, fails or {}
        self.jobs = []

    def submit(self, job, listener):
        self.jobs.append(job)
        super().submit(job, listener)

    def finished(self, timeout_s):
        if self._waiting and isinstance(job := self._waiting[0][0], ScreenJob):
            took_s = 1 + job.pictures * self.picture_s(job)
            self._clock.now += min(took_s, job.timeout_s)
            failure = self._fails.get(Path(job.path).stem)
            if took_s > job.timeout_s:
                failure = Failure(FailureKind.TIMEOUT, f"the screen took longer than its {job.timeout_s:g} s")
            if failure:
                del self._waiting[0]
                return [Outcome(job, failure=failure)]
        return super().finished(timeout_s)

    def work(self, size):
        return None if size == UNCOUNTED else Work(macs=5 * 10**7 * size**2)

    def picture_s(self, job):
        return 0.1 * (job.values["input_size"] / 10) ** 2

    def _run(self, job, listener):
        if isinstance(job, ScreenJob):
            return self._screen(job)
        result = super()._run(job, listener)
        if isinstance(job, ProbeJob):
            sizes = self._sizes.get(Path(job.path).stem, ())
            return replace(
                result,
                known_backbones=tuple(
                    KnownBackbones(("Net",), size, {"input_size": size}, self.work(size)) for size in sizes
                ),
                weights_files=(WeightsFile("Net", path="net.h5"),) if sizes and job.weights == "imagenet" else (),
                backbones=len(sizes),
            )
        if isinstance(job, TrialJob):
            self._clock.now += 10
        return result

    def _screen(self, job):
        correct, picture_s = round(0.95 * job.pictures), self.picture_s(job)
        return Screening(
            "",
            "",
            job.values["input_size"],
            correct / job.pictures,
            n=job.pictures,
            time_s=1 + job.pictures * picture_s,
            seconds_per_picture=picture_s,
        )

    @property
    def screened(self):
        """Family, input size and number of pictures of every screening that was started."""
        jobs = [job for job in self.jobs if isinstance(job, ScreenJob)]
        return [(Path(job.path).stem, job.values["input_size"], job.pictures) for job in jobs]


@pytest.fixture
def start(tmp_path, space, monkeypatch, clock, in_memory):
    """Runs the driver with samples of 6 to 20 pictures; `sizes` are the known configurations' input sizes by family."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "cache"))  # without speeds that other tests have measured
    for name, value in {"PICTURES": 20, "MIN_PICTURES": 6}.items():
        monkeypatch.setattr(screening, name, value)

    def run(sizes, seconds=100.0, progress=SILENT, fails=None, **config):
        pool = Pool(clock, sizes, fails)
        spaces = tuple(space(name) for name in sizes)
        config = {
            "images": 40,
            "split": USUAL_SPLIT,
            "spaces": spaces,
            "budget": Budget(1, seconds),
            "out": str(tmp_path / "run"),
            **config,
        }
        return runner.run(RunConfig(**config), progress, pool=pool), pool

    return run


def test_every_family_is_screened_before_its_other_sizes_and_the_dearest_last(start):
    run, pool = start({"a": (20, 10), "b": (10, 15)}, 200.0)
    assert [(family, size) for family, size, _ in pool.screened] == [("a", 10), ("b", 10), ("b", 15), ("a", 20)]
    first = next(number for number, job in enumerate(pool.jobs) if isinstance(job, TrialJob))
    assert all(isinstance(job, ProbeJob | ShortcutJob | ScreenJob) for job in pool.jobs[:first])
    assert run.screening("a") == run.screenings[0]
    assert (run.screenings[0].accuracy, run.screenings[0].n) == (0.95, 20)


@pytest.mark.parametrize(("macs", "screened"), [(10**3, []), (10**13, [("a", 10, 20)])])
def test_a_backbone_whose_trial_takes_hardly_longer_is_not_screened(start, monkeypatch, macs, screened):
    work = Work(macs=5 * 10**9, phases=(PhaseWork(4, macs=macs),))
    monkeypatch.setattr(Pool, "work", lambda pool, size: work)
    run, pool = start({"a": (10,)}, 1000.0)
    assert pool.screened == screened
    (screening,) = run.screenings
    assert (screening.accuracy is None) == (not screened)
    if not screened:
        assert screening.reason.replace("\u202f", " ").startswith("a trial takes only about 2")


def test_there_is_no_screening_without_a_time_budget(start):
    run, pool = start({"a": (10,)}, None)
    assert pool.screened == list(run.screenings) == []


def test_screening_takes_at_most_a_tenth_of_the_budget(start):
    run, _ = start({"a": (10, 20), "b": (10, 20), "c": (10, 20)})
    ended = [screening for screening in run.screenings if screening.accuracy is not None]
    assert sum(screening.time_s for screening in ended) <= 10.0
    assert {screening.family for screening in ended} == set("abc")
    assert [screening.reason for screening in run.screenings if screening not in ended] == [
        "6\u00a0pictures would take about 4.4\u00a0s, 1.0\u00a0s were left"
    ] * 3


def test_a_short_budget_gives_every_family_a_smaller_sample(start):
    """Of 6 s, 2.6 are left for the second family. A build is expected to take 2 s, and takes 1."""
    _, pool = start({"a": (10,), "b": (10,)}, 60.5)
    assert pool.screened == [("a", 10, 14), ("b", 10, 16)]


def test_a_budget_that_is_too_short_screens_nothing(start):
    run, pool = start({"a": (10,)}, 20.0)
    assert pool.screened == []
    assert "would take about 2.6\u00a0s, 2.0\u00a0s were left" in run.screenings[0].reason


def test_a_running_job_is_stopped_when_the_time_is_over(start):
    run, _ = start({"a": (UNCOUNTED,)})
    assert [entry.reason for entry in run.screenings] == ["the time for screening was over"]
    assert run.best("a")


@pytest.mark.parametrize(
    ("failure", "reason"),
    [
        (
            Failure(FailureKind.EXCEPTION, "it begins with no frozen layer", error="NoPrefix"),
            "it begins with no frozen",
        ),
        (Failure(FailureKind.EXCEPTION, "x is undefined", error="NameError"), "NameError: x is undefined"),
        (Failure(FailureKind.SIGNAL, "killed", error="SIGKILL"), "SIGKILL: killed"),
    ],
)
def test_a_fault_is_a_missing_estimate_with_its_reason(start, failure, reason):
    run, _ = start({"a": (10,), "b": (10,)}, fails={"a": failure})
    entries = {entry.family: entry for entry in run.screenings}
    assert entries["a"].accuracy is None
    assert entries["a"].reason.startswith(reason)
    assert entries["b"].accuracy == 0.95
    assert len(run.trials) == 1


def test_a_family_without_a_pretrained_backbone_says_so(start):
    run, _ = start({"a": (10,), "scratch": ()})
    assert run.screening("scratch") == Screening("scratch", reason="no backbone")


def test_backbones_with_random_weights_are_screened_as_they_are_trained(start):
    run, pool = start({"a": (10,)}, weights="random")
    assert run.screening("a").accuracy == 0.95
    assert len(pool.screened) == 1


def test_without_the_feature_cache_nothing_is_screened(start):
    run, _ = start({"a": (10,)}, features="off")
    assert run.screening("a").reason == "the feature cache is off"


def test_many_classes_need_more_pictures(start, monkeypatch):
    monkeypatch.setattr(screening, "CLASS_PICTURES", 12)
    _, pool = start({"a": (10,)})
    assert pool.screened == [("a", 10, 24)]


def test_ctrl_c_ends_the_screening(start):
    class Interrupting(Progress):
        def stage(self, name, done, total):
            if name == screening.STAGE:
                signal.raise_signal(signal.SIGINT)

    with pytest.raises(Interrupted):
        start({"a": (10,), "b": (10,)}, progress=Interrupting())


@pytest.mark.storage
def test_the_record_keeps_the_estimates_and_the_row_shows_them(start, tmp_path):
    run, _ = start({"a": (10,), "b": (10,)})
    loaded = bench.load(tmp_path / "run")
    assert loaded.screenings == run.screenings
    untried = next(family for family in loaded.families if loaded.best(family.name) is None)
    assert no_result(loaded, untried) == "screened: 95\u202f% (76 to 99) on 20\u00a0pictures"
    assert "screened: 95\u202f% (76 to 99) on 20\u00a0pictures" in (tmp_path / "run" / "report.html").read_text()


def test_the_time_of_the_screening_is_charged(start, clock):
    told = []

    class Listening(Progress):
        def screened(self, run):
            told.append((clock.now, run.screenings))

    run, _ = start({"a": (10,)}, progress=Listening())
    assert told == [(3.0, run.screenings)]
    assert run.trials[0].started_s >= 3.0
