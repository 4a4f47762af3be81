"""The dry run at the probe: what would fail in every trial is one line, what its user would not expect is a warning."""

from __future__ import annotations

import numpy as np
import pytest

from bench.errors import SpaceError
from bench.search import spaces
from bench.training import jobs

pytestmark = pytest.mark.slow

HEAD = """\
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from keras import layers


{before}def build(hp, task):
    inputs = keras.Input((16, 16, 3), name="pictures")
    x = layers.Rescaling(1 / 255)(inputs)
"""


def family(*lines, before=""):
    return HEAD.format(before=before) + "".join(f"    {line}\n" for line in lines)


CLASSIFY = "return keras.Model(inputs, task.classify(layers.Flatten()(x)))"
TWO_LOSSES = (
    "model = keras.Model(inputs, task.classify(layers.Flatten()(x)))",
    "model.compile(loss=['binary_crossentropy', 'mse'])",
    "return model",
)
TWO_INPUTS = (
    "more = keras.Input((2,))",
    "x = layers.Concatenate()([layers.Flatten()(x), more])",
    "return keras.Model([inputs, more], task.classify(x))",
)
CROPPING = """\
class Cropped(layers.Layer):
    def call(self, x, training=False):
        return x[:, 2:-2, 2:-2] if training else x

    def compute_output_shape(self, shape):
        return shape


"""
OWN_STEP = """\
class Own(keras.Model):
    @property
    def metrics(self):
        return []

    def train_step(self, data):
        return {}


"""


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (
            family("return keras.Model(inputs, layers.Dense(1, 'softmax')(layers.Flatten()(x)))"),
            "softmax over one unit",
        ),
        (
            family(
                "model = keras.Model(inputs, layers.Dense(2)(layers.Flatten()(x)))",
                "model.compile(loss='sparse_categorical_crossentropy')",
                "return model",
            ),
            "no activation, and its loss sparse_categorical_crossentropy is not known to take logits",
        ),
        (family(*TWO_LOSSES), "compiled with 2 losses: must be one"),
        (family(*TWO_INPUTS), "the model has 2 inputs: must have one"),
        (
            family("return keras.Model(inputs, {'classify': task.classify(layers.Flatten()(x))})"),
            "the model's output is a dict: must be one tensor",
        ),
        (
            family("x = task.classify(layers.Flatten()(x))", "return keras.Model(inputs, [x, x])"),
            "the model's output is 2 tensors: must be one tensor",
        ),
        (
            family("x = Cropped()(x)", CLASSIFY, before=CROPPING),
            "it cannot be trained: ",
        ),
        (
            family("return Own(inputs, task.classify(layers.Flatten()(x)))", before=OWN_STEP),
            "must be named loss",
        ),
        (
            family("x = layers.Dense(2, 'relu')(layers.Flatten()(x))", "return keras.Model(inputs, 3 + x)"),
            "must be probabilities, 0 to 1",
        ),
    ],
)
def test_a_model_that_no_trial_could_train_is_one_line(space, channel, probe_job, text, says):
    path = space("broken", text)
    with pytest.raises(SpaceError) as caught:
        jobs.probe(probe_job(path), channel())
    assert says in str(caught.value)
    assert caught.value.line == next(n for n, line in enumerate(text.splitlines(), 1) if line.startswith("def build"))
    assert "\n" not in str(caught.value)
    assert len(caught.value.message) < 300


