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


class EngineClock:
    """Seconds that an engine has used: those of its search, and those that it was charged."""

    def __init__(self) -> None:
        self._began_s: float | None = None
        self._charged_s = 0.0

    def start(self) -> EngineClock:
        """Let the search begin."""
        self._began_s = time.monotonic()
        return self

    def charge(self, seconds: float) -> None:
        """Put the clock forward."""
        self._charged_s += seconds

    def read_s(self) -> float:
        """Return the time; 0 before the search begins."""
        return self._charged_s + (0.0 if self._began_s is None else time.monotonic() - self._began_s)


class Deadline(Stop):
    """Stops when a clock shows that a time budget is spent (None: never), or for the reason of another `Stop`."""

    def __init__(self, other: Stop, clock: EngineClock, seconds: float | None) -> None:
        self._other, self._clock, self._seconds = other, clock, seconds

    def reason(self) -> tuple[FailureKind, str] | None:
        if reason := self._other.reason():
            return reason
        if self._seconds is not None and self._clock.read_s() > self._seconds:
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
