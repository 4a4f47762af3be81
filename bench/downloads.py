"""One file from the network: with progress, given up when nothing comes, never half there under its name."""

from __future__ import annotations

import contextlib
import hashlib
import os
import threading
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

GIVE_UP_S = 10.0
"""Seconds without a byte after which the network counts as not there."""

Progress = Callable[[int, int], None]
"""Takes the bytes so far and in total (0 where the server does not say)."""


class DownloadError(OSError):
    """The file could not be had; the message says why in one line."""


def fetch(
    url: str, path: Path, checksum: str = "", progress: Progress | None = None, give_up_s: float = GIVE_UP_S
) -> None:
    """Downloads a file whole and puts it in its place, or raises and leaves nothing there.

    Args:
        url: Where it is.
        path: Where it goes; folders above are made.
        checksum: MD5 or SHA-256 in hexadecimal, told apart by length; "" checks nothing.
        progress: Called after every block.
        give_up_s: Seconds without a byte (name look-up and connecting included) before it is given up.

    Raises:
        DownloadError: No answer, a broken transfer, a wrong checksum, or no place to write.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}.part")
    transfer = _Transfer(url, partial)
    thread = threading.Thread(target=transfer.run, daemon=True)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        thread.start()
        while not transfer.ended:
            if not transfer.moved.wait(give_up_s):
                transfer.abandoned = True
                raise DownloadError(f"no answer within {give_up_s:g} s")
            transfer.moved.clear()  # before `ended` is looked at, which is set before `moved`
            if progress:
                progress(transfer.done, transfer.total)
        if transfer.error:
            raise DownloadError(str(transfer.error))
        _verify(partial, checksum)
        partial.replace(path)
    except DownloadError:
        raise
    except OSError as error:
        raise DownloadError(str(error)) from error
    finally:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)


class _Transfer:
    """Reads a URL into a file in a thread, since looking up a name has no time limit of its own."""

    def __init__(self, url: str, path: Path) -> None:
        self._url, self._path = url, path
        self.done, self.total = 0, 0
        self.error: Exception | None = None
        self.abandoned = False
        self.ended = False
        self.moved = threading.Event()

    def run(self) -> None:
        try:
            with urllib.request.urlopen(self._url, timeout=GIVE_UP_S) as response, self._path.open("wb") as file:
                self.total = int(response.headers.get("Content-Length") or 0)
                while (block := response.read(1 << 18)) and not self.abandoned:
                    file.write(block)
                    self.done += len(block)
                    self.moved.set()
            if self.total and self.done != self.total and not self.abandoned:
                self.error = OSError(f"the transfer ended after {self.done} of {self.total} bytes")
        except urllib.error.HTTPError as error:  # it holds the connection, and says what the server said
            self.error = OSError(str(error))
            error.close()
        except urllib.error.URLError as error:  # it wraps the reason
            self.error = OSError(str(error.reason))
        except Exception as error:
            self.error = error
        finally:
            self.ended = True
            self.moved.set()


def _verify(path: Path, checksum: str) -> None:
    if not checksum:
        return
    algorithm = "md5" if len(checksum) == 32 else "sha256"
    with path.open("rb") as file:
        found = hashlib.file_digest(file, algorithm).hexdigest()
    if found != checksum:
        raise DownloadError(f"its {algorithm} is {found}, expected {checksum}")
