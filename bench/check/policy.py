"""The limits of the regression gate: the documented defaults, or those of a project's `bench.toml`."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from bench.errors import ConfigError, unknown
from bench.text import one_line

TABLE = "check"

MAX_DROP = 0.2
"""A larger `max_drop` is refused: most likely it is in points instead of a share."""


@dataclass(frozen=True)
class FamilyPolicy:
    """The limits of a family.

    Attributes:
        max_drop: A drop of accuracy of this share or more is a regression, if it is more than noise.
        max_slowdown: A ratio of median step times above this is a regression, if it is more than noise.
        min_accuracy: Floor of the accuracy; None or 0: no floor.
        max_parameters: Maximum number of parameters; None: no cap.
    """

    max_drop: float = 0.01
    max_slowdown: float = 1.25
    min_accuracy: float | None = None
    max_parameters: int | None = None


@dataclass(frozen=True)
class Policy:
    """The limits of the gate.

    Attributes:
        alpha: Significance level of the tests of accuracy, over all families together (Holm, 1979).
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

    def checked(self, families: Iterable[str]) -> Policy:
        """Return this policy after checking that it names only these families.

        Raises:
            ConfigError: It names another family: a limit that guards nothing is a mistake.
        """
        known = list(families)
        for name in self.families:
            if name not in known:
                where = f"{self.path or 'policy'}: [{TABLE}.families.{one_line(name)}]"
                raise ConfigError(f"{where}: {unknown('family', name, known)} (of the baseline and the run)")
        return self


RULES: Mapping[str, tuple[Any, str]] = {
    "alpha": (Annotated[float, Meta(gt=0, le=0.5)], "must be a number above 0 and at most 0.5, e.g. 0.05"),
    "max_drop": (
        Annotated[float, Meta(gt=0, le=MAX_DROP)],
        f"must be a share above 0 and at most {MAX_DROP}; one point is 0.01, half a point 0.005",
    ),
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
    return limits
