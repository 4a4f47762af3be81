"""The driver, with a pool that trains nothing: shares, records, the board, interruption."""

from __future__ import annotations

import json
import logging
import os
import re
import signal
import zipfile
from collections import defaultdict
from dataclasses import replace
from pathlib import Path

import numpy as np
import optuna
import pytest
from PIL import Image

import bench
from bench import Budget, RunConfig, engines, runner
from bench.cli import parser
from bench.engines.optuna import OptunaEngine
from bench.errors import ConfigError, DataError, Interrupted, RunFolderError
from bench.hyperparameters import HyperParameters
from bench.records import CORRUPTED_SETS, Epoch, Failure, FailureKind, Weights, Work
from bench.runs import predictions, results, store
from bench.search import families
from bench.search.progress import SILENT, Progress
from bench.testing import FakePool
from bench.training.messages import (
    ProbeJob,
    RefitJob,
    ScoreResult,
    ShortcutJob,
    TrialJob,
    TrialResult,
    WeightsFile,
)
from bench.workers import Outcome


def depth(hp, family):
    hp.Int("depth", 1, 9)
    hp.Float("dropout", 0.0, 1.0)


def deeper_is_better(family, params):
    return params["depth"] / 10


@pytest.fixture
def start(tmp_path, space, monkeypatch, in_memory):
    """Runs the driver on fake families in a folder of its own; the storage is a real one where a test asks for it."""
    monkeypatch.chdir(tmp_path)

    def run(pool=None, families=("a", "b"), progress=SILENT, **config):
        config = {"images": 24, "budget": Budget(6), "out": str(tmp_path / "run"), **config}
        config["spaces"] = tuple(space(name) for name in families)
        return runner.run(RunConfig(**config), progress, pool=pool or FakePool(depth, deeper_is_better))

    return run


def counted(run, **wanted):
    return [
        trial
        for trial in run.trials
        if trial.counted and all(getattr(trial, name) == value for name, value in wanted.items())
    ]


def test_a_run_in_the_folder_of_the_pictures_leaves_its_classes_as_they_are(start, tmp_path):
    for number in range(12):
        (tmp_path / "photos" / "ab"[number % 2]).mkdir(parents=True, exist_ok=True)
        noise = np.random.default_rng(number).integers(0, 256, (12, 12, 3), dtype=np.uint8)
        Image.fromarray(noise).save(tmp_path / "photos" / "ab"[number % 2] / f"{number}.png")
    out = tmp_path / "photos" / "reports" / "1"
    run = start(data="photos", budget=Budget(2), out=str(out))
    assert list(out.glob("thumbnails/*.jpg"))
    again = bench.data.open(RunConfig(data="photos"))
    assert (again.sha256, again.classes) == (run.split.sha256, ("a", "b"))


# -- budget


def test_a_budget_of_trials_is_for_the_whole_run_and_shared_evenly(start):
    run = start(families=("a", "b", "c"), budget=Budget(8))
    assert [len(counted(run, family=name)) for name in "abc"] == [3, 3, 2]


def test_every_engine_gets_the_whole_budget(start):
    run = start(engines=("optuna:tpe", "optuna:random"))
    assert [len(counted(run, engine=engine)) for engine in ("optuna:tpe", "optuna:random")] == [6, 6]


def test_known_configurations_come_first_and_the_rest_of_them_are_defaults(start):
    known = {"a": [{"depth": 5}, {"depth": 6}], "b": [{"depth": 7, "dropout": 0.5}]}
    run = start(FakePool(depth, deeper_is_better, known), engines=("optuna:random",), budget=Budget(12))
    trials = {family: counted(run, family=family) for family in "ab"}
    assert trials["a"][0].params == {"depth": 5, "dropout": 0.0}
    assert trials["a"][1].params == {"depth": 6, "dropout": 0.0}
    assert trials["b"][0].params == {"depth": 7, "dropout": 0.5}
    assert [trial.known for trial in trials["a"]] == [True, True, False, False, False, False]
    assert [trial.known for trial in trials["b"]] == [True, False, False, False, False, False]


def test_a_family_that_is_used_up_hands_its_share_on(start):
    def build(hp, family):
        hp.Choice("kind", ["x", "y"]) if family == "a" else hp.Int("depth", 1, 1000)

    run = start(FakePool(build, lambda family, params: 0.5), budget=Budget(12))
    assert [len(counted(run, family=name)) for name in "ab"] == [2, 10]
    assert any("all 2 configurations were tried" in note for note in run.notes)
    assert {study.family: study.exhausted for study in run.studies} == {"a": True, "b": False}


def test_a_search_over_finite_families_ends_before_its_budget(start):
    pool = FakePool(lambda hp, family: hp.Boolean("flag"), lambda family, params: 0.5)
    run = start(pool, budget=Budget(50))
    assert len(counted(run)) == 4
    assert run.status == "complete"


def test_a_space_that_is_finite_behind_a_plain_if_is_used_up_too(start):
    def build(hp, family):
        if hp.Boolean("big"):
            hp.Choice("size", [1, 2, 3])

    run = start(FakePool(build, lambda family, params: 0.5), families=("a",), budget=Budget(50))
    assert len(counted(run)) == 4
    assert run.studies[0].exhausted


def test_a_small_budget_says_which_families_get_none(start):
    run = start(families=("a", "b", "c"), budget=Budget(2))
    assert any("c will get none" in note for note in run.notes)
    assert [trial.family for trial in counted(run)] == ["a", "b"]


def test_no_configuration_is_trained_twice(start):
    pool = FakePool(lambda hp, family: hp.Int("depth", 1, 6), deeper_is_better)
    run = start(pool, families=("a",), engines=("optuna:random", "optuna:tpe"), budget=Budget(6))
    assert len({json.dumps(each) for each in pool.trained}) == 6
    answered = [trial for trial in run.trials if trial.duplicate_of]
    assert all(trial.value == trial.params["depth"] / 10 for trial in answered)
    assert len(counted(run, engine="optuna:tpe")) == 6


def test_a_build_that_fails_is_a_configuration_that_was_tried(start):
    def build(hp, family):
        if hp.Choice("strides", [4, 2, -1]) < 0:
            raise ValueError("no such strides")

    run = start(FakePool(build, lambda family, params: 0.5), families=("a",), budget=Budget(50))
    (failed,) = counted(run, state="FAIL")
    assert failed.params == {"strides": -1}
    assert len(counted(run)) == 3
    again = [trial for trial in run.trials if trial.state == "FAIL" and not trial.counted]
    assert all(trial.duplicate_of == failed.name for trial in again)
    assert run.studies[0].exhausted
    assert any("all 3 configurations were tried" in note for note in run.notes)


