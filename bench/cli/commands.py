"""The commands of the command line, one file each.

Nothing heavy is imported before a command runs.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from typing import Protocol

from bench.cli import baseline, cache, check, compare, data, export, history, list, report, run


class Command(Protocol):
    """What a command's file has.

    Attributes:
        SUMMARY: What it does, in a line of `--help`.
    """

    SUMMARY: str

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Declares its arguments."""

    def run(self, options: argparse.Namespace, given: Sequence[str]) -> int:
        """Does it and gives the exit status; `given` is the command line as it was typed."""


COMMANDS: Mapping[str, Command] = {
    "run": run,
    "data": data,
    "report": report,
    "compare": compare,
    "baseline": baseline,
    "check": check,
    "export": export,
    "history": history,
    "list": list,
    "cache": cache,
}
"""By name, in the order of `--help`."""
