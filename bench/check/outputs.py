"""A judgement for other programs: JUnit XML, Markdown, GitHub's workflow commands, JSON. Pure functions to text."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any
from xml.etree import ElementTree

from bench.check.findings import COLUMNS, MEANINGS, NOT_COMPARABLE, Finding, GateOutcome, Judgement, NoBaseline
from bench.check.flips import TABLED, Flips, RecallChange
from bench.check.wording import chance, percent, short
from bench.text import clean, listing, one_line, plain, plural, thousands

Verdict = Judgement | NoBaseline

NAME = "bench check"


# -- JUnit XML

_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""Characters that XML 1.0, section 2.2, does not allow, not even as a character reference."""


def junit(verdict: Verdict) -> str:
    """Write a judgement as JUnit XML: one test suite per run, one test case per family and quantity.

    A failing finding is a `failure`. If the runs are not comparable, findings are `skipped`, and one `error` says why;
    an incomplete run is another `error`. Warnings and information pass, with the message as output. The names of suite
    and test cases are the same in every run, so that a CI can track them.

    Source: there is no standard; this is the format of Jenkins' xUnit plugin (its junit-10.xsd), which others read too.
    """
    root = _element("testsuites", None, name=NAME)
    suite = _element("testsuite", root, name=NAME, time="0")
    if isinstance(verdict, NoBaseline):
        _case(suite, NAME, "baseline", "error", "no baseline", verdict.message)
    else:
        suite.set("timestamp", _xml(one_line(verdict.candidate.created_utc)))
        properties = _element("properties", suite)
        for side, results in (("baseline", verdict.baseline), ("run", verdict.candidate)):
            _element("property", properties, name=side, value=results.run)
            _element("property", properties, name=f"{side}.git_sha", value=results.git_sha)
            _element("property", properties, name=f"{side}.created_utc", value=results.created_utc)
        _element("property", properties, name="result", value=verdict.headline)
        if verdict.differences:
            _case(suite, NAME, "comparable", "error", "not comparable", "; ".join(verdict.differences))
        if verdict.incomplete:
            _case(suite, NAME, "complete", "error", "incomplete run", verdict.incomplete)
        for finding in verdict.findings:
            _case(suite, finding.family, finding.metric, *_result(finding))
        if verdict.notes:
            _element("system-out", suite).text = _xml(clean("\n".join(verdict.notes)))
    counts = {f"{tag}s": str(len(suite.findall(f"testcase/{tag}"))) for tag in ("failure", "error")}
    for element in (root, suite):
        element.attrib |= {"tests": str(len(suite.findall("testcase"))), **counts}
    suite.set("skipped", str(len(suite.findall("testcase/skipped"))))
    ElementTree.indent(root, " ")
    return f'<?xml version="1.0" encoding="utf-8"?>\n{ElementTree.tostring(root, encoding="unicode")}\n'


def _result(finding: Finding) -> tuple[str, str, str]:
    """Tag, type and text of a test case's element; "" if it passed. Many CI systems show only the text."""
    if finding.outcome == GateOutcome.FAIL:
        figures = [f"{name}: {value}" for name, value in finding.figures.items()]
        return "failure", finding.metric, "\n".join([finding.message, *figures])
    if finding.outcome == GateOutcome.SKIP:
        return "skipped", "not comparable", finding.message
    if finding.outcome == GateOutcome.PASS:
        return "", "", ""
    kind = "warning" if finding.outcome == GateOutcome.WARN else "information"
    return "system-out", "", f"{kind}: {finding.message}"


def _case(suite: ElementTree.Element, classname: str, name: str, tag: str, kind: str, text: str) -> None:
    case = _element("testcase", suite, name=name, classname=classname, time="0")
    if tag:
        attributes = {"type": kind, "message": text.partition("\n")[0]} if kind else {}
        _element(tag, case, **attributes).text = _xml(clean(text))


def _element(tag: str, parent: ElementTree.Element | None = None, **attributes: str) -> ElementTree.Element:
    lines = {name: _xml(one_line(value)) for name, value in attributes.items()}
    return ElementTree.Element(tag, lines) if parent is None else ElementTree.SubElement(parent, tag, lines)


def _xml(text: str) -> str:
    return _NOT_XML.sub(lambda match: ascii(match[0])[1:-1], text)


# -- Markdown

MAX_BYTES = 1024 * 1024
"""Maximum size of a step's summary on GitHub, which shows nothing of a larger one."""

RESERVED = 4096
"""Bytes kept free for the end of a cut page and for additions by later steps."""

LONGEST_SENTENCE = 1500

RULE = "|:-:|---|---|---|--:|--:|--:|--:|"

