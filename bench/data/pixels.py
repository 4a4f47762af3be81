"""Pictures as arrays: decoded and resized once for all runs, kept on disk, mapped into memory, shared by processes.

A decoded picture is kept under the hash of its content, in a folder for its size and for the way it is made. So
another seed, split, limit or fold, a copied or renamed folder, or some pictures more decode only what was never decoded
before. The files there, segments of up to 256 MB, are written once and never changed. A segment is two arrays in
NumPy's file format (https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html), one after the other:

    pixels    uint8, shape (n, size, size, 3)
    digests   SHA-256 of each picture's content, dtype V32, shape (n,)

A picture takes 3 * size**2 bytes there: 49 kB at 128 pixels, 49 GB for a million. In memory it takes 16 bytes, and 170
for the two seconds in which a million is looked up: its pixels are read when they are asked for, and the operating
system keeps them as long as it has memory to spare.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import threading
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from bench import cache as kept
from bench.atomic import replacing
from bench.data.audit import Keep
from bench.data.dataset import Dataset, Item
from bench.data.parallel import ordered
from bench.data.pictures import SHARED_SIDE, Array, quiet, resized
from bench.data.sources import Progress

VERSION = 1
"""Part of every folder's name: goes up when the same picture would give other pixels."""

SEGMENT_BYTES = 256 * 2**20
MOST_ROWS = 65_536
"""A segment holds at most so much: it is what is written anew when it is damaged, and goes when room is needed."""

Digests = npt.NDArray[np.bytes_]
Places = npt.NDArray[np.int64]


class Pixels:
    """Pictures of one size in a given order, uint8, shape (n, size, size, 3), 0 to 255; read when they are asked for.

    `pixels[3]`, `pixels[10:20]`, `pixels[indices]` and `pixels[mask]` give arrays, as they would of an array of all;
    `np.asarray(pixels)` reads everything. Threads may read at once.

    Args:
        segments: Arrays that hold the pictures, each of shape (rows, size, size, 3).
        numbers: For each picture, which of them has it.
        rows: For each picture, its row there.
        size: Side of a picture, in pixels.
    """

    dtype = np.dtype(np.uint8)
    ndim = 4

    def __init__(self, segments: Sequence[Array], numbers: Places, rows: Places, size: int) -> None:
        self._segments, self._numbers, self._rows = tuple(segments), numbers, rows
        self.shape = (len(rows), size, size, 3)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, index: int | slice | npt.NDArray[Any] | Sequence[int]) -> Array:
        numbers, rows = np.asarray(self._numbers[index]), np.asarray(self._rows[index])
        if rows.ndim == 0:
            return self._read(int(numbers), int(rows))
        if len(rows) and (np.diff(rows) == 1).all() and (numbers == numbers[0]).all():  # nothing need be copied
            return self._read(int(numbers[0]), slice(rows[0], rows[-1] + 1))
        result = np.empty((len(rows), *self.shape[1:]), np.uint8)
        for picture, number, row in zip(result, numbers.tolist(), rows.tolist(), strict=True):
            picture[...] = self._read(number, row)
        return result

    def _read(self, number: int, rows: int | slice) -> Array:
        found: Array = self._segments[number][rows]
        return found

    def __iter__(self) -> Iterator[Array]:
        return (self[number] for number in range(len(self)))

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> npt.NDArray[Any]:
        return np.array(self[:], dtype, copy=copy)


def pixels(dataset: Dataset, items: Sequence[Item], size: int, cache: Path, progress: Progress | None = None) -> Pixels:
    """Pictures of a data set; those that the cache does not have are decoded into it.

    The whole picture is squeezed to a square, because a crop could cut off what tells the classes apart, and borders
    would spend pixels on nothing.

    Args:
        dataset: The data set. What the cache has of it at this size stays there, whatever must go for what is new.
        items: Which of its pictures, in which order.
        size: Side of the square, in pixels.
        cache: The folder of the cache (`bench.cache.folder()`), made if need be. Several processes may ask at once;
            only one of them decodes.
        progress: Called while pictures are decoded.

    Raises:
        DataError: A picture vanished or changed since the split was made, or the disk is full.
        ConfigError: The cache cannot be written.
    """
    folder, wanted = _folder(cache, size), _digests(items)
    shelf = _Shelf.found(folder, size)
    places = shelf.places(wanted)
    if (places < 0).any():
        with kept.alone(folder):
            shelf = _Shelf.found(folder, size)  # another process may have decoded them while this one waited
            missing = [item for item, place in zip(items, shelf.places(wanted), strict=True) if place < 0]
            shelf = _filled(shelf, dataset, missing, cache, progress)
        places = shelf.places(wanted)
    kept.touch(shelf.paths(places))
    return shelf.pixels(places)


