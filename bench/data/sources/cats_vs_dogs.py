"""Cats and dogs in 25,000 photographs: the Asirra data set as Microsoft publishes it, downloaded once.

Elson, Douceur, Howell and Saul (2007), "Asirra: a CAPTCHA that exploits interest-aligned manual image categorization";
https://www.microsoft.com/en-us/download/details.aspx?id=54765. Some of the pictures are damaged: the audit finds them.
"""

from __future__ import annotations

import stat
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any
from zipfile import ZipInfo

from bench.cache import directory, downloads
from bench.cache.downloads import ByteCallback, dataset_folder, obtain
from bench.config import RunConfig
from bench.data.sources import StageCallback
from bench.data.sources.folder import Folder
from bench.errors import DataError

NAME = "cats_vs_dogs"
URL = "https://download.microsoft.com/download/3/E/1/3E1C3F21-ECDB-4869-8368-6DEBA77B919F/kagglecatsanddogs_5340.zip"
SHA256 = "b7974bd00a84a99921f36ee4403f089853777b5ae8d151c76a86e64900334af9"
"""Hash of its 824,887,076 bytes, as pinned by tensorflow-datasets 4.9 (url_checksums/cats_vs_dogs.txt)."""

PICTURES = "PetImages"
"""The folder in the archive, which contains Cat/ and Dog/."""

MAX_MEMBERS = 30_000
MAX_BYTES = 2 * 10**9
"""Limits for unpacking; the archive has about 25,000 files, which it hardly compresses."""


@dataclass(frozen=True)
class CatsVsDogs(Folder):
    """The class folders of the unpacked archive."""

    @property
    def title(self) -> str:
        return NAME

    def describe(self) -> dict[str, Any]:
        return {"kind": NAME}  # no path, which differs between machines


def open(config: RunConfig, progress: StageCallback | None) -> CatsVsDogs:
    return CatsVsDogs(obtain(NAME, partial(_fill, progress=progress)) / PICTURES)


def rebuild(description: Mapping[str, Any]) -> CatsVsDogs:
    return CatsVsDogs(dataset_folder(NAME) / PICTURES)


def _fill(folder: Path, progress: StageCallback | None) -> None:
    archive = dataset_folder(URL.rpartition("/")[2])
    shown = directory.display_path(archive)
    if archive.exists():
        try:
            downloads.verify(archive, SHA256)
        except OSError as error:
            raise DataError(f"{shown!r}: {error}. Remove it, or replace it by the right one") from None
    try:
        downloads.fetch(URL, archive, SHA256, partial(progress, f"downloading {NAME}") if progress else None)
    except downloads.DownloadError as error:
        raise DataError(
            f"{NAME} could not be downloaded ({error}) from {URL}: run the command again to continue, put that file at "
            f"{shown!r} (removed after unpacking), or use --data FOLDER or --data drawn"
        ) from None
    unpack(archive, folder, partial(progress, f"unpacking {NAME}") if progress else None)
    archive.unlink()


# -- unpacking an untrusted archive


def unpack(archive: Path, folder: Path, progress: ByteCallback | None = None) -> None:
    """Unpack the files below `PICTURES` of a zip file; the rest is skipped.

    Only regular files are written, and only inside the target. The limits apply to the declared and to the actual
    sizes, which differ in a zip bomb.

    Raises:
        DataError: The archive is damaged or suspicious; the message names the member.
        OSError: The files cannot be written.
    """
    try:
        with zipfile.ZipFile(archive) as opened:
            members = [member for member in opened.infolist() if _path(member).parts[:1] == (PICTURES,)]
            members = [member for member in members if not member.is_dir()]
            if wrong := _objection(members):
                raise DataError(f"{archive.name}: {wrong}")
            left = MAX_BYTES
            for done, member in enumerate(members, start=1):
                left -= _write(opened, member, folder / _path(member), left)
                if left < 0:
                    raise DataError(f"{archive.name}: unpacks to more than its limit, at {member.filename!r}")
                if progress:
                    progress(done, len(members))
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        # NotImplementedError: an unsupported compression method; RuntimeError: an encrypted member.
        raise DataError(f"{archive.name}: damaged or not a plain zip file ({error})") from None


def _objection(members: list[ZipInfo]) -> str:
    """Reason to refuse the members; "" without one."""
    size = sum(member.file_size for member in members)
    if not members:
        return f"has no files in {PICTURES}/"
    if len(members) > MAX_MEMBERS:
        return f"has {len(members)} files, limit {MAX_MEMBERS}"
    if size > MAX_BYTES:
        return f"unpacks to {size} bytes, limit {MAX_BYTES}"
    seen: set[PurePosixPath] = set()
    for member in members:
        path, mode = _path(member), member.external_attr >> 16  # the upper half is the mode on Unix, or 0
        if ".." in path.parts:
            return f"member {member.filename!r} has a path outside its folder"
        if stat.S_IFMT(mode) not in (0, stat.S_IFREG):
            return f"member {member.filename!r} is not a regular file"
        if path in seen:
            return f"member {member.filename!r} occurs twice"
        seen.add(path)
    return ""


def _write(opened: zipfile.ZipFile, member: ZipInfo, path: Path, max_bytes: int) -> int:
    """Unpack a file, at most one block beyond the limit; return the number of bytes written."""
    path.parent.mkdir(parents=True, exist_ok=True)
    size = 0
    with opened.open(member) as packed, path.open("xb") as file:
        while size <= max_bytes and (block := packed.read(downloads.BLOCK)):
            size += file.write(block)
    return size


def _path(member: ZipInfo) -> PurePosixPath:
    """Path of a member; some archivers write it with backslashes."""
    return PurePosixPath(member.filename.replace("\\", "/"))
