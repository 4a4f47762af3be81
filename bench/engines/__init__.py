"""Engines, which propose configurations, behind one ask/tell protocol."""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from bench.errors import ConfigError, unknown
from bench.hyperparameters import Hyperparameter, Value

if TYPE_CHECKING:  # Optuna is heavy; `--help` and `list` do without it
    import optuna


@dataclass(frozen=True)
class EngineInfo:
    """Facts about an engine, available without importing it.

    Attributes:
        title: One line for `bench list`.
        place: Its class as `module:Class`; called with the engine's name, the family's name, a storage and `Settings`.
        prunes: True if it works with `--pruner`.
        package: A required package that may not be installed; "" if it needs none.
        extra: The extra of this project that installs the package; "" if none.
    """

    title: str
    place: str = "bench.engines.optuna:OptunaEngine"
    prunes: bool = True
    package: str = ""
    extra: str = ""


_KERAS_TUNER = "bench.engines.keras_tuner:KerasTunerEngine"

ENGINES: Mapping[str, EngineInfo] = {
    "optuna:tpe": EngineInfo("tree-structured Parzen estimator (Bergstra et al., 2011)"),
    "optuna:random": EngineInfo("uniform random search"),
    "optuna:gp": EngineInfo("Gaussian process with logEI; needs the extra `gp` (PyTorch)", package="torch", extra="gp"),
    "optuna:cmaes": EngineInfo("CMA-ES on the numeric hyperparameters (Hansen, 2016)", package="cmaes"),
    "optuna:grid": EngineInfo("every combination, in shuffled order"),
    "keras-tuner:random": EngineInfo("Keras Tuner's random search", _KERAS_TUNER, prunes=False),
    "keras-tuner:bayesian": EngineInfo(
        "Keras Tuner's Gaussian process with an upper confidence bound", _KERAS_TUNER, prunes=False
    ),
    "keras-tuner:hyperband": EngineInfo(
        "Hyperband (Li et al., 2018): many short trials, the best trained longer", _KERAS_TUNER, prunes=False
    ),
    "keras-tuner:grid": EngineInfo("Keras Tuner's grid search, in order", _KERAS_TUNER, prunes=False),
}
"""Every engine by name. To add one, write its file and a line here."""


@dataclass(frozen=True)
class Settings:
    """Settings of an engine on one family.

    Attributes:
        seed: The run's seed, from which every study derives one.
        space: All hyperparameters of the family, conditional ones included, as found by the probe.
        epochs: Maximum number of epochs of a trial.
        pruner: One of `config.PRUNERS`.
        trials: Expected number of proposals; None if only time limits them.
        prefix: Prefix of the study's name in a storage that several runs share.
        minimize: True if a lower value is better.
    """

    seed: int
    space: Sequence[Hyperparameter]
    epochs: int
    pruner: str = "none"
    trials: int | None = None
    prefix: str = ""
    minimize: bool = False


@dataclass(frozen=True)
class Proposal:
    """One proposed configuration, whose values are asked for one by one.

    Attributes:
        trial: The running trial in the Optuna storage.
        epochs: Maximum number of epochs if the engine decides it (Hyperband); else None.
        known: The known values that it takes; empty if the engine proposed it.
    """

    trial: optuna.Trial
    epochs: int | None = None
    known: Mapping[str, Value] = field(default_factory=dict)


class Engine(Protocol):
    """One engine searching one family: a study.

    Attributes:
        study: Its Optuna study, which records its trials.
        exhausted: True if it has nothing left to propose.
    """

    study: optuna.Study
    exhausted: bool

    def ask(self, known: Mapping[str, Value] | None = None) -> Proposal | None:
        """Return a new proposal, or None: nothing is left (`exhausted`), or nothing until a running trial has ended.

        Args:
            known: Values that the proposal must take; the others are defaults, so that all engines try the same.
        """
        ...

    def suggest(self, proposal: Proposal, hyperparameter: Hyperparameter) -> Value:
        """Return the value of an active hyperparameter in this proposal; repeated calls return the same value."""
        ...

    def report(self, proposal: Proposal, epoch: int, value: float) -> bool:
        """Report the metric of the validation after an epoch (from 1); True stops the trial, which is then PRUNED."""
        ...

    def tell(self, proposal: Proposal, state: str, value: float | None, params: Mapping[str, Value]) -> None:
        """Report the end of a trial: COMPLETE with its value, PRUNED or FAIL; `params` are the active values.

        PRUNED without a value is a configuration that a limit refused, or that the budget stopped before it had one.
        """
        ...

    def ask_again(self, number: int, known: bool, params: Mapping[str, Value]) -> None:
        """Repeat the proposal of a recorded trial of a resumed run; called in the order of the trials' starts and ends.

        A trial that is not told again was in flight: later calls of `ask` return these first, by number.
        """
        ...

    def tell_again(self, number: int, state: str, value: float | None, params: Mapping[str, Value]) -> None:
        """Repeat the end of a recorded trial, without writing it."""
        ...


def derived_seed(*parts: object) -> int:
    """Seed, 1 to 2**31 - 1, that depends on all these; never 0, which means "random" to Keras Tuner."""
    digest = hashlib.sha256("/".join(map(str, parts)).encode()).digest()
    return int.from_bytes(digest[:4], "big") % (2**31 - 1) + 1


def check_installed(names: Sequence[str]) -> None:
    """Check engine names and their required packages, without importing these.

    Raises:
        ConfigError: An engine is unknown, or needs a package that is not installed.
    """
    for name in names:
        if name not in ENGINES:
            raise unknown("engine", name, ENGINES)
        info = ENGINES[name]
        if info.package and importlib.util.find_spec(info.package) is None:
            requirement = f".[{info.extra}]" if info.extra else info.package
            raise ConfigError(f"engine {name!r} needs the package {info.package}: pip install '{requirement}'")


def create(engine: str, family: str, storage: Any, settings: Settings) -> Engine:
    """Create an engine of `ENGINES` and its study in an Optuna storage; ConfigError as in `check_installed`."""
    check_installed([engine])
    module, _, name = ENGINES[engine].place.partition(":")
    instance: Engine = getattr(importlib.import_module(module), name)(engine, family, storage, settings)
    return instance


def end_trial(study: optuna.Study, trial: optuna.Trial | int, state: str, value: float | None) -> None:
    """Finish an Optuna trial, or that of a number; COMPLETE without a finite value becomes FAIL.

    A finished trial stays unchanged.
    """
    from optuna.trial import TrialState

    complete = state == "COMPLETE" and is_score(value)
    ended = TrialState.FAIL if state == "COMPLETE" and not complete else TrialState[state]
    study.tell(trial, value if complete else None, state=ended, skip_if_finished=True)


def is_score(value: float | None) -> bool:
    """Return whether an engine can learn from a value: not None, infinite or NaN."""
    return value is not None and math.isfinite(value)