@contextlib.contextmanager
def recording(sizes: Iterable[int], count: int, cache: Path) -> Iterator[Keep]:
    """Keeps pictures that are decoded for another reason (the audit), so that they are not decoded again.

    What it yields takes the SHA-256 of a picture's content, hexadecimal, and its pixels, uint8, shape (height, width,
    3), decoded with `least=SHARED_SIDE`; threads may call it at once. Pictures that the cache has are passed over.

    Args:
        sizes: Sides of the squares that are kept, in pixels. Those above `SHARED_SIDE` need more detail than the audit
            decodes, and are left to `pixels`.
        count: At most so many pictures will come.
        cache: As for `pixels`.

    Raises:
        DataError: The disk is full.
        ConfigError: The cache cannot be written.
    """
    with contextlib.ExitStack() as stack:
        recorders = [stack.enter_context(_Recorder(size, count, cache)) for size in sizes if size <= SHARED_SIDE]

        def keep(sha256: str, picture: Array) -> None:
            for recorder in recorders:
                recorder.keep(sha256, picture)

        yield keep


# -- reading


@dataclass(frozen=True)
class _Segment:
    path: Path
    pixels: Array
    digests: Digests

    @classmethod
    def opened(cls, path: Path, size: int) -> _Segment | None:
        """None where it is gone, damaged or something else: then its pictures count as not there."""
        try:
            with path.open("rb") as file:
                rows, *side = _header(file, "uint8")
                start = file.tell()
                file.seek(rows * _row_bytes(size), os.SEEK_CUR)
                (count,) = _header(file, "V32")
                digests = np.frombuffer(file.read(), "S32")
            if side != [size, size, 3] or not rows == count == len(digests):
                return None
            return cls(path, np.asarray(np.memmap(path, np.uint8, "r", start, (rows, size, size, 3))), digests)
        except Exception:  # whatever a foreign file makes a parser raise
            return None


@dataclass(frozen=True)
class _Shelf:
    """Segments of one folder, all of one size."""

    folder: Path
    size: int
    segments: tuple[_Segment, ...]

    @classmethod
    def found(cls, folder: Path, size: int) -> _Shelf:
        opened = (_Segment.opened(path, size) for path in sorted(folder.glob("*.npy")))
        return cls(folder, size, tuple(segment for segment in opened if segment))

    def with_new(self, path: Path) -> _Shelf:
        """With a segment that has just been written."""
        segment = _Segment.opened(path, self.size)
        if segment is None:
            raise RuntimeError(f"{path}: was written and cannot be read")
        return replace(self, segments=(*self.segments, segment))

    def places(self, wanted: Digests) -> Places:
        """The row of each picture, counted through all segments; -1 where there is none."""
        digests, order = self._sorted
        if not len(digests):
            return np.full(len(wanted), -1)
        nearest = np.minimum(np.searchsorted(digests, wanted), len(digests) - 1)
        return np.where(digests[nearest] == wanted, order[nearest], -1)

    def path_of(self, sha256: str) -> Path | None:
        """Where one picture is; for one it is much faster than `places`."""
        digests, order = self._sorted
        digest = bytes.fromhex(sha256)
        nearest = digests.searchsorted(digest)
        found = digests[nearest : nearest + 1].tobytes() == digest
        return self.segments[int(self._numbers(order[nearest]))].path if found else None

    def paths(self, places: Places) -> list[Path]:
        """The segments that these rows are in; what is not there is left out."""
        return [self.segments[number].path for number in np.unique(self._numbers(places[places >= 0]))]

    def pixels(self, places: Places) -> Pixels:
        """The pictures in these rows; segments that have none of them are let go."""
        numbers = self._numbers(places)
        rows = places - self._starts[numbers]
        used, numbers = np.unique(numbers, return_inverse=True)
        return Pixels([self.segments[number].pixels for number in used], numbers, rows, self.size)

    def _numbers(self, places: Places) -> Places:
        """The segment of each row."""
        return np.asarray(np.searchsorted(self._starts, places, side="right") - 1, np.int64)

    @cached_property
    def _starts(self) -> Places:
        return np.cumsum([0, *(len(segment.digests) for segment in self.segments)])

    @cached_property
    def _sorted(self) -> tuple[Digests, Places]:
        digests = np.concatenate([np.empty(0, "S32"), *(segment.digests for segment in self.segments)])
        order = np.argsort(digests, kind="stable")
        return digests[order], order


def _header(file: IO[bytes], dtype: str) -> tuple[int, ...]:
    """The shape of the array that follows."""
    version = np.lib.format.read_magic(file)
    shape, fortran_order, found = np.lib.format.read_array_header_1_0(file)
    if version != (1, 0) or fortran_order or found != dtype:
        raise ValueError(f"version {version}, {found}, Fortran's order: {fortran_order}")
    return shape


