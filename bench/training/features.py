"""The feature cache: what frozen layers make of every picture, computed once for all epochs, trials and runs.

    features/<key of the tensor>-<dtype>/*.npy     one row a view of a picture (`data/shelf.py`)

A tensor is known by its key (`prefix.py`: operations, settings and weights down to the pictures' size), a row by the
content of its picture. So trials of another head, another split or another run find what is there, a changed weight
finds nothing, and of two processes that need the same features one computes them while the other waits. A deeper cut
is computed from a shallower one that is there already.

Beside its rows a segment says how long they took, so that a trial that finds them is charged for them all the same.
"""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from bench import cache as kept
from bench.data.shelf import Digests, Rows, Shelf, digests
from bench.data.sources import Progress
from bench.errors import DataError
from bench.training import cost
from bench.training.prefix import Cut, Graph, NoPrefix, Tensor
from bench.training.views import View

BATCH = 64
"""Pictures that go through a prefix at a time."""

SHARE_OF_CACHE = 0.5
"""The features of one trial take at most this share of what the cache may hold: pictures and other cuts need room."""

LEAST_MACS_PER_BYTE = 30
"""Features that took fewer multiply-accumulates for each of their bytes are not worth being kept.

Reading a byte back takes about 1 ns here (page cache, gathered by row), a multiply-accumulate of MobileNetV2 0.04 ns.
"""


@dataclass(frozen=True)
class Fetched:
    """Features of views, and what they cost.

    Attributes:
        rows: Tensor by tensor, in the order of the views.
        cold_s: Seconds that computing them takes, as measured when it was done.
        spent_s: Seconds that computing took now.
        waited_s: Seconds until they were there, those for computing and for waiting for another process included.
        cached: The share that was there, 0 to 1.
        latency_ms: What the prefix takes for one picture.
    """

    rows: tuple[Rows, ...]
    cold_s: float
    spent_s: float
    waited_s: float
    cached: float
    latency_ms: float

    @property
    def bytes(self) -> int:
        """What they take on disk."""
        return sum(math.prod(each.shape) * each.dtype.itemsize for each in self.rows)


