"""Pictures on the page: thumbnails as `data:` URIs within a limit of bytes, and samples of every class."""

from __future__ import annotations

import base64
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bench.records import Run
from bench.report.inventory import Inventory, inventory
from bench.runs import thumbnails
from bench.runs.thumbnails import Thumbnail

SAMPLE_BYTES = 200_000
"""Most bytes that the samples take of the page."""


@dataclass(frozen=True)
class Photo:
    """A picture on the page.

    Attributes:
        id: Its path relative to the data's source; the beginning of its hash where that is not known.
        source: A `data:` URI; "" where it has no thumbnail, or the page has no room for it.
    """

    id: str
    source: str


class PhotoAlbum:
    """Album that gives out a run's thumbnails up to a limit of bytes.

    Attributes:
        thumbnails: All that the run has, by SHA-256.
        withheld: Number of thumbnails that were asked for beyond the limit.
    """

    def __init__(self, run: Run, most_bytes: int) -> None:
        self._run, self._left = run, most_bytes
        self.thumbnails: Mapping[str, Thumbnail] = thumbnails.of_run(run)
        self.withheld = 0

    def photo(self, sha256: str) -> Photo:
        """Give out the picture with this content hash."""
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
class ClassSamples:
    """Training pictures of one class."""

    name: str
    pictures: tuple[Photo, ...]


@dataclass(frozen=True)
class DataSection:
    """Section on the data.

    Attributes:
        inventory: The account of the pictures.
        samples: Some of each class, in the order of the inventory's rows; empty where the run has no thumbnails.
    """

    inventory: Inventory
    samples: Sequence[ClassSamples]


def section(run: Run) -> DataSection:
    """Collect the account of a run's pictures, and samples of them."""
    account = inventory(run.split, run.config)
    return DataSection(account, samples(run, [row.name for row in account.rows]))


def samples(run: Run, names: Sequence[str]) -> list[ClassSamples]:
    """Collect the training pictures of a run that have a thumbnail, class by class.

    Args:
        run: The run.
        names: Its classes, in the wanted order.
    """
    album = PhotoAlbum(run, SAMPLE_BYTES)
    by_class: dict[str, list[Thumbnail]] = defaultdict(list)
    for thumbnail in album.thumbnails.values():
        if thumbnail.part == "train":
            by_class[run.split.classes[thumbnail.label]].append(thumbnail)
    shown = [(name, tuple(album.photo(each.sha256) for each in by_class[name])) for name in names]
    return [ClassSamples(name, own) for name, photos in shown if (own := tuple(p for p in photos if p.source))]
