"""`bench report`: write the page of a run again from its records."""

from __future__ import annotations

import argparse

from bench.cli.options import add_setting, add_storage, run_folder, written
from bench.config import SETTINGS

SUMMARY = "write the page of a run again from its records; nothing is trained"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", metavar="RUN", help="a run folder")
    add_storage(parser)
    add_setting(parser.add_argument, "plotlyjs", "the setting of the run")


def run(options: argparse.Namespace) -> int:
    """Write the page and the leaderboard of a run again, and the list of runs in its folder."""
    plotlyjs = SETTINGS["plotlyjs"].read(options.plotlyjs) if options.plotlyjs else ""
    from bench import report
    from bench.report import index
    from bench.runs import store

    record = store.load(run_folder(options.run), options.storage)
    page = record.path / "report.html"
    with written(page):
        report.render(record, page, plotlyjs)
        report.write_csv(record, page.with_name("leaderboard.csv"))
        index.update(record.path)
    print(page)
    return 0
