"""Every application of Keras: a backbone has the graph of `weights="imagenet"`. In a file of its own, to run early."""

from __future__ import annotations

import gc
import inspect

import keras
import pytest
from keras.src.utils import file_utils

from bench.records import Weights
from bench.training.task import Task

pytestmark = pytest.mark.slow

APPLICATIONS = {
    name: function
    for name, function in inspect.getmembers(keras.applications, inspect.isfunction)
    if {"include_top", "weights", "input_shape"} <= set(inspect.signature(function).parameters)
}


def described(model):
    """Class, settings and output shape of every layer, without what counts up or `Task` changes."""
    varying = {"name": "", "dtype": "", "trainable": "", "rate": ""}
    plain = [{**layer.get_config(), **varying} for layer in model.layers]
    shapes = [layer.output.shape for layer in model.layers]
    return [*zip([type(layer).__name__ for layer in model.layers], map(str, plain), shapes, strict=True)]


def test_there_are_as_many_applications_as_keras_documents():
    assert len(APPLICATIONS) >= 38


@pytest.mark.parametrize("name", APPLICATIONS)
@pytest.mark.filterwarnings("ignore:.*input_shape. is undefined or non-square")
def test_a_backbone_is_the_graph_of_imagenet_weights(name, tmp_path, monkeypatch):
    application, loaded = APPLICATIONS[name], []
    monkeypatch.setattr(keras.Model, "load_weights", lambda self, path, *rest, **more: loaded.append(str(path)))
    shape, file = (96, 96, 3), tmp_path / "ours.h5"
    file.touch()
    keras.utils.clear_session()
    keras.Input(shape)  # names of nested layers count up
    with monkeypatch.context() as patch, keras.StatelessScope():  # graphs without values: they are large
        patch.setattr(file_utils, "get_file", lambda *given, **named: "keras.h5")
        right = described(application(include_top=False, weights="imagenet", input_shape=shape))
    gc.collect()
    keras.utils.clear_session()
    task = Task(("a", "b"), (96,), "imagenet", {name: str(file)})
    with keras.StatelessScope():
        _, model = task.backbone(application, keras.Input(shape))
    assert described(model) == right
    assert loaded == ["keras.h5", str(file)]
    assert task.weights_used == Weights.IMAGENET
