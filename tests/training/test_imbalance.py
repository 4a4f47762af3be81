"""Rare classes in training: weights of the loss as in Keras' `fit`, and samples with as many pictures of every class."""

from __future__ import annotations

import hashlib
from collections import Counter

import numpy as np
import pytest

from bench.hyperparameters import HyperParameters, fixed
from bench.records import SplitInfo
from bench.training.declarations import check_choices
from bench.training.imbalance import Balancing

WEIGHTED, SAMPLED = {"class_weight": "balanced"}, {"sampling": "balanced"}


def labels(*counts):
    """So many pictures of each class, in an order of chance."""
    return np.random.default_rng(1).permutation(np.repeat(np.arange(len(counts)), counts))


# -- what is declared


@pytest.mark.parametrize(("name", "choices"), [("class_weight", "none, balanced"), ("sampling", "natural, balanced")])
@pytest.mark.parametrize("value", ["heavy", True, 3])
def test_an_unknown_value_is_an_error_that_names_the_choices(name, choices, value):
    hp = HyperParameters(fixed({}))
    hp.Choice(name, [value])
    with pytest.raises(ValueError, match=rf"^{name} {value!r}: must be one of {choices}$"):
        check_choices(hp.space)


@pytest.mark.parametrize(
    ("counts", "unbalanced"), [((30, 10), False), ((31, 10), True), ((9, 27, 9), False), ((9, 28, 10), True)]
)
def test_classes_are_unbalanced_above_a_ratio_of_three_of_the_training_pictures(counts, unbalanced):
    names = [f"class {number}" for number in range(len(counts))]
    parts = {"train": dict(zip(names, counts, strict=True)), "test": dict.fromkeys(names, 1) | {"class 0": 99}}
    assert SplitInfo("", tuple(names), parts, sha256="").unbalanced == unbalanced


# -- weights


def test_the_weights_are_those_of_scikit_learn_and_1_on_average():
    from sklearn.utils.class_weight import compute_class_weight

    drawn = labels(60, 2, 31)
    weights = Balancing.of(WEIGHTED).weights(drawn)
    expected = compute_class_weight("balanced", classes=np.arange(3), y=drawn)
    np.testing.assert_allclose(weights, expected[drawn], rtol=1e-6)
    assert weights.mean() == pytest.approx(1)
    assert weights.dtype == np.float32


@pytest.mark.parametrize("values", [{}, {"class_weight": "none", "sampling": "natural"}, SAMPLED, WEIGHTED | SAMPLED])
def test_without_weights_and_where_every_class_is_drawn_equally_often_all_count_the_same(values):
    assert Balancing.of(values).weights(labels(60, 2)) is None


# -- samples


@pytest.mark.parametrize("counts", [(60, 2), (60, 2, 31), (5, 5), (1, 9, 30, 1, 1), (7,)])
def test_a_balanced_epoch_has_every_class_equally_often_and_as_many_pictures_as_there_are(counts):
    drawn = labels(*counts)
    places = Balancing.of(SAMPLED).draw(drawn, np.random.default_rng(0))
    assert len(places) == len(drawn)
    per_class = np.bincount(drawn[places], minlength=len(counts))
    assert per_class.max() - per_class.min() <= 1
    for number, (wanted, there) in enumerate(zip(per_class, counts, strict=True)):
        times = [Counter(places.tolist())[place] for place in np.flatnonzero(drawn == number)]
        assert sum(times) == wanted
        assert max(times) - min(times) <= 1  # no picture is repeated before all others of its class were drawn
        assert (min(times) > 0) == (wanted >= there)


def test_a_natural_epoch_has_every_picture_once():
    assert sorted(Balancing.of(WEIGHTED).draw(labels(9, 2), np.random.default_rng(0))) == list(range(11))


def test_the_same_seed_draws_the_same_pictures_and_another_seed_others_of_the_frequent_class():
    drawn = labels(60, 2)

    def draw(seed):
        return Balancing.of(SAMPLED).draw(drawn, np.random.default_rng(seed))

    def frequent(seed):
        return {place for place in draw(seed).tolist() if drawn[place] == 0}

    np.testing.assert_array_equal(draw([7, 1]), draw([7, 1]))
    assert frequent([7, 1]) != frequent([7, 2])
    assert len(set.union(*(frequent([7, epoch]) for epoch in range(12)))) == 60


# -- networks


def pictures(*counts, size=16, seed=0):
    """Grey pictures of noise, each class a little brighter than the last, which overlap."""
    from bench.training.batches import Part

    drawn, random = labels(*counts), np.random.default_rng(seed)
    light = 90 + 26 * drawn + random.normal(0, 13, len(drawn))
    grey = light[:, None, None, None] + random.normal(0, 20, (len(drawn), size, size, 1))
    pixels = np.repeat(grey.clip(0, 255).astype(np.uint8), 3, axis=3)
    return Part(pixels, drawn, [hashlib.sha256(picture.tobytes()).hexdigest() for picture in pixels])


