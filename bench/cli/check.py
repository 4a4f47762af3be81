"""`bench check`: the regression gate for CI."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from bench.cache.files import write_text
from bench.cli.options import BASELINE, add_policy, add_storage, output, policy_path, run_folder, written
from bench.errors import BaselineError, ConfigError, RunFolderError

if TYPE_CHECKING:  # they bring NumPy and rich along
    from rich.table import Table

    from bench.check.findings import Judgement
    from bench.check.outputs import Verdict

SUMMARY = "the regression gate for CI: compare a run with a baseline; the exit status is the verdict"

HELP = """\
Compares a run with a baseline that `bench baseline` wrote. Nothing is trained, no code of a family runs, and the
baseline is never changed.

  metric      the one that the runs chose by (--metric, accuracy by default) fails if it got worse by 1 point, 0.01, or
              of log loss and cost by 5 % of the baseline's, and by more than the noise of test pictures and seeds (p <
              0.05 after Holm over the families). It warns if only one of the two holds, or with one seed and no
              calibration (UNCALIBRATED). MDE is the change for the worse that is detected with 80 % power; a family
              whose MDE is more than twice the limit is UNDERPOWERED and warns
  classes     with max_drop_by_class: fails if the recall of a class fell by that, and by more than noise (Holm over
              the classes of all families); classes that changed are listed in any case
  step time   fails if the median is more than 1.25 times the baseline's (Mann-Whitney p < 0.002, 6 or more times on
              each side, same hardware), and the CPU time too; otherwise it warns
  presence    fails if a family had a result and has none now; a new family is reported
  parameters  a change warns; more than the policy's cap fails

Lists the pictures that were right in the baseline and are wrong now, if RUN is a run folder, with the recall of every
class: in --markdown and --json, and a few of them in the terminal for a family that fails or warns.

exit status:
  0  pass; there may be warnings
  1  regression
  2  usage: an option, the run's folder or the policy is wrong
  3  the baseline is missing, damaged or newer, or not comparable: another metric, test pictures, settings, weights
  4  the run is not complete
If several apply, the order of precedence is 2, 3, 4, 1.

marks:
  +  better by more than noise              *  new
  -  worse by more than noise               x  not comparable, so not judged
  !  missing, failed or not scored          ~  may be noise"""

EXAMPLES = """\
examples:
  python -m bench check reports/20261121T090000-drawn
      compare with reports/baseline.json; prints a table and sets the exit status
  python -m bench check RUN --junit check.xml --markdown "$GITHUB_STEP_SUMMARY" --github
      in a GitHub workflow: test results, a job summary, annotations
  python -m bench check RUN --baseline reports/20261120T120000-drawn --json
      compare with another run; output for programs

policy, in bench.toml; without it the values of [check] are these, with no floor and no cap:

  [check]                      # all families
  max_drop = 0.01              # the metric: 1 point (of mcc and the like 0.01) fails, if it is more than noise; of log
                               # loss and cost a share of the baseline's, by default 0.05
  alpha = 0.05                 # a drop is more than noise if p < alpha, Holm-adjusted over the families
  max_slowdown = 1.25          # step time: a median of more than 1.25 times the baseline's fails, if p < 0.002

  [check.families.vgg16]       # limits of one family, which override those above
  max_drop = 0.02
  min_accuracy = 0.85          # fails if the accuracy is significantly below it (Wilson's 95 % upper bound)
  max_parameters = 20_000_000  # fails if the model is larger
  max_drop_by_class = 0.1      # fails if the recall of a class fell by 10 points or more, by more than noise
  worst_value = 0.8            # fails if the metric is significantly worse than this"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the two runs, the policy, and the outputs."""
    parser.description, parser.epilog = HELP, EXAMPLES
    parser.add_argument("run", metavar="RUN", help="a run folder, or its results.json")
    parser.add_argument("--baseline", metavar="FILE", help=f"a baseline, or a run folder; default {BASELINE}")
    add_policy(parser)
    add_storage(parser)
    parser.add_argument("--junit", metavar="FILE", help="write JUnit XML, one test case per family and quantity")
    parser.add_argument(
        "--markdown",
        metavar="FILE",
        help="write Markdown; an existing file is replaced, except that of $GITHUB_STEP_SUMMARY, which is appended to",
    )
    parser.add_argument("--github", action="store_true", help="also print annotations for a GitHub workflow")
    parser.add_argument("--json", action="store_true", help="print everything as JSON, and nothing else")
    parser.add_argument("--all", action="store_true", help="also print figures that did not change")
    parser.add_argument("--quiet", action="store_true", help="print only the result, on one line")


def run(options: argparse.Namespace) -> int:
    """Read both sides, judge, write the requested outputs, and return the exit status."""
    if options.json and (options.github or options.quiet):
        extra = "--github" if options.github else "--quiet"
        raise ConfigError(f"--json prints only JSON; leave out {extra}")
    for name in ("baseline", "junit", "markdown"):
        if getattr(options, name) == "":  # an unset variable of the CI
            raise ConfigError(f"{name} '': a file is expected")
    path, baseline_path = run_folder(options.run), Path(options.baseline or BASELINE)
    limits_path = policy_path(options)
    read = [file for side in (path, baseline_path) for file in (side, side / "results.json")]
    _check_outputs(options, [*read, *([limits_path] if limits_path else [])])
    from bench.check import policy
    from bench.check.findings import NoBaseline
    from bench.check.flips import flips, recall_changes, scored_pictures
    from bench.check.judge import judge
    from bench.runs import results

    limits = policy.read(limits_path) if limits_path else policy.Policy()
    if not path.exists():
        raise RunFolderError(f"{path}: there is no such run")
    try:
        candidate = results.of_path(path, options.storage)
    except BaselineError as error:
        raise RunFolderError(str(error)) from None
    try:
        baseline = results.of_path(baseline_path, options.storage)
    except (BaselineError, RunFolderError) as error:
        _write_outputs(options, NoBaseline(str(error)))
        raise BaselineError(str(error)) from None
    before, after = (side if side.is_dir() else side.parent for side in (baseline_path, path))
    pictures = scored_pictures(baseline, candidate, (before, after))
    recalls = recall_changes(baseline, candidate, pictures)
    judgement = judge(baseline, candidate, limits, recalls)
    if not judgement.differences:
        flipped = flips(baseline, candidate, (before, after), pictures, recalls)
        judgement = replace(judgement, flips=flipped)
    _write_outputs(options, judgement)
    if not options.json:
        print_judgement(judgement, every=options.all, brief=options.quiet)
    return judgement.exit_status


