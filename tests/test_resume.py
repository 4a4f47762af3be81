"""`bench resume`: a run that was stopped goes on as if it had not been."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import shutil
import sqlite3
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bench import Budget, RunConfig, runner
from bench.cli import parser
from bench.deploy import export
from bench.engines import ENGINES
from bench.errors import RunFolderError, UsageError
from bench.records import CORRUPTED_SETS, RunStatus, Work, to_data
from bench.report import index, page
from bench.runs import lock, predictions, store
from bench.search.progress import Progress
from bench.testing import FakePool

from .conftest import TINY

pytestmark = pytest.mark.storage

KNOWN = {"a": [{"kind": "conv", "units": 24}, {"kind": "dense", "rate": 1e-3}], "b": [{"units": 40}]}


def build(hp, family):
    """Conditional hyperparameters, and one that a probe does not see: the default is not "conv"."""
    kind = hp.Choice("kind", ["dense", "conv"])
    hp.Int("units", 8, 64, step=8)
    hp.Float("rate", 1e-4, 1e-1, sampling="log")
    hp.Int("kernel", 1, 7, parent_name="kind", parent_values=["conv"])
    if kind == "conv":
        hp.Int("depth", 1, 4)


def numeric(hp, family):
    hp.Float("rate", 1e-4, 1e-1, sampling="log")
    hp.Float("width", 0.5, 2.0)


def score(family, params):
    if params.get("units") == 16:
        raise ValueError("such a network fails")
    return 0.5 + 0.2 * params["rate"] ** 0.25 + 0.002 * params.get("units", 8) + 0.05 * (params.get("kind") == "conv")


class Stopped(FakePool):
    """Copies the run folder as a kill would leave it, in the midst of a trial's questions and of its training.

    Args:
        copies: Numbers of the trainings at which the folder is copied.
    """

    def __init__(self, run: Path, copies=(), build=build, **settings):
        super().__init__(self._ask, self._train_one, wait=lambda seconds: self._copy("epoch"), **settings)
        self._run_folder, self._copies, self._ask_all, self._asking = run, set(copies), build, False
        self.stopped: list[Path] = []

    def _run(self, job, listener):
        self._asking = type(job).__name__ == "TrialJob" and job.values is None
        return super()._run(job, listener)

    def _ask(self, hp, family):
        self._ask_all(_Hesitant(hp, self._copy) if self._asking else hp, family)

    def _train_one(self, family, params):
        self._copy("training")
        return score(family, params)

    def _copy(self, moment):
        if self._asking and len(self.trained) in self._copies:
            to = self._run_folder.with_name(f"{moment}-{len(self.trained)}")
            if not to.exists():
                self.stopped.append(to)
                shutil.copytree(self._run_folder, to)
                (to / lock.FILE).unlink()


class _Hesitant:
    """Copies the folder after the first value is known."""

    def __init__(self, hp, copy):
        self._hp, self._do = hp, copy

    def __getattr__(self, name):
        value = getattr(self._hp, name)
        if not callable(value):
            return value

        def declare(*arguments, **settings):
            got = value(*arguments, **settings)
            self._do("asking")
            return got

        return declare


@pytest.fixture
def config(tmp_path, space, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("bench.report.live.LivePage._draw", lambda *arguments: None)  # most of a tiny run's time

    def make(families=("a", "b"), **settings):
        spaces = tuple(space(name) for name in families)
        return RunConfig(**{"images": 24, "spaces": spaces, "out": str(tmp_path / "run"), **settings})

    return make


def sequence(run):
    return [
        (trial.name, trial.order, trial.state, trial.origin, dict(trial.params), trial.value, trial.duplicate_of)
        for trial in run.trials
    ]


def board(run):
    return [(trial.name, dict(trial.params), trial.value, trial.test_accuracy) for trial in run.ranking()]


def assert_goes_on_alike(config, tmp_path, copies, **pool):
    first = Stopped(tmp_path / "run", copies, **pool)
    whole = runner.run(config, pool=first)
    assert len(first.stopped) >= len(copies)
    for path in first.stopped:
        resumed = runner.resume(path, pool=Stopped(path, **pool))
        assert sequence(resumed) == sequence(whole), path.name
        assert board(resumed) == board(whole), path.name
        assert sequence(store.load(path)) == sequence(whole)
        assert resumed.status == RunStatus.COMPLETE


@pytest.mark.slow
def test_a_killed_run_goes_on_with_the_same_configurations(config, tmp_path):
    assert_goes_on_alike(config(budget=Budget(8)), tmp_path, [1, 5], known=KNOWN)


@pytest.mark.slow
@pytest.mark.parametrize("space_of", [build, numeric], ids=["conditional", "numeric"])
@pytest.mark.parametrize("engine", ENGINES)
def test_every_engine_goes_on_with_the_same_configurations(config, tmp_path, engine, space_of):
    package = ENGINES[engine].package
    if package and importlib.util.find_spec(package) is None:
        pytest.skip(f"{package} is not installed")
    settings = config(budget=Budget(16), engines=(engine,), epochs=9)
    assert_goes_on_alike(settings, tmp_path, [1, 9], known=KNOWN if space_of is build else {}, build=space_of)


@pytest.mark.slow
@pytest.mark.parametrize("pruner", ["median", "successive-halving", "hyperband"])
def test_a_pruner_decides_as_without_the_stop(config, tmp_path, pruner):
    settings = config(budget=Budget(16), pruner=pruner, epochs=9)
    assert_goes_on_alike(settings, tmp_path, [3, 9], known=KNOWN, epochs=9)


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["optuna:tpe", "optuna:cmaes", "keras-tuner:bayesian", "keras-tuner:grid"])
def test_refused_configurations_are_remembered(config, tmp_path, engine):
    settings = config(budget=Budget(10), engines=(engine,), max_parameters=40)
    work = lambda family, params: Work(parameters=params.get("units", 8))  # noqa: E731
    assert_goes_on_alike(settings, tmp_path, [2, 6], known=KNOWN, work=work)


@pytest.mark.slow
@pytest.mark.parametrize("slots", [2, 3])
def test_with_several_workers_those_in_flight_run_again_as_the_same_configurations(config, tmp_path, slots):
    first = Stopped(tmp_path / "run", [5], known=KNOWN, slots=slots)
    runner.run(config(budget=Budget(12), workers=slots), pool=first)
    for path in first.stopped:
        before = store.load(path)
        resumed = runner.resume(path, pool=Stopped(path, slots=slots, known=KNOWN))
        params = {trial.name: trial.params for trial in resumed.trials}
        assert all(params[trial.name].items() >= dict(trial.params).items() for trial in before.trials)
        assert sum(trial.counted for trial in resumed.trials) == 12


@pytest.mark.slow
def test_a_model_of_another_trial_is_not_taken_over(config, tmp_path):
    """As a driver leaves it that is killed between a trial's record and its model."""
    first = Stopped(tmp_path / "run", [5])
    runner.run(config(budget=Budget(6), families=("a",)), pool=first)
    path = first.stopped[-1]
    before = store.load(path).best("a")
    (path / "models" / "a.keras").write_text("the model of an earlier best", encoding="utf-8")
    resumed = runner.resume(path, pool=Stopped(path))
    best = resumed.best("a")
    assert (best.name, best.test is not None) == (before.name, True)
    assert store.model_file(resumed, best) is None
    assert not (path / "models" / "a.keras").exists()


