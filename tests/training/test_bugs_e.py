"""Failing tests: each is a bug (helper E). Run: copy to tests/training/test_bugs_e.py (conftest fixtures)."""

from __future__ import annotations

import numpy as np
import pytest

keras = pytest.importorskip("keras")

from keras import layers  # noqa: E402

from bench import cache as kept_between_runs  # noqa: E402
from bench.data import pixels  # noqa: E402
from bench.training import estimators, jobs, keras_trainer  # noqa: E402
from bench.training.prefix import Graph, NoPrefix  # noqa: E402

pytestmark = pytest.mark.slow


def keys(model):
    return Graph(model).cut().keys


def ending(inputs, x):
    return keras.Model(inputs, layers.Dense(1)(layers.Flatten()(x)))


# test_prefix.py


def test_children_of_a_frozen_parent_are_trained_as_keras_trains_them():
    """Keras 3.15 trains a layer that is unfrozen after its parent was frozen: the usual way to fine-tune the last."""
    inner = keras.Input((16, 16, 3))
    x = layers.Conv2D(4, 3, name="first")(inner)
    backbone = keras.Model(inner, layers.Conv2D(4, 3, name="last")(x))
    backbone.trainable = False
    backbone.layers[-1].trainable = True
    inputs = keras.Input((16, 16, 3))
    model = ending(inputs, backbone(inputs))
    before = [weight.path for weight in model.trainable_weights]
    assert len(before) == 4
    cut = Graph(model).cut()
    assert [weight.path for weight in model.trainable_weights] == before  # looking at it changes nothing
    assert cut.layers == ("first",)
    assert [weight.path for weight in cut.tail().trainable_weights] == before


def test_a_layer_on_both_sides_of_the_cut():
    shared = layers.Conv2D(3, 3, padding="same", name="shared", trainable=False)
    inputs = keras.Input((16, 16, 3))
    once = shared(inputs)
    again = shared(layers.Conv2D(3, 1, name="trained")(once))
    model = ending(inputs, layers.Add()([once, again]))
    cut, x = Graph(model).cut(), np.ones((2, 16, 16, 3), np.float32)
    np.testing.assert_allclose(cut.tail()(cut.prefix([cut.graph.input])([x])), model(x), atol=1e-4)


def test_pictures_that_cross_train_on_them_or_say_why():
    """A frozen branch and a trained one, both on the pictures."""
    inputs = keras.Input((16, 16, 3))
    frozen = layers.GlobalAveragePooling2D()(layers.Conv2D(4, 3, trainable=False)(inputs))
    trained = layers.GlobalAveragePooling2D()(layers.Conv2D(4, 3)(inputs))
    model = keras.Model(inputs, layers.Dense(1)(layers.Concatenate()([frozen, trained])))
    try:
        cut = Graph(model).cut()
        assert len(cut.layers) == 2
    except NoPrefix:
        pass


def test_arrays_in_arguments_are_told_apart():
    def model(middle):
        mean = np.zeros((32, 32, 3), np.float32)
        mean[16, 16] = middle
        keras.utils.set_random_seed(0)
        inputs = keras.Input((32, 32, 3))
        return ending(inputs, layers.Conv2D(4, 3, trainable=False)(inputs - mean))

    assert keys(model(1)) != keys(model(50))


def test_functions_of_the_same_name_are_told_apart(tmp_path):
    def model(factor):
        scope = {}
        path = tmp_path / "family.py"
        path.write_text(f"def squash(x):\n    return x / {factor}\n")
        exec(compile(path.read_text(), path, "exec"), scope)
        keras.utils.set_random_seed(0)
        inputs = keras.Input((16, 16, 3))
        return ending(inputs, layers.Conv2D(4, 3, activation=scope["squash"], trainable=False)(inputs))

    assert keys(model(2)) != keys(model(3))


def test_pictures_that_are_decoded_in_another_way_have_other_keys(monkeypatch):
    def model():
        keras.utils.set_random_seed(0)
        inputs = keras.Input((16, 16, 3))
        return ending(inputs, layers.Conv2D(4, 3, trainable=False)(inputs))

    before = keys(model())
    monkeypatch.setattr(pixels, "VERSION", pixels.VERSION + 1)
    assert keys(model()) != before


def test_a_frozen_layer_of_a_familys_own_class_is_in_the_prefix(transfer, channel, payload, tmp_path):
    own = """
class Doubled(keras.layers.Layer):
    def call(self, x):
        return 2 * x


def build("""
    path = transfer(
        own=("\ndef build(", own),
        used=("layers.Rescaling(1 / 127.5", "Doubled()(layers.Rescaling(1 / 127.5"),
        closed=("offset=-1)(inputs))", "offset=-1)(inputs)))"),
    )
    kept = channel()
    jobs.trial(payload(path, cache=str(tmp_path / "cache")), kept)
    assert kept.sent["prefixes"][0]["used"], kept.sent["prefixes"][0]["reason"]


def test_a_model_that_is_frozen_as_a_whole_trains_nothing():
    inputs = keras.Input((16, 16, 3))
    model = ending(inputs, layers.Conv2D(4, 3)(inputs))
    model.trainable = False
    with pytest.raises(NoPrefix, match="nothing of it is trained"):
        Graph(model).cut()


# test_sketch.py

FREEZING = "    for layer in backbone.layers["


def losses(sent):
    return [(epoch["loss"], epoch["val_loss"]) for epoch in sent["history"]]


