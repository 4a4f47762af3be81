"""The feature cache: outputs of frozen layers, computed once for all epochs, trials and runs.

    features/<key of the tensor>-<dtype>/*.npy     one row per view of a picture (`cache/rows.py`)

The key of a tensor depends on operations, settings, weights and picture size (`graph.py`), the key of a row on the
content of its picture. Trials with another head, another split or in another run therefore find the same rows, but not
after a weight has changed. Processes that need the same features at the same time share the computation. A deeper cut
is computed from a shallower one in the cache.

A network that is trained on features sees a fixed number of views of each picture, which are drawn once (`VIEWS`).

A segment records the time for computing its rows, so that a trial that finds them in the cache is charged for them.
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
from bench.training import footprint
from bench.training.augmentation import AUGMENTATIONS, PictureArray
from bench.training.batches import Part
from bench.training.frozen.graph import Cut, Graph, Tensor
from bench.training.frozen.identity import NoPrefix
from bench.training.trainer import latency_ms, traced

BATCH = 64
"""Number of pictures in a batch of a prefix."""

SHARES = 4
"""Number of shares in which missing features are computed; several processes compute different shares."""

MIN_SHARED = 1000
"""Minimum number of views for sharing the computation between processes."""

SHARE_OF_CACHE = 0.5
"""Maximum share of the cache for the features of one trial: pictures and other cuts need room."""

MIN_MACS_PER_BYTE = 30
"""Minimum multiply-accumulates per byte of features; cheaper features are not cached.

Reading a byte takes about 1 ns (page cache, gathered by row), a multiply-accumulate of MobileNetV2 0.04 ns.
"""

VIEWS = {"none": 1, "flip": 2, "light": 4}
"""Number of views of a training picture, by augmentation."""

VIEWS_VERSION = 1
"""Version of the views; increase it when the same seed gives other views."""


@dataclass(frozen=True)
class PictureView:
    """One view of every picture of a part; with "flip", view 0 is the picture itself and 1 its mirror image."""

    part: Part
    augmentation: str = "none"
    number: int = 0
    seed: int = 0

    def __len__(self) -> int:
        return len(self.part.sha256)

    @cached_property
    def sha256(self) -> Sequence[str]:
        """Hexadecimal keys of the pictures' features; for an unaltered picture the hash of its content."""
        if self._unaltered:
            return self.part.sha256
        numbers = [self.number] if self.augmentation == "flip" else [self.number, self.seed]
        view = f"{self.augmentation} {numbers}, version {VIEWS_VERSION}"
        return [hashlib.sha256(f"{sha256} {view}".encode()).hexdigest() for sha256 in self.part.sha256]

    def pictures(self, indices: Sequence[int]) -> PictureArray:
        """Read this view of some pictures, uint8, shape (n, size, size, 3)."""
        pictures: PictureArray = self.part.pixels[np.asarray(indices)]
        if self._unaltered:
            return pictures
        if self.augmentation == "flip":
            return np.ascontiguousarray(pictures[:, :, ::-1])
        altered = np.empty_like(pictures)
        for row, index in enumerate(indices):
            random = np.random.default_rng([self.seed, self.number, int(self.part.sha256[index][:16], 16)])
            altered[row] = AUGMENTATIONS[self.augmentation](pictures[row : row + 1], random)[0]
        return altered

    @property
    def _unaltered(self) -> bool:
        return self.augmentation == "none" or (self.augmentation == "flip" and self.number == 0)


def views(part: Part, augmentation: str, seed: int) -> list[PictureView]:
    """Return the views of training pictures for a value of the hyperparameter `augmentation`."""
    return [PictureView(part, augmentation, number, seed) for number in range(VIEWS[augmentation])]


