"""Decode pictures to RGB pixels, in the same way for training, test, thumbnails and prediction."""

from __future__ import annotations

import hashlib
import io
import threading
import warnings
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
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

POINTERS = {
    b"version https://git-lfs.github.com/spec/": LeftOutKind.LFS_POINTER,
    b"/annex/objects/": LeftOutKind.ANNEX_POINTER,
}
"""First bytes of the files that stand for pictures until these are downloaded (git-lfs/docs/spec.md; git-annex,
internals/pointer_file)."""

MAX_THREADS = 16
"""Maximum number of decoding threads."""

MAX_BYTES_AT_ONCE = 1_200_000_000
"""Maximum memory of all pictures that are being decoded: one of `MAX_PIXELS`, or many smaller ones."""

JPEG_BYTES, OTHER_BYTES = 4, 12
"""Memory for decoding, in bytes a pixel: by Pillow with copies in other modes, measured."""

BATCH = 8
"""Number of pictures that a thread gets at once: passing one on takes a tenth of the time of decoding a small one."""

Pixels = npt.NDArray[np.uint8]
DeepPixels = npt.NDArray[np.int32]
Levels = tuple[int, int]
"""The lowest level of deep pictures, and the number of bits of the levels above it."""

SIXTEEN_BITS: Levels = (0, 16)

BASE_STEP = 1024
"""The lowest level of deep pictures is a multiple of it: 0 for most, -1024 for computed tomography."""

OFFSET, OFFSET_BITS = 2**14, 13
"""Minimum of levels that have an offset, and the maximum number of bits above it: scanners add 2**15."""

Size = tuple[int, int]
T = TypeVar("T")
R = TypeVar("R")

_decoding, _free_bytes = threading.Condition(), MAX_BYTES_AT_ONCE

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
        deep: The levels of a picture of more than 8 bits, int32, shape (height, width) or (height, width, 3); `pixels`
            then has the upper 8 of 16 bits, until `scaled` is used. None for others.
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
    deep: DeepPixels | None = None

    @property
    def extremes(self) -> tuple[int, int] | None:
        """The lowest and the highest level of a deep picture; None for others."""
        return None if self.deep is None else (int(self.deep.min()), int(self.deep.max()))

    def scaled(self, levels: Levels) -> Picture:
        """Return a deep picture with these levels scaled to 0..255; other pictures as they are."""
        return self if self.deep is None else replace(self, pixels=_to_8_bits(self.deep, levels))


def levels(extremes: Collection[tuple[int, int]]) -> Levels:
    """The levels that deep pictures use, from the lowest and the highest of each.

    The lowest is 0, unless there are negative levels, or all are high and close together, as in scans with an offset.
    """
    lowest, highest = min(low for low, _ in extremes), max(high for _, high in extremes)
    is_offset = lowest >= OFFSET and (highest - lowest).bit_length() <= OFFSET_BITS
    lowest = lowest // BASE_STEP * BASE_STEP if lowest < 0 or is_offset else 0
    return lowest, max(8, (highest - lowest).bit_length())


def _to_8_bits(deep: DeepPixels, levels: Levels) -> Pixels:
    lowest, bits = levels
    pixels = np.clip((deep.astype(np.int64) - lowest) >> (bits - 8), 0, 255).astype(np.uint8)
    return pixels if pixels.ndim == 3 else np.repeat(pixels[..., np.newaxis], 3, axis=2)


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
    digest = hashlib.sha256(content).hexdigest()
    if decoded := _by_libjpeg(content, name, least, notes):
        return Picture(decoded[0], digest, name, decoded[1], tuple(notes))
    pixels = _by_pillow(content, name, notes)
    height, width = pixels.shape[:2]
    if pixels.dtype == np.uint8:
        return Picture(np.asarray(pixels, np.uint8), digest, name, (width, height), tuple(notes))
    deep = np.asarray(pixels, np.int32)
    return Picture(_to_8_bits(deep, SIXTEEN_BITS), digest, name, (width, height), tuple(notes), deep)


