"""What is kept between runs: where, how much of it, and how it is cleared."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import filelock
import pytest

from bench.cache import directory
from bench.cli import parser
from bench.errors import ConfigError


@pytest.fixture
def root(tmp_path, monkeypatch):
    """A cache of this test alone."""
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "kept"))
    monkeypatch.delenv("BENCH_CACHE_GB", raising=False)
    return tmp_path / "kept"


def fill(root, name, size=1000, used=1_000_000_000):
    """A decoded file or a downloaded folder of that many bytes."""
    kind, *below = name.split("/")
    path = directory.kind_folder(kind, root).joinpath(*below)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(bytes(size))
    os.utime(path, (used, used))
    return path


@pytest.fixture
def disk(monkeypatch):
    """A disk with so many bytes free."""

    def have(free):
        monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(free * 2, free, free))

    return have


def test_is_in_the_folder_that_the_environment_names(root, monkeypatch):
    assert directory.folder() == root
    monkeypatch.setenv("BENCH_CACHE", "~/elsewhere")
    assert directory.folder() == Path.home() / "elsewhere"
    monkeypatch.delenv("BENCH_CACHE")
    assert directory.folder().name == "image-model-bench"
    assert directory.folder().is_absolute()


def test_backups_leave_it_out(root):
    assert (
        (directory.kind_folder("pixels") / "CACHEDIR.TAG")
        .read_text()
        .startswith("Signature: 8a477f597d28d172789f06886806bc55\n")
    )


def test_the_cap_is_what_the_environment_says_or_the_disk_allows(root, disk, monkeypatch):
    disk(10**12)
    assert directory.cap_bytes(root) == 20 * 10**9
    disk(10**6)
    assert directory.cap_bytes(root) == 500_000
    fill(root, "pixels/8-v1/a.npy", 1000)
    fill(root, "downloads/set", 5000)
    assert directory.cap_bytes(root) == 500_500  # half of what the disk had before
    monkeypatch.setenv("BENCH_CACHE_GB", "0.5")
    assert directory.cap_bytes(root) == 500_000_000


@pytest.mark.parametrize("given", ["much", "-1", "nan", "inf"])
def test_a_cap_that_is_none_is_refused(root, monkeypatch, given):
    monkeypatch.setenv("BENCH_CACHE_GB", given)
    with pytest.raises(ConfigError, match=f"BENCH_CACHE_GB '{given}': must be a number of gigabytes"):
        directory.cap_bytes(root)


def test_room_is_made_by_what_was_used_longest_ago(root, disk, monkeypatch):
    disk(10**9)
    monkeypatch.setenv("BENCH_CACHE_GB", "0.00001")  # 10 kB
    old, older, spared = (fill(root, f"pixels/8-v1/{age}.npy", 4000, used=age) for age in (3, 2, 1))
    download = fill(root, "downloads/set.zip", 90_000, used=0)
    with directory.reserved(root, 2000, [spared]):
        assert [path.exists() for path in (old, older, spared, download)] == [True, False, True, True]
    directory.touch([spared])
    with directory.reserved(root, 6000):
        assert [path.exists() for path in (old, spared)] == [False, True]


def test_room_on_the_disk_is_made_even_below_the_cap(root, disk, monkeypatch):
    monkeypatch.setenv("BENCH_CACHE_GB", "1")
    path = fill(root, "pixels/8-v1/a.npy", 4000)
    monkeypatch.setattr(directory, "free_bytes", lambda root: 1000 if path.exists() else 5000)
    with directory.reserved(root, 3000):
        assert not path.exists()


def test_what_killed_writers_left_is_removed_and_what_is_being_written_stays(root):
    left = fill(root, "pixels/8-v1/.a.npy.1-2.tmp")
    fresh = fill(root, "pixels/8-v1/.b.npy.1-2.tmp")
    lock = fill(root, "pixels/8-v1/.lock")
    os.utime(fresh)
    with directory.reserved(root, 1):
        assert [path.exists() for path in (left, fresh, lock)] == [False, True, True]
    directory.clear(root, directory.KINDS)
    assert [path.exists() for path in (fresh, lock)] == [True, True]


def test_nothing_is_touched_that_somebody_else_keeps_there(root, tmp_path):
    """BENCH_CACHE may name a home folder that has a folder `downloads`."""
    mine = root / "downloads" / "thesis.txt"
    mine.parent.mkdir(parents=True)
    mine.write_text("years of work")
    link = directory.kind_folder("pixels") / "8-v1"
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "photo.npy").touch()
    link.symlink_to(tmp_path / "elsewhere")
    assert directory.clear(root, directory.KINDS) == []
    assert mine.exists()
    assert (tmp_path / "elsewhere" / "photo.npy").exists()
    with pytest.raises(ConfigError, match="has other files; set BENCH_CACHE"):
        directory.kind_folder("downloads")


def test_a_file_system_without_locks_is_used_all_the_same(root, monkeypatch):
    def acquire(lock, blocking=True):
        raise NotImplementedError("no flock here")

    monkeypatch.setattr(filelock.FileLock, "acquire", acquire)
    with directory.locked(directory.kind_folder("pixels")):
        fill(root, "pixels/8-v1/a.npy")
    assert len(directory.entries(root)) == 1


# -- the command line


def bench(capsys, *arguments):
    status = parser.main(["cache", *arguments])
    return status, *capsys.readouterr()


def test_the_command_shows_what_is_kept(root, capsys, monkeypatch):
    monkeypatch.setenv("BENCH_CACHE_GB", "3")
    fill(root, "pixels/8-v1/a.npy", 1_500_000)
    fill(root, "pixels/9-v1/b.npy", 1_000_000, used=2_000_000_000)
    fill(root, "downloads/cats/1.jpg", 700)
    fill(root, "downloads/cats/2.jpg", 700)
    status, out, _ = bench(capsys)
    assert status == 0
    assert str(root) in out
    assert "3.0 GB" in out
    rows = {line.split()[0]: line.split()[1:] for line in out.splitlines()[-len(directory.KINDS) :]}
    assert rows["pixels"][:4] == ["2", "2.5", "MB", "2033-05-18"]
    assert rows["features"][0] == "0"
    assert rows["downloads"][:3] == ["1", "1.4", "kB"]


def test_its_help_teaches(capsys):
    with pytest.raises(SystemExit) as caught:
        parser.main(["cache", "--help"])
    assert caught.value.code == 0
    text = capsys.readouterr().out
    for word in ("BENCH_CACHE_GB", "decoded pictures", "python -m bench cache clear downloads", "all"):
        assert word in text


def test_an_empty_cache_is_shown_and_not_made(root, capsys):
    status, out, _ = bench(capsys)
    assert status == 0
    assert out.count("never") == len(directory.KINDS)
    assert not root.exists()


@pytest.mark.parametrize(
    ("arguments", "says", "left"),
    [
        (["clear"], "freed 2.5 MB in ", {"1.jpg"}),
        (["clear", "pixels"], "freed 2.5 MB in ", {"1.jpg"}),
        (["clear", "downloads"], "freed 700 bytes in ", {"a.npy"}),
        (["clear", "all"], "freed 2.5 MB in ", set()),
    ],
)
def test_the_command_clears(root, capsys, arguments, says, left):
    fill(root, "pixels/8-v1/a.npy", 2_500_000)
    fill(root, "downloads/cats/1.jpg", 700)
    status, out, _ = bench(capsys, *arguments)
    assert status == 0
    assert out.startswith(says)
    assert {path.name for path in root.rglob("*") if path.is_file()} == left | {"CACHEDIR.TAG"}


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (
            ["clear", "pixles"],
            "unknown kind of cache 'pixles'. Did you mean pixels? Choices: all, downloads, features, pixels",
        ),
        (["claer"], "unknown command 'claer'. Did you mean clear?"),
        (["clear", "pixels", "more"], "unrecognized arguments: more"),
    ],
)
def test_a_mistake_is_one_line_and_status_2(root, capsys, arguments, says):
    fill(root, "pixels/8-v1/a.npy")
    status, out, err = bench(capsys, *arguments)
    assert (status, out) == (2, "")
    assert err.startswith(f"error: {says}")
    assert (root / "pixels" / "8-v1" / "a.npy").exists()
