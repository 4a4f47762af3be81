"""`hp`: Keras Tuner's define-by-run API, the same object under every engine.

A search space calls `hp.Int(...)`, `hp.Choice(...)` and so on while it builds a model. Each call declares a
`Hyperparameter` and returns its value, which comes from an engine in the driver process (over the worker's channel),
an Optuna trial, or fixed values (replay). Signatures, defaults and the meaning of `parent_name`, `conditional_scope`
and `name_scope` are those of `keras_tuner.HyperParameters` 1.4, so that a function written for it runs unchanged.
Deliberate differences:

- a second declaration of a name with another range is an error that names both (Keras Tuner ignores the second);
- a default outside its range is an error (Keras Tuner accepts it);
- an inactive hyperparameter is never sampled and is in no record;
- a `Float` with a step reaches its upper bound if the step divides the range (Keras Tuner's floor division drops 0.6
  from 0 to 0.6 by 0.2, contrary to its documentation), and a `Choice` of booleans stays boolean.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

Value = bool | int | float | str | None
"""The type of a hyperparameter's value."""

Condition = tuple[str, tuple[Value, ...]]
"""Name of a parent, and the values of the parent under which a hyperparameter is active."""


@dataclass(frozen=True)
class Hyperparameter:
    """One declared hyperparameter: its range and its conditions.

    Attributes:
        kind: "Int", "Float", "Choice", "Boolean" or "Fixed".
        name: Full name, name scopes included (joined by "/").
        default: Value without a search.
        values: Choices of a "Choice"; the single value of a "Fixed".
        low, high: Inclusive bounds of an "Int" or "Float".
        step: Distance between values; with `sampling` "log" or "reverse_log" the factor between them.
        sampling: "linear", "log" or "reverse_log".
        conditions: All must hold for it to be active.
    """

    kind: str
    name: str
    default: Value
    values: tuple[Value, ...] = ()
    low: int | float = 0  # `int |`, so that the codec keeps the bounds of an "Int" whole
    high: int | float = 0
    step: int | float | None = None
    sampling: str = "linear"
    conditions: tuple[Condition, ...] = ()

    def is_active(self, values: Mapping[str, Value]) -> bool:
        """True if all conditions hold for these values."""
        return all(parent in values and values[parent] in allowed for parent, allowed in self.conditions)

    def finite_values(self) -> Sequence[Value] | None:
        """All allowed values in order; None if it is continuous. Whole numbers are a `range`, which needs no memory."""
        if self.kind in ("Choice", "Fixed"):
            return self.values
        if self.kind == "Boolean":
            return (False, True)
        step = self.step
        if self.kind == "Int" and (step is None or (self.sampling == "linear" and step == int(step))):
            return range(int(self.low), int(self.high) + 1, int(step or 1))
        if step is None:
            return None
        if self.sampling == "linear":
            count = int((self.high - self.low) / step + 1e-8) + 1
            # In decimals: the third value from 0 by 0.1 is 0.3, not 0.30000000000000004.
            low, distance = Decimal(str(self.low)), Decimal(str(step))
            stepped = [float(low + index * distance) for index in range(count)]
        else:
            count = int(math.log(self.high / self.low, step) + 1e-8) + 1
            stepped = [self.low * step**index for index in range(count)]
            if self.sampling == "reverse_log":
                stepped = sorted(self.high + self.low - value for value in stepped)
        if self.kind == "Int":
            return tuple(int(value) for value in stepped)
        return tuple(min(max(float(value), self.low), self.high) for value in stepped)

    def accepts(self, value: Value) -> bool:
        """True for an allowed value."""
        if self.kind in ("Choice", "Boolean", "Fixed"):
            return any(value == choice and type(value) is type(choice) for choice in self.finite_values() or ())
        if isinstance(value, bool) or not isinstance(value, int | float):
            return False
        if not math.isfinite(value) or (self.kind == "Int" and value != int(value)):
            return False
        if self.step is None:
            return self.low <= value <= self.high
        if isinstance(points := self.finite_values(), range):
            return int(value) in points
        # A step may not be a binary fraction: 3 * 0.2 is above 0.6.
        tolerance = 1e-9 * max(abs(self.low), abs(self.high))
        return any(abs(value - point) <= tolerance for point in points or ())  # type: ignore[operator]

    def describe(self) -> str:
        """The range in words, e.g. `Float 0.0 to 0.6` or `Choice of adam, sgd`."""
        if self.kind in ("Int", "Float"):
            step = f", step {self.step:g}" if self.step is not None else ""
            sampling = f", {self.sampling}" if self.sampling != "linear" else ""
            return f"{self.kind} {self.low:g} to {self.high:g}{step}{sampling}"
        if self.kind == "Boolean":
            return "Boolean"
        return f"{self.kind} of {', '.join(map(str, self.values))}"


_PLAIN = (bool, int, float, str)
"""Types of the values of a `Choice` and a `Fixed`."""

_Parent = tuple[str | None, Any]
"""Name and values of a parent, as arguments of `hp.Int` etc.; None for no parent."""

Suggest = Callable[[Hyperparameter], Value]
"""Returns the value of an active hyperparameter in this trial."""


