"""Downloads against a server on this machine: whole or not at all, gone on with, given up when nothing comes."""

from __future__ import annotations

import hashlib
import io
import math
import re
import threading
import urllib.error
import urllib.request
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from bench.cache import downloads
from bench.cache.downloads import PAUSES_S, DownloadError, UnreachableError, _StaysSecure, fetch

CONTENT = bytes(range(256)) * 4096
CHECKSUM = hashlib.sha256(CONTENT).hexdigest()


class Server(ThreadingHTTPServer):
    """Serves `content`; the next requests are cut after so many bytes as `cuts` says, or sent whole.

    Attributes:
        ranges: Whether it sends parts of the file.
        etag: What identifies the file; "" says nothing.
        asked: The headers of every request.
    """

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.content, self.cuts, self.ranges, self.etag = CONTENT, [], True, '"one"'
        self.asked, self.end, self.busy = [], threading.Event(), 0

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}/file"


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        server = self.server
        server.asked.append(dict(self.headers))
        if self.path == "/silent":
            server.end.wait(30)
            return
        if server.busy:
            server.busy -= 1
            self.send_error(503)
            return
        if self.path == "/missing":
            self.send_error(404)
            return
        start, total = self.start(), len(server.content)
        if start >= total:
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{total}")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{total - 1}/{total}")
        if server.etag:
            self.send_header("ETag", server.etag)
        self.send_header("Content-Length", str(total - start))
        self.end_headers()
        cut = server.cuts.pop(0) if server.cuts else total
        self.wfile.write(server.content[start : start + cut])
        if self.path == "/stalling":
            server.end.wait(30)

    def start(self):
        asked = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        same = self.headers.get("If-Range", self.server.etag) == self.server.etag
        return int(asked[1]) if asked and same and self.server.ranges else 0

    def log_message(self, *about):
        pass


@pytest.fixture
def server():
    with Server() as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield running
        running.end.set()
        running.shutdown()
        thread.join()


def files(folder):
    """What lies there, but for lock files, which stay."""
    return sorted(each.name for each in folder.iterdir() if not each.name.endswith(".lock"))


def broken(server, path, cut=1000, **settings):
    """A download of which only so many bytes arrive."""
    server.cuts = [cut, 0, 0, 0]
    with pytest.raises(DownloadError, match="of 1048576 bytes"):
        fetch(server.url, path, pause=lambda seconds: None, **settings)


def test_a_file_arrives_whole_with_its_progress(server, tmp_path):
    told = []
    fetch(server.url, tmp_path / "a" / "file", CHECKSUM, lambda *how: told.append(how))
    assert (tmp_path / "a" / "file").read_bytes() == CONTENT
    assert told == sorted(told)
    assert told[-1] == (len(CONTENT), len(CONTENT))
    assert files(tmp_path / "a") == ["file"]


def test_md5_is_known_by_its_length(server, tmp_path):
    fetch(server.url, tmp_path / "file", hashlib.md5(CONTENT).hexdigest())
    assert (tmp_path / "file").exists()


@pytest.mark.parametrize(
    ("path", "checksum", "says"),
    [
        ("file", "0" * 64, "expected 0000"),
        ("missing", "", "404"),
        ("silent", "", r"no answer within 0\.3 s"),
    ],
)
def test_what_does_not_arrive_leaves_nothing_behind(server, tmp_path, path, checksum, says):
    with pytest.raises(DownloadError, match=says):
        fetch(server.url.replace("file", path), tmp_path / "file", checksum, give_up_s=0.3 if path == "silent" else 30)
    assert files(tmp_path) == []


def test_a_server_that_is_busy_is_asked_again(server, tmp_path):
    server.busy, pauses = 2, []
    fetch(server.url, tmp_path / "file", CHECKSUM, pause=pauses.append)
    assert (tmp_path / "file").read_bytes() == CONTENT
    assert pauses == list(PAUSES_S[:2])


def test_only_a_server_that_does_not_answer_is_unreachable(server, tmp_path):
    server.busy = 100
    with pytest.raises(DownloadError, match="503") as caught:
        fetch(server.url, tmp_path / "file", pause=lambda seconds: None)
    assert not isinstance(caught.value, UnreachableError)
    with pytest.raises(UnreachableError):
        fetch("http://127.0.0.1:9/file", tmp_path / "file")


def test_a_transfer_that_stalls_is_given_up_and_gone_on_with(server, tmp_path):
    server.cuts = [1000]
    pauses = []
    fetch(server.url.replace("file", "stalling"), tmp_path / "file", CHECKSUM, give_up_s=0.3, pause=pauses.append)
    assert (tmp_path / "file").read_bytes() == CONTENT
    assert pauses == [PAUSES_S[0]]
    assert server.asked[-1]["Range"] == "bytes=1000-"


def test_no_server_is_one_clear_line_at_once(tmp_path):
    with pytest.raises(DownloadError, match="refused"):
        fetch("http://127.0.0.1:9/x", tmp_path / "file", pause=pytest.fail)


