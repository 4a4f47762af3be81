"""Thumbnails of the pictures on the page: select them, write them into the run folder, and read them.

    thumbnails.json            list of the pictures: content hash, id, label and part
    thumbnails/<sha256>.jpg    the thumbnails, upright; missing if a picture could not be decoded

The page needs copies, because the pictures may have moved by then, or were drawn in memory.
"""

from __future__ import annotations

import contextlib
import json
import logging
import random
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.cache import files
from bench.cache.files import replacing, write_text
from bench.errors import DataError, RunFolderError, reading
from bench.records import LeftOutKind, Run, from_data, to_data, upgraded
from bench.runs import doubted, predictions
from bench.runs.predictions import Predictions

if TYPE_CHECKING:  # decoders are heavy, and only writing needs them
    from bench.data import Dataset, Item
    from bench.data.pictures import Pixels

_logger = logging.getLogger(__name__)

MISTAKES = 24
"""Maximum number of thumbnails for the mistakes of a family's model, the most confident of every confusion first."""

SHARED_MISTAKES = 24
"""Maximum number of thumbnails for the mistakes that all families have in common."""

DOUBTED = 24
"""Maximum number of thumbnails for labels in doubt."""

GROUPS, OF_A_GROUP = 12, 4
"""Maximum number of groups of near duplicates with thumbnails, and of pictures in each."""

SAMPLES_OF_A_CLASS, MAX_SAMPLES = 6, 60
"""Maximum number of thumbnails for training pictures, per class and in total."""

SIDE, SAMPLE_SIDE = 192, 96
"""Longer side in pixels of a thumbnail, and of a random training picture's; smaller pictures are not enlarged."""

QUALITY = 75
"""Quality of the JPEG, 1 to 100: about 6 kB for a photograph."""

MAX_BYTES = 50_000
"""Larger files are not read; 192 by 192 pixels of noise take 30 kB."""


@dataclass(frozen=True)
class Thumbnail:
    """Record of a picture with a thumbnail; `sha256`, the hash of its content, names the file.

    Attributes:
        id: The picture's path relative to the source.
        label: Index of its class.
        part: Its part of the split; "" outside of it.
    """

    sha256: str
    id: str
    label: int
    part: str

    def __post_init__(self) -> None:
        if not re.fullmatch("[0-9a-f]{64}", self.sha256):  # it becomes a file name
            raise ValueError(f"{self.sha256!r} is not a SHA-256")


def path(run: Path, sha256: str) -> Path:
    return run / "thumbnails" / f"{sha256}.jpg"


# -- writing


