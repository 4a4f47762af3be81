"""Bad input: what is wrong with a picture or a folder is found before anything trains, and nothing is touched."""

from __future__ import annotations

import os
import shutil
import struct
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bench import data
from bench.config import RunConfig
from bench.data import pictures
from bench.errors import DataError
from bench.records import Change

from .conftest import STORED_AS, damage, encoded, exif, picture, scene, texture


def opened(path: Path, **settings) -> data.Dataset:
    return data.open(RunConfig(data=str(path), **settings))


def reasons(dataset: data.Dataset) -> dict[str, str]:
    return {each.id: each.reason for each in dataset.quarantined}


def parts(dataset: data.Dataset) -> dict[str, str]:
    return {item.id: item.part for item in dataset.items}


def pixels(dataset: data.Dataset, item_id: str) -> np.ndarray:
    (item,) = (item for item in dataset.items if item.id == item_id)
    return dataset.picture(item).pixels


@pytest.fixture
def path(folder) -> Path:
    """A sound folder: six cats, six dogs."""
    return folder({"cats": 6, "dogs": 6})


def segments(content: bytes) -> list[int]:
    """Where the markers of a JPEG's header begin, the one of its scan last."""
    found = [2]
    while content[found[-1] + 1] != 0xDA:
        found.append(found[-1] + 2 + struct.unpack_from(">H", content, found[-1] + 2)[0])
    return found


def test_a_folder_with_every_kind_of_damage(path):
    expected = damage(path / "cats")
    before = {file: file.lstat().st_size for file in path.rglob("*")}
    dataset = opened(path)
    assert reasons(dataset).keys() == {f"cats/{name}" for name in expected}
    for name, reason in expected.items():
        assert reasons(dataset)[f"cats/{name}"].startswith(reason)
    assert len(dataset.items) == 13
    assert {file: file.lstat().st_size for file in path.rglob("*")} == before


def test_17_what_is_no_picture_is_counted_or_listed(folder):
    path = folder({"cats": 4, "dogs": 4, "cats/.hidden": 2, "__MACOSX/cats": 2})
    for name in ("cats/Thumbs.db", "cats/.DS_Store", "cats/notes.txt", "README.md"):
        (path / name).write_text("clutter")
    (path / "cats" / "text.jpg").write_text("not a picture at all")
    dataset = opened(path)
    assert dataset.classes == ("cats", "dogs")
    assert len(dataset.items) == 8
    assert sum(dataset.ignored.values()) == 6
    assert reasons(dataset) == {"cats/text.jpg": "not a picture of a known format"}


def test_18_extraneous_bytes_before_a_marker_do_no_harm(path):
    content = encoded(scene(0), "JPEG")
    places = segments(content)[1:]
    for number, place in enumerate(places):
        (path / "cats" / f"{number}.jpg").write_bytes(content[:place] + bytes([1, 2, number]) + content[place:])
    dataset = opened(path, near_duplicates="ignore")
    assert dataset.quarantined == ()
    assert dataset.noticed == {"extraneous bytes before a marker": len(places)}
    (path / "cats" / "sound.jpg").write_bytes(content)
    sound = pixels(opened(path, near_duplicates="ignore"), "cats/sound.jpg")
    for number in range(len(places)):
        np.testing.assert_array_equal(pixels(dataset, f"cats/{number}.jpg"), sound)


def test_19_pictures_are_known_by_content_whatever_they_are_called(path):
    (path / "cats" / "0.png").rename(path / "cats" / "0.jpg")
    (path / "cats" / "1.png").rename(path / "cats" / "no suffix")
    (path / "cats" / "webp.jpg").write_bytes(encoded(scene(0), "WEBP"))
    dataset = opened(path)
    assert {"cats/0.jpg", "cats/no suffix", "cats/webp.jpg"} <= parts(dataset).keys()
    assert dataset.noticed == {"PNG named .jpg": 1, "WEBP named .jpg": 1}


