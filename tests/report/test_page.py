"""The page as a reader, a screen reader and an attacker meet it."""

from __future__ import annotations

import base64
import csv
import hashlib
import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from importlib import resources
from pathlib import Path
from typing import Any

import pytest

from bench import report
from bench.records import RANKED_COLUMNS, Run

from .browser import opened

VOID = {"meta", "br", "img", "link", "input", "hr", "path", "line", "circle", "polyline"}


class Page(HTMLParser):
    """A parsed page: its elements with attributes, the text in them, and its scripts; refuses unbalanced elements."""

    def __init__(self, source: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.text: list[str] = []
        self.scripts: list[tuple[dict[str, str], str]] = []
        self._open: list[str] = []
        self.feed(source)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = {name: value or "" for name, value in attrs}
        self.elements.append((tag, attributes))
        if tag == "script":
            self.scripts.append((attributes, ""))
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self._open and self._open[-1] == "script":
            attributes, before = self.scripts.pop()
            self.scripts.append((attributes, before + data))
        elif self._open and self._open[-1] != "style":
            self.text.append(data)

    @property
    def words(self) -> str:
        return " ".join(" ".join(self.text).replace("\u00a0", " ").replace("\u202f", " ").split())

    def meta(self, name: str) -> list[str]:
        metas = [attributes for tag, attributes in self.elements if tag == "meta"]
        return [each["content"] for each in metas if name in (each.get("http-equiv"), each.get("name"))]

    @property
    def charts(self) -> dict[str, Any]:
        return {a["data-chart"]: json.loads(data) for a, data in self.scripts if "data-chart" in a}


def page(run: Run, folder: Path) -> Page:
    report.render(run, folder / "report.html")
    return Page((folder / "report.html").read_text(encoding="utf-8"))


def test_the_page_answers_in_order_and_leaves_out_what_says_nothing(
    run: Run, compared_run: Run, tmp_path: Path
) -> None:
    shown = page(compared_run, tmp_path)
    sections = [a["id"] for tag, a in shown.elements if tag == "section"]
    assert sections == [
        "verdict",
        "leaderboard",
        "accuracy",
        "notices",
        "ship",
        "differences",
        "search",
        "budget",
        "models",
        "data",
        "failures",
        "reproduce",
    ]
    links = [a["href"][1:] for tag, a in shown.elements if tag == "a" and a.get("href", "").startswith("#")]
    assert [link for link in links if link in sections][1:13] == sections  # the contents, behind the skip link
    without = [a["id"] for tag, a in page(run, tmp_path).elements if tag == "section"]
    assert "differences" not in without


def test_the_leaderboard_needs_no_script(run: Run, tmp_path: Path) -> None:
    words = page(run, tmp_path).words
    assert "1 mobilenet_v2 ship random weights 93.3 % 88.7–96.1 % – 8.5 ms 2.4 M 1 min 35 s" in words
    assert "2 other seeds: 90.0–91.7 % −2.2 1.4 ms" in words
    assert "– vgg16 skipped: no ImageNet weights" in words
    assert "– chance 50.0 % Always answering cat" in words


def test_with_folds_validation_is_their_mean_and_its_spread_everywhere(folded_run: Run, tmp_path: Path) -> None:
    shown = page(folded_run, tmp_path)
    assert "8.5 ms 2.4 M 1 min 35 s 93.9 % ± 2.2" in shown.words  # the board
    assert "complete 86.1 % ± 2.2 8" in shown.words  # the trials
    assert "pruned 61.0 % 3" in shown.words  # stopped in its first fold
    assert shown.words.count("mean of 5 folds ± standard deviation") == 2
    assert "trained again on all folds together" in shown.words
    assert "020 in 5 folds · 180 test" in shown.words


def test_without_folds_the_page_has_no_word_of_them(run: Run, tmp_path: Path) -> None:
    shown = page(run, tmp_path)
    assert not re.search(r"\bfolds?\b", shown.words.replace('"folds": 0', ""))  # the configuration, as JSON
    assert "±" not in shown.words


def test_both_phases_of_a_training_are_told_apart(cached_run: Run, tmp_path: Path) -> None:
    shown = page(cached_run, tmp_path)
    curves = [
        a["aria-label"].replace("\u00a0", " ").replace("\u202f", " ")
        for _, a in shown.elements
        if a.get("class") == "spark"
    ]
    phased = [curve for curve in curves if "head" in curve]
    assert phased == [
        "Validation accuracy by epoch: 72.2 % to 93.9 %, best 93.9 % of 8 epochs: 5 head, then 3 fine-tuning"
    ]
    drawn = [place for place, (_, a) in enumerate(shown.elements) if a.get("class") == "spark"][curves.index(phased[0])]
    line = next(a for tag, a in shown.elements[drawn:] if tag == "line")
    points = next(a["points"] for tag, a in shown.elements[drawn:] if tag == "polyline")
    places = [float(point.split(",")[0]) for point in points.split()]
    assert places[4] < float(line["x1"]) < places[5]
    assert "complete 93.9 % 8 5 head 3 fine-tuning 1 min 35 s" in shown.words
    assert "fine-tuning begins there" in shown.words


def test_what_the_feature_cache_saved_stands_beside_the_cold_time(cached_run: Run, tmp_path: Path) -> None:
    words = page(cached_run, tmp_path).words
    assert "the cache saved 1 min" in words
    assert words.count("the cache saved") == 2  # the answers from the record, which have the same record, saved nothing
    assert "the features of its frozen layers plus the fit, even if the features came from the cache." in words
    assert (
        "The feature cache saved 1 min 3 s of the 5 min 8 s that all training takes from a cold start (20.4 %)."
        in words
    )


def test_what_became_of_the_frozen_layers_is_in_words(cached_run: Run, tmp_path: Path) -> None:
    words = page(cached_run, tmp_path).words
    layers = "trained on the features of the frozen layers up to"
    assert f" {layers} out_relu: 5,120 numbers a picture, float32, 20.9 MB on disk, none in the cache already" in words
    assert f"head: {layers} out_relu: 5,120 numbers a view, 2 views of a training picture, float32, 38.3 MB" in words
    assert f"fine-tuning: {layers} block_14_add and block_15_project_BN" in words
    assert "float16, 1.2 GB on disk, 25.0 % in the cache already" in words
    assert "trained end to end: no layer is frozen" in words
    assert "fine-tuning: trained end to end: <img src=x onerror=alert(1)>" in words


def test_records_without_a_feature_cache_have_no_word_of_it(run: Run, tmp_path: Path) -> None:
    shown = page(run, tmp_path)
    assert " saved" not in shown.words
    assert "trained end to end" not in shown.words
    assert "fine-tuning begins" not in shown.words
    sparks = [place for place, (_, a) in enumerate(shown.elements) if a.get("class") == "spark"]
    assert not [a for place in sparks for _, a in shown.elements[place : place + 2] if a.get("class") == "phase"]


def test_every_trial_failure_and_the_way_back_are_there(run: Run, tmp_path: Path) -> None:
    words = page(run, tmp_path).words
    assert "answered from the record of cnn/optuna:tpe#0, not trained; used no budget" in words
    assert re.search(r"5 0\.31 32 0\.0021|0\.31 0\.0021", words)
    assert "stopped by the pruner" in words
    assert "ResourceExhaustedError vgg19 · random weights optuna:tpe #0 out of memory" in words
    assert "python -m bench run --budget 12 --engine optuna:tpe,keras-tuner:bayesian" in words
    assert "sha256 9f2c44c1b0d6a7e1" in words
    assert "tensorflow 2.21.0" in words


def test_every_chart_has_its_place_and_a_table(run: Run, tmp_path: Path) -> None:
    shown = page(run, tmp_path)
    assert shown.charts
    places = {a["id"]: a for _, a in shown.elements if "id" in a}
    assert all(places[chart]["role"] == "img" and places[chart]["aria-label"] for chart in shown.charts)
    assert "The best so far as a table" in shown.words


def test_a_running_page_loads_itself_again_and_a_finished_one_does_not(run: Run, tmp_path: Path) -> None:
    going = page(replace(run, status="running"), tmp_path)
    assert going.meta("refresh") == ["5"]
    assert "This page reloads every 5 seconds." in going.words
    assert page(run, tmp_path).meta("refresh") == []


def test_a_page_without_a_trial_is_small_and_says_so(empty_run: Run, tmp_path: Path) -> None:
    empty = page(empty_run, tmp_path)
    assert "No trial has finished yet" in empty.words
    assert empty.charts == {}
    assert (tmp_path / "report.html").stat().st_size < 100_000


def test_nothing_is_loaded_from_anywhere(run: Run, tmp_path: Path) -> None:
    names = {"src", "href", "action", "data", "srcset", "poster"}
    elements = page(run, tmp_path).elements
    loaded = {a[name] for _, a in elements for name in names & set(a)}
    files = {each for each in loaded if not each.startswith("#")}
    assert files <= {"leaderboard.csv", "split.json", "trials.sqlite3", "run.json"}
    assert {each[1:] for each in loaded - files} <= {a.get("id") for _, a in elements}


def test_records_in_another_storage_are_not_linked_and_no_password_is_shown(hostile_run: Run, tmp_path: Path) -> None:
    shown = page(hostile_run, tmp_path)
    assert "trials.sqlite3" not in {a.get("href") for _, a in shown.elements}
    assert "mysql://me:***@host/db" in shown.words
    assert "secret" not in shown.words
    assert "/home/alice" not in shown.words


@pytest.mark.parametrize("kind", ["run", "empty_run", "hostile_run"])
def test_only_the_pages_own_scripts_may_run(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    shown = page(request.getfixturevalue(kind), tmp_path)
    (policy,) = shown.meta("Content-Security-Policy")
    directives = dict(part.split(" ", 1) for part in policy.split("; "))
    assert directives["default-src"] == "'none'"
    assert directives["img-src"] == "data:"
    scripts = [source for attributes, source in shown.scripts if attributes.get("type") != "application/json"]
    hashes = [base64.b64encode(hashlib.sha256(source.encode()).digest()).decode() for source in scripts]
    assert directives["script-src"] == " ".join(f"'sha256-{each}'" for each in hashes)


def test_hostile_text_stays_text(hostile_run: Run, tmp_path: Path) -> None:
    shown = page(hostile_run, tmp_path)
    assert not [tag for tag, _ in shown.elements if tag in ("img", "b")]
    assert not [name for _, a in shown.elements for name in a if name.startswith("on")]
    assert "<img src=x onerror=alert(1)>" in shown.words
    markup = re.sub(r"<script>.*?</script>", "", (tmp_path / "report.html").read_text(encoding="utf-8"), flags=re.S)
    assert "<img" not in markup
    assert not set(markup) & {"\u2028", "\u2029", "\u202e", "\x1b"}
    data = re.findall(r'<script type="application/json"[^>]*>(.*?)</script>', markup, flags=re.S)
    assert data
    assert not set("".join(data)) & {"<", ">", "&"}
    assert all(block.isascii() for block in data)


def test_the_same_records_give_the_same_page(run: Run, tmp_path: Path) -> None:
    report.render(run, tmp_path / "one.html")
    report.render(run, tmp_path / "two.html")
    assert (tmp_path / "one.html").read_bytes() == (tmp_path / "two.html").read_bytes()


def test_a_page_that_cannot_be_replaced_is_left_as_it_was(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "report.html"
    target.write_text("before")

    def fail(*_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(OSError, match="disk full"):
        report.render(run, target)
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("report.html", "before")]


def test_colours_can_be_told_from_the_background_in_both_themes() -> None:
    """WCAG 2.2, success criteria 1.4.11 (graphics, 3 to 1) and 1.4.3 (text, 4.5 to 1)."""
    css = resources.files("bench.report").joinpath("templates/page.css").read_text(encoding="utf-8")
    pairs = re.findall(r"--([a-z0-9-]+): light-dark\((#[0-9a-f]{6}), (#[0-9a-f]{6})\);", css)
    themes = [{name: colours[place] for name, *colours in pairs} for place in (0, 1)]

    def luminance(colour: str) -> float:
        channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
        return sum(weight * each for weight, each in zip((0.2126, 0.7152, 0.0722), linear, strict=True))

    def contrast(one: str, other: str) -> float:
        low, high = sorted((luminance(one), luminance(other)))
        return (high + 0.05) / (low + 0.05)

    for theme in themes:
        assert all(contrast(theme[f"series-{i}"], theme["paper"]) >= 3 for i in range(1, 9))
        for name, ground in (("ink", "paper"), ("soft", "paper"), ("soft", "tint"), ("accent", "paper")):
            assert contrast(theme[name], theme[ground]) >= 4.5
        for name in ("warning", "error", "going"):
            assert contrast(theme[name], theme[f"{name}-tint"]) >= 4.5
            assert contrast(theme[name], theme["paper"]) >= 4.5


def test_the_csv_has_the_boards_columns_best_first(run: Run, tmp_path: Path) -> None:
    report.write_csv(run, tmp_path / "leaderboard.csv")
    raw = (tmp_path / "leaderboard.csv").read_bytes()
    assert raw.count(b"\r\n") == raw.count(b"\n") == 4
    rows = list(csv.DictReader(raw.decode().splitlines()))
    assert list(rows[0]) == RANKED_COLUMNS
    best = run.best(rows[0]["family"])
    assert best is not None
    assert json.loads(rows[0]["configuration"]) == dict(best.params)
    assert [(row["family"], row["test_accuracy"]) for row in rows] == [
        ("mobilenet_v2", "0.9333"), ("cnn", "0.9111"), ("dummy", "0.4944")
    ]  # fmt: skip
    assert rows[2]["input_size"] == ""
    assert {row["val_accuracy_std"] for row in rows} == {""}


def test_the_csv_of_folds_has_their_spread(folded_run: Run, tmp_path: Path) -> None:
    report.write_csv(folded_run, tmp_path / "leaderboard.csv")
    rows = list(csv.DictReader((tmp_path / "leaderboard.csv").read_text(encoding="utf-8").splitlines()))
    assert list(rows[0])[-11:-7] == ["val_accuracy_std", "seeds", "epochs", "ending"]
    assert [round(float(row["val_accuracy_std"]), 4) for row in rows] == [0.0224] * 3


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r", "\uff1d"])
def test_a_spreadsheet_sees_no_formula_in_the_csv(run: Run, tmp_path: Path, start: str) -> None:
    name = f'{start}HYPERLINK("x"),y'
    studies = tuple(
        replace(study, family=name, trials=tuple(replace(trial, family=name) for trial in study.trials))
        for study in run.studies
        if study.family == "cnn"
    )
    families = tuple(replace(family, name=name) for family in run.families if family.name == "cnn")
    report.write_csv(replace(run, studies=studies, families=families), tmp_path / "leaderboard.csv")
    with (tmp_path / "leaderboard.csv").open(encoding="utf-8", newline="") as file:
        (row,) = csv.DictReader(file)
    assert row["family"] == f"'{name}"


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["run", "hostile_run"])
def test_a_browser_draws_the_charts_and_runs_nothing_else(
    kind: str, browser: Any, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    file = tmp_path / "report.html"
    report.render(request.getfixturevalue(kind), file)
    with opened(browser, file) as shown:
        shown.evaluate("for (const each of document.querySelectorAll('details')) each.open = true")
        for chart in shown.locator("[data-chart]").all():
            place = shown.locator(f"#{chart.get_attribute('data-chart')}")
            place.scroll_into_view_if_needed()
            place.locator(".main-svg").first.wait_for()
        assert shown.locator("img[onerror], main b").count() == 0
