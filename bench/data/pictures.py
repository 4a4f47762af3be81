"""Encoded pictures to RGB, the one way that training, test, thumbnails and prediction share."""

from __future__ import annotations

import hashlib
import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from bench.errors import DataError

MOST_PIXELS = 100_000_000
"""Larger pictures are refused before they are decoded (300 MB in RGB): a few bytes of file can ask for any amount."""

FORMATS = ("JPEG", "MPO", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "AVIF", "JPEG2000")
"""What is decoded, as far as this Pillow can. Not EPS, whose decoder starts Ghostscript on the file."""


class PictureError(DataError):
    """One picture cannot be used.

    Args:
        name: Its path.
        reason: Why, in a few words.
        foreign: Whether its content is no picture of any known format.
    """

    def __init__(self, name: str, reason: str, *, foreign: bool = False) -> None:
        super().__init__(f"picture {name!r}: {reason}")
        self.reason, self.foreign = reason, foreign


@dataclass(frozen=True)
class Picture:
    """A decoded picture.

    Attributes:
        image: Upright, mode RGB.
        sha256: Of its content as stored, hexadecimal.
        name: Where it came from, for messages.
    """

    image: Image.Image
    sha256: str
    name: str


def decode(content: bytes, name: str) -> Picture:
    """Decodes a picture by its content, whatever its name says.

    The first frame of an animation; turned as EXIF says; transparency on white; 16 bits scaled to 8; other modes
    by Pillow's conversion, colour profiles left aside.

    Args:
        content: The encoded picture.
        name: Its path, for messages.

    Raises:
        PictureError: It is empty, truncated, damaged, too large or no picture.
    """
    if not content:
        raise PictureError(name, "empty file (0 bytes)", foreign=True)
    try:
        with Image.open(io.BytesIO(content), formats=_formats()) as image:
            if image.width * image.height > MOST_PIXELS:
                raise PictureError(name, _too_large(f"{image.width} x {image.height}"))
            image.load()
            upright = to_rgb(_upright(image))
    except PictureError:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise PictureError(name, _too_large("more")) from None
    except UnidentifiedImageError:
        raise PictureError(name, "not a picture of a known format", foreign=True) from None
    except Exception as error:  # decoders raise whatever their parsing meets: OSError, SyntaxError, struct.error, …
        raise PictureError(name, _one_line(error)) from None
    return Picture(upright, hashlib.sha256(content).hexdigest(), name)


def to_rgb(image: Image.Image) -> Image.Image:
    """The picture in mode RGB: transparency on white, 16-bit grey divided by 256, floats cut to 0..255."""
    if image.mode == "RGB" and "transparency" not in image.info:
        return image
    if image.mode.startswith("I"):  # Pillow itself would cut 16-bit grey at 255
        grey = np.asarray(image).astype(np.int64) >> 8
        return Image.fromarray(np.clip(grey, 0, 255).astype(np.uint8)).convert("RGB")
    if image.mode == "F":
        return Image.fromarray(np.clip(np.nan_to_num(np.asarray(image)), 0, 255).astype(np.uint8)).convert("RGB")
    if image.has_transparency_data:
        layer = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer).convert("RGB")
    return image.convert("RGB")


@contextmanager
def quiet() -> Iterator[None]:
    """Silences Pillow's warnings on damaged or very large pictures, which are answered here by `PictureError`.

    Filters of warnings belong to the process: enter this once around the threads that decode, not in each.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")
        yield


def _upright(image: Image.Image) -> Image.Image:
    try:
        return ImageOps.exif_transpose(image)
    except Exception:  # damaged EXIF data, common in the wild: the picture itself is sound, and counts as upright
        return image


def _too_large(size: str) -> str:
    return f"{size} pixels, limit {MOST_PIXELS // 10**6} megapixels"


def _one_line(error: Exception) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    return f"cannot be decoded: {text}"


@cache
def _formats() -> tuple[str, ...]:
    Image.init()
    return tuple(name for name in FORMATS if name in Image.OPEN)
