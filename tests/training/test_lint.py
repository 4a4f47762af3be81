"""Faults of a search space: one of each kind is found at its line, and nothing where there is none."""

from __future__ import annotations

import keras
import pytest

from bench.search import spaces
from bench.training import jobs
from bench.training import lint as linting
from bench.training.dry_run import DryRun
from bench.training.messages import LintJob, LintKind

from .conftest import another

pytestmark = pytest.mark.slow

SOUND = """\
import keras
import numpy as np
import tensorflow as tf
from keras import layers


def seeded(shape, dtype):
    return np.random.normal(size=shape)


def unseeded(shape, dtype):
    return np.random.default_rng().normal(size=shape)


def build(hp, task):
    size = hp.Choice("input_size", task.input_sizes)
    x = inputs = keras.Input((size, size, 3))
    x = layers.Rescaling(1 / 255)(x)
    x = layers.Conv2D(hp.Int("filters", 2, 8), 3, strides=4, name="first")(x)
    x = layers.GlobalAveragePooling2D()(x)
    hp.Float("learning_rate", 1e-4, 1e-2)
    return keras.Model(inputs, task.classify(x))


KNOWN_CONFIGURATIONS = [
    {"filters": 4},
    {"filters": 8, "learning_rate": 1e-3},
]
"""
BUILD, POOLED = 15, 20
"""Lines of `build` and of the layer before the hyperparameter `learning_rate`."""

RESCALED = "    x = layers.Rescaling(1 / 255)(x)\n"
RATE = '    hp.Float("learning_rate", 1e-4, 1e-2)\n'
SCALED = """
class Scaled(layers.Layer):
    def __init__(self, factor):
        super().__init__()
        self.factor = factor

    def call(self, x):
        return self.factor * x


def build"""
RETURN = "    return keras.Model(inputs, task.classify(x))\n"


@pytest.fixture
def lint(space, job):
    """Checks a file; gives the result, without the dry run, which has its tests."""

    def check(text=SOUND, **changes):
        return jobs.run(another(LintJob, job(space("checked", text), **changes)), None)

    return check


@pytest.fixture(autouse=True)
def without_dry_run(request, monkeypatch):
    if "dry" not in request.node.name:
        monkeypatch.setattr(linting, "dry_run", lambda *arguments: DryRun([]))


def only(result):
    (finding,) = result.findings
    return finding


def changed(old, new):
    assert old in SOUND
    return SOUND.replace(old, new, 1)


def test_a_sound_file_has_no_finding_and_three_corners(lint):
    result = lint(input_sizes=(32, 64))
    assert (result.findings, result.notes, result.complete) == ((), (), True)
    corners = {corner.name: corner for corner in result.corners}
    assert [*corners] == ["smallest", "default", "largest"]
    assert corners["largest"].different == {"input_size": 64, "filters": 8}
    assert corners["largest"].work.parameters == 28 * 8 + 9
    assert corners["largest"].work.macs == 16 * 16 * 27 * 8 + 8
    assert corners["default"].different == {}


@pytest.mark.parametrize(
    ("declaration", "says"),
    [
        ('hp.Float("lr", 1e-4, 1e-2)', "lr changes nothing: did you mean learning_rate, which the trainer reads?"),
        ('hp.Int("units", 1, 9)', "units changes nothing: use its value in build, or remove it"),
        ('hp.Float("fine_tune_learning_rate", 1e-5, 1e-3)', "declare head_epochs too"),
    ],
)
def test_an_unused_hyperparameter(lint, declaration, says):
    finding = only(lint(changed(RATE, f"{RATE}    {declaration}\n")))
    assert finding.kind is LintKind.UNUSED
    assert finding.message.endswith(says)
    assert finding.line == POOLED + 2


