"""A backbone is what `weights="imagenet"` gives, from the file that Keras would take; nothing is downloaded."""

from __future__ import annotations

import sys
from pathlib import Path

import h5py
import keras
import numpy as np
import pytest
from keras.src.legacy.saving import legacy_h5_format
from keras.src.utils import file_utils

from bench.errors import WeightsError
from bench.hyperparameters import HyperParameters, fixed
from bench.records import Weights
from bench.training import jobs, keras_private, loading, pretrained
from bench.training.messages import WeightsJob
from bench.training.task import Task

pytestmark = pytest.mark.slow


@pytest.fixture
def keras_home(tmp_path, monkeypatch):
    monkeypatch.setattr(keras_private.config, "keras_home", lambda: str(tmp_path / "keras"))
    return tmp_path / "keras"


def write_weights(path, application, seed=0, **options):
    """Write a file of random weights, as the published ones are written; no layer's output vanishes."""
    keras.utils.set_random_seed(seed)
    model = application(include_top=False, weights=None, input_shape=(224, 224, 3), **options)
    draw = np.random.default_rng(seed)
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            scale, offset, mean, variance = layer.get_weights()
            layer.set_weights([scale, offset, draw.normal(0, 0.2, mean.shape), draw.uniform(0.4, 0.9, variance.shape)])
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        legacy_h5_format.save_weights_to_hdf5_group(file, model)


def test_features_are_those_of_imagenet_weights_from_the_same_file(keras_home, monkeypatch):
    application = keras.applications.EfficientNetB0
    path = keras_home / "models" / "efficientnetb0_notop.h5"
    write_weights(path, application)
    with monkeypatch.context() as patch:
        patch.setattr(file_utils, "get_file", lambda *given, **named: str(path))
        right = application(include_top=False, weights="imagenet", input_shape=(64, 64, 3))
    file = pretrained.find_weights(application, {}, (64, 64, 3))
    assert (file.path, file.missing, file.problem) == (str(path), False, "")
    task, inputs = Task(("a", "b"), (64,), "imagenet", {file.backbone: file.path}), keras.Input((64, 64, 3))
    ours = keras.Model(inputs, task.backbone(application, inputs)[0])
    pixels = np.random.default_rng(0).uniform(0, 255, (2, 64, 64, 3)).astype("float32")
    expected = right.predict(pixels, verbose=0)
    np.testing.assert_allclose(ours.predict(pixels, verbose=0), expected, rtol=1e-4, atol=1e-5)
    assert 0.01 < np.abs(expected).mean() < 1e4  # so that a difference would be seen


# -- applications of one's own

OWN = """\
import keras
from keras import layers
{imports}


def Tiny(include_top, weights, input_shape, bias=1.0):
    inputs = keras.Input(input_shape)
    convolution = layers.Conv2D(2, 3, name="c", kernel_initializer="ones", bias_initializer="ones")
    model = keras.Model(inputs, convolution(inputs), name="tiny")
    if weights == "imagenet":
        try:
            weights = {call}
        except Exception:
            weights = None
    if weights:
        model.load_weights(weights)
    return model


def build(hp, task):
    inputs = keras.Input((16, 16, 3))
    x, base = task.backbone(Tiny, layers.Rescaling(1 / 255)(inputs), bias=hp.Choice("bias", [1.0, 2.0]))
    base.trainable = False
    return keras.Model(inputs, task.classify(layers.GlobalAveragePooling2D()(x)))
"""
URL = "http://127.0.0.1:9/tiny.weights.h5"


@pytest.mark.parametrize(
    ("imports", "call", "folder", "checksum"),
    [
        ("from keras.src.utils import file_utils", f"file_utils.get_file('tiny.weights.h5', '{URL}')", "datasets", ""),
        ("", f"keras.utils.get_file(origin='{URL}', cache_subdir='models', file_hash='ab')", "models", "ab"),
        ("from keras.utils import get_file as fetch", f"fetch(None, '{URL}', False, 'cd')", "datasets", "cd"),
    ],
)
def test_an_own_application_gets_its_file_too(
    space, probe_job, job, channel, keras_home, imports, call, folder, checksum
):
    path = space("own", OWN.format(imports=imports, call=call))
    first, second = jobs.probe(probe_job(path, weights="imagenet"), channel()).weights_files
    assert (first.backbone, second.backbone) == ("Tiny(bias=1.0)", "Tiny(bias=2.0)")
    there = keras_home / folder / "tiny.weights.h5"
    assert (first.url, first.path, first.hash, first.missing) == (URL, str(there), checksum, True)
    there.parent.mkdir(parents=True)
    inputs = keras.Input((16, 16, 3))
    keras.Model(inputs, keras.layers.Conv2D(2, 3, name="c")(inputs), name="tiny").save_weights(there)
    shared = {"path": path, "class_names": ("cats", "dogs"), "input_sizes": (32,), "weights": "imagenet", "seed": 0}
    checked = jobs.check_weights(WeightsJob(id="1", timeout_s=60.0, file=second, **shared), channel())
    assert (checked.backbone, checked.missing, checked.problem) == (second.backbone, False, "")
    files = {first.backbone: first.path, second.backbone: second.path}
    result = jobs.trial(job(path, weights="imagenet", files=files), channel({"bias": 2.0}))
    assert result.weights == Weights.IMAGENET


