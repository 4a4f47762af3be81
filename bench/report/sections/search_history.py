"""How the search went: what every engine found and when, every trial, the searched spaces, the workers' time."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from markupsafe import Markup

from bench import text
from bench.records import COMPLETE, FAIL, PRUNED, Run, Trial
from bench.report.figures import Figure, figure, label, layout
from bench.report.links import anchor
from bench.report.sections.coordinates import Coordinates, spaces
from bench.report.sections.feature_cache import Saved, in_all, saved_by_family
from bench.report.sections.importance import LEAST
from bench.report.sections.timeline import WORDS, Timeline, draw_timeline, lane_of, time_ticks, timeline
from bench.report.sections.trials import History, ended_s, history
from bench.report.sections.verdict import savings
from bench.report.styles import Mark, engine_marks, family_marks

AGAINST: Mapping[str, str] = {"time_s": "wall-clock time", "n": "trials"}
"""What the best so far is held against, attributes of `Step`."""


@dataclass(frozen=True)
class Search:
    """The section.

    Attributes:
        searches: For every engine what it had found after each trial.
        figures: The same drawn, for each of `AGAINST`; empty where nothing was found.
        engines: The legend of engines.
        families: The legend of families: number, label and mark of those that were tried.
        history: Every trial; None before one has ended.
        spaces: What was searched of each family.
        unfolded: The family of the best trial among them, which stands open.
        narrow: Tried families that have no two complete trials that differ, by name.
        timeline: What the workers did; None where no trial took time.
        lanes: That drawn.
        ticks: Its scale: shares of the width, and what stands there.
        worker: The worker of each trial, by its name, where it has a bar of its own.
        saved: What the feature cache saved of each family; empty where that is less than a second in all.
        saved_in_all: The same of all together.
        words: States in words.
        least: Of how many distinct complete trials importance is worked out.
    """

    searches: Mapping[str, Sequence[Step]]
    figures: Mapping[str, Figure]
    engines: Mapping[str, Mark]
    families: Sequence[tuple[int, str, Mark]]
    history: History | None
    spaces: Sequence[Coordinates]
    unfolded: str
    narrow: Sequence[str]
    timeline: Timeline | None
    lanes: Markup
    ticks: Sequence[tuple[float, str]]
    worker: Mapping[str, int]
    saved: Sequence[Saved]
    saved_in_all: Saved

    words: ClassVar[Mapping[str, str]] = WORDS
    least: ClassVar[int] = LEAST

    @property
    def improvements(self) -> Mapping[str, Sequence[Step]]:
        """For every engine the steps at which its best improved."""
        return {engine: improvements(steps) for engine, steps in self.searches.items()}


def section(run: Run) -> Search:
    """The search of a run."""
    searches, engines, looks = best_so_far(run), engine_marks(run), family_marks(run)
    found = any(steps and steps[-1].best is not None for steps in searches.values())
    shown, workers = spaces(run), timeline(run)
    tried = {trial.family: text.label(trial) for trial in run.trials}
    saved = saved_by_family(run, looks) if savings(run) else []
    return Search(
        searches=searches,
        figures={axis: draw_best_so_far(searches, engines, axis) for axis in AGAINST} if found else {},
        engines=engines,
        families=[(n, tried[family], mark) for n, (family, mark) in enumerate(looks.items()) if family in tried],
        history=history(run, looks),
        spaces=shown,
        unfolded=min(shown, key=lambda space: space.drawn[0].rank_key).family if shown else "",
        narrow=[family for family in looks if family in tried and family not in {each.family for each in shown}],
        timeline=workers,
        lanes=draw_timeline(workers, looks) if workers else Markup(),
        ticks=_ticks(workers) if workers else (),
        worker=lane_of(workers),
        saved=saved,
        saved_in_all=in_all(saved),
    )


def _ticks(shown: Timeline) -> list[tuple[float, str]]:
    length = shown.end_s - shown.start_s
    return [(place / length, words) for place, words in time_ticks(length)]


# -- what every engine found


@dataclass(frozen=True)
class Step:
    """The state of an engine's search after so many trials.

    Attributes:
        n: How many trials of its budget the engine had used, from 1.
        best: The highest validation accuracy until then; None before the first complete trial.
        trial: The trial that came then.
        time_s: When it ended, seconds since the engine's first trial began: engines search one after the other.
    """

    n: int
    best: float | None
    trial: Trial
    time_s: float


def best_so_far(run: Run) -> dict[str, list[Step]]:
    """For every engine, the best validation accuracy over all families after each trial of its budget.

    Trials count in the order in which they ended; failed and pruned ones used budget too, running ones not yet.
    """
    searches: dict[str, list[Step]] = {engine: [] for engine in engine_marks(run)}
    began: dict[str, float] = {}
    for trial in run.trials:
        began.setdefault(trial.engine, trial.started_s)  # they come in the order in which they were started
    ended = [trial for trial in run.trials if trial.counted and trial.state in (COMPLETE, PRUNED, FAIL)]
    for trial in sorted(ended, key=ended_s):
        steps = searches[trial.engine]
        best = steps[-1].best if steps else None
        if trial.state == COMPLETE and trial.value is not None and math.isfinite(trial.value):
            best = trial.value if best is None else max(best, trial.value)
        steps.append(Step(len(steps) + 1, best, trial, max(ended_s(trial) - began[trial.engine], 0.0)))
    return searches


def improvements(steps: Sequence[Step]) -> list[Step]:
    """The steps at which the best improved, the first complete trial among them."""
    before = [None, *(step.best for step in steps)]
    return [step for step, best in zip(steps, before, strict=False) if step.best is not None and step.best != best]


# -- how it is drawn


def draw_best_so_far(searches: Mapping[str, Sequence[Step]], looks: Mapping[str, Mark], against: str = "n") -> Figure:
    """One stepped line an engine, with a marker where the best improved, to the engine's last trial."""
    import plotly.graph_objects as go

    traces, shares = [], []
    for engine, steps in searches.items():
        better = improvements(steps)
        if not better:
            continue
        shares += [step.best for step in better if step.best is not None]
        corners = [*better, steps[-1]]
        mark = looks[engine]
        traces.append(
            go.Scatter(
                x=[round(getattr(step, against), 2) for step in corners],
                y=[round(100 * (step.best or 0.0), 3) for step in corners],
                mode="lines+markers",
                name=label(engine),
                line={"shape": "hv", "color": mark.colour, "dash": mark.dash, "width": 2.5},
                marker={"symbol": mark.symbol, "size": [9] * len(better) + [0], "opacity": 1, "line": {"width": 0}},
                customdata=[anchor(step.trial) for step in corners],
                hovertext=[_step_hover(engine, step) for step in corners],
                hoverinfo="text",
                cliponaxis=False,
            )
        )
    shape = layout(shares)
    shape["xaxis"] |= _axis(searches, against)
    return figure(go, traces, shape)


def _axis(searches: Mapping[str, Sequence[Step]], against: str) -> Figure:
    longest = max((getattr(steps[-1], against) for steps in searches.values() if steps), default=1)
    if against == "n":
        every = {"dtick": 1, "tick0": 0} if longest <= 10 else {"nticks": 10}
        return {"title": {"text": "Trials"}, "range": [0.5, longest + 0.5], "tickformat": "d", **every}
    ticks = time_ticks(longest or 1.0)
    return {
        "title": {"text": "Time since the engine began"},
        "range": [0, 1.03 * (longest or 1.0)],
        "tickvals": [value for value, _ in ticks],
        "ticktext": [words for _, words in ticks],
    }


def _step_hover(engine: str, step: Step) -> str:
    return (
        f"<b>{label(engine)}</b><br>best after {text.plural(step.n, 'trial')}, {text.seconds(step.time_s)}: "
        f"{text.percent(step.best)}"
        f"<br>this one: {label(text.label(step.trial))} #{step.trial.number} {text.percent(step.trial.value)}"
    )
