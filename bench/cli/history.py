"""`bench history`: every family over the runs so far, and where it changed by more than noise."""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from bench.cache.files import write_text
from bench.check.history_wording import (
    ACCURACY,
    PARAMETERS,
    STEP_TIME,
    Figure,
    accuracy_unchanged,
    day,
    differing,
    in_words,
    times_unchanged,
)
from bench.cli.options import output, written
from bench.errors import ConfigError, unknown
from bench.text import (
    count,
    interval,
    listing,
    one_line,
    percent,
    plural,
    seconds,
    thousands,
    with_weights,
)

if TYPE_CHECKING:  # it brings NumPy along
    from bench.check.series import (
        FamilyHistories,
        FamilyHistory,
        RunSeries,
        SeriesRun,
        StoredResults,
        Track,
    )

SUMMARY = "a family's accuracy, time and parameters over the runs, with the changes larger than noise"

DEFAULT = Path("reports")

PAGES = (".html", ".htm")
"""Endings of a page."""

HELP = """\
Reads the results of every run below a folder and shows, family by family, how accuracy on the test pictures, step time
and parameters went, and since which run they are at another level.

Runs stand in one series where they compare: the same test pictures and the same settings. A change of accuracy or time
counts where noise does not explain it, corrected for every place where one was looked for, and where it is large enough
to matter. One run alone is no change: whether the latest is worse than a baseline is what `bench check` is for."""

EXAMPLES = """\
examples:
  python -m bench history
      all families over the runs in reports/
  python -m bench history --family cnn,vgg16 --least 1
      two families; only changes of accuracy by 1 point or more
  python -m bench history --out reports/history.html
      a page with a chart for each family
  python -m bench history --json --out history.json
      all series and changes as data"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the folder, the families, and the form of the output."""
    parser.description, parser.epilog = HELP, EXAMPLES
    parser.add_argument("folder", metavar="FOLDER", nargs="?", help=f"where the runs are; default {DEFAULT}")
    parser.add_argument("--family", metavar="LIST", help="only these, e.g. cnn,vgg16")
    parser.add_argument("--least", metavar="POINTS", default="0.5", help="smallest change of accuracy; default 0.5")
    parser.add_argument("--all", action="store_true", help="earlier series too, and every change")
    parser.add_argument("--derive", action="store_true", help="make results.json for runs that have none, and keep it")
    parser.add_argument("--json", action="store_true", help="as data")
    parser.add_argument("--out", metavar="FILE", help="write a page (.html), or the data (--json), to a file instead")


def run(options: argparse.Namespace) -> int:
    """Read the runs and print their history, or write it to a file."""
    folder, least = Path(options.folder) if options.folder else DEFAULT, _least(options.least)
    if not folder.is_dir():
        raise ConfigError(f"{folder}: there is no such folder; runs land in {DEFAULT}/ unless --out says otherwise")
    out = _out(options)
    from bench.check import series

    stored = series.find(folder)
    if options.derive and stored.underived:
        _derive(stored.underived)
        stored = series.find(folder)
    wanted = [name.strip() for name in (options.family or "").split(",") if name.strip()]
    for name in wanted:
        if stored.families and name not in stored.families:
            raise unknown("family", name, map(one_line, stored.families))
    histories = series.history(stored, wanted, least)
    if options.json:
        text = json.dumps(series.as_data(stored, histories), indent=1, allow_nan=False) + "\n"
    elif out is not None:
        from bench.report.over_time import html

        text = html(stored, histories)
    else:
        print_history(stored, histories, options.all)
        return 0
    if out is None:
        print(text, end="")
        return 0
    with written(out):
        write_text(out, text)
    print(out)
    return 0


def _least(text: str) -> float:
    """Points of a percent as a share."""
    try:
        points = float(text)
    except ValueError:
        points = math.nan
    if not 0 <= points <= 100:
        raise ConfigError(f"least {text!r}: points of accuracy, 0 to 100, are expected, e.g. 0.5")
    return points / 100


def _out(options: argparse.Namespace) -> Path | None:
    if not options.out:
        return None
    out = output("out", options.out, "history.json")
    if not options.json and out.suffix not in PAGES:
        raise ConfigError(f"out {options.out!r}: name an .html file for a page, or add --json for data")
    return out


def _derive(folders: Sequence[Path]) -> None:
    """Makes the files of results that are missing; a run whose records cannot be read stays as it is."""
    from bench.errors import BenchError
    from bench.runs import results

    for folder in folders:
        try:
            made = results.of_folder(folder)
            if made.status != "running":
                results.write(folder / results.FILE, made)
        except (BenchError, OSError) as error:
            print(f"warning: {folder}: {error}", file=sys.stderr)


