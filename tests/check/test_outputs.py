"""What the gate tells: every output parsed by someone else's parser, with names that try to break out of it."""

from __future__ import annotations

import io
import json
import re
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import junitparser
import pytest
from markdown_it import MarkdownIt

from bench.check import outputs
from bench.check.findings import Finding, GateOutcome, NoBaseline, Quantity, Sign
from bench.check.judge import judge
from bench.check.policy import FamilyPolicy, Policy
from bench.check.wording import short
from bench.cli.check import print_judgement
from bench.runs.results import FamilyResult, FamilyStatus
from bench.text import one_line, plain, shorten, without_commands

from .made import STEPS, again, family, results

HOSTILE = {
    "html": "<img src=x onerror=alert(1)>",
    "bars": "a|b||c\\|d",
    "ticks": "`a``b```",
    "lines": "a\nb\r\nc\u2028d\ttab",
    "command": "::error::x",
    "old command": "##[error]x",
    "azure": "##vso[task.complete]",
    "encoded": "%0A%0D%25",
    "cdata": "]]><!--&amp;\"'",
    "control": "\x00\x07\x1b[31mred\x1b[0m\x7f\x9f",
    "not xml": "\ufffe\uffff",
    "right to left": "\u202egnp.exe",
    "surrogate": "\udcff",
    "mention": "@team #123 GH-12 https://a.b www.c.d me@e.f",
    "markup": "[bold]*x*_y_~~z~~$m$\\",
    "long": "n" * 255,
    "blank": " \u00a0 ",
    "letters": "größe-模型",
    "number": "1. x",
}


def hostile():
    """A judgement in which every name that comes from outside is hostile."""
    names = list(HOSTILE.values())
    before = results(dict.fromkeys(names, 0.9), n=500, seeds=2, run=HOSTILE["html"], git_sha="`<b>|`")
    changed = {}
    for number, name in enumerate(names):
        changed[name] = [
            family(0.7, n=500, seeds=2, draw=number),
            FamilyResult(FamilyStatus.FAILED, reason=f"no complete trial out of 2: {name}"),
            family(0.9, n=500, seeds=2, parameters=7, params={name: name}),
        ][number % 3]
    return judge(before, again(before, **{f"new {name}": family(n=500) for name in names}, **changed))


def unlike():
    """A judgement of two runs that do not compare, with hostile settings."""
    before = results(dict.fromkeys(HOSTILE.values(), 0.9), config=dict.fromkeys(HOSTILE.values(), 1))
    weights = {name: family(weights=name) for name in HOSTILE.values()}
    return judge(before, replace(again(before, **weights), config=dict.fromkeys(HOSTILE.values(), "<b>|`\n::error::")))


@pytest.fixture(scope="module", params=[hostile, unlike])
def judgement(request):
    return request.param()


def usual():
    """A judgement with a failure, a warning, something new, and a family that did not change."""
    before = results({"cnn": 0.9, "vgg16": 0.85, "dummy": 0.5})
    slow = family(0.85, step_time_s=tuple(1.6 * time for time in STEPS[:5]))
    return judge(before, again(before, cnn=family(0.88, draw=1), vgg16=slow, new=family(0.7)))


# -- console


def printed(judgement, **options):
    stream = io.StringIO()
    print_judgement(judgement, stream=stream, **options)
    return stream.getvalue()


def test_the_table_has_failures_first_and_the_result_last():
    lines = printed(usual()).splitlines()
    assert lines[0].split() == ["family", "metric", "outcome", "change", "before", "after", "MDE"]
    assert lines[1].split() == ["-", "cnn", "accuracy", "FAIL", "-2.0", "90.0", "%", "88.0", "%", "0.9"]
    assert [line.split()[:2] for line in lines[2:6]] == [["vgg16", "accuracy"], ["~", "vgg16"], ["dummy", "accuracy"],
                                                         ["*", "new"]]  # fmt: skip
    assert lines[-1] == "FAIL: 1 regression, 1 warning in 4 families (baseline 01234567, 2026-11-20)"
    problems = [line.partition(":")[0] for line in lines if line.startswith(("FAIL ", "WARN ", "info "))]
    assert problems == ["FAIL cnn, accuracy", "WARN vgg16, step time", "info new, presence"]


