"""Every way of encoding a picture gives the RGB that one would see."""

from __future__ import annotations

import hashlib
import io

import cv2
import numpy as np
import pytest
from PIL import Image

from bench.data.audit import FOREIGN
from bench.data.pictures import SHARED_SIDE, SIXTEEN_BITS, PictureError, decode, levels, quiet, resized

from .conftest import STORED_AS, encoded, exif, picture, scene


def by_pillow(content: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(content)).convert("RGB"))


@pytest.mark.parametrize("suffix", ["PNG", "BMP", "PPM", "TIFF", "GIF", "WEBP", "JPEG"])
def test_formats(suffix):
    pixels = decode(encoded(picture(0), suffix), "picture").pixels
    assert (pixels.shape, pixels.dtype) == ((12, 12, 3), np.uint8)


class TestConversion:
    @pytest.mark.parametrize(
        ("image", "suffix", "expected", "notes"),
        [
            (Image.new("RGB", (4, 4), (10, 20, 30)), "PNG", (10, 20, 30), ()),
            (Image.new("L", (4, 4), 100), "PNG", (100, 100, 100), ("grey",)),
            (Image.new("1", (4, 4), 1), "PNG", (255, 255, 255), ("grey",)),
            (Image.new("CMYK", (4, 4), (0, 255, 255, 0)), "TIFF", (255, 0, 0), ("CMYK",)),
            (Image.new("RGBA", (4, 4), (255, 0, 0, 0)), "PNG", (255, 255, 255), ("transparency",)),
            (Image.new("RGBA", (4, 4), (255, 0, 0, 51)), "PNG", (255, 204, 204), ("transparency",)),
            (Image.new("LA", (4, 4), (40, 255)), "PNG", (40, 40, 40), ("grey", "transparency")),
            (Image.fromarray(np.full((4, 4), 40_000, np.uint16)), "PNG", (156,) * 3, ("grey", "16 bits a channel")),
            (Image.fromarray(np.full((4, 4), 40_000, np.int32)), "TIFF", (156,) * 3, ("grey", "16 bits a channel")),
            (Image.fromarray(np.full((4, 4), 99.6, np.float32)), "TIFF", (99, 99, 99), ("grey",)),
            (Image.new("RGB", (4, 4), (10, 20, 30)).quantize(4), "GIF", (10, 20, 30), ("palette",)),
        ],
        ids=lambda value: value.mode if isinstance(value, Image.Image) else "",
    )
    def test_modes(self, image, suffix, expected, notes):
        found = decode(encoded(image, suffix), "picture")
        assert (found.pixels == expected).all()
        assert found.notes == notes

    def test_a_cmyk_jpeg(self):
        found = decode(encoded(Image.new("CMYK", (16, 16), (0, 255, 255, 0)), "JPEG"), "picture")
        assert abs(found.pixels.astype(int) - (255, 0, 0)).max() < 8
        assert found.notes == ("CMYK",)

    def test_16_bits_a_colour(self):
        pixels = np.full((4, 4, 3), (40_000, 20_000, 256), np.uint16)
        found = decode(cv2.imencode(".png", pixels[..., ::-1])[1].tobytes(), "picture")
        assert (found.pixels == (156, 78, 1)).all()
        assert found.notes == ("16 bits a channel",)

    def test_a_palette_with_a_transparent_colour_is_laid_on_white(self):
        image = Image.new("P", (4, 4), 0)
        image.putpalette([10, 20, 30])
        found = decode(encoded(image, transparency=0), "picture")
        assert (found.pixels == 255).all()
        assert found.notes == ("palette", "transparency")

    @pytest.mark.parametrize("suffix", ["WEBP", "PNG", "GIF"])
    def test_an_animation_gives_its_first_frame(self, suffix):
        frames = [Image.new("RGB", (4, 4), each) for each in ("red", "lime")]
        content = encoded(frames[0], suffix, save_all=True, append_images=frames[1:], lossless=True)
        found = decode(content, "picture")
        assert (found.pixels == (255, 0, 0)).all()
        assert "animation, first frame" in found.notes

    def test_the_name_is_compared_with_the_content(self):
        content = encoded(picture(0), "WEBP")
        assert decode(content, "my.folder/cat.jpg").notes == ("WEBP named .jpg",)
        assert decode(content, "my.folder/cat.WebP").notes == ()
        assert decode(content, "my.folder/cat").notes == ()
        assert decode(content, "my.folder/cat.1").notes == ()

    def test_the_hash_is_that_of_the_file(self):
        content = encoded(picture(0))
        assert decode(content, "picture").sha256 == hashlib.sha256(content).hexdigest()


