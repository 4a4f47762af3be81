"""The backbones that a family can ask for are known before the search, with the sizes and the pixels that suit them."""

from __future__ import annotations

from pathlib import Path

import keras
import pytest

from bench.errors import SpaceError
from bench.records import Work
from bench.training import backbones, jobs, keras_private, loading, pretrained
from bench.training.backbones import Scan, preprocessing_warning
from bench.training.messages import KnownBackbones, WeightsJob

pytestmark = pytest.mark.slow


FAMILY = """\
import keras
from keras import layers


def net(name):
    def net(include_top, weights, input_shape, **options):
        inputs = keras.Input(input_shape)
        return keras.Model(inputs, layers.Conv2D(2, 3)(inputs))

    net.__name__ = name
    return net


def build(hp, task):
    size = hp.Choice("input_size", task.input_sizes)
    inputs = keras.Input((size, size, 3))
    dropout = hp.Float("dropout", 0.0, 0.5)
{choice}
    base.trainable = False
    hp.Choice("optimizer", ["adam", "sgd"])
    return keras.Model(inputs, task.classify(layers.Dropout(dropout)(layers.GlobalAveragePooling2D()(x))))
"""

CHOICES = {
    "one by one": (
        'x, base = task.backbone(net(hp.Choice("net", ["A", "B"])), inputs, alpha=hp.Choice("alpha", [1, 2]))',
        ["A(alpha=1)", "A(alpha=2)", "B(alpha=1)", "B(alpha=2)"],
    ),
    "a boolean and a whole number": (
        'x, base = task.backbone(net("A"), inputs, deep=hp.Boolean("deep"), width=hp.Int("width", 2, 4))',
        [f"A(deep={deep}, width={width})" for deep in (False, True) for width in (2, 3, 4)],
    ),
    "under a condition": (
        """hp.Choice("net", ["A", "B"])
    alpha = hp.Choice("alpha", [1, 2], parent_name="net", parent_values=["B"])
    x, base = task.backbone(net(hp.get("net")), inputs, **({"alpha": alpha} if alpha else {}))""",
        ["A", "B(alpha=1)", "B(alpha=2)"],
    ),
    "in a branch": (
        """if hp.Choice("net", ["A", "B", "C"]) == "C":
        name = "C" if hp.Boolean("small") else hp.Choice("large", ["D", "E"])
    else:
        name = hp.get("net")
    x, base = task.backbone(net(name), inputs)""",
        ["A", "B", "C", "D", "E"],
    ),
    "by a known configuration": (
        """wide = hp.Int("wide", 1, 999)
    x, base = task.backbone(net("A" if wide < 7 else "B"), inputs)""",
        ["A", "B"],
    ),
    "only where it is asked for": (
        """x = base = layers.Conv2D(2, 3)
    x = base(inputs)
    if hp.Boolean("pretrained"):
        x, base = task.backbone(net("A"), inputs)""",
        ["A"],
    ),
}


@pytest.fixture
def scan(space, probe_job):
    def run(choice, known="[]", sizes=(16, 24), **changes):
        text = FAMILY.format(choice="    " + choice) + f"\n\nKNOWN_CONFIGURATIONS = {known}\n"
        path = Path(space("family", text))
        return Scan(loading.load(path), probe_job(path, input_sizes=sizes), **changes)

    return run


@pytest.mark.parametrize(("choice", "keys"), CHOICES.values(), ids=CHOICES)
def test_every_backbone_that_can_be_chosen_is_known(scan, choice, keys):
    known = '[{"wide": 100}]' if "wide" in choice else "[]"
    assert sorted(scan(choice, known).requests) == keys


def test_no_backbone_is_built_to_know_it(scan, monkeypatch):
    monkeypatch.setattr(pretrained, "build", lambda *given: pytest.fail("built"))
    assert len(scan(CHOICES["one by one"][0]).requests) == 4


@pytest.mark.parametrize(("limit", "value"), [("MAX_BUILDS", 3), ("MAX_SCAN_S", -1.0)])
def test_a_search_that_ends_at_a_limit_says_so(scan, probe_job, channel, monkeypatch, limit, value):
    complete = scan(CHOICES["one by one"][0])
    assert complete.complete
    monkeypatch.setattr(backbones, limit, value)
    result = jobs.probe(probe_job(complete._family.path, weights="imagenet", input_sizes=(16, 24)), channel())
    assert "A(alpha=1)" in [file.backbone for file in result.weights_files] != sorted(complete.requests)
    assert "not all configurations could be tried for backbones" in " ".join(result.warnings)


def test_one_configuration_has_one_backbone(scan):
    assert list(scan(CHOICES["one by one"][0], only={"net": "B", "alpha": 2}).requests) == ["B(alpha=2)"]


