"""Trains one Keras model: compile, fit with early stopping, measure."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from bench.data.pixels import Pixels
from bench.hyperparameters import Value
from bench.records import Epoch
from bench.training import metrics
from bench.training.augmentation import AUGMENTATIONS, Augmentation, augmentation
from bench.training.cost import training_memory_mb

LEARNING_RATE = 1e-3
OPTIMIZER = "adam"
BATCH_SIZE = 32
"""Defaults where a family does not declare `learning_rate`, `optimizer` or `batch_size`."""

PREDICT_BATCH = 64

LEAST_GAIN = 0.01
"""The share by which a validation loss must fall to count as better."""


class NonFinite(ArithmeticError):
    """The loss or a prediction is not a finite number."""


class TooLarge(MemoryError):
    """The model would not fit into memory; nothing was trained."""


class Stopped(Exception):
    """Training was stopped from outside, by a pruner."""


class WrongModel(ValueError):
    """What `build` returned cannot be trained on these pictures."""


class EpochReport(Protocol):
    """Takes an epoch's figures; True stops the training."""

    def __call__(self, epoch: Epoch) -> bool: ...


@dataclass(frozen=True)
class Part:
    """Pictures and labels of one part of the split: uint8 (n, size, size, 3) and int64 (n,)."""

    pixels: Pixels
    labels: NDArray[np.int64]


def check_model(model: keras.Model, num_classes: int) -> int:
    """The input size in pixels of a model that can be trained here.

    Raises:
        WrongModel: Its input is not square RGB or its output has not one sigmoid unit or a unit a class.
    """
    shape = tuple(model.input_shape)
    if len(shape) != 4 or shape[1] != shape[2] or not shape[1] or shape[3] != 3:
        raise WrongModel(f"the model's input shape is {shape}: must be (None, size, size, 3), raw RGB pixels")
    output = tuple(model.output_shape)
    allowed = [(None, num_classes)] + ([(None, 1)] if num_classes == 2 else [])
    if output not in allowed:
        raise WrongModel(
            f"the model's output shape is {output}: must be {' or '.join(map(str, allowed))} for {num_classes} classes;"
            " task.classify(x) makes such a layer"
        )
    return int(shape[1])


def compile_model(model: keras.Model, values: Mapping[str, Value]) -> None:
    """Compiles with the hyperparameters that the family declares; a model that is compiled already is kept as it is."""
    if model.compiled:
        return
    optimizer = keras.optimizers.get(str(values.get("optimizer", OPTIMIZER)))
    optimizer.learning_rate = float(values.get("learning_rate") or LEARNING_RATE)
    binary = model.output_shape[-1] == 1
    model.compile(
        optimizer=optimizer,
        loss="binary_crossentropy" if binary else "sparse_categorical_crossentropy",
        metrics=["accuracy"],
    )


def refuse_too_large(model: keras.Model, batch_size: int, available_mb: float) -> None:
    """Raises TooLarge with the numbers where training would need more memory than there is."""
    parameters_mb, activations_mb = training_memory_mb(model, batch_size)
    if parameters_mb + activations_mb > available_mb:
        raise TooLarge(
            f"training needs about {parameters_mb + activations_mb:,.0f} MB ({parameters_mb:,.0f} MB for "
            f"{model.count_params():,} parameters, {activations_mb:,.0f} MB for batches of {batch_size}), "
            f"but {available_mb:,.0f} MB are free"
        )


