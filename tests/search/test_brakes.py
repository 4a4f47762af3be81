"""Faults that repeat end a family or the run; a training that runs out of memory is tried with half the batch size."""

from __future__ import annotations

import itertools
import time
from collections import Counter
from pathlib import Path

import pytest

from bench import Budget, RunConfig, runner
from bench.cli import parser
from bench.errors import DataError
from bench.records import FAIL, FailureKind
from bench.runs import store
from bench.search.progress import Progress
from bench.testing import FakePool
from bench.training.messages import ScoreJob, TrialJob

pytestmark = pytest.mark.usefixtures("in_memory")


def build(hp, family):
    hp.Int("depth", 1, 999)


class Warnings(Progress):
    def __init__(self):
        self.texts: list[str] = []

    def warning(self, text):
        self.texts.append(text)


@pytest.fixture
def start(tmp_path: Path, space):
    def run(score, pool=FakePool, progress=None, budget=20):
        spaces = (space("bad"), space("good"))
        config = RunConfig(images=24, spaces=spaces, budget=Budget(budget), out=str(tmp_path / "run"))
        return runner.run(config, progress or Progress(), pool=pool(build, score))

    return run


def failing(message):
    def score(family, params):
        if family == "bad":
            raise ValueError(message(params["depth"]))
        return 0.5

    return score


def test_a_family_whose_first_five_trials_fail_alike_gets_no_more(start):
    progress = Warnings()
    run = start(failing(lambda depth: f"layer 'conv_{depth}' of shape ({depth}, 3): no"), progress=progress)
    assert Counter(trial.family for trial in run.trials if trial.counted) == {"bad": 5, "good": 15}
    (line,) = [text for text in progress.texts if "alike" in text]
    assert line == "optuna:tpe, bad: its first 5 trials failed alike, ValueError: layer … of shape (… …): no"
    assert line in run.notes
    assert {study.family: bool(study.dropped) for study in run.studies} == {"bad": True, "good": False}


def test_a_family_that_fails_in_several_ways_goes_on(start):
    run = start(failing(lambda depth: "odd" if depth % 2 else "even"), budget=40)
    assert sum(trial.family == "bad" for trial in run.trials if trial.counted) == 20


def test_a_fault_that_every_trial_meets_ends_the_run_with_it(start, tmp_path):
    def score(family, params):
        raise DataError("picture 'cats/1.png': cannot be read")

    with pytest.raises(DataError, match=r"cats/1\.png.*the last 3 trials, so the run ends"):
        start(score)
    summary = store.summaries(tmp_path)[0].record
    assert (summary.status, summary.trials) == ("partial", {FAIL: 3})
    assert "cats/1.png" in (tmp_path / "run" / "report.html").read_text()


def test_a_fault_of_the_disk_that_passes_costs_its_trials_only(start):
    faults = iter([DataError("disk full")] * 2)

    def score(family, params):
        for fault in faults:
            raise fault
        return 0.5

    run = start(score)
    assert [trial.failure.kind for trial in run.trials if trial.failure] == [FailureKind.ENVIRONMENT] * 2
    assert len(run.trials) == 20


class Small(FakePool):
    """A pool without the memory for a whole batch; with depths above 500, without that for half a batch."""

    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.jobs = []

    def _run(self, job, listener):
        self.jobs.append(job)
        result = super()._run(job, listener)
        if isinstance(job, TrialJob) and not (job.halved and result.params["depth"] <= 500):
            raise MemoryError("no memory")
        return result


def test_a_training_that_runs_out_of_memory_is_tried_once_more_with_half_the_batch_size(start):
    pools = []
    run = start(lambda family, params: 0.5, pool=lambda *arguments: pools.append(Small(*arguments)) or pools[0])
    assert len(run.trials) == 20
    for trial in run.trials:
        assert trial.halved
        assert "half the batch size, since memory ran out" in trial.note
        assert (trial.state == FAIL) == (trial.params["depth"] > 500)
        assert trial.failure is None or trial.failure.kind is FailureKind.OOM
    jobs = [job for job in pools[0].jobs if isinstance(job, TrialJob)]
    assert [job.halved for job in jobs] == [False, True] * 20
    assert {job.halved for job in pools[0].jobs if isinstance(job, ScoreJob)} == {True}


def test_the_command_ends_with_one_line_where_every_trial_meets_a_fault(tmp_path, space, monkeypatch, capsys):
    def score(family, params):
        raise DataError("the cache cannot be written")

    monkeypatch.setattr("bench.workers.start", lambda config: FakePool(build, score))
    words = ["run", "--images", "24", "--spaces", space("bad"), "--budget", "9", "--out", str(tmp_path / "run")]
    assert parser.main(words) == 2
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert line == "error: the cache cannot be written; it ended the last 3 trials, so the run ends"


def test_34_a_clock_that_jumps_changes_no_duration(start, monkeypatch):
    jumps = itertools.cycle((0, 86_400, -86_400, 3600))
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() + next(jumps))
    run = start(lambda family, params: 0.5, budget=6)
    assert 0 < run.elapsed_s < 3600
    times = [(trial.started_s, trial.finished_s) for trial in run.trials]
    assert all(0 <= began <= ended <= run.elapsed_s for began, ended in times)
    assert times == sorted(times)
