"""What the page says of the search: what engines found and when, every trial, spaces, workers, the feature cache."""

from __future__ import annotations

import json
import math
import random
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bench import report, text
from bench.config import RunConfig
from bench.records import (
    COMPLETE,
    FAIL,
    PRUNED,
    RUNNING,
    Failure,
    FailureKind,
    Run,
    Screening,
    Trial,
)
from bench.report.figures import anchor
from bench.report.sections import search_history
from bench.report.sections.feature_cache import saved
from bench.report.sections.slices import DRAWN, FamilySlices, slices
from bench.report.sections.timeline import Timeline, draw_timeline, timeline
from bench.report.styles import engine_marks, family_marks

from .browser import opened
from .conftest import BAYESIAN, HOSTILE, TPE, plain, run_of, section, trial
from .generated import generate


def shown(run: Run) -> str:
    return section(run, "search_history")


def words(run: Run) -> str:
    return plain(shown(run))


def searched(n: int = 40, **more: Any) -> list[Trial]:
    """Trials of which the learning rate decides nearly all, and the optimizer nothing; two are sometimes inactive."""
    draw = random.Random(0)
    trials = []
    for number in range(n):
        params: dict[str, Any] = {
            "learning_rate": 10 ** draw.uniform(-5, -1),
            "optimizer": draw.choice(["adam", "rmsprop"]),
            "dense": draw.random() < 0.5,
            "kernel": 3,
        }
        if params["dense"]:
            params["units"] = draw.choice([64, 128, 256])
        value = 0.9 - 0.1 * abs(math.log10(params["learning_rate"]) + 3) + draw.uniform(0, 0.01)
        trials.append(trial("cnn", TPE, number, number + 1, value, 5.0, 1000, params=params, **more))
    return trials


# -- screening


def screened(run: Run) -> Run:
    screenings = (
        Screening("dummy", reason="no pretrained backbone"),
        Screening("cnn", "Net", 64, 0.93, 0.89, 0.96, 200, 3.2, 0.012),
        Screening("mobilenet", "MobileNet", 160, 0.94, 0.89, 0.97, 200, 4.1, 0.02),
        Screening("mobilenet_v2", "MobileNetV2", 64, 0.97, 0.94, 0.985, 200, 4.1, 0.02),
        Screening("mobilenet_v2", "MobileNetV2", 160, 0.99, 0.96, 0.998, 200, 4.1, 0.02),
    )
    return replace(run, screenings=screenings)


def test_the_page_compares_estimates_with_the_best_trials(run: Run) -> None:
    assert "Screening" not in words(run)
    said = words(screened(run))
    best = {family: text.plain(text.percent(run.best(family).value)) for family in ("cnn", "mobilenet_v2")}
    assert (
        "Screening: the best validation accuracy of the trials with the same input size is inside the interval of "
        f"1 of 2 estimates (mobilenet_v2 at 64 px: {best['mobilenet_v2']} is below 97 % (94 to 98))." in said
    )
    assert "dummy – – no estimate: no pretrained backbone –" in said
    assert f"cnn Net 64 px 93 % (89 to 96) 200 12.0 ms 3.2 s {best['cnn']}, inside the interval" in said
    assert "mobilenet_v2 MobileNetV2 160 px 99 % (96 to 100) 200 20.0 ms 4.1 s –" in said
    assert "mobilenet MobileNet 160 px 94 % (89 to 97) 200 20.0 ms 4.1 s –" in said


# -- what engines found


def test_best_so_far_never_falls_and_counts_what_used_budget(run: Run) -> None:
    searches = search_history.best_so_far(run)
    assert [step.best for step in searches[TPE]] == [0.5, 0.5, 0.861, 0.861, 0.9222, 0.9222, 0.9222, 0.9389]
    assert [step.best for step in searches[BAYESIAN]] == [0.861, 0.8944, 0.8944, 0.9167]
    assert [step.n for step in searches[BAYESIAN]] == [1, 2, 3, 4]


def test_every_engine_has_its_own_clock(run: Run) -> None:
    searches = search_history.best_so_far(run)
    assert searches[TPE][0].time_s == pytest.approx(1.5012)  # its first trial began 20 s into the run
    assert searches[BAYESIAN][0].time_s == pytest.approx(15.7)  # the second engine's began at 180 s
    times = [step.time_s for step in searches[BAYESIAN]]
    assert times == sorted(times)