def test_known_configurations_name_their_backbones_and_sizes_once(scan):
    known = [{"net": "B", "input_size": 24}, {"net": "B", "input_size": 24, "dropout": 0.2}, {"alpha": 2}]
    works = [Work(macs=3), Work(macs=4), None]
    requested = scan(CHOICES["one by one"][0]).backbones_of(zip(known, works, strict=True))
    assert requested == (
        KnownBackbones(("B(alpha=1)",), 24, known[0], works[0]),
        KnownBackbones(("A(alpha=2)",), 16, known[2], None),
    )
    assert scan("x = base = layers.Conv2D(2, 3)\n    x = base(inputs)").backbones_of([({}, None)]) == ()


TWO = """x, _ = task.backbone(net("A"), inputs)
    y, base = task.backbone(net(hp.Choice("net", ["B", "C"])), inputs)
    x = layers.Concatenate()([x, y])"""


def test_the_backbone_after_the_first_one_is_known_too(scan, space, probe_job, channel, monkeypatch, tmp_path):
    family = scan(TWO)._family
    result = jobs.probe(probe_job(family.path, weights="imagenet"), channel())
    assert [file.backbone for file in result.weights_files] == ["A", "B", "C"]
    assert result.backbones == 3
    assert result.known_backbones == (KnownBackbones(("A", "B"), 32, {}, result.other_works[0]),)
    job = probe_job(family.path, weights="imagenet")
    shared = {name: getattr(job, name) for name in ("path", "class_names", "input_sizes", "weights", "seed")}
    for file in result.weights_files:
        check = WeightsJob(id="1", timeout_s=60.0, file=file, **shared)
        assert jobs.check_weights(check, channel()) == file


def test_a_family_without_a_backbone_is_not_built_for_every_value(scan, space, probe_job):
    path = Path(space("plain"))
    built = []
    loaded = loading.load(path)
    real = loaded.build
    object.__setattr__(loaded, "build", lambda hp, task: built.append(1) or real(hp, task))
    assert Scan(loaded, probe_job(path)).requests == {}
    assert built == [1]


# -- input sizes

SIZED = """\
import keras
from keras import layers


def build(hp, task):
    size = {size}
    inputs = keras.Input((size, size, 3))
    x, base = task.backbone(keras.applications.{application}, layers.Rescaling(1 / 127.5, -1)(inputs){options})
    base.trainable = False
    return keras.Model(inputs, task.classify(layers.GlobalAveragePooling2D()(x)))


KNOWN_CONFIGURATIONS = [{{"input_size": 20}}]
"""
FROM_TASK = 'hp.Choice("input_size", task.input_sizes)'


@pytest.mark.parametrize(
    ("application", "least"), [("MobileNet", 32), ("VGG16", 32), ("InceptionV3", 75), ("Xception", 71)]
)
def test_sizes_below_what_an_application_needs_are_found(space, probe_job, application, least):
    path = Path(space("sized", SIZED.format(size=FROM_TASK, application=application, options="")))
    scan = Scan(loading.load(path), probe_job(path, input_sizes=(16, least - 1, least, 96)))
    reason = f"{application} needs {least} pixels"
    assert scan.too_small() == {16: reason, least - 1: reason}


def test_sizes_that_are_left_out_are_nowhere_in_the_space(space, probe_job, channel):
    options = ", alpha=0.35"
    path = space("sized", SIZED.format(size=FROM_TASK, application="MobileNetV2", options=options))
    result = jobs.probe(probe_job(path, input_sizes=(16, 24, 32, 48)), channel())
    assert result.too_small == (16, 24)
    assert result.warnings == ("input sizes 16, 24 left out, MobileNetV2(alpha=0.35) needs 32 pixels",)
    assert result.space[0].values == (32, 48)
    assert result.known == ({"input_size": 32},)
    none = jobs.probe(probe_job(path, input_sizes=(16,)), channel())
    assert (none.space, none.too_small) == ((), (16,))
    assert none.warnings == ("input size 16 left out, MobileNetV2(alpha=0.35) needs 32 pixels",)


@pytest.mark.parametrize("size", ["48", "{16: 48}.get(task.input_sizes[0], 64)"])
def test_a_family_that_enlarges_its_pictures_keeps_all_sizes(space, probe_job, size):
    path = Path(space("sized", SIZED.format(size=size, application="MobileNetV2", options="")))
    assert Scan(loading.load(path), probe_job(path, input_sizes=(16, 32))).too_small() == {}


def test_sizes_of_a_familys_own_are_not_blamed_on_the_picture_sizes(space, probe_job, channel):
    path = space("sized", SIZED.format(size="hp.Choice('input_size', [16, 64])", application="VGG16", options=""))
    with pytest.raises(SpaceError, match="at least 32x32"):
        jobs.probe(probe_job(path, input_sizes=(64,)), channel())


# -- pixels


