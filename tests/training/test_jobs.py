"""One trial, from its hyperparameters to its figures, on drawn pictures."""

from __future__ import annotations

from dataclasses import replace

import keras
import numpy as np
import pytest
from sklearn.decomposition import PCA
from sklearn.dummy import DummyClassifier
from sklearn.ensemble import BaggingClassifier, GradientBoostingClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeClassifier

from bench.cache.rows import Rows
from bench.data import machine
from bench.errors import SpaceError
from bench.hyperparameters import fixed
from bench.metrics import metric
from bench.records import Ending, Limit
from bench.search import spaces
from bench.training import footprint, jobs, trainer
from bench.training.batches import Batches, Part
from bench.training.estimators import Classifier
from bench.training.messages import FURTHER, ScoreResult, TrialResult
from bench.training.objective import Objective
from bench.training.trainer import Predictor

from ..conftest import TINY

pytestmark = pytest.mark.slow

DUMMY = spaces.BUILT_IN / "dummy.py"
HEAD = "import keras\nfrom keras import layers\n\n\ndef build(hp, task):\n    x = inputs = keras.Input((16, 16, 3))\n"
FOREST = """\
from sklearn.ensemble import RandomForestClassifier


def build(hp, task):
    return RandomForestClassifier(n_estimators=5)
"""
TAIL = "    return keras.Model(inputs, task.classify(layers.GlobalAveragePooling2D()(x)))\n"


def test_a_trial_reports_every_epoch_and_its_cost(space, channel, job):
    recorder = channel({"filters": 4})
    result = jobs.trial(job(space("tiny")), recorder)
    assert recorder.announced == [({"filters": 4}, "")]
    assert recorder.epochs == [(epoch, 1, 0) for epoch in result.history]
    assert recorder.sent == [result]
    assert result.input_size == 16
    assert [epoch.epoch for epoch in result.history] == [1, 2]
    best = max(epoch.val_accuracy for epoch in result.history)
    assert result.validation.accuracy == best  # the best epoch's weights are restored
    cost = result.cost
    assert (cost.parameters, cost.trainable_parameters) == (117, 117)
    assert cost.macs == 4 * 4 * 4 * 27 + 4
    work = recorder.work
    assert (work.parameters, work.macs, work.model_size_mb) == (cost.parameters, cost.macs, cost.model_size_mb)
    assert [(phase.epochs, phase.macs, phase.prefix_macs) for phase in work.phases] == [(2, cost.macs, 0)]
    assert cost.fit_time_s == cost.train_time_s > 0
    assert cost.latency_ms > 0
    assert cost.peak_rss_mb > 50


def test_the_same_seed_trains_the_same_model(space, channel, job):
    def history(seed):
        result = jobs.trial(job(space("tiny"), seed=seed), channel())
        return [(epoch.loss, epoch.val_loss) for epoch in result.history]

    assert history(0) == history(0)
    assert history(0) != history(1)


def test_decoding_that_takes_long_is_reported(space, channel, job, monkeypatch):
    monkeypatch.setattr(jobs, "PROGRESS_EVERY_S", 0.0)
    recorder = channel()
    jobs.trial(job(space("tiny"), epochs=1), recorder)
    assert recorder.stages[0] == ("decoding pictures at 16 pixels", 1, 36)
    assert recorder.stages[-1] == ("decoding pictures at 16 pixels", 12, 12)


def test_pictures_become_squares_as_the_family_or_else_the_run_says(space, channel, job, monkeypatch):
    fits = []

    def pixels(*arguments):
        fits.append(arguments[-1])
        return read(*arguments)

    read = jobs.pixels
    monkeypatch.setattr(jobs, "pixels", pixels)
    declared = TINY.replace("    x = inputs", '    hp.Choice("fit", ["squash", "pad"])\n    x = inputs')
    jobs.trial(job(space("tiny", declared), fit="crop", score=True), channel({"fit": "pad"}))
    assert fits == ["pad"] * 3  # training, validation and test pictures
    jobs.trial(job(space("tiny"), fit="crop"), channel())
    assert fits[3:] == ["crop"] * 2


def test_a_trial_that_is_known_already_is_not_trained(space, channel, job):
    recorder = channel(stop_at=0)
    assert jobs.trial(job(space("tiny")), recorder) == TrialResult({"filters": 2}, stopped=True)
    assert recorder.sent == recorder.epochs == []


