"""The history in words, the same in the terminal and on its page."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from bench.text import NOTHING, listing, one_line, plural, points

if TYPE_CHECKING:  # it brings NumPy along
    from bench.check.series import LevelChange, RunSeries, SeriesRun, Track

DIRTY = "+"
"""Ends a commit whose working tree had changes that are in no commit."""


def day(entry: SeriesRun) -> str:
    """Tell when a run began, to the day, UTC."""
    return one_line(entry.created_utc[:10], 10) or NOTHING


def differing(series: RunSeries) -> str:
    """Say what sets a series apart from the one before it, in short."""
    return listing([one_line(each, 60) for each in series.differs])


def commits(last: SeriesRun, at: SeriesRun) -> str:
    """Name the two commits between which a change lies; "" where they are not known.

    Two runs of one commit are of the same code only where neither has changes beside it.
    """
    before, after = _commit(last), _commit(at)
    if not before and not after:
        return ""
    if last.git_sha == at.git_sha and not at.git_sha.endswith(DIRTY):
        return f"same commit {after}"
    return f"{before or 'unknown'}..{after or 'unknown'}"


def _commit(entry: SeriesRun) -> str:
    dirty = DIRTY if entry.git_sha.endswith(DIRTY) else ""
    return one_line(entry.git_sha.removesuffix(DIRTY)[:9], 9) + dirty


def between(change: LevelChange, word: Callable[[float], str]) -> str:
    """Write the interval of a change; "" where it has none."""
    return "" if change.low is None or change.high is None else f"{word(change.low)} to {word(change.high)}"


def by_points(change: LevelChange) -> str:
    """Write how far an accuracy moved."""
    return f"{points(change.after - change.before)} points"


def by_ratio(change: LevelChange) -> str:
    """Write how many times as long a step takes."""
    return f"{two_decimals(change.after / change.before)} times"


def two_decimals(ratio: float) -> str:
    """Write a ratio, or an end of its interval."""
    return f"{ratio:.2f}"


def accuracy_unchanged(track: Track) -> str:
    """Say what is known of an accuracy without a change."""
    if track.smallest is None or _still(track):
        return _unseen(track, "more seeds, or more runs that differ, would show one")
    return (
        f"no change larger than noise ({_runs(track)}, smallest visible change about {100 * track.smallest:.1f} points)"
    )


def times_unchanged(track: Track, brief: bool = False) -> str:
    """Say the same of step times, `brief` where there is little room."""
    if track.smallest is None or _still(track):
        return _unseen(track, "more runs would show one")
    seen = "visible:" if brief else f"{_runs(track)}, smallest visible change"
    return f"no change larger than noise ({seen} about {100 * (track.smallest - 1):.0f} %)"


def _still(track: Track) -> bool:
    return len(track.readings) > 1 and len({reading.value for reading in track.readings}) == 1


def _unseen(track: Track, more: str) -> str:
    if _still(track):
        return f"always the same ({plural(len(track.readings), 'run')})"
    if not track.comparisons:
        return f"too few runs to see a change ({_runs(track)})"
    return f"the noise is too large to see a change ({_runs(track)}): {more}"


def _runs(track: Track) -> str:
    n = plural(len(track.readings), "run")
    return f"{n}, {track.different} different" if track.different < len(track.readings) else n