def resized(pixels: Pixels, size: int, fit: str = "squash") -> Pixels:
    """Resize a picture to a square, as for training and prediction.

    It is resized bilinearly to `size` times the largest power of two that fits into the picture, then halved by
    averaging. Every pixel counts at any scale, so there is no aliasing. Photographs differ on average by 0.2 to 1.1
    levels of 255 from the mean over each pixel's area (OpenCV's INTER_AREA), which takes 3 to 5 times as long.

    Args:
        pixels: uint8, shape (height, width) or (height, width, 3).
        size: Side of the square.
        fit: One of `config.FITS`: change its aspect ratio, cut off its ends, or add black borders.
    """
    if fit == "crop":
        side = min(pixels.shape[:2])
        top, left = ((length - side) // 2 for length in pixels.shape[:2])
        pixels = pixels[top : top + side, left : left + side]
    elif fit == "pad":
        height, width = pixels.shape[:2]
        top, left = (max(height, width) - height) // 2, (max(height, width) - width) // 2
        square = np.zeros((max(height, width), max(height, width), *pixels.shape[2:]), np.uint8)
        square[top : top + height, left : left + width] = pixels
        pixels = square
    height, width = (size << max(0, (side // size).bit_length() - 1) for side in pixels.shape[:2])
    square = cv2.resize(pixels, (width, height), interpolation=cv2.INTER_LINEAR)
    while width > size or height > size:
        width, height = max(size, width // 2), max(size, height // 2)
        square = cv2.resize(square, (width, height), interpolation=cv2.INTER_LINEAR)
    return np.asarray(square, np.uint8)


def is_picture(path: str) -> bool:
    """Return whether a file is a picture by its first bytes; it is not decoded."""
    with suppress(Exception), Image.open(path, formats=formats()):
        return True
    return False


@contextmanager
def quiet() -> Iterator[None]:
    """Silence Pillow's warnings about damaged or very large pictures, which raise `PictureError` here.

    Warning filters belong to the process, so use this once around the decoding threads, not in each.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")
        yield


@contextmanager
def _memory(size_bytes: int) -> Iterator[None]:
    """Wait until the pictures that other threads decode leave so much memory."""
    global _free_bytes
    size_bytes = min(size_bytes, MAX_BYTES_AT_ONCE)
    with _decoding:
        _decoding.wait_for(lambda: _free_bytes >= size_bytes)
        _free_bytes -= size_bytes
    try:
        yield
    finally:
        with _decoding:
            _free_bytes += size_bytes
            _decoding.notify_all()


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
        least_height, least_width = -(-height // factor), -(-width // factor)
        with _memory(JPEG_BYTES * least_height * least_width):
            pixels = simplejpeg.decode_jpeg(content, min_height=least_height, min_width=least_width, min_factor=factor)
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


def _by_pillow(content: bytes, name: str, notes: list[str]) -> npt.NDArray[Any]:
    """Decode a picture to RGB, uint8, or to the levels of a deep picture, of another type."""
    try:
        with Image.open(io.BytesIO(content), formats=formats()) as image:
            _check_size(name, image.width, image.height)
            notes += [*_mode_notes(image), *_suffix_notes(str(image.format), name)]
            with _memory(OTHER_BYTES * image.width * image.height):
                is_deep, stored = _has_16_bits(image), _orientation(image)  # reading EXIF may load a PNG
                image.load()
                orientation = _orientation(image)  # loading turns TIFF; PNG may have it at the end of the file
                notes += [TURNED] * (max(stored, orientation) > 1)
                deep = _deep(image, content if is_deep else b"")
                return _turned(np.asarray(_to_rgb(image)) if deep is None else deep, orientation)
    except PictureError:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise PictureError(name, LeftOutKind.TOO_LARGE, _too_large("far too many")) from None
    except UnidentifiedImageError:
        pointers = (kind for start, kind in POINTERS.items() if content.startswith(start))
        raise PictureError(name, next(pointers, LeftOutKind.UNKNOWN_FORMAT)) from None
    except Exception as error:  # decoders raise OSError, SyntaxError, struct.error, …
        message = " ".join(str(error).split()) or type(error).__name__
        raise PictureError(name, LeftOutKind.DAMAGED, message) from None


def _deep(image: Image.Image, content: bytes) -> npt.NDArray[Any] | None:
    """The levels of a picture of more than 8 bits, which Pillow would clip or cut; None for others.

    `content` is that of a picture of 16 bits a channel; else it is empty.
    Floats from 0 to 1 stand for 16 bits, those from 0 to 255 for 8 bits, others for themselves.
    """
    if image.mode.startswith("I"):
        return np.asarray(image).astype(np.int32)
    if image.mode == "F":
        grey = np.nan_to_num(np.asarray(image))
        if grey.min() >= 0 and grey.max() <= 1:
            grey = grey * 65535
        elif grey.min() >= 0 and grey.max() <= 255:
            return None
        return np.asarray(np.rint(np.clip(grey, -(2**30), 2**30)), np.int32)
    colours = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED) if content else None
    if colours is None or colours.dtype != np.uint16 or colours.shape[2:] != (3,):
        return None
    return cv2.cvtColor(colours, cv2.COLOR_BGR2RGB).astype(np.int32)


def _has_16_bits(image: Image.Image) -> bool:
    return image.mode.startswith("I") or ";16" in str(getattr(image, "tile", ""))  # Pillow loads 16-bit RGB as mode RGB


def _to_rgb(image: Image.Image) -> Image.Image:
    """Convert to mode RGB: transparency on white, floats to whole numbers."""
    if image.mode == "RGB" and "transparency" not in image.info:
        return image
    if image.mode == "F":
        return Image.fromarray(np.nan_to_num(np.asarray(image)).astype(np.uint8)).convert("RGB")
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


def _turned(pixels: npt.NDArray[Any], orientation: int) -> npt.NDArray[Any]:
    return np.asarray(_TURNS[orientation](pixels)) if orientation in _TURNS else pixels


# -- notes and refusals

TURNED = "turned as EXIF says"


def _mode_notes(image: Image.Image) -> Iterator[str]:
    if Image.getmodebase(image.mode) == "L":
        yield "grey"
    elif image.mode in ("P", "PA"):
        yield "palette"
    elif not image.mode.startswith("RGB"):
        yield image.mode
    if _has_16_bits(image):
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
def formats() -> tuple[str, ...]:
    """The formats that this Pillow can decode."""
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
