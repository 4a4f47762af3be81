"""The command line: finds the command, runs it and returns the exit status. Heavy packages are imported when needed.

Exit statuses: 0 done, 1 a regression, a finding or a failed job, 2 a user's mistake, 3 results that are not comparable,
4 a run that is incomplete or has a family without a result, 70 a bug, 129 SIGHUP, 130 Ctrl-C, 143 SIGTERM.
"""

from __future__ import annotations

import argparse
import contextlib
import difflib
import io
import os
import shlex
import signal
import sys
import textwrap
import threading
import traceback
from collections.abc import Iterator, Mapping, Sequence
from types import FrameType
from typing import NoReturn, Protocol

from bench import __version__
from bench.cli import baseline, cache, check, compare, data, export, history, lint, list, plan, report, resume, run
from bench.errors import BenchError, ConfigError, Interrupted, unknown
from bench.text import harmless, one_line


class Command(Protocol):
    """A command's module.

    Attributes:
        SUMMARY: Its line in `--help`.
    """

    SUMMARY: str

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Declare the command's arguments."""

    def run(self, options: argparse.Namespace) -> int:
        """Run the command and return the exit status; `options.argv` has the arguments as typed."""


COMMANDS: Mapping[str, Command] = {
    "run": run,
    "resume": resume,
    "plan": plan,
    "lint": lint,
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
"""Exit status of a bug: EX_SOFTWARE of sysexits.h."""

DESCRIPTION = """\
Finds the image classifier, and the way to train it, that is worth its cost on your pictures.
Searches architecture families on one common split and writes an HTML leaderboard."""

EXAMPLES = """\
examples:
  python -m bench run --budget 20
      20 trials over all families on generated pictures
  python -m bench run --budget 30m --data photos/ --spaces mobilenet_v2,vgg16
      your own pictures, one sub-folder per class; half an hour; two families
  python -m bench run --engine optuna:tpe,keras-tuner:bayesian --budget 20
      two engines side by side, 20 trials each
  python -m bench run --data photos/ --budget 200 --until-settled --max-parameters 5M --max-latency-ms 20
      only models that you can ship; ends when another trial would gain less than the noise of the validation pictures
  python -m bench run --only-known --data photos/
      only the families' known configurations, such as published recipes; no proposals of an engine
  python -m bench resume reports/one
      continue a run that was killed or interrupted; with --budget, one that is complete, up to a larger total
  python -m bench plan --budget 30m --data photos/
      what this run would cost: seconds per family, the number of trials; nothing is trained
  python -m bench compare reports/one reports/other
      two runs side by side: the change of every family, and the differences in settings
  python -m bench check reports/one
      the regression gate: fails if a family is worse than in reports/baseline.json by more than noise
  python -m bench export reports/one cnn
      the best model of a family as a file, e.g. for keras.saving.load_model
  python -m bench lint mine.py
      a family's smallest and largest model, and what is wrong with its file; nothing is trained
  python -m bench data photos/
      classes and problems of the pictures, and their split; nothing is trained
  python -m bench list
      families, engines, data sets and the runs so far
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; return the exit status."""
    argv = sys.argv[1:] if arguments is None else arguments
    if isinstance(sys.stdout, io.TextIOWrapper):  # escape characters that it cannot encode, as on standard error
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        with _signals_as_exit():
            try:
                return _status(argv)
            finally:
                sys.stdout.flush()
    except BrokenPipeError:  # the reader of a pipe has ended, e.g. `| head`
        with contextlib.suppress(OSError):  # discard the rest of the buffer, which Python flushes at exit
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141


@contextlib.contextmanager
def _signals_as_exit() -> Iterator[None]:
    """Turn SIGTERM and SIGHUP into SystemExit, so that a command closes and removes what it has opened, as Ctrl-C does.

    A signal that is ignored, as SIGHUP is under `nohup`, stays so.
    """

    def leave(number: int, frame: FrameType | None) -> NoReturn:
        raise SystemExit(128 + number)

    if threading.current_thread() is not threading.main_thread():  # Python handles signals only there
        yield
        return
    ends = (signal.SIGTERM, *([signal.SIGHUP] if hasattr(signal, "SIGHUP") else []))
    before = {end: signal.signal(end, leave) for end in ends if signal.getsignal(end) != signal.SIG_IGN}
    try:
        yield
    finally:
        for end, handler in before.items():
            signal.signal(end, handler)


def _status(argv: Sequence[str]) -> int:
    try:
        options = _parsed(argv)
        return int(options.command(options))
    except Interrupted as error:
        command = shlex.join(["python", "-m", "bench", "resume", str(error.run_path)])
        page = error.run_path / "report.html"
        print(f"interrupted: the partial run is kept, see {page}\ncontinue it: {command}", file=sys.stderr)
        return error.exit_status
    except BenchError as error:
        print(f"error: {harmless(one_line(str(error)))}", file=sys.stderr)
        return error.exit_status
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        raise
    except Exception:  # a bug
        traceback.print_exc()
        return BUG


def _parsed(argv: Sequence[str]) -> argparse.Namespace:
    """Parse the arguments; `command` of the result is the function that runs the command.

    Raises:
        ConfigError: There is no such command, or it has no such arguments.
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
    """A parser that raises ConfigError, with one line, for every mistake."""

    def error(self, message: str) -> NoReturn:
        raise ConfigError(f"{message}. See `{self.prog} --help`")

    def refuse(self, arguments: Sequence[str]) -> NoReturn:
        """Raise ConfigError for unknown arguments, suggesting the nearest option."""
        known = [option for action in self._actions for option in action.option_strings]
        first = arguments[0].partition("=")[0]
        near = difflib.get_close_matches(first, known, n=1) if first.startswith("-") else []
        hint = f" Did you mean {near[0]}?" if near else ""
        raise ConfigError(f"unrecognized arguments: {' '.join(arguments)}.{hint} See `{self.prog} --help`")


class _Help(argparse.RawDescriptionHelpFormatter):
    """A formatter that does not break names such as keras-tuner:random."""

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