# -- in the terminal: a block of lines for each family

SHOWN = 3
"""So many changes of a figure are listed, the latest; of more, the earlier ones are counted."""

CELLS, NARROW_CELLS, WIDE = 32, 12, 100
"""A sparkline has so many characters at most, the second number where the terminal is not that wide; of more runs,
neighbours share one.
"""

BARS, ASCII_BARS = "▁▂▃▄▅▆▇█", "_.-~=+*#"

FLAT = 0.02
"""A sparkline of accuracies spans so much at least: what is within noise looks flat."""

FLAT_RATIO = 0.25
"""The same for times and counts, as a share of the smallest."""

_SIGNS = {"→": "->", "−": "-", "–": "-", "…": "...", "·": "-", "±": "+-"}
_ASCII = str.maketrans({**_SIGNS, **dict(zip(BARS, ASCII_BARS, strict=True))})


@dataclass(frozen=True)
class HistoryView:
    """The length of the output: `every` change, and the characters of a sparkline."""

    every: bool
    cells: int


def print_history(
    stored: StoredResults, histories: FamilyHistories, every: bool = False, stream: TextIO | None = None
) -> None:
    """Print the latest series family by family, earlier ones in a line each, then what was left out.

    Args:
        stored: The results that were read.
        histories: What it shows.
        every: Whether earlier series and all changes are printed too.
        stream: Where to, standard output by default.
    """
    from bench.cli.console import Terminal, printable

    stream = stream or sys.stdout
    console = Terminal(file=stream, highlight=False, soft_wrap=True)
    fits = _fits(stream)
    view = HistoryView(every, CELLS if not console.is_terminal or console.width >= WIDE else NARROW_CELLS)

    def tell(text: str, style: str = "") -> None:
        line = printable(text)
        console.print(line if fits else _ascii(line), style=style or None)

    for number, series in enumerate(histories.series):
        if number and not every:
            break
        if number:
            tell("")
        tell(_title(series), "bold")
        for entry in series.runs:
            if entry.baseline:
                tell(f"baseline: {day(entry)} {one_line(entry.run, 40)}")
        for family in series.families:
            for text, style in _block(family, series.runs, view):
                tell(text, style)
        if not series.families:
            tell("  no family has a scored model")
    if len(histories.series) > 1 and not every:
        tell(f"earlier series, which do not compare with it: {len(histories.series) - 1}, --all shows them")
        for series in histories.series[1:]:
            tell(f"  {_title(series)}")
    for line in _left_out(stored, histories):
        tell(line)


def _fits(stream: TextIO) -> bool:
    """Tell whether a stream has room for more than ASCII."""
    try:
        f"{BARS}→−–…·".encode(getattr(stream, "encoding", None) or "utf-8")
    except (UnicodeEncodeError, LookupError):
        return False
    return True


def _ascii(text: str) -> str:
    return text.translate(_ASCII).encode("ascii", errors="backslashreplace").decode()


# -- a series


def _title(series: RunSeries) -> str:
    runs = series.runs
    when = [day(entry) for entry in (runs[0], runs[-1])]
    parts = [one_line(series.source, 40), plural(series.n, "test picture"), plural(len(runs), "run"), _span(*when)]
    differs = f"; since the series before: {differing(series)}" if series.differs else ""
    return f"{' · '.join(parts)}{differs}"


def _span(first: str, last: str) -> str:
    return first if first == last else f"{first} to {last}"


# -- a family

Line = tuple[str, str]
"""What is printed, and in which style."""


def _block(family: FamilyHistory, runs: Sequence[SeriesRun], view: HistoryView) -> Iterator[Line]:
    yield one_line(with_weights(family.name, family.weights), 40), "bold"
    yield from _accuracy(family, runs, view)
    for track in family.times if view.every else family.times[:1]:
        yield from _times(track, runs, view)
    if len(family.times) > 1 and not view.every:
        yield f"    on other hardware: {plural(len(family.times) - 1, 'series', 'series')}, --all shows them", "dim"
    if family.parameters:
        yield from _parameters(family.parameters, runs, view)
    if family.without:
        ended = ", ".join(f"{thousands(n)} {one_line(status)}" for status, n in family.without.items())
        yield f"    without a scored model in {plural(sum(family.without.values()), 'run')}: {ended}", "dim"


