"""Pictures as arrays: decoded and resized once per size, kept on disk, shared by processes."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from bench.atomic import replacing
from bench.data.dataset import Dataset, Item
from bench.data.parallel import ordered
from bench.data.pictures import quiet

VERSION = 1
"""Part of every key: goes up when the same picture would give other pixels."""

Pixels = npt.NDArray[np.uint8]


def pixels(dataset: Dataset, part: str, size: int, cache: Path) -> Pixels:
    """The pictures of a part, in the order of `Dataset.part`.

    The whole picture is squeezed to a square, because a crop could cut off what tells the classes apart, and borders
    would spend pixels on nothing; bilinear with a support that grows with the scale, so that nothing aliases.

    Args:
        dataset: The data set.
        part: "train", "validation" or "test".
        size: Side of the square, in pixels.
        cache: A folder for the arrays, made if need be. Several processes may ask at once.

    Returns:
        Read-only, memory-mapped, uint8, shape (n, size, size, 3), 0 to 255.

    Raises:
        DataError: A picture vanished or changed since the split was made.
    """
    items = dataset.part(part)
    path = cache / f"{part}-{size}-{_key(items, size)}.npy"
    shape = (len(items), size, size, 3)
    found = _mapped(path, shape)
    if found is None:
        _write(dataset, items, shape, path)
        found = _mapped(path, shape)
    if found is None:
        raise RuntimeError(f"{path}: was written and cannot be read")
    return found


def resized(image: Image.Image, size: int) -> Pixels:
    """One picture as it is trained on and predicted from: uint8, shape (size, size, 3)."""
    return np.asarray(image.resize((size, size), Image.Resampling.BILINEAR))


def _key(items: tuple[Item, ...], size: int) -> str:
    text = "\n".join([str(VERSION), str(size), *(item.sha256 for item in items)])
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _mapped(path: Path, shape: tuple[int, ...]) -> Pixels | None:
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (FileNotFoundError, ValueError, EOFError):  # the latter two: not whole, whoever wrote it
        return None
    return array if array.shape == shape and array.dtype == np.uint8 else None


def _write(dataset: Dataset, items: tuple[Item, ...], shape: tuple[int, ...], path: Path) -> None:
    try:
        # Written in order, not through a mapping: on a full disk that is an OSError, not a SIGBUS.
        with replacing(path) as temporary, temporary.open("xb") as file, quiet():
            np.lib.format.write_array_header_1_0(file, {"descr": "|u1", "fortran_order": False, "shape": shape})
            for square in ordered(lambda item: resized(dataset.image(item), shape[1]), items):
                file.write(square.tobytes())
            file.close()  # `replacing` moves it as the block ends
    except PermissionError:
        if not path.exists():  # Windows: another process mapped its own, equal file meanwhile
            raise
