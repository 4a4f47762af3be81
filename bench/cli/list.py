"""`bench list`: families, engines and data sets to choose from, and the runs so far."""

from __future__ import annotations

import argparse

from bench.config import SETTINGS
from bench.engines import ENGINES
from bench.text import harmless, one_line

SUMMARY = "families, engines, data sets and runs"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare nothing."""


def run(options: argparse.Namespace) -> int:
    from bench.data.sources import KNOWN

    print("families (--spaces)")
    _print_families()
    print("\nengines (--engine)")
    for engine, info in ENGINES.items():
        print(f"  {engine:<22}{info.title}")
    print("\ndata sets (--data)")
    for name, description in KNOWN.items():
        print(f"  {name:<22}{description}")
    print(f"\nmissing weights (--missing-weights): {', '.join(SETTINGS['missing_weights'].values.choices)}")
    print("\nruns in reports/")
    _print_runs()
    return 0


def _print_families() -> None:
    from bench.errors import SpaceError
    from bench.search import spaces

    optional = []
    for path in spaces.known():
        try:
            space = spaces.read(path)
        except SpaceError as error:
            print(harmless(f"  {one_line(path.stem):<22}broken: {one_line(str(error))}"))
            continue
        line = harmless(f"  {one_line(space.name):<22}{one_line(space.title)}")
        if space.optional:
            optional.append(line)
        else:
            print(line)
    if optional:
        print("\noptional families (only where --spaces names them)", *optional, sep="\n")
    for path in spaces.hidden():
        print(harmless(f"  note: {one_line(str(path))} replaces the built-in family {path.stem}"))


def _print_runs() -> None:
    from bench.report import index
    from bench.runs import store

    summaries = store.summaries()
    if not summaries:
        print("  none yet: python -m bench run --budget 20")
    for summary in summaries:
        line = index.line(summary.record) if summary.record else summary.problem
        print(harmless(f"  {one_line(str(summary.path))}  {one_line(line)}"))
