"""One driver a run folder: `driver.json` names the process that writes it, and is touched as long as that lives.

It lies beside run.json, which is replaced whole at every page: a lock is created exclusively, and a heartbeat must not
write the leaderboard again.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import psutil

from bench.errors import RunFolderError
from bench.records import from_data, to_data

FILE = "driver.json"

BEAT_S = 10.0
"""Seconds between two heartbeats."""

SILENCE_S = 60.0
"""Seconds without a heartbeat after which a driver of another machine counts as gone."""


@dataclass(frozen=True)
class Driver:
    """A driver process.

    Attributes:
        started: Time at which the process started; with it a process id that is used again is another process.
        place: Machine and namespace of the process id, which differ between containers of one host name.
    """

    pid: int
    host: str
    started: str
    place: str

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}"

    def lives(self, beat_s: float) -> bool:
        """Return whether it is alive; `beat_s` is the time of its last heartbeat."""
        if self.place == _place():
            return self.started == _started(self.pid)
        return time.time() - beat_s < SILENCE_S


def this_driver() -> Driver:
    """The driver in this process."""
    return Driver(os.getpid(), socket.gethostname(), _started(os.getpid()), _place())


def _place() -> str:
    with contextlib.suppress(OSError):
        return f"{socket.gethostname()} {Path('/proc/self/ns/pid').readlink()}"
    return socket.gethostname()


def _started(pid: int) -> str:
    """Start time of a process; "" if there is none. On Linux in clock ticks since the boot, whatever the clock says."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        state, *fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
        return "" if state == "Z" else f"{boot} {fields[18]}"
    except OSError:
        with contextlib.suppress(psutil.Error):
            return str(psutil.Process(pid).create_time())
    return ""


def living(path: Path) -> Driver | None:
    """The living driver of a run folder; None without one."""
    found = _read(path)
    return found if found and found.lives((path / FILE).stat().st_mtime) else None


def _read(path: Path) -> Driver | None:
    try:
        return from_data(Driver, json.loads((path / FILE).read_text(encoding="utf-8")))
    except (OSError, ValueError):  # none, or damaged
        return None


class Lock:
    """The lock of a run folder, with a thread that touches it.

    Args:
        path: The run folder.

    Raises:
        RunFolderError: Another driver is alive.
        OSError: The folder cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self._file, self._path, self._driver = path / FILE, path, this_driver()
        if other := living(path):
            raise RunFolderError(f"{path}: is in use by {other}; this is {self._driver}")
        self._file.unlink(missing_ok=True)
        with self._file.open("x", encoding="utf-8") as file:
            json.dump(to_data(self._driver), file)
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._beat, daemon=True, name="heartbeat")
        self._thread.start()

    def check(self) -> None:
        """Check that the folder is still this driver's.

        Raises:
            RunFolderError: Another driver has it, e.g. because this one was suspended for longer than `SILENCE_S`.
        """
        if (other := _read(self._path)) not in (None, self._driver):
            raise RunFolderError(f"{self._path}: was taken over by {other}; this is {self._driver}")

    def release(self) -> None:
        """Remove the lock if it is this driver's."""
        self._ended.set()
        if _read(self._path) == self._driver:
            self._file.unlink(missing_ok=True)

    def _beat(self) -> None:
        while not self._ended.wait(BEAT_S):
            with contextlib.suppress(OSError):
                os.utime(self._file)
