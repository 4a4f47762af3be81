"""Jobs run in the test's own process, with a channel that keeps what it is sent."""

from __future__ import annotations

import pytest

from bench.config import RunConfig
from bench.data import open as open_data
from bench.hyperparameters import fixed

NEED_TENSORFLOW = {
    "test_families.py",
    "test_features.py",
    "test_folds.py",
    "test_jobs.py",
    "test_phases.py",
    "test_prefix.py",
    "test_sketch.py",
}
"""All slow; not even imported where slow tests are left out, since TensorFlow takes seconds to import."""


def pytest_ignore_collect(collection_path, config):
    return True if collection_path.name in NEED_TENSORFLOW and config.option.markexpr == "not slow" else None


class Kept:
    """A channel that answers with given values and keeps reports and the result."""

    def __init__(self, values=None, stop_at=None):
        self.suggest = fixed(values or {})
        self.reports, self.sent, self._stop_at = [], None, stop_at

    def report(self, epoch, figures):
        self.reports.append((epoch, dict(figures)))
        return epoch == self._stop_at

    def result(self, result):
        self.sent = dict(result)
        return {"keep": self.keep} if getattr(self, "keep", None) else {}


@pytest.fixture
def channel():
    return Kept


@pytest.fixture(scope="session")
def drawn(tmp_path_factory):
    """A folder with the manifest of 60 drawn pictures."""
    folder = tmp_path_factory.mktemp("drawn")
    dataset = open_data(RunConfig(images=60))
    dataset.write(folder / "split.json")
    return folder


@pytest.fixture
def payload(drawn):
    """What a trial on the drawn pictures is told."""

    def make(path, **changes):
        return {
            "path": str(path),
            "class_names": ["cats", "dogs"],
            "input_sizes": [32],
            "weights": "random",
            "files": {},
            "manifest": str(drawn / "split.json"),
            "cache": str(drawn / "cache"),
            "features": "float32",
            "epochs": 2,
            "patience": 2,
            "seed": 0,
            "deterministic": False,
            "cores": 2,
            **changes,
        }

    return make


TRANSFER = """\
import keras
from keras import layers


def tiny(include_top, weights, input_shape):
    def convolution(x, filters, name, strides=1):
        x = layers.Conv2D(filters, 3, strides, padding="same", use_bias=False, name=name)(x)
        return layers.BatchNormalization(name=f"{name}_bn")(x)

    inputs = keras.Input(input_shape)
    x = layers.ReLU(name="stem_relu")(convolution(inputs, 8, "stem", 2))
    y = layers.ReLU(name="inside_relu")(convolution(x, 8, "inside"))
    x = layers.Add(name="add")([x, convolution(y, 8, "project")])
    x = layers.ReLU(name="out")(convolution(x, 16, "last", 2))
    return keras.Model(inputs, x, name="tiny")


tiny.__module__ = "keras.applications.tiny"  # of others no sketch is kept, since their code may change


def build(hp, task):
    inputs = keras.Input((16, 16, 3))
    x, backbone = task.backbone(tiny, layers.Rescaling(1 / 127.5, offset=-1)(inputs))
    for layer in backbone.layers[: hp.Int("frozen_layers", 0, 13, default=13)]:
        layer.trainable = False
    x = layers.GlobalAveragePooling2D()(x)
    x = layers.Dense(8, activation="relu")(x)
    x = layers.Dropout(hp.Float("dropout", 0.0, 0.6))(x)
    hp.Choice("augmentation", ["none", "flip", "light"])
    hp.Float("learning_rate", 1e-4, 1e-1, default=1e-2)
    hp.Int("batch_size", 4, 64, default=16)
    hp.Int("head_epochs", 0, 10, default=0)
    hp.Float("fine_tune_learning_rate", 1e-6, 1e-1, default=1e-3)
    return keras.Model(inputs, task.classify(x))
"""
"""Transfer learning on a backbone of 13 layers; the first 6 end inside a residual block."""


@pytest.fixture
def transfer(space, monkeypatch):
    """Gives its path; its features are worth being kept, little as they take, and its speed is not measured."""
    features = pytest.importorskip("bench.training.frozen.features")
    monkeypatch.setattr(features, "LEAST_MACS_PER_BYTE", 0)
    monkeypatch.setattr(features.cost, "speed", lambda *given: (1.0, 1000.0))
    return lambda name="transfer", **changes: space(name, _changed(TRANSFER, changes))


def _changed(text, changes):
    for old, new in changes.values():
        assert old in text
        text = text.replace(old, new)
    return text
