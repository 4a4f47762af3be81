"""`bench history`: what became of every family over the runs so far."""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Sequence
from pathlib import Path

from bench.cache.files import write_text
from bench.cli.options import output, written
from bench.errors import ConfigError, unknown

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
    """Which runs, which families, and how it is told."""
    parser.description, parser.epilog = HELP, EXAMPLES
    parser.add_argument("folder", metavar="FOLDER", nargs="?", help=f"where the runs are; default {DEFAULT}")
    parser.add_argument("--family", metavar="LIST", help="only these, e.g. cnn,vgg16")
    parser.add_argument("--least", metavar="POINTS", default="0.5", help="smallest change of accuracy; default 0.5")
    parser.add_argument("--all", action="store_true", help="earlier series too, and every change")
    parser.add_argument("--derive", action="store_true", help="make results.json for runs that have none, and keep it")
    parser.add_argument("--json", action="store_true", help="as data")
    parser.add_argument("--out", metavar="FILE", help="write a page (.html), or the data (--json), to a file instead")


def run(options: argparse.Namespace, given: Sequence[str]) -> int:
    """Reads the runs and tells their history."""
    folder, least = Path(options.folder) if options.folder else DEFAULT, _least(options.least)
    if not folder.is_dir():
        raise ConfigError(f"{folder}: there is no such folder; runs land in {DEFAULT}/ unless --out says otherwise")
    out = _out(options)
    from bench.check import series
    from bench.text import one_line

    found = series.find(folder)
    if options.derive and found.underived:
        _derive(found.underived)
        found = series.find(folder)
    wanted = [name.strip() for name in (options.family or "").split(",") if name.strip()]
    for name in wanted:
        if found.families and name not in found.families:
            raise unknown("family", name, map(one_line, found.families))
    made = series.history(found, wanted, least)
    if options.json:
        text = json.dumps(series.plain(found, made), indent=1, allow_nan=False) + "\n"
    elif out is not None:
        from bench.report.over_time import html

        text = html(found, made)
    else:
        from bench.cli.history_table import print_history

        print_history(found, made, options.all)
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
