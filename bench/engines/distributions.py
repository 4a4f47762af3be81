"""Hyperparameters in an Optuna trial: the name, the distribution, and the value in both directions."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal

import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
    check_distribution_compatibility,
)

from bench.hyperparameters import Condition, Hyperparameter, Value


def nearest(hyperparameter: Hyperparameter, value: Value) -> Value:
    """The value that this hyperparameter can take nearest to a given one; its default where a choice is unknown."""
    if hyperparameter.kind not in ("Int", "Float"):
        choices = hyperparameter.finite_values() or ()
        return next((choice for choice in choices if choice == value), hyperparameter.default)
    assert isinstance(value, int | float)
    clipped = min(max(value, hyperparameter.low), hyperparameter.high)
    if hyperparameter.step is not None:
        return min(_stepped(hyperparameter), key=lambda point: abs(point - clipped))
    return round(clipped) if hyperparameter.kind == "Int" else float(clipped)


@dataclass(frozen=True)
class Parameter:
    """A hyperparameter as Optuna sees it.

    `reverse_log` without a step, which Optuna does not know, is stored mirrored: y = low + high - value is
    log-uniform. A step that multiplies, which Optuna refuses, is a choice of its finite values.

    Attributes:
        name: Its name in the Optuna trial.
        hyperparameter: What it stands for.
    """

    name: str
    hyperparameter: Hyperparameter

    @property
    def distribution(self) -> BaseDistribution:
        """The Optuna distribution of its stored values."""
        return distribution(self.hyperparameter)

    def encode(self, value: Value) -> Value:
        """The stored form of a value, moved to the nearest allowed one first."""
        allowed = nearest(self.hyperparameter, value)
        return self._mirror(allowed) if is_mirrored(self.hyperparameter) else allowed

    def decode(self, stored: Value) -> Value:
        """The inverse of `encode`."""
        return nearest(self.hyperparameter, self._mirror(stored) if is_mirrored(self.hyperparameter) else stored)

    def suggest(self, trial: optuna.Trial) -> Value:
        """Ask a running trial, whose record then shows the value."""
        about = self.distribution
        stored: Value
        if isinstance(about, FloatDistribution):
            stored = trial.suggest_float(self.name, about.low, about.high, step=about.step, log=about.log)
        elif isinstance(about, IntDistribution):
            stored = trial.suggest_int(self.name, about.low, about.high, step=about.step, log=about.log)
        else:
            assert isinstance(about, CategoricalDistribution)
            stored = trial.suggest_categorical(self.name, about.choices)
        return self.decode(stored)

    def _mirror(self, value: Value) -> Value:
        assert isinstance(value, int | float)
        return self.hyperparameter.low + self.hyperparameter.high - value


def is_mirrored(hyperparameter: Hyperparameter) -> bool:
    """Tell whether the stored value is low + high - value."""
    return hyperparameter.sampling == "reverse_log" and hyperparameter.step is None


def distribution(hyperparameter: Hyperparameter) -> BaseDistribution:
    """The Optuna distribution of the stored values of a hyperparameter that is not Fixed."""
    low, high, step = hyperparameter.low, hyperparameter.high, hyperparameter.step
    log = hyperparameter.sampling != "linear"
    if step is not None and not log:
        high = _stepped(hyperparameter)[-1]
    if hyperparameter.kind not in ("Int", "Float") or (step is not None and (log or not _divides(step, low, high))):
        return CategoricalDistribution(hyperparameter.finite_values() or ())
    if hyperparameter.kind == "Int":
        return IntDistribution(int(low), int(high), log=log, step=int(step or 1))
    return FloatDistribution(low, high, log=log, step=step)


def thinned(hyperparameter: Hyperparameter, points: int) -> tuple[Value, ...]:
    """Values for a grid: all of them where they are stated, else at most `points`, evenly on its own scale."""
    finite = hyperparameter.finite_values()
    stated = hyperparameter.kind not in ("Int", "Float") or hyperparameter.step is not None
    if finite is not None and (stated or len(finite) <= points):
        return finite
    low, high = hyperparameter.low, hyperparameter.high
    shares = [index / (points - 1) for index in range(points)]
    if hyperparameter.sampling == "linear":
        values = [low + (high - low) * share for share in shares]
    else:
        values = [low * math.pow(high / low, share) for share in shares]
        if hyperparameter.sampling == "reverse_log":
            values = [low + high - value for value in reversed(values)]
    return tuple(dict.fromkeys(nearest(hyperparameter, value) for value in values))


@dataclass
class _Owner:
    """The hyperparameter that a name in the storage stands for; conditions are None where only the storage knows it."""

    distribution: BaseDistribution
    conditions: tuple[Condition, ...] | None


@dataclass
class Names:
    """Names of the hyperparameters in a study's storage.

    One name may be declared under several conditions with different ranges; Optuna takes one distribution a
    name, so the second and later ones are stored as `name [parent=value]`.

    Args:
        stored: Names and distributions that the storage already has.
        space: Declared hyperparameters, named in this order.
    """

    stored: Mapping[str, BaseDistribution] = field(default_factory=dict)
    space: Iterable[Hyperparameter] = ()

    def __post_init__(self) -> None:
        self._owners = {name: _Owner(known, None) for name, known in self.stored.items()}
        for hyperparameter in self.space:
            if hyperparameter.kind != "Fixed":
                self.parameter(hyperparameter)

    def parameter(self, hyperparameter: Hyperparameter) -> Parameter:
        """The hyperparameter under the name that is its own from now on."""
        wanted = distribution(hyperparameter)
        name = next(name for name in _candidates(hyperparameter, wanted) if self._claim(name, hyperparameter, wanted))
        return Parameter(name, hyperparameter)

    def _claim(self, name: str, hyperparameter: Hyperparameter, wanted: BaseDistribution) -> bool:
        owner = self._owners.setdefault(name, _Owner(wanted, hyperparameter.conditions))
        if owner.distribution == wanted:
            owner.conditions = owner.conditions or hyperparameter.conditions
            return True
        # A range that depends on another value: Optuna lets numeric bounds differ from trial to trial.
        if owner.conditions not in (None, hyperparameter.conditions) or not _compatible(owner.distribution, wanted):
            return False
        owner.conditions = hyperparameter.conditions
        return True


def when(hyperparameter: Hyperparameter) -> str:
    """Its conditions as text, e.g. `kind=cnn|vgg, dense=True`; "" where it is always active."""
    return ", ".join(f"{parent}={'|'.join(map(str, values))}" for parent, values in hyperparameter.conditions)


def _candidates(hyperparameter: Hyperparameter, wanted: BaseDistribution) -> Iterator[str]:
    base = f"{hyperparameter.name}/reverse_log" if is_mirrored(hyperparameter) else hyperparameter.name
    yield base
    if hyperparameter.conditions:
        yield f"{base} [{when(hyperparameter)}]"
    yield f"{base} [{hyperparameter.describe()}]"
    yield f"{base} [{wanted}]"


def _compatible(known: BaseDistribution, wanted: BaseDistribution) -> bool:
    try:
        check_distribution_compatibility(known, wanted)
    except ValueError:
        return False
    return True


def _divides(step: float, low: float, high: float) -> bool:
    """Tell whether Optuna, which counts in decimals, takes the step as it is; it does not take one third."""
    return (Decimal(str(high)) - Decimal(str(low))) % Decimal(str(step)) == 0


def _stepped(hyperparameter: Hyperparameter) -> list[float]:
    return [point for point in hyperparameter.finite_values() or () if isinstance(point, int | float)]
