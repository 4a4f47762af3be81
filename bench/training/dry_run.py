"""Dry run of a model before the search: a few random pictures, through all that a trial will do with it."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from bench.cache.rows import Rows
from bench.hyperparameters import Value
from bench.training.batches import Part
from bench.training.estimators import Network
from bench.training.frozen.identity import is_other_code
from bench.training.keras_private import layers_within
from bench.training.metrics import Probabilities
from bench.training.objective import WrongModel
from bench.training.task import Backbone
from bench.training.trainer import NonFinite, Predictor

PICTURES = 4
LONGEST = 200
"""Characters of another library's message that are passed on."""

SAME = 5e-3
"""Largest difference of two probabilities that rounding explains, half precision included."""


def dry_run(
    model: keras.Model, values: Mapping[str, Value], num_classes: int, seed: int, backbones: Sequence[Backbone]
) -> list[str]:
    """Train a model for one epoch, let it predict, save it and load it back.

    Returns:
        Warnings: it can be trained, but something of it is not as its user will expect.

    Raises:
        WrongModel: It cannot be trained.
    """
    network = Network(model, values, num_classes, seed, backbones=backbones, cache=None, progress=lambda *_: None)
    pixels = np.random.default_rng(0).integers(0, 256, (PICTURES, network.size, network.size, 3), np.uint8)
    rows = Rows([pixels], np.zeros(PICTURES, np.int64), np.arange(PICTURES))
    part = Part(rows, np.arange(PICTURES) % num_classes)
    try:
        network.fit(part, part, epochs=1, patience=1, report=lambda epoch: None)
        first, second = network.predict(part), network.predict(part)
        singles = [Part(rows.select(slice(row, row + 1)), part.labels[row : row + 1]) for row in range(PICTURES)]
        alone = np.concatenate([network.predict(single) for single in singles])
    except (NonFinite, MemoryError, tf.errors.ResourceExhaustedError):
        return []  # other configurations, and real pictures, may do better
    except WrongModel:
        raise
    except Exception as error:  # whatever its layers raise
        raise WrongModel(f"it cannot be trained: {_in_short(error)}") from error
    warnings = []
    if not np.allclose(first, second, atol=1e-6):
        warnings.append("predicts one picture differently from call to call: a layer is random outside training too")
    elif not np.allclose(first, alone, atol=SAME):
        warnings.append("predicts one picture differently beside other pictures of its batch")
    return warnings + _reloaded(model, network, part, first)


def _reloaded(built: keras.Model, network: Network, part: Part, expected: Probabilities) -> list[str]:
    """Save a model and load it back as its user will, without the classes of the family's file."""
    try:
        with tempfile.TemporaryDirectory() as folder, _no_custom_objects():
            path = Path(folder, "model.keras")
            network.save(path)
            model = keras.saving.load_model(path, compile=False)
        if not np.allclose(Predictor(model, network.objective)(part.examples()), expected, atol=SAME):
            return ["its kept model predicts otherwise than the trained one"]
    except Exception as error:  # whatever its layers raise
        others = {type(layer).__name__ for layer in layers_within(built) if is_other_code(layer)}
        reason = f"because of {', '.join(sorted(others))}" if others else _in_short(error)
        return [f"keras.saving.load_model alone will not open its kept model, {reason}"]
    return []


@contextmanager
def _no_custom_objects() -> Iterator[None]:
    """Hide the classes that a family's file has registered: another process does not have them."""
    registered = keras.saving.get_custom_objects()
    hidden = dict(registered)
    registered.clear()
    try:
        yield
    finally:
        registered.update(hidden)


def _in_short(error: Exception) -> str:
    text = f"{type(error).__name__}: {' '.join(str(error).split())}"
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}…"
