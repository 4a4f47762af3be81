"""The page, the tables and the texts of a run that asks for another metric than accuracy."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench import report, text
from bench.cli.console import print_board
from bench.records import Leader, Run, Trial
from bench.report import index, page, svg
from bench.report.sections import cost_charts, leaderboard, recommendation, search_history
from bench.report.sections.notices import notices
from bench.report.sections.verdict import verdict
from bench.runs.standings import recommended, scored

from .browser import opened
from .conftest import plain, section
from .generated import Size, generate, with_metrics
from .saved import save_predictions

SIZE = Size(trials=60, families=4, engines=2, epochs=4, pictures=240, classes=3)


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Run]:
    folders: dict[int, Run] = {}

    def of(*names: str, seeds: int = 1) -> Run:
        if seeds not in folders:
            folders[seeds] = generate(tmp_path_factory.mktemp("run"), replace(SIZE, seeds=seeds))
        return with_metrics(folders[seeds], *names)

    return of


def board_of(run: Run) -> str:
    stream = io.StringIO()
    print_board(run, Path("report.html"), stream)
    return text.plain(stream.getvalue())


def best_first(run: Run) -> list[float]:
    return [trial.test_value for trial in scored(run) if trial.test_value is not None]


def test_a_loss_is_ranked_from_its_lowest_value_and_shipped(drawn: Callable[..., Run]) -> None:
    run = drawn("log_loss")
    values = best_first(run)
    assert values == sorted(values)
    shipped = recommended(run)
    assert shipped
    assert shipped.test_value == values[0]
    headline = text.plain(verdict(run).headline)
    assert headline.startswith(f"Ship family_03 · random weights: log loss {values[0]:.3f} (")
    assert "%" not in headline
    assert "accura" not in headline


def test_the_next_family_is_behind_in_the_units_of_the_metric(drawn: Callable[..., Run]) -> None:
    for name, words in (
        ("log_loss", r"0\.\d{3} better in log loss"),
        ("macro_f1", r"\d+\.\d points of macro F1 better"),
    ):
        run = drawn(name)
        first, _, third, *_ = [trial.family for trial in scored(run)]
        both = replace(run, families=tuple(family for family in run.families if family.name in (first, third)))
        assert re.search(rf", {words} than {third}", text.plain(verdict(both).headline))


def test_the_page_speaks_of_its_metric(drawn: Callable[..., Run]) -> None:
    run = drawn("log_loss")
    for name in ("leaderboard", "cost_charts", "search_history", "slices", "recommendation", "differences"):
        shown = plain(section(run, name))
        assert "log loss" in shown, name
        assert "accurate" not in shown, name
        assert not re.findall(r"(?<!Test )\baccurac", shown), name
    titles = re.findall(r'<h2 id="[^"]*">([^<]*)</h2>', page.html(run))
    assert {"Log loss and cost", "Against the best"} < set(titles)


def test_better_is_up_and_to_the_right(drawn: Callable[..., Run]) -> None:
    run = drawn("log_loss")
    left, right = leaderboard.board_scale(run)
    assert left > max(best_first(run)) > min(best_first(run)) > right == 0
    charts = cost_charts.section(run)
    assert charts
    marks = re.findall(r"translate\(([\d.]+) ([\d.]+)\)", charts.charts["parameters"].drawing)
    heights = [float(y) for _, y in marks]
    assert heights == sorted(heights)  # the best trial is the first, and y grows downwards
    axis = svg.values("", 0.1, 0.4, run.metric)
    assert axis.low > axis.high
    figure = search_history.section(run).figure
    assert figure
    bottom, top = figure["layout"]["yaxis"]["range"]
    assert bottom > top
    assert "ticksuffix" not in figure["layout"]["yaxis"]
    (board,) = re.findall(r'<polyline points="([^"]*)"', section(run, "leaderboard"))[:1]
    ends = [float(point.split(",")[1]) for point in board.split()]
    assert ends[0] > ends[-1]  # a falling loss rises


def test_the_best_so_far_of_a_loss_falls(drawn: Callable[..., Run]) -> None:
    for steps in search_history.best_so_far(drawn("log_loss")).values():
        best = [step.best for step in steps if step.best is not None]
        assert best == sorted(best, reverse=True)
        assert best[0] > best[-1]


def test_no_candidate_is_beaten_in_the_metric_and_all_costs(drawn: Callable[..., Run]) -> None:
    run = drawn("log_loss")
    costs = [(trial.value, *(recommendation.cost_of(trial, cost) for cost in recommendation.LIMITS))
             for trial in recommendation.efficient(run)]  # fmt: skip
    assert costs == sorted(costs)
    assert not any(
        all(a <= b for a, b in zip(one, other, strict=True)) for one in costs for other in costs if one is not other
    )


def test_further_metrics_are_columns_and_accuracy_can_be_chosen(drawn: Callable[..., Run]) -> None:
    run = drawn("recall:class 1", "roc_auc")
    others = leaderboard.section(run).others
    assert [(other.metric.name, other.optional) for other in others] == [("roc_auc", False), ("accuracy", True)]
    shown = plain(section(run, "leaderboard"))
    assert "Test recall of class 1" in shown
    assert "Test ROC AUC" in shown
    assert "The best constant answer" not in shown  # such an answer can have a recall of 100 %
    assert [other.metric.name for other in leaderboard.section(drawn("macro_f1", "accuracy")).others] == ["accuracy"]
    assert leaderboard.section(drawn("accuracy")).others == []


def test_terminal_markdown_and_notebook_show_the_metric(drawn: Callable[..., Run]) -> None:
    run = drawn("macro_f1", "roc_auc")
    first = scored(run)[0]
    value = f"{100 * (first.test_value or 0):.1f} %"
    board, markdown = board_of(run), text.plain(report.markdown(run))
    assert "test macro F1" in board.splitlines()[0]
    assert "test ROC AUC" in board.splitlines()[0]
    assert value in board.splitlines()[1]
    assert "|test macro F1|95 % interval|difference|test ROC AUC|" in markdown
    assert "points|" in markdown
    assert f"best family_03 macro F1 {value}" in repr(run)
    assert "<th>macro F1</th>" in run._repr_html_()
    loss = drawn("log_loss")
    assert "test log loss" in board_of(loss)
    assert re.search(r"\|1\|`family_03`, random weights\|0\.\d{3}\|0\.\d{3}–0\.\d{3}\|–\|", report.markdown(loss))


def test_the_csv_has_accuracies_and_after_them_the_metrics(drawn: Callable[..., Run], tmp_path: Path) -> None:
    run = drawn("log_loss", "balanced_accuracy", seeds=3)
    report.write_csv(run, tmp_path / "leaderboard.csv")
    rows = list(csv.DictReader((tmp_path / "leaderboard.csv").read_text(encoding="utf-8").splitlines()))
    assert list(rows[0])[-7:] == [
        "metric", "val_log_loss", "test_log_loss", "test_log_loss_low", "test_log_loss_high",
        "test_balanced_accuracy_low", "test_balanced_accuracy_high",
    ]  # fmt: skip
    first = scored(run)[0]
    assert first.over_seeds
    assert (rows[0]["metric"], float(rows[0]["test_log_loss"])) == ("log_loss", pytest.approx(first.over_seeds.value))
    low, accuracy, high = (float(rows[0][f"test_accuracy{end}"]) for end in ("_low", "", "_high"))
    assert low < accuracy < high
    assert accuracy == pytest.approx(first.test_accuracy)
    assert float(rows[0]["val_accuracy"]) == pytest.approx(1 - float(rows[0]["val_log_loss"]))
    frame = run.leaderboard()
    assert list(frame.columns) == list(rows[0])
    assert list(drawn("accuracy").leaderboard().columns)[-2:] == ["recommended", "metric"]


def test_a_list_of_runs_names_the_metric(drawn: Callable[..., Run]) -> None:
    run = drawn("log_loss")
    leader = Leader.of(scored(run)[0])
    record: Any = type("Record", (), {"best": leader})()
    assert text.plain(index.result(record).shown) == f"log loss {leader.test_value:.3f}"
    assert index.result(record).interval == f"{leader.test_low:.3f}–{leader.test_high:.3f}"


# -- unbalanced classes


@pytest.fixture
def unbalanced(tmp_path: Path) -> Run:
    """Thirty pictures of one class to one of the other, and models that say the same of all."""
    run = generate(tmp_path, Size(trials=8, families=2, engines=1, epochs=2, pictures=372, classes=2))
    labels = np.repeat([0, 1], [360, 12])
    shares = {"train": (900, 30), "validation": (360, 12), "test": (360, 12)}
    classes = ("free", "crack")
    counts = {part: dict(zip(classes, pair, strict=True)) for part, pair in shares.items()}
    for trial in run.ranking():
        probabilities = np.tile([0.9, 0.1], (372, 1))
        save_predictions(tmp_path, trial.family, [f"{n:064x}" for n in range(372)], labels, probabilities)

    def constant(trial: Trial) -> Trial:
        if trial.test is None:
            return trial
        return replace(trial, test=replace(trial.test, n=372, accuracy=360 / 372, accuracy_low=0.94, accuracy_high=0.98,
                                           balanced_accuracy=0.5))  # fmt: skip

    studies = (replace(study, trials=tuple(map(constant, study.trials))) for study in run.studies)
    return replace(run, split=replace(run.split, classes=classes, counts=counts), studies=tuple(studies))


def test_where_no_model_finds_a_class_the_verdict_says_just_that(unbalanced: Run) -> None:
    said = text.plain(verdict(unbalanced).headline)
    assert said.startswith(
        "No model finds crack: 0 of 12 test pictures, and none is better than always answering the most frequent class "
        "(96.8 %); the most accurate, "
    )
    assert verdict(unbalanced).shipped is None
    by_balance = text.plain(verdict(with_metrics(unbalanced, "balanced_accuracy")).headline)
    assert by_balance.startswith(
        "No model finds crack: 0 of 12 test pictures, and none is better than the best constant answer "
        "(balanced accuracy 50.0 %); the best, "
    )


def test_unbalanced_classes_have_balanced_accuracy_beside_accuracy(unbalanced: Run) -> None:
    (notice,) = [notice for notice in notices(unbalanced) if notice.title == "Unbalanced classes"]
    assert notice.text.startswith("The largest class has 30 times the training pictures of the smallest")
    assert "--metric balanced_accuracy" in notice.text
    (column,) = leaderboard.section(unbalanced).others
    assert (column.metric.name, column.optional) == ("balanced_accuracy", False)
    assert "test balanced accuracy" in board_of(unbalanced).splitlines()[0]
    named = with_metrics(unbalanced, "balanced_accuracy")
    assert "Unbalanced classes" not in [notice.title for notice in notices(named)]


def test_a_hostile_class_in_the_name_of_the_metric_is_text(drawn: Callable[..., Run]) -> None:
    run = drawn("accuracy")
    hostile = "<img src=x onerror=alert(1)>\"'{0}"
    classes = (hostile, *run.split.classes[1:])
    counts = {part: dict(zip(classes, by_class.values(), strict=True)) for part, by_class in run.split.counts.items()}
    run = with_metrics(
        replace(run, split=replace(run.split, classes=classes, counts=counts)), f"recall:{hostile}", "mcc"
    )
    assert "<img src=x" not in page.html(run)
    assert "<img src=x" not in run._repr_html_()
    assert "Recall of <img src=x" in plain(page.html(run))


# -- in a browser


@pytest.fixture(scope="module")
def loss_page(drawn: Callable[..., Run], tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("page") / "report.html"
    file.write_text(page.html(drawn("log_loss")), encoding="utf-8")
    return file


@pytest.mark.slow
def test_a_loss_is_sorted_from_its_lowest_value_and_accuracy_from_its_highest(browser: Any, loss_page: Path) -> None:
    def values(tab: Any, column: str) -> list[float]:
        cells = tab.locator(f"#board > tbody:not(.baseline) > tr:first-child > .{column}").all_inner_texts()
        return [float(re.findall(r"[\d.]+", cell)[0]) for cell in cells]

    with opened(browser, loss_page) as tab:
        tab.locator('button[data-sort="test_log_loss"]').click()
        losses = values(tab, "accuracy")
        assert losses == sorted(losses)
        assert len(losses) == 4
        assert tab.locator("#board th[aria-sort]").get_attribute("aria-sort") == "ascending"
        tab.locator('button[data-sort="test_log_loss"]').click()
        assert values(tab, "accuracy") == losses[::-1]
        assert not tab.locator('button[data-sort="test_accuracy"]').is_visible()
        tab.locator("#columns > summary").click()
        tab.locator("#column-choices label", has_text="Test accuracy").click()
        tab.locator("#columns > summary").click()
        tab.locator('button[data-sort="test_accuracy"]').click()
        accuracies = values(tab, "c-test_accuracy")
        assert accuracies == sorted(accuracies, reverse=True)
        assert tab.locator("#board td.accuracy").first.is_visible()
