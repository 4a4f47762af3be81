"""Training of one Keras model, on pictures or features: fit with early stopping, predict."""

from __future__ import annotations

import itertools
import math
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from bench.data import machine
from bench.errors import one_line
from bench.metrics import metric as named
from bench.metrics._metric import Metric
from bench.records import Ending, Epoch
from bench.training import footprint
from bench.training.batches import Batches, Examples
from bench.training.objective import Objective, WrongModel, input_shapes, output_shape
from bench.training.probabilities import Probabilities

BATCH_SIZE = 32
"""Default if a family does not declare the hyperparameter."""

PREDICT_BATCH = 64
READ_BYTES = 4 * 2**20
"""Minimum batch size of predictions, in examples and in bytes."""

MIN_GAIN = 0.01
"""Minimum relative decrease of the validation loss that counts as an improvement."""


class NonFinite(ArithmeticError):
    """The loss or a prediction is not a finite number."""


class TooLarge(MemoryError):
    """The model would not fit into memory; nothing was trained."""


class Stopped(Exception):
    """Training was stopped without a usable epoch: by a pruner, or before the first epoch ended."""

    def __init__(self, ending: Ending) -> None:
        super().__init__(ending)
        self.ending = ending


EpochReport = Callable[[Epoch], Ending | None]
"""Called with every epoch; PRUNER drops the training, another reason ends it with its best epoch."""


def refuse_too_large(model: keras.Model, batch_size: int) -> None:
    """Raise TooLarge if training would need more memory than is free."""
    parameters_mb, activations_mb = footprint.training_memory_mb(
        model.weights, model.trainable_weights, footprint.uses(model), batch_size
    )
    free_mb = machine.available_mb()
    if parameters_mb + activations_mb > free_mb:
        raise TooLarge(
            f"training needs about {parameters_mb + activations_mb:,.0f} MB ({parameters_mb:,.0f} MB for "
            f"{model.count_params():,} parameters, {activations_mb:,.0f} MB for batches of {batch_size}), "
            f"but {free_mb:,.0f} MB are free"
        )


def traced(model: keras.Model) -> Callable[..., Any]:
    """Trace a model in inference mode as one function for all batch sizes; it takes one array per input."""
    signature = [tf.TensorSpec([None, *shape[1:]], tf.float32) for shape in input_shapes(model)]
    takes_list = isinstance(getattr(model, "input", None), list)
    function = tf.function(
        lambda *inputs: model(list(inputs) if takes_list else inputs[0], training=False),
        autograph=False,
        input_signature=signature,
    )
    return lambda *inputs: function(*(tf.cast(array, tf.float32) for array in inputs))


def latency_ms(model: keras.Model) -> float:
    """Measure the median milliseconds of a traced model for one example."""
    return footprint.latency_ms(traced(model), [np.zeros((1, *shape[1:]), np.float32) for shape in input_shapes(model)])


