"""The built-in families, built for real."""

from __future__ import annotations

import itertools
import shutil
from dataclasses import replace
from pathlib import Path

import h5py
import keras
import pytest
from keras.src.legacy.saving import legacy_h5_format

from bench.config import LARGEST_SEED
from bench.hyperparameters import HyperParameters, fixed
from bench.records import Weights
from bench.search import spaces
from bench.training import footprint, jobs, keras_private, loading, pretrained
from bench.training.messages import WeightsJob
from bench.training.task import Task

pytestmark = pytest.mark.slow

TRANSFER = ("mobilenet", "mobilenet_v2", "vgg16", "vgg19")
DEPTHS = {"mobilenet": 86, "mobilenet_v2": 154, "vgg16": 19, "vgg19": 22}
FILES = {space.name: space.path for space in spaces.select(spaces.ORDER)}


def build(name, values=None, classes=("cats", "dogs"), sizes=(32,), unbalanced=False):
    hp = HyperParameters(fixed(values or {}))
    task = Task(classes, sizes, unbalanced=unbalanced)
    return loading.load(FILES[name]).model(hp, task), hp, task


PROBES = {}
"""Result of the probe of each family, which builds it several times."""


@pytest.fixture
def probed(channel, probe_job):
    """Probes a family as a run on photographs does, once."""

    def probe(name):
        if name not in PROBES:
            PROBES[name] = jobs.probe(probe_job(FILES[name], input_sizes=(96, 128, 160, 192, 224)), channel())
        return PROBES[name]

    return probe


@pytest.mark.parametrize("name", FILES)
def test_every_family_passes_its_own_check(name, probed):
    result = probed(name)
    assert result.space
    assert result.known
    assert result.learns == (name not in ("dummy", "metadata"))


def test_a_family_is_looked_at_with_one_build_of_its_backbone(channel, probe_job, monkeypatch):
    built = []
    build = Task._build
    monkeypatch.setattr(Task, "_build", lambda self, *given: built.append(given[0]) or build(self, *given))
    assert len(jobs.probe(probe_job(FILES["vgg16"], input_sizes=(32,)), channel()).works) == 3
    assert len(built) == 1


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


@pytest.mark.parametrize("name", FILES)
def test_rare_classes_are_searched_only_where_classes_are_unbalanced(name, channel, probe_job):
    balanced, unbalanced = (build(name, unbalanced=some)[1].space for some in (False, True))
    added = [declared for declared in unbalanced if declared not in balanced]
    networks = name not in ("dummy", "metadata", "gradients")
    assert [declared.name for declared in added] == (["sampling", "class_weight"] if networks else [])
    assert [declared for declared in unbalanced if declared not in added] == balanced
    assert not {"sampling", "class_weight"} & {declared.name for declared in balanced}
    assert [declared.default for declared in added] == (["natural", "none"] if networks else [])
    if name == "cnn":
        assert jobs.probe(probe_job(FILES[name], unbalanced=True), channel()).space == tuple(unbalanced)


