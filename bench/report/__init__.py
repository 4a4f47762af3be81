"""The report of a run: records → plain data → figures → one HTML file, and the board as CSV. Nothing here trains."""

from __future__ import annotations

import csv
import io
from pathlib import Path

from bench.atomic import write_text
from bench.records import LEADERBOARD_COLUMNS, Run, leaderboard_row

__all__ = ["render", "write_csv"]

_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")
"""What a spreadsheet takes for the beginning of a formula (OWASP, CSV Injection), full-width forms included."""


def render(run: Run, path: Path) -> None:
    """Writes the page of a run: one file that needs no network and no other file.

    Args:
        run: The records; a run that goes on will do, down to one without a trial.
        path: The HTML file, replaced as a whole.

    Raises:
        OSError: It cannot be written; what was there is still there.
    """
    from bench.report import page

    write_text(path, page.html(run))


def write_csv(run: Run, path: Path) -> None:
    """Writes the leaderboard, best first, with `LEADERBOARD_COLUMNS`, as RFC 4180 has it.

    What was not measured is empty. A text that a spreadsheet would take for a formula gets a leading apostrophe.

    Args:
        run: The records.
        path: The CSV file in UTF-8, replaced as a whole.

    Raises:
        OSError: It cannot be written; what was there is still there.
    """
    lines = io.StringIO()
    writer = csv.writer(lines, lineterminator="\r\n")
    writer.writerow(LEADERBOARD_COLUMNS)
    for trial in run.ranking():
        row = leaderboard_row(trial)
        writer.writerow([_cell(row[column]) for column in LEADERBOARD_COLUMNS])
    write_text(path, lines.getvalue())


def _cell(value: object) -> object:
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA) else value
