"""The way from a job's process to the driver."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from bench.hyperparameters import Hyperparameter, Value

Payload = Mapping[str, Any]
"""What a job is told, as plain data."""

Result = dict[str, Any]
"""What it gives back."""


class Channel(Protocol):
    """The way from a trial to the driver; every call waits for its answer."""

    def suggest(self, hyperparameter: Hyperparameter) -> Value:
        """The value of an active hyperparameter in this trial."""
        ...

    def report(self, epoch: int, figures: Mapping[str, Any]) -> bool:
        """What an epoch gave (epoch 0: the model is built, or pictures are decoded); True stops the trial."""
        ...

    def result(self, result: Mapping[str, Any]) -> Mapping[str, Any]:
        """How the trial ended; the answer's `keep` is a path to save its model to, or None."""
        ...