def test_no_name_becomes_a_line_a_command_or_a_control_character_in_a_log(judgement):
    text = printed(judgement, every=True)
    lines = text.split("\n")
    assert not [line for line in lines if line.lstrip().startswith("::")]
    assert "##" not in text
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\ud800-\udfff]", text)
    rows = lines[1 : lines.index("")]
    assert len(rows) == len(judgement.findings)
    assert any("[bold]*x*" in row for row in rows)  # taken as it is, not as markup


def test_our_own_words_are_ascii():
    assert printed(usual(), every=True).isascii()


def test_a_terminal_gets_colours_but_none_from_a_name(monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    stream = Terminal()
    print_judgement(hostile(), stream=stream)
    text = stream.getvalue()
    assert "\x1b[31m" in text
    assert not re.search("[\x00-\x09\x0b-\x1a\x7f-\x9f\u202e]", text)
    assert "\x1b[31mred" not in text
    assert "[bold]" in text  # taken as it is, not as markup


@pytest.mark.parametrize(
    ("line", "safe"),
    [
        ("  ::error::x", "  :\\x3aerror::x"),
        ("a ::b", "a ::b"),
        ("a ##[error]", "a #\\x23[error]"),
        ("std::bad_alloc", "std::bad_alloc"),
    ],
)
def test_only_what_a_ci_would_obey_is_escaped(line, safe):
    assert without_commands(line) == safe


# -- JUnit

ATTRIBUTES = {
    "testsuites": {"name", "tests", "failures", "errors"},
    "testsuite": {"name", "tests", "failures", "errors", "skipped", "time", "timestamp"},
    "properties": set(),
    "property": {"name", "value"},
    "testcase": {"name", "classname", "time"},
    "failure": {"type", "message"},
    "error": {"type", "message"},
    "skipped": {"type", "message"},
    "system-out": set(),
}
"""What we write; Jenkins' junit-10.xsd allows all of it, and some more."""

CHILDREN = {
    "testsuites": ["testsuite"],
    "testsuite": ["properties", "testcase", "system-out"],
    "properties": ["property"],
    "testcase": ["failure", "error", "skipped", "system-out"],
}


def valid(text):
    """The suite of a JUnit file, after its structure and counts were looked at."""
    root = ElementTree.fromstring(text.encode())
    for element in root.iter():
        assert set(element.attrib) <= ATTRIBUTES[element.tag]
        assert {child.tag for child in element} <= set(CHILDREN.get(element.tag, []))
    assert root.tag == "testsuites"
    (suite,) = root
    cases = suite.findall("testcase")
    for attribute, tag in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
        assert int(suite.get(attribute)) == sum(case.find(tag) is not None for case in cases)
    assert int(suite.get("tests")) == int(root.get("tests")) == len(cases)
    names = [(case.get("classname"), case.get("name")) for case in cases]
    assert len(set(names)) == len(names)
    assert all(len(case) <= 1 for case in cases)
    return suite


def test_junit_has_a_case_for_each_family_and_metric():
    judgement = usual()
    suite = valid(outputs.junit(judgement))
    cases = {(case.get("classname"), case.get("name")): case for case in suite.findall("testcase")}
    assert list(cases) == [(finding.family, finding.metric) for finding in judgement.findings]
    failure = cases["cnn", "accuracy"].find("failure")
    assert failure.get("type") == "accuracy"
    assert failure.get("message").startswith("fell by 2.0 points from 90.0 % to 88.0 %")
    assert "\ndifference: -0.02\n" in failure.text
    assert cases["vgg16", "step time"].findtext("system-out").startswith("warning: a step takes ")
    assert cases["new", "presence"].findtext("system-out").startswith("information: is not in the baseline")
    assert len(cases["dummy", "accuracy"]) == 0
    assert suite.get("timestamp") == "2026-11-21T09:00:00+00:00"


def test_junit_is_never_greener_than_the_exit_status():
    before = results()
    incomplete = valid(outputs.junit(judge(before, replace(again(before), status="partial"))))
    assert (incomplete.get("errors"), incomplete.get("skipped")) == ("1", "0")
    assert incomplete.find("testcase/error").get("message").startswith("the run is partial")
    other = judge(before, replace(again(before), config={}))
    suite = valid(outputs.junit(other))
    assert int(suite.get("skipped")) == len(other.of(GateOutcome.SKIP)) == len(other.findings)
    assert suite.find("testcase/error").get("type") == "not comparable"
    assert valid(outputs.junit(NoBaseline("no\x00 baseline"))).find("testcase/error").text == "no\\x00 baseline"


def test_junit_with_hostile_names_is_xml(judgement):
    text = outputs.junit(judgement)
    text.encode("utf-8")
    assert len(valid(text).findall("testcase")) >= len(judgement.findings)
    assert "<img" not in text
    assert "\u202e" not in text


def test_another_parser_reads_the_same_counts(judgement, tmp_path):
    path = tmp_path / "check.xml"
    path.write_text(outputs.junit(judgement), encoding="utf-8")
    (suite,) = junitparser.JUnitXml.fromfile(str(path))
    before = suite.tests, suite.failures, suite.errors, suite.skipped
    suite.update_statistics()
    assert before == (suite.tests, suite.failures, suite.errors, suite.skipped)
    failed = [case for case in suite if any(isinstance(each, junitparser.Failure) for each in case.result)]
    assert len(failed) == len(judgement.of(GateOutcome.FAIL))


# -- Markdown

READER = MarkdownIt("commonmark").enable(["table", "strikethrough"])


def cells(text):
    """The rows of the only table in a page, as the parser sees them: a list of cells, each its inline tokens."""
    tokens = READER.parse(text)
    assert sum(token.type == "table_open" for token in tokens) == 1
    start = next(number for number, token in enumerate(tokens) if token.type == "tbody_open")
    rows, row = [], []
    for token in tokens[start:]:
        if token.type == "inline":
            row.append(token.children)
        elif token.type == "tr_close":
            rows.append(row)
            row = []
        elif token.type == "tbody_close":
            break
    return rows


def words(children):
    """What a reader sees of inline tokens."""
    return "".join(child.content for child in children if child.type in ("text", "code_inline")).replace("\u200b", "")


def kinds(text):
    """Types of all inline tokens and blocks of a page."""
    tokens = READER.parse(text)
    return {token.type for token in tokens} | {child.type for token in tokens for child in token.children or []}


def test_markdown_shows_exactly_the_cells_that_are_meant(judgement):
    rows = cells(outputs.markdown(judgement))
    assert len(rows) == len(judgement.findings)
    for row, finding in zip(rows, judgement.findings, strict=True):
        assert len(row) == len(outputs.COLUMNS)
        assert words(row[1]) == (short(finding.family).replace("\\|", "\\\\x7c") or "(blank)")
        assert {child.type for child in row[1]} == ({"code_inline"} if short(finding.family) else {"text"})
        shown = [words(row[0]), words(row[2]), words(row[3]).lower(), *map(words, row[4:])]
        assert shown == [finding.mark, finding.metric, finding.outcome, finding.change, finding.before, finding.after,
                         finding.mde]  # fmt: skip


def test_nothing_hostile_becomes_markup_html_or_a_link(judgement):
    text = outputs.markdown(judgement)
    assert not kinds(text) & {"html_inline", "link_open", "image", "em_open", "s_open", "ordered_list_open", "fence"}
    blocks = [token.content.strip() for token in READER.parse(text) if token.type == "html_block"]
    assert [re.sub(r"\d+", "N", block) for block in blocks] == [
        "<details>\n<summary>N findings in words, the runs and the marks</summary>",
        "</details>",
    ]
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e\ud800-\udfff]", text)


