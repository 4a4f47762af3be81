"""`bench check`: the regression gate for CI."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from bench.cache.files import write_text
from bench.cli.options import BASELINE, output, run_folder, written
from bench.errors import BaselineError, BenchError, ConfigError, RunFolderError

if TYPE_CHECKING:  # they bring NumPy and rich along
    from rich.table import Table

    from bench.check.findings import Judgement
    from bench.check.outputs import Verdict

SUMMARY = "the regression gate for CI: hold a run against a baseline; the exit status is the verdict"

POLICY = Path("bench.toml")

HELP = """\
Holds a run against a baseline that `bench baseline` wrote. Nothing is trained, no code of a family runs, and the
baseline is never written.

  accuracy    fails if it fell by 1 point or more and that is more than the noise of the test pictures and the seeds
              (p < 0.05 after Holm over the families); if only one of the two holds, or with a single seed and no
              calibration, it warns (UNCALIBRATED). MDE is the drop that would be seen in 4 of 5 cases; a family
              whose MDE is more than twice the limit is UNDERPOWERED, never a plain pass
  step time   fails if the median is more than 1.25 times the old one (Mann-Whitney p < 0.002, 6 figures or more on
              each side, the same hardware), and so is the CPU's; elsewhere it warns
  presence    a family that had a result and has none now fails; a new one is told
  parameters  a change warns; above a cap of the policy it fails

exit status:
  0  pass; there may be warnings
  1  regression
  2  usage: an option, the run's folder or the policy is wrong
  3  the baseline is missing, damaged or newer, or does not compare: other test pictures, settings or weights
  4  the run is not complete
Of several the first of 2, 3, 4, 1 counts.

marks:
  +  better, and more than noise            *  new
  -  worse, and more than noise             x  not comparable, so not judged
  !  missing, failed or not scored          ~  may be noise, or could not be told from it"""

EXAMPLES = """\
examples:
  python -m bench check reports/20261121T090000-drawn
      against reports/baseline.json; a table, and the exit status
  python -m bench check RUN --junit check.xml --markdown "$GITHUB_STEP_SUMMARY" --github
      in a GitHub workflow: test results, a summary of the job, annotations
  python -m bench check RUN --baseline reports/20261120T120000-drawn --json
      against another run, for a program

policy, in bench.toml; without it [check] is as here, with no floor and no cap:

  [check]                      # this is the rule
  max_drop = 0.01              # accuracy: a drop of 1 point or more fails, if it is more than noise
  alpha = 0.05                 # more than noise: p below it, Holm-adjusted over the families
  max_slowdown = 1.25          # step time: a median of more than 1.25 times the old one fails, if p < 0.002

  [check.families.vgg16]       # a family's own limits, over those above
  max_drop = 0.02
  min_accuracy = 0.85          # fails if the accuracy is surely below it (Wilson's 95 % upper bound)
  max_parameters = 20_000_000  # fails if the model is larger"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the two runs, the rule, and the outputs."""
    parser.description, parser.epilog = HELP, EXAMPLES
    parser.add_argument("run", metavar="RUN", help="a run folder, or its results.json")
    parser.add_argument("--baseline", metavar="FILE", help=f"a baseline, or a run folder; default {BASELINE}")
    parser.add_argument("--policy", metavar="FILE", help=f"limits, as below; default {POLICY}, if there is one")
    parser.add_argument("--junit", metavar="FILE", help="write JUnit XML, a test case a family and metric")
    parser.add_argument(
        "--markdown",
        metavar="FILE",
        help="write Markdown; a file is replaced, but the one that $GITHUB_STEP_SUMMARY names is appended to",
    )
    parser.add_argument("--github", action="store_true", help="print annotations for a GitHub workflow as well")
    parser.add_argument("--json", action="store_true", help="print everything as JSON, and nothing else")
    parser.add_argument("--all", action="store_true", help="print what did not change, too")
    parser.add_argument("--quiet", action="store_true", help="print the result only, in a line")


def run(options: argparse.Namespace) -> int:
    """Check, and say what is wrong in a line in which no name from a file is a command to the CI that reads it."""
    from bench.text import one_line, without_commands

    try:
        return _check(options)
    except BenchError as error:
        raise type(error)(without_commands(one_line(str(error)))) from None


