"""What it saves to compute frozen layers once.

Run with `BENCH_ASSETS=… pytest tests/benchmarks/test_frozen.py --benchmark-only -o faulthandler_timeout=0`, which takes
an hour on two cores. The figures are ratios of two rows of one group, measured one after the other:

- twenty MobileNetV2 configurations with a frozen backbone through `python -m bench run`, against Keras Tuner's own
  `RandomSearch.search` on the same pictures (two trials of it; `extra_info` has its time for twenty);
- twenty known configurations of five families, partly frozen, with the feature cache and end to end;
- an epoch on features in the trainer's loop, against `Model.fit` on the same arrays.
"""

from __future__ import annotations

import shutil
import statistics
import subprocess
import sys

import numpy as np
import pytest

from bench.search.spaces import BUILT_IN

from .conftest import TRAIN, VALIDATION, keras_tuner_loop, run_bench

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("asked_for")]

SIZE, EPOCHS = 128, 10
DROPOUTS, RATES = [0.1, 0.2, 0.3, 0.4, 0.5], [3e-4, 1e-3, 3e-3, 1e-2]  # those of keras_tuner_loop.py

FAMILY = f"""\
\"\"\"MobileNetV2, frozen.\"\"\"
import keras
from keras import layers


def build(hp, task):
    inputs = keras.Input(({SIZE}, {SIZE}, 3))
    x, backbone = task.backbone(keras.applications.MobileNetV2, layers.Rescaling(1 / 127.5, offset=-1.0)(inputs))
    backbone.trainable = False
    x = layers.GlobalAveragePooling2D()(x)
    x = layers.Dropout(hp.Choice("dropout", {DROPOUTS}))(x)
    hp.Choice("learning_rate", {RATES})
    return keras.Model(inputs, task.classify(x))
"""

# -- twenty frozen configurations


@pytest.mark.benchmark(
    group="20 configurations of a frozen MobileNetV2, 2,000 + 500 photographs, 128 pixels, 10 epochs"
)
@pytest.mark.parametrize("workers", [1, 2])
def test_bench_run(benchmark, assets, photographs, tmp_path, workers):
    (tmp_path / "frozen.py").write_text(FAMILY)
    run = benchmark.pedantic(
        run_bench,
        (
            tmp_path, {"KERAS_HOME": str(assets / "keras")}, "--data", str(photographs), "--spaces", "frozen.py",
            "--engine", "optuna:grid", "--budget", "20", "--input-sizes", str(SIZE), "--epochs", str(EPOCHS),
            "--patience", str(EPOCHS), "--near-duplicates", "ignore", "--workers", str(workers),
        ),
        rounds=1,
    )  # fmt: skip
    assert [trial.state for trial in run.trials] == ["COMPLETE"] * 20
    assert run.split.n("train") + run.split.n("validation") >= TRAIN + VALIDATION - 5
    assert all(prefix.used for trial in run.trials for prefix in trial.prefixes)
    pictures = sum(run.split.n(part) for part in ("train", "validation", "test"))
    floor_s = pictures * run.trials[0].cost.macs * 2 / flops_per_s()
    benchmark.extra_info |= {
        "val_accuracy": accuracies(run),
        "floor_s": floor_s,
        "times_the_floor": benchmark.stats.stats.median / floor_s,
        "a_cached_trial_s": statistics.median(trial.finished_s - trial.started_s for trial in run.trials[1:]),
        "its_steps_s": statistics.median(
            EPOCHS * statistics.median(epoch.time_s for epoch in trial.history) for trial in run.trials[1:]
        ),
    }


@pytest.mark.benchmark(
    group="20 configurations of a frozen MobileNetV2, 2,000 + 500 photographs, 128 pixels, 10 epochs"
)
def test_keras_tuner_random_search_two_trials(benchmark, assets, photographs, tmp_path):
    trials = benchmark.pedantic(
        keras_tuner_loop, (assets, photographs, tmp_path, "MobileNetV2", SIZE, EPOCHS, "--trials", "2"), rounds=1
    )
    assert all(trial["score"] for trial in trials)
    benchmark.extra_info |= {
        "seconds_of_twenty": 20 * (trials[1]["seconds"] - trials[0]["seconds"]),
        "val_accuracy": {f"{each['dropout']} {each['learning_rate']}": each["score"] for each in trials},
    }


def accuracies(run):
    return {f"{trial.params['dropout']} {trial.params['learning_rate']}": trial.value for trial in run.trials}


def flops_per_s(side=2048, seconds=2.0):
    """This machine's rate of a float32 matrix product, through TensorFlow in a process of its own."""
    script = f"""
import time, tensorflow as tf
a = tf.random.normal(({side}, {side}))
tf.matmul(a, a).numpy()
start, count = time.perf_counter(), 0
while time.perf_counter() - start < {seconds}:
    tf.matmul(a, a).numpy()
    count += 1
print("RATE", 2 * {side}**3 * count / (time.perf_counter() - start))
"""
    done = subprocess.run([sys.executable, "-c", script], check=True, stdout=subprocess.PIPE, text=True)
    return float(done.stdout.split("RATE")[1])