@pytest.mark.parametrize(
    "used",
    [
        'x = layers.Activation(hp.Choice("function", ["relu", "tanh"]))(x)',
        'x = x * hp.Float("factor", 0.5, 1.0)',
        'x = layers.Lambda(lambda x, factor=hp.Float("factor", 0.5, 1.0): factor * x)(x)',
        'x = Scaled(hp.Float("factor", 0.5, 1.0))(x)',
        'inputs.trainable = layers.Dense(1).trainable = hp.Boolean("idle") and x',
        'x = layers.Add()([x, x] if hp.Boolean("twice") else [x, layers.ReLU()(x)])',
        'layer = layers.Dense(4)\n    layer.trainable = hp.Boolean("trained")\n    x = layer(x)',
        'hp.Int("batch_size", 16, 32)\n    hp.Choice("augmentation", ["none", "flip"])\n    hp.Int("epochs", 1, 5)',
        'hp.Choice("class_weight", ["none", "balanced"])\n    hp.Choice("sampling", ["natural", "balanced"])',
    ],
)
def test_a_hyperparameter_that_changes_the_model_or_the_training_is_used(lint, used):
    result = lint(changed(RATE, f"{RATE}    {used}\n").replace("\ndef build", SCALED))
    assert result.findings == (() if "idle" not in used else result.findings[:1])
    assert all("idle" in finding.message for finding in result.findings)


def test_a_subclassed_model(lint):
    model = """
class Net(keras.Model):
    def __init__(self, width):
        super().__init__()
        self.parts = [layers.Rescaling(1 / 255), layers.Conv2D(width, 3), layers.GlobalAveragePooling2D()]
        self.parts.append(layers.Dense(1, activation="sigmoid"))

    def call(self, x):
        for part in self.parts:
            x = part(x)
        return x


def build(hp, task):
    model = Net(hp.Int("width", 2, 8))
    model(keras.Input((32, 32, 3)))
    hp.Float("dropout", 0.0, 0.5)
    model.compile(keras.optimizers.Adam(hp.Float("learning_rate", 1e-4, 1e-2)), "binary_crossentropy")
    return model
"""
    result = lint(SOUND[: SOUND.index("\ndef build")] + model)
    assert only(result).message == "dropout changes nothing: use its value in build, or remove it"
    assert {corner.name: corner.values["width"] for corner in result.corners}["largest"] == 8


def test_an_unused_one_beside_a_layer_without_settings(lint):
    text = SOUND.replace("\ndef build", SCALED).replace(
        RATE, f'{RATE}    x = Scaled(2.0)(x)\n    hp.Int("units", 1, 9)\n'
    )
    assert only(lint(text)).message.startswith("units changes nothing")


COMPILED = """\
    model = keras.Model(inputs, task.classify(x))
    model.compile(optimizer={}, loss="binary_crossentropy")
    return model
"""


def test_a_rate_beside_a_compiled_optimizer_is_ignored(lint):
    finding = only(lint(changed(RETURN, COMPILED.format("'sgd'"))))
    assert finding.kind is LintKind.UNUSED
    assert "learning_rate is ignored: build compiles the model" in finding.message
    assert finding.line == POOLED + 1


def test_a_rate_in_a_compiled_optimizer_is_used(lint):
    optimizer = "keras.optimizers.SGD(hp.get('learning_rate'))"
    assert lint(changed(RETURN, COMPILED.format(optimizer))).findings == ()


def test_an_unreachable_hyperparameter(lint):
    declaration = (
        '    if hp.Int("units", 1, 9, parent_name="filters", parent_values=[20]):\n        x = layers.ReLU()(x)\n'
    )
    finding = only(lint(changed(RATE, RATE + declaration)))
    assert (finding.kind, finding.line) == (LintKind.UNREACHABLE, POOLED + 2)
    assert "units is never active: it needs filters to be 20, but filters is Int 2 to 8" in finding.message


def test_a_hyperparameter_without_its_parent(lint):
    text = '    units = hp.Int("units", 1, 9)\n    if hp.Boolean("dense"):\n        x = layers.Dense(units)(x)\n'
    finding = only(lint(changed(RATE, RATE + text)))
    assert (finding.kind, finding.line) == (LintKind.CONDITIONAL, POOLED + 2)
    assert "units changes nothing with the default of dense, but with dense=True" in finding.message


def test_a_value_that_does_not_build(lint):
    text = '    x = layers.AveragePooling2D(hp.Int("pool", 1, 64))(x)\n'
    finding = only(lint(changed(RESCALED, RESCALED + text)))
    assert (finding.kind, finding.line) == (LintKind.VALUE, POOLED - 1)
    assert "pool=64 does not build: ValueError" in finding.message


