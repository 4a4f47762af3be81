"""Hyperparameters in an Optuna trial: the name, the distribution, and the value in both directions."""

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
    """The value that this hyperparameter can take nearest to a given one; its default where a choice is unknown."""
    if hyperparameter.kind not in ("Int", "Float"):
        choices = hyperparameter.finite_values() or ()
        return next((choice for choice in choices if choice == value), hyperparameter.default)
    assert isinstance(value, int | float)
    clipped = min(max(value, hyperparameter.low), hyperparameter.high)
    if hyperparameter.step is not None:
        points = _stepped(hyperparameter)
        if isinstance(points, range):  # between two of them, the lower one
            return points[min(math.ceil((clipped - points.start) / points.step - 0.5), len(points) - 1)]
        return min(points, key=lambda point: abs(point - clipped))
    return round(clipped) if hyperparameter.kind == "Int" else float(clipped)


@dataclass(frozen=True)
class Parameter:
    """A hyperparameter as Optuna sees it.

    `reverse_log` without a step, which Optuna does not know, is stored mirrored: y = low + high - value is
    log-uniform. A step that multiplies, which Optuna refuses, is a choice of its finite values.
    """

    name: str
    hyperparameter: Hyperparameter

    def encode(self, value: Value) -> Value:
        """The stored form of a value, moved to the nearest allowed one first."""
        allowed = nearest(self.hyperparameter, value)
        return self._mirror(allowed) if is_mirrored(self.hyperparameter) else allowed

    def decode(self, stored: Value) -> Value:
        """The inverse of `encode`."""
        return nearest(self.hyperparameter, self._mirror(stored) if is_mirrored(self.hyperparameter) else stored)

    def suggest(self, trial: optuna.Trial) -> Value:
        """Ask a running trial, whose record then shows the value."""
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


def thinned(hyperparameter: Hyperparameter, points: int) -> Sequence[Value]:
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


class Names:
    """Names of declared hyperparameters, one for each: the first declaration of a name has that name.

    One name may be declared under several conditions with different ranges, which neither Optuna nor Keras Tuner
    keeps apart: the second and later ones are `name [parent=value]`.

    Args:
        space: Hyperparameters to name first, in this order.
    """

    def __init__(self, space: Iterable[Hyperparameter] = ()) -> None:
        self._names: dict[tuple[str, tuple[Condition, ...]], str] = {}
        for hyperparameter in space:
            self.of(hyperparameter)

    def of(self, hyperparameter: Hyperparameter) -> str:
        """Give a hyperparameter's name."""
        name, conditions = hyperparameter.name, hyperparameter.conditions
        if (name, conditions) not in self._names:
            taken = any(other == name for other, _ in self._names)
            when = ", ".join(f"{parent}={'|'.join(map(str, values))}" for parent, values in conditions)
            self._names[name, conditions] = f"{name} [{when or 'always'}]" if taken else name
        return self._names[name, conditions]

    def declared(self) -> dict[str, str]:
        """Map the names to those that the search space declares."""
        return {unique: name for (name, _), unique in self._names.items()}


class Parameters:
    """The parameters of a study in an Optuna storage.

    Args:
        names: Names of the hyperparameters.
        stored: Names and distributions that the storage already has.
    """

    def __init__(self, names: Names, stored: Mapping[str, BaseDistribution]) -> None:
        self._names, self._stored = names, dict(stored)

    def of(self, hyperparameter: Hyperparameter) -> Parameter:
        """Give a hyperparameter's parameter: one of its own for each range that Optuna does not take under one name."""
        name, wanted = self._names.of(hyperparameter), distribution(hyperparameter)
        if is_mirrored(hyperparameter):
            name += "/reverse_log"
        try:
            check_distribution_compatibility(self._stored.setdefault(name, wanted), wanted)
        except ValueError:  # choices depend on another value; numeric bounds may differ from trial to trial
            name = f"{name} [{wanted}]"
        return Parameter(name, hyperparameter)


def _divides(step: float, low: float, high: float) -> bool:
    """Tell whether Optuna, which counts in decimals, takes the step as it is; it does not take one third."""
    return (Decimal(str(high)) - Decimal(str(low))) % Decimal(str(step)) == 0


def _stepped(hyperparameter: Hyperparameter) -> Sequence[float]:
    """The values of a number with a step; a range stays one."""
    points = hyperparameter.finite_values() or ()
    return points if isinstance(points, range) else [point for point in points if isinstance(point, int | float)]