@pytest.mark.parametrize("name", list(HOSTILE.values()), ids=list(HOSTILE))
def test_a_sentence_with_a_hostile_name_shows_just_that(name):
    text = f"began {name} ended"
    (token,) = [token for token in READER.parse(outputs.sentence(text)) if token.type == "inline"]
    assert {child.type for child in token.children} <= {"text", "text_special"}
    seen = "".join(child.content for child in token.children).replace("\u200b", "")
    assert seen == shorten(one_line(plain(text)), 1000)
    assert "|" not in outputs.sentence(text)  # it may stand in a cell


def test_outside_of_code_no_mention_or_reference_is_left(judgement):
    """As GitHub looks for them: in the text that is shown, after all escapes."""
    for token in READER.parse(outputs.markdown(judgement)):
        text = "".join(child.content for child in token.children or [] if child.type != "code_inline")
        assert not re.search(r"@\w|#\w|GH-\d", text)


def test_markdown_tells_failures_before_the_table_and_the_rest_folded():
    text = outputs.markdown(usual())
    assert text.startswith("## FAIL: 1 regression, 1 warning in 4 families")
    order = [text.index(part) for part in ("- **FAIL** `cnn` accuracy: fell by", "- **WARN** `vgg16` step time",
                                           "|family|metric|", "<details>", "- Baseline: `2026-11-20T120000-drawn`",
                                           "</details>")]  # fmt: skip
    assert order == sorted(order)


