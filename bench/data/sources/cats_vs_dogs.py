"""Cats and dogs in 25,000 photographs: the Asirra data set as Microsoft publishes it, downloaded once.

Elson, Douceur, Howell and Saul (2007), "Asirra: a CAPTCHA that exploits interest-aligned manual image categorization";
https://www.microsoft.com/en-us/download/details.aspx?id=54765. Some of the pictures are damaged: the audit finds them.
"""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from bench.cache import directory, downloads
from bench.cache.downloads import dataset_folder, obtain
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
    with zipfile.ZipFile(archive) as opened:  # by its hash the published one, so that nothing in it is hostile
        names = [name for name in opened.namelist() if name.startswith(f"{PICTURES}/") and not name.endswith("/")]
        for done, name in enumerate(names, start=1):
            opened.extract(name, folder)
            if progress:
                progress(f"unpacking {NAME}", done, len(names))
    archive.unlink()
