"""The workers' time: which trial each worker trained when."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bench import text
from bench.records import COMPLETE, FAIL, PRUNED, RUNNING, Run, Trial
from bench.report.figures import Figure, anchor, figure, label, layout, rounded, time_axis, title
from bench.report.styles import Mark

DRAWN = 600
"""Maximum number of bars; the last trials are drawn."""

PATTERNS: Mapping[str, str] = {COMPLETE: "", PRUNED: "/", FAIL: "x", RUNNING: "."}
"""Plotly's bar pattern by state."""

STATE_WORDS: Mapping[str, str] = {COMPLETE: "complete", PRUNED: "pruned", FAIL: "failed", RUNNING: "running"}


@dataclass(frozen=True)
class Timeline:
    """The trials that took time, in start order, each with its seconds; and the number of workers."""

    bars: Sequence[tuple[Trial, float]]
    workers: int

    @property
    def length_s(self) -> float:
        """Time from the start of the first trial to the end of the last."""
        return max(trial.started_s + took_s for trial, took_s in self.bars) - self.bars[0][0].started_s

    @property
    def busy(self) -> float:
        """Share of the workers' time that was spent on trials, 0 to 1."""
        return min(sum(took_s for _, took_s in self.bars) / (self.workers * self.length_s), 1.0)


def timeline(run: Run) -> Timeline | None:
    """The trials of several workers as bars; None for one worker, and for older records, which do not name them.

    Answers from the record are left out, since they used no worker. A trial without an end lasts until now, or until
    the last recorded time if the run has stopped.
    """
    times = [time for trial in run.trials for time in (trial.started_s, trial.finished_s) if time is not None]
    now = max([run.elapsed_s, *times]) if run.status == "running" or not times else max(times)
    bars = [
        (trial, took_s)
        for trial in run.trials
        if trial.state in PATTERNS and not trial.duplicate_of and trial.worker is not None
        if (took_s := (now if trial.finished_s is None else trial.finished_s) - trial.started_s) > 0
    ]
    workers = max([run.config.workers, *((trial.worker or 0) + 1 for trial, _ in bars)])
    return Timeline(bars, workers) if bars and workers > 1 else None


def draw_timeline(data: Timeline, looks: Mapping[str, Mark]) -> Figure:
    """Draw one horizontal bar per trial, in a row per worker: colour by family, pattern by state."""
    import plotly.graph_objects as go

    axis, unit_s = time_axis("Time since the run began", max(trial.started_s + took_s for trial, took_s in data.bars))
    groups: dict[tuple[str, str], list[tuple[Trial, float]]] = {}
    for trial, took_s in data.bars[-DRAWN:]:
        groups.setdefault((trial.family, trial.state), []).append((trial, took_s))
    traces = [
        go.Bar(
            orientation="h",
            y=[(trial.worker or 0) + 1 for trial, _ in group],
            base=[rounded(trial.started_s / unit_s) for trial, _ in group],
            x=[rounded(took_s / unit_s) for _, took_s in group],
            width=0.8,
            name=label(family),
            marker={
                "color": looks[family].colour,
                "line": {"color": "var(--paper)", "width": 0.5 if len(data.bars) <= 100 else 0},
                "pattern": {"shape": PATTERNS[state], "fgcolor": "var(--paper)", "size": 6, "solidity": 0.4},
            },
            customdata=[anchor(trial) for trial, _ in group],
            hovertext=[f"{title(trial)}<br>{STATE_WORDS[state]}, {text.seconds(took_s)}" for trial, took_s in group],
            hoverinfo="text",
        )
        for (family, state), group in groups.items()
    ]
    shape = layout({})
    rows = {"title": {"text": "Worker"}, "autorange": "reversed", "tickformat": "d", "dtick": -(-data.workers // 10)}
    shape["yaxis"] = {**shape["xaxis"], **rows, "tick0": 1}
    shape["xaxis"] |= axis
    return figure(traces, {**shape, "barmode": "overlay"})
