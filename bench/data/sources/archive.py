"""Unpack a zip archive from the network without trusting it."""

from __future__ import annotations

import stat
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from zipfile import ZipInfo

from bench.errors import DataError

BLOCK = 1 << 20


def unpack(
    archive: Path,
    folder: Path,
    below: str,
    most_members: int,
    most_bytes: int,
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Unpack the files in one folder of an archive; the rest is skipped.

    Only regular files are written, and only inside the target. The limits hold for the sizes that the archive declares
    and for those that come out of it, since a zip bomb lies.

    Args:
        archive: The zip file.
        folder: Target.
        below: A folder in the archive, e.g. "PetImages".
        most_members: Most files.
        most_bytes: Most bytes, unpacked.
        progress: Called with the files done and in total.

    Raises:
        DataError: It is damaged, or not what an honest archive of pictures looks like; the message names the member.
        OSError: The files cannot be written.
    """
    try:
        with zipfile.ZipFile(archive) as opened:
            members = [member for member in opened.infolist() if _path(member).parts[:1] == (below,)]
            members = [member for member in members if not member.is_dir()]
            _check(archive, members, below, most_members, most_bytes)
            left = most_bytes
            for done, member in enumerate(members, start=1):
                left -= _write(archive, opened, member, folder / _path(member), left)
                if progress:
                    progress(done, len(members))
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        # The last two: a method of compression that Python lacks, an encrypted member.
        raise DataError(f"{archive.name}: damaged or not a plain zip file ({error})") from None


def _check(archive: Path, members: list[ZipInfo], below: str, most_members: int, most_bytes: int) -> None:
    if not members:
        raise DataError(f"{archive.name}: has no files in {below}/")
    if len(members) > most_members:
        raise DataError(f"{archive.name}: has {len(members)} files, limit {most_members}")
    size = sum(member.file_size for member in members)
    if size > most_bytes:
        raise DataError(f"{archive.name}: unpacks to {size} bytes, limit {most_bytes}")
    seen: set[PurePosixPath] = set()
    for member in members:
        path, mode = _path(member), member.external_attr >> 16  # the upper half is the mode on Unix, or 0
        for wrong, what in (
            (".." in path.parts, "leads out of its folder"),
            (stat.S_IFMT(mode) not in (0, stat.S_IFREG), "is not a regular file"),
            (path in seen, "is there twice"),
        ):
            if wrong:
                raise DataError(f"{archive.name}: member {member.filename!r} {what}")
        seen.add(path)


def _write(archive: Path, opened: zipfile.ZipFile, member: ZipInfo, path: Path, most_bytes: int) -> int:
    """Unpack a file; return its size in bytes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    size = 0
    with opened.open(member) as packed, path.open("xb") as file:
        while block := packed.read(BLOCK):
            size += len(block)
            if size > most_bytes:
                raise DataError(f"{archive.name}: unpacks to more than its limit, at {member.filename!r}")
            file.write(block)
    return size


def _path(member: ZipInfo) -> PurePosixPath:
    """Path of a member; some archivers write it with backslashes."""
    return PurePosixPath(member.filename.replace("\\", "/"))
