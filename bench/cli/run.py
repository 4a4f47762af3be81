"""`bench run`: search the families and write a run folder with its report."""

from __future__ import annotations

import argparse
import json
import shlex

from bench.cli.options import add_settings, read_config
from bench.config import RUN
from bench.records import Run
from bench.text import masked_url

SUMMARY = "search the families and write a run folder with its report"

FAMILY_FAILED = 4
"""Exit status if a family was tried and has no complete trial."""


STATUSES = """\
exit status: 0 done; 2 a mistake in the command, the pictures or a family's file; 4 a family was tried and has no
result; 130 Ctrl-C and 143 SIGTERM: finished trials are kept, and after one Ctrl-C the best are scored"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog = STATUSES
    add = add_settings(parser)[RUN].add_argument
    add("--quiet", action="store_true", help="print only the leaderboard")
    add("--json", action="store_true", help="print only the leaderboard, as JSON")


def run(options: argparse.Namespace) -> int:
    """Run the benchmark and print the leaderboard; return `FAMILY_FAILED` if a family has no result."""
    config = read_config(options)
    from bench import runner
    from bench.cli.console import print_board, progress_on_stderr

    words = [word.replace(config.storage, masked_url(config.storage)) for word in options.argv]
    command = shlex.join(["python", "-m", "bench", *words])
    with progress_on_stderr(silent=options.quiet or options.json) as progress:
        finished = runner.run(config, progress, command)
    if options.json:
        print(_as_json(finished))
    else:
        print_board(finished, finished.path / "report.html")
    return FAMILY_FAILED if finished.failed_families() else 0


def _as_json(run: Run) -> str:
    from bench.report import ranked_rows
    from bench.report.sections.shortcut_notice import shortcut

    result = {
        "run": str(run.path),
        "status": run.status,
        "elapsed_s": run.elapsed_s,
        "leaderboard": ranked_rows(run),
        "failed_families": run.failed_families(),
        "shortcut": str(noticed) if (noticed := shortcut(run)) else None,
        "notes": list(run.notes),
    }
    return json.dumps(result, indent=1)
