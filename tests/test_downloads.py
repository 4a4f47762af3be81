"""Downloads against a server on this machine: whole or not at all, and given up when nothing comes."""

from __future__ import annotations

import hashlib
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from bench.downloads import DownloadError, fetch

CONTENT = bytes(range(256)) * 4096


@pytest.fixture
def server():
    """Serves CONTENT at /whole, a part of it at /cut, and nothing at all at /silent."""
    end = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            if self.path == "/silent":
                end.wait(30)
                return
            self.send_response(200 if self.path in ("/whole", "/cut") else 404)
            self.send_header("Content-Length", str(len(CONTENT)))
            self.end_headers()
            self.wfile.write(CONTENT if self.path == "/whole" else CONTENT[:1000])

        def log_message(self, *about):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{running.server_port}"
        end.set()
        running.shutdown()
        thread.join()


def test_a_file_arrives_whole_with_its_progress(server, tmp_path):
    told = []
    fetch(
        f"{server}/whole", tmp_path / "a" / "file", hashlib.sha256(CONTENT).hexdigest(), lambda *how: told.append(how)
    )
    assert (tmp_path / "a" / "file").read_bytes() == CONTENT
    assert told[-1] == (len(CONTENT), len(CONTENT))


def test_md5_is_known_by_its_length(server, tmp_path):
    fetch(f"{server}/whole", tmp_path / "file", hashlib.md5(CONTENT).hexdigest())
    assert (tmp_path / "file").exists()


@pytest.mark.parametrize(
    ("path", "checksum", "says"),
    [
        ("whole", "0" * 64, "expected 0000"),
        ("cut", "", "1000 of 1048576 bytes"),
        ("missing", "", "404"),
        ("silent", "", r"no answer within 0\.3 s"),
    ],
)
def test_what_does_not_arrive_leaves_nothing_behind(server, tmp_path, path, checksum, says):
    with pytest.raises(DownloadError, match=says):
        fetch(f"{server}/{path}", tmp_path / "file", checksum, give_up_s=0.3)
    assert list(tmp_path.iterdir()) == []


def test_no_server_is_one_clear_line(tmp_path):
    with pytest.raises(DownloadError, match="refused"):
        fetch("http://127.0.0.1:9/x", tmp_path / "file")