@dataclass(frozen=True)
class FeatureCache:
    """Where features are kept.

    Attributes:
        root: The folder of the cache (`bench.cache.folder()`).
        dtype: What they are stored as, "float32" or "float16".
        cores: CPU cores that this process has; what was measured on others is scaled to them.
    """

    root: Path
    dtype: str = "float32"
    cores: int = 1

    def check(self, cut: Cut, count: int) -> None:
        """Whether the features of so many views are worth being kept, and have room.

        Raises:
            NoPrefix: They are not, or have none.
        """
        for tensor in cut.tensors:
            if None in tensor.shape[1:] or not tensor.dtype.startswith(("float", "bfloat")):
                raise NoPrefix(f"its features are {tensor.dtype} of shape {tensor.shape}")
        row_bytes = sum(self._row_bytes(tensor) for tensor in cut.tensors)
        macs = cost.macs(cost.uses_of(cut.graph.above(cut.tensors)))
        if macs < LEAST_MACS_PER_BYTE * row_bytes:
            raise NoPrefix(
                f"computing its features ({macs / 1e6:,.1f} million multiply-accumulates a picture) costs no more than "
                f"reading them ({kept.sized(row_bytes)})"
            )
        most = SHARE_OF_CACHE * kept.cap_bytes(self.root)
        if count * row_bytes > most:
            raise NoPrefix(
                f"its features take {kept.sized(count * row_bytes)}, above {SHARE_OF_CACHE:.0%} of the cache's "
                f"{kept.sized(int(most / SHARE_OF_CACHE))}; BENCH_CACHE_GB sets that"
            )

    def held_mb(self) -> float:
        """What all features in the cache take on disk, 10**6 bytes."""
        return sum(entry.size_bytes for entry in kept.entries(self.root, ("features",))) / 1e6

    def has(self, cut: Cut, views: Sequence[View]) -> bool:
        """Whether all features of these views are there."""
        return not len(_missing(self._shelves(cut), _digests(views)))

    def fetch(self, cut: Cut, views: Sequence[View], progress: Progress | None = None) -> Fetched:
        """The features of these views; those that the cache does not have are computed into it.

        Raises:
            NoPrefix: The disk has no room for them.
        """
        start, spent_s = time.perf_counter(), 0.0
        wanted = _digests(views)
        shelves = self._shelves(cut)
        missing = _missing(shelves, wanted)
        cached = 1 - len(missing) / max(1, len(wanted))
        if len(missing):
            with contextlib.ExitStack() as stack:
                for folder in sorted(shelf.folder for shelf in shelves):
                    stack.enter_context(kept.alone(folder))
                shelves = self._shelves(cut)  # another process may have computed them while this one waited
                missing = _missing(shelves, wanted)
                if len(missing):
                    spent_s = self._compute(cut, shelves, views, missing, progress)
                shelves = self._shelves(cut)
        places = [shelf.places(wanted) for shelf in shelves]
        if any((each < 0).any() for each in places):
            raise NoPrefix("its features were cleared while they were computed")
        abouts = [shelf.abouts(each) for shelf, each in zip(shelves, places, strict=True)]
        for shelf, each in zip(shelves, places, strict=True):
            kept.touch(shelf.paths(each))
        return Fetched(
            rows=tuple(shelf.rows(each) for shelf, each in zip(shelves, places, strict=True)),
            cold_s=max(self._seconds(each) for each in abouts),
            spent_s=spent_s,
            waited_s=time.perf_counter() - start,
            cached=cached,
            latency_ms=max(self._latency_ms(each) for each in abouts),
        )

    # -- computing

    def _compute(
        self,
        cut: Cut,
        shelves: Sequence[Shelf],
        views: Sequence[View],
        missing: NDArray[np.int64],
        progress: Progress | None,
    ) -> float:
        """Computes missing rows segment by segment: what is done stays, even if one fails. Gives the seconds."""
        wanted = _digests(views)
        names = [bytes(each).hex().ljust(64, "0") for each in wanted[missing]]
        inputs = self._inputs(cut, views, wanted[missing], missing)
        predict = _predictor(cut.prefix([each.tensor for each in inputs]), inputs)
        rows = min(shelf.most_rows for shelf in shelves)
        spared = [path for shelf in shelves for path in shelf.paths(shelf.places(wanted))]
        layers = len(cut.graph.above(cut.tensors))
        begun = time.perf_counter()
        try:
            with kept.room(self.root, len(missing) * sum(shelf.row_bytes for shelf in shelves), spared):
                for first in range(0, len(missing), rows):
                    start, last = time.perf_counter(), min(first + rows, len(missing))
                    with contextlib.ExitStack() as stack:
                        writers = [stack.enter_context(shelf.writing(shelf.new_path())) for shelf in shelves]
                        for at in range(first, last, BATCH):
                            some = slice(at, min(at + BATCH, last))
                            outputs = predict(*(each.read(some) for each in inputs))
                            for writer, output in zip(writers, outputs, strict=True):
                                for name, row in zip(names[some], self._stored(output), strict=True):
                                    writer(name, row)
                            if progress:
                                progress(f"computing features of {layers} frozen layers", some.stop, len(missing))
                        seconds_per_row = (time.perf_counter() - start) / (last - first)
                        about = self._about(predict, inputs, seconds_per_row)
                        for writer in writers:
                            writer.about = about
        except DataError as error:
            raise NoPrefix(str(error)) from None
        return time.perf_counter() - begun

    def _stored(self, output: Any) -> NDArray[Any]:
        with np.errstate(over="ignore"):
            rows = np.asarray(output).astype(self.dtype, copy=False)
        if self.dtype == "float16" and not np.isfinite(rows).all():
            raise NoPrefix("its features are too large for float16")
        return rows

    def _inputs(self, cut: Cut, views: Sequence[View], wanted: Digests, rows: NDArray[np.int64]) -> list[_Input]:
        """What the features of these rows are computed from: features of shallower cuts that are there, or pictures."""
        graph = cut.graph
        found: list[_Input] = []
        above = [tensor for each in cut.tensors for tensor in graph.maker(each).input_tensors]
        seen: set[int] = set()
        while above:
            tensor = above.pop()
            if id(tensor) in seen:
                continue
            seen.add(id(tensor))
            if tensor is graph.input:
                found.append(_Input.pictures(tensor, views, rows))
            elif known := self._known(graph, tensor, wanted):
                found.append(known)
            else:
                above += graph.maker(tensor).input_tensors
        return found

    def _known(self, graph: Graph, tensor: Tensor, wanted: Digests) -> _Input | None:
        """A tensor as an input, where all these rows of it are there."""
        if None in tensor.shape[1:]:
            return None
        shelf = self._shelf(graph.key(tensor), tensor.shape[1:])
        places = shelf.places(wanted)
        if not len(shelf.segments) or (places < 0).any():
            return None
        rows, abouts = shelf.rows(places), shelf.abouts(places)
        return _Input(
            tensor,
            lambda some: rows[some],
            self._seconds(abouts) / len(wanted),
            self._latency_ms(abouts),
        )

    def _about(self, predict: Callable[..., Any], inputs: Sequence[_Input], seconds_per_row: float) -> dict[str, float]:
        """What a segment says of its rows: what they cost, from the pictures on."""
        latency_ms = cost.latency_ms(predict, [tuple(each.tensor.shape[1:]) for each in inputs])
        return {
            "cores": self.cores,
            "seconds_per_row": seconds_per_row + max(each.seconds_per_row for each in inputs),
            "latency_ms": latency_ms + max(each.latency_ms for each in inputs),
        }

    # -- shelves

    def _shelves(self, cut: Cut) -> list[Shelf]:
        return [self._shelf(key, shape) for key, shape in zip(cut.keys, cut.shapes, strict=True)]

    def _shelf(self, key: str, shape: Sequence[int]) -> Shelf:
        folder = kept.place("features", self.root) / f"{key}-{self.dtype}"
        return Shelf.found(folder, shape, self.dtype, verify=True)

    def _row_bytes(self, tensor: Tensor) -> int:
        return int(math.prod(tensor.shape[1:])) * np.dtype(self.dtype).itemsize

    def _seconds(self, abouts: Sequence[tuple[int, Mapping[str, Any]]]) -> float:
        """What computing took, on as many cores as there are here."""
        return float(sum(count * about["seconds_per_row"] * about["cores"] / self.cores for count, about in abouts))

    def _latency_ms(self, abouts: Sequence[tuple[int, Mapping[str, Any]]]) -> float:
        return float(np.average([about["latency_ms"] for _, about in abouts], weights=[count for count, _ in abouts]))


