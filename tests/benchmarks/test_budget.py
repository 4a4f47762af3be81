"""The best validation accuracy by the time: `run --budget 6m` beside Keras Tuner's loop over one frozen backbone.

`BENCH_ASSETS=… pytest tests/benchmarks/test_budget.py --benchmark-only -s -o faulthandler_timeout=0` takes
twenty minutes on two cores and prints a line for each. All clocks start with Python.
"""

from __future__ import annotations

import pytest

from .conftest import keras_tuner_loop, run_bench

pytestmark = [
    pytest.mark.slow,
    pytest.mark.usefixtures("asked_for"),
    pytest.mark.benchmark(group="six minutes, 2,000 + 500 + 500 photographs"),
]

SECONDS = [60, 90, 120, 180, 240, 300, 360]
EPOCHS = 10


def report(benchmark, name, ended):
    """Print the best accuracy of those trials, (seconds, accuracy), that have ended by then."""
    curve = {
        limit: max((accuracy for seconds, accuracy in ended if seconds <= limit), default=None) for limit in SECONDS
    }
    benchmark.extra_info["best_validation_accuracy"] = curve
    print(f"\n{name}: " + ", ".join(f"{limit} s {accuracy or '-'}" for limit, accuracy in curve.items()))


def test_bench_run(benchmark, assets, photographs, tmp_path):
    arguments = ("--data", str(photographs), "--budget", "6m")
    run = benchmark.pedantic(run_bench, (tmp_path, {"KERAS_HOME": str(assets / "keras")}, *arguments), rounds=1)
    before_s = benchmark.stats.stats.median - run.elapsed_s  # Python, imports
    report(benchmark, "bench run", [(before_s + each.finished_s, each.value) for each in run.trials if each.value])
    assert run.status == "complete"


@pytest.mark.parametrize(("application", "size"), [("MobileNet", 160), ("MobileNetV2", 128)])
def test_keras_tuner_loop(benchmark, assets, photographs, tmp_path, application, size):
    limit = ("--seconds", str(SECONDS[-1]))
    trials = benchmark.pedantic(
        keras_tuner_loop, (assets, photographs, tmp_path, application, size, EPOCHS, *limit), rounds=1
    )
    report(
        benchmark,
        f"Keras Tuner, {application} at {size} px",
        [(trial["seconds"], trial["score"]) for trial in trials],
    )
    assert trials