def test_the_latency_is_measured_before_training_where_it_is_limited(space, channel, job):
    recorder = channel(stop_at=0)
    jobs.trial(job(space("tiny"), limits={Limit.PARAMETERS: 10**6}), recorder)
    assert recorder.work.latency_ms is None
    jobs.trial(job(space("tiny"), limits={Limit.PARAMETERS: 10, Limit.LATENCY: 1e3}), recorder)
    assert recorder.work.latency_ms is None  # it has too many parameters anyway
    recorder = channel()
    result = jobs.trial(job(space("tiny"), limits={Limit.LATENCY: 1e3}), recorder)
    assert result.cost.latency_ms == recorder.work.latency_ms > 0


def test_smaller_models_are_built_before_the_search_until_one_is_within_the_limits(space, channel, probe_job):
    text = (
        HEAD
        + """\
    x = layers.Dense(hp.Int("units", 100, 900, default=500))(layers.Flatten()(x))
    x = layers.Dense(hp.Choice("width", [64, 32, 16]))(x)
    return keras.Model(inputs, task.classify(x))
"""
    )

    def parameters(**limits):
        result = jobs.probe(probe_job(space("wide", text), **limits), channel())
        return [(work.parameters, work.latency_ms is not None) for work in result.other_works]

    default, fewer = (16 * 16 * 3 * units + units + (units + 1) * 64 + 65 for units in (500, 100))
    assert parameters() == parameters(limits={Limit.PARAMETERS: 10**6}) == [(default, False)]
    assert parameters(limits={Limit.PARAMETERS: 90_000}) == [(default, False), (fewer, False)]
    *_, least = parameters(limits={Limit.PARAMETERS: 10})
    assert least == (16 * 16 * 3 * 100 + 100 + 101 * 16 + 17, False)
    assert parameters(limits={Limit.LATENCY: 1e3}) == [(default, True)]


def test_a_pruned_trial_stops_after_that_epoch(space, channel, job):
    recorder = channel(stop_at=1)
    result = jobs.trial(job(space("tiny"), epochs=5), recorder)
    assert [epoch.epoch for epoch, _, _ in recorder.epochs] == [1]
    assert result == TrialResult({"filters": 2}, stopped=True, ending=Ending.PRUNER)
    assert recorder.sent == []


def test_early_stopping_ends_a_trial_that_does_not_get_better(space, channel, job):
    text = HEAD + '    hp.Fixed("learning_rate", 1e-12)\n' + TAIL
    result = jobs.trial(job(space("still", text), epochs=30, patience=3), channel())
    assert len(result.history) == 4


def test_the_saved_model_is_the_scored_one(space, channel, job, score_job, tmp_path):
    model = tmp_path / "tiny.keras"
    path = space("tiny")
    first = job(path, score=True, predictions=str(tmp_path / "tiny.npz"))
    result = jobs.trial(first, channel(keep=model))
    scored = jobs.score(score_job(replace(first, values=result.params), trained=str(model)), channel())
    assert scored == ScoreResult(result.test)
    with np.load(tmp_path / "tiny.npz", allow_pickle=False) as stored:
        assert stored["probabilities"].shape == (len(stored["labels"]), 2)
        assert np.mean(stored["probabilities"].argmax(axis=1) == stored["labels"]) == scored.test.accuracy
    with np.load(tmp_path / "validated.npz", allow_pickle=False) as stored:
        assert len(stored["labels"]) == result.validation.n
        assert np.mean((stored["probabilities"][:, 1] > 0.5) == stored["labels"]) == result.validation.accuracy
    assert [each.name for each in tmp_path.iterdir() if each.name.startswith(".")] == []
    alone = keras.saving.load_model(tmp_path / "tiny.keras", safe_mode=True)
    assert getattr(alone, "optimizer", None) is None
    assert alone(np.zeros((1, 16, 16, 3))).shape == (1, 1)


def test_a_model_that_cannot_be_saved_costs_its_file_and_not_the_trial(space, channel, job, tmp_path):
    result = jobs.trial(job(space("tiny")), channel(keep=tmp_path / "missing" / "tiny.keras"))
    assert result.validation.n == 12
    assert "No such file or directory" in result.unsaved


