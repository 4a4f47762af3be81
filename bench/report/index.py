"""The list of all runs of a folder: what each was, how it ended, what came out; each leads to its page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import quote

from bench import text
from bench.records import FAIL, Summary
from bench.report.assets import assets
from bench.report.page import document, environment

MARK = 'data-made-by="image-model-bench"'
"""What in a page shows that the suite wrote it as a list of runs."""


@dataclass(frozen=True)
class Row:
    """A run in the list, in words.

    Attributes:
        summary: The run, and the numbers that the list is sorted by.
        href: Its page, relative to the list; "" where there is none.
        begun: When, to the minute, UTC.
        data, families, engines, took: As in `Summary`.
        best: The family that leads, with the label that its weights demand.
        accuracy: The share that it is sorted by: of the test pictures, or of the validation where those are not used.
        shown: The same in words.
        interval: Its 95 % interval, or what kind of accuracy it is.
        trials: How many there are; None where the record does not say.
        failed: How many of them failed, in words.
    """

    summary: Summary
    href: str
    begun: str
    data: str
    families: str
    engines: str
    best: str
    accuracy: float | None
    shown: str
    interval: str
    trials: int | None
    failed: str
    took: str

    @property
    def told(self) -> str:
        """The run on one line."""
        best = f"{self.best} {self.shown} ({self.interval})" if self.best and self.accuracy is not None else "no result"
        trials = "" if self.trials is None else text.plural(self.trials, "trial")
        known = best if self.trials is not None else ""  # of an older record nothing is known of either
        parts = (self.begun, self.summary.status, self.data, self.engines, known, trials, self.failed, self.took)
        return "  ".join(text.one_line(part) for part in parts if part)


def html(summaries: Sequence[Summary]) -> str:
    """The list as a page."""
    rows = [row(summary) for summary in summaries]
    readable = [each for each in rows if not each.summary.problem]
    unreadable = [each for each in rows if each.summary.problem]
    body = environment().get_template("index.html").render(rows=readable, unreadable=unreadable)
    return document(text.plural(len(rows), "run"), body, assets(("page", "index"), None))


def row(summary: Summary) -> Row:
    """A run as the list shows it."""
    test, validation = summary.test_accuracy, summary.val_accuracy
    low, high = summary.test_accuracy_low, summary.test_accuracy_high
    accuracy, interval = (validation, "validation") if test is None else (test, "")
    if test is not None and low is not None and high is not None:
        interval = text.interval(low, high)
    failed = summary.trials.get(FAIL, 0)
    return Row(
        summary,
        href=f"{quote(summary.path.name)}/report.html" if (summary.path / "report.html").is_file() else "",
        begun=summary.created_utc[:16].replace("T", " "),
        data=text.shorten(text.one_line(summary.data), 60),
        families=text.listing([text.shorten(text.one_line(name), 40) for name in summary.families], 3),
        engines=", ".join(summary.engines),
        best=text.shorten(text.one_line(text.with_weights(summary.best, summary.weights)), 60),
        accuracy=accuracy,
        shown=text.percent(accuracy),
        interval=interval if accuracy is not None else "",
        trials=sum(summary.trials.values()) if summary.trials else None,
        failed=f"{text.thousands(failed)}\u00a0failed" if failed else "",
        took=text.seconds(summary.elapsed_s),
    )
