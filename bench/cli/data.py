"""`bench data`: look at the pictures; nothing is trained."""

from __future__ import annotations

import argparse
import json
import shlex
from dataclasses import asdict

from bench.cli.options import add_setting, output, read_config, written
from bench.config import DATA, SETTINGS, Budget, RunConfig
from bench.errors import ConfigError
from bench.records import SplitInfo

SUMMARY = "look at the pictures: what they are, what is wrong, and the split; nothing is trained"


SPLIT = ("images", "limit", "split", "folds", "near_duplicates", "input_sizes", "seed")
"""Settings, besides the data, that decide which pictures are used and how they are split."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options: the pictures, the settings of their split, and the output."""
    parser.add_argument("data", metavar="PATH-OR-NAME", nargs="?", help=DATA)
    for name in SPLIT:
        add_setting(parser.add_argument, name)
    parser.add_argument("--out", metavar="FILE", help="write the split there, for `run --split-file FILE`")
    parser.add_argument("--all", action="store_true", help="list every class, and every picture that was found wanting")
    parser.add_argument("--json", action="store_true", help="print everything as JSON, and nothing else")


def run(options: argparse.Namespace) -> int:
    """Audit the pictures, print the inventory, and write the split if asked for."""
    if not options.data:
        raise ConfigError("data: say which pictures, e.g. `python -m bench data photos/` or `… data drawn`")
    config = read_config(options, ("data", *SPLIT))
    out = output("out", options.out, "split.json") if options.out else None
    from bench import data
    from bench.cli.console import print_inventory, progress_on_stderr

    with progress_on_stderr(silent=options.json) as progress:
        dataset = data.open(config, progress.stage)
    if out:
        with written(out):
            dataset.write(out)
    if options.json:
        print(_as_json(dataset.info(), config))
    else:
        print_inventory(dataset.info(), config, every=options.all)
        print(f"\nto search it: {_search_command(options)}")
    return 0


def _search_command(options: argparse.Namespace) -> str:
    """The command that searches the split that was shown."""
    words = ["python", "-m", "bench", "run", "--budget", str(Budget.trials)]
    if options.out:
        return shlex.join([*words, "--split-file", options.out])
    for name in ("data", *SPLIT):
        if (text := getattr(options, name)) is not None:
            words += [SETTINGS[name].flag, text]
    return shlex.join(words)


def _as_json(split: SplitInfo, config: RunConfig) -> str:
    from bench.report.inventory import inventory
    from bench.text import plain

    found = inventory(split, config)
    balance = asdict(found.balance) if found.balance else None
    told = {**asdict(split), "balance": balance, "warnings": [plain(warning) for warning in found.warnings]}
    return json.dumps(told, indent=1)
