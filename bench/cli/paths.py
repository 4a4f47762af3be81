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


BASELINE = Path("reports/baseline.json")
"""Where `bench baseline` keeps what a run came to, and `bench check` looks for it."""

RECORDS = ("run.json", "split.json", "trials.sqlite3", "results.json", "thumbnails.json")
"""Files of a run folder that only the run itself writes."""


def output(option: str, text: str | Path, example: str | Path) -> Path:
    """A file that is to be written.

    Raises:
        ConfigError: It is a folder.
    """
    path = Path(text)
    if path.is_dir():
        raise ConfigError(f"{option} {str(text)!r}: is a folder; a file is expected, e.g. {example}")
    return path


@contextlib.contextmanager
def written(path: Path) -> Iterator[None]:
    """A file that cannot be written, or that a run's records are in, is a mistake of the user."""
    if path.name in RECORDS and (path.parent / "run.json").exists():
        raise ConfigError(f"{path}: holds the records of a run; name another file")
    try:
        yield
    except OSError as error:
        raise ConfigError(f"{path}: cannot be written: {error.strerror}") from None
