"""Download files, resumable and with a stall timeout; files and data sets are renamed into place when complete."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from concurrent.futures import Future
from http.client import HTTPException, HTTPMessage
from pathlib import Path
from typing import IO, Any
from urllib.parse import urlsplit

from filelock import FileLock

from bench.cache import directory
from bench.cache.files import write_text
from bench.errors import DataError

GIVE_UP_S = 10.0
"""Seconds without a byte after which an attempt ends."""

PAUSES_S = (1.0, 5.0, 15.0)
"""Seconds before each new attempt after a broken transfer."""

BUSY = (429, 500, 502, 503, 504)
"""HTTP statuses after which the server may answer later."""

NO_ANSWER = "no answer within {:g} s"

BLOCK = 1 << 18

MAX_BYTES = 200 * 10**9
"""Maximum size of a file whose size the server does not say."""

LEAST_RATE, LEAST_RATE_AFTER_S = 1000.0, 60.0
"""Minimum bytes a second of an attempt, on average, once it has lasted so long."""

ByteCallback = Callable[[int, int], None]
"""Called with the bytes so far and in total (0 if the server does not say)."""


class DownloadError(OSError):
    """The download failed; the message is one line with the reason."""


class UnreachableError(DownloadError):
    """The server did not answer at all, so other files of it will fail too."""


class _BusyError(DownloadError):
    """The server cannot answer now; another attempt may succeed."""


def fetch(
    url: str,
    path: Path,
    checksum: str = "",
    progress: ByteCallback | None = None,
    give_up_s: float = GIVE_UP_S,
    pause: Callable[[float], None] = time.sleep,
) -> None:
    """Download a file and rename it into place when it is complete.

    A broken download leaves `.<name>.part`. The next attempt, in this call or another, continues from there if the
    server can send the rest (RFC 9110, section 14) and the file is unchanged, by its validator or by the checksum. One
    process at a time downloads; another waits for it and finds the file.

    Args:
        url: Redirections from https to anything else are refused.
        path: Destination; parent folders are created. An existing file is left alone.
        checksum: MD5 or SHA-256 in hexadecimal, distinguished by length; "" checks nothing.
        progress: Called after every block.
        give_up_s: Seconds without a byte, name look-up and connecting included, after which an attempt ends.
        pause: Waits between attempts. There is another attempt if bytes have arrived or the server was busy.

    Raises:
        DownloadError: No answer, a transfer that breaks repeatedly, a wrong checksum, or a destination that cannot be
            written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(path.with_name(f".{path.name}.lock")):
            if path.exists():
                return
            download = _Download(url, path, bool(checksum), progress, give_up_s)
            download.run(pause)
            try:
                verify(download.partial, checksum)
            except DownloadError:
                download.discard()
                raise
            download.partial.replace(path)
            download.discard()
    except DownloadError:
        raise
    except OSError as error:
        raise DownloadError(str(error)) from error


def verify(path: Path, checksum: str) -> None:
    """Raise DownloadError if the file's MD5 or SHA-256 differs; "" checks nothing."""
    if not checksum:
        return
    algorithm = "md5" if len(checksum) == 32 else "sha256"
    with path.open("rb") as file:
        actual = hashlib.file_digest(file, algorithm).hexdigest()
    if actual != checksum:
        raise DownloadError(f"its {algorithm} is {actual}, expected {checksum}")


class _Download:
    """The attempts to download one file to `partial`; a note beside it identifies the file."""

    def __init__(self, url: str, path: Path, checked: bool, progress: ByteCallback | None, give_up_s: float) -> None:
        self.partial = path.with_name(f".{path.name}.part")
        self._note = path.with_name(f".{path.name}.part.json")
        self._url, self._checked, self._progress, self._give_up_s = url, checked, progress, give_up_s
        self._moved = False

    def run(self, pause: Callable[[float], None]) -> None:
        for wait_s in PAUSES_S:
            try:
                return self._attempt()
            except DownloadError as error:
                if not self._moved and not isinstance(error, _BusyError):
                    raise
            pause(wait_s)
        self._attempt()

    def discard(self) -> None:
        self.partial.unlink(missing_ok=True)
        self._note.unlink(missing_ok=True)

    def _rest(self, done: int) -> dict[str, str]:
        """Headers that ask for the missing bytes; empty if the file must be sent from its first byte."""
        try:
            note = json.loads(self._note.read_text(encoding="utf-8"))
            same, validator = note["url"] == self._url, str(note["validator"])
        except (OSError, ValueError, KeyError, TypeError):
            return {}
        if not done or not same or not (validator or self._checked):
            return {}
        return {"Range": f"bytes={done}-"} | ({"If-Range": validator} if validator else {})

    def _attempt(self) -> None:
        done = self.partial.stat().st_size if self.partial.exists() else 0
        with _opened(self._url, self._rest(done), self._give_up_s) as response:
            start, total = _range(response)
            if response.status == 416 and total == done > 0:  # already complete
                return
            if response.status == 200:  # a changed file, or a server without ranges
                self.discard()
                write_text(self._note, json.dumps({"url": self._url, "validator": _validator(response.headers)}))
                done = 0
            elif response.status != 206 or start != done:
                if not done:
                    raise DownloadError(f"unexpected answer: HTTP status {response.status}")
                self.discard()
                return self._attempt()
            self._receive(response, done, total)

    def _receive(self, response: Any, done: int, total: int) -> None:
        begun_s, before = time.monotonic(), done
        with self.partial.open("ab") as file:
            while block := self._block(response):
                done += file.write(block)
                self._moved, elapsed_s = True, time.monotonic() - begun_s
                if done > (total or MAX_BYTES):
                    raise DownloadError(f"the server sends more than {total or MAX_BYTES} bytes")
                if elapsed_s > LEAST_RATE_AFTER_S and done - before < LEAST_RATE * elapsed_s:
                    raise DownloadError(f"{done - before} bytes in {elapsed_s:.0f} s are too slow")
                if self._progress:
                    self._progress(done, total)
            os.fsync(file.fileno())
        if total and done != total:
            raise DownloadError(f"the transfer ended after {done} of {total} bytes")

    def _block(self, response: Any) -> bytes:
        try:
            return bytes(response.read1(BLOCK))
        except TimeoutError:
            raise DownloadError(NO_ANSWER.format(self._give_up_s)) from None
        except (OSError, HTTPException) as error:
            raise DownloadError(str(error) or type(error).__name__) from None


