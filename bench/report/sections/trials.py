"""Every trial of a run in the order in which they ended: its accuracy, its state, its family."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bench import text
from bench.records import COMPLETE, FAIL, PRUNED, Run, Trial
from bench.report.figures import Figure, figure, label, layout
from bench.report.links import anchor
from bench.report.sections.importance import spaced
from bench.report.styles import Mark

BEST_DRAWN, OTHERS_DRAWN = 500, 700
"""Of more trials the best are drawn, and of the others an evenly spaced sample."""

TABLED = 100
"""At most so many trials are in the table; of more, the best."""

SYMBOLS: Mapping[str, str] = {COMPLETE: "circle", PRUNED: "triangle-down-open", FAIL: "x"}
"""Plotly's marker of each state."""


@dataclass(frozen=True)
class Ended:
    """A trial that ended.

    Attributes:
        place: Its place among all that ended, from 1.
        trial: The trial.
        accuracy: Its validation accuracy; of a pruned one the last that it reported; None where there is none.
    """

    place: int
    trial: Trial
    accuracy: float | None


@dataclass(frozen=True)
class History:
    """What the chart and its table show.

    Attributes:
        ended: All trials that ended, in their order.
        drawn: Those in the chart, in their order.
        tabled: Those in the table: all in their order, or the best first.
        answered: How many were answered from the record, which are not shown.
        figure: The chart.
    """

    ended: tuple[Ended, ...]
    drawn: tuple[Ended, ...]
    tabled: tuple[Ended, ...]
    answered: int
    figure: Figure


def history(run: Run, looks: Mapping[str, Mark]) -> History | None:
    """The history of a run; None before a trial has ended. Answers from the record are left out: nothing was trained.

    Args:
        run: The records.
        looks: The marks of its families.
    """
    over = [trial for trial in run.trials if trial.state in SYMBOLS]
    trained = sorted((trial for trial in over if not trial.duplicate_of), key=ended_s)
    if not trained:
        return None
    ended = [Ended(place, trial, _accuracy(trial)) for place, trial in enumerate(trained, start=1)]
    drawn = thinned(ended)
    tabled = ended if len(ended) <= TABLED else _best_first(ended)[:TABLED]
    answered = len(over) - len(trained)
    return History(tuple(ended), tuple(drawn), tuple(tabled), answered, draw_history(drawn, looks))


def ended_s(trial: Trial) -> float:
    """When a trial ended, seconds since the run's start; of one without a record of that, when it began."""
    return trial.started_s if trial.finished_s is None else trial.finished_s


def thinned(ended: Sequence[Ended]) -> list[Ended]:
    """The trials that a chart can hold, in their order: the best and a sample of the others."""
    if len(ended) <= BEST_DRAWN + OTHERS_DRAWN:
        return list(ended)
    best = {each.place for each in _best_first(ended)[:BEST_DRAWN]}
    others = [each for each in ended if each.place not in best]
    sample = {each.place for each in spaced(others, OTHERS_DRAWN)}
    return [each for each in ended if each.place in best or each.place in sample]


def _best_first(ended: Sequence[Ended]) -> list[Ended]:
    complete = (each for each in ended if each.trial.state == COMPLETE)
    rest = (each for each in ended if each.trial.state != COMPLETE)
    return [*sorted(complete, key=lambda each: each.trial.rank_key), *rest]


def _accuracy(trial: Trial) -> float | None:
    reported = trial.intermediate_values
    value = trial.value
    if value is None and trial.state == PRUNED and reported:
        value = reported[max(reported)]
    return value if value is not None and math.isfinite(value) and trial.state != FAIL else None


# -- how it is drawn


def draw_history(drawn: Sequence[Ended], looks: Mapping[str, Mark]) -> Figure:
    """A point a trial: colour by family, shape by state, a ring around known configurations.

    What has no accuracy stands at the bottom. Every trace has the place of its family among `looks` as `meta`.
    """
    import plotly.graph_objects as go

    shape = layout([each.accuracy for each in drawn if each.accuracy is not None])
    bottom = shape["yaxis"]["range"][0]
    groups: dict[tuple[str, str], list[Ended]] = {}
    for each in drawn:
        groups.setdefault((each.trial.state, each.trial.family), []).append(each)
        if each.trial.known:
            groups.setdefault(("", each.trial.family), []).append(each)
    numbers = {family: number for number, family in enumerate(looks)}
    traces = [
        (_points(own, SYMBOLS[state], looks[family], bottom, go) if state else _rings(own, bottom, go)).update(
            meta=numbers[family]
        )
        for (state, family), own in groups.items()
    ]
    first, last = (drawn[0].place, drawn[-1].place) if drawn else (1, 1)
    room = max(0.5, 0.015 * (last - first))
    shape["xaxis"] |= {
        "title": {"text": "Trials, in the order in which they ended"},
        "range": [first - room, last + room],
        "tickformat": "d",
        "nticks": 10,
    }
    if last - first < 10:
        shape["xaxis"] |= {"dtick": 1, "tick0": 1}
    return figure(go, traces, shape)


def _rings(known: Sequence[Ended], bottom: float, go: Any) -> Any:
    return go.Scatter(
        x=[each.place for each in known],
        y=[_height(each, bottom) for each in known],
        mode="markers",
        name="known configuration",
        marker={"symbol": "circle-open", "size": 15, "color": "var(--ink)", "line": {"width": 1.25}},
        hoverinfo="skip",
        cliponaxis=False,
    )


def _points(own: Sequence[Ended], symbol: str, mark: Mark, bottom: float, go: Any) -> Any:
    return go.Scatter(
        x=[each.place for each in own],
        y=[_height(each, bottom) for each in own],
        mode="markers",
        name=label(own[0].trial.family),
        marker={"symbol": symbol, "size": 8, "color": mark.colour, "line": {"width": 1.5 if "open" in symbol else 0}},
        customdata=[anchor(each.trial) for each in own],
        hovertext=[_hover(each) for each in own],
        hoverinfo="text",
        cliponaxis=False,
    )


def _height(each: Ended, bottom: float) -> float:
    return bottom if each.accuracy is None else round(100 * each.accuracy, 3)


def _hover(each: Ended) -> str:
    trial = each.trial
    words = {COMPLETE: "", PRUNED: "pruned", FAIL: "failed"}[trial.state]
    failure = f": {trial.failure.name}" if trial.failure else ""
    accuracy = text.percent(each.accuracy) if each.accuracy is not None else ""
    known = "known configuration" if trial.known else ""
    lines = [f"<b>{label(text.label(trial), 60)}</b> {label(trial.engine, 40)} #{trial.number}"]
    lines += [label(" ".join(filter(None, (f"{words}{failure}", accuracy))), 60), known]
    return "<br>".join(filter(None, lines))
