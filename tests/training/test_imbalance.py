"""Rare classes in training: weights of the loss as in Keras' `fit`, samples with as many pictures of every class."""

from __future__ import annotations

import hashlib
from collections import Counter

import numpy as np
import pytest

from bench.hyperparameters import HyperParameters, fixed
from bench.metrics import metric
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

    settings = FitSettings(epochs, epochs, lambda epoch: None, metric("accuracy"))
    training = trained.fit(train, pictures(6, 6, seed=1), settings)
    return [(epoch.loss, epoch.val_loss) for epoch in training.history], training.prefixes[0].used


@pytest.fixture
def feature_cache(tmp_path, monkeypatch):
    from bench.training.frozen import features

    monkeypatch.setattr(features, "MIN_MACS_PER_BYTE", 0)
    return features.FeatureCache(tmp_path / "cache")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("balance", "augmentation"), [(WEIGHTED, "none"), (SAMPLED, "flip")], ids=["weights", "samples, flipped"]
)
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
@pytest.mark.parametrize(
    ("units", "activation", "loss", "own_train_step"),
    [*((*loss, False) for loss in LOSSES), (*LOSSES[0], True), (*LOSSES[4], True)],
)
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


@pytest.mark.slow
def test_a_train_step_that_takes_no_weights_is_refused_before_the_search(space, channel, job, probe_job):
    from bench.errors import SpaceError
    from bench.training import jobs
    from bench.training.objective import WrongModel

    text = """\
import keras
from keras import layers


class Own(keras.Model):
    def train_step(self, data):
        x, y = data
        return super().train_step((x, y))


def build(hp, task):
    inputs = keras.Input((16, 16, 3))
    hp.Choice("class_weight", ["none", "balanced"])
    return Own(inputs, task.classify(layers.Flatten()(inputs / 255)))
"""
    path = space("own", text)
    needed = r"class_weight needs a train_step that takes \(x, y, sample_weight\)"
    with pytest.raises(SpaceError, match=needed):
        jobs.probe(probe_job(path), channel())
    with pytest.raises(WrongModel, match=needed):
        jobs.trial(job(path), channel(WEIGHTED))
    assert len(jobs.trial(job(path), channel()).history) == 2


def recalls(values, train, test):
    """Recall of each class, after eight epochs of a small network and without a choice among them."""
    import keras
    from keras import layers

    keras.utils.set_random_seed(5)
    inputs = keras.Input((16, 16, 3))
    x = layers.Conv2D(8, 3, strides=2, activation="relu")(layers.Rescaling(1 / 64, offset=-1.5)(inputs))
    model = keras.Model(inputs, layers.Dense(1, activation="sigmoid")(layers.GlobalAveragePooling2D()(x)))
    trained = network(model, {"learning_rate": 0.02, "batch_size": 32, **values})
    trained.refit(train, [8])
    right = trained.predict(test).argmax(axis=1) == test.labels
    return [right[test.labels == label].mean() for label in (0, 1)]


@pytest.mark.slow
@pytest.mark.parametrize("balance", [WEIGHTED, SAMPLED], ids=["weights", "samples"])
def test_of_a_class_that_is_one_in_thirty_one_more_is_found(balance):
    train, test = pictures(600, 20), pictures(100, 100, seed=1)
    (frequent, rare), (_, rare_before) = recalls(balance, train, test), recalls({}, train, test)
    assert rare_before < 0.2
    assert min(frequent, rare) > 0.75


# -- classifiers of scikit-learn


def trained_classifier(model, values, train):
    from bench.training.estimators import Classifier

    trained = Classifier(model, 16, 7, balancing=Balancing.of(values))
    trained.refit(train, [])
    return trained.predict(train)


def vectors(*counts):
    from bench.cache.rows import Rows
    from bench.training.batches import Part

    part = pictures(*counts, size=4)
    return Part(Rows.of(part.pixels), part.labels)


@pytest.mark.slow
@pytest.mark.parametrize("piped", [False, True])
@pytest.mark.parametrize("own", [None, "balanced"])
def test_a_classifier_is_weighted_once_as_by_its_class_weight(piped, own):
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    def model(class_weight):
        steps = [StandardScaler(), LogisticRegression(C=1e-3, class_weight=class_weight, max_iter=5000)]
        return make_pipeline(*steps) if piped else steps[-1]

    train = vectors(60, 6)
    expected = model("balanced").fit(np.asarray(train.pixels.flattened()), train.labels)
    probabilities = expected.predict_proba(np.asarray(train.pixels.flattened()))
    np.testing.assert_allclose(trained_classifier(model(own), WEIGHTED, train), probabilities, atol=1e-3)
    if own is None:
        assert np.abs(trained_classifier(model(None), {}, train) - probabilities).max() > 0.05


@pytest.mark.slow
def test_a_classifier_is_trained_on_every_class_equally_often():
    seen = []

    class Plain:
        def fit(self, x, y):
            seen.append((x, y))

        def predict_proba(self, x):
            return np.full((len(x), 2), 0.5)

    train = vectors(60, 6)
    for _ in range(2):
        trained_classifier(Plain(), SAMPLED, train)
    (x, y), (again, _) = seen
    assert np.bincount(y).tolist() == [33, 33]
    np.testing.assert_array_equal(x, again)
    original = {
        (row.tobytes(), label) for row, label in zip(np.asarray(train.pixels.flattened()), train.labels, strict=True)
    }
    assert {(row.tobytes(), label) for row, label in zip(x, y, strict=True)} < original


@pytest.mark.slow
def test_a_classifier_that_takes_no_weights_is_refused_before_the_search(space, channel, probe_job):
    from bench.errors import SpaceError
    from bench.training import jobs

    text = """\
from sklearn.neighbors import KNeighborsClassifier


def build(hp):
    hp.Choice({}, [{}, "balanced"])
    return KNeighborsClassifier()
"""
    says = "KNeighborsClassifier.fit takes no sample_weight: declare sampling instead"
    with pytest.raises(SpaceError, match=says):
        jobs.probe(probe_job(space("weighted", text.format('"class_weight"', '"none"'))), channel())
    assert jobs.probe(probe_job(space("sampled", text.format('"sampling"', '"natural"'))), channel()).learns