def test_a_pruner_decides_for_its_own_engine_alone(start):
    known = {"a": [{"depth": each, "dropout": 0.1 * each} for each in (9, 8, 7, 1)]}
    pool = FakePool(depth, deeper_is_better, known, epochs=3)
    engines = ("optuna:random", "optuna:tpe")
    run = start(pool, families=("a",), engines=engines, only_known=True, budget=None, pruner="median", epochs=3)
    pruned = [trial for trial in run.trials if trial.params["depth"] == 1]
    assert [(trial.engine, trial.ending, trial.duplicate_of) for trial in pruned] == [
        ("optuna:random", "pruner", ""),
        ("optuna:tpe", None, ""),  # its own pruner has seen nothing of answers, and lets it go on
    ]
    assert sum(params["depth"] == 1 for _, params in pool.trained) >= 2


def test_a_time_budget_ends_the_search_and_still_scores(start):
    class Slow(FakePool):
        def finished(self, timeout_s):
            import time

            time.sleep(0.02)
            return super().finished(timeout_s)

    run = start(Slow(depth, deeper_is_better), budget=Budget(trials=None, seconds=0.5))
    assert 0 < len(counted(run)) < 100
    assert all(run.best(name).test is not None for name in "ab" if run.best(name))


def test_a_trial_that_overruns_the_time_budget_is_stopped(start):
    class Endless(FakePool):
        """Trials end only when they are cancelled."""

        def finished(self, timeout_s):
            job = self._waiting[0][0] if self._waiting else None
            if isinstance(job, TrialJob) and self._cancelled is None:
                return []
            return super().finished(timeout_s)

    run = start(Endless(depth, deeper_is_better), budget=Budget(trials=None, seconds=0.05))
    assert [trial.state for trial in run.trials] == ["PRUNED"]
    assert "time budget" in run.trials[0].note


# -- known configurations only

KNOWN = {"a": [{"depth": 5, "dropout": 0.0}, {"depth": 6, "dropout": 0.5}], "b": [{"depth": 7, "dropout": 0.5}]}


def only_known(**more):
    return {"pool": FakePool(depth, deeper_is_better, KNOWN), "only_known": True, "budget": None, **more}


@pytest.mark.parametrize(
    "engine",
    [
        "optuna:tpe",
        "optuna:grid",
        pytest.param("keras-tuner:bayesian", marks=pytest.mark.slow),
        pytest.param("keras-tuner:hyperband", marks=pytest.mark.slow),
    ],
)
def test_known_configurations_alone_are_run_once_each_in_turn(start, engine):
    run = start(**only_known(engines=(engine,)))
    assert [(trial.family, trial.params["depth"]) for trial in run.trials] == [("a", 5), ("b", 7), ("a", 6)]
    assert all(trial.known and trial.counted for trial in run.trials)
    assert not any(study.exhausted for study in run.studies)
    assert run.notes == ()
    assert run.best("a").test is not None


def test_known_configurations_alone_stop_at_a_budget(start):
    run = start(**only_known(budget=Budget(2)))
    assert [(trial.family, trial.params["depth"]) for trial in run.trials] == [("a", 5), ("b", 7)]


def test_known_configurations_are_all_run_however_many_they_are(start):
    known = {"a": [{"depth": number, "dropout": 0.1 * number} for number in range(1, 10)] * 3}
    run = start(**only_known(pool=FakePool(depth, deeper_is_better, known), families=("a",), engines=("optuna:tpe",)))
    assert [trial.params["depth"] for trial in counted(run)] == list(range(1, 10))


@pytest.mark.parametrize(("budget", "trials"), [({}, 3), ({"budget": Budget(2)}, 2)])
def test_the_number_of_known_configurations_is_told_when_the_search_begins(start, budget, trials):
    told = []

    class Listening(Progress):
        def begin(self, families, folder, plan):
            told.append(plan)

    run = start(**only_known(progress=Listening(), engines=("optuna:tpe", "optuna:random"), **budget))
    assert told == [run.plan]
    assert (run.plan.trials, run.plan.known, run.plan.proposals) == (trials, trials, 0)


def test_a_family_without_known_configurations_is_named(start):
    run = start(**only_known(families=("a", "c", "b", "d")))
    assert {trial.family for trial in run.trials} == {"a", "b"}
    assert run.notes == ("--only-known runs nothing of c, d: no known configurations in the file",)


def test_no_known_configuration_at_all_is_a_mistake(start, tmp_path):
    with pytest.raises(ConfigError, match="there are no KNOWN_CONFIGURATIONS in c, d; leave it out"):
        start(**only_known(families=("c", "d")))
    assert not (tmp_path / "run").exists()


@pytest.mark.storage
def test_the_records_say_that_only_known_configurations_were_run(start, tmp_path):
    run = start(**only_known())
    assert bench.load(tmp_path / "run") == run
    assert run.config.only_known
    assert run.config.budget.trials is None


# -- selection


def test_validation_accuracy_chooses_and_only_the_chosen_see_the_test_set(start):
    run = start(budget=Budget(10))
    for family in "ab":
        trials = counted(run, family=family)
        best = max(trials, key=lambda trial: trial.value)
        assert run.best(family) == best
        assert [trial for trial in trials if trial.test] == [best]


def test_the_interval_of_the_test_accuracy_is_wilsons(start):
    run = start(FakePool(depth, lambda family, params: 0.9), families=("a",), budget=Budget(1))
    test = run.best("a").test
    assert (round(test.accuracy_low, 4), round(test.accuracy_high, 4)) == (0.8798, 0.9171)


def test_a_loss_is_minimised_from_the_engine_to_the_board(start):
    """In this pool every metric has the value that is the accuracy elsewhere."""
    run = start(metric="log_loss,accuracy", budget=Budget(12))
    best = min(counted(run), key=lambda trial: trial.value)
    assert run.best(best.family).value == best.value < max(trial.value for trial in counted(run))
    assert [trial.test_value for trial in run.ranking()] == sorted(trial.test_value for trial in run.ranking())
    assert run.metric.lower_is_better
    assert run.ranking()[0].metric == "log_loss"


@pytest.mark.parametrize(
    ("metric", "error"),
    [
        ("acuracy", "Did you mean accuracy"),
        ("recall", "needs a class"),
        ("recall:cow", "unknown class of --metric 'cow'"),
        ("cost", "needs --costs"),
        ("mcc,mcc", "named twice"),
    ],
)
def test_a_metric_that_cannot_be_computed_is_refused_before_anything_is_trained(start, tmp_path, metric, error):
    with pytest.raises(ConfigError, match=error):
        start(metric=metric)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("slots", [1, 3])
