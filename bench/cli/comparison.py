"""Two runs side by side in the terminal."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TextIO

from rich.table import Table

from bench.cli.console import Terminal, printable
from bench.report.aspects import Aspect
from bench.report.compare import Change, Comparison
from bench.text import NOTHING, count, mean_of_seeds, one_line, p_value, percent, plural, points, seconds


def print_comparison(compared: Comparison, page: Path, every: bool = False, stream: TextIO | None = None) -> None:
    """Two runs side by side: the families as a table, then what was different, then where the page is.

    Args:
        compared: What it shows.
        page: Where the page is.
        every: Whether what is equal is printed too.
        stream: Where to, standard output by default.
    """
    console = Terminal(file=stream or sys.stdout, highlight=False)
    if not console.is_terminal:
        console.width = max(console.width, 140)
    shown = [*compared.changed, *(compared.unchanged if every else ())]
    if shown:
        console.print(_change_table(shown))
    for line in _lines(compared, shown, every):
        console.print(printable(line), soft_wrap=True)
    console.print(printable(f"page: {page}"), soft_wrap=True)


def _lines(compared: Comparison, shown: Sequence[Change], every: bool) -> Iterator[str]:
    for change in shown:
        for when, side in (("before", change.before), ("after", change.after)):
            if side.reason:
                yield f"{one_line(change.family)}, {when}: {side.reason}"
    if compared.unchanged and not every:
        yield f"{plural(len(compared.unchanged), 'family', 'families')} the same, --all lists them"
    yield compared.headline
    if mean := mean_of_seeds(side.trial for change in shown for side in (change.before, change.after) if side.trial):
        yield f"accuracy: {mean}; where both runs have several, the paired test has their noise in it"
    for notice in compared.notices:
        yield f"{notice.title.lower()}: {notice.text}"
    for aspect in compared.aspects:
        yield from _aspect_lines(aspect, every)


def _change_table(changes: Sequence[Change]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("family", no_wrap=True)
    for name in ("before", "after", "points", "paired test", "training", "parameters"):
        table.add_column(name, justify="right", no_wrap=True)
    for change in changes:
        table.add_row(*map(printable, _change_cells(change)))
    return table


def _change_cells(change: Change) -> Iterable[str]:
    sides = (change.before, change.after)
    yield one_line(change.family, 40)
    for side in sides:
        yield percent(side.accuracy)
    yield NOTHING if change.difference is None else points(change.difference)
    yield p_value(change.test.p) if change.test else NOTHING
    costs = [side.trial.cost if side.trial else None for side in sides]
    yield _step(*(seconds(cost.train_time_s) if cost else NOTHING for cost in costs))
    yield _step(*(count(cost.parameters) if cost else NOTHING for cost in costs))


def _step(before: str, after: str) -> str:
    return before if before == after else f"{before} → {after}"


def _aspect_lines(aspect: Aspect, every: bool) -> Iterator[str]:
    equal = f"{len(aspect.equal)} equal" if aspect.equal else ""
    differing = f"{len(aspect.differing)} different" if aspect.differing else "no difference"
    yield f"{aspect.title.lower()}: {', '.join(each for each in (differing, equal) if each)}"
    for value in aspect.differing:
        yield f"    {one_line(value.name)}: {one_line(value.before)} → {one_line(value.after)}"
    for value in aspect.equal if every else ():
        yield f"    {one_line(value.name)}: {one_line(value.before)}"