def _accuracy(family: FamilyHistory, runs: Sequence[SeriesRun], view: HistoryView) -> Iterator[Line]:
    track = family.accuracy
    values = [reading.value for reading in track.readings]
    now = track.readings[-1]
    known = "" if now.low is None or now.high is None else f" ({interval(now.low, now.high)})"
    extremes = f", min {100 * min(values):.1f}, max {100 * max(values):.1f}" if len(values) > 2 else ""
    baseline_reading = next((reading for reading in track.readings if runs[reading.at].baseline), None)
    baseline = f", baseline {100 * baseline_reading.value:.1f}" if baseline_reading else ""
    yield _line(view, "accuracy", values, FLAT, _course(values, percent), known, extremes, baseline), ""
    yield from _changes(track, ACCURACY, runs, view)
    if not track.changes:
        yield f"    {accuracy_unchanged(track)}", "dim"
    if not track.calibrated and len(set(values)) > 1:
        yield "    the noise of seeds is not known (run --repeats 2): a change may be another seed's luck", "dim"


def _times(track: Track, runs: Sequence[SeriesRun], view: HistoryView) -> Iterator[Line]:
    values = [reading.value for reading in track.readings]
    unchanged = "" if track.changes else f", {times_unchanged(track, brief=True)}"
    yield _line(view, "step time", values, FLAT_RATIO * min(values), _course(values, seconds), unchanged), ""
    if view.every:
        yield f"    on {one_line(track.where, 80)}", "dim"
    yield from _changes(track, STEP_TIME, runs, view)


def _parameters(track: Track, runs: Sequence[SeriesRun], view: HistoryView) -> Iterator[Line]:
    values = [reading.value for reading in track.readings]
    if not track.changes:
        yield f"  {'parameters':<11}{count(values[-1])}, always the same", ""
        return
    yield _line(view, "parameters", values, FLAT_RATIO * max(min(values), 1), _course(values, count)), ""
    yield from _changes(track, PARAMETERS, runs, view)


def _line(view: HistoryView, what: str, values: Sequence[float], span: float, *words: str) -> str:
    return f"  {what:<11}{sparkline(values, span, view.cells)}  {''.join(words)}"


def _course(values: Sequence[float], word: Callable[[float], str]) -> str:
    first, last = word(values[0]), word(values[-1])
    return first if len(values) == 1 else f"{first} → {last}"


def _changes(track: Track, figure: Figure, runs: Sequence[SeriesRun], view: HistoryView) -> Iterator[Line]:
    for change in track.changes if view.every else track.changes[-SHOWN:]:
        words = in_words(change, runs, figure)
        size = f"{words.size} ({words.interval})" if words.interval else words.size
        parts = [f"{words.since} {one_line(words.run, 40)}", words.commits, f"{words.before} → {words.after}", size]
        parts += [words.p, "another configuration" if words.reconfigured else ""]
        higher = change.after > change.before
        style = "" if figure is PARAMETERS else "green" if higher is (figure is ACCURACY) else "red"
        yield f"    {', '.join(part for part in parts if part)}", style
    if len(track.changes) > SHOWN and not view.every:
        yield f"    … {plural(len(track.changes) - SHOWN, 'earlier change')}, --all lists them", "dim"


def sparkline(values: Sequence[float], span: float, cells: int = CELLS) -> str:
    """Values as characters of different height, the lowest and the highest at least `span` apart.

    Of more values than cells, neighbours share a cell, which shows their mean.
    """
    n = min(len(values), cells)
    ends = [round(cell * len(values) / n) for cell in range(n + 1)]
    shown = [sum(values[begin:end]) / (end - begin) for begin, end in pairwise(ends)]
    low, high = min(shown), max(shown)
    if high - low < span:
        middle = (low + high) / 2
        low, high = middle - span / 2, middle + span / 2
    height = (high - low) or 1.0
    return "".join(BARS[min(int((value - low) / height * len(BARS)), len(BARS) - 1)] for value in shown)


# -- what is not in it


def _left_out(stored: StoredResults, histories: FamilyHistories) -> Iterator[str]:
    if not histories.series:
        yield "no complete run with results here: python -m bench run --budget 20"
    if histories.unfinished:
        names = _names(entry.run for entry in histories.unfinished)
        yield f"left out, not complete: {plural(len(histories.unfinished), 'run')} ({names})"
    if stored.unreadable:
        yield f"left out, not readable: {plural(len(stored.unreadable), 'file')}"
        for path, reason in list(stored.unreadable.items())[:SHOWN]:
            yield f"  {one_line(str(path))}: {one_line(reason, 160)}"
        if len(stored.unreadable) > SHOWN:
            yield f"  … and {len(stored.unreadable) - SHOWN} more"
    if stored.underived:
        names = _names(path.name for path in stored.underived)
        yield (
            f"left out, without results.json: {plural(len(stored.underived), 'run')} ({names}); "
            "--derive reads their records, once"
        )


def _names(every: Iterable[str]) -> str:
    return listing([one_line(name, 40) for name in every])
