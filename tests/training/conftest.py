"""Jobs run in the test's own process, with a channel that records what it is sent."""

from __future__ import annotations

import gc
import sys
from dataclasses import fields

import pytest

from bench.config import USUAL_SPLIT, RunConfig
from bench.data import open as open_data
from bench.hyperparameters import fixed
from bench.records import Ending
from bench.training.messages import ProbeJob, RefitJob, ScoreJob, TrialJob


@pytest.fixture(scope="module", autouse=True)
def _free_models():
    """Drop the graphs of a file's models, which would fill the memory and slow down the files after it."""
    yield
    if keras := sys.modules.get("keras"):
        keras.utils.clear_session()
        gc.collect()


class Recorder:
    """A channel that answers with these values and records what the job reports.

    Args:
        values: Hyperparameters; the others take their defaults.
        stop_at: Epoch at which the job is stopped; 0 stops it when its model is built.
        ending: Reason for that; PRUNER drops the trial.
        keep: Where the trial's model is saved; None does not save it.
    """

    def __init__(self, values=None, stop_at=None, keep=None, ending=Ending.PRUNER):
        self.suggest = fixed(values or {})
        self.stages, self.announced, self.epochs, self.sent = [], [], [], []
        self._stop_at, self._keep, self._ending = stop_at, keep, ending

    def progress(self, stage, done, total):
        self.stages.append((stage, done, total))

    def built(self, params, weights, work):
        self.announced.append((params, weights))
        self.work = work
        return self._stop_at == 0

    def epoch(self, epoch, fold, folds):
        self.epochs.append((epoch, fold, folds))
        return self._ending if epoch.epoch == self._stop_at else None

    def result(self, result):
        self.sent.append(result)
        return None if self._keep is None else str(self._keep)


@pytest.fixture
def channel():
    return Recorder


@pytest.fixture(scope="session")
def drawn(tmp_path_factory):
    """A folder with the manifest of 60 drawn pictures."""
    folder = tmp_path_factory.mktemp("drawn")
    dataset = open_data(RunConfig(images=60, split=USUAL_SPLIT))
    dataset.write(folder / "split.json")
    return folder


@pytest.fixture
def job(drawn, tmp_path):
    """Makes a trial's job on the drawn pictures, with a cache of the test's own."""

    def make(path, **changes):
        common = {
            "id": "1",
            "timeout_s": 600.0,
            "cores": 2,
            "path": str(path),
            "class_names": ("cats", "dogs"),
            "input_sizes": (32,),
            "weights": "random",
            "files": {},
            "manifest": str(drawn / "split.json"),
            "cache": str(tmp_path / "cache"),
            "features": "float32",
            "epochs": 2,
            "patience": 2,
            "seed": 0,
            "deterministic": False,
        }
        return TrialJob(**{**common, **changes})

    return make


@pytest.fixture
def probe_job(job):
    """Makes the job that probes a family."""

    def make(path, **changes):
        return another(ProbeJob, job(path, **changes))

    return make


@pytest.fixture
def score_job(tmp_path):
    """Makes the job that scores what another job has trained."""
    usual = {"trained": "", "model": "", "validated": str(tmp_path / "validated.npz")}
    return lambda job, **changes: another(ScoreJob, job, **{**usual, **changes})


@pytest.fixture
def refit_job():
    """Makes the job that trains a configuration on all folds together."""
    return lambda job, **changes: another(RefitJob, job, **changes)


def another(kind, job, **changes):
    """A job of another class, with the settings that both have."""
    names = {field.name for field in fields(kind)} & {field.name for field in fields(job)}
    return kind(**{**{name: getattr(job, name) for name in names}, **changes})


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
    from bench.training.frozen import features

    monkeypatch.setattr(features, "MIN_MACS_PER_BYTE", 0)
    monkeypatch.setattr(features.footprint, "latency_ms", lambda *arguments: 1.0)
    return lambda name="transfer", **changes: space(name, _changed(TRANSFER, changes))


def _changed(text, changes):
    for old, new in changes.values():
        assert old in text
        text = text.replace(old, new)
    return text
