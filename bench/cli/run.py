"""`bench run`: search the families and write a run folder with its report."""

from __future__ import annotations

import argparse
import json
import shlex
from collections.abc import Sequence

from bench.cli.options import DATA, DEFAULTS, add_pictures, add_plotlyjs, add_seed, read_config
from bench.cli.telling import told
from bench.config import FEATURES, PRUNERS, WEIGHTS
from bench.engines import ENGINES
from bench.records import Run, leaderboard_row

SUMMARY = "search the families and write a run folder with its report"

FAMILY_FAILED = 4
"""The exit status where a family was tried and has no complete trial."""


STATUSES = """\
exit status: 0 done, 2 a mistake in the command, the pictures or a family's file, 4 a family was tried and has no
result, 130 Ctrl-C and 143 SIGTERM, where what was finished is kept"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What is searched, on which pictures, how a trial goes, and where the run lies."""
    parser.epilog = STATUSES
    add = parser.add_argument_group("what is searched").add_argument
    add(
        "--budget",
        metavar="B",
        help="trials (20), wall-clock (30m, 1.5h, 90s) or both (20,30m), for each engine; "
        f"default {DEFAULTS.budget.trials}, with --only-known no limit",
    )
    add(
        "--spaces",
        metavar="LIST",
        help="families by name, search-space files or folders of them, comma-separated; default all",
    )
    add(
        "--only-known",
        action="store_true",
        default=None,
        help="run the known configurations that the families' files list, each once, and let no engine propose any",
    )
    add("--engine", metavar="LIST", help=f"who proposes; each gets the whole budget; default {DEFAULTS.engines[0]}. "
        f"Choices: {', '.join(ENGINES)}")  # fmt: skip
    add(
        "--pruner",
        metavar="P",
        help=f"stop poor trials early (Optuna engines): {', '.join(PRUNERS)}; default {DEFAULTS.pruner}",
    )
    add(
        "--repeats", metavar="K", help=f"retrain the best of each family with K other seeds; default {DEFAULTS.repeats}"
    )
    add = parser.add_argument_group("the pictures").add_argument
    add("--data", metavar="D", help=f"{DATA}; default {DEFAULTS.data}")
    add_pictures(add)
    add(
        "--split-file",
        metavar="FILE",
        help="use the split of an earlier run's split.json again; with --data, the pictures are taken from there",
    )
    add = parser.add_argument_group("a trial").add_argument
    add("--epochs", metavar="N", help=f"at most N epochs, in each phase of the training; default {DEFAULTS.epochs}")
    add(
        "--patience",
        metavar="N",
        help=f"stop after N epochs without a better validation result; default {DEFAULTS.patience}",
    )
    add(
        "--trial-timeout",
        metavar="T",
        help="stop a trial, all its folds together, after that time (90s, 10m); default 1h",
    )
    full, half, off = FEATURES
    add(
        "--features",
        metavar="F",
        help="what frozen layers make of a picture is computed once, and kept on disk for other trials and later runs: "
        f"{full}, {half} (half the disk), or {off} (every trial trains end to end); default {DEFAULTS.features}",
    )
    add("--weights", metavar="W", help=f"what backbones start from: {', '.join(WEIGHTS)}; default {DEFAULTS.weights}")
    add("--missing-weights", metavar="M", help="where they cannot be had: random (labelled so), skip them, error; "
        f"default {DEFAULTS.missing_weights}")  # fmt: skip
    add = parser.add_argument_group("the run").add_argument
    add_seed(add, "pictures, split, engines and training")
    add("--workers", metavar="N", help=f"trials at a time, each on its share of the cores; default {DEFAULTS.workers}")
    add("--out", metavar="DIR", help="the run folder; default reports/<utc time>-<data>")
    add(
        "--storage",
        metavar="URL",
        help="Optuna storage (postgresql://…, mysql+pymysql://…); default SQLite in the run folder",
    )
    add_plotlyjs(add, f"default {DEFAULTS.plotlyjs}")
    add("--quiet", action="store_true", help="print the leaderboard only")
    add("--json", action="store_true", help="print the leaderboard as JSON, and nothing else, on standard output")


def run(options: argparse.Namespace, given: Sequence[str]) -> int:
    """Runs the benchmark and prints its board; `FAMILY_FAILED` where a family has no result."""
    config = read_config(options)
    from bench import runner
    from bench.cli.console import print_board

    command = shlex.join(["python", "-m", "bench", *given])
    with told(silent=options.quiet or options.json) as progress:
        made = runner.run(config, progress, command)
    if options.json:
        print(_as_json(made))
    else:
        print_board(made, made.path / "report.html")
    return FAMILY_FAILED if made.failed_families() else 0


def _as_json(run: Run) -> str:
    board = [leaderboard_row(trial) for trial in run.ranking()]
    result = {
        "run": str(run.path),
        "status": run.status,
        "elapsed_s": run.elapsed_s,
        "leaderboard": board,
        "failed_families": run.failed_families(),
        "notes": list(run.notes),
    }
    return json.dumps(result, indent=1)
