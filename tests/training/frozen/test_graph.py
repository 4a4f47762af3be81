"""The frozen prefix: where it ends, that prefix and tail are the model, and what a tensor's key tells apart."""

from __future__ import annotations

import importlib.util
import sys
from functools import partial

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from bench.data import pixels
from bench.hyperparameters import HyperParameters, fixed
from bench.search import spaces
from bench.training import loading
from bench.training.frozen.graph import Graph
from bench.training.frozen.identity import NoPrefix
from bench.training.task import Task

pytestmark = pytest.mark.slow

PICTURES = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3)).astype(np.float32)


def apart(model, cut, pictures=PICTURES):
    """The largest difference between the model and its tail on its prefix."""
    features = cut.prefix([cut.graph.input])([pictures])
    return float(np.abs(np.asarray(cut.tail()(features)) - np.asarray(model(pictures))).max())


def head(x):
    return layers.Dense(1, activation="sigmoid", name="classify")(layers.GlobalAveragePooling2D()(x))


def convolutions(*trainable, size=32, name=None):
    """A model of convolutions `conv_0`, `conv_1`, …"""
    x = inputs = keras.Input((size, size, 3))
    for number, each in enumerate(trainable):
        x = layers.Conv2D(4, 3, padding="same", activation="relu", name=f"conv_{number}", trainable=each)(x)
    return keras.Model(inputs, x, name=name)


def chain(*parts, size=32):
    """Models and layers in turn, on pictures."""
    x = inputs = keras.Input((size, size, 3))
    for part in parts:
        x = part(x)
    return keras.Model(inputs, x)


def on(*parts):
    """The same with a head that is trained."""
    model = chain(*parts)
    return keras.Model(model.input, head(model.output))


# -- where it ends


@pytest.mark.parametrize(
    ("name", "values", "features"),
    [
        ("mobilenet", {"frozen": "all"}, 1),
        ("mobilenet", {"frozen": "layers", "frozen_layers": 11}, 1),
        ("mobilenet_v2", {"frozen": "all"}, 1),
        ("mobilenet_v2", {"frozen": "layers", "frozen_layers": 131}, 2),  # inside a residual block
        ("vgg16", {"frozen": "all", "head": "flatten"}, 1),
        ("vgg16", {"frozen": "layers", "frozen_layers": 15}, 1),
        ("vgg19", {"frozen": "all"}, 1),
        ("vgg19", {"frozen": "blocks", "frozen_through": "block2"}, 1),
    ],
)
def test_prefix_and_tail_of_the_built_in_families_are_the_model(name, values, features):
    (space,) = spaces.select([name])
    task = Task(["cats", "dogs"], [32])
    model = loading.load(space.path).model(HyperParameters(fixed(values)), task)
    graph = Graph(model)
    cut = graph.cut()
    assert len(cut.tensors) == features
    assert apart(model, cut) < 1e-5
    trained = {id(weight) for weight in cut.tail().trainable_weights}
    assert trained == {id(weight) for weight in model.trainable_weights}  # and they are the model's own
    assert graph.ancestors(cut.tensors) != graph.nodes
    (backbone,) = task.backbones
    if values["frozen"] != "all":
        assert any(layer.name == cut.layers[0] for layer in backbone.model.layers)  # it is cut inside


def test_everything_after_the_first_trained_layer_is_in_the_tail_frozen_or_not():
    model = on(convolutions(False, True, False, True))
    assert Graph(model).cut().layers == ("conv_0",)


def test_a_backbone_is_cut_inside_however_deep_it_is_nested():
    pretrained = chain(layers.Rescaling(1 / 255), convolutions(False, True))
    nested = on(keras.Sequential([keras.Input((32, 32, 3)), pretrained, layers.ReLU()]))
    sequential = keras.Sequential([keras.Input((32, 32, 3)), pretrained, layers.Flatten(), layers.Dense(1)])
    for model in (nested, sequential):
        cut = Graph(model).cut()
        assert cut.layers == ("conv_0",)
        assert apart(model, cut) < 1e-4


def test_models_with_several_inputs_and_outputs_are_cut_when_they_are_nested():
    first, second = keras.Input((32, 32, 3), name="a"), keras.Input((32, 32, 3), name="b")
    shallow = layers.Conv2D(4, 3, name="shallow")(first - 2 * second)
    inner = keras.Model({"b": second, "a": first}, [shallow, layers.Conv2D(2, 3, name="deep")(shallow)])
    inner.trainable = False
    inputs = keras.Input((32, 32, 3))
    shallow, deep = inner({"a": inputs / 255, "b": inputs})
    model = keras.Model(inputs, layers.Dense(1)(layers.concatenate([layers.Flatten()(x) for x in (shallow, deep)])))
    cut = Graph(model).cut()
    assert apart(model, cut) < 1e-3  # of outputs in the hundreds