def _check(options: argparse.Namespace) -> int:
    """Read both sides, judge, write every output that is asked for, and give the verdict."""
    if options.json and (options.github or options.quiet):
        extra = "--github" if options.github else "--quiet"
        raise ConfigError(f"--json prints JSON and nothing else; leave out {extra}")
    for name in ("baseline", "policy", "junit", "markdown"):
        if getattr(options, name) == "":  # a variable of the CI that is not set
            raise ConfigError(f"{name} '': a file is expected")
    path, baseline_path = run_folder(options.run), Path(options.baseline or BASELINE)
    policy_path = Path(options.policy) if options.policy else POLICY if POLICY.is_file() else None
    read = [file for side in (path, baseline_path) for file in (side, side / "results.json")]
    _check_outputs(options, [*read, *([policy_path] if policy_path else [])])
    from bench.check import policy
    from bench.check.findings import NoBaseline
    from bench.check.judge import judge
    from bench.runs import results

    limits = policy.read(policy_path) if policy_path else policy.Policy()
    if not path.exists():
        raise RunFolderError(f"{path}: there is no such run")
    try:
        candidate = results.of_path(path)
    except BaselineError as error:
        raise RunFolderError(str(error)) from None
    try:
        baseline = results.of_path(baseline_path)
    except (BaselineError, RunFolderError) as error:
        _write_outputs(options, NoBaseline(str(error)))
        raise BaselineError(str(error)) from None
    judgement = judge(baseline, candidate, limits)
    _write_outputs(options, judgement)
    if not options.json:
        print_judgement(judgement, every=options.all, brief=options.quiet)
    return judgement.exit_status


# -- for programs


def _check_outputs(options: argparse.Namespace, inputs: Sequence[Path]) -> None:
    """An output is a file, and none that is read here."""
    taken = {each.resolve(): "is read by this check" for each in inputs}
    for name, example in (("junit", "check.xml"), ("markdown", "check.md")):
        if not (text := getattr(options, name)):
            continue
        path = output(name, text, example)
        if why := taken.get(path.resolve()):
            raise ConfigError(f"{name} {text!r}: {why}; name another file, e.g. {example}")
        taken[path.resolve()] = "is the file of --junit"


def _write_outputs(options: argparse.Namespace, verdict: Verdict) -> None:
    """Write the files and print what programs read."""
    from bench.check import outputs

    if options.junit:
        with written(Path(options.junit)):
            write_text(Path(options.junit), outputs.junit(verdict))
    if options.markdown:
        path, summary = Path(options.markdown), os.environ.get("GITHUB_STEP_SUMMARY")
        with written(path):
            if summary and path.resolve() == Path(summary).resolve():  # the steps of a job share it
                used = path.stat().st_size if path.exists() else 0
                with path.open("a", encoding="utf-8", errors="backslashreplace") as file:
                    file.write(("\n" if used else "") + outputs.markdown(verdict, outputs.MAX_BYTES - used))
            else:
                write_text(path, outputs.markdown(verdict))
    if options.github:
        sys.stdout.write(outputs.github(verdict))
    if options.json:
        print(outputs.as_json(verdict))


# -- in a terminal or the log of a CI job: a table, a line a problem, and the result last

STYLES = {"fail": "red", "warn": "yellow", "info": "cyan", "skip": "dim"}


def print_judgement(
    judgement: Judgement, every: bool = False, brief: bool = False, stream: TextIO | None = None
) -> None:
    """Print a judgement.

    Args:
        judgement: The gate's verdict.
        every: Whether rows of what did not change are printed too.
        brief: Whether the result alone is printed.
        stream: Where to, standard output by default.
    """
    from bench.cli.terminal import printable, printing

    with printing(stream) as console:
        if not brief:
            console.print(_table(judgement, every))
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


def _lines(judgement: Judgement) -> Iterator[tuple[str, str]]:
    """Lines and their styles."""
    from bench.check.findings import MEANINGS, GateOutcome

    for difference in judgement.differences:
        yield f"not comparable: {difference}", "red"
    for finding in [*judgement.problems, *judgement.of(GateOutcome.INFO)]:
        yield f"{finding.cells[3]} {finding.title}: {finding.message}", STYLES[finding.outcome]
    marks = {finding.mark for finding in judgement.findings}
    if shown := [f"{mark} {meaning}" for mark, meaning in MEANINGS.items() if mark in marks]:
        yield f"marks: {'; '.join(shown)}", "dim"
    yield from ((f"note: {note}", "") for note in judgement.notes)
    if judgement.policy.path:
        yield f"policy: {judgement.policy.path}", ""