@dataclass(frozen=True)
class Fetched:
    """Features of views, and their cost.

    Attributes:
        rows: Rows by tensor, in the order of the views.
        cold_s: Seconds for computing all of them, measured when they were computed.
        spent_s: Seconds that this process spent on computing now.
        waited_s: Seconds of the whole fetch, including computing and waiting for other processes.
        cached: Share of the rows that was in the cache, 0 to 1.
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
        cores: Number of CPU cores of this process; times measured with another number of cores are scaled to it.
    """

    root: Path
    dtype: str = "float32"
    cores: int = 1

    def check(self, cut: Cut, count: int) -> None:
        """Raise NoPrefix if the features of `count` views are not worth caching or do not fit into the cache."""
        for tensor in cut.tensors:
            if None in tensor.shape[1:] or not tensor.dtype.startswith(("float", "bfloat")):
                raise NoPrefix(f"its features are {tensor.dtype} of shape {tensor.shape}")
        row_bytes = self.row_bytes(cut)
        macs = footprint.macs(footprint.uses_of(cut.graph.ancestors(cut.tensors)))
        if macs < MIN_MACS_PER_BYTE * row_bytes:
            raise NoPrefix(
                f"computing its features ({macs / 1e6:,.1f} million multiply-accumulates a picture) costs no more than "
                f"reading them ({directory.format_size(row_bytes)})"
            )
        max_bytes = SHARE_OF_CACHE * directory.cap_bytes(self.root)
        if count * row_bytes > max_bytes:
            raise NoPrefix(
                f"its features take {directory.format_size(count * row_bytes)}, above {SHARE_OF_CACHE:.0%} of the "
                f"cache's {directory.format_size(int(max_bytes / SHARE_OF_CACHE))}, which BENCH_CACHE_GB sets"
            )

    def row_bytes(self, cut: Cut) -> int:
        """Return the size of the features of one view."""
        return sum(map(math.prod, cut.shapes)) * np.dtype(self.dtype).itemsize

    def cached(self, cut: Cut, views: Sequence[PictureView]) -> float:
        """Return the share of the features of these views that is in the cache, 0 to 1."""
        keys = _digests(views)
        return 1 - len(_missing(self.stores(cut), keys)) / max(1, len(keys))

    def latency_ms(self, cut: Cut, views: Sequence[PictureView]) -> float:
        """Read the recorded milliseconds of the prefix for one picture; measure them if no row is in the cache."""
        recorded = [(store, store.places(_digests(views))) for store in self.stores(cut)] if views else []
        if recorded and all((places >= 0).any() for _, places in recorded):
            return max(self._recorded_cost(store, places[places >= 0])[1] for store, places in recorded)
        return latency_ms(cut.prefix([cut.graph.input]))

    def fetch(self, cut: Cut, views: Sequence[PictureView], progress: StageCallback | None = None) -> Fetched:
        """Read the features of these views, and compute missing ones; NoPrefix if the disk or the cache is full."""
        start, spent_s = time.perf_counter(), 0.0
        keys = _digests(views)
        stores = self.stores(cut)
        missing = _missing(stores, keys)
        if len(missing):
            spent_s = _Computation(self, cut, views, missing, progress).run()
            stores = self.stores(cut)
        store_places = [(store, store.places(keys)) for store in stores]
        if any((places < 0).any() for _, places in store_places):
            raise NoPrefix("its features were cleared while they were computed")
        for store, places in store_places:
            directory.touch(store.paths(places))
        seconds, latencies = zip(*(self._recorded_cost(store, places) for store, places in store_places), strict=True)
        return Fetched(
            rows=tuple(store.rows(places) for store, places in store_places),
            cold_s=max(seconds),
            spent_s=spent_s,
            waited_s=time.perf_counter() - start,
            cached=1 - len(missing) / max(1, len(keys)),
            latency_ms=max(latencies),
        )

    def source(self, graph: Graph, tensor: Tensor, keys: Digests) -> _Source | None:
        """Read a tensor's features as the source of a computation; None if a row is missing."""
        if None in tensor.shape[1:]:
            return None
        store = self._store(graph.key(tensor), tensor.shape[1:])
        places = store.places(keys)
        if not len(store.segments) or (places < 0).any():
            return None
        seconds, latency_ms = self._recorded_cost(store, places)
        return _Source(tensor, store.rows(places), seconds / len(keys), latency_ms)

    # -- stores

    def stores(self, cut: Cut) -> list[RowStore]:
        """Open the store of each tensor of a cut."""
        return [self._store(key, shape) for key, shape in zip(cut.keys, cut.shapes, strict=True)]

    def _store(self, key: str, shape: Sequence[int]) -> RowStore:
        folder = directory.kind_folder("features", self.root) / f"{key}-{self.dtype}"
        return RowStore.open(folder, shape, self.dtype)

    def _recorded_cost(self, store: RowStore, places: Places) -> tuple[float, float]:
        """Read the recorded cost of rows: seconds for computing all on this process's cores, and `latency_ms`."""
        counts, segments = zip(*store.metadata(places), strict=True)
        seconds = [segment["seconds_per_row"] * segment["cores"] / self.cores for segment in segments]
        latency_ms = np.average([segment["latency_ms"] for segment in segments], weights=counts)
        return float(np.dot(counts, seconds)), float(latency_ms)


class _Source(NamedTuple):
    """Tensor from which features are computed, with its rows and their cost; pictures have no cost."""

    tensor: Tensor
    rows: Any
    seconds_per_row: float = 0.0
    latency_ms: float = 0.0


