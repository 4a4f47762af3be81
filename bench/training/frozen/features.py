"""The feature cache: outputs of frozen layers, computed once for all epochs, trials and runs.

    features/<key of the tensor>-<dtype>/*.npy     one row a view of a picture (`cache/rows.py`)

The key of a tensor depends on operations, settings and weights down to the pictures' size (`graph.py`), the key of a
row on the content of its picture. So trials of another head, another split or another run find the rows, and a changed
weight finds none. Processes that need the same features at once share the work. A deeper cut is computed from a
shallower one that is in the cache.

A network that is trained on features sees a finite number of views of each picture, drawn once: a flip has two, other
augmentation `VIEWS`.

A segment records how long its rows took to compute, so that a trial that finds them is charged for them all the same.
"""

from __future__ import annotations

import contextlib
import hashlib
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import keras
import numpy as np
from numpy.typing import NDArray

from bench.cache import directory
from bench.cache.rows import Digests, Places, Rows, RowStore, digests, hexadecimal
from bench.data.sources import StageCallback
from bench.errors import DataError
from bench.hyperparameters import Value
from bench.training import cost
from bench.training.augmentation import AUGMENTATIONS, PictureArray
from bench.training.batches import Part
from bench.training.frozen.graph import Cut, Graph, Tensor
from bench.training.frozen.identity import NoPrefix
from bench.training.trainer import traced

BATCH = 64
"""Pictures in a batch of a prefix."""

SHARES = 4
"""Number of shares in which missing features are computed; processes that want the same take them in turn."""

LEAST_SHARED = 1000
"""Minimum number of views for which processes share the work; of fewer, one process computes all."""

SHARE_OF_CACHE = 0.5
"""Maximum share of the cache for the features of one trial: pictures and other cuts need room."""

LEAST_MACS_PER_BYTE = 30
"""Minimum multiply-accumulates for a byte of features; cheaper features are computed again.

Reading a byte back takes about 1 ns here (page cache, gathered by row), a multiply-accumulate of MobileNetV2 0.04 ns.
"""


VIEWS = {"none": 1, "flip": 2, "light": 4}
"""Number of views of a training picture, by augmentation."""

VIEWS_VERSION = 1
"""Version of the views; increase it when the same seed draws others."""


@dataclass(frozen=True)
class PictureView:
    """One view of every picture of a part; of a flip, 0 is the plain picture and 1 its mirror image."""

    part: Part
    augmentation: str = "none"
    number: int = 0
    seed: int = 0

    def __len__(self) -> int:
        return len(self.part.sha256)

    @cached_property
    def sha256(self) -> Sequence[str]:
        """Keys of the pictures' features, hexadecimal; of a plain picture the hash of its content."""
        if self._plain:
            return self.part.sha256
        drawn = [self.number] if self.augmentation == "flip" else [self.number, self.seed]
        view = f"{self.augmentation} {drawn}, version {VIEWS_VERSION}"
        return [hashlib.sha256(f"{sha256} {view}".encode()).hexdigest() for sha256 in self.part.sha256]

    def pictures(self, indices: Sequence[int]) -> PictureArray:
        """Read this view of some pictures, uint8, shape (n, size, size, 3)."""
        pictures: PictureArray = self.part.pixels[np.asarray(indices)]
        if self._plain:
            return pictures
        if self.augmentation == "flip":
            return np.ascontiguousarray(pictures[:, :, ::-1])
        altered = np.empty_like(pictures)
        for row, index in enumerate(indices):
            random = np.random.default_rng([self.seed, self.number, int(self.part.sha256[index][:16], 16)])
            altered[row] = AUGMENTATIONS[self.augmentation](pictures[row : row + 1], random)[0]
        return altered

    @property
    def _plain(self) -> bool:
        return self.augmentation == "none" or (self.augmentation == "flip" and self.number == 0)


def views(part: Part, augmentation: Value, seed: int) -> list[PictureView]:
    """List the views of training pictures under a value of the hyperparameter `augmentation`."""
    name = str(augmentation or "none")
    return [PictureView(part, name, number, seed) for number in range(VIEWS[name])]


@dataclass(frozen=True)
class Fetched:
    """Features of views, and their cost.

    Attributes:
        rows: Rows by tensor, in the order of the views.
        cold_s: Seconds that computing them takes, measured when they were computed.
        spent_s: Seconds that computing took now.
        waited_s: Seconds of the whole fetch, with computing and waiting for another process.
        cached: Share that was in the cache, 0 to 1.
        latency_ms: Milliseconds of the prefix for one picture.
    """

    rows: tuple[Rows, ...]
    cold_s: float
    spent_s: float
    waited_s: float
    cached: float
    latency_ms: float

    @property
    def bytes(self) -> int:
        """Size on disk."""
        return sum(math.prod(rows.shape) * rows.dtype.itemsize for rows in self.rows)


