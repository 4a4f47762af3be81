"""Decode pictures to RGB pixels, in the same way for training, test, thumbnails and prediction."""

from __future__ import annotations

import hashlib
import io
import threading
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from itertools import islice
from typing import Any, TypeVar

import cv2
import numpy as np
import numpy.typing as npt
import simplejpeg
from PIL import ExifTags, Image, UnidentifiedImageError

from bench.data.machine import core_count
from bench.errors import DataError
from bench.records import LeftOutKind

MAX_PIXELS = 100_000_000
"""Maximum number of pixels of a picture (300 MB in RGB). Larger pictures are refused before decoding."""

SHARED_SIDE = 256
"""Maximum side in pixels of squares that are computed from the same decoded pixels."""

FORMATS = ("JPEG", "MPO", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "AVIF", "JPEG2000")
"""Formats that are decoded if this Pillow can. Not EPS: its decoder starts Ghostscript on the file."""

MAX_THREADS = 16
"""Maximum number of decoding threads. Each may hold one picture of `MAX_PIXELS` in memory."""

BATCH = 8
"""Number of pictures that a thread gets at once: passing one on takes a tenth of the time of decoding a small one."""

Pixels = npt.NDArray[np.uint8]
Size = tuple[int, int]
T = TypeVar("T")
R = TypeVar("R")

cv2.setNumThreads(0)  # `ordered` uses its own threads


class PictureError(DataError):
    """A picture cannot be used; `kind` and `detail` give the reason."""

    def __init__(self, name: str, kind: LeftOutKind, detail: str = "") -> None:
        super().__init__(f"picture {name!r}: {kind.reason(detail)}")
        self.kind, self.detail = kind, detail


@dataclass(frozen=True, eq=False)
class Picture:
    """A decoded picture.

    Attributes:
        pixels: Upright, RGB, uint8, shape (height, width, 3).
        sha256: Hash of its content as stored, hexadecimal.
        name: Its path, for messages.
        size: Upright width and height in pixels, as stored; `pixels` may have been decoded smaller.
        notes: Oddities that decoding corrected, e.g. "grey", "turned as EXIF says", "PNG named .jpg".
    """

    pixels: Pixels
    sha256: str
    name: str
    size: Size
    notes: tuple[str, ...] = ()


def decode(content: bytes, name: str, least: int = 0) -> Picture:
    """Decode a picture by its content; the file's suffix does not matter.

    Of an animation the first frame is decoded. EXIF orientation is applied, transparency is put on white, 16 bits are
    scaled to 8, other modes are converted by Pillow, and colour profiles are ignored.

    JPEGs are decoded directly by libjpeg-turbo, which gives the same pixels as Pillow, bit for bit, in half the time.
    Unusual JPEGs and all other formats are decoded by Pillow.

    With `least`, a JPEG is decoded at 1/2, 1/4 or 1/8 of its size, as long as both sides stay at least twice as long as
    `least` and `SHARED_SIDE`: libjpeg then skips the finest detail, which resizing would average away. Squares of 96 to
    224 pixels differ on average by 0.2 to 0.6 levels of 255 from those of a full decoding (photographs enlarged to 4.3
    megapixels, mosaics of 108 photographs, photographs with noise at 12 megapixels), and decoding takes 0.5 to 0.7 of
    the time.

    Args:
        content, name: The encoded picture, and its path for messages.
        least: Side in pixels of the largest square that will be computed from it (`resized`); 0: full size.

    Raises:
        PictureError: It is empty, truncated, damaged, too large or not a picture.
    """
    if not content:
        raise PictureError(name, LeftOutKind.EMPTY)
    notes: list[str] = []
    pixels, size = _by_libjpeg(content, name, least, notes) or _by_pillow(content, name, notes)
    return Picture(pixels, hashlib.sha256(content).hexdigest(), name, size, tuple(notes))


