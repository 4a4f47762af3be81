"""The inside of a trial's process: its channel to the driver, and what keeps it from outliving or disturbing it.

Messages are JSON objects over one pipe. From here: `{"suggest": …}`, `{"report": …}`, `{"result": …}` and, where an
exception ended the job, `{"failure": …}`. From the driver, one answer each: `{"answer": …}` or `{"error": "…"}`.
"""

from __future__ import annotations

import contextlib
import faulthandler
import json
import multiprocessing
import os
import signal
import sys
import threading
import traceback
from collections.abc import Mapping, Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from bench.hyperparameters import Hyperparameter, Value

TRACEBACK_CHARACTERS = 4000
"""How much of the end of a traceback or of a process's output is recorded."""


class PipeChannel:
    """`training.channel.Channel` over a pipe."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def suggest(self, hyperparameter: Hyperparameter) -> Value:
        """Asks the driver's engine."""
        value: Value = self._ask("suggest", hyperparameter.to_dict())
        return value

    def report(self, epoch: int, figures: Mapping[str, Any]) -> bool:
        """Reports; the answer says whether to stop."""
        return bool(self._ask("report", {"epoch": epoch, "figures": figures}))

    def result(self, result: Mapping[str, Any]) -> Mapping[str, Any]:
        """Sends the result."""
        answer: Mapping[str, Any] = self._ask("result", result)
        return answer

    def failure(self, kind: str, message: str, trace: str) -> None:
        """Sends what ended the job."""
        self._connection.send_bytes(_encode({"failure": {"kind": kind, "message": message, "traceback": trace}}))

    def _ask(self, message: str, content: Any) -> Any:
        self._connection.send_bytes(_encode({message: content}))
        reply = json.loads(self._connection.recv_bytes())
        if "error" in reply:
            raise ValueError(reply["error"])
        return reply["answer"]


def _encode(message: Mapping[str, Any]) -> bytes:
    return json.dumps(message, default=_plain).encode()


def _plain(value: Any) -> Any:
    """NumPy's scalars as Python's."""
    if hasattr(value, "item"):
        return value.item()
    raise TypeError(f"{type(value).__name__} cannot be sent to the driver: {value!r}")


def main(connection: Connection, kind: str, payload: Mapping[str, Any], cores: Sequence[int], log: str) -> None:
    """Runs one job in this process.

    Args:
        connection: The pipe to the driver.
        kind: See `training.jobs.run`.
        payload: The job's data.
        cores: CPU cores to stay on.
        log: A file that takes everything the job prints, and the stack of a crash.
    """
    _detach(Path(log))
    _stay_on(cores)
    channel = PipeChannel(connection)
    try:
        from bench.training import jobs

        _limit_threads(len(cores))
        jobs.run(kind, payload, channel)
    except BaseException as error:  # SystemExit too: whatever a family's code does is this trial's failure
        trace = "".join(traceback.format_exception(error))[-TRACEBACK_CHARACTERS:]
        channel.failure(_kind(error), _one_line(error), trace)
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        connection.close()
        os._exit(0)  # no time for TensorFlow's own tear-down


def _kind(error: BaseException) -> str:
    return "OOM" if type(error).__name__ in ("MemoryError", "ResourceExhaustedError") else type(error).__name__


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())[:500] or type(error).__name__


def _detach(log: Path) -> None:
    """Ctrl-C is the driver's to handle; output goes to the log; the process ends with its driver."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.close(output)
    faulthandler.enable()
    _prefer_as_victim()
    threading.Thread(target=_end_with_driver, daemon=True).start()


def _end_with_driver() -> None:
    driver = multiprocessing.parent_process()
    if driver is not None:
        driver.join()
        os._exit(1)


def _prefer_as_victim() -> None:
    """Where Linux runs out of memory, it shall kill the trial and not the driver."""
    with contextlib.suppress(OSError):  # not Linux, or not allowed: then the kernel chooses
        Path("/proc/self/oom_score_adj").write_text("500")


def _stay_on(cores: Sequence[int]) -> None:
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, cores)


def _limit_threads(count: int) -> None:
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(count)
    tf.config.threading.set_inter_op_parallelism_threads(count)
    for device in tf.config.list_physical_devices("GPU"):
        tf.config.experimental.set_memory_growth(device, True)
