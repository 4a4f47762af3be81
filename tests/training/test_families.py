"""The six built-in families, built for real."""

from __future__ import annotations

import itertools

import pytest

keras = pytest.importorskip("keras")

from bench import spaces  # noqa: E402
from bench.hyperparameters import HyperParameters, fixed  # noqa: E402
from bench.training import cost, family, jobs  # noqa: E402
from bench.training.task import MISSING, Task, backbone_key  # noqa: E402

pytestmark = pytest.mark.slow

TRANSFER = ("mobilenet", "mobilenet_v2", "vgg16", "vgg19")
DEPTHS = {"mobilenet": 86, "mobilenet_v2": 154, "vgg16": 19, "vgg19": 22}
FILES = {space.name: space.path for space in spaces.select(spaces.ORDER)}


def build(name, values=None, classes=("cats", "dogs"), sizes=(32,)):
    hp = HyperParameters(fixed(values or {}))
    task = Task(classes, sizes)
    return family.load(FILES[name]).model(hp, task), hp, task


@pytest.mark.parametrize("name", FILES)
def test_every_family_passes_its_own_check(name, channel, payload):
    kept = channel()
    jobs.probe(payload(FILES[name]), kept)
    assert kept.sent["space"]
    assert kept.sent["known"]


@pytest.mark.parametrize("name", ["cnn", *TRANSFER])
def test_two_classes_end_in_a_sigmoid_unit_and_more_in_a_softmax(name):
    two, _, _ = build(name)
    three, _, _ = build(name, classes=("cats", "dogs", "birds"))
    assert (two.output_shape, two.layers[-1].activation.__name__) == ((None, 1), "sigmoid")
    assert (three.output_shape, three.layers[-1].activation.__name__) == ((None, 3), "softmax")


def test_the_cnn_has_the_depth_and_the_head_that_were_chosen():
    def kinds(**values):
        model, hp, _ = build("cnn", values, sizes=(64,))
        return [type(layer).__name__ for layer in model.layers], hp.values

    for depth in (2, 3, 4, 5):
        assert kinds(conv_blocks=depth)[0].count("Conv2D") == depth
    layers, values = kinds(head="dense", dense_units=32, batch_normalization=True)
    assert layers.count("Dense") == 2
    assert "BatchNormalization" in layers
    assert values["dense_units"] == 32
    assert "dense_units" not in kinds(head="pooled")[1]


@pytest.mark.parametrize("name", TRANSFER)
@pytest.mark.parametrize("frozen", [0, 5, None])
def test_so_many_layers_of_the_backbone_are_frozen(name, frozen):
    frozen = DEPTHS[name] if frozen is None else frozen
    model, _, task = build(name, {"frozen_layers": frozen})
    backbone = next(layer for layer in model.layers if isinstance(layer, keras.Model))
    assert len(backbone.layers) == DEPTHS[name]
    trainable = [isinstance(layer, keras.layers.BatchNormalization) or layer.trainable for layer in backbone.layers]
    assert all(trainable[frozen:])
    assert not any(layer.trainable for layer in backbone.layers[:frozen])
    assert task.weights_used == "random"


@pytest.mark.parametrize("name", ["mobilenet", "mobilenet_v2"])
def test_batch_normalisation_of_a_backbone_stays_in_inference_mode(name):
    import numpy as np

    model, _, _ = build(name, {"frozen_layers": 0})
    model.compile("sgd", "binary_crossentropy")
    backbone = next(layer for layer in model.layers if isinstance(layer, keras.Model))
    norms = [layer for layer in backbone.layers if isinstance(layer, keras.layers.BatchNormalization)]
    before = [np.array(layer.moving_mean) for layer in norms]
    pixels = np.random.default_rng(0).uniform(0, 255, (8, 32, 32, 3)).astype("float32")
    model.fit(pixels, np.array([0, 1] * 4, "float32").reshape(-1, 1), verbose=0)
    assert norms
    assert all((np.array(layer.moving_mean) == old).all() for layer, old in zip(norms, before, strict=True))