@pytest.mark.parametrize(
    "altered",
    [
        "backbone.layers[1].set_weights([2 * each for each in backbone.layers[1].get_weights()])",
        "backbone.layers[3].max_value = 0.01",
        "backbone.get_layer('out').threshold = 5.0",
    ],
)
def test_a_family_that_alters_its_backbone_does_not_alter_that_of_others(transfer, channel, payload, tmp_path, altered):
    plain = transfer("plain")
    other = transfer("other", alters=(FREEZING, f"    {altered}\n{FREEZING}"))

    def run(path, cache):
        kept = channel({"dropout": 0.0})
        jobs.trial(payload(path, cache=str(tmp_path / cache)), kept)
        return losses(kept.sent)

    apart = run(plain, "a"), run(other, "b")
    assert apart[0] != apart[1]
    np.testing.assert_allclose((run(plain, "c"), run(other, "c")), apart, atol=1e-5)
    np.testing.assert_allclose((run(other, "d"), run(plain, "d")), apart[::-1], atol=1e-5)


def test_a_family_that_asks_for_the_type_of_a_layer_freezes_the_same(transfer, channel, payload, tmp_path):
    old = '    for layer in backbone.layers[: hp.Int("frozen_layers", 0, 13, default=13)]:\n        layer.trainable = False\n'
    new = "    hp.Int(\"frozen_layers\", 0, 13, default=13)\n    for layer in backbone.layers:\n        layer.trainable = type(layer).__name__ == 'Conv2D'\n"
    seeds = transfer("seeds")
    jobs.trial(payload(seeds, cache=str(tmp_path / "cache")), channel())
    path = transfer("types", frozen=(old, new))
    found = []
    for cache in ("cache", "other"):
        kept = channel()
        jobs.trial(payload(path, cache=str(tmp_path / cache)), kept)
        found.append(kept.sent["cost"]["trainable_parameters"])
    assert found[0] == found[1]


def test_an_application_of_a_familys_own_that_changes_is_another(transfer, channel, payload, tmp_path):
    def run(path, cache):
        kept = channel({"dropout": 0.0})
        jobs.trial(payload(path, cache=str(tmp_path / cache)), kept)
        return losses(kept.sent)

    before = run(transfer("mine"), "cache")
    path = transfer("mine", deeper=('layers.ReLU(name="out")', 'layers.Activation("tanh", name="out")'))
    assert run(path, "cache") == run(path, "new") != before


def test_features_that_go_while_a_sketch_is_trained_are_no_failure(transfer, channel, payload, tmp_path, monkeypatch):
    path, cache = transfer(), tmp_path / "cache"
    jobs.trial(payload(path, cache=str(cache)), channel())
    fit = keras_trainer.fit

    def cleared(*given, **named):
        kept_between_runs.clear(cache, ("features",))
        return fit(*given, **named)

    monkeypatch.setattr(keras_trainer, "fit", cleared)
    kept = channel()
    jobs.trial(payload(path, cache=str(cache)), kept)
    assert kept.sent["validation"]


def test_features_that_half_precision_cannot_hold_train_end_to_end(transfer, channel, payload, tmp_path):
    path = transfer(large=("layers.Rescaling(1 / 127.5, offset=-1)", "layers.Rescaling(1e7)"))
    kept = channel()
    jobs.trial(payload(path, cache=str(tmp_path / "cache"), features="float16"), kept)
    assert len(kept.sent["history"]) == 2


def test_two_phases_of_a_model_that_was_compiled_with_a_schedule(transfer, channel, payload, tmp_path):
    path = transfer(
        compiled=(
            "    return keras.Model(inputs, task.classify(x))",
            "    model = keras.Model(inputs, task.classify(x))\n"
            "    rate = keras.optimizers.schedules.ExponentialDecay(0.01, 10, 0.9)\n"
            "    model.compile(keras.optimizers.Adam(rate), 'binary_crossentropy', ['accuracy'])\n"
            "    return model",
        )
    )
    kept = channel({"head_epochs": 1})
    jobs.trial(payload(path, cache=str(tmp_path / "cache")), kept)
    assert len(kept.sent["history"]) >= 2


def test_a_subclassed_model_is_trained_end_to_end(space, channel, payload):
    text = """
import keras
from keras import layers


class Own(keras.Model):
    def __init__(self):
        super().__init__()
        self.flatten, self.last = layers.Flatten(), layers.Dense(1, activation="sigmoid")

    def call(self, x):
        return self.last(self.flatten(x / 255))


def build(hp, task):
    model = Own()
    model(keras.Input((16, 16, 3)))
    return model
"""
    kept = channel()
    jobs.trial(payload(space("own", text)), kept)
    assert "class of its own" in kept.sent["prefixes"][0]["reason"]


def test_a_functional_model_with_its_own_train_step(space, channel, payload):
    text = """
import keras
from keras import layers


class Own(keras.Model):
    def train_step(self, data):
        return super().train_step(data)


def build(hp, task):
    inputs = keras.Input((16, 16, 3))
    return Own(inputs, task.classify(layers.Flatten()(inputs / 255)))
"""
    kept = channel()
    jobs.trial(payload(space("own", text)), kept)
    assert "class of its own" in kept.sent["prefixes"][0]["reason"]


def test_nothing_trained_at_all(transfer, channel, payload, tmp_path):
    path = transfer(
        frozen=(
            "    return keras.Model(inputs, task.classify(x))",
            "    model = keras.Model(inputs, task.classify(x))\n    model.trainable = False\n    return model",
        )
    )
    kept = channel()
    jobs.trial(payload(path, cache=str(tmp_path / "cache")), kept)
    assert kept.sent["cost"]["trainable_parameters"] == 0
    assert "nothing" in kept.sent["prefixes"][0]["reason"]
