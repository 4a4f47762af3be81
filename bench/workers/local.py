"""One process a job on this machine, forked from a server that has imported TensorFlow and run no op.

Forking costs milliseconds, importing TensorFlow seconds; a process of its own gives memory back, can be killed when it
hangs, and takes nothing with it when it crashes. Where forking is not to be had, processes are spawned.
"""

from __future__ import annotations

import contextlib
import json
import multiprocessing
import os
import shutil
import signal
import sys
import tempfile
import time
import types
from collections.abc import Iterator
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

from bench.errors import WorkerError
from bench.hyperparameters import Hyperparameter
from bench.records import Failure
from bench.workers import Job, Listener, Outcome
from bench.workers.process import TRACEBACK_CHARACTERS, main

PRELOAD = [
    "tensorflow",
    "keras",
    "sklearn.dummy",
    "sklearn.metrics",
    "PIL.Image",
    "bench.training.jobs",
    "bench.data.sources.drawn",
    "bench.data.sources.folder",
    "bench.workers.process",
    "bench.workers.freeze",
]
"""Imported once by the fork server, in this order: a module that cannot be imported there is left out."""

GRACE_S = 5.0
"""Seconds between asking a process to end (SIGTERM) and ending it (SIGKILL)."""


@dataclass
class _Running:
    """A job in its process."""

    job: Job
    listener: Listener
    process: multiprocessing.process.BaseProcess
    connection: Connection
    cores: tuple[int, ...]
    log: Path
    deadline: float
    result: dict[str, Any] | None = None
    failure: Failure | None = None
    kill_at: float | None = None
    open: bool = field(default=True)


class LocalPool:
    """A pool of processes on this machine.

    Args:
        workers: Jobs at a time; each is kept on its own share of the cores.
    """

    def __init__(self, workers: int = 1) -> None:
        method = "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn"
        self._context: Any = multiprocessing.get_context(method)
        self._shares = core_shares(workers)
        self._running: list[_Running] = []
        self._logs = Path(tempfile.mkdtemp(prefix="bench-logs-"))
        self._count = 0
        if method == "forkserver":
            with _environment(), _no_main_module(), _stderr_to(self._logs / "server.log"):
                self._context.set_forkserver_preload(PRELOAD)
                from multiprocessing import forkserver

                forkserver.ensure_running()

    def has_room(self) -> bool:
        """Whether a share of the cores is free."""
        return len(self._running) < len(self._shares)

    def running(self) -> int:
        """How many jobs have not ended."""
        return len(self._running)

    def submit(self, job: Job, listener: Listener) -> None:
        """Starts a process for the job; raises WorkerError where none can be started."""
        taken = {running.cores for running in self._running}
        free = [share for share in self._shares if share not in taken] or self._shares
        here, there = self._context.Pipe()
        self._count += 1
        log = self._logs / f"{self._count}.log"
        payload = {**job.payload, "cores": len(free[0])}
        process = self._context.Process(target=main, args=(there, job.kind, payload, free[0], str(log)), daemon=True)
        try:
            with _environment(), _no_main_module():
                process.start()
        except (OSError, EOFError) as error:
            raise WorkerError(f"a process for a {job.kind} could not be started: {error}") from error
        there.close()
        deadline = time.monotonic() + job.timeout_s
        self._running.append(_Running(job, listener, process, here, free[0], log, deadline))

    def finished(self, timeout_s: float) -> list[Outcome]:
        """Answers messages until a job has ended or the time is up."""
        until = time.monotonic() + timeout_s
        while True:
            self._enforce_limits()
            outcomes = [self._outcome(running) for running in self._running if self._has_ended(running)]
            if outcomes:
                self._running = [running for running in self._running if running.open]
            left = until - time.monotonic()
            if outcomes or left <= 0 or not self._running:
                return outcomes
            self._answer(min(left, 0.5))

    def cancel(self, kind: str, message: str) -> None:
        """Asks every running process to end."""
        for running in self._running:
            if running.result is None:
                self._stop(running, Failure(kind, message))

    def close(self) -> None:
        """Ends every process, the fork server included, and removes the logs."""
        for running in self._running:
            running.process.kill()
            running.process.join(GRACE_S)
            running.connection.close()
        self._running = []
        shutil.rmtree(self._logs, ignore_errors=True)
        if self._context.get_start_method() == "forkserver":
            from multiprocessing import forkserver

            stop = getattr(forkserver._forkserver, "_stop", None)
            if stop is not None:  # CPython's own tests use it; without it the server ends with this process
                stop()

    # -- inside

    def _answer(self, timeout_s: float) -> None:
        waiting: dict[Any, _Running] = {}
        for running in self._running:
            waiting[running.process.sentinel] = running
            if not running.connection.closed:
                waiting[running.connection] = running
        for ready in wait(list(waiting), timeout_s):
            if isinstance(ready, Connection):
                self._read(waiting[ready])

    def _read(self, running: _Running) -> None:
        try:
            message = json.loads(running.connection.recv_bytes())
            if "failure" in message:
                running.failure = running.failure or Failure(**message["failure"])
                return
            running.connection.send_bytes(json.dumps(self._reply(running, message)).encode())
        except (EOFError, OSError):  # the process has ended
            running.connection.close()

    def _reply(self, running: _Running, message: dict[str, Any]) -> dict[str, Any]:
        if "suggest" in message:
            try:
                return {"answer": running.listener.suggest(Hyperparameter.from_dict(message["suggest"]))}
            except ValueError as error:
                return {"error": str(error)}
        if "report" in message:
            return {"answer": running.listener.report(**message["report"])}
        running.result = message["result"]
        return {"answer": dict(running.listener.result(message["result"]))}

    def _enforce_limits(self) -> None:
        now = time.monotonic()
        for running in self._running:
            if running.kill_at is not None and now > running.kill_at:
                running.process.kill()
            elif running.kill_at is None and now > running.deadline:
                limit = running.job.timeout_s
                self._stop(running, Failure("TIMEOUT", f"the {running.job.kind} took longer than its {limit:g} s"))

    def _stop(self, running: _Running, failure: Failure) -> None:
        running.failure = running.failure or failure
        running.kill_at = time.monotonic() + GRACE_S
        running.process.terminate()

    def _has_ended(self, running: _Running) -> bool:
        if running.process.is_alive():
            return False
        while not running.connection.closed and running.connection.poll():
            self._read(running)
        return True

    def _outcome(self, running: _Running) -> Outcome:
        running.open = False
        running.connection.close()
        exit_code = running.process.exitcode
        output = _tail(running.log)
        running.log.unlink(missing_ok=True)
        running.process.close()
        if running.result is not None:
            return Outcome(running.job, result=running.result)
        failure = running.failure or _death(exit_code)
        if not failure.traceback:
            failure = Failure(failure.kind, failure.message, output)
        return Outcome(running.job, failure=failure)