def test_the_model_that_is_kept_is_the_chosen_ones(start, tmp_path, slots):
    run = start(FakePool(depth, deeper_is_better, slots=slots), budget=Budget(12), engines=("optuna:random",))
    for family in "ab":
        kept = json.loads(zipfile.Path(tmp_path / "run" / "models" / f"{family}.keras", "config.json").read_text())
        assert kept == run.best(family).params
    assert sorted(path.name for path in (tmp_path / "run" / "models").iterdir()) == ["a.keras", "b.keras"]


def test_an_earlier_best_never_passes_for_one_that_was_not_saved(start, tmp_path):
    class Failing(FakePool):
        def _save(self, path, values):
            if values["depth"] < 9:
                super()._save(path, values)

    known = {"a": [{"depth": 3}, {"depth": 9}]}
    run = start(Failing(depth, deeper_is_better, known), families=("a",), only_known=True, budget=None)
    assert run.best("a").params["depth"] == 9
    assert run.best("a").test is not None
    assert not (tmp_path / "run" / "models").exists()


def test_repeats_retrain_the_chosen_configuration_with_other_seeds(start):
    pool = FakePool(depth, deeper_is_better)
    run = start(pool, families=("a",), repeats=3)
    assert len(run.best("a").repeats) == 3
    assert [params for _, params in pool.trained[-3:]] == [dict(run.best("a").params)] * 3


def test_the_leaderboard_is_best_first(start):
    scores = {"a": 0.6, "b": 0.9}
    run = start(FakePool(depth, lambda family, params: scores[family]))
    board = run.leaderboard()
    assert list(board["family"]) == ["b", "a"]
    assert list(board["test_accuracy"]) == [0.9, 0.6]


# -- folds


def in_folds(pool, **more):
    return {"pool": pool, "images": 40, "folds": 3, "engines": ("optuna:random",), **more}


def test_a_trial_is_worth_the_mean_of_its_folds(start):
    run = start(**in_folds(FakePool(depth, deeper_is_better)))
    assert run.split.folds == 3
    for trial in counted(run):
        assert trial.value == trial.validation.accuracy == pytest.approx(trial.params["depth"] / 10)
        assert [fold.accuracy for fold in trial.folds] == pytest.approx([trial.value + x for x in (-0.01, 0, 0.01)])
        assert trial.spread == pytest.approx(0.01)
        assert trial.validation.n == sum(fold.n for fold in trial.folds)
    assert list(run.leaderboard()["val_accuracy_std"]) == pytest.approx([0.01, 0.01])


def test_the_chosen_configuration_is_trained_again_on_all_folds_and_is_the_only_model(start, tmp_path):
    jobs = []

    class Watched(FakePool):
        def submit(self, job, listener):
            jobs.append(job)
            super().submit(job, listener)

    run = start(**in_folds(Watched(depth, deeper_is_better, epochs=3), repeats=2, seed=7))
    refits = [job for job in jobs if isinstance(job, RefitJob)]
    assert {type(job) for job in jobs} == {ProbeJob, ShortcutJob, TrialJob, RefitJob}
    assert [job.seed for job in refits] == [7, 8, 9] * 2
    assert [bool(job.model) for job in refits] == [True, False, False] * 2
    for family, job in zip("ab", refits[::3], strict=True):
        chosen = run.best(family)
        assert job.values == chosen.params
        assert job.phase_epochs == chosen.best_epochs == (3,)
        assert job.predictions == str(tmp_path / "run" / "predictions" / f"{family}.npz")
        assert (
            json.loads(zipfile.Path(tmp_path / "run" / "models" / f"{family}.keras", "config.json").read_text())
            == chosen.params
        )
        assert chosen.test.accuracy_low < chosen.test.accuracy < chosen.test.accuracy_high
        assert len(chosen.repeats) == 2
    assert sorted(path.name for path in (tmp_path / "run" / "models").iterdir()) == ["a.keras", "b.keras"]
    assert sum(trial.test is not None for trial in run.trials) == 2


def test_the_engine_hears_of_the_first_fold_and_the_user_of_all(start):
    told = []

    class Watching(Progress):
        def epoch(self, order, epoch, epochs, val_accuracy, fold, folds):
            told.append((fold, folds, epoch, round(val_accuracy, 3)))

    pool = FakePool(depth, lambda family, params: 0.5, epochs=2)
    run = start(**in_folds(pool, progress=Watching(), families=("a",), budget=Budget(1)))
    assert told == [(fold, 3, epoch, 0.48 + fold / 100) for fold in (1, 2, 3) for epoch in (1, 2)]
    (trial,) = run.trials
    assert dict(trial.intermediate_values) == {1: 0.49, 2: 0.49}
    assert trial.epochs == len(trial.history) == 2


def test_a_pruner_decides_in_the_first_fold(start):
    known = {"a": [{"depth": each} for each in (9, 8, 7, 6, 1)]}
    pool = FakePool(depth, deeper_is_better, known)
    run = start(**in_folds(pool, families=("a",), only_known=True, budget=None, pruner="median"))
    poor = run.trials[-1]
    assert (poor.state, poor.value, poor.folds) == ("PRUNED", pytest.approx(0.09), ())


def test_an_answer_from_the_record_has_the_folds_too(start):
    pool = FakePool(lambda hp, family: hp.Int("depth", 1, 4), deeper_is_better)
    run = start(**in_folds(pool, families=("a",), engines=("optuna:random", "optuna:tpe"), budget=Budget(4)))
    copies = [trial for trial in run.trials if trial.duplicate_of]
    assert copies
    for copy in copies:
        original = next(trial for trial in run.trials if f"{trial.study}#{trial.number}" == copy.duplicate_of)
        assert (copy.folds, copy.best_epochs, copy.value) == (original.folds, original.best_epochs, original.value)


def test_a_fold_without_a_finite_score_fails_the_trial(start):
    run = start(**in_folds(FakePool(depth, lambda family, params: float("nan")), budget=Budget(2)))
    assert {trial.failure.name for trial in run.trials} == {"NonFinite"}


@pytest.mark.storage
def test_the_folds_are_in_the_records(start, tmp_path):
    run = start(**in_folds(FakePool(depth, deeper_is_better), budget=Budget(2)))
    loaded = bench.load(tmp_path / "run")
    assert loaded == run
    assert [len(trial.folds) for trial in loaded.trials] == [3, 3]


