"""The page in a real browser: what a reader does with it, with a mouse and without, and what axe-core finds.

Every page is opened from disk in a browser that is offline; one that says anything on its console, asks for anything
that is not a file, or runs into its own policy fails its test (`browser.opened`).
"""

from __future__ import annotations

import csv
import json
import re
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.base import AXE_SCRIPT
from PIL import Image
from playwright.sync_api import Browser, Page

import bench
from bench import report
from bench.cli import parser
from bench.records import FAIL, Run
from bench.report import index
from bench.runs import store
from bench.runs.standings import recommended
from bench.text import one_line, percent

from .browser import opened
from .shown import SHOWN, save_shown

pytestmark = pytest.mark.slow

COLUMNS = "rank family test_accuracy difference latency_ms parameters train_time_s state".split()
CHOSEN = "val_accuracy macs peak_rss_mb weights engine".split()
"""Columns that a reader can add."""


@pytest.fixture(scope="module")
def drawn() -> dict[str, Path]:
    """The pages that are drawn already, by the name of their run."""
    return {}


@pytest.fixture
def page_of(
    drawn: dict[str, Path], tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Callable[[str], Path]:
    """Draws the page of a saved run, once: one of `SHOWN`, or a golden one."""

    def give(name: str) -> Path:
        if name not in drawn:
            folder = tmp_path_factory.mktemp("saved") / name
            save_shown(name, folder, request.getfixturevalue)
            drawn[name] = folder / "report.html"
            report.render(bench.load(folder), drawn[name])
        return drawn[name]

    return give


# -- what is on the leaderboard


def board(page: Page) -> dict[str, Any]:
    data: dict[str, Any] = json.loads(page.locator("#board-data").text_content() or "")
    return data


def families(page: Page) -> list[str]:
    """The families that are shown, from the top, without the line of chance."""
    shown = "[...board.tBodies].filter((each) => each.checkVisibility() && !each.classList.contains('baseline'))"
    names = page.evaluate(f"{shown}.map((each) => each.querySelector('th[scope=row] bdi').textContent)")
    return [one_line(name) for name in names]


def anchors(page: Page) -> list[str]:
    """The trials that are shown, from the top, by the id of their row."""
    shown = "[...board.querySelectorAll('tr[id]')].filter((each) => each.checkVisibility())"
    return list(page.evaluate(f"{shown}.map((each) => each.id)"))


def column(page: Page, key: str) -> list[Any]:
    """What the families have in a column, from the top, in full."""
    data = board(page)
    rows = [dict(zip(data["columns"], values, strict=True)) for values in data["families"]]
    known = {row["family"]: row[key] for row in rows}
    return [known[family] for family in families(page)]


def paper(page: Page) -> str:
    """The colour of the page."""
    return str(page.evaluate("getComputedStyle(document.body).backgroundColor"))


def is_sorted(values: list[Any], direction: str) -> bool:
    """Whether values stand in that order, with what is missing at the end."""
    present = [each.lower() if isinstance(each, str) else each for each in values if each is not None]
    return values[len(present) :] == [None] * (len(values) - len(present)) and present == sorted(
        present, reverse=direction == "descending"
    )


PRESSED = """
(key) => {
  document.querySelector(`button[data-sort=${key}]`).click();
  return [...board.querySelectorAll("th[aria-sort]")].map((each) => [each.firstChild.dataset.sort, each.ariaSort]);
}
"""


@pytest.mark.parametrize("name", SHOWN)
def test_every_column_sorts_both_ways(name: str, browser: Browser, page_of: Callable[[str], Path]) -> None:
    with opened(browser, page_of(name)) as page:
        every = set(families(page))
        assert every
        for key in COLUMNS + CHOSEN:
            seen = set()
            for _ in range(2):
                ((sorted_by, direction),) = page.evaluate(PRESSED, key)
                assert sorted_by == key
                assert is_sorted(column(page, key), direction), (key, direction, column(page, key))
                assert set(families(page)) == every
                seen.add(direction)
            assert seen == {"ascending", "descending"}


def test_the_keyboard_alone_reaches_sort_filter_and_fold(browser: Browser, page_of: Callable[[str], Path]) -> None:
    with opened(browser, page_of("engines")) as page:
        page.keyboard.press("Tab")  # the theme or the link that skips to the leaderboard
        reached = set()
        for _ in range(30):
            page.keyboard.press("Tab")
            reached.add(page.evaluate("document.activeElement.dataset.sort ?? document.activeElement.id"))
        assert reached >= {"filter", "export", *COLUMNS}
        page.locator("button[data-sort=parameters]").focus()
        page.keyboard.press("Space")
        assert is_sorted(column(page, "parameters"), "ascending")
        assert page.locator("button[data-sort=parameters]").evaluate("each => each === document.activeElement")
        unfold = page.locator("button.unfold").first
        unfold.focus()
        page.keyboard.press("Enter")
        assert len(anchors(page)) > 0
        page.keyboard.press("Space")
        assert anchors(page) == []


def test_a_text_filters_families_and_trials(browser: Browser, page_of: Callable[[str], Path]) -> None:
    with opened(browser, page_of("hostile")) as page:
        every = families(page)
        page.locator("#filter").fill(every[-1])
        assert every[-1] in families(page)
        assert len(families(page)) < len(every) or all(every[-1] in each for each in every)
        page.locator("#filter").fill("no family is called so")
        assert families(page) == []
        assert page.locator("#shown").inner_text() == "No family or trial matches the filter."
        page.locator("#filter").fill("")
        assert families(page) == every


def test_states_filter_trials(browser: Browser, page_of: Callable[[str], Path]) -> None:
    with opened(browser, page_of("engines")) as page:
        for unfold in page.locator("button.unfold").all():
            unfold.click()
        every = anchors(page)
        data = board(page)
        states = {anchor: values[data["trialColumns"].index("state")] for anchor, values in data["trials"].items()}
        failed = page.locator("button[data-state=fail]")
        failed.click()
        assert failed.get_attribute("aria-pressed") == "true"
        assert anchors(page) == [each for each in every if states[each] == "fail"] != []
        page.locator("button[data-state=complete]").click()
        assert anchors(page) == [each for each in every if states[each] in ("fail", "complete")]
        failed.click()
        assert {states[each] for each in anchors(page)} == {"complete"}


@pytest.mark.parametrize("name", SHOWN)
def test_what_is_shown_is_what_is_exported(
    name: str, browser: Browser, page_of: Callable[[str], Path], tmp_path: Path
) -> None:
    with opened(browser, page_of(name)) as page:
        page.locator("button[data-sort=test_accuracy]").click()
        page.locator("tbody:not(.baseline) button.unfold").last.click()
        page.locator("#filter").fill("#0")
        data = board(page)
        expected = column(page, "family")
        trials = [data["trials"][each] for each in anchors(page)]
        with page.expect_download() as download:
            page.locator("#export").click()
        download.value.save_as(tmp_path / "shown.csv")
    with (tmp_path / "shown.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert rows
    assert trials
    exported = [plain(each["family"]) for each in rows if each["row"] == "family" and each["family"] != "chance"]
    assert exported == expected
    own = [dict(zip(data["trialColumns"], values, strict=True)) for values in trials]
    exported = [each for each in rows if each["row"] == "trial"]
    for key in ("family", "engine", "trial", "state", "val_accuracy", "parameters"):
        assert [plain(each[key]) for each in exported] == [text(each[key]) for each in own]
    assert not [cell for each in rows for cell in each.values() if cell.startswith(("=", "+", "@"))]


def text(value: object) -> str:
    """As JavaScript writes it."""
    return "" if value is None else f"{value:.17g}" if isinstance(value, float) and value == int(value) else str(value)


def plain(cell: str) -> str:
    """Without the apostrophe that keeps a spreadsheet from reading a formula."""
    return cell[1:] if cell.startswith(("'=", "'+", "'-", "'@")) else cell


@pytest.mark.parametrize("name", SHOWN)
def test_a_fresh_tab_shows_what_the_address_says(name: str, browser: Browser, page_of: Callable[[str], Path]) -> None:
    def state(page: Page) -> list[object]:
        return [
            families(page),
            anchors(page),
            page.locator("#board th[aria-sort]").inner_text(),
            page.locator("#filter").input_value(),
            paper(page),
        ]

    with opened(browser, page_of(name)) as page:
        before = state(page)
        page.locator("button[data-sort=family]").press("Enter")
        page.locator("button[data-sort=family]").press("Enter")
        page.locator("#filter").fill("#0")
        page.locator("button.unfold").first.click()
        page.locator("#theme").click()
        page.locator("#theme").click()
        left, fragment = state(page), page.evaluate("location.hash")
        assert all(one != other for one, other in zip(before[1:], left[1:], strict=True))
    with opened(browser, page_of(name), fragment) as fresh:
        assert state(fresh) == left


@pytest.mark.parametrize("system", ["light", "dark"])
def test_the_theme_follows_the_system_until_the_reader_chooses(
    system: str, browser: Browser, page_of: Callable[[str], Path]
) -> None:
    with opened(browser, page_of("engines"), color_scheme=system) as page:
        colours = [paper(page)]
        for _ in range(3):
            page.locator("#theme").click()
            colours.append(paper(page))
        auto, light, dark, again = colours
        assert light != dark
        assert auto == again == {"light": light, "dark": dark}[system]


def test_a_mark_in_a_chart_leads_to_its_trial(browser: Browser, page_of: Callable[[str], Path]) -> None:
    with opened(browser, page_of("seeds"), reduced_motion="reduce") as page:
        page.locator("#filter").fill("nothing is left")
        page.locator("#accuracy svg a path").last.click()
        page.wait_for_function("document.activeElement.id.startsWith('trial-')")
        target = page.locator(":focus")
        target.wait_for(state="visible")


@pytest.mark.parametrize("name", ["engines", "photographs"])
def test_paper_has_the_decision_the_board_and_the_charts_on_two_pages(
    name: str, browser: Browser, page_of: Callable[[str], Path]
) -> None:
    with opened(browser, page_of(name)) as page:
        closed = page.locator("details:not([open])").count()
        printed = page.pdf(format="A4", margin=dict.fromkeys(("top", "right", "bottom", "left"), "12mm"))
        assert len(re.findall(rb"/Type\s*/Page\b(?!s)", printed)) <= 2
        assert page.locator("details:not([open])").count() == closed
        page.emulate_media(media="print")
        assert page.locator("#verdict, #board, .print-faults").count() == 3
        assert not page.locator("#search").is_visible()


@pytest.mark.parametrize("name", ["engines", "photographs"])
def test_the_first_screen_holds_the_decision_and_the_board(
    name: str, browser: Browser, page_of: Callable[[str], Path]
) -> None:
    with opened(browser, page_of(name), viewport={"width": 1280, "height": 800}) as page:
        row = page.locator("#board > tbody:nth-of-type(-n + 3)").last.bounding_box()
        assert row is not None
        assert row["y"] + row["height"] <= 800
        assert page.evaluate("document.documentElement.scrollHeight") <= 5 * 800


def test_sections_are_folded_and_the_contents_lead_to_each(browser: Browser, page_of: Callable[[str], Path]) -> None:
    with opened(browser, page_of("engines"), reduced_motion="reduce") as page:
        assert page.locator("details.fold[open]").count() == 0
        links = [link.get_attribute("href") for link in page.locator(".contents a").all()]
        assert {"#verdict", "#leaderboard", "#search", "#models", "#data", "#reproduce"} <= set(links)
        for link in links:
            page.locator(".contents > summary").click()
            page.locator(f'.contents a[href="{link}"]').click()
            assert not page.locator(".contents").evaluate("each => each.open")
            assert page.locator(f"{link}").evaluate("each => each.querySelector(':scope > .fold')?.open ?? true")
            assert page.locator(f"{link}").evaluate("each => each === document.activeElement")
    with opened(browser, page_of("engines"), "#models") as fresh:
        assert fresh.locator("#models > details").evaluate("each => each.open")


def test_columns_are_chosen_and_kept_in_the_address(browser: Browser, page_of: Callable[[str], Path]) -> None:
    def shown(page: Page) -> list[str]:
        heads = page.locator("#board > thead th:visible button")
        return [str(head.get_attribute("data-sort")) for head in heads.all()]

    with opened(browser, page_of("engines")) as page:
        assert shown(page) == COLUMNS
        page.locator("#columns > summary").click()
        page.get_by_role("checkbox", name="Validation").check()
        page.get_by_role("checkbox", name="MACs").check()
        assert set(shown(page)) == {*COLUMNS, "val_accuracy", "macs"}
        cells = page.locator("#board > tbody").first.locator("tr").first.locator("td:visible, th:visible")
        assert cells.count() == len(COLUMNS) + 2
        fragment = page.evaluate("location.hash")
    with opened(browser, page_of("engines"), fragment) as fresh:
        assert set(shown(fresh)) == {*COLUMNS, "val_accuracy", "macs"}
        fresh.locator("#columns > summary").click()
        fresh.get_by_role("checkbox", name="MACs").uncheck()
        assert set(shown(fresh)) == {*COLUMNS, "val_accuracy"}


def test_two_ticked_trials_stand_side_by_side(browser: Browser, page_of: Callable[[str], Path]) -> None:
    with opened(browser, page_of("engines"), reduced_motion="reduce") as page:
        for unfold in page.locator("button.unfold").all():
            unfold.click()
        ticks = page.locator("#board .tick input")
        ticks.nth(0).check()
        assert not page.locator("#side").is_visible()
        ticks.nth(1).check()
        assert page.locator("#side thead th").count() == 2
        assert ticks.nth(2).is_disabled()
        data, ids = board(page), anchors(page)[:2]
        names = {name for each in ids for name in data["trials"][each][-1]}
        heads = {head.inner_text().replace(" ", "_") for head in page.locator("#side tbody th").all()}
        assert names | {"val_accuracy", "train_time_s"} <= heads
        fragment = page.evaluate("location.hash")
        page.get_by_role("button", name="Close").click()
        assert not page.locator("#side").is_visible()
    with opened(browser, page_of("engines"), fragment) as fresh:
        assert fresh.locator("#side").is_visible()


def test_without_scripts_the_tables_are_there(browser: Browser, page_of: Callable[[str], Path]) -> None:
    with opened(browser, page_of("engines"), java_script_enabled=False) as page:
        assert page.locator("#board > tbody:visible").count() == 3  # two families and chance
        assert not page.locator("#controls").is_visible()
        assert page.locator("#board tr[id]:visible").count() > 1


@pytest.mark.parametrize("name", [*SHOWN, "seeds"])
def test_a_phone_needs_no_scrolling_sideways(name: str, browser: Browser, page_of: Callable[[str], Path]) -> None:
    phone = {"viewport": {"width": 390, "height": 844}, "is_mobile": True, "has_touch": True}
    with opened(browser, page_of(name), **phone) as page:
        page.evaluate("for (const each of document.querySelectorAll('details')) each.open = true")
        assert page.evaluate("document.documentElement.scrollWidth") <= 390


def test_several_seeds_are_means_wherever_an_accuracy_stands(browser: Browser, page_of: Callable[[str], Path]) -> None:
    run = bench.load(page_of("seeds").parent)
    leader = recommended(run)
    assert leader is not None
    assert leader.over_seeds is not None
    mean = percent(leader.over_seeds.value)
    with opened(browser, page_of("seeds")) as page:
        assert families(page)[0] == leader.family
        first = page.locator("#board tbody").first.locator("td.accuracy")
        assert mean in first.inner_text()
        assert "3\u00a0seeds, sd" in first.inner_text()
        assert mean in page.locator("#verdict .figures").inner_text()
        page.evaluate("for (const each of document.querySelectorAll('details.fold')) each.open = true")
        assert f"{mean} test accuracy" in page.locator("#answer").inner_text()
        assert (
            "Where both have several seeds, their means are compared" in page.locator("#differences-text").inner_text()
        )
        assert mean in (page.locator("#accuracy svg title").first.text_content() or "")


def test_charts_come_from_a_file_beside_the_page_too(browser: Browser, run: Run, tmp_path: Path) -> None:
    report.render(run, tmp_path / "report.html", plotlyjs="directory")
    assert (tmp_path / "report.html").stat().st_size < 1_000_000
    with opened(browser, tmp_path / "report.html") as page:
        page.locator("#search > details > summary").click()
        page.locator("#chart-search").scroll_into_view_if_needed()
        page.locator("#chart-search .scatterlayer path.point").first.wait_for()


def test_limits_choose_what_to_ship(browser: Browser, run: Run, tmp_path: Path) -> None:
    file = tmp_path / "report.html"
    report.render(run, file)
    with opened(browser, file, "#ship") as page:
        answer = page.locator("#answer .card")
        assert answer.inner_text().startswith("mobilenet_v2")
        page.locator("#limit-parameters").press("Home")
        assert answer.inner_text().startswith("dummy")
        page.locator("#limit-parameters").press("ArrowRight")
        assert answer.inner_text().startswith("cnn")
        fragment = page.evaluate("location.hash")
    with opened(browser, file, fragment) as fresh:
        fresh.locator("#ship > details > summary").click()
        assert fresh.locator("#answer .card").inner_text().startswith("cnn")


def unfolded(page: Page, *names: str) -> None:
    """Unfolds sections of the page."""
    for name in names:
        page.locator(f"#{name}").evaluate("section => section.querySelector(':scope > details').open = true")


def test_a_picture_is_enlarged_by_keyboard_with_its_name_and_probabilities(
    browser: Browser, page_of: Callable[[str], Path], axe: str
) -> None:
    with opened(browser, page_of("hostile")) as page:
        unfolded(page, "models")
        pictures = page.locator("#mistakes-1 button.photo")
        pictures.first.focus()
        page.keyboard.press("Enter")
        dialog = page.get_by_role("dialog", name="Enlarged picture")
        dialog.wait_for()
        first = page.locator("#mistakes-1 .caption").first.text_content()
        assert dialog.locator(".caption").text_content() == first
        assert dialog.locator(".more").is_visible()
        assert dialog.locator("img").evaluate("image => image.width > 150 && image.complete && image.naturalWidth > 0")
        assert dialog.get_by_role("button", name="Previous picture").is_disabled()
        assert findings(page, axe) == []
        page.keyboard.press("ArrowRight")
        assert dialog.locator(".caption").text_content() == page.locator("#mistakes-1 .caption").nth(1).text_content()
        page.keyboard.press("Escape")
        assert not dialog.is_visible()
        assert pictures.nth(1).evaluate("button => button === document.activeElement")


def test_a_number_of_the_confusion_matrix_shows_the_pictures_of_its_pair(
    browser: Browser, page_of: Callable[[str], Path]
) -> None:
    with opened(browser, page_of("hostile")) as page:
        unfolded(page, "models")
        model = page.locator("details.model").first
        cell = model.locator("a[data-pair='1-0']")
        cell.focus()
        page.keyboard.press("Enter")
        assert page.evaluate("document.activeElement.id") == "mistakes-1"
        shown = model.locator("li[data-pair]:visible")
        assert {each.get_attribute("data-pair") for each in shown.all()} == {"1-0"}
        assert model.get_by_role("status").inner_text().startswith("dog, predicted as <img src=x")
        assert f": {shown.count()} of {cell.inner_text()}." in model.get_by_role("status").inner_text()
        model.get_by_role("button", name="Show all mistakes").click()
        assert shown.count() == 10


def test_a_picture_that_is_shown_twice_is_there_once(browser: Browser, page_of: Callable[[str], Path]) -> None:
    with opened(browser, page_of("hostile")) as page:
        repeated = page.locator("#models img[data-same]")
        assert repeated.count() > 0
        assert repeated.evaluate_all("all => all.every((each) => each.src.startsWith('data:image/jpeg'))")


@pytest.mark.parametrize("name", ["engines", "hostile"])
def test_every_trial_can_be_taken_away_as_data(
    name: str, browser: Browser, page_of: Callable[[str], Path], tmp_path: Path
) -> None:
    with opened(browser, page_of(name), "#reproduce") as page:
        for ending in ("csv", "json"):
            with page.expect_download() as download:
                page.locator(f"button[data-raw={ending}]").click()
            download.value.save_as(tmp_path / f"trials.{ending}")
    trials = json.loads((tmp_path / "trials.json").read_text(encoding="utf-8"))
    run = bench.load(page_of(name).parent)
    assert [(each["trial"], each["state"]) for each in trials] == [(each.number, each.state) for each in run.trials]
    values = [each.value for each in run.trials if each.value is not None]
    assert [each["val_accuracy"] for each in trials if each["val_accuracy"] is not None] == pytest.approx(values, 1e-4)
    if name != "hostile":  # there every text is shown in another way
        every = [dict(each.params) | nearly(each.params) for each in run.trials]
        assert [each["params"] for each in trials] == every
    with (tmp_path / "trials.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["trial"] for row in rows] == [str(each.number) for each in run.trials]


def nearly(values: Mapping[str, Any]) -> dict[str, Any]:
    """The fractions among them: the page has five digits of each."""
    return {key: pytest.approx(value, 1e-4) for key, value in values.items() if isinstance(value, float)}


# -- runs without a result, and runs that go on


def no_trial(run: Run) -> Run:
    return replace(run, studies=())


def all_failed(run: Run) -> Run:
    studies = [replace(each, trials=tuple(t for t in each.trials if t.state == FAIL)) for each in run.studies]
    return replace(run, studies=tuple(each for each in studies if each.trials), status="complete")


def one_family(run: Run) -> Run:
    own = next(each for each in run.studies if each.family == "cnn")
    return replace(run, studies=(own,), families=tuple(each for each in run.families if each.name == "cnn"))


def interrupted(run: Run) -> Run:
    return replace(run, status="partial")


def going_on(run: Run) -> Run:
    return replace(run, status="running")


STATES = (no_trial, all_failed, one_family, interrupted, going_on)


def test_every_state_of_a_run_has_a_page_and_words_of_its_own(browser: Browser, run: Run, tmp_path: Path) -> None:
    heads = set()
    for state in STATES:
        file = tmp_path / f"{state.__name__}.html"
        report.render(state(run), file)
        with opened(browser, file) as page:
            heads.add(page.locator("header").inner_text() + page.locator("#verdict").inner_text())
    assert len(heads) == len(STATES)


def test_a_page_that_loads_itself_again_stays_as_it_was_left(browser: Browser, run: Run, tmp_path: Path) -> None:
    file = tmp_path / "report.html"
    report.render(going_on(run), file)
    with opened(browser, file) as page:
        page.clock.install()
        page.reload()
        page.locator("#filter").fill("cnn")
        page.locator("button.unfold:visible").first.click()
        shown, trials = families(page), anchors(page)
        page.locator("details[data-key='table accuracy'] > summary").click()
        report.render(replace(going_on(run), elapsed_s=700.0, notes=("a later note",)), file)
        with page.expect_navigation():
            page.clock.run_for(20_000)
        page.get_by_text("a later note").wait_for(state="attached")
        assert families(page) == shown
        assert anchors(page) == trials != []
        assert page.locator("details[data-key='table accuracy']").get_attribute("open") is not None


# -- axe-core


@pytest.fixture(scope="module")
def axe() -> str:
    """The script of axe-core (Deque Systems), as npm has it."""
    return str(AXE_SCRIPT)


def findings(page: Page, axe: str, *rules: str) -> list[str]:
    """What axe-core calls serious or critical, in everything that can be unfolded; by these rules, or by all."""
    page.evaluate("for (const each of document.querySelectorAll('details')) each.open = true")
    page.evaluate(axe)
    options = {"resultTypes": ["violations"], "preload": False} | ({"runOnly": list(rules)} if rules else {})
    found = page.evaluate("async (options) => (await axe.run(options)).violations", options)
    return [
        f"{rule['id']}: {node['html'][:200]} {node['failureSummary']}"
        for rule in found
        if rule["impact"] in ("serious", "critical")
        for node in rule["nodes"][:3]
    ]


def check_both_themes(page: Page, axe: str, system: str) -> None:
    """In the system's theme, then in the other one, which the reader chooses: colours are all that it changes."""
    assert findings(page, axe) == []
    before, other = paper(page), {"light": "dark", "dark": "light"}[system]
    while page.locator("#theme").inner_text() != f"Theme: {other}":
        page.locator("#theme").click()
    assert paper(page) != before
    assert findings(page, axe, "color-contrast", "link-in-text-block") == []


@pytest.mark.parametrize(
    ("name", "system"), [("engines", "light"), ("photographs", "dark"), ("hostile", "dark"), ("seeds", "light")]
)
def test_axe_finds_nothing_serious_in_either_theme(
    name: str, system: str, browser: Browser, page_of: Callable[[str], Path], axe: str
) -> None:
    with opened(browser, page_of(name), color_scheme=system) as page:
        check_both_themes(page, axe, system)


def test_axe_finds_nothing_serious_in_comparison_and_list(
    browser: Browser, page_of: Callable[[str], Path], axe: str, tmp_path: Path
) -> None:
    runs = [tmp_path / name for name in ("engines", "hostile")]
    for run in runs:
        run.symlink_to(page_of(run.name).parent)
    assert parser.main(["compare", *map(str, runs), "--out", str(tmp_path / "comparison.html")]) == 0
    index.write(store.summaries(tmp_path), tmp_path / "index.html")
    for file, system in (("comparison.html", "light"), ("index.html", "dark")):
        with opened(browser, tmp_path / file, color_scheme=system) as page:
            check_both_themes(page, axe, system)


# -- the pictures of the README


def test_a_script_takes_the_pictures_of_the_readme(
    browser: Browser, page_of: Callable[[str], Path], tmp_path: Path
) -> None:
    script = Path(__file__).parents[2] / "docs" / "screenshots.py"
    command = [sys.executable, str(script), str(page_of("engines").parent), "--out", str(tmp_path)]
    subprocess.run(command, check=True, timeout=60)
    sizes = {}
    for name in ("light", "dark", "phone"):
        file = tmp_path / f"leaderboard-{name}.png"
        assert file.stat().st_size < 250_000
        with Image.open(file) as picture:
            sizes[name] = picture.width
            corner = picture.convert("L").getpixel((2, 2))
            assert (corner < 80) == (name == "dark")
    assert sizes == {"light": 1280, "dark": 1280, "phone": 780}