class HyperParameters:
    """The `hp` argument of a search space's `build`.

    Args:
        suggest: Called once for every active hyperparameter.

    Attributes:
        values: Active values so far, by full name.
        space: Everything declared so far, inactive ones included, in order.
    """

    def __init__(self, suggest: Suggest) -> None:
        self._suggest = suggest
        self._name_scopes: list[str] = []
        self._conditions: list[Condition] = []
        self.values: dict[str, Value] = {}
        self.space: list[Hyperparameter] = []

    # -- declarations, with Keras Tuner's signatures

    def Int(  # noqa: N802 (Keras Tuner's name)
        self,
        name: str,
        min_value: int,
        max_value: int,
        step: int | None = None,
        sampling: str | None = "linear",
        default: int | None = None,
        parent_name: str | None = None,
        parent_values: Any = None,
    ) -> Any:
        """An integer from `min_value` to `max_value`, both included; None while inactive."""
        parent = parent_name, parent_values
        return self._numerical("Int", name, min_value, max_value, step, sampling, default, parent)

    def Float(  # noqa: N802
        self,
        name: str,
        min_value: float,
        max_value: float,
        step: float | None = None,
        sampling: str | None = "linear",
        default: float | None = None,
        parent_name: str | None = None,
        parent_values: Any = None,
    ) -> Any:
        """A number from `min_value` to `max_value`, both included; None while inactive."""
        parent = parent_name, parent_values
        return self._numerical("Float", name, min_value, max_value, step, sampling, default, parent)

    def Choice(  # noqa: N802
        self,
        name: str,
        values: Sequence[Value],
        ordered: bool | None = None,
        default: Value = None,
        parent_name: str | None = None,
        parent_values: Any = None,
    ) -> Any:
        """One of several values of one type; None while inactive."""
        choices = tuple(values)
        if not choices:
            raise ValueError(f"hp.Choice({name!r}): must have at least one value, got none")
        for choice in choices:
            if not isinstance(choice, _PLAIN):
                text = str(choice)
                raise TypeError(
                    f"hp.Choice({name!r}): values must be int, float, str or bool, got {choice!r}; write "
                    f"{{{text!r}: {choice!r}, …}}.get(hp.Choice({name!r}, [{text!r}, …]))"
                )
        if len({type(choice) for choice in choices}) > 1:
            raise TypeError(f"hp.Choice({name!r}): all values must be of one type, got {list(choices)}")
        if default is not None and default not in choices:
            raise ValueError(f"hp.Choice({name!r}): the default {default!r} is not among {list(choices)}")
        plain: Callable[[Any], Value] = next(  # converts NumPy's types to built-in ones
            kind for kind in _PLAIN if isinstance(choices[0], kind)
        )
        choices = tuple(plain(choice) for choice in choices)
        first = choices[0] if default is None else plain(default)
        return self._declare("Choice", name, first, (parent_name, parent_values), values=choices)

    def Boolean(  # noqa: N802
        self, name: str, default: bool = False, parent_name: str | None = None, parent_values: Any = None
    ) -> Any:
        """True or False; None while inactive."""
        return self._declare("Boolean", name, bool(default), (parent_name, parent_values))

    def Fixed(  # noqa: N802
        self, name: str, value: Value, parent_name: str | None = None, parent_values: Any = None
    ) -> Any:
        """A value that is recorded but not searched; None while inactive."""
        if not isinstance(value, _PLAIN):
            raise TypeError(f"hp.Fixed({name!r}): the value must be an int, float, str or bool, got {value!r}")
        return self._declare("Fixed", name, value, (parent_name, parent_values), values=(value,))

    # -- scopes

    @contextmanager
    def name_scope(self, name: str) -> Iterator[None]:
        """Prefix the names declared inside with `name/`."""
        self._name_scopes.append(str(name))
        try:
            yield
        finally:
            self._name_scopes.pop()

    @contextmanager
    def conditional_scope(self, parent_name: str, parent_values: Any) -> Iterator[None]:
        """Make the declarations inside active only while the parent has one of `parent_values`."""
        parent = self._full_name(parent_name)
        if not any(known.name == parent for known in self.space):
            raise ValueError(f"hp: the parent {parent!r} of a condition must be declared before it")
        allowed = tuple(parent_values) if isinstance(parent_values, list | tuple | set | range) else (parent_values,)
        self._conditions.append((parent, allowed))
        try:
            yield
        finally:
            self._conditions.pop()

    # -- reading

    def get(self, name: str) -> Any:
        """The value of an active hyperparameter; ValueError while it is inactive, KeyError if it is unknown."""
        full = self._full_name(name)
        if full in self.values:
            return self.values[full]
        if any(known.name == full for known in self.space):
            raise ValueError(f"{full} is currently inactive.")
        raise KeyError(f"{full} does not exist.")

    def __getitem__(self, name: str) -> Any:
        return self.get(name)

    def __contains__(self, name: str) -> bool:
        return self._full_name(name) in self.values

    def is_active(self, hyperparameter: str | Hyperparameter) -> bool:
        """True if a hyperparameter's conditions hold now."""
        if isinstance(hyperparameter, Hyperparameter):
            return hyperparameter.is_active(self.values)
        return any(known.is_active(self.values) for known in self.space if known.name == hyperparameter)

    def copy(self) -> HyperParameters:
        """Return a copy in which new declarations get their defaults, for a `HyperModel` with `tunable=False`."""
        twin = HyperParameters(fixed({}))
        twin.values, twin.space = dict(self.values), list(self.space)
        twin._name_scopes, twin._conditions = list(self._name_scopes), list(self._conditions)
        return twin

    # -- inside

    def _full_name(self, name: str) -> str:
        return "/".join([*self._name_scopes, str(name)])

    def _numerical(
        self,
        kind: str,
        name: str,
        low: float,
        high: float,
        step: float | None,
        sampling: str | None,
        default: float | None,
        parent: _Parent,
    ) -> Value:
        number = int if kind == "Int" else float
        sampling = (sampling or "linear").lower()
        call = f"hp.{kind}({name!r})"
        for argument, value in (("min_value", low), ("max_value", high), ("step", step), ("default", default)):
            if kind == "Int" and value is not None and value != int(value):
                raise ValueError(f"{call}: {argument} must be a whole number, got {value}")
        if not low <= high:
            raise ValueError(f"{call}: min_value <= max_value must hold, but got {low} and {high}")
        if sampling not in ("linear", "log", "reverse_log"):
            raise ValueError(f"{call}: sampling must be linear, log or reverse_log, got {sampling!r}")
        if sampling != "linear" and low <= 0:
            raise ValueError(f"{call}: {sampling} sampling needs min_value > 0, got {low}")
        if step is not None and step <= (0 if sampling == "linear" else 1):
            raise ValueError(f"{call}: step must be above {0 if sampling == 'linear' else 1}, got {step}")
        if default is not None and not low <= default <= high:
            raise ValueError(f"{call}: the default {default} is outside {low} to {high}")
        return self._declare(
            kind,
            name,
            number(low if default is None else default),
            parent,
            low=number(low),
            high=number(high),
            step=None if step is None else number(step),
            sampling=sampling,
        )

    def _declare(self, kind: str, name: str, default: Value, parent: _Parent, **values: Any) -> Value:
        if parent[0]:
            with self.conditional_scope(parent[0], parent[1]):
                return self._declare(kind, name, default, (None, None), **values)
        declared = Hyperparameter(kind, self._full_name(name), default, conditions=tuple(self._conditions), **values)
        if any(parent == declared.name for parent, _ in declared.conditions):
            raise ValueError(f"hp: {declared.name!r} cannot be a condition of itself")
        if self._is_new(declared):
            self.space.append(declared)
        if not declared.is_active(self.values):
            return None
        if declared.name not in self.values:
            self.values[declared.name] = default if kind == "Fixed" else self._suggest(declared)
        return self.values[declared.name]

    def _is_new(self, declared: Hyperparameter) -> bool:
        """True for the first declaration of a name under these conditions; ValueError for another range."""
        new, active = True, declared.is_active(self.values)
        for known in self.space:
            if known.name != declared.name:
                continue
            same_conditions = known.conditions == declared.conditions
            if not same_conditions and not (active and known.is_active(self.values)):
                continue
            if replace(known, conditions=(), default=None) != replace(declared, conditions=(), default=None):
                raise ValueError(
                    f"hp: {declared.name!r} is declared twice with different ranges: "
                    f"first {known.describe()}, then {declared.describe()}"
                )
            new = new and not same_conditions
        return new


