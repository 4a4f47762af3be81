"""Features of a picture that need no look at its content: the file, its compression, its camera, its light.

A classifier that is right from these alone has found a shortcut: Geirhos et al. (2020), "Shortcut learning in deep
neural networks", Nature Machine Intelligence 2, 665-673.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
from PIL import ExifTags, Image

from bench.cache.rows import Rows
from bench.data.dataset import Dataset, Item
from bench.data.pictures import FORMATS, Pixels, formats, ordered, quiet
from bench.errors import DataError
from bench.records import FeatureKind

FILE, COMPRESSION, LIGHT = FeatureKind.FILE, FeatureKind.COMPRESSION, FeatureKind.LIGHT

FEATURES: Mapping[str, FeatureKind] = {
    "format": FILE,  # place in `pictures.FORMATS`
    "mode": FILE,  # place in `MODES`; that of none if it is another
    "bytes": FILE,
    "width": FILE,  # as stored, before a turn that EXIF asks for
    "height": FILE,
    "aspect": FILE,
    "jpeg_luma": COMPRESSION,  # mean of the quantisation table for brightness
    "jpeg_chroma": COMPRESSION,  # mean of that for colour
    "jpeg_tables": COMPRESSION,  # checksum of all tables, which encoders differ in
    "progressive": COMPRESSION,
    "exif_tags": COMPRESSION,  # number of EXIF entries
    "camera": COMPRESSION,  # checksum of make and model
    "brightness": LIGHT,  # mean of grey
    "sharpness": LIGHT,  # logarithm of the variance of the Laplacian
    "border_red": LIGHT,
    "border_green": LIGHT,
    "border_blue": LIGHT,
}
"""The features in order, with their kinds. A value that a file or a source does not have is `ABSENT`."""

ABSENT = -1.0
"""Less than every value. Not NaN: most classifiers refuse it, and gradient boosting a column that is all NaN."""

MODES = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr", "I;16", "I;16B", "I", "F")
"""Pillow's colour modes; a file's mode is that before any conversion."""

BORDER = 16
"""The border is one part in this number of a picture's side, at least a pixel."""


def metadata(dataset: Dataset, items: Sequence[Item], squares: Rows) -> npt.NDArray[np.float64]:
    """Compute the features of pictures, shape (n, features).

    Only the beginning of each file is read.

    Args:
        items: The pictures, in the order of the result.
        squares: Their pixels from the cache, at any size, shape (n, size, size, 3).

    Raises:
        DataError: A file is missing or cannot be read.
    """

    def row(place: int) -> list[float]:
        path = dataset.source.file(items[place].id)
        header = dict(_header(path)) if path else {}
        light = dict(_light(squares[place]))
        return [{**header, **light}.get(name, ABSENT) for name in FEATURES]

    with quiet():
        rows = list(ordered(row, range(len(items))))
    return np.array(rows, np.float64).reshape(len(items), len(FEATURES))


def _header(path: Path) -> Iterator[tuple[str, float]]:
    """Read what a file tells before its pixels; what cannot be parsed is left out."""
    try:
        yield "bytes", path.stat().st_size
    except OSError as error:
        raise DataError(f"picture {str(path)!r}: cannot be read: {error.strerror}") from None
    with suppress(Exception), Image.open(path, formats=formats()) as image:  # parsers raise OSError, SyntaxError, …
        yield "format", FORMATS.index(str(image.format))
        yield "mode", MODES.index(image.mode) if image.mode in MODES else len(MODES)
        yield "width", image.width
        yield "height", image.height
        yield "aspect", image.width / image.height
        if tables := getattr(image, "quantization", None):
            values = [list(table) for _, table in sorted(tables.items())]
            yield "jpeg_luma", float(np.mean(values[0]))
            yield "jpeg_chroma", float(np.mean(values[-1]))
            yield "jpeg_tables", _checksum(repr(values))
            yield "progressive", float(bool(image.info.get("progressive")))
        if image.format == "PNG" and "exif" not in image.info:
            return  # Pillow would decode the picture and look for EXIF data behind it
        exif = image.getexif()
        yield "exif_tags", len(exif)
        if camera := [str(exif[tag]) for tag in (ExifTags.Base.Make, ExifTags.Base.Model) if tag in exif]:
            yield "camera", _checksum(" ".join(camera))


def _light(square: Pixels) -> Iterator[tuple[str, float]]:
    grey = cv2.cvtColor(square, cv2.COLOR_RGB2GRAY)
    yield "brightness", float(grey.mean())
    yield "sharpness", math.log1p(float(cv2.Laplacian(grey, cv2.CV_64F).var()))
    width = max(1, len(square) // BORDER)
    inside = np.zeros(square.shape[:2], np.bool_)
    inside[width:-width, width:-width] = True
    yield from zip(("border_red", "border_green", "border_blue"), square[~inside].mean(axis=0).tolist(), strict=True)


def _checksum(content: str) -> float:
    """A number for a text, the same in every part and run."""
    return float(zlib.crc32(content.encode("utf-8", "replace")))
