"""What a long run costs its driver: CPU time a trial, memory and file descriptors must not grow with its trials.

`BENCH_TRIALS=2000 pytest tests/benchmarks/test_long_run.py -s` prints the figures: trials of some milliseconds without
TensorFlow, in real worker processes, with the database, the records and the page as in any run.
"""

from __future__ import annotations

import os

import psutil
import pytest

from ..conftest import TINY
from ..kills.driver import Driver

pytestmark = pytest.mark.slow

TRIALS = int(os.environ.get("BENCH_TRIALS", "200"))
QUARTERS = 4


@pytest.mark.parametrize(
    "engine", ["optuna:random", "optuna:tpe"] if "BENCH_TRIALS" in os.environ else ["optuna:random"]
)
def test_memory_and_file_descriptors_of_the_driver_do_not_grow(tmp_path, engine):
    (tmp_path / "spaces").mkdir()
    for name in "ab":
        (tmp_path / "spaces" / f"{name}.py").write_text(TINY, encoding="utf-8")
    driver = Driver(tmp_path, "run", "long", str(TRIALS), engine)
    process = psutil.Process(driver.process.pid)
    quarters = []
    for _ in range(QUARTERS):
        before, megabytes, descriptors = cpu_s(process), [], []
        for _ in range(TRIALS // QUARTERS):
            driver.read(1)
            megabytes.append(process.memory_info().rss / 1e6)
            descriptors.append(process.num_fds())
        cpu_ms = 1000 * (cpu_s(process) - before) / (TRIALS // QUARTERS)
        quarters.append((max(megabytes), min(descriptors)))  # more are open while a trial runs
        print(f"{engine}: {cpu_ms:.1f} ms CPU a trial, {max(megabytes):.0f} MB, {min(descriptors)} descriptors")
    assert driver.end() == 0
    _, (second_mb, second_open), _, (last_mb, last_open) = quarters
    assert last_open <= second_open + 3
    assert last_mb <= 1.25 * second_mb


def cpu_s(process: psutil.Process) -> float:
    """CPU time of the driver itself, without its workers."""
    times = process.cpu_times()
    return times.user + times.system