class Predictor:
    """Class probabilities of a Keras model, through one traced function for every batch size.

    Args:
        model: Its weights are read at every call, so that one predictor serves all epochs.
    """

    def __init__(self, model: keras.Model) -> None:
        size = model.input_shape[1]
        signature = tf.TensorSpec([None, size, size, 3], tf.float32)
        self.raw: Callable[[Any], Any] = tf.function(
            lambda pixels: model(pixels, training=False), input_signature=[signature]
        )
        loss = (
            model.loss if not isinstance(model.loss, str) else keras.losses.get(model.loss) if model.compiled else None
        )
        self._logits = bool(getattr(loss, "_fn_kwargs", {}).get("from_logits"))

    def __call__(self, pixels: Pixels | NDArray[np.uint8]) -> metrics.Probabilities:
        """Probabilities of uint8 pictures, shape (n, classes)."""
        chunks = [
            np.asarray(self.raw(tf.cast(pixels[start : start + PREDICT_BATCH], tf.float32)))
            for start in range(0, len(pixels), PREDICT_BATCH)
        ]
        output = np.concatenate(chunks).astype(np.float64)
        if not np.isfinite(output).all():
            raise NonFinite("the model's predictions are not finite numbers")
        if self._logits:
            output = 1 / (1 + np.exp(-output)) if output.shape[-1] == 1 else _softmax(output)
        return metrics.as_probabilities(output)


