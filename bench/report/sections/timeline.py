"""The workers' time: which trial each of them was busy with, and when."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from markupsafe import Markup

from bench import text
from bench.records import COMPLETE, FAIL, PRUNED, RUNNING, Run, Trial
from bench.report.links import anchor
from bench.report.styles import Mark

BARS = 600
"""At most so many bars are drawn one by one; of more, slots of time are drawn."""

LANE_PX = 26
"""From one lane to the next; a bar leaves a gap of `GAP_PX` to its neighbours."""

GAP_PX = 4

SLACK_S = 0.5
"""A worker's next trial may be recorded as begun so long before its last one is recorded as ended."""

WORDS: Mapping[str, str] = {COMPLETE: "complete", PRUNED: "pruned", FAIL: "failed", RUNNING: "running"}
"""A state in words; all but the first have a pattern, `timeline-WORD` in the section's template."""


@dataclass(frozen=True)
class Bar:
    """What a worker was busy with.

    Attributes:
        lane: The worker, from 0.
        start_s, end_s: Seconds since the run's start.
        family, state: What the bar shows.
        trial: The trial; None where the bar stands for several.
    """

    lane: int
    start_s: float
    end_s: float
    family: str
    state: str
    trial: Trial | None = None


@dataclass(frozen=True)
class Timeline:
    """What the workers did.

    Attributes:
        bars: By lane, then by time.
        workers: How many workers there were.
        start_s, end_s: When the first trial began and the last one ended, seconds since the run's start.
        busy: For each worker, the share of that time in which it had a trial, 0 to 1.
        trials: For each worker, how many trials it had.
        slots: Into how many slots of time the bars are put together; 0 where each is a trial.
    """

    bars: tuple[Bar, ...]
    workers: int
    start_s: float
    end_s: float
    busy: tuple[float, ...]
    trials: tuple[int, ...]
    slots: int = 0

    @property
    def states(self) -> tuple[str, ...]:
        """The states that the bars show."""
        shown = {bar.state for bar in self.bars}
        return tuple(state for state in WORDS if state in shown)

    @property
    def busy_share(self) -> float:
        """The share of all workers' time in which they had a trial, 0 to 1."""
        return sum(self.busy) / self.workers


