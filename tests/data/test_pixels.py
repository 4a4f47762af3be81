"""Pictures as arrays, decoded once."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from bench import data
from bench.config import RunConfig
from bench.data.pixels import pixels, resized
from bench.errors import DataError


@pytest.fixture
def dataset(folder):
    return data.open(RunConfig(data=str(folder({"cats": 8, "dogs": 8}))))


def test_are_the_pictures_of_the_part_in_order(dataset, tmp_path):
    array = pixels(dataset, "train", 8, tmp_path / "cache")
    items = dataset.part("train")
    assert array.shape == (len(items), 8, 8, 3)
    assert array.dtype == np.uint8
    for row, item in zip(array, items, strict=True):
        np.testing.assert_array_equal(row, resized(dataset.image(item), 8))


def test_cannot_be_written_to(dataset, tmp_path):
    array = pixels(dataset, "test", 8, tmp_path)
    with pytest.raises(ValueError, match="read-only"):
        array[0] = 0


def test_are_decoded_once(dataset, tmp_path, folder):
    first = np.array(pixels(dataset, "test", 8, tmp_path / "cache"))
    for path in (tmp_path / "pictures").rglob("*.png"):
        path.unlink()
    np.testing.assert_array_equal(pixels(dataset, "test", 8, tmp_path / "cache"), first)


def test_sizes_and_parts_are_kept_apart(dataset, tmp_path):
    for part in ("train", "test"):
        for size in (8, 16):
            assert pixels(dataset, part, size, tmp_path).shape == (len(dataset.part(part)), size, size, 3)
    assert len(list(tmp_path.glob("*.npy"))) == 4


def test_a_damaged_array_is_made_again(dataset, tmp_path):
    first = np.array(pixels(dataset, "test", 8, tmp_path / "cache"))
    (path,) = (tmp_path / "cache").iterdir()
    path.write_bytes(path.read_bytes()[:150])
    np.testing.assert_array_equal(pixels(dataset, "test", 8, tmp_path / "cache"), first)


def test_a_picture_that_changed_is_named_and_nothing_is_left(dataset, tmp_path):
    path = tmp_path / "pictures" / dataset.part("test")[0].id
    path.write_bytes(path.read_bytes() + b"changed")
    with pytest.raises(DataError, match=f"{path.name}': its content changed"):
        pixels(dataset, "test", 8, tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == []


def test_large_pictures_are_averaged_not_skipped_over():
    from PIL import Image

    checked = np.indices((64, 64)).sum(0) % 2 * 255
    array = resized(Image.fromarray(checked.astype(np.uint8)).convert("RGB"), 8)
    assert abs(array.astype(float) - 127.5).max() < 16


CHECKSUM = """
import sys
from pathlib import Path
from bench import data
from bench.data.pixels import pixels
print(int(pixels(data.load(Path(sys.argv[1])), "train", 8, Path(sys.argv[2])).astype("int64").sum()))
"""


@pytest.mark.slow
def test_processes_at_once_get_the_same(dataset, tmp_path):
    dataset.write(tmp_path / "split.json")
    environment = {**os.environ, "PYTHONPATH": str(Path(data.__file__).parents[2])}
    command = [sys.executable, "-c", CHECKSUM, str(tmp_path / "split.json"), str(tmp_path / "cache")]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) for _ in range(3)]
    sums = {int(process.communicate()[0]) for process in running}
    assert sums == {int(pixels(dataset, "train", 8, tmp_path / "cache").astype(np.int64).sum())}
    assert len(list((tmp_path / "cache").iterdir())) == 1
