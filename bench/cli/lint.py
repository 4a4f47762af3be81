"""`bench lint`: build the corners of a search space and say what is wrong with it."""

from __future__ import annotations

import argparse
import contextlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from bench.cli.options import read_whole
from bench.config import SETTINGS, RunConfig
from bench.search.spaces import SearchSpace
from bench.text import NOTHING, count, megabytes, one_line, parameters, plural
from bench.training.messages import LintFinding, LintJob, LintKind, LintResult

if TYPE_CHECKING:  # heavy
    from rich.table import Table

    from bench.workers import Outcome

SUMMARY = "a search space's smallest and largest model, and what is wrong with its file; nothing is searched"

HELP = """\
Builds a family with its default values, with other values of every hyperparameter, and with the values that make the
smallest and the largest model. Trains the default model for one step, saves it and loads it again."""

STATUSES = """\
exit status: 0 nothing found; 1 something found; 2 a file that cannot be used, or a mistake in the command"""

INPUT_SIZES = "96,128,160,192,224"
"""As for photographs, see `data.PHOTO_SIZES`."""

CLASSES = 2

MAX_CLASSES = 100_000

TIMEOUT_S = 300.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description, parser.epilog = HELP, STATUSES
    add = parser.add_argument
    add("spaces", metavar="FILE", nargs="+", help="a search-space file, a folder of them, or the name of a family")
    add("--classes", metavar="N", default=str(CLASSES), help="number of classes; default %(default)s")
    add("--input-sizes", metavar="LIST", default=INPUT_SIZES, help="picture sizes in pixels; default %(default)s")
    add("--json", action="store_true", help="print only JSON")


def run(options: argparse.Namespace) -> int:
    """Check the files; return 1 if something was found, 2 if a family cannot be built."""
    classes = read_whole("classes", options.classes, 2, MAX_CLASSES)
    sizes = SETTINGS["input_sizes"].read(options.input_sizes)
    from bench import workers
    from bench.cli.console import progress_on_stderr
    from bench.search import spaces
    from bench.search.families import run_all

    chosen = spaces.select(options.spaces)
    jobs = [
        LintJob(
            id=space.name,
            timeout_s=TIMEOUT_S,
            path=str(space.path),
            class_names=tuple(f"class {number}" for number in range(classes)),
            input_sizes=sizes,
            weights="random",
            seed=RunConfig().seed,
        )
        for space in chosen
    ]
    with progress_on_stderr(silent=options.json) as progress, contextlib.closing(workers.start(RunConfig())) as pool:
        outcomes = run_all(pool, jobs, progress, "building the corners")
    results = [_result(space, outcome) for space, outcome in zip(chosen, outcomes, strict=True)]
    if options.json:
        print(_as_json(chosen, results))
    else:
        print_results(chosen, results)
    findings = [finding for result in results for finding in result.findings]
    return 2 if any(finding.kind is LintKind.BROKEN for finding in findings) else 1 if findings else 0


def _result(space: SearchSpace, outcome: Outcome) -> LintResult:
    if isinstance(outcome.result, LintResult):
        return outcome.result
    failure = outcome.failure
    assert failure is not None
    message = f"cannot be checked: {failure.name}: {failure.message}"
    return LintResult(findings=(LintFinding(LintKind.BROKEN, message, str(space.path), 1),))


def _as_json(chosen: Sequence[SearchSpace], results: Sequence[LintResult]) -> str:
    content = [
        {"family": space.name, "path": str(space.path), **asdict(result)}
        for space, result in zip(chosen, results, strict=True)
    ]
    return json.dumps(content, indent=1)


def print_results(chosen: Sequence[SearchSpace], results: Sequence[LintResult], stream: TextIO | None = None) -> None:
    """Print for each family its corners and findings, and the number of findings last."""
    from bench.cli.terminal import printable, printing

    with printing(stream) as console:
        for space, result in zip(chosen, results, strict=True):
            console.print(printable(f"{space.name}: {one_line(space.title)}" if space.title else space.name))
            if result.corners:
                console.print(_table(result))
            for line in _lines(result):
                console.print(printable(line), soft_wrap=True)
            console.print()
        found = sum(len(result.findings) for result in results)
        console.print(printable(f"{plural(found, 'finding') if found else 'nothing found'} in {_files(chosen)}"))


def _files(chosen: Sequence[SearchSpace]) -> str:
    return _shown(chosen[0].path) if len(chosen) == 1 else plural(len(chosen), "family", "families")


def _table(result: LintResult) -> Table:
    from rich.table import Table

    from bench.cli.terminal import printable

    table = Table(box=None, header_style="bold")
    table.add_column("")
    for name in ("parameters", "trainable", "MACs", "size"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("values other than the defaults", overflow="fold")
    for corner in result.corners:
        sizes = [count(corner.parameters), count(corner.trainable_parameters), count(corner.macs)]
        values = NOTHING if corner.name == "default" else parameters(corner.different) or "the defaults"
        table.add_row(*map(printable, (corner.name, *sizes, megabytes(corner.model_size_mb), values)))
    return table


def _lines(result: LintResult) -> Iterator[str]:
    for finding in result.findings:
        yield f"{_shown(Path(finding.path))}:{finding.line}: {one_line(finding.message)}"
    for note in result.notes:
        yield f"note: {one_line(note)}"


def _shown(path: Path) -> str:
    folder = Path.cwd()
    return one_line(str(path.relative_to(folder) if path.is_relative_to(folder) else path))
