"""Benchmarks on photographs, as a user would run them."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import bench

TRAIN, VALIDATION, TEST = 2000, 500, 500


@pytest.fixture(scope="module")
def asked_for(request):
    """An hour is not spent on this by a run of the tests."""
    if not request.config.getoption("--benchmark-only"):
        pytest.skip("takes an hour: --benchmark-only runs it")


@pytest.fixture(scope="module")
def assets():
    given = os.environ.get("BENCH_ASSETS")
    if not given:
        pytest.skip("BENCH_ASSETS does not name a folder with photographs and weights")
    return Path(given).absolute()


@pytest.fixture(scope="module")
def photographs(assets, tmp_path_factory):
    """2,000 training, 500 validation and 500 test photographs, the first of each class by number, in folders."""
    folder = tmp_path_factory.mktemp("photographs")
    parts = {"train": (0, TRAIN), "validation": (TRAIN, VALIDATION)}
    first_photographs(assets, folder, parts)
    first_photographs(assets, folder, {"test": (0, TEST)}, "test_set")
    return folder


def first_photographs(assets, folder, parts, source="training_set"):
    """Copy photographs into a folder for each part: its first picture and their number, half of them of each class."""
    for part, (first, count) in parts.items():
        for name in ("cats", "dogs"):
            (folder / part / name).mkdir(parents=True)
            files = sorted((assets / "photos" / source / name).iterdir(), key=lambda path: int(path.stem.split(".")[1]))
            for path in files[first // 2 : (first + count) // 2]:
                shutil.copy(path, folder / part / name)


def run_bench(folder, environment, *arguments):
    """Run the suite as a user starts it, with an empty cache; return its records."""
    root = Path(bench.__file__).parents[1]
    everything = {**os.environ, "PYTHONPATH": str(root), "BENCH_CACHE": str(folder / "cache"), **environment}
    command = [sys.executable, "-m", "bench", "run", "--out", str(folder / "run"), *arguments]
    subprocess.run(command, check=True, env=everything, cwd=folder, stdout=subprocess.DEVNULL)
    return bench.load(folder / "run")


def keras_tuner_loop(assets, photographs, folder, application, size, epochs, *limits):
    """Run `keras_tuner_loop.py`; return its trials."""
    script = Path(__file__).with_name("keras_tuner_loop.py")
    pattern = {"MobileNet": "mobilenet_1_0_224*", "MobileNetV2": "mobilenet_v2*_1.0_224*"}[application]
    weights = next((assets / "keras" / "models").glob(f"{pattern}_no_top.h5"))
    command = [sys.executable, script, photographs, weights, application, size, epochs, folder / "tuner", *limits]
    done = subprocess.run(list(map(str, command)), check=True, stdout=subprocess.PIPE, text=True)
    return [json.loads(line.partition("TRIAL")[2]) for line in done.stdout.splitlines() if line.startswith("TRIAL")]