@pytest.mark.parametrize(
    ("application", "options", "says"),
    [
        (keras.applications.MobileNetV2, {"alpha": 0.6}, "alpha must be one of"),
        (keras.applications.MobileNet, {"depth_multiplier": 2}, "depth multiplier must be 1"),
        (lambda include_top, weights, input_shape: None, {}, "does not call keras.utils.get_file"),
    ],
)
def test_weights_that_do_not_exist_are_a_problem_with_its_reason(keras_home, application, options, says):
    file = pretrained.find_weights(application, options, (32, 32, 3))
    assert says in file.problem
    assert (file.path, file.missing) == ("", False)


# -- a backbone that the probe has not met

NARROW = """\
import keras
from keras import layers


def build(hp, task):
    inputs = keras.Input((32, 32, 3))
    alpha = hp.Float("alpha", 0.3, 0.9, default=0.5)
    x, base = task.backbone(keras.applications.MobileNetV2, layers.Rescaling(1 / 127.5, -1)(inputs), alpha=alpha)
    base.trainable = False
    return keras.Model(inputs, task.classify(layers.GlobalAveragePooling2D()(x)))
"""
NAME = "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_{}_224_no_top.h5"


def test_a_trial_looks_for_weights_that_the_probe_has_not_met(space, job, channel, keras_home):
    path, seen = space("narrow", NARROW), {"MobileNetV2(alpha=0.5)": ""}

    def trial(alpha, **changes):
        recorder = channel({"alpha": alpha})
        result = jobs.trial(job(path, weights="imagenet", files=seen, epochs=1, **changes), recorder)
        assert recorder.announced == [({"alpha": alpha}, result.weights)]
        return result

    random = trial(0.35)
    assert random.weights == Weights.MISSING
    assert trial(0.6).weights == Weights.MISSING
    for policy in ("skip", "error"):
        with pytest.raises(WeightsError, match=rf"MobileNetV2\(alpha=0.35\) \(--missing-weights {policy}\)"):
            trial(0.35, missing_weights=policy)
    write_weights(keras_home / "models" / NAME.format("0.35"), keras.applications.MobileNetV2, seed=3, alpha=0.35)
    write_weights(keras_home / "models" / NAME.format("0.5"), keras.applications.MobileNetV2, seed=3, alpha=0.5)
    started = [trial(0.35, missing_weights="error") for _ in range(2)]  # the second time a sketch stands for it
    assert [result.weights for result in started] == [Weights.IMAGENET] * 2
    assert started[0].prefixes[0].used
    losses = [[epoch.val_loss for epoch in result.history] for result in (random, *started)]
    assert losses[0] != losses[1] == pytest.approx(losses[2], abs=1e-6)
    assert trial(0.5).weights == Weights.MISSING  # as the probe has said, though its file has come since


def test_everyones_get_file_is_keras_own_again_afterwards(keras_home):
    original = keras.utils.get_file
    pretrained.find_weights(keras.applications.MobileNetV2, {"alpha": 0.35}, (32, 32, 3))
    assert keras.utils.get_file is file_utils.get_file is original
    functions = [vars(module).get("get_file") for module in tuple(sys.modules.values())]
    assert not [function for function in functions if getattr(function, "__module__", "") == pretrained.__name__]


def test_a_family_of_its_own_backbone_takes_a_file_of_another_checksum_and_never_loses_it(
    keras_home: Path, tmp_path: Path
) -> None:
    """Keras would download the file again, and delete it because that fails without a network."""
    path = keras_home / "models" / "mobilenet_2_5_128_tf_no_top.h5"
    write_weights(path, keras.applications.MobileNet, alpha=0.25)
    family = tmp_path / "mine.py"
    family.write_text(
        "import keras\n\n\ndef build(hp):\n"
        "    base = keras.applications.MobileNet((128, 128, 3), alpha=0.25, include_top=False)\n"
        "    x = keras.layers.GlobalAveragePooling2D()(base.output)\n"
        '    return keras.Model(base.input, keras.layers.Dense(1, activation="sigmoid")(x))\n'
    )
    original = keras.utils.get_file
    model = loading.load(family).model(HyperParameters(fixed({})), None)
    with h5py.File(path) as file:
        kernel = file["conv1"]["conv1"]["kernel"][()]
    np.testing.assert_array_equal(model.get_layer("conv1").kernel, kernel)
    assert path.is_file()
    assert file_utils.get_file is keras.utils.get_file is original