def test_a_layer_that_is_used_twice_is_frozen_in_both_places():
    shared = layers.Conv2D(3, 3, padding="same", name="shared", trainable=False)
    inputs = keras.Input((32, 32, 3))
    model = keras.Model(inputs, head(layers.Conv2D(3, 1, name="trained")(shared(shared(inputs) / 255))))
    cut = Graph(model).cut()
    assert cut.layers == ("shared",)
    assert apart(model, cut) < 1e-5


@pytest.mark.parametrize(
    "layer",
    [
        lambda: layers.Dropout(0.2),
        lambda: layers.GaussianNoise(0.1),
        lambda: layers.RandomFlip("horizontal"),
        lambda: layers.BatchNormalization(trainable=True),
        lambda: keras.Sequential([layers.RandomRotation(0.1), layers.RandomZoom(0.1)]),
    ],
    ids=["dropout", "noise", "flip", "batch normalisation", "nested augmentation"],
)
def test_what_differs_at_training_time_ends_the_prefix(layer):
    stopping = layer()
    if not isinstance(stopping, layers.BatchNormalization):
        stopping.trainable = False  # makes no difference to it
    frozen = layers.Conv2D(3, 3, padding="same", name="frozen", trainable=False)
    after = layers.Conv2D(4, 3, trainable=False)
    assert Graph(on(frozen, stopping, after)).cut().layers == ("frozen",)
    with pytest.raises(NoPrefix, match="begins with no frozen layer"):
        Graph(on(layers.Rescaling(1 / 255), stopping, after)).cut()


def test_frozen_batch_normalisation_does_not_end_it():
    model = on(convolutions(False), layers.BatchNormalization(trainable=False, name="bn"), layers.Conv2D(2, 3))
    cut = Graph(model).cut()
    assert cut.layers == ("bn",)
    features = cut.prefix([cut.graph.input])([PICTURES])
    trained = np.asarray(cut.tail()(features, training=True))
    np.testing.assert_allclose(trained, np.asarray(model(PICTURES, training=True)), atol=1e-5)


def test_padding_is_not_stored():
    model = on(convolutions(False), layers.ZeroPadding2D(3), layers.UpSampling2D(2), layers.Conv2D(4, 3))
    cut = Graph(model).cut()
    assert cut.layers == ("conv_0",)
    assert cut.shapes == [(32, 32, 4)]
    assert apart(model, cut) < 1e-5


# -- why there is none


class Own(keras.Model):
    def train_step(self, data):
        return super().train_step(data)


@pytest.mark.parametrize(
    ("model", "why"),
    [
        (lambda: Own(*_ends(on(convolutions(False)))), "Own is a subclassed model, not a functional one"),
        (lambda: on(convolutions(True)), "begins with no frozen layer"),
        (lambda: on(layers.Rescaling(1 / 255)), "begins with no frozen layer"),
        (lambda: chain(convolutions(False), layers.GlobalAveragePooling2D()), "none of its layers is trained"),
        (lambda: keras.Model((x := keras.Input((8, 8, 3))), [head(x), x]), "1 inputs and 2 outputs"),
        (lambda: _frozen(on(convolutions(True))), "none of its layers is trained"),
        (lambda: on(_branches), "the pictures also bypass the frozen layers"),
    ],
)
def test_a_model_without_a_prefix_says_why(model, why):
    with pytest.raises(NoPrefix, match=why):
        Graph(model()).cut()


def _ends(model):
    return model.input, model.output


def _frozen(model):
    model.trainable = False
    return model


def _branches(pictures):
    """A frozen layer and a trained one, both on the pictures."""
    return layers.Concatenate()([layers.Conv2D(4, 3, trainable=trained)(pictures) for trained in (False, True)])


# -- keys


def seeded(make):
    keras.utils.set_random_seed(1)
    return make()


def keys(model):
    return Graph(model).cut().keys


def small(size=32, **settings):
    """Two frozen convolutions, the second with these settings."""
    x = inputs = keras.Input((size, size, 3))
    x = layers.Conv2D(4, 3, trainable=False)(layers.Rescaling(1 / 255)(x))
    x = layers.Conv2D(**{"filters": 4, "kernel_size": 3, "padding": "same", **settings}, trainable=False)(x)
    return keras.Model(inputs, head(x))


def test_models_that_compute_the_same_features_share_their_keys():
    first, second = seeded(small), seeded(small)
    assert first.layers[2].name != second.layers[2].name
    assert keys(first) == keys(second)
    x = layers.Dense(9)(layers.Dropout(0.5)(first.layers[-2].output))
    assert keys(keras.Model(first.input, layers.Dense(1)(x))) == keys(first)
    whole = seeded(lambda: on(convolutions(False, False)))
    in_one = convolutions(False, False)
    in_one.set_weights([np.asarray(weight) for weight in whole.layers[1].weights])
    assert keys(keras.Model(in_one.input, head(in_one.output))) == keys(whole)  # nested or not


