"""`bench compare`: two runs side by side."""

from __future__ import annotations

import argparse

from bench.cache.files import write_text
from bench.cli.options import output, run_folder, written
from bench.errors import ConfigError

SUMMARY = "two runs side by side: what was different, and what became of every family"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Which runs, and where the page is written."""
    parser.add_argument("runs", metavar="RUN", nargs=2, help="a run folder, the earlier one first")
    parser.add_argument("--out", metavar="FILE", help="the page; default compare-RUN-RUN.html beside the first run")
    parser.add_argument("--all", action="store_true", help="unfold what is equal in both, and print it")


def run(options: argparse.Namespace) -> int:
    """Holds two runs against each other, writes the page, and prints it in short."""
    folders = [run_folder(each) for each in options.runs]
    names = [path.name for path in folders]
    if folders[0].resolve() == folders[1].resolve():
        raise ConfigError(f"compare: {options.runs[0]} and {options.runs[1]} are one run; name two")
    usual = folders[0].parent / f"compare-{'-'.join(names)}.html"
    page = output("out", options.out or usual, "comparison.html")
    from bench.cli.comparison import print_comparison
    from bench.report import compare
    from bench.runs import store

    compared = compare.comparison(*(store.load(folder) for folder in folders))
    with written(page):
        write_text(page, compare.html(compared, page.parent, every=options.all))
    print_comparison(compared, page, every=options.all)
    return 0