@dataclass(frozen=True)
class _Input:
    """What a prefix starts from: a tensor, how its rows are read, and what they cost."""

    tensor: Tensor
    read: Callable[[slice], Any]
    seconds_per_row: float = 0.0
    latency_ms: float = 0.0

    @classmethod
    def pictures(cls, tensor: Tensor, views: Sequence[View], rows: NDArray[np.int64]) -> _Input:
        starts = np.cumsum([0, *map(len, views)])
        numbers = np.searchsorted(starts, rows, side="right") - 1

        def read(some: slice) -> Any:
            chosen = [
                views[number].pictures((rows[some] - starts[number])[numbers[some] == number])
                for number in np.unique(numbers[some])
            ]
            return np.concatenate(chosen)

        return cls(tensor, read)


def _predictor(prefix: Any, inputs: Sequence[_Input]) -> Callable[..., Any]:
    signature = [tf.TensorSpec([None, *each.tensor.shape[1:]], tf.float32) for each in inputs]

    def outputs(*given: Any) -> list[Any]:
        flat: list[Any] = keras.tree.flatten(prefix(list(given), training=False))
        return flat

    traced = tf.function(outputs, autograph=False, input_signature=signature)
    return lambda *given: traced(*(tf.cast(each, tf.float32) for each in given))


def _digests(views: Sequence[View]) -> Digests:
    return np.concatenate([digests(view.sha256) for view in views])


def _missing(shelves: Sequence[Shelf], wanted: Digests) -> NDArray[np.int64]:
    """The rows that not all of the shelves have."""
    there = np.all([shelf.places(wanted) >= 0 for shelf in shelves], axis=0)
    return np.flatnonzero(~there)