def test_a_split_that_is_used_again_brings_its_folds(start, tmp_path):
    first = start(**in_folds(FakePool(depth, deeper_is_better), out=str(tmp_path / "first")))
    again = start(images=40, split_file=str(tmp_path / "first" / "split.json"))
    assert again.split.folds == 3
    assert again.split.sha256 == first.split.sha256
    assert {len(trial.folds) for trial in again.trials} == {3}
    assert again.best("a").test is not None


@pytest.mark.slow
def test_hyperband_promotes_by_the_mean_and_refits_for_the_epochs_of_its_round(start):
    run = start(
        **in_folds(
            FakePool(depth, deeper_is_better, epochs=9), families=("a",), engines=("keras-tuner:hyperband",),
            budget=Budget(12), epochs=9,
        )
    )  # fmt: skip
    by_cap = {}
    for trial in counted(run):
        by_cap.setdefault(trial.max_epochs, []).append(trial)
        assert len(trial.folds) == 3
        assert trial.best_epochs == (trial.max_epochs,)
    assert len(by_cap) > 1
    first = by_cap[min(by_cap)]
    promoted = [trial.params for trial in by_cap[sorted(by_cap)[1]]]
    assert max(first, key=lambda trial: trial.value).params in promoted


# -- failures are data


def test_failed_trials_are_recorded_and_the_search_goes_on(start):
    def score(family, params):
        if family == "a":
            raise RuntimeError("out of luck")
        return 0.5

    run = start(FakePool(depth, score), budget=Budget(12))
    failed = [trial for trial in run.trials if trial.state == "FAIL"]
    assert len(failed) == 5
    assert {(trial.failure.name, trial.failure.message) for trial in failed} == {("RuntimeError", "out of luck")}
    assert run.failed_families() == ["a"]
    assert run.best("b") is not None


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_score_that_is_no_finite_number_is_a_failure_and_never_best(start, value):
    def score(family, params):
        return value if params["depth"] > 5 else 0.2

    run = start(FakePool(depth, score), budget=Budget(20), engines=("optuna:random",))
    failed = [trial for trial in run.trials if trial.params["depth"] > 5]
    assert failed
    assert {trial.state for trial in failed} == {"FAIL"}
    assert all(run.best(name).value == 0.2 for name in "ab")


def test_a_report_that_cannot_be_drawn_costs_no_result(start, monkeypatch):
    def broken(run, path):
        raise ZeroDivisionError("in the template")

    monkeypatch.setattr("bench.report.render", broken)
    told = []

    class Listening(Progress):
        def warning(self, text):
            told.append(text)

    run = start(progress=Listening())
    assert run.status == "complete"
    assert len(told) == 1
    assert "ZeroDivisionError" in told[0]
    assert "bench report" in told[0]


# -- the same seed


@pytest.mark.parametrize("engine", ["optuna:tpe", "optuna:random", "optuna:grid"])
def test_the_seed_decides_what_is_proposed(start, tmp_path, engine):
    def params(seed, name):
        run = start(seed=seed, engines=(engine,), out=str(tmp_path / name), budget=Budget(10))
        return [trial.params for trial in run.trials]

    assert params(0, "one") == params(0, "two")
    assert params(0, "three") != params(1, "four")


# -- the run folder


@pytest.mark.slow
@pytest.mark.storage
def test_the_records_say_what_the_run_returned(start, tmp_path):
    run = start(engines=("optuna:tpe", "optuna:random"), repeats=1)
    loaded = bench.load(tmp_path / "run")
    assert loaded == run
    for name in ("run.json", "split.json", "trials.sqlite3", "report.html", "leaderboard.csv"):
        assert (tmp_path / "run" / name).is_file()
    assert not list((tmp_path / "run").glob("trials.sqlite3-*"))


@pytest.mark.slow
@pytest.mark.storage
def test_optuna_opens_the_storage_of_a_run(start, tmp_path):
    start(engines=("optuna:tpe", "optuna:random"))
    url = f"sqlite:///{tmp_path / 'run' / 'trials.sqlite3'}"
    names = optuna.get_all_study_names(url)
    assert sorted(names) == ["a/optuna:random", "a/optuna:tpe", "b/optuna:random", "b/optuna:tpe"]
    study = optuna.load_study(study_name="a/optuna:tpe", storage=url)
    assert study.best_value == max(trial.value for trial in study.trials)
    assert set(study.best_params) == {"depth", "dropout"}


@pytest.mark.slow
@pytest.mark.storage
def test_two_runs_share_one_storage(start, tmp_path):
    url = f"sqlite:///{tmp_path / 'shared.sqlite3'}"
    first = start(storage=url, out=str(tmp_path / "one"))
    second = start(storage=url, out=str(tmp_path / "two"), seed=1)
    assert bench.load(tmp_path / "one", url).trials == first.trials
    assert bench.load(tmp_path / "two", url).trials == second.trials


