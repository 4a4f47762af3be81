"""Altered pictures: each in its own way, another way every epoch, and the same again for the same seed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import bench
from bench.hyperparameters import HyperParameters, fixed
from bench.metrics import metric
from bench.training.augmentation import AUGMENTATIONS, augmentation, flip, light
from bench.training.declarations import check_choices


def noise(count=40, size=24):
    return np.random.default_rng(0).integers(0, 256, (count, size, size, 3), dtype=np.uint8)


def spot(count, size=64):
    """The same picture `count` times: a bright spot in the middle of its left half, so that one sees where it went."""
    down, across = np.mgrid[:size, :size] / (size - 1)
    bright = 100 + 100 * np.exp(-((down - 0.5) ** 2 + (across - 0.3) ** 2) / 0.02)
    return np.tile(bright.astype(np.uint8)[np.newaxis, ..., np.newaxis], (count, 1, 1, 3))


def brightest(picture):
    return np.unravel_index(picture[..., 0].argmax(), picture.shape[:2])


@pytest.mark.parametrize("kind", ["none", "flip", "light"])
@pytest.mark.parametrize("size", [16, 33, 160])
def test_pictures_keep_their_shape_and_those_given_are_left_as_they_are(kind, size):
    pictures = noise(5, size)
    pictures.flags.writeable = False  # as a file of decoded pictures is
    altered = augmentation(kind)(pictures, np.random.default_rng(1))
    assert (altered.shape, altered.dtype) == (pictures.shape, np.uint8)
    np.testing.assert_array_equal(altered, augmentation(kind)(pictures, np.random.default_rng(1)))


def test_a_flip_is_the_exact_mirror_image_of_about_every_second_picture():
    pictures = noise(400, 16)
    altered = flip(pictures, np.random.default_rng(2))
    same = (altered == pictures).all(axis=(1, 2, 3))
    mirrored = (altered == pictures[:, :, ::-1]).all(axis=(1, 2, 3))
    assert (same ^ mirrored).all()
    assert 150 < mirrored.sum() < 250


def test_light_alters_every_picture_in_its_own_way_and_only_a_little():
    pictures = spot(200)
    altered = light(pictures, np.random.default_rng(3))
    assert len({picture.tobytes() for picture in altered}) == 200
    brightness = altered.mean(axis=(1, 2, 3)) - pictures[0].mean()
    assert -35 < brightness.min() < -15
    assert 15 < brightness.max() < 35
    down, across = np.array([brightest(picture) for picture in altered]).T / 63
    mirrored = across > 0.5
    assert 60 < mirrored.sum() < 140
    for places, before in ((down, 0.5), (np.where(mirrored, 1 - across, across), 0.3)):
        assert places.mean() == pytest.approx(before, abs=0.02)
        assert np.abs(places - before).max() == pytest.approx(0.13, abs=0.04)  # a tenth, and what turn and zoom add


def test_light_fills_the_edges_from_the_picture_and_stops_at_black_and_white():
    def plain(value):
        return light(np.full((50, 20, 20, 3), value, np.uint8), np.random.default_rng(4))

    black, grey, white = plain(0), plain(200), plain(255)
    assert (grey == grey[:, :1, :1]).all()
    assert black.max() <= 26
    assert 174 <= grey.min() < 185 < 215 < grey.max() <= 226
    assert white.min() >= 229


@pytest.mark.parametrize("value", ["heavy", "", True, 3])
def test_an_unknown_augmentation_is_an_error_that_names_the_choices(value):
    with pytest.raises(ValueError, match=rf"augmentation {value!r}: must be one of none, flip, light"):
        augmentation(value)


def test_what_a_family_offers_is_checked_before_anything_trains():
    hp = HyperParameters(fixed({}))
    hp.Choice("optimizer", ["adam", "heavy"])
    hp.Choice("augmentation", ["none", "light"])
    check_choices(hp.space)
    hp.Choice("augmentation", ["heavy"], parent_name="optimizer", parent_values=["heavy"])
    with pytest.raises(ValueError, match="augmentation 'heavy'"):
        check_choices(hp.space)
    hp = HyperParameters(fixed({}))
    hp.Choice("fit", ["crop", "stretch"])
    with pytest.raises(ValueError, match="fit 'stretch': must be one of squash, crop, pad"):
        check_choices(hp.space)


# -- in training

EPOCHS = """\
import hashlib, sys
import keras, numpy as np, tensorflow as tf
from bench.training.augmentation import augmentation
from bench.training.batches import Batches, Part