@dataclass(frozen=True)
class FeatureCache:
    """Features on disk.

    Attributes:
        root: The folder of the cache.
        dtype: "float32" or "float16".
        cores: CPU cores of this process; seconds that were measured on other numbers of cores are scaled to it.
    """

    root: Path
    dtype: str = "float32"
    cores: int = 1

    def check(self, cut: Cut, count: int) -> None:
        """Raise NoPrefix unless the features of so many views are worth their room, and have it."""
        for tensor in cut.tensors:
            if None in tensor.shape[1:] or not tensor.dtype.startswith(("float", "bfloat")):
                raise NoPrefix(f"its features are {tensor.dtype} of shape {tensor.shape}")
        row_bytes = sum(map(math.prod, cut.shapes)) * np.dtype(self.dtype).itemsize
        macs = cost.macs(cost.uses_of(cut.graph.above(cut.tensors)))
        if macs < LEAST_MACS_PER_BYTE * row_bytes:
            raise NoPrefix(
                f"computing its features ({macs / 1e6:,.1f} million multiply-accumulates a picture) costs no more than "
                f"reading them ({directory.format_size(row_bytes)})"
            )
        most = SHARE_OF_CACHE * directory.cap_bytes(self.root)
        if count * row_bytes > most:
            raise NoPrefix(
                f"its features take {directory.format_size(count * row_bytes)}, above {SHARE_OF_CACHE:.0%} of the "
                f"cache's {directory.format_size(int(most / SHARE_OF_CACHE))}; BENCH_CACHE_GB sets that"
            )

    def has(self, cut: Cut, views: Sequence[PictureView]) -> bool:
        """Tell whether all features of these views are in the cache."""
        return not len(_missing(self.stores(cut), _digests(views)))

    def fetch(self, cut: Cut, views: Sequence[PictureView], progress: StageCallback | None = None) -> Fetched:
        """Read the features of these views, computing those that are missing; NoPrefix where there is no room."""
        start, spent_s = time.perf_counter(), 0.0
        wanted = _digests(views)
        stores = self.stores(cut)
        missing = _missing(stores, wanted)
        if len(missing):
            spent_s = _Computation(self, cut, views, missing, progress).run()
            stores = self.stores(cut)
        found = [(store, store.places(wanted)) for store in stores]
        if any((places < 0).any() for _, places in found):
            raise NoPrefix("its features were cleared while they were computed")
        for store, places in found:
            directory.touch(store.paths(places))
        seconds, latencies = zip(*(self._measured(store, places) for store, places in found), strict=True)
        return Fetched(
            rows=tuple(store.rows(places) for store, places in found),
            cold_s=max(seconds),
            spent_s=spent_s,
            waited_s=time.perf_counter() - start,
            cached=1 - len(missing) / max(1, len(wanted)),
            latency_ms=max(latencies),
        )

    def start(self, graph: Graph, tensor: Tensor, wanted: Digests) -> _Start | None:
        """Read a tensor's features as the start of a computation; None where one of the rows is missing."""
        if None in tensor.shape[1:]:
            return None
        store = self._store(graph.key(tensor), tensor.shape[1:])
        places = store.places(wanted)
        if not len(store.segments) or (places < 0).any():
            return None
        seconds, latency_ms = self._measured(store, places)
        return _Start(tensor, store.rows(places), seconds / len(wanted), latency_ms)

    # -- stores

    def stores(self, cut: Cut) -> list[RowStore]:
        """Open the store of each tensor of a cut."""
        return [self._store(key, shape) for key, shape in zip(cut.keys, cut.shapes, strict=True)]

    def _store(self, key: str, shape: Sequence[int]) -> RowStore:
        folder = directory.kind_folder("features", self.root) / f"{key}-{self.dtype}"
        return RowStore.open(folder, shape, self.dtype, verify=True)

    def _measured(self, store: RowStore, places: Places) -> tuple[float, float]:
        """Read the cost of rows: the seconds of computing all, on the cores of this process, and `latency_ms`."""
        counts, notes = zip(*store.metadata(places), strict=True)
        seconds = [note["seconds_per_row"] * note["cores"] / self.cores for note in notes]
        latency_ms = np.average([note["latency_ms"] for note in notes], weights=counts)
        return float(np.dot(counts, seconds)), float(latency_ms)


class _Start(NamedTuple):
    """Start of a computation: a tensor, its rows, and their cost; pictures cost nothing."""

    tensor: Tensor
    rows: Any
    seconds_per_row: float = 0.0
    latency_ms: float = 0.0


