"""Trainings that are cut: their best epoch is kept, in any phase and fold, and they can be repeated as they were."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from bench import data
from bench.config import USUAL_SPLIT, RunConfig
from bench.records import Ending
from bench.training import jobs

pytestmark = pytest.mark.slow


def best(history):
    return max(history, key=lambda epoch: (epoch.val_accuracy, -epoch.val_loss))


@pytest.mark.parametrize("ending", [Ending.BUDGET, Ending.INTERRUPTED])
def test_a_cut_training_keeps_its_best_epoch_and_its_model(space, channel, job, tmp_path, ending):
    recorder = channel(stop_at=3, ending=ending, keep=tmp_path / "cut.keras")
    result = jobs.trial(job(space("tiny"), epochs=10, patience=10), recorder)
    assert (len(result.history), result.planned_epochs, result.ending) == (3, 10, ending)
    assert not result.stopped
    assert result.validation.accuracy == best(result.history).val_accuracy
    assert result.validation.log_loss == pytest.approx(best(result.history).val_loss, abs=1e-6)
    again = channel(keep=tmp_path / "again.keras")
    repeated = jobs.trial(job(space("tiny"), epochs=10, patience=10, stop_after=3), again)
    assert [epoch.val_loss for epoch in repeated.history] == [epoch.val_loss for epoch in result.history]
    first, second = (keras.models.load_model(tmp_path / f"{name}.keras").get_weights() for name in ("cut", "again"))
    assert all(np.array_equal(*pair) for pair in zip(first, second, strict=True))


def test_a_training_that_ends_anyway_is_not_cut(space, channel, job):
    result = jobs.trial(job(space("tiny"), epochs=3), channel(stop_at=3, ending=Ending.BUDGET))
    assert (len(result.history), result.ending) == (3, None)


@pytest.mark.parametrize("stop_at", [1, 2])
def test_a_training_that_is_cut_in_its_first_phase_keeps_the_best_of_that(transfer, channel, job, stop_at):
    recorder = channel({"head_epochs": 2, "frozen_layers": 10}, stop_at=stop_at, ending=Ending.BUDGET)
    result = jobs.trial(job(transfer(), epochs=3), recorder)
    assert [epoch.phase for epoch in result.history] == ["head"] * stop_at
    assert (result.planned_epochs, result.ending) == (5, Ending.BUDGET)
    assert result.validation.accuracy == best(result.history).val_accuracy


@pytest.fixture
def timer(monkeypatch):
    """The timers of the jobs, which go off when a test says so."""

    class Timer:
        ring = None

        def __init__(self, seconds, function, arguments):
            Timer.ring = lambda: function(*arguments)

        def start(self):
            if self.at_once:
                Timer.ring()

        def cancel(self):
            pass

    Timer.at_once = False
    monkeypatch.setattr(jobs.threading, "Timer", Timer)
    return Timer


@pytest.mark.parametrize("deterministic", [False, True])
def test_an_epoch_in_which_the_time_is_over_is_dropped(space, channel, job, timer, deterministic):
    class Late(channel):
        def epoch(self, epoch, fold, folds):
            super().epoch(epoch, fold, folds)
            if epoch.epoch == 2:
                timer.ring()

    result = jobs.trial(job(space("tiny"), epochs=5, patience=5, time_s=10.0, deterministic=deterministic), Late())
    assert (len(result.history), result.ending) == (2, Ending.BUDGET)
    assert result.validation.log_loss == pytest.approx(best(result.history).val_loss, abs=1e-6)


def test_the_time_ends_an_epoch_that_runs(space, channel, job):
    result = jobs.trial(job(space("tiny"), epochs=100_000, patience=100_000, time_s=2.0), channel())
    assert (result.ending, result.planned_epochs) == (Ending.BUDGET, 100_000)


def test_a_training_whose_time_ends_in_the_first_epoch_has_nothing_to_keep(space, channel, job, timer):
    timer.at_once = True
    result = jobs.trial(job(space("tiny"), time_s=10.0), channel())
    assert (result.stopped, result.ending, result.validation) == (True, Ending.BUDGET, None)


def test_a_trial_is_stopped_while_its_features_are_computed(transfer, channel, job, monkeypatch):
    class Over(channel):
        def progress(self, stage, done, total):
            return Ending.BUDGET

    monkeypatch.setattr(jobs, "PROGRESS_EVERY_S", 0.0)
    recorder = Over()
    result = jobs.trial(job(transfer()), recorder)
    assert (result.stopped, result.ending, recorder.epochs) == (True, Ending.BUDGET, [])


def test_folds_that_are_cut_in_different_phases_count_their_epochs_by_phase(transfer, channel, job, tmp_path):
    data.open(RunConfig(images=60, split=USUAL_SPLIT, folds=2)).write(tmp_path / "folds.json")

    class Second(channel):
        """Cuts the second fold in its first phase."""

        def epoch(self, epoch, fold, folds):
            super().epoch(epoch, fold, folds)
            return Ending.BUDGET if fold == 2 else None

    recorder = Second({"head_epochs": 1, "frozen_layers": 10})
    result = jobs.trial(job(transfer(), epochs=1, manifest=str(tmp_path / "folds.json")), recorder)
    assert [(fold, epoch.phase) for epoch, fold, _ in recorder.epochs] == [
        (1, "head"),
        (1, "fine-tuning"),
        (2, "head"),
    ]
    assert (len(result.folds), len(result.best_epochs), result.ending) == (2, 2, Ending.BUDGET)
