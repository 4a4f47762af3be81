"""`bench plan`: the cost of a run before it; nothing is trained."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING, TextIO

from bench.cli.options import add_settings, read_config
from bench.config import RUN
from bench.text import NOTHING, count, listing, megabytes, one_line, parameters, plural, search_plan, seconds, shorten

if TYPE_CHECKING:  # heavy
    from bench.search.planning import FamilyEstimate, RunEstimate

SUMMARY = "the time, memory and disk that `run` with the same arguments would take; nothing is trained"

MAX_CONFIGURATION = 60
"""Maximum number of characters of a configuration."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_settings(parser)[RUN].add_argument("--json", action="store_true", help="print only JSON")


def run(options: argparse.Namespace) -> int:
    config = read_config(options)
    from bench.cli.console import progress_on_stderr
    from bench.search import planning

    with progress_on_stderr(silent=options.json) as progress:
        estimated = planning.plan(config, progress)
    if options.json:
        print(json.dumps(asdict(estimated), indent=1))
    else:
        print_estimate(estimated)
    return 0


def print_estimate(estimated: RunEstimate, stream: TextIO | None = None) -> None:
    """Print a row for each family, the plan, the total time, and the warnings."""
    from bench.cli.terminal import fitting_table, printable, printing

    with printing(stream) as console:
        rows = map(_cells, estimated.families)
        console.print(fitting_table(COLUMNS, rows, console.width, left=(COLUMNS[0], COLUMNS[-1])))
        for line in _lines(estimated):
            console.print(printable(line), soft_wrap=True)


COLUMNS = ("family", "trials", "first trial", "features cached", "a proposal", "memory", "disk", "parameters",
           "first configuration")  # fmt: skip
"""Columns of the table, the most important first; the last ones are left out in a narrow terminal."""


def _cells(family: FamilyEstimate) -> Iterator[str]:
    """Yield the cells of a row, in the order of `COLUMNS`."""
    yield one_line(family.info.name, 40)
    yield str(family.known + family.proposed)
    yield seconds(family.first.time_s) if family.first else NOTHING
    yield seconds(family.cached_s)
    yield seconds(family.proposal_s)
    yield megabytes(family.first.memory_mb) if family.first else NOTHING
    yield megabytes(family.first.disk_mb) if family.first and family.first.disk_mb else NOTHING
    yield count(family.work.parameters) if family.work else NOTHING
    yield shorten(parameters(family.different), MAX_CONFIGURATION) or ("defaults" if family.configuration else NOTHING)


def _lines(estimated: RunEstimate) -> Iterator[str]:
    plan = estimated.plan
    yield f"plan: {search_plan(plan)}"
    if plan.seconds is not None:
        engines = " for each engine" if len(plan.engines) > 1 else ""
        yield f"{seconds(plan.seconds)} buy about {plural(estimated.trials, 'trial')}{engines}"
    if estimated.unreached:
        yield f"not reached: {listing(estimated.unreached, 9)}"
    yield (
        f"about {seconds(estimated.time_s)} in all (90 % interval {seconds(estimated.low_s)} to "
        f"{seconds(estimated.high_s)}): {seconds(estimated.preparation_s)} to prepare, "
        f"{seconds(estimated.search_s)} of trials, {seconds(estimated.closing_s)} for scoring and the page"
    )
    yield from (f"warning: {warning}" for warning in estimated.warnings)
