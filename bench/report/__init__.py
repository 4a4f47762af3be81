"""Pages and tables from a run's records: records → plain data → figures → one HTML file."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench import text
from bench.cache.files import write_text
from bench.metrics import metric
from bench.records import Run, Trial, leaderboard_row

if TYPE_CHECKING:  # it loads NumPy
    from bench.metrics._metric import Metric

__all__ = ["markdown", "ranked_rows", "render", "write_csv"]

_COSTS = ("latency", "parameters", "training")

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


def ranked_rows(run: Run) -> list[dict[str, Any]]:
    """The families with a result as rows with `Run.ranked_columns`; values that were not measured are None.

    The recommended family is the first, the others follow by rank.
    """
    from bench.runs.standings import recommended, standings

    places, shipped = standings(run), recommended(run)
    ranks = {trial.family: places[trial.family].rank if trial.family in places else None for trial in run.ranking()}
    ordered = sorted(run.ranking(), key=lambda trial: (ranks[trial.family] or len(ranks) + 1, trial is not shipped))
    return [
        {
            "val_balanced_accuracy": trial.validation.balanced_accuracy if trial.validation else None,
            "test_balanced_accuracy": trial.test.balanced_accuracy if trial.test else None,
            **leaderboard_row(trial, run.config.metric),
            **_test_results(run, trial),
            "metric": run.metric.name,
            "rank": ranks[trial.family],
            "recommended": trial is shipped,
            "tied": trial.family in places and places[trial.family].tied,
            "configuration": dict(trial.params),
        }
        for trial in ordered
    ]


def _test_results(run: Run, trial: Trial) -> dict[str, float | None]:
    """The accuracy and the run's metrics on the test pictures, over all seeds, with their intervals."""
    from bench.runs.predictions import estimate

    results: dict[str, float | None] = {}
    for by in {by.name: by for by in (metric("accuracy"), *run.metrics)}.values():
        if result := estimate(run, trial, by):
            of = f"test_{by.name}"
            results |= {of: result.value, f"{of}_low": result.low, f"{of}_high": result.high}
    return results


def markdown(run: Run) -> str:
    """Write a run in GitHub's Markdown: the decision, the leaderboard, the warnings, and the data in one line.

    Names from outside are escaped as in a judgement (`check.outputs.markdown`).
    """
    from bench.check.outputs import sentence
    from bench.report.inventory import Inventory
    from bench.report.sections.further_sets import shift_sentences
    from bench.report.sections.leaderboard import further_metrics
    from bench.report.sections.notices import notices
    from bench.report.sections.verdict import verdict

    rows, by = ranked_rows(run), run.metric
    value = f"test_{by.name}"
    ranked = [row[value] for row in rows if row["rank"]]
    best = max((figure for figure in ranked if figure is not None), key=by.quality, default=0.0)
    lines = [f"**{sentence(verdict(run).headline)}**", ""]
    if rows:
        others = [column.metric for column in further_metrics(run) if not column.optional]
        names = [sentence(f"test {text.metric_name(other)}") for other in others]
        heads = ("", "family", sentence(f"test {text.metric_name(by)}"), "95 % interval", "difference", *names, *_COSTS)
        lines += [f"|{'|'.join(heads)}|", f"|--:|---|{'--:|' * (len(heads) - 2)}"]
        lines += [*(f"|{'|'.join(_board_cells(row, best, by, others))}|" for row in rows), ""]
    if shifts := [*shift_sentences(run)]:
        lines += [*(sentence(shift) for shift in shifts), ""]
    if shown := notices(run):
        lines += [*(f"- {sentence(notice.title)}: {sentence(notice.text)}" for notice in shown), ""]
    return "\n".join([*lines, f"Data: {sentence(Inventory(run.split, run.config).headline)}", ""])


def _board_cells(row: dict[str, Any], best: float, by: Metric, others: Sequence[Metric]) -> Iterator[str]:
    from bench.check.outputs import code, sentence

    value, low, high = (row[f"test_{by.name}{end}"] for end in ("", "_low", "_high"))
    random, unit = text.random_weights(row["weights"]), " points" if by.percent else ""
    yield str(row["rank"] or text.NOTHING)
    yield code(row["family"]) + (f", {random}" if random else "")
    figures = [text.figure(value, by), text.NOTHING if low is None else text.figures(low, high, by)]
    figures.append(text.NOTHING if value is None or value == best else f"{text.gap(value - best, by)}{unit}")
    figures += [text.figure(row.get(f"test_{other.name}"), other) for other in others]
    figures += [text.milliseconds(row.get("latency_ms")), text.count(row.get("parameters"))]
    yield from map(sentence, [*figures, text.seconds(row.get("train_time_s"))])


def write_csv(run: Run, path: Path) -> None:
    """Write the leaderboard, best first, with `Run.ranked_columns`, as UTF-8 CSV (RFC 4180).

    Missing values are empty; a configuration is JSON. Text that a spreadsheet would read as a formula gets a leading
    apostrophe.

    Raises:
        OSError: The file cannot be written; the old one is intact.
    """
    lines = io.StringIO()
    writer = csv.writer(lines, lineterminator="\r\n")
    columns = run.ranked_columns
    writer.writerow(columns)
    writer.writerows([_cell(row.get(column)) for column in columns] for row in ranked_rows(run))
    write_text(path, lines.getvalue())


def _cell(value: object) -> object:
    if isinstance(value, dict):
        return json.dumps(value)
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA) else value