@pytest.mark.parametrize(
    ("application", "pixels", "says"),
    [
        ("EfficientNetB0", "inputs", ""),
        (
            "EfficientNetB0",
            "layers.Rescaling(1 / 255)(inputs)",
            "itself: it needs pixels from 0 to 255",
        ),
        ("EfficientNetV2B0", "layers.Rescaling(1 / 127.5, -1)(inputs)", "gets -1 to 1"),
        ("ConvNeXtTiny", "inputs / 255.0", "gets 0 to 1"),
        ("MobileNetV3Small", "layers.Rescaling(1 / 255)(inputs)", "rescales pixels itself"),
        ("MobileNetV2", "layers.Rescaling(1 / 127.5, -1)(inputs)", ""),
        ("MobileNetV2", "layers.Rescaling(1 / 127.5, -1)(layers.RandomFlip()(inputs))", ""),
        ("MobileNetV2", "layers.Rescaling(1 / 255)(inputs)", "trained on pixels from -1 to 1, but gets 0 to 1"),
        ("MobileNetV2", "inputs", "gets 0 to 255: use keras.applications.mobilenet_v2.preprocess_input"),
        ("VGG16", "keras.applications.vgg16.preprocess_input(inputs)", ""),
        ("VGG16", "layers.Rescaling(1 / 255)(inputs)", "VGG16 was trained on pixels from -123.7 to 151.1"),
        ("VGG16", "inputs", "gets 0 to 255"),
        ("DenseNet121", "keras.applications.densenet.preprocess_input(inputs)", ""),
        ("ResNet50", "layers.Resizing(64, 64)(keras.applications.resnet.preprocess_input(inputs))", ""),
    ],
)
def test_pixels_that_a_backbone_was_not_trained_on_are_said(application, pixels, says, probe_job, space):
    text = f"""\
import keras
from keras import layers


def build(hp, task):
    inputs = keras.Input((48, 48, 3))
    return task.backbone(keras.applications.{application}, {pixels})
"""
    path = Path(space("pixels", text))
    (request,) = Scan(loading.load(path), probe_job(path)).requests.values()
    warning = preprocessing_warning(request)
    assert says in warning if says else warning == ""


def test_a_backbone_whose_rescaling_is_left_out_is_not_judged(scan):
    choice = (
        "x, base = task.backbone(keras.applications.MobileNetV3Small, inputs / 127.5 - 1, include_preprocessing=False)"
    )
    (request,) = scan(choice).requests.values()
    assert preprocessing_warning(request) == ""


@pytest.mark.parametrize(("weights", "warned"), [("imagenet", 1), ("random", 0)])
def test_random_weights_were_trained_on_no_pixels(space, probe_job, channel, monkeypatch, tmp_path, weights, warned):
    monkeypatch.setattr(keras_private.config, "keras_home", lambda: str(tmp_path))
    text = SIZED.format(size=FROM_TASK, application="MobileNetV2", options=", alpha=0.35")
    path = space("sized", text.replace("layers.Rescaling(1 / 127.5, -1)(inputs)", "inputs"))
    result = jobs.probe(probe_job(path, weights=weights), channel())
    assert len(result.warnings) == len(result.weights_files) == warned


@pytest.mark.parametrize("application", ["ResNet50", "ResNet50V2", "DenseNet121", "EfficientNetV2B0"])
@pytest.mark.parametrize("named", ['"{}"', "keras.applications.{}"], ids=["name", "function"])
def test_a_backbone_by_name_or_function_knows_its_preprocessing(application, named, scan):
    (request,) = scan(
        f"    x, base = task.backbone({named.format(application)}, inputs, preprocess=True)".lstrip()
    ).requests.values()
    assert request.key == application
    assert request.application is getattr(keras.applications, application)
    assert preprocessing_warning(request) == ""


def test_an_unknown_backbone_is_one_line_with_the_nearest_names(space, probe_job, channel):
    path = space("wrong", FAMILY.format(choice='    x, base = task.backbone("EficientNetV2B0", inputs)'))
    with pytest.raises(SpaceError) as caught:
        jobs.probe(probe_job(path), channel())
    place, _, message = str(caught.value).partition(": ConfigError: ")
    assert place == f"{path}:18"
    assert message.startswith("unknown backbone 'EficientNetV2B0'. Did you mean EfficientNetV2B0 or EfficientNetV2B")
    assert "\n" not in message


def test_preprocessing_that_is_not_known_is_one_line(space, probe_job, channel):
    path = space("wrong", FAMILY.format(choice='    x, base = task.backbone(net("a"), inputs, preprocess=True)'))
    with pytest.raises(SpaceError, match="no preprocess_input beside a: preprocess its pixels in build"):
        jobs.probe(probe_job(path), channel())


def test_the_built_in_families_get_what_they_were_trained_on(probe_job):
    from bench.search import spaces

    for space in map(spaces.read, spaces.known()):
        requests = Scan(loading.load(space.path), probe_job(space.path)).requests.values()
        assert [preprocessing_warning(request) for request in requests] == [""] * len(requests)
