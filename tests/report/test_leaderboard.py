"""The leaderboard as a reader meets it without a script, and what it gives its script."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bench import text
from bench.records import (
    COMPLETE,
    FAIL,
    LEADERBOARD_COLUMNS,
    Ending,
    Failure,
    FailureKind,
    FamilyInfo,
    Run,
    Study,
    Trial,
)
from bench.report.figures import anchor
from bench.report.sections import leaderboard, recommendation

from .conftest import TPE, build, failed, only, plain, section, trial


def words(run: Run) -> str:
    return plain(section(run, "leaderboard"))


def data(markup: str) -> dict[str, list[object]]:
    found = re.search(r'<script type="application/json" id="board-data">(.*?)</script>', markup, re.S)
    assert found
    return json.loads(found[1])


@pytest.fixture
def long_run() -> Run:
    """A family of 500 trials, every fifth of which failed; accuracy goes up and down, later ones cost more."""
    trials = tuple(
        failed("cnn", TPE, number, number + 1, Failure(FailureKind.EXCEPTION, "broken", error="Error"))
        if number % 5 == 4
        else trial("cnn", TPE, number, number + 1, 0.5 + (7 * number % 100) / 250, 10.0 + number, 1000 + number)
        for number in range(500)
    )
    return build((Study("cnn", TPE, trials),), (FamilyInfo("cnn"),))


def test_a_family_is_one_body_of_its_row_and_its_trials(run: Run) -> None:
    markup = section(run, "leaderboard")
    heads = re.findall(r'<tbody class=.*?<th scope="row".*?<bdi>(.*?)</bdi>', markup, re.S)
    assert heads == ["mobilenet_v2", "cnn", "dummy", "mobilenet", "vgg16", "vgg19", "chance"]
    rows = re.findall(r'<tr id="(trial-[0-9a-f]{12})"', markup)
    assert sorted(rows) == sorted(anchor(each) for each in run.trials)


def test_ranks_and_differences_are_those_of_the_tests(compared_run: Run) -> None:
    rows = {row.family.name: row for row in leaderboard.board(compared_run)}
    assert [(name, row.rank, row.stars, row.is_shipped) for name, row in rows.items() if row.trial] == [
        ("mobilenet_v2", 1, "", True), ("cnn", 1, "", False), ("dummy", 3, "***", False)
    ]  # fmt: skip
    assert rows["cnn"].difference == pytest.approx(-4 / 180)
    assert plain(rows["cnn"].test).startswith("p = 1, 95 % interval −8.4 to +3.8 points")
    assert "−43.9 *** p < 0.001, 95 % interval" in words(compared_run)


def test_without_predictions_the_difference_is_plain(run: Run) -> None:
    rows = {row.family.name: row for row in leaderboard.board(run)}
    assert [(row.rank, row.test) for row in rows.values()][:3] == [(1, ""), (1, ""), (3, "")]
    assert rows["cnn"].difference == pytest.approx(0.9111 - 0.9333)
    assert rows["mobilenet"].rank is None


def test_the_recommended_family_is_the_first_even_if_another_is_more_accurate(
    run: Run, predicted: Callable[..., Run]
) -> None:
    picture = np.arange(180)
    close = predicted(only(run, "mobilenet_v2", "cnn"), {"mobilenet_v2": picture >= 12, "cnn": picture >= 14})
    first, second, chance = leaderboard.board(close)
    assert (first.family.name, first.rank, first.is_shipped) == ("cnn", 1, True)
    assert (second.family.name, second.rank, second.is_shipped) == ("mobilenet_v2", 1, False)
    assert (chance.status, chance.value, chance.family.title) == ("chance", 0.5, "Always answering cat")


def test_a_baseline_that_is_no_better_than_chance_is_in_its_row(compared_run: Run) -> None:
    families = tuple(replace(family, learns=family.name != "dummy") for family in compared_run.families)
    *_, chance = leaderboard.board(replace(compared_run, families=families))
    assert chance.family.title == "Always answering cat; dummy is no better"
    assert [trial.family for trial in chance.trials] == ["dummy", "dummy"]


def test_lower_costs_are_darker(compared_run: Run) -> None:
    heat = {row.family.name: row.heat for row in leaderboard.board(compared_run) if row.trial}
    assert heat["cnn"]["parameters"] > heat["mobilenet_v2"]["parameters"] == 0
    assert all(0 <= share <= 1 for shares in heat.values() for share in shares.values())


def test_with_several_seeds_rows_have_the_mean_its_interval_and_the_seeds(seeded_run: Run) -> None:
    rows = {row.family.name: row for row in leaderboard.board(seeded_run)}
    assert sorted((row.rank, name) for name, row in rows.items() if row.rank) == [
        (1, "cnn"), (1, "mobilenet_v2"), (3, "dummy")
    ]  # fmt: skip
    assert rows["mobilenet_v2"].difference == pytest.approx((51 - 58) / 540)
    said = words(seeded_run)
    for family, mean, seeds in (
        ("cnn", "90.6", "sd 1.7: 88.9–92.2 %"),
        ("mobilenet_v2", "89.3", "sd 8.1: 82.8–98.3 %"),
    ):
        own = seeded_run.best(family)
        assert own is not None
        assert own.over_seeds is not None
        interval = text.interval(own.over_seeds.low, own.over_seeds.high).replace("\u00a0", " ").replace("\u202f", " ")
        assert f"{mean} % {interval} 3 seeds, {seeds}" in said
    assert "its accuracy is the mean of 3 seeds" in said
    assert "includes the noise of the test pictures and of the seeds" in said
    assert "Wilson" not in said
    board = data(section(seeded_run, "leaderboard"))
    families = [dict(zip(board["columns"], values, strict=True)) for values in board["families"]]  # type: ignore[call-overload]
    (cnn,) = (family for family in families if family["family"] == "cnn")
    assert (cnn["test_accuracy"], cnn["seeds"]) == (pytest.approx(163 / 180), 3)


def test_repeats_of_an_older_run_are_a_range_beside_its_one_seed(run: Run) -> None:
    said = words(run)
    assert "91.1 % 86.0–94.5 % 2 other seeds: 90.0–91.7 %" in said.replace("86.1", "86.0")
    assert "mean of" not in said
    assert "Wilson" in said


def test_the_status_says_how_a_family_stands(run: Run) -> None:
    rows = {
        row.family.name: (row.status, row.states.replace("\u00a0", " ").replace("\u202f", " "))
        for row in leaderboard.board(run)
    }
    assert rows == {
        "mobilenet_v2": ("complete", "3 complete, 1 running"),
        "cnn": ("complete", "5 complete, 1 pruned, 1 failed"),
        "dummy": ("complete", "2 complete"),
        "mobilenet": ("no result", ""),
        "vgg16": ("skipped", ""),
        "vgg19": ("failed", "1 failed"),
        "chance": ("chance", ""),
    }
    going = {row.family.name: row.status for row in leaderboard.board(replace(run, status="running"))}
    assert (going["mobilenet_v2"], going["mobilenet"]) == ("running", "waiting")


def test_every_column_can_be_sorted_by_and_is_explained(run: Run) -> None:
    markup = section(run, "leaderboard")
    buttons = re.findall(r'<button type="button" data-sort="(\w+)" aria-describedby="([\w-]+)">', markup)
    assert len(buttons) == 13
    assert {key for key, _ in buttons} <= set(leaderboard.BOARD_COLUMNS)
    for _, about in buttons:
        assert re.search(rf'role="tooltip" id="{about}">[^<]{{20,}}', markup)
    assert markup.count('aria-sort="ascending"') == 1


def test_its_script_gets_a_row_for_every_family_and_every_trial(run: Run) -> None:
    own = data(section(run, "leaderboard"))
    families = [dict(zip(own["columns"], row, strict=True)) for row in own["families"]]
    assert [(each["family"], each["rank"], each["test_accuracy"]) for each in families[:3]] == [
        ("mobilenet_v2", 1, 0.9333), ("cnn", 1, 0.9111), ("dummy", 3, 0.4944)
    ]  # fmt: skip
    assert families[3]["train_time_s"] is None
    assert own["trialColumns"] == [*LEADERBOARD_COLUMNS, "params"]
    assert set(own["trials"]) == {anchor(each) for each in run.trials}


def test_states_to_choose_from_are_those_of_trials_and_of_families_without_one(run: Run) -> None:
    assert leaderboard.section(run).states == {
        "complete": 10, "running": 1, "pruned": 1, "fail": 2, "no result": 1, "skipped": 1
    }  # fmt: skip


def test_a_long_list_of_trials_is_cut_but_never_what_matters(long_run: Run) -> None:
    row, _ = leaderboard.board(long_run)
    shown = row.trials
    assert leaderboard.LISTED <= len(shown) <= 1.5 * leaderboard.LISTED
    assert len(shown) + row.left_out == 500
    assert [each.number for each in shown] == sorted(each.number for each in shown)
    numbers = {each.number for each in shown}
    assert {each.number for each in recommendation.efficient(long_run)} <= numbers
    best = long_run.best("cnn")
    assert best is not None
    assert best.number in numbers
    assert Counter(each.state for each in shown)[FAIL] == leaderboard.FAILURES
    worst = min((each for each in long_run.trials if each.state == COMPLETE), key=lambda each: each.value or 0)
    assert (worst.value or 0) < min(each.value or 1 for each in shown[10:] if each.state == COMPLETE)
    assert f"{len(shown)} of them are listed" in words(long_run)
    assert f"The other {row.left_out} are in the raw data of" in words(long_run)


def test_an_answer_from_the_record_says_so_once() -> None:
    answered = trial("cnn", TPE, 1, 0, 0.9, 3.0, 10, duplicate_of="cnn/optuna:tpe#0", ending=Ending.RECORD)
    run = build((Study("cnn", TPE, (trial("cnn", TPE, 0, 1, 0.9, 3.0, 10), answered)),), (FamilyInfo("cnn"),))
    assert section(run, "leaderboard").count("answered from the record of cnn/optuna:tpe#0") == 1


def test_a_trials_row_is_light(cached_run: Run, long_run: Run) -> None:
    rows = re.findall(r'<tr id="trial-.*?</tr>', section(long_run, "leaderboard"), re.S)
    assert max(map(len, rows)) < 1000
    rows = re.findall(r'<tr id="trial-.*?</tr>', section(cached_run, "leaderboard"), re.S)
    assert max(map(len, rows)) < 2000  # two phases of frozen layers in words
    assert sum(map(len, rows)) / len(rows) < 1000


def test_an_anchor_is_safe_and_a_trials_own(run: Run, hostile_run: Run) -> None:
    every = [*run.trials, *hostile_run.trials]
    assert len({anchor(each) for each in every}) == len(every)
    assert all(re.fullmatch(r"trial-[0-9a-f]{12}", anchor(each)) for each in every)
    first = run.trials[0]
    assert anchor(Trial(first.family, first.engine, first.number, 0, FAIL)) == anchor(first)


def test_a_run_without_families_has_an_empty_board_and_no_controls(tmp_path: Path) -> None:
    markup = section(build((), ()), "leaderboard")
    assert 'id="controls"' not in markup
    assert data(markup)["families"] == []
