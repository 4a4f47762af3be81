"""The screening of one configuration's backbone, on drawn pictures."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from bench import data
from bench.errors import DataError
from bench.training import jobs, linear_estimate
from bench.training.frozen.identity import NoPrefix
from bench.training.messages import ScreenJob
from bench.training.task import Task

from .conftest import another

pytestmark = pytest.mark.slow

PICTURES = 30


@pytest.fixture
def screen(job, channel):
    """Screens a configuration of a family."""

    def run(path, pictures=PICTURES, cores=2, **values):
        return jobs.screen(another(ScreenJob, job(path, cores=cores), values=values, pictures=pictures), channel())

    return run


def estimated(screening):
    """The estimate without its times."""
    return replace(screening, time_s=0.0, seconds_per_picture=0.0)


def test_an_estimate_has_its_times(transfer, screen):
    result = screen(transfer())
    assert (result.input_size, result.n) == (16, PICTURES)
    assert 0.0 < result.accuracy < 1.0
    assert result.time_s > PICTURES * result.seconds_per_picture > 0.0


def test_trials_find_the_features_of_the_sample(transfer, screen, job, channel, drawn):
    screen(transfer())
    result = jobs.trial(job(transfer()), channel({"frozen_layers": 13}))
    dataset = data.load(Path(drawn / "split.json"))
    n = len(dataset.part("train")) + len(dataset.part("validation"))
    assert result.prefixes[0].cached == pytest.approx(PICTURES / n)


def test_the_whole_backbone_is_screened_whatever_the_configuration_trains(transfer, screen):
    whole = screen(transfer())
    assert estimated(screen(transfer(), frozen_layers=6)) == estimated(whole)
    assert estimated(screen(transfer(), frozen_layers=0, head_epochs=2)) == estimated(whole)


def test_flattened_features_are_averaged_like_the_others(transfer, screen):
    flattened = transfer("flat", head=("layers.GlobalAveragePooling2D()(x)", "layers.Flatten()(x)"))
    assert estimated(screen(flattened)) == estimated(screen(transfer()))


def test_a_backbone_whose_features_are_there_is_not_built_again(transfer, screen, monkeypatch):
    built, build = [], Task._build
    monkeypatch.setattr(Task, "_build", lambda self, *given: built.append(given[0].__name__) or build(self, *given))
    first, again = screen(transfer()), screen(transfer())
    assert built == ["tiny"]
    assert estimated(again) == estimated(first)
    assert again.seconds_per_picture == first.seconds_per_picture  # that of an empty cache
    screen(transfer(), pictures=PICTURES + 5)
    assert built == ["tiny", "tiny"]


def test_a_family_that_trains_its_first_layer_cannot_be_screened(space, screen):
    with pytest.raises(NoPrefix, match="begins with no frozen layer"):
        screen(space("tiny"))


def test_a_picture_that_changed_is_an_error(transfer, screen, monkeypatch):
    def broken(dataset, item, least=0):
        raise DataError(f"picture {item.id!r}: its content changed since the split was made")

    monkeypatch.setattr(data.Dataset, "picture", broken)
    with pytest.raises(DataError, match="content changed"):
        screen(transfer())


def test_a_sample_of_one_class_is_an_error(transfer, screen, monkeypatch):
    sample = linear_estimate.sample
    monkeypatch.setattr(
        linear_estimate, "sample", lambda *given: tuple(item for item in sample(*given) if item.label == 0)
    )
    with pytest.raises(ValueError, match="of one class"):
        screen(transfer())