class TestBombs:
    """Refused by their number of pixels, before they are decoded."""

    def test_20_by_what_the_header_says(self, path):
        content = bytearray(encoded(Image.new("RGB", (60, 50)), "JPEG"))
        frame = next(place for place in segments(content) if content[place + 1] == 0xC0)
        struct.pack_into(">HH", content, frame + 5, 65_000, 65_001)
        assert opened_reason(path, "cats/bomb.jpg", content) == "too many pixels: 65001 x 65000, limit 100 megapixels"

    def test_20_without_decoding_a_pixel(self, path, monkeypatch):
        monkeypatch.setattr("bench.data.pictures.MAX_PIXELS", 2000)
        for suffix, end in (("JPEG", 640), ("PNG", 45)):  # decoding these would fail
            content = encoded(Image.new("RGB", (60, 50)), suffix)[:end]
            assert opened_reason(path, f"cats/bomb.{suffix}", content).startswith("too many pixels: 60 x 50, limit")

    @pytest.mark.parametrize("side", [10_500, 14_000])
    def test_20_that_pillow_warns_of_or_refuses(self, path, side):
        content = encoded(Image.new("1", (side, side)))
        assert ", limit 100 megapixels" in opened_reason(path, "cats/bomb.png", content)


def opened_reason(path: Path, name: str, content: bytes) -> str:
    """Why a file of that content is quarantined."""
    (path / name).write_bytes(content)
    return reasons(opened(path))[name]