def test_a_scikit_learn_classifier_is_trained_again_to_be_scored(channel, job, score_job):
    config = job(DUMMY, values={"strategy": "stratified"})
    result = jobs.trial(replace(config, score=True), channel())
    assert jobs.score(score_job(config), channel()) == ScoreResult(result.test)
    assert result.cost.parameters is None  # there is nothing to count
    assert result.history == ()


def test_a_network_without_a_file_is_trained_again_to_be_scored(space, channel, job, score_job):
    config = job(space("tiny"), values={"filters": 4})
    result, scored = jobs.trial(replace(config, score=True), channel()), jobs.score(score_job(config), channel())
    assert scored.test == result.test
    assert [epoch.loss for epoch in scored.history] == [epoch.loss for epoch in result.history]


@pytest.mark.parametrize("kind", ["saved network", "network trained again", "classifier"])
def test_the_chosen_model_is_scored_on_further_sets(kind, space, channel, job, score_job, tmp_path):
    """On pictures that are not corrupted it answers as on the test pictures, on noisy ones otherwise."""
    path = space("forest", FOREST) if kind == "classifier" else space("tiny")
    first = job(path, predictions=str(tmp_path / "test.npz"))
    model = tmp_path / "tiny.keras"
    result = jobs.trial(first, channel(keep=model))
    files = {name: str(tmp_path / f"{name}.npz") for name in ("corrupted-none", "corrupted-noise-3", "lost")}
    trained = str(model) if kind == "saved network" else ""
    scored = jobs.score(score_job(replace(first, values=result.params), trained=trained, also=files), channel())
    assert scored.also["corrupted-none"] == scored.test
    assert scored.also["corrupted-noise-3"].log_loss != scored.test.log_loss
    assert "lost.json" in scored.unscored["lost"]
    with np.load(tmp_path / "test.npz") as plain, np.load(files["corrupted-noise-3"]) as noisy:
        assert np.array_equal(plain["labels"], noisy["labels"])
        right = noisy["probabilities"].argmax(axis=1) == noisy["labels"]
        assert right.mean() == scored.also["corrupted-noise-3"].accuracy


def test_further_sets_end_when_their_time_is_over_or_the_driver_stops_them(channel, job, score_job, tmp_path):
    class Stopping(channel):
        def progress(self, stage, done, total):
            return Ending.INTERRUPTED if (stage, done) == (FURTHER, 1) else None

    config = job(DUMMY)
    files = {name: str(tmp_path / f"{name}.npz") for name in ("corrupted-none", "corrupted-blur-1")}
    late = jobs.score(score_job(config, also=files, also_time_s=-1.0), channel())
    assert late.test.n == 12
    assert late.unscored == dict.fromkeys(files, "TimeoutError: its time was over after 0 of 12 pictures")
    stopped = jobs.score(score_job(config, also=files), Stopping())
    assert (stopped.test, list(stopped.also), stopped.unscored) == (late.test, ["corrupted-none"], {})


@pytest.mark.parametrize("strategy", ["most_frequent", "uniform", "stratified"])
def test_the_dummy_knows_nothing_of_pictures(channel, job, strategy):
    result = jobs.trial(job(DUMMY), channel({"strategy": strategy}))
    found = result.validation
    assert 0.1 < found.accuracy < 0.9  # 9 pictures
    if strategy == "most_frequent":
        assert found.balanced_accuracy == 0.5


def test_the_dummy_reads_no_picture(channel, job, monkeypatch):
    def read(rows, *arguments, **named):
        raise AssertionError("a picture was read")

    monkeypatch.setattr(Rows, "__getitem__", read)
    for strategy in ("most_frequent", "uniform", "stratified"):
        assert jobs.trial(job(DUMMY), channel({"strategy": strategy})).validation.n == 12


CLASSIFIER = """\
import numpy as np
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler


class Plain:
    def fit(self, x, y):
        self.shares = np.bincount(y) / len(y)

    def predict_proba(self, x):
        return np.tile(self.shares, (len(x), 1))


def mean_colour(x):
    return x.reshape(len(x), -1, 3).mean(axis=1)


def forest(**settings):
    return make_pipeline(StandardScaler(), RandomForestClassifier(n_estimators=3, max_features=8, **settings))


def build(hp):
    return {built}
"""


