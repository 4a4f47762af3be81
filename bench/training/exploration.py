"""Builds of a family with other values than the defaults: the effect of each hyperparameter, the extreme models."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from bench.hyperparameters import Hyperparameter, Suggest, Value
from bench.training.declarations import TRAINER_READS, intended

MAX_VALUES = 8
"""Maximum number of choices of a hyperparameter for trying all of them; of more, the first and the last are tried."""

Values = Mapping[str, Value]

Sizes = tuple[int, int, int]
"""Numbers by which models are ordered, the first one counts most."""


@dataclass(frozen=True)
class Variant:
    """A model that was built.

    Attributes:
        values: Active hyperparameters.
        space: All hyperparameters that the build declared.
        identity: Equal for models that are the same, and trained in the same way.
        other_code: Classes of its layers that run code from outside Keras.
    """

    values: Values
    space: tuple[Hyperparameter, ...]
    identity: str
    parameters: int = 0
    trainable_parameters: int = 0
    macs: int = 0
    other_code: frozenset[str] = frozenset()


class NoBuild(Exception):
    """A configuration does not build; the message is the reason in one line, with the place in the family's file."""

    def __init__(self, message: str, path: str = "", line: int = 1) -> None:
        super().__init__(message)
        self.path, self.line = path, line


class OutOfTime(Exception):
    """The time for building is over."""


@dataclass
class _Effect:
    """Effect of a hyperparameter, seen when only it was varied.

    Attributes:
        base: The chosen values with which it was varied.
        changes: Whether a value changed the model, or which other hyperparameters are active.
        resizes: Whether a value changed the number of parameters, trainable ones or MACs.
        varied: Whether a second value was built.
    """

    base: Values
    changes: bool = False
    resizes: bool = False
    varied: bool = False


@dataclass
class Exploration:
    """Varies hyperparameters one at a time, then combines them to the smallest and the largest model.

    Args:
        build: Builds a configuration; values that it does not accept become the nearest. Raises NoBuild, or OutOfTime.

    Attributes:
        complete: False if the time was over before all values were tried.
        failures: For each hyperparameter, the first value that does not build, and the reason.
        conditional: Hyperparameters without an effect on the defaults, and a choice of another one with which they have
            one.
        unused: Hyperparameters that change nothing.
    """

    build: Callable[[Values], Variant]
    complete: bool = True
    failures: dict[str, tuple[Value, NoBuild]] = field(default_factory=dict)
    conditional: dict[str, tuple[str, Value]] = field(default_factory=dict)
    unused: list[str] = field(default_factory=list)
    _variants: dict[frozenset[tuple[str, Value]], Variant | NoBuild] = field(default_factory=dict)
    _effects: dict[str, _Effect] = field(default_factory=dict)

    def run(self) -> None:
        """Build the defaults and other values; NoBuild if the defaults do not build."""
        self.default = self._built({})
        try:
            self._vary()
        except OutOfTime:
            self.complete = False
        self._judge()
        try:
            for order in (_by_parameters, _by_macs):
                for sign in (1, -1):
                    self._climb(order, sign)
        except OutOfTime:
            self.complete = False

    @property
    def variants(self) -> list[Variant]:
        """Everything that was built."""
        return [variant for variant in self._variants.values() if isinstance(variant, Variant)]

    @property
    def space(self) -> list[Hyperparameter]:
        """All declared hyperparameters, in the order in which they were first seen."""
        return list(dict.fromkeys(declared for variant in self.variants for declared in variant.space))

    def corners(self) -> dict[str, Variant]:
        """Return the default, smallest and largest model, and those of the fewest and most MACs if these are others."""
        corners = {
            "smallest": min(self.variants, key=_by_parameters),
            "default": self.default,
            "largest": max(self.variants, key=_by_parameters),
        }
        fewest, most = (pick(self.variants, key=_by_macs) for pick in (min, max))
        if fewest.macs < corners["smallest"].macs:
            corners["fewest MACs"] = fewest
        if most.macs > corners["largest"].macs:
            corners["most MACs"] = most
        return corners

    def _built(self, values: Values) -> Variant:
        key = frozenset(values.items())
        if key not in self._variants:
            try:
                self._variants[key] = self.build(values)
            except NoBuild as error:
                self._variants[key] = error
        variant = self._variants[key]
        if isinstance(variant, NoBuild):
            raise variant
        return variant

    def _vary(self) -> None:
        """Vary each hyperparameter where it is first active."""
        waiting: deque[Values] = deque([{}])
        while waiting:
            chosen = waiting.popleft()
            base = self._built(chosen)
            new = [known for known in base.space if known.name in base.values and known.name not in self._effects]
            self._effects |= {known.name: _Effect(chosen) for known in new}
            for name, value in _in_turn(new, base):
                try:
                    variant = self._built({**chosen, name: value})
                except NoBuild as error:
                    self.failures.setdefault(name, (value, error))
                    continue
                effect = self._effects[name]
                effect.varied = True
                effect.changes |= _differ(base, variant, name)
                effect.resizes |= _by_parameters(base) != _by_parameters(variant)
                if not variant.values.keys() <= self._effects.keys():
                    waiting.append({**chosen, name: value})

    def _judge(self) -> None:
        """Decide which hyperparameters are unused; without time for all builds, only those with a misspelt name."""
        for name, effect in self._effects.items():
            if effect.varied and not effect.changes:
                try:
                    self._look_elsewhere(name, effect.base)
                except OutOfTime:
                    self.complete = False
                    if intended(name):
                        self.unused.append(name)

    def _look_elsewhere(self, name: str, chosen: Values) -> None:
        """Vary a hyperparameter without an effect together with one that has an effect."""
        for other, effect in list(self._effects.items()):
            if other == name or not effect.changes:
                continue
            declared = next(known for known in self.space if known.name == other)
            for value in _values(declared, self.space):
                if self._acts({**chosen, **effect.base, other: value}, name):
                    if declared.kind in ("Choice", "Boolean"):
                        self.conditional[name] = other, value
                    return
        self.unused.append(name)

    def _acts(self, chosen: Values, name: str) -> bool:
        try:
            base = self._built(chosen)
        except NoBuild:
            return False
        declared = [known for known in base.space if known.name == name and name in base.values]
        for value in [*_values(declared[0], base.space), *_middle(declared[0])] if declared else ():
            try:
                if value != base.values[name] and _differ(base, self._built({**chosen, name: value}), name):
                    return True
            except NoBuild:
                continue
        return False

    def _climb(self, order: Callable[[Variant], Sizes], sign: int) -> None:
        """Change one value at a time as long as the model becomes larger (`sign` 1) or smaller (-1)."""

        def key(variant: Variant) -> list[int]:
            return [sign * size for size in order(variant)]

        best = max(self.variants, key=key)
        improved = True
        while improved:
            improved = False
            for hyperparameter in best.space:
                name = hyperparameter.name
                if name not in best.values or not self._may_resize(name, best.space):
                    continue
                for value in _values(hyperparameter, best.space):
                    try:
                        variant = self._built({**best.values, name: value})
                    except NoBuild:
                        continue
                    if key(variant) > key(best):
                        best, improved = variant, True

    def _may_resize(self, name: str, space: Sequence[Hyperparameter]) -> bool:
        """Return whether a hyperparameter, or one that it activates, changes the size of the model."""
        children = [child.name for child in space for parent, _ in child.conditions if parent == name]
        effect = self._effects.get(name)
        return effect is None or effect.resizes or any(self._may_resize(child, space) for child in children)


