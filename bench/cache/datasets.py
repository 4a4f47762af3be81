"""Data sets that are downloaded once and stay in the cache folder."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

from bench.cache import directory
from bench.errors import DataError


def dataset_folder(name: str) -> Path:
    """Folder of a downloaded data set."""
    return directory.folder() / "downloads" / name


def obtain(name: str, fill: Callable[[Path], None]) -> Path:
    """Return the folder of a data set, filled first if need be: whole or not at all, by one process at a time.

    Args:
        name: Name of its folder.
        fill: Puts its files into an empty folder.

    Returns:
        The folder, as by `place`.

    Raises:
        DataError: It could not be written; `fill` may raise others.
        ConfigError: The cache folder cannot be used.
    """
    folder = directory.kind_folder("downloads") / name
    if not folder.is_dir():
        hidden = folder.with_name(f".{name}")
        with directory.locked(hidden):
            if not folder.is_dir():
                _fill(folder, hidden / "new", fill)
    directory.touch([folder])
    return folder


def _fill(folder: Path, new: Path, fill: Callable[[Path], None]) -> None:
    shutil.rmtree(new, ignore_errors=True)  # of a process that was killed
    try:
        new.mkdir()
        fill(new)
        new.rename(folder)
    except OSError as error:
        raise DataError(f"{directory.display_path(folder)!r} cannot be written: {error.strerror or error}") from None
    finally:
        shutil.rmtree(new, ignore_errors=True)
