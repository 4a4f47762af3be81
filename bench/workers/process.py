"""Main function of a job's process, and its channel to the driver.

Messages are JSON objects over a pipe. The job calls its listener's methods, `{"suggest": [arguments]}`, and waits for
`{"answer": …}` or `{"error": "…"}`. At the end it sends `{"done": result}` or `{"failure": …}` and exits.
"""

from __future__ import annotations

import contextlib
import faulthandler
import gc
import json
import multiprocessing
import os
import signal
import sys
import tempfile
import threading
import traceback
from collections.abc import Mapping, Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from types import TracebackType
from typing import Any

import msgspec

from bench.errors import SpaceError
from bench.hyperparameters import Hyperparameter, Value
from bench.records import Ending, Epoch, Failure, FailureKind, Weights, Work
from bench.training.messages import Channel, Job, TrialResult

TRACEBACK_CHARACTERS = 4000
"""Number of characters recorded from the end of a traceback or of a process's output."""

FAILURE_KINDS = {
    "TooLarge": FailureKind.TOO_LARGE,
    "NonFinite": FailureKind.NON_FINITE,
    "MemoryError": FailureKind.OOM,
    "ResourceExhaustedError": FailureKind.OOM,
    "ConfigError": FailureKind.ENVIRONMENT,
    "DataError": FailureKind.ENVIRONMENT,
}
"""Failure kind by name of an exception's class or base class; by name, because importing some would load TensorFlow."""


class PipeChannel(Channel):
    """The job's end of a channel over a pipe."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def suggest(self, hyperparameter: Hyperparameter) -> Value:
        value: Value = self._call("suggest", hyperparameter)
        return value

    def progress(self, stage: str, done: int, total: int) -> Ending | None:
        return _ending(self._call("progress", stage, done, total))

    def built(self, params: Mapping[str, Value], weights: Weights, work: Work) -> bool:
        return bool(self._call("built", params, weights, work))

    def epoch(self, epoch: Epoch, fold: int, folds: int) -> Ending | None:
        return _ending(self._call("epoch", epoch, fold, folds))

    def result(self, result: TrialResult) -> str | None:
        path: str | None = self._call("result", result)
        return path

    def end(self, message: str, content: object) -> None:
        """Send the last message, "done" or "failure", which is not answered."""
        self._connection.send_bytes(_encoded({message: content}))

    def _call(self, method: str, *arguments: object) -> Any:
        self._connection.send_bytes(_encoded({method: arguments}))
        reply = json.loads(self._connection.recv_bytes())
        if "error" in reply:
            raise ValueError(reply["error"])
        return reply["answer"]


def _ending(answer: str | None) -> Ending | None:
    return None if answer is None else Ending(answer)


def _encoded(message: Mapping[str, object]) -> bytes:
    return json.dumps(msgspec.to_builtins(message, str_keys=True, enc_hook=_python_scalar)).encode()


def _python_scalar(value: Any) -> Any:
    """Convert NumPy's scalars to Python's."""
    if hasattr(value, "item"):
        return value.item()
    raise TypeError(f"{type(value).__name__} cannot be sent to the driver: {value!r}")


def main(connection: Connection, job: Job, cores: Sequence[int], log: str) -> None:
    """Run one job in this process, on these CPU cores.

    The garbage collector ignores the objects imported before the fork. Otherwise it would visit hundreds of thousands
    of them and thereby copy their pages: 0.3 s per full collection, and Keras makes one in every `clear_session`
    (https://docs.python.org/3/library/gc.html#gc.freeze).

    Args:
        log: The file for the job's output and for the stack trace of a crash.
    """
    gc.freeze()
    _detach(Path(log))
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, cores)
    channel = PipeChannel(connection)
    try:
        from bench.training import jobs

        _limit_threads(len(cores))
        channel.end("done", jobs.run(job, channel))
    except BaseException as error:  # SystemExit too: anything that a family's code raises is this job's failure
        channel.end("failure", failure_of(error, getattr(job, "path", "")))
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        connection.close()
        os._exit(0)  # skips TensorFlow's slow tear-down


def failure_of(error: BaseException, family: str = "") -> Failure:
    """Describe an exception that ended a job.

    Args:
        family: The family's file. The traceback begins with its code or that of a file beside it, if there is any.
    """
    frames = _frames_beside(error, family)
    first = frames[0] if frames else error.__traceback__
    trace = "".join(traceback.format_exception(type(error), error, first))[-TRACEBACK_CHARACTERS:]
    if isinstance(error, SpaceError):
        return Failure(FailureKind.EXCEPTION, error.message, trace, "SpaceError", path=str(error.path), line=error.line)
    last = ([frame for frame in frames if _file(frame) == family] or frames)[-1:]
    place = (_file(last[0]), last[0].tb_lineno) if last else ("", 0)
    message = " ".join(str(error).split())[:500] or type(error).__name__
    for base in type(error).__mro__:
        if kind := FAILURE_KINDS.get(base.__name__):
            name = type(error).__name__ if kind is FailureKind.ENVIRONMENT else ""
            return Failure(kind, message, trace, name, *place)
    return Failure(FailureKind.EXCEPTION, message, trace, type(error).__name__, *place)


def _frames_beside(error: BaseException, family: str) -> list[TracebackType]:
    """The frames of an exception in the folder of a family's file, the outermost first."""
    frames, trace = [], error.__traceback__
    while trace:
        frames.append(trace)
        trace = trace.tb_next
    return [frame for frame in frames if family and Path(_file(frame)).parent == Path(family).parent]


def _file(frame: TracebackType) -> str:
    return frame.tb_frame.f_code.co_filename


def _detach(log: Path) -> None:
    """Leave Ctrl-C to the driver, write output and temporary files beside the log, and end when the driver ends."""
    if hasattr(os, "setsid"):
        os.setsid()  # a group of its own, so that what it starts can be killed with it
    tempfile.tempdir = os.environ["TMPDIR"] = str(log.parent)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.close(output)
    faulthandler.enable()
    with contextlib.suppress(OSError):  # if memory runs out, Linux should kill the job rather than the driver
        Path("/proc/self/oom_score_adj").write_text("500")
    threading.Thread(target=_end_with_driver, daemon=True).start()


def _end_with_driver() -> None:
    driver = multiprocessing.parent_process()
    if driver is not None:
        driver.join()
        if hasattr(os, "killpg"):
            os.killpg(0, signal.SIGKILL)
        os._exit(1)


def _limit_threads(count: int) -> None:
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(count)
    tf.config.threading.set_inter_op_parallelism_threads(count)
    for device in tf.config.list_physical_devices("GPU"):
        tf.config.experimental.set_memory_growth(device, True)
