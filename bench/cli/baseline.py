"""`bench baseline`: save the results of a run for `bench check`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

from bench.cli.options import BASELINE, add_policy, add_storage, output, policy_path, read_whole, run_folder, written
from bench.errors import ConfigError, IncompleteError
from bench.text import figure, harmless, one_line, plural

if TYPE_CHECKING:  # it brings NumPy along
    from bench.check.policy import Policy
    from bench.runs.results import Results

SUMMARY = "save the results of a run as the baseline that `check` compares with"

MAX_SEEDS = 100

ONE_SEED = "a check can only warn; --seeds 5 measures the noise of seeds"

HELP = """\
Writes the results of a run into one small file, to be committed: for every family the chosen configuration, its
accuracy, the test pictures that it classifies correctly, its parameters and the times of its training steps.
`bench check` compares later runs with it. The run must be complete.

A different seed alone changes the accuracy. If both sides have one seed, and the noise of seeds is unknown, a check can
only warn. Run with `--repeats 2` or more, or measure the noise of seeds once with `--seeds 5`: the chosen
configurations are trained with more seeds and recorded as by `run --repeats`. Then single-seed checks can fail too."""

EXAMPLES = """\
examples:
  python -m bench baseline reports/20261121T090000-drawn
      writes reports/baseline.json
  python -m bench baseline reports/20261121T090000-drawn --seeds 5
      trains the chosen configurations until each has five seeds, then writes the baseline
  git add reports/baseline.json
      later: python -m bench check RUN"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the run, the number of seeds, and the file."""
    parser.description, parser.epilog = HELP, EXAMPLES
    parser.add_argument("run", metavar="RUN", help="a run folder")
    add_storage(parser)
    parser.add_argument("--seeds", metavar="N", help="train the chosen configurations until each has N seeds, e.g. 5")
    parser.add_argument("--out", metavar="FILE", help=f"default {BASELINE}; an existing file is replaced")
    add_policy(parser)
    parser.add_argument("--quiet", action="store_true", help="print only the path of the file")


def run(options: argparse.Namespace) -> int:
    """Train more seeds if requested, write the file, and print the drop that a check can detect with it."""
    seeds = 1 if options.seeds is None else read_whole("seeds", options.seeds, 1, MAX_SEEDS)
    out = output("out", options.out or BASELINE, BASELINE)
    if out.suffix != ".json":
        raise ConfigError(f"out {str(out)!r}: must end in .json, e.g. {BASELINE}")
    limits_path = policy_path(options)
    from bench.check import policy
    from bench.runs import results, store

    limits = policy.read(limits_path) if limits_path else policy.Policy()
    folder = run_folder(options.run)
    record = store.load(folder, options.storage)
    if record.status != "complete":
        raise IncompleteError(f"{folder}: is {record.status}; a baseline needs a complete run")
    if seeds > 1:
        from bench.cli.console import progress_on_stderr
        from bench.search.scoring import add_seeds

        try:
            with progress_on_stderr(options.quiet) as progress:
                record = add_seeds(record, seeds, progress)
        except KeyboardInterrupt:
            message = f"finished trainings are kept in {folder}, the same command continues; no baseline was written"
            print(f"interrupted: {message}", file=sys.stderr)
            return 130
    baseline = results.of_run(record)
    if all(family.accuracy is None for family in baseline.families.values()):
        raise IncompleteError(f"{folder}: no family has a test accuracy, so there is nothing to compare with")
    with written(out):
        results.write(out, baseline)
    if not options.quiet:
        for line in _lines(baseline, limits):
            print(harmless(line))
    print(out)
    return 0


def _lines(baseline: Results, limits: Policy) -> Iterator[str]:
    from bench.check.changes import expected_power, underpowered

    powers = expected_power(baseline, limits)
    yield f"{one_line(baseline.split.source)}, {plural(baseline.split.n, 'test picture')}"
    width = max(map(len, baseline.families), default=0)
    for name, family in baseline.families.items():
        if family.accuracy is None:
            yield f"  {one_line(name):<{width}}  {family.status}: {family.reason}"
            continue
        seeds, said = plural(len(family.seeds), "seed"), ONE_SEED
        if power := powers.get(name):
            said = f"a check with {seeds} detects {power.words} or more"
        yield f"  {one_line(name):<{width}}  {figure(family.value, baseline.metric)}, {seeds}: {said}"
    if weak := [name for name, power in powers.items() if power.underpowered]:
        yield underpowered(weak)