@pytest.mark.parametrize(
    ("known", "says"),
    [
        ('{"filters": 4}', "configuration 2 repeats configuration 0"),
        ('{"filters": 99}', "configuration 2: filters=99 is outside Int 2 to 8"),
        ('{"filter": 4}', "configuration 2: unknown hyperparameter 'filter'"),
    ],
)
def test_a_known_configuration_that_is_none(lint, known, says):
    last = '    {"filters": 8, "learning_rate": 1e-3},\n'
    finding = only(lint(changed(last, f"{last}    {known},\n")))
    assert (finding.kind, finding.line) == (LintKind.KNOWN, POOLED + 8)
    assert says in finding.message


def test_a_known_configuration_with_an_inactive_value(lint):
    text = '    if hp.Boolean("dense"):\n        x = layers.Dense(hp.Int("units", 1, 9))(x)\n'
    finding = only(lint(changed(RATE, RATE + text).replace('{"filters": 4}', '{"units": 5}')))
    assert finding.kind is LintKind.KNOWN
    assert "units=5 is without effect, units is not active" in finding.message


@pytest.mark.parametrize(
    ("scaling", "received"),
    [
        ("", "0 to 255"),
        ("    x = layers.Rescaling(1 / 255**2)(x)\n", "0 to 0.003922"),
        ("    x = x - 100.0\n", "-100 to 155"),
    ],
)
def test_pixels_that_are_not_scaled(lint, scaling, received):
    finding = only(lint(changed(RESCALED, scaling)))
    assert finding.kind is LintKind.PIXELS
    assert f"first, the first layer with weights, gets pixels from {received}: scale them" in finding.message


@pytest.mark.parametrize(
    "scaling",
    [
        "    x = layers.BatchNormalization()(x)\n",
        "    x = layers.BatchNormalization()(layers.Conv2D(2, 3)(x))\n",
        "    x = keras.applications.mobilenet_v2.preprocess_input(x)\n",
    ],
)
def test_pixels_that_are_normalized(lint, scaling):
    assert lint(changed(RESCALED, scaling)).findings == ()


def test_a_backbone_without_its_preprocessing_is_known_by_its_name(lint):
    text = SOUND.replace("(size, size, 3)", "(32, 32, 3)").replace("strides=4", "padding='same'")

    def on(application, x):
        build = (
            f"    x = keras.applications.{application}(include_top=False, weights=None, input_shape=(32, 32, 3))({x})\n"
        )
        return lint(text.replace(RESCALED, build))

    assert "MobileNet was trained on pixels from -1 to 1" in only(on("MobileNet", "x")).message
    assert "VGG16 was trained on pixels from -1" in only(on("VGG16", "x / 255.0")).message
    assert on("VGG16", "keras.applications.vgg16.preprocess_input(x)").findings == ()


@pytest.mark.parametrize(
    ("source", "says"),
    [
        (
            "x = layers.Dense(4, kernel_initializer=unseeded)(x)",
            "differ in the initial weights of",
        ),
        ("x = layers.Dense(1 + __import__('os').urandom(8)[0])(x)", "differ in their layers"),
        ("hp.Fixed('recipe', __import__('os').urandom(8).hex())", "differ in their hyperparameters"),
    ],
)
def test_builds_that_differ(lint, source, says):
    findings = [one for one in lint(changed(RATE, f"{RATE}    {source}\n")).findings if one.kind is LintKind.DIFFERS]
    assert says in findings[0].message


def test_builds_from_a_seed_are_the_same(lint):
    source = "x = layers.Dense(4, kernel_initializer=seeded)(x)"
    assert lint(changed(RATE, f"{RATE}    {source}\n")).findings == ()


def test_a_slow_build(lint, monkeypatch):
    monkeypatch.setattr(linting, "SLOW_BUILD_S", 0.0)
    finding = only(lint())
    assert (finding.kind, finding.line) == (LintKind.SLOW, BUILD)


def test_reading_pictures(lint, tmp_path):
    (tmp_path / "test.png").write_bytes(b"")
    finding = only(lint(changed(RATE, f"{RATE}    open({str(tmp_path / 'test.png')!r}).close()\n")))
    assert finding.kind is LintKind.PICTURES


def test_a_time_that_is_over_is_a_note(lint, monkeypatch):
    monkeypatch.setattr(linting, "MAX_EXPLORATION_S", 0.0)
    result = lint()
    assert (result.complete, result.findings) == (False, ())
    assert result.notes[0] == "not all values could be tried in 0 s"