class _Computation:
    """Computation of missing features, share by share.

    A process computes the shares that no other process is computing, then waits for the other processes.
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
        self._keys = _digests(views)[missing]
        self._names = hexadecimal(self._keys)
        self._sources = self._find_sources(_ViewedPictures(views, missing))
        self._predict = traced(cut.prefix([source.tensor for source in self._sources]))
        self._layers = len(cut.graph.ancestors(cut.tensors))
        shares = SHARES if sum(map(len, views)) >= MIN_SHARED else 1
        self._shares = np.array([int(name[:2], 16) % shares for name in self._names])
        self._done = 0
        self._example: list[NDArray[Any]] = []

    def run(self) -> float:
        """Compute all missing rows; return the seconds that this process spent on it."""
        spent_s = 0.0
        remaining = sorted(set(self._shares.tolist()))
        folder = min(store.folder for store in self._cache.stores(self._cut))
        for wait in (False, True):
            for share in tuple(remaining):
                with directory.locked(folder, f"{directory.LOCK}-{share}", wait) as acquired:
                    if acquired:
                        remaining.remove(share)
                        spent_s += self._compute(np.flatnonzero(self._shares == share))
        return spent_s

    def _compute(self, rows: NDArray[np.int64]) -> float:
        """Compute the rows that are still missing, segment by segment; finished segments stay if a later one fails."""
        start_s = time.perf_counter()
        stores = self._cache.stores(self._cut)
        rows = rows[_missing(stores, self._keys[rows])]
        max_rows = min(store.max_rows for store in stores)
        protected = [path for store in stores for path in store.paths(store.places(self._keys))]
        try:
            with directory.reserved(self._cache.root, len(rows) * sum(store.row_bytes for store in stores), protected):
                for start in range(0, len(rows), max_rows):
                    self._write(stores, rows[start : start + max_rows])
        except DataError as error:
            raise NoPrefix(str(error)) from None
        return time.perf_counter() - start_s if len(rows) else 0.0

    def _write(self, stores: Sequence[RowStore], rows: NDArray[np.int64]) -> None:
        """Compute rows into a new segment of each tensor's store."""
        start_s = time.perf_counter()
        with contextlib.ExitStack() as stack:
            writers = [stack.enter_context(store.writing(store.new_path())) for store in stores]
            for start in range(0, len(rows), BATCH):
                batch = rows[start : start + BATCH]
                inputs = [source.rows[batch] for source in self._sources]
                self._example = [rows[:1] for rows in inputs]
                outputs = keras.tree.flatten(self._predict(*inputs))
                for writer, output in zip(writers, outputs, strict=True):
                    for row, features in zip(batch, self._converted(output), strict=True):
                        writer(self._names[row], features)
                self._done += len(batch)
                if self._progress:
                    self._progress(f"computing features of {self._layers} frozen layers", self._done, len(self._names))
            seconds_per_row = (time.perf_counter() - start_s) / len(rows)
            for writer in writers:  # the cost of computing the rows from pictures
                writer.metadata = {
                    "cores": self._cache.cores,
                    "seconds_per_row": seconds_per_row + max(source.seconds_per_row for source in self._sources),
                    "latency_ms": self._latency_ms,
                }

    @cached_property
    def _latency_ms(self) -> float:
        return footprint.latency_ms(self._predict, self._example) + max(source.latency_ms for source in self._sources)

    def _converted(self, output: Any) -> NDArray[Any]:
        with np.errstate(over="ignore"):
            rows = np.asarray(output).astype(self._cache.dtype, copy=False)
        if self._cache.dtype == "float16" and not np.isfinite(rows).all():
            raise NoPrefix("its features are too large for float16")
        return rows

    def _find_sources(self, pictures: _ViewedPictures) -> list[_Source]:
        """Find the tensors from which the features are computed: shallower cuts in the cache, or pictures."""
        graph = self._cut.graph
        sources: list[_Source] = []
        candidates = [tensor for feature in self._cut.tensors for tensor in graph.producer(feature).input_tensors]
        seen: set[int] = set()
        while candidates:
            tensor = candidates.pop()
            if id(tensor) in seen:
                continue
            seen.add(id(tensor))
            if tensor is graph.input:
                sources.append(_Source(tensor, pictures))
            elif source := self._cache.source(graph, tensor, self._keys):
                sources.append(source)
            else:
                candidates += graph.producer(tensor).input_tensors
        return sources


class _ViewedPictures:
    """Pictures of several views, indexed with arrays of row numbers that count through all views."""

    def __init__(self, views: Sequence[PictureView], rows: NDArray[np.int64]) -> None:
        self._views, self._rows = views, rows
        self._starts = np.cumsum([0, *map(len, views)])

    def __getitem__(self, indices: NDArray[np.int64]) -> NDArray[np.uint8]:
        rows = self._rows[indices]
        numbers = np.searchsorted(self._starts, rows, side="right") - 1
        result = np.empty((len(rows), *self._views[0].part.pixels.shape[1:]), np.uint8)
        for number in np.unique(numbers):
            result[numbers == number] = self._views[number].pictures(rows[numbers == number] - self._starts[number])
        return result


def _digests(views: Sequence[PictureView]) -> Digests:
    return np.concatenate([digests(view.sha256) for view in views])


def _missing(stores: Sequence[RowStore], keys: Digests) -> NDArray[np.int64]:
    """Return the indices of the rows that are missing in at least one store."""
    present = np.all([store.places(keys) >= 0 for store in stores], axis=0)
    return np.flatnonzero(~present)
