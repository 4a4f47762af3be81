"""The command line: reads arguments, calls the rest, prints, exits. Nothing heavy is imported before it is needed.

Exit status: 0 done, 1 a bug, 2 a mistake of the user, 4 a family was tried and has no result, 130 Ctrl-C, 143 SIGTERM.
"""

from __future__ import annotations

import argparse
import contextlib
import difflib
import json
import shlex
import sys
import textwrap
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, NoReturn

from bench import __version__, cache
from bench.config import (
    ENGINES,
    FEATURES,
    MISSING_WEIGHTS,
    MOST_FOLDS,
    NEAR_DUPLICATES,
    PRUNERS,
    WEIGHTS,
    Budget,
    RunConfig,
    parse_duration,
)
from bench.errors import BenchError, ConfigError, Interrupted, RunFolderError, UsageError, unknown
from bench.progress import Progress
from bench.records import SplitInfo

DATA = (
    "drawn (cats and dogs drawn from the seed); cats_vs_dogs or tfds:NAME, downloaded once; a folder with a "
    "sub-folder a class, also below train/ and test/; a folder of cat.0.jpg, dog.0.jpg, …; a table of paths and labels"
)
"""What `--data` takes, in short; `bench.data.sources.KNOWN` has it a line each."""

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
  python -m bench run --only-known --data photos/
      the families' known configurations only, published recipes among them; no engine's proposals
  python -m bench data photos/
      what the pictures are, what is wrong with them, and how they would be split; nothing is trained
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
    _add_data(commands)
    _add_report(commands)
    _add_list(commands)
    _add_cache(commands)
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
        help="trials (20), wall-clock (30m, 1.5h, 90s) or both (20,30m), for each engine; "
        f"default {DEFAULTS.budget.trials}, with --only-known no limit",
    )
    add(
        "--spaces",
        metavar="LIST",
        help="families by name, search-space files or folders of them, comma-separated; default all",
    )
    add(
        "--only-known",
        action="store_true",
        default=None,
        help="run the known configurations that the families' files list, each once, and let no engine propose any",
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
    add("--data", metavar="D", help=f"{DATA}; default {DEFAULTS.data}")
    _add_pictures(add)
    add(
        "--split-file",
        metavar="FILE",
        help="use the split of an earlier run's split.json again; with --data, the pictures are taken from there",
    )
    add = parser.add_argument_group("a trial").add_argument
    add("--epochs", metavar="N", help=f"at most N epochs, in each phase of the training; default {DEFAULTS.epochs}")
    add(
        "--patience",
        metavar="N",
        help=f"stop after N epochs without a better validation result; default {DEFAULTS.patience}",
    )
    add(
        "--trial-timeout",
        metavar="T",
        help="stop a trial, all its folds together, after that time (90s, 10m); default 1h",
    )
    full, half, off = FEATURES
    add(
        "--features",
        metavar="F",
        help="what frozen layers make of a picture is computed once, and kept on disk for other trials and later runs: "
        f"{full}, {half} (half the disk), or {off} (every trial trains end to end); default {DEFAULTS.features}",
    )
    add("--weights", metavar="W", help=f"what backbones start from: {', '.join(WEIGHTS)}; default {DEFAULTS.weights}")
    add("--missing-weights", metavar="M", help="where they cannot be had: random (labelled so), skip them, error; "
        f"default {DEFAULTS.missing_weights}")  # fmt: skip
    add = parser.add_argument_group("the run").add_argument
    _add_seed(add, "pictures, split, engines and training")
    add("--workers", metavar="N", help=f"trials at a time, each on its share of the cores; default {DEFAULTS.workers}")
    add("--out", metavar="DIR", help="the run folder; default reports/<utc time>-<data>")
    add(
        "--storage",
        metavar="URL",
        help="Optuna storage (postgresql://…, mysql+pymysql://…); default SQLite in the run folder",
    )
    add("--quiet", action="store_true", help="print the leaderboard only")
    add("--json", action="store_true", help="print the leaderboard as JSON, and nothing else, on standard output")


def _add_pictures(add: Callable[..., Any]) -> None:
    """How pictures are chosen and split: the same for every command that does so."""
    add("--images", metavar="N", help=f"how many pictures to draw; default {DEFAULTS.images}")
    add("--limit", metavar="N", help="take a stratified sample of N pictures")
    add(
        "--split",
        metavar="S",
        help=f"shares of train, validation and test; default {','.join(map(str, DEFAULTS.split))}",
    )
    add(
        "--folds",
        metavar="K",
        help=f"no validation part, but K common folds (2 to {MOST_FOLDS}): every configuration is trained on each "
        "and scored by the mean",
    )
    group, ignore = NEAR_DUPLICATES
    add("--near-duplicates", metavar="HOW", help=f"pictures that show nearly the same: {group} (they stay in one part) "
        f"or {ignore}; default {DEFAULTS.near_duplicates}")  # fmt: skip
    add("--input-sizes", metavar="LIST", help="picture sizes in pixels to choose from; default what suits the pictures")


def _add_seed(add: Callable[..., Any], what: str) -> None:
    add("--seed", metavar="S", help=f"of {what}; default {DEFAULTS.seed}")


def read_config(options: argparse.Namespace) -> RunConfig:
    """The options that were given, over the defaults; a command need not have all of them."""
    readers: dict[str, tuple[str, Callable[[str], Any]]] = {
        "budget": ("budget", Budget.parse),
        "only_known": ("only_known", bool),
        "spaces": ("spaces", _names),
        "engine": ("engines", _names),
        "pruner": ("pruner", str),
        "repeats": ("repeats", _whole("repeats")),
        "data": ("data", str),
        "images": ("images", _whole("images")),
        "limit": ("limit", _whole("limit")),
        "split": ("split", _shares),
        "folds": ("folds", _whole("folds")),
        "split_file": ("split_file", str),
        "near_duplicates": ("near_duplicates", str),
        "input_sizes": ("input_sizes", lambda text: tuple(_whole("input-sizes")(each) for each in _names(text))),
        "features": ("features", str),
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
        field: read(text)
        for option, (field, read) in readers.items()
        if (text := getattr(options, option, None)) is not None
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
    from bench.console import print_board

    command = shlex.join(["python", "-m", "bench", *given])
    with _progress(silent=options.quiet or options.json) as progress:
        run = runner.run(config, progress, command)
    if options.json:
        print(_as_json(run))
    else:
        print_board(run, run.path / "report.html")
    return FAMILY_FAILED if run.failed_families() else 0


@contextlib.contextmanager
def _progress(silent: bool) -> Iterator[Progress]:
    """Tells what goes on, and leaves the terminal in order."""
    if silent:
        yield Progress()
        return
    from bench.console import ConsoleProgress

    with contextlib.closing(ConsoleProgress()) as progress:
        yield progress


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


# -- data


def _add_data(commands: Any) -> None:
    summary = "look at the pictures: what they are, what is wrong, and the split; nothing is trained"
    parser = _command(commands, "data", _data, summary)
    parser.add_argument("data", metavar="PATH-OR-NAME", nargs="?", help=DATA)
    _add_pictures(parser.add_argument)
    _add_seed(parser.add_argument, "drawn pictures and split")
    parser.add_argument("--out", metavar="FILE", help="write the split there, for `run --split-file FILE`")
    parser.add_argument("--all", action="store_true", help="list every class, and every picture that was found wanting")
    parser.add_argument("--json", action="store_true", help="print everything as JSON, and nothing else")


def _data(options: argparse.Namespace, given: list[str]) -> int:
    if not options.data:
        raise ConfigError("data: say which pictures, e.g. `python -m bench data photos/` or `… data drawn`")
    config = replace(read_config(options), out="")
    if options.out and Path(options.out).is_dir():
        raise ConfigError(f"out {options.out!r}: is a folder; a file is expected, e.g. split.json")
    from bench import data
    from bench.console import print_inventory

    with _progress(silent=options.json) as progress:
        dataset = data.open(config, progress.stage)
    if options.out:
        _write_split(dataset.write, Path(options.out))
    if options.json:
        print(_data_as_json(dataset.info(), config))
    else:
        print_inventory(dataset.info(), config, every=options.all)
        print(f"\nto search it: {_search_command(options)}")
    return 0


def _write_split(write: Callable[[Path], None], path: Path) -> None:
    try:
        write(path)
    except OSError as error:
        raise ConfigError(f"out {str(path)!r}: cannot be written: {error.strerror}") from None


def _search_command(options: argparse.Namespace) -> str:
    """The command that searches the split that was shown."""
    words = ["python", "-m", "bench", "run", "--budget", str(DEFAULTS.budget.trials)]
    if options.out:
        return shlex.join([*words, "--split-file", options.out])
    for name in ("data", "images", "limit", "split", "folds", "near_duplicates", "input_sizes", "seed"):
        if (text := getattr(options, name)) is not None:
            words += [f"--{name.replace('_', '-')}", text]
    return shlex.join(words)


def _data_as_json(split: SplitInfo, config: RunConfig) -> str:
    from bench.report.inventory import inventory
    from bench.report.text import plain

    found = inventory(split, config.to_dict())
    balance = asdict(found.balance) if found.balance else None
    told = {**asdict(split), "balance": balance, "warnings": [plain(warning) for warning in found.warnings]}
    return json.dumps(told, indent=1)


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
    from bench.data.sources import KNOWN

    print("families (--spaces)")
    _print_families()
    print("\nengines (--engine)")
    for engine, about in ENGINES.items():
        print(f"  {engine:<22}{about}")
    print("\ndata sets (--data)")
    for name, about in KNOWN.items():
        print(f"  {name:<22}{about}")
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


# -- cache

CACHE_HELP = f"""\
Shows or clears what is kept between runs:

{chr(10).join(f"  {name:<12}{kind.about}" for name, kind in cache.KINDS.items())}

Pictures and features are kept under their content, so that no run decodes a picture twice at one size, or puts it
twice through the same frozen layers. Up to BENCH_CACHE_GB gigabytes of both are kept (default 20, or half of what the
disk has where that is less); what was used longest ago goes first. BENCH_CACHE names another folder. Clearing is safe
at any time: what a run still needs is made again."""

CACHE_EXAMPLES = """\
examples:
  python -m bench cache
      what is kept, how much of the disk it takes, and when it was last used
  python -m bench cache clear
      removes what can be made again without the network
  python -m bench cache clear downloads
      removes downloaded data sets; `all` removes everything
  BENCH_CACHE=/large/disk BENCH_CACHE_GB=200 python -m bench run --data photos/
      keeps pictures elsewhere, and more of them"""


def _add_cache(commands: Any) -> None:
    parser = _command(commands, "cache", _cache, "show or clear what is kept between runs")
    parser.description, parser.epilog = CACHE_HELP, CACHE_EXAMPLES
    parser.add_argument("action", metavar="clear", nargs="?", choices=("clear",), help="remove what is kept")
    choices, default = ", ".join((*cache.KINDS, "all")), " and ".join(cache.DERIVED)
    parser.add_argument("kind", metavar="KIND", nargs="?", help=f"only that: {choices}; default {default}")


def _cache(options: argparse.Namespace, given: list[str]) -> int:
    root = cache.folder()
    if options.action == "clear":
        return _clear_cache(root, options.kind)
    print(f"folder  {root}\ncap     {cache.sized(cache.cap_bytes(root))} of {', '.join(cache.DERIVED)}\n")
    print(f"{'kind':<12}{'entries':>8}{'size':>12}  last used")
    for kind in cache.KINDS:
        entries = cache.entries(root, [kind])
        size = cache.sized(sum(entry.size_bytes for entry in entries))
        used = time.strftime("%Y-%m-%d %H:%M", time.localtime(entries[-1].used)) if entries else "never"
        print(f"{kind:<12}{len(entries):>8}{size:>12}  {used}")
    return 0


def _clear_cache(root: Path, kind: str | None) -> int:
    choices = {"all": tuple(cache.KINDS), **{name: (name,) for name in cache.KINDS}}
    if kind is not None and kind not in choices:
        raise unknown("kind of cache", kind, choices)
    gone = cache.clear(root, choices[kind] if kind else cache.DERIVED)
    print(f"freed {cache.sized(sum(entry.size_bytes for entry in gone))} in {root}")
    return 0