@pytest.mark.slow
def test_two_engines_go_on_where_they_were(config, tmp_path):
    settings = config(budget=Budget(8), engines=("optuna:random", "keras-tuner:hyperband"), epochs=9)
    assert_goes_on_alike(settings, tmp_path, [4, 12], known=KNOWN)


# -- budgets


@pytest.fixture
def run(config, tmp_path):
    return runner.run(config(budget=Budget(4)), pool=Stopped(tmp_path / "run"))


def test_a_larger_budget_is_the_new_total(run, tmp_path):
    resumed = runner.resume(run.path, Budget(7), pool=Stopped(run.path))
    assert sum(trial.counted for trial in resumed.trials) == 7
    assert sequence(resumed)[: len(run.trials)] == sequence(run)
    assert store.load(run.path).config.budget == Budget(7)
    assert all(trial.test for trial in resumed.ranking())


@pytest.mark.parametrize(
    ("budget", "says"), [(None, "is complete; --budget names a larger total"), (Budget(3), "is the new total")]
)
def test_a_complete_run_needs_a_larger_budget(run, budget, says):
    with pytest.raises(UsageError, match=says):
        runner.resume(run.path, budget, pool=Stopped(run.path))
    assert store.load(run.path).status == RunStatus.COMPLETE


def test_time_that_was_spent_counts_and_the_pause_does_not(config, tmp_path):
    run = runner.run(config(budget=Budget(4, 1000.0)), pool=Stopped(tmp_path / "run"))
    last = max(trial.charged_s for trial in run.trials)
    resumed = runner.resume(run.path, Budget(6, 1000.0), pool=Stopped(run.path))
    later = [trial.charged_s for trial in resumed.trials[len(run.trials) :]]
    assert last < later[0] < last + 60
    assert resumed.elapsed_s > run.elapsed_s


