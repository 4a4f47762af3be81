"""A search-space file, imported where a trial runs: its `build`, called as its signature asks."""

from __future__ import annotations

import importlib.util
import inspect
import sys
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.errors import SpaceError
from bench.hyperparameters import HyperParameters, Value


@dataclass(frozen=True)
class Family:
    """An imported search-space file.

    Attributes:
        path: The file.
        line: Where `build` is defined.
        build: Takes `hp` and, where it wants it, `task`.
        known: Its `KNOWN_CONFIGURATIONS`.
    """

    path: Path
    line: int
    build: Callable[..., Any]
    known: tuple[Mapping[str, Value], ...]

    def model(self, hp: HyperParameters, task: Any) -> Any:
        """What `build` returns for these hyperparameters."""
        takes = inspect.signature(self.build).parameters
        return self.build(hp, task) if len(takes) > 1 else self.build(hp)


def load(path: Path) -> Family:
    """Imports a search-space file; its folder is searched first for what it imports.

    Raises:
        SpaceError: Importing it fails; names the line in the file.
    """
    sys.path.insert(0, str(path.parent))
    spec = importlib.util.spec_from_file_location(f"search_space_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise space_error(path, error) from error
    build = module.build
    line = inspect.unwrap(build).__code__.co_firstlineno if hasattr(inspect.unwrap(build), "__code__") else 1
    return Family(path, line, build, tuple(getattr(module, "KNOWN_CONFIGURATIONS", ())))


def space_error(path: Path, error: BaseException) -> SpaceError:
    """An exception from a search-space file as one line with the place in it (or in its folder) that raised."""
    if isinstance(error, SyntaxError) and error.filename:
        return SpaceError(Path(error.filename), error.lineno or 1, f"SyntaxError: {error.msg}")
    where, line = path, 1
    for frame in traceback.extract_tb(error.__traceback__):
        if Path(frame.filename).parent == path.parent:
            where, line = Path(frame.filename), frame.lineno or 1
    message = " ".join(str(error).split())
    return SpaceError(where, line, f"{type(error).__name__}: {message}")
