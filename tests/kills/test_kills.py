"""Random kills of a driver with real worker processes; the environment variable `BENCH_KILLS` is their number."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from bench.records import RunStatus
from bench.runs import store

from ..conftest import TINY

pytestmark = pytest.mark.slow

HERE = Path(__file__).parent
KILLS = int(os.environ.get("BENCH_KILLS", "30"))
TRIALS = 12
GONE_S = 5.0


class Driver:
    """A driver in a session of its own, with its worker processes."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        path = os.pathsep.join([str(HERE), str(HERE.parents[1])])
        self.process = subprocess.Popen(
            [sys.executable, str(HERE / "tiny_jobs.py"), *arguments],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": path},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self.printed: list[str] = []

    def read(self, lines: int | None = None) -> None:
        """Read so many further lines, or all until the end."""
        while lines is None or lines > 0:
            line = self.process.stdout.readline()
            if not line:
                return
            self.printed.append(line.split()[0])
            lines = None if lines is None else lines - 1

    def end(self) -> int:
        """Wait for the end and return the exit status, once none of its processes is left."""
        _, errors = self.process.communicate(timeout=120)
        end = time.monotonic() + GONE_S
        while left := [process for process in psutil.process_iter() if self._is_of_session(process)]:
            assert time.monotonic() < end, left
        assert "Traceback" not in errors, errors
        return self.process.returncode

    def _is_of_session(self, process: psutil.Process) -> bool:
        try:
            return os.getsid(process.pid) == self.process.pid and process.status() != psutil.STATUS_ZOMBIE
        except (OSError, psutil.Error):
            return False


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A working folder with two families, and the cache that all runs share."""
    path = tmp_path_factory.mktemp("kills")
    (path / "spaces").mkdir()
    for name in "ab":
        (path / "spaces" / f"{name}.py").write_text(TINY, encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def whole(folder):
    """An uninterrupted run, and the seconds that it took."""
    began = time.monotonic()
    driver = Driver(folder, "run", "whole", str(TRIALS))
    driver.read()
    assert driver.end() == 0
    return store.load(folder / "whole"), time.monotonic() - began


def board(run):
    trials = [(trial.name, trial.order, trial.state, dict(trial.params), trial.value) for trial in run.trials]
    return trials, [(trial.name, trial.test_accuracy) for trial in run.ranking()]


def assert_complete(folder: Path, name: str, whole) -> None:
    """Resume the run until it is complete, and compare it with the uninterrupted one."""
    if not (folder / name / "run.json").exists():
        return
    if store.load(folder / name).status != RunStatus.COMPLETE:
        driver = Driver(folder, "resume", name)
        driver.read()
        assert driver.end() == 0
    assert board(store.load(folder / name)) == board(whole)


def assert_told_are_there(folder: Path, name: str, printed: list[str]) -> None:
    if printed:
        ended = {trial.name for trial in store.load(folder / name).trials if trial.finished_s is not None}
        assert set(printed) <= ended


@pytest.mark.parametrize("number", range(KILLS // 2))
def test_a_killed_driver_loses_no_trial_that_it_has_told_and_resume_completes_its_run(folder, whole, number):
    """Two kills of a run: one at a random moment, one right after the line of a random trial was printed."""
    run, took_s = whole
    name, generator = f"killed-{number}", random.Random(number)
    command = ["run", name, str(TRIALS)]
    for at_a_line in generator.sample([True, False], 2):
        driver = Driver(folder, *command)
        if at_a_line:
            driver.read(generator.randint(1, TRIALS // 2))
        else:
            with_timeout(driver, generator.uniform(0.2, 1.0) * took_s)
        driver.process.kill()
        driver.read()
        driver.end()
        assert_told_are_there(folder, name, driver.printed)
        if not (folder / name / "run.json").exists():  # there is nothing to resume yet
            name = f"again-{number}"
            command = ["run", name, str(TRIALS)]
        elif store.load(folder / name).status == RunStatus.COMPLETE:
            break
        else:
            command = ["resume", name]
    assert_complete(folder, name, run)


def with_timeout(driver: Driver, seconds: float) -> None:
    """Wait until this moment, or for the end."""
    with contextlib.suppress(subprocess.TimeoutExpired):
        driver.process.wait(seconds)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_an_interrupted_driver_ends_in_order_and_resume_goes_on_as_if_nothing_was(folder, whole, number):
    run, _ = whole
    name = f"interrupted-{number}"
    driver = Driver(folder, "run", name, str(TRIALS))
    driver.read(3)
    driver.process.send_signal(number)
    driver.read()
    assert driver.end() == 128 + number
    assert store.load(folder / name).status == RunStatus.PARTIAL
    assert_told_are_there(folder, name, driver.printed)
    assert_complete(folder, name, run)