class TestOrientation:
    @pytest.mark.parametrize("orientation", STORED_AS)
    @pytest.mark.parametrize("suffix", ["JPEG", "PNG", "TIFF", "WEBP"])
    def test_pictures_are_turned_as_exif_says(self, orientation, suffix):
        upright = scene(0)
        stored = STORED_AS[orientation](upright)
        found = decode(encoded(stored, suffix, exif=exif(orientation), quality=95), "picture")
        assert found.size == upright.size
        assert abs(found.pixels.astype(int) - np.asarray(upright)).mean() < 4
        assert found.notes == (("turned as EXIF says",) if orientation > 1 else ())

    def test_xmp_may_say_it_too(self):
        xmp = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description tiff:Orientation="6"/></x:xmpmeta>'
        assert decode(encoded(scene(0, 40, 24), "JPEG", xmp=xmp), "picture").size == (24, 40)

    @pytest.mark.parametrize("value", [0, 9, 60_000])
    def test_values_that_mean_nothing_leave_it_upright(self, value):
        assert decode(encoded(scene(0, 40, 24), "JPEG", exif=exif(value)), "picture").size == (40, 24)

    def test_damaged_exif_does_not_cost_the_picture(self):
        content = encoded(Image.new("RGB", (8, 4), "blue"), "JPEG", exif=b"Exif\0\0MM\0*\0\0\0\xff\0\xff")
        with quiet():
            assert decode(content, "picture").size == (8, 4)


