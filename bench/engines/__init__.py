"""Engines: who proposes configurations, behind one ask/tell protocol."""

from __future__ import annotations

import hashlib
import importlib.util
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from bench.errors import ConfigError
from bench.hyperparameters import Hyperparameter, Value

if TYPE_CHECKING:  # Optuna is heavy; `--help` and `list` do without it
    import optuna


@dataclass(frozen=True)
class Settings:
    """What an engine is told once.

    Attributes:
        seed: The run's seed; each study derives its own from it (`study_seed`).
        space: What a trial build of the family declared, conditional hyperparameters included.
        epochs: The most epochs that a trial is trained.
        pruner: One of `config.PRUNERS`.
        trials: How many trials the study may expect; None where only time limits it.
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
        epochs: The most epochs for it, where the engine decides that (Hyperband); None otherwise.
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
        """How the trial ended: COMPLETE with its validation accuracy, PRUNED or FAIL; `params` is what was active."""
        ...


def study_seed(seed: int, engine: str, family: str) -> int:
    """A study's own seed, 1 to 2**31 - 1: never 0, which Keras Tuner would take for "random"."""
    digest = hashlib.sha256(f"{seed}/{engine}/{family}".encode()).digest()
    return int.from_bytes(digest[:4], "big") % (2**31 - 1) + 1


def check_installed(names: Sequence[str]) -> None:
    """Raises ConfigError where an engine needs a package that is not installed; nothing is imported."""
    needs = {"optuna:gp": ("torch", "gp"), "optuna:cmaes": ("cmaes", "")}
    for name in names:
        package, extra = needs.get(name, ("", ""))
        if package and importlib.util.find_spec(package) is None:
            hint = f"image-model-bench[{extra}]" if extra else package
            raise ConfigError(f"engine {name!r} needs the package {package}: pip install '{hint}'")


def create(engine: str, family: str, storage: Any, settings: Settings) -> Engine:
    """Makes the engine and its study.

    Args:
        engine: One of `config.ENGINES`.
        family: The family that it searches.
        storage: An Optuna storage.
        settings: Seed, space and limits.

    Raises:
        ConfigError: The engine needs a package that is not installed; the message names the extra.
    """
    if engine.startswith("optuna:"):
        from bench.engines.optuna import OptunaEngine

        return OptunaEngine(engine, family, storage, settings)
    from bench.engines.keras_tuner import KerasTunerEngine

    return KerasTunerEngine(engine, family, storage, settings)
