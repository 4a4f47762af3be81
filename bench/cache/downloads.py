"""One file from the network: gone on with after a break, given up when nothing comes, never half there by its name."""

from __future__ import annotations

import hashlib
import json
import os
import queue
import re
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from email.message import Message
from http.client import HTTPMessage
from pathlib import Path
from typing import IO
from urllib.parse import urlsplit

from filelock import FileLock

from bench.cache.files import write_text

GIVE_UP_S = 10.0
"""Seconds without a byte after which the network counts as not there."""

PAUSES_S = (1.0, 5.0, 15.0)
"""Waits before a transfer that broke is gone on with; after as many attempts more it has failed."""

BLOCK = 1 << 18

ByteCallback = Callable[[int, int], None]
"""Takes the bytes so far and in total (0 where the server does not say)."""


class DownloadError(OSError):
    """The file could not be had; the message says why in one line."""


def fetch(
    url: str,
    path: Path,
    checksum: str = "",
    progress: ByteCallback | None = None,
    give_up_s: float = GIVE_UP_S,
    pause: Callable[[float], None] = time.sleep,
) -> None:
    """Downloads a file whole and puts it in its place, or raises and leaves nothing by its name.

    What arrived before a break stays beside it as `.<name>.part`. From there the download goes on, at once or in
    another call, where the server can send the rest (RFC 9110, section 14) and the file is still the same: by its
    validator, or by the checksum in the end. One process at a time does this; another waits, and finds the file.

    Args:
        url: Where it is. From https it is not followed to anything less.
        path: Where it goes; folders above are made. A file that is there already is left alone.
        checksum: MD5 or SHA-256 in hexadecimal, told apart by length; "" checks nothing.
        progress: Called after every block.
        give_up_s: Seconds without a byte (name look-up and connecting included) before an attempt is given up.
        pause: Waits before another attempt; there is one only after bytes have moved.

    Raises:
        DownloadError: No answer, a transfer that keeps breaking, a wrong checksum, or no place to write.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(path.with_name(f".{path.name}.lock")):
            if path.exists():
                return
            partial = _Partial(url, path, bool(checksum))
            _Download(url, partial, progress, give_up_s).run(pause)
            try:
                verify(partial.path, checksum)
            except DownloadError:
                partial.discard()
                raise
            partial.become(path)
    except DownloadError:
        raise
    except OSError as error:
        raise DownloadError(str(error)) from error


def verify(path: Path, checksum: str) -> None:
    """Raises DownloadError where the file's MD5 or SHA-256 is another one; "" checks nothing."""
    if not checksum:
        return
    algorithm = "md5" if len(checksum) == 32 else "sha256"
    with path.open("rb") as file:
        found = hashlib.file_digest(file, algorithm).hexdigest()
    if found != checksum:
        raise DownloadError(f"its {algorithm} is {found}, expected {checksum}")


class _Partial:
    """What has arrived of a file, and a note of which file that is, from one call to the next."""

    def __init__(self, url: str, path: Path, checked: bool) -> None:
        self.path = path.with_name(f".{path.name}.part")
        self._note = path.with_name(f".{path.name}.part.json")
        self._url, self._checked = url, checked

    @property
    def size(self) -> int:
        return self.path.stat().st_size if self.path.exists() else 0

    def rest(self) -> dict[str, str]:
        """Headers that ask for what is missing; none where the file must be sent from its first byte."""
        try:
            note = json.loads(self._note.read_text(encoding="utf-8"))
            same, validator = note["url"] == self._url, str(note["validator"])
        except (OSError, ValueError, KeyError, TypeError):
            return {}
        if not self.size or not same or not (validator or self._checked):
            return {}
        return {"Range": f"bytes={self.size}-"} | ({"If-Range": validator} if validator else {})

    def begin(self, validator: str) -> None:
        """Starts anew, with a file that the validator identifies."""
        self.discard()
        write_text(self._note, json.dumps({"url": self._url, "validator": validator}))

    def discard(self) -> None:
        self.path.unlink(missing_ok=True)
        self._note.unlink(missing_ok=True)

    def become(self, path: Path) -> None:
        self.path.replace(path)
        self._note.unlink(missing_ok=True)


