"""Hyperparameters in Optuna: names, distributions, and the conversion of values in both directions."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
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
    """The allowed value nearest to `value`; the default for an unknown choice."""
    if hyperparameter.kind not in ("Int", "Float"):
        choices = hyperparameter.finite_values() or ()
        return next((choice for choice in choices if choice == value), hyperparameter.default)
    assert isinstance(value, int | float)
    clipped = min(max(value, hyperparameter.low), hyperparameter.high)
    if hyperparameter.step is not None:
        points = _stepped(hyperparameter)
        if isinstance(points, range):  # the lower one of two equally near
            return points[min(math.ceil((clipped - points.start) / points.step - 0.5), len(points) - 1)]
        return min(points, key=lambda point: abs(point - clipped))
    return round(clipped) if hyperparameter.kind == "Int" else float(clipped)


@dataclass(frozen=True)
class Parameter:
    """A hyperparameter as stored in Optuna.

    `reverse_log` without a step, which Optuna does not have, is stored mirrored: y = low + high - value is
    log-uniform. A multiplicative step, which Optuna refuses, becomes a choice of its finite values.
    """

    name: str
    hyperparameter: Hyperparameter

    def encode(self, value: Value) -> Value:
        """The stored form of the allowed value nearest to `value`."""
        allowed = nearest(self.hyperparameter, value)
        return self._mirror(allowed) if is_mirrored(self.hyperparameter) else allowed

    def decode(self, stored: Value) -> Value:
        """The inverse of `encode`."""
        return nearest(self.hyperparameter, self._mirror(stored) if is_mirrored(self.hyperparameter) else stored)

    def suggest(self, trial: optuna.Trial) -> Value:
        """Ask a running trial for the value, which it records."""
        stored: Value
        wanted = distribution(self.hyperparameter)
        if isinstance(wanted, FloatDistribution):
            stored = trial.suggest_float(self.name, wanted.low, wanted.high, step=wanted.step, log=wanted.log)
        elif isinstance(wanted, IntDistribution):
            stored = trial.suggest_int(self.name, wanted.low, wanted.high, step=wanted.step, log=wanted.log)
        else:
            assert isinstance(wanted, CategoricalDistribution)
            stored = trial.suggest_categorical(self.name, wanted.choices)
        return self.decode(stored)

    def _mirror(self, value: Value) -> Value:
        assert isinstance(value, int | float)
        return self.hyperparameter.low + self.hyperparameter.high - value


def is_mirrored(hyperparameter: Hyperparameter) -> bool:
    """Return whether the stored value is low + high - value."""
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


def thinned(hyperparameter: Hyperparameter, points: int) -> Sequence[Value]:
    """Values for a grid: all declared ones, or at most `points`, evenly spaced on the hyperparameter's scale."""
    finite = hyperparameter.finite_values()
    is_declared = hyperparameter.kind not in ("Int", "Float") or hyperparameter.step is not None
    if finite is not None and (is_declared or len(finite) <= points):
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


class Names:
    """Unique names of declared hyperparameters; the first declaration of a name keeps it.

    One name may be declared under several conditions with different ranges, which neither Optuna nor Keras Tuner
    distinguishes: later declarations are named `name [parent=value]`.

    Args:
        space: Hyperparameters to name first, in this order.
    """

    def __init__(self, space: Iterable[Hyperparameter] = ()) -> None:
        self._names: dict[tuple[str, tuple[Condition, ...]], str] = {}
        for hyperparameter in space:
            self.of(hyperparameter)

    def of(self, hyperparameter: Hyperparameter) -> str:
        """The unique name of a hyperparameter."""
        name, conditions = hyperparameter.name, hyperparameter.conditions
        if (name, conditions) not in self._names:
            taken = any(other == name for other, _ in self._names)
            when = ", ".join(f"{parent}={'|'.join(map(str, values))}" for parent, values in conditions)
            self._names[name, conditions] = f"{name} [{when or 'always'}]" if taken else name
        return self._names[name, conditions]

    def declared(self) -> dict[str, str]:
        """Map the unique names to the declared ones."""
        return {unique: name for (name, _), unique in self._names.items()}


class Parameters:
    """The parameters of a study in an Optuna storage.

    Args:
        names: Names of the hyperparameters.
        stored: Names and distributions that are already in the storage.
    """

    def __init__(self, names: Names, stored: Mapping[str, BaseDistribution]) -> None:
        self._names, self._stored = names, dict(stored)

    def of(self, hyperparameter: Hyperparameter) -> Parameter:
        """The parameter of a hyperparameter; ranges that Optuna refuses under one name get different parameters."""
        name, wanted = self._names.of(hyperparameter), distribution(hyperparameter)
        if is_mirrored(hyperparameter):
            name += "/reverse_log"
        try:
            check_distribution_compatibility(self._stored.setdefault(name, wanted), wanted)
        except ValueError:  # choices differ between trials; numeric bounds may
            name = f"{name} [{wanted}]"
        return Parameter(name, hyperparameter)


def _divides(step: float, low: float, high: float) -> bool:
    """Return whether the step divides the range in decimals, as Optuna requires; one third does not."""
    return (Decimal(str(high)) - Decimal(str(low))) % Decimal(str(step)) == 0


def _stepped(hyperparameter: Hyperparameter) -> Sequence[float]:
    """The values of a number with a step; a `range` if they are one."""
    points = hyperparameter.finite_values() or ()
    return points if isinstance(points, range) else [point for point in points if isinstance(point, int | float)]