@pytest.mark.parametrize(("limit", "count"), [(5_000, 60), (8_000, 60), (20_000, 60), (outputs.MAX_BYTES, 1500)])
def test_a_page_that_would_be_too_long_is_cut_and_says_by_how_much(limit, count):
    long = Finding(
        family="family" * 20,
        quantity=Quantity.METRIC,
        metric="accuracy",
        outcome=GateOutcome.FAIL,
        mark=Sign.WORSE,
        message="fell " * 100,
    )
    findings = [replace(long, family=f"{long.family}{i}") for i in range(count)]
    whole = outputs.markdown(replace(usual(), findings=findings), 10 * outputs.MAX_BYTES)
    text = outputs.markdown(replace(usual(), findings=findings), limit)
    assert len(text.encode()) <= limit < len(whole.encode())
    assert text.startswith(whole[:500].splitlines()[0])
    shown, _, end = text.partition(" more lines left out: the page would be too long\n")
    kept, _, rest = shown.rpartition("\n")
    assert whole.startswith(kept.rstrip("\n"))
    assert int(rest.replace(",", "")) + len(kept.rstrip("\n").splitlines()) == pytest.approx(
        whole.count("\n") + 1, abs=1
    )
    assert ("<details>" in text) == ("</details>" in end)


# -- GitHub


def obeyed(text):
    """What a runner makes of the lines: kind, title, message."""
    for line in text.splitlines():
        kind, title, data = re.fullmatch(r"::(error|warning|notice) title=([^:,]*)::(.*)", line).groups()
        for code, sign in (("%0D", "\r"), ("%0A", "\n"), ("%3A", ":"), ("%2C", ","), ("%25", "%")):
            title = title.replace(code, sign)
        for code, sign in (("%0D", "\r"), ("%0A", "\n"), ("%25", "%")):
            data = data.replace(code, sign)
        yield kind, title, data