class OutsideRangeError(ValueError):
    """A fixed value is outside its hyperparameter's range."""


def fixed(values: Mapping[str, Value]) -> Suggest:
    """Replay fixed values; hyperparameters without one take their defaults."""

    def suggest(hyperparameter: Hyperparameter) -> Value:
        if hyperparameter.name not in values:
            return hyperparameter.default
        value = values[hyperparameter.name]
        if not hyperparameter.accepts(value):
            raise OutsideRangeError(f"{hyperparameter.name}={value!r} is outside {hyperparameter.describe()}")
        return value

    return suggest


def configurations(
    space: Iterable[Hyperparameter],
    limit: int,
    choices: Callable[[Hyperparameter], Sequence[Value] | None] = Hyperparameter.finite_values,
) -> list[dict[str, Value]] | None:
    """All distinct configurations of a space; None if it is continuous or has more than `limit`.

    Inactive hyperparameters are in no configuration, so they do not multiply their number.

    Args:
        space: Declared hyperparameters, parents before children.
        limit: Maximum number of configurations.
        choices: Returns the values to combine for a hyperparameter; None means too many.
    """
    partial: list[dict[str, Value]] = [{}]
    for hyperparameter in space:
        options = choices(hyperparameter)
        grown: list[dict[str, Value]] = []
        for values in partial:
            if hyperparameter.name in values or not hyperparameter.is_active(values):
                grown.append(values)
                continue
            if options is None or len(grown) + len(options) > limit:
                return None
            grown += [{**values, hyperparameter.name: option} for option in options]
        if len(grown) > limit:
            return None
        partial = grown
    return partial