def test_a_transfer_that_breaks_goes_on_after_growing_pauses(server, tmp_path):
    server.cuts = [1000, 0, 5000]
    pauses, told = [], []
    fetch(server.url, tmp_path / "file", CHECKSUM, lambda *how: told.append(how), pause=pauses.append)
    assert (tmp_path / "file").read_bytes() == CONTENT
    assert tuple(pauses) == PAUSES_S
    assert [each.get("Range") for each in server.asked] == [None, "bytes=1000-", "bytes=1000-", "bytes=6000-"]
    assert told[-1] == (len(CONTENT), len(CONTENT))


def test_another_call_goes_on_where_the_last_one_broke(server, tmp_path):
    broken(server, tmp_path / "file")
    assert not (tmp_path / "file").exists()
    told = []
    fetch(server.url, tmp_path / "file", CHECKSUM, lambda *how: told.append(how))
    assert (tmp_path / "file").read_bytes() == CONTENT
    assert server.asked[-1]["Range"] == "bytes=1000-"
    assert told[0][0] > 1000
    assert files(tmp_path) == ["file"]


def test_a_server_that_sends_no_ranges_starts_over(server, tmp_path):
    server.ranges = False
    broken(server, tmp_path / "file")
    fetch(server.url, tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == CONTENT


def test_a_file_that_changed_on_the_server_is_not_glued_to_the_old_one(server, tmp_path):
    broken(server, tmp_path / "file")
    server.content, server.etag = CONTENT[::-1], '"two"'
    fetch(server.url, tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == CONTENT[::-1]


@pytest.mark.parametrize("etag", ["", 'W/"weak"'])
def test_without_a_strong_validator_only_a_checksum_lets_it_go_on(server, tmp_path, etag):
    server.etag = etag
    broken(server, tmp_path / "file")
    fetch(server.url, tmp_path / "file")
    assert "Range" not in server.asked[-1]
    broken(server, tmp_path / "other", checksum=CHECKSUM)
    fetch(server.url, tmp_path / "other", CHECKSUM)
    assert server.asked[-1]["Range"] == "bytes=1000-"
    assert (tmp_path / "other").read_bytes() == (tmp_path / "file").read_bytes() == CONTENT


def test_what_was_glued_wrongly_is_thrown_away(server, tmp_path):
    server.etag = ""
    broken(server, tmp_path / "file", checksum=CHECKSUM)
    server.content = CONTENT[::-1]
    with pytest.raises(DownloadError, match="expected"):
        fetch(server.url, tmp_path / "file", CHECKSUM)
    assert files(tmp_path) == []


@pytest.mark.parametrize("extra", [b"", b"more than there is"])
def test_a_partial_file_that_is_whole_or_too_long_ends_well(server, tmp_path, extra):
    broken(server, tmp_path / "file")
    (tmp_path / ".file.part").write_bytes(CONTENT + extra)
    fetch(server.url, tmp_path / "file", CHECKSUM)
    assert (tmp_path / "file").read_bytes() == CONTENT


@pytest.mark.parametrize("note", ["", "{}", "[]", '{"url": "http://elsewhere/", "validator": "x"}'])
def test_a_partial_file_of_unknown_origin_is_not_used(server, tmp_path, note):
    (tmp_path / ".file.part").write_bytes(b"x" * 1000)
    (tmp_path / ".file.part.json").write_text(note)
    fetch(server.url, tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == CONTENT


def test_two_at_once_download_it_once(server, tmp_path):
    threads = [threading.Thread(target=fetch, args=(server.url, tmp_path / "file", CHECKSUM)) for _ in range(4)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert (tmp_path / "file").read_bytes() == CONTENT
    assert len(server.asked) == 1


def test_a_folder_that_cannot_be_made_is_one_clear_line(server, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(DownloadError, match="file"):
        fetch(server.url, tmp_path / "file" / "below")


@pytest.mark.parametrize(("target", "follows"), [("https://b/x", True), ("http://b/x", False), ("ftp://b/x", False)])
def test_https_leads_to_https_alone(target, follows):
    request = urllib.request.Request("https://a/x")
    if follows:
        assert _StaysSecure().redirect_request(request, io.BytesIO(), 302, "", Message(), target).full_url == target
    else:
        with pytest.raises(urllib.error.HTTPError, match="https") as caught:
            _StaysSecure().redirect_request(request, io.BytesIO(), 302, "", Message(), target)
        caught.value.close()


class Endless:
    """An answer that never ends."""

    def read1(self, size):
        return bytes(size)


@pytest.mark.parametrize(("total", "limit"), [(1000, 1000), (0, 5000)])
def test_a_server_that_sends_more_than_it_says_or_without_end_is_given_up(tmp_path, monkeypatch, total, limit):
    monkeypatch.setattr(downloads, "MAX_BYTES", 5000)
    download = downloads._Download("http://x", tmp_path / "file", False, None, 1.0)
    with pytest.raises(DownloadError, match=f"more than {limit} bytes"):
        download._receive(Endless(), 0, total)


def test_a_server_that_sends_a_byte_now_and_then_is_given_up(tmp_path, monkeypatch):
    monkeypatch.setattr(downloads, "LEAST_RATE", math.inf)
    monkeypatch.setattr(downloads, "LEAST_RATE_AFTER_S", 0.0)
    download = downloads._Download("http://x", tmp_path / "file", False, None, 1.0)
    with pytest.raises(DownloadError, match="too slow"):
        download._receive(Endless(), 0, 0)