# -- for programs


def _check_outputs(options: argparse.Namespace, inputs: Sequence[Path]) -> None:
    """Refuse outputs that are folders, or files that this check reads or writes."""
    taken = {os.path.realpath(path): "is read by this check" for path in inputs}
    for name, example in (("junit", "check.xml"), ("markdown", "check.md")):
        if not (text := getattr(options, name)):
            continue
        path = output(name, text, example)
        if use := taken.get(os.path.realpath(path)):
            raise ConfigError(f"{name} {text!r}: {use}; name another file, e.g. {example}")
        taken[os.path.realpath(path)] = "is the file of --junit"


def _write_outputs(options: argparse.Namespace, verdict: Verdict) -> None:
    """Write the files and print the outputs for programs."""
    from bench.check import outputs

    if options.junit:
        with written(Path(options.junit)):
            write_text(Path(options.junit), outputs.junit(verdict))
    if options.markdown:
        path, summary = Path(options.markdown), os.environ.get("GITHUB_STEP_SUMMARY")
        with written(path):
            if summary and path.resolve() == Path(summary).resolve():  # shared by the steps of a job
                used = path.stat().st_size if path.exists() else 0
                with path.open("a", encoding="utf-8", errors="backslashreplace") as file:
                    file.write(("\n" if used else "") + outputs.markdown(verdict, outputs.MAX_BYTES - used))
            else:
                write_text(path, outputs.markdown(verdict))
    if options.github:
        sys.stdout.write(outputs.github(verdict))
    if options.json:
        print(outputs.as_json(verdict))


# -- for a terminal or the log of a CI job: a table, one line per problem, and the result last

STYLES = {"fail": "red", "warn": "yellow", "info": "cyan", "skip": "dim"}


def print_judgement(
    judgement: Judgement, every: bool = False, brief: bool = False, stream: TextIO | None = None
) -> None:
    """Print a judgement.

    Args:
        judgement: The gate's verdict.
        every: True to print rows without a change too.
        brief: True to print only the result.
        stream: Output stream; default: standard output.
    """
    from bench.cli.terminal import printable, printing

    with printing(stream) as console:
        if not brief:
            console.print(_table(judgement, every))
            console.print()
            if judgement.changed_classes:
                console.print(_classes_table(judgement))
                console.print()
            for line, style in _lines(judgement):
                console.print(printable(line), style=style, soft_wrap=True)
        done = "bold" if judgement.problems else "bold green"
        style = "bold red" if judgement.exit_status else done
        console.print(printable(judgement.headline), style=style, soft_wrap=True)


def _table(judgement: Judgement, every: bool) -> Table:
    from rich.markup import escape
    from rich.table import Table

    from bench.check.findings import COLUMNS

    table = Table(box=None, pad_edge=False, header_style="bold")
    for number, name in enumerate(COLUMNS):
        table.add_column(name, justify="left" if number < 4 else "right", no_wrap=name != "family", overflow="fold")
    for finding in judgement.findings:
        if every or finding.changed:
            table.add_row(*map(escape, finding.cells), style=STYLES.get(finding.outcome, ""))
    return table


def _classes_table(judgement: Judgement) -> Table:
    from rich.markup import escape
    from rich.table import Table

    from bench.check.wording import chance, percent, short

    table = Table(box=None, pad_edge=False, header_style="bold")
    for number, name in enumerate(("family", "class, recall over the seeds", "pictures", "before", "after", "p")):
        table.add_column(name, justify="left" if number < 2 else "right", no_wrap=number > 1, overflow="fold")
    for family, change in judgement.changed_classes:
        figures = f"{change.n:,}", *map(percent, change.recalls), chance(change.p_all)
        table.add_row(*map(escape, (short(family), short(change.label), *figures)))
    return table


def _lines(judgement: Judgement) -> Iterator[tuple[str, str]]:
    """Lines and their styles."""
    from bench.check.findings import MEANINGS, GateOutcome, Quantity

    for difference in judgement.differences:
        yield f"not comparable: {difference}", "red"
    for finding in [*judgement.problems, *judgement.of(GateOutcome.INFO)]:
        yield f"{finding.cells[3]} {finding.title}: {finding.message}", STYLES[finding.outcome]
    for finding in judgement.problems:
        if finding.quantity == Quantity.METRIC and (flipped := judgement.flips.get(finding.family)):
            yield f"pictures of {finding.title.partition(',')[0]}: {flipped.words}", ""
    marks = {finding.mark for finding in judgement.findings}
    if shown := [f"{mark} {meaning}" for mark, meaning in MEANINGS.items() if mark in marks]:
        yield f"marks: {'; '.join(shown)}", "dim"
    yield from ((f"note: {note}", "") for note in judgement.notes)
    if judgement.policy.path:
        yield f"policy: {judgement.policy.path}", ""
