"""The command line: reads arguments, calls the rest, prints, exits. Nothing heavy is imported before it is needed.

Exit status: 0 done, 1 a regression or a job that failed, 2 a mistake of the user, 3 results that do not compare, 4 a
run that is not complete or has a family without a result, 70 a bug, 130 Ctrl-C, 143 SIGTERM.
"""

from __future__ import annotations

import argparse
import contextlib
import difflib
import io
import os
import sys
import textwrap
import traceback
from collections.abc import Mapping, Sequence
from typing import NoReturn, Protocol

from bench import __version__
from bench.cli import baseline, cache, check, compare, data, export, history, list, report, run
from bench.errors import BenchError, ConfigError, Interrupted, unknown


class Command(Protocol):
    """A command's module.

    Attributes:
        SUMMARY: Its line in `--help`.
    """

    SUMMARY: str

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Declare its arguments."""

    def run(self, options: argparse.Namespace) -> int:
        """Run it and return the exit status; `options.argv` has the arguments as they were typed."""


COMMANDS: Mapping[str, Command] = {
    "run": run,
    "data": data,
    "report": report,
    "compare": compare,
    "baseline": baseline,
    "check": check,
    "export": export,
    "history": history,
    "list": list,
    "cache": cache,
}
"""Every command, in the order of `--help`."""

BUG = 70
"""The exit status of a bug, EX_SOFTWARE of sysexits.h."""

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
  python -m bench compare reports/one reports/other
      two runs side by side: what was different, and what became of every family
  python -m bench check reports/one
      the regression gate: fails where a family got worse than reports/baseline.json by more than noise
  python -m bench export reports/one cnn
      the best model of a family as a file, e.g. for keras.saving.load_model
  python -m bench data photos/
      what the pictures are, what is wrong with them, and how they would be split; nothing is trained
  python -m bench list
      families, engines, data sets and the runs so far
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; return the exit status."""
    argv = sys.argv[1:] if arguments is None else arguments
    if isinstance(sys.stdout, io.TextIOWrapper):  # what it cannot encode is escaped, as on standard error
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        try:
            return _status(argv)
        finally:
            sys.stdout.flush()
    except BrokenPipeError:  # the reader of a pipe has gone, e.g. `| head`
        with contextlib.suppress(OSError):  # what is left in the buffer is flushed again at the end: nowhere
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141


def _status(argv: Sequence[str]) -> int:
    try:
        options = _parsed(argv)
        return int(options.command(options))
    except Interrupted as error:
        print(f"interrupted: the partial run is kept, see {error.run_path / 'report.html'}", file=sys.stderr)
        return error.exit_status
    except BenchError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_status
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        raise
    except Exception:  # a bug: not to be taken for one of the statuses that mean something
        traceback.print_exc()
        return BUG


def _parsed(argv: Sequence[str]) -> argparse.Namespace:
    """Read the arguments; the result has the function that runs the command as `command`.

    Raises:
        ConfigError: There is no such command, or it does not take such arguments.
    """
    word = next((word for word in argv if not word.startswith("-")), None)
    if word is not None and word not in COMMANDS:
        raise unknown("command", word, COMMANDS)
    options, unrecognized = _parser().parse_known_args(argv)
    if unrecognized:
        options.parser.refuse(unrecognized)
    options.argv = argv
    return options


class _Parser(argparse.ArgumentParser):
    """Make every mistake a ConfigError of one line."""

    def error(self, message: str) -> NoReturn:
        raise ConfigError(f"{message}. See `{self.prog} --help`")

    def refuse(self, arguments: Sequence[str]) -> NoReturn:
        """Raise ConfigError for arguments that the command does not know, with the nearest option."""
        known = [option for action in self._actions for option in action.option_strings]
        first = arguments[0].partition("=")[0]
        near = difflib.get_close_matches(first, known, n=1) if first.startswith("-") else []
        hint = f" Did you mean {near[0]}?" if near else ""
        raise ConfigError(f"unrecognized arguments: {' '.join(arguments)}.{hint} See `{self.prog} --help`")


class _Help(argparse.RawDescriptionHelpFormatter):
    """Keep names such as keras-tuner:random in one piece."""

    def _split_lines(self, text: str, width: int) -> Sequence[str]:  # type: ignore[override]
        return textwrap.wrap(" ".join(text.split()), width, break_on_hyphens=False)


def _show_help(options: argparse.Namespace) -> int:
    options.parser.print_help()
    return 2


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="python -m bench",
        description=DESCRIPTION,
        epilog=EXAMPLES,
        formatter_class=_Help,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"bench {__version__}")
    parser.set_defaults(parser=parser, command=_show_help)
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", parser_class=_Parser)
    for name, command in COMMANDS.items():
        subparser = commands.add_parser(name, help=command.SUMMARY, formatter_class=_Help, allow_abbrev=False)
        subparser.description = command.SUMMARY
        subparser.set_defaults(parser=subparser, command=command.run)
        command.add_arguments(subparser)
    return parser