class _Download:
    """Attempts at one file, until it is whole."""

    def __init__(self, url: str, partial: _Partial, progress: ByteCallback | None, give_up_s: float) -> None:
        self._url, self._partial, self._progress, self._give_up_s = url, partial, progress, give_up_s
        self._moved = False

    def run(self, pause: Callable[[float], None]) -> None:
        for wait_s in PAUSES_S:
            try:
                return self._attempt()
            except DownloadError:
                if not self._moved:
                    raise
            pause(wait_s)
        self._attempt()

    def _attempt(self) -> None:
        partial = self._partial
        with _Stream(self._url, partial.rest(), self._give_up_s) as stream:
            answer, done = stream.answer(), partial.size
            if answer.status == 416 and answer.total == done > 0:  # all of it is here already
                return
            if answer.status == 200:
                partial.begin(answer.validator)
                done = 0
            elif answer.status == 206 and answer.start == done:
                pass
            elif done:
                partial.discard()
                return self._attempt()
            else:
                raise DownloadError(f"unexpected answer: HTTP status {answer.status}")
            self._receive(stream, done, answer.total)

    def _receive(self, stream: _Stream, done: int, total: int) -> None:
        with self._partial.path.open("ab") as file:
            for block in stream.blocks():
                file.write(block)
                done += len(block)
                self._moved = True
                if self._progress:
                    self._progress(done, total)
            os.fsync(file.fileno())
        if total and done != total:
            raise DownloadError(f"the transfer ended after {done} of {total} bytes")


@dataclass(frozen=True)
class _Answer:
    """How a server answers: its status and headers."""

    status: int
    headers: Message

    @property
    def start(self) -> int:
        """The first byte that it sends of the file; -1 where it does not say."""
        return int(self._range[0] or -1)

    @property
    def total(self) -> int:
        """Bytes of the whole file; 0 where it does not say."""
        if self.status == 200:
            length = self.headers.get("Content-Length", "")
            return int(length) if length.isdecimal() else 0
        return int(self._range[1] or 0)

    @property
    def validator(self) -> str:
        """What tells this file from a later one of that name: for a range it must be a strong one."""
        tag = self.headers.get("ETag", "")
        return str(tag if tag and not tag.startswith("W/") else self.headers.get("Last-Modified", ""))

    @property
    def _range(self) -> tuple[str, str]:
        match = re.fullmatch(r"bytes (?:(\d+)-\d+|\*)/(?:(\d+)|\*)", self.headers.get("Content-Range", ""))
        return (match[1] or "", match[2] or "") if match else ("", "")


class _Stream:
    """Reads a URL in a thread, since looking up a name has no time limit of its own; the thread touches no file."""

    def __init__(self, url: str, headers: dict[str, str], give_up_s: float) -> None:
        self._request = urllib.request.Request(url, headers={"User-Agent": "image-model-bench", **headers})
        self._give_up_s = give_up_s
        self._arrived: queue.Queue[_Answer | bytes | Exception] = queue.Queue(maxsize=16)
        self._abandoned = False

    def __enter__(self) -> _Stream:
        threading.Thread(target=self._run, name="download", daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._abandoned = True
        while not self._arrived.empty():  # the thread may wait for a place
            self._arrived.get()

    def answer(self) -> _Answer:
        first = self._next()
        assert isinstance(first, _Answer)
        return first

    def blocks(self) -> Iterator[bytes]:
        while block := self._next():
            assert isinstance(block, bytes)
            yield block

    def _next(self) -> _Answer | bytes:
        try:
            found = self._arrived.get(timeout=self._give_up_s)
        except queue.Empty:
            raise DownloadError(f"no answer within {self._give_up_s:g} s") from None
        if isinstance(found, Exception):
            raise DownloadError(str(found) or type(found).__name__)
        return found

    def _run(self) -> None:
        opener = urllib.request.build_opener(_StaysSecure)
        try:
            # Longer than the other side waits: here the limit only ends a thread that nobody listens to any more.
            with opener.open(self._request, timeout=2 * self._give_up_s) as response:
                self._arrived.put(_Answer(response.status, response.headers))
                while not self._abandoned:
                    block = response.read1(BLOCK)
                    self._arrived.put(block)
                    if not block:
                        return
        except urllib.error.HTTPError as error:  # it holds the connection, and says what the server said
            ranged = error.code == 416
            self._arrived.put(_Answer(error.code, error.headers) if ranged else OSError(str(error)))
            error.close()
        except urllib.error.URLError as error:  # it wraps the reason
            self._arrived.put(OSError(str(error.reason)))
        except Exception as error:
            self._arrived.put(error)


class _StaysSecure(urllib.request.HTTPRedirectHandler):
    """Follows no redirection from https to anything less."""

    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: HTTPMessage, newurl: str
    ) -> urllib.request.Request | None:
        if req.type == "https" and urlsplit(newurl).scheme != "https":
            raise urllib.error.HTTPError(req.full_url, code, "leads away from https, not followed", headers, fp)
        return super().redirect_request(req, fp, code, msg, headers, newurl)
