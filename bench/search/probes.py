"""Results of probes that are kept between runs, because building every family takes most of a run's preparation.

A result is used again only if nothing has changed that it depends on: the job, the family's file and the shared parts
beside it, the code of the suite, the installed packages, Keras' settings, the machine, and the weights files. A family
whose code could depend on anything else is probed in every run: one that imports more than `PURE` and shared parts, or
that uses a name which may read a file. So is one whose probe had something to warn of, or was not complete.
"""

from __future__ import annotations

import ast
import contextlib
import hashlib
import json
import os
import platform
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import bench
from bench.cache import directory
from bench.cache.files import write_text
from bench.data import machine
from bench.errors import ConfigError
from bench.records import from_data, to_data
from bench.search import spaces
from bench.training.loading import KNOWN
from bench.training.messages import ProbeJob, ProbeResult

PURE = frozenset("__future__ collections dataclasses functools itertools keras math numpy sklearn typing".split())
"""Packages that a family may import; what it does with them depends on nothing outside, but for `READING` names."""

READING = re.compile(
    "open|load|read|file|path|dir|fetch|dataset|memmap|weights|environ|eval|exec|import|sys|time|now|TFSM|hub:", re.I
)
"""Parts of names with which code can read something, or depend on more than its arguments."""

EXPECTED = frozenset({KNOWN})
"""Names that match `READING` and read nothing."""

TRANSIENT = ("id", "timeout_s", "cores", "proposals")
"""Fields of a job that do not change its result; `ProbeEntry` has the proposals."""


@dataclass(frozen=True)
class ProbeEntry:
    """A kept result.

    Attributes:
        engine, proposals: The engine that proposed configurations, and the number it was asked for.
        files: Size in bytes and time of the last change in ns of each weights file; None for those that are missing.
    """

    result: ProbeResult
    engine: str
    proposals: int
    files: Mapping[str, tuple[int, int] | None]


class ProbeCache:
    """The kept results.

    Args:
        root: The cache folder; None keeps nothing.
        engine: The engine whose proposals the probes count.
    """

    def __init__(self, root: Path | None, engine: str) -> None:
        self._root, self._engine = root, engine

    def find(self, job: ProbeJob) -> ProbeResult | None:
        """Return the result of an equal job; None if there is none, or if it is damaged."""
        if (path := self._path(job)) is None:
            return None
        try:
            entry = from_data(ProbeEntry, json.loads(path.read_bytes()))
        except (OSError, ValueError):
            return None
        enough = job.proposals <= entry.proposals and (not job.proposals or entry.engine == self._engine)
        unchanged = all(_status(name) == status for name, status in entry.files.items())
        if not (enough and unchanged):
            return None
        directory.touch([path.parent, path])
        return entry.result

    def keep(self, job: ProbeJob, result: ProbeResult) -> None:
        """Keep a result that is complete and without warnings."""
        path = self._path(job)
        if path is None or self._root is None or result.warnings or None in result.works or not _is_measured(result):
            return
        files = {file.path: _status(file.path) for file in result.weights_files if file.path}
        text = json.dumps(to_data(ProbeEntry(result, self._engine, job.proposals, files)))
        with contextlib.suppress(OSError, ConfigError):  # no folder for the cache, a full disk: it is probed again
            directory.kind_folder("probed", self._root)
            write_text(path, text)

    def _path(self, job: ProbeJob) -> Path | None:
        """Return the file of a job's result; None for a family whose result may depend on more than the key says."""
        file = Path(job.path)
        if self._root is None or not is_pure(file):
            return None
        settings = {name: value for name, value in to_data(job).items() if name not in TRANSIENT}
        key = [settings, spaces.content_sha256(file), _suite_sha256(), *_environment()]
        digest = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()
        return self._root / "probed" / file.stem / f"{digest[:32]}.json"


def is_pure(path: Path) -> bool:
    """Return whether a family's code depends only on its file, the shared parts beside it and installed packages."""
    folder = path.parent
    shared = {file.stem for file in folder.glob("_*.py")}
    try:
        trees = [ast.parse(file.read_bytes()) for file in (path, *sorted(folder.glob("_*.py")))]
    except (OSError, SyntaxError, ValueError):
        return False
    packages = {package for tree in trees for package in _packages(tree)} - shared
    shadowed = any((folder / name).exists() or (folder / f"{name}.py").exists() for name in packages)
    names = {name for tree in trees for name in _names(tree)} - EXPECTED
    return packages <= PURE and not shadowed and not any(map(READING.search, names))


def _packages(tree: ast.AST) -> Iterator[str]:
    """Yield the packages that a file imports; "." for a relative import."""
    for node in ast.walk(tree):
        match node:
            case ast.Import():
                yield from (alias.name.partition(".")[0] for alias in node.names)
            case ast.ImportFrom():
                yield "." if node.level else str(node.module).partition(".")[0]


def _names(tree: ast.AST) -> Iterator[str]:
    """Yield all names that a file uses: variables, attributes, arguments, imports, and texts that look like one."""
    for node in ast.walk(tree):
        match node:
            case ast.Name(id=name) | ast.Attribute(attr=name) | ast.keyword(arg=str(name)):
                yield name
            case ast.Import() | ast.ImportFrom():
                yield from (alias.name for alias in node.names)
                yield str(getattr(node, "module", ""))
            case ast.Constant(value=str(text)) if text.isidentifier() or text.startswith("hub:"):
                yield text


def _is_measured(result: ProbeResult) -> bool:
    """Return whether the dry run of a network has measured its speed."""
    trained = bool(result.other_works and result.other_works[0].phases)
    return bool(result.space or result.known or result.other_works) and (result.speed is not None or not trained)


def _status(path: str) -> tuple[int, int] | None:
    try:
        status = Path(path).stat()
    except OSError:
        return None
    return status.st_size, status.st_mtime_ns


@lru_cache(maxsize=1)
def _suite_sha256() -> str:
    digest, folder = hashlib.sha256(), Path(bench.__file__).parent
    for file in sorted(folder.rglob("*.py")):
        digest.update(f"{file.relative_to(folder)} ".encode() + file.read_bytes())
    return digest.hexdigest()


def _environment() -> list[Any]:
    """List what the result depends on outside of the job: packages, Keras' settings, the machine."""
    home = Path(os.environ.get("KERAS_HOME") or Path.home() / ".keras")
    try:
        settings = (home / "keras.json").read_text(encoding="utf-8")
    except (OSError, ValueError):
        settings = ""
    variables = {name: value for name, value in os.environ.items() if name.startswith(("KERAS", "TF_", "CUDA", "XLA"))}
    installed = {entry.name for folder in sys.path if folder for entry in Path(folder).glob("*-info")}
    devices = sorted(str(device) for device in Path("/dev").glob("nvidia*"))
    return [
        sys.version,
        sorted(installed),
        str(home),
        settings,
        variables,
        [platform.node(), platform.machine(), machine.core_count(), devices],
    ]