class TestDuplicates:
    def test_23_of_equal_files_one_stays(self, path):
        shutil.copy(path / "cats" / "0.png", path / "cats" / "copy.png")
        dataset = opened(path)
        assert reasons(dataset) == {"cats/copy.png": "the same content as another picture: cats/0.png"}
        assert len(dataset.items) == 12

    def test_23_a_picture_in_train_and_test_stays_in_test_alone(self, folder):
        path = folder({f"{part}/{each}": 6 for part in ("train", "test") for each in ("cats", "dogs")})
        shutil.copy(path / "test/cats/0.png", path / "train/cats/leaked.png")
        dataset = opened(path)
        assert reasons(dataset) == {
            "train/cats/leaked.png": "the same content as a picture in another part: test/cats/0.png in the test part"
        }
        assert parts(dataset)["test/cats/0.png"] == "test"

    @pytest.fixture
    def near(self, path) -> Callable[[str], tuple[str, ...]]:
        """Puts three versions of each of four scenes there, and gives their ids."""
        versions = []
        for number in range(4):
            image = scene(number)
            (path / "cats" / f"a{number}.png").write_bytes(encoded(image))
            (path / "cats" / f"b{number}.jpg").write_bytes(encoded(image, "JPEG", quality=70))
            smaller = image.resize((image.width * 9 // 10, image.height * 9 // 10))
            (path / "cats" / f"c{number}.jpg").write_bytes(encoded(smaller, "JPEG"))
            versions.append((f"cats/a{number}.png", f"cats/b{number}.jpg", f"cats/c{number}.jpg"))
        return tuple(versions)

    @pytest.mark.parametrize("seed", range(5))
    def test_23_near_duplicates_are_reported_and_stay_together(self, path, near, seed):
        dataset = opened(path, seed=seed)
        assert dataset.alike == near
        assert dataset.quarantined == ()
        for group in near:
            assert len({parts(dataset)[each] for each in group}) == 1

    def test_23_near_duplicates_may_be_ignored(self, path, near):
        dataset = opened(path, near_duplicates="ignore")
        assert dataset.alike == near
        assert any(len({parts(dataset)[each] for each in group}) > 1 for group in near)

    def test_24_near_duplicates_under_two_labels_are_pointed_out_and_stay(self, path):
        (path / "cats" / "a.png").write_bytes(encoded(scene(1)))
        (path / "dogs" / "b.jpg").write_bytes(encoded(scene(1), "JPEG", quality=70))
        dataset = opened(path)
        assert dataset.contradicting == dataset.alike == (("cats/a.png", "dogs/b.jpg"),)
        assert parts(dataset)["cats/a.png"] == parts(dataset)["dogs/b.jpg"]

    def test_24_a_mirrored_copy_under_another_label_stays_with_the_picture_and_is_not_doubted(self, path):
        mirrored = texture(1).transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        (path / "cats" / "a.png").write_bytes(encoded(texture(1)))
        (path / "dogs" / "b.png").write_bytes(encoded(mirrored))
        dataset = opened(path)
        assert (dataset.alike, dataset.changes) == ((("cats/a.png", "dogs/b.png"),), ((Change.MIRRORED,),))
        assert dataset.contradicting == ()
        assert parts(dataset)["cats/a.png"] == parts(dataset)["dogs/b.png"]

    def test_24_one_picture_under_two_labels_is_dropped_from_both(self, path):
        shutil.copy(path / "cats" / "0.png", path / "dogs" / "cat.png")
        dataset = opened(path)
        assert reasons(dataset) == dict.fromkeys(
            ["cats/0.png", "dogs/cat.png"], "the same content under several labels: cats and dogs"
        )
        assert len(dataset.items) == 11


class TestFolders:
    """Each is one clear line that names what is wrong."""

    @pytest.mark.parametrize(
        ("counts", "message"),
        [
            ({"cats": 3, "dogs": 0}, "class 'dogs' has no pictures"),
            ({"cats": 5, "dogs": 1}, "class 'dogs' has 1 picture .*at least 3 are needed"),
            ({"cats": 3}, "has one class, 'cats': at least two are needed"),
            ({"": 0}, "is empty; it must have one sub-folder per class"),
            ({"cats": 5, "do\ngs": 1}, r"class 'do\\ngs' has 1 picture"),
        ],
        ids=["an empty class", "a class of one picture", "one class", "an empty folder", "a hostile name"],
    )
    def test_25_without_enough_in_it(self, folder, counts, message):
        with pytest.raises(DataError, match=message) as caught:
            opened(folder(counts))
        assert "\n" not in str(caught.value)

    def test_25_with_a_class_of_damaged_pictures(self, folder):
        path = folder({"cats": 5, "dogs": 0})
        (path / "dogs" / "0.jpg").touch()
        with pytest.raises(DataError, match=r"class 'dogs' has no picture that can be used; 'dogs/0.jpg': empty file"):
            opened(path)

    @pytest.mark.skipif(sys.platform != "linux", reason="needs file names of any bytes")
    def test_26_with_names_of_any_bytes(self, path, tmp_path):
        for name in (b"\xff\xfe.png", b"<img onerror=x>\n.png", "\u202egnp.png".encode(), b"x" * 255):
            picture(len(name) + 100).save(path / "cats" / "new.png")
            (path / "cats" / "new.png").rename(path / "cats" / os.fsdecode(name))
        (path / "dogs").rename(path / os.fsdecode(b"d\xffgs"))
        dataset = opened(path)
        assert len(dataset.items) == 16
        dataset.write(tmp_path / "split.json")
        again = data.load(tmp_path / "split.json")
        assert again == dataset
        assert all(again.picture(item) for item in again.items)

    @pytest.mark.skipif(not hasattr(os, "symlink"), reason="needs symbolic links")
    def test_27_with_links_that_lead_out_of_it_or_in_circles(self, folder, path):
        outside = folder({"secret": 2}, "outside")
        (path / "cats" / "file.png").symlink_to(outside / "secret" / "0.png")
        (path / "cats" / "nowhere.png").symlink_to(outside / "missing.png")
        (path / "cats" / "itself.png").symlink_to(path / "cats" / "itself.png")
        (path / "cats" / "loop").symlink_to(path)
        (path / "owls").symlink_to(outside / "secret")
        dataset = opened(path)
        assert dataset.classes == ("cats", "dogs")
        assert set(reasons(dataset)) == {
            "cats/file.png", "cats/nowhere.png", "cats/itself.png", "cats/loop", "owls"
        }  # fmt: skip
        assert len(dataset.items) == 12

    @pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
    def test_27_with_what_is_no_file(self, path):
        os.mkfifo(path / "cats" / "pipe.png")
        assert reasons(opened(path)) == {"cats/pipe.png": "not a regular file"}


class TestChanged:
    """After the audit: an error with the picture's path."""

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            (lambda file: file.unlink(), "cannot be read: No such file or directory"),
            (lambda file: file.write_bytes(encoded(picture(99))), "its content changed since the split was made"),
            (lambda file: file.write_bytes(file.read_bytes()[:200]), "cannot be decoded"),
            (lambda file: file.write_bytes(b""), "empty file"),
        ],
        ids=["vanished", "another picture", "truncated", "emptied"],
    )
    def test_28_a_picture_is_named(self, path, change, message):
        dataset = opened(path)
        item = dataset.part("test")[0]
        change(path / item.id)
        with pytest.raises(DataError, match=f"{item.id}': {message}"):
            dataset.picture(item)


