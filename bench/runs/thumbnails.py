"""Thumbnails: small JPEGs of the few pictures that the page shows, as a run folder keeps them.

thumbnails.json            which pictures: by the hash of their content, their id, label and part
thumbnails/<sha256>.jpg    each of them, upright; one that could not be decoded is missing
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.cache.files import write_text
from bench.records import Run

SCHEMA_VERSION = 1

MISTAKES = 24
"""Of each family, so many of the test pictures that it gets wrong have a thumbnail: the most confidently wrong ones."""

SHARED_MISTAKES = 48
"""So many of the test pictures that every family gets wrong have one."""

MOST_BYTES = 50_000
"""A larger file is none of ours: 96 by 96 pixels of noise take 10 kB."""

_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class Thumbnail:
    """What is known of a picture that has a thumbnail.

    Attributes:
        sha256: Of the content of the picture itself, hexadecimal; its thumbnail is called after it.
        id: The picture's path relative to the source.
        label: Index of its class.
        part: "train", "validation" or "test".
    """

    sha256: str
    id: str
    label: int
    part: str


def path(run: Path, sha256: str) -> Path:
    """Where a run folder keeps the thumbnail of a picture."""
    return run / "thumbnails" / f"{sha256}.jpg"


def write(run: Path, every: Iterable[Thumbnail]) -> None:
    """Writes the list of a run folder's thumbnails, whole or not at all.

    Raises:
        OSError: It cannot be written.
    """
    pictures = {each.sha256: {"id": each.id, "label": each.label, "part": each.part} for each in every}
    text = json.dumps({"schema_version": SCHEMA_VERSION, "pictures": pictures}, indent=1)
    write_text(run / "thumbnails.json", text + "\n")


def read(run: Path) -> dict[str, Thumbnail]:
    """The thumbnails of a run folder by `sha256`, in the order in which they were chosen.

    Raises:
        OSError: There is no list, or it cannot be read.
        ValueError: It is damaged, or of a newer version.
    """
    file = run / "thumbnails.json"
    try:
        listed = json.loads(file.read_text(encoding="utf-8"))
        version, pictures = listed["schema_version"], listed["pictures"].items()
        if version > SCHEMA_VERSION:
            raise ValueError(f"schema version {version}, this bench knows up to {SCHEMA_VERSION}")
        return {sha256: _thumbnail(sha256, about) for sha256, about in pictures}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{file}: no list of thumbnails ({type(error).__name__}: {error})") from None


def _thumbnail(sha256: str, about: Any) -> Thumbnail:
    found = Thumbnail(sha256, about["id"], about["label"], about["part"])
    if not _SHA256.fullmatch(sha256):  # it becomes the name of a file
        raise ValueError(f"{sha256!r} is no SHA-256")
    if not isinstance(found.id, str) or not isinstance(found.label, int) or not isinstance(found.part, str):
        raise TypeError(f"{sha256}: {about!r}")
    return found


def of_run(run: Run) -> dict[str, Thumbnail]:
    """Those of a run by `sha256`; none where the run has no list that can be read.

    One whose class the run does not have is left out.
    """
    try:
        found = read(run.path)
    except (OSError, ValueError):
        return {}
    return {sha256: each for sha256, each in found.items() if 0 <= each.label < len(run.split.classes)}


def jpeg(run: Path, sha256: str) -> bytes:
    """The thumbnail of a picture; empty where there is none."""
    try:
        with path(run, sha256).open("rb") as file:
            content = file.read(MOST_BYTES + 1)
    except OSError:
        return b""
    return content if content.startswith(b"\xff\xd8\xff") and len(content) <= MOST_BYTES else b""
