"""Paths that a user names: a run folder to read, a file to write."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from bench.errors import ConfigError


def run_folder(text: str) -> Path:
    """A run folder with a name to call the run by, also where it is given as `.`."""
    path = Path(text)
    return path.resolve() if path.name in ("", "..") else path


@contextlib.contextmanager
def written(path: Path) -> Iterator[None]:
    """A file that cannot be written is a mistake of the user."""
    try:
        yield
    except OSError as error:
        raise ConfigError(f"{path}: cannot be written: {error.strerror}") from None