def test_what_is_declared_for_unbalanced_classes_is_seen_where_they_are(lint):
    text = changed(RATE, f'{RATE}    if task.unbalanced:\n        hp.Choice("class_weights", ["none", "balanced"])\n')
    assert lint(text).findings == ()
    says = "class_weights changes nothing: did you mean class_weight, which the trainer reads?"
    assert only(lint(text, unbalanced=True)).message == says


@pytest.mark.parametrize(
    ("text", "line", "says"),
    [
        ("import nothing_of_that_name\n\n\ndef build(hp):\n    pass\n", 1, "ModuleNotFoundError"),
        (SOUND.replace(RATE, "    x = 1 / 0\n"), POOLED + 1, "ZeroDivisionError"),
        (SOUND.replace("task.classify(x)", "layers.Dense(7)(x)"), BUILD, "the model's output shape is (None, 7)"),
    ],
)
def test_a_file_that_cannot_be_used(lint, text, line, says):
    finding = only(lint(text))
    assert (finding.kind, finding.line) == (LintKind.BROKEN, line)
    assert says in finding.message


CLASSIFIER = """\
from sklearn.linear_model import LogisticRegression


def build(hp, task):
    hp.Choice("input_size", task.input_sizes)
    {}
    return LogisticRegression(C=hp.Float("C", 0.1, 10.0))
"""


def test_a_classifier(lint):
    assert lint(CLASSIFIER.format(""), input_sizes=(32, 64)).findings == ()
    finding = only(lint(CLASSIFIER.format('hp.Float("learning_rate", 1e-4, 1e-2)')))
    assert "learning_rate is ignored: the trainer reads it for Keras models only" in finding.message


def test_the_dry_run_is_repeated_for_code_of_another_value(lint):
    text = '    if hp.Boolean("doubled"):\n        x = layers.Lambda(lambda x: 2 * x)(x)\n'
    finding = only(lint(changed(RATE, RATE + text)))
    assert finding.kind is LintKind.DRY_RUN
    assert finding.message.startswith("with doubled=True: keras.saving.load_model alone cannot load its saved model")


def test_the_dry_run_measures_the_speed_of_the_default(lint):
    result = lint()
    assert result.speed.predict_s > 0
    assert (
        result.speed.work.parameters
        == next(corner for corner in result.corners if corner.name == "default").work.parameters
    )


def test_variables_get_no_memory(lint):
    text = '    if hp.Boolean("huge"):\n        x = layers.Dense(10**9)(layers.Dense(10**4)(x))\n'
    (largest,) = (corner for corner in lint(changed(RATE, RATE + text)).corners if corner.name == "largest")
    assert largest.work.parameters > 10**13


def test_variables_are_not_initialized_later_either(lint, tmp_path):
    folder = tmp_path / "calls"
    folder.mkdir()
    counting = f"__import__('tempfile').mkdtemp(dir={str(folder)!r}) and np.random.normal(size=shape)"
    text = SOUND.replace("return np.random.normal(size=shape)", f"return {counting}")
    lint(text.replace('name="first"', 'kernel_initializer=seeded, name="first"'))
    calls = len([*folder.iterdir()])
    keras.layers.Lambda(lambda x: x)(keras.Input((4,)))  # ends with a scope of Keras, which initializes what is left
    assert len([*folder.iterdir()]) == calls


def test_code_that_needs_the_values_of_variables_is_built_with_them(lint):
    text = "    layer = layers.Dense(4)\n    x = layer(x)\n    assert float(layer.get_weights()[0].std()) > 0\n"
    text += "    optimizer = keras.optimizers.SGD(float(layer.kernel.numpy().std()))\n"
    result = lint(changed(RATE, RATE + text))
    assert result.findings == ()
    assert result.complete


@pytest.mark.parametrize(
    ("name", "unbalanced"), [*((name, False) for name in spaces.ORDER), ("cnn", True), ("mobilenet_v2", True)]
)
def test_the_built_in_families_are_clean(job, name, unbalanced):
    family = job(spaces.BUILT_IN / f"{name}.py", input_sizes=(96, 224), unbalanced=unbalanced)
    result = jobs.run(another(LintJob, family), None)
    assert (result.findings, result.notes) == ((), ())
