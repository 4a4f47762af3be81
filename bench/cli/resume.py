"""`bench resume`: continue a run that was killed or interrupted, or that has used its budget."""

from __future__ import annotations

import argparse

from bench.cli import run as run_command
from bench.cli.options import add_setting, add_storage, run_folder
from bench.config import Budget

SUMMARY = "continue a run that was killed or interrupted, or give it a larger budget"

HELP = """\
Continues a run where it stopped. Every trial that had ended counts; those that were in training are run again with
the same configurations, and the engines go on as if there had been no stop. What was spent counts: the trials, and the
time in which the run was active.

Refused, with the difference: other pictures, another split, other weights, and without --accept-changes another file of
a family or other versions of packages. A folder has one driver: while its process lives, a second one is refused.

examples:
  python -m bench resume reports/20261121T090000-drawn
      go on until the run's budget is spent
  python -m bench resume reports/20261121T090000-drawn --budget 2h
      go on until two hours are spent in all, those before the stop included"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog = f"{HELP}\n\n{run_command.STATUSES}"
    parser.add_argument("run", metavar="RUN", help="the run's folder")
    add_setting(parser.add_argument, "budget", "that of the run; the new total, what was spent included")
    parser.add_argument(
        "--accept-changes",
        action="store_true",
        help="go on although a family's file or the version of a package changed; the page says so",
    )
    add_storage(parser)
    run_command.add_output(parser.add_argument)


def run(options: argparse.Namespace) -> int:
    """Resume the run and print the leaderboard; return the exit status as `bench run` does."""
    budget = None if options.budget is None else Budget.parse(options.budget)
    from bench import runner

    return run_command.finish(
        options,
        lambda progress: runner.resume(
            run_folder(options.run),
            budget,
            progress,
            accept_changes=options.accept_changes,
            storage=options.storage,
        ),
    )
