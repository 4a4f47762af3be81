"""Output to a terminal, a file or the log of a CI job."""

from __future__ import annotations

import contextlib
import io
import sys
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import NoReturn, TextIO

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from bench.text import harmless, without_commands

WIDE = 240
"""Characters of a line without a terminal, enough to wrap nothing."""


class Terminal(Console):
    """A console that raises BrokenPipeError when the reader of a pipe has ended; rich would exit with 1."""

    def on_broken_pipe(self) -> NoReturn:
        raise  # the BrokenPipeError that is being handled


def printable(text: str) -> str:
    """Make text from outside `harmless`, and free of rich's markup."""
    return escape(harmless(text))


def fitting_table(columns: Sequence[str], rows: Iterable[Iterable[str]], width: int, left: Collection[str]) -> Table:
    """Make a table of the first columns that fit into the width; those named in `left` are aligned on that side."""
    cells = [[printable(cell) for cell in row] for row in rows]
    table = Table(box=None, pad_edge=False, header_style="bold")
    used = 0
    for number, column in enumerate(columns):
        used += max(len(column), *(len(row[number]) for row in cells)) + (2 if number else 0)
        if used > width:
            break
        table.add_column(column, justify="left" if column in left else "right", no_wrap=True)
    for row in cells:
        table.add_row(*row[: len(table.columns)])
    return table


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
