"""Where trials run. A pool takes jobs and gives outcomes; meanwhile a listener answers what a job asks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from bench.config import RunConfig
from bench.hyperparameters import Hyperparameter, Value
from bench.records import Failure


@dataclass(frozen=True)
class Job:
    """One piece of work for a process of its own.

    Attributes:
        kind: "probe", "weights", "trial", "score" or "refit" (see `training/jobs.py`).
        payload: Plain data.
        timeout_s: Seconds after which it is stopped and fails as TIMEOUT.
    """

    kind: str
    payload: Mapping[str, Any]
    timeout_s: float


@dataclass(frozen=True)
class Outcome:
    """How a job ended: with a result or with a failure, never both."""

    job: Job
    result: Mapping[str, Any] | None = None
    failure: Failure | None = None


class Listener:
    """Answers a job's questions in the driver process; this one is for jobs that ask none.

    A job's channel turns its three messages into calls of these methods.
    """

    def suggest(self, hyperparameter: Hyperparameter) -> Value:
        """The value of an active hyperparameter; a ValueError is raised in the job."""
        return hyperparameter.default

    def report(self, epoch: int, figures: Mapping[str, Any]) -> bool:
        """Takes an epoch's figures; True stops the job."""
        return False

    def result(self, result: Mapping[str, Any]) -> Mapping[str, Any]:
        """Takes the result while the job's process still lives; the answer may ask it to `keep` its model."""
        return {}


class Pool(Protocol):
    """Runs jobs, a few at a time."""

    def has_room(self) -> bool:
        """Whether another job would start at once."""
        ...

    def submit(self, job: Job, listener: Listener) -> None:
        """Starts a job."""
        ...

    def finished(self, timeout_s: float) -> list[Outcome]:
        """Answers jobs for at most `timeout_s` seconds or until one has ended; the outcomes of those that have."""
        ...

    def cancel(self, kind: str, message: str) -> None:
        """Stops every running job; `finished` then gives them as failures of that kind."""
        ...

    def running(self) -> int:
        """How many jobs have not yet been given back by `finished`."""
        ...

    def close(self) -> None:
        """Stops everything that still runs."""
        ...


def start(config: RunConfig) -> Pool:
    """Starts the pool of worker processes on this machine; TensorFlow is loaded there in the background."""
    from bench.workers.local import LocalPool

    return LocalPool(config.workers)