def classifier(space, built):
    return space(f"classifier{abs(hash(built))}", CLASSIFIER.format(built=built))


def test_a_classifier_without_parameters_is_trained(space, channel, job):
    assert jobs.trial(job(classifier(space, "Plain()")), channel()).validation.accuracy > 0.3


@pytest.mark.parametrize(
    ("model", "count"),
    [
        (LogisticRegression(), 8 + 1),
        (make_pipeline(PCA(2), LogisticRegression()), (2 * 8 + 8) + (2 + 1)),
        (DecisionTreeClassifier(max_depth=1), 3),  # a root and two leaves
        (RandomForestClassifier(5, max_depth=1, bootstrap=False), 5 * 3),
        (GradientBoostingClassifier(n_estimators=4, max_depth=1), 4 * 3),
        (make_pipeline(StandardScaler(), KNeighborsClassifier()), None),
        (DummyClassifier(), None),
    ],
)
def test_what_a_classifier_has_learned_is_counted_or_not_known(model, count):
    pixels = np.random.default_rng(0).normal(size=(40, 8))
    assert footprint.learned(model.fit(pixels, pixels[:, 0] > 0)) == count


def test_the_seed_is_every_random_state_that_the_family_has_left_open():
    forest, tree = RandomForestClassifier(random_state=0), DecisionTreeClassifier()
    for model, states in [
        (make_pipeline(StandardScaler(), RandomForestClassifier()), {"randomforestclassifier__random_state": 7}),
        (BaggingClassifier(tree), {"random_state": 7, "estimator__random_state": 7}),
        (BaggingClassifier(forest), {"random_state": 7, "estimator__random_state": 0}),
        (forest, {"random_state": 0}),
    ]:
        Classifier(model, 32, 7)
        assert {name: value for name, value in model.get_params().items() if "random_state" in name} == states


@pytest.mark.parametrize(
    ("built", "needed_mb"),
    [
        ("LogisticRegression()", 9 * 36 * 3072 / 1e6),  # 36 pictures to train on, of 32 pixels
        ("forest()", 9 * 36 * 3072 / 1e6),
        ("make_pipeline(FunctionTransformer(mean_colour), LogisticRegression())", 36 * 3072 / 1e6),
        ("Plain()", 36 * 3072 / 1e6),
    ],
)
def test_a_classifier_that_does_not_fit_into_memory_is_refused_with_the_numbers(
    space, channel, job, monkeypatch, built, needed_mb
):
    config = job(classifier(space, built))
    monkeypatch.setattr(machine, "available_mb", lambda: 1.01 * needed_mb)
    assert jobs.trial(config, channel()).validation.n == 12
    monkeypatch.setattr(machine, "available_mb", lambda: 0.99 * needed_mb)
    with pytest.raises(trainer.TooLarge, match="36 pictures of 32 pixels need about") as caught:
        jobs.trial(config, channel())
    assert f"{needed_mb:,.0f} MB" in str(caught.value)


HYPERMODEL = """\
import keras
import keras_tuner

class MyHyperModel(keras_tuner.HyperModel):
    def build(self, hp):
        model = keras.Sequential([
            keras.Input((16, 16, 3)),
            keras.layers.Flatten(),
            keras.layers.Dense(hp.Int("units", 4, 16)),
            keras.layers.Dense(2, "softmax"),
        ])
        model.compile("adam", "categorical_crossentropy", metrics=["accuracy"])
        return model

build = {build}
"""


@pytest.mark.parametrize(
    ("build", "names"),
    [("MyHyperModel()", ["units"]), ("MyHyperModel().build", ["units"]), ("MyHyperModel(tunable=False)", [])],
)
def test_a_hypermodel_of_keras_tuner_is_a_family(space, channel, job, probe_job, build, names):
    path = space("hyper", HYPERMODEL.format(build=build))
    assert [declared.name for declared in jobs.probe(probe_job(path), channel()).space] == names
    result = jobs.trial(job(path), channel({"units": 5}))
    assert list(result.params) == names
    assert result.cost.parameters == (768 + 1) * (5 if names else 4) + (5 if names else 4) * 2 + 2


