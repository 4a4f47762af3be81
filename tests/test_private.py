"""Private members of Keras, Keras Tuner and Optuna: used in one file a library, and there in the installed version."""

from __future__ import annotations

import ast
import re
import tomllib
from collections.abc import Iterator
from functools import cache
from importlib.metadata import version
from pathlib import Path

import pytest

from .house import FILES, ROOT, place, tree

HOMES = {"keras": "training/keras_private.py", "keras-tuner": "engines/keras_tuner.py", "optuna": "engines/optuna.py"}
"""The file of each library that may use its private members, and names the versions that it was tested with."""

OF_PYTHON = {"_config", "_exit", "_forkserver", "_forkserver_pid", "_value_"}


def is_private(name: object) -> bool:
    return isinstance(name, str) and name.startswith("_") and not name.startswith("__")


def is_of_this_object(node: ast.Attribute) -> bool:
    return isinstance(node.value, ast.Name) and node.value.id in ("self", "cls")


def defined(file: ast.Module) -> Iterator[str]:
    """Private names that a file gives its own classes, functions, attributes and variables."""
    for node in ast.walk(file):
        match node:
            case ast.FunctionDef(name=name) | ast.ClassDef(name=name) | ast.Name(id=name, ctx=ast.Store()):
                yield name
            case ast.Attribute(attr=name, ctx=ast.Store()) if is_of_this_object(node):
                yield name


@cache
def ours() -> set[str]:
    return {name for path in FILES for name in defined(tree(path))}


def foreign(file: ast.Module) -> set[str]:
    """Private members of other packages that a file uses."""
    names: set[object] = set()
    for node in ast.walk(file):
        match node:
            case ast.Attribute(attr=name) if not is_of_this_object(node):
                names.add(name)
            case ast.Call(func=ast.Name(id="getattr" | "hasattr" | "setattr"), args=[_, ast.Constant(name), *_]):
                names.add(name)
            case ast.ImportFrom(module=str(module), names=imported) if not module.startswith("bench"):
                names |= {alias.name for alias in imported}
    return {str(name) for name in names if is_private(name)} - ours() - OF_PYTHON


def internal_modules(file: ast.Module) -> set[str]:
    modules = {node.module or "" for node in ast.walk(file) if isinstance(node, ast.ImportFrom)}
    modules |= {alias.name for node in ast.walk(file) if isinstance(node, ast.Import) for alias in node.names}
    return {module for module in modules if re.match(r"keras\.src|keras_tuner\.src|optuna\.(.*\.)?_", module)}


def home(library: str) -> ast.Module:
    return tree(ROOT / HOMES[library])


def test_private_members_are_used_in_one_file_a_library():
    others = {place(path): tree(path) for path in FILES if place(path) not in HOMES.values()}
    misplaced = {name: foreign(file) | internal_modules(file) for name, file in others.items()}
    assert {name: members for name, members in misplaced.items() if members} == {}, f"they belong in one of {HOMES}"


@pytest.mark.parametrize("library", HOMES)
def test_each_file_names_the_lowest_version_that_may_be_installed(library):
    project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    (lowest,) = [match[1] for line in project["dependencies"] if (match := re.match(rf"{library}>=([\d.]+)", line))]
    tested = re.search(r"Tested with [A-Z][A-Za-z ]+ ([\d.]*\d)", ast.get_docstring(home(library)) or "")
    assert tested
    assert f"{tested[1]}.".startswith(f"{lowest}.")


def check(library: str, names: set[str], owners: list[object]) -> None:
    assert names
    missing = {name for name in names if not any(hasattr(owner, name) for owner in owners)}
    assert not missing, f"{library} {version(library)} has no {missing}: bench/{HOMES[library]} was tested with others"


@pytest.mark.slow
def test_keras_has_the_members_that_are_used():
    import keras

    inputs = keras.Input((4,))
    model = keras.Model(inputs, keras.layers.Dropout(0.5)(keras.layers.Lambda(lambda x: x)(inputs)))
    model.compile(loss="mse")
    check("keras", foreign(home("keras")), [model, model.outputs[0], *model.layers])


@pytest.mark.slow
def test_keras_tuner_has_the_members_that_are_used():
    from keras_tuner import Objective, oracles

    makers = (oracles.BayesianOptimizationOracle, oracles.HyperbandOracle)
    made = [make(objective=Objective("accuracy", "max")) for make in makers]
    check("keras-tuner", foreign(home("keras-tuner")), made)


def test_optuna_has_the_members_that_are_overridden():
    """The storage would get pickles again if one had another name."""
    import optuna

    classes = [node for node in ast.walk(home("optuna")) if isinstance(node, ast.ClassDef)]
    (sampler,) = [node for node in classes if "CmaEsSampler" in node.name]
    overridden = {node.name for node in sampler.body if isinstance(node, ast.FunctionDef) and is_private(node.name)}
    check("optuna", overridden, [optuna.samplers.CmaEsSampler])
