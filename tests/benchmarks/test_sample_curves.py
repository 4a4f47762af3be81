"""The forecast of the learning curve on photographs, from 1,000 training pictures to 4,000, beside what is reached.

`BENCH_ASSETS=… pytest tests/benchmarks/test_sample_curves.py --benchmark-only -s -o faulthandler_timeout=0` takes ten
minutes on two cores and prints a line for each seed.
"""

from __future__ import annotations

import pytest

from bench import Budget, RunConfig, runner
from bench.search import sample_curves

from .conftest import first_photographs

pytestmark = [
    pytest.mark.slow,
    pytest.mark.usefixtures("asked_for"),
    pytest.mark.benchmark(group="1,000 and 4,000 + 500 photographs"),
]

FROZEN = """\
import keras
from keras import layers
from keras.applications import {application}


def build(hp, task):
    inputs = keras.Input(({size}, {size}, 3))
    x, backbone = task.backbone({application}, layers.Rescaling(1 / 127.5, offset=-1)(inputs))
    backbone.trainable = False
    x = layers.Dropout(0.2)(layers.GlobalAveragePooling2D()(x))
    return keras.Model(inputs, task.classify(x))
"""

SEEDS = (0, 100, 200)
"""Of the runs; the samples of a run have the three seeds after its own."""


@pytest.fixture(scope="module")
def parts(assets, tmp_path_factory):
    """Folders with 1,000, 2,000 and 4,000 training photographs, and the same 500 for validation."""
    folder = tmp_path_factory.mktemp("photographs")
    for train in (1000, 2000, 4000):
        parts = {"train": (0, train), "validation": (4000, 500)}
        first_photographs(assets, folder / str(train), {**parts, "test": (4500, 100)})
    return folder


@pytest.mark.parametrize(("application", "size"), [("MobileNetV2", 128), ("MobileNet", 160)])
@pytest.mark.parametrize("seed", SEEDS)
def test_the_forecast_contains_the_accuracy_reached(
    benchmark, assets, parts, tmp_path, monkeypatch, application, size, seed
):
    monkeypatch.setenv("KERAS_HOME", str(assets / "keras"))
    monkeypatch.setattr(sample_curves, "MAX_SHARE", 100.0)
    space = tmp_path / "frozen.py"
    space.write_text(FROZEN.format(application=application, size=size))
    common = {"spaces": (str(space),), "budget": Budget(1), "input_sizes": (size,), "seed": seed, "weights": "imagenet"}

    def of(pictures):
        out = str(tmp_path / str(pictures))
        return runner.run(RunConfig(data=str(parts / str(pictures)), out=out, near_duplicates="ignore", **common))

    few = benchmark.pedantic(of, (1000,), rounds=1)
    (curve,) = few.sample_curves
    monkeypatch.setattr(sample_curves, "FAMILIES", 0)
    twice, reached = (of(pictures).trials[0].value for pictures in (2000, 4000))
    forecast = curve.fitted[-1]
    measured = ", ".join(f"{point.pictures} {point.accuracy:.4f}" for point in curve.measured)
    print(
        f"\n{application} at {size} px, seed {seed}: {measured}; forecast for 4000 {forecast.accuracy:.4f} "
        f"({forecast.low:.4f} to {forecast.high:.4f}), reached {reached:.4f}; {curve.more} more: {curve.gain:+.4f} "
        f"({curve.gain_low:+.4f} to {curve.gain_high:+.4f}), with 2000 {twice:.4f}"
    )
    assert forecast.pictures == 4000
    assert forecast.low <= reached <= forecast.high
