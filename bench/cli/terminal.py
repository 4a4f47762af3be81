"""Output to a terminal, a file or the log of a CI job."""

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
"""Characters of a line without a terminal, enough to wrap nothing."""


class Terminal(Console):
    """A console that raises BrokenPipeError when the reader of a pipe has ended; rich would exit with 1."""

    def on_broken_pipe(self) -> NoReturn:
        raise  # the BrokenPipeError that is being handled


def printable(text: str) -> str:
    """Make text safe for the terminal: no markup, no control sequences, plain spaces."""
    return escape(plain(clean(text)))


@contextlib.contextmanager
def printing(stream: TextIO | None = None) -> Iterator[Console]:
    """Yield a console for a stream, standard output by default.

    A terminal gets colours. Elsewhere lines are not wrapped, and no line can be a command to the CI that reads it.
    """
    stream = stream or sys.stdout
    terminal = Terminal(file=stream, highlight=False)
    if terminal.is_terminal:
        yield terminal
        return
    buffer = io.StringIO()
    yield Console(file=buffer, highlight=False, width=WIDE)
    stream.writelines(f"{without_commands(line.rstrip())}\n" for line in buffer.getvalue().splitlines())
