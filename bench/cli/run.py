"""`bench run`: search the families and write a run folder with its report."""

from __future__ import annotations

import argparse
import json
import shlex
from collections.abc import Callable
from typing import TYPE_CHECKING

from bench.cli.options import add_settings, read_config
from bench.config import RUN
from bench.records import Run
from bench.text import masked_url, plain

if TYPE_CHECKING:
    from bench.search.progress import Progress

SUMMARY = "search the families and write a run folder with its report"

FAMILY_FAILED = 4
"""Exit status if a family was tried and has no complete trial."""


STATUSES = """\
exit status: 0 done; 2 a mistake in the command, the pictures or a family's file; 4 a family was tried and has no
result; 130 Ctrl-C, 143 SIGTERM, 129 SIGHUP: ended trials are kept and the best are scored; `resume` goes on"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog = STATUSES
    add_output(add_settings(parser)[RUN].add_argument)


def add_output(add: Callable[..., object]) -> None:
    """Declare the options of the output with a parser's `add_argument`."""
    add("--quiet", action="store_true", help="print only the leaderboard")
    add("--json", action="store_true", help="print only the leaderboard, as JSON")


def run(options: argparse.Namespace) -> int:
    """Run the benchmark and print the leaderboard; return `FAMILY_FAILED` if a family has no result."""
    config = read_config(options)
    from bench import runner

    words = [word.replace(config.storage, masked_url(config.storage)) for word in options.argv]
    command = shlex.join(["python", "-m", "bench", *words])
    return finish(options, lambda progress: runner.run(config, progress, command))


def finish(options: argparse.Namespace, search: Callable[[Progress], Run]) -> int:
    """Search, print the leaderboard and return the exit status."""
    from bench.cli.console import print_board, progress_on_stderr

    with progress_on_stderr(silent=options.quiet or options.json) as progress:
        finished = search(progress)
    if options.json:
        print(_as_json(finished))
    else:
        print_board(finished, finished.path / "report.html")
    return FAMILY_FAILED if finished.failed_families() else 0


def _as_json(run: Run) -> str:
    from bench.report import ranked_rows
    from bench.report.sections.further_sets import shift_sentences
    from bench.report.sections.shortcut_notice import shortcut

    result = {
        "run": str(run.path),
        "status": run.status,
        "elapsed_s": run.elapsed_s,
        "leaderboard": ranked_rows(run),
        "failed_families": run.failed_families(),
        "shortcut": str(noticed) if (noticed := shortcut(run)) else None,
        "further_sets": [plain(sentence) for sentence in shift_sentences(run)],
        "notes": list(run.notes),
    }
    return json.dumps(result, indent=1)
