"""The command line: reads arguments, calls the rest, prints, exits. Nothing heavy is imported before it is needed.

Exit status: 0 done, 1 a bug, 2 a mistake of the user, 4 a family was tried and has no result, 130 Ctrl-C, 143 SIGTERM.
"""

from __future__ import annotations

import argparse
import difflib
import json
import shlex
import sys
import textwrap
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

from bench import __version__
from bench.config import ENGINES, MISSING_WEIGHTS, PRUNERS, WEIGHTS, Budget, RunConfig, parse_duration
from bench.errors import BenchError, ConfigError, Interrupted, RunFolderError, UsageError, unknown

DEFAULTS = RunConfig()
FAMILY_FAILED = 4

DESCRIPTION = """\
Which architecture, trained how, is worth it on your pictures, and what does it cost?
Searches families of image classifiers on one common split and renders an HTML leaderboard."""

EXAMPLES = """\
examples:
  python -m bench run --budget 20
      20 trials over all families on drawn pictures; no download is needed
  python -m bench run --budget 30m --data photos/ --spaces mobilenet_v2,vgg16
      your own pictures, one sub-folder a class; half an hour; two families
  python -m bench run --engine optuna:tpe,keras-tuner:bayesian --budget 20
      two engines side by side, 20 trials each
  python -m bench list
      families, engines, data sets and the runs so far
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command; gives the exit status."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    parser = _parser()
    try:
        options = parser.parse_args(given)
        if not hasattr(options, "command"):
            parser.print_help()
            return 2
        return int(options.command(options, given))
    except UsageError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except Interrupted as error:
        print(f"interrupted: the partial run is kept, see {error.run_path / 'report.html'}", file=sys.stderr)
        return error.exit_status
    except BenchError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted: nothing was trained yet", file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader of a pipe has gone, e.g. `| head`
        sys.stderr.close()
        return 141


class _Parser(argparse.ArgumentParser):
    """Mistakes are one line with the nearest option; exit status 2."""

    def error(self, message: str) -> NoReturn:
        raise ConfigError(f"{message}{self._near(message)}. See `{self.prog} --help`")

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        if action.choices is not None and value not in action.choices:
            raise unknown("command", value, action.choices)

    def _near(self, message: str) -> str:
        wrong = message.rpartition("unrecognized arguments: ")[2].split(" ")[0].split("=")[0]
        options = [option for action in self._actions for option in action.option_strings]
        near = difflib.get_close_matches(wrong, options, n=1) if wrong.startswith("-") else []
        return f". Did you mean {near[0]}?" if near else ""


class _Help(argparse.RawDescriptionHelpFormatter):
    """Names such as keras-tuner:random stay in one piece."""

    def _split_lines(self, text: str, width: int) -> list[str]:
        return textwrap.wrap(" ".join(text.split()), width, break_on_hyphens=False)


class _Commands(argparse._SubParsersAction):  # type: ignore[type-arg]
    """Unrecognised options are reported by the command that got them, which knows the nearest of its own."""

    def __call__(self, parser: Any, namespace: Any, values: Any, option_string: str | None = None) -> None:
        self._name_parser_map[values[0]].parse_args(values[1:], namespace)


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="python -m bench",
        description=DESCRIPTION,
        epilog=EXAMPLES,
        formatter_class=_Help,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"bench {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", action=_Commands, parser_class=_Parser)
    _add_run(commands)
    _add_report(commands)
    _add_list(commands)
    return parser


def _command(commands: Any, name: str, run: Callable[[argparse.Namespace, list[str]], int], summary: str) -> Any:
    parser = commands.add_parser(
        name,
        help=summary,
        description=summary,
        formatter_class=_Help,
        allow_abbrev=False,
    )
    parser.set_defaults(command=run)
    return parser


# -- run


def _add_run(commands: Any) -> None:
    parser = _command(commands, "run", _run, "search the families and write a run folder with its report")
    add = parser.add_argument_group("what is searched").add_argument
    add(
        "--budget",
        metavar="B",
        help="trials (20), wall-clock (30m, 1.5h, 90s) or both (20,30m), for each engine; default 20",
    )
    add(
        "--spaces",
        metavar="LIST",
        help="families by name, search-space files or folders of them, comma-separated; default all",
    )
    add("--engine", metavar="LIST", help=f"who proposes; each gets the whole budget; default {DEFAULTS.engines[0]}. "
        f"Choices: {', '.join(ENGINES)}")  # fmt: skip
    add(
        "--pruner",
        metavar="P",
        help=f"stop poor trials early (Optuna engines): {', '.join(PRUNERS)}; default {DEFAULTS.pruner}",
    )
    add(
        "--repeats", metavar="K", help=f"retrain the best of each family with K other seeds; default {DEFAULTS.repeats}"
    )
    add = parser.add_argument_group("the pictures").add_argument
    add("--data", metavar="D", help="drawn (cats and dogs drawn from the seed) or a folder with a sub-folder a class, "
        "also below train/ and test/; default drawn")  # fmt: skip
    add("--images", metavar="N", help=f"how many pictures to draw; default {DEFAULTS.images}")
    add("--limit", metavar="N", help="take a stratified sample of N pictures")
    add(
        "--split",
        metavar="S",
        help=f"shares of train, validation and test; default {','.join(map(str, DEFAULTS.split))}",
    )
    add("--input-sizes", metavar="LIST", help="picture sizes in pixels to choose from; default what suits the pictures")
    add = parser.add_argument_group("a trial").add_argument
    add("--epochs", metavar="N", help=f"at most N epochs; default {DEFAULTS.epochs}")
    add(
        "--patience",
        metavar="N",
        help=f"stop after N epochs without a better validation result; default {DEFAULTS.patience}",
    )
    add("--trial-timeout", metavar="T", help="stop a trial after that time (90s, 10m); default 1h")
    add("--weights", metavar="W", help=f"what backbones start from: {', '.join(WEIGHTS)}; default {DEFAULTS.weights}")
    add("--missing-weights", metavar="M", help="where they cannot be had: random (labelled so), skip them, error; "
        f"default {DEFAULTS.missing_weights}")  # fmt: skip
    add = parser.add_argument_group("the run").add_argument
    add("--seed", metavar="S", help=f"of pictures, split, engines and training; default {DEFAULTS.seed}")
    add("--workers", metavar="N", help=f"trials at a time, each on its share of the cores; default {DEFAULTS.workers}")
    add("--out", metavar="DIR", help="the run folder; default reports/<utc time>-<data>")
    add(
        "--storage",
        metavar="URL",
        help="Optuna storage (postgresql://…, mysql+pymysql://…); default SQLite in the run folder",
    )
    add("--quiet", action="store_true", help="print the leaderboard only")
    add("--json", action="store_true", help="print the leaderboard as JSON, and nothing else, on standard output")


def read_config(options: argparse.Namespace) -> RunConfig:
    """The options that were given, over the defaults."""
    readers: dict[str, tuple[str, Callable[[str], Any]]] = {
        "budget": ("budget", Budget.parse),
        "spaces": ("spaces", _names),
        "engine": ("engines", _names),
        "pruner": ("pruner", str),
        "repeats": ("repeats", _whole("repeats")),
        "data": ("data", str),
        "images": ("images", _whole("images")),
        "limit": ("limit", _whole("limit")),
        "split": ("split", _shares),
        "input_sizes": ("input_sizes", lambda text: tuple(_whole("input-sizes")(each) for each in _names(text))),
        "epochs": ("epochs", _whole("epochs")),
        "patience": ("patience", _whole("patience")),
        "trial_timeout": ("trial_timeout_s", lambda text: parse_duration(text, "trial-timeout")),
        "weights": ("weights", str),
        "missing_weights": ("missing_weights", str),
        "seed": ("seed", _whole("seed")),
        "workers": ("workers", _whole("workers")),
        "out": ("out", str),
        "storage": ("storage", str),
    }
    given = {
        field: read(text) for option, (field, read) in readers.items() if (text := getattr(options, option)) is not None
    }
    return replace(DEFAULTS, **given)


def _names(text: str) -> tuple[str, ...]:
    names = tuple(each.strip() for each in text.split(",") if each.strip())
    if not names:
        raise ConfigError(f"{text!r}: must be names separated by commas")
    return names


def _whole(what: str) -> Callable[[str], int]:
    def read(text: str) -> int:
        try:
            return int(text)
        except ValueError:
            raise ConfigError(f"{what} {text!r}: must be a whole number") from None

    return read


def _shares(text: str) -> tuple[float, ...]:
    try:
        return tuple(float(each) for each in text.split(","))
    except ValueError:
        raise ConfigError(f"split {text!r}: must be three shares that sum to 1, e.g. 0.7,0.15,0.15") from None


def _run(options: argparse.Namespace, given: list[str]) -> int:
    config = read_config(options)
    from bench import runner
    from bench.console import ConsoleProgress, print_board
    from bench.progress import Progress

    progress = Progress() if options.quiet or options.json else ConsoleProgress()
    command = shlex.join(["python", "-m", "bench", *given])
    run = runner.run(config, progress, command)
    if options.json:
        print(_as_json(run))
    else:
        print_board(run, run.path / "report.html")
    return FAMILY_FAILED if run.failed_families() else 0


def _as_json(run: Any) -> str:
    from bench.records import leaderboard_row

    board = [leaderboard_row(trial) for trial in run.ranking()]
    result = {
        "run": str(run.path),
        "status": run.status,
        "elapsed_s": run.elapsed_s,
        "leaderboard": board,
        "failed_families": run.failed_families(),
        "notes": list(run.notes),
    }
    return json.dumps(result, indent=1)


# -- report


def _add_report(commands: Any) -> None:
    parser = _command(commands, "report", _report, "draw the page of a run again from its records; nothing is trained")
    parser.add_argument("run", metavar="RUN", help="a run folder")


def _report(options: argparse.Namespace, given: list[str]) -> int:
    from bench import report, store

    run = store.load(Path(options.run))
    page = Path(options.run) / "report.html"
    report.render(run, page)
    report.write_csv(run, page.with_name("leaderboard.csv"))
    print(page)
    return 0


# -- list


def _add_list(commands: Any) -> None:
    _command(commands, "list", _list, "families, engines, data sets and runs")


def _list(options: argparse.Namespace, given: list[str]) -> int:
    print("families (--spaces)")
    _print_families()
    print("\nengines (--engine)")
    for engine, about in ENGINES.items():
        print(f"  {engine:<22}{about}")
    print("\ndata sets (--data)")
    print("  drawn                 cats and dogs drawn from the seed, no download")
    print("  FOLDER                one sub-folder a class, also below train/ and test/")
    print(f"\nmissing weights (--missing-weights): {', '.join(MISSING_WEIGHTS)}")
    print("\nruns in reports/")
    _print_runs()
    return 0


def _print_families() -> None:
    from bench import spaces
    from bench.errors import SpaceError

    for path in spaces.known():
        try:
            print(f"  {path.stem:<22}{spaces.read(path).title}")
        except SpaceError as error:
            print(f"  {path.stem:<22}broken: {error}")


def _print_runs() -> None:
    from bench import store

    paths = store.find_runs()
    if not paths:
        print("  none yet: python -m bench run --budget 20")
    for path in paths:
        try:
            about = store.summary(path)
            print(f"  {path}  {about['status']}  {about['config']['data']}  {' '.join(about['config']['engines'])}")
        except RunFolderError as error:
            print(f"  {path}  {error}")
