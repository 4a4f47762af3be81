"""Examples for training and evaluating a network: pictures, or the features that its frozen layers compute from them.

In both cases the order of the examples in an epoch and the augmentation of each batch depend only on the seed, so that
training on features gives the same result as training on pictures.
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
from bench.training.imbalance import Balancing

Arrays = tuple[NDArray[Any], ...]

NATURAL = Balancing()
"""Every picture once in an epoch, with the same weight."""


@dataclass(frozen=True)
class Part:
    """Pictures and labels of one part of the split.

    Attributes:
        pixels: uint8, shape (n, size, size, 3); instead of pictures also features, shape (n, features).
        labels: int64, shape (n,).
        sha256: Hexadecimal hash of each picture's content; the key of its features.
    """

    pixels: Rows
    labels: NDArray[np.int64]
    sha256: Sequence[str] = ()

    def examples(self, augment: Augmentation | None = None, balancing: Balancing = NATURAL) -> Examples:
        """Return the pictures as examples, which are read from disk when needed."""
        return Examples([self.pixels], self.labels, augment=augment, balancing=balancing)


class Examples:
    """Examples in a fixed order, with an array for every input of a model.

    Args:
        inputs: Rows by input, shape (views * n, …): the first view of all examples, then the second of all, …
        labels: int64, shape (n,).
        views: Number of views of each example; each training step draws one of them.
        augment: Alters the pictures, the only input, in each training step.
        balancing: Treatment of rare classes in training.
        in_memory: Whether to read all rows into memory; the attribute `arrays` then has them by input.

    Attributes:
        weights: Weight of each example in the loss, shape (n,); None if all count the same.
    """

    def __init__(
        self,
        inputs: Sequence[Rows],
        labels: NDArray[np.int64],
        *,
        views: int = 1,
        augment: Augmentation | None = None,
        balancing: Balancing = NATURAL,
        in_memory: bool = False,
    ) -> None:
        self.labels, self._views, self._augment = labels, views, augment
        self.weights, self._balancing = balancing.weights(labels), balancing
        self.shapes, self.dtypes = [rows.shape[1:] for rows in inputs], [rows.dtype for rows in inputs]
        self.arrays: Arrays | None = tuple(np.asarray(rows) for rows in inputs) if in_memory else None
        self._inputs: Sequence[Rows] | Arrays = self.arrays or inputs

    def read(self, indices: Any, random: np.random.Generator | None = None) -> Arrays:
        """Read examples with their stored dtype: with `random` a random view of each, altered, else the first view."""
        if random is None:
            return tuple(rows[indices] for rows in self._inputs)
        rows = self.choose(indices, random)
        arrays = tuple(array[rows] for array in self._inputs)
        return (self._augment(arrays[0], random),) if self._augment else arrays

    def order(self, random: np.random.Generator) -> NDArray[np.int64]:
        """Draw the examples of an epoch, in order, shape (n,); with balanced sampling rare ones are repeated."""
        return self._balancing.draw(self.labels, random)

    def choose(self, indices: NDArray[np.int64], random: np.random.Generator) -> NDArray[np.int64]:
        """Draw a view of each example and return its row; of two views the second if `augmentation.flip` would flip."""
        if self._views == 1:
            return indices
        if self._views == 2:
            return np.where(random.random(len(indices)) < 0.5, indices + len(self.labels), indices)
        return indices + len(self.labels) * random.integers(self._views, size=len(indices))


class Batches:
    """Training batches, shuffled in each epoch, reproducible with the same seed.

    The last batch of an epoch may have fewer examples.

    Args:
        targets: Targets of the loss, shape (n, …).
    """

    def __init__(self, examples: Examples, targets: NDArray[Any], batch_size: int, seed: int) -> None:
        self._examples, self._size, self._seed = examples, batch_size, seed
        self._targets: Arrays = (targets,) if examples.weights is None else (targets, examples.weights)
        self.steps = math.ceil(len(targets) / batch_size)
        self._epoch, self._order = 0, np.arange(len(targets))
        arrays = examples.arrays
        self._arrays = None if arrays is None else tuple(tf.constant(array) for array in (*arrays, *self._targets))
        self._stream = self._streamed() if arrays is None else None

    def begin(self, epoch: int) -> Any:
        """Shuffle for an epoch; return the first argument of `next`, a valid argument of a traced function."""
        self._epoch, self._order = epoch, self._examples.order(np.random.default_rng([self._seed, epoch]))
        if self._stream is not None:
            return iter(self._stream)
        rows = [self._examples.choose(self._indices(step), self._random(step)) for step in range(self.steps)]
        return tf.constant(np.concatenate(rows)), tf.constant(self._order)

    def next(self, epoch: Any, step: Any) -> tuple[Any, ...]:
        """Return a batch inside a traced function, as `Model.fit` passes it to `train_step`.

        It has float32 inputs (a list if there are several), targets and, only if examples have weights, the weights.
        """
        count = len(self._examples.shapes)
        if self._arrays is None:
            arrays = epoch.get_next()
        else:
            batch = slice(step * self._size, (step + 1) * self._size)
            places = [epoch[0][batch]] * count + [epoch[1][batch]] * len(self._targets)
            arrays = [tf.gather(array, indices) for array, indices in zip(self._arrays, places, strict=True)]
        floats = [tf.cast(array, tf.float32) for array in arrays[:count]]
        return floats if len(floats) > 1 else floats[0], *arrays[count:]

    def _indices(self, step: int) -> NDArray[np.int64]:
        return self._order[step * self._size : (step + 1) * self._size]

    def _random(self, step: int) -> np.random.Generator:
        return np.random.default_rng([self._seed, self._epoch, step])

    def _streamed(self) -> tf.data.Dataset:
        """Read each batch of the current epoch while the model is trained on the previous one."""
        shapes = [*self._examples.shapes, *(array.shape[1:] for array in self._targets)]
        dtypes = [*self._examples.dtypes, *(array.dtype for array in self._targets)]

        def read(step: np.int64) -> list[NDArray[Any]]:
            indices = self._indices(int(step))
            targets = (array[indices] for array in self._targets)
            return [*self._examples.read(indices, self._random(int(step))), *targets]

        def batch(step: Any) -> Any:
            arrays = tf.numpy_function(read, [step], dtypes, stateful=False)
            return tuple(tf.ensure_shape(array, [None, *shape]) for array, shape in zip(arrays, shapes, strict=True))

        return tf.data.Dataset.range(self.steps).map(batch, num_parallel_calls=1, deterministic=True).prefetch(2)
