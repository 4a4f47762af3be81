"""What a trial's process costs: forked from a server that has imported TensorFlow, against a fresh interpreter.

Run with `pytest tests/benchmarks --benchmark-only`; the ratio of the two medians is the figure.
"""

from __future__ import annotations

import contextlib
import subprocess
import sys

import pytest

from bench.training.messages import ProbeJob
from bench.workers import Listener
from bench.workers.local import LocalPool

pytestmark = pytest.mark.slow

FAMILY = "from sklearn.dummy import DummyClassifier\n\ndef build(hp):\n    return DummyClassifier()\n"


@pytest.fixture(scope="module")
def pool():
    with contextlib.closing(LocalPool(1)) as pool:
        yield pool


@pytest.mark.benchmark(group="process")
def test_a_forked_process(benchmark, pool, tmp_path):
    (tmp_path / "family.py").write_text(FAMILY)
    path = str(tmp_path / "family.py")
    job = ProbeJob(
        id="1", timeout_s=60.0, path=path, class_names=("a", "b"), input_sizes=(32,), weights="random", seed=0
    )

    def probe():
        pool.submit(job, Listener())
        while not (ended := pool.finished(1.0)):
            pass
        assert ended[0].failure is None

    benchmark.pedantic(probe, rounds=10, warmup_rounds=1)


@pytest.mark.benchmark(group="process")
def test_a_fresh_interpreter(benchmark):
    command = [sys.executable, "-c", "import tensorflow, keras"]
    benchmark.pedantic(subprocess.run, (command,), {"check": True, "capture_output": True}, rounds=2)
