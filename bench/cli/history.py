"""`bench history`: every family over the runs, with its changes larger than noise."""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from bench.cache.files import write_text
from bench.cli.options import output, written
from bench.errors import ConfigError
from bench.records import RunStatus
from bench.text import listing, one_line, plural

if TYPE_CHECKING:  # they bring NumPy and rich along
    from rich.table import Table

    from bench.check.series import FamilyHistories, RunSeries

SUMMARY = "metric, time and parameters of every family over the runs, with the changes larger than noise"

DEFAULT = Path("reports")

PAGES = (".html", ".htm")
"""File endings of a page."""

HELP = """\
Reads the results of every run below a folder and shows the test result by the run's metric, the step time and the
parameters of every family, and the runs at which they changed.

A series holds comparable runs: the same test pictures, metric and settings. A change of the metric or of the time is
reported if it is more than noise, corrected for all positions that were searched, and large enough to matter. A single
run is never a change; to compare the latest run with a baseline, use `bench check`."""

EXAMPLES = """\
examples:
  python -m bench history
      all families over the runs in reports/
  python -m bench history --family cnn,vgg16 --least 1
      two families; only changes of the metric of 1 point or more
  python -m bench history --out reports/history.html
      a page with a chart for each family
  python -m bench history --json --out history.json
      all series and changes as data"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the folder, the families, and the form of the output."""
    parser.description, parser.epilog = HELP, EXAMPLES
    parser.add_argument("folder", metavar="FOLDER", nargs="?", help=f"folder of the runs; default {DEFAULT}")
    parser.add_argument("--family", metavar="LIST", help="only these families, e.g. cnn,vgg16")
    parser.add_argument(
        "--least",
        metavar="POINTS",
        default="0.5",
        help="smallest change of the metric to report, of log loss and cost in percent of their mean; default 0.5",
    )
    parser.add_argument("--derive", action="store_true", help=argparse.SUPPRESS)  # obsolete: every run is read
    parser.add_argument("--all", action="store_true", help="print earlier series and every change too")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--out", metavar="FILE", help="write a page (.html), or the data (--json), to a file")


def run(options: argparse.Namespace) -> int:
    """Read the runs and print their history, or write it to a file."""
    folder, least = Path(options.folder) if options.folder else DEFAULT, _least(options.least)
    if not folder.is_dir():
        raise ConfigError(f"{folder}: no such folder; runs are written to {DEFAULT}/ unless --out names another")
    out = output("out", options.out, "history.json") if options.out else None
    if out and not options.json and out.suffix not in PAGES:
        raise ConfigError(f"out {options.out!r}: must end in .html for a page; add --json for data")
    from bench.check import series

    wanted = [name.strip() for name in (options.family or "").split(",") if name.strip()]
    histories = series.history(series.find(folder), wanted, least)
    if not options.json and out is None:
        print_history(histories, options.all, folder=folder)
        return 0
    if options.json:
        text = json.dumps(histories.as_data(), indent=1, allow_nan=False)
    else:
        from bench.report.over_time import html

        text = html(histories)
    if out is not None:
        with written(out):
            write_text(out, f"{text}\n")
    print(out or text)
    return 0


def _least(text: str) -> float:
    """Convert percentage points to a share."""
    try:
        points = float(text)
    except ValueError:
        points = math.nan
    if not 0 <= points <= 100:
        raise ConfigError(f"least {text!r}: must be percentage points, 0 to 100, e.g. 0.5")
    return points / 100


# -- in the terminal

SHOWN = 10
"""Maximum number of changes or files listed; the others are counted."""


def print_history(
    histories: FamilyHistories, every: bool = False, stream: TextIO | None = None, folder: Path = DEFAULT
) -> None:
    """Print the latest series (a table of the families, one line per change), earlier series, and runs left out.

    Args:
        histories: The history of the families.
        every: True to print earlier series, other hardware and all changes too.
        stream: Output stream; default: standard output.
        folder: The folder of the runs.
    """
    from bench.cli.terminal import printable, printing

    with printing(stream) as console:

        def lines(texts: Iterable[str]) -> None:
            for text in texts:
                console.print(printable(text), soft_wrap=True)

        for series in histories.series if every else histories.series[:1]:
            lines(_heading(series))
            console.print(_table(series, every))
            lines(_changes(series, every))
            lines(_notes(series, every))
        if len(histories.series) > 1 and not every:
            lines([f"earlier series, not comparable with it: {len(histories.series) - 1}, --all shows them"])
            lines(f"  {next(_heading(series))}" for series in histories.series[1:])
        lines(_left_out(histories, folder))


