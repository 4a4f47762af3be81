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
    Origin,
    Run,
    Screening,
    Trial,
)
from bench.report.figures import anchor
from bench.report.sections import search_history
from bench.report.sections.budget import spending
from bench.report.sections.slices import DRAWN, FamilySlices, slices
from bench.report.sections.slices import section as slices_section
from bench.report.sections.timeline import Timeline, draw_timeline, timeline
from bench.report.styles import family_marks

from .browser import opened
from .conftest import BAYESIAN, HOSTILE, TPE, changed, only, plain, run_of, section, trial
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


def test_every_engine_starts_from_the_known_configurations_at_their_full_cost() -> None:
    known = {"origin": Origin.KNOWN, "charged_s": 30.5}
    trained = trial("cnn", TPE, 0, 1, 0.8, 30.0, 10, **known)
    answered = replace(trained, engine=BAYESIAN, started_s=90.0, finished_s=90.0, duplicate_of=trained.name)
    proposed = trial("cnn", BAYESIAN, 1, 2, 0.9, 10.0, 10, charged_s=42.0)
    searches = search_history.best_so_far(run_of(trained, answered, proposed))
    assert [(step.time_s, step.best) for step in searches[TPE]] == [(30.5, 0.8)]
    assert [(step.time_s, step.best) for step in searches[BAYESIAN]] == [(30.5, 0.8), (42.0, 0.9)]


def test_the_summary_says_what_each_engine_proposed_and_when_its_best_was_found(run: Run) -> None:
    def summary(run: Run) -> str:
        return text.plain(search_history.section(run).summary)

    assert summary(run) == (
        "optuna:tpe proposed 5 of 8, best at 3 min 37 s; keras-tuner:bayesian proposed 3 of 4, best at 2 min 19 s"
    )
    only_known = changed(run, lambda trial: replace(trial, origin=Origin.KNOWN))
    known = "no engine has proposed a configuration{}: all trials are known configurations"
    assert summary(only_known) == known.format("")
    assert summary(replace(only_known, status="running")) == known.format(" yet")
    assert summary(only(run, "vgg19")) == ""
    assert summary(screened(only(run, "vgg19"))) == "5 backbones screened"


def test_baselines_and_answers_from_the_record_are_no_proposals_of_an_engine() -> None:
    listed = trial("cnn", TPE, 0, 1, 0.8, 1.0, 10, origin=Origin.KNOWN)
    proposed = trial("cnn", TPE, 1, 2, 0.9, 1.0, 10)
    answered = replace(proposed, engine=BAYESIAN, duplicate_of=proposed.name)
    again = replace(proposed, number=2, duplicate_of=proposed.name, counted=False)
    baseline = trial("dummy", TPE, 0, 3, 0.5, 1.0, 0)
    run = run_of(listed, proposed, again, answered, baseline)
    run = replace(run, families=tuple(replace(family, learns=family.name != "dummy") for family in run.families))
    tpe, bayesian = text.plain(search_history.section(run).summary).split("; ")
    assert tpe.startswith("optuna:tpe proposed 1 of 2, best at ")
    assert bayesian.startswith("keras-tuner:bayesian proposed 1 of 1 (1 answered from the record), best at ")


def test_engines_are_lines_without_colour_and_trials_marks_of_their_family(run: Run) -> None:
    figure = search_history.section(run).figure
    assert figure is not None
    lines, marks = figure["data"][:2], figure["data"][2:]
    assert [line["name"] for line in lines] == [TPE, BAYESIAN]
    assert len({line["line"]["dash"] for line in lines}) == 2
    assert lines[1]["y"] == pytest.approx([86.1, 89.44, 91.67, 91.67])  # where it improved, and to the last trial
    assert figure["layout"]["xaxis"]["title"]["text"] == "Time charged to the engine, minutes"
    last = search_history.best_so_far(run)[BAYESIAN][-1]
    assert lines[1]["x"][-1] == pytest.approx(last.time_s / 60, abs=0.01)
    assert sum(len(trace["x"]) for trace in marks) == len(search_history.ended_trials(run)) == 11
    cnn = {trace["marker"]["symbol"] for trace in marks if trace["name"] == "cnn"}
    assert cnn == {"square", "square-open", "x"}
    legend = "optuna:tpe keras-tuner:bayesian cnn dummy mobilenet_v2 · random weights vgg19 · random weights"
    assert legend in words(run)
    failed = next(trace for trace in marks if trace["marker"]["symbol"] == "x")
    assert list(failed["y"]) == pytest.approx([figure["layout"]["yaxis"]["range"][0]], abs=0.01)
    outlined = [width for trace in marks if trace["marker"]["symbol"] != "x" for width in widths(trace)]
    assert outlined.count(2) == 3