def test_a_ready_hypermodel_of_keras_tuner_is_a_family(space, channel, probe_job):
    text = "from keras_tuner.applications import {0}\n\nbuild = {0}(input_shape=(32, 32, 3), classes={1})\n"
    names = [each.name for each in jobs.probe(probe_job(space("x", text.format("HyperXception", 2))), channel()).space]
    assert {"kernel_size", "sep_num_filters", "learning_rate"} <= set(names)
    with pytest.raises(SpaceError, match=r"y\.py:3: "):
        jobs.probe(probe_job(space("y", text.format("HyperXception", 3))), channel())


COMPILED = """\
from functools import partial
import keras
from keras import layers

def by_numbers(y_true, y_pred):
    return keras.losses.sparse_categorical_crossentropy(y_true, y_pred)

def by_rows(y_true, y_pred):
    return keras.losses.categorical_crossentropy(y_true, y_pred)

def build(hp):
    model = keras.Sequential([
        keras.Input((24, 24, 3)),
        layers.Rescaling(1 / 255),
        layers.Flatten(),
        layers.Dense({units}{activation}, name="classify"),
    ])
    model.compile(keras.optimizers.SGD(hp.Float("speed", 1e-3, 1e-1)), loss={loss}, metrics=["accuracy"])
    return model
"""


SOFTMAX = ', activation="softmax"'


@pytest.mark.parametrize(
    ("units", "activation", "loss"),
    [
        (1, ', activation="sigmoid"', '"binary_crossentropy"'),
        (1, "", "keras.losses.BinaryCrossentropy(from_logits=True)"),
        (2, ', activation="softmax"', '"sparse_categorical_crossentropy"'),
        (2, ', activation="softmax"', '"categorical_crossentropy"'),
        (2, "", "keras.losses.SparseCategoricalCrossentropy(from_logits=True)"),
        (2, "", "keras.losses.CategoricalCrossentropy(from_logits=True)"),
        (2, "", "partial(keras.losses.sparse_categorical_crossentropy, from_logits=True)"),
        (2, SOFTMAX, "keras.losses.sparse_categorical_crossentropy"),
        (2, SOFTMAX, '["sparse_categorical_crossentropy"]'),
        (2, SOFTMAX, '{"classify": "sparse_categorical_crossentropy"}'),
        (2, SOFTMAX, "by_numbers"),
        (2, SOFTMAX, "by_rows"),
        (2, SOFTMAX, "keras.losses.SparseCategoricalCrossentropy(from_logits=True)"),
        (2, SOFTMAX, '"binary_crossentropy"'),
        (2, SOFTMAX, '"mse"'),
        (2, SOFTMAX, "None"),
        (2, ', activation="sigmoid"', '"categorical_crossentropy"'),
    ],
)
@pytest.mark.filterwarnings("ignore:.*received .from_logits=True")  # Keras repairs it
def test_a_compiled_keras_tuner_model_is_taken_as_it_is(space, channel, job, monkeypatch, units, activation, loss):
    fitted = []
    fit = trainer.fit
    monkeypatch.setattr(trainer, "fit", lambda model, *a, **k: fitted.append(model) or fit(model, *a, **k))
    result = jobs.trial(
        job(space("tuned", COMPILED.format(units=units, activation=activation, loss=loss))), channel({"speed": 0.002})
    )
    assert isinstance(fitted[0].optimizer, keras.optimizers.SGD)
    assert float(fitted[0].optimizer.learning_rate) == pytest.approx(0.002)
    assert result.input_size == 24
    assert result.params == {"speed": 0.002}
    assert 0 < result.validation.log_loss < 5


def test_a_loss_given_in_any_form_trains_the_same(space, channel, job):
    names = ['"sparse_categorical_crossentropy"', "keras.losses.sparse_categorical_crossentropy", "by_numbers"]
    names += ['["sparse_categorical_crossentropy"]', '{"classify": "sparse_categorical_crossentropy"}', "by_rows"]
    paths = [
        space(f"loss{number}", COMPILED.format(units=2, activation=SOFTMAX, loss=loss))
        for number, loss in enumerate(names)
    ]
    first, *others = [jobs.trial(job(path), channel({"speed": 0.002})).history for path in paths]
    for history in others:
        for one, other in zip(first, history, strict=True):
            assert (other.loss, other.val_loss) == pytest.approx((one.loss, one.val_loss), rel=1e-4)


