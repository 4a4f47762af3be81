"""Pages and tables from a run's records: records → plain data → figures → one HTML file."""

from __future__ import annotations

import csv
import io
from pathlib import Path

from bench.cache.files import write_text
from bench.records import LEADERBOARD_COLUMNS, Run, leaderboard_row

__all__ = ["render", "write_csv"]

_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")
"""First characters that a spreadsheet reads as a formula (OWASP, CSV Injection), full-width forms included."""


def render(run: Run, path: Path, plotlyjs: str = "") -> None:
    """Write the page of a run: one HTML file that needs no other file and no network, except as `plotlyjs` says.

    Args:
        run: The run, finished or not.
        path: The HTML file, replaced as a whole.
        plotlyjs: Location of Plotly's script, a constant of `assets`; DIRECTORY writes it beside the page. Empty means
            the setting of the run.

    Raises:
        OSError: The file cannot be written; the old one is intact.
    """
    from bench.report import assets, page

    plotlyjs = plotlyjs or run.config.plotlyjs
    if plotlyjs == assets.DIRECTORY:
        script, beside = assets.plotly_text(), path.with_name(assets.PLOTLY_FILE)
        if not beside.is_file() or beside.read_bytes() != script.encode():
            write_text(beside, script)
    write_text(path, page.html(run, plotlyjs))


def write_csv(run: Run, path: Path) -> None:
    """Write the leaderboard, best first, with `LEADERBOARD_COLUMNS`, as UTF-8 CSV (RFC 4180).

    Missing values are empty. Text that a spreadsheet would read as a formula gets a leading apostrophe.

    Raises:
        OSError: The file cannot be written; the old one is intact.
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
