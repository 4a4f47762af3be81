"""The downloaded photographs, from a server on this machine; and archives that nobody should unpack."""

from __future__ import annotations

import hashlib
import io
import stat
import threading
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
from PIL import Image

from bench.config import RunConfig
from bench.data.sources import cats_vs_dogs, create, rebuild
from bench.data.sources.cats_vs_dogs import unpack
from bench.errors import DataError

CONFIG = RunConfig(data="cats_vs_dogs")
NAMES = tuple(f"PetImages/{kind}/{number}.jpg" for kind in ("Cat", "Dog") for number in range(4))


def photograph(number):
    noise = np.random.default_rng(number).integers(0, 256, (20, 20, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(noise).save(file, "JPEG")
    return file.getvalue()


def zipped(members):
    """A zip file of these names and contents; a name may be a `ZipInfo`."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members:
            archive.writestr(name, content)
    return file.getvalue()


ARCHIVE = zipped(
    [
        ("readme[1].txt", "…"),
        ("PetImages/", ""),
        ("PetImages/Cat/Thumbs.db", "x"),
        *((name, photograph(number)) for number, name in enumerate(NAMES)),
    ]
)


@pytest.fixture
def requests(monkeypatch, tmp_path):
    """Serves the archive in place of Microsoft; gives the paths asked for."""
    asked = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            self.send_response(200)
            self.send_header("Content-Length", str(len(ARCHIVE)))
            self.end_headers()
            self.wfile.write(ARCHIVE)

        def log_message(self, *about):
            pass

    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(cats_vs_dogs, "SHA256", hashlib.sha256(ARCHIVE).hexdigest())
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        monkeypatch.setattr(cats_vs_dogs, "URL", f"http://127.0.0.1:{running.server_port}/pets.zip")
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield asked
        running.shutdown()
        thread.join()


@pytest.fixture
def offline(monkeypatch, tmp_path):
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(cats_vs_dogs, "URL", "http://127.0.0.1:9/pets.zip")
    monkeypatch.setattr(cats_vs_dogs, "SHA256", hashlib.sha256(ARCHIVE).hexdigest())


def kept(tmp_path):
    """What lies in the cache, but for what is hidden, and the tag."""
    names = (path.name for path in (tmp_path / "cache" / "downloads").iterdir())
    return sorted(name for name in names if not name.startswith(".") and name != "CACHEDIR.TAG")


class TestDownload:
    def test_it_is_downloaded_once_and_unpacked(self, requests, tmp_path):
        told = []
        source = create(CONFIG, lambda *about: told.append(about))
        listing = source.listing()
        assert source.title == "cats_vs_dogs"
        assert listing.classes == ("Cat", "Dog")
        assert {f"PetImages/{entry.id}" for entry in listing.entries} == set(NAMES)
        assert source.picture("Dog/3.jpg").pixels.shape == (20, 20, 3)
        assert kept(tmp_path) == ["cats_vs_dogs"]
        assert ("downloading cats_vs_dogs", len(ARCHIVE), len(ARCHIVE)) in told
        assert told[-1] == ("unpacking cats_vs_dogs", 9, 9)
        assert create(CONFIG) == rebuild(source.describe()) == source
        assert requests == ["/pets.zip"]

    def test_the_manifest_does_not_say_where_it_lies(self, requests, tmp_path):
        assert str(tmp_path) not in str(create(CONFIG).describe())

    def test_runs_that_begin_together_download_it_once(self, requests):
        threads = [threading.Thread(target=create, args=(CONFIG,)) for _ in range(3)]
        for each in threads:
            each.start()
        for each in threads:
            each.join()
        assert requests == ["/pets.zip"]
        assert len(create(CONFIG).listing().entries) == 8

    def test_a_half_that_a_killed_process_left_is_never_taken_for_the_whole(self, requests, tmp_path):
        half = tmp_path / "cache" / "downloads" / ".cats_vs_dogs" / "new" / "PetImages" / "Cat"
        create(CONFIG)
        (tmp_path / "cache" / "downloads" / "cats_vs_dogs").rename(tmp_path / "gone")
        half.mkdir(parents=True)
        (half / "0.jpg").touch()
        assert len(create(CONFIG).listing().entries) == 8

    def test_offline_is_one_line_that_says_what_to_do(self, offline, tmp_path):
        with pytest.raises(DataError) as caught:
            create(CONFIG)
        said = str(caught.value)
        assert "\n" not in said
        for each in ("refused", "http://127.0.0.1:9/pets.zip", "downloads/pets.zip", "--data FOLDER", "--data drawn"):
            assert each in said
        assert kept(tmp_path) == []

    def test_an_archive_that_the_user_put_there_is_used(self, offline, tmp_path):
        with pytest.raises(DataError):
            create(CONFIG)
        (tmp_path / "cache" / "downloads" / "pets.zip").write_bytes(ARCHIVE)
        assert len(create(CONFIG).listing().entries) == 8
        assert kept(tmp_path) == ["cats_vs_dogs"]

    def test_another_archive_is_refused_before_it_is_unpacked(self, offline, tmp_path):
        path = tmp_path / "cache" / "downloads" / "pets.zip"
        with pytest.raises(DataError):
            create(CONFIG)
        path.write_bytes(ARCHIVE[:-1])
        with pytest.raises(DataError, match=r"pets\.zip': its sha256 is \w+, expected \w+\. Remove it"):
            create(CONFIG)
        assert kept(tmp_path) == ["pets.zip"]


def link(name):
    info = zipfile.ZipInfo(name)
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    return info


def lying(archive):
    """The archive, its largest file said to be of one byte, in both of its headers."""
    size, one = (5000).to_bytes(4, "little"), (1).to_bytes(4, "little")
    assert archive.count(size) == 2
    return archive.replace(size, one)


def damaged(archive):
    """The archive with other bytes after the name of its first member."""
    start = archive.index(b".jpg") + 4
    return archive[:start] + b"????" + archive[start + 4 :]


class TestUnpacking:
    @pytest.fixture(autouse=True)
    def limits(self, monkeypatch):
        monkeypatch.setattr(cats_vs_dogs, "MAX_MEMBERS", 3)
        monkeypatch.setattr(cats_vs_dogs, "MAX_BYTES", 9000)

    def unpacked(self, content, tmp_path):
        (tmp_path / "pets.zip").write_bytes(content)
        unpack(tmp_path / "pets.zip", tmp_path / "into")
        return sorted(str(path.relative_to(tmp_path / "into")) for path in tmp_path.rglob("into/**/*.jpg"))

    def test_what_lies_elsewhere_in_it_is_passed_over(self, tmp_path):
        members = [("PetImages\\Cat\\0.jpg", b"x"), ("../0.jpg", b"x"), ("/etc/0.jpg", b"x"), ("Other/0.jpg", b"x")]
        assert self.unpacked(zipped(members), tmp_path) == ["PetImages/Cat/0.jpg"]

    @pytest.mark.parametrize(
        ("content", "says"),
        [
            (
                zipped([("PetImages/../../0.jpg", b"x")]),
                r"member 'PetImages/\.\./\.\./0\.jpg' has a path outside its folder",
            ),
            (zipped([(link("PetImages/0.jpg"), "/etc/passwd")]), r"member 'PetImages/0\.jpg' is not a regular file"),
            (zipped([("PetImages/0.jpg", b"x"), ("PetImages\\0.jpg", b"y")]), "occurs twice"),
            (zipped((f"PetImages/{number}.jpg", b"x") for number in range(4)), "has 4 files, limit 3"),
            (zipped([("PetImages/0.jpg", bytes(9001))]), "unpacks to 9001 bytes, limit 9000"),
            (lying(zipped([("PetImages/0.jpg", bytes(5000))])), "damaged or not a plain zip file"),
            (zipped([("Other/0.jpg", b"x")]), "has no files in PetImages/"),
            (b"PK, but no zip file", "damaged or not a plain zip file"),
            (damaged(zipped([("PetImages/0.jpg", b"x" * 99)])), "damaged or not a plain zip file"),
        ],
    )
    def test_a_hostile_or_damaged_archive_is_refused(self, tmp_path, content, says):
        with pytest.raises(DataError, match=says) as caught:
            self.unpacked(content, tmp_path)
        assert str(caught.value).startswith("pets.zip: ")
        assert [path.name for path in tmp_path.rglob("*.jpg") if path.stat().st_size > 1] == []
