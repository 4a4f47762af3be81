"""Import of a search-space file in a trial's process, and the call of its `build`."""

from __future__ import annotations

import ast
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

from bench.errors import SpaceError, one_line
from bench.hyperparameters import HyperParameters, Value

BUILD = "build"
RULE = "must be build(hp) or build(hp, task)"
KNOWN = "KNOWN_CONFIGURATIONS"
INPUT = "INPUT"
PIXELS, METADATA = INPUTS = ("pixels", "metadata")
"""Input of a family's models: pictures, or the features of `data.metadata`."""

_POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


@dataclass(frozen=True)
class LoadedFamily:
    """An imported search-space file.

    Attributes:
        line: Line on which `build` is defined, assigned or imported.
        build: Takes `hp` and `task`; passes `task` on if the file's function has a parameter for it.
        known: The file's `KNOWN_CONFIGURATIONS`.
        input: The file's `INPUT`, one of `INPUTS`; pixels if it has none.
        neighbours: Imported modules from the same folder, by name.
        names: The file's global names.
    """

    path: Path
    line: int
    build: Callable[[HyperParameters, Any], Any]
    known: tuple[Mapping[str, Value], ...]
    input: str
    neighbours: dict[str, ModuleType]
    names: dict[str, Any]

    def model(self, hp: HyperParameters, task: Any) -> Any:
        """Build a model. Weights files that exist are taken whatever their checksum, and never deleted."""
        from bench.training.pretrained import existing_files_kept

        with _importing_from(self.path.parent, self.neighbours), existing_files_kept(self.names):
            return self.build(hp, task)


def load(path: Path) -> LoadedFamily:
    """Import a search-space file again, with the modules that it imports from its folder; SpaceError if that fails."""
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
    line = line_of(path, BUILD)
    try:
        build = _function(getattr(module, BUILD, None))
    except (TypeError, ValueError) as error:  # ValueError: a builtin without a signature
        raise SpaceError(path, line, str(error)) from error
    known = getattr(module, KNOWN, [])
    if not isinstance(known, list | tuple) or not all(isinstance(values, Mapping) for values in known):
        raise SpaceError(path, line_of(path, KNOWN), f"{KNOWN} must be a list of dicts")
    wanted = getattr(module, INPUT, PIXELS)
    if wanted not in INPUTS:
        raise SpaceError(path, line_of(path, INPUT), f"{INPUT} is {wanted!r}: must be one of {', '.join(INPUTS)}")
    return LoadedFamily(path, line, build, tuple(known), wanted, neighbours, vars(module))


def _function(build: Any) -> Callable[[HyperParameters, Any], Any]:
    """Check a file's `build`; if it is an object such as a `keras_tuner.HyperModel`, use its `build` method.

    Raises:
        TypeError: It does not take `hp`, or the object trains its models itself.
    """
    owner = getattr(build, "__self__", None) if callable(build) else build
    method: Any = getattr(owner, BUILD, None)
    is_method = callable(method) and build in (owner, method)
    trains = getattr(type(owner), "fit", None) if is_method else None
    if trains and not trains.__module__.startswith("keras_tuner."):
        raise TypeError(
            f"{type(owner).__name__}.fit would not be called: models are trained by the suite; declare batch_size, "
            "epochs and the like in build, and leave fit out"
        )
    function: Callable[..., Any] = method if is_method else build
    if not callable(function) or inspect.isclass(function):
        raise TypeError(f"build is {build!r:.100}: {RULE}")
    signature = inspect.signature(function)
    if is_method and BUILD in vars(owner) and (class_build := getattr(type(owner), BUILD, None)):
        signature = inspect.signature(class_build.__get__(owner))  # a HyperModel wraps it as (hp, *args, **kwargs)
    try:
        arguments, named = _arguments(signature, None, None)
        signature.bind(*arguments, **named)
    except TypeError:
        raise TypeError(f"build{signature}: {RULE}") from None

    def call(hp: HyperParameters, task: Any) -> Any:
        arguments, named = _arguments(signature, hp, task)
        return function(*arguments, **named)

    return call


def _arguments(signature: inspect.Signature, hp: Any, task: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Return the arguments for `build`: the task goes to a parameter `task`, else to a second one without default."""
    second = [parameter for parameter in list(signature.parameters.values())[1:2] if parameter.kind in _POSITIONAL]
    if "task" in signature.parameters:
        return (hp,), {"task": task}
    if second and second[0].default is inspect.Parameter.empty:
        return (hp, task), {}
    return (hp,), {}


def bindings(node: ast.AST) -> Iterator[tuple[str, int]]:
    """Yield the names that a file binds at its top level, in any statement, with their lines; "*" for a star import."""
    match node:
        case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
            yield node.name, node.lineno
            return
        case ast.Lambda() | ast.ListComp() | ast.SetComp() | ast.DictComp() | ast.GeneratorExp():
            return
        case ast.Import() | ast.ImportFrom():
            yield from ((alias.asname or alias.name.partition(".")[0], node.lineno) for alias in node.names)
        case ast.Name(ctx=ast.Store()):
            yield node.id, node.lineno
    for child in ast.iter_child_nodes(node):
        yield from bindings(child)


def line_of(path: Path, name: str) -> int:
    """Return the number of the line that binds a name at the top level of a file; 1 if there is none."""
    return dict(bindings(ast.parse(path.read_bytes()))).get(name, 1)


@contextmanager
def _importing_from(folder: Path, neighbours: dict[str, ModuleType]) -> Iterator[None]:
    """Let a family's code import files from its folder, invisible to other families; add them to its neighbours."""
    names = {path.stem for path in folder.glob("_*.py")}
    hidden = {name: sys.modules.pop(name) for name in names if name in sys.modules}
    before = set(sys.modules)
    sys.modules.update(neighbours)
    sys.path.insert(0, str(folder))
    importlib.invalidate_caches()  # otherwise Python may not find a file that was just written
    try:
        yield
    finally:
        sys.path.remove(str(folder))
        for name in set(sys.modules) - before:
            file = getattr(sys.modules[name], "__file__", None)
            if file and Path(file).is_relative_to(folder):
                neighbours[name] = sys.modules.pop(name)
        sys.modules.update(hidden)


def space_error(path: Path, error: BaseException, line: int = 1) -> SpaceError:
    """Describe an exception from a search-space file in one line, with the file and line in its folder that raised it.

    If only code outside the folder raised it, the place is `line` of the search-space file.
    """
    if isinstance(error, SyntaxError) and error.filename:
        return SpaceError(Path(error.filename), error.lineno or 1, f"SyntaxError: {error.msg}")
    place = path
    for frame in traceback.extract_tb(error.__traceback__):
        if Path(frame.filename).parent == path.parent:
            place, line = Path(frame.filename), frame.lineno or 1
    return SpaceError(place, line, one_line(error))
