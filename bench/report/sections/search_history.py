"""The search: each engine's best result over time, every trial, the searched spaces and the workers' time."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bench import text
from bench.records import COMPLETE, FAIL, PRUNED, Run, Trial
from bench.report.figures import Figure, figure, label, layout, points, thinned, time_axis, title, whole_numbers
from bench.report.sections.feature_cache import Saved, saved, savings
from bench.report.sections.screened import Comparison, compare_screening, hits
from bench.report.sections.slices import DRAWN as POINTS_DRAWN
from bench.report.sections.slices import FamilySlices, slices
from bench.report.sections.timeline import DRAWN as BARS_DRAWN
from bench.report.sections.timeline import STATE_WORDS, Timeline, draw_timeline, timeline
from bench.report.styles import Mark, engine_marks, family_marks

DRAWN = 1200
"""Maximum number of points in the chart of every trial."""

TABLED = 100
"""Maximum number of rows in its table; the best trials are listed."""

SYMBOLS: Mapping[str, str] = {COMPLETE: "circle", PRUNED: "triangle-down-open", FAIL: "x"}
"""Plotly's marker by final state of a trial."""


@dataclass(frozen=True)
class SearchHistory:
    """The section.

    Attributes:
        steps: By engine, its best accuracy after each trial.
        best_figures: Charts of `steps` by x axis, "charged time" or "trials"; empty without a result.
        families: Legend of the families that were tried: number, label and mark.
        ended: The trials that ended, with their position from 1 in the order of their end; the `answered` ones, which
            were answered from the record, are left out.
        drawn: Number of these in `figure`.
        saved: Time that the feature cache saved by family, most first; empty if it is below a second in total.
        screened: Estimates from before the search; `hits` says how good they were.
    """

    summary: str
    steps: Mapping[str, Sequence[SearchStep]]
    best_figures: Mapping[str, Figure]
    families: Sequence[tuple[int, str, Mark]]
    ended: Sequence[tuple[int, Trial]]
    answered: int
    drawn: int
    figure: Figure | None
    spaces: Sequence[FamilySlices]
    timeline: Timeline | None
    timeline_figure: Figure | None
    saved: Mapping[str, Saved]
    screened: Sequence[Comparison]
    hits: str

    bars = BARS_DRAWN
    panel_points = POINTS_DRAWN
    words = STATE_WORDS

    @property
    def tabled(self) -> Sequence[tuple[int, Trial]]:
        """Rows of the table: all trials in their order, or, of more than `TABLED`, the best, best first."""
        if len(self.ended) <= TABLED:
            return self.ended
        return sorted(self.ended, key=lambda row: (row[1].state != COMPLETE, row[1].rank_key))[:TABLED]


def section(run: Run) -> SearchHistory:
    """The search of a run."""
    steps, engines, looks = best_so_far(run), engine_marks(run), family_marks(run)
    has_result = any(engine_steps and engine_steps[-1].best is not None for engine_steps in steps.values())
    ended, workers = ended_trials(run), timeline(run)
    drawn = {trial.name for trial in thinned([trial for _, trial in ended], DRAWN)}
    tried = {trial.family: text.label(trial) for trial in run.trials}
    times = [(family, time) for family in looks if (time := saved(run, family)).trials] if savings(run) else []
    return SearchHistory(
        summary=summary(run, steps),
        steps=steps,
        best_figures={
            axis: draw_best_so_far(steps, engines, by_time=axis != "trials")
            for axis in ("charged time", "trials")
            if has_result
        },
        families=[(n, tried[family], mark) for n, (family, mark) in enumerate(looks.items()) if family in tried],
        ended=ended,
        answered=sum(trial.state in SYMBOLS and bool(trial.duplicate_of) for trial in run.trials),
        drawn=len(drawn),
        figure=draw_trials([row for row in ended if row[1].name in drawn], looks) if ended else None,
        spaces=slices(run),
        timeline=workers,
        timeline_figure=draw_timeline(workers, looks) if workers else None,
        saved=dict(sorted(times, key=lambda entry: -entry[1].saved_s)),
        screened=compare_screening(run),
        hits=hits(run),
    )


