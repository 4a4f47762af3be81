"""Folders of small pictures, no two alike."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

EXIF_ORIENTATION = 0x0112


def picture(number: int, size: int = 12) -> Image.Image:
    """A picture of coloured noise; another number is another picture."""
    noise = np.random.default_rng(number).integers(0, 256, (size, size, 3), dtype=np.uint8)
    return Image.fromarray(noise)


def scene(number: int, width: int = 160, height: int = 120) -> Image.Image:
    """A picture of soft colours, as photographs have them; another number is another picture."""
    return picture(number, 8).resize((width, height), Image.Resampling.BICUBIC)


def texture(number: int, side: int = 200) -> Image.Image:
    """A picture with details of every size, as photographs have them; another number is another picture."""
    frequency = np.hypot(*np.meshgrid(np.fft.fftfreq(side), np.fft.rfftfreq(side), indexing="ij"))
    noise = np.fft.rfft2(np.random.default_rng(number).normal(size=(side, side)))
    levels = np.fft.irfft2(noise / np.maximum(frequency, 1 / side) ** 1.2, (side, side))
    levels = 128 + 50 * (levels - levels.mean()) / levels.std()
    return Image.fromarray(levels.clip(0, 255).astype(np.uint8)).convert("RGB")


def encoded(image: Image.Image, suffix: str = "PNG", **options) -> bytes:
    """The picture as the content of a file."""
    buffer = io.BytesIO()
    image.save(buffer, suffix, **options)
    return buffer.getvalue()


def exif(orientation: int) -> Image.Exif:
    """EXIF data that say so."""
    data = Image.Exif()
    data[EXIF_ORIENTATION] = orientation
    return data


STORED_AS: dict[int, Callable[[Image.Image], Image.Image]] = {
    1: lambda image: image,
    2: lambda image: image.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
    3: lambda image: image.transpose(Image.Transpose.ROTATE_180),
    4: lambda image: image.transpose(Image.Transpose.FLIP_TOP_BOTTOM),
    5: lambda image: image.transpose(Image.Transpose.TRANSPOSE),
    6: lambda image: image.transpose(Image.Transpose.ROTATE_90),
    7: lambda image: image.transpose(Image.Transpose.TRANSVERSE),
    8: lambda image: image.transpose(Image.Transpose.ROTATE_270),
}
"""How an upright picture is stored under each EXIF orientation."""


def damage(folder: Path) -> dict[str, str]:
    """Puts one file of every kind of damage into a class folder; gives how the reason of each begins, by name."""
    jpeg, png = encoded(scene(900), "JPEG"), encoded(scene(901))
    (folder / "sound.png").write_bytes(png)
    (folder / "link.png").symlink_to(folder.parent.parent)
    made = {
        "empty.jpg": (b"", "empty file (0 bytes)"),
        "truncated.jpg": (jpeg[: len(jpeg) // 2], "cannot be decoded: "),
        "truncated.png": (png[: len(png) // 2], "cannot be decoded: "),
        "<img src=x onerror=alert(1)>.jpg": (b"not a picture at all", "not a picture of a known format"),
        "bomb.png": (encoded(Image.new("1", (10_500, 10_500))), "too many pixels: 10500 x 10500, limit"),
        "sound.png.bak": (png, "the same content as"),
    }
    for name, (content, _) in made.items():
        (folder / name).write_bytes(content)
    return {"link.png": "link, not followed: leads to a folder"} | {name: reason for name, (_, reason) in made.items()}


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
