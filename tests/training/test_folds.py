"""A configuration on folds: what is trained on what, what comes of it, and what is left behind."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from statistics import fmean

import keras
import numpy as np
import psutil
import pytest

from bench import data
from bench.config import USUAL_SPLIT, RunConfig
from bench.records import Ending
from bench.search import spaces
from bench.training import estimators, jobs, trainer
from bench.training.batches import Part
from bench.training.messages import TrialResult

pytestmark = pytest.mark.slow

DUMMY = spaces.BUILT_IN / "dummy.py"
FOLDS = 3

RANDOM = """\
import keras
from keras import layers


def build(hp, task):
    x = inputs = keras.Input((16, 16, 3))
    x = layers.Rescaling(1 / 255)(x)
    x = layers.Flatten()(layers.Conv2D(8, 3, strides=4, activation="relu")(x))
    x = layers.Dropout(0.3)(x)
    hp.Float("learning_rate", 1e-4, 1e-1, sampling="log")
    return keras.Model(inputs, task.classify(x))
"""
"""Weights, dropout and the order of the pictures: all that a seed decides."""


@pytest.fixture(scope="module")
def folded(tmp_path_factory) -> Path:
    """The manifest of 60 drawn pictures in three folds."""
    path = tmp_path_factory.mktemp("folded") / "split.json"
    data.open(RunConfig(images=60, split=USUAL_SPLIT, folds=FOLDS)).write(path)
    return path


@pytest.fixture
def seen(monkeypatch):
    """What every training gets: its training and its validation part, the latter None where nothing is held out."""
    parts = []

    def watch(module, name):
        original = getattr(module, name)

        def watched(*arguments, **named):
            found = [each for each in arguments if isinstance(each, Part)]
            parts.append((found[0], found[1] if len(found) > 1 else None))
            return original(*arguments, **named)

        monkeypatch.setattr(module, name, watched)

    for kind in (estimators.Network, estimators.Classifier):
        watch(kind, "fit")
        watch(kind, "refit")
    return parts


def content(part):
    """A part's pictures with their labels, whatever their order; no two drawn pictures are the same."""
    squares = np.asarray(part.pixels)
    assert len(squares) == len(part.labels)
    pictures = {(square.tobytes(), int(label)) for square, label in zip(squares, part.labels, strict=True)}
    assert len(pictures) == len(squares)
    return pictures


@pytest.mark.parametrize("path", ["tiny", DUMMY], ids=["keras", "scikit-learn"])
def test_every_picture_outside_the_test_set_validates_once_and_none_is_trained_on_then(
    space, channel, job, refit_job, folded, seen, path
):
    path = space(path) if path == "tiny" else path
    config = job(path, manifest=str(folded), epochs=1)
    result = jobs.trial(config, channel())
    jobs.refit(refit_job(config, phase_epochs=(1,), values=result.params), channel())
    dataset = data.load(folded)
    size = result.input_size
    everything, test = (
        content(jobs._part(dataset, items, size, "squash", config, channel()))
        for items in (dataset.part("train"), dataset.part("test"))
    )
    assert len(seen) == FOLDS + 1
    for train, validation in seen[:FOLDS]:
        assert not content(train) & content(validation)
        assert content(train) | content(validation) == everything
        assert len(np.unique(validation.labels)) == 2
    held_out = [content(validation) for _, validation in seen[:FOLDS]]
    assert sum(map(len, held_out)) == len(set().union(*held_out)) == len(everything)
    assert not everything & test
    assert content(seen[FOLDS][0]) == everything
    assert seen[FOLDS][1] is None


def test_the_result_is_the_mean_and_says_what_one_training_costs(space, channel, job, folded):
    recorder = channel({"filters": 4})
    result = jobs.trial(job(space("tiny"), manifest=str(folded)), recorder)
    folds = result.folds
    assert len(folds) == FOLDS
    assert result.validation.accuracy == pytest.approx(fmean(fold.accuracy for fold in folds))
    assert result.validation.log_loss == pytest.approx(fmean(fold.log_loss for fold in folds))
    assert result.validation.n == sum(fold.n for fold in folds) == len(data.load(folded).part("train"))
    places = [(fold, epoch.epoch, count) for epoch, fold, count in recorder.epochs]
    assert places == [(fold, epoch, FOLDS) for fold in (1, 2, 3) for epoch in (1, 2)]
    assert result.history == tuple(epoch for epoch, _, _ in recorder.epochs[:2])
    cost = result.cost
    assert cost.fit_time_s == cost.train_time_s
    assert FOLDS * cost.fit_time_s < cost.total_time_s
    assert cost.parameters == 117


