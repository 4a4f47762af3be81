"""Folders of small pictures, no two alike."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from PIL import Image


def picture(number: int, size: int = 12) -> Image.Image:
    """A picture of coloured noise; another number is another picture."""
    noise = np.random.default_rng(number).integers(0, 256, (size, size, 3), dtype=np.uint8)
    return Image.fromarray(noise)


@pytest.fixture
def folder(tmp_path: Path):
    """Makes a folder of pictures: `{"cats": 10, "train/dogs": 5}`; returns its path."""

    def make(counts: Mapping[str, int], name: str = "pictures", size: int = 12) -> Path:
        number = 0
        for sub_folder, count in counts.items():
            (tmp_path / name / sub_folder).mkdir(parents=True)
            for index in range(count):
                picture(number, size).save(tmp_path / name / sub_folder / f"{index}.png")
                number += 1
        return tmp_path / name

    return make
