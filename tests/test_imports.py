"""Imports run one way, no package hides a cycle, and what is heavy is imported where it is used."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import bench
from bench.search.spaces import BUILT_IN

ROOT = Path(bench.__file__).parent

LAYERS = [
    {"errors", "hyperparameters", "stats"},
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
    "records": {"config", "errors", "hyperparameters", "stats"},
    "cache": {"errors"},
    "data": {"cache", "config", "errors", "records", "stats"},
    "engines": {"config", "errors", "hyperparameters", "records"},
    "training": {"cache", "config", "data", "hyperparameters", "records", "errors"},
    "check": {"runs", "stats", "errors", "text"},
    "report": {
        "config",
        "errors",
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


def imported(path: Path, top_level_only: bool = False):
    """Names of modules that a file imports, `bench` ones as their first part."""
    tree = ast.parse(path.read_text())
    hidden = {
        each
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        for each in ast.walk(node)
    }
    for node in tree.body if top_level_only else ast.walk(tree):
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


FILES = [path for path in sorted(ROOT.rglob("*.py")) if path != ROOT / "__init__.py" and BUILT_IN not in path.parents]


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_run_one_way(path):
    module = module_of(path)
    place = next(number for number, layer in enumerate(LAYERS) if module in layer)
    allowed = set().union(*LAYERS[:place]) | {module}
    names = {name.split(".")[1] for name in imported(path) if name.startswith("bench.")}
    names -= set(bench.__all__)
    if path.parent.name == "workers":
        allowed |= {"training"}
    assert names <= allowed
    if module in ALONE:
        assert names <= ALONE[module] | {module}


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_heavy_packages_are_imported_where_they_are_used(path):
    if not {module_of(path), str(path.relative_to(ROOT))} & WHERE_HEAVY_IS_HOME:
        assert not {name.split(".")[0] for name in imported(path, top_level_only=True)} & HEAVY


@pytest.mark.parametrize("path", sorted(BUILT_IN.glob("*.py")), ids=lambda path: path.name)
def test_search_spaces_know_nothing_of_bench(path):
    own = {each.stem for each in BUILT_IN.glob("_*.py")}
    assert {name.split(".")[0] for name in imported(path)} <= {"keras", "numpy", "sklearn"} | own
