"""Replay of recorded trials: the nearest one, its epochs and times, what ends it early, and shared features."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bench import Budget, RunConfig
from bench.hyperparameters import Hyperparameter, Value
from bench.records import (
    Cost,
    Ending,
    Epoch,
    Failure,
    FailureKind,
    FamilyInfo,
    Origin,
    Prefix,
    Run,
    Screening,
    SplitInfo,
    Trial,
    Weights,
    Work,
    from_data,
    to_data,
)
from bench.testing.replay import RecordedFamily, Recording, simulate
from bench.training.messages import KnownBackbones

SPACE = (
    Hyperparameter("Choice", "size", 64, values=(64, 96)),
    Hyperparameter("Float", "rate", 1e-3, low=1e-4, high=1.0, sampling="log"),
    Hyperparameter("Int", "layers", 0, low=0, high=10, conditions=(("size", (96,)),)),
)
SPLIT = SplitInfo("", ("x",), {"train": {"x": 100}, "validation": {"x": 50}, "test": {"x": 50}}, "")
ACCURACIES = (0.6, 0.8, 0.7)


def recorded(params: dict[str, Value], **more: Any) -> Trial:
    """A trial of 20 s: 6 s of features, three epochs of 4 s, 2 s for the rest."""
    epochs = [Epoch(number, 0.0, None, 0.5, accuracy, 4.0) for number, accuracy in enumerate(ACCURACIES, start=1)]
    trial = Trial("a", "optuna:random", 0, 1, "COMPLETE", params, history=tuple(epochs), finished_s=20.0, input_size=64)
    cost, prefix = Cost(12.0, 18.0, features_time_s=6.0), Prefix(used=True, cut=("pooling",))
    trial = replace(trial, cost=cost, prefixes=(prefix,), planned_epochs=3, weights=Weights.IMAGENET)
    return replace(trial, **more)


def recording(*trials: Trial, known: tuple[dict[str, Value], ...] = ()) -> Recording:
    return Recording("", SPLIT, (RecordedFamily(FamilyInfo("a"), SPACE, known, (64, 96)),), trials)


LOW, HIGH = recorded({"size": 64, "rate": 1e-3}), recorded({"size": 64, "rate": 1e-1})


def search(record: Recording, trials: int | None = None, seconds: float | None = None, **config: Any) -> Run:
    config = {"engines": ("optuna:random",), **config}
    return simulate(record, RunConfig(budget=Budget(trials, seconds), **config))


def test_a_proposal_gets_the_nearest_trial_on_the_scale_of_its_range():
    other = recorded({"size": 96, "rate": 1e-3, "layers": 10}, input_size=96)
    low, high = (replace(trial, planned_epochs=planned) for trial, planned in ((LOW, 1), (HIGH, 2)))
    run = search(recording(low, high, replace(other, planned_epochs=3)), trials=40)
    for trial in run.trials:
        nearest = 3 if trial.params["size"] == 96 else 1 if float(str(trial.params["rate"])) < 1e-2 else 2
        assert trial.planned_epochs == nearest, trial.params


def test_a_known_configuration_is_its_recorded_trial():
    known: tuple[dict[str, Value], ...] = ({"size": 64, "rate": 0.02}, {"size": 96, "rate": 0.02, "layers": 7})
    trials = [recorded(params, planned_epochs=number) for number, params in enumerate(known)]
    run = search(recording(LOW, *trials, HIGH, known=known), only_known=True)
    assert [trial.planned_epochs for trial in run.trials] == [0, 1]
    assert {trial.origin for trial in run.trials} == {Origin.KNOWN}


def test_a_trial_has_the_recorded_epochs_and_time_and_its_best_epoch():
    (trial,) = search(recording(LOW), trials=1).trials
    assert trial.history == LOW.history
    assert trial.value == 0.8
    assert trial.took_s == trial.charged_s == 20.0
    assert trial.weights == Weights.IMAGENET


def test_features_take_time_once_in_a_run_whatever_the_recording_had_in_its_cache():
    cached = replace(LOW, cost=Cost(12.0, 18.0, features_time_s=6.0, saved_time_s=6.0), finished_s=14.0)
    for trial in (LOW, cached):
        first, second = search(recording(trial), trials=2).trials
        assert (first.took_s, second.took_s) == (20.0, 14.0)
        assert (first.saved_s, second.saved_s) == (0.0, 6.0)
        assert first.cold_s == second.cold_s == 20.0
    flipped = replace(HIGH, prefixes=(replace(HIGH.prefixes[0], views=2),))
    run = search(recording(LOW, flipped), trials=20)
    assert sum(trial.took_s == 20.0 for trial in run.trials) == 2


def test_the_budget_cuts_a_trial_after_its_epoch_and_its_best_epoch_counts():
    run = search(recording(LOW), seconds=25.0)
    (trial,) = run.trials
    assert (trial.state, trial.epochs, trial.value, trial.ending) == ("COMPLETE", 2, 0.8, Ending.BUDGET)
    assert run.elapsed_s <= 25.0


def test_a_trial_that_the_budget_ends_in_its_features_has_nothing():
    (trial,) = search(recording(LOW), seconds=8.0).trials
    assert (trial.state, trial.value, trial.ending) == ("PRUNED", None, Ending.BUDGET)


def test_a_trial_that_its_time_limit_ended_is_complete_if_the_budget_cuts_it_before():
    failure = Failure(FailureKind.TIMEOUT, "too long")
    slow = recording(recorded({"size": 64, "rate": 1e-3}, state="FAIL", failure=failure, finished_s=60.0))
    (trial,) = search(slow, trials=1).trials
    assert (trial.state, trial.failure, trial.took_s, trial.epochs) == ("FAIL", failure, 60.0, 3)
    (trial,) = search(slow, seconds=25.0).trials
    assert (trial.state, trial.value, trial.ending) == ("COMPLETE", 0.8, Ending.BUDGET)


def test_a_pruner_stops_a_trial_and_its_time():
    poor = replace(HIGH, history=tuple(replace(epoch, val_accuracy=0.1) for epoch in HIGH.history))
    run = search(recording(LOW, poor), trials=30, pruner="median")
    pruned = [trial for trial in run.trials if trial.state == "PRUNED"]
    assert pruned
    assert {trial.ending for trial in pruned} == {Ending.PRUNER}
    assert {trial.took_s for trial in pruned} < {5.0, 9.0, 11.0, 15.0}


def test_fewer_epochs_of_each_phase_are_replayed_where_a_run_wants_fewer():
    two = replace(LOW, history=tuple(replace(epoch, phase="xyy"[epoch.epoch - 1]) for epoch in LOW.history))
    (trial,) = search(recording(two), trials=1, epochs=1).trials
    assert [(epoch.epoch, epoch.phase) for epoch in trial.history] == [(1, "x"), (2, "y")]


def test_screening_takes_its_recorded_time_and_comes_before_the_trials():
    known: tuple[dict[str, Value], ...] = ({"input_size": 64},)
    backbones = (KnownBackbones(("MobileNet",), 64, known[0], Work(macs=10)),)
    space = (Hyperparameter("Choice", "input_size", 64, values=(64,)),)
    family = RecordedFamily(FamilyInfo("a"), space, known, (64,), {"MobileNet": "weights"}, backbones=backbones)
    estimate = Screening("a", "MobileNet", 64, 0.7, n=50, time_s=4.0, seconds_per_picture=0.01)
    run = search(Recording("", SPLIT, (family,), (recorded(known[0]),), (estimate,)), seconds=100.0)
    assert [(screened.accuracy, screened.n, screened.time_s) for screened in run.screenings] == [(0.7, 150, 5.0)]
    assert run.trials[0].started_s == 5.0
    assert run.elapsed_s <= 100.0
    assert not search(recording(LOW), seconds=100.0).screenings


def test_one_seed_gives_one_run():
    runs = [search(recording(LOW, HIGH), trials=10, seed=seed, engines=("optuna:tpe",)) for seed in (1, 1, 2)]
    params = [[trial.params for trial in run.trials] for run in runs]
    assert params[0] == params[1] != params[2]


def test_a_recording_is_read_as_it_was_written(tmp_path: Path):
    written = recording(LOW, HIGH, known=({"size": 64, "rate": 1e-3},))
    assert from_data(Recording, to_data(written)) == written


@pytest.fixture(scope="module")
def photographs() -> Recording:
    return Recording.read(Path(__file__).parents[1] / "benchmarks" / "recorded.json")


def test_every_recorded_family_is_searched(photographs: Recording):
    run = search(photographs, seconds=300.0)
    assert {trial.family for trial in run.trials} == {family.info.name for family in photographs.families}
    assert 240.0 <= run.elapsed_s <= 300.0  # the rest is reserved for scoring
