"""The judgement as Markdown, for the summary of a CI job or a comment: the result, what is wrong, then all of it.

GitHub's flavour. A name from outside is in a code span, in which nothing is a mention, a reference or HTML; a sentence
with outside text in it has all that Markdown would take for its own as character references.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from bench.check.findings import FAIL, MARKS, WARN, Finding, Judgement
from bench.check.words import headline, short
from bench.text import one_line, plain, shorten, thousands

MOST_BYTES = 1024 * 1024
"""What a step's summary on GitHub may hold; with more, nothing of it is shown."""

RESERVED = 4096
"""Bytes of it that are kept for how the page begins and ends."""

LONGEST_SENTENCE = 1500

COLUMNS = ("", "family", "metric", "outcome", "change", "before", "after", "MDE")
RULE = "|:-:|---|---|---|--:|--:|--:|--:|"

_OUTSIDE = re.compile(
    r"(?P<markup>[\\`*_{}\[\]<>&|~$])|(?P<reference>[@#]|\bGH(?=-\d))|(?i:\b(?P<link>https?:|ftp:|www\.|mailto:|xmpp:))"
)
"""What Markdown, or GitHub's flavour of it, would take for its own."""

_ZERO_WIDTH = "&#8203;"
"""Between the sign and the name: GitHub looks for mentions and references in what is shown, after all escapes."""


def render(judgement: Judgement, most_bytes: int = MOST_BYTES) -> str:
    """The page; where it would be longer than `most_bytes`, the last rows are left out and counted."""
    page = _Page(most_bytes, f"## {sentence(headline(judgement))}", "")
    if judgement.differences:
        page.add("Nothing was judged, for the two do not compare:", "")
        page.add_all((f"- {sentence(each)}" for each in judgement.differences), "difference")
        page.add("")
    elif judgement.problems:
        page.add_all(map(_problem, judgement.problems), "problem")
        page.add("")
    if page.add("|" + "|".join(COLUMNS) + "|", RULE):
        page.add_all(map(_row, judgement.findings), "row")
        page.add("")
    page.add("<details>", f"<summary>{_summary(judgement)}</summary>", "")
    page.add_all(_details(judgement), "line")
    return page.text("", "</details>", "")


def of_error(message: str) -> str:
    """The page where nothing could be judged, for there is no baseline."""
    return f"## NO BASELINE: nothing was judged\n\n{sentence(message)}\n"


def code(name: str) -> str:
    """A name from outside as a code span, also in a table: a fence longer than any in it, and bars escaped."""
    text = short(name).replace("\\|", "\\\\x7c").replace("|", "\\|")  # renderers differ in what `\\\|` is in a table
    if not text.strip():
        return "(blank)"
    fence = "`" * (max(map(len, re.findall("`+", text)), default=0) + 1)
    space = " " if text[0] == "`" or text[-1] == "`" else ""
    return f"{fence}{space}{text}{space}{fence}"


def sentence(text: str) -> str:
    """Text with outside words in it, as Markdown that shows just that: no markup, HTML, mention, reference or link."""
    line = shorten(one_line(plain(text)), LONGEST_SENTENCE)
    return _OUTSIDE.sub(_harmless, line)


def _harmless(found: re.Match[str]) -> str:
    last = f"&#{ord(found[0][-1])};"
    if found["reference"]:
        return f"{found[0]}{_ZERO_WIDTH}" if found[0] == "GH" else f"{last}{_ZERO_WIDTH}"
    return found[0][:-1] + last


class _Page:
    """Lines, as long as they fit; the first ones are always there."""

    def __init__(self, most_bytes: int, *first: str) -> None:
        self._lines = list(first)
        self._left = most_bytes - RESERVED

    def add(self, *lines: str) -> bool:
        """Adds all of the lines or none."""
        size = sum(len(line.encode(errors="backslashreplace")) + 1 for line in lines)
        if size > self._left:
            return False
        self._left -= size
        self._lines += lines
        return True

    def add_all(self, lines: Iterable[str], what: str) -> None:
        """Adds lines while they fit; those that do not are counted."""
        every = list(lines)
        for number, line in enumerate(every):
            if not self.add(line):
                rest = plain(thousands(len(every) - number))
                more = f"{rest} more {what}{'s' if rest != '1' else ''} left out: the page would be too long"
                self._lines += ["", more, ""]  # from what is reserved
                self._left = 0
                return

    def text(self, *last: str) -> str:
        return "\n".join([*self._lines, *last])


def _problem(finding: Finding) -> str:
    return f"- **{finding.outcome.upper()}** {code(finding.family)} {finding.metric}: {sentence(finding.message)}"


def _row(finding: Finding) -> str:
    outcome = f"**{finding.outcome.upper()}**" if finding.outcome in (FAIL, WARN) else finding.outcome
    cells = (
        code(finding.mark) if finding.mark else "",
        code(finding.family),
        finding.metric,
        outcome,
        *map(sentence, (finding.change, finding.before, finding.after, finding.mde)),
    )
    return f"|{'|'.join(cells)}|"


def _summary(judgement: Judgement) -> str:
    return f"{len(judgement.findings)} findings in words, the runs and the marks"


def _details(judgement: Judgement) -> Iterator[str]:
    for name, results in (("Baseline", judgement.baseline), ("Run", judgement.candidate)):
        told = f"commit {code(results.git_sha)}, {sentence(results.created_utc)}, {sentence(results.status)}"
        yield f"- {name}: {code(results.run)}, {told}"
    if judgement.policy.path:
        yield f"- Policy: {code(str(judgement.policy.path))}"
    yield from (f"- Note: {sentence(note)}" for note in judgement.notes)
    yield f"- Marks: {', '.join(f'{code(mark)} {words}' for mark, words in MARKS.items())}"
    for finding in judgement.findings:
        yield f"- {finding.outcome} {code(finding.family)} {finding.metric}: {sentence(finding.message)}"
