"""The report of a run: records → plain data → figures → one HTML file, and the board as CSV. Nothing here trains."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path

from bench.cache.files import write_text
from bench.records import LEADERBOARD_COLUMNS, Run, Summary, leaderboard_row

__all__ = ["is_index", "render", "write_csv", "write_index"]

_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")
"""What a spreadsheet takes for the beginning of a formula (OWASP, CSV Injection), full-width forms included."""


def render(run: Run, path: Path, plotlyjs: str = "") -> None:
    """Writes the page of a run: one file that needs no network and no other file, unless `plotlyjs` says otherwise.

    Args:
        run: The records; a run that goes on will do, down to one without a trial.
        path: The HTML file, replaced as a whole.
        plotlyjs: Where it has Plotly from, a constant of `assets`; with DIRECTORY it is written beside the page, once.
            Empty is what the run was told, INLINE where that is not recorded.

    Raises:
        OSError: It cannot be written; what was there is still there.
    """
    from bench.report import assets, page

    plotlyjs = plotlyjs or run.config.plotlyjs
    if plotlyjs == assets.DIRECTORY:
        _write_plotly(path.with_name(assets.PLOTLY_FILE))
    write_text(path, page.html(run, plotlyjs))


def _write_plotly(path: Path) -> None:
    from bench.report import assets

    script = assets.plotly_text()
    if not path.is_file() or path.read_bytes() != script.encode():
        write_text(path, script)


def write_index(summaries: Sequence[Summary], path: Path) -> None:
    """Writes the list of runs, one page without a script from elsewhere, in the order given.

    Args:
        summaries: The runs; their folders lie beside the page.
        path: The HTML file, replaced as a whole.

    Raises:
        OSError: It cannot be written; what was there is still there.
    """
    from bench.report import index

    write_text(path, index.html(summaries))


def is_index(path: Path) -> bool:
    """Whether a file is a list of runs that `write_index` wrote."""
    from bench.report import index

    try:
        return index.MARK in path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False


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
