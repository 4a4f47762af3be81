"""Pages and tables from a run's records: records → plain data → figures → one HTML file."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bench import text
from bench.cache.files import write_text
from bench.records import RANKED_COLUMNS, Run, leaderboard_row

__all__ = ["markdown", "ranked_rows", "render", "write_csv"]

_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")
"""First characters that a spreadsheet reads as a formula (OWASP, CSV Injection), full-width forms included."""

_BOARD = ("", "family", "test accuracy", "95 % interval", "difference", "latency", "parameters", "training")


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
    """The families with a result as rows with `RANKED_COLUMNS`; values that were not measured are None.

    The recommended family is the first, the others follow by rank.
    """
    from bench.runs.standings import recommended, standings

    places, shipped = standings(run), recommended(run)
    ranks = {trial.family: places[trial.family].rank if trial.family in places else None for trial in run.ranking()}
    ordered = sorted(run.ranking(), key=lambda trial: (ranks[trial.family] or len(ranks) + 1, trial is not shipped))
    return [
        {
            **leaderboard_row(trial),
            "rank": ranks[trial.family],
            "recommended": trial is shipped,
            "tied": trial.family in places and places[trial.family].tied,
            "configuration": dict(trial.params),
            "val_balanced_accuracy": trial.validation.balanced_accuracy if trial.validation else None,
            "test_balanced_accuracy": trial.test.balanced_accuracy if trial.test else None,
        }
        for trial in ordered
    ]


def markdown(run: Run) -> str:
    """Write a run in GitHub's Markdown: the decision, the leaderboard, the warnings, and the data in one line.

    Names from outside are escaped as in a judgement (`check.outputs.markdown`).
    """
    from bench.check.outputs import sentence
    from bench.report.inventory import Inventory
    from bench.report.sections.further_sets import shift_sentences
    from bench.report.sections.notices import notices
    from bench.report.sections.verdict import verdict

    rows = ranked_rows(run)
    best = max((row["test_accuracy"] or 0.0 for row in rows if row["rank"]), default=0.0)
    lines = [f"**{sentence(verdict(run).headline)}**", ""]
    if rows:
        lines += [f"|{'|'.join(_BOARD)}|", f"|--:|---|{'--:|' * (len(_BOARD) - 2)}"]
        lines += [*(f"|{'|'.join(_board_cells(row, best))}|" for row in rows), ""]
    if shifts := [*shift_sentences(run)]:
        lines += [*(sentence(shift) for shift in shifts), ""]
    if shown := notices(run):
        lines += [*(f"- {sentence(notice.title)}: {sentence(notice.text)}" for notice in shown), ""]
    return "\n".join([*lines, f"Data: {sentence(Inventory(run.split, run.config).headline)}", ""])


def _board_cells(row: dict[str, Any], best: float) -> Iterator[str]:
    from bench.check.outputs import code, sentence

    accuracy, low, high = (row[f"test_accuracy{end}"] for end in ("", "_low", "_high"))
    random = text.random_weights(row["weights"])
    yield str(row["rank"] or text.NOTHING)
    yield code(row["family"]) + (f", {random}" if random else "")
    figures = [text.percent(accuracy), text.NOTHING if low is None else text.interval(low, high)]
    figures.append(text.NOTHING if accuracy is None or accuracy == best else f"{text.points(accuracy - best)} points")
    figures += [text.milliseconds(row.get("latency_ms")), text.count(row.get("parameters"))]
    yield from map(sentence, [*figures, text.seconds(row.get("train_time_s"))])


def write_csv(run: Run, path: Path) -> None:
    """Write the leaderboard, best first, with `RANKED_COLUMNS`, as UTF-8 CSV (RFC 4180).

    Missing values are empty; a configuration is JSON. Text that a spreadsheet would read as a formula gets a leading
    apostrophe.

    Raises:
        OSError: The file cannot be written; the old one is intact.
    """
    lines = io.StringIO()
    writer = csv.writer(lines, lineterminator="\r\n")
    writer.writerow(RANKED_COLUMNS)
    writer.writerows([_cell(row[column]) for column in RANKED_COLUMNS] for row in ranked_rows(run))
    write_text(path, lines.getvalue())


def _cell(value: object) -> object:
    if isinstance(value, dict):
        return json.dumps(value)
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA) else value
