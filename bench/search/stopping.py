"""Reasons to stop a run early: Ctrl-C or SIGTERM, and the time budget."""

from __future__ import annotations

import contextlib
import signal
import threading
import time
from collections.abc import Iterator
from types import FrameType

from bench.records import FailureKind
from bench.workers import Stop


class SignalStop(Stop):
    """Stops after a signal; `signal` is its number, 0 without one."""

    signal = 0

    def reason(self) -> tuple[FailureKind, str] | None:
        return (FailureKind.INTERRUPTED, "the run was interrupted") if self.signal else None


class Deadline(Stop):
    """Stops when a time budget is spent (None: never), or for the reason of another `Stop`."""

    def __init__(self, other: Stop, seconds: float | None) -> None:
        self._other = other
        self._end_s = None if seconds is None else time.monotonic() + seconds

    def reason(self) -> tuple[FailureKind, str] | None:
        if reason := self._other.reason():
            return reason
        if self._end_s is not None and time.monotonic() > self._end_s:
            return FailureKind.BUDGET_SPENT, "stopped by the time budget"
        return None


@contextlib.contextmanager
def stop_on_signal() -> Iterator[SignalStop]:
    """Record the first Ctrl-C or SIGTERM, so that the run can end in an orderly way; a second one stops at once.

    The second one has its previous effect. For Ctrl-C, and for SIGTERM on the command line, that is an exception, which
    still closes open files and processes.
    """
    stop = SignalStop()
    if threading.current_thread() is not threading.main_thread():  # Python handles signals only there
        yield stop
        return

    def note(number: int, frame: FrameType | None) -> None:
        stop.signal = number
        for signal_number, handler in before.items():
            signal.signal(signal_number, handler)

    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
