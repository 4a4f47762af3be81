"""Two phases: the head on frozen backbones, then what is fine-tuned from there; what each trains and what is kept."""

from __future__ import annotations

from dataclasses import replace

import keras
import numpy as np
import pytest

from bench import data
from bench.config import USUAL_SPLIT, RunConfig
from bench.metrics import metric
from bench.records import Epoch
from bench.training import estimators, jobs, trainer
from bench.training.phases import FINE_TUNE_LEARNING_RATE, TrainingPhase, phases
from bench.training.trainer import best_epochs

ACCURACY = metric("accuracy")

pytestmark = pytest.mark.slow


def test_without_epochs_for_the_head_there_is_one_phase():
    for values in ({}, {"head_epochs": 0}, {"head_epochs": None, "fine_tune_learning_rate": None}):
        assert phases(values, 7) == [TrainingPhase("", 7)]
    assert phases({"epochs": 3}, 7) == [TrainingPhase("", 3)]


def test_each_phase_has_its_own_cap_and_the_second_its_own_rate():
    head, fine = phases({"head_epochs": 3, "epochs": 20, "fine_tune_learning_rate": 2e-4}, 7)
    assert (head, fine) == (TrainingPhase("head", 3, head_only=True), TrainingPhase("fine-tuning", 7, 2e-4))
    assert phases({"head_epochs": 9}, 7) == [
        TrainingPhase("head", 7, head_only=True),
        TrainingPhase("fine-tuning", 7, FINE_TUNE_LEARNING_RATE),
    ]


@pytest.fixture
def watched(monkeypatch):
    """What every phase was fitted with: its model, optimizer and rate, and the backbone's weights before and after."""
    found, fit = [], trainer.fit
    networks, create = [], estimators.Network.__init__

    def created(self, *given, **named):
        create(self, *given, **named)
        networks.append(self)

    def watch(model, *given, phase="", **named):
        (backbone,) = networks[-1]._backbones
        before = weights(backbone.model)
        optimizer, rate = model.optimizer, float(model.optimizer.learning_rate)
        assert int(optimizer.iterations) == 0
        history = fit(model, *given, phase=phase, **named)
        found.append((phase, optimizer, rate, before, weights(backbone.model), networks[-1]))
        return history

    monkeypatch.setattr(estimators.Network, "__init__", created)
    monkeypatch.setattr(trainer, "fit", watch)
    return found


def weights(model):
    return {layer.name: [np.array(each) for each in layer.weights] for layer in model.layers}


def changed(before, after):
    return {
        name
        for name, arrays in before.items()
        if any((old != new).any() for old, new in zip(arrays, after[name], strict=True))
    }


@pytest.mark.parametrize("features", ["float32", "off"])
def test_the_head_is_trained_on_a_frozen_backbone_and_then_what_was_left_trainable(
    transfer, channel, job, watched, features
):
    recorder = channel({"frozen_layers": 10, "head_epochs": 2, "learning_rate": 0.02, "fine_tune_learning_rate": 0.005})
    result = jobs.trial(job(transfer(), epochs=3, patience=9, features=features), recorder)
    history = result.history
    assert [epoch.phase for epoch in history] == ["head"] * 2 + ["fine-tuning"] * 3
    assert [epoch.epoch for epoch in history] == [1, 2, 3, 4, 5]
    assert recorder.epochs == [(epoch, 1, 0) for epoch in history]
    assert [prefix.phase for prefix in result.prefixes] == ["head", "fine-tuning"]
    if features == "float32":
        of_head, of_rest = (prefix.cut for prefix in result.prefixes)
        assert of_head[0].startswith("global_average_pooling2d")
        assert of_rest == ("add",)
    (head, first, rate, *of_head, _), (fine, second, slower, *of_fine, network) = watched
    assert (head, rate, fine, slower) == ("head", pytest.approx(0.02), "fine-tuning", pytest.approx(0.005))
    assert first is not second
    assert type(first) is type(second)
    assert not changed(*of_head)
    assert changed(*of_fine) <= {"last"}  # batch normalisation stays frozen
    left = [layer.name for layer in network._backbones[0].model.layers if layer.trainable and layer.weights]
    assert left == ["last"]  # as the family left them


def test_a_phase_that_gives_nothing_better_leaves_the_best_head(transfer, channel, job, watched):
    values = {"frozen_layers": 0, "head_epochs": 8, "fine_tune_learning_rate": 10.0, "learning_rate": 0.03}
    path = transfer(rates=("1e-6, 1e-1", "1e-6, 1e2"))
    result = jobs.trial(job(path, epochs=8, patience=8), channel(values))
    history = result.history
    best = max(history, key=lambda epoch: (epoch.val_accuracy, -epoch.val_loss))
    assert best.phase == "head"
    assert result.validation.accuracy == pytest.approx(best.val_accuracy)
    assert result.validation.log_loss == pytest.approx(best.val_loss, abs=1e-5)
    *_, before, after, _ = watched[1]
    assert not changed(before, after)  # the backbone is as the best head had it