def _opened(url: str, headers: dict[str, str], give_up_s: float) -> Any:
    """Open a URL: an `http.client.HTTPResponse`, or the `HTTPError` of status 416.

    A thread opens it, because looking up a name has no time limit.
    """
    request = urllib.request.Request(url, headers={"User-Agent": "image-model-bench", **headers})
    answer: Future[Any] = Future()

    def run() -> None:
        try:
            answer.set_result(urllib.request.build_opener(_StaysSecure).open(request, timeout=give_up_s))
        except Exception as error:
            answer.set_exception(error)

    threading.Thread(target=run, name="download", daemon=True).start()
    try:
        return answer.result(timeout=give_up_s)
    except urllib.error.HTTPError as error:
        if error.code == 416:
            return error
        error.close()
        raise (_BusyError if error.code in BUSY else DownloadError)(str(error)) from None
    except (OSError, HTTPException, ValueError) as error:
        reason = error.reason if isinstance(error, urllib.error.URLError) else error  # it wraps the reason
        if isinstance(reason, TimeoutError):
            raise UnreachableError(NO_ANSWER.format(give_up_s)) from None
        raise UnreachableError(str(reason) or type(reason).__name__) from None


def _range(response: Any) -> tuple[int, int]:
    """Number of the answer's first byte in the file (-1 if unknown), and size of the file (0 if unknown)."""
    if response.status == 200:
        length = response.headers.get("Content-Length", "")
        return 0, int(length) if length.isdecimal() else 0
    match = re.fullmatch(r"bytes (?:(\d+)-\d+|\*)/(?:(\d+)|\*)", response.headers.get("Content-Range", ""))
    return (int(match[1] or -1), int(match[2] or 0)) if match else (-1, 0)


def _validator(headers: HTTPMessage) -> str:
    """Identifier of this version of the file; ranges need a strong validator."""
    tag = headers.get("ETag", "")
    return str(tag if tag and not tag.startswith("W/") else headers.get("Last-Modified", ""))


class _StaysSecure(urllib.request.HTTPRedirectHandler):
    """Refuses redirections from https to anything else."""

    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: HTTPMessage, newurl: str
    ) -> urllib.request.Request | None:
        if req.type == "https" and urlsplit(newurl).scheme != "https":
            raise urllib.error.HTTPError(req.full_url, code, "redirected away from https, refused", headers, fp)
        return super().redirect_request(req, fp, code, msg, headers, newurl)


# -- data sets, which stay in the cache folder


def dataset_folder(name: str) -> Path:
    """Folder of a downloaded data set."""
    return directory.folder() / "downloads" / name


def obtain(name: str, fill: Callable[[Path], None]) -> Path:
    """Return the folder of a data set; `fill` writes its files into an empty folder if it is missing.

    The folder is renamed into place when it is complete. One process at a time fills it. DataError if it cannot be
    written.
    """
    folder = directory.kind_folder("downloads") / name
    hidden = folder.with_name(f".{name}")
    if not folder.is_dir():
        with directory.locked(hidden):
            new = hidden / "new"
            shutil.rmtree(new, ignore_errors=True)  # of a process that was killed
            try:
                if not folder.is_dir():
                    new.mkdir()
                    fill(new)
                    new.rename(folder)
            except OSError as error:
                shown = directory.display_path(folder)
                raise DataError(f"{shown!r} cannot be written: {error.strerror or error}") from None
            finally:
                shutil.rmtree(new, ignore_errors=True)
    directory.touch([folder])
    return folder