def test_the_curves_go_by_the_clock_that_charges_what_other_engines_trained() -> None:
    trained = trial("cnn", TPE, 0, 1, 0.8, 30.0, 10, started_s=5.0, finished_s=35.0, charged_s=30.5)
    answered = replace(
        trained, engine=BAYESIAN, started_s=36.0, finished_s=37.0, charged_s=30.6, duplicate_of=trained.name
    )
    (step,) = search_history.best_so_far(run_of(trained, answered))[BAYESIAN]
    assert step.time_s == 30.6


@pytest.mark.parametrize("by_time", [False, True])
def test_both_engines_are_drawn_and_told_apart_without_colour(run: Run, by_time: bool) -> None:
    searches = search_history.best_so_far(run)
    drawn = search_history.draw_best_so_far(searches, engine_marks(run), by_time)
    traces, title = drawn["data"], drawn["layout"]["xaxis"]["title"]["text"]
    assert [trace["name"] for trace in traces] == [TPE, BAYESIAN]
    assert len({trace["line"]["dash"] for trace in traces}) == 2
    assert traces[1]["y"] == pytest.approx([86.1, 89.44, 91.67, 91.67])  # where it improved, and to the last trial
    last = searches[BAYESIAN][-1]
    assert title == ("Time charged to the engine, minutes" if by_time else "Trials")
    assert traces[1]["x"][-1] == pytest.approx(last.time_s / 60 if by_time else last.n, abs=0.01)
    assert traces[1]["customdata"][0] == anchor(searches[BAYESIAN][0].trial)


def test_an_engine_without_a_result_has_steps_but_no_line(run: Run) -> None:
    alone = replace(
        run, studies=(run.studies[3],), config=replace(run.config, engines=(TPE,))
    )  # vgg19, which only failed
    searches = search_history.best_so_far(alone)
    assert [step.best for step in searches[TPE]] == [None]
    assert search_history.draw_best_so_far(searches, engine_marks(alone))["data"] == []
    assert "No trial is complete, so no engine has a result." in words(alone)
    assert "1 failed" not in words(alone)
    assert "Every trial" in words(alone)  # the failed trial has its place in the history, and took a worker's time
    assert "One worker was busy" in words(alone)


# -- every trial


def test_every_trained_trial_is_in_the_history_by_state_and_family(run: Run) -> None:
    ended = search_history.ended_trials(run)
    assert [place for place, _ in ended] == list(range(1, 12))
    reached = {(trial.state, trial.family): search_history.last_accuracy(trial) for _, trial in ended}
    assert reached[PRUNED, "cnn"] == 0.61
    assert reached[FAIL, "vgg19"] is None
    figure = search_history.draw_trials(ended, family_marks(run))
    known = [trace for trace in figure["data"] if trace["name"] == "known configuration"]
    traces = [trace for trace in figure["data"] if trace not in known]
    assert sum(len(trace["x"]) for trace in known) == 3
    failed = next(trace for trace in traces if trace["marker"]["symbol"] == search_history.SYMBOLS[FAIL])
    assert list(failed["y"]) == pytest.approx([figure["layout"]["yaxis"]["range"][0]], abs=0.01)
    assert sum(len(trace["x"]) for trace in traces) == 11
    assert "2 answers from the record are left out" in words(run)


def test_a_pruned_trial_without_a_value_stands_where_it_was_last() -> None:
    reported = {"value": None, "intermediate_values": {1: 0.4, 2: 0.6}}
    pruned = replace(trial("cnn", TPE, 0, 1, 0.9, 3.0, 10), state=PRUNED, **reported)
    assert search_history.last_accuracy(pruned) == 0.6


# -- what was searched


def slices_of(*trials: Trial) -> FamilySlices:
    (found,) = slices(run_of(*trials))
    return found


def axes(found: FamilySlices) -> dict[str, Any]:
    return {each.name: drawn["layout"]["xaxis"] for each, drawn in zip(found.slices, found.figures, strict=True)}