def _softmax(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    shifted = np.exp(logits - logits.max(axis=-1, keepdims=True))
    result: NDArray[np.float64] = shifted / shifted.sum(axis=-1, keepdims=True)
    return result


def training_batches(
    part: Part, batch_size: int, seed: int, targets: NDArray[Any], augment: Augmentation = AUGMENTATIONS["none"]
) -> tf.data.Dataset:
    """Shuffled float32 batches, in another order and altered in another way every epoch, the same for the same seed.

    Pictures are read from their array only when needed.
    """
    pixels = part.pixels
    shape = [None, *pixels.shape[1:]]

    def pictures(indices: NDArray[np.int64], number: np.int64) -> NDArray[np.uint8]:
        return augment(pixels[indices], np.random.default_rng(number))

    def read(indices: Any, number: Any) -> Any:
        batch = tf.numpy_function(pictures, [indices, number], tf.uint8, stateful=False)
        return tf.ensure_shape(batch, shape), tf.gather(targets, indices)

    def as_floats(batch: Any, wanted: Any) -> Any:  # apart, so that one batch is read while another is converted
        return tf.cast(batch, tf.float32), wanted

    order = tf.data.Dataset.range(len(pixels)).shuffle(len(pixels), seed=seed, reshuffle_each_iteration=True)
    numbers = tf.data.Dataset.random(seed, rerandomize_each_iteration=True)  # one a batch, others every epoch
    batches = tf.data.Dataset.zip(order.batch(batch_size), numbers)
    for step in (read, as_floats):
        batches = batches.map(step, num_parallel_calls=1, deterministic=True)
    return batches.prefetch(2)


def targets_for(model: keras.Model, labels: NDArray[np.int64]) -> NDArray[Any]:
    """Labels as the model's loss wants them: a column for one unit, one-hot for categorical losses, else integers."""
    if model.output_shape[-1] == 1:
        return labels.astype(np.float32).reshape(-1, 1)
    loss = model.loss if isinstance(model.loss, str) else getattr(model.loss, "name", type(model.loss).__name__)
    if "sparse" in str(loss).lower():
        return labels
    return np.eye(model.output_shape[-1], dtype=np.float32)[labels]


class _Epochs(keras.callbacks.Callback):  # type: ignore[misc]
    """After every epoch: validates, reports, keeps the best weights, and stops when nothing gets better.

    `keras.callbacks.EarlyStopping` watches one figure. Here an epoch counts as better with a higher validation accuracy
    or a lower validation loss: small networks often stay at chance for some epochs while their loss falls already.
    The weights kept are those of the highest accuracy, ties by loss.
    """

    def __init__(self, predict: Predictor, validation: Part, report: EpochReport, patience: int) -> None:
        super().__init__()
        self._predict, self._validation, self._report, self._patience = predict, validation, report, patience
        self.history: list[Epoch] = []
        self.pruned = False
        self._start = time.perf_counter()
        self._best, self._lowest_loss = (-math.inf, -math.inf), math.inf
        self._best_weights: list[NDArray[Any]] = []
        self._waited = 0

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self._start = time.perf_counter()

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        logs = logs if logs is not None else {}
        loss = float(logs.get("loss", math.nan))
        if not math.isfinite(loss):
            raise NonFinite(f"the training loss is {loss} after epoch {epoch + 1}")
        probabilities = self._predict(self._validation.pixels)
        accuracy = metrics.accuracy(probabilities, self._validation.labels)
        done = Epoch(
            epoch=epoch + 1,
            loss=loss,
            accuracy=float(logs["accuracy"]) if "accuracy" in logs else None,
            val_loss=metrics.log_loss(probabilities, self._validation.labels),
            val_accuracy=accuracy,
            time_s=time.perf_counter() - self._start,
        )
        self.history.append(done)
        self._keep_best(done)
        self.pruned = self._report(done)
        self.model.stop_training = self.pruned or self._waited >= self._patience

    def on_train_end(self, logs: Any = None) -> None:
        if self._best_weights:
            self.model.set_weights(self._best_weights)

    def _keep_best(self, done: Epoch) -> None:
        better = done.val_accuracy > self._best[0] or done.val_loss < (1 - LEAST_GAIN) * self._lowest_loss
        self._waited = 0 if better else self._waited + 1
        if _quality(done) > self._best:
            self._best = _quality(done)
            self._best_weights = self.model.get_weights()
        self._lowest_loss = min(self._lowest_loss, done.val_loss)


def fit(
    model: keras.Model,
    train: Part,
    validation: Part,
    *,
    values: Mapping[str, Value],
    epochs: int,
    patience: int,
    seed: int,
    report: EpochReport,
) -> tuple[Predictor, list[Epoch], float]:
    """Trains with early stopping; the weights of the epoch with the best validation accuracy are restored.

    Args:
        model: Compiled.
        values: Hyperparameters; `batch_size`, `epochs` (a lower cap) and `augmentation` are read.
        epochs: At most so many.
        patience: Epochs without a better validation accuracy or loss after which it stops.
        seed: Of the order of the pictures and of their augmentation.

    Returns:
        The trained model's predictor, the history, and the seconds that it took.

    Raises:
        NonFinite: A loss or prediction is NaN or infinite.
        Stopped: `report` asked for it.
        ValueError: There is no such augmentation.
    """
    start = time.perf_counter()
    predict = Predictor(model)
    callback = _Epochs(predict, validation, report, patience)
    batches = _batches(model, train, values, seed)
    epochs = min(epochs, int(values.get("epochs") or epochs))
    model.fit(batches, epochs=epochs, callbacks=[callback], shuffle=False, verbose=0)
    if callback.pruned:
        raise Stopped(f"stopped after epoch {len(callback.history)}")
    return predict, callback.history, time.perf_counter() - start


def refit(model: keras.Model, train: Part, *, values: Mapping[str, Value], epochs: int, seed: int) -> Predictor:
    """Trains for so many epochs with nothing held out: no validation, no early stopping, the last weights stay.

    Args:
        model: Compiled.
        values: Hyperparameters; `batch_size` and `augmentation` are read.
        epochs: How many.
        seed: Of the order of the pictures and of their augmentation.

    Returns:
        The trained model's predictor.

    Raises:
        NonFinite: A loss is NaN or infinite.
        ValueError: There is no such augmentation.
    """
    losses = model.fit(_batches(model, train, values, seed), epochs=epochs, shuffle=False, verbose=0).history["loss"]
    if not np.isfinite(losses).all():
        raise NonFinite(f"the training loss is {losses[-1]} after epoch {epochs}")
    return Predictor(model)


def best_epoch(history: Sequence[Epoch]) -> int:
    """The epoch whose weights are kept: the one of the highest validation accuracy, ties by loss."""
    return max(history, key=_quality).epoch


def _quality(epoch: Epoch) -> tuple[float, float]:
    return epoch.val_accuracy, -epoch.val_loss


def _batches(model: keras.Model, train: Part, values: Mapping[str, Value], seed: int) -> tf.data.Dataset:
    """Training pictures as the hyperparameters want them."""
    return training_batches(
        train,
        int(values.get("batch_size") or BATCH_SIZE),
        seed,
        targets_for(model, train.labels),
        augmentation(values.get("augmentation")),
    )