# -- families together, partly frozen

MIXED_IMAGES, MIXED_SIZE = 400, 96

CONFIGURATIONS = {
    "mobilenet": ["all", "block11", "block9", "two phases block11"],
    "mobilenet_v2": ["all", "block14", "block12", "two phases block14", "flatten"],
    "vgg16": ["all", "block4", "flatten", "two phases block4", "dropout"],
    "vgg19": ["all", "block4", "flatten", "dropout"],
    "cnn": ["first"],
    "dummy": ["first"],
}
"""What is trained of each built-in family: 20 configurations."""


def mixed_spaces(folder):
    """The built-in families, their known configurations replaced."""
    shutil.copytree(BUILT_IN, folder, ignore=shutil.ignore_patterns("__pycache__"))
    for family, wanted in CONFIGURATIONS.items():
        if wanted == ["first"]:
            ending = "KNOWN_CONFIGURATIONS = KNOWN_CONFIGURATIONS[:1]\n"
        else:
            ending = f"KNOWN_CONFIGURATIONS = {[configuration(each) for each in wanted]!r}\n"
        path = folder / f"{family}.py"
        path.write_text(path.read_text() + "\n\n" + ending)
    return folder


def configuration(what):
    plain = {
        "input_size": MIXED_SIZE, "frozen": "all", "head": "average_pooling", "dense_layer": False, "dropout": 0.2,
        "learning_rate": 1e-3, "optimizer": "adam", "batch_size": 32, "augmentation": "none",
    }  # fmt: skip
    if what.startswith("two phases"):
        later = {"two_phases": True, "head_epochs": 5, "epochs": 5, "fine_tune_learning_rate": 1e-5}
        return {**plain, "frozen": "blocks", "frozen_through": what.split()[-1], **later}
    if what.startswith("block"):
        return {**plain, "frozen": "blocks", "frozen_through": what, "two_phases": False}
    return {**plain, **({"head": "flatten"} if what == "flatten" else {"dropout": 0.5} if what == "dropout" else {})}


@pytest.mark.benchmark(group="20 configurations of all families, partly frozen")
@pytest.mark.parametrize("features", ["float32", "off"])
def test_families_together(benchmark, tmp_path, features):
    spaces = mixed_spaces(tmp_path / "spaces")
    run = benchmark.pedantic(
        run_bench,
        (
            tmp_path, {}, "--only-known", "--spaces", str(spaces), "--images", str(MIXED_IMAGES),
            "--input-sizes", str(MIXED_SIZE), "--weights", "random", "--epochs", str(EPOCHS), "--patience", str(EPOCHS),
            "--features", features, "--trial-timeout", "2h",
        ),
        rounds=1,
    )  # fmt: skip
    assert [trial.state for trial in run.trials] == ["COMPLETE"] * sum(map(len, CONFIGURATIONS.values()))
    benchmark.extra_info |= {
        "by_family_s": {
            family: sum(trial.finished_s - trial.started_s for trial in run.trials if trial.family == family)
            for family in CONFIGURATIONS
        }
    }


# -- one epoch


@pytest.fixture(scope="module")
def head():
    import keras

    generator = np.random.default_rng(0)
    features, labels = generator.normal(size=(TRAIN, 1280)).astype(np.float32), generator.integers(0, 2, TRAIN)

    def make():
        inputs = keras.Input((1280,))
        x = keras.layers.Dropout(0.3)(inputs)
        model = keras.Model(inputs, keras.layers.Dense(1, activation="sigmoid")(x))
        model.compile("adam", "binary_crossentropy", metrics=["accuracy"])
        return model

    return make, features, labels


@pytest.mark.benchmark(group="ten epochs of a small head on 2,000 x 1,280 features, tracing included")
def test_traced_loop(benchmark, head):
    from bench.training import trainer
    from bench.training.batches import Examples

    make, features, labels = head
    examples = Examples([features], labels, in_memory=True)
    benchmark.pedantic(
        lambda model: trainer.refit(model, examples, epochs=EPOCHS, batch_size=32, seed=0),
        setup=lambda: ((make(),), {}),
        rounds=5,
    )


@pytest.mark.benchmark(group="ten epochs of a small head on 2,000 x 1,280 features, tracing included")
def test_model_fit(benchmark, head):
    make, features, labels = head
    benchmark.pedantic(
        lambda model: model.fit(features, labels, epochs=EPOCHS, batch_size=32, verbose=0),
        setup=lambda: ((make(),), {}),
        rounds=5,
    )
