"""The list of the runs in a folder, `index.html`: data, status and best result of each run, with a link to its page."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

from bench import text
from bench.cache.files import write_text
from bench.records import FAIL, Leader, RunRecord, Summary
from bench.report.assets import assets
from bench.report.page import document, environment
from bench.runs import store

MARK = 'data-made-by="image-model-bench"'
"""Markup that identifies a list of runs written by the suite."""


def write(summaries: Sequence[Summary], path: Path) -> None:
    """Write the list of runs, in the order of `summaries`; their folders lie beside the page."""
    template = environment().get_template("index.html")
    body = template.render(summaries=summaries, result=result, link=link, FAIL=FAIL)
    write_text(path, document(text.plural(len(summaries), "run"), body, assets(("page", "index"), None)))


def update(run: Path) -> Path | None:
    """Rewrite the list of runs in a run's parent folder; return its path, or None if that folder has no list.

    The default folder for reports gets a list, and so does a folder in which the suite wrote one before. No other
    folder does, because `--out` may name any folder. An `index.html` that the suite did not write is left alone.
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


def link(summary: Summary) -> str:
    """The address of a run's page, relative to the list; "" without a page."""
    return f"{quote(summary.path.name)}/report.html" if (summary.path / "report.html").is_file() else ""


class Result(NamedTuple):
    """The best result of a run.

    Attributes:
        family: The leading family, labelled if it trained from random weights; "" without a result.
        accuracy: Test accuracy, or validation accuracy where the test set was not used.
        interval: The 95 % interval of the test accuracy, or "validation".
    """

    family: str
    accuracy: float | None
    interval: str


def result(record: RunRecord) -> Result:
    """The best result of a run."""
    best = record.best or Leader()
    family = text.one_line(text.with_weights(best.family, best.weights), 60)
    if best.test_accuracy is None:
        return Result(family, best.val_accuracy, "" if best.val_accuracy is None else "validation")
    low, high = best.test_accuracy_low, best.test_accuracy_high
    return Result(family, best.test_accuracy, "" if low is None or high is None else text.interval(low, high))


def line(record: RunRecord) -> str:
    """A run on one line, for the terminal."""
    family, accuracy, interval = result(record)
    best = f"{family} {text.percent(accuracy)} ({interval})" if family and accuracy is not None else "no result"
    failed = record.trials.get(FAIL, 0)
    parts = [
        record.created_utc[:16].replace("T", " "),
        record.status,
        text.one_line(record.split.source, 60),
        ", ".join(record.config.engines),
        *((best, text.plural(sum(record.trials.values()), "trial")) if record.trials else ()),
        f"{text.thousands(failed)}\u00a0failed" if failed else "",
        text.seconds(record.elapsed_s),
    ]
    return "  ".join(text.one_line(part) for part in parts if part)
