"""Pictures as arrays: decoded and resized once for all runs, stored on disk, mapped into memory, shared by processes.

A decoded picture is stored under the hash of its content, in a folder for its size and the version of the decoding.
With another seed, split, limit or fold, a copied or renamed folder, or additional pictures, only new contents are
decoded. A row is a picture, uint8, shape (size, size, 3), of 3 * size**2 bytes: 49 kB at 128 pixels, 49 GB for a
million.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np

from bench.cache import directory
from bench.cache.rows import Digests, Rows, RowStore, digests
from bench.data.audit import PixelSink
from bench.data.dataset import Dataset, Item
from bench.data.pictures import SHARED_SIDE, Pixels, ordered, quiet, resized
from bench.data.sources import StageCallback

VERSION = 2
"""Part of every folder's name; increased when decoding gives different pixels, or the format of the files changes."""


def pixels(
    dataset: Dataset, items: Sequence[Item], size: int, cache: Path, progress: StageCallback | None = None
) -> Rows:
    """Read pictures of a data set from the cache; missing ones are decoded into it.

    The whole picture is resized to a square: a crop could cut off the object, and borders would waste pixels.

    Args:
        dataset: Its pictures at this size are never evicted to make room for new ones.
        items: The pictures, in the order of the result.
        size: Side of the square, in pixels.
        cache: The folder of the cache (`bench.cache.folder()`), created if missing. If several processes need the same
            pictures, one of them decodes.
        progress: Called while pictures are decoded.

    Raises:
        DataError: A picture is missing or has changed since the split was made, or the disk is full.
        ConfigError: The cache cannot be written.
    """
    store, wanted = _store(cache, size), _digests(items)
    places = store.places(wanted)
    if (places < 0).any():
        with directory.locked(store.folder):
            store = _store(cache, size)  # another process may have decoded them while this one waited
            missing = [item for item, place in zip(items, store.places(wanted), strict=True) if place < 0]
            store = _filled(store, dataset, missing, cache, progress)
        places = store.places(wanted)
    directory.touch(store.paths(places))
    return store.rows(places)


@contextlib.contextmanager
def recording(sizes: Iterable[int], count: int, cache: Path) -> Iterator[PixelSink]:
    """Store pictures that the audit decodes, so that they are not decoded again.

    Yields a function of a picture's SHA-256, hexadecimal, and its pixels, uint8, shape (height, width, 3), decoded with
    `least=SHARED_SIDE`. It is thread-safe, and skips pictures that are in the cache.

    Args:
        sizes: Sides of the squares, in pixels. Sizes above `SHARED_SIDE` need more detail than the audit decodes, and
            are skipped.
        count: Maximum number of pictures.
        cache: As for `pixels`; so are the errors.
    """
    with contextlib.ExitStack() as stack:
        recorders = [_Recorder(size, count, cache) for size in sizes if size <= SHARED_SIDE]
        for recorder in recorders:
            stack.enter_context(recorder.segment)

        def keep(sha256: str, picture: Pixels) -> None:
            for recorder in recorders:
                recorder.keep(sha256, picture)

        yield keep


# -- writing


def _filled(
    store: RowStore, dataset: Dataset, missing: Sequence[Item], cache: Path, progress: StageCallback | None
) -> RowStore:
    """Decode missing pictures segment by segment; finished segments stay if a later one fails."""
    size, done = store.row_shape[0], 0

    def square(item: Item) -> Pixels:
        return resized(dataset.picture(item, least=size).pixels, size)

    spared = store.paths(store.places(_digests(dataset.items)))
    with directory.reserved(cache, len(missing) * store.row_bytes, spared), quiet():
        for start in range(0, len(missing), store.max_rows):
            some = missing[start : start + store.max_rows]
            path = store.new_path()
            with store.writing(path) as write:
                for item, pixels in zip(some, ordered(square, some), strict=True):
                    write(item.sha256, pixels)
                    done += 1
                    if progress:
                        progress(f"decoding pictures at {size} pixels", done, len(missing))
            store = store.with_segment(path)
    return store


class _Recorder:
    """Stores pictures of one size; the first picture opens a segment."""

    def __init__(self, size: int, count: int, cache: Path) -> None:
        self._size, self._cache, self._lock = size, cache, threading.Lock()
        self._store, self._in_use = _store(cache, size), set[Path]()
        self._left, self._claimed = count, set[str]()  # maximum number of pictures to come, and those already seen
        self.segment = contextlib.ExitStack()  # the segment that is being written; an error discards it
        self._path, self._rows = Path(), 0
        self._write: PixelSink | None = None

    def keep(self, sha256: str, picture: Pixels) -> None:
        with self._lock:
            stored = self._store.path_of(sha256)
            if stored:
                self._in_use.add(stored)
            if stored or sha256 in self._claimed:
                self._left -= 1
                return
            self._claimed.add(sha256)
        square = resized(picture, self._size)
        with self._lock:
            self._write = self._write or self._begin()
            self._write(sha256, square)
            self._left, self._rows = self._left - 1, self._rows + 1
            if self._rows == self._store.max_rows:
                self.segment.close()
                self._store = self._store.with_segment(self._path)
                self._in_use.add(self._path)
                self._write, self._rows = None, 0

    def _begin(self) -> PixelSink:
        self._path = self._store.new_path()
        needed = min(self._store.max_rows, self._left) * self._store.row_bytes
        self.segment.enter_context(directory.reserved(self._cache, needed, self._in_use))
        return self.segment.enter_context(self._store.writing(self._path))


def _store(cache: Path, size: int) -> RowStore:
    return RowStore.open(directory.kind_folder("pixels", cache) / f"{size}-v{VERSION}", (size, size, 3), np.uint8)


def _digests(items: Iterable[Item]) -> Digests:
    return digests([item.sha256 for item in items])