class TestJpeg:
    @pytest.mark.parametrize(
        ("mode", "options"),
        [
            ("L", {}),
            ("RGB", {"subsampling": "4:4:4"}),
            ("RGB", {"subsampling": "4:2:2"}),
            ("RGB", {"subsampling": "4:2:0"}),
            ("RGB", {"subsampling": "4:2:0", "progressive": True}),
            ("RGB", {"keep_rgb": True}),
            ("CMYK", {}),
        ],
        ids=str,
    )
    def test_gives_the_pixels_that_pillow_gives(self, mode, options):
        for number in range(5):
            image = Image.blend(scene(number, 203, 157), picture(number, 203).crop((0, 0, 203, 157)), 0.2)
            content = encoded(image.convert(mode), "JPEG", **options)
            np.testing.assert_array_equal(decode(content, "picture").pixels, by_pillow(content))

    def test_bytes_after_the_end_do_not_matter(self):
        content = encoded(scene(0), "JPEG")
        found = decode(content + b"trailing", "picture")
        np.testing.assert_array_equal(found.pixels, by_pillow(content))
        assert found.notes == ()

    @pytest.mark.parametrize(("width", "height", "factor"), [(1023, 2000, 1), (1024, 1100, 2), (2048, 3000, 4)])
    def test_a_large_one_is_decoded_smaller_for_small_squares(self, width, height, factor):
        content = encoded(scene(1, width, height), "JPEG")
        full, reduced = decode(content, "picture"), decode(content, "picture", least=96)
        assert full.pixels.shape == (height, width, 3)
        assert reduced.pixels.shape == (-(-height // factor), -(-width // factor), 3)
        assert reduced.size == full.size == (width, height)
        for size in (96, 224):
            difference = abs(resized(full.pixels, size).astype(int) - resized(reduced.pixels, size))
            assert difference.mean() < 1
            assert difference.max() < 16

    def test_small_squares_are_all_made_of_the_same_pixels(self):
        content = encoded(scene(1, 1200, 1100), "JPEG")
        same = decode(content, "picture", least=1)
        np.testing.assert_array_equal(decode(content, "picture", least=SHARED_SIDE).pixels, same.pixels)
        assert decode(content, "picture", least=300).pixels.shape == (1100, 1200, 3)

    def test_a_turned_one_knows_its_upright_size(self):
        content = encoded(scene(1, 1400, 1100), "JPEG", exif=exif(6))
        found = decode(content, "picture", least=96)
        assert found.pixels.shape == (700, 550, 3)
        assert found.size == (1100, 1400)


class TestRefusals:
    @pytest.mark.parametrize("content", [b"", b"text", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n"])
    def test_what_is_no_picture_is_told_from_a_damaged_one(self, content):
        with pytest.raises(PictureError, match="'my/file'") as caught:
            decode(content, "my/file")
        assert caught.value.kind in FOREIGN

    @pytest.mark.parametrize(
        "options", [{}, {"progressive": True}, {"exif": exif(6)}], ids=["plain", "progressive", "turned"]
    )
    @pytest.mark.parametrize("least", [0, 96])
    def test_a_jpeg_that_ends_early_is_refused_wherever_it_ends(self, options, least):
        content = encoded(scene(0, 1030, 1030), "JPEG", **options)
        decode(content, "my/file", least)
        ends = [len(content) - 1, len(content) - 2, *range(600, len(content) - 2, len(content) // 7)]
        for end in ends:
            with quiet(), pytest.raises(PictureError, match="'my/file': cannot be decoded") as caught:
                decode(content[:end], "my/file", least)
            assert "\n" not in str(caught.value)


class TestResizing:
    def test_whole_factors_are_averages(self):
        pixels = np.asarray(picture(0, 64))
        average = pixels.reshape(16, 4, 16, 4, 3).mean((1, 3))
        assert abs(resized(pixels, 16) - average).max() <= 1.5  # rounded at each halving

    @pytest.mark.parametrize(("width", "height"), [(641, 399), (300, 1201), (97, 500)])
    def test_other_factors_are_averages_nearly(self, width, height):
        pixels = np.asarray(scene(0, width, height))
        average = cv2.resize(pixels, (96, 96), interpolation=cv2.INTER_AREA)
        assert abs(resized(pixels, 96).astype(int) - average).mean() < 1

    def test_nothing_aliases(self):
        checked = np.indices((100, 100)).sum(0) % 2 * 255
        pixels = np.repeat(checked.astype(np.uint8)[..., None], 3, axis=2)
        assert abs(resized(pixels, 8).astype(float) - 127.5).max() < 16

    def test_small_pictures_grow(self):
        pixels = resized(np.asarray(scene(0, 20, 30)), 64)
        assert pixels.shape == (64, 64, 3)
        assert abs(pixels.astype(int) - np.asarray(scene(0, 64, 64))).mean() < 4

    def test_the_same_picture_gives_the_same_square_for_ever(self):
        digest = hashlib.sha256()
        for side, size in ((12, 32), (75, 48), (75, 32), (200, 96)):
            digest.update(resized(np.asarray(picture(0, side)), size).tobytes())
        assert digest.hexdigest() == "5afe6710fc0f6ca70d7dab5cc6a19501f2421b66b8c275d75d8663ab1c9eaa3a"


# -- more than 8 bits


def deep(levels, mode=np.uint16, suffix="PNG"):
    """A grey picture with these levels from left to right, as the content of a file."""
    return encoded(Image.fromarray(np.tile(np.asarray(levels, mode), (16, 1))), suffix)


def test_levels_are_counted_in_the_bits_that_all_deep_pictures_use():
    assert levels([(0, 4095), (3, 1200)]) == (0, 12)
    assert levels([(0, 65535)]) == SIXTEEN_BITS
    assert levels([(0, 200)]) == (0, 8)
    assert levels([(-1024, 3071), (-1000, 200)]) == (-1024, 12)  # computed tomography
    assert levels([(31744, 35839), (32000, 33000)]) == (31744, 12)  # the same with an offset
    assert levels([(20000, 60000)]) == SIXTEEN_BITS  # bright, but without an offset


@pytest.mark.parametrize(
    ("content", "used"),
    [
        (deep(np.linspace(0, 4095, 256)), (0, 12)),
        (deep(np.linspace(-1024, 3071, 256), np.int32, "TIFF"), (-1024, 12)),
        (deep(np.linspace(0, 1, 256), np.float32, "TIFF"), SIXTEEN_BITS),
        (deep(np.linspace(-1000, 3000, 256), np.float32, "TIFF"), (-1024, 12)),
    ],
)
def test_a_deep_picture_keeps_its_detail(content, used):
    picture = decode(content, "scan.png")
    assert levels([picture.extremes]) == used
    scaled = picture.scaled(used).pixels
    assert (scaled.shape, scaled.dtype) == ((16, 256, 3), np.uint8)
    assert len(np.unique(scaled)) >= 240
    assert (np.diff(scaled[0, :, 0].astype(int)) >= 0).all()


def test_deep_colours_keep_their_detail():
    row = np.linspace(0, 4095, 256).astype(np.uint16)
    colours = np.tile(np.stack([row, row[::-1], np.zeros_like(row)], axis=-1), (4, 1, 1))  # blue, green, red: OpenCV
    picture = decode(cv2.imencode(".png", colours)[1].tobytes(), "scan.png")
    red, green, blue = picture.scaled((0, 12)).pixels[0].T
    assert (red == 0).all()
    assert len(np.unique(blue)) == 256
    assert (green == blue[::-1]).all()


# -- squares


@pytest.mark.parametrize("fit", ["squash", "crop", "pad"])
def test_a_square_keeps_what_its_fit_says(fit):
    wide = np.full((40, 80, 3), 100, np.uint8)
    wide[:, :10], wide[:, 70:] = 200, 200  # the ends
    square = resized(wide, 20, fit)
    assert square.shape == (20, 20, 3)
    assert {"squash": 200, "crop": 100, "pad": 0}[fit] == square[0, 0, 0]
    assert {"squash": 200, "crop": 100, "pad": 200}[fit] == square[10, 0, 0]
    assert square[10, 10, 0] == 100
    assert (resized(wide.transpose(1, 0, 2), 20, fit) == square.transpose(1, 0, 2)).all()
