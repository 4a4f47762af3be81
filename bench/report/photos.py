"""Pictures on the page: thumbnails as `data:` URIs within a limit of bytes; the section on the data."""

from __future__ import annotations

import base64
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bench.records import Change, LeftOutKind, Run
from bench.report.inventory import Inventory
from bench.runs import thumbnails
from bench.runs.thumbnails import GROUPS, Thumbnail

SAMPLE_BYTES, GROUP_BYTES = 200_000, 200_000
"""Maximum size of the section's samples, and of its near duplicates."""


@dataclass(frozen=True)
class Photo:
    """A picture on the page.

    Attributes:
        id: Path relative to the data's source, or the first characters of the hash if the path is unknown.
        source: A `data:` URI; "" without a thumbnail, if it exceeds the page's limit, or if it is `repeated`.
        key: Last characters of the hash.
        repeated: True if the URI stands with an earlier picture of this key, from which the page's script copies it.
        label, part: Its class and part; "" if unknown.
    """

    id: str
    source: str
    key: str
    repeated: bool = False
    label: str = ""
    part: str = ""


class PhotoAlbum:
    """A run's thumbnails, each handed out once, up to a limit of bytes.

    Attributes:
        thumbnails: All thumbnails of the run, by SHA-256.
        withheld: Thumbnails that were requested beyond the limit, by SHA-256.
    """

    def __init__(self, run: Run, max_bytes: int) -> None:
        self._run, self._left = run, max_bytes
        self._shown: set[str] = set()
        self.thumbnails: Mapping[str, Thumbnail] = thumbnails.of_run(run)
        self.withheld: set[str] = set()

    def photo(self, sha256: str) -> Photo:
        """The picture with this content hash."""
        known, key = self.thumbnails.get(sha256), sha256[-16:]
        if known is None:
            return Photo(sha256[:12], "", key)
        repeated = sha256 in self._shown
        source = "" if repeated else self._source(sha256)
        return Photo(known.id, source, key, repeated, self._run.split.classes[known.label], known.part)

    def _source(self, sha256: str) -> str:
        content = thumbnails.jpeg(self._run.path, sha256)
        if not content:
            return ""
        source = f"data:image/jpeg;base64,{base64.b64encode(content).decode()}"
        if len(source) > self._left:
            self.withheld.add(sha256)
            return ""
        self._left -= len(source)
        self._shown.add(sha256)
        return source


@dataclass(frozen=True)
class AlikePictures:
    """A group of near duplicates: those with a thumbnail, the paths of the others, and the changes between them."""

    photos: Sequence[Photo]
    others: Sequence[str]
    changes: Sequence[Change]
    is_contradicting: bool


@dataclass(frozen=True)
class DataSection:
    """The section on the data.

    Attributes:
        samples: Training pictures of each class that has thumbnails.
        contradicting: Pictures with a thumbnail whose content stands under several labels, and these labels in words.
        alike: Groups of near duplicates, those with several labels first.
    """

    inventory: Inventory
    samples: Mapping[str, Sequence[Photo]]
    contradicting: Sequence[tuple[Photo, str]]
    alike: Sequence[AlikePictures]
    summary: str


def section(run: Run) -> DataSection:
    """Collect the section on the data."""
    inventory = Inventory(run.split, run.config)
    album = PhotoAlbum(run, GROUP_BYTES)
    by_id = {thumbnail.id: sha256 for sha256, thumbnail in album.thumbnails.items()}
    several = (picture for picture in run.split.quarantined if picture.kind is LeftOutKind.CONTRADICTING_LABELS)
    contradicting = [(album.photo(by_id[left.id]), left.detail) for left in several if left.id in by_id]
    alike, album = _alike(run, inventory, by_id, album), PhotoAlbum(run, SAMPLE_BYTES)
    repeated = {name for group in inventory.alike[:GROUPS] for name in group}
    by_class: dict[str, list[Photo]] = defaultdict(list)
    for sha256, thumbnail in album.thumbnails.items():
        if thumbnail.part == "train" and thumbnail.id not in repeated and (photo := album.photo(sha256)).source:
            by_class[photo.label].append(photo)
    samples = {row.name: by_class[row.name] for row in inventory.rows if row.name in by_class}
    summary = "; ".join(filter(None, [inventory.headline, inventory.findings]))
    return DataSection(inventory, samples, contradicting, alike, summary)


def _alike(run: Run, inventory: Inventory, by_id: Mapping[str, str], album: PhotoAlbum) -> list[AlikePictures]:
    """The groups of near duplicates, with thumbnails as far as there are any."""
    groups = []
    for place, group in enumerate(inventory.alike):
        known = [name for name in group if place < GROUPS and name in by_id]
        photos = [photo for photo in (album.photo(by_id[name]) for name in known) if photo.source or photo.repeated]
        photos = photos if len(photos) > 1 else []  # one alone shows nothing
        others = [name for name in group if name not in {photo.id for photo in photos}]
        changes, contradicting = inventory.changes.get(group, ()), group in run.split.contradicting
        groups.append(AlikePictures(photos, others, changes, contradicting))
    return groups
