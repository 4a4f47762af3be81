"""A configuration trained on samples of the training pictures, on drawn pictures."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from bench import RunConfig, data
from bench.config import USUAL_SPLIT
from bench.training import jobs
from bench.training.messages import CurveJob
from bench.training.task import Task

from .conftest import another

pytestmark = pytest.mark.slow

SHARES = (0.25, 0.5, 1.0)


@pytest.fixture
def curve(job, channel):
    """Trains a family's default configuration on samples."""

    def run(path, draws=2, time_s=600.0, **changes):
        of = another(CurveJob, job(path, **changes), values={}, shares=SHARES, draws=draws, time_s=time_s)
        return jobs.curve(of, channel())

    return run


def test_all_validation_pictures_are_answered_after_each_training(space, curve, drawn):
    dataset = data.load(Path(drawn / "split.json"))
    result = curve(space("tiny"))
    assert [answers.share for answers in result.answers] == [*SHARES, *SHARES]
    train, validation = (len(dataset.part(name)) for name in ("train", "validation"))
    assert [answers.pictures for answers in result.answers[:3]] == [
        pytest.approx(share * train, abs=2) for share in SHARES
    ]
    assert {len(answers.right) for answers in result.answers} == {validation}
    assert not result.groups


def test_the_test_pictures_are_never_read(space, curve, monkeypatch):
    read, picture = set(), data.Dataset.picture

    def reading(dataset, item, least=0):
        read.add(item.part)
        return picture(dataset, item, least)

    monkeypatch.setattr(data.Dataset, "picture", reading)
    curve(space("tiny"), draws=1)
    assert read == {"train", "validation"}


def test_a_draw_has_another_seed_than_the_trial_and_other_pictures(space, curve, monkeypatch):
    seeds, sampled = [], data.sampled
    monkeypatch.setattr(data, "sampled", lambda items, share, seed: seeds.append(seed) or sampled(items, share, seed))
    curve(space("tiny"), seed=7)
    assert seeds == [8, 8, 8, 9, 9, 9]


def test_no_training_starts_that_would_end_too_late(space, curve):
    assert len(curve(space("tiny"), time_s=0.3).answers) == 1


def test_features_that_are_in_the_cache_are_used(transfer, curve, job, channel, monkeypatch):
    """The random weights of a trial with the seed of the first draw."""
    jobs.trial(job(transfer(), seed=1), channel({"frozen_layers": 13}))
    built, build = [], Task._build
    monkeypatch.setattr(Task, "_build", lambda self, *given: built.append(given[0].__name__) or build(self, *given))
    curve(transfer(), draws=1)
    assert built == []


@pytest.mark.parametrize("family", ["scikit", "network"])
def test_a_sample_has_every_class(space, curve, family):
    scikit = "from sklearn.naive_bayes import GaussianNB\n\n\ndef build(hp, task):\n"
    scikit += "    return GaussianNB()\n"
    result = curve(space(family, scikit) if family == "scikit" else space(family))
    accuracies = [np.mean([letter == "1" for letter in answers.right]) for answers in result.answers]
    assert min(accuracies) > 0.1


def test_folds_validate_on_the_first(space, curve, tmp_path):
    dataset = data.open(RunConfig(images=60, split=USUAL_SPLIT, folds=3))
    dataset.write(tmp_path / "split.json")
    result = curve(space("tiny"), draws=1, manifest=str(tmp_path / "split.json"))
    train, validation = dataset.fold(0)
    assert result.answers[-1].pictures == len(train)
    assert len(result.answers[-1].right) == len(validation)
