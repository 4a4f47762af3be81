"""The history in words, the same in the terminal and on its page."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from bench.text import NOTHING, listing, one_line, p_value, percent, plural, points, seconds, thousands

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


class Figure(NamedTuple):
    """The words for a figure: its name, a level, the size of a change, and an end of the change's interval."""

    name: str
    level: Callable[[float], str]
    size: Callable[[float, float], str]
    end: Callable[[float], str]


ACCURACY = Figure("accuracy", percent, lambda before, after: f"{points(after - before)} points", points)
STEP_TIME = Figure("step time", seconds, lambda before, after: f"{after / before:.2f} times", "{:.2f}".format)
PARAMETERS = Figure("parameters", lambda level: thousands(round(level)), lambda before, after: "", str)


@dataclass(frozen=True, kw_only=True)
class ChangeInWords:
    """A change of level; `interval` and `p` are "" for a figure without noise."""

    figure: str
    since: str
    run: str
    commits: str
    before: str
    after: str
    size: str
    interval: str
    p: str
    reconfigured: bool


def in_words(change: LevelChange, runs: Sequence[SeriesRun], figure: Figure) -> ChangeInWords:
    """Put a change of level into words."""
    last, at = runs[change.last], runs[change.at]
    ends = [figure.end(end) for end in (change.low, change.high) if end is not None]
    return ChangeInWords(
        figure=figure.name,
        since=day(at),
        run=at.run,
        commits=commits(last, at),
        before=figure.level(change.before),
        after=figure.level(change.after),
        size=figure.size(change.before, change.after),
        interval=" to ".join(ends),
        p="" if change.p is None else p_value(change.p),
        reconfigured=change.reconfigured,
    )


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