def summary(run: Run, steps: Mapping[str, Sequence[SearchStep]]) -> str:
    """Summarise the search in a line: `optuna:tpe proposed 14 of 20 trials, best after 3 min 20 s`."""
    lines = []
    for engine, engine_steps in steps.items():
        trials = [step.trial for step in engine_steps]
        best = next((step for step in engine_steps if step.best and step.best == engine_steps[-1].best), None)
        proposed = sum(not trial.known for trial in trials)
        line = f"{engine} proposed {text.thousands(proposed)} of {text.plural(len(trials), 'trial')}"
        lines.append(line + (f", best after {text.seconds(best.time_s)}" if best else ""))
    return "; ".join(lines) if any(steps.values()) else ""


def _ended_s(trial: Trial) -> float:
    return trial.started_s if trial.finished_s is None else trial.finished_s


# -- the best result of each engine


@dataclass(frozen=True)
class SearchStep:
    """The state of an engine's search after a trial.

    Attributes:
        n: Number of trials that the engine has used of its budget, from 1.
        best: The highest validation accuracy so far; None before the first complete trial.
        time_s: The engine's clock at the end of the trial (`Trial.charged_s`); in older records the seconds since the
            engine's first trial began.
    """

    n: int
    best: float | None
    trial: Trial
    time_s: float


def best_so_far(run: Run) -> dict[str, list[SearchStep]]:
    """By engine, its best validation accuracy over all families but baselines after each trial of its budget.

    Trials are in the order of the engine's clock. Failed and pruned trials use budget too.
    """
    steps: dict[str, list[SearchStep]] = {engine: [] for engine in engine_marks(run)}
    began: dict[str, float] = {}
    for trial in run.trials:
        began.setdefault(trial.engine, trial.started_s)  # trials are in start order

    def clock_s(trial: Trial) -> float:
        return max(_ended_s(trial) - began[trial.engine], 0.0) if trial.charged_s is None else trial.charged_s

    for trial in sorted((t for t in run.trials if t.counted and t.state in SYMBOLS), key=clock_s):
        engine_steps = steps[trial.engine]
        best = engine_steps[-1].best if engine_steps else None
        counts = trial.state == COMPLETE and trial.family not in run.baselines
        if counts and trial.value is not None and math.isfinite(trial.value):
            best = trial.value if best is None else max(best, trial.value)
        engine_steps.append(SearchStep(len(engine_steps) + 1, best, trial, clock_s(trial)))
    return steps


def improvements(steps: Sequence[SearchStep]) -> list[SearchStep]:
    """The steps at which the best accuracy improved, the first complete trial included."""
    before = [None, *(step.best for step in steps)]
    return [step for step, best in zip(steps, before, strict=False) if step.best is not None and step.best != best]


def draw_best_so_far(
    steps: Mapping[str, Sequence[SearchStep]], looks: Mapping[str, Mark], by_time: bool = False
) -> Figure:
    """Draw one stepped line per engine, up to its last trial, with a marker at each improvement."""
    last = [engine_steps[-1] for engine_steps in steps.values() if engine_steps]
    axis, unit_s = time_axis("Time charged to the engine", max((step.time_s for step in last), default=1.0))
    if not by_time:
        most = max((step.n for step in last), default=1)
        axis = {"title": {"text": "Trials"}, "range": [0.5, most + 0.5], **whole_numbers(most)}
    traces, shares = [], []
    for engine, engine_steps in steps.items():
        better = improvements(engine_steps)
        if not better:
            continue
        shares += [step.best for step in better if step.best is not None]
        corners, mark = [*better, engine_steps[-1]], looks[engine]
        traces.append(
            points(
                [step.trial for step in corners],
                [step.time_s / unit_s if by_time else step.n for step in corners],
                [step.best or 0.0 for step in corners],
                mode="lines+markers",
                name=label(engine),
                line={"shape": "hv", "color": mark.colour, "dash": mark.dash, "width": 2.5},
                marker={"symbol": mark.symbol, "size": [9] * len(better) + [0], "opacity": 1, "line": {"width": 0}},
                hovertext=[_step_hover(engine, step) for step in corners],
            )
        )
    shape = layout(shares)
    shape["xaxis"] |= axis
    return figure(traces, shape)