def test_a_panel_has_a_point_for_every_trial_in_which_the_hyperparameter_was_active() -> None:
    trials = searched()
    found = slices_of(*trials)
    drawn = {each.name: figure["data"][0] for each, figure in zip(found.slices, found.figures, strict=True)}
    assert list(drawn["learning_rate"]["x"]) == pytest.approx([t.params["learning_rate"] for t in trials], rel=1e-5)
    assert list(drawn["learning_rate"]["y"]) == [round(100 * (each.value or 0), 2) for each in trials]
    assert list(drawn["learning_rate"]["customdata"]) == [anchor(each) for each in trials]
    active = [each for each in trials if "units" in each.params]
    assert list(drawn["units"]["x"]) == [str(each.params["units"]) for each in active]
    (units,) = (each for each in found.slices if each.name == "units")
    assert units.inactive == 40 - len(active) > 0
    assert f"units 64 {sum(t.params['units'] == 64 for t in active)}×" in words(run_of(*trials))
    assert {trace["type"] for figure in found.figures for trace in figure["data"]} == {"scatter"}  # no WebGL


def test_axes_suit_what_was_sampled() -> None:
    found = slices_of(*searched())
    kinds = {name: axis["type"] for name, axis in axes(found).items()}
    assert kinds == {"learning_rate": "log", "optimizer": "category", "dense": "category", "units": "category"}
    assert found.fixed == {"kernel": 3}
    assert list(axes(found)["dense"]["categoryarray"]) == ["False", "True"]
    assert list(axes(found)["units"]["categoryarray"]) == ["64", "128", "256"]


def test_few_sampled_fractions_stand_on_a_logarithmic_axis_with_powers_of_ten() -> None:
    rates = [0.0001176, 0.0002016, 0.001, 0.004261]
    sampled = (trial("cnn", TPE, i, i, 0.5, 1.0, 1, params={"rate": rate}) for i, rate in enumerate(rates))
    axis = axes(slices_of(*sampled))["rate"]
    assert (axis["type"], list(axis["ticktext"]), list(axis["tickvals"])) == ("log", ["1e-4", "1e-3"], [1e-4, 1e-3])
    assert axis["tickangle"] == 0
    assert axis["range"][0] < math.log10(min(rates)) < math.log10(max(rates)) < axis["range"][1]


def test_true_is_not_one_and_none_is_a_value() -> None:
    values = [True, 1, None, "1"]
    found = slices_of(*(trial("cnn", TPE, i, i, 0.5, 1.0, 1, params={"x": x}) for i, x in enumerate(values)))
    assert set(found.slices[0].choices) == {"1", "'1'", "None", "True"}


@pytest.mark.parametrize("zero", [0, 10, 419])
def test_a_family_of_hundreds_of_trials_is_drawn_wherever_its_zero_ranks(zero: int) -> None:
    """Its values, but for one of zero, are spread over decades: an axis of the drawn ones alone divided by zero."""
    decays = [0.0 if i == zero else 10 ** (-6 + 5 * (i * 37 % 420) / 420) for i in range(420)]
    trials = [
        trial("net", TPE, i, i, 0.9 - i / 1000, 1.0, 1, params={"weight_decay": decay, "k": i})
        for i, decay in enumerate(decays)
    ]
    found = slices_of(*trials)
    assert axes(found)["weight_decay"]["type"] == "linear"
    assert all(len(figure["data"][0]["x"]) == DRAWN for figure in found.figures)
    best = found.figures[0]["data"][1]
    assert list(best["y"]) == [90.0]
    assert "420 complete trials" in words(run_of(*trials))
    assert "an evenly spaced sample of the others, 120 per panel" in words(run_of(*trials))


def test_a_ring_is_around_the_best_trial_alone() -> None:
    plain = trial("cnn", TPE, 0, 1, 0.9, 1.0, 1, params={"dense": False})
    dense = trial("cnn", TPE, 1, 2, 0.8, 1.0, 1, params={"dense": True, "units": 64})
    found = slices_of(plain, dense)
    rings = {each.name: list(figure["data"][1]["x"]) for each, figure in zip(found.slices, found.figures, strict=True)}
    assert rings == {"dense": ["False"], "units": []}


def test_families_without_two_configurations_are_named(run: Run) -> None:
    assert [each.family for each in slices(run)] == ["dummy", "cnn"]
    assert "Fewer than two different complete trials, so nothing to compare: mobilenet_v2 and vgg19." in words(run)


