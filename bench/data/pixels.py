"""Pictures as arrays: decoded and resized once for all runs, stored on disk, mapped into memory, shared by processes.

A decoded picture is stored under the hash of its content, in a folder for its size and the version of the decoding.
With another seed, split, limit or fold, a copied or renamed folder, or additional pictures, only new contents are
decoded. A row is a picture, uint8, shape (size, size, 3), of 3 * size**2 bytes: 49 kB at 128 pixels, 49 GB for a
million.
"""

from __future__ import annotations

import contextlib
import hashlib
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from bench.cache import directory
from bench.cache.rows import Rows, RowStore, digests
from bench.data.audit import PixelSink
from bench.data.dataset import Dataset, Item
from bench.data.pictures import SHARED_SIDE, SIXTEEN_BITS, Levels, Pixels, ordered, quiet, resized
from bench.data.sources import StageCallback

VERSION = 2
"""Part of every folder's name; increased when decoding gives different pixels, or the format of the files changes."""


def pixels(
    dataset: Dataset,
    items: Sequence[Item],
    size: int,
    cache: Path,
    progress: StageCallback | None = None,
    fit: str = "squash",
) -> Rows:
    """Read pictures of a data set from the cache; missing ones are decoded into it.

    Args:
        dataset: Its pictures at this size are never evicted to make room for new ones.
        items: The pictures, in the order of the result.
        size: Side of the square, in pixels.
        cache: The folder of the cache (`bench.cache.folder()`), created if missing. If several processes need the same
            pictures, one of them decodes.
        progress: Called while pictures are decoded.
        fit: As for `pictures.resized`.

    Raises:
        DataError: A picture is missing or has changed since the split was made, or the disk is full.
        ConfigError: The cache cannot be written.
    """
    keys = row_keys(dataset, items, fit)
    store, wanted = _store(cache, size), digests(keys)
    places = store.places(wanted)
    if (places < 0).any():
        with directory.locked(store.folder):
            store = _store(cache, size)  # another process may have decoded them while this one waited
            pairs = zip(items, keys, store.places(wanted), strict=True)
            missing = {key: item for item, key, place in pairs if place < 0}
            store = _filled(store, dataset, missing, cache, progress, fit)
        places = store.places(wanted)
    directory.touch(store.paths(places))
    return store.rows(places)


def row_keys(dataset: Dataset, items: Iterable[Item], fit: str) -> list[str]:
    """Keys of pictures in the cache, hexadecimal: the hash of the content, and of how it becomes a square."""
    levels = SIXTEEN_BITS if dataset.levels is None else dataset.levels
    return [_row_key(item.sha256, fit, levels) for item in items]


def _row_key(sha256: str, fit: str, levels: Levels) -> str:
    """The hash of the content itself, where a picture is squashed and nothing is scaled otherwise than 16 bits."""
    if fit == "squash" and levels == SIXTEEN_BITS:
        return sha256
    return hashlib.sha256(f"{sha256} {fit} {levels}".encode()).hexdigest()


@contextlib.contextmanager
def recording(sizes: Iterable[int], fit: str, count: int, cache: Path) -> Iterator[PixelSink]:
    """Store pictures that the audit decodes, so that they are not decoded again.

    Yields a function of a picture's SHA-256, hexadecimal, and its pixels, uint8, shape (height, width, 3), decoded with
    `least=SHARED_SIDE`. It is thread-safe, and skips pictures that are in the cache.

    Args:
        sizes: Sides of the squares, in pixels. Sizes above `SHARED_SIDE` need more detail than the audit decodes, and
            are skipped.
        fit: As for `pictures.resized`.
        count: Maximum number of pictures.
        cache: As for `pixels`; so are the errors.
    """
    with contextlib.ExitStack() as stack:
        recorders = [_Recorder(size, fit, count, cache) for size in sizes if size <= SHARED_SIDE]
        for recorder in recorders:
            stack.enter_context(recorder.segment)

        def keep(sha256: str, picture: Pixels) -> None:
            for recorder in recorders:
                recorder.keep(sha256, picture)

        yield keep


# -- writing


def _filled(
    store: RowStore,
    dataset: Dataset,
    missing: Mapping[str, Item],
    cache: Path,
    progress: StageCallback | None,
    fit: str,
) -> RowStore:
    """Decode missing pictures, by key, segment by segment; finished segments stay if a later one fails."""
    size, done = store.row_shape[0], 0

    def square(item: Item) -> Pixels:
        return resized(dataset.picture(item, least=size).pixels, size, fit)

    keys = list(missing)
    spared = store.paths(store.places(digests(row_keys(dataset, dataset.items, fit))))
    with directory.reserved(cache, len(missing) * store.row_bytes, spared), quiet():
        for start in range(0, len(missing), store.max_rows):
            some = keys[start : start + store.max_rows]
            path = store.new_path()
            with store.writing(path) as write:
                for key, pixels in zip(some, ordered(square, [missing[key] for key in some]), strict=True):
                    write(key, pixels)
                    done += 1
                    if progress:
                        progress(f"decoding pictures at {size} pixels", done, len(missing))
            store = store.with_segment(path)
    return store


class _Recorder:
    """Stores pictures of one size; the first picture opens a segment."""

    def __init__(self, size: int, fit: str, count: int, cache: Path) -> None:
        self._size, self._fit, self._cache, self._lock = size, fit, cache, threading.Lock()
        self._store, self._in_use = _store(cache, size), set[Path]()
        self._left, self._claimed = count, set[str]()  # maximum number of pictures to come, and those already seen
        self.segment = contextlib.ExitStack()  # the segment that is being written; an error discards it
        self._path, self._rows = Path(), 0
        self._write: PixelSink | None = None

    def keep(self, sha256: str, picture: Pixels) -> None:
        key = _row_key(sha256, self._fit, SIXTEEN_BITS)
        with self._lock:
            stored = self._store.path_of(key)
            if stored:
                self._in_use.add(stored)
            if stored or key in self._claimed:
                self._left -= 1
                return
            self._claimed.add(key)
        square = resized(picture, self._size, self._fit)
        with self._lock:
            self._write = self._write or self._begin()
            self._write(key, square)
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