@pytest.mark.parametrize(
    "changed",
    [
        lambda: small(padding="valid"),
        lambda: small(activation="relu"),
        lambda: small(strides=2),
        lambda: small(use_bias=False),
        lambda: small(size=48),
    ],
    ids=["padding", "activation", "strides", "bias", "size"],
)
def test_another_setting_or_size_is_another_key(changed):
    assert keys(seeded(changed)) != keys(seeded(small))


def test_any_changed_weight_is_another_key():
    found = set()
    for number in range(5):
        model = seeded(small)
        if number:
            weight = [each for layer in model.layers[1:4] for each in layer.weights][number - 1]
            changed = np.array(weight)
            changed.flat[-1] += 1e-6
            weight.assign(changed)
        found.add(tuple(keys(model)))
    assert len(found) == 5


def test_the_same_layers_in_another_order_or_with_other_arguments_have_another_key():
    def model(combine):
        inputs = keras.Input((32, 32, 3))
        a = layers.Conv2D(4, 3, trainable=False)(inputs)
        b = layers.Conv2D(4, 3, trainable=False)(inputs)
        return keras.Model(inputs, head(combine(a, b)))

    ways = [lambda a, b: a - b, lambda a, b: b - a, lambda a, b: a + b, lambda a, b: a - 2 * b, lambda a, b: a - 3 * b]
    assert len({tuple(keys(seeded(lambda way=way: model(lambda a, b: layers.ReLU()(way(a, b)))))) for way in ways}) == 5


LAYER = """\
import keras


class Scaled(keras.layers.Layer):
    def __init__(self, **options):
        super().__init__(**options)
        self.kernel = self.add_weight(shape=(1,), initializer="ones", trainable=False)

    def call(self, x):
        return x * self.kernel * {factor}
"""


def test_a_layer_whose_code_changes_has_another_key(tmp_path, monkeypatch):
    def model(factor):
        path = tmp_path / "scaled.py"
        path.write_text(LAYER.format(factor=factor))
        spec = importlib.util.spec_from_file_location("scaled", path)
        module = importlib.util.module_from_spec(spec)
        monkeypatch.setitem(sys.modules, "scaled", module)
        spec.loader.exec_module(module)
        return keys(seeded(lambda: on(module.Scaled(), layers.Conv2D(2, 3, trainable=False))))

    first, again, other = (model(factor) for factor in (2, 2, 3))
    assert first == again != other


def test_a_layer_whose_settings_are_not_known_trains_end_to_end():
    class Silent(layers.Layer):
        def __init__(self, factor):
            super().__init__(trainable=False)
            self.factor = factor

        def call(self, x):
            return self.factor(x)

    cut = Graph(on(convolutions(False), Silent(lambda x: 2 * x), layers.Conv2D(2, 3, trainable=False))).cut()
    with pytest.raises(NoPrefix, match="Silent has no get_config that can be read"):
        cut.keys  # noqa: B018


def test_children_of_a_frozen_parent_are_trained_as_keras_trains_them():
    """Keras 3.15 trains a layer that is unfrozen after its parent was frozen: the usual way to fine-tune the last."""
    backbone = convolutions(True, True)
    backbone.trainable = False
    backbone.layers[-1].trainable = True
    model = on(backbone)
    before = [weight.path for weight in model.trainable_weights]
    assert len(before) == 4
    cut = Graph(model).cut()
    assert [weight.path for weight in model.trainable_weights] == before  # looking at it changes nothing
    assert cut.layers == ("conv_0",)
    assert [weight.path for weight in cut.tail().trainable_weights] == before


def test_a_layer_on_both_sides_of_the_cut():
    shared = layers.Conv2D(3, 3, padding="same", name="shared", trainable=False)
    inputs = keras.Input((32, 32, 3))
    once = shared(inputs / 255)
    again = shared(layers.Conv2D(3, 1, name="trained")(once))
    model = keras.Model(inputs, head(layers.Add()([once, again])))
    assert apart(model, Graph(model).cut()) < 1e-4


def test_arrays_in_arguments_are_told_apart():
    def model(middle):
        mean = np.zeros((32, 32, 3), np.float32)
        mean[16, 16] = middle
        return seeded(lambda: on(lambda x: x - mean, convolutions(False)))

    assert keys(model(1)) != keys(model(50))