keras.utils.set_random_seed(7)
if sys.argv[1] == "deterministic":
    tf.config.experimental.enable_op_determinism()
pixels = np.random.default_rng(0).integers(0, 256, (50, 16, 16, 3), dtype=np.uint8)
part = Part(pixels, np.zeros(50, np.int64))
for kind in ("flip", "light"):
    batches = Batches(part.examples(augmentation(kind)), np.arange(50), 8, 7)
    for number in range(3):
        epoch = batches.begin(number)
        for step in range(batches.steps):
            x, y = batches.next(epoch, step)
            print(hashlib.sha256(x.numpy().tobytes() + y.numpy().tobytes()).hexdigest())
"""


@pytest.mark.slow
def test_a_seed_gives_the_same_batches_in_another_process_deterministic_operations_or_not(tmp_path):
    (tmp_path / "epochs.py").write_text(EPOCHS)
    environment = {**os.environ, "PYTHONPATH": str(Path(bench.__file__).parents[1])}
    first, second = (
        subprocess.run(
            [sys.executable, str(tmp_path / "epochs.py"), mode],
            env=environment, check=True, stdout=subprocess.PIPE, text=True,
        ).stdout.split()
        for mode in ("deterministic", "as they come")
    )  # fmt: skip
    assert len(set(first)) == 2 * 3 * 7
    assert first == second


@pytest.mark.slow
def test_the_same_picture_looks_another_way_every_epoch():
    from bench.training.batches import Batches, Part

    batches = Batches(Part(noise(12), np.zeros(12, np.int64)).examples(light), np.arange(12), 5, seed=0)

    def pictures(number):
        epoch = batches.begin(number)
        for step in range(batches.steps):
            xs, ys = batches.next(epoch, step)
            yield from zip(ys.numpy().tolist(), xs.numpy(), strict=True)

    epochs = [dict(pictures(number)) for number in (1, 2, 3)]
    for picture in range(12):
        looks = [epoch[picture] for epoch in epochs]
        assert len({look.tobytes() for look in looks}) == 3
        assert all(look.dtype == np.float32 and look.min() >= 0 and look.max() <= 255 for look in looks)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["flip", "light"])
def test_only_training_pictures_are_altered_and_the_model_learns_from_them(kind, monkeypatch):
    import keras

    from bench.training import trainer
    from bench.training.batches import Part
    from bench.training.objective import Objective

    x = inputs = keras.Input((24, 24, 3))
    x = keras.layers.Rescaling(1 / 127.5, offset=-1)(x)
    model = keras.Model(inputs, keras.layers.Dense(1, activation="sigmoid")(keras.layers.Flatten()(x)))
    objective = Objective.of(model)
    objective.compile(model, {}, model)
    labels = np.arange(40) % 2
    pixels = noise(40) // 2 + np.uint8(120) * labels.astype(np.uint8)[:, np.newaxis, np.newaxis, np.newaxis]
    train, validation = Part(pixels[:24], labels[:24]), Part(pixels[24:], labels[24:])
    altered, validated = [], []
    alter, predict = AUGMENTATIONS[kind], trainer.Predictor.__call__
    monkeypatch.setitem(AUGMENTATIONS, kind, lambda x, random: (altered.extend(x), alter(x, random))[1])
    monkeypatch.setattr(
        trainer.Predictor, "__call__", lambda self, x: (validated.append(x.read(range(16))[0]), predict(self, x))[1]
    )
    history = trainer.fit(
        model, objective, train.examples(augmentation(kind)), validation.examples(),
        epochs=6, patience=6, batch_size=8, seed=0, report=lambda epoch: None,
        predict=trainer.Predictor(model, objective), best=trainer.BestEpoch(metric("accuracy")),
    )  # fmt: skip
    assert history[-1].loss < history[0].loss
    assert history[-1].val_accuracy == 1
    assert {each.tobytes() for each in altered} == {each.tobytes() for each in train.pixels}
    assert [(each == validation.pixels).all() for each in validated] == [True] * 6
