"""The worth of more pictures at the end of a run: which families, in which time, and what is recorded."""

from __future__ import annotations

import signal
from dataclasses import replace

import pytest

import bench
from bench import Budget, RunConfig, runner
from bench.config import USUAL_SPLIT
from bench.errors import Interrupted
from bench.records import COMPLETE, Cost, FailureKind, Trial
from bench.search import sample_curves
from bench.search.progress import SILENT
from bench.testing import FakePool
from bench.training.messages import CurveJob, CurveResult, SampleAnswers, TrialJob

TRIAL = Trial("a", "optuna:tpe", 0, 1, COMPLETE)

ACCURACIES = {"a": 0.9, "b": 0.8, "c": 0.7, "dummy": 0.95}


class Pool(FakePool):
    """Keeps the curve jobs; a trial takes a second by its record.

    Args:
        answer: Called with each curve job and its result; returns the result.
    """

    def __init__(self, answer=lambda job, result: result):
        super().__init__(
            lambda hp, family: hp.Int("depth", 1, 9), lambda family, params: ACCURACIES[family], baselines=("dummy",)
        )
        self._answer, self.curves = answer, []

    def _run(self, job, listener):
        result = super()._run(job, listener)
        if isinstance(job, CurveJob):
            self.curves.append(job)
            return self._answer(job, result)
        return result


@pytest.fixture
def start(tmp_path, space, monkeypatch, in_memory):
    """Runs the driver on drawn pictures; there is time for the curves, unless `share` says otherwise."""
    monkeypatch.chdir(tmp_path)

    def run(pool, families=("a", "b"), share=1000.0, progress=SILENT, **config):
        monkeypatch.setattr(sample_curves, "MAX_SHARE", share)
        monkeypatch.setattr(sample_curves, "MIN_PICTURES", 4)
        config = {
            "images": 60,
            "split": USUAL_SPLIT,
            "budget": Budget(len(families)),
            "out": str(tmp_path / "run"),
            **config,
        }
        return runner.run(RunConfig(spaces=tuple(map(space, families)), **config), progress, pool=pool)

    return run


def test_the_leader_and_the_runner_up_get_a_curve_and_a_baseline_none(start):
    run = start(Pool(), ("a", "b", "c", "dummy"))
    ranked = [trial.family for trial in run.ranking() if trial.family != "dummy"]
    assert [curve.family for curve in run.sample_curves] == ranked[:2]
    curve = run.sample_curves[0]
    train = run.split.n("train")
    assert [point.pictures for point in curve.fitted[-3:]] == [train, 2 * train, 4 * train]
    assert [point.pictures for point in curve.measured] == [
        pytest.approx(share * train, abs=2) for share in sample_curves.SHARES
    ]
    assert (curve.validation, curve.more) == (run.split.n("validation"), train)
    assert curve.gain_low <= curve.gain <= curve.gain_high
    assert all(point.low <= point.accuracy <= point.high for point in curve.fitted)


@pytest.mark.storage
def test_the_record_is_read_again(start):
    run = start(Pool())
    assert len(run.sample_curves) == 2
    assert bench.load(run.path).sample_curves == run.sample_curves


def test_folds_have_the_pictures_of_the_first(start):
    run = start(Pool(), ("a",), folds=3)
    (curve,) = run.sample_curves
    assert curve.validation == pytest.approx(run.split.n("train") / 3, abs=2)
    assert curve.measured[-1].pictures == run.split.n("train") - curve.validation


def test_a_tenth_of_the_time_is_not_exceeded(start):
    """The trials of this pool take a second by their records, and nothing by the clock."""
    pool = Pool()
    run = start(pool, share=0.1)
    assert not pool.curves
    assert [curve.reason[:36] for curve in run.sample_curves] == ["its trainings would take about 1.9\u00a0s"] * 2


@pytest.mark.parametrize(("step", "stands"), [(0.04, 8), (0.1, None)])
def test_a_quick_trial_that_is_hardly_worse_stands_for_a_chosen_one_that_takes_too_long(start, step, stands):
    class Deep(Pool):
        def _train(self, accuracy, values, job, listener):
            result = super()._train(0.9 - step * (9 - values["depth"]), values, job, listener)
            seconds = 10.0**9 if values["depth"] == 9 else 1.0
            return replace(result, cost=Cost(seconds, seconds, total_time_s=seconds))

    run = start(Deep(), ("a",), budget=Budget(9))
    (curve,) = run.sample_curves
    (trial,) = [trial for trial in run.trials if trial.name == curve.trial]
    assert run.best("a").params["depth"] == 9
    assert trial.params["depth"] == (stands or 9)
    assert bool(curve.reason) == (stands is None)


def test_a_time_budget_ends_in_time(start):
    pool = Pool()
    run = start(pool, budget=Budget(2, 8.0))
    assert pool.curves
    for job in pool.curves:
        assert 0 < job.time_s < job.timeout_s < 8.0
    assert run.elapsed_s < 8.0


def test_too_few_pictures_have_no_curve(start):
    (curve,) = start(Pool(), ("a",), images=40).sample_curves
    assert "too few, 32 are needed" in curve.reason


def test_a_job_that_ran_out_of_time_or_failed_is_a_reason(start):
    (curve,) = start(Pool(lambda job, result: replace(result, answers=result.answers[:3])), ("a",)).sample_curves
    assert curve.reason == "the time was over after 3\u00a0trainings"


def test_a_failure_is_a_reason_and_the_run_is_complete(start):
    def fail(job, result):
        raise MemoryError("no room")

    run = start(Pool(fail), ("a",))
    assert run.status == "complete"
    assert [curve.reason for curve in run.sample_curves] == ["no room"]


def test_after_ctrl_c_there_is_none(start, tmp_path):
    class Once(Pool):
        def submit(self, job, listener):
            super().submit(job, listener)
            if isinstance(job, TrialJob):
                signal.raise_signal(signal.SIGINT)

    pool = Once()
    with pytest.raises(Interrupted):
        start(pool)
    assert not pool.curves


@pytest.mark.storage
def test_ctrl_c_during_the_curve_leaves_it_out(start, tmp_path):
    class Pressed(Pool):
        def finished(self, timeout_s):
            if self._waiting and isinstance(self._waiting[0][0], CurveJob):
                signal.raise_signal(signal.SIGINT)
                self.cancel(FailureKind.INTERRUPTED, "the run was interrupted")
            return super().finished(timeout_s)

    with pytest.raises(Interrupted):
        start(Pressed())
    run = bench.load(tmp_path / "run")
    assert not run.sample_curves
    assert all(trial.test for trial in run.ranking())


def test_pictures_in_groups_are_counted_by_group():
    answers = tuple(
        SampleAnswers(share, round(800 * share), "1" * right + "0" * (60 - right))
        for share, right in zip(sample_curves.SHARES, (40, 45, 50, 54), strict=True)
    )
    single = sample_curves.curve_of(TRIAL, CurveResult(answers))
    grouped = sample_curves.curve_of(TRIAL, CurveResult(answers, tuple(str(number // 10) for number in range(60))))

    def width(curve):
        return curve.fitted[3].high - curve.fitted[3].low

    assert width(grouped) > width(single)
