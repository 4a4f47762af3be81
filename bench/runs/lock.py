"""One driver a run folder: `driver.json` names the process that writes it, and is touched as long as that lives.

It lies beside run.json, which is replaced with the whole leaderboard: a heartbeat has no need of that.
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
        started: Start of the process: another process with its id, later, has another.
        place: Machine, and namespace of the process id, since containers may have one host name.
    """

    pid: int
    host: str
    started: str
    place: str

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}"


def this_driver() -> Driver:
    """The driver in this process."""
    return Driver(os.getpid(), socket.gethostname(), _started(os.getpid()), _place())


def _place() -> str:
    namespace = Path("/proc/self/ns/pid")
    return f"{socket.gethostname()} {namespace.readlink() if namespace.exists() else ''}"


def _started(pid: int) -> str:
    """Start of a process, "" if there is none; on Linux in clock ticks since the boot, whatever the clock says."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        state, *fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
        return "" if state == "Z" else f"{boot} {fields[18]}"
    except OSError:
        import psutil

        with contextlib.suppress(psutil.Error):
            return str(psutil.Process(pid).create_time())
    return ""


def _owner(path: Path) -> Driver | None:
    with contextlib.suppress(OSError, ValueError):  # none, or damaged
        return from_data(Driver, json.loads((path / FILE).read_text(encoding="utf-8")))
    return None


def living(path: Path) -> Driver | None:
    """The driver of a run folder if it is alive: by its process here, by its heartbeat on another machine."""
    driver = _owner(path)
    with contextlib.suppress(OSError):
        silent_s = time.time() - (path / FILE).stat().st_mtime
        is_here = driver is not None and driver.place == _place()
        if driver and (_started(driver.pid) == driver.started if is_here else silent_s < SILENCE_S):
            return driver
    return None


class Lock:
    """The lock of a run folder, with a thread that touches it.

    Raises:
        RunFolderError: Another driver is alive.
        OSError: The folder cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self._path, self._driver, self._ended = path, this_driver(), threading.Event()
        if other := living(path):
            raise RunFolderError(f"{path}: is in use by {other}; this is {self._driver}")
        (path / FILE).unlink(missing_ok=True)
        with (path / FILE).open("x", encoding="utf-8") as file:
            json.dump(to_data(self._driver), file)
        threading.Thread(target=self._beat, daemon=True, name="heartbeat").start()

    def check(self) -> None:
        """Check that no other driver has taken the folder over, e.g. while this one was suspended.

        Raises:
            RunFolderError: Another one has.
        """
        if (other := _owner(self._path)) not in (None, self._driver):
            raise RunFolderError(f"{self._path}: was taken over by {other}; this is {self._driver}")

    def release(self) -> None:
        """Remove the lock if it is this driver's."""
        self._ended.set()
        if _owner(self._path) == self._driver:
            (self._path / FILE).unlink(missing_ok=True)

    def _beat(self) -> None:
        while not self._ended.wait(BEAT_S):
            with contextlib.suppress(OSError):
                os.utime(self._path / FILE)