def _step_hover(engine: str, step: SearchStep) -> str:
    return (
        f"<b>{label(engine)}</b><br>best after {text.plural(step.n, 'trial')}, {text.seconds(step.time_s)}: "
        f"{text.percent(step.best)}"
        f"<br>this one: {label(text.label(step.trial))} #{step.trial.number} {text.percent(step.trial.value)}"
    )


# -- every trial


def ended_trials(run: Run) -> list[tuple[int, Trial]]:
    """The trials that ended, with their position from 1 in the order of their end.

    Answers from the record and refused configurations are left out, since nothing was trained.
    """
    ended = [t for t in run.trials if t.state in SYMBOLS and not (t.duplicate_of or t.limit)]
    return list(enumerate(sorted(ended, key=_ended_s), start=1))


def last_accuracy(trial: Trial) -> float | None:
    """Validation accuracy of a trial; the last reported one if it was pruned; None without one."""
    reported, value = trial.intermediate_values, trial.value
    if value is None and trial.state == PRUNED and reported:
        value = reported[max(reported)]
    return value if value is not None and math.isfinite(value) and trial.state != FAIL else None


def draw_trials(drawn: Sequence[tuple[int, Trial]], looks: Mapping[str, Mark]) -> Figure:
    """Draw one point per trial: colour by family, shape by state, a ring around known configurations.

    Trials without an accuracy are at the bottom. The `meta` of a trace is its family's position in `looks`.
    """
    accuracies = {trial.name: last_accuracy(trial) for _, trial in drawn}
    shape = layout([accuracy for accuracy in accuracies.values() if accuracy is not None])
    bottom = shape["yaxis"]["range"][0] / 100
    groups: dict[tuple[str, str], list[tuple[int, Trial]]] = {}
    for place, trial in drawn:
        for state in (trial.state.value, "")[: 1 + trial.known]:
            groups.setdefault((trial.family, state), []).append((place, trial))
    traces = []
    for (family, state), group in groups.items():
        symbol, colour = SYMBOLS.get(state, "circle-open"), looks[family].colour if state else "var(--ink)"
        heights = [accuracies[trial.name] for _, trial in group]
        traces.append(
            points(
                [trial for _, trial in group],
                [place for place, _ in group],
                [bottom if height is None else height for height in heights],
                name=label(family) if state else "known configuration",
                marker={"symbol": symbol, "size": 8 if state else 15, "color": colour, "line": {"width": 1.5}},
                hovertext=[_trial_hover(trial) for _, trial in group] if state else None,
                hoverinfo="text" if state else "skip",
                meta=list(looks).index(family),
            )
        )
    first, last = (drawn[0][0], drawn[-1][0]) if drawn else (1, 1)
    room = max(0.5, 0.015 * (last - first))
    shape["xaxis"] |= {
        "title": {"text": "Trials, in the order in which they ended"},
        "range": [first - room, last + room],
        **whole_numbers(last),
    }
    return figure(traces, shape)


def _trial_hover(trial: Trial) -> str:
    state = STATE_WORDS[trial.state] if trial.state != COMPLETE else ""
    failure = f": {trial.failure.name}" if trial.failure else ""
    accuracy = last_accuracy(trial)
    share = text.percent(accuracy) if accuracy is not None else ""
    result = label(" ".join(filter(None, (f"{state}{failure}", share))), 60)
    return "<br>".join(filter(None, (title(trial), result, "known configuration" if trial.known else "")))