def timeline(run: Run) -> Timeline | None:
    """The trials on as few lanes as hold them; None where none took time.

    Which worker had a trial is not recorded: a trial gets the first lane that is free when it begins, so that lanes
    and workers are alike but for their order. Answers from the record took no worker. A trial that is not finished
    lasts until now, or as far as the records of a run that was cut short go.
    """
    trials, now = run.trials, _now(run)
    asked = run.config.workers
    placed = _lanes([_bar(trial, now) for trial in trials if trial.state in WORDS and not trial.duplicate_of], asked)
    if not placed:
        return None
    start, end = min(bar.start_s for bar in placed), max(bar.end_s for bar in placed)
    if end <= start:
        return None
    workers = max(asked, 1 + max(bar.lane for bar in placed))
    lanes = [[bar for bar in placed if bar.lane == lane] for lane in range(workers)]
    whole = Timeline(
        bars=tuple(bar for lane in lanes for bar in lane),
        workers=workers,
        start_s=start,
        end_s=end,
        busy=tuple(sum(bar.end_s - bar.start_s for bar in lane) / (end - start) for lane in lanes),
        trials=tuple(map(len, lanes)),
    )
    return whole if len(placed) <= BARS else _in_slots(whole, max(BARS // workers, 100))


def lane_of(shown: Timeline | None) -> dict[str, int]:
    """The lane of every trial that has a bar of its own, by the trial's name."""
    bars = shown.bars if shown else ()
    return {bar.trial.name: bar.lane for bar in bars if bar.trial}


def _now(run: Run) -> float:
    times = [time for trial in run.trials for time in (trial.started_s, trial.finished_s) if time is not None]
    return max([run.elapsed_s, *times]) if run.status == "running" or not times else max(times)


def _bar(trial: Trial, now: float) -> Bar:
    end = now if trial.finished_s is None else trial.finished_s
    return Bar(0, trial.started_s, max(end, trial.started_s), trial.family, trial.state, trial)


def _lanes(bars: Sequence[Bar], workers: int) -> list[Bar]:
    """Every bar on the first lane that is free when it begins; those without a length are left out."""
    ends: list[float] = []
    placed = []
    for bar in sorted((bar for bar in bars if bar.end_s > bar.start_s), key=lambda bar: (bar.start_s, bar.end_s)):
        slack = SLACK_S if len(ends) >= workers else 0.0
        lane = next((lane for lane, end in enumerate(ends) if end <= bar.start_s), None)
        if lane is None:
            lane = next(
                (lane for lane, end in enumerate(ends) if end <= min(bar.start_s + slack, bar.end_s)), len(ends)
            )
        start = max([bar.start_s, *ends[lane : lane + 1]])
        ends[lane : lane + 1] = [bar.end_s]
        placed.append(replace(bar, lane=lane, start_s=start))
    return placed


def _in_slots(shown: Timeline, slots: int) -> Timeline:
    """The bars of each slot of time as one, of the family and the state that most of it went to."""
    width = (shown.end_s - shown.start_s) / slots
    shares: dict[tuple[int, int], dict[tuple[str, str], float]] = defaultdict(lambda: defaultdict(float))
    for bar in shown.bars:
        for slot, seconds in _slots(bar.start_s - shown.start_s, bar.end_s - shown.start_s, width, slots):
            shares[bar.lane, slot][bar.family, bar.state] += seconds
    bars: list[Bar] = []
    for lane, slot in sorted(shares):
        most = shares[lane, slot]
        family, state = max(most, key=lambda key: most[key])
        start = shown.start_s + slot * width
        last = bars[-1] if bars else None
        if last and (last.lane, last.family, last.state) == (lane, family, state) and last.end_s >= start - width / 2:
            bars[-1] = replace(last, end_s=start + width)
        else:
            bars.append(Bar(lane, start, start + width, family, state))
    return replace(shown, bars=tuple(bars), slots=slots)


def _slots(start: float, end: float, width: float, slots: int) -> Iterator[tuple[int, float]]:
    """The slots that a bar lies in, each with the seconds that it takes of it."""
    for slot in range(min(int(start / width), slots - 1), min(math.ceil(end / width), slots)):
        yield slot, min(end, (slot + 1) * width) - max(start, slot * width)


# -- a scale of time


def time_ticks(longest_s: float, most: int = 7) -> tuple[tuple[float, str], ...]:
    """Where a linear axis of time from 0 has ticks, and what they say: whole units of a clock, at most so many.

    Args:
        longest_s: Its end in seconds, above 0.
        most: How many ticks there may be, that at 0 included.
    """
    clock = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200]
    below = [m * 10.0**e for e in range(-4, 0) for m in (1, 2, 5)]
    days = [m * 86400.0 * 10**e for e in range(6) for m in (1, 2, 5)]
    step = next((step for step in (*below, *clock, *days) if longest_s / step < most), longest_s)
    places = [number * step for number in range(int(longest_s / step) + 1)]
    return tuple((place, text.seconds(place).replace(".0\u00a0", "\u00a0")) for place in places)


# -- how it is drawn


def draw_timeline(shown: Timeline, looks: Mapping[str, Mark]) -> Markup:
    """The bars as an inline picture as wide as its place: no script draws it, and paper has it as well.

    A trial's bar leads to the trial, and says what it is on hover. A screen reader gets none of it, but the table.
    """
    height = shown.workers * LANE_PX
    tracks = Markup("").join(
        Markup('<line class="track" x1="0" x2="100%" y1="{y}" y2="{y}"/>').format(y=lane * LANE_PX + LANE_PX // 2)
        for lane in range(shown.workers)
    )
    families = dict.fromkeys(bar.family for bar in shown.bars)
    groups = Markup("").join(
        Markup('<g data-number="{number}" fill="{colour}">{bars}</g>').format(
            number=list(looks).index(family),
            colour=looks[family].colour,
            bars=Markup("").join(_draw_bar(bar, shown) for bar in shown.bars if bar.family == family),
        )
        for family in families
    )
    return Markup('<svg class="lanes" height="{height}" aria-hidden="true">{tracks}{groups}</svg>').format(
        height=height, tracks=tracks, groups=groups
    )


def _draw_bar(bar: Bar, shown: Timeline) -> Markup:
    length = shown.end_s - shown.start_s
    place = Markup('x="{x:.3f}%" y="{y}" width="{width:.3f}%" height="{height}"').format(
        x=100 * (bar.start_s - shown.start_s) / length,
        y=bar.lane * LANE_PX + GAP_PX // 2,
        width=100 * (bar.end_s - bar.start_s) / length,
        height=LANE_PX - GAP_PX,
    )
    drawn = Markup("<rect {}/>").format(place)
    if bar.state != COMPLETE:
        drawn += Markup('<rect {} fill="url(#timeline-{})"/>').format(place, WORDS[bar.state])
    if bar.trial is None:
        return drawn
    return Markup('<a href="#{}" tabindex="-1"><title>{}</title>{}</a>').format(
        anchor(bar.trial), text.clean(_title(bar)), drawn
    )


def _title(bar: Bar) -> str:
    if bar.trial is None:
        return ""
    share = f" {text.percent(bar.trial.value)}" if bar.trial.value is not None else ""
    return (
        f"{text.label(bar.trial)}, {bar.trial.engine} #{bar.trial.number}: {WORDS[bar.state]}{share}, "
        f"{text.seconds(bar.end_s - bar.start_s)}"
    )