def test_histograms_of_gradients_tell_directions_whatever_the_light_and_the_batch():
    import numpy as np

    family = loading.load(FILES["gradients"]).names
    upright = np.tile(np.array([60, 60, 200, 200], np.uint8), (32, 8))[..., None].repeat(3, -1)
    flat = np.stack([upright, upright.transpose(1, 0, 2), upright // 2]).reshape(3, -1)
    histograms = family["histograms_of_gradients"](flat, 4)
    sums = histograms.reshape(3, -1, family["ANGLES"]).sum(1)
    assert sums.argmax(1).tolist() == [0, family["ANGLES"] // 2, 0]
    np.testing.assert_allclose(histograms[2], histograms[0], rtol=0.05)
    many = family["histograms_of_gradients"](np.tile(flat, (100, 1)), 4)
    np.testing.assert_allclose(many, np.tile(histograms, (100, 1)), rtol=1e-5)


# -- what is frozen


def backbone(model):
    return next(layer for layer in model.layers if isinstance(layer, keras.Model))


def check_frozen(name, values, count):
    """So many of the backbone's first layers are frozen, and of the rest only batch normalisation."""
    layers = backbone(build(name, values)[0]).layers
    assert len(layers) == DEPTHS[name]
    assert not any(layer.trainable for layer in layers[:count])
    rest = [layer for layer in layers[count:] if not isinstance(layer, keras.layers.BatchNormalization)]
    assert all(layer.trainable for layer in rest)


@pytest.mark.parametrize("name", TRANSFER)
@pytest.mark.parametrize("frozen", [0, 5, None])
def test_so_many_layers_of_the_backbone_are_frozen(name, frozen):
    frozen = DEPTHS[name] if frozen is None else frozen
    check_frozen(name, {"frozen": "layers", "frozen_layers": frozen}, frozen)


@pytest.mark.parametrize("name", TRANSFER)
def test_the_whole_backbone_is_frozen_where_nothing_else_is_said(name):
    _, hp, task = build(name)
    check_frozen(name, {}, DEPTHS[name])
    assert {"frozen": "all", "batch_size": 32, "augmentation": "none"}.items() <= hp.values.items()
    assert task.weights_used == "random"


@pytest.mark.parametrize(
    ("name", "block", "last", "count"),
    [
        ("vgg16", "block4", "block4_pool", 15),
        ("vgg19", "block4", "block4_pool", 17),
        ("mobilenet", "block12", "conv_pw_12_relu", 80),
        ("mobilenet_v2", "block14", "block_14_add", 134),
        ("mobilenet_v2", "block16", "block_16_project_BN", 151),
    ],
)
def test_a_frozen_block_ends_at_its_last_layer(name, block, last, count):
    assert backbone(build(name)[0]).layers[count - 1].name == last
    check_frozen(name, {"frozen": "blocks", "frozen_through": block}, count)


@pytest.mark.parametrize(("name", "blocks"), [("vgg16", 4), ("vgg19", 4), ("mobilenet", 12), ("mobilenet_v2", 16)])
def test_every_block_is_offered_but_one_that_ends_the_backbone(name, blocks):
    (offered,) = (each for each in build(name)[1].space if each.name == "frozen_through")
    assert offered.values == ("none", *(f"block{number}" for number in range(1, blocks + 1)))
    check_frozen(name, {"frozen": "blocks", "frozen_through": "none"}, 0)


def test_two_phases_are_for_what_is_not_all_frozen():
    second = {"head_epochs", "epochs", "fine_tune_learning_rate"}

    def asked(**values):
        return {"two_phases", *second} & set(build("vgg16", values)[1].values)

    assert asked(frozen="all", two_phases=True) == set()
    for frozen in ("blocks", "layers"):
        assert asked(frozen=frozen, two_phases=False) == {"two_phases"}
        assert asked(frozen=frozen, two_phases=True) == {"two_phases", *second}


# -- known configurations


@pytest.mark.parametrize("name", FILES)
def test_a_known_configuration_says_all_that_its_family_asks_and_no_more(name, probed):
    for each in probed(name).known:
        small = {**each, "input_size": 32} if "input_size" in each else each
        assert build(name, small)[1].values == small


@pytest.mark.parametrize("name", TRANSFER)
def test_what_a_small_budget_tries_first_is_cheap(name, probed):
    first = probed(name).known[0]
    assert first["input_size"] <= 160
    assert first["augmentation"] == "none"
    assert first["frozen"] == "all"


@pytest.mark.parametrize(
    ("name", "number", "size", "frozen"),
    [
        ("mobilenet", 1, 224, 86),
        ("mobilenet_v2", 1, 224, 154),
        ("mobilenet_v2", 2, 224, 154 - 30),
        ("vgg16", 1, 128, 15),
        ("vgg19", 1, 160, 22),
        ("vgg19", 2, 160, 17),
    ],
)
def test_published_recipes_freeze_what_they_say(name, number, size, frozen, probed):
    recipe = probed(name).known[number]
    assert recipe["input_size"] == size
    check_frozen(name, {**recipe, "input_size": 32}, frozen)


def test_the_published_cnns_can_be_built(probed):
    def layers(values):
        model = build("cnn", {**values, "input_size": 32})[0]
        convolutions = [each for each in model.layers if isinstance(each, keras.layers.Conv2D)]
        head = [type(each).__name__ for each in model.layers[-4:]]
        return [each.filters for each in convolutions], {each.kernel_size for each in convolutions}, head

    recipes = probed("cnn").known
    plain, augmented, with_dropout = recipes[1:4]
    assert layers(plain) == ([32] * 4, {(3, 3)}, ["Flatten", "Dense", "Dropout", "Dense"])
    assert (plain["dense_units"], plain["optimizer"], plain["dropout"]) == (512, "rmsprop", 0.0)
    assert [each["augmentation"] for each in (plain, augmented, with_dropout)] == ["none", "light", "light"]
    assert with_dropout["dropout"] == 0.5
    assert [layers(each)[0] for each in recipes[4:6]] == [[32, 64, 128], [32, 64, 128, 128]]


@pytest.mark.parametrize("name", ["mobilenet", "mobilenet_v2"])
def test_batch_normalisation_of_a_backbone_stays_in_inference_mode(name):
    import numpy as np

    model, _, _ = build(name, {"frozen": "blocks"})
    model.compile("sgd", "binary_crossentropy")
    norms = [layer for layer in backbone(model).layers if isinstance(layer, keras.layers.BatchNormalization)]
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
    model, _, _ = build(name, {"frozen": "blocks"}, sizes=(224,))
    assert footprint.macs(footprint.uses(model)) / 1e9 == pytest.approx(gmacs, rel=0.02)


def test_preprocessing_is_that_of_the_published_weights():
    """Inside the model, and equal to Keras's own `preprocess_input`."""
    import numpy as np

    pixels = np.random.default_rng(0).uniform(0, 255, (2, 32, 32, 3)).astype("float32")
    for name, module in (("mobilenet_v2", keras.applications.mobilenet_v2), ("vgg16", keras.applications.vgg16)):
        model, _, _ = build(name)
        position = next(i for i, layer in enumerate(model.layers) if isinstance(layer, keras.Model))
        before = keras.Model(model.input, model.layers[position - 1].output)
        np.testing.assert_allclose(before(pixels), module.preprocess_input(pixels.copy()), atol=1e-3)


def test_a_file_of_the_right_backbone_only_counts_as_its_weights(tmp_path, monkeypatch, channel):
    """As MobileNet's own files cannot be had everywhere, the test writes one, by its name in the Keras cache."""
    monkeypatch.setattr(keras_private.config, "keras_home", lambda: str(tmp_path))
    (tmp_path / "models").mkdir()

    def check(application):
        return pretrained.find_weights(application, {}, (32, 32, 3))

    there = check(keras.applications.MobileNet)
    path = there.path
    assert there.missing
    right = keras.applications.MobileNet(include_top=False, weights=None, input_shape=(224, 224, 3))
    with h5py.File(path, "w") as file:
        legacy_h5_format.save_weights_to_hdf5_group(file, right)
    shared = {
        "path": str(FILES["mobilenet"]),
        "class_names": ("a", "b"),
        "input_sizes": (32,),
        "weights": "imagenet",
        "seed": 0,
    }
    job = WeightsJob(id="1", timeout_s=60.0, file=there, **shared)
    checked = jobs.check_weights(job, channel())
    assert replace(checked, values={}) == replace(there, missing=False)
    other = check(keras.applications.MobileNetV2)
    assert (other.missing, other.problem) == (True, "")
    shutil.copy(path, other.path)
    assert check(keras.applications.MobileNetV2).problem
    Path(path).write_bytes(Path(path).read_bytes()[:100_000])
    assert check(keras.applications.MobileNet).problem


def test_a_backbone_starts_from_its_file(tmp_path, monkeypatch):
    import numpy as np

    monkeypatch.setattr(keras_private.config, "keras_home", lambda: str(tmp_path))
    application = keras.applications.VGG16
    source = application(include_top=False, weights=None, input_shape=(32, 32, 3))
    source.save_weights(tmp_path / "vgg16.weights.h5")
    task = Task(("a", "b"), (32,), "imagenet", {"VGG16": str(tmp_path / "vgg16.weights.h5")})
    model = loading.load(FILES["vgg16"]).model(HyperParameters(fixed({})), task)
    pairs = itertools.zip_longest(source.get_weights(), backbone(model).get_weights())
    assert all(np.array_equal(one, other) for one, other in pairs)
    assert task.weights_used == "imagenet"
    without = Task(("a", "b"), (32,), "imagenet", {})
    loading.load(FILES["vgg16"]).model(HyperParameters(fixed({})), without)
    assert without.weights_used == Weights.MISSING


def test_weights_are_looked_for_where_keras_keeps_them(tmp_path, monkeypatch):
    monkeypatch.setattr(keras_private.config, "keras_home", lambda: str(tmp_path))
    found = {
        name: pretrained.find_weights(getattr(keras.applications, name), {}, (96, 96, 3))
        for name in ("MobileNet", "MobileNetV2", "VGG16")
    }
    assert found["MobileNet"].path == str(tmp_path / "models" / "mobilenet_1_0_224_tf_no_top.h5")
    assert found["VGG16"].path == str(tmp_path / "models" / "vgg16_weights_tf_dim_ordering_tf_kernels_notop.h5")
    assert found["VGG16"].hash
    assert found["MobileNetV2"].url.startswith("https://")
    assert not list(tmp_path.iterdir())


def test_a_backbone_can_be_built_with_the_largest_seed() -> None:
    def tiny(include_top: bool, weights: str | None, input_shape: tuple[int, ...]) -> keras.Model:
        inputs = keras.Input(input_shape)
        return keras.Model(inputs, keras.layers.Conv2D(2, 3)(inputs))

    task, x = Task(("a", "b"), (8,), "random", seed=LARGEST_SEED), keras.Input((8, 8, 3))
    for _ in range(2):
        features, _ = task.backbone(tiny, x)
    assert features.shape == (None, 6, 6, 2)
