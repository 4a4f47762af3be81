"""The limits of the regression gate: the documented defaults, or those of a project's `bench.toml`."""

from __future__ import annotations

import math
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from bench.errors import ConfigError, unknown
from bench.metrics._metric import Metric
from bench.text import one_line

TABLE = "check"

MAX_DROP = 0.2
"""A larger `max_drop` is refused: most likely it is in points instead of a share."""


USUAL_DROP, USUAL_SHARE = 0.01, 0.05
"""The default of `max_drop`: of a metric with a range, and as a share of the baseline's value of one without."""


@dataclass(frozen=True)
class FamilyPolicy:
    """The limits of a family.

    Attributes:
        max_drop: A change for the worse of the run's metric by this or more is a regression, if it is more than noise:
            0.01 is one point of a share. Of a metric without a range (log loss, cost) it is a share of the baseline's
            value. None: the default of the metric.
        max_slowdown: A ratio of median step times above this is a regression, if it is more than noise.
        min_accuracy: Floor of the accuracy; None or 0: no floor.
        max_parameters: Maximum number of parameters; None: no cap.
        max_drop_by_class: A drop of the recall of a class by this share or more is a regression, if it is more than
            noise; None: the classes are not judged.
        worst_value: The run's metric must not be worse than this; None: it may.
    """

    max_drop: float | None = None
    max_slowdown: float = 1.25
    min_accuracy: float | None = None
    max_parameters: int | None = None
    max_drop_by_class: float | None = None
    worst_value: float | None = None

    def of_metric(self, metric: Metric) -> FamilyPolicy:
        """The limits with the `max_drop` of the metric, if none was set."""
        usual = USUAL_DROP if math.isfinite(metric.span) else USUAL_SHARE
        return replace(self, max_drop=usual) if self.max_drop is None else self

    def limit(self, metric: Metric, before: float) -> float:
        """The `max_drop` in the unit of the metric, whose value in the baseline is `before`."""
        limit = self.of_metric(metric).max_drop or 0.0
        return limit if math.isfinite(metric.span) else limit * abs(before)


@dataclass(frozen=True)
class Policy:
    """The limits of the gate.

    Attributes:
        alpha: Significance level of the tests of the metric, over all families together, and of those of the recalls,
            over all classes and families (Holm, 1979).
        usual: Limits of families without an entry in `families`.
        families: Limits by family.
        path: The policy's file; None: the documented defaults.
    """

    alpha: float = 0.05
    usual: FamilyPolicy = FamilyPolicy()
    families: Mapping[str, FamilyPolicy] = field(default_factory=dict)
    path: Path | None = None

    def of(self, family: str) -> FamilyPolicy:
        """The limits of a family."""
        return self.families.get(family, self.usual)

    @property
    def judges_classes(self) -> bool:
        """True if the recall of the classes of some family is judged."""
        return any(limits.max_drop_by_class for limits in (self.usual, *self.families.values()))

    def checked(self, families: Iterable[str], metric: Metric) -> Policy:
        """Return this policy with the `max_drop` of the metric, after checking that it names only these families.

        Raises:
            ConfigError: It names another family: a limit that guards nothing is a mistake.
        """
        known = list(families)
        for name in self.families:
            if name not in known:
                where = f"{self.path or 'policy'}: [{TABLE}.families.{one_line(name)}]"
                raise ConfigError(f"{where}: {unknown('family', name, known)} (of the baseline and the run)")
        limits = {name: limits.of_metric(metric) for name, limits in self.families.items()}
        return replace(self, usual=self.usual.of_metric(metric), families=limits)


RULES: Mapping[str, tuple[Any, str]] = {
    "alpha": (Annotated[float, Meta(gt=0, le=0.5)], "must be a number above 0 and at most 0.5, e.g. 0.05"),
    "max_drop": (
        Annotated[float, Meta(gt=0, le=MAX_DROP)],
        f"must be a share above 0 and at most {MAX_DROP}; one point is 0.01, half a point 0.005",
    ),
    "max_drop_by_class": (
        Annotated[float, Meta(gt=0, le=1)],
        "must be a share above 0 and at most 1; ten points of recall are 0.1",
    ),
    "worst_value": (float, "must be a number, in the unit of the run's metric, e.g. 0.8 of macro_f1"),
    "max_slowdown": (
        Annotated[float, Meta(gt=1, le=100)],
        "must be a ratio above 1 and at most 100; 25 % slower is 1.25",
    ),
    "min_accuracy": (Annotated[float, Meta(ge=0, le=1)], "must be a share, 0 to 1; 90 % is 0.9, 0 means no floor"),
    "max_parameters": (Annotated[int, Meta(ge=1)], "must be a whole number, at least 1, e.g. 20_000_000"),
}
"""Type and rule of every key; `alpha` cannot be set per family."""


def read(path: Path) -> Policy:
    """Read a policy.

    Raises:
        ConfigError: The file is missing or not TOML, or a key or value is wrong; the message has the file, the key, the
            value, the rule and the choices.
    """
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise ConfigError(f"{path}: the policy cannot be read: {error.strerror}") from None
    except (ValueError, RecursionError) as error:  # neither TOML nor UTF-8, or nested too deeply
        raise ConfigError(f"{path}: the policy is not TOML: {error}") from None
    if others := data.keys() - {TABLE}:
        raise ConfigError(f"{path}: {unknown('table', min(others), [TABLE])}")
    table = _table(data.get(TABLE, {}), f"{path}: [{TABLE}]")
    tables = _table(table.pop("families", {}), f"{path}: [{TABLE}.families]")
    common = _limits(table, f"{path}: [{TABLE}]", [*RULES])
    alpha = common.pop("alpha", Policy.alpha)
    usual = FamilyPolicy(**common)
    families = {}
    for name, value in tables.items():
        where = f"{path}: [{TABLE}.families.{one_line(name)}]"
        families[name] = replace(usual, **_limits(_table(value, where), where, [*RULES][1:]))
    return Policy(alpha, usual, families, path)


def _table(value: Any, where: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ConfigError(f"{where} must be a table, but is {value!r}")
    return dict(value)


def _limits(table: Mapping[str, Any], where: str, keys: Sequence[str]) -> dict[str, Any]:
    """Check every key and value."""
    limits = {}
    for key, value in table.items():
        if key not in keys:
            raise ConfigError(f"{where}: {unknown('key', key, keys)}")
        kind, rule = RULES[key]
        try:
            limits[key] = msgspec.convert(value, kind)
        except msgspec.ValidationError:
            raise ConfigError(f"{where} {key} = {value!r}: {rule}") from None
        if not math.isfinite(limits[key]):
            raise ConfigError(f"{where} {key} = {value!r}: {rule}")
    return limits