def test_the_epochs_of_the_best_are_those_of_all_folds_in_the_mean(space, channel, job, folded, monkeypatch):
    best = iter([(2, 0), (7, 1), (7, 4)])
    monkeypatch.setattr(trainer, "best_epochs", lambda history, metric: next(best))
    result = jobs.trial(job(space("tiny"), manifest=str(folded)), channel())
    assert result.best_epochs == (5, 2)


def untimed(history):
    return [replace(epoch, time_s=0.0, step_time_s=0.0, step_cpu_s=0.0, val_time_s=0.0) for epoch in history]


def test_a_fold_is_trained_as_it_would_be_alone(space, channel, job, folded, tmp_path):
    """Same weights to begin with, same order, same dropout, whatever was trained before in the same process."""
    path, dataset = space("random", RANDOM), data.load(folded)
    config = job(path, epochs=4, values={"learning_rate": 0.01}, seed=3)
    together = jobs.trial(replace(config, manifest=str(folded)), channel())
    for number in range(FOLDS):
        train, validation = dataset.fold(number)
        items = [*(replace(item, fold=None) for item in train), *dataset.part("test")]
        items += [replace(item, fold=None, part="validation") for item in validation]
        manifest = tmp_path / f"{number}.json"
        replace(dataset, items=tuple(items)).write(manifest)
        alone = jobs.trial(replace(config, manifest=str(manifest)), channel())
        assert alone.validation == together.folds[number]
        if number == 0:
            assert untimed(alone.history) == untimed(together.history)


def test_every_fold_has_the_memory_of_the_one_before(space, channel, job, folded, monkeypatch):
    """9 million weights with gradients and two moments: 110 MB or more a fold, were they kept."""
    held_mb, build = [], jobs._build

    def watched(*arguments, **named):
        held_mb.append(psutil.Process().memory_info().rss / 1e6)
        return build(*arguments, **named)

    monkeypatch.setattr(jobs, "_build", watched)
    text = RANDOM.replace("layers.Dropout(0.3)(x)", 'layers.Dense(70_000, activation="relu")(x)')
    jobs.trial(job(space("large", text), manifest=str(folded), epochs=1), channel())
    assert len(held_mb) == FOLDS
    assert held_mb[2] < held_mb[1] + 60


def test_a_trial_can_be_stopped_in_its_first_fold(space, channel, job, folded):
    recorder = channel(stop_at=1)
    result = jobs.trial(job(space("tiny"), manifest=str(folded)), recorder)
    assert [(epoch.epoch, fold) for epoch, fold, _ in recorder.epochs] == [(1, 1)]
    assert result == TrialResult({"filters": 2}, stopped=True, ending=Ending.PRUNER)


def test_the_chosen_model_is_trained_on_all_folds_kept_and_scored(space, channel, job, refit_job, folded, tmp_path):
    config = refit_job(
        job(space("random", RANDOM), manifest=str(folded), values={"learning_rate": 0.01}),
        phase_epochs=(3,),
        model=str(tmp_path / "chosen.keras"),
        predictions=str(tmp_path / "chosen.npz"),
    )
    recorder = channel()
    result = jobs.refit(config, recorder)
    assert recorder.epochs == []
    model = keras.saving.load_model(config.model, safe_mode=True)
    assert getattr(model, "optimizer", None) is None
    dataset = data.load(folded)
    test = jobs._part(dataset, dataset.part("test"), 16, "squash", config, channel())
    again = model.predict(np.asarray(test.pixels, np.float32), verbose=0)[:, 0]
    with np.load(config.predictions, allow_pickle=False) as stored:
        np.testing.assert_allclose(stored["probabilities"][:, 1], again, atol=1e-5)
        right = np.mean(stored["probabilities"].argmax(axis=1) == stored["labels"])
    assert result.test.accuracy == right
    assert result.test.n == len(test.labels)
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_file()) == ["chosen.keras", "chosen.npz"]
    scored = replace(config, model="", predictions="")
    assert jobs.refit(replace(scored, seed=1), channel()).test.log_loss != result.test.log_loss
    assert jobs.refit(scored, channel()) == result


def test_a_loss_that_is_no_number_fails_the_refit(space, channel, job, refit_job, folded):
    text = RANDOM.replace("task.classify(x)", "task.classify(layers.Rescaling(float('nan'))(x))")
    config = refit_job(job(space("broken", text), manifest=str(folded), values={}), phase_epochs=(1,))
    with pytest.raises(trainer.NonFinite, match="training loss is nan"):
        jobs.refit(config, channel())
