"""The search: every trial and each engine's best result over time, the screening and the workers' time."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bench import text
from bench.metrics import metric
from bench.records import COMPLETE, FAIL, PRUNED, Run, Trial
from bench.report.figures import (
    LEAST_DRAWN,
    Figure,
    figure,
    label,
    layout,
    points,
    thinned,
    time_axis,
    title,
    value_axis,
)
from bench.report.sections.screened import Comparison, compare_screening, hits
from bench.report.sections.timeline import DRAWN as BARS_DRAWN
from bench.report.sections.timeline import STATE_WORDS, Timeline, draw_timeline, timeline
from bench.report.styles import engine_marks, family_marks

DRAWN = 1200
"""Maximum number of trials in the chart."""

ENDED = (COMPLETE, PRUNED, FAIL)
"""Final states of a trial."""


@dataclass(frozen=True)
class SearchHistory:
    """The section.

    Attributes:
        improved: The steps at which an engine's best result improved.
        ended: The trained trials that ended, in the order of their end.
        drawn: Number of these in `figure`.
        figure: None if no engine has proposed anything, or for fewer than `LEAST_DRAWN` trials.
        timeline_figure: None for fewer than `LEAST_DRAWN` trials.
        screened: Estimates from before the search; `hits` says how good they were.
    """

    summary: str
    improved: Sequence[SearchStep]
    ended: Sequence[Trial]
    drawn: int
    figure: Figure | None
    timeline: Timeline | None
    timeline_figure: Figure | None
    screened: Sequence[Comparison]
    hits: str

    bars = BARS_DRAWN


def section(run: Run) -> SearchHistory:
    """The search of a run."""
    steps, ended, workers = best_so_far(run), ended_trials(run), timeline(run)
    drawn, looks = thinned(ended, DRAWN), family_marks(run)
    improved = [step for engine_steps in steps.values() for step in improvements(engine_steps)]
    has_course = improved and any(map(_proposed, steps.values()))
    return SearchHistory(
        summary=summary(run, steps),
        improved=improved,
        ended=ended,
        drawn=len(drawn),
        figure=draw_search(run, steps, drawn) if has_course and len(ended) >= LEAST_DRAWN else None,
        timeline=workers,
        timeline_figure=draw_timeline(workers, looks) if workers and len(workers.bars) >= LEAST_DRAWN else None,
        screened=compare_screening(run),
        hits=hits(run),
    )


def summary(run: Run, steps: Mapping[str, Sequence[SearchStep]]) -> str:
    """Summarise the search in a line: `optuna:tpe proposed 14 of 20, best at 3 min 20 s`; "" without a result.

    Baselines are not counted.
    """
    lines = []
    for engine, engine_steps in steps.items():
        if better := improvements(engine_steps):
            counted = [step for step in engine_steps if not step.is_baseline]
            answered = sum(bool(step.trial.duplicate_of) and not step.trial.known for step in counted)
            remark = f" ({answered} answered from the record)" if answered else ""
            proposed = (
                f"{engine} proposed {text.thousands(_proposed(engine_steps))} of {text.thousands(len(counted))}{remark}"
            )
            lines.append(f"{proposed}, best at {text.seconds(better[-1].time_s)}")
    if lines and not any(map(_proposed, steps.values())):
        yet = " yet" if run.status == "running" else ""
        return f"no engine has proposed a configuration{yet}: all trials are known configurations"
    return "; ".join(lines) or (f"{text.plural(len(run.screenings), 'backbone')} screened" if run.screenings else "")


def _proposed(steps: Sequence[SearchStep]) -> int:
    return sum(not step.trial.known and not step.is_baseline for step in steps)


# -- the best result of each engine


@dataclass(frozen=True)
class SearchStep:
    """The state of an engine's search after a trial.

    Attributes:
        n: Number of trials that the engine has used of its budget, from 1.
        best: The best validation result so far; None before the first complete trial.
        time_s: The engine's clock at the end of the trial (see `clock_s`).
        is_baseline: True for a trial of a baseline, which is no result of a search.
    """

    n: int
    best: float | None
    trial: Trial
    time_s: float
    is_baseline: bool


def clock_s(run: Run) -> dict[str, float]:
    """The clock of its engine at the end of each trial, by name (`Trial.charged_s`).

    In older records these are the seconds since the engine's first trial began.
    """
    began: dict[str, float] = {}
    for trial in run.trials:
        began.setdefault(trial.engine, trial.started_s)  # trials are in start order
    return {
        trial.name: max(_ended_s(trial) - began[trial.engine], 0.0) if trial.charged_s is None else trial.charged_s
        for trial in run.trials
    }


def best_so_far(run: Run) -> dict[str, list[SearchStep]]:
    """By engine, its best validation result over all families but baselines after each trial of its budget.

    Trials are in the order of the engine's clock. Failed and pruned trials use budget too. Known configurations are
    trained once and charged to every engine, so that all engines start from them.
    """
    steps: dict[str, list[SearchStep]] = {engine: [] for engine in engine_marks(run)}
    clock = clock_s(run)
    for trial in sorted((t for t in run.trials if t.counted and t.state in ENDED), key=lambda t: clock[t.name]):
        engine_steps = steps[trial.engine]
        best = engine_steps[-1].best if engine_steps else None
        is_baseline = trial.family in run.baselines
        if trial.state == COMPLETE and not is_baseline and trial.value is not None and math.isfinite(trial.value):
            best = trial.value if best is None else max(best, trial.value, key=trial.quality)
        engine_steps.append(SearchStep(len(engine_steps) + 1, best, trial, clock[trial.name], is_baseline))
    return steps


def improvements(steps: Sequence[SearchStep]) -> list[SearchStep]:
    """The steps at which the best result improved, the first complete trial included."""
    before = [None, *(step.best for step in steps)]
    return [step for step, best in zip(steps, before, strict=False) if step.best is not None and step.best != best]


# -- every trial


def _ended_s(trial: Trial) -> float:
    return trial.started_s if trial.finished_s is None else trial.finished_s


def ended_trials(run: Run) -> list[Trial]:
    """The trained trials that ended, in the order of their end.

    Answers from the record and refused configurations are left out, since nothing was trained.
    """
    return sorted((t for t in run.trials if t.state in ENDED and not (t.duplicate_of or t.limit)), key=_ended_s)


def last_value(trial: Trial) -> float | None:
    """The metric of the validation; the last reported one if it was pruned; None without one."""
    reported, value = trial.intermediate_values, trial.value
    if value is None and trial.state == PRUNED and reported:
        value = reported[max(reported)]
    return value if value is not None and math.isfinite(value) and trial.state != FAIL else None


def draw_search(run: Run, steps: Mapping[str, Sequence[SearchStep]], drawn: Sequence[Trial]) -> Figure:
    """Draw a point per trial and a stepped line per engine, its best so far, against the time charged to the engine.

    Marks are those of the families, hollow for pruned trials; failed ones are crosses at the bottom, as are trials
    without a result. Known configurations have an outline.
    """
    looks, clock = family_marks(run), clock_s(run)
    values = {trial.name: last_value(trial) for trial in drawn}
    shape = layout(value_axis([value for value in values.values() if value is not None], run.metric))
    bottom = shape["yaxis"]["range"][0] / (100 if run.metric.percent else 1)
    axis, unit_s = time_axis("Time charged to the engine", max(clock.values(), default=1.0))
    groups: dict[tuple[str, str], list[Trial]] = {}
    for trial in drawn:
        groups.setdefault((trial.family, trial.state), []).append(trial)
    traces = [_engine_line(run, engine, steps[engine], unit_s, mark.dash) for engine, mark in engine_marks(run).items()]
    for (family, state), group in groups.items():
        heights = [values[trial.name] for trial in group]
        mark = looks[family]
        outline = {"width": [2 if trial.known else 0 for trial in group], "color": "var(--ink)"}
        traces.append(
            points(
                group,
                [clock[trial.name] / unit_s for trial in group],
                [bottom if height is None else height for height in heights],
                run.metric,
                name=label(text.label(group[0]), 40),
                marker={
                    "symbol": "x" if state == FAIL else f"{mark.symbol}-open" if state == PRUNED else mark.symbol,
                    "size": 9,
                    "color": mark.colour,
                    "line": outline if state == COMPLETE else {"width": 1.5},
                },
                hovertext=[_trial_hover(trial) for trial in group],
            )
        )
    shape["xaxis"] |= axis
    return figure(traces, shape)


def _engine_line(run: Run, engine: str, steps: Sequence[SearchStep], unit_s: float, dash: str) -> object:
    """A stepped line of an engine's best result, up to its last trial."""
    better = improvements(steps)
    corners = [*better, *steps[-1:]] if better else []
    return points(
        [step.trial for step in corners],
        [step.time_s / unit_s for step in corners],
        [step.best or 0.0 for step in corners],
        run.metric,
        mode="lines",
        name=label(engine),
        line={"shape": "hv", "color": "var(--ink)", "dash": dash, "width": 1.5},
        hoverinfo="skip",
    )


def _trial_hover(trial: Trial) -> str:
    state = STATE_WORDS[trial.state] if trial.state != COMPLETE else ""
    failure = f": {trial.failure.name}" if trial.failure else ""
    value = last_value(trial)
    shown = text.figure(value, metric(trial.metric)) if value is not None else ""
    result = label(" ".join(filter(None, (f"{state}{failure}", shown))), 60)
    return "<br>".join(filter(None, (title(trial), result, "known configuration" if trial.known else "")))
