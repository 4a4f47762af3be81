"""`bench baseline`: keep what a run came to, for `bench check`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

from bench.cli.options import BASELINE, output, read_whole, run_folder, written
from bench.errors import ConfigError, IncompleteError
from bench.text import one_line, percent, plain, plural

if TYPE_CHECKING:  # it brings NumPy along
    from bench.runs.results import Results

SUMMARY = "keep what a run came to as the baseline that `check` compares with"

MAX_SEEDS = 100

ONE_SEED = "a check can only warn; --seeds 5 measures the noise"

HELP = """\
Writes what a run came to into one small file, to be committed: for every family its chosen configuration, its accuracy,
which test pictures it classifies rightly, its parameters and the time of its training steps. `bench check` compares
later runs with it. The run must be complete.

Another seed alone makes a difference: where both sides have one, and nobody knows what seeds do, a check can only warn.
Run with `--repeats 2` or more, or have the noise of seeds measured once by `--seeds 5`: then the chosen configurations
are trained with more seeds, recorded in the run as `run --repeats` would have, and single-seed checks can fail too."""

EXAMPLES = """\
examples:
  python -m bench baseline reports/20261121T090000-drawn
      writes reports/baseline.json
  python -m bench baseline reports/20261121T090000-drawn --seeds 5
      trains what the run has chosen until each family has five seeds, then writes it
  git add reports/baseline.json
      later: python -m bench check RUN"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the run, the number of seeds, and the file."""
    parser.description, parser.epilog = HELP, EXAMPLES
    parser.add_argument("run", metavar="RUN", help="a run folder")
    parser.add_argument("--seeds", metavar="N", help="train the chosen configurations until each has N seeds, e.g. 5")
    parser.add_argument("--out", metavar="FILE", help=f"default {BASELINE}; what was there is replaced")
    parser.add_argument("--quiet", action="store_true", help="print only where the file is")


def run(options: argparse.Namespace) -> int:
    """Train more seeds if asked for, write the file, and print the drop that a check will see with it."""
    seeds = read_whole("seeds", options.seeds) if options.seeds else 1
    out = output("out", options.out or BASELINE, BASELINE)
    if not 1 <= seeds <= MAX_SEEDS:
        raise ConfigError(f"seeds {seeds}: must be 1 to {MAX_SEEDS}")
    if out.suffix != ".json":
        raise ConfigError(f"out {str(out)!r}: does not end in .json; a file is expected, e.g. {BASELINE}")
    from bench.runs import results, store

    folder = run_folder(options.run)
    made = store.load(folder)
    if made.status != "complete":
        raise IncompleteError(f"{folder}: is {made.status}; a baseline must be of a complete run")
    if seeds > 1:
        from bench.cli.console import progress_on_stderr
        from bench.search.scoring import add_seeds

        try:
            with progress_on_stderr(options.quiet) as progress:
                made = add_seeds(made, seeds, progress)
        except KeyboardInterrupt:
            message = f"what was trained is kept in {folder}, the same command goes on; no baseline was written"
            print(f"interrupted: {message}", file=sys.stderr)
            return 130
    baseline = results.of_run(made)
    if all(family.accuracy is None for family in baseline.families.values()):
        raise IncompleteError(f"{folder}: no family has a test accuracy, so there is nothing to compare with")
    with written(out):
        results.write(out, baseline)
    if not options.quiet:
        for line in _lines(baseline):
            print(line)
    print(out)
    return 0


def _lines(baseline: Results) -> Iterator[str]:
    yield plain(f"{one_line(baseline.split.source)}, {plural(baseline.split.n, 'test picture')}")
    width = max(map(len, baseline.families), default=0)
    for name, family in baseline.families.items():
        if family.accuracy is None:
            yield f"  {name:<{width}}  {family.status}: {family.reason}"
            continue
        seeds, drop = plural(len(family.seeds), "seed"), family.visible_drop
        sight = f"a check of {seeds} sees a drop of {100 * drop:.1f} points or more" if drop else ONE_SEED
        yield plain(f"  {name:<{width}}  {percent(family.accuracy)}, {seeds}: {sight}")