def test_annotations_have_the_result_first_then_failures():
    made = usual()
    said = list(obeyed(outputs.github(made)))
    assert said[0] == ("error", "bench check", made.headline)
    assert [(kind, title) for kind, title, _ in said[1:]] == [
        ("error", "cnn, accuracy"),
        ("warning", "vgg16, step time"),
        ("notice", "new, presence"),
    ]
    assert said[1][2] == made.of(GateOutcome.FAIL)[0].message
    before = results()
    assert next(iter(obeyed(outputs.github(judge(before, again(before))))))[0] == "notice"


def test_ten_of_a_kind_are_shown_and_the_tenth_sums_up_the_rest():
    findings = [
        Finding(family=f"{outcome}{i}", quantity=Quantity.METRIC, metric="accuracy", outcome=outcome, message="m")
        for outcome in (GateOutcome.FAIL, GateOutcome.WARN)
        for i in range(25)
    ]
    said = list(obeyed(outputs.github(replace(usual(), findings=findings))))
    for kind, own, rest in (("error", 8, 17), ("warning", 9, 16)):
        mine = [title for each, title, _ in said if each == kind]
        assert len(mine) == 10
        assert mine[-1] == f"bench check: {rest} more"
        assert mine[-2] == f"{'fail' if kind == 'error' else 'warn'}{own - 1}, accuracy"


def test_no_name_adds_an_annotation_or_breaks_one(judgement):
    text = outputs.github(judgement)
    said = list(obeyed(text))
    assert len(said) == text.count("\n")
    assert all(title.startswith("bench check") or title.rpartition(", ")[2] for _, title, _ in said)
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e\ud800-\udfff]", text)
    assert all(len(line.encode()) < 4096 for line in text.splitlines())


def test_an_encoded_line_end_in_a_name_stays_as_it_was_written():
    before = results({HOSTILE["encoded"]: 0.9})
    text = outputs.github(judge(before, again(before, **{HOSTILE["encoded"]: family(0.8, draw=1)})))
    assert "title=%250A%250D%2525%2C accuracy::" in text


def test_many_differences_are_ten_errors_at_most():
    assert len(list(obeyed(outputs.github(unlike())))) == 10


# -- JSON


def strictly(text):
    return json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))


def test_json_has_all_of_the_judgement():
    policy = Policy(families={"cnn": FamilyPolicy(max_drop=0.015)}, path=Path("bench.toml"))
    before = results({"cnn": 0.9})
    made = judge(before, again(before, cnn=family(0.88, draw=1)), policy)
    data = strictly(outputs.as_json(made))
    assert (data["schema_version"], data["exit_status"], data["result"]) == (1, 1, made.headline)
    assert data["policy"] == {"path": "bench.toml", "alpha": 0.05, "max_drop": 0.01, "max_slowdown": 1.25,
                              "min_accuracy": None, "max_parameters": None, "max_drop_by_class": None,
                              "worst_value": None,
                              "families": {"cnn": {"max_drop": 0.015, "max_slowdown": 1.25, "min_accuracy": None,
                                                   "max_parameters": None, "max_drop_by_class": None,
                                                   "worst_value": None}}}  # fmt: skip
    finding = next(each for each in data["findings"] if each["metric"] == "accuracy")
    assert finding["figures"]["difference"] == -0.02
    assert finding["figures"]["max_drop"] == 0.015
    assert data["baseline"]["git_sha"] == "0123456789ab"
    assert data["candidate"]["env"]["cores"] == 4


def test_json_keeps_hostile_names_as_they_are(judgement):
    text = outputs.as_json(judgement)
    assert text.isascii()
    assert "##" not in text
    assert [each["family"] for each in strictly(text)["findings"]] == [each.family for each in judgement.findings]


def test_figures_that_json_does_not_have_are_null():
    figures = {"x": float("nan"), "y": float("inf")}
    finding = Finding(
        family="a", quantity=Quantity.METRIC, metric="accuracy", outcome=GateOutcome.WARN, figures=figures
    )
    made = replace(usual(), findings=[finding])
    assert strictly(outputs.as_json(made))["findings"][0]["figures"] == {"x": None, "y": None}