def _heading(series: RunSeries) -> Iterator[str]:
    parts = [
        one_line(series.source, 40),
        plural(series.n, "test picture"),
        plural(len(series.runs), "run"),
        series.span,
    ]
    yield " · ".join(parts) + (f"; changed since the series before: {series.differing}" if series.differs else "")
    for entry in series.runs:
        if entry.baseline:
            yield f"baseline: {entry.day} {one_line(entry.run, 40)}"


def _table(series: RunSeries, every: bool) -> Table:
    from rich.table import Table

    from bench.check.series import STEP_TIME
    from bench.cli.terminal import printable

    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("family", "figure", "first", "latest", "lowest", "highest", "in short"):
        left = name in ("family", "figure", "in short")
        table.add_column(name, justify="left" if left else "right", no_wrap=name != "in short")
    for family in series.families:
        label = one_line(family.label, 40)
        for figure, track in family.tracks:
            if figure is STEP_TIME and track is not family.times[0] and not every:
                continue
            values = track.values
            cells = [figure.level(value) for value in (values[0], values[-1], min(values), max(values))]
            where = f"; on {one_line(track.where, 80)}" if every and track.where else ""
            table.add_row(*map(printable, (label, figure.name, *cells, f"{track.in_short(figure)}{where}")))
            label = ""
    return table


def _changes(series: RunSeries, every: bool) -> Iterator[str]:
    """One line per change, the latest last."""
    from bench.text import p_value

    changes = sorted(series.changes, key=lambda entry: entry[2].at)
    if len(changes) > SHOWN and not every:
        yield f"  … {plural(len(changes) - SHOWN, 'earlier change')}, --all lists them"
    for family, figure, change in changes if every else changes[-SHOWN:]:
        since, interval = series.runs[change.at], change.interval(figure)
        parts = [f"{since.day} {one_line(since.run, 40)}", f"{one_line(family.label, 40)} {figure.name}"]
        parts += [f"{figure.level(change.before)} → {figure.level(change.after)}"]
        parts += [figure.size(change.before, change.after) + (f" ({interval})" if interval else "")]
        parts += ["" if change.p is None else p_value(change.p), series.commits(change)]
        parts += ["different configuration" if change.reconfigured else ""]
        yield f"  {', '.join(filter(None, parts))}"


def _notes(series: RunSeries, every: bool) -> Iterator[str]:
    if not series.families:
        yield "no family has a scored model"
    if not series.calibrated:
        yield "the noise of seeds is unknown for some families; `run --repeats 2` measures it"
    if not every and any(len(family.times) > 1 for family in series.families):
        yield "more step times on other hardware, --all shows them"
    for family in series.families:
        if family.without:
            ended = ", ".join(f"{n} {one_line(status)}" for status, n in family.without.items())
            runs = plural(sum(family.without.values()), "run")
            yield f"{one_line(family.label, 40)} has no scored model in {runs}: {ended}"


def _left_out(histories: FamilyHistories, folder: Path) -> Iterator[str]:
    if not histories.series:
        yield f"no complete run below {folder}/; `python -m bench run` makes one"
    from bench.runs import store

    records = [(run.path.name, run.record) for run in store.summaries(folder) if run.record]
    killed = [name for name, record in records if record.status == RunStatus.KILLED]
    unfinished = [entry.run for entry in histories.unfinished if entry.run not in killed]
    for reason, names in (("not complete", unfinished), (RunStatus.KILLED, killed)):
        if names:
            yield f"left out, {reason}: {plural(len(names), 'run')} ({listing([one_line(name, 40) for name in names])})"
    if histories.unreadable:
        yield f"left out, not readable: {plural(len(histories.unreadable), 'run')}"
        for problem in histories.unreadable[:SHOWN]:
            yield f"  {one_line(problem.file)}: {one_line(problem.reason, 160)}"
