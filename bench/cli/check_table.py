"""What the gate says in a terminal or in the log of a CI job: a table, a line a problem, and the result last."""

from __future__ import annotations

import io
import sys
from collections.abc import Iterator
from typing import TextIO

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from bench.check.findings import ACCURACY, FAIL, INFO, MARKS, PASS, PRESENCE, SKIP, WARN, Finding, Judgement
from bench.check.words import headline, title
from bench.text import clean, one_line, plain, shorten

COLUMNS = ("", "family", "metric", "change", "before", "after", "MDE")
"""MDE: the minimum detectable drop, in points, as is the change of an accuracy."""

STYLES = {FAIL: "red", WARN: "yellow", INFO: "cyan", SKIP: "dim"}

NAMES = {FAIL: "FAIL", WARN: "WARN", INFO: "info"}
"""Outcomes that get a line, and how it begins."""

LONGEST_FAMILY = 60

WIDE = 240
"""Characters of a line where there is no terminal: nothing is folded."""


def show(judgement: Judgement, every: bool = False, brief: bool = False, stream: TextIO | None = None) -> None:
    """Prints a judgement.

    Args:
        judgement: What the gate found.
        every: Whether rows of what did not change are printed too.
        brief: Whether the result alone is printed.
        stream: Where to, standard output by default. A terminal gets colours; elsewhere nothing is folded, what the
            stream cannot encode is escaped, and no line is a command to the CI that reads it.
    """
    stream = stream or sys.stdout
    terminal = Console(file=stream, highlight=False)
    if terminal.is_terminal:
        _print(judgement, every, brief, terminal)
        return
    buffer = io.StringIO()
    _print(judgement, every, brief, Console(file=buffer, highlight=False, width=WIDE))
    encoding = getattr(stream, "encoding", None) or "utf-8"
    for line in buffer.getvalue().splitlines():
        stream.write(harmless(line.rstrip()).encode(encoding, "backslashreplace").decode(encoding) + "\n")


def harmless(line: str) -> str:
    """A line of a log that no CI takes for a command: GitHub obeys `::` at its start and `##[`, Azure `##vso[`.

    Source: ActionCommand.cs of github.com/actions/runner; logging commands of Azure Pipelines.
    """
    if line.lstrip().startswith("::"):
        line = line.replace("::", ":\\x3a", 1)
    return line.replace("##", "#\\x23")


def _print(judgement: Judgement, every: bool, brief: bool, console: Console) -> None:
    if not brief:
        console.print(_table(judgement, every))
        console.print()
    for line, style in [*_lines(judgement)][-1 if brief else 0 :]:
        console.print(escape(plain(clean(line))), style=style, soft_wrap=True)


def _table(judgement: Judgement, every: bool) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in COLUMNS:
        left = name in ("", "family", "metric")
        table.add_column(name, justify="left" if left else "right", no_wrap=name != "family", overflow="fold")
    for finding in judgement.findings:
        if every or _telling(finding):
            table.add_row(*map(escape, _cells(finding)), style=STYLES.get(finding.outcome, ""))
    return table


def _telling(finding: Finding) -> bool:
    """Whether a row says more than that nothing changed: every accuracy does."""
    return finding.metric == ACCURACY or finding.outcome not in (PASS, SKIP) or bool(finding.mark not in ("", "x"))


def _cells(finding: Finding) -> Iterator[str]:
    """A finding as a row, in the order of `COLUMNS`."""
    yield finding.mark
    yield shorten(one_line(finding.family), LONGEST_FAMILY).replace("…", "...")
    yield finding.metric
    yield "" if finding.metric == PRESENCE else finding.change
    yield finding.before
    yield finding.after
    yield finding.mde


def _lines(judgement: Judgement) -> Iterator[tuple[str, str]]:
    """Lines and their styles."""
    for difference in judgement.differences:
        yield f"not comparable: {difference}", "red"
    for finding in [*judgement.problems, *judgement.of(INFO)]:
        yield f"{NAMES[finding.outcome]} {title(finding)}: {finding.message}", STYLES[finding.outcome]
    if shown := sorted({finding.mark for finding in judgement.findings if finding.mark}, key=list(MARKS).index):
        yield f"marks: {'; '.join(f'{mark} {MARKS[mark]}' for mark in shown)}", "dim"
    for note in judgement.notes:
        yield f"note: {note}", ""
    if judgement.policy.path:
        yield f"policy: {judgement.policy.path}", ""
    yield (
        headline(judgement),
        "bold red" if judgement.exit_status else "bold green" if not judgement.problems else "bold",
    )
