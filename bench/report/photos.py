"""Pictures on the page: thumbnails as `data:` URIs within a limit of bytes, and samples of every class."""

from __future__ import annotations

import base64
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

from bench.records import Run
from bench.report.inventory import Inventory
from bench.runs import thumbnails
from bench.runs.thumbnails import Thumbnail

SAMPLE_BYTES = 200_000
"""Maximum size of the section's thumbnails."""


@dataclass(frozen=True)
class Photo:
    """A picture on the page.

    Attributes:
        id: Path relative to the data's source, or the first characters of the hash if the path is unknown.
        source: A `data:` URI; "" without a thumbnail, or if the thumbnail exceeds the page's limit.
    """

    id: str
    source: str


class PhotoAlbum:
    """A run's thumbnails, handed out up to a limit of bytes.

    Attributes:
        thumbnails: All thumbnails of the run, by SHA-256.
        withheld: Number of thumbnails that were requested beyond the limit.
    """

    def __init__(self, run: Run, max_bytes: int) -> None:
        self._run, self._left = run, max_bytes
        self.thumbnails: Mapping[str, Thumbnail] = thumbnails.of_run(run)
        self.withheld = 0

    def photo(self, sha256: str) -> Photo:
        """The picture with this content hash."""
        known = self.thumbnails.get(sha256)
        return Photo(known.id, self._source(sha256)) if known else Photo(sha256[:12], "")

    def _source(self, sha256: str) -> str:
        content = thumbnails.jpeg(self._run.path, sha256)
        if not content:
            return ""
        source = f"data:image/jpeg;base64,{base64.b64encode(content).decode()}"
        if len(source) > self._left:
            self.withheld += 1
            return ""
        self._left -= len(source)
        return source


@dataclass(frozen=True)
class DataSection:
    """The section: the inventory, samples by class, and its summary."""

    inventory: Inventory
    samples: Mapping[str, list[Photo]]
    summary: str


def section(run: Run) -> DataSection:
    """Collect the section on the data: the inventory, and a few training pictures of each class that has thumbnails."""
    inventory = Inventory(run.split, run.config)
    album = PhotoAlbum(run, SAMPLE_BYTES)
    by_class: dict[str, list[str]] = defaultdict(list)
    for sha256, thumbnail in album.thumbnails.items():
        if thumbnail.part == "train":
            by_class[run.split.classes[thumbnail.label]].append(sha256)
    photos = {row.name: [album.photo(sha256) for sha256 in by_class[row.name]] for row in inventory.rows}
    samples = {name: [photo for photo in shown if photo.source] for name, shown in photos.items()}
    summary = "; ".join(filter(None, [inventory.headline, inventory.findings]))
    return DataSection(inventory, {name: shown for name, shown in samples.items() if shown}, summary)
