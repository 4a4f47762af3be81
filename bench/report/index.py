"""The list of the runs in a folder, `index.html`: data, status and best result of each run, with a link to its page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from bench import text
from bench.cache.files import write_text
from bench.records import FAIL, Leader, Summary
from bench.report.assets import assets
from bench.report.page import document, environment
from bench.runs import store

MARK = 'data-made-by="image-model-bench"'
"""Markup by which a list of runs that the suite wrote is recognised."""


@dataclass(frozen=True)
class IndexRow:
    """A run in the list, in words; fields that are named as in `RunRecord` mean the same.

    Attributes:
        href: The run's page, relative to the list; "" where there is none.
        begun: Start to the minute, UTC.
        best: The leading family, with the label that its weights demand.
        accuracy: The number to sort by: test accuracy, or validation accuracy where the test set was not used.
        shown: `accuracy` in words.
        interval: The 95 % interval of the test accuracy, or "validation".
        trials: Number of trials; None where the record has no counts.
        failed: Number of failed trials, in words.
    """

    summary: Summary
    href: str = ""
    begun: str = ""
    status: str = ""
    data: str = ""
    families: str = ""
    engines: str = ""
    best: str = ""
    accuracy: float | None = None
    shown: str = ""
    interval: str = ""
    trials: int | None = None
    failed: str = ""
    took: str = ""

    @property
    def line(self) -> str:
        """The run on one line, for the terminal."""
        best = f"{self.best} {self.shown} ({self.interval})" if self.best and self.accuracy is not None else "no result"
        counts = (best, text.plural(self.trials, "trial")) if self.trials is not None else ()
        parts = (self.begun, self.status, self.data, self.engines, *counts, self.failed, self.took)
        return "  ".join(text.one_line(part) for part in parts if part)


def write(summaries: Sequence[Summary], path: Path) -> None:
    """Write the list of runs, in the order of `summaries`; their folders lie beside the page.

    Raises:
        OSError: The file cannot be written; the old one is intact.
    """
    rows = [row(summary) for summary in summaries]
    template = environment().get_template("index.html")
    body = template.render(
        rows=[each for each in rows if not each.summary.problem],
        unreadable=[each for each in rows if each.summary.problem],
    )
    write_text(path, document(text.plural(len(rows), "run"), body, assets(("page", "index"), None)))


def update(run: Path) -> Path | None:
    """Write the list of the runs beside a run again and return its path; None where there is to be no list.

    The default folder for reports has one, and so has every folder in which the suite wrote one before. `--out` may
    name any folder, so no list is begun elsewhere. An `index.html` from elsewhere is left alone.

    Raises:
        OSError: The file cannot be written; the old one is intact.
    """
    folder = run.absolute().parent
    page = folder / "index.html"
    if not (_is_index(page) if page.exists() else folder.resolve() == store.REPORTS.resolve()):
        return None
    write(store.summaries(folder), page)
    return page


def _is_index(path: Path) -> bool:
    try:
        return MARK in path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False


def row(summary: Summary) -> IndexRow:
    """A run as the list shows it."""
    record = summary.record
    href = f"{quote(summary.path.name)}/report.html" if (summary.path / "report.html").is_file() else ""
    if record is None:
        return IndexRow(summary, href)
    best, failed = record.best or Leader(), record.trials.get(FAIL, 0)
    test, low, high = best.test_accuracy, best.test_accuracy_low, best.test_accuracy_high
    accuracy, interval = (best.val_accuracy, "validation") if test is None else (test, "")
    if test is not None and low is not None and high is not None:
        interval = text.interval(low, high)
    return IndexRow(
        summary=summary,
        href=href,
        begun=record.created_utc[:16].replace("T", " "),
        status=record.status,
        data=text.one_line(record.split.source, 60),
        families=text.listing([text.one_line(family.name, 40) for family in record.families], 3),
        engines=", ".join(record.config.engines),
        best=text.one_line(text.with_weights(best.family, best.weights), 60),
        accuracy=accuracy,
        shown=text.percent(accuracy),
        interval=interval if accuracy is not None else "",
        trials=sum(record.trials.values()) if record.trials else None,
        failed=f"{text.thousands(failed)}\u00a0failed" if failed else "",
        took=text.seconds(record.elapsed_s),
    )
