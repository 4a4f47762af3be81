"""Rows of numbers stored on disk by digest, mapped into memory, shared by processes and later runs.

This stores decoded pictures (`data/pixels.py`) and features of frozen layers (`training/frozen/features.py`). A store
is a folder of segments: files of up to 256 MB that are written once and never changed. A segment is a sequence of three
arrays in NumPy's file format (https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html):

    rows      shape (n, …)
    digests   the digest of each row, dtype V32, shape (n,)
    metadata  a JSON object as bytes, dtype uint8: notes of the writer, and the CRC-32 of the rows

In memory a row takes 16 bytes, and 170 during the two seconds in which a million are looked up. Its numbers are read on
demand, and stay in the page cache of the operating system.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import secrets
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from bench.cache.files import replacing

SEGMENT_BYTES = 256 * 2**20
MAX_ROWS = 65_536
"""Maximum size of a segment, in bytes and rows. Damage and eviction cost whole segments."""

Digests = npt.NDArray[np.bytes_]
Places = npt.NDArray[np.int64]


_verified: set[tuple[Path, int]] = set()
"""Segments that this process has compared with their checksums; segments never change."""


class Rows:
    """Rows in a given order, shape (n, …), read on demand.

    `rows[3]`, `rows[10:20]`, `rows[indices]` and `rows[mask]` are arrays, as with a NumPy array; `np.asarray(rows)`
    reads everything. Reading is thread-safe.

    Args:
        segments: Arrays with the rows; at least one, which may be empty.
        numbers, places: The segment of each row, and its position in it.
    """

    def __init__(self, segments: Sequence[npt.NDArray[Any]], numbers: Places, places: Places) -> None:
        self._segments, self._numbers, self._places = tuple(segments), numbers, places
        self.dtype: np.dtype[Any] = segments[0].dtype
        self.shape: tuple[int, ...] = (len(places), *segments[0].shape[1:])
        self.ndim = len(self.shape)

    @classmethod
    def of(cls, array: npt.NDArray[Any]) -> Rows:
        """The rows of an array in memory."""
        return cls([array], np.zeros(len(array), np.int64), np.arange(len(array)))

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, index: int | slice | npt.NDArray[Any] | Sequence[int]) -> npt.NDArray[Any]:
        numbers, places = np.asarray(self._numbers[index]), np.asarray(self._places[index])
        if places.ndim == 0:
            return np.asarray(self._segments[int(numbers)][int(places)])
        if len(places) and (np.diff(places) == 1).all() and (numbers == numbers[0]).all():  # no copy
            return np.asarray(self._segments[numbers[0]][places[0] : places[-1] + 1])
        result = np.empty((len(places), *self.shape[1:]), self.dtype)
        for row, number, place in zip(result, numbers.tolist(), places.tolist(), strict=True):
            row[...] = self._segments[number][place]
        return result

    def select(self, index: slice | npt.NDArray[np.int64]) -> Rows:
        """Select rows without reading them."""
        return Rows(self._segments, self._numbers[index], self._places[index])

    def flattened(self) -> Rows:
        """The rows as vectors, without reading them."""
        length = math.prod(self.shape[1:])
        return Rows([rows.reshape(len(rows), length) for rows in self._segments], self._numbers, self._places)

    def __iter__(self) -> Iterator[npt.NDArray[Any]]:
        return (self[number] for number in range(len(self)))

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> npt.NDArray[Any]:
        return np.array(self[:], dtype, copy=copy)


@dataclass(frozen=True)
class Segment:
    """An open file of rows: the mapped rows, their digests, and the notes of the writer."""

    path: Path
    rows: npt.NDArray[Any]
    digests: Digests
    metadata: Mapping[str, Any]


@dataclass(frozen=True)
class RowStore:
    """The segments of one folder.

    Attributes:
        folder: Folder of the segments; it need not exist.
        segments: The intact segments.
    """

    folder: Path
    row_shape: tuple[int, ...]
    dtype: np.dtype[Any]
    segments: tuple[Segment, ...] = ()

    @classmethod
    def open(cls, folder: Path, row_shape: Sequence[int], dtype: npt.DTypeLike) -> RowStore:
        """Open the segments that the folder has now."""
        empty = cls(folder, tuple(row_shape), np.dtype(dtype))
        opened = map(empty._open, sorted(folder.glob("*.npy")))
        return replace(empty, segments=tuple(segment for segment in opened if segment))

    def with_segment(self, path: Path) -> RowStore:
        """Return the store with a new segment."""
        segment = self._open(path)
        if segment is None:
            raise RuntimeError(f"{path}: was written but cannot be read")
        return replace(self, segments=(*self.segments, segment))

    def _open(self, path: Path) -> Segment | None:
        """Open a segment; None if it is missing, damaged or another file: its rows then count as missing."""
        try:
            with path.open("rb") as file:
                version = np.lib.format.read_magic(file)
                (count, *shape), fortran_order, dtype = np.lib.format.read_array_header_1_0(file)
                if version != (1, 0) or fortran_order or (tuple(shape), dtype) != (self.row_shape, self.dtype):
                    return None
                start = file.tell()
                file.seek(count * self.row_bytes, os.SEEK_CUR)
                digests, notes = np.lib.format.read_array(file), np.lib.format.read_array(file)
                if digests.dtype != "V32" or digests.shape != (count,) or file.read(1):
                    return None
                metadata = json.loads(notes.tobytes())
                if (path, path.stat().st_ino) not in _verified:
                    file.seek(start)
                    if _checksum(file, count * self.row_bytes) != metadata["crc32"]:
                        return None
                    _verified.add((path, path.stat().st_ino))
            whole = (count, *self.row_shape)
            rows = np.asarray(np.memmap(path, dtype, "r", start, whole)) if count else np.empty(whole, dtype)
            return Segment(path, rows, digests.view("S32"), metadata)
        except Exception:  # parsers of a foreign file may raise anything
            return None

    @property
    def row_bytes(self) -> int:
        """Bytes of a row on disk."""
        return math.prod(self.row_shape) * self.dtype.itemsize

    @property
    def max_rows(self) -> int:
        """Maximum number of rows of a segment."""
        return max(1, min(MAX_ROWS, SEGMENT_BYTES // self.row_bytes))

    # -- reading

    def places(self, wanted: Digests) -> Places:
        """Position of each row, counted through all segments; -1 for a missing row."""
        digests, order = self._sorted
        if not len(digests):
            return np.full(len(wanted), -1)
        nearest = np.minimum(np.searchsorted(digests, wanted), len(digests) - 1)
        return np.where(digests[nearest] == wanted, order[nearest], -1)

    def path_of(self, sha256: str) -> Path | None:
        """Path of the segment with a row, or None; much faster than `places`."""
        digests, order = self._sorted
        digest = bytes.fromhex(sha256)
        nearest = digests.searchsorted(digest)
        is_there = digests[nearest : nearest + 1].tobytes() == digest
        return self.segments[int(self._numbers(order[nearest]))].path if is_there else None

    def paths(self, places: Places) -> list[Path]:
        """Paths of the segments with these rows; missing rows are left out."""
        return [self.segments[number].path for number in np.unique(self._numbers(places[places >= 0]))]

    def metadata(self, places: Places) -> list[tuple[int, Mapping[str, Any]]]:
        """For each segment with some of these rows: their number, and the notes of the writer."""
        numbers, counts = np.unique(self._numbers(places[places >= 0]), return_counts=True)
        return [(int(count), self.segments[number].metadata) for number, count in zip(numbers, counts, strict=True)]

    def rows(self, places: Places) -> Rows:
        """The rows at these positions, without references to other segments."""
        numbers = self._numbers(places)
        within = places - self._starts[numbers]
        used, numbers = np.unique(numbers, return_inverse=True)
        segments = [self.segments[number].rows for number in used]
        return Rows(segments or [np.empty((0, *self.row_shape), self.dtype)], numbers, within)

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

    # -- writing

    def new_path(self) -> Path:
        """Path for a new segment."""
        return self.folder / f"{secrets.token_hex(8)}.npy"

    @contextlib.contextmanager
    def writing(self, path: Path) -> Iterator[SegmentWriter]:
        """Write a new segment; it is renamed into place when the block ends without an error.

        It is written sequentially, not through a mapping, so that a full disk is an OSError and not a SIGBUS.
        """
        with replacing(path) as temporary, temporary.open("xb") as file:
            writer = SegmentWriter(file, self.row_shape, self.dtype)
            yield writer
            writer.finish()
        _verified.add((path, path.stat().st_ino))


class SegmentWriter:
    """Writes a segment row by row; `metadata` is JSON data about it."""

    def __init__(self, file: IO[bytes], row_shape: Sequence[int], dtype: np.dtype[Any]) -> None:
        self._file, self._row_shape, self._dtype = file, row_shape, dtype
        self._digests, self._crc32 = bytearray(), 0
        self.metadata: dict[str, Any] = {}
        self._header(0)

    def __call__(self, sha256: str, row: npt.NDArray[Any]) -> None:
        """Add a row under a digest in hexadecimal."""
        data = np.ascontiguousarray(row, self._dtype).data
        self._file.write(data)
        self._crc32 = zlib.crc32(data, self._crc32)
        self._digests.extend(bytes.fromhex(sha256))

    def finish(self) -> None:
        """Write the digests, the metadata and the header."""
        metadata = json.dumps({**self.metadata, "crc32": self._crc32}).encode()
        np.lib.format.write_array(self._file, np.frombuffer(self._digests, "V32"), (1, 0))
        np.lib.format.write_array(self._file, np.frombuffer(metadata, np.uint8), (1, 0))
        self._file.seek(0)
        self._header(len(self._digests) // 32)

    def _header(self, count: int) -> None:  # NumPy pads it, so that the number of rows can grow
        header = {"descr": np.lib.format.dtype_to_descr(self._dtype), "fortran_order": False}
        np.lib.format.write_array_header_1_0(self._file, {**header, "shape": (count, *self._row_shape)})


def _checksum(file: IO[bytes], size: int) -> int:
    """CRC-32 of the next bytes of a file, read in pieces: mapped, they would count as memory of the process."""
    crc32 = 0
    for begin in range(0, size, 2**20):
        crc32 = zlib.crc32(file.read(min(size - begin, 2**20)), crc32)
    return crc32


def digests(sha256: Sequence[str]) -> Digests:
    """Convert digests in hexadecimal to an array."""
    return np.frombuffer(bytes.fromhex("".join(sha256)), "S32")


def hexadecimal(wanted: Digests) -> list[str]:
    """The inverse of `digests`."""
    return [bytes(digest).hex().ljust(64, "0") for digest in wanted]  # NumPy drops zeros at the end