_OUTSIDE = re.compile(
    r"(?P<markup>[\\`*_{}\[\]<>&|~$])|(?P<reference>[@#]|\bGH(?=-\d))|(?i:\b(?P<link>https?:|ftp:|www\.|mailto:|xmpp:))"
)
"""Text with a meaning in Markdown or in GitHub's flavour of it."""

_ZERO_WIDTH = "&#8203;"
"""Separates `@` or `#` from a name: GitHub looks for mentions and references in the rendered text."""


def markdown(verdict: Verdict, max_bytes: int = MAX_BYTES) -> str:
    """Write a judgement in GitHub's Markdown: the result, the problems, then all findings.

    Names from outside are code spans, which contain no mentions, references or HTML. In sentences with text from
    outside, everything with a meaning in Markdown becomes a character reference. If the page is longer than
    `max_bytes`, the last lines are left out and counted.
    """
    if isinstance(verdict, NoBaseline):
        return f"## NO BASELINE: nothing was judged\n\n{sentence(verdict.message)}\n"
    lines = [f"## {sentence(verdict.headline)}", ""]
    if verdict.differences:
        lines += ["Nothing was judged, because the two are not comparable:", ""]
        lines += [*(f"- {sentence(difference)}" for difference in verdict.differences), ""]
    elif verdict.problems:
        lines += [*(_line(finding, f"**{finding.outcome.upper()}**") for finding in verdict.problems), ""]
    lines += [f"|{'|'.join(COLUMNS)}|", RULE, *map(_row, verdict.findings), ""]
    if changed := verdict.changed_classes:
        lines += [
            "Recall of the classes that changed by more than noise:",
            "",
            "|family|class|pictures|before|after|p|",
        ]
        lines += ["|---|---|--:|--:|--:|--:|", *(_class_row(family, change) for family, change in changed), ""]
    for family, flips in verdict.flips.items():
        lines += _flipped(family, flips)
    summary = f"{len(verdict.findings)} findings in words, the runs and the marks"
    lines += ["<details>", f"<summary>{summary}</summary>", "", *_details(verdict), "", "</details>", ""]
    return "\n".join(_cut(lines, max_bytes))


def _cut(lines: Sequence[str], max_bytes: int) -> Sequence[str]:
    """Leave out the last lines that do not fit, and count them."""
    room = max_bytes - RESERVED
    for number, line in enumerate(lines):
        room -= len(line.encode(errors="backslashreplace")) + 1
        if room < 0:
            rest = plain(thousands(len(lines) - number))
            end = ["", "</details>", ""] if "<details>" in lines[:number] else [""]
            return [*lines[:number], "", f"{rest} more lines left out: the page would be too long", *end]
    return lines


def code(name: str) -> str:
    """Put a name from outside into a code span that is safe in a table: longer fence than any in it, bars escaped."""
    text = short(name).replace("\\|", "\\\\x7c").replace("|", "\\|")  # renderers disagree about `\\\|` in a table
    if not text.strip():
        return "(blank)"
    fence = "`" * (max(map(len, re.findall("`+", text)), default=0) + 1)
    space = " " if text[0] == "`" or text[-1] == "`" else ""
    return f"{fence}{space}{text}{space}{fence}"


def sentence(text: str) -> str:
    """Escape text for Markdown: nothing in it becomes markup, HTML, a mention or a link."""
    return _OUTSIDE.sub(_harmless, one_line(plain(text), LONGEST_SENTENCE))


def _harmless(match: re.Match[str]) -> str:
    last = f"&#{ord(match[0][-1])};"
    if match["reference"]:
        return f"{match[0]}{_ZERO_WIDTH}" if match[0] == "GH" else f"{last}{_ZERO_WIDTH}"
    return match[0][:-1] + last


def _line(finding: Finding, outcome: str) -> str:
    return f"- {outcome} {code(finding.family)} {sentence(finding.metric)}: {sentence(finding.message)}"


def _row(finding: Finding) -> str:
    mark, _, metric, outcome, *figures = finding.cells
    shown = f"**{outcome}**" if finding.problem else outcome
    return "|".join(
        ["", mark and code(mark), code(finding.family), sentence(metric), shown, *map(sentence, figures), ""]
    )


def _class_row(family: str, change: RecallChange) -> str:
    names = code(family), code(change.label)
    return "|".join(
        ["", *names, thousands(change.n), *map(percent, change.recalls), sentence(chance(change.p_all)), ""]
    )


