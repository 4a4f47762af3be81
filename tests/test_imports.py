"""Imports run one way, no package hides a cycle, and what is heavy is imported where it is used."""

from __future__ import annotations

import ast
from pathlib import Path

import bench

from .house import FAMILIES, FILES, ROOT, place, tree

LAYERS = [
    {"errors", "hyperparameters", "stats"},
    {"metrics"},
    {"config"},
    {"records", "cache"},
    {"text"},
    {"data", "engines"},
    {"training", "runs"},
    {"workers", "check"},
    {"report"},
    {"search"},
    {"runner", "deploy", "testing"},
    {"cli"},
    {"__main__"},
]
"""A module imports from layers before its own, and from its own package."""

ALONE = {
    "hyperparameters": set(),
    "metrics": {"errors"},
    "records": {"config", "errors", "hyperparameters", "metrics", "stats"},
    "cache": {"errors"},
    "data": {"cache", "config", "errors", "records", "stats"},
    "engines": {"config", "errors", "hyperparameters", "records"},
    "training": {"cache", "config", "data", "hyperparameters", "records", "errors", "metrics", "stats"},
    "check": {"runs", "stats", "errors", "text", "metrics"},
    "report": {
        "config",
        "errors",
        "metrics",
        "records",
        "stats",
        "runs",
        "check",
        "text",
        "cache",
    },  # draws: neither trains nor reads pictures
}
"""Stricter than the layers: all that these import."""

HEAVY = {"tensorflow", "keras", "keras_tuner", "optuna", "pandas", "plotly", "sklearn", "scipy", "jinja2", "psutil"}
WHERE_HEAVY_IS_HOME = {"training", "engines", "report/page.py"}


def is_for_types(test: ast.expr) -> bool:
    return isinstance(test, ast.Name) and test.id == "TYPE_CHECKING"


def imported(path: Path, top_level_only: bool = False):
    """Names of modules that a file imports, `bench` ones as their first part."""
    guards = (node for node in ast.walk(tree(path)) if isinstance(node, ast.If) and is_for_types(node.test))
    hidden = {inner for guard in guards for inner in ast.walk(guard)}
    for node in tree(path).body if top_level_only else ast.walk(tree(path)):
        if node in hidden:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module == "bench":
            yield from (f"bench.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or ""


def module_of(path: Path) -> str:
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


def wrong_imports(path: Path) -> set[str]:
    """Modules of `bench` that a file imports and may not."""
    module = module_of(path)
    number = next(number for number, layer in enumerate(LAYERS) if module in layer)
    allowed = set().union(*LAYERS[:number]) | ({"training"} if path.parent.name == "workers" else set())
    names = {name.split(".")[1] for name in imported(path) if name.startswith("bench.")}
    return names - {*bench.__all__, module} - (allowed & ALONE.get(module, allowed))


def test_imports_run_one_way():
    wrong = {place(path): wrong_imports(path) for path in FILES if path != ROOT / "__init__.py"}
    assert {file: modules for file, modules in wrong.items() if modules} == {}


def test_heavy_packages_are_imported_where_they_are_used():
    light = [path for path in FILES if not {module_of(path), place(path)} & WHERE_HEAVY_IS_HOME]
    names = {place(path): {name.split(".")[0] for name in imported(path, top_level_only=True)} for path in light}
    assert {file: heavy for file, modules in names.items() if (heavy := modules & HEAVY)} == {}


def test_search_spaces_know_nothing_of_bench():
    shared = {path.stem for path in FAMILIES if path.stem.startswith("_")}
    for path in FAMILIES:
        assert {name.split(".")[0] for name in imported(path)} <= {"keras", "numpy", "sklearn"} | shared, path.name
