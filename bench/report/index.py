"""The list of the runs in a folder, `index.html`: data, status and best result of each run, with a link to its page."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

from bench import text
from bench.cache.files import write_text
from bench.metrics import metric
from bench.metrics._metric import Metric
from bench.records import FAIL, Leader, RunRecord, Summary
from bench.report.assets import assets
from bench.report.page import document, environment
from bench.runs import store

MARK = 'data-made-by="image-model-bench"'
"""Markup that identifies a list of runs written by the suite."""


def write(summaries: Sequence[Summary], path: Path) -> None:
    """Write the list of runs, in the order of `summaries`; their folders lie beside the page."""
    template = environment().get_template("index.html")
    accuracies = all(result(summary.record).metric.name == "accuracy" for summary in summaries if summary.record)
    body = template.render(summaries=summaries, accuracies=accuracies, result=result, link=link, FAIL=FAIL)
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
        metric: The run's metric.
        value: Its test result, or its validation result where the test set was not used.
        interval: The 95 % interval of the test result, or "validation".
    """

    family: str
    metric: Metric
    value: float | None
    interval: str

    @property
    def shown(self) -> str:
        """The value with the name of a metric other than accuracy."""
        name = "" if self.metric.name == "accuracy" else f"{text.metric_name(self.metric)} "
        return f"{name}{text.figure(self.value, self.metric)}"


def result(record: RunRecord) -> Result:
    """The best result of a run."""
    best = record.best or Leader()
    family, by = text.one_line(text.with_weights(best.family, best.weights), 60), metric(best.metric)
    if best.test_value is None:
        return Result(family, by, best.val_value, "" if best.val_value is None else "validation")
    low, high = best.test_low, best.test_high
    return Result(family, by, best.test_value, "" if low is None or high is None else text.figures(low, high, by))


def line(record: RunRecord) -> str:
    """A run on one line, for the terminal."""
    leading = result(record)
    best = (
        f"{leading.family} {leading.shown} ({leading.interval})"
        if leading.family and leading.value is not None
        else "no result"
    )
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
