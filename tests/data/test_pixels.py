"""Pictures as arrays, decoded once."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from bench import data
from bench.cache import directory
from bench.cache import rows as module
from bench.cache.rows import Rows
from bench.config import RunConfig
from bench.data.pictures import SHARED_SIDE, resized
from bench.data.pixels import pixels, recording, row_keys
from bench.errors import ConfigError, DataError
from bench.report.inventory import Inventory
from bench.text import plain


def opened(path, **changes):
    return data.open(RunConfig(data=str(path), **changes))


@pytest.fixture
def dataset(folder):
    return opened(folder({"cats": 8, "dogs": 8}))


@pytest.fixture
def kept(tmp_path):
    """A cache of this test alone."""
    return tmp_path / "kept"


def segments(kept):
    return sorted((kept / "pixels").rglob("*.npy"))


def by_content(items, array):
    return {item.sha256: picture.tobytes() for item, picture in zip(items, array, strict=True)}


def left_of_writing(kept):
    """Files that are neither whole segments nor what marks and locks folders."""
    files = [path for path in kept.rglob("*") if path.is_file() and path not in segments(kept)]
    return [path.name for path in files if path.name not in ("CACHEDIR.TAG", ".lock")]


# -- what they are


def test_are_the_pictures_in_the_order_of_the_items(dataset, kept):
    items = dataset.part("train")[::-1]
    array = pixels(dataset, items, 8, kept)
    assert (array.shape, array.dtype, len(array)) == ((len(items), 8, 8, 3), np.uint8, len(items))
    for picture, item in zip(array, items, strict=True):
        np.testing.assert_array_equal(picture, resized(dataset.picture(item).pixels, 8))


def test_cannot_be_written_to(dataset, kept):
    array = pixels(dataset, dataset.part("test"), 8, kept)
    for picture in (array[0], array[:2][0]):
        with pytest.raises(ValueError, match="read-only"):
            picture[:] = 0


PLAIN = np.random.default_rng(0).integers(0, 256, (11, 2, 2, 3), dtype=np.uint8)
ORDER = np.random.default_rng(1).permutation(11)
NUMBERS, ROWS = np.repeat([0, 1, 2], [4, 1, 6]), np.array([0, 1, 2, 3, 0, 0, 1, 2, 3, 4, 5])
SEGMENTS = [PLAIN[:4], PLAIN[4:5], PLAIN[5:]]
SCATTERED = Rows(SEGMENTS, NUMBERS[ORDER], ROWS[ORDER])
IN_ORDER = Rows(SEGMENTS, NUMBERS, ROWS)


@given(
    st.integers(-11, 10)
    | st.slices(11)
    | st.lists(st.integers(-11, 10), min_size=1)
    | st.lists(st.integers(-11, 10), max_size=20).map(lambda chosen: np.array(chosen, np.int64))
    | st.lists(st.booleans(), min_size=11, max_size=11).map(np.array)
)
def test_are_indexed_like_one_array(index):
    np.testing.assert_array_equal(SCATTERED[index], PLAIN[ORDER][index])
    np.testing.assert_array_equal(IN_ORDER[index], PLAIN[index])


def test_can_be_none(dataset, kept):
    assert np.asarray(pixels(dataset, [], 8, kept)).shape == (0, 8, 8, 3)


# -- decoded once


@pytest.mark.parametrize(
    "changes",
    [{"seed": 3}, {"limit": 12}, {"split": (0.4, 0.3, 0.3)}, {"folds": 3}],
    ids=lambda changes: next(iter(changes)),
)
def test_are_found_again_whatever_the_split_and_the_names(dataset, kept, tmp_path, changes):
    first = by_content(dataset.items, pixels(dataset, dataset.items, 8, kept))
    copy = tmp_path / "copy"
    shutil.copytree(tmp_path / "pictures", copy)
    for number, path in enumerate(sorted(copy.rglob("*.png"))):
        path.rename(path.with_name(f"renamed {99 - number}.png"))
    again = opened(copy, **changes)
    shutil.rmtree(tmp_path / "pictures")
    shutil.rmtree(copy)  # from here on nothing can be decoded
    for part in ("train", "test"):
        found = by_content(again.part(part), pixels(again, again.part(part), 8, kept))
        assert found.items() <= first.items()


def test_of_a_folder_with_more_pictures_only_the_new_are_decoded(dataset, kept, tmp_path, folder):
    pixels(dataset, dataset.items, 8, kept)
    known = {item.id for item in dataset.items}
    for path in folder({"cats": 20, "dogs": 20}, "more").rglob("*.png"):
        path.rename(tmp_path / "pictures" / path.parent.name / f"more {path.name}")
    larger = opened(tmp_path / "pictures")
    expected = {item.sha256: resized(larger.picture(item).pixels, 8).tobytes() for item in larger.items}
    for item in known:
        (tmp_path / "pictures" / item).unlink()
    array = pixels(larger, larger.items, 8, kept)
    assert len(array) > len(known)
    assert by_content(larger.items, array) == expected


def test_sizes_are_kept_apart(dataset, kept):
    for size in (8, 16):
        assert pixels(dataset, dataset.items, size, kept).shape[1:] == (size, size, 3)
    assert len(segments(kept)) == 2


def test_of_many_pictures_are_in_several_segments(dataset, kept, monkeypatch):
    whole = np.asarray(pixels(dataset, dataset.items, 8, kept))
    directory.clear(kept, directory.REPRODUCIBLE)
    monkeypatch.setattr(module, "SEGMENT_BYTES", 5 * 8 * 8 * 3)
    np.testing.assert_array_equal(pixels(dataset, dataset.items, 8, kept), whole)
    assert len(segments(kept)) == 4  # 16 pictures, 5 in each
    np.testing.assert_array_equal(pixels(dataset, dataset.items, 8, kept), whole)


def test_progress_is_told_while_pictures_are_decoded(dataset, kept):
    told = []
    for _ in range(2):
        pixels(dataset, dataset.part("test"), 8, kept, lambda *progress: told.append(progress))
    total = len(dataset.part("test"))
    assert told == [("decoding pictures at 8 pixels", done, total) for done in range(1, total + 1)]


CHECKSUM = """
import sys
from pathlib import Path
import numpy as np
from bench import data
from bench.data.pixels import pixels
dataset = data.load(Path(sys.argv[1]))
print(int(np.asarray(pixels(dataset, dataset.items, 8, Path(sys.argv[2]))).astype("int64").sum()))
"""


@pytest.mark.slow
def test_are_decoded_by_one_of_several_processes(dataset, kept, tmp_path):
    dataset.write(tmp_path / "split.json")
    environment = {**os.environ, "PYTHONPATH": str(Path(data.__file__).parents[2])}
    command = [sys.executable, "-c", CHECKSUM, str(tmp_path / "split.json"), str(kept)]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) for _ in range(3)]
    sums = {int(process.communicate()[0]) for process in running}
    assert len(segments(kept)) == 1
    assert sums == {int(np.asarray(pixels(dataset, dataset.items, 8, kept)).astype(np.int64).sum())}


# -- what can go wrong


def test_a_picture_that_changed_is_named_and_nothing_is_left(dataset, kept, tmp_path):
    path = tmp_path / "pictures" / dataset.part("test")[0].id
    path.write_bytes(path.read_bytes() + b"changed")
    with pytest.raises(DataError, match=f"{path.name}': its content changed"):
        pixels(dataset, dataset.part("test"), 8, kept)
    assert segments(kept) + left_of_writing(kept) == []


def truncated(path):
    path.write_bytes(path.read_bytes()[:-40])


def pickled(path):
    np.save(path, np.array([{}], dtype=object))


def a_folder(path):
    path.unlink()
    path.mkdir()


def a_loop(path):
    path.unlink()
    path.symlink_to(path)


def flipped(path):
    content = bytearray(path.read_bytes())
    content[200] ^= 1  # of a picture
    path.write_bytes(content)
    module._verified.clear()  # as in a later process


@pytest.mark.parametrize("damage", [truncated, pickled, a_folder, a_loop, flipped])
def test_a_damaged_segment_is_passed_over_and_made_again(dataset, kept, damage):
    items = dataset.part("test")
    first = np.array(pixels(dataset, items, 8, kept))
    (path,) = segments(kept)
    damage(path)
    np.testing.assert_array_equal(pixels(dataset, items, 8, kept), first)
    np.testing.assert_array_equal(pixels(dataset, items, 8, kept), first)
    assert len(segments(kept)) == 2


def test_a_full_disk_is_said_before_anything_is_decoded(dataset, kept, monkeypatch):
    usage = shutil.disk_usage(kept.parent)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=1000))
    with pytest.raises(DataError) as caught:
        pixels(dataset, dataset.items, 8, kept)
    for words in (
        "needs 3.1 kB more",
        "has only 1.0 kB left",
        str(kept.name),
        "BENCH_CACHE",
        "--input-sizes",
        "--limit",
    ):
        assert words in str(caught.value)
    assert segments(kept) + left_of_writing(kept) == []


def full_disk(number):
    def fsync(file):
        raise OSError(number, os.strerror(number))

    return fsync


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_disk_that_fills_up_meanwhile_leaves_nothing(dataset, kept, monkeypatch, number):
    directory.kind_folder("pixels", kept)
    monkeypatch.setattr(os, "fsync", full_disk(number))
    with pytest.raises(DataError, match="its disk has"):
        pixels(dataset, dataset.items, 8, kept)
    assert segments(kept) + left_of_writing(kept) == []


def test_a_cache_that_cannot_be_made_is_one_clear_line(dataset, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="cannot be written, Not a directory: set BENCH_CACHE"):
        pixels(dataset, dataset.items, 8, tmp_path / "file")


# -- room


def test_what_was_used_longest_ago_goes_and_stays_readable_to_who_has_it(dataset, kept, monkeypatch):
    first, second = (pixels(dataset, dataset.items, size, kept) for size in (8, 9))
    copy = np.array(first)
    for path in segments(kept):
        os.utime(path, (1, 1))
    pixels(dataset, dataset.part("test"), 9, kept)  # now 8 was used longest ago
    held = sum(path.stat().st_size for path in segments(kept))
    monkeypatch.setenv("BENCH_CACHE_GB", str((held + 10 * 10 * 3 * 16 - 1) / 1e9))
    pixels(dataset, dataset.items, 10, kept)
    assert [path.parent.name.split("-")[0] for path in segments(kept)] == ["10", "9"]
    np.testing.assert_array_equal(first, copy)
    assert len(second) == 16


def test_a_data_set_is_kept_whole_at_one_size_even_above_the_cap(dataset, kept, monkeypatch):
    monkeypatch.setenv("BENCH_CACHE_GB", "0")
    for part in ("train", "validation", "test"):
        pixels(dataset, dataset.part(part), 8, kept)
    assert len(segments(kept)) == 3
    pixels(dataset, dataset.part("test"), 9, kept)
    assert len(segments(kept)) == 1


# -- recorded as they are audited


def record(dataset, kept, sizes=(8,), items=None):
    with recording(sizes, "squash", len(dataset.items), kept) as keep, ThreadPoolExecutor(4) as threads:
        for done in [
            threads.submit(keep, item.sha256, dataset.picture(item).pixels) for item in items or dataset.items
        ]:
            done.result()


def test_recorded_pictures_are_those_that_would_be_decoded(dataset, kept, tmp_path):
    expected = {size: np.array(pixels(dataset, dataset.items, size, tmp_path / "other")) for size in (8, 16)}
    record(dataset, kept, (8, 16))
    shutil.rmtree(tmp_path / "pictures")
    for size, array in expected.items():
        np.testing.assert_array_equal(pixels(dataset, dataset.items, size, kept), array)


def test_a_picture_is_recorded_once(dataset, kept, monkeypatch):
    monkeypatch.setattr(module, "SEGMENT_BYTES", 5 * 8 * 8 * 3)
    pixels(dataset, dataset.items[:4], 8, kept)
    record(dataset, kept, items=[*dataset.items, *dataset.items])
    sizes = [np.load(path, mmap_mode="r").shape[0] for path in segments(kept)]
    assert sorted(sizes) == [2, 4, 5, 5]


def test_a_failed_recording_leaves_nothing(dataset, kept):
    def audit_that_fails():
        with recording([8, 9], "squash", 16, kept) as keep:
            keep(dataset.items[0].sha256, dataset.picture(dataset.items[0]).pixels)
            raise RuntimeError("in the audit")

    with pytest.raises(RuntimeError, match="in the audit"):
        audit_that_fails()
    assert segments(kept) + left_of_writing(kept) == []


def test_a_recording_that_finds_nothing_new_writes_nothing(dataset, kept):
    pixels(dataset, dataset.items, 8, kept)
    before = segments(kept)
    record(dataset, kept)
    with recording([8], "squash", 0, kept):
        pass
    assert segments(kept) == before
    assert left_of_writing(kept) == []


def test_a_disk_that_fills_up_while_recording_is_one_clear_line(dataset, kept, monkeypatch):
    directory.kind_folder("pixels", kept)
    monkeypatch.setattr(os, "fsync", full_disk(errno.ENOSPC))
    with pytest.raises(DataError, match="more, but its disk has"):
        record(dataset, kept)
    assert segments(kept) + left_of_writing(kept) == []


def test_sizes_that_need_more_detail_than_the_audit_decodes_are_not_recorded(dataset, kept):
    record(dataset, kept, (8, SHARED_SIDE + 1))
    assert [path.parent.name.split("-")[0] for path in segments(kept)] == ["8"]


# -- how they become squares


def scans(tmp_path, highest):
    """A data set of grey pictures of 16 bits of which this is the highest level."""
    for number in range(16):
        picture = np.random.default_rng(number).integers(0, highest + 1, (12, 20), np.uint16)
        path = tmp_path / "scans" / "ab"[number % 2] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture).save(path)
    return tmp_path / "scans"


def test_scans_of_twelve_bits_are_scaled_by_them(tmp_path, kept):
    path = scans(tmp_path, 4095)
    dataset = opened(path, input_sizes=(12,))
    assert dataset.levels == (0, 12)
    dataset.write(tmp_path / "split.json")
    squares = np.asarray(pixels(data.load(tmp_path / "split.json"), dataset.items, 12, kept))
    assert squares.mean() > 100  # not 8, as with the upper 8 of 16 bits
    assert "12 bits, the levels 0 to 4,095" in plain(Inventory(dataset.info(), RunConfig()).depth)


def test_the_same_scan_among_deeper_ones_is_another_square(tmp_path, kept):
    """One picture of all 16 bits makes the others darker: their levels stay comparable."""
    path = scans(tmp_path, 4095)
    before = np.asarray(pixels(opened(path), (item := opened(path).items[:1]), 12, kept)).mean()
    Image.fromarray(np.random.default_rng(99).integers(0, 65536, (12, 20), np.uint16)).save(path / "a" / "deep.png")
    deeper = opened(path)
    assert deeper.levels == (0, 16)
    (same,) = (other for other in deeper.items if other.sha256 == item[0].sha256)
    assert np.asarray(pixels(deeper, (same,), 12, kept)).mean() == pytest.approx(before / 16, abs=1)


@pytest.mark.parametrize("fit", ["squash", "crop", "pad"])
def test_every_fit_has_its_own_squares(folder, kept, fit):
    path = folder({"cats": 8, "dogs": 8}, size=12)
    for picture in path.rglob("*.png"):
        Image.open(picture).crop((0, 3, 12, 9)).save(picture)
    dataset = data.open(RunConfig(data=str(path), fit=fit, input_sizes=(8,)), cache=kept)
    for other in ("squash", "crop", "pad"):
        squares = np.asarray(pixels(dataset, dataset.items, 8, kept, fit=other))
        expected = [resized(dataset.picture(item).pixels, 8, other) for item in dataset.items]
        assert (squares == expected).all()
    assert set(row_keys(dataset, dataset.items, "crop")).isdisjoint(row_keys(dataset, dataset.items, "pad"))


def test_the_audit_records_squares_of_the_fit(folder, kept):
    path = folder({"cats": 8, "dogs": 8}, size=12)
    dataset = data.open(RunConfig(data=str(path), fit="crop", input_sizes=(8,)), cache=kept)
    before = segments(kept)
    pixels(dataset, dataset.items, 8, kept, fit="crop")
    assert segments(kept) == before != []
