"""How long the regression gate takes, as a process: 50 families, 5 seeds, 10,000 test pictures on both sides.

Run with `pytest tests/benchmarks --benchmark-only`. Beside it stands what an interpreter takes that imports NumPy and
rich and does nothing: the ratio of the two medians is the gate's own work. It has to answer within 2 s and 300 MB.
"""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from bench.runs.results import FILE, Environment, FamilyResult, FamilyStatus, Results, Split, write

pytestmark = pytest.mark.slow

FAMILIES, SEEDS, PICTURES = 50, 5, 10_000
STEPS = tuple(0.01 + 0.0001 * step for step in range(10 * SEEDS))

MAX_RSS_MB = 300
"""The issue's limit, in 10**6 bytes."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A baseline, and a run beside it whose accuracies are a little different."""
    path = tmp_path_factory.mktemp("check")
    for number, name in enumerate(("baseline.json", FILE)):
        write(path / name, made(np.random.default_rng(number)))
    return path


def made(rng):
    params = {"learning_rate": 0.001, "optimizer": "adam", "batch_size": 32, "dropout": 0.3, "blocks": 4}
    families = {
        f"family_{number:02}": FamilyResult(
            FamilyStatus.COMPLETE,
            weights="imagenet",
            params=params,
            parameters=2_000_000 + number,
            seeds=tuple(range(SEEDS)),
            correct=rng.random((SEEDS, PICTURES)) < 0.9,
            step_time_s=STEPS,
        )
        for number in range(FAMILIES)
    }
    split = Split("photos/", "5" * 64, "7" * 64, PICTURES, {str(label): PICTURES // 100 for label in range(100)})
    env = Environment("3.11.9", "3.14.0", "tensorflow 2.20.0", "CPU", 4, "")
    return Results("run", "complete", "2026-11-20T12:00:00+00:00", "0123456789ab", "0.1.0", {"epochs": 5}, split, env,
                   families)  # fmt: skip


def command(*arguments):
    return [sys.executable, "-m", "bench", "check", ".", "--baseline", "baseline.json", *arguments]


@pytest.mark.benchmark(group="check")
def test_a_check(benchmark, folder):
    def check():
        done = subprocess.run(command("--quiet"), cwd=folder, capture_output=True, text=True, check=False)
        assert done.returncode in (0, 1), done.stderr
        assert f"in {FAMILIES} families" in done.stdout

    benchmark.pedantic(check, rounds=5, warmup_rounds=1)
    benchmark.extra_info["baseline_mb"] = round((folder / "baseline.json").stat().st_size / 1e6, 2)


@pytest.mark.benchmark(group="check")
def test_a_check_with_every_output(benchmark, folder):
    every = command("--all", "--github", "--junit", "check.xml", "--markdown", "check.md")

    def check():
        done = subprocess.run(every, cwd=folder, capture_output=True, text=True, check=False)
        assert done.returncode in (0, 1), done.stderr

    benchmark.pedantic(check, rounds=5, warmup_rounds=1)


@pytest.mark.benchmark(group="check")
def test_an_interpreter_that_does_nothing(benchmark):
    """The peer."""
    idle = [sys.executable, "-c", "import numpy, rich.table, rich.console"]
    benchmark.pedantic(subprocess.run, (idle,), {"check": True, "capture_output": True}, rounds=5, warmup_rounds=1)


def test_its_memory_stays_within_the_limit(folder):
    # A process counts the memory of the one that forked it, so a small one starts it and measures.
    measure = (
        "import resource, subprocess, sys; print(subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL).returncode, "
    )
    measure += "resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
    line = [sys.executable, "-c", measure, *command("--all", "--junit", "check.xml")]
    done = subprocess.run(line, cwd=folder, stdout=subprocess.PIPE, text=True, check=True)
    status, peak_kib = map(int, done.stdout.split())
    assert status in (0, 1)
    assert peak_kib * 1024 / 1e6 < MAX_RSS_MB
