"""The gallery: chooses the pictures that the page shows small, and writes their thumbnails into the run folder.

The page may show pictures whose files are elsewhere by then, or were only ever drawn: so it has copies, a few kilobytes
each, decoded as for training.
"""

from __future__ import annotations

import contextlib
import random
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np
import simplejpeg

from bench.cache.files import replacing
from bench.data import Dataset, Item
from bench.data.parallel import ordered
from bench.data.pictures import Pixels, quiet
from bench.errors import DataError
from bench.records import Run
from bench.runs import predictions, thumbnails
from bench.runs.predictions import Predictions
from bench.runs.thumbnails import MISTAKES, SHARED_MISTAKES, Thumbnail

SIDE = 96
"""The longer side of a thumbnail in pixels; a smaller picture stays as it is."""

QUALITY = 75
"""Of the JPEG, 1 to 100: about 2 kB for a photograph."""

SAMPLES_OF_A_CLASS, MOST_SAMPLES = 6, 60
"""So many training pictures of each class at most, and of all together, show what the data look like."""


class Gallery:
    """The thumbnails of one run. A fault costs pictures on the page, never the run: it is told once.

    Args:
        dataset: The run's pictures.
        run: Its folder.
        seed: Draws the samples.
        warn: Told of a fault.
    """

    def __init__(self, dataset: Dataset, run: Path, seed: int, warn: Callable[[str], None]) -> None:
        self._dataset, self._run, self._seed, self._warn = dataset, run, seed, warn
        self._kept: dict[str, Thumbnail] = {}
        self._test: dict[str, Item] = {}
        self._broken = False

    def samples(self) -> None:
        """Adds a few training pictures of every class."""
        with self._harmless():
            self._add(samples(self._dataset, self._seed))

    def mistakes(self, family: str) -> None:
        """Adds the test pictures that the family's chosen model gets wrong, the most confidently wrong ones."""
        with self._harmless():
            file = predictions.path(self._run, family)
            if file.exists():
                found = predictions.read(file)
                self._add(self._chosen(found, found.mistakes[:MISTAKES]))

    def shared_mistakes(self, run: Run) -> None:
        """Adds the test pictures that every chosen model gets wrong."""
        with self._harmless():
            found = list(predictions.of_run(run).values())
            if found:
                self._add(self._chosen(found[0], predictions.shared_mistakes(found)[:SHARED_MISTAKES]))

    def _chosen(self, found: Predictions, places: Sequence[int]) -> list[Item]:
        self._test = self._test or {item.sha256: item for item in self._dataset.part("test")}
        names = [str(found.sha256[place]) for place in places]
        return [self._test[name] for name in names if name in self._test]

    def _add(self, items: Sequence[Item]) -> None:
        new = [item for item in items if item.sha256 not in self._kept]
        with quiet():
            for _ in ordered(self._write, new):
                pass
        self._kept |= {item.sha256: Thumbnail(item.sha256, item.id, item.label, item.part) for item in new}
        if new:
            thumbnails.write(self._run, self._kept.values())

    def _write(self, item: Item) -> None:
        with contextlib.suppress(DataError):  # it vanished or changed meanwhile: the page gives its name alone
            content = thumbnail(self._dataset.picture(item, least=SIDE).pixels)
            with replacing(thumbnails.path(self._run, item.sha256)) as temporary:
                temporary.write_bytes(content)

    @contextlib.contextmanager
    def _harmless(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            if not self._broken:
                self._warn(f"the page lacks pictures ({type(error).__name__}: {error}); the results are safe")
            self._broken = True


def samples(dataset: Dataset, seed: int) -> list[Item]:
    """Training pictures that show what each class looks like, class by class, drawn from the seed.

    `SAMPLES_OF_A_CLASS` of each; fewer where the classes are many, and only of the largest where they are more than
    `MOST_SAMPLES`.
    """
    pictures: Mapping[int, list[Item]] = defaultdict(list)
    for item in dataset.part("train"):
        pictures[item.label].append(item)
    largest = sorted(pictures, key=lambda label: (-len(pictures[label]), dataset.classes[label]))[:MOST_SAMPLES]
    count = min(SAMPLES_OF_A_CLASS, MOST_SAMPLES // max(len(largest), 1))
    draw = random.Random(seed)
    return [item for label in largest for item in draw.sample(pictures[label], min(count, len(pictures[label])))]


def thumbnail(pixels: Pixels) -> bytes:
    """A picture as a small JPEG: the whole of it, its longer side `SIDE` at most.

    Args:
        pixels: RGB, uint8, shape (height, width, 3).
    """
    height, width = pixels.shape[:2]
    scale = min(1.0, SIDE / max(height, width))
    size = (max(1, round(scale * width)), max(1, round(scale * height)))
    small = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)
    return bytes(simplejpeg.encode_jpeg(np.ascontiguousarray(small), QUALITY, "RGB", "420"))