# -- differences


def killed(path: Path) -> Path:
    """Make a run look as after a kill."""
    data = json.loads((path / "run.json").read_text(encoding="utf-8"))
    (path / "run.json").write_text(json.dumps({**data, "status": "running"}), encoding="utf-8")
    return path


def test_another_file_of_a_family_is_refused_unless_accepted_and_noted(run, tmp_path, space):
    killed(run.path)
    space("a", TINY + "\n# another\n")
    with pytest.raises(RunFolderError, match=r"a\.py or a _\*\.py next to it changed; --accept-changes"):
        runner.resume(run.path, pool=Stopped(run.path))
    assert store.load(run.path).status == RunStatus.KILLED
    resumed = runner.resume(run.path, accept_changes=True, pool=Stopped(run.path))
    assert any("resumed although" in note and "a.py" in note for note in resumed.notes)


def test_another_version_of_a_package_is_refused_unless_accepted(run):
    killed(run.path)
    data = json.loads((run.path / "run.json").read_text(encoding="utf-8"))
    data["environment"]["packages"]["optuna"] = "4.0.0"
    (run.path / "run.json").write_text(json.dumps(data), encoding="utf-8")
    with pytest.raises(RunFolderError, match=r"optuna was 4\.0\.0 and is"):
        runner.resume(run.path, pool=Stopped(run.path))
    assert runner.resume(run.path, accept_changes=True, pool=Stopped(run.path)).status == RunStatus.COMPLETE


def draw(folder: Path) -> tuple[Path, np.ndarray]:
    """Draw 24 pictures of two classes; return the last one, and its file."""
    for number in range(24):
        noise = np.random.default_rng(number).integers(0, 256, (12, 12, 3), dtype=np.uint8)
        path = folder / "ab"[number % 2] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(noise).save(path)
    return path, noise


def test_other_pictures_are_refused_with_one_of_them(config, tmp_path):
    path, noise = draw(tmp_path / "photos")
    run = runner.run(config(data="photos", budget=Budget(2)), pool=Stopped(tmp_path / "run"))
    killed(run.path)
    Image.fromarray(255 - noise).save(path)
    with pytest.raises(RunFolderError, match=r"1\spicture changed, e\.g\. b/23\.png"):
        runner.resume(run.path, accept_changes=True, pool=Stopped(run.path))
    path.unlink()
    with pytest.raises(RunFolderError, match=r"1\spicture missing, e\.g\. b/23\.png"):
        runner.resume(run.path, accept_changes=True, pool=Stopped(run.path))


# -- another working folder


@pytest.mark.parametrize("spaces", [("spaces",), ("spaces/a.py", "b"), ("b",)], ids="folder file name".split())
@pytest.mark.parametrize(
    "pictures", [{"data": "photos"}, {"split_file": "earlier/split.json"}], ids="data split".split()
)
def test_a_run_with_relative_paths_goes_on_from_another_folder(tmp_path, space, monkeypatch, spaces, pictures):
    project = tmp_path / "home" / "project"
    (tmp_path / "elsewhere").mkdir(), project.mkdir(parents=True)
    monkeypatch.chdir(project)
    draw(project / "photos")
    for name in ("spaces/a.py", "search_spaces/b.py"):
        (project / name).parent.mkdir(exist_ok=True)
        (project / name).write_text(TINY, encoding="utf-8")
    if "split_file" in pictures:
        runner.run(RunConfig(data="photos", spaces="b", budget=1, out="earlier"), pool=FakePool(build, score))
    config = RunConfig(**pictures, spaces=spaces, budget=4, out="reports/one")
    first = runner.run(config, pool=Stopped(Path("reports/one"), [2]))
    moved = Path("reports") / "training-2"
    monkeypatch.chdir(tmp_path / "elsewhere")
    resumed = runner.resume(project / moved, pool=Stopped(project / moved))
    assert (sequence(resumed), board(resumed)) == (sequence(first), board(first))
    trial = next(trial for trial in resumed.trials if trial.name != resumed.best(trial.family).name)
    again = export.export(store.load(project / moved), trial, Path("again.keras"), Progress(), FakePool(build, score))
    assert again == trial.value
    assert parser.main(["report", str(project / moved)]) == 0
    for name in ("report.html", "run.json"):
        assert str(tmp_path / "home") not in (project / moved / name).read_text(encoding="utf-8")


