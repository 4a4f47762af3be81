"""Every way of encoding a picture gives the RGB that one would see."""

from __future__ import annotations

import hashlib
import io

import numpy as np
import pytest
from PIL import Image

from bench.data.pictures import PictureError, decode, quiet

from .conftest import picture


def encoded(image: Image.Image, suffix: str = "PNG", **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, suffix, **options)
    return buffer.getvalue()


def colour(content: bytes) -> tuple[int, int, int]:
    """The colour of the upper left corner."""
    image = decode(content, "picture").image
    assert image.mode == "RGB"
    return image.getpixel((0, 0))


@pytest.mark.parametrize("suffix", ["PNG", "BMP", "PPM", "TIFF", "GIF", "WEBP", "JPEG"])
def test_formats(suffix):
    assert decode(encoded(picture(0), suffix), "picture").image.size == (12, 12)


@pytest.mark.parametrize(
    ("image", "suffix", "expected"),
    [
        (Image.new("L", (4, 4), 100), "PNG", (100, 100, 100)),
        (Image.new("1", (4, 4), 1), "PNG", (255, 255, 255)),
        (Image.new("CMYK", (4, 4), (0, 255, 255, 0)), "TIFF", (255, 0, 0)),
        (Image.new("RGBA", (4, 4), (255, 0, 0, 0)), "PNG", (255, 255, 255)),
        (Image.new("LA", (4, 4), (40, 255)), "PNG", (40, 40, 40)),
        (Image.fromarray(np.full((4, 4), 40_000, np.uint16)), "PNG", (156, 156, 156)),
        (Image.fromarray(np.full((4, 4), 40_000, np.int32)), "TIFF", (156, 156, 156)),
        (Image.fromarray(np.full((4, 4), 99.6, np.float32)), "TIFF", (99, 99, 99)),
        (picture(0).quantize(4), "GIF", None),
    ],
)
def test_modes(image, suffix, expected):
    assert colour(encoded(image, suffix)) == (expected or image.convert("RGB").getpixel((0, 0)))


def test_a_palette_with_a_transparent_colour_is_laid_on_white():
    image = Image.new("P", (4, 4), 0)
    image.putpalette([10, 20, 30])
    assert colour(encoded(image, transparency=0)) == (255, 255, 255)


def test_an_animation_gives_its_first_frame():
    frames = [Image.new("RGB", (4, 4), each) for each in ("red", "lime")]
    assert colour(encoded(frames[0], "WEBP", save_all=True, append_images=frames[1:], lossless=True)) == (255, 0, 0)


def test_pictures_are_turned_as_exif_says():
    image = Image.new("RGB", (8, 4), "blue")
    exif = Image.Exif()
    exif[0x0112] = 6  # a quarter turn
    assert decode(encoded(image, "JPEG", exif=exif), "picture").image.size == (4, 8)


def test_damaged_exif_does_not_cost_the_picture():
    content = encoded(Image.new("RGB", (8, 4), "blue"), "JPEG", exif=b"Exif\0\0MM\0*\0\0\0\xff\0\xff")
    with quiet():
        assert decode(content, "picture").image.size == (8, 4)


def test_bytes_after_the_end_do_not_matter():
    assert decode(encoded(picture(0), "JPEG") + b"trailing", "picture").image.size == (12, 12)


def test_the_hash_is_that_of_the_file():
    content = encoded(picture(0))
    assert decode(content, "picture").sha256 == hashlib.sha256(content).hexdigest()


@pytest.mark.parametrize("content", [b"", b"text", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n"])
def test_what_is_no_picture_is_told_from_a_damaged_one(content):
    with pytest.raises(PictureError, match="'my/file'") as caught:
        decode(content, "my/file")
    assert caught.value.foreign


@pytest.mark.parametrize("kept", [0.3, 0.6, 0.95])
def test_a_truncated_picture_is_refused(kept):
    content = encoded(picture(0, 64), "JPEG")
    with pytest.raises(PictureError, match="cannot be decoded") as caught:
        decode(content[: int(len(content) * kept)], "my/file")
    assert not caught.value.foreign
    assert "\n" not in str(caught.value)
