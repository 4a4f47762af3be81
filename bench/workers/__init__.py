"""Workers: a pool runs typed jobs and returns their outcomes; a listener answers the calls of a running job."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from bench.config import RunConfig
from bench.data.machine import core_count
from bench.errors import ConfigError
from bench.records import Failure, FailureKind
from bench.training.messages import Channel, Job

MAX_WORKERS_PER_CORE = 16

POLL_S = 0.5
"""Seconds between two checks whether a stop has been requested."""

MEANWHILE_S = 60.0
"""Maximum seconds between two calls of what `run_jobs` does meanwhile."""


@dataclass(frozen=True)
class Outcome:
    """Outcome of a job: either a result or a failure.

    Attributes:
        result: An instance of the job's `result_type`.
    """

    job: Job
    result: object | None = None
    failure: Failure | None = None


class Listener(Channel):
    """The driver's end of a job's channel: its methods answer the calls of the job."""

    def started(self, worker: int) -> None:
        """Called with the number of the worker that runs the job, from 0."""


class Pool(Protocol):
    """Runs several jobs at a time, each in a separate process.

    Attributes:
        cache: Folder for what later runs may use; None if the pool makes results up.
    """

    @property
    def cache(self) -> Path | None: ...

    def has_room(self) -> bool:
        """Return whether another job would start immediately; without running jobs, False means a pause."""
        ...

    def divide(self, jobs: int) -> None:
        """Divide the cores among this number of jobs at a time; no job may be running."""
        ...

    def submit(self, job: Job, listener: Listener) -> None:
        """Start a job."""
        ...

    def finished(self, timeout_s: float) -> list[Outcome]:
        """Answer jobs until one ends, for at most `timeout_s` seconds; return the outcomes of the ended jobs."""
        ...

    def cancel(self, kind: FailureKind, message: str) -> None:
        """Stop every running job; `finished` then returns them as failures of this kind."""
        ...

    def close(self) -> None:
        """Stop all running jobs."""
        ...


class Stop:
    """A request to end all jobs early; this base class never requests it."""

    def reason(self) -> tuple[FailureKind, str] | None:
        """Return the failure kind and message for the running jobs; None while no stop is requested."""
        return None

    def closed(self) -> bool:
        """Return True if no job may start any more; running jobs may end by themselves until there is a reason."""
        return self.reason() is not None


def run_jobs(
    pool: Pool,
    ask: Callable[[], tuple[Job, Listener] | None],
    stop: Stop,
    meanwhile: Callable[[], object] = lambda: None,
) -> Iterator[Outcome]:
    """Run jobs, as many at a time as the pool has room for, and yield their outcomes as they end.

    Args:
        ask: Returns the next job, or None if there is none at the moment. It is called again after the caller has
            handled an outcome; the loop ends when it returns None and no job is running.
        stop: Once it is closed, no job starts any more; once it has a reason, running ones are cancelled.
        meanwhile: Called after an outcome was handled and new jobs were started, for work that should not delay them,
            and every `MEANWHILE_S`.
    """
    running, cancelled, handled, called_s = 0, False, False, time.monotonic()
    while True:
        while not stop.closed() and pool.has_room() and (asked := ask()) is not None:
            pool.submit(*asked)
            running += 1
        if running == 0 and (stop.closed() or pool.has_room()):
            return
        if not cancelled and (reason := stop.reason()) is not None:
            pool.cancel(*reason)
            cancelled = True
        if handled or time.monotonic() - called_s > MEANWHILE_S:
            meanwhile()
            called_s = time.monotonic()
        outcomes = pool.finished(POLL_S)
        running, handled = running - len(outcomes), bool(outcomes)
        yield from outcomes


def start(config: RunConfig) -> Pool:
    """Start the worker processes; TensorFlow is loaded there in the background. ConfigError with too few cores."""
    from bench.workers.local import LocalPool

    if config.workers > (most := MAX_WORKERS_PER_CORE * (cores := core_count())):
        raise ConfigError(f"workers {config.workers}: must be at most {most} with the {cores} cores of this machine")
    return LocalPool(config.workers)
