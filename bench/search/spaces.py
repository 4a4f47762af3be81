"""Find search-space files and check them without importing them.

A family is a Python file with a function `build`; its name is the file's stem. A file with `OPTIONAL = True` is
searched only by its name or path. Files whose name begins with an underscore are shared parts. Checks that need Keras
(the shape of the output, the known configurations) run in a worker process before training, see `training.probe`.
"""

from __future__ import annotations

import ast
import hashlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import bench
from bench.config import RunConfig
from bench.errors import ConfigError, SpaceError, unknown
from bench.training.loading import BUILD, RULE, bindings

_INSTALLED = Path(bench.__file__).parent / "search_spaces"

BUILT_IN = _INSTALLED if _INSTALLED.is_dir() else _INSTALLED.parents[1] / "search_spaces"
"""Families that come with the suite: inside the installed package, beside it in the repository."""

LOCAL = Path("search_spaces")
"""Folder of the user's families, in the folder where the run is started."""

HERE = Path()
"""The working folder."""

ORDER = ("dummy", "metadata", "gradients", "cnn", "mobilenet", "mobilenet_v2", "vgg16", "vgg19")
"""The built-in families of the default run, cheapest first, in which order a small budget is spent."""

OPTIONAL = "OPTIONAL"


@dataclass(frozen=True)
class SearchSpace:
    """A search-space file that was read.

    Attributes:
        path: The file, absolute.
        title: First line of its docstring; "" without one.
        optional: Whether it is searched only by its name or path, not as part of a folder or by default.
    """

    name: str
    path: Path
    title: str
    optional: bool = False


def select(wanted: Sequence[str], start: Path = HERE) -> tuple[SearchSpace, ...]:
    """Read and check the files of the families to search.

    Args:
        wanted: Names of known families, files or folders; empty selects every known family that is not optional.
        start: The folder that relative paths start from.

    Raises:
        ConfigError: A name or path does not exist, or two files have the same family name.
        SpaceError: A file is broken; the message has the file and the line.
    """
    paths = [path for name in wanted for path in _paths(name, start)] if wanted else _without_optional(known(start))
    spaces = [read(path) for path in dict.fromkeys(paths)]
    for space in spaces:
        twin = next((other for other in spaces if other.name == space.name and other.path != space.path), None)
        if twin:
            raise ConfigError(f"two files for the family {space.name!r}: {space.path} and {twin.path}; rename one")
    return tuple(spaces)


def content_sha256(path: Path) -> str:
    """Hash a family's file and the shared parts next to it.

    Raises:
        SpaceError: A file cannot be read.
    """
    digest = hashlib.sha256()
    for file in (path, *sorted(path.parent.glob("_*.py"))):
        try:
            content = file.read_bytes()
        except OSError as error:
            raise SpaceError(file, 1, f"cannot be read: {error}") from error
        digest.update(f"{file.name} {len(content)}\n".encode() + content)
    return digest.hexdigest()


def known(start: Path = HERE) -> list[Path]:
    """Files of all families that can be named: built-in ones first, then those in `./search_spaces`."""
    built_in, local = _built_in(), _local(start)
    names = {path.stem for path in local}
    return [path for path in built_in if path.stem not in names] + local


def folders(config: RunConfig, paths: Iterable[Path]) -> list[Path]:
    """Folders of the user's files: those of families that are not built in, and that of the pictures."""
    data = Path(config.data)
    pictures = [data if data.is_dir() else data.parent] if data.exists() else []
    return [*dict.fromkeys(path.parent for path in paths if path.parent != BUILT_IN), *pictures]


def hidden() -> list[Path]:
    """Files in `./search_spaces` that replace a built-in family."""
    names = {path.stem for path in _files(BUILT_IN)}
    return [path for path in _local() if path.stem in names]


def _built_in() -> list[Path]:
    return sorted(_files(BUILT_IN), key=lambda path: ORDER.index(path.stem) if path.stem in ORDER else len(ORDER))


