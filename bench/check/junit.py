"""The judgement as JUnit XML: a test suite a run, a test case a family and metric. CI systems show it as test results.

There is no standard. This keeps to what Jenkins' xUnit plugin asks for (its junit-10.xsd), which other systems read as
well. The names of suite and test cases are the same from run to run, so that a CI can follow them.
"""

from __future__ import annotations

import re
from xml.etree import ElementTree

from bench.check.findings import FAIL, INFO, SKIP, WARN, Finding, Judgement
from bench.check.words import headline
from bench.text import clean, one_line

SUITE = "bench check"

_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""What XML 1.0, section 2.2, does not allow, not even as a character reference."""


def render(judgement: Judgement) -> str:
    """The file.

    A failure is a `failure`; what was not comparable is `skipped`, with one `error` that says why; an incomplete run is
    an `error` of its own. What warns or informs passes, and says so in its output.
    """
    cases = [_case(finding) for finding in judgement.findings]
    if judgement.incomplete:
        cases.insert(0, _error("complete", "incomplete run", judgement.incomplete))
    if judgement.differences:
        cases.insert(0, _error("comparable", "not comparable", "; ".join(judgement.differences)))
    baseline, candidate = judgement.baseline, judgement.candidate
    properties = {
        "baseline": baseline.run,
        "baseline.git_sha": baseline.git_sha,
        "baseline.created_utc": baseline.created_utc,
        "run": candidate.run,
        "run.git_sha": candidate.git_sha,
        "run.created_utc": candidate.created_utc,
        "result": headline(judgement),
    }
    return _document(cases, candidate.created_utc, properties, "\n".join(judgement.notes))


def of_error(message: str) -> str:
    """The file where nothing could be judged, for there is no baseline: one test case with an error."""
    return _document([_error("baseline", "no baseline", message)], "", {}, "")


def _case(finding: Finding) -> ElementTree.Element:
    case = _element("testcase", name=finding.metric, classname=finding.family, time="0")
    if finding.outcome == FAIL:
        _element("failure", case, type=finding.metric, message=finding.message).text = _figures(finding)
    elif finding.outcome == SKIP:
        _element("skipped", case, type="not comparable", message=finding.message)
    elif finding.outcome in (WARN, INFO):
        kind = "warning" if finding.outcome == WARN else "information"
        _element("system-out", case).text = _text(f"{kind}: {finding.message}")
    return case


def _figures(finding: Finding) -> str:
    """A failure's numbers, a line each: many a CI shows this part only."""
    return _text("\n".join([finding.message, *(f"{name}: {value}" for name, value in finding.figures.items())]))


def _error(name: str, kind: str, message: str) -> ElementTree.Element:
    case = _element("testcase", name=name, classname=SUITE, time="0")
    _element("error", case, type=kind, message=message).text = _text(message)
    return case


def _document(cases: list[ElementTree.Element], timestamp: str, properties: dict[str, str], output: str) -> str:
    def with_a(tag: str) -> str:
        return str(sum(case.find(tag) is not None for case in cases))

    counts = {"tests": str(len(cases)), "failures": with_a("failure"), "errors": with_a("error")}
    root = _element("testsuites", None, name=SUITE, **counts)
    suite = _element("testsuite", root, name=SUITE, **counts, skipped=with_a("skipped"), time="0")
    if timestamp:
        suite.set("timestamp", _line(timestamp))
    if properties:
        parent = _element("properties", suite)
        for name, value in properties.items():
            _element("property", parent, name=name, value=value)
    suite.extend(cases)
    if output:
        _element("system-out", suite).text = _text(output)
    ElementTree.indent(root, " ")
    return f'<?xml version="1.0" encoding="utf-8"?>\n{ElementTree.tostring(root, encoding="unicode")}\n'


def _element(tag: str, parent: ElementTree.Element | None = None, **attributes: str) -> ElementTree.Element:
    told = {name: _line(value) for name, value in attributes.items()}
    return ElementTree.Element(tag, told) if parent is None else ElementTree.SubElement(parent, tag, told)


def _line(text: str) -> str:
    """Text for an attribute, on one line."""
    return _escaped(one_line(text))


def _text(text: str) -> str:
    return _escaped(clean(text))


def _escaped(text: str) -> str:
    return _NOT_XML.sub(lambda found: ascii(found[0])[1:-1], text)
