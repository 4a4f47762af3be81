"""A driver with real worker processes and jobs of some milliseconds (`tiny_jobs.py`), to be killed or watched."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import psutil

from bench.records import Run, RunStatus
from bench.runs import store

HERE = Path(__file__).parent
TRIALS = 12
GONE_S = 5.0

KILLS = int(os.environ.get("BENCH_KILLS", "30"))
"""Kills of drivers; those of workers are 3 in 10 of them, SIGTERMs 1 in 10, ended connections 1 in 20."""


class Driver:
    """A driver in a session of its own, with its worker processes."""

    def __init__(self, folder: Path, *arguments: str, environment: Mapping[str, str] | None = None) -> None:
        path = os.pathsep.join([str(HERE), str(HERE.parents[1]), *os.environ.get("PYTHONPATH", "").split(os.pathsep)])
        self.process = subprocess.Popen(
            [sys.executable, str(HERE / "tiny_jobs.py"), *arguments],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": path, **(environment or {})},
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

    def wait(self, seconds: float) -> None:
        """Wait until this moment, or for the end."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(seconds)

    def end(self) -> int:
        """Wait for the end and return the exit status, once none of its processes is left."""
        self.read()
        _, errors = self.process.communicate(timeout=120)
        end = time.monotonic() + GONE_S
        while left := [process for process in psutil.process_iter() if self._is_of_session(process)]:
            assert time.monotonic() < end, left
        assert "Traceback" not in errors, errors
        return self.process.returncode

    def trial_processes(self) -> Iterator[psutil.Process]:
        """The processes that train now: each leads a session, which the fork server and the driver's others do not."""
        with contextlib.suppress(psutil.Error):
            for process in psutil.Process(self.process.pid).children(recursive=True):
                with contextlib.suppress(OSError):
                    if os.getsid(process.pid) == process.pid:
                        yield process

    def fork_servers(self) -> Iterator[psutil.Process]:
        """The process that forks those of the trials, while there is one."""
        with contextlib.suppress(psutil.Error):
            for process in psutil.Process(self.process.pid).children():
                if "forkserver" in " ".join(process.cmdline()):
                    yield process

    def _is_of_session(self, process: psutil.Process) -> bool:
        try:
            return os.getsid(process.pid) == self.process.pid and process.status() != psutil.STATUS_ZOMBIE
        except (OSError, psutil.Error):
            return False


def board(run: Run) -> tuple[list[object], list[object]]:
    """What a run gives: its trials, and the accuracies of the chosen ones."""
    trials = [(trial.name, trial.order, trial.state, dict(trial.params), trial.value) for trial in run.trials]
    return trials, [(trial.name, trial.test_accuracy) for trial in run.ranking()]


def assert_told_are_there(folder: Path, name: str, printed: list[str]) -> None:
    if printed:
        ended = {trial.name for trial in store.load(folder / name).trials if trial.finished_s is not None}
        assert set(printed) <= ended


def assert_complete(folder: Path, name: str, whole: Run) -> None:
    """Resume the run until it is complete, and compare it with the uninterrupted one."""
    if not (folder / name / "run.json").exists():
        return
    if store.load(folder / name).status != RunStatus.COMPLETE:
        assert Driver(folder, "resume", name).end() == 0
    assert board(store.load(folder / name)) == board(whole)
