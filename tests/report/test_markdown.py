"""A run as Markdown, for a pull request or a chat."""

from __future__ import annotations

import html
import re

from markdown_it import MarkdownIt

from bench import report
from bench.records import Run

READER = MarkdownIt("gfm-like", {"linkify": False})


def lines(run: Run) -> list[str]:
    return report.markdown(run).splitlines()


def test_markdown_has_the_decision_the_leaderboard_the_warnings_and_the_data(compared_run: Run):
    first, _, header, _, *rows = lines(compared_run)
    rows = rows[: rows.index("")]
    assert (first[:2], first[-3:]) == ("**", ".**")
    assert header.startswith("||family|test accuracy|95 % interval|difference|latency|parameters|training|")
    assert [row.split("|")[2].split("`")[1] for row in rows] == [
        row["family"] for row in report.ranked_rows(compared_run)
    ]
    assert rows[0].startswith("|1|")
    rest = lines(compared_run)[5 + len(rows) :]
    assert any(line.startswith("- ") for line in rest)
    assert rest[-1].startswith(f"Data: {compared_run.split.source}")


def test_a_run_that_has_just_begun_has_no_table(empty_run: Run):
    assert not any(line.startswith("|") for line in lines(empty_run))


def test_names_from_outside_stay_text(hostile_run: Run):
    shown = READER.render(report.markdown(hostile_run))
    assert not re.search("<(img|script|a) ", shown)
    cells = [row.count("<td") for row in shown.split("<tr>")[2:]]
    assert cells == [8] * len(report.ranked_rows(hostile_run))
    assert "onerror" in html.unescape(shown)
