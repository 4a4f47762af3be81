"""Small models of every kind: what the probe lets pass trains, its probabilities are some, features change nothing."""

from __future__ import annotations

import os
from contextlib import contextmanager
from pathlib import Path

import hypothesis.strategies as st
import keras
import numpy as np
import pytest
from hypothesis import HealthCheck, event, given, settings

from bench import data
from bench.errors import SpaceError
from bench.training import jobs
from bench.training.frozen import features
from bench.training.objective import Objective
from bench.training.probabilities import measure

pytestmark = pytest.mark.slow

EXAMPLES = int(os.environ.get("BENCH_EXAMPLES", "5"))

HEAD = """\
import keras
import tensorflow as tf
from functools import partial
from keras import layers


@keras.saving.register_keras_serializable()
class Noisy(layers.Layer):
    def call(self, x):
        return tf.image.random_brightness(x, 0.2)


@keras.saving.register_keras_serializable()
class Shifted(layers.Layer):
    def call(self, x):
        return x + 0.1


def by_numbers(y_true, y_pred):
    return keras.losses.sparse_categorical_crossentropy(y_true, y_pred)


def build(hp, task):
"""

LAYERS = {
    "flip": "layers.RandomFlip()",
    "dropout": "layers.Dropout(0.3)",
    "noise": "layers.GaussianNoise(0.1)",
    "normalised": "layers.BatchNormalization()",
    "frozen normalised": "layers.BatchNormalization(trainable=False)",
    "lambda": "layers.Lambda(lambda x: x * 2)",
    "own": "Shifted()",
    "own, random": "Noisy()",
    "frozen": "layers.Conv2D(4, 3, padding='same', activation='relu', trainable=False)",
    "frozen, strided": "layers.Conv2D(6, 3, strides=2, trainable=False)",
    "trained": "layers.Conv2D(4, 3, padding='same')",
}

OUTPUTS = {
    "classify": "task.classify(x)",
    "sigmoid": "layers.Dense(1, 'sigmoid')(x)",
    "logit": "layers.Dense(1)(x)",
    "softmax": "layers.Dense(2, 'softmax')(x)",
    "softmax layer": "layers.Softmax()(layers.Dense(2)(x))",
    "softmax, cast": "layers.Activation('linear', dtype='float32')(layers.Dense(2, 'softmax')(x))",
    "sigmoids": "layers.Dense(2, 'sigmoid')(x)",
    "logits": "layers.Dense(2)(x)",
}

LOSSES_OF_ONE = {
    False: [
        "'binary_crossentropy'",
        "keras.losses.BinaryCrossentropy()",
        "['mse']",
        "keras.losses.BinaryFocalCrossentropy()",
    ],
    True: [
        "keras.losses.BinaryCrossentropy(from_logits=True)",
        "partial(keras.losses.binary_crossentropy, from_logits=True)",
    ],
}
LOSSES_OF_TWO = {
    False: ["'sparse_categorical_crossentropy'", "keras.losses.categorical_crossentropy", "by_numbers", "['mae']"],
    True: [
        "keras.losses.SparseCategoricalCrossentropy(from_logits=True)",
        "partial(keras.losses.categorical_crossentropy, from_logits=True)",
    ],
}


@st.composite
def models(draw):
    """Names of layers, an output, whether its loss takes logits (None: not compiled), half precision, and the text."""
    names = draw(st.lists(st.sampled_from(list(LAYERS)), min_size=1, max_size=5))
    output = draw(st.sampled_from(list(OUTPUTS)))
    losses = LOSSES_OF_ONE if output in ("classify", "sigmoid", "logit") else LOSSES_OF_TWO
    compiled, logits = draw(st.booleans()), draw(st.booleans())
    loss = draw(st.sampled_from(losses[logits])) if compiled else None
    mixed, phases = draw(st.sampled_from([False, False, True])), draw(st.booleans())
    lines = ["keras.config.set_dtype_policy('mixed_float16')"] if mixed else []
    lines += ["x = inputs = keras.Input((16, 16, 3))", "x = layers.Rescaling(1 / 255)(x)"]
    lines += [f"x = {LAYERS[name]}(x)" for name in names]
    if phases:
        lines += ["y = inside = keras.Input(x.shape[1:])", "y = layers.Conv2D(4, 3, padding='same')(y)"]
        lines += ["x = keras.Model(inside, y)(x)", "hp.Choice('head_epochs', [1])"]
    lines += ["x = layers.GlobalAveragePooling2D()(x)", f"model = keras.Model(inputs, {OUTPUTS[output]})"]
    lines += [f"model.compile(keras.optimizers.Adam(0.01), {loss})"] if loss else []
    text = HEAD + "".join(f"    {line}\n" for line in [*lines, "return model"])
    return names, output, logits if compiled else None, mixed, text


@contextmanager
def plain_precision():
    try:
        yield
    finally:
        keras.config.set_dtype_policy("float32")


@settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
@given(models())
@pytest.mark.filterwarnings("ignore")
def test_what_the_probe_lets_pass_trains(space, channel, job, probe_job, tmp_path_factory, monkeypatch, model):
    names, output, loss_takes_logits, mixed, text = model
    monkeypatch.setattr(features, "MIN_MACS_PER_BYTE", 0)  # features of these few layers are worth being kept
    folder = tmp_path_factory.mktemp("model")
    path = space(folder.name, text)
    with plain_precision():
        try:
            probed = jobs.probe(probe_job(path), channel())
        except SpaceError as error:
            event("refused")
            refused = output in ("logit", "logits") and loss_takes_logits is False
            assert refused and "not known to take logits" in str(error), text  # noqa: PT017, PT018
            return
        opens = not any("load_model" in warning for warning in probed.warnings)
        assert opens == (not {"lambda", "own", "own, random"} & set(names)), probed.warnings
        results = {}
        for kind in ("off", "float32"):
            config = job(
                path, features=kind, whole=True, cache=str(folder / "cache"), score=True,
                predictions=str(folder / f"{kind}.npz"),
            )  # fmt: skip
            results[kind] = jobs.trial(config, channel(keep=folder / f"{kind}.keras"))
            with np.load(config.predictions) as arrays:
                probabilities = arrays["probabilities"]
            assert probabilities.min() >= 0
            np.testing.assert_allclose(probabilities.sum(axis=1), 1.0, atol=1e-6)
            dataset = data.load(Path(config.manifest))
            part = jobs._part(dataset, dataset.part("validation"), 16, "squash", config, channel())
            kept = keras.saving.load_model(folder / f"{kind}.keras", safe_mode=False, compile=False)
            outputs = kept.predict(np.asarray(part.pixels), verbose=0)
            found = measure(Objective.of(kept).probabilities(outputs), part.labels)
            if "own, random" not in names:
                assert found.log_loss == pytest.approx(results[kind].validation.log_loss, abs=2e-2 if mixed else 1e-3)
        event(f"features used: {[prefix.used for prefix in results['float32'].prefixes]}")
        if "own, random" not in names:  # TensorFlow draws others in another graph
            for one, other in zip(*(result.history for result in results.values()), strict=True):
                near = pytest.approx((other.loss, other.val_loss), rel=5e-2 if mixed else 2e-3)
                assert (one.loss, one.val_loss) == near, text
