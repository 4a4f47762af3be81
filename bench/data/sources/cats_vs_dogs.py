"""Cats and dogs in 25,000 photographs: the Asirra data set as Microsoft publishes it, downloaded once.

Elson, Douceur, Howell and Saul (2007), "Asirra: a CAPTCHA that exploits interest-aligned manual image categorization";
https://www.microsoft.com/en-us/download/details.aspx?id=54765. Some of the pictures are damaged: the audit finds them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from bench.cache import directory, downloads
from bench.cache.datasets import dataset_folder, obtain
from bench.config import RunConfig
from bench.data.sources import StageCallback
from bench.data.sources.archive import unpack
from bench.data.sources.folder import Folder
from bench.errors import DataError

NAME = "cats_vs_dogs"
URL = "https://download.microsoft.com/download/3/E/1/3E1C3F21-ECDB-4869-8368-6DEBA77B919F/kagglecatsanddogs_5340.zip"
SHA256 = "b7974bd00a84a99921f36ee4403f089853777b5ae8d151c76a86e64900334af9"
"""Of its 824,887,076 bytes, as tensorflow-datasets 4.9 pins them (url_checksums/cats_vs_dogs.txt)."""

PICTURES = "PetImages"
"""The folder in the archive; it holds Cat/ and Dog/."""

MOST_MEMBERS = 30_000
MOST_BYTES = 2 * 10**9
"""Limits for unpacking: about 25,000 files, which hardly shrink in an archive."""


@dataclass(frozen=True)
class CatsVsDogs(Folder):
    """The class folders of the unpacked archive."""

    @property
    def title(self) -> str:
        return NAME

    def describe(self) -> dict[str, Any]:
        return {"kind": NAME}  # no path: another machine keeps it elsewhere


def open(config: RunConfig, progress: StageCallback | None) -> CatsVsDogs:
    return CatsVsDogs(obtain(NAME, partial(_fill, progress=progress)) / PICTURES)


def rebuild(description: Mapping[str, Any]) -> CatsVsDogs:
    return CatsVsDogs(dataset_folder(NAME) / PICTURES)


def _fill(folder: Path, progress: StageCallback | None) -> None:
    archive = dataset_folder(URL.rpartition("/")[2])
    _obtain(archive, progress)
    unpack(archive, folder, PICTURES, MOST_MEMBERS, MOST_BYTES, _told(progress, f"unpacking {NAME}"))
    archive.unlink()  # what is in it lies beside it now


def _obtain(archive: Path, progress: StageCallback | None) -> None:
    """Download the archive, or verify the one that is there."""
    if archive.exists():
        try:
            downloads.verify(archive, SHA256)
        except OSError as error:
            raise DataError(
                f"{directory.display_path(archive)!r}: {error}. Remove it, or put the right one there"
            ) from None
        return
    try:
        downloads.fetch(URL, archive, SHA256, _told(progress, f"downloading {NAME}"))
    except downloads.DownloadError as error:
        raise DataError(
            f"{NAME} could not be downloaded ({error}) from {URL}: call again to go on, put that file at "
            f"{directory.display_path(archive)!r} (removed once it is unpacked), or use --data FOLDER or --data drawn"
        ) from None


def _told(progress: StageCallback | None, what: str) -> downloads.ByteCallback | None:
    return partial(progress, what) if progress else None
