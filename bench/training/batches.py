"""Examples that a network is trained and judged on: pictures, or the features that its frozen layers make of them.

In both cases the order of an epoch's examples and the augmentation of each batch follow from the seed alone, so that
training on features repeats training on pictures.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from bench.cache.rows import Rows
from bench.training.augmentation import Augmentation

Arrays = tuple[NDArray[Any], ...]


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

    def examples(self, augment: Augmentation | None = None) -> Examples:
        """Return the pictures as examples, read when they are needed."""
        return Examples([self.pixels], self.labels, augment=augment)


class Examples:
    """Examples in a fixed order, with an array for every input of a model.

    Args:
        inputs: Rows by input, shape (views * n, …): the first view of every example, then the second of every one, …
        labels: int64, shape (n,).
        views: Number of views of each example; one of them is drawn whenever it is trained on.
        augment: Alters the only input, pictures, whenever it is trained on.
        hold: Whether the rows are read into memory: `held` then has them by input.
    """

    def __init__(
        self,
        inputs: Sequence[Rows],
        labels: NDArray[np.int64],
        *,
        views: int = 1,
        augment: Augmentation | None = None,
        hold: bool = False,
    ) -> None:
        self.labels, self._views, self._augment = labels, views, augment
        self.shapes, self.dtypes = [rows.shape[1:] for rows in inputs], [rows.dtype for rows in inputs]
        self.held: Arrays | None = tuple(np.asarray(rows) for rows in inputs) if hold else None
        self._inputs: Sequence[Rows] | Arrays = self.held or inputs

    def read(self, indices: Any, random: np.random.Generator | None = None) -> Arrays:
        """Read examples as they are stored: to train on where there is a generator, else their first views."""
        if random is None:
            return tuple(rows[indices] for rows in self._inputs)
        rows = self.choose(indices, random)
        arrays = tuple(array[rows] for array in self._inputs)
        return (self._augment(arrays[0], random),) if self._augment else arrays

    def choose(self, indices: NDArray[np.int64], random: np.random.Generator) -> NDArray[np.int64]:
        """Draw a view of each example, and return its row: of two the second where `augmentation.flip` would flip."""
        if self._views == 1:
            return indices
        if self._views == 2:
            return np.where(random.random(len(indices)) < 0.5, indices + len(self.labels), indices)
        return indices + len(self.labels) * random.integers(self._views, size=len(indices))


class Batches:
    """Training batches of one epoch after the other, shuffled anew in each, the same for the same seed.

    `targets`, shape (n, …), are those of the loss. The last batch of an epoch may have fewer examples.
    """

    def __init__(self, examples: Examples, targets: NDArray[Any], batch_size: int, seed: int) -> None:
        self._examples, self._targets, self._size, self._seed = examples, targets, batch_size, seed
        self.steps = math.ceil(len(targets) / batch_size)
        self._epoch, self._order = 0, np.arange(len(targets))
        held = examples.held
        self._held = None if held is None else tuple(tf.constant(array) for array in (*held, targets))
        self._stream = self._streamed() if held is None else None

    def begin(self, epoch: int) -> Any:
        """Shuffle for an epoch; return the first argument of `next`, which a traced function can take."""
        self._epoch, self._order = epoch, np.random.default_rng([self._seed, epoch]).permutation(len(self._targets))
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
