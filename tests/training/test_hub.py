"""Presets of KerasHub as backbones; most tests need the extra `hub`."""

from __future__ import annotations

import sys

import keras
import numpy as np
import pytest

from bench.errors import ConfigError, SpaceError
from bench.records import Weights
from bench.training import hub, jobs, pretrained
from bench.training.frozen.graph import Graph
from bench.training.messages import ScoreResult
from bench.training.task import Task

pytestmark = pytest.mark.slow

NAME = "resnet_18_imagenet"

FAMILY = """\
import keras
from keras import layers


def build(hp, task):
    inputs = keras.Input((32, 32, 3))
    x, backbone = task.backbone("{backbone}", inputs, preprocess=True)
    backbone.trainable = False
    return keras.Model(inputs, task.classify(layers.GlobalAveragePooling2D()(x)))
"""


@pytest.fixture
def keras_hub():
    """The package, which warns on import."""
    return pytest.importorskip("keras_hub")


@pytest.fixture
def preset(keras_hub, tmp_path, monkeypatch):
    """A tiny network under a preset's name in the cache of kagglehub; the preset's folder."""
    monkeypatch.setenv("KAGGLEHUB_CACHE", str(tmp_path / "kaggle"))
    folder = tmp_path / "kaggle" / "models" / "keras" / "resnetv1" / "keras" / NAME / "3"
    keras.utils.set_random_seed(7)
    keras_hub.models.ResNetBackbone(
        input_conv_filters=[64],
        input_conv_kernel_sizes=[7],
        stackwise_num_filters=[64, 16],
        stackwise_num_blocks=[1, 1],
        stackwise_num_strides=[1, 2],
        block_type="basic_block",
        image_shape=(None, None, 3),
    ).save_to_preset(str(folder))
    converter = keras_hub.layers.ResNetImageConverter(
        image_size=(224, 224), scale=[0.02, 0.01, 0.03], offset=[-2, 0, 1]
    )
    converter.save_to_preset(str(folder))
    return folder


def test_without_the_package_one_line_says_what_to_install(space, probe_job, channel, monkeypatch):
    monkeypatch.setitem(sys.modules, "keras_hub", None)
    path = space("net", FAMILY.format(backbone=f"hub:{NAME}"))
    with pytest.raises(SpaceError) as caught:
        jobs.probe(probe_job(path), channel())
    line = f"{path}:7: ConfigError: backbone 'hub:{NAME}' needs the package keras-hub: pip install"
    assert str(caught.value) == f"{line} 'image-model-bench[hub]'"


def test_a_preset_that_is_not_there_is_one_line(keras_hub, tmp_path, monkeypatch):
    monkeypatch.setenv("KAGGLEHUB_CACHE", str(tmp_path))
    with pytest.raises(ConfigError, match=f"the preset {NAME} is not in {tmp_path}.*: download it once"):
        hub.Preset(NAME)
    with pytest.raises(ConfigError, match=f"unknown preset 'resnet_18_imagnet': .*, such as {NAME}"):
        hub.Preset("resnet_18_imagnet")


def test_a_preset_starts_from_its_file_in_the_cache_of_kagglehub(keras_hub, preset):
    right = keras_hub.models.Backbone.from_preset(str(preset))
    task, x = Task(("a", "b"), (32,), "imagenet"), keras.Input((32, 32, 3))
    _, backbone = task.backbone(f"hub:{NAME}", x)
    assert task.weights_used == Weights.IMAGENET
    assert all(map(np.array_equal, backbone.get_weights(), right.get_weights()))
    assert backbone.input_shape == (None, 32, 32, 3)
    by_folder = Task(("a", "b"), (32,), "imagenet")
    assert all(map(np.array_equal, by_folder.backbone(f"hub:{preset}", x)[1].get_weights(), right.get_weights()))
    random = Task(("a", "b"), (32,))
    assert not np.array_equal(random.backbone(f"hub:{NAME}", x)[1].get_weights()[0], right.get_weights()[0])


def test_a_preset_without_its_weights_has_none(preset):
    (preset / hub.WEIGHTS).unlink()
    file = pretrained.find_weights(pretrained.application(f"hub:{NAME}"), {}, (32, 32, 3))
    assert "there is no" in file.problem
    task = Task(("a", "b"), (32,), "imagenet")
    task.backbone(f"hub:{NAME}", keras.Input((32, 32, 3)))
    assert task.weights_used == Weights.MISSING


def test_the_pixels_are_scaled_as_by_the_presets_converter(keras_hub, preset):
    pixels = np.random.default_rng(0).uniform(0, 255, (2, 224, 224, 3)).astype(np.float32)
    scaled = pretrained.preprocessing(pretrained.application(f"hub:{NAME}"))(pixels)
    converter = keras_hub.layers.ImageConverter.from_preset(str(preset))
    np.testing.assert_allclose(scaled, converter(pixels), atol=1e-4)
    (preset / hub.CONVERTER).unlink()
    with pytest.raises(ValueError, match=r"there is no .*image_converter.json: preprocess the pixels in build"):
        Task(("a", "b"), (32,)).backbone(f"hub:{NAME}", keras.Input((32, 32, 3)), preprocess=True)


def test_a_preset_is_cut_trained_and_saved(preset, space, channel, job, score_job, tmp_path):
    path, saved = space("net", FAMILY.format(backbone=f"hub:{NAME}")), tmp_path / "net.keras"
    config = job(path, weights="imagenet", epochs=1, score=True)
    result = jobs.trial(config, channel(keep=saved))
    assert [prefix.used for prefix in result.prefixes] == [True]
    assert result.weights == Weights.IMAGENET
    assert jobs.score(score_job(config, trained=str(saved)), channel()) == ScoreResult(result.test)
    (nested,) = Graph(keras.saving.load_model(saved)).nested
    assert type(nested.model).__module__.startswith("keras.")
