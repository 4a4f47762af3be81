"""The workers' time: which trial each worker trained when."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bench import text
from bench.records import COMPLETE, FAIL, PRUNED, RUNNING, Run, Trial
from bench.report.figures import Figure, anchor, figure, label, layout, rounded, time_axis, title, whole_numbers
from bench.report.styles import Mark

DRAWN = 600
"""Maximum number of bars; the last trials are drawn."""

PATTERNS: Mapping[str, str] = {COMPLETE: "", PRUNED: "/", FAIL: "x", RUNNING: "."}
"""Plotly's bar pattern by state."""

STATE_WORDS: Mapping[str, str] = {COMPLETE: "complete", PRUNED: "pruned", FAIL: "failed", RUNNING: "running"}


@dataclass(frozen=True)
class TimelineBar:
    """A trial on the timeline; `end_s` is in seconds after the run's start, `worker` is None if unknown."""

    trial: Trial
    worker: int | None
    end_s: float

    @property
    def length_s(self) -> float:
        """Duration of the trial."""
        return self.end_s - self.trial.started_s


@dataclass(frozen=True)
class Timeline:
    """All trials that took time, in start order.

    Attributes:
        by_worker: True if the worker of every finished trial is known; older records of several workers lack it.
    """

    bars: Sequence[TimelineBar]
    workers: int
    by_worker: bool

    @property
    def end_s(self) -> float:
        """End of the last trial."""
        return max(bar.end_s for bar in self.bars)

    @property
    def length_s(self) -> float:
        """Time from the start of the first trial to the end of the last."""
        return self.end_s - min(bar.trial.started_s for bar in self.bars)

    @property
    def busy(self) -> float:
        """Share of the workers' time that was spent on trials, 0 to 1."""
        return min(sum(bar.length_s for bar in self.bars) / (self.workers * self.length_s), 1.0)

    @property
    def drawn(self) -> list[tuple[int, TimelineBar]]:
        """The bars of the chart with their row: the worker, or the trial's position if workers are unknown."""
        if self.by_worker:
            return [(bar.worker + 1, bar) for bar in self.bars if bar.worker is not None][-DRAWN:]
        return list(enumerate(self.bars, start=1))[-DRAWN:]

    @property
    def height_rem(self) -> float:
        """Height of the chart, which grows with the number of rows."""
        return 5 + 2.5 * min(self.workers if self.by_worker else len(self.bars), 8)

    @property
    def rows(self) -> list[tuple[int, int, float]]:
        """For each worker: its number from 1, its trials, and their share of the time; empty unless `by_worker`."""
        rows = []
        for worker in range(self.workers if self.by_worker else 0):
            lengths = [bar.length_s for bar in self.bars if bar.worker == worker]
            rows.append((worker + 1, len(lengths), sum(lengths) / self.length_s))
        return rows


def timeline(run: Run) -> Timeline | None:
    """The trials of a run as bars; None if none took time.

    Answers from the record are left out, since they used no worker. A trial without an end lasts until now, or until
    the last recorded time if the run has stopped.
    """
    times = [time for trial in run.trials for time in (trial.started_s, trial.finished_s) if time is not None]
    now = max([run.elapsed_s, *times]) if run.status == "running" or not times else max(times)
    only = 0 if run.config.workers == 1 else None
    candidates = [
        TimelineBar(
            trial,
            worker=only if trial.worker is None else trial.worker,
            end_s=now if trial.finished_s is None else trial.finished_s,
        )
        for trial in run.trials
        if trial.state in PATTERNS and not trial.duplicate_of
    ]
    bars = [bar for bar in candidates if bar.length_s > 0]
    if not bars:
        return None
    workers = max([run.config.workers, *(bar.worker + 1 for bar in bars if bar.worker is not None)])
    finished = [bar.worker for bar in bars if bar.trial.finished_s is not None]
    return Timeline(bars, workers, by_worker=only == 0 or (finished != [] and None not in finished))


def draw_timeline(data: Timeline, looks: Mapping[str, Mark]) -> Figure:
    """Draw one horizontal bar per trial: colour by family, pattern by state.

    There is one row per worker, or one per trial if workers are unknown. The `meta` of a trace is its family's position
    in `looks`.
    """
    import plotly.graph_objects as go

    axis, unit_s = time_axis("Time since the run began", data.end_s)
    groups: dict[tuple[str, str], list[tuple[int, TimelineBar]]] = {}
    for row, bar in data.drawn:
        groups.setdefault((bar.trial.family, bar.trial.state), []).append((row, bar))
    traces = [
        go.Bar(
            orientation="h",
            y=[row for row, _ in group],
            base=[rounded(bar.trial.started_s / unit_s) for _, bar in group],
            x=[rounded(bar.length_s / unit_s) for _, bar in group],
            width=0.8,
            name=label(family),
            marker={
                "color": looks[family].colour,
                "line": {"color": "var(--paper)", "width": 0.5 if len(data.bars) <= 100 else 0},
                "pattern": {"shape": PATTERNS[state], "fgcolor": "var(--paper)", "size": 6, "solidity": 0.4},
            },
            customdata=[anchor(bar.trial) for _, bar in group],
            hovertext=[_hover(bar) for _, bar in group],
            hoverinfo="text",
            meta=list(looks).index(family),
        )
        for (family, state), group in groups.items()
    ]
    shape = layout([])
    rows = {"title": {"text": "Worker" if data.by_worker else "Trial"}, "autorange": "reversed"}
    last = data.workers if data.by_worker else len(data.bars)
    shape["yaxis"] = {**shape["xaxis"], **rows, **whole_numbers(last)}
    shape["xaxis"] |= axis
    shape["barmode"] = "overlay"
    return figure(traces, shape)


def _hover(bar: TimelineBar) -> str:
    trial = bar.trial
    accuracy = f" {text.percent(trial.value)}" if trial.value is not None else ""
    return f"{title(trial)}<br>{STATE_WORDS[trial.state]}{accuracy}, {text.seconds(bar.length_s)}"
