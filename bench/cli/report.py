"""`bench report`: write the page of a run again from its records, or a short Markdown of it."""

from __future__ import annotations

import argparse

from bench.cli.options import add_setting, add_storage, output, run_folder, written
from bench.config import SETTINGS
from bench.errors import ConfigError, unknown

SUMMARY = "write the page of a run again from its records, or a short Markdown; nothing is trained"

FORMATS = ("html", "md")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", metavar="RUN", help="a run folder")
    formats = "html: the page; md: decision, leaderboard and warnings for a pull request or a chat; default html"
    parser.add_argument("--format", metavar="F", default="html", help=formats)
    parser.add_argument("--out", metavar="FILE", help="with --format md: the file; default standard output")
    add_storage(parser)
    add_setting(parser.add_argument, "plotlyjs", "the setting of the run")


def run(options: argparse.Namespace) -> int:
    """Write the page and the leaderboard of a run again, and the list of runs in its folder; or only its Markdown."""
    plotlyjs = SETTINGS["plotlyjs"].read(options.plotlyjs) if options.plotlyjs else ""
    if options.format not in FORMATS:
        raise unknown("format", options.format, FORMATS)
    if options.out is not None and options.format != "md":
        raise ConfigError(f"out {options.out!r}: the page stays in its run folder; --out is for --format md")
    out = output("out", options.out, "run.md") if options.out else None
    from bench import report
    from bench.cache.files import write_text
    from bench.report import index
    from bench.runs import store

    record = store.load(run_folder(options.run), options.storage)
    if out:
        with written(out):
            write_text(out, report.markdown(record))
        print(out)
        return 0
    if options.format == "md":
        print(report.markdown(record), end="")
        return 0
    page = record.path / "report.html"
    with written(page):
        report.render(record, page, plotlyjs)
        report.write_csv(record, page.with_name("leaderboard.csv"))
        index.update(record.path)
    print(page)
    return 0
