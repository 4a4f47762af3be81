"""Dry run of a model before the search: all steps of a trial, with a few random pictures."""

from __future__ import annotations

import math
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf

from bench.cache.rows import Rows
from bench.errors import one_line
from bench.hyperparameters import Value
from bench.metrics import metric
from bench.training.batches import Part
from bench.training.estimators import FitSettings, Network
from bench.training.frozen.identity import is_other_code
from bench.training.keras_private import layers_within
from bench.training.objective import WrongModel
from bench.training.probabilities import Probabilities
from bench.training.task import Backbone
from bench.training.trainer import NonFinite, Predictor

PICTURES = 4
MANY = 16
"""Number of times that the pictures are repeated to measure the speed of predictions."""

MAX_MANY_S = 1.0
"""Maximum time for predicting them."""

MAX_MESSAGE_CHARACTERS = 200
"""Maximum length of a quoted message of another library."""

TOLERANCE = 5e-3
"""Maximum difference of two probabilities that counts as rounding error; allows for half precision."""


class DryRun(NamedTuple):
    """Result of a dry run.

    Attributes:
        warnings: One sentence each, about its predictions and about loading it.
        predict_s: Seconds for predicting another picture in a batch.
    """

    warnings: list[str]
    predict_s: float = math.nan


def dry_run(
    model: keras.Model, values: Mapping[str, Value], num_classes: int, seed: int, backbones: Sequence[Backbone]
) -> DryRun:
    """Train a model for one step, predict with it, save it and load it again.

    Raises:
        WrongModel: It cannot be trained.
    """
    if "class_weight" in values:
        values = {**values, "class_weight": "balanced"}  # the model must take weights, whatever its default
    network = Network(model, values, num_classes, seed, backbones=backbones, cache=None, progress=lambda *_: None)
    pixels = np.random.default_rng(0).integers(0, 256, (PICTURES, network.size, network.size, 3), np.uint8)
    rows = Rows.of(pixels)
    part = Part(rows, np.arange(PICTURES) % num_classes)
    try:
        network.fit(part, part, FitSettings(1, 1, lambda epoch: None, metric("accuracy")))
        first = network.predict(part)
        few_s, second = _predicted(network, part)
        singles = [Part(rows.select(slice(row, row + 1)), part.labels[row : row + 1]) for row in range(PICTURES)]
        alone = np.concatenate([network.predict(single) for single in singles])
    except (NonFinite, MemoryError, tf.errors.ResourceExhaustedError):
        return DryRun([])  # other configurations, or real pictures, may not raise this
    except WrongModel:
        raise
    except Exception as error:  # its layers may raise anything
        raise WrongModel(f"it cannot be trained: {_summary(error)}") from error
    warnings = []
    if not np.allclose(first, second, atol=1e-6):
        warnings.append("its predictions for a picture differ between calls: a layer is random even outside training")
    elif not np.allclose(first, alone, atol=TOLERANCE):
        warnings.append("its predictions for a picture depend on the other pictures in the batch")
    warnings += _check_saved(model, network, part, first)
    return DryRun(warnings, _seconds_per_picture(network, part, few_s))


def _predicted(network: Network, part: Part) -> tuple[float, Probabilities]:
    """Return the seconds of a prediction, and its result."""
    start_s = time.perf_counter()
    probabilities = network.predict(part)
    return time.perf_counter() - start_s, probabilities


def _seconds_per_picture(network: Network, part: Part, few_s: float) -> float:
    """Measure the seconds that each further picture adds to a prediction.

    Args:
        few_s: Seconds for predicting this part, which include those of the call itself. Predictions that would take too
            long are not repeated with more pictures.
    """
    if few_s * MANY > MAX_MANY_S:
        return few_s / PICTURES
    places = np.tile(np.arange(PICTURES), MANY)
    many = Part(Rows([np.asarray(part.pixels)], np.zeros_like(places), places), part.labels[places])
    many_s, again_s = (min(_predicted(network, pictures)[0] for _ in range(2)) for pictures in (many, part))
    return max(many_s - min(few_s, again_s), 0.1 * many_s) / (len(places) - PICTURES)


def _check_saved(built: keras.Model, network: Network, part: Part, expected: Probabilities) -> list[str]:
    """Save a model and load it in the same way as a user, without the classes of the family's file."""
    try:
        with tempfile.TemporaryDirectory() as folder, _no_custom_objects():
            path = Path(folder, "model.keras")
            network.save(path)
            model = keras.saving.load_model(path, compile=False)
        if not np.allclose(Predictor(model, network.objective)(part.examples()), expected, atol=TOLERANCE):
            return ["its predictions change when it is saved and loaded"]
    except Exception as error:  # its layers may raise anything
        others = {type(layer).__name__ for layer in layers_within(built) if is_other_code(layer)}
        reason = f"because of {', '.join(sorted(others))}" if others else _summary(error)
        return [f"keras.saving.load_model alone cannot load its saved model, {reason}"]
    return []


@contextmanager
def _no_custom_objects() -> Iterator[None]:
    """Hide the classes that a family's file has registered, because another process does not have them."""
    registered = keras.saving.get_custom_objects()
    hidden = dict(registered)
    registered.clear()
    try:
        yield
    finally:
        registered.update(hidden)


def _summary(error: Exception) -> str:
    text = one_line(error)
    return text if len(text) <= MAX_MESSAGE_CHARACTERS else f"{text[:MAX_MESSAGE_CHARACTERS]}…"