# -- one driver a folder


def test_a_folder_with_a_living_driver_is_refused_with_both_named(run):
    with (
        store.reopen(run),
        pytest.raises(
            RunFolderError, match=rf"is in use by process {os.getpid()} on .*; this is process {os.getpid()}"
        ),
    ):
        runner.resume(run.path, Budget(9), pool=Stopped(run.path))


def driver(path: Path, **changes) -> None:
    data = to_data(replace(lock.this_driver(), **changes))
    (path / lock.FILE).write_text(json.dumps(data), encoding="utf-8")


def test_a_process_id_that_is_used_again_is_no_driver(run):
    killed(run.path)
    driver(run.path)
    assert store.load(run.path).status == RunStatus.RUNNING
    driver(run.path, started="before")
    assert store.load(run.path).status == RunStatus.KILLED
    assert runner.resume(run.path, pool=Stopped(run.path)).status == RunStatus.COMPLETE
    assert not (run.path / lock.FILE).exists()


def test_a_driver_of_another_machine_is_gone_after_a_minute_without_heartbeat(run):
    killed(run.path)
    driver(run.path, host="elsewhere", place="elsewhere")
    with pytest.raises(RunFolderError, match=r"on elsewhere; this is process"):
        runner.resume(run.path, pool=Stopped(run.path))
    silent = time.time() - lock.SILENCE_S - 1
    os.utime(run.path / lock.FILE, (silent, silent))
    assert store.load(run.path).status == RunStatus.KILLED


def test_a_driver_whose_folder_was_taken_over_writes_nothing_more(run):
    with store.reopen(run) as folder:
        driver(run.path, pid=1)
        with pytest.raises(RunFolderError, match=r"was taken over by process 1 on"):
            folder.snapshot()
    assert (run.path / lock.FILE).exists()


def test_a_run_whose_driver_is_gone_is_stopped_everywhere(run, capsys):
    killed(run.path)
    (run.path / "results.json").unlink()
    assert parser.main(["history", str(run.path.parent)]) == 0
    assert capsys.readouterr().out.splitlines()[1:] == ["left out, stopped (killed): 1 run (run)"]
    (summary,) = store.summaries(run.path.parent)
    assert "stopped (killed)" in index.line(summary.record)
    drawn = page.html(store.load(run.path))
    assert f"python -m bench resume {run.path}" in drawn
    assert "data-refresh" not in drawn


def test_a_run_that_was_killed_before_its_first_trial_begins_anew(config, tmp_path):
    settings = config(budget=Budget(2))
    with store.create(settings) as folder:
        shutil.copytree(folder.path, tmp_path / "early")
    (tmp_path / "early" / lock.FILE).unlink()
    with contextlib.closing(sqlite3.connect(tmp_path / "early" / "trials.sqlite3")) as half:  # made without its index
        half.execute("CREATE TABLE studies (study_id INTEGER PRIMARY KEY, study_name VARCHAR(512))")
    assert store.load(tmp_path / "early").status == RunStatus.KILLED
    resumed = runner.resume(tmp_path / "early", pool=Stopped(tmp_path / "early"))
    assert (resumed.status, len(resumed.trials)) == (RunStatus.COMPLETE, 2)


def test_a_resumed_run_scores_on_further_sets_what_was_not_scored(config, tmp_path):
    made = config(also_test=("corrupted",), budget=Budget(6))
    pool = Stopped(tmp_path / "run", copies=(4,))
    whole = runner.run(made, pool=pool)
    for path in pool.stopped:
        resumed = runner.resume(path, pool=Stopped(path))
        assert resumed.further == whole.further
        assert {trial.name: trial.also for trial in resumed.ranking()} == {
            trial.name: trial.also for trial in whole.ranking()
        }
    lost = predictions.further_path(whole.path, "a", "corrupted-jpeg-2")
    lost.unlink()
    again = runner.resume(whole.path, Budget(7), pool=Stopped(whole.path))
    assert lost.is_file()
    assert again.best("a").also.keys() == again.best("b").also.keys() == set(CORRUPTED_SETS)
