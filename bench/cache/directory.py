"""The cache folder: one for all runs of a user, with a cap and eviction.

    pixels/      decoded pictures (`data/pixels.py`); reproducible
    features/    features of frozen layers (`training/frozen/features.py`); reproducible
    probed/      what was learned from building families (`search/probes.py`); reproducible
    downloads/   data sets from the network; they stay until they are cleared
    speeds/      measured speeds of this machine, for forecasts (`search/forecast.py`); a few kB, they stay as well

The environment variable BENCH_CACHE names another folder than the system's default. Reproducible entries take up to
BENCH_CACHE_GB gigabytes of 10**9 bytes (default 20, or half of the disk space that is free or used by them, if that is
less); the least recently used ones are evicted first. One data set at one input size may exceed the cap as long as the
disk has room, because training needs all of it.

Several processes may use the folder at the same time. Files are complete or absent. A file that a process has mapped
stays readable to it after eviction (POSIX), or is not evicted (Windows). Only folders with this package's tag are ever
cleaned, because BENCH_CACHE may name a folder with other files.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import stat
import time
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

from bench.cache.files import write_text
from bench.errors import ConfigError, DataError

GB = 10**9
MAX_BYTES = 20 * GB
"""The default cap, if the disk has twice as much room."""

TAG = "CACHEDIR.TAG"
SIGNATURE = "Signature: 8a477f597d28d172789f06886806bc55"
"""Tag of cache folders, which backup programs skip: https://bford.info/cachedir/."""

OWNER = "# A cache of image-model-bench; `python -m bench cache clear` empties it."

LOCK = ".lock"

ABANDONED_S = 24 * 60 * 60
"""Seconds without a write after which an unfinished file is assumed to be left by a killed process."""


KINDS = {
    "pixels": "decoded pictures",
    "features": "features of frozen layers",
    "probed": "what was learned from building families",
    "downloads": "data sets from the network",
    "speeds": "measured speeds of this machine, for forecasts",
}
"""Descriptions of the kinds of entries; every kind is a sub-folder."""

REPRODUCIBLE = ("pixels", "features", "probed")
"""Kinds that can be computed again without the network, so that the cap applies; their entries are in sub-folders."""


@dataclass(frozen=True)
class CacheEntry:
    """Entry of the cache; `used` is the time of its last use in seconds since the epoch."""

    kind: str
    path: Path
    size_bytes: int
    used: float


def folder() -> Path:
    """Cache folder of this user, absolute; it need not exist yet."""
    if path := os.environ.get("BENCH_CACHE"):
        return Path(path).expanduser().absolute()
    import platformdirs

    return platformdirs.user_cache_path("image-model-bench", appauthor=False)


def kind_folder(kind: str, root: Path | None = None) -> Path:
    """Sub-folder of a kind, created and tagged if missing; ConfigError if that fails or the folder has other files."""
    path = (root or folder()) / kind
    if _is_ours(path):
        return path
    try:
        path.mkdir(parents=True, exist_ok=True)
        others = [entry for entry in path.iterdir() if entry.name != TAG and not entry.name.startswith(".")]
        if others and not _is_ours(path):  # check again: another process may have tagged and filled it meanwhile
            raise ConfigError(f"{display_path(path)}: has other files; set BENCH_CACHE to a folder for the cache alone")
        write_text(path / TAG, f"{SIGNATURE}\n{OWNER}\n")
    except OSError as error:
        raise _unwritable(path, error) from None
    return path