def test_importance_is_what_the_record_has_and_orders_the_panels() -> None:
    plain = run_of(*searched())
    importance = {"units": 0.7, "learning_rate": 0.2, "optimizer": 0.1}
    known = replace(plain, studies=(replace(plain.studies[0], importance=importance),))
    assert [each.name for each in slices(known)[0].slices] == ["units", "learning_rate", "optimizer", "dense"]
    assert "units first" in words(known)
    assert "optimizer 10.0 %" in words(known)
    assert "The importance of hyperparameters is not recorded." in words(plain)
    going = words(replace(plain, status="running"))
    assert "Importance is computed at the end of the search." in going


# -- the workers


def at(start: float, end: float | None, number: int, state: str = COMPLETE, **more: Any) -> Trial:
    made = trial("cnn", TPE, number, number + 1, 0.8, 1.0, 10, started_s=start, finished_s=end)
    return replace(made, state=state, **more)


def timeline_of(*trials: Trial, **more: Any) -> Timeline:
    found = timeline(run_of(*trials, **more))
    assert found is not None
    return found


TWO = RunConfig(engines=(TPE,), workers=2)


def test_a_worker_has_a_row_with_its_trials() -> None:
    trials = at(10, 20, 0, worker=1), at(10, 15, 1, worker=0), at(15, 18, 2, worker=0), at(20, 30, 3, worker=0)
    found = timeline_of(*trials, at(20, 20, 4, duplicate_of="cnn/x#0"), config=TWO)
    assert found.rows == [(1, 3, pytest.approx(0.9)), (2, 1, pytest.approx(0.5))]
    assert found.busy == pytest.approx(0.7)
    (bars,) = draw_timeline(found, family_marks(run_of(*trials)))["data"]
    assert list(zip(bars["y"], bars["base"], bars["x"], strict=True)) == [
        (2, 10, 10),
        (1, 10, 5),
        (1, 15, 3),
        (1, 20, 10),
    ]
    assert list(bars["customdata"]) == [anchor(each) for each in trials]


def test_the_only_worker_needs_no_record_of_it() -> None:
    found = timeline_of(at(0, 10.2, 0), at(10, 20, 1))
    assert (found.by_worker, found.workers, found.busy) == (True, 1, 1.0)


def test_an_older_record_of_several_workers_has_a_row_a_trial_and_says_so() -> None:
    trials = at(0, 10, 0), at(5, 20, 1)
    found = timeline_of(*trials, config=TWO)
    assert found.rows == []
    assert list(draw_timeline(found, family_marks(run_of(*trials)))["data"][0]["y"]) == [1, 2]
    assert "does not say which worker trained which trial, so there is" in words(run_of(*trials, config=TWO))


def test_idle_workers_count_and_a_running_trial_lasts_until_now() -> None:
    trials = at(0, 10, 0, worker=0), at(10, None, 1, RUNNING, value=None, worker=0)
    going: dict[str, Any] = {"status": "running", "elapsed_s": 20.0, "config": TWO}
    found = timeline_of(*trials, **going)
    assert found.rows == [(1, 2, 1.0), (2, 0, 0.0)]
    assert "2 workers were busy with trials for 50.0 % of the 20.0 s so far." in words(run_of(*trials, **going))


def test_a_trial_in_training_is_drawn_once_its_worker_is_recorded() -> None:
    trials = at(0, 10, 0, worker=1), at(5, None, 1, RUNNING, value=None)
    going: dict[str, Any] = {"status": "running", "elapsed_s": 20.0, "config": TWO}
    found = timeline_of(*trials, **going)
    assert [(row, bar.trial.number) for row, bar in found.drawn] == [(2, 0)]
    assert "The chart shows the last 1 of 2 trials." in words(run_of(*trials, **going))


def test_patterns_say_the_state() -> None:
    found = timeline_of(
        at(0, 10, 0), at(10, 15, 1, FAIL, value=None, failure=Failure(FailureKind.OOM, "out of memory"))
    )
    complete, failed = draw_timeline(found, {"cnn": family_marks(run_of(at(0, 1, 0)))["cnn"]})["data"]
    assert (complete["marker"]["pattern"]["shape"], failed["marker"]["pattern"]["shape"]) == ("", "x")
    assert list(failed["hovertext"]) == ["<b>cnn</b> optuna:tpe #1<br>failed, 5.0\u00a0s"]


# -- the feature cache


def test_what_the_cache_saved_adds_up_to_what_the_leaderboard_says(cached_run: Run) -> None:
    by_family = search_history.section(cached_run).saved
    assert {family: each.served for family, each in by_family.items()} == {"mobilenet_v2": 1, "cnn": 1, "dummy": 0}
    assert next(iter(by_family)) == "mobilenet_v2"
    assert saved(cached_run).saved_s == pytest.approx(62.8)
    assert "Together 2 of 9 5 min 8 s 1 min 3 s 20.4 %" in words(cached_run)


