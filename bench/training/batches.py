"""Examples that a network is trained and judged on: pictures, or the features that its frozen layers make of them.

In both cases the order of an epoch's examples and the augmentation of each batch follow from the seed alone, so that
training on features repeats training on pictures.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from bench.cache.rows import Rows
from bench.training.augmentation import AUGMENTATIONS, Augmentation

Arrays = tuple[NDArray[Any], ...]

READ_BYTES = 4 * 2**20
"""Bytes that predicting reads at a time."""


@dataclass(frozen=True)
class Part:
    """Pictures and labels of one part of the split.

    Attributes:
        pixels: uint8, shape (n, size, size, 3).
        labels: int64, shape (n,).
        sha256: Hash of each picture's content, hexadecimal; the key of its features.
    """

    pixels: Rows
    labels: NDArray[np.int64]
    sha256: Sequence[str] = ()


class Examples(Protocol):
    """Examples in a fixed order; each has an array for every input of a model.

    Attributes:
        labels: int64, shape (n,).
        shapes, dtypes: Shape and dtype of one example, input by input.
        held: All rows by input, where they are in memory; `choose` gives the rows of an example.
    """

    labels: NDArray[np.int64]
    shapes: list[tuple[int, ...]]
    dtypes: list[np.dtype[Any]]
    held: Arrays | None

    def read(self, indices: Any, random: np.random.Generator | None = None) -> Arrays:
        """Read some examples, augmented where there is a generator."""
        ...

    def choose(self, indices: NDArray[np.int64], random: np.random.Generator) -> NDArray[np.int64]:
        """Choose the rows of `held` that these examples are trained on."""
        ...


class PictureExamples:
    """Pictures, read when they are needed."""

    held: Arrays | None = None

    def __init__(self, part: Part, augment: Augmentation = AUGMENTATIONS["none"]) -> None:
        self.labels = part.labels
        self.shapes, self.dtypes = [part.pixels.shape[1:]], [part.pixels.dtype]
        self._pixels, self._augment = part.pixels, augment

    def read(self, indices: Any, random: np.random.Generator | None = None) -> Arrays:
        """Read pictures, uint8."""
        pictures = self._pixels[indices]
        return (self._augment(pictures, random) if random is not None else pictures,)

    def choose(self, indices: NDArray[np.int64], random: np.random.Generator) -> NDArray[np.int64]:
        """Fail: no rows are in memory."""
        raise NotImplementedError


class FeatureExamples:
    """Features of pictures: a row for every view of every picture, all first views first.

    Args:
        rows: Rows by input of the model, shape (views * n, …).
        labels: Labels of the pictures, shape (n,).
        views: Number of views of each picture.
        hold: Whether the rows are read into memory.
    """

    def __init__(self, rows: Sequence[Rows], labels: NDArray[np.int64], views: int, hold: bool) -> None:
        self.labels, self._views = labels, views
        self.shapes, self.dtypes = [array.shape[1:] for array in rows], [array.dtype for array in rows]
        self.held = tuple(np.asarray(array) for array in rows) if hold else None
        self._rows: Sequence[Rows] | Arrays = self.held or rows

    def read(self, indices: Any, random: np.random.Generator | None = None) -> Arrays:
        """Read rows as they are stored; without a generator those of the first view."""
        if random is not None:
            indices = self.choose(indices, random)
        return tuple(rows[indices] for rows in self._rows)

    def choose(self, indices: NDArray[np.int64], random: np.random.Generator) -> NDArray[np.int64]:
        """Draw a view of each picture: of two the second where `augmentation.flip` would flip."""
        if self._views == 1:
            return indices
        if self._views == 2:
            return np.where(random.random(len(indices)) < 0.5, indices + len(self.labels), indices)
        return indices + len(self.labels) * random.integers(self._views, size=len(indices))


class Batches:
    """Training batches of one epoch after the other, shuffled anew in each, the same for the same seed.

    Args:
        examples: Examples to train on.
        targets: Targets of the loss, shape (n, …).
        batch_size: Examples in a batch; the last one of an epoch may have fewer.
        seed: Seed of the order and of augmentation.

    Attributes:
        steps: Batches in an epoch.
    """

    def __init__(self, examples: Examples, targets: NDArray[Any], batch_size: int, seed: int) -> None:
        self._examples, self._targets, self._size, self._seed = examples, targets, batch_size, seed
        self._count = len(targets)
        self.steps = math.ceil(self._count / batch_size)
        self._epoch = 0
        self._order = np.arange(self._count)
        held = examples.held
        self._held = None if held is None else tuple(tf.constant(array) for array in (*held, targets))
        self._stream = self._streamed() if held is None else None

    def begin(self, epoch: int) -> Any:
        """Shuffle for an epoch; return the first argument of `next`, which a traced function can take."""
        self._epoch, self._order = epoch, np.random.default_rng([self._seed, epoch]).permutation(self._count)
        if self._stream is not None:
            return iter(self._stream)
        rows = [self._examples.choose(self._indices(step), self._random(step)) for step in range(self.steps)]
        return tf.constant(np.concatenate(rows)), tf.constant(self._order)

    def next(self, epoch: Any, step: Any) -> tuple[Any, Any]:
        """Make a batch inside a traced function: inputs, float32 (a list where there are several), and targets."""
        if self._held is None:
            *inputs, targets = epoch.get_next()
        else:
            within = slice(step * self._size, (step + 1) * self._size)
            inputs = [tf.gather(array, epoch[0][within]) for array in self._held[:-1]]
            targets = tf.gather(self._held[-1], epoch[1][within])
        floats = [tf.cast(array, tf.float32) for array in inputs]
        return floats if len(floats) > 1 else floats[0], targets

    def one_target(self) -> Any:
        """Return the target of one example, shape (1, …)."""
        return tf.constant(self._targets[:1])

    def _indices(self, step: int) -> NDArray[np.int64]:
        return self._order[step * self._size : (step + 1) * self._size]

    def _random(self, step: int) -> np.random.Generator:
        return np.random.default_rng([self._seed, self._epoch, step])

    def _streamed(self) -> tf.data.Dataset:
        """Read each batch of the current epoch while the one before is trained on."""
        shapes = [*self._examples.shapes, self._targets.shape[1:]]
        dtypes = [*self._examples.dtypes, self._targets.dtype]

        def read(step: np.int64) -> list[NDArray[Any]]:
            indices = self._indices(int(step))
            return [*self._examples.read(indices, self._random(int(step))), self._targets[indices]]

        def batch(step: Any) -> Any:
            arrays = tf.numpy_function(read, [step], dtypes, stateful=False)
            return tuple(tf.ensure_shape(array, [None, *shape]) for array, shape in zip(arrays, shapes, strict=True))

        return tf.data.Dataset.range(self.steps).map(batch, num_parallel_calls=1, deterministic=True).prefetch(2)


def chunks(examples: Examples, least: int) -> list[slice]:
    """Slice all examples in order for reading, at least `least` at a time, more where they are small."""
    count = len(examples.labels)
    row_bytes = 4 * sum(math.prod(shape) for shape in examples.shapes)
    size = max(least, READ_BYTES // row_bytes)
    return [slice(start, start + size) for start in range(0, count, size)]