def cap_bytes(root: Path) -> int:
    """Maximum bytes of reproducible entries; ConfigError if BENCH_CACHE_GB is not a number of at least 0."""
    setting = os.environ.get("BENCH_CACHE_GB")
    if not setting:
        used = sum(entry.size_bytes for entry in entries(root, REPRODUCIBLE))
        return min(MAX_BYTES, (used + free_bytes(root)) // 2)
    with contextlib.suppress(ValueError, OverflowError):  # not a number, or infinite
        if (cap := int(float(setting) * GB)) >= 0:
            return cap
    raise ConfigError(f"BENCH_CACHE_GB {setting!r}: must be a number of gigabytes, e.g. 50")


def free_bytes(root: Path) -> int:
    """Free bytes on the disk of a folder."""
    above = next(parent for parent in (root, *root.absolute().parents) if parent.exists())
    return shutil.disk_usage(above).free


def entries(root: Path, kinds: Collection[str] = tuple(KINDS)) -> list[CacheEntry]:
    """List entries, least recently used first; entries that vanish meanwhile or cannot be read are left out."""
    listed = []
    for kind in kinds:
        for path in _paths(root, kind):
            with contextlib.suppress(OSError):
                status = path.lstat()
                files = path.rglob("*") if stat.S_ISDIR(status.st_mode) else (path,)
                listed.append(CacheEntry(kind, path, sum(file.lstat().st_size for file in files), status.st_mtime))
    return sorted(listed, key=lambda entry: (entry.used, entry.path))


def touch(paths: Collection[Path]) -> None:
    """Mark entries as used now."""
    for path in paths:
        with contextlib.suppress(OSError):  # removed, or owned by another user
            os.utime(path)


@contextlib.contextmanager
def reserved(root: Path, needed_bytes: int, spared: Collection[Path] = ()) -> Iterator[None]:
    """Make room for the files that the block writes: evict the least recently used entries beyond the cap or the disk.

    Args:
        root: The cache folder.
        needed_bytes: Bytes that the block writes.
        spared: Entries that are needed together with the new ones; they stay even above the cap.

    Raises:
        DataError: The disk has no room, before or while the block writes.
        ConfigError: The folder cannot be written.
    """
    _remove_abandoned(root, REPRODUCIBLE)
    present = entries(root, REPRODUCIBLE)
    above_cap = sum(entry.size_bytes for entry in present) + needed_bytes - cap_bytes(root)
    excess = max(above_cap, needed_bytes - free_bytes(root))
    for entry in present:
        if excess > 0 and entry.path not in spared and _remove(entry.path):
            excess -= entry.size_bytes
    if needed_bytes > free_bytes(root):
        raise _full(root, needed_bytes)
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise _full(root, needed_bytes) from None
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise _unwritable(root, error) from None
        raise


@contextlib.contextmanager
def locked(path: Path, name: str = LOCK, wait: bool = True) -> Iterator[bool]:
    """Hold a lock on a folder, at most until the process ends.

    Yields True with the lock. Without `wait`, yields False if another process holds it; the block must then do nothing.
    The folder is created if missing; the name of the lock file must begin with `LOCK`.
    """
    import filelock

    lock, proceed = filelock.FileLock(path / name), True
    try:
        path.mkdir(exist_ok=True)
        lock.acquire(blocking=wait)
    except filelock.Timeout:
        proceed = False
    except NotImplementedError:
        pass  # a file system without locks: two processes may do the same work, in separate files
    except OSError as error:
        raise _unwritable(path, error) from None
    try:
        yield proceed
    finally:
        lock.release()


def clear(root: Path, kinds: Collection[str]) -> list[CacheEntry]:
    """Remove the entries of these kinds and return them; files that are being written stay."""
    _remove_abandoned(root, kinds)
    removed = [entry for entry in entries(root, kinds) if _remove(entry.path)]
    for parent in {entry.path.parent for entry in removed}:
        with contextlib.suppress(OSError):  # not empty
            parent.rmdir()
    return removed


def display_path(path: Path) -> str:
    """Format a path for messages, records and pages, with "~" for the user's home."""
    with contextlib.suppress(ValueError, RuntimeError):
        return str("~" / path.relative_to(Path.home()))
    return str(path)


def format_size(size_bytes: int) -> str:
    """Format a number of bytes: "49.2 GB"."""
    units = (("GB", GB), ("MB", 10**6), ("kB", 1000))
    return next((f"{size_bytes / of:.1f} {unit}" for unit, of in units if size_bytes >= of), f"{size_bytes} bytes")


# -- inside


def _is_ours(path: Path) -> bool:
    try:
        return OWNER in (path / TAG).read_text(encoding="utf-8")
    except (OSError, ValueError):
        return False


def _paths(root: Path, kind: str, hidden: bool = False) -> list[Path]:
    """Paths of a kind's entries; hidden ones are locks and unfinished files. Links are not followed."""
    level = [root / kind] if _is_ours(root / kind) else []
    level = [path for folder in level for path in _listed(folder)]
    if kind in REPRODUCIBLE:
        level = [path for folder in level if not folder.is_symlink() for path in _listed(folder)]
    return [path for path in level if path.name.startswith(".") == hidden and path.name != TAG]


def _listed(path: Path) -> list[Path]:
    with contextlib.suppress(OSError):  # a file, removed, or not readable
        return list(path.iterdir())
    return []


def _remove(path: Path) -> bool:
    """Remove a file or folder; return True if that worked."""
    with contextlib.suppress(OSError):  # no permission, or (Windows) mapped by a process
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
        return True
    return False


def _remove_abandoned(root: Path, kinds: Collection[str]) -> None:
    for path in (path for kind in kinds for path in _paths(root, kind, hidden=True)):
        with contextlib.suppress(OSError):
            written = max(file.lstat().st_mtime for file in (path, *path.rglob("*")))
            if not path.name.startswith(LOCK) and time.time() - written > ABANDONED_S:
                _remove(path)


def _full(root: Path, needed_bytes: int) -> DataError:
    return DataError(
        f"the cache {display_path(root)!r} needs {format_size(needed_bytes)} more, but its disk has only "
        f"{format_size(free_bytes(root))} left: "
        "set BENCH_CACHE to a folder on a larger disk, or use smaller --input-sizes or a --limit"
    )


def _unwritable(path: Path, error: OSError) -> ConfigError:
    return ConfigError(
        f"the cache {display_path(path)!r} cannot be written, {error.strerror}: set BENCH_CACHE to another folder"
    )
