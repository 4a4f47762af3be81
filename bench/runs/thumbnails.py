"""Thumbnails of the few pictures that the page shows: chosen, written into the run folder, and read from it.

    thumbnails.json            which pictures: content hash, id, label and part
    thumbnails/<sha256>.jpg    each of them, upright; one that could not be decoded is missing

The page needs copies: the pictures themselves may be elsewhere by then, or were only ever drawn.
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

from bench.cache.files import replacing, write_text
from bench.errors import DataError
from bench.records import Run, from_data, to_data, upgraded
from bench.runs import predictions
from bench.runs.predictions import Predictions

if TYPE_CHECKING:  # decoders are heavy, and only writing needs them
    from bench.data import Dataset, Item
    from bench.data.pictures import Pixels

_logger = logging.getLogger(__name__)

MISTAKES = 24
"""Most test pictures of one family that have a thumbnail: those that its model gets most confidently wrong."""

SHARED_MISTAKES = 48
"""Most test pictures with a thumbnail of those that every family gets wrong."""

SAMPLES_OF_A_CLASS, MAX_SAMPLES = 6, 60
"""Most training pictures of one class and of all classes that have a thumbnail."""

SIDE = 96
"""Longer side of a thumbnail in pixels; a smaller picture keeps its size."""

QUALITY = 75
"""Quality of the JPEG, 1 to 100: about 2 kB for a photograph."""

MAX_BYTES = 50_000
"""Largest file that is read: 96 by 96 pixels of noise take 10 kB."""


@dataclass(frozen=True)
class Thumbnail:
    """Record of a picture that has a thumbnail; its `sha256`, of the content, names the file.

    Attributes:
        id: The picture's path relative to the source.
        label: Index of its class.
    """

    sha256: str
    id: str
    label: int
    part: str

    def __post_init__(self) -> None:
        if not re.fullmatch("[0-9a-f]{64}", self.sha256):  # it becomes the name of a file
            raise ValueError(f"{self.sha256!r} is no SHA-256")


def path(run: Path, sha256: str) -> Path:
    return run / "thumbnails" / f"{sha256}.jpg"


# -- writing


class ThumbnailWriter:
    """Writer of a run's thumbnails. The first error is reported as a warning, each is logged, none stops the run."""

    def __init__(self, dataset: Dataset, run: Path, seed: int, warn: Callable[[str], None]) -> None:
        self._dataset, self._run, self._seed, self._warn = dataset, run, seed, warn
        self._written: dict[str, Thumbnail] = {}
        self._test: dict[str, Item] = {}
        self._has_warned = False

    def add_samples(self) -> None:
        """Add a few training pictures of every class."""
        with self._harmless():
            self._add(samples(self._dataset, self._seed))

    def add_mistakes(self, family: str) -> None:
        """Add the test pictures that the family's chosen model gets most confidently wrong."""
        with self._harmless():
            file = predictions.path(self._run, family)
            if file.exists():
                tested = predictions.read(file)
                self._add(self._items(tested, tested.mistakes[:MISTAKES]))

    def add_shared_mistakes(self, run: Run) -> None:
        """Add the test pictures that every chosen model gets wrong."""
        with self._harmless():
            tested = list(predictions.of_run(run).values())
            if tested:
                self._add(self._items(tested[0], predictions.shared_mistakes(tested)[:SHARED_MISTAKES]))

    def _items(self, tested: Predictions, places: Sequence[int]) -> list[Item]:
        self._test = self._test or {item.sha256: item for item in self._dataset.part("test")}
        names = [str(tested.sha256[place]) for place in places]
        return [self._test[name] for name in names if name in self._test]

    def _add(self, items: Sequence[Item]) -> None:
        from bench.data.pictures import ordered, quiet

        new = [item for item in items if item.sha256 not in self._written]
        with quiet():
            for _ in ordered(self._write, new):
                pass
        self._written |= {item.sha256: Thumbnail(item.sha256, item.id, item.label, item.part) for item in new}
        if new:
            write(self._run, self._written.values())

    def _write(self, item: Item) -> None:
        with contextlib.suppress(DataError):  # it vanished or changed meanwhile: the page shows its name alone
            content = encoded(self._dataset.picture(item, least=SIDE).pixels)
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
    """Draw training pictures that show each class, class by class.

    At most `SAMPLES_OF_A_CLASS` of each; fewer where there are many classes, and only of the largest classes where
    there are more than `MAX_SAMPLES`.
    """
    pictures: Mapping[int, list[Item]] = defaultdict(list)
    for item in dataset.part("train"):
        pictures[item.label].append(item)
    largest = sorted(pictures, key=lambda label: (-len(pictures[label]), dataset.classes[label]))[:MAX_SAMPLES]
    count = min(SAMPLES_OF_A_CLASS, MAX_SAMPLES // max(len(largest), 1))
    draw = random.Random(seed)
    return [item for label in largest for item in draw.sample(pictures[label], min(count, len(pictures[label])))]


def encoded(pixels: Pixels) -> bytes:
    """Shrink a whole picture, RGB of shape (height, width, 3), to a JPEG whose longer side is at most `SIDE`."""
    import cv2
    import numpy as np
    import simplejpeg

    height, width = pixels.shape[:2]
    scale = min(1.0, SIDE / max(height, width))
    size = (max(1, round(scale * width)), max(1, round(scale * height)))
    small = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)
    return bytes(simplejpeg.encode_jpeg(np.ascontiguousarray(small), QUALITY, "RGB", "420"))


def write(run: Path, every: Iterable[Thumbnail]) -> None:
    """Write the list of a run folder's thumbnails."""
    listed = {"schema_version": 1 + len(_UPGRADES), "pictures": to_data(list(every))}
    write_text(run / "thumbnails.json", json.dumps(listed, indent=1) + "\n")


# -- reading


def read(run: Path) -> dict[str, Thumbnail]:
    """Read the thumbnails of a run folder by `sha256`, in the order in which they were chosen.

    There are none where their list is missing, damaged or of a newer version: the page names the pictures alone.
    """
    try:
        listed = upgraded(json.loads((run / "thumbnails.json").read_text(encoding="utf-8")), _UPGRADES)
        return {thumbnail.sha256: thumbnail for thumbnail in from_data(tuple[Thumbnail, ...], listed["pictures"])}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}


def of_run(run: Run) -> dict[str, Thumbnail]:
    """Thumbnails of a run by `sha256`; a picture whose class the run does not have is left out."""
    known = range(len(run.split.classes))
    return {sha256: thumbnail for sha256, thumbnail in read(run.path).items() if thumbnail.label in known}


def jpeg(run: Path, sha256: str) -> bytes:
    """Content of a picture's thumbnail; empty where there is none."""
    try:
        with path(run, sha256).open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except OSError:
        return b""
    return content if content.startswith(b"\xff\xd8\xff") and len(content) <= MAX_BYTES else b""


def _list_1_to_2(listed: dict[str, Any]) -> dict[str, Any]:
    """Turn version 1's object, `sha256` → the rest, into a list."""
    return {**listed, "pictures": [{"sha256": sha256, **fields} for sha256, fields in listed["pictures"].items()]}


_UPGRADES = (_list_1_to_2,)