def test_without_savings_there_is_no_word_of_the_cache(run: Run) -> None:
    assert "cache" not in words(run)


# -- the section as a whole


def test_a_run_of_one_trial_has_all_that_one_trial_can_tell() -> None:
    said = words(run_of(trial("cnn", TPE, 0, 1, 0.9, 3.0, 10, params={"x": 1})))
    assert "Best result of the engine" in said
    assert "optuna:tpe 90.0 % after 1 trial, 4.5 s" in said
    assert "One worker was busy with trials for 100.0 % of the 4.5 s" in said
    assert "Search spaces" not in said


def test_nothing_at_all_is_a_sentence(empty_run: Run) -> None:
    assert words(empty_run) == "Search The search appears with the first complete trial."


def test_names_from_outside_are_text(hostile_run: Run) -> None:
    (study, *_) = hostile_run.studies
    more = [
        replace(study.trials[0], number=number, value=number / 100, params={HOSTILE: HOSTILE * number, "x": number})
        for number in range(3, 30)
    ]
    hostile = replace(hostile_run, studies=(replace(study, trials=(*study.trials, *more)),))
    html = shown(hostile)
    assert "<img" not in html
    assert "</script><b>" not in html
    assert not set(html) & {"\u2028", "\u202e", "\ud800"}
    charts = re.findall(r'data-chart="[^"]*">(.*?)</script>', html)
    assert len(charts) == 2 + 1 + 2 + 1  # best so far, every trial, two hyperparameters, workers
    assert all("<img" not in json.dumps(json.loads(chart)) for chart in charts)


@pytest.mark.slow
def test_five_thousand_trials_stay_small_and_that_is_said(tmp_path: Path) -> None:
    large = generate(tmp_path)
    assert len(shown(large).encode()) < 1_200_000
    said = words(large)
    assert "The chart shows 1 200 of 5 000 trials: the best, and an evenly spaced sample of the others." in said
    assert "The best 100 of 5 000 trials." in said
    assert "The chart shows the last 600 of 5 000 trials." in said


@pytest.mark.slow
def test_a_family_is_brought_forward_and_the_address_says_so(run: Run, browser: Any, tmp_path: Path) -> None:
    file = tmp_path / "report.html"
    report.render(run, file)
    with opened(browser, file) as shown_page:
        shown_page.locator("#chart-history").scroll_into_view_if_needed()
        shown_page.locator("#chart-history .point").first.wait_for()
        legend = shown_page.locator("#search-families button")
        assert legend.all_text_contents() == ["dummy", "cnn", "mobilenet_v2 · random weights", "vgg19 · random weights"]
        legend.nth(1).click()
        assert legend.nth(1).get_attribute("aria-pressed") == "true"
        dimmed = "id => document.getElementById(id).data.map(({opacity}) => opacity < 1)"
        for chart in ("chart-history", "chart-workers"):
            shown_page.locator(f"#{chart}").scroll_into_view_if_needed()
            shown_page.locator(f"#{chart} .point").first.wait_for()
            assert set(shown_page.evaluate(dimmed, chart)) == {False, True}
        shown_page.reload()
        assert legend.nth(1).get_attribute("aria-pressed") == "true"
        legend.nth(1).press("Enter")
        assert legend.nth(1).get_attribute("aria-pressed") == "false"
        assert shown_page.evaluate("location.hash") == ""


@pytest.mark.slow
@pytest.mark.parametrize("chart", ["#chart-workers .point path", ".chart.slice .point"])
def test_a_bar_and_a_point_lead_to_their_trial(chart: str, run: Run, browser: Any, tmp_path: Path) -> None:
    file = tmp_path / "report.html"
    report.render(run, file)
    with opened(browser, file, reduced_motion="reduce") as shown_page:
        mark = shown_page.locator(chart).first
        shown_page.locator(chart.split()[0]).first.scroll_into_view_if_needed()
        mark.wait_for()
        mark.scroll_into_view_if_needed()
        box = mark.bounding_box()
        assert box is not None
        shown_page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
        shown_page.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
        shown_page.wait_for_function("document.activeElement.id.startsWith('trial-')")
