"""One process per job on this machine, forked from a server that has imported TensorFlow but executed nothing with it.

Forking takes milliseconds, importing TensorFlow seconds. A separate process releases its memory when it ends, can be
killed when it hangs, and does not affect the others when it crashes. Windows cannot fork and macOS cannot fork safely
(https://docs.python.org/3/library/multiprocessing.html#contexts-and-start-methods), so processes are spawned there.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import glob
import json
import math
import multiprocessing
import os
import platform
import secrets
import shutil
import signal
import sys
import tempfile
import time
import types
from collections.abc import Iterator
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

from bench import cache
from bench.data import machine
from bench.errors import WorkerError
from bench.hyperparameters import Hyperparameter, Value
from bench.records import Epoch, Failure, FailureKind, Weights, Work, from_data
from bench.training.messages import Job, TrialResult
from bench.workers import Listener, Outcome
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
]
"""Modules that the fork server imports once; it skips those that cannot be imported."""

START_METHOD = "forkserver" if sys.platform == "linux" else "spawn"

GRACE_S = 5.0
"""Seconds between SIGTERM and SIGKILL."""

DEATHS = (FailureKind.SIGNAL, FailureKind.ENDED)
"""Failures of jobs whose processes died by themselves."""

PAUSES_S = (0.0, 0.0, 0.0, 1.0, 2.0, 4.0, 8.0, 15.0, 30.0, 30.0)
"""Seconds without a new process after no, one, two, … jobs in a row whose processes died; one more ends the run."""

RESTARTS_S = (0.1, 1.0, 5.0)
"""Seconds before each new attempt to start a process."""

MAX_FOLDER = 89
"""Maximum length of the folder of the fork server's socket, whose path has 18 characters more and may have 107
(https://man7.org/linux/man-pages/man7/unix.7.html)."""


@dataclass(eq=False)
class _WorkerProcess:
    job: Job
    listener: Listener
    process: multiprocessing.process.BaseProcess
    connection: Connection
    worker: int
    log: Path
    deadline: float
    oom_kills: int
    result: object | None = None
    failure: Failure | None = None
    kill_at: float | None = None


class LocalPool:
    """A pool of processes on this machine, `workers` at a time, each on one share of the CPU cores."""

    def __init__(self, workers: int = 1) -> None:
        self._context: Any = multiprocessing.get_context(START_METHOD)
        self._shares = core_shares(workers)
        self._running: list[_WorkerProcess] = []
        self._deaths, self._death = 0, ""  # in a row, and the message of the last one
        self._paused_until_s = 0.0
        self._logs = Path(tempfile.mkdtemp(prefix="logs-", dir=_temporary_folder()))
        self._count = 0
        if START_METHOD == "forkserver":
            from multiprocessing import forkserver

            with _starting(), _stderr_to(self._logs / "server.log"):
                self._context.set_forkserver_preload(PRELOAD)
                forkserver.ensure_running()

    @property
    def cache(self) -> Path:
        return cache.folder()

    def has_room(self) -> bool:
        return len(self._running) < len(self._shares) and time.monotonic() >= self._paused_until_s

    def divide(self, jobs: int) -> None:
        """Divide the cores among this number of jobs at a time; no job may be running."""
        self._shares = core_shares(jobs)

    def submit(self, job: Job, listener: Listener) -> None:
        """Start a process for the job on the first free share of the cores; WorkerError if that fails."""
        worker = min(set(range(len(self._shares))) - {running.worker for running in self._running})
        cores = self._shares[worker]
        connection, job_connection = self._context.Pipe()
        self._count += 1
        log = self._logs / f"{self._count}.log"
        arguments = (job_connection, replace(job, cores=len(cores)), cores, str(log))
        process = self._start(arguments, job.kind)
        job_connection.close()
        deadline = time.monotonic() + job.timeout_s
        started = _WorkerProcess(job, listener, process, connection, worker, log, deadline, machine.oom_kills())
        self._running.append(started)
        listener.started(worker)

    def finished(self, timeout_s: float) -> list[Outcome]:
        """As in `Pool`; after too many jobs in a row whose processes died, WorkerError when no other job is running."""
        if self._paused_until_s == math.inf and not self._running:
            raise WorkerError(f"{self._death}; the last {self._deaths} in a row ended so, and the run ends")
        end_s = time.monotonic() + timeout_s
        while True:
            self._enforce_limits()
            ended = [running for running in self._running if self._has_ended(running)]
            self._running = [running for running in self._running if running not in ended]
            remaining_s = (end_s if self._running else min(end_s, self._paused_until_s)) - time.monotonic()
            if ended or remaining_s <= 0:
                return [self._outcome(running) for running in ended]
            self._answer(min(remaining_s, 0.5))

    def cancel(self, kind: FailureKind, message: str) -> None:
        for running in self._running:
            if running.result is None:
                _stop(running, Failure(kind, message))

    def close(self) -> None:
        """End all processes, including the fork server, and remove the logs."""
        for running in self._running:
            _kill(running.process)
            running.process.join(GRACE_S)
            running.connection.close()
        self._running = []
        shutil.rmtree(self._logs, ignore_errors=True)
        if START_METHOD == "forkserver":
            from multiprocessing import forkserver

            stop = getattr(forkserver._forkserver, "_stop", None)
            if stop is not None:  # private, but CPython's tests use it; without it the server ends with this process
                if server := getattr(forkserver._forkserver, "_forkserver_pid", None):
                    os.kill(server, signal.SIGKILL)  # else it would first finish its imports
                stop()

    # -- inside

    def _start(self, arguments: tuple[object, ...], kind: str) -> multiprocessing.process.BaseProcess:
        """Start a process; if that fails, e.g. because the fork server was killed, try again after `RESTARTS_S`."""
        for pause_s in (*RESTARTS_S, None):
            process: multiprocessing.process.BaseProcess = self._context.Process(
                target=main, args=arguments, daemon=True
            )
            try:
                with _starting():
                    process.start()
                return process
            except (OSError, EOFError) as error:
                if pause_s is None:
                    raise WorkerError(f"a process for a {kind} could not be started: {error}") from error
                time.sleep(pause_s)
        raise AssertionError  # the last attempt returns or raises

    def _outcome(self, running: _WorkerProcess) -> Outcome:
        """Return the outcome of an ended job; if its process died, as those before, delay the next ones."""
        outcome = _outcome(running)
        died = outcome.failure is not None and outcome.failure.kind in DEATHS
        self._deaths = self._deaths + 1 if died else 0
        self._death = outcome.failure.message if outcome.failure else ""
        pause_s = PAUSES_S[self._deaths] if self._deaths < len(PAUSES_S) else math.inf
        self._paused_until_s = time.monotonic() + pause_s
        return outcome

    def _answer(self, timeout_s: float) -> None:
        waiting: dict[Any, _WorkerProcess] = {}
        for running in self._running:
            waiting[running.process.sentinel] = running
            if not running.connection.closed:
                waiting[running.connection] = running
        for ready in wait(list(waiting), timeout_s):
            if ready is waiting[ready].connection:  # of another class on Windows
                _read(waiting[ready])

    def _enforce_limits(self) -> None:
        now = time.monotonic()
        for running in self._running:
            if running.kill_at is not None and now > running.kill_at:
                _kill(running.process)
            elif running.kill_at is None and now > running.deadline:
                message = f"the {running.job.kind} took longer than its {running.job.timeout_s:g} s"
                _stop(running, Failure(FailureKind.TIMEOUT, message))

    def _has_ended(self, running: _WorkerProcess) -> bool:
        if running.process.is_alive():
            return False
        _kill(running.process)
        while not running.connection.closed and running.connection.poll():
            _read(running)
        return True


def _kill(process: multiprocessing.process.BaseProcess) -> None:
    """Kill a process with all that it has started, or what is left of them after its end."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        if hasattr(os, "killpg") and process.pid:
            os.killpg(process.pid, signal.SIGKILL)
    process.kill()  # one that has not yet begun, or of Windows, has no group


@functools.cache
def _temporary_folder() -> Path:
    """Make the folder of this process's temporary files, until it ends, and remove those of killed processes."""
    import psutil

    prefix = f"bench-{platform.node()[:20]}-"
    for path in Path(tempfile.gettempdir()).glob(f"{glob.escape(prefix)}*"):
        number = path.name.removeprefix(prefix).partition("-")[0]
        if number.isdecimal() and not psutil.pid_exists(int(number)):
            shutil.rmtree(path, ignore_errors=True)
    folder = tempfile.mkdtemp(prefix=f"{prefix}{os.getpid()}-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    if len(folder) <= MAX_FOLDER:  # else multiprocessing makes a shorter one, which it removes itself
        multiprocessing.current_process()._config["tempdir"] = folder  # type: ignore[attr-defined]
    return Path(folder)


def _stop(running: _WorkerProcess, failure: Failure) -> None:
    running.failure = running.failure or failure
    running.kill_at = time.monotonic() + GRACE_S
    running.process.terminate()


# -- messages

ARGUMENTS: dict[str, Any] = {
    "suggest": tuple[Hyperparameter],
    "progress": tuple[str, int, int],
    "built": tuple[dict[str, Value], Weights, Work],
    "epoch": tuple[Epoch, int, int],
    "result": tuple[TrialResult],
}
"""Argument types of the listener methods that a job can call."""


def _read(running: _WorkerProcess) -> None:
    """Read one message of a job, and answer it if it is a call."""
    try:
        ((message, content),) = json.loads(running.connection.recv_bytes()).items()
    except (EOFError, OSError):  # the process has ended
        running.connection.close()
        return
    if message == "done":
        try:
            running.result = from_data(running.job.result_type, content)
        except ValueError as error:
            running.failure = Failure(FailureKind.EXCEPTION, f"its result cannot be read: {error}", error="ValueError")
    elif message == "failure":
        running.failure = running.failure or from_data(Failure, content)
    else:
        reply = json.dumps(_reply(running, message, content)).encode()
        try:
            running.connection.send_bytes(reply)
        except OSError:  # the process has ended
            running.connection.close()


def _reply(running: _WorkerProcess, method: str, content: object) -> dict[str, object]:
    """Call a method of the job's listener; a ValueError is raised in the job."""
    try:
        arguments = from_data(ARGUMENTS[method], content)
        if method == "suggest":
            return {"answer": running.listener.suggest(*arguments)}
    except ValueError as error:
        return {"error": str(error)}
    if method == "result":
        (running.result,) = arguments
    return {"answer": getattr(running.listener, method)(*arguments)}


def _outcome(running: _WorkerProcess) -> Outcome:
    running.connection.close()
    exit_code = running.process.exitcode
    output = _tail(running.log)
    running.log.unlink(missing_ok=True)
    running.process.close()
    if running.result is not None:
        return Outcome(running.job, result=running.result)
    failure = running.failure or _abnormal_end(exit_code, machine.oom_kills() > running.oom_kills)
    if not failure.traceback:
        failure = replace(failure, traceback=output)
    return Outcome(running.job, failure=failure)


def _abnormal_end(exit_code: int | None, out_of_memory: bool) -> Failure:
    """Describe the end of a process that sent neither a result nor a failure."""
    if exit_code == -signal.SIGKILL and out_of_memory:
        return Failure(FailureKind.OOM, "the kernel killed the process, because memory ran out")
    if exit_code is None or exit_code >= 0:
        return Failure(FailureKind.ENDED, f"the process ended without a result, exit status {exit_code}")
    number = -exit_code
    names = {known.value: known.name for known in signal.Signals}
    name = names.get(number, f"SIG{number}")  # most real-time signals have no name
    hint = "; out of memory is a likely reason" if name == "SIGKILL" else ""
    return Failure(FailureKind.SIGNAL, f"the process was killed by {name} (signal {number}){hint}", error=name)


def _tail(log: Path) -> str:
    """Return the end of a process's output, without the module list that `faulthandler` adds after a crash."""
    try:
        text = log.read_bytes()[-10 * TRACEBACK_CHARACTERS :].decode(errors="replace")
    except OSError:
        return ""
    lines = [line for line in text.splitlines() if not line.startswith("Extension modules: ")]
    return "\n".join(lines)[-TRACEBACK_CHARACTERS:]


def core_shares(workers: int) -> list[tuple[int, ...]]:
    """Split the CPU cores into one share per worker.

    The shares have the same size, so that the times of trials are comparable, and cover all cores evenly: three cores
    give two workers the shares (0, 1) and (1, 2); two cores give four workers the shares 0, 0, 1, 1. If a container's
    quota is smaller than the number of cores it sees, a random range of them is used, because other containers on the
    machine see the same cores.
    """
    cores, count = machine.cores(), machine.core_count()
    first = secrets.randbelow(len(cores) - count + 1)
    usable, share = cores[first : first + count], math.ceil(count / workers)
    starts = [worker * count // workers for worker in range(workers)]
    return [tuple(usable[start : start + share]) for start in starts]


@contextlib.contextmanager
def _starting() -> Iterator[None]:
    """Silence TensorFlow in processes that are started meanwhile, and keep the user's main script out of them.

    The processes do not need that script, and one that calls `bench.run` without `if __name__ == "__main__"` would
    start again in each of them. Environment variables that the user has set are not changed.
    """
    defaults = {"TF_CPP_MIN_LOG_LEVEL": "3", "KERAS_BACKEND": "tensorflow"}
    added = {name: value for name, value in defaults.items() if name not in os.environ}
    os.environ.update(added)
    main_module = sys.modules["__main__"]
    sys.modules["__main__"] = types.ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main_module
        for name in added:
            del os.environ[name]


@contextlib.contextmanager
def _stderr_to(log: Path) -> Iterator[None]:
    """Redirect standard error to a file for processes that are started meanwhile.

    TensorFlow's libraries write notes there during import, which no setting turns off.
    """
    sys.stderr.flush()
    original = os.dup(2)
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        os.dup2(output, 2)
        yield
    finally:
        os.dup2(original, 2)
        os.close(original)
        os.close(output)
