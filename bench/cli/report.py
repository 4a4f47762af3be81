"""`bench report`: draw the page of a run again from its records."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from bench.cli.options import add_plotlyjs
from bench.cli.paths import run_folder, written
from bench.config import PLOTLYJS
from bench.errors import unknown

SUMMARY = "draw the page of a run again from its records; nothing is trained"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Which run."""
    parser.add_argument("run", metavar="RUN", help="a run folder")
    add_plotlyjs(parser.add_argument, "default what the run was told")


def run(options: argparse.Namespace, given: Sequence[str]) -> int:
    """Draws the page and the table of a run again, and the list of the runs beside it."""
    if options.plotlyjs and options.plotlyjs not in PLOTLYJS:
        raise unknown("plotlyjs", options.plotlyjs, PLOTLYJS)
    from bench import report
    from bench.report import index
    from bench.runs import store

    made = store.load(run_folder(options.run))
    page = made.path / "report.html"
    with written(page):
        report.render(made, page, options.plotlyjs or "")
        report.write_csv(made, page.with_name("leaderboard.csv"))
        index.update(made.path)
    print(page)
    return 0