def _local(start: Path = HERE) -> list[Path]:
    built_in = _files(BUILT_IN)  # the same folder in the repository itself
    return [path for path in _files((start / LOCAL).absolute()) if path not in built_in]


def _files(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    return sorted(path.resolve() for path in folder.glob("*.py") if not path.name.startswith("_"))


def _paths(wanted: str, start: Path) -> list[Path]:
    by_name = {path.stem: path for path in known(start)}
    if wanted in by_name:
        return [by_name[wanted]]
    path = start / wanted
    if path.is_dir():
        files = _files(path)
        if not files:
            raise ConfigError(
                f"spaces {wanted!r}: the folder has no search-space file (a .py file with a function build)"
            )
        if not (default := _without_optional(files)):
            names = ", ".join(file.stem for file in files)
            raise ConfigError(f"spaces {wanted!r}: all families in the folder are optional, name their files: {names}")
        return default
    if path.is_file():
        return [path.resolve()]
    if path.suffix == ".py" or len(Path(wanted).parts) > 1:
        raise ConfigError(f"spaces {wanted!r}: no such file or folder")
    raise unknown("family", wanted, by_name)


def _without_optional(paths: Iterable[Path]) -> list[Path]:
    return [path for path in paths if not read(path).optional]


def read(path: Path) -> SearchSpace:
    """Read one file without importing it.

    Raises:
        SpaceError: It cannot be read or parsed, has no `build(hp)` or `build(hp, task)`, or another `OPTIONAL` than
            True or False.
    """
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]*", path.stem):
        raise SpaceError(path, 1, f"the file's name {path.stem!r} names the family: only letters, digits, - and _")
    try:
        tree = ast.parse(path.read_bytes(), filename=str(path))
    except SyntaxError as error:
        raise SpaceError(path, error.lineno or 1, f"SyntaxError: {error.msg}") from error
    except (OSError, ValueError) as error:
        raise SpaceError(path, 1, f"cannot be read: {error}") from error
    _check_build(path, tree)
    docstring = (ast.get_docstring(tree) or "").strip().splitlines()
    return SearchSpace(path.stem, path, docstring[0] if docstring else "", _is_optional(path, tree))


def _is_optional(path: Path, tree: ast.Module) -> bool:
    for node in tree.body:
        match node:
            case ast.Assign(targets=[ast.Name(id=name)], value=ast.Constant(value=bool(value))) if name == OPTIONAL:
                return value
            case ast.Assign(targets=[ast.Name(id=name)]) if name == OPTIONAL:
                raise SpaceError(path, node.lineno, f"{OPTIONAL} must be True or False, as the file is not imported")
    return False


def _check_build(path: Path, tree: ast.Module) -> None:
    """Find `build` and check the parameters of a plain function; other callables are checked when they are imported."""
    line = (names := dict(bindings(tree))).get(BUILD)
    if line is None and "*" not in names:
        raise SpaceError(path, 1, "there is no function `build(hp, task)` at the top level of the file")
    for node in tree.body:
        match node:
            case ast.FunctionDef(name="build", decorator_list=[]) if node.lineno == line:
                _check_signature(path, node)
            case ast.AsyncFunctionDef(name="build") if node.lineno == line:
                raise SpaceError(path, line, "build must be a plain function, not async")


def _check_signature(path: Path, build: ast.FunctionDef) -> None:
    arguments = build.args
    positional = [*arguments.posonlyargs, *arguments.args]
    required = len(positional) - len(arguments.defaults)
    keyword_only = [
        argument
        for argument, default in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)
        if not default and argument.arg != "task"
    ]
    fits = (required <= 2 and (positional or arguments.vararg)) and not keyword_only
    if not fits:
        names = ", ".join(argument.arg for argument in [*positional, *arguments.kwonlyargs])
        raise SpaceError(path, build.lineno, f"build({names}): {RULE}")
