"""Every run tests its data for shortcuts before the first trial."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import bench
from bench import Budget, RunConfig, runner
from bench.cli.console import print_board
from bench.hyperparameters import HyperParameters
from bench.records import Failure, FailureKind, FeatureKind, Run, Shortcuts
from bench.search.progress import Progress
from bench.testing import FakePool
from bench.training.messages import Job, ShortcutJob, TrialJob
from bench.workers import Listener

GREY_PNG = Shortcuts(20, 10, {kind: np.packbits(np.arange(20) < 19).tobytes() for kind in FeatureKind})

Start = Callable[[FakePool], Run]


class Recorder(Progress):
    """Collects warnings."""

    def __init__(self) -> None:
        self.warnings: list[str] = []

    def warning(self, text: str) -> None:
        self.warnings.append(text.replace("\u00a0", " ").replace("\u202f", " "))


class OrderPool(FakePool):
    """Records the order of the jobs; fails the test for shortcuts if `broken`."""

    def __init__(self, shortcuts: Shortcuts, broken: bool = False) -> None:
        super().__init__(build, lambda family, params: 0.9, shortcuts=shortcuts)
        self.jobs: list[Job] = []
        self._broken = broken

    def _run(self, job: Job, listener: Listener) -> object:
        self.jobs.append(job)
        if self._broken and isinstance(job, ShortcutJob):
            return Failure(FailureKind.OOM, "no memory")
        return super()._run(job, listener)


def build(hp: HyperParameters, family: str) -> None:
    hp.Int("depth", 1, 9)


@pytest.fixture
def recorder() -> Recorder:
    return Recorder()


@pytest.fixture
def start(tmp_path: Path, space: Callable[[str], str], monkeypatch: pytest.MonkeyPatch, recorder: Recorder) -> Start:
    """Runs the driver on two families, without the family `metadata`."""
    monkeypatch.chdir(tmp_path)
    config = RunConfig(images=100, budget=Budget(4), out=str(tmp_path / "run"), spaces=(space("a"), space("b")))
    return lambda pool: runner.run(config, recorder, pool=pool)


def test_a_shortcut_is_warned_of_before_the_first_trial_and_stands_with_every_result(
    start: Start, recorder: Recorder, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pool = OrderPool(GREY_PNG)
    run = start(pool)
    sentence = "From file format and size alone 95.0 % of 20 test pictures are right (the best constant answer: 50.0 %)"
    assert [warning for warning in recorder.warnings if warning.startswith(sentence)]
    kinds = [type(job) for job in pool.jobs]
    assert kinds.index(ShortcutJob) < kinds.index(TrialJob)
    assert bench.load(tmp_path / "run").shortcuts == run.shortcuts == GREY_PNG
    assert json.loads((tmp_path / "run" / "run.json").read_text(encoding="utf-8"))["shortcuts"]["constant"] == 10
    page = (tmp_path / "run" / "report.html").read_text(encoding="utf-8").replace("\u00a0", " ").replace("\u202f", " ")
    assert page.count(sentence) == 2  # at the top, and where a model is recommended
    print_board(run, tmp_path / "run" / "report.html")
    assert f"warning: {sentence}" in capsys.readouterr().out.replace("\u00a0", " ").replace("\u202f", " ")


def test_a_run_without_a_shortcut_says_nothing_of_it(start: Start, recorder: Recorder, tmp_path: Path) -> None:
    run = start(OrderPool(Shortcuts()))
    assert (run.shortcuts, recorder.warnings) == (Shortcuts(), [])
    assert "Shortcut in the data" not in (tmp_path / "run" / "report.html").read_text(encoding="utf-8")


def test_a_test_that_fails_is_noted_and_stops_nothing(start: Start, recorder: Recorder) -> None:
    run = start(OrderPool(GREY_PNG, broken=True))
    assert run.status == "complete"
    assert run.shortcuts is None
    assert recorder.warnings == ["the data could not be tested for shortcuts: OOM: no memory"]
    assert list(run.notes) == recorder.warnings
