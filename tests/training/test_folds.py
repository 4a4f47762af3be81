"""A configuration on folds: what is trained on what, what comes of it, and what is left behind."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from statistics import fmean

import numpy as np
import psutil
import pytest

keras = pytest.importorskip("keras")

from bench import data  # noqa: E402
from bench.config import RunConfig  # noqa: E402
from bench.search import spaces  # noqa: E402
from bench.training import estimators, jobs, trainer  # noqa: E402
from bench.training.examples import Part  # noqa: E402

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
    data.open(RunConfig(images=60, folds=FOLDS)).write(path)
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
    space, channel, payload, folded, seen, path
):
    path = space(path) if path == "tiny" else path
    config = payload(path, manifest=str(folded), epochs=1)
    kept = channel()
    jobs.trial(config, kept)
    jobs.refit({**config, "epochs": [1], "values": kept.sent["params"], "model": ""}, channel())
    dataset = data.load(folded)
    size = kept.sent["input_size"]
    everything, test = (
        content(jobs._part(dataset, items, size, config, kept))
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


def test_the_result_is_the_mean_and_says_what_one_training_costs(space, channel, payload, folded):
    kept = channel({"filters": 4})
    jobs.trial(payload(space("tiny"), manifest=str(folded)), kept)
    result = kept.sent
    folds = result["folds"]
    assert len(folds) == FOLDS
    assert result["validation"]["accuracy"] == pytest.approx(fmean(fold["accuracy"] for fold in folds))
    assert result["validation"]["log_loss"] == pytest.approx(fmean(fold["log_loss"] for fold in folds))
    assert result["validation"]["n"] == sum(fold["n"] for fold in folds) == len(data.load(folded).part("train"))
    places = [(figures.get("fold"), epoch) for epoch, figures in kept.reports]
    assert places == [(None, 0), *((fold, epoch) for fold in (1, 2, 3) for epoch in (1, 2))]
    assert {figures["folds"] for _, figures in kept.reports[1:]} == {FOLDS}
    assert [epoch["val_accuracy"] for epoch in result["history"]] == [
        figures["val_accuracy"] for _, figures in kept.reports[1:3]
    ]
    cost = result["cost"]
    assert cost["fit_time_s"] == cost["train_time_s"]
    assert FOLDS * cost["fit_time_s"] < cost["total_time_s"]
    assert cost["parameters"] == 117


def test_the_epochs_of_the_best_are_those_of_all_folds_in_the_mean(space, channel, payload, folded, monkeypatch):
    best = iter([(2, 0), (7, 1), (7, 4)])
    monkeypatch.setattr(trainer, "best_epochs", lambda history: next(best))
    kept = channel()
    jobs.trial(payload(space("tiny"), manifest=str(folded)), kept)
    assert kept.sent["best_epochs"] == [5, 2]


def test_a_fold_is_trained_as_it_would_be_alone(space, channel, payload, folded, tmp_path):
    """Same weights to begin with, same order, same dropout, whatever was trained before in the same process."""
    path, dataset = space("random", RANDOM), data.load(folded)
    config = payload(path, epochs=4, values={"learning_rate": 0.01}, seed=3)
    together = channel()
    jobs.trial({**config, "manifest": str(folded)}, together)
    for number in range(FOLDS):
        train, validation = dataset.fold(number)
        items = [*(replace(item, fold=None) for item in train), *dataset.part("test")]
        items += [replace(item, fold=None, part="validation") for item in validation]
        manifest = tmp_path / f"{number}.json"
        replace(dataset, items=tuple(items)).write(manifest)
        alone = channel()
        jobs.trial({**config, "manifest": str(manifest)}, alone)
        assert alone.sent["validation"] == together.sent["folds"][number]
        if number == 0:
            untimed = [{**epoch, "time_s": 0, "step_time_s": 0, "step_cpu_s": 0} for epoch in alone.sent["history"]]
            assert [
                {**epoch, "time_s": 0, "step_time_s": 0, "step_cpu_s": 0} for epoch in together.sent["history"]
            ] == untimed


def test_every_fold_has_the_memory_of_the_one_before(space, channel, payload, folded, monkeypatch):
    """9 million weights with gradients and two moments: 110 MB or more a fold, were they kept."""
    held_mb, build = [], jobs._build

    def watched(*arguments, **named):
        held_mb.append(psutil.Process().memory_info().rss / 1e6)
        return build(*arguments, **named)

    monkeypatch.setattr(jobs, "_build", watched)
    text = RANDOM.replace("layers.Dropout(0.3)(x)", 'layers.Dense(70_000, activation="relu")(x)')
    jobs.trial(payload(space("large", text), manifest=str(folded), epochs=1), channel())
    assert len(held_mb) == FOLDS
    assert held_mb[2] < held_mb[1] + 60


def test_a_trial_can_be_stopped_in_its_first_fold(space, channel, payload, folded):
    kept = channel(stop_at=1)
    jobs.trial(payload(space("tiny"), manifest=str(folded)), kept)
    assert [epoch for epoch, _ in kept.reports] == [0, 1]
    assert kept.sent == {"params": {"filters": 2}, "weights": "", "stopped": True}


def test_the_chosen_model_is_trained_on_all_folds_kept_and_scored(space, channel, payload, folded, tmp_path):
    config = payload(
        space("random", RANDOM), manifest=str(folded), epochs=[3], values={"learning_rate": 0.01},
        model=str(tmp_path / "chosen.keras"), predictions=str(tmp_path / "chosen.npz"),
    )  # fmt: skip
    kept, other = channel(), channel()
    jobs.refit(config, kept)
    assert kept.reports == []
    model = keras.saving.load_model(config["model"], safe_mode=True)
    assert getattr(model, "optimizer", None) is None
    dataset = data.load(folded)
    test = jobs._part(dataset, dataset.part("test"), 16, config, kept)
    again = model.predict(np.asarray(test.pixels, np.float32), verbose=0)[:, 0]
    with np.load(config["predictions"], allow_pickle=False) as stored:
        np.testing.assert_allclose(stored["probabilities"][:, 1], again, atol=1e-5)
        right = np.mean(stored["probabilities"].argmax(axis=1) == stored["labels"])
    assert kept.sent["test"]["accuracy"] == right
    assert kept.sent["test"]["n"] == len(test.labels)
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_file()) == ["chosen.keras", "chosen.npz"]
    jobs.refit({**config, "seed": 1, "model": "", "predictions": ""}, other)
    assert other.sent["test"]["log_loss"] != kept.sent["test"]["log_loss"]
    jobs.refit({**config, "model": "", "predictions": ""}, other)
    assert other.sent["test"] == kept.sent["test"]


def test_a_loss_that_is_no_number_fails_the_refit(space, channel, payload, folded):
    text = RANDOM.replace("task.classify(x)", "task.classify(layers.Rescaling(float('nan'))(x))")
    config = payload(space("broken", text), manifest=str(folded), epochs=[1], values={}, model="")
    with pytest.raises(trainer.NonFinite, match="training loss is nan"):
        jobs.refit(config, channel())
