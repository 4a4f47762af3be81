"""Rows on disk: found under their digests, read in any order, and not believed where a file is damaged."""

from __future__ import annotations

import hashlib
import threading

import numpy as np
import pytest

from bench.cache import rows as module
from bench.cache.rows import RowStore, digests


def names(*numbers):
    return [hashlib.sha256(str(number).encode()).hexdigest() for number in numbers]


def row(number, shape=(2, 3)):
    return np.full(shape, number + 0.5, np.float32)


def written(store, *numbers):
    store.folder.mkdir(exist_ok=True)
    path = store.new_path()
    with store.writing(path) as write:
        for number, name in zip(numbers, names(*numbers), strict=True):
            write(name, row(number, store.row_shape))
        write.metadata = {"seconds_per_row": 0.25}
    return path


@pytest.fixture
def store(tmp_path):
    """Two segments: rows 0 to 4 and 10 to 13."""
    empty = RowStore.open(tmp_path / "rows", (2, 3), np.float32)
    written(empty, 0, 1, 2, 3, 4)
    written(empty, 10, 11, 12, 13)
    return RowStore.open(tmp_path / "rows", (2, 3), np.float32)


def values(rows):
    return np.asarray(rows)[:, 0, 0].tolist()


def test_rows_are_found_under_their_digests_in_any_order_and_again(store):
    places = store.places(digests(names(12, 0, 4, 0)))
    assert values(store.rows(places)) == [12.5, 0.5, 4.5, 0.5]
    assert (store.places(digests(names(5, 99))) == -1).all()
    assert [about["seconds_per_row"] for _, about in store.metadata(places)] == [0.25, 0.25]
    assert sorted(count for count, _ in store.metadata(places)) == [1, 3]
    assert store.path_of(names(12)[0]) != store.path_of(names(3)[0])
    assert store.path_of(names(5)[0]) is None


def test_rows_are_read_as_an_array_of_all_would_be(store):
    numbers = [3, 11, 0, 1, 2, 13]
    rows = store.rows(store.places(digests(names(*numbers))))
    whole = np.stack([row(number) for number in numbers])
    assert (rows.shape, rows.dtype, rows.ndim, len(rows)) == (whole.shape, np.float32, 3, 6)
    for index in (0, -1, slice(2, 5), slice(None, None, -2), [5, 0, 0], np.array([], int), whole[:, 0, 0] > 3):
        np.testing.assert_array_equal(rows[index], whole[index])
    np.testing.assert_array_equal(np.asarray(rows.select(slice(1, 4))), whole[1:4])
    np.testing.assert_array_equal(np.stack(list(rows)), whole)
    with pytest.raises(IndexError):
        rows[6]


def test_no_rows_are_no_rows(store, tmp_path):
    none = RowStore.open(tmp_path / "nothing", (2, 3), np.float32)
    assert none.places(digests(names(1))).tolist() == [-1]
    assert np.asarray(store.rows(store.places(digests([])))).shape == (0, 2, 3)
    written(none)
    assert len(RowStore.open(tmp_path / "nothing", (2, 3), np.float32).segments) == 1


def test_a_segment_is_a_file_that_numpy_reads(store):
    for segment in store.segments:
        with segment.path.open("rb") as file:
            np.testing.assert_array_equal(np.load(file), segment.rows)
            assert np.load(file).dtype.itemsize == 32


def test_no_flipped_bit_gives_another_row(tmp_path):
    """Wherever a bit of a file is flipped, a row is as it was written or not there."""
    empty = RowStore.open(tmp_path / "rows", (2,), np.float32)
    path = written(empty, 1, 2)
    whole, found = path.read_bytes(), []
    for place in range(0, len(whole), 3):
        module._verified.clear()  # as in a later process
        path.write_bytes(whole[:place] + bytes([whole[place] ^ (1 << place % 8)]) + whole[place + 1 :])
        damaged = RowStore.open(tmp_path / "rows", (2,), np.float32)
        places = damaged.places(digests(names(1, 2)))
        for number, where in zip((1, 2), places, strict=True):
            if where >= 0:
                found.append(place)
                np.testing.assert_array_equal(damaged.rows(np.array([where]))[0], row(number, (2,)))
    rows_at = whole.index(row(1, (2,)).tobytes())
    assert not set(found) & set(range(rows_at, rows_at + 16))


def test_a_truncated_lengthened_or_foreign_file_counts_as_not_there(tmp_path):
    empty = RowStore.open(tmp_path / "rows", (2,), np.float32)
    path = written(empty, 1, 2)
    whole = path.read_bytes()
    for content in (*(whole[:length] for length in range(0, len(whole), 7)), whole + b"\0", b"PK\x03\x04 a zip"):
        path.write_bytes(content)
        assert not RowStore.open(tmp_path / "rows", (2,), np.float32).segments
    path.write_bytes(whole)
    assert not RowStore.open(tmp_path / "rows", (2,), np.float16).segments
    assert not RowStore.open(tmp_path / "rows", (3,), np.float32).segments
    assert len(RowStore.open(tmp_path / "rows", (2,), np.float32).segments) == 1


def test_what_is_not_finished_leaves_nothing(tmp_path):
    store = RowStore.open(tmp_path / "rows", (2, 3), np.float32)
    store.folder.mkdir()
    with pytest.raises(ValueError, match="non-hexadecimal"), store.writing(store.new_path()) as write:
        write("no digest", row(1))
    assert list(store.folder.iterdir()) == []


def test_a_segment_that_goes_stays_readable_to_who_has_it(store):
    rows = store.rows(store.places(digests(names(10, 2))))
    for segment in store.segments:
        segment.path.unlink()
    assert values(rows) == [10.5, 2.5]


def test_rows_are_stored_as_their_store_says_and_segments_are_bounded(tmp_path, monkeypatch):
    half = RowStore.open(tmp_path / "half", (2, 3), np.float16)
    written(half, 7)
    found = RowStore.open(tmp_path / "half", (2, 3), np.float16)
    assert found.rows(np.array([0])).dtype == np.float16
    assert (half.row_bytes, RowStore.open(tmp_path / "half", (2, 3), np.float32).row_bytes) == (12, 24)
    monkeypatch.setattr(module, "SEGMENT_BYTES", 100)
    assert half.max_rows == 8
    assert RowStore.open(tmp_path / "half", (1000,), np.float32).max_rows == 1


def test_threads_read_the_same_rows(store):
    numbers = [13, 0, 11, 4, 2]
    rows, wrong = store.rows(store.places(digests(names(*numbers)))), []

    def read(seed):
        random = np.random.default_rng(seed)
        for _ in range(200):
            index = random.integers(5, size=4)
            if values(rows[index]) != [numbers[each] + 0.5 for each in index]:
                wrong.append(index)

    threads = [threading.Thread(target=read, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
