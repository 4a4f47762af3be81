"""Read regular files only; write files whole or not at all."""

from __future__ import annotations

import errno
import hashlib
import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from io import FileIO
from pathlib import Path


def read(path: str | Path, most: int = -1) -> bytes:
    """Read a file, at most the first `most` bytes of it.

    Raises:
        OSError: It cannot be read, or is a pipe, a device or a socket: these may block, or have no end.
    """
    with FileIO(path, opener=_regular) as file:
        return file.readall() if most < 0 else file.read(most)


def _regular(path: str, flags: int) -> int:
    """Open a file without waiting for another end; OSError unless it is a regular file."""
    descriptor = os.open(path, flags | getattr(os, "O_NONBLOCK", 0))
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "not a regular file", path)
    return descriptor


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; it is renamed to `path` when the block ends without an error.

    Several processes may do this for one path at the same time; the last file stays.

    Raises:
        OSError: The folder cannot be written, or the disk is full; `path` is unchanged.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}.tmp")
    try:
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def sha256(path: Path) -> str:
    """SHA-256 of a file's content, in hexadecimal; "" if there is no such file."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError:
        return ""


def write_text(path: Path, text: str) -> None:
    """Write a UTF-8 file, whole or not at all, with the same line ends on every system.

    A lone surrogate, which UTF-8 cannot encode, becomes a visible escape.

    Raises:
        OSError: As for `replacing`.
    """
    with replacing(path) as temporary:
        temporary.write_bytes(text.encode("utf-8", errors="backslashreplace"))
