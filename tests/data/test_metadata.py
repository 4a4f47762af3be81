"""What a file and a small square tell of a picture without a look at what it shows."""

from __future__ import annotations

import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import ExifTags, Image

from bench import data
from bench.cache.rows import Rows
from bench.config import RunConfig
from bench.data.metadata import ABSENT, FEATURES, MODES, metadata
from bench.data.pictures import FORMATS
from bench.errors import DataError
from tests.data.conftest import encoded, picture, scene

TABLES = [[number % 50 + 1 for number in range(64)], [7] * 64]


def camera(make: str, model: str) -> Image.Exif:
    data = Image.Exif()
    data[ExifTags.Base.Make], data[ExifTags.Base.Model] = make, model
    return data


def features(folder: Path, contents: dict[str, bytes], squares: dict[str, np.ndarray] | None = None) -> dict[str, dict]:
    """The features of files that are written into one class, by name; absent ones are left out."""
    for name, content in contents.items():
        path = folder / "a" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    (folder / "b").mkdir(exist_ok=True)
    for number in range(3):
        for label in "ab":
            picture(1000 + number + 3 * (label == "b")).save(folder / label / f"more{number}.png")
    dataset = data.open(RunConfig(data=str(folder)))
    items = [item for item in dataset.items if item.id.removeprefix("a/") in contents]
    assert len(items) == len(contents)
    black = np.zeros((32, 32, 3), np.uint8)
    pixels = np.array([(squares or {}).get(item.id.removeprefix("a/"), black) for item in items])
    rows = metadata(dataset, items, Rows.of(pixels))
    assert rows.shape == (len(items), len(FEATURES))
    return {
        item.id.removeprefix("a/"): {
            name: value for name, value in zip(FEATURES, row.tolist(), strict=True) if value != ABSENT
        }
        for item, row in zip(items, rows, strict=True)
    }


def test_a_grey_png_and_a_jpeg_with_its_tables(tmp_path: Path) -> None:
    grey = encoded(scene(1, 40, 20).convert("L"))
    jpeg = encoded(scene(2, 30, 60), "JPEG", qtables=TABLES, progressive=True)
    plain = encoded(scene(3, 30, 60), "JPEG", quality=75)
    found = features(tmp_path, {"grey.png": grey, "tables.jpg": jpeg, "plain.jpg": plain})
    png = found["grey.png"]
    assert (png["format"], png["mode"], png["bytes"]) == (FORMATS.index("PNG"), MODES.index("L"), len(grey))
    assert (png["width"], png["height"], png["aspect"]) == (40, 20, 2.0)
    assert not any(name.startswith("jpeg") for name in png)
    first, second = found["tables.jpg"], found["plain.jpg"]
    assert (first["format"], first["mode"]) == (FORMATS.index("JPEG"), MODES.index("RGB"))
    assert first["jpeg_luma"] == pytest.approx(np.mean(TABLES[0]))
    assert first["jpeg_chroma"] == pytest.approx(np.mean(TABLES[1]))
    assert (first["progressive"], second["progressive"]) == (1.0, 0.0)
    assert first["jpeg_tables"] != second["jpeg_tables"]


def test_the_camera_is_a_number_and_damaged_exif_data_is_none(tmp_path: Path) -> None:
    noted = encoded(scene(1), "JPEG", exif=camera("Acme", "X1"))
    damaged = encoded(scene(2), "JPEG", exif=b"Exif\x00\x00MM\x00*\xff\xff\xff\xff")
    found = features(
        tmp_path,
        {
            "one.jpg": noted,
            "two.jpg": encoded(scene(3), "JPEG", exif=camera("Acme", "X1")),
            "other.jpg": encoded(scene(4), "JPEG", exif=camera("Acme", "X2")),
            "none.jpg": encoded(scene(5), "JPEG"),
            "damaged.jpg": damaged,
        },
    )
    assert found["one.jpg"]["camera"] == found["two.jpg"]["camera"] == zlib.crc32(b"Acme X1")
    assert found["other.jpg"]["camera"] != found["one.jpg"]["camera"]
    assert found["one.jpg"]["exif_tags"] == 2
    for name in ("none.jpg", "damaged.jpg"):
        assert "camera" not in found[name]
        assert {"format", "bytes", "jpeg_luma", "brightness"} <= found[name].keys()


@pytest.mark.parametrize(
    ("mode", "image"),
    [
        ("P", picture(1).quantize(8)),
        ("RGBA", picture(2).convert("RGBA")),
        ("1", picture(3).convert("1")),
        ("I;16", Image.fromarray(np.arange(400, dtype=np.uint16).reshape(20, 20) * 100)),
    ],
)
def test_colour_modes_are_those_of_the_file(mode: str, image: Image.Image, tmp_path: Path) -> None:
    assert MODES[int(features(tmp_path, {"it.png": encoded(image)})["it.png"]["mode"])] == mode


def test_light_sharpness_and_border_are_those_of_the_square(tmp_path: Path) -> None:
    framed = np.full((32, 32, 3), 90, np.uint8)
    framed[[0, 1, -2, -1]] = framed[:, [0, 1, -2, -1]] = (10, 20, 30)
    sharp = np.zeros((32, 32, 3), np.uint8)
    sharp[::2] = 255
    found = features(
        tmp_path,
        {"framed.png": encoded(scene(1)), "sharp.png": encoded(scene(2))},
        {"framed.png": framed, "sharp.png": sharp},
    )
    assert [found["framed.png"][f"border_{colour}"] for colour in ("red", "green", "blue")] == [10, 20, 30]
    assert 60 < found["framed.png"]["brightness"] < 90
    assert found["sharp.png"]["brightness"] == pytest.approx(127.5)
    assert found["sharp.png"]["sharpness"] > found["framed.png"]["sharpness"] > 0


def test_drawn_pictures_have_no_file_but_light() -> None:
    dataset = data.open(RunConfig(images=12))
    squares = Rows.of(np.full((4, 8, 8, 3), 9, np.uint8))
    rows = metadata(dataset, dataset.items[:4], squares)
    known = {name for name, column in zip(FEATURES, rows.T, strict=True) if (column != ABSENT).all()}
    assert known == {"brightness", "sharpness", "border_red", "border_green", "border_blue"}


def test_a_file_that_is_gone_is_named(tmp_path: Path) -> None:
    for label in "ab":
        (tmp_path / label).mkdir()
        for number in range(3):
            picture(number + 3 * (label == "b")).save(tmp_path / label / f"{number}.png")
    dataset = data.open(RunConfig(data=str(tmp_path)))
    (tmp_path / dataset.items[0].id).unlink()
    with pytest.raises(DataError, match=f"{dataset.items[0].id}.*cannot be read"):
        metadata(dataset, dataset.items[:1], Rows.of(np.zeros((1, 8, 8, 3), np.uint8)))