@pytest.mark.parametrize(
    ("name", "gmacs"), [("mobilenet", 0.57), ("mobilenet_v2", 0.30), ("vgg16", 15.35), ("vgg19", 19.51)]
)
def test_multiply_accumulates_are_the_published_ones(name, gmacs):
    """Without the top: the papers' 0.57, 0.30, 15.5 and 19.6 less the fully connected layers."""
    model, _, _ = build(name, {"frozen_layers": 0}, sizes=(224,))
    assert cost.macs(model) / 1e9 == pytest.approx(gmacs, rel=0.02)


def test_preprocessing_is_that_of_the_published_weights():
    """Inside the model, and equal to Keras's own `preprocess_input`."""
    import numpy as np

    pixels = np.random.default_rng(0).uniform(0, 255, (2, 32, 32, 3)).astype("float32")
    for name, module in (("mobilenet_v2", keras.applications.mobilenet_v2), ("vgg16", keras.applications.vgg16)):
        model, _, _ = build(name)
        position = next(i for i, layer in enumerate(model.layers) if isinstance(layer, keras.Model))
        before = keras.Model(model.input, model.layers[position - 1].output)
        np.testing.assert_allclose(before(pixels), module.preprocess_input(pixels.copy()), atol=1e-3)


def test_a_file_of_the_right_backbone_only_counts_as_its_weights(tmp_path, channel):
    """As VGG's own files cannot be had here, the test writes one."""
    right = keras.applications.VGG16(include_top=False, weights=None, input_shape=(32, 32, 3))
    right.save_weights(tmp_path / "vgg16.weights.h5")
    for application, wrong in (("VGG16", False), ("VGG19", True)):
        kept = channel()
        jobs.check_weights(
            {"application": application, "options": {}, "path": str(tmp_path / "vgg16.weights.h5")}, kept
        )
        assert bool(kept.sent["wrong"]) == wrong
    (tmp_path / "cut.weights.h5").write_bytes((tmp_path / "vgg16.weights.h5").read_bytes()[:100_000])
    kept = channel()
    jobs.check_weights({"application": "VGG16", "options": {}, "path": str(tmp_path / "cut.weights.h5")}, kept)
    assert kept.sent["wrong"]


def test_a_backbone_starts_from_its_file(tmp_path):
    import numpy as np

    application = keras.applications.VGG16
    source = application(include_top=False, weights=None, input_shape=(32, 32, 3))
    source.save_weights(tmp_path / "vgg16.weights.h5")
    task = Task(("a", "b"), (32,), "imagenet", {backbone_key(application, {}): str(tmp_path / "vgg16.weights.h5")})
    model = family.load(FILES["vgg16"]).model(HyperParameters(fixed({})), task)
    backbone = next(layer for layer in model.layers if isinstance(layer, keras.Model))
    pairs = itertools.zip_longest(source.get_weights(), backbone.get_weights())
    assert all(np.array_equal(one, other) for one, other in pairs)
    assert task.weights_used == "imagenet"
    without = Task(("a", "b"), (32,), "imagenet", {})
    family.load(FILES["vgg16"]).model(HyperParameters(fixed({})), without)
    assert without.weights_used == MISSING


def test_weights_are_looked_for_where_keras_keeps_them(tmp_path, monkeypatch):
    from bench.training import weights

    monkeypatch.setattr(weights.file_utils.config, "keras_home", lambda: str(tmp_path))
    found = {
        name: weights.weights_file(getattr(keras.applications, name), {})
        for name in ("MobileNet", "MobileNetV2", "VGG16")
    }
    assert found["MobileNet"]["path"] == str(tmp_path / "models" / "mobilenet_1_0_224_tf_no_top.h5")
    assert found["VGG16"]["path"] == str(tmp_path / "models" / "vgg16_weights_tf_dim_ordering_tf_kernels_notop.h5")
    assert found["VGG16"]["hash"]
    assert found["MobileNetV2"]["url"].startswith("https://")
    assert not list(tmp_path.iterdir())