# -- writing


@contextlib.contextmanager
def _segment(path: Path, size: int) -> Iterator[Keep]:
    """A new segment, in its place when the block ends well.

    It is written in order, not through a mapping: where the disk is full, that is an OSError and not a SIGBUS.
    """
    digests = bytearray()
    with replacing(path) as temporary, temporary.open("xb") as file:

        def header(rows: int) -> None:  # NumPy leaves room in it for the number of rows to grow
            shape = (rows, size, size, 3)
            np.lib.format.write_array_header_1_0(file, {"descr": "|u1", "fortran_order": False, "shape": shape})

        def write(sha256: str, square: Array) -> None:
            file.write(np.ascontiguousarray(square).data)
            digests.extend(bytes.fromhex(sha256))

        header(0)
        yield write
        np.lib.format.write_array(file, np.frombuffer(digests, "V32"), (1, 0))
        file.seek(0)
        header(len(digests) // 32)


def _filled(shelf: _Shelf, dataset: Dataset, missing: Sequence[Item], cache: Path, progress: Progress | None) -> _Shelf:
    """Decodes what is missing, segment by segment: what is done stays, even if a later one fails."""

    def square(item: Item) -> Array:
        return resized(dataset.picture(item, least=shelf.size).pixels, shelf.size)

    rows, done = _most_rows(shelf.size), 0
    spared = shelf.paths(shelf.places(_digests(dataset.items)))
    with kept.room(cache, len(missing) * _row_bytes(shelf.size), spared), quiet():
        for start in range(0, len(missing), rows):
            some = missing[start : start + rows]
            path = _new_path(shelf.folder)
            with _segment(path, shelf.size) as write:
                for item, pixels in zip(some, ordered(square, some), strict=True):
                    write(item.sha256, pixels)
                    done += 1
                    if progress:
                        progress(f"decoding pictures at {shelf.size} pixels", done, len(missing))
            shelf = shelf.with_new(path)
    return shelf


class _Recorder:
    """Keeps pictures of one size as they come; a segment is begun when there is something to write to it."""

    def __init__(self, size: int, count: int, cache: Path) -> None:
        self._size, self._left, self._cache = size, count, cache
        self._shelf = _Shelf.found(_folder(cache, size), size)
        self._in_use: set[Path] = set()
        self._claimed: set[str] = set()  # only what no finished segment has: bounded, however many pictures come
        self._written: set[str] = set()
        self._lock = threading.Lock()
        self._segment = contextlib.ExitStack()
        self._path: Path | None = None
        self._write: Keep | None = None

    def __enter__(self) -> _Recorder:
        return self

    def __exit__(self, *error: Any) -> None:
        self._segment.__exit__(*error)

    def keep(self, sha256: str, picture: Array) -> None:
        if self._claim(sha256):
            square = resized(picture, self._size)
            with self._lock:
                self._open_segment()(sha256, square)
                self._written.add(sha256)
                if len(self._written) == _most_rows(self._size):
                    self._close_segment()

    def _claim(self, sha256: str) -> bool:
        """Whether nobody has that picture yet; then it is the caller's to make."""
        with self._lock:
            self._left -= 1
            if sha256 in self._claimed:
                return False
            if there := self._shelf.path_of(sha256):
                self._in_use.add(there)
                return False
            self._claimed.add(sha256)
            return True

    def _open_segment(self) -> Keep:
        if self._write is None:
            self._path = _new_path(self._shelf.folder)
            most = min(_most_rows(self._size), self._left + len(self._claimed))
            self._segment.enter_context(kept.room(self._cache, most * _row_bytes(self._size), self._in_use))
            self._write = self._segment.enter_context(_segment(self._path, self._size))
        return self._write

    def _close_segment(self) -> None:
        path, self._path, self._write = self._path, None, None
        self._segment.close()
        if path:
            self._shelf = self._shelf.with_new(path)
            self._in_use.add(path)
        self._claimed -= self._written
        self._written.clear()


# -- names and sizes


def _folder(cache: Path, size: int) -> Path:
    return kept.place("pixels", cache) / f"{size}-v{VERSION}"


def _new_path(folder: Path) -> Path:
    return folder / f"{secrets.token_hex(8)}.npy"


def _row_bytes(size: int) -> int:
    return 3 * size * size


def _most_rows(size: int) -> int:
    return max(1, min(MOST_ROWS, SEGMENT_BYTES // _row_bytes(size)))


def _digests(items: Iterable[Item]) -> Digests:
    return np.frombuffer(bytes.fromhex("".join(item.sha256 for item in items)), "S32")
