"""The computations that a probe counts: the same as those of a trial's own build."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from bench.hyperparameters import HyperParameters, fixed
from bench.search.spaces import BUILT_IN
from bench.training import jobs, loading
from bench.training.probe import count_work
from bench.training.task import Task

pytestmark = pytest.mark.slow

PARTLY_FROZEN = """\
import keras
from keras import layers


def build(hp, task):
    inputs = keras.Input((32, 32, 3))
    x, backbone = task.backbone(keras.applications.MobileNet, layers.Rescaling(1 / 255)(inputs), alpha=0.25)
    if hp.Choice("trained", ["none", "end", "all"]) == "none":
        backbone.trainable = False
    elif hp.get("trained") == "end":
        for layer in backbone.layers[:60]:
            layer.trainable = False
    return keras.Model(inputs, task.classify(layers.GlobalAveragePooling2D()(x)))


KNOWN_CONFIGURATIONS = [{"trained": value} for value in ("none", "all", "end", "none")]
"""


def test_a_reused_backbone_is_counted_like_a_new_one(space, probe_job, channel):
    job = probe_job(space("partly", PARTLY_FROZEN))
    counted = jobs.probe(job, channel())
    for values, work in zip(counted.known, counted.works, strict=True):
        hp, task = HyperParameters(fixed(values)), Task(job.class_names, job.input_sizes)
        assert work == count_work(job, hp, task, loading.load(Path(job.path)).model(hp, task)), values
    assert len({work.trainable_parameters for work in counted.works}) == 3


def test_proposals_of_the_driver_are_counted(probe_job, channel):
    asked, answering = [], channel()
    answering.suggest = lambda hyperparameter: asked.append(hyperparameter.name) or hyperparameter.default
    job = probe_job(BUILT_IN / "cnn.py")
    assert jobs.probe(job, answering).proposed_works == ()
    counted = jobs.probe(replace(job, proposals=2), answering)
    assert counted.proposed_works == (counted.other_works[0],) * 2
    assert asked.count("conv_blocks") == 2