def test_functions_of_the_same_name_are_told_apart(tmp_path):
    def model(factor):
        scope = {}
        path = tmp_path / "family.py"
        path.write_text(f"def squash(x):\n    return x / {factor}\n")
        exec(compile(path.read_text(), path, "exec"), scope)
        return seeded(lambda: small(activation=scope["squash"]))

    assert keys(model(2)) != keys(model(3))


class Random(layers.Layer):
    """Random whatever it is called for, without an argument `training`."""

    def call(self, x):
        return tf.image.random_brightness(x, 0.2)


class Mixing(layers.Layer):
    """Subtracts the mean of the batch."""

    def call(self, x):
        return x - keras.ops.mean(x, axis=0, keepdims=True)


class Counting(layers.Layer):
    """Changes with every call."""

    def build(self, shape):
        self.calls = self.add_weight(shape=(), initializer="zeros", trainable=False)

    def call(self, x):
        self.calls.assign_add(1.0)
        return x * self.calls


@pytest.mark.parametrize(
    "layer",
    [Random, Mixing, Counting, lambda: layers.Lambda(lambda x: x + keras.random.normal((1,)))],
    ids=["random", "mixing", "counting", "lambda"],
)
def test_a_layer_that_is_no_fixed_function_of_a_picture_ends_the_prefix(layer):
    frozen = layers.Conv2D(3, 3, padding="same", name="frozen", trainable=False)
    model = on(frozen, layer(), layers.Conv2D(4, 3, trainable=False))
    before = model.get_weights()
    assert Graph(model).cut().layers == ("frozen",)
    assert all(np.array_equal(old, new) for old, new in zip(before, model.get_weights(), strict=True))


def test_a_lambda_that_is_a_fixed_function_is_in_the_prefix():
    scale = layers.Lambda(lambda x: x / 127.5 - 1)
    model = on(scale, layers.Conv2D(3, 3, name="frozen", trainable=False))
    cut = Graph(model).cut()
    assert "frozen" in [node.operation.name for node in cut.graph.ancestors(cut.tensors)]
    assert apart(model, cut) < 1e-5


class Held(layers.Layer):
    """Multiplies by a value that it has from outside: an attribute, public or not, or what a function closes over."""

    def __init__(self, how, value):
        super().__init__()
        self.function = lambda x: x
        if how == "closure":
            self.function = lambda x: x * value
        elif how == "default":
            self.function = lambda x, value=value: x * value
        elif how == "partial":
            self.function = partial(keras.ops.multiply, x2=value)
        elif how == "nested":
            self._held = {"values": [value]}
        else:
            setattr(self, how, value)

    def get_config(self):
        return {}

    def call(self, x):
        x = self.function(x)
        for name in ("table", "_table"):
            x = x * getattr(self, name, 1.0)
        return x * self._held["values"][0] if hasattr(self, "_held") else x


def large(middle):
    """An array of more than 1,000 numbers, whose `repr` leaves out the middle."""
    array = np.ones((32, 32, 3), np.float32)
    array[16, 16] = middle
    return array


@pytest.mark.parametrize("how", ["closure", "default", "partial", "nested", "table", "_table"])
@pytest.mark.parametrize("value", [float, large], ids=["number", "array"])
def test_what_a_layer_holds_besides_its_settings_is_told_apart(how, value):
    def model(middle):
        return seeded(lambda: on(Held(how, value(middle)), convolutions(False)))

    one, same, other = keys(model(2)), keys(model(2)), keys(model(50))
    assert one == same != other


def test_a_lambda_over_an_array_is_told_apart():
    def model(middle):
        array = large(middle)
        return seeded(lambda: on(layers.Lambda(lambda x: x * array), convolutions(False)))

    assert keys(model(2)) == keys(model(2)) != keys(model(50))


@pytest.mark.filterwarnings("ignore:The object being serialized includes a `lambda`")
def test_two_functions_of_one_line_are_told_apart():
    def model(number):
        activation = [lambda x: x * 2, lambda x: x * 3][number]
        return seeded(lambda: small(activation=activation))

    assert keys(model(0)) != keys(model(1))


def test_what_cannot_be_read_trains_end_to_end():
    class Opaque:
        def __init__(self, factor):
            self.factor = factor

        def __call__(self, x):
            return x * self.factor

        def __rmul__(self, x):
            return x * self.factor

    with pytest.raises(NoPrefix, match="an object of class Opaque cannot be read"):
        keys(seeded(lambda: on(Held("table", Opaque(2)), convolutions(False))))
    with pytest.raises(NoPrefix, match="Conv2D has no get_config that can be read"):
        keys(seeded(lambda: small(activation=Opaque(2))))


def test_pictures_that_are_decoded_in_another_way_have_other_keys(monkeypatch):
    before = keys(seeded(small))
    monkeypatch.setattr(pixels, "VERSION", pixels.VERSION + 1)
    assert keys(seeded(small)) != before
