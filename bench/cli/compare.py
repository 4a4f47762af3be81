"""`bench compare`: two runs side by side."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from bench.cache.files import write_text
from bench.cli.options import add_storage, output, run_folder, written
from bench.errors import ConfigError
from bench.text import mean_of_seeds, one_line, plural

if TYPE_CHECKING:  # they bring rich and Jinja2 along
    from rich.table import Table

    from bench.report.compare import ComparedFamily, RunComparison, ValueGroup

SUMMARY = "two runs side by side: the change of every family, the pictures with another answer, the settings"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the two runs and the page."""
    parser.add_argument("runs", metavar="RUN", nargs=2, help="a run folder, the earlier one first")
    parser.add_argument("--out", metavar="FILE", help="the page; default compare-RUN-RUN.html beside the first run")
    parser.add_argument("--all", action="store_true", help="unfold and print equal values too")
    add_storage(parser)


def run(options: argparse.Namespace) -> int:
    """Compare two runs, write the page, and print a summary."""
    folders = [run_folder(text) for text in options.runs]
    names = [path.name for path in folders]
    if folders[0].resolve() == folders[1].resolve():
        raise ConfigError(f"compare: {options.runs[0]} and {options.runs[1]} are the same run; name two")
    default = folders[0].parent / f"compare-{'-'.join(names)}.html"
    page = output("out", options.out or default, "comparison.html")
    from bench.report import compare
    from bench.runs import store

    compared = compare.comparison(*(store.load(folder, options.storage) for folder in folders))
    with written(page):
        write_text(page, compare.html(compared, page.parent, every=options.all))
    print_comparison(compared, page, every=options.all)
    return 0


# -- in the terminal


def print_comparison(compared: RunComparison, page: Path, every: bool = False, stream: TextIO | None = None) -> None:
    """Print two runs side by side: a table of the families, the differences, and the path of the page.

    Args:
        compared: The comparison.
        page: Path of the page.
        every: True to print equal values too.
        stream: Output stream; default: standard output.
    """
    from bench.cli.terminal import printable, printing

    shown = [*compared.changed, *(compared.unchanged if every else ())]
    with printing(stream) as console:
        if shown:
            console.print(_change_table(shown))
        for line in (*_lines(compared, shown, every), f"page: {page}"):
            console.print(printable(line), soft_wrap=True)


def _lines(compared: RunComparison, shown: Sequence[ComparedFamily], every: bool) -> Iterator[str]:
    for change in shown:
        for when, side in (("before", change.before), ("after", change.after)):
            if side.reason:
                yield f"{one_line(change.family)}, {when}: {side.reason}"
    if compared.unchanged and not every:
        yield f"{plural(len(compared.unchanged), 'family', 'families')} without a change, --all lists them"
    yield compared.headline
    if mean := mean_of_seeds(side.trial for change in shown for side in (change.before, change.after) if side.trial):
        name = one_line(compared.after.metric.title)
        yield f"{name}: {mean}; if both runs have several, the paired test includes their noise"
    for name, flipped in compared.flips.items():
        yield f"{one_line(name)}: {flipped.words}"
    for notice in compared.notices:
        yield f"{notice.title.lower()}: {notice.text}"
    for group in compared.groups:
        yield from _group_lines(group, every)


def _change_table(changes: Sequence[ComparedFamily]) -> Table:
    from rich.table import Table

    from bench.cli.terminal import printable

    table = Table("family", box=None, pad_edge=False, header_style="bold")
    for name in [*changes[0].cells][:-1]:  # without the states of the trials
        table.add_column(name.lower(), justify="right", no_wrap=True)
    for change in changes:
        table.add_row(*map(printable, (one_line(change.family, 40), *(cell[0] for cell in change.cells.values()))[:-1]))
    return table


def _group_lines(group: ValueGroup, every: bool) -> Iterator[str]:
    equal = f", {len(group.equal)} equal" if group.equal else ""
    differing = f"{len(group.differing)} different" if group.differing else "no difference"
    yield f"{group.title.lower()}: {differing}{equal}"
    for value in group.differing:
        yield f"    {one_line(value.name)}: {one_line(str(value.before))} → {one_line(str(value.after))}"
    for value in group.equal if every else ():
        yield f"    {one_line(value.name)}: {one_line(str(value.before))}"