@pytest.mark.parametrize("units", [1, 2])
def test_outputs_without_an_activation_are_trained_and_scored_as_logits(space, channel, job, units):
    text = HEAD + f"    return keras.Model(inputs, layers.Dense({units})(layers.Flatten()(x / 255)))\n"
    whole = text.replace(f"Dense({units})", f"Dense({units}, activation='{'sigmoid' if units == 1 else 'softmax'}')")
    logits, probabilities = (
        jobs.trial(job(space(name, code)), channel()) for name, code in (("a", text), ("b", whole))
    )
    for one, other in zip(logits.history, probabilities.history, strict=True):
        assert (one.loss, one.accuracy, one.val_loss) == pytest.approx(
            (other.loss, other.accuracy, other.val_loss), rel=1e-3
        )


def test_the_probabilities_of_independent_sigmoids_sum_to_one(space, channel, job, tmp_path):
    text = COMPILED.format(units=2, activation=', activation="sigmoid"', loss='"categorical_crossentropy"')
    config = job(space("sigmoids", text), score=True, predictions=str(tmp_path / "test.npz"))
    jobs.trial(config, channel({"speed": 0.002}))
    with np.load(tmp_path / "test.npz") as arrays:
        np.testing.assert_allclose(arrays["probabilities"].sum(axis=1), 1.0, atol=1e-6)


def test_declared_hyperparameters_reach_the_optimizer(space, channel, job, monkeypatch):
    compiled = []
    original = Objective.compile
    monkeypatch.setattr(
        Objective, "compile", lambda self, model, *more: original(self, model, *more) or compiled.append(model)
    )
    text = HEAD + (
        '    hp.Float("learning_rate", 1e-4, 1e-1); hp.Choice("optimizer", ["adam", "rmsprop"])\n'
        '    hp.Int("batch_size", 4, 64); hp.Int("epochs", 1, 9)\n'
    )
    result = jobs.trial(
        job(space("all", text + TAIL)),
        channel({"learning_rate": 0.03, "optimizer": "rmsprop", "batch_size": 7, "epochs": 1}),
    )
    optimizer = compiled[0].optimizer
    assert type(optimizer).__name__ == "RMSprop"
    assert float(optimizer.learning_rate) == pytest.approx(0.03)
    assert int(optimizer.iterations) == 6  # 42 pictures in batches of 7, one epoch
    assert len(result.history) == 1


# -- broken families, found before anything trains


@pytest.mark.parametrize(
    ("text", "line", "says"),
    [
        (HEAD + "    x = layers.Conv2d(3)(x)\n" + TAIL, 7, "AttributeError"),
        (HEAD + "    hp.Int('a', 1, 3)\n    hp.Int('a', 1, 4)\n" + TAIL, 8, "first Int 1 to 3, then Int 1 to 4"),
        (HEAD + "    hp.Int('a', 3, 1)\n" + TAIL, 7, "min_value <= max_value must hold, but got 3 and 1"),
        (HEAD + "    return keras.Model(inputs, x)\n", 5, "output shape is (None, 16, 16, 3): must be (None, 2)"),
        (HEAD + "    return keras.Model(inputs, layers.Dense(7)(layers.Flatten()(x)))\n", 5, "(None, 7)"),
        (HEAD + "    return 3\n", 5, "build returned int: must be a Keras model"),
        (HEAD + "    hp.Choice('augmentation', ['flip', 'heavy'])\n" + TAIL, 5, "must be one of none, flip, light"),
        (HEAD.replace("(16, 16, 3)", "(16, 8, 3)") + TAIL, 5, "input shape is (None, 16, 8, 3)"),
        (HEAD + TAIL + "\nKNOWN_CONFIGURATIONS = [{'a': 1}]\n", 9, "unknown hyperparameter 'a'"),
        (
            HEAD + "    hp.Int('depth', 1, 3)\n" + TAIL + "KNOWN_CONFIGURATIONS = [{'depth': 4}]\n",
            9,
            "depth=4 is outside",
        ),
        ("import no_such_module\n\ndef build(hp):\n    pass\n", 1, "ModuleNotFoundError"),
    ],
)
def test_a_broken_family_is_one_line_with_file_and_line(space, channel, probe_job, text, line, says):
    path = space("broken", text)
    with pytest.raises(SpaceError) as caught:
        jobs.probe(probe_job(path), channel())
    assert str(caught.value) == f"{path}:{line}: {caught.value.message}"
    assert (str(caught.value.path), caught.value.line) == (path, line)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_conditional_hyperparameters_are_found_before_they_are_active(space, channel, probe_job):
    text = HEAD + (
        "    hp.Choice('head', ['plain', 'dense'])\n"
        "    units = hp.Int('units', 8, 9, parent_name='head', parent_values=['dense'])\n"
        "    if units:\n"
        "        x = layers.Dense(units)(x)\n"
        "        hp.Float('rate', 0.0, 0.5, parent_name='units', parent_values=[8])\n"
    )
    result = jobs.probe(probe_job(space("nested", text + TAIL)), channel())
    assert [hyperparameter.name for hyperparameter in result.space] == ["head", "units", "rate"]