def _flipped(family: str, flips: Flips) -> Iterator[str]:
    """The pictures of a family with another answer, folded, and its classes whose recall changed."""
    yield from ("<details>", f"<summary>{sentence(short(family))}: {sentence(flips.counts)}</summary>", "")
    for heading, listed, count in (
        ("Right in the baseline, wrong now", flips.lost, flips.lost_count),
        ("Wrong in the baseline, right now", flips.gained, flips.gained_count),
    ):
        if listed:
            yield from (f"{heading}, the most confident wrong answers first:", "")
            yield from (f"- {code(flip.id)}: {sentence(flip.words)}" for flip in listed)
            yield from (f"- and {thousands(count - len(listed))} more", "") if count > len(listed) else ("",)
    models = "" if flips.calibrated else ", by these two models"
    yield from (
        f"Recall of the classes, p after Holm over {plural(len(flips.classes), 'class', 'classes')}{models}:",
        "",
    )
    yield from (f"- {sentence(change.words)}" for change in flips.classes[:TABLED])
    yield from ("", "</details>", "")


def _details(judgement: Judgement) -> Iterator[str]:
    for name, results in (("Baseline", judgement.baseline), ("Run", judgement.candidate)):
        origin = f"commit {code(results.git_sha)}, {sentence(results.created_utc)}, {sentence(results.status)}"
        yield f"- {name}: {code(results.run)}, {origin}"
    if judgement.policy.path:
        yield f"- Policy: {code(str(judgement.policy.path))}"
    yield from (f"- Note: {sentence(note)}" for note in judgement.notes)
    yield f"- Marks: {', '.join(f'{code(mark)} {words}' for mark, words in MEANINGS.items())}"
    yield from (_line(finding, finding.outcome) for finding in judgement.findings)


# -- GitHub

SHOWN = 10
"""Maximum number of annotations of one kind that GitHub shows per step."""

LONGEST_TITLE = 200
LONGEST_MESSAGE = 3500
"""Characters; GitHub cuts a message at 4 KiB."""


def github(verdict: Verdict) -> str:
    """Write a judgement as workflow commands, which GitHub shows as annotations; the result is first.

    GitHub shows ten of each kind per step, so the tenth sums up the rest. Escaping follows github.com/actions/toolkit
    (packages/core/src/command.ts).
    """
    if isinstance(verdict, NoBaseline):
        return f"{_annotation('error', f'{NAME}: no baseline', verdict.message)}\n"
    whole = "error" if verdict.exit_status else "notice"
    lines = [_annotation(whole, NAME, verdict.headline)]
    lines += [_annotation("error", NAME, f"not comparable: {reason}") for reason in verdict.differences[: SHOWN - 1]]
    for kind, outcome in (("error", GateOutcome.FAIL), ("warning", GateOutcome.WARN), ("notice", GateOutcome.INFO)):
        findings, room = verdict.of(outcome), SHOWN - (whole == kind)
        shown = findings if len(findings) <= room else findings[: room - 1]
        lines += [_annotation(kind, finding.title, finding.message) for finding in shown]
        if rest := findings[len(shown) :]:
            names = listing([f"{short(finding.family)} ({finding.metric})" for finding in rest], 20)
            lines.append(_annotation(kind, f"{NAME}: {len(rest)} more", names))
    return "".join(f"{line}\n" for line in lines)


def _annotation(kind: str, title: str, message: str) -> str:
    """Write one workflow command: `::error title=…::message`."""
    data = _escaped(one_line(plain(message), LONGEST_MESSAGE))
    heading = _escaped(one_line(plain(title), LONGEST_TITLE)).replace(":", "%3A").replace(",", "%2C")
    return f"::{kind} title={heading}::{data}"


def _escaped(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


# -- JSON

SCHEMA_VERSION = 1


def as_json(verdict: Verdict) -> str:
    """Write a judgement as JSON."""
    data: dict[str, Any] = {"schema_version": SCHEMA_VERSION}
    if isinstance(verdict, NoBaseline):
        data |= {"exit_status": NOT_COMPARABLE, "result": "", "error": verdict.message, "findings": []}
    else:
        policy = verdict.policy
        data |= {
            "exit_status": verdict.exit_status,
            "result": verdict.headline,
            "error": "",
            "differences": verdict.differences,
            "incomplete": verdict.incomplete,
            "notes": verdict.notes,
            "policy": {
                "path": str(policy.path or ""),
                "alpha": policy.alpha,
                **asdict(policy.usual),
                "families": {name: asdict(limits) for name, limits in policy.families.items()},
            },
            "baseline": verdict.baseline.head,  # the families are in the findings
            "candidate": verdict.candidate.head,
            "findings": [asdict(finding) for finding in verdict.findings],
            "flips": {family: asdict(flips) for family, flips in verdict.flips.items()},
            "changed_classes": [{"family": name, **asdict(change)} for name, change in verdict.changed_classes],
        }
    text = json.dumps(_finite(data), indent=1, allow_nan=False)
    return text.replace("##", "#\\u0023")  # `##[` in a log is a command of a CI; here it can only be inside a string


def _finite(value: Any) -> Any:
    """Replace NaN and infinity, which JSON does not have, by null."""
    if isinstance(value, Mapping):
        return {str(name): _finite(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
