"""Optional families: every backbone is built and cut, the smallest of each family is trained and saved."""

from __future__ import annotations

import os
from pathlib import Path

import keras
import numpy as np
import pytest

from bench import data
from bench.hyperparameters import HyperParameters, fixed
from bench.search import spaces
from bench.training import jobs, loading
from bench.training.frozen import features
from bench.training.frozen.graph import Graph
from bench.training.objective import Objective
from bench.training.probabilities import measure
from bench.training.task import Task

pytestmark = pytest.mark.slow

EVERY = "BENCH_FAMILIES" in os.environ
"""Whether every optional family is trained, not only the quickest of each kind."""

FAMILIES = {space.name: loading.load(space.path) for path in spaces.known() if (space := spaces.read(path)).optional}

MIN_SIZES = {"inception_v3": 75, "xception": 71}
"""Minimum input sizes in pixels; 32 for the others."""


def smallest(name):
    return MIN_SIZES.get(name, 32)


@pytest.mark.parametrize(
    ("name", "number"), [(name, number) for name, family in FAMILIES.items() for number in range(len(family.known))]
)
def test_a_backbone_that_is_all_frozen_is_cut_behind_its_end(name, number):
    values = {**FAMILIES[name].known[number], "input_size": smallest(name)}
    hp, task = HyperParameters(fixed(values)), Task(("cats", "dogs"), (smallest(name),))
    keras.utils.clear_session()
    with keras.StatelessScope():  # no values: the networks are large
        model = FAMILIES[name].model(hp, task)
        (layer,) = Graph(model).cut().layers
    assert layer.startswith("global_average_pooling2d")
    assert len(model.trainable_variables) == 2
    assert values.items() <= hp.values.items()


def test_a_backbone_by_name_is_the_one_of_its_function():
    identities, keys = [], []
    for application in ("MobileNetV3Small", keras.applications.MobileNetV3Small):
        task, inputs = Task(("cats", "dogs"), (32,), seed=3), keras.Input((32, 32, 3))
        x, backbone = task.backbone(application, inputs, preprocess=True)
        backbone.trainable = False
        model = keras.Model(inputs, task.classify(keras.layers.GlobalAveragePooling2D()(x)))
        identities.append(task.backbones[0].identity)
        keys.append(Graph(model).cut().keys)
    assert identities[0] == identities[1]
    assert keys[0] == keys[1]


@pytest.mark.parametrize("name", FAMILIES if EVERY else ["convnext", "efficientnet_v2", "mobilenet_v3", "resnet50_v2"])
def test_the_smallest_backbone_of_a_family_is_trained_behind_a_block_and_saved(
    name, channel, job, tmp_path, monkeypatch
):
    monkeypatch.setattr(features.footprint, "latency_ms", lambda *arguments: 1.0)
    family, path = FAMILIES[name], tmp_path / f"{name}.keras"
    values = {**family.known[0], "input_size": smallest(name), "batch_size": 64}
    hp = HyperParameters(fixed(values))
    with keras.StatelessScope():
        family.model(hp, Task(("cats", "dogs"), (smallest(name),)))
    (through,) = (hyperparameter for hyperparameter in hp.space if hyperparameter.name == "frozen_through")
    assert len(through.values) >= 3
    values |= {"frozen": "blocks", "frozen_through": through.values[-1], "two_phases": False}
    config = job(family.path, input_sizes=(smallest(name),), values=values, epochs=1, whole=True)
    result = jobs.trial(config, channel(values, keep=path))
    assert result.unsaved == ""
    assert [prefix.used for prefix in result.prefixes] == [True]
    assert 10_000 < result.cost.trainable_parameters < result.cost.parameters
    saved = keras.saving.load_model(path, safe_mode=True)
    dataset = data.load(Path(config.manifest))
    part = jobs._part(dataset, dataset.part("validation"), smallest(name), "squash", config, channel())
    probabilities = Objective.of(saved).probabilities(saved.predict(np.asarray(part.pixels), verbose=0))
    assert measure(probabilities, part.labels).log_loss == pytest.approx(result.validation.log_loss, abs=1e-3)