def widths(trace: dict[str, Any]) -> list[float]:
    width = trace["marker"]["line"]["width"]
    return list(width) if isinstance(width, list | tuple) else [width]


def test_few_trials_and_known_configurations_alone_have_no_chart(run: Run) -> None:
    assert "chart-search" in shown(run_of(*searched(10)))
    assert "chart-search" not in shown(run_of(*searched(9)))
    assert "chart-search" not in shown(run_of(*searched(20, origin=Origin.KNOWN)))
    assert "chart" not in shown(only(run, "vgg19"))


def test_a_pruned_trial_without_a_value_stands_where_it_was_last() -> None:
    reported = {"value": None, "intermediate_values": {1: 0.4, 2: 0.6}}
    pruned = replace(trial("cnn", TPE, 0, 1, 0.9, 3.0, 10), state=PRUNED, **reported)
    assert search_history.last_value(pruned) == 0.6


# -- what was searched


def spaces(run: Run) -> str:
    return plain(section(run, "slices"))


def repeated(*params: dict[str, Any]) -> list[Trial]:
    """A dozen trials with these hyperparameters in turn, each better than the one before."""
    values = [params[number % len(params)] for number in range(12)]
    return [trial("cnn", TPE, n, n, 0.5 + n / 100, 1.0, 1, params=each) for n, each in enumerate(values)]


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
    assert f"units 64 {sum(t.params['units'] == 64 for t in active)}×" in spaces(run_of(*trials))
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
    axis = axes(slices_of(*repeated(*({"rate": rate} for rate in rates))))["rate"]
    assert (axis["type"], list(axis["ticktext"]), list(axis["tickvals"])) == ("log", ["1e-4", "1e-3"], [1e-4, 1e-3])
    assert axis["tickangle"] == 0
    assert axis["range"][0] < math.log10(min(rates)) < math.log10(max(rates)) < axis["range"][1]


def test_true_is_not_one_and_none_is_a_value() -> None:
    found = slices_of(*repeated({"x": True}, {"x": 1}, {"x": None}, {"x": "1"}))
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
    assert "420 complete trials" in spaces(run_of(*trials))
    assert "an evenly spaced sample of the others, 120 per panel" in spaces(run_of(*trials))


def test_a_ring_is_around_the_best_trial_alone() -> None:
    found = slices_of(*repeated({"dense": True, "units": 64}, {"dense": False}))
    rings = {each.name: list(figure["data"][1]["x"]) for each, figure in zip(found.slices, found.figures, strict=True)}
    assert rings == {"dense": ["False"], "units": []}


def test_a_family_of_fewer_than_ten_trials_has_no_panels(run: Run) -> None:
    assert slices(run) == []
    assert [each.family for each in slices(run_of(*searched(10)))] == ["cnn"]
    assert slices(run_of(*searched(9))) == []


def test_importance_is_what_the_record_has_and_orders_the_panels() -> None:
    plain = run_of(*searched())
    importance = {"units": 0.7, "learning_rate": 0.2, "optimizer": 0.1}
    known = replace(plain, studies=(replace(plain.studies[0], importance=importance),))
    assert [each.name for each in slices(known)[0].slices] == ["units", "learning_rate", "optimizer", "dense"]
    assert text.plain(slices_section(known).summary) == "cnn: units 70.0 %"
    assert slices_section(plain).summary == "cnn: 4\u00a0hyperparameters"
    assert "units first" in spaces(known)
    assert "optimizer 10.0 %" in spaces(known)
    assert "The importance of hyperparameters is not recorded." in spaces(plain)
    going = spaces(replace(plain, status="running"))
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
    assert found.busy == pytest.approx(0.7)
    (bars,) = draw_timeline(found, family_marks(run_of(*trials)))["data"]
    assert list(zip(bars["y"], bars["base"], bars["x"], strict=True)) == [
        (2, 10, 10),
        (1, 10, 5),
        (1, 15, 3),
        (1, 20, 10),
    ]
    assert list(bars["customdata"]) == [anchor(each) for each in trials]


def test_one_worker_and_workers_without_a_name_have_no_timeline() -> None:
    assert timeline(run_of(at(0, 10.2, 0, worker=0), at(10, 20, 1, worker=0))) is None
    assert timeline(run_of(at(0, 10, 0), at(5, 20, 1), config=TWO)) is None