class _Computation:
    """Computation of missing features, share by share.

    Of processes that want the same, each takes the shares that no other computes, and then waits for the others.
    """

    def __init__(
        self,
        cache: FeatureCache,
        cut: Cut,
        views: Sequence[PictureView],
        missing: NDArray[np.int64],
        progress: StageCallback | None,
    ) -> None:
        self._cache, self._cut, self._progress = cache, cut, progress
        self._wanted = _digests(views)[missing]
        self._names = hexadecimal(self._wanted)
        self._starts = self._find_starts(_ViewedPictures(views, missing))
        self._predict = traced(cut.prefix([start.tensor for start in self._starts]))
        self._layers = len(cut.graph.above(cut.tensors))
        shares = SHARES if sum(map(len, views)) >= LEAST_SHARED else 1
        self._shares = np.array([int(name[:2], 16) % shares for name in self._names])
        self._done = 0
        self._example: list[NDArray[Any]] = []

    def run(self) -> float:
        """Compute everything that is missing; return the seconds that this process has computed."""
        spent_s = 0.0
        left = sorted(set(self._shares.tolist()))
        folder = min(store.folder for store in self._cache.stores(self._cut))
        for wait in (False, True):
            for share in tuple(left):
                with directory.locked(folder, f"{directory.LOCK}-{share}", wait) as ours:
                    if ours:
                        left.remove(share)
                        spent_s += self._compute(np.flatnonzero(self._shares == share))
        return spent_s

    def _compute(self, rows: NDArray[np.int64]) -> float:
        """Compute the rows that are still missing, segment by segment; finished segments stay if a later one fails."""
        begun = time.perf_counter()
        stores = self._cache.stores(self._cut)
        rows = rows[_missing(stores, self._wanted[rows])]
        most = min(store.max_rows for store in stores)
        spared = [path for store in stores for path in store.paths(store.places(self._wanted))]
        try:
            with directory.reserved(self._cache.root, len(rows) * sum(store.row_bytes for store in stores), spared):
                for start in range(0, len(rows), most):
                    self._write(stores, rows[start : start + most])
        except DataError as error:
            raise NoPrefix(str(error)) from None
        return time.perf_counter() - begun if len(rows) else 0.0

    def _write(self, stores: Sequence[RowStore], rows: NDArray[np.int64]) -> None:
        """Compute rows into a new segment of each tensor's store."""
        begun = time.perf_counter()
        with contextlib.ExitStack() as stack:
            writers = [stack.enter_context(store.writing(store.new_path())) for store in stores]
            for at in range(0, len(rows), BATCH):
                some = rows[at : at + BATCH]
                inputs = [start.rows[some] for start in self._starts]
                self._example = [rows[:1] for rows in inputs]
                outputs = keras.tree.flatten(self._predict(*inputs))
                for writer, output in zip(writers, outputs, strict=True):
                    for row, features in zip(some, self._stored(output), strict=True):
                        writer(self._names[row], features)
                self._done += len(some)
                if self._progress:
                    self._progress(f"computing features of {self._layers} frozen layers", self._done, len(self._names))
            seconds_per_row = (time.perf_counter() - begun) / len(rows)
            for writer in writers:  # the cost of the rows, from the pictures on
                writer.metadata = {
                    "cores": self._cache.cores,
                    "seconds_per_row": seconds_per_row + max(start.seconds_per_row for start in self._starts),
                    "latency_ms": self._latency_ms,
                }

    @cached_property
    def _latency_ms(self) -> float:
        return cost.latency_ms(self._predict, self._example) + max(start.latency_ms for start in self._starts)

    def _stored(self, output: Any) -> NDArray[Any]:
        with np.errstate(over="ignore"):
            rows = np.asarray(output).astype(self._cache.dtype, copy=False)
        if self._cache.dtype == "float16" and not np.isfinite(rows).all():
            raise NoPrefix("its features are too large for float16")
        return rows

    def _find_starts(self, pictures: _ViewedPictures) -> list[_Start]:
        """Find the tensors that the features are computed from: shallower cuts in the cache, or pictures."""
        graph = self._cut.graph
        starts: list[_Start] = []
        above = [tensor for feature in self._cut.tensors for tensor in graph.maker(feature).input_tensors]
        seen: set[int] = set()
        while above:
            tensor = above.pop()
            if id(tensor) in seen:
                continue
            seen.add(id(tensor))
            if tensor is graph.input:
                starts.append(_Start(tensor, pictures))
            elif start := self._cache.start(graph, tensor, self._wanted):
                starts.append(start)
            else:
                above += graph.maker(tensor).input_tensors
        return starts


class _ViewedPictures:
    """Pictures of several views, by rows that count through all views; indexed by arrays."""

    def __init__(self, views: Sequence[PictureView], rows: NDArray[np.int64]) -> None:
        self._views, self._rows = views, rows
        self._starts = np.cumsum([0, *map(len, views)])

    def __getitem__(self, some: NDArray[np.int64]) -> NDArray[np.uint8]:
        rows = self._rows[some]
        numbers = np.searchsorted(self._starts, rows, side="right") - 1
        result = np.empty((len(rows), *self._views[0].part.pixels.shape[1:]), np.uint8)
        for number in np.unique(numbers):
            result[numbers == number] = self._views[number].pictures(rows[numbers == number] - self._starts[number])
        return result


def _digests(views: Sequence[PictureView]) -> Digests:
    return np.concatenate([digests(view.sha256) for view in views])


def _missing(stores: Sequence[RowStore], wanted: Digests) -> NDArray[np.int64]:
    """Find the rows that not all stores have."""
    there = np.all([store.places(wanted) >= 0 for store in stores], axis=0)
    return np.flatnonzero(~there)