@pytest.mark.slow
@pytest.mark.storage
def test_the_password_of_a_storage_stands_in_no_file_and_is_named_again_later(start, tmp_path, monkeypatch, capsys):
    url = f"sqlite:///file:{tmp_path / 'shared.sqlite3'}?password=s3cr@t&uri=true"
    shown = url.replace("s3cr@t", "***")
    run = start(storage=url, families=("a",), budget=Budget(2))
    assert run.config.storage == shown
    files = [path for path in (tmp_path / "run").rglob("*") if path.is_file()]
    assert {"run.json", "report.html", "log.txt"} <= {path.name for path in files}
    assert [path for path in files if b"s3cr" in path.read_bytes()] == []
    for value in ("", url.replace("shared", "other")):
        monkeypatch.setenv("BENCH_STORAGE", value)
        assert parser.main(["report", str(tmp_path / "run")]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert f"{shown}, which is opened only if named: by --storage or BENCH_STORAGE" in line
    monkeypatch.setenv("BENCH_STORAGE", url)
    assert bench.load(tmp_path / "run").trials == run.trials
    assert parser.main(["report", str(tmp_path / "run")]) == 0
    assert "s3cr" not in (tmp_path / "run" / "report.html").read_text()
    record = (tmp_path / "run" / "run.json").read_text().replace(shown, url)  # as older versions wrote it
    (tmp_path / "run" / "run.json").write_text(record)
    monkeypatch.delenv("BENCH_STORAGE")
    assert bench.load(tmp_path / "run", url) == run
    with store.reopen(bench.load(tmp_path / "run", url)) as folder:
        folder.snapshot(run.status)
    assert "s3cr" not in (tmp_path / "run" / "run.json").read_text()


@pytest.mark.storage
@pytest.mark.parametrize("url", ["postgresql//me:s3cr@t@host/db", "nosuch://me:s3cr/@t@host/db?password=s3cret"])
def test_the_password_of_a_storage_that_cannot_be_opened_is_not_shown(start, url):
    with pytest.raises(RunFolderError, match=r"storage .*\*\*\*") as caught:
        start(storage=url)
    assert "s3cr" not in str(caught.value)


@pytest.mark.storage
def test_a_running_trial_shows_its_epochs_and_a_killed_one_has_them_all(start, tmp_path):
    seen = []

    class Dying(FakePool):
        """Its first trial reports an epoch in every call of `finished`, and is killed in the third."""

        def finished(self, timeout_s):
            if not self._waiting or not isinstance(self._waiting[0][0], TrialJob):
                return super().finished(timeout_s)
            job, listener = self._waiting[0]
            if not seen:
                listener.built({}, Weights.NONE, Work())
            else:
                trial = bench.load(tmp_path / "run").trials[0]
                assert trial.state == "RUNNING"
                assert dict(trial.intermediate_values) == dict.fromkeys(range(1, len(seen) + 1), 0.5)
            seen.append(job)
            listener.epoch(Epoch(len(seen), 0.5, 0.5, 0.5, 0.5, 0.1), 1, 0)
            if len(seen) < 3:
                return []
            self._waiting.clear()
            return [Outcome(job, failure=Failure(FailureKind.SIGNAL, "killed", error="SIGKILL"))]

    start(Dying(depth, deeper_is_better), families=("a",), budget=Budget(1), epochs=5)
    (trial,) = bench.load(tmp_path / "run").trials
    assert (trial.state, trial.failure.name) == ("FAIL", "SIGKILL")
    assert dict(trial.intermediate_values) == {1: 0.5, 2: 0.5, 3: 0.5}


@pytest.mark.slow
@pytest.mark.storage
def test_a_crash_can_only_cost_the_trial_in_flight(start, tmp_path):
    found = []

    def build(hp, family):
        hp.Int("depth", 1, 1000)
        if (tmp_path / "run" / "split.json").exists():
            states = [trial.state for trial in bench.load(tmp_path / "run").trials]
            found.append([state for state in states if state != "RUNNING"])

    start(FakePool(build, lambda family, params: 0.5), families=("a",), budget=Budget(4), engines=("optuna:random",))
    assert found[:4] == [["COMPLETE"] * number for number in range(4)]


@pytest.mark.storage
def test_a_pruned_trial_keeps_its_epochs_in_the_storage(start, tmp_path):
    known = {"a": [{"depth": each} for each in (9, 8, 7, 6, 1)]}
    pool = FakePool(depth, deeper_is_better, known, epochs=3)
    run = start(pool, families=("a",), only_known=True, budget=None, pruner="median", epochs=3)
    loaded = bench.load(tmp_path / "run")
    assert loaded == run
    assert loaded.trials[-1].state == "PRUNED"
    assert dict(loaded.trials[-1].intermediate_values) == {1: 0.1}


@pytest.mark.storage
def test_a_newer_or_damaged_run_folder_is_one_clear_line(start, tmp_path):
    start(families=("a",), budget=Budget(1))
    path = tmp_path / "run" / "run.json"
    whole = json.loads(path.read_text())
    wrong = {"elapsed_s": "long", "config": [1], "environment": "here", "split": [], "families": 3, "notes": 5}
    fields = [json.dumps({**whole, name: value}) for name, value in wrong.items()]
    for content in ("", "{", "[]", '{"schema_version": 1}', *fields):
        path.write_text(content)
        with pytest.raises(RunFolderError, match=r"run\.json: damaged"):
            bench.load(tmp_path / "run")
    path.write_text(json.dumps({**whole, "schema_version": whole["schema_version"] + 1}))
    with pytest.raises(RunFolderError, match=r"schema version 4.*up to 3.*update bench"):
        bench.load(tmp_path / "run")


# -- nothing is left half made


def test_a_used_output_folder_is_refused_before_anything_starts(start, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "precious.txt").write_text("mine")
    with pytest.raises(RunFolderError, match="not an empty folder"):
        start()
    assert [each.name for each in (tmp_path / "run").iterdir()] == ["precious.txt"]


def test_an_output_folder_below_a_file_is_refused(start, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(RunFolderError):
        start(out=str(tmp_path / "file" / "run"))


@pytest.mark.storage
@pytest.mark.parametrize(
    ("config", "error"),
    [
        ({"data": "no/such/folder"}, DataError),
        ({"storage": "sqlite:////no/such/folder/x.sqlite3"}, RunFolderError),
        ({"storage": "nonsense://x"}, RunFolderError),
    ],
)
def test_bad_input_leaves_no_run_folder(start, tmp_path, config, error):
    with pytest.raises(error):
        start(**config)
    assert not (tmp_path / "run").exists()


def test_an_unknown_family_is_named_with_the_nearest(tmp_path):
    with pytest.raises(ConfigError, match=r"unknown family 'mobilnet'\. Did you mean mobilenet"):
        runner.run(RunConfig(spaces=("mobilnet",), out=str(tmp_path / "run")), pool=FakePool(depth, deeper_is_better))


# -- interruption


def test_a_second_ctrl_c_stops_at_once_and_still_closes_everything(start, tmp_path):
    def score(family, params):
        if len(pool.trained) == 3:
            signal.raise_signal(signal.SIGINT)
            signal.raise_signal(signal.SIGINT)
        return 0.5

    pool = FakePool(depth, score)
    with pytest.raises(KeyboardInterrupt):
        start(pool, budget=Budget(50))
    assert pool.closed
    assert json.loads((tmp_path / "run" / "run.json").read_text())["status"] == "partial"
    assert (tmp_path / "run" / "report.html").exists()
    assert len(pool.trained) == 3  # nothing was scored


@pytest.mark.storage
@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupted_run_keeps_what_it_has(start, tmp_path, number, status):
    def score(family, params):
        if len(pool.trained) == 3:
            signal.raise_signal(number)
        return 0.5

    pool = FakePool(depth, score)
    before = signal.getsignal(number)
    with pytest.raises(Interrupted) as caught:
        start(pool, budget=Budget(50))
    assert caught.value.exit_status == status
    run = bench.load(tmp_path / "run")
    assert run.status == "partial"
    assert [trial.state for trial in run.trials] == ["COMPLETE"] * 3
    assert "interrupted" in Path(tmp_path / "run" / "report.html").read_text().lower()
    assert pool.closed
    assert signal.getsignal(number) is before


def test_the_list_of_runs_follows_a_run_from_its_beginning_to_its_end(start, tmp_path):
    def listed():
        page = (tmp_path / "reports" / "index.html").read_text()
        return [status for status in ("running", "partial", "complete") if f">{status}</td>" in page]

    seen = []

    def score(family, params):
        seen.append(listed())
        return 0.5

    start(FakePool(depth, score), families=("a",), out="", budget=Budget(2))
    assert seen[0] == ["running"]
    assert listed() == ["complete"]

    def stop(family, params):
        if len(pool.trained) == 1:
            signal.raise_signal(signal.SIGTERM)
        return 0.5

    pool = FakePool(depth, stop)
    with pytest.raises(Interrupted):
        start(pool, families=("a",), out="")
    assert listed() == ["partial", "complete"]


@pytest.mark.storage
def test_the_trial_in_flight_is_recorded_as_interrupted(start, tmp_path):
    class Stopping(FakePool):
        def finished(self, timeout_s):
            if self.trained and not pressed and self._waiting:
                pressed.append(signal.raise_signal(signal.SIGTERM))
                return []
            return super().finished(timeout_s)

    pressed = []
    with pytest.raises(Interrupted):
        start(Stopping(depth, deeper_is_better), budget=Budget(50))
    last = bench.load(tmp_path / "run").trials[-1]
    assert (last.state, last.failure.name) == ("FAIL", "Interrupted")


# -- faults that must not cost a run


@pytest.mark.slow
@pytest.mark.storage
def test_runs_of_one_name_in_a_shared_storage_have_their_own_trials(start, tmp_path, monkeypatch):
    url = f"sqlite:///{tmp_path / 'shared.sqlite3'}"
    for machine, budget in (("one", 4), ("two", 1)):
        (tmp_path / machine).mkdir()
        monkeypatch.chdir(tmp_path / machine)
        run = start(storage=url, out="run", families=("a",), budget=Budget(budget))
        assert len(run.trials) == budget
        assert bench.load(tmp_path / machine / "run", url).trials == run.trials


def test_two_runs_of_one_moment_get_a_folder_each(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config = RunConfig(images=24)
    with store.create(config) as one, store.create(config) as two, store.create(config) as three:
        assert len({one.path, two.path, three.path}) == 3
    assert not (tmp_path / "reports").exists()


def test_a_folder_that_another_run_has_just_reserved_is_refused(tmp_path):
    config = RunConfig(images=24, out=str(tmp_path / "run"))
    with (
        store.create(config),
        pytest.raises(RunFolderError, match=rf"run'?: is in use by process {os.getpid()} on .*; this is process"),
        store.create(config),
    ):
        pass


def test_a_failed_start_leaves_what_others_put_into_the_folder(start, tmp_path, monkeypatch):
    def broken(*arguments):
        (tmp_path / "run" / "mine").mkdir()
        (tmp_path / "run" / "mine" / "notes.txt").write_text("a year of work")
        raise DataError("no pictures")

    monkeypatch.setattr("bench.data.open", broken)
    with pytest.raises(DataError):
        start()
    assert [path.name for path in (tmp_path / "run").rglob("*")] == ["mine", "notes.txt"]


@pytest.mark.storage
@pytest.mark.parametrize("url", ["sqlite:////no/such/folder/x.sqlite3", "nonsense", "postgres://me@host/db"])
def test_a_storage_that_cannot_be_opened_is_found_before_the_pictures_are_read(start, tmp_path, monkeypatch, url):
    monkeypatch.setattr("bench.data.open", lambda *arguments: pytest.fail("the pictures were read"))
    with pytest.raises(RunFolderError, match="storage"):
        start(storage=url)
    assert not (tmp_path / "run").exists()


@pytest.mark.storage
def test_a_proposal_that_is_in_training_waits_for_its_answer(start, tmp_path):
    class Twins(FakePool):
        """Builds every job that it is given before it ends the first one."""

        def finished(self, timeout_s):
            for job, listener in self._waiting:
                if isinstance(job, TrialJob) and job.id not in self.stopped:
                    hp = HyperParameters(listener.suggest)
                    self._build(hp, "a")
                    self.stopped[job.id] = listener.built(hp.values, Weights.NONE, Work())
            twin = next((index for index, (job, _) in enumerate(self._waiting) if self.stopped.get(job.id)), None)
            if twin is not None:
                job, listener = self._waiting.pop(twin)
                return [Outcome(job, result=TrialResult(listener.trial.params, stopped=True))]
            return super().finished(timeout_s)

        def _run(self, job, listener):
            if not isinstance(job, TrialJob):
                return super()._run(job, listener)
            return self._train(0.5, listener.trial.params, job, listener)

    pool = Twins(lambda hp, family: hp.Boolean("flag"), lambda family, params: 0.5, slots=3)
    pool.stopped = {}
    run = start(pool, families=("a",), budget=Budget(6), engines=("optuna:random",))
    assert sum(pool.stopped.values()) > 0
    assert {trial.state for trial in run.trials} == {"COMPLETE"}
    assert len(counted(run)) == 2
    assert all(trial.duplicate_of and trial.value == 0.5 for trial in run.trials if not trial.counted)
    assert run.failed_families() == []
    assert bench.load(tmp_path / "run") == run


@pytest.fixture
def faulty(monkeypatch):
    """The page and its pictures raise; a password is in the message."""

    def broken(*_):
        raise RuntimeError("postgresql://user:secret@host")

    monkeypatch.setattr("bench.report.render", broken)
    monkeypatch.setattr("bench.runs.thumbnails.samples", broken)


def test_the_log_has_the_tracebacks_of_what_the_page_and_its_pictures_survived(start, tmp_path, faulty, capsys):
    before = list(logging.getLogger("bench").handlers)
    assert start().status == "complete"
    log = (tmp_path / "run" / "log.txt").read_text()
    begun, page, pictures = re.findall(r"(?m)^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ (.*)$", log)
    assert begun == "the run begins"
    assert "ERROR bench.runs.thumbnails: the page lacks pictures" in (page, pictures)
    assert any(line.startswith("ERROR bench.report.live: the page could not be drawn") for line in (page, pictures))
    assert log.count("Traceback (most recent call last)") == 2
    assert "secret" not in log
    assert capsys.readouterr() == ("", "")  # what is shown is for the program that uses the library
    assert logging.getLogger("bench").handlers == before


def test_a_program_silences_the_log_as_any_other(start, tmp_path, faulty, caplog):
    caplog.set_level(logging.CRITICAL, "bench")
    start()
    assert caplog.records == []
    assert "Traceback" not in (tmp_path / "run" / "log.txt").read_text()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_a_log_that_cannot_be_written_costs_nothing_else(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(store, "LOG", "/dev/full")
    with store._logging(tmp_path):
        logging.getLogger("bench").error("anything")
    assert capsys.readouterr() == ("", "")


@pytest.mark.storage
@pytest.mark.parametrize("method", ["ask", "suggest", "report", "tell"])
def test_an_engine_that_raises_costs_its_trials_and_not_the_run(start, tmp_path, monkeypatch, method):
    real = getattr(OptunaEngine, method)

    def broken(self, *arguments, **named):
        if self.study.user_attrs["engine"] == "optuna:random":
            raise RuntimeError("a bug of the engine")
        return real(self, *arguments, **named)

    monkeypatch.setattr(OptunaEngine, method, broken)
    run = start(families=("a",), engines=("optuna:tpe", "optuna:random"), budget=Budget(2))
    assert run.status == "complete"
    assert run.best("a").test
    assert len(counted(run, engine="optuna:tpe")) == 2
    assert any("optuna:random, a: the engine failed: RuntimeError: a bug of the engine" in note for note in run.notes)
    assert "a bug of the engine" in (tmp_path / "run" / "log.txt").read_text()
    loaded = bench.load(tmp_path / "run")
    assert loaded == run
    assert not [trial for trial in loaded.trials if trial.state == "RUNNING"]


def test_records_that_cannot_be_written_for_a_moment_cost_a_warning(start, tmp_path, monkeypatch):
    real, calls, warnings = store._write_run, [], []

    def failing(run, prefix):
        calls.append(run)
        if 3 <= len(calls) < 6:
            raise PermissionError(13, "not now", "run.json")
        real(run, prefix)

    class Listening(Progress):
        def warning(self, text):
            warnings.append(text)

    monkeypatch.setattr(store, "_write_run", failing)
    monkeypatch.setattr("bench.report.live.RENDERING_SHARE", 1e9)
    run = start(progress=Listening(), budget=Budget(8))
    assert len(calls) > 6
    assert json.loads((tmp_path / "run" / "run.json").read_text())["status"] == run.status == "complete"
    assert len([text for text in warnings if "run.json could not be written" in text]) == 1


def test_a_model_that_cannot_be_saved_is_a_warning_and_the_trial_stays(start):
    class Full(FakePool):
        def _save(self, path, values):
            raise OSError("No space left on device")

    warnings = []

    class Listening(Progress):
        def warning(self, text):
            warnings.append(text)

    run = start(pool=Full(depth, deeper_is_better), families=("a",), progress=Listening(), budget=Budget(1))
    assert [trial.state for trial in run.trials] == ["COMPLETE"]
    assert warnings == ["the model of a/optuna:tpe#0 could not be saved: No space left on device"]
    assert not run.model("a").exists()


def test_a_warm_up_import_may_fail(start, monkeypatch):
    monkeypatch.setattr(runner, "WARM_UP_IMPORTS", ("no.such.module",))
    assert start(budget=Budget(1)).status == "complete"


def test_a_local_file_that_hides_a_built_in_family_is_named_once(start, tmp_path, monkeypatch):
    (tmp_path / "search_spaces").mkdir()
    local = tmp_path / "search_spaces" / "cnn.py"
    local.write_text("def build(hp, task): ...\n")
    warnings = []

    class Listening(Progress):
        def warning(self, text):
            warnings.append(text)

    config = RunConfig(images=24, spaces=("cnn",), budget=Budget(1), out=str(tmp_path / "run"))
    run = runner.run(config, Listening(), pool=FakePool(depth, deeper_is_better))
    assert warnings == list(run.notes) == [f"{local} replaces the built-in family cnn"]


def test_a_probes_warnings_are_shown_once_and_stand_in_the_notes(start, tmp_path):
    class Cautious(FakePool):
        def _run(self, job, listener):
            result = super()._run(job, listener)
            return replace(result, warnings=("one", "two", "one")) if isinstance(job, ProbeJob) else result

    warnings = []

    class Listening(Progress):
        def warning(self, text):
            warnings.append(text)

    run = start(Cautious(depth, deeper_is_better), families=("a", "b"), progress=Listening(), budget=Budget(2))
    paths = [tmp_path / "spaces" / f"{name}.py" for name in "ab"]
    assert warnings == list(run.notes) == [f"{path}: {text}" for path in paths for text in ("one", "two")]


def test_sizes_that_are_left_out_reach_no_training_of_the_family(start):
    class Sized(FakePool):
        def _run(self, job, listener):
            result = super()._run(job, listener)
            if isinstance(job, ProbeJob):
                return replace(result, too_small=(16,)) if Path(job.path).stem == "a" else result
            sizes[Path(job.path).stem].add(job.input_sizes)
            return result

    sizes = {"a": set(), "b": set()}
    run = start(Sized(depth, deeper_is_better), budget=Budget(4), input_sizes=(16, 32), repeats=1)
    assert sizes == {"a": {(32,)}, "b": {(16, 32)}}
    assert run.split.input_sizes == (16, 32)


@pytest.mark.parametrize(("cats", "unbalanced"), [(20, False), (80, True)])
def test_every_job_of_a_family_says_whether_the_classes_are_unbalanced(start, tmp_path, cats, unbalanced):
    class Listening(FakePool):
        def _run(self, job, listener):
            said[type(job)].add(job.unbalanced)
            return super()._run(job, listener)

    random, said = np.random.default_rng(0), defaultdict(set)
    for name, count in (("cats", cats), ("dogs", 20)):
        (tmp_path / "pictures" / name).mkdir(parents=True)
        for number in range(count):
            pixels = random.integers(0, 256, (8, 8, 3), np.uint8)
            Image.fromarray(pixels).save(tmp_path / "pictures" / name / f"{number}.png")
    start(Listening(depth, deeper_is_better), budget=Budget(2), data=str(tmp_path / "pictures"), repeats=1)
    del said[ShortcutJob]
    assert {ProbeJob, TrialJob} <= said.keys()
    assert all(values == {unbalanced} for values in said.values())


@pytest.mark.parametrize("seen", [True, False])
def test_a_backbone_that_the_probe_has_missed_is_said_once_where_its_weights_are_missing(start, tmp_path, seen):
    file = WeightsFile("Net", path=str(tmp_path / "net.h5"), problem="none" if seen else "")

    class Missing(FakePool):
        def _run(self, job, listener):
            if isinstance(job, ProbeJob):
                return replace(super()._run(job, listener), weights_files=(file,), backbones=1)
            real = listener.built
            listener.built = lambda params, weights, work: real(params, Weights.MISSING, work)
            return super()._run(job, listener)

    warnings = []

    class Listening(Progress):
        def warning(self, text):
            warnings.append(text)

    run = start(
        Missing(depth, deeper_is_better),
        families=("a",),
        progress=Listening(),
        budget=Budget(3),
        missing_weights="random",
    )
    assert {trial.weights for trial in run.trials} == {Weights.MISSING}
    assert warnings == list(run.notes)
    assert len(warnings) == 1
    assert ("no imagenet weights for Net: none" if seen else "in the Keras cache for a backbone") in warnings[0]


def test_a_trial_that_is_trained_again_wants_no_weights_but_its_own(start):
    run, probed = start(families=("a",), budget=Budget(2)), []

    class Probing(FakePool):
        def _run(self, job, listener):
            probed.append(job.only)
            return super()._run(job, listener)

    trial = replace(run.trials[1], weights=Weights.IMAGENET)
    config, _ = families.prepare_again(run, trial, Probing(depth, deeper_is_better), SILENT)
    assert (config.missing_weights, probed) == ("error", [trial.params])


def test_an_engine_that_cannot_be_made_costs_its_search_and_not_the_run(start, monkeypatch):
    real = engines.create

    def broken(engine, *arguments):
        if engine == "optuna:random":
            raise RuntimeError("no such sampler")
        return real(engine, *arguments)

    monkeypatch.setattr(engines, "create", broken)
    run = start(engines=("optuna:tpe", "optuna:random"), budget=Budget(4))
    assert (run.status, len(counted(run))) == ("complete", 4)
    assert all(run.best(name).test for name in "ab")
    assert any("optuna:random, a: the engine failed: RuntimeError: no such sampler" in note for note in run.notes)


@pytest.mark.slow
def test_hyperband_trains_configurations_of_a_small_space_longer(start):
    pool = FakePool(lambda hp, family: hp.Int("depth", 1, 9), deeper_is_better, epochs=9)
    run = start(pool, families=("a",), engines=("keras-tuner:hyperband",), budget=Budget(30), epochs=9)
    assert len({trial.max_epochs for trial in counted(run)}) > 1
    assert not any("all 9 configurations were tried" in note for note in run.notes)


@pytest.mark.storage
def test_a_proposal_equal_to_a_trial_that_was_stopped_is_stopped_too(start, tmp_path):
    class Stopping(FakePool):
        """Builds two equal trials, is interrupted, and ends both in one go."""

        def finished(self, timeout_s):
            if not isinstance(self._waiting[0][0], TrialJob):
                return super().finished(timeout_s)
            for _, listener in self._waiting:
                listener.built({"flag": True}, "", Work())
            signal.raise_signal(signal.SIGINT)
            jobs, self._waiting = [job for job, _ in self._waiting], []
            failure = Failure(FailureKind.INTERRUPTED, "the run was interrupted")
            return [Outcome(jobs[0], failure=failure), Outcome(jobs[1], result=TrialResult({}, stopped=True))]

    pool = Stopping(lambda hp, family: hp.Boolean("flag"), lambda family, params: 0.5, slots=2)
    with pytest.raises(Interrupted):
        start(pool, families=("a",), budget=Budget(6), engines=("optuna:random",))
    trials = bench.load(tmp_path / "run").trials
    assert [(trial.state, trial.failure.name) for trial in trials] == [("FAIL", "Interrupted")] * 2


# -- further test sets


def save_pictures(folder: Path, *names: str) -> Path:
    for number, name in enumerate(names):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        noise = np.random.default_rng(number).integers(0, 256, (12, 12, 3), dtype=np.uint8)
        Image.fromarray(noise).save(folder / name)
    return folder


@pytest.mark.storage
def test_the_best_of_each_family_is_scored_on_further_sets(start, tmp_path):
    other = save_pictures(tmp_path / "other", "cats/1.png", "dogs/1.png", "dogs/2.png", "owls/1.png")
    run = start(also_test=(str(other), "corrupted"), images=40)
    assert [further.name for further in run.further] == ["other", "corrupted"]
    names = {"other", *CORRUPTED_SETS}
    for trial in run.trials:
        assert trial.also.keys() == (names if trial.test else set())
    again = bench.load(run.path)
    assert again.best("a").also == run.best("a").also
    assert run.best("a").also["other"].n == 3
    stored = predictions.of_further(run, "other")
    assert set(stored) == {"a", "b"}
    assert {family: read.right.mean() for family, read in stored.items()} == {
        family: pytest.approx(run.best(family).also["other"].accuracy) for family in "ab"
    }
    assert any("1 picture of classes that the run does not know: 'owls'" in note for note in run.notes)
    written = json.loads((run.path / "results.json").read_text())["families"]["a"]["also"]
    assert written == {name: pytest.approx(run.best("a").also[name].accuracy, abs=1e-6) for name in names}
    assert results.read(run.path / "results.json").families["a"].also == written


@pytest.mark.parametrize("source", ["./nowhere", "corupted"])
def test_a_further_set_that_is_not_there_is_an_error_before_anything_is_built(start, tmp_path, source):
    pool = FakePool(lambda hp, family: pytest.fail("a family was built"), deeper_is_better)
    with pytest.raises(DataError, match=f"also-test '{source}'"):
        start(pool, also_test=(source,))
    assert not (tmp_path / "run").exists()


def test_a_set_that_cannot_be_scored_costs_no_other_score(start, tmp_path):
    class Failing(FakePool):
        def _run(self, job, listener):
            result = super()._run(job, listener)
            if isinstance(result, ScoreResult):
                also = {name: score for name, score in result.also.items() if name != "corrupted-blur-1"}
                return replace(result, also=also, unscored={"corrupted-blur-1": "the disk is full"})
            return result

    run = start(Failing(depth, deeper_is_better), also_test=("corrupted",))
    assert all(run.best(family).test for family in "ab")
    assert "a: not scored on corrupted-blur-1: the disk is full" in run.notes


@pytest.mark.storage
def test_a_signal_during_the_scoring_keeps_the_score_on_the_test_pictures(start):
    """The further sets that are left are scored by a resumed run."""

    class Signalled(FakePool):
        def _run(self, job, listener):
            if job.id == "score a 0":
                os.kill(os.getpid(), signal.SIGINT)
            return super()._run(job, listener)

    with pytest.raises(Interrupted) as stopped:
        start(Signalled(depth, deeper_is_better), also_test=("corrupted",))
    run = bench.load(stopped.value.run_path)
    assert [(bool(trial.test), trial.also) for trial in run.ranking()] == 2 * [(True, {})]
    resumed = runner.resume(run.path, pool=FakePool(depth, deeper_is_better))
    assert [trial.also.keys() for trial in resumed.ranking()] == 2 * [set(CORRUPTED_SETS)]
