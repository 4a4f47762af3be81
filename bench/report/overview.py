"""The list of runs beside them, `reports/index.html`: where there is one, and when it is written again."""

from __future__ import annotations

from pathlib import Path

from bench import report
from bench.runs import store


def write(run: Path) -> Path | None:
    """Writes the list of all runs that lie beside a run, and gives its path.

    There is one in the default folder for reports, and wherever this suite wrote one before. Nowhere else is one made:
    `--out` may name any folder. A file of that name that somebody else wrote is left alone.

    Raises:
        OSError: It cannot be written; what was there is still there.
    """
    folder = run.absolute().parent
    page = folder / "index.html"
    if not (report.is_index(page) if page.exists() else folder.resolve() == store.REPORTS.resolve()):
        return None
    report.write_index(store.summaries(folder), page)
    return page