def _by_parameters(variant: Variant) -> Sizes:
    return variant.parameters, variant.macs, variant.trainable_parameters


def _by_macs(variant: Variant) -> Sizes:
    return variant.macs, variant.parameters, variant.trainable_parameters


def _differ(base: Variant, variant: Variant, name: str) -> bool:
    return variant.identity != base.identity or variant.values.keys() - {name} != base.values.keys() - {name}


def _values(hyperparameter: Hyperparameter, space: Sequence[Hyperparameter]) -> list[Value]:
    """List the values to try: the bounds of numbers, all other choices, and values that activate hyperparameters."""
    values = hyperparameter.finite_values()
    if values is None:
        chosen: list[Value] = [hyperparameter.low, hyperparameter.high]
    elif hyperparameter.kind == "Choice" and all(type(value) in (int, float) for value in values):
        chosen = [min(values), max(values)]  # type: ignore[type-var]
    elif hyperparameter.kind in ("Choice", "Boolean", "Fixed") and len(values) <= MAX_VALUES:
        chosen = list(values)
    else:
        chosen = [values[0], values[-1]]
    conditions = [condition for other in space for condition in other.conditions]
    activating = [value for parent, allowed in conditions if parent == hyperparameter.name for value in allowed[:1]]
    return list(dict.fromkeys([*chosen, *filter(hyperparameter.accepts, activating)]))


def _in_turn(varied: Sequence[Hyperparameter], base: Variant) -> Iterator[tuple[str, Value]]:
    """Yield values to try other than the base's: first one for each hyperparameter, those of the trainer last."""
    others = {
        known.name: [value for value in _values(known, base.space) if value != base.values[known.name]]
        for known in sorted(varied, key=lambda known: known.name in TRAINER_READS)
    }
    for number in range(max(map(len, others.values()), default=0)):
        for name, values in others.items():
            if number < len(values):
                yield name, values[number]


def _middle(hyperparameter: Hyperparameter) -> list[Value]:
    values = hyperparameter.finite_values()
    if values is None:
        return [(hyperparameter.low + hyperparameter.high) / 2]
    return [values[len(values) // 2]]


def nearest(values: Values) -> Suggest:
    """Replay values; one outside its hyperparameter's range becomes the nearest bound, or else the default."""

    def suggest(hyperparameter: Hyperparameter) -> Value:
        value = values.get(hyperparameter.name, hyperparameter.default)
        if hyperparameter.kind in ("Int", "Float") and isinstance(value, int | float):
            value = type(hyperparameter.low)(min(max(value, hyperparameter.low), hyperparameter.high))
        return value if hyperparameter.accepts(value) else hyperparameter.default

    return suggest