NOISY = """\
class Noisy(layers.Layer):
    def call(self, x):
        return tf.image.random_brightness(x, 0.5)


"""
MIXING = """\
@keras.saving.register_keras_serializable()
class Mixing(layers.Layer):
    def call(self, x):
        return 10 * (x - keras.ops.mean(x, axis=0, keepdims=True))


"""
DOUBLED = """\
class Doubled(layers.Layer):
    def call(self, x):
        return 2 * x


"""


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (family("x = Noisy()(x)", CLASSIFY, before=NOISY), "differ between calls"),
        (family("x = Mixing()(x)", CLASSIFY, before=MIXING), "depend on the other pictures in the batch"),
        (family("x = Doubled()(x)", CLASSIFY, before=DOUBLED), "cannot load its saved model, because of Doubled"),
        (family("x = layers.Lambda(lambda x: 2 * x)(x)", CLASSIFY), "cannot load its saved model, because of Lambda"),
    ],
)
def test_a_model_that_its_user_would_be_surprised_by_is_a_warning(space, channel, probe_job, text, says):
    warnings = jobs.probe(probe_job(space("odd", text)), channel()).warnings
    assert any(says in warning for warning in warnings), warnings


def test_a_family_that_reads_pictures_by_itself_is_a_warning(space, channel, probe_job, tmp_path):
    from PIL import Image

    for name in ("a", "b"):
        (tmp_path / "photos" / name).mkdir(parents=True)
        Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(tmp_path / "photos" / name / "1.png")
    reading = (
        f"data = keras.utils.image_dataset_from_directory({str(tmp_path / 'photos')!r}, verbose=False)",
        "layers.Normalization().adapt(data.map(lambda x, y: x))",
        CLASSIFY,
    )
    (warning,) = jobs.probe(probe_job(space("reading", family(*reading))), channel()).warnings
    assert "reads pictures itself" in warning
    assert str(tmp_path / "photos") in warning


@pytest.mark.parametrize("name", ["cnn", "mobilenet", "mobilenet_v2"])
def test_the_built_in_families_are_as_their_user_expects(channel, probe_job, name):
    assert jobs.probe(probe_job(spaces.BUILT_IN / f"{name}.py"), channel()).warnings == ()


def test_a_model_that_diverges_on_random_pictures_is_no_broken_family(space, channel, probe_job):
    text = family("x = x * 1e30", "return keras.Model(inputs, layers.Dense(2, 'softmax')(layers.Flatten()(x * x)))")
    assert jobs.probe(probe_job(space("diverging", text)), channel()).warnings == ()


def test_a_model_without_a_place_in_memory_is_no_broken_family(space, channel, probe_job, monkeypatch):
    monkeypatch.setattr("bench.data.machine.available_mb", lambda: 0.01)
    assert jobs.probe(probe_job(space("large", family(CLASSIFY))), channel()).warnings == ()


def test_latency_is_measured_on_a_picture_of_the_data(space, channel, job):
    seeing = "x = layers.Lambda(lambda x: (tf.debugging.assert_positive(tf.reduce_max(x)), x)[1])(x)"
    result = jobs.trial(job(space("seeing", family(seeing, CLASSIFY))), channel())
    assert result.cost.latency_ms > 0


CLASSIFIER = """\
from sklearn.dummy import DummyClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler


def build(hp, task):
    return {}
"""


@pytest.mark.parametrize(
    ("text", "learns"),
    [
        (CLASSIFIER.format("DummyClassifier()"), False),
        (CLASSIFIER.format("make_pipeline(MinMaxScaler(), DummyClassifier())"), False),
        (CLASSIFIER.format("make_pipeline(MinMaxScaler(), LogisticRegression())"), True),
        (CLASSIFIER.format("LogisticRegression()"), True),
        (family(CLASSIFY), True),
        (family("return keras.Model(inputs, layers.Softmax()(layers.GlobalAveragePooling2D()(x)[:, :2]))"), False),
        (
            family(
                "hp.Boolean('deep')",
                "if hp.Int('units', 0, 4, parent_name='deep', parent_values=[True]) is not None:",
                "    return keras.Model(inputs, task.classify(layers.Flatten()(x)))",
                "return keras.Model(inputs, layers.Softmax()(layers.GlobalAveragePooling2D()(x)[:, :2]))",
            ),
            True,
        ),
    ],
)
def test_a_family_that_training_does_not_change_is_a_baseline(space, channel, probe_job, text, learns):
    assert jobs.probe(probe_job(space("candidate", text)), channel()).learns is learns
