"""The judgement as workflow commands, which GitHub shows as annotations of a run: one a failure, a warning, a novelty.

GitHub shows ten of each kind for a step, so the rest is summed up in the tenth. Escaping follows
github.com/actions/toolkit (packages/core/src/command.ts).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from bench.check.findings import FAIL, INFO, WARN, Finding, Judgement
from bench.check.words import headline, short, title
from bench.text import listing, one_line, plain, shorten

SHOWN = 10
"""Annotations of a kind that GitHub shows for a step."""

LONGEST_TITLE = 200
LONGEST_MESSAGE = 3500
"""Characters; GitHub cuts a message at 4 KiB."""

TITLE = "bench check"


def render(judgement: Judgement) -> str:
    """The lines, ended; the result first, as an error or a notice."""
    return "".join(f"{line}\n" for line in _commands(judgement))


def of_error(message: str) -> str:
    """The line where nothing could be judged, for there is no baseline."""
    return f"{command('error', f'{TITLE}: no baseline', message)}\n"


def command(kind: str, heading: str, message: str) -> str:
    """One workflow command: `::error title=…::message`."""
    data = shorten(one_line(plain(message)), LONGEST_MESSAGE)
    property_ = shorten(one_line(plain(heading)), LONGEST_TITLE)
    return f"::{kind} title={_escaped(property_).replace(':', '%3A').replace(',', '%2C')}::{_escaped(data)}"


def _escaped(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _commands(judgement: Judgement) -> Iterator[str]:
    whole = "error" if judgement.exit_status else "notice"
    yield command(whole, TITLE, headline(judgement))
    rest = [f"not comparable: {each}" for each in judgement.differences[: SHOWN - 1]]
    yield from (command("error", TITLE, each) for each in rest)
    yield from _annotations("error", judgement.of(FAIL), SHOWN - (whole == "error"))
    yield from _annotations("warning", judgement.of(WARN), SHOWN)
    yield from _annotations("notice", judgement.of(INFO), SHOWN - (whole == "notice"))


def _annotations(kind: str, findings: Sequence[Finding], room: int) -> Iterator[str]:
    shown = findings if len(findings) <= room else findings[: room - 1]
    yield from (command(kind, title(finding), finding.message) for finding in shown)
    if rest := findings[len(shown) :]:
        names = listing([f"{short(finding.family)} ({finding.metric})" for finding in rest], 20)
        yield command(kind, f"{TITLE}: {len(rest)} more", names)
