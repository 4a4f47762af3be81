"""Optional families: every backbone is built and cut, the smallest of each family is trained and saved."""

from __future__ import annotations

import keras
import pytest

from bench.hyperparameters import HyperParameters, fixed
from bench.search import spaces
from bench.training import jobs, loading
from bench.training.frozen.graph import Graph
from bench.training.messages import ScoreResult
from bench.training.task import ReusingTask

pytestmark = pytest.mark.slow

FAMILIES = {space.name: loading.load(space.path) for path in spaces.known() if (space := spaces.read(path)).optional}
MIN_SIZES = {"inception_v3": 75, "xception": 71}
"""Minimum input sizes in pixels; 32 for the others."""


def smallest(name):
    return MIN_SIZES.get(name, 32)


@pytest.mark.parametrize(
    ("name", "number"), [(name, number) for name, family in FAMILIES.items() for number in range(len(family.known))]
)
def test_a_backbone_is_frozen_as_a_whole_or_to_the_end_of_a_block(name, number):
    family, built = FAMILIES[name], {}

    def build(**values):
        values = {**family.known[number], "input_size": smallest(name), **values}
        hp = HyperParameters(fixed(values))
        model = family.model(hp, ReusingTask(("cats", "dogs"), (smallest(name),), built))
        if "frozen_through" not in values:
            assert values.items() <= hp.values.items()
        (through,) = (hyperparameter for hyperparameter in hp.space if hyperparameter.name == "frozen_through")
        return model, through.values

    keras.utils.clear_session()
    with keras.StatelessScope():  # no values: the networks are large
        model, blocks = build()
        assert Graph(model).cut().layers[0].startswith("global_average_pooling2d")
        assert len(model.trainable_variables) == 2
        model, _ = build(frozen="blocks", frozen_through=blocks[-1])
        cut, graph = Graph(model).cut(), Graph(model)
        backbone = graph.nested[0].model
        inside = {layer.name for layer in backbone.layers}
        assert set(cut.layers) <= inside or "downsampling" not in cut.layers
        assert len(model.trainable_variables) > 2
        assert len(cut.tensors) <= 4
    assert blocks[0] == "none"
    assert len(blocks) >= 3


@pytest.mark.parametrize("name", FAMILIES)
def test_the_smallest_backbone_of_a_family_is_trained_and_saved(name, channel, job, score_job, tmp_path):
    family = FAMILIES[name]
    values = {**family.known[0], "input_size": smallest(name), "batch_size": 64}
    path = tmp_path / f"{name}.keras"
    config = job(family.path, input_sizes=(smallest(name),), values=values, epochs=1, score=True)
    result = jobs.trial(config, channel(values, keep=path))
    assert result.validation
    assert result.unsaved == ""
    assert [prefix.used for prefix in result.prefixes] == [True]
    assert jobs.score(score_job(config, trained=str(path)), channel()) == ScoreResult(result.test)
    assert keras.saving.load_model(path, safe_mode=True).input_shape == (None, smallest(name), smallest(name), 3)
