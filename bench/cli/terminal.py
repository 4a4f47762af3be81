"""Text for a terminal, a file or the log of a CI job."""

from __future__ import annotations

import contextlib
import io
import sys
from collections.abc import Iterator
from typing import NoReturn, TextIO

from rich.console import Console
from rich.markup import escape

from bench.text import clean, plain, without_commands

WIDE = 240
"""Characters of a line where there is no terminal: nothing is folded."""


class Terminal(Console):
    """Raise BrokenPipeError for the command line where the reader of a pipe has gone; rich would exit with 1."""

    def on_broken_pipe(self) -> NoReturn:
        raise  # what is being handled


def printable(text: str) -> str:
    """Make text safe for the terminal: no markup, no control sequences, plain spaces."""
    return escape(plain(clean(text)))


@contextlib.contextmanager
def printing(stream: TextIO | None = None) -> Iterator[Console]:
    """Give a console for a stream, standard output by default.

    A terminal gets colours; elsewhere nothing is folded, and no line is a command to the CI that reads it.
    """
    stream = stream or sys.stdout
    terminal = Terminal(file=stream, highlight=False)
    if terminal.is_terminal:
        yield terminal
        return
    buffer = io.StringIO()
    yield Console(file=buffer, highlight=False, width=WIDE)
    stream.writelines(f"{without_commands(line.rstrip())}\n" for line in buffer.getvalue().splitlines())
