"""Time budgets and Ctrl-C on a clock of the test's own: what is cut, what is not begun, and what is reserved."""

from __future__ import annotations

import csv
import json
import signal
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

import bench
from bench import Budget, RunConfig, runner
from bench.deploy.export import export
from bench.errors import Interrupted
from bench.records import Cost, Ending, Epoch, Prefix, SplitInfo, Trial
from bench.report.live import LivePage
from bench.runs.store import RunFolder
from bench.search.pace import CLOSING_S, MIN_ENDING_S, WHOLE_BUILD_S, Pace
from bench.search.progress import SILENT, Progress
from bench.search.scoring import add_seeds
from bench.search.stopping import CLOSING, Deadline, SignalStop
from bench.testing import FakePool
from bench.training.messages import RefitJob, ScoreJob, TrialJob


class Clock:
    """Seconds that pass only where a test lets them."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now

    def pass_by(self, seconds):
        self.now += seconds


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr("time.monotonic", clock)
    return clock


@pytest.fixture
def start(tmp_path, space, monkeypatch, clock, in_memory):
    """Runs the driver on fake families whose epochs take 10 s."""
    monkeypatch.chdir(tmp_path)

    def run(pool=None, families=("a",), progress=SILENT, **config):
        config = {"images": 24, "budget": Budget(None, 100.0), "out": str(tmp_path / "run"), **config}
        config["spaces"] = tuple(space(name) for name in families)
        return runner.run(RunConfig(**config), progress, pool=pool or fake(clock))

    return run


def depth(hp, family):
    hp.Int("depth", 1, 9)
    hp.Float("dropout", 0.0, 1.0)


def fake(clock, epochs=4, score=lambda family, params: params["depth"] / 10, cls=FakePool, **more):
    return cls(depth, score, epochs=epochs, epoch_s=10.0, wait=clock.pass_by, **more)


class Jobs(FakePool):
    """Keeps the jobs that it was sent."""

    def __init__(self, *arguments, **more):
        super().__init__(*arguments, **more)
        self.jobs = []

    def submit(self, job, listener):
        self.jobs.append(job)
        super().submit(job, listener)


def board(folder):
    return list(csv.DictReader((folder / "run" / "leaderboard.csv").read_text().splitlines()))


# -- the time budget


@pytest.mark.storage
def test_a_trial_that_the_budget_cuts_is_complete_and_says_so(start, clock, tmp_path):
    class Slower(FakePool):
        """Epochs of the third trial take 30 s instead of 10, which no forecast knew."""

        def _train(self, accuracy, values, job, listener):
            self._epoch_s = 30.0 if len(self.trained) == 3 else 10.0
            return super()._train(accuracy, values, job, listener)

    start(fake(clock, cls=Slower), budget=Budget(None, 130.0))
    run = bench.load(tmp_path / "run")
    assert [(trial.state, trial.epochs, trial.ending) for trial in run.trials if trial.ending != Ending.LIMIT] == [
        ("COMPLETE", 4, None),
        ("COMPLETE", 4, None),
        ("COMPLETE", 1, Ending.BUDGET),
    ]
    assert run.trials[2].note == "stopped by the budget after epoch 1 of 4"
    assert run.status == "complete"
    assert "stopped by the budget after epoch 1 of 4" in (tmp_path / "run" / "report.html").read_text()


@pytest.mark.storage
def test_a_cut_trial_that_is_the_best_is_on_the_board_with_its_model(start, tmp_path):
    run = start(budget=Budget(1, 25.0))
    (best,) = run.trials
    assert best.cut
    assert run.best("a") == bench.load(tmp_path / "run").best("a") == best
    assert best.test is not None
    assert run.model("a").exists()
    (row,) = board(tmp_path)
    assert (row["state"], row["epochs"], row["ending"]) == ("COMPLETE", "1", "budget")


def test_a_trial_that_is_trained_to_its_end_has_no_ending_on_the_board(start, tmp_path):
    start(budget=Budget(1))
    (row,) = board(tmp_path)
    assert (row["epochs"], row["ending"]) == ("4", "")


def test_a_trial_that_cannot_reach_its_first_epoch_is_not_begun(start, clock):
    class Unequal(FakePool):
        """Epochs of `slow` take 45 s, those of the others 10."""

        def _train(self, accuracy, values, job, listener):
            self._epoch_s = 45.0 if Path(job.path).stem == "slow" else 10.0
            return super()._train(accuracy, values, job, listener)

    run = start(fake(clock, epochs=1, cls=Unequal), families=("quick", "slow"))
    families = [trial.family for trial in run.trials]
    assert families[:3] == ["quick", "slow", "quick"]
    assert set(families[3:]) == {"quick"}
    assert all(trial.state == "COMPLETE" and not trial.ending for trial in run.trials)


def test_time_for_the_page_and_for_scoring_is_reserved(start, clock, monkeypatch):
    monkeypatch.setattr(runner, "Pace", lambda config, split, now_s, **_: Pace(config, split, now_s, lambda: 10.0))
    start()
    assert clock.now == 70.0  # 80 would leave less than twice the page, scoring and an ending


def test_the_page_says_how_long_it_takes(start, clock, monkeypatch):
    draw, pages = LivePage._draw, []

    def slow(page, run, status):
        clock.pass_by(7.0)
        draw(page, run, status)
        pages.append(page)

    monkeypatch.setattr(LivePage, "_draw", slow)
    start(budget=Budget(1))
    assert pages[0].last_s == 7.0


def test_preparation_is_charged_up_to_half_of_the_budget(start, monkeypatch):
    made, elapsed_s = [], RunFolder.elapsed_s
    monkeypatch.setattr(runner, "Deadline", lambda *arguments: made.append(arguments) or Deadline(*arguments))
    monkeypatch.setattr(RunFolder, "elapsed_s", lambda folder: 30.0 + elapsed_s(folder))
    start()
    assert [arguments[2] for arguments in made if arguments[3:]] == [70.0]
    start(out="second", budget=Budget(None, 40.0), engines=("optuna:tpe", "optuna:random"))
    assert [arguments[2] for arguments in made if arguments[3:]][1:] == [25.0, 25.0]
    start(out="third", budget=Budget(None, 40.0))
    assert [arguments[2] for arguments in made if arguments[3:]][3:] == [20.0]


def test_folds_share_the_time_that_is_left(start):
    (trial,) = start(budget=Budget(1, 100.0), folds=3).trials
    assert trial.ending is Ending.BUDGET
    assert len(trial.folds) == 3
    assert trial.epochs == 3  # of four: 33 s for each fold
    assert trial.test is not None


def test_another_engine_trains_what_the_budget_of_the_first_has_cut(start, clock):
    known = {"a": [{"depth": 5, "dropout": 0.5}]}
    pool = fake(clock, epochs=8, known=known)
    run = start(pool, only_known=True, engines=("optuna:tpe", "optuna:random"), budget=Budget(None, 40.0))
    assert [(trial.duplicate_of, trial.epochs, trial.cut) for trial in run.trials] == [("", 3, True)] * 2
    assert len({trial.engine for trial in run.trials}) == 2


def test_only_what_takes_longer_than_its_grace_is_stopped(clock):
    deadline = Deadline(SignalStop(), Pace(RunConfig(), SplitInfo("", (), {}, ""), clock), 100.0)
    deadline.clock.start()
    clock.now = 100.0 - MIN_ENDING_S - CLOSING_S
    assert deadline.closed()
    assert deadline.reason() is None
    clock.now += 5.1
    assert deadline.reason() == ("BudgetSpent", "stopped by the time budget")


def test_a_search_without_a_time_budget_has_no_end(start, clock):
    run = start(budget=Budget(3))
    assert clock.now == 120.0
    assert not any(trial.cut for trial in run.trials)


# -- measured times


@pytest.fixture
def measured(clock):
    return partial(measure, clock)


def measure(clock, test=50, folds=0, **config):
    """The pace of a trial: 2 s to build, 90 s of features, an epoch of 5 s, 3 s for its end."""
    counts = {"train": {"x": 100}, "test": {"x": test}} | ({} if folds else {"validation": {"x": 50}})
    pace = Pace(RunConfig(**config), SplitInfo("", ("x",), counts, "", folds=folds), clock)
    trial = Trial("a", "optuna:tpe", 0, 1, "RUNNING", prefixes=(Prefix(used=True),))
    pace.began(trial)
    clock.pass_by(2.0)
    pace.built(trial)
    clock.pass_by(95.0)
    pace.epoch(trial, Epoch(1, 0.5, 0.5, 0.5, 0.5, 5.0, val_time_s=1.0))
    return pace, trial


def test_scoring_is_expected_to_take_what_its_share_of_the_pictures_took(measured, clock):
    pace, trial = measured()
    expected = 2 + WHOLE_BUILD_S + CLOSING_S + 50 * (90 / 150 + 1 / 50)
    assert pace.reserve_s([]) == pytest.approx(expected)  # still in training, none of its family before
    clock.pass_by(3.0)
    pace.ended(replace(trial, state="COMPLETE"))
    assert pace.reserve_s([]) == CLOSING_S
    assert pace.reserve_s([replace(trial, cost=Cost(5.0, 5.0))]) == pytest.approx(expected)
    assert pace.ending_s() == 3.0
    assert pace.first_epoch_s("a") == 97.0
    assert pace.first_epoch_s("b") is None


def test_an_epoch_that_a_failed_trial_did_not_complete_is_not_its_ending(measured, clock):
    pace, trial = measured()
    clock.pass_by(40.0)
    pace.ended(replace(trial, state="FAIL"))
    assert pace.ending_s() == MIN_ENDING_S
    assert not pace.in_training()


def test_features_that_came_from_the_cache_are_expected_at_their_cold_cost(measured):
    pace, trial = measured()
    cost = Cost(5.0, 305.0, features_time_s=300.0)
    assert pace.reserve_s([replace(trial, cost=cost)]) == pytest.approx(
        2 + WHOLE_BUILD_S + CLOSING_S + 50 * (300 / 150 + 1 / 50)
    )


def test_a_model_without_frozen_layers_is_not_built_again_and_several_views_are_of_one_picture(measured):
    pace, trial = measured()
    assert pace.reserve_s([replace(trial, prefixes=())]) == pytest.approx(2 + CLOSING_S + 50 * (90 / 150 + 1 / 50))
    twice = replace(trial, prefixes=(Prefix(used=True, views=2),))
    assert pace.reserve_s([twice]) == pytest.approx(2 + WHOLE_BUILD_S + CLOSING_S + 50 * (90 / 250 + 1 / 50))


def test_repeats_and_the_training_on_all_folds_are_reserved(measured):
    pace, trial = measured(repeats=3, workers=2)
    cost = Cost(5.0, 95.0, total_time_s=100.0)
    assert pace.reserve_s([replace(trial, cost=cost)]) == pytest.approx(
        2 + WHOLE_BUILD_S + CLOSING_S + 31.0 + 2 * 100.0
    )
    pace, trial = measured(folds=4)
    assert pace.reserve_s([replace(trial, cost=cost)]) == pytest.approx(
        2 + WHOLE_BUILD_S + CLOSING_S + 50 * (90 / 100 + 1 / 25) + 95
    )


# -- training a cut trial again


@pytest.mark.storage
def test_a_cut_trial_is_trained_again_for_as_many_epochs(start, clock, tmp_path):
    run = start(budget=Budget(1, 35.0), repeats=1)
    (trial,) = run.trials
    assert trial.cut
    pool = fake(clock, cls=Jobs)
    add_seeds(bench.load(tmp_path / "run"), 3, SILENT, pool)
    assert [job.stop_after for job in pool.jobs if isinstance(job, TrialJob)] == [trial.epochs]
    pool = fake(clock, cls=Jobs)
    run.model("a").unlink()
    export(run, trial, tmp_path / "model.keras", SILENT, pool)
    assert [job.stop_after for job in pool.jobs if isinstance(job, TrialJob)] == [trial.epochs]


def test_a_whole_trial_is_trained_again_without_such_a_limit(start, clock):
    pool = fake(clock, cls=Jobs)
    start(pool, budget=Budget(1), repeats=1)
    assert {job.stop_after for job in pool.jobs if isinstance(job, (TrialJob, ScoreJob, RefitJob))} == {None}


# -- Ctrl-C


def pressing(clock, number=signal.SIGINT, at=15.0, **more):
    """A pool in whose epochs the user presses Ctrl-C once."""

    def wait(seconds):
        before = clock.now
        clock.pass_by(seconds)
        if before < at <= clock.now:
            signal.raise_signal(number)

    return FakePool(depth, lambda family, params: 0.5, epochs=4, epoch_s=10.0, wait=wait, **more)


@pytest.mark.storage
def test_ctrl_c_ends_the_running_trial_after_its_epoch_and_scores_what_there_is(start, clock, tmp_path):
    warnings = []

    class Listening(Progress):
        def warning(self, text):
            warnings.append(text)

    with pytest.raises(Interrupted):
        start(pressing(clock), budget=Budget(20), progress=Listening(), repeats=2)
    run = bench.load(tmp_path / "run")
    (trial,) = run.trials
    assert (trial.state, trial.epochs, trial.note) == ("COMPLETE", 2, "stopped by Ctrl-C after epoch 2 of 4")
    assert trial.test is not None
    assert trial.repeats == ()
    assert run.status == "partial"
    assert warnings.count(CLOSING) == 1


@pytest.mark.storage
def test_ctrl_c_does_not_wait_for_a_trial_without_an_epoch(start, clock, tmp_path):
    class Hanging(FakePool):
        """The second trial hangs until it is cancelled; the user presses Ctrl-C."""

        def finished(self, timeout_s):
            if self.trained and self._cancelled is None and isinstance(self._waiting[0][0], TrialJob):
                if not pressed:
                    pressed.append(signal.raise_signal(signal.SIGINT))
                return []
            return super().finished(timeout_s)

    pressed = []
    with pytest.raises(Interrupted):
        start(fake(clock, cls=Hanging), budget=Budget(20))
    first, second = bench.load(tmp_path / "run").trials
    assert first.test is not None
    assert (second.state, second.failure.kind) == ("FAIL", "Interrupted")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("limit_s", [30.0, -1.0])
def test_other_signals_score_the_best_too_unless_that_takes_too_long(
    start, clock, tmp_path, monkeypatch, number, limit_s
):
    monkeypatch.setattr("bench.search.stopping.SIGNAL_S", limit_s)
    with pytest.raises(Interrupted) as caught:
        start(pressing(clock, number), budget=Budget(20))
    assert caught.value.exit_status == 128 + number
    row = json.loads((tmp_path / "run" / "run.json").read_text())
    assert row["status"] == "partial"
    assert (row["best"]["test_value"] is None) == (limit_s < 0)


def test_ctrl_c_while_the_best_are_scored_begins_no_other_seed(start, clock, tmp_path):
    pool = pressing(clock, at=45.0, cls=None) if False else pressing(clock, at=45.0)
    with pytest.raises(Interrupted):
        start(pool, budget=Budget(2), families=("a", "b"), repeats=2)
    assert json.loads((tmp_path / "run" / "run.json").read_text())["status"] == "partial"


def test_a_further_set_costs_time_of_the_budget():
    split = SplitInfo("drawn", ("a", "b"), {"train": {"a": 60}, "validation": {"a": 20}, "test": {"a": 20}}, "")
    reserves = []
    for pictures in (0, 2000):
        pace = Pace(RunConfig(), split, now_s=iter(range(100)).__next__, further=pictures)
        trial = Trial("a", "optuna:tpe", 0, 1, "COMPLETE", cost=Cost(8.0, 8.0, total_time_s=8.0))
        pace.began(trial)
        pace.epoch(trial, Epoch(1, 1.0, 0.5, 1.0, 0.5, 1.0, val_time_s=0.5))
        reserves.append(pace.reserve_s([trial]))
    assert reserves[1] - reserves[0] == pytest.approx(2000 * 0.5 / 20, rel=0.5)
