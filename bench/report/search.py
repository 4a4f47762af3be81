"""How the search went: what every engine had found after each trial."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bench.records import COMPLETE, FAIL, PRUNED, Run, Trial
from bench.report import text
from bench.report.figures import Figure, figure, label, layout
from bench.report.marks import Mark, engine_marks


@dataclass(frozen=True)
class Search:
    """The section.

    Attributes:
        searches: For every engine what it had found after each trial.
        figure: The same drawn; None where nothing was found.
        engines: The legend.
    """

    searches: Mapping[str, Sequence[Step]]
    figure: Figure | None
    engines: Mapping[str, Mark]


def section(run: Run) -> Search:
    """The search of a run."""
    searches, looks = best_so_far(run), engine_marks(run)
    found = any(steps and steps[-1].best is not None for steps in searches.values())
    return Search(searches, draw_best_so_far(searches, looks) if found else None, looks)


@dataclass(frozen=True)
class Step:
    """The state of an engine's search after so many trials.

    Attributes:
        n: How many trials of its budget the engine had used, from 1.
        best: The highest validation accuracy until then; None before the first complete trial.
        trial: The trial that came then.
    """

    n: int
    best: float | None
    trial: Trial


def best_so_far(run: Run) -> dict[str, list[Step]]:
    """For every engine, the best validation accuracy over all families after each trial of its budget.

    Trials count in the order in which they ended; failed and pruned ones used budget too, running ones not yet.
    """
    searches: dict[str, list[Step]] = {engine: [] for engine in engine_marks(run)}
    ended = [trial for trial in run.trials if trial.counted and trial.state in (COMPLETE, PRUNED, FAIL)]
    for trial in sorted(ended, key=lambda trial: trial.started_s if trial.finished_s is None else trial.finished_s):
        steps = searches[trial.engine]
        best = steps[-1].best if steps else None
        if trial.state == COMPLETE and trial.value is not None and math.isfinite(trial.value):
            best = trial.value if best is None else max(best, trial.value)
        steps.append(Step(len(steps) + 1, best, trial))
    return searches


# -- how it is drawn


def draw_best_so_far(searches: Mapping[str, Sequence[Step]], looks: Mapping[str, Mark]) -> Figure:
    """One stepped line an engine, with a marker where the best improved."""
    import plotly.graph_objects as go

    traces, shares = [], []
    for engine, steps in searches.items():
        found = [(step, before) for before, step in zip([None, *steps], steps, strict=False) if step.best is not None]
        if not found:
            continue
        shares += [step.best for step, _ in found if step.best is not None]
        improved = [before is None or before.best != step.best for step, before in found]
        traces.append(
            go.Scatter(
                x=[step.n for step, _ in found],
                y=[100 * (step.best or 0.0) for step, _ in found],
                mode="lines+markers",
                name=label(engine),
                line={"shape": "hv", "color": looks[engine].colour, "dash": looks[engine].dash, "width": 2.5},
                marker={
                    "symbol": looks[engine].symbol,
                    "size": [9 if new else 0 for new in improved],
                    "opacity": 1,
                    "line": {"width": 0},
                },
                hovertext=[_step_hover(engine, step) for step, _ in found],
                hoverinfo="text",
                cliponaxis=False,
            )
        )
    shape = layout(shares)
    longest = max((len(steps) for steps in searches.values()), default=1)
    shape["xaxis"] |= {
        "title": {"text": "Trials"},
        "range": [0.5, longest + 0.5],
        "tickformat": "d",
        "dtick": max(1, math.ceil(longest / 10)),
        "tick0": 0,
    }
    return figure(go, traces, shape)


def _step_hover(engine: str, step: Step) -> str:
    return (
        f"<b>{label(engine)}</b><br>best after {text.plural(step.n, 'trial')}: {text.percent(step.best)}"
        f"<br>this one: {label(text.label(step.trial))} #{step.trial.number} {text.percent(step.trial.value)}"
    )
