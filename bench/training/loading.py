"""Import of a search-space file where a trial runs, and the call of its `build`."""

from __future__ import annotations

import importlib.util
import inspect
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from bench.errors import SpaceError
from bench.hyperparameters import HyperParameters, Value

KNOWN = "KNOWN_CONFIGURATIONS"

_POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


@dataclass(frozen=True)
class LoadedFamily:
    """An imported search-space file.

    Attributes:
        line: Line on which `build` is defined.
        build: Takes `hp` and, where it wants it, `task`.
        known: Its `KNOWN_CONFIGURATIONS`.
        neighbours: Modules of its folder that it has imported, by name.
    """

    path: Path
    line: int
    build: Callable[..., Any]
    known: tuple[Mapping[str, Value], ...]
    neighbours: dict[str, ModuleType]

    def model(self, hp: HyperParameters, task: Any) -> Any:
        """Build a model; a parameter called `task`, else a second one without a default, gets the task."""
        parameters = inspect.signature(self.build).parameters
        second = [parameter for parameter in list(parameters.values())[1:2] if parameter.kind in _POSITIONAL]
        with _importing_from(self.path.parent, self.neighbours):
            if "task" in parameters:
                return self.build(hp, task=task)
            if second and second[0].default is inspect.Parameter.empty:
                return self.build(hp, task)
            return self.build(hp)


def load(path: Path) -> LoadedFamily:
    """Import a search-space file anew, and whatever it imports of its folder; SpaceError where that fails."""
    spec = importlib.util.spec_from_file_location(f"search_space_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    neighbours: dict[str, ModuleType] = {}
    try:
        with _importing_from(path.parent, neighbours):
            spec.loader.exec_module(module)
    except Exception as error:
        raise space_error(path, error) from error
    code = getattr(inspect.unwrap(module.build), "__code__", None)
    known = getattr(module, KNOWN, [])
    if not isinstance(known, list | tuple) or not all(isinstance(values, Mapping) for values in known):
        raise SpaceError(path, line_of(path, KNOWN), f"{KNOWN} must be a list of dicts")
    return LoadedFamily(path, code.co_firstlineno if code else 1, module.build, tuple(known), neighbours)


def line_of(path: Path, name: str) -> int:
    """Number of the line that begins with a name; 1 if there is none."""
    lines = path.read_text(encoding="utf-8").splitlines()
    return next((number for number, line in enumerate(lines, 1) if line.startswith(name)), 1)


@contextmanager
def _importing_from(folder: Path, neighbours: dict[str, ModuleType]) -> Iterator[None]:
    """Let a family's code import the files beside it, which no other family sees; add them to its neighbours."""
    names = {path.stem for path in folder.glob("_*.py")}
    hidden = {name: sys.modules.pop(name) for name in names if name in sys.modules}
    before = set(sys.modules)
    sys.modules.update(neighbours)
    sys.path.insert(0, str(folder))
    importlib.invalidate_caches()  # a file that has just been written is found
    try:
        yield
    finally:
        sys.path.remove(str(folder))
        for name in set(sys.modules) - before:
            file = getattr(sys.modules[name], "__file__", None)
            if file and Path(file).is_relative_to(folder):
                neighbours[name] = sys.modules.pop(name)
        sys.modules.update(hidden)


def space_error(path: Path, error: BaseException) -> SpaceError:
    """Describe an exception of a search-space file in one line, with the place in its folder that raised it."""
    if isinstance(error, SyntaxError) and error.filename:
        return SpaceError(Path(error.filename), error.lineno or 1, f"SyntaxError: {error.msg}")
    place, line = path, 1
    for frame in traceback.extract_tb(error.__traceback__):
        if Path(frame.filename).parent == path.parent:
            place, line = Path(frame.filename), frame.lineno or 1
    return SpaceError(place, line, f"{type(error).__name__}: {' '.join(str(error).split())}")