class ThumbnailWriter:
    """Writes a run's thumbnails. Every error is logged and the first is reported as a warning; none stops the run."""

    def __init__(self, dataset: Dataset, run: Path, seed: int, warn: Callable[[str], None]) -> None:
        self._dataset, self._run, self._seed, self._warn = dataset, run, seed, warn
        self._written: dict[str, Thumbnail] = {}
        self._judging: dict[str, Item] = {}
        self._has_warned = False

    def add_samples(self) -> None:
        """Add contents under several labels, the first groups of near duplicates, and a few training pictures."""
        with self._harmless():
            self._add([*contradicting(self._dataset), *near_duplicates(self._dataset)])
            self._add(samples(self._dataset, self._seed), SAMPLE_SIDE)

    def add_mistakes(self, family: str) -> None:
        """Add mistakes of the family's chosen model, the most confident of every confusion first."""
        with self._harmless():
            file = predictions.path(self._run, family)
            if file.exists():
                tested = predictions.read(file)
                self._add(self._items(tested, tested.varied(tested.mistakes, MISTAKES)))

    def add_shared_mistakes(self, run: Run) -> None:
        """Add the mistakes that all chosen models but baselines have in common."""
        with self._harmless():
            by_family = predictions.of_run(run)
            tested = [predicted for family, predicted in by_family.items() if family not in run.baselines]
            if tested:
                self._add(self._items(tested[0], predictions.shared_mistakes(tested)[:SHARED_MISTAKES]))

    def add_doubted(self, run: Run) -> None:
        """Add the pictures whose labels are in doubt."""
        with self._harmless():
            self._add(self._named([label.sha256 for label in doubted.of_run(run)[:DOUBTED]]))

    def _items(self, tested: Predictions, places: Sequence[int]) -> list[Item]:
        return self._named([str(tested.sha256[place]) for place in places])

    def _named(self, names: Iterable[str]) -> list[Item]:
        parts = ("validation", "test")
        self._judging = self._judging or {item.sha256: item for part in parts for item in self._dataset.part(part)}
        return [self._judging[name] for name in names if name in self._judging]

    def _add(self, items: Sequence[Item], side: int = SIDE) -> None:
        from bench.data.pictures import ordered, quiet

        new = [item for item in items if item.sha256 not in self._written]
        with quiet():
            for _ in ordered(lambda item: self._write(item, side), new):
                pass
        self._written |= {item.sha256: Thumbnail(item.sha256, item.id, item.label, item.part) for item in new}
        if new:
            write(self._run, self._written.values())

    def _write(self, item: Item, side: int) -> None:
        with contextlib.suppress(DataError):  # missing or changed meanwhile; the page shows only its name
            content = encoded(self._dataset.picture(item, least=side).pixels, side)
            with replacing(path(self._run, item.sha256)) as temporary:
                temporary.write_bytes(content)

    @contextlib.contextmanager
    def _harmless(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            _logger.exception("the page lacks pictures")
            if not self._has_warned:
                self._warn(f"the page lacks pictures ({type(error).__name__}: {error}); the results are safe")
            self._has_warned = True


def samples(dataset: Dataset, seed: int) -> list[Item]:
    """Draw random training pictures of each class, class by class.

    There are at most `SAMPLES_OF_A_CLASS` per class; fewer with many classes. With more than `MAX_SAMPLES` classes,
    only the largest are drawn from.
    """
    pictures: Mapping[int, list[Item]] = defaultdict(list)
    for item in dataset.part("train"):
        pictures[item.label].append(item)
    largest = sorted(pictures, key=lambda label: (-len(pictures[label]), dataset.classes[label]))[:MAX_SAMPLES]
    count = min(SAMPLES_OF_A_CLASS, MAX_SAMPLES // max(len(largest), 1))
    draw = random.Random(seed)
    return [item for label in largest for item in draw.sample(pictures[label], min(count, len(pictures[label])))]


def contradicting(dataset: Dataset) -> list[Item]:
    """Select the first contents that stand under several labels; they are left out of the split."""
    from bench.data import Item

    items: dict[str, Item] = {}
    left_out = [picture for picture in dataset.quarantined if picture.kind is LeftOutKind.CONTRADICTING_LABELS]
    for picture in left_out:
        if len(items) < GROUPS and picture.label in dataset.classes:
            with contextlib.suppress(DataError):
                sha256 = dataset.source.picture(picture.id, SIDE).sha256
                items.setdefault(sha256, Item(picture.id, dataset.classes.index(picture.label), "", sha256))
    return list(items.values())


def near_duplicates(dataset: Dataset) -> list[Item]:
    """Select the first groups, those with several labels first; of each every label before a second picture of one."""
    known = {item.id: item for item in (*dataset.items, *dataset.unused)}
    chosen: list[Item] = []
    for group in sorted(dataset.alike, key=lambda group: group not in dataset.contradicting)[:GROUPS]:
        items = [known[name] for name in group if name in known]
        labels = [item.label for item in items]
        turns = sorted((labels[:place].count(label), place) for place, label in enumerate(labels))
        chosen += [items[place] for _, place in turns[:OF_A_GROUP]]
    return chosen


def encoded(pixels: Pixels, side: int = SIDE) -> bytes:
    """Encode a picture, RGB of shape (height, width, 3), as a JPEG whose longer side is at most `side`."""
    import cv2
    import numpy as np
    import simplejpeg

    height, width = pixels.shape[:2]
    scale = min(1.0, side / max(height, width))
    size = (max(1, round(scale * width)), max(1, round(scale * height)))
    small = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)
    return bytes(simplejpeg.encode_jpeg(np.ascontiguousarray(small), QUALITY, "RGB", "420"))


def write(run: Path, thumbnails: Iterable[Thumbnail]) -> None:
    """Write the list of a run folder's thumbnails."""
    listed = {"schema_version": 1 + len(_UPGRADES), "pictures": to_data(list(thumbnails))}
    write_text(run / "thumbnails.json", json.dumps(listed, indent=1) + "\n")


# -- reading


def read(run: Path) -> dict[str, Thumbnail]:
    """Read the list of a run folder's thumbnails by `sha256`, in the order of their selection.

    It is empty if the file is missing, damaged or of a newer version; the page then shows only names.
    """
    file = run / "thumbnails.json"
    with contextlib.suppress(RunFolderError), reading(file):
        listed = upgraded(json.loads(files.read(file)), _UPGRADES)
        return {thumbnail.sha256: thumbnail for thumbnail in from_data(tuple[Thumbnail, ...], listed["pictures"])}
    return {}


def of_run(run: Run) -> dict[str, Thumbnail]:
    """Thumbnails of a run by `sha256`; pictures of unknown classes are left out."""
    known = range(len(run.split.classes))
    return {sha256: thumbnail for sha256, thumbnail in read(run.path).items() if thumbnail.label in known}


def jpeg(run: Path, sha256: str) -> bytes:
    """Content of a picture's thumbnail; empty without one."""
    try:
        content = files.read(path(run, sha256), MAX_BYTES + 1)
    except OSError:
        return b""
    return content if content.startswith(b"\xff\xd8\xff") and len(content) <= MAX_BYTES else b""


def _list_1_to_2(listed: dict[str, Any]) -> dict[str, Any]:
    """Turn the object of version 1, by `sha256`, into a list."""
    return {**listed, "pictures": [{"sha256": sha256, **fields} for sha256, fields in listed["pictures"].items()]}


_UPGRADES = (_list_1_to_2,)