def _death(exit_code: int | None) -> Failure:
    if exit_code is not None and exit_code < 0:
        name = signal.Signals(-exit_code).name
        hint = "; out of memory is a likely reason" if name == "SIGKILL" else ""
        return Failure(name, f"the process was killed by {name} (signal {-exit_code}){hint}")
    return Failure("ProcessEnded", f"the process ended without a result, exit status {exit_code}")


def _tail(log: Path) -> str:
    """The end of what a process printed, without the list of modules that `faulthandler` puts after a crash's stack."""
    try:
        text = log.read_bytes()[-10 * TRACEBACK_CHARACTERS :].decode(errors="replace")
    except OSError:
        return ""
    lines = [line for line in text.splitlines() if not line.startswith("Extension modules: ")]
    return "\n".join(lines)[-TRACEBACK_CHARACTERS:]


def core_shares(workers: int) -> list[tuple[int, ...]]:
    """The CPU cores split into equal shares, one a worker; more workers than cores share single ones."""
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else list(range(os.cpu_count() or 1))
    share = max(1, len(cores) // workers)
    return [tuple(cores[(index * share + k) % len(cores)] for k in range(share)) for index in range(workers)]


@contextlib.contextmanager
def _environment() -> Iterator[None]:
    """Quiet TensorFlow in the processes started meanwhile, unless the user has set it otherwise."""
    wanted = {"TF_CPP_MIN_LOG_LEVEL": "3", "KERAS_BACKEND": "tensorflow"}
    added = {name: value for name, value in wanted.items() if name not in os.environ}
    os.environ.update(added)
    try:
        yield
    finally:
        for name in added:
            del os.environ[name]


@contextlib.contextmanager
def _stderr_to(log: Path) -> Iterator[None]:
    """Lends a process that is started meanwhile another standard error: TensorFlow's libraries write notes there
    while they are imported, which no setting turns off."""
    sys.stderr.flush()
    real = os.dup(2)
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        os.dup2(output, 2)
        yield
    finally:
        os.dup2(real, 2)
        os.close(real)
        os.close(output)


@contextlib.contextmanager
def _no_main_module() -> Iterator[None]:
    """Keeps `multiprocessing` from importing the user's main script in every process: nothing there is needed,
    and a script that calls `bench.run` without `if __name__ == "__main__"` would start itself again."""
    real = sys.modules["__main__"]
    sys.modules["__main__"] = types.ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = real