def resized(pixels: Pixels, size: int) -> Pixels:
    """Resize a whole picture to a square, as for training and prediction.

    It is resized bilinearly to `size` times the largest power of two that fits into the picture, then halved by
    averaging. Every pixel counts at any scale, so there is no aliasing. Photographs differ on average by 0.2 to 1.1
    levels of 255 from the mean over each pixel's area (OpenCV's INTER_AREA), which takes 3 to 5 times as long.

    Args:
        pixels: uint8, shape (height, width) or (height, width, 3).
        size: Side of the square.
    """
    height, width = (size << max(0, (side // size).bit_length() - 1) for side in pixels.shape[:2])
    square = cv2.resize(pixels, (width, height), interpolation=cv2.INTER_LINEAR)
    while width > size or height > size:
        width, height = max(size, width // 2), max(size, height // 2)
        square = cv2.resize(square, (width, height), interpolation=cv2.INTER_LINEAR)
    return np.asarray(square, np.uint8)


@contextmanager
def quiet() -> Iterator[None]:
    """Silence Pillow's warnings about damaged or very large pictures, which raise `PictureError` here.

    Warning filters belong to the process, so use this once around the decoding threads, not in each.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")
        yield


# -- JPEG


def _by_libjpeg(content: bytes, name: str, least: int, notes: list[str]) -> tuple[Pixels, Size] | None:
    """Decode a JPEG to pixels and full size; None leaves it to Pillow."""
    if not content.startswith(b"\xff\xd8\xff"):
        return None
    try:
        height, width, colours, _ = simplejpeg.decode_jpeg_header(content)
        _check_size(name, width, height)
        if colours not in ("YCbCr", "Gray", "RGB"):
            return None
        largest = min(width, height) // (2 * max(least, SHARED_SIDE)) if least else 1
        factor = min(8, 1 << max(0, largest.bit_length() - 1))  # libjpeg-turbo is fast only at powers of two
        pixels = simplejpeg.decode_jpeg(
            content, min_height=-(-height // factor), min_width=-(-width // factor), min_factor=factor
        )
    except (ValueError, KeyError) as error:  # KeyError: an unknown colour space
        if "extraneous bytes before marker" in str(error):
            notes.append("extraneous bytes before a marker")
        elif str(error).startswith("Corrupt JPEG data"):
            notes.append("corrupt JPEG data, decoded anyway")
        return None
    orientation = _jpeg_orientation(content)
    notes += ["grey"] * (colours == "Gray") + [TURNED] * (orientation > 1) + _suffix_notes("JPEG", name)
    return _turned(pixels, orientation), (width, height) if orientation < 5 else (height, width)


def _jpeg_orientation(content: bytes) -> int:
    if b"\xff\xe1" not in content:  # no APP1 segment, so neither EXIF nor XMP
        return 1
    with suppress(Exception), Image.open(io.BytesIO(content), formats=("JPEG",)) as image:
        return _orientation(image)
    return 1


# -- everything else


def _by_pillow(content: bytes, name: str, notes: list[str]) -> tuple[Pixels, Size]:
    try:
        with Image.open(io.BytesIO(content), formats=_formats()) as image:
            _check_size(name, image.width, image.height)
            notes += [*_mode_notes(image), *_suffix_notes(str(image.format), name)]
            stored = _orientation(image)
            image.load()
            orientation = _orientation(image)  # loading turns TIFF; PNG may have it at the end of the file
            notes += [TURNED] * (max(stored, orientation) > 1)
            pixels = _turned(np.asarray(_to_rgb(image)), orientation)
    except PictureError:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise PictureError(name, LeftOutKind.TOO_LARGE, _too_large("far too many")) from None
    except UnidentifiedImageError:
        raise PictureError(name, LeftOutKind.UNKNOWN_FORMAT) from None
    except Exception as error:  # decoders raise OSError, SyntaxError, struct.error, …
        message = " ".join(str(error).split()) or type(error).__name__
        raise PictureError(name, LeftOutKind.DAMAGED, message) from None
    height, width = pixels.shape[:2]
    return pixels, (width, height)


def _to_rgb(image: Image.Image) -> Image.Image:
    """Convert to mode RGB: transparency on white, 16-bit grey divided by 256, floats clipped to 0..255."""
    if image.mode == "RGB" and "transparency" not in image.info:
        return image
    if image.mode == "F" or image.mode.startswith("I"):  # Pillow would clip 16-bit grey at 255
        grey = np.asarray(image)
        grey = np.nan_to_num(grey) if image.mode == "F" else grey.astype(np.int64) >> 8
        return Image.fromarray(np.clip(grey, 0, 255).astype(np.uint8)).convert("RGB")
    if image.has_transparency_data:
        layer = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer).convert("RGB")
    return image.convert("RGB")


def _orientation(image: Image.Image) -> int:
    """Orientation by EXIF or XMP: 1 is upright, 2 to 8 follow the EXIF standard."""
    with suppress(Exception):  # damaged EXIF data is common; the picture itself is sound and counts as upright
        value = image.getexif().get(ExifTags.Base.Orientation, 1)
        return value if value in _TURNS else 1
    return 1


_TURNS: dict[int, Callable[[Pixels], npt.NDArray[Any]]] = {
    2: lambda pixels: cv2.flip(pixels, 1),
    3: lambda pixels: cv2.rotate(pixels, cv2.ROTATE_180),
    4: lambda pixels: cv2.flip(pixels, 0),
    5: lambda pixels: cv2.transpose(pixels),
    6: lambda pixels: cv2.rotate(pixels, cv2.ROTATE_90_CLOCKWISE),
    7: lambda pixels: cv2.flip(cv2.transpose(pixels), -1),
    8: lambda pixels: cv2.rotate(pixels, cv2.ROTATE_90_COUNTERCLOCKWISE),
}
"""Operations that turn a picture upright, by its orientation (EXIF 3.0, tag 0x0112)."""


def _turned(pixels: Pixels, orientation: int) -> Pixels:
    return np.asarray(_TURNS[orientation](pixels), np.uint8) if orientation in _TURNS else pixels


# -- notes and refusals

TURNED = "turned as EXIF says"


def _mode_notes(image: Image.Image) -> Iterator[str]:
    if Image.getmodebase(image.mode) == "L":
        yield "grey"
    elif image.mode in ("P", "PA"):
        yield "palette"
    elif not image.mode.startswith("RGB"):
        yield image.mode
    if image.mode.startswith("I") or ";16" in str(getattr(image, "tile", "")):  # Pillow loads 16-bit RGB as mode RGB
        yield "16 bits a channel"
    if image.has_transparency_data:
        yield "transparency"
    with suppress(Exception):  # the second frame is damaged; the first may be sound
        if getattr(image, "is_animated", False):
            yield "animation, first frame"


def _suffix_notes(actual: str, name: str) -> list[str]:
    suffix = "." + name.rpartition(".")[2].lower()
    expected = Image.registered_extensions().get(suffix, actual)
    return [f"{actual} named {suffix}"] if expected != actual and {expected, actual} != {"JPEG", "MPO"} else []


def _check_size(name: str, width: int, height: int) -> None:
    if width * height > MAX_PIXELS:
        raise PictureError(name, LeftOutKind.TOO_LARGE, _too_large(f"{width} x {height}"))


def _too_large(size: str) -> str:
    return f"{size}, limit {MAX_PIXELS // 10**6} megapixels"


@cache
def _formats() -> tuple[str, ...]:
    Image.init()
    return tuple(name for name in FORMATS if name in Image.OPEN)


# -- many pictures


def ordered(function: Callable[[T], R], values: Iterable[T], batch_size: int = BATCH) -> Iterator[R]:
    """Apply a function in threads; decoding, resizing and hashing release the interpreter lock.

    Yield results in the order of the values, with a bounded number in flight. An error of the function is raised in
    place of its result or shortly before. After an error, or when the caller stops early, values that have not started
    are dropped.
    """
    threads = min(core_count(), MAX_THREADS)
    remaining = iter(values)
    stopped = threading.Event()

    def work(batch: list[T]) -> list[R]:
        return [function(value) for value in batch if not stopped.is_set()]

    def submit(count: int) -> Iterator[Future[list[R]]]:
        for _ in range(count):
            if batch := list(islice(remaining, batch_size)):
                yield executor.submit(work, batch)

    executor = ThreadPoolExecutor(threads, thread_name_prefix="pictures")
    try:
        running = deque(submit(2 * threads))
        while running:
            results = running.popleft().result()
            running.extend(submit(1))
            yield from results
    finally:
        stopped.set()  # after Ctrl-C, skip the rest of each batch
        executor.shutdown(cancel_futures=True)
