"""Check of declared hyperparameters without building a model: unreachable ones, misspelt ones, lines in a file."""

from __future__ import annotations

import ast
import difflib
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from bench.config import FITS
from bench.hyperparameters import Condition, Hyperparameter, HyperParameters, Value
from bench.training.augmentation import AUGMENTATIONS
from bench.training.imbalance import CLASS_WEIGHTS, SAMPLINGS

TRAINER_READS = (
    "learning_rate",
    "optimizer",
    "batch_size",
    "epochs",
    "augmentation",
    "class_weight",
    "sampling",
    "fit",
    "head_epochs",
    "fine_tune_learning_rate",
)
"""Hyperparameters that the trainer reads where a family declares them."""

CHOICES: Mapping[str, Collection[str]] = {
    "augmentation": AUGMENTATIONS,
    "class_weight": CLASS_WEIGHTS,
    "sampling": SAMPLINGS,
    "fit": FITS,
}
"""The values of those that have names as values."""

_ABBREVIATIONS = {"lr": "learning_rate", "rate": "learning_rate", "bs": "batch_size", "opt": "optimizer"}

_MIN_SIMILARITY = 0.61
"""Minimum `difflib` ratio of two names for suggesting one for the other."""

_METHODS = {"Int", "Float", "Choice", "Boolean", "Fixed"} & set(vars(HyperParameters))


def intended(name: str) -> str:
    """Return the hyperparameter of the trainer that a name probably means; "" if there is none."""
    last = name.rpartition("/")[2].lower()
    full = "_".join(_ABBREVIATIONS.get(word, word) for word in last.split("_"))
    return next(iter(difflib.get_close_matches(full, TRAINER_READS, n=1, cutoff=_MIN_SIMILARITY)), "")


def check_choices(space: Iterable[Hyperparameter]) -> None:
    """Raise ValueError if a family declares an unknown value of a hyperparameter in `CHOICES`."""
    for hyperparameter in space:
        if choices := CHOICES.get(hyperparameter.name):
            for value in hyperparameter.finite_values() or (hyperparameter.default,):
                if value not in choices:
                    raise ValueError(f"{hyperparameter.name} {value!r}: must be one of {', '.join(choices)}")


def unreachable(space: Sequence[Hyperparameter]) -> Iterator[tuple[Hyperparameter, str]]:
    """Yield the hyperparameters that no configuration activates, with the condition that cannot hold.

    Those that only depend on an unreachable one are left out.
    """
    barred: list[Hyperparameter] = []
    for hyperparameter in space:
        for parent, allowed in _required(hyperparameter, space):
            parents = [other for other in space if other.name == parent]
            if parents and all(other in barred for other in parents):
                barred.append(hyperparameter)
                break
            if not any(_can_be(other, value) for other in parents for value in allowed):
                barred.append(hyperparameter)
                ranges = " or ".join(dict.fromkeys(other.describe() for other in parents))
                wanted = " or ".join(map(repr, allowed)) or "two values at once"
                yield hyperparameter, f"it needs {parent} to be {wanted}, but {parent} is {ranges}"
                break


def _required(hyperparameter: Hyperparameter, space: Sequence[Hyperparameter]) -> list[Condition]:
    """List the conditions of a hyperparameter and of its ancestors, those on the same parent combined."""
    required: dict[str, tuple[Value, ...]] = {}
    waiting = list(hyperparameter.conditions)
    while waiting:
        parent, allowed = waiting.pop(0)
        required[parent] = tuple(value for value in allowed if value in required.get(parent, allowed))
        declared = [other for other in space if other.name == parent]
        if len(declared) == 1:
            waiting += declared[0].conditions
    return list(required.items())


def _can_be(hyperparameter: Hyperparameter, value: Value) -> bool:
    values = hyperparameter.finite_values()
    return hyperparameter.accepts(value) if values is None else value in values


def place_of(name: str, files: Iterable[Path]) -> tuple[Path, int] | None:
    """Find the file and line of the first call that declares a hyperparameter, e.g. `hp.Int(f"units_{number}", …)`."""
    last = name.rpartition("/")[2]
    for file in files:
        for node in ast.walk(ast.parse(file.read_bytes())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in _METHODS:
                named = [keyword.value for keyword in node.keywords if keyword.arg == "name"]
                if any(re.fullmatch(_pattern(argument), last) for argument in [*node.args[:1], *named]):
                    return file, node.lineno
    return None


def _pattern(argument: ast.expr) -> str:
    """Return a regular expression for the values of an expression that is text; "" for others."""
    match argument:
        case ast.Constant(value=str(text)):
            return re.escape(text)
        case ast.JoinedStr(values=parts):
            return "".join(_pattern(part) or ".+" for part in parts)
    return ""


def element(path: Path, name: str, number: int) -> tuple[Path, int] | None:
    """Find the line of an element of a list that a file binds at its top level, if the list is written out."""
    for node in ast.parse(path.read_bytes()).body:
        match node:
            case (
                ast.Assign(targets=[ast.Name(id=bound)], value=ast.List(elts=elements))
                | ast.AnnAssign(target=ast.Name(id=bound), value=ast.List(elts=elements))
            ) if bound == name and not any(isinstance(one, ast.Starred) for one in elements[: number + 1]):
                return (path, elements[number].lineno) if number < len(elements) else None
    return None
