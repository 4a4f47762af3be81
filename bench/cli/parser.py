"""The command line: reads arguments, calls the rest, prints, exits. Nothing heavy is imported before it is needed.

Exit status: 0 done, 1 a regression or a job that failed, 2 a mistake of the user, 3 results that do not compare, 4 a
run that is not complete or has a family without a result, 70 a bug, 130 Ctrl-C, 143 SIGTERM.
"""

from __future__ import annotations

import argparse
import contextlib
import difflib
import os
import sys
import textwrap
import traceback
from collections.abc import Sequence
from typing import Any, NoReturn

from bench import __version__
from bench.cli.commands import COMMANDS
from bench.errors import BenchError, ConfigError, Interrupted, unknown

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
    """Runs a command; gives the exit status."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    try:
        try:
            return _status(given)
        finally:
            sys.stdout.flush()
    except BrokenPipeError:  # the reader of a pipe has gone, e.g. `| head`
        with contextlib.suppress(OSError):  # what is left in the buffer is flushed again at the end: nowhere
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141


def _status(given: Sequence[str]) -> int:
    parser = _parser()
    try:
        options = parser.parse_args(given)
        if not hasattr(options, "command"):
            parser.print_help()
            return 2
        return int(options.command(options, given))
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
    for name, command in COMMANDS.items():
        summary = command.SUMMARY
        own = commands.add_parser(name, help=summary, description=summary, formatter_class=_Help, allow_abbrev=False)
        own.set_defaults(command=command.run)
        command.add_arguments(own)
    return parser
