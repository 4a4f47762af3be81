"""The source files of the package and their syntax trees, parsed when a test first needs them."""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

import bench
from bench.search.spaces import BUILT_IN  # inside the package where it is installed

ROOT = Path(bench.__file__).parent

FILES = sorted(path for path in ROOT.rglob("*.py") if BUILT_IN not in path.parents)
FAMILIES = sorted(BUILT_IN.glob("*.py"))


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def place(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()