def tail(x, units=1, activation="sigmoid", dropout=0.3):
    from keras import layers

    x = layers.Dense(4, activation="relu")(layers.GlobalAveragePooling2D()(x))
    return layers.Dense(units, activation=activation)(layers.Dropout(dropout, seed=3)(x))


def half_frozen(model_class=None, **last):
    import keras
    from keras import layers

    keras.utils.set_random_seed(5)
    inputs = keras.Input((16, 16, 3))
    x = layers.Conv2D(6, 3, strides=2, activation="relu", trainable=False)(layers.Rescaling(1 / 255)(inputs))
    return (model_class or keras.Model)(inputs, tail(layers.Conv2D(4, 3)(x), **last))


def network(model, values, cache=None):
    from bench.training.estimators import Network

    return Network(model, values, 2, 5, backbones=[], cache=cache, progress=lambda *_: None)


def losses(trained, train, epochs=3):
    from bench.training.estimators import FitSettings

    training = trained.fit(train, pictures(6, 6, seed=1), FitSettings(epochs, epochs, lambda epoch: None))
    return [(epoch.loss, epoch.val_loss) for epoch in training.history], training.prefixes[0].used


@pytest.fixture
def feature_cache(tmp_path, monkeypatch):
    from bench.training.frozen import features

    monkeypatch.setattr(features, "MIN_MACS_PER_BYTE", 0)
    return features.FeatureCache(tmp_path / "cache")


@pytest.mark.slow
@pytest.mark.parametrize("augmentation", ["none", "flip"])
@pytest.mark.parametrize("balance", [{}, WEIGHTED, SAMPLED], ids=["none", "weights", "samples"])
def test_training_on_features_is_training_end_to_end(feature_cache, monkeypatch, augmentation, balance):
    from bench.training import estimators

    values = {"augmentation": augmentation, "learning_rate": 0.02, "batch_size": 16, **balance}
    train = pictures(60, 10)
    end_to_end, used = losses(network(half_frozen(), values), train)
    assert not used
    on_features, used = losses(network(half_frozen(), values, feature_cache), train)
    assert used
    np.testing.assert_allclose(on_features, end_to_end, atol=1e-3)
    assert losses(network(half_frozen(), values, feature_cache), train)[0] == on_features  # the same to the last bit
    monkeypatch.setattr(estimators, "MAX_MEMORY_MB", 0.001)
    streamed, _ = losses(network(half_frozen(), values, feature_cache), train)
    np.testing.assert_allclose(streamed, on_features, atol=1e-6)
    if balance:
        natural, _ = losses(network(half_frozen(), {**values, "class_weight": "none", "sampling": "natural"}), train)
        assert np.abs(np.array(natural) - end_to_end).max() > 0.02


LOSSES = [
    (1, "sigmoid", None),
    (1, None, None),
    (2, "softmax", None),
    (1, "sigmoid", "BinaryFocalCrossentropy"),
    (2, "softmax", "CategoricalFocalCrossentropy"),
    (2, "softmax", "sparse_categorical_crossentropy"),
    (2, "sigmoid", "mse"),
]


@pytest.mark.slow
@pytest.mark.parametrize("own_train_step", [False, True], ids=["train_step of Keras", "train_step of its own"])
@pytest.mark.parametrize(("units", "activation", "loss"), LOSSES)
def test_an_epoch_is_that_of_fit_with_the_same_class_weights(units, activation, loss, own_train_step):
    """On the same batches, with dropout: the loss, and the weights of the model after all gradients."""
    import keras
    import tensorflow as tf

    from bench.training.batches import Batches
    from bench.training.objective import Objective

    class Own(keras.Model):
        def train_step(self, data):
            x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
            with tf.GradientTape() as tape:
                y_pred = self(x, training=True)
                value = self.compute_loss(x, y, y_pred, sample_weight)
            self.optimizer.apply(tape.gradient(value, self.trainable_weights), self.trainable_weights)
            self._loss_tracker.update_state(value, sample_weight=tf.shape(x)[0])
            return self.compute_metrics(x, y, y_pred, sample_weight)

    def compiled():
        model = half_frozen(Own if own_train_step else None, units=units, activation=activation)
        if loss:
            model.compile(keras.optimizers.SGD(0.1), getattr(keras.losses, loss, loss))
        return model

    train = pictures(40, 9)
    ours = network(compiled(), {"learning_rate": 0.01, "batch_size": 16, **WEIGHTED})
    (curve,), _ = losses(ours, train, epochs=1)
    theirs, objective = compiled(), Objective.of(compiled())
    objective.compile(theirs, {"learning_rate": 0.01}, theirs)
    batches = Batches(train.examples(), objective.targets(train.labels), 16, seed=5)
    epoch = batches.begin(1)
    x, y = (np.concatenate(arrays) for arrays in zip(*(batches.next(epoch, step) for step in range(4)), strict=True))
    class_weight = {0: 49 / (2 * 40), 1: 49 / (2 * 9)}
    fitted = theirs.fit(x, y, batch_size=16, shuffle=False, verbose=0, class_weight=class_weight)
    assert curve[0] == pytest.approx(fitted.history["loss"][0], abs=1e-5)
    for one, other in zip(ours._model.get_weights(), theirs.get_weights(), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)
