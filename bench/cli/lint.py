"""`bench lint`: build the corners of a search space and say what is wrong with it."""

from __future__ import annotations

import argparse
import contextlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from bench.cli.options import read_whole
from bench.config import SETTINGS, RunConfig
from bench.records import FamilyInfo, Forecast, SplitInfo
from bench.search.spaces import SearchSpace
from bench.text import NOTHING, count, megabytes, one_line, parameters, plural, seconds
from bench.training.messages import Corner, LintFinding, LintJob, LintKind, LintResult

if TYPE_CHECKING:  # heavy
    from rich.table import Table

    from bench.workers import Outcome

SUMMARY = "a search space's smallest and largest model, and what is wrong with its file; nothing is searched"

HELP = """\
Builds a family with its default values, with other values of every hyperparameter, and with the values that make the
smallest and the largest model. Trains the default model for two steps, saves it and loads it again."""

STATUSES = """\
exit status: 0 nothing found; 1 something found; 2 a file that cannot be used, or a mistake in the command"""

INPUT_SIZES = "96,128,160,192,224"
"""As for photographs, see `data.PHOTO_SIZES`."""

CLASSES = 2

MAX_CLASSES = 100_000

IMAGES = 2000

MAX_IMAGES = 10**9

TIMEOUT_S = 300.0

SHOWN_VALUES = 12
"""Maximum number of values listed for a corner; `--json` has all."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description, parser.epilog = HELP, STATUSES
    add = parser.add_argument
    add("spaces", metavar="FILE", nargs="+", help="a search-space file, a folder of them, or the name of a family")
    add("--classes", metavar="N", default=str(CLASSES), help="number of classes; default %(default)s")
    add("--input-sizes", metavar="LIST", default=INPUT_SIZES, help="picture sizes in pixels; default %(default)s")
    add("--images", metavar="N", default=str(IMAGES), help="number of pictures in the forecast; default %(default)s")
    add("--unbalanced", action="store_true", help="for unbalanced classes, as task.unbalanced tells a family")
    add("--json", action="store_true", help="print only JSON")


def run(options: argparse.Namespace) -> int:
    """Check the files; return 1 if something was found, 2 if a family cannot be built."""
    classes = read_whole("classes", options.classes, 2, MAX_CLASSES)
    images = read_whole("images", options.images, 12, MAX_IMAGES)
    config = RunConfig(input_sizes=SETTINGS["input_sizes"].read(options.input_sizes))
    from bench import cache, workers
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
            input_sizes=config.input_sizes,
            weights="random",
            seed=config.seed,
            unbalanced=options.unbalanced,
            cache=str(cache.folder()),
            features=config.features,
            epochs=config.epochs,
        )
        for space in chosen
    ]
    with progress_on_stderr(silent=options.json) as progress, contextlib.closing(workers.start(config)) as pool:
        outcomes = run_all(pool, jobs, progress, "building the corners")
    results = [_result(space, outcome) for space, outcome in zip(chosen, outcomes, strict=True)]
    forecasts = [_forecasts(space, result, config, images) for space, result in zip(chosen, results, strict=True)]
    if options.json:
        print(_as_json(chosen, results, forecasts))
    else:
        print_results(chosen, results, forecasts, images)
    findings = [finding for result in results for finding in result.findings]
    return 2 if any(finding.kind is LintKind.BROKEN for finding in findings) else 1 if findings else 0


def _result(space: SearchSpace, outcome: Outcome) -> LintResult:
    if isinstance(outcome.result, LintResult):
        return outcome.result
    failure = outcome.failure
    assert failure is not None
    message = f"cannot be checked: {failure.name}: {failure.message}"
    return LintResult(findings=(LintFinding(LintKind.BROKEN, message, str(space.path), 1),))


def _forecasts(space: SearchSpace, result: LintResult, config: RunConfig, images: int) -> list[Forecast | None]:
    """Forecast a trial of each corner on this number of pictures."""
    from bench import cache
    from bench.search.families import Family
    from bench.search.forecast import Forecaster
    from bench.search.spaces import content_sha256

    if not result.corners:
        return []
    train, validation, _ = (round(share * images) for share in config.split)
    split = SplitInfo("", (), {"train": {"": train}, "validation": {"": validation}}, sha256="")
    info = FamilyInfo(space.name, sha256=content_sha256(space.path))
    family = Family(info, space.path, (), (), {}, config.input_sizes, speed=result.speed)
    forecaster = Forecaster(config, split, [family], cache.folder())
    return [forecaster.forecast(space.name, corner.work) for corner in result.corners]


Forecasts = Sequence[Sequence[Forecast | None]]
"""For each family, the forecasts of its corners."""


def _as_json(chosen: Sequence[SearchSpace], results: Sequence[LintResult], forecasts: Forecasts) -> str:
    content = [
        {
            "family": space.name,
            "path": str(space.path),
            **asdict(result),
            "forecasts": [forecast and asdict(forecast) for forecast in family_forecasts],
        }
        for space, result, family_forecasts in zip(chosen, results, forecasts, strict=True)
    ]
    return json.dumps(content, indent=1)


def print_results(
    chosen: Sequence[SearchSpace],
    results: Sequence[LintResult],
    forecasts: Forecasts,
    images: int,
    stream: TextIO | None = None,
) -> None:
    """Print for each family its corners and findings, and the number of findings last."""
    from bench.cli.terminal import printable, printing

    with printing(stream) as console:
        for space, result, family_forecasts in zip(chosen, results, forecasts, strict=True):
            console.print(printable(f"{space.name}: {one_line(space.title)}" if space.title else space.name))
            if result.corners:
                console.print(_table(result, family_forecasts))
            for line in _lines(result):
                console.print(printable(line), soft_wrap=True)
            console.print()
        if any(forecasts):
            console.print(printable(f"time and memory: forecast of a trial on {plural(images, 'picture')}"))
        total = sum(len(result.findings) for result in results)
        console.print(printable(f"{plural(total, 'finding') if total else 'nothing found'} in {_files(chosen)}"))


def _files(chosen: Sequence[SearchSpace]) -> str:
    return _shown(chosen[0].path) if len(chosen) == 1 else plural(len(chosen), "family", "families")


def _table(result: LintResult, forecasts: Sequence[Forecast | None]) -> Table:
    from rich.table import Table

    from bench.cli.terminal import printable

    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("")
    for name in ("parameters", "trainable", "MACs", "size", "time", "memory"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("values other than the defaults", overflow="fold")
    for corner, forecast in zip(result.corners, forecasts, strict=True):
        work = corner.work
        sizes = [count(work.parameters), count(work.trainable_parameters), count(work.macs)]
        costs = [f"about {seconds(forecast.cold_s)}", megabytes(forecast.memory_mb)] if forecast else [NOTHING] * 2
        values = NOTHING if corner.name == "default" else _values(corner) or "the defaults"
        table.add_row(*map(printable, (corner.name, *sizes, megabytes(work.model_size_mb), *costs, values)))
    return table


def _values(corner: Corner) -> str:
    hidden = len(corner.different) - SHOWN_VALUES
    shown = parameters(dict(islice(corner.different.items(), SHOWN_VALUES)))
    return f"{shown} and {hidden} more" if hidden > 0 else shown


def _lines(result: LintResult) -> Iterator[str]:
    for finding in result.findings:
        yield f"{_shown(Path(finding.path))}:{finding.line}: {one_line(finding.message)}"
    for note in result.notes:
        yield f"note: {one_line(note)}"


def _shown(path: Path) -> str:
    folder = Path.cwd()
    return one_line(str(path.relative_to(folder) if path.is_relative_to(folder) else path))