def test_a_known_input_size_takes_the_nearest_that_the_data_offers(space, channel, probe_job):
    text = (
        HEAD
        + "    hp.Choice('input_size', task.input_sizes)\n"
        + TAIL
        + "KNOWN_CONFIGURATIONS = [{'input_size': 150}]\n"
    )
    result = jobs.probe(probe_job(space("sized", text), input_sizes=(96, 128, 160, 224)), channel())
    assert result.known == ({"input_size": 160},)


# -- the loop

LOOP = """\
import keras
from keras import layers


def build(hp, task):
    x = inputs = keras.Input((16, 16, 3))
    x = layers.Conv2D(4, 3, strides=2, kernel_regularizer="l2")(layers.Rescaling(1 / 255)(x))
    x = layers.Flatten()(layers.BatchNormalization()(x))
    x = layers.Dense(8, activation="relu", activity_regularizer="l2")(layers.Dropout(0.3)(x))
    return keras.Model(inputs, task.classify(x))
"""


@pytest.mark.parametrize("optimizer", ["adam", "rmsprop"])
def test_the_loss_curve_is_that_of_fit_on_the_same_batches(space, channel, job, optimizer):
    """With dropout, batch normalisation, regularizers and a last batch that is smaller than the others."""
    config = job(space("loop", LOOP))
    pictures = np.random.default_rng(0).integers(0, 256, (50, 16, 16, 3), dtype=np.uint8)
    part = Part(pictures, np.arange(50) % 2)

    def compiled():
        model = jobs._build(config, fixed({})).model
        objective = Objective.of(model)
        objective.compile(model, {"optimizer": optimizer, "learning_rate": 0.01}, model)
        return model, objective

    model, objective = compiled()
    ours = trainer.fit(
        model, objective, part.examples(), part.examples(),
        epochs=4, patience=9, batch_size=16, seed=5, report=lambda epoch: None, predict=Predictor(model, objective),
        best=trainer.BestEpoch(metric("accuracy")),
    )  # fmt: skip
    (model, _), theirs = compiled(), []
    batches = Batches(part.examples(), part.labels.astype(np.float32).reshape(-1, 1), 16, seed=5)
    for number in (1, 2, 3, 4):
        epoch = batches.begin(number)
        x, y = zip(*(batches.next(epoch, step) for step in range(batches.steps)), strict=True)
        theirs.append(model.fit(np.concatenate(x), np.concatenate(y), batch_size=16, shuffle=False, verbose=0).history)
    for name in ("loss", "accuracy"):
        found = [getattr(epoch, name) for epoch in ours]
        np.testing.assert_allclose(found, [history[name][0] for history in theirs], atol=1e-5)


SUBCLASSED = """
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
OWN_TRAIN_STEP = """
import keras
from keras import layers


class Own(keras.Model):
    def train_step(self, data):
        return super().train_step(data)


def build(hp, task):
    inputs = keras.Input((16, 16, 3))
    return Own(inputs, task.classify(layers.Flatten()(inputs / 255)))
"""


@pytest.mark.parametrize("text", [SUBCLASSED, OWN_TRAIN_STEP])
def test_a_model_of_a_class_of_its_own_is_trained_end_to_end(space, channel, job, text):
    result = jobs.trial(job(space("own", text)), channel())
    assert "subclassed model" in result.prefixes[0].reason
