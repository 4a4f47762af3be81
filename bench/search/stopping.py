"""Reasons to end a run early: Ctrl-C, SIGTERM or SIGHUP, and the time budget."""

from __future__ import annotations

import contextlib
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from types import FrameType

from bench.records import Ending, FailureKind, Trial
from bench.search.pace import Pace
from bench.workers import Stop

MAX_RESERVE = 0.5
"""Maximum share of a search's time that is reserved for scoring and the page."""

GRACE = 0.05
"""Share of the time budget in which a trial may end by itself before it is stopped."""

MAX_GRACE_S = 30.0

SIGNAL_S = 30.0
"""Seconds after a signal in which trials may end their epoch and the chosen ones are scored."""

SIGNALS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]

INTERRUPTED = "the run was interrupted"

CLOSING = (
    "the run ends: running trials end after their epoch, then the best are scored, within "
    f"{SIGNAL_S:.0f} s; a second signal (Ctrl-C) ends it at once"
)


class SignalStop(Stop):
    """Stops `SIGNAL_S` after a signal. Until then, `Deadline` lets trials end that have completed an epoch.

    Args:
        warn: Called once with a message after a signal.

    Attributes:
        signal: The number of the signal, 0 without one.
        signal_s: Monotonic time of the signal.
    """

    def __init__(self, warn: Callable[[str], object] = lambda text: None) -> None:
        self.signal = 0
        self.signal_s = 0.0
        self._warn = warn
        self._warned = False

    def announce(self) -> None:
        """Warn once after a signal; not in the signal handler, which may have interrupted a print."""
        if self.signal and not self._warned:
            self._warned = True
            self._warn(CLOSING)

    def reason(self) -> tuple[FailureKind, str] | None:
        over = self.signal and time.monotonic() - self.signal_s > SIGNAL_S
        return (FailureKind.INTERRUPTED, INTERRUPTED) if over else None


class EngineClock:
    """Time that an engine has used: the time of its search, and the time charged for other engines' work.

    Args:
        now_s: Returns the time.
    """

    def __init__(self, now_s: Callable[[], float]) -> None:
        self._now_s = now_s
        self._began_s: float | None = None
        self._charged_s = 0.0

    def start(self) -> EngineClock:
        """Start the search's time."""
        self._began_s = self._now_s()
        return self

    def charge(self, seconds: float) -> None:
        """Add time to the clock."""
        self._charged_s += seconds

    def read_s(self) -> float:
        """Return the time; 0 before the search begins."""
        return self._charged_s + (0.0 if self._began_s is None else self._now_s() - self._began_s)


class Deadline(Stop):
    """End of one engine's search: when its time is used up, or after a signal.

    Training ends early enough to validate and save the running trials, score the best ones and write the page. Trials
    check the deadline after every epoch, and end with their best epoch if another epoch would take too long. Trials
    that have not ended after a grace period are stopped.

    Args:
        signals: Ctrl-C, SIGTERM or SIGHUP.
        pace: Measured times of the run.
        seconds: Time for the search and its share of scoring and the page; None without a time limit.
        chosen: Returns the trials that would be scored now.
        engines: Number of searches that share the time for scoring and the page.

    Attributes:
        clock: The engine's clock, which the search starts.
    """

    def __init__(
        self,
        signals: SignalStop,
        pace: Pace,
        seconds: float | None = None,
        chosen: Callable[[], Iterable[Trial]] = tuple,
        engines: int = 1,
    ) -> None:
        self._signals, self.pace, self._seconds = signals, pace, seconds
        self._chosen, self._engines = chosen, engines
        self.clock = EngineClock(pace.now_s)

    @property
    def interrupted(self) -> bool:
        """True after a signal."""
        return self._signals.signal != 0

    def left_s(self) -> float | None:
        """Return the seconds left for training; None without a time limit."""
        if self._seconds is None:
            return None
        reserve_s = self.pace.reserve_s(self._chosen()) / self._engines + self.pace.ending_s()
        return self._seconds - self.clock.read_s() - min(reserve_s, MAX_RESERVE * self._seconds)

    def fits(self, family: str) -> bool:
        """Return whether a new trial of a family is likely to complete its first epoch in time."""
        left_s, needed_s = self.left_s(), self.pace.first_epoch_s(family)
        return left_s is None or needed_s is None or needed_s <= left_s

    def ending(self, next_s: float = 0.0, later_s: float = 0.0) -> Ending | None:
        """Return the reason why a trial must end now; None if it may continue.

        Args:
            next_s: Expected duration of its next epoch.
            later_s: Time that it needs for other folds.
        """
        if self.interrupted:
            return Ending.INTERRUPTED
        left_s = self.left_s()
        return None if left_s is None or left_s > next_s + later_s else Ending.BUDGET

    def closed(self) -> bool:
        self._signals.announce()
        return self.ending() is not None

    def reason(self) -> tuple[FailureKind, str] | None:
        if self._signals.signal and not self.pace.in_training():
            return FailureKind.INTERRUPTED, INTERRUPTED
        if reason := self._signals.reason():
            return reason
        left_s = self.left_s()
        if left_s is not None and self._seconds is not None and left_s < -min(GRACE * self._seconds, MAX_GRACE_S):
            return FailureKind.BUDGET_SPENT, "stopped by the time budget"
        return None


@contextlib.contextmanager
def stop_on_signal(warn: Callable[[str], object]) -> Iterator[SignalStop]:
    """Record the first signal of `SIGNALS`, so that the run can end in an orderly way; a second one stops it at once.

    The second one has its previous effect: for Ctrl-C, and for the others on the command line, an exception, which
    still closes open files and processes. A signal that is ignored, as SIGHUP is under `nohup`, stays so.
    """
    stop = SignalStop(warn)
    if threading.current_thread() is not threading.main_thread():  # Python handles signals only there
        yield stop
        return

    def note(number: int, frame: FrameType | None) -> None:
        stop.signal, stop.signal_s = number, time.monotonic()
        for signal_number, handler in before.items():
            signal.signal(signal_number, handler)

    heeded = [number for number in SIGNALS if signal.getsignal(number) != signal.SIG_IGN]
    before = {number: signal.signal(number, note) for number in heeded}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