def test_each_phase_stops_early_for_itself(transfer, channel, job):
    path = transfer(rates=("1e-4, 1e-1", "1e-12, 1e-1"), fine=("1e-6, 1e-1", "1e-13, 1e-1"))
    values = {"head_epochs": 9, "learning_rate": 1e-12, "fine_tune_learning_rate": 1e-13, "dropout": 0.0}
    result = jobs.trial(job(path, epochs=9, patience=2), channel(values))
    phases = [epoch.phase for epoch in result.history]
    assert phases == ["head"] * 3 + ["fine-tuning"] * 2


def test_two_phases_can_be_stopped_in_either(transfer, channel, job):
    for stop_at in (1, 3):  # of two and three epochs
        recorder = channel({"head_epochs": 2, "frozen_layers": 10}, stop_at=stop_at)
        result = jobs.trial(job(transfer(), epochs=3), recorder)
        assert [epoch.epoch for epoch, _, _ in recorder.epochs] == list(range(1, stop_at + 1))
        assert result.stopped


def epoch(number, val_accuracy, phase, val_loss=0.5):
    return Epoch(number, 0.1, 0.9, val_loss, val_accuracy, 1.0, phase)


def test_best_epochs_are_counted_within_each_phase():
    head = [epoch(1, 0.6, "head"), epoch(2, 0.8, "head"), epoch(3, 0.7, "head")]
    better = [epoch(4, 0.7, "fine-tuning"), epoch(5, 0.9, "fine-tuning")]
    assert best_epochs([*head, *better], ACCURACY) == (2, 2)
    assert best_epochs([*head, epoch(4, 0.8, "fine-tuning", 0.4)], ACCURACY) == (2, 1)
    assert best_epochs([*head, epoch(4, 0.8, "fine-tuning")], ACCURACY) == (2, 0)
    assert best_epochs([replace(each, phase="") for each in head], ACCURACY) == (2,)
    assert best_epochs([], ACCURACY) == ()


def test_the_chosen_model_is_trained_on_all_folds_for_the_best_epochs_of_each_phase(
    transfer, channel, job, score_job, refit_job, tmp_path, monkeypatch
):
    manifest = tmp_path / "split.json"
    data.open(RunConfig(images=60, split=USUAL_SPLIT, folds=2)).write(manifest)
    config = job(transfer(), manifest=str(manifest), epochs=1)
    result = jobs.trial(config, channel({"head_epochs": 1, "frozen_layers": 10}))
    assert len(result.best_epochs) == 2
    assert len(result.folds) == 2
    trained, refit = [], trainer.refit
    monkeypatch.setattr(
        trainer, "refit",
        lambda model, *given, epochs, **named: trained.append((epochs, float(model.optimizer.learning_rate)))
        or refit(model, *given, epochs=epochs, **named),
    )  # fmt: skip
    path = tmp_path / "chosen.keras"
    config = replace(config, values=result.params)
    refitted = jobs.refit(refit_job(config, phase_epochs=(2, 0), model=str(path)), channel())
    assert trained == [(2, pytest.approx(0.01)), (0, pytest.approx(0.001))]
    scored = jobs.score(score_job(config, trained=str(path)), channel())
    assert scored.test.log_loss == pytest.approx(refitted.test.log_loss, abs=1e-6)


def test_two_phases_of_a_model_that_was_compiled_with_a_schedule(transfer, channel, job):
    path = transfer(
        compiled=(
            "    return keras.Model(inputs, task.classify(x))",
            "    model = keras.Model(inputs, task.classify(x))\n"
            "    rate = keras.optimizers.schedules.ExponentialDecay(0.01, 10, 0.9)\n"
            "    model.compile(keras.optimizers.Adam(rate), 'binary_crossentropy', ['accuracy'])\n"
            "    return model",
        )
    )
    result = jobs.trial(job(path), channel({"head_epochs": 1}))
    assert len(result.history) >= 2


def test_the_second_phase_under_mixed_precision_has_a_fresh_optimizer_of_the_same_kind(
    transfer, channel, job, monkeypatch
):
    path = transfer(
        compiled=(
            "    return keras.Model(inputs, task.classify(x))",
            "    model = keras.Model(inputs, task.classify(x))\n"
            "    model.compile(keras.optimizers.SGD(0.01), 'binary_crossentropy')\n"
            "    return model",
        )
    )
    optimizers, fit = [], trainer.fit
    monkeypatch.setattr(
        trainer, "fit", lambda model, *rest, **named: optimizers.append(model.optimizer) or fit(model, *rest, **named)
    )
    keras.config.set_dtype_policy("mixed_float16")
    try:
        result = jobs.trial(job(path), channel({"head_epochs": 1, "fine_tune_learning_rate": 0.002}))
    finally:
        keras.config.set_dtype_policy("float32")
    assert {epoch.phase for epoch in result.history} == {"head", "fine-tuning"}
    assert [type(optimizer).__name__ for optimizer in optimizers] == ["LossScaleOptimizer"] * 2
    assert [type(optimizer.inner_optimizer).__name__ for optimizer in optimizers] == ["SGD"] * 2
    assert float(optimizers[1].inner_optimizer.learning_rate) == pytest.approx(0.002)
