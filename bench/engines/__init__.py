"""Engines: who proposes configurations, behind one ask/tell protocol."""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from bench.errors import ConfigError, unknown
from bench.hyperparameters import Hyperparameter, Value

if TYPE_CHECKING:  # Optuna is heavy; `--help` and `list` do without it
    import optuna


@dataclass(frozen=True)
class EngineInfo:
    """Facts about an engine that need no import of it.

    Attributes:
        title: One line for `bench list`.
        place: Its class, as `module:Class`; called with the engine's name, the family's, a storage and `Settings`.
        prunes: Whether it works with `--pruner`.
        package: A package that may not be installed; "" if it needs none.
        extra: The extra of this project that brings the package; "" if none.
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
"""Every engine by name. A new engine is one line here and one file."""


@dataclass(frozen=True)
class Settings:
    """Settings of an engine on one family.

    Attributes:
        seed: The run's seed; each study derives its own from it (`study_seed`).
        space: All hyperparameters of the family that the probe found, conditional ones included.
        epochs: Maximum number of epochs of a trial.
        pruner: One of `config.PRUNERS`.
        trials: Expected number of trials; None where only time limits them.
        prefix: Stands before the study's name in a storage that several runs share.
    """

    seed: int
    space: Sequence[Hyperparameter]
    epochs: int
    pruner: str = "none"
    trials: int | None = None
    prefix: str = ""


@dataclass(frozen=True)
class Proposal:
    """One proposed configuration, whose values are answered one by one.

    Attributes:
        trial: The running trial in the Optuna storage: its record.
        epochs: Maximum number of epochs, where the engine decides that (Hyperband); else None.
    """

    trial: optuna.Trial
    epochs: int | None = None


class Engine(Protocol):
    """One engine searching one family: a study.

    Attributes:
        study: Its Optuna study, the record of its trials.
        exhausted: Whether it has nothing left to propose.
    """

    study: optuna.Study
    exhausted: bool

    def ask(self, known: Mapping[str, Value] | None = None) -> Proposal | None:
        """A new proposal, or None: nothing left (`exhausted`), or nothing until a running trial has ended.

        Args:
            known: Values that the proposal must take; what they leave out is the engine's choice.
        """
        ...

    def suggest(self, proposal: Proposal, hyperparameter: Hyperparameter) -> Value:
        """The value of one active hyperparameter in this proposal; asked again, it is the same."""
        ...

    def report(self, proposal: Proposal, epoch: int, value: float) -> bool:
        """Takes the validation accuracy after an epoch (from 1); True stops the trial (it is then PRUNED)."""
        ...

    def tell(self, proposal: Proposal, state: str, value: float | None, params: Mapping[str, Value]) -> None:
        """Tell how the trial ended: COMPLETE with its accuracy, PRUNED or FAIL; `params` are the active values."""
        ...


def study_seed(seed: int, engine: str, family: str) -> int:
    """A study's own seed, 1 to 2**31 - 1: never 0, which Keras Tuner would take for "random"."""
    digest = hashlib.sha256(f"{seed}/{engine}/{family}".encode()).digest()
    return int.from_bytes(digest[:4], "big") % (2**31 - 1) + 1


def check_installed(names: Sequence[str]) -> None:
    """Check engine names and the packages that they need; nothing heavy is imported.

    Raises:
        ConfigError: An engine is not known, or needs a package that is not installed.
    """
    for name in names:
        if name not in ENGINES:
            raise unknown("engine", name, ENGINES)
        info = ENGINES[name]
        if info.package and importlib.util.find_spec(info.package) is None:
            wanted = f".[{info.extra}]" if info.extra else info.package
            raise ConfigError(f"engine {name!r} needs the package {info.package}: pip install '{wanted}'")


def create(engine: str, family: str, storage: Any, settings: Settings) -> Engine:
    """Make an engine of `ENGINES` and its study of a family in an Optuna storage; ConfigError as `check_installed`."""
    check_installed([engine])
    module, _, name = ENGINES[engine].place.partition(":")
    made: Engine = getattr(importlib.import_module(module), name)(engine, family, storage, settings)
    return made


def end_trial(study: optuna.Study, trial: optuna.Trial, state: str, value: float | None) -> None:
    """Close an Optuna trial; a COMPLETE one without a finite value is a FAIL, one that is closed stays as it is."""
    from optuna.trial import TrialState

    complete = state == "COMPLETE" and is_score(value)
    ended = TrialState.FAIL if state == "COMPLETE" and not complete else TrialState[state]
    study.tell(trial, value if complete else None, state=ended, skip_if_finished=True)


def is_score(value: float | None) -> bool:
    """Tell whether an engine can learn from a value: it is neither missing nor infinite nor NaN."""
    return value is not None and math.isfinite(value)
