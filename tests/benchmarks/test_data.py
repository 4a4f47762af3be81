"""What pictures cost: audit, decoding and reading them again, against an epoch of Keras's loader on the same files.

Run with `pytest tests/benchmarks/test_data.py --benchmark-only`; the ratios of the medians within a group are the
figures. With BENCH_ASSETS the photographs are measured too.
"""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from bench import data
from bench.config import RunConfig
from bench.data import near_duplicates
from bench.data.pixels import pixels

pytestmark = pytest.mark.slow

SIZE = 128
BATCH_SIZE = 32
ROUNDS = 3
PARTS = {"training_set": 480, "test_set": 120}


@pytest.fixture(scope="module")
def snapshots(tmp_path_factory):
    """JPEG files of 500 x 375 pixels, as large as the usual photographs of cats and dogs; about 50 kB each."""
    folder = tmp_path_factory.mktemp("snapshots")
    generator = np.random.default_rng(0)
    for part, count in PARTS.items():
        for number in range(count):
            coarse = Image.fromarray(generator.integers(0, 256, (15, 20, 3), dtype=np.uint8)).resize((500, 375))
            noisy = np.asarray(coarse, np.float64) + generator.normal(0, 8, (375, 500, 1))
            path = folder / part / ("cats", "dogs")[number % 2] / f"{number}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(path, quality=90)
    return folder


@pytest.fixture(params=["snapshots", "photographs"])
def pictures(request, benchmark):
    """A folder with `training_set/` and `test_set/`."""
    benchmark.group = request.param
    if request.param == "photographs":
        return request.getfixturevalue("assets") / "photos"
    return request.getfixturevalue("snapshots")


def open_all(folder, cache):
    return data.open(RunConfig(data=str(folder), input_sizes=(SIZE,)), cache=cache)


def test_audit_and_decoding(benchmark, pictures, tmp_path_factory):
    def empty_cache():
        return (pictures, tmp_path_factory.mktemp("cache")), {}

    dataset = benchmark.pedantic(open_all, setup=empty_cache, rounds=ROUNDS)
    assert len(dataset.items) > 0.99 * sum(1 for _ in pictures.rglob("*.jpg"))


@pytest.mark.parametrize("copies", [True, False], ids=["with copies", "nearly identical only"])
def test_audit_alone(benchmark, pictures, copies, monkeypatch):
    """What it takes to find turned, mirrored, brightened and cropped copies too."""
    if not copies:
        monkeypatch.setattr(near_duplicates, "LEAST_SIDE", float("inf"))
    dataset = benchmark.pedantic(data.open, args=[RunConfig(data=str(pictures))], rounds=ROUNDS, warmup_rounds=1)
    assert len(dataset.items) > 0.99 * sum(1 for _ in pictures.rglob("*.jpg"))


def test_an_epoch_of_keras(benchmark, pictures):
    import keras

    def epoch():
        return sum(
            len(batch)
            for part in PARTS
            for batch, _ in keras.utils.image_dataset_from_directory(
                pictures / part, image_size=(SIZE, SIZE), verbose=False
            )
        )

    assert benchmark.pedantic(epoch, rounds=ROUNDS, warmup_rounds=1) == sum(1 for _ in pictures.rglob("*.jpg"))


@pytest.fixture
def decoded(pictures, tmp_path):
    dataset = open_all(pictures, tmp_path)
    return pixels(dataset, dataset.items, SIZE, tmp_path)


def test_reading_a_later_epoch(benchmark, decoded):
    order = np.random.default_rng(0).permutation(len(decoded))

    def epoch():
        return sum(len(decoded[order[start : start + BATCH_SIZE]]) for start in range(0, len(order), BATCH_SIZE))

    assert benchmark.pedantic(epoch, rounds=5 * ROUNDS, warmup_rounds=1) == len(decoded)


def test_training_batches_of_a_later_epoch(benchmark, decoded):
    from bench.training.batches import Batches, Part

    labels = np.zeros(len(decoded), np.int64)
    batches = Batches(Part(decoded, labels).examples(), labels, BATCH_SIZE, 0)

    def epoch():
        begun = batches.begin(1)
        return sum(len(batches.next(begun, step)[0]) for step in range(batches.steps))

    assert benchmark.pedantic(epoch, rounds=ROUNDS, warmup_rounds=1) == len(decoded)


PEAK = """
import sys
from pathlib import Path
from bench import data
from bench.config import RunConfig
data.open(RunConfig(data=sys.argv[1], input_sizes=(128,)), cache=Path(sys.argv[2]))
print(next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the peak of one program alone, not of what started it: /proc")
def test_ten_thousand_photographs_take_little_memory(assets, tmp_path):
    command = [sys.executable, "-c", PEAK, str(assets / "photos"), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert int(done.stdout) < 300_000  # kB
