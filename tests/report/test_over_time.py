"""The page of the history: what is drawn, what is said, and that no name from outside can do anything."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bench.check.series import StoredResults, UnreadableFile, find, history
from bench.cli import parser
from bench.report.over_time import html
from bench.runs.results import Results
from bench.text import one_line

from ..check.test_series import HOSTILE, STEP, kept, runs
from ..report.browser import launched, opened
from ..report.test_browser import axe  # noqa: F401 (a fixture)


def page(every: list[Results], baseline: Results | None = None, **found: Any) -> str:
    return html(history(StoredResults(tuple(every), baseline, **found)))


def words(made: str) -> str:
    return " ".join(re.sub(r"<(style|script)[^>]*>.*?</\1>|<[^>]+>", " ", made, flags=re.DOTALL).split())


def test_a_change_is_drawn_where_it_is_and_told_beside_the_commits() -> None:
    made = page(runs(STEP))
    assert "The accuracy of cnn changed by more than noise." in words(made)
    assert made.count('class="phase"') == 1
    assert made.count('class="level"') == 2
    assert ">−10.0 points</text>" in made
    assert "000000007..000000008" in made
    assert "89.9\u202f%" in made


def test_no_change_is_said_with_what_would_have_been_seen() -> None:
    made = page(runs([0.9] * 12))
    assert "No accuracy changed by more than noise in 12\u00a0runs." in made
    assert "smallest visible change about" in made
    assert 'class="phase"' not in made


def test_too_few_runs_are_no_absence_of_change() -> None:
    assert "Nothing to compare yet: the latest run is the only one" in words(page(runs([0.9])))
    assert "Too few runs to see a change of accuracy: 3 with the same" in words(page(runs([0.9, 0.6, 0.6])))
    assert "No accuracy changed by more than noise" not in words(page(runs([0.9, 0.6])))


def test_a_change_that_may_be_a_seeds_luck_is_no_more_than_that() -> None:
    said = words(page(runs([0.9, 0.9, 0.7, 0.7], seeds=1)))
    assert "changed by more than the test pictures explain; the noise of seeds is unknown." in said
    assert "changed by more than noise" not in said


def test_every_accuracy_is_in_a_table_and_the_baseline_is_marked() -> None:
    every = runs([0.9] * 3)
    made = page(every, every[1])
    assert made.count('<th scope="row"><bdi>run-') == 3
    assert re.search(r"run-1</bdi> <span class=\"tag\">baseline", made)


def test_what_was_left_out_is_named() -> None:
    every = runs([0.9] * 3)
    every[2] = replace(every[2], status="partial")
    said = words(page(every, unreadable=(UnreadableFile("/home/somebody/reports/bad", "damaged"),)))
    assert "run-2" in said
    assert "bad" in said
    assert "somebody" not in said
    assert "No complete run yet." in words(page([]))


def test_very_many_runs_make_a_page() -> None:
    made = page(runs([0.9] * 230, seeds=1))
    assert made.count('<th scope="row"><bdi>run-') == 200
    assert "30\u00a0earlier runs not listed" in made


def hostile() -> list[Results]:
    return [
        replace(
            each,
            run=f"{HOSTILE}{at}",
            git_sha=HOSTILE,
            created_utc=f"2026-01-{at + 1:02}{HOSTILE}",
            config={**each.config, HOSTILE: HOSTILE} if at > 2 else each.config,
            split=replace(each.split, source=HOSTILE),
            families={HOSTILE: each.families["cnn"]},
            env=replace(each.env, cpu=HOSTILE),
        )
        for at, each in enumerate(runs(STEP))
    ]


def test_names_from_outside_stay_text() -> None:
    made = page(hostile())
    assert "<img" not in made
    assert "\x1b" not in made
    assert "\u202e" not in made
    assert one_line(HOSTILE).replace("<", "&lt;").replace(">", "&gt;") in made
    assert "Content-Security-Policy" in made


def test_the_command_writes_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    monkeypatch.chdir(tmp_path)
    kept(Path("reports"), runs(STEP))
    assert parser.main(["history", "--out", "reports/history.html"]) == 0
    assert capsys.readouterr().out == "reports/history.html\n"
    assert "changed by more than noise" in Path("reports/history.html").read_text(encoding="utf-8")
    assert len(find(Path("reports")).results) == 16


@pytest.mark.slow
@pytest.mark.parametrize("width", [360, 1280])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_browser_finds_nothing_wrong_with_it(tmp_path: Path, axe: str, width: int, scheme: str) -> None:  # noqa: F811
    path = tmp_path / "history.html"
    path.write_text(page(hostile()), encoding="utf-8")
    options = {"viewport": {"width": width, "height": 800}, "color_scheme": scheme}
    with launched() as browser, opened(browser, path, **options) as shown:
        for details in shown.locator("details").all():
            details.evaluate("each => { each.open = true; }")
        assert shown.evaluate("document.documentElement.scrollWidth") <= width
        shown.evaluate(axe)
        found = shown.evaluate("axe.run()")
        assert [(each["id"], each["nodes"][0]["html"]) for each in found["violations"]] == []