def test_progress_is_told_to_the_end(path):
    seen: list[tuple[str, int, int]] = []
    data.open(RunConfig(data=str(path)), lambda *each: seen.append(each))
    assert seen == [("checking pictures", done, 12) for done in range(1, 13)]


def test_sizes_are_told_as_pictures_are_seen(path):
    for number, (width, height) in enumerate([(30, 20), (10, 5), (400, 300)]):
        (path / "cats" / f"{number}.jpg").write_bytes(
            encoded(STORED_AS[6](scene(number, width, height)), "JPEG", exif=exif(6))
        )
    (path / "cats" / "large.jpg").write_bytes(encoded(scene(9, 1100, 1200), "JPEG"))
    sizes = opened(path).sizes
    assert sizes is not None
    assert (sizes.smallest, sizes.median, sizes.largest) == ((10, 5), (12, 12), (1100, 1200))


@pytest.mark.parametrize(("pictures_at_once", "together"), [(2, True), (1, False)])
def test_20_pictures_are_decoded_at_once_only_within_the_memory_for_it(monkeypatch, pictures_at_once, together):
    content, met, barrier = encoded(picture(1, 64)), [], threading.Barrier(2)
    for name in ("MAX_BYTES_AT_ONCE", "_free_bytes"):
        monkeypatch.setattr(pictures, name, pictures_at_once * pictures.OTHER_BYTES * 64 * 64)

    def decode(image, content):
        try:
            barrier.wait(timeout=10 if together else 0.2)
        except threading.BrokenBarrierError:
            met.append(False)
        else:
            met.append(True)

    monkeypatch.setattr(pictures, "_deep", decode)
    with ThreadPoolExecutor(2) as threads:
        list(threads.map(lambda number: pictures.decode(content, f"{number}.png"), range(2)))
    assert met == [together] * 2


def test_27_folders_nested_deeper_than_the_stack_are_counted_and_not_entered(path):
    nested = [path / "cats" / "/".join("d" * depth) for depth in range(1, 1400)]
    for folder in nested:
        folder.mkdir()
    try:
        assert opened(path).ignored == {"folder more than 100 levels down": 1}
    finally:
        for folder in reversed(nested):
            folder.rmdir()


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes here")
def test_28_a_picture_that_became_a_pipe_is_an_error_and_not_waited_for(path):
    dataset = opened(path)
    (path / dataset.items[0].id).unlink()
    os.mkfifo(path / dataset.items[0].id)
    with pytest.raises(DataError, match="not a regular file"):
        dataset.picture(dataset.items[0])