class Predictor:
    """Predicts class probabilities with a Keras model and its current weights, by one traced function."""

    def __init__(self, model: keras.Model, objective: Objective) -> None:
        self.raw = traced(model)
        self._objective = objective

    def __call__(self, examples: Examples) -> Probabilities:
        """Return probabilities, shape (n, classes)."""
        size = max(PREDICT_BATCH, READ_BYTES // (4 * sum(map(math.prod, examples.shapes))))
        starts = range(0, len(examples.labels), size)
        inputs = (examples.read(slice(start, start + size)) for start in starts)
        output = np.concatenate([np.asarray(self.raw(*arrays)) for arrays in inputs]).astype(np.float64)
        if not np.isfinite(output).all():
            raise NonFinite("the model's predictions are not finite numbers")
        return self._objective.probabilities(output)


@dataclass
class BestEpoch:
    """The best epoch so far, over all phases of a training, and its weights.

    An epoch counts as an improvement if the metric of its validation is better or its validation loss is lower
    (`keras.callbacks.EarlyStopping` monitors only one of them): small networks often stay at chance accuracy for some
    epochs while their loss already decreases. The best epoch has the best metric, in ties the lowest loss.

    Attributes:
        metric: The run's metric.
        ending: Reason why training ended early; None if it did not.
    """

    metric: Metric
    quality: tuple[float, float] = (-math.inf, -math.inf)
    lowest_loss: float = math.inf
    waited: int = 0
    weights: list[NDArray[Any]] | None = None
    ending: Ending | None = None

    def begin(self, model: keras.Model) -> None:
        """Begin another phase; it starts from the best weights, which the model has now."""
        self.waited = 0
        self.weights = model.get_weights() if self.weights is not None else None

    def note(self, done: Epoch, model: keras.Model) -> None:
        """Count an epoch; if it is the best so far, store its weights."""
        quality = _quality(done, self.metric)
        better = quality[0] > self.quality[0] or done.val_loss < (1 - MIN_GAIN) * self.lowest_loss
        self.waited = 0 if better else self.waited + 1
        if quality > self.quality:
            self.quality, self.weights = quality, model.get_weights()
        self.lowest_loss = min(self.lowest_loss, done.val_loss)


class _EpochLoop:
    """The epochs of a compiled model; one traced function runs all steps of an epoch.

    `Model.fit` returns to Python after every step (or after `steps_per_execution` of them), which takes longer than a
    step of a small tail. The steps are Keras' `train_step`, so the losses are the same as in `fit`. No step begins
    once `over` is True.
    """

    def __init__(
        self,
        model: keras.Model,
        objective: Objective,
        train: Examples,
        batch_size: int,
        seed: int,
        over: tf.Variable | None = None,
    ) -> None:
        targets = objective.targets(train.labels)
        batches = Batches(train, targets, batch_size, seed)
        self.steps, self._model, self._begin = batches.steps, model, batches.begin
        step = model.train_step
        if model.jit_compile:
            step = tf.function(step, jit_compile=True, reduce_retracing=True)

        def due(number: Any) -> Any:
            left = number < batches.steps
            return left if over is None else tf.logical_and(left, tf.logical_not(over.read_value()))

        def run(epoch: Any) -> Any:
            def one(number: Any) -> Any:
                with warnings.catch_warnings():
                    warnings.filterwarnings("ignore", message=".*does not have any trainable weights")
                    try:
                        step(batches.next(epoch, number))
                    except (TypeError, ValueError) as error:  # while it is traced
                        if train.weights is None:
                            raise
                        needed = "class_weight needs a train_step that takes (x, y, sample_weight)"
                        raise WrongModel(f"{needed}: {one_line(error)}") from error
                return number + 1

            return tf.while_loop(due, one, [0], parallel_iterations=1)[0]

        self._run = run if model.run_eagerly else tf.function(run, autograph=False)
        # A traced loop cannot create the variables of the optimizer and the metrics.
        model.optimizer.build(model.trainable_variables)
        inputs, output = [tf.zeros([1, *shape[1:]]) for shape in input_shapes(model)], output_shape(model)
        example = {"y": tf.constant(targets[:1]), "y_pred": tf.zeros([1, *output[1:]])}
        model.compute_loss(x=inputs, **example)
        model.compute_metrics(x=inputs, **example)

    def epoch(self, number: int) -> tuple[float, float | None] | None:
        """Train for an epoch; return its loss, and its accuracy if the model is compiled with that metric.

        Returns None if the time was over before the epoch ended.
        """
        self._model.reset_metrics()
        if int(self._run(self._begin(number))) < self.steps:
            return None
        logs = self._model.get_metrics_result()
        if "loss" not in logs:
            raise WrongModel(
                f"its metrics are {', '.join(logs) or 'none'}: one must be named loss, for the learning curve"
            )
        loss = float(logs["loss"])
        if not math.isfinite(loss):
            raise NonFinite(f"the training loss is {loss} after epoch {number}")
        return loss, float(logs["accuracy"]) if "accuracy" in logs else None


def fit(
    model: keras.Model,
    objective: Objective,
    train: Examples,
    validation: Examples,
    *,
    epochs: int,
    patience: int,
    batch_size: int,
    seed: int,
    report: EpochReport,
    predict: Predictor,
    best: BestEpoch,
    phase: str = "",
    before: int = 0,
    over: tf.Variable | None = None,
) -> list[Epoch]:
    """Train with early stopping, and restore the weights of the best epoch.

    If the time is over within an epoch, this epoch is dropped and training ends.

    Args:
        model: Compiled for the objective; takes these examples.
        epochs: Maximum number of epochs.
        patience: Number of epochs without an improvement after which training stops.
        seed: Seed for the order of the examples and their augmentation.
        best: The best epoch of earlier phases, with the metric to choose by; updated in place.
        before: Number of epochs of earlier phases.
        over: Becomes True when the time is over; `tf.timestamp` cannot be used with deterministic ops.

    Raises:
        NonFinite: A loss or prediction is NaN or infinite.
        Stopped: `report` returned PRUNER, or training ended before the first epoch of all phases.
    """
    best.begin(model)
    training = _EpochLoop(model, objective, train, batch_size, seed, over)
    history: list[Epoch] = []
    for number in range(before + 1, before + epochs + 1):
        start, cpu_start = time.perf_counter(), time.process_time()
        trained = training.epoch(number)
        if trained is None:
            best.ending = Ending.BUDGET
            break
        loss, accuracy = trained
        trained_s, cpu_s = time.perf_counter() - start, time.process_time() - cpu_start
        probabilities = predict(validation)
        chosen = best.metric
        value = None if chosen.name == "accuracy" else chosen.value(probabilities, validation.labels)
        val_time_s = time.perf_counter() - start - trained_s
        done = Epoch(
            epoch=number,
            loss=loss,
            accuracy=accuracy,
            val_loss=named("log_loss").value(probabilities, validation.labels),
            val_accuracy=named("accuracy").value(probabilities, validation.labels),
            time_s=time.perf_counter() - start,
            phase=phase,
            step_time_s=trained_s / training.steps,
            step_cpu_s=cpu_s / training.steps,
            val_time_s=val_time_s,
            value=value,
        )
        history.append(done)
        best.note(done, model)
        best.ending = report(done)
        if best.ending is Ending.PRUNER:
            raise Stopped(best.ending)
        if best.ending or best.waited >= patience:
            break
    if best.weights is not None:
        model.set_weights(best.weights)
    elif best.ending:
        raise Stopped(best.ending)
    return history


def refit(
    model: keras.Model,
    objective: Objective,
    train: Examples,
    *,
    epochs: int,
    batch_size: int,
    seed: int,
    before: int = 0,
) -> None:
    """Train without validation and early stopping; the model has the weights of the last epoch."""
    training = _EpochLoop(model, objective, train, batch_size, seed)
    for number in range(before + 1, before + epochs + 1):
        training.epoch(number)


def best_epochs(history: Sequence[Epoch], metric: Metric) -> tuple[int, ...]:
    """Return, for each phase, the number of epochs up to its best one.

    A phase begins with the best weights of the previous ones; if it does not improve on them, its number is 0.
    """
    counts: list[int] = []
    best, before = (-math.inf, -math.inf), 0
    for _, group in itertools.groupby(history, key=lambda epoch: epoch.phase):
        epochs = list(group)
        quality, top = max((_quality(epoch, metric), -epoch.epoch) for epoch in epochs)
        counts.append(-top - before if quality > best else 0)
        best, before = max(best, quality), epochs[-1].epoch
    return tuple(counts)


def _quality(epoch: Epoch, metric: Metric) -> tuple[float, float]:
    return metric.quality(epoch.measured), -epoch.val_loss