def test_idle_workers_count_and_a_running_trial_lasts_until_now() -> None:
    trials = at(0, 10, 0, worker=0), at(10, None, 1, RUNNING, value=None, worker=0)
    going: dict[str, Any] = {"status": "running", "elapsed_s": 20.0, "config": TWO}
    assert "2 workers were busy with trials for 50.0 % of the 20.0 s so far." in words(run_of(*trials, **going))
    assert "chart-workers" not in shown(run_of(*trials, **going))
    many = [at(n, n + 2, n, worker=n % 2) for n in range(10)]
    assert "chart-workers" in shown(run_of(*many, config=TWO))


def test_patterns_say_the_state() -> None:
    failure = Failure(FailureKind.OOM, "out of memory")
    trials = at(0, 10, 0, worker=0), at(10, 15, 1, FAIL, value=None, failure=failure, worker=0)
    found = timeline_of(*trials, config=TWO)
    complete, failed = draw_timeline(found, {"cnn": family_marks(run_of(at(0, 1, 0)))["cnn"]})["data"]
    assert (complete["marker"]["pattern"]["shape"], failed["marker"]["pattern"]["shape"]) == ("", "x")
    assert list(failed["hovertext"]) == ["<b>cnn</b> optuna:tpe #1<br>failed, 5.0\u00a0s"]


# -- the feature cache


def test_what_the_cache_saved_stands_beside_each_family(cached_run: Run) -> None:
    served = {row.family: row.saved.served for row in spending(cached_run) if row.saved.served}
    assert served == {"mobilenet_v2": 1, "cnn": 1}
    said = plain(section(cached_run, "budget"))
    assert "The feature cache saved 1 min 3 s of the 5 min 8 s that all training takes from a cold start" in said
    assert "Saved by the cache" in said


def test_without_savings_there_is_no_word_of_the_cache(run: Run) -> None:
    assert "cache" not in words(run) + plain(section(run, "budget"))


# -- the section as a whole


def test_a_run_without_a_result_has_no_section(empty_run: Run) -> None:
    assert words(empty_run) == ""
    assert search_history.section(empty_run).summary == slices_section(empty_run).summary == ""


def test_names_from_outside_are_text(hostile_run: Run) -> None:
    (study, *_) = hostile_run.studies
    more = [
        replace(study.trials[0], number=number, value=number / 100, params={HOSTILE: HOSTILE * number, "x": number})
        for number in range(3, 30)
    ]
    hostile = replace(hostile_run, studies=(replace(study, trials=(*study.trials, *more)),))
    html = shown(hostile) + section(hostile, "slices")
    assert "<img" not in html
    assert "</script><b>" not in html
    assert not set(html) & {"\u2028", "\u202e", "\ud800"}
    charts = re.findall(r'data-chart="[^"]*">(.*?)</script>', html)
    assert len(charts) == 1 + 2  # every trial, two hyperparameters
    assert all("<img" not in json.dumps(json.loads(chart)) for chart in charts)


@pytest.mark.slow
def test_five_thousand_trials_stay_small_and_that_is_said(tmp_path: Path) -> None:
    large = generate(tmp_path)
    assert len(shown(large).encode()) + len(section(large, "slices").encode()) < 1_200_000
    said = words(large)
    assert "The chart shows 1,200 of 5,000 trials: the best, and an evenly spaced sample of the others." in said


@pytest.mark.slow
@pytest.mark.parametrize("chart", ["#chart-workers .point path", ".chart.slice .point"])
def test_a_bar_and_a_point_lead_to_their_trial(chart: str, browser: Any, tmp_path: Path) -> None:
    file = tmp_path / "report.html"
    trials = [replace(each, worker=each.number % 2) for each in searched(12)]
    report.render(run_of(*trials, config=TWO), file)
    with opened(browser, file, reduced_motion="reduce") as shown_page:
        shown_page.evaluate("for (const each of document.querySelectorAll('details.fold')) each.open = true")
        mark = shown_page.locator(chart).first
        shown_page.locator(chart.split()[0]).first.scroll_into_view_if_needed()
        mark.wait_for()
        mark.scroll_into_view_if_needed()
        box = mark.bounding_box()
        assert box is not None
        shown_page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
        shown_page.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
        shown_page.wait_for_function("document.activeElement.id.startsWith('trial-')")
