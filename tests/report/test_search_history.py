"""What the page says of the search: what engines found and when, every trial, spaces, workers, the feature cache."""

from __future__ import annotations

import json
import math
import random
import re
import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bench import report
from bench.config import RunConfig
from bench.records import COMPLETE, FAIL, PRUNED, RUNNING, Failure, FailureKind, FamilyInfo, Run, Study, Trial
from bench.report import page
from bench.report.links import anchor
from bench.report.sections import search_history, verdict
from bench.report.sections import trials as history
from bench.report.sections.coordinates import INACTIVE, Coordinates, coordinates, spaces
from bench.report.sections.feature_cache import in_all, saved_by_family
from bench.report.sections.importance import distinct, importance, leading
from bench.report.sections.timeline import BARS, Timeline, time_ticks, timeline
from bench.report.styles import engine_marks, family_marks, marks

from .browser import launched, opened
from .conftest import BAYESIAN, HOSTILE, TPE, build, trial
from .generated import generate

MARK = marks(["cnn"])["cnn"]


def shown(run: Run) -> str:
    """The section as the page has it."""
    return (
        page.environment()
        .get_template("sections/search_history.html")
        .render(run=run, section=search_history.section(run))
    )


def words(run: Run) -> str:
    plain = re.sub(r"<(script|svg|noscript).*?</\1>|<[^>]*>", " ", shown(run), flags=re.DOTALL)
    return " ".join(plain.replace("\u00a0", " ").split())


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


def run_of(*trials: Trial, **more: Any) -> Run:
    studies: dict[tuple[str, str], list[Trial]] = {}
    for each in trials:
        studies.setdefault((each.family, each.engine), []).append(each)
    families = tuple(FamilyInfo(family) for family in dict.fromkeys(each.family for each in trials))
    return build(tuple(Study(*names, tuple(own)) for names, own in studies.items()), families, **more)


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


@pytest.mark.parametrize("against", list(search_history.AGAINST))
def test_both_engines_are_drawn_and_told_apart_without_colour(run: Run, against: str) -> None:
    searches = search_history.best_so_far(run)
    traces = search_history.draw_best_so_far(searches, engine_marks(run), against)["data"]
    assert [trace["name"] for trace in traces] == [TPE, BAYESIAN]
    assert len({trace["line"]["dash"] for trace in traces}) == 2
    assert traces[1]["y"] == pytest.approx([86.1, 89.44, 91.67, 91.67])  # where it improved, and to the last trial
    assert traces[1]["x"][-1] == pytest.approx(getattr(searches[BAYESIAN][-1], against), abs=0.01)
    assert traces[1]["customdata"][0] == anchor(searches[BAYESIAN][0].trial)


def test_an_engine_without_a_result_has_steps_but_no_line(run: Run) -> None:
    alone = replace(
        run, studies=(run.studies[3],), config=replace(run.config, engines=(TPE,))
    )  # vgg19, which only failed
    searches = search_history.best_so_far(alone)
    assert [step.best for step in searches[TPE]] == [None]
    assert search_history.draw_best_so_far(searches, engine_marks(alone))["data"] == []
    assert "No trial is complete, so no engine has found anything." in words(alone)
    assert "1 failed" not in words(alone)
    assert "Every trial" in words(alone)  # the failed trial has its place in the history, and took a worker's time
    assert "One worker was busy" in words(alone)


# -- every trial


def test_every_trained_trial_is_in_the_history_by_state_and_family(run: Run) -> None:
    found = history.history(run, family_marks(run))
    assert found is not None
    assert [each.place for each in found.ended] == list(range(1, 12))
    assert found.answered == 2
    assert {(each.trial.family, each.accuracy) for each in found.ended if each.trial.state == PRUNED} == {("cnn", 0.61)}
    assert all(each.accuracy is None for each in found.ended if each.trial.state == FAIL)
    known = [trace for trace in found.figure["data"] if trace["name"] == "known configuration"]
    traces = [trace for trace in found.figure["data"] if trace not in known]
    assert sum(len(trace["x"]) for trace in known) == 3
    failed = next(trace for trace in traces if trace["marker"]["symbol"] == history.SYMBOLS[FAIL])
    assert list(failed["y"]) == [found.figure["layout"]["yaxis"]["range"][0]]
    assert sum(len(trace["x"]) for trace in traces) == 11
    assert "2 answers from the record are left out" in words(run)


def test_a_pruned_trial_without_a_value_stands_where_it_was_last() -> None:
    reported = {"value": None, "intermediate_values": {1: 0.4, 2: 0.6}}
    pruned = run_of(replace(trial("cnn", TPE, 0, 1, 0.9, 3.0, 10), state=PRUNED, **reported))
    found = history.history(pruned, family_marks(pruned))
    assert found is not None
    assert found.ended[0].accuracy == 0.6


# -- what was searched


def space(trials: Sequence[Trial]) -> Coordinates:
    found = coordinates(trials, MARK)
    assert found is not None
    return found


def test_axes_suit_what_they_show() -> None:
    found = space(searched())
    kinds = {axis.name: axis.kind for axis in found.rows}
    assert kinds == {
        "learning_rate": "log",
        "optimizer": "choice",
        "dense": "choice",
        "units": "choice",
        "Validation accuracy": "linear",
    }
    assert found.fixed == {"kernel": 3}
    labels = {axis.name: [tick.label for tick in axis.ticks] for axis in found.axes}
    assert labels["learning_rate"] == ["0.0001", "0.001", "0.01"]
    assert labels["dense"] == ["False", "True"]
    assert labels["units"] == ["–", "64", "128", "256"]
    assert all(0 <= place <= 1 for axis in found.rows for place in axis.places)
    values = [each.value for each in found.drawn]
    assert values == sorted(values, reverse=True)


def test_what_is_not_active_lies_apart() -> None:
    found = space(searched())
    (units,) = (axis for axis in found.axes if axis.name == "units")
    inactive = ["units" not in each.params for each in found.drawn]
    assert units.inactive == sum(inactive) > 0
    assert all((place < INACTIVE) == off for place, off in zip(units.places, inactive, strict=True))
    others = [place for axis in found.axes if axis is not units for place in axis.places]
    assert min(others) >= INACTIVE  # so that no value of another axis stands there either


def test_true_is_not_one_and_none_is_a_value() -> None:
    mixed = [trial("cnn", TPE, i, i, 0.5 + i / 10, 1.0, 1, params={"x": x}) for i, x in enumerate([True, 1, None, "1"])]
    found = space(mixed)
    assert sorted(tick.label for tick in found.axes[0].ticks) == ["1", "1", "None", "True"]
    assert not found.inactive


def test_the_most_important_comes_first_and_the_best_are_in_colour() -> None:
    found = space(searched(60))
    assert found.axes[0].name == "learning_rate"
    assert found.best == 6
    picture = str(found.picture)
    assert picture.count("<a href=") == 6
    assert f'href="#{anchor(found.drawn[0])}"' in picture
    assert picture.count("M") - picture.count("<a href=") == 54


def test_of_many_trials_the_best_and_a_sample_are_drawn_and_that_is_said() -> None:
    many = run_of(*searched(700))
    (found,) = spaces(many)
    assert (found.n, len(found.drawn), found.best) == (700, 300, 70)
    said = "the best 70 of 700 trials in colour; drawn are the best and a sample of the others, 300 in all"
    assert said in words(many)


def test_families_without_two_configurations_are_named(run: Run) -> None:
    assert [each.family for each in spaces(run)] == ["dummy", "cnn"]
    assert "Without two distinct complete trials there is nothing to compare: mobilenet_v2 and vgg19." in words(run)


# -- importance


def test_importance_finds_what_decides_and_always_the_same(capfd: pytest.CaptureFixture[str]) -> None:
    trials = searched(40)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = importance(trials)
    assert found is not None
    assert next(iter(found.shares)) == "learning_rate"
    assert found.shares["learning_rate"] > 0.5
    assert found.shares["units"] >= 0  # conditional
    assert "kernel" not in found.shares  # the same in every trial
    assert sum(found.shares.values()) == pytest.approx(1)
    assert (found.best, found.of) == (5, 40)
    assert importance(trials) == found
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    "trials",
    [
        searched(9),
        [replace(each, value=0.9) for each in searched(20)],
        [replace(each, params={"kernel": 3, "number": 1}) for each in searched(20)],
        [],
    ],
    ids=["few", "equal", "one configuration", "none"],
)
def test_no_importance_is_made_up(trials: list[Trial]) -> None:
    assert importance(trials) is None


def test_a_configuration_counts_once_and_only_complete(run: Run) -> None:
    first, second = searched(2)
    again = replace(first, number=7, value=0.99)
    others = [replace(second, state=FAIL), replace(second, value=math.nan), replace(second, duplicate_of="cnn#0")]
    assert distinct([first, again, *others]) == [again]


@pytest.mark.parametrize(("n", "best"), [(1, 1), (2, 1), (10, 5), (20, 5), (50, 5), (100, 10)])
def test_the_best_are_a_tenth_but_five_where_there_are_so_many(n: int, best: int) -> None:
    assert len(leading(searched(n))) == best


# -- the workers


def at(start: float, end: float | None, number: int, state: str = COMPLETE, **more: Any) -> Trial:
    made = trial("cnn", TPE, number, number + 1, 0.8, 1.0, 10, started_s=start, finished_s=end)
    return replace(made, state=state, **more)


def lanes(found: Timeline) -> list[list[tuple[float, float]]]:
    return [[(bar.start_s, bar.end_s) for bar in found.bars if bar.lane == lane] for lane in range(found.workers)]


def test_trials_at_the_same_time_are_on_lanes_of_their_own() -> None:
    trials = at(10, 20, 0), at(10, 15, 1), at(15, 18, 2), at(20, 30, 3), at(20, 20, 4, duplicate_of="cnn/x#0")
    found = timeline(run_of(*trials))
    assert found is not None
    assert lanes(found) == [[(10, 15), (15, 18), (20, 30)], [(10, 20)]]
    assert found.busy == pytest.approx((0.9, 0.5))
    assert found.busy_share == pytest.approx(0.7)
    assert found.trials == (3, 1)


def test_a_record_that_comes_late_is_no_second_worker() -> None:
    late = timeline(run_of(at(0, 10.2, 0), at(10, 20, 1), at(20, 30, 2)))
    assert late is not None
    assert lanes(late) == [[(0, 10.2), (10.2, 20), (20, 30)]]
    assert late.busy_share == 1


def test_idle_workers_count_and_a_running_trial_lasts_until_now() -> None:
    trials = at(0, 10, 0), at(10, None, 1, RUNNING, value=None)
    config = RunConfig(engines=(TPE,), workers=2)
    going = timeline(run_of(*trials, status="running", elapsed_s=20.0, config=config))
    assert going is not None
    assert lanes(going) == [[(0, 10), (10, 20)], []]
    assert going.busy_share == pytest.approx(0.5)
    assert going.states == (COMPLETE, RUNNING)
    assert "2 workers were busy with trials for 50.0 % of the 20.0 s so far." in words(
        run_of(*trials, status="running", elapsed_s=20.0, config=config)
    )


def test_bars_lead_to_their_trials_and_patterns_say_the_state() -> None:
    failed = at(10, 15, 1, FAIL, value=None, failure=Failure(FailureKind.OOM, "out of memory"))
    drawn = shown(run_of(at(0, 10, 0), failed))
    assert f'<a href="#{anchor(failed)}" tabindex="-1"><title>cnn, optuna:tpe #1: failed, 5.0\u00a0s</title>' in drawn
    assert drawn.count('fill="url(#timeline-failed)"') == 2  # the bar and the legend
    assert 'id="timeline-failed"' in drawn


def test_of_many_trials_slots_of_time_are_drawn() -> None:
    trials = [at(i, i + 0.9, i, FAIL if i % 100 == 0 else COMPLETE) for i in range(4 * BARS)]
    found = timeline(run_of(*trials))
    assert found is not None
    assert len(found.bars) < found.slots <= BARS
    assert found.trials == (4 * BARS,)
    assert found.busy_share == pytest.approx(0.9, abs=0.01)
    assert (found.bars[0].start_s, found.bars[-1].end_s) == pytest.approx((found.start_s, found.end_s))


@pytest.mark.parametrize("longest", [0.003, 0.9, 7, 59, 61, 400, 3601, 50_000, 90_000, 1e6, 1e9])
def test_a_scale_of_time_has_few_ticks_that_a_clock_has(longest: float) -> None:
    ticks = time_ticks(longest)
    assert ticks[0][0] == 0
    assert 2 <= len(ticks) <= 7
    assert ticks[-1][0] <= longest
    assert len({words for _, words in ticks}) == len(ticks)


def test_ticks_of_time_are_round() -> None:
    assert [words.replace("\u00a0", " ") for _, words in time_ticks(2000)] == [
        *("0 s", "5 min", "10 min", "15 min", "20 min", "25 min", "30 min")
    ]


# -- the feature cache


def test_what_the_cache_saved_adds_up_to_what_the_leaderboard_says(cached_run: Run) -> None:
    saved = saved_by_family(cached_run, family_marks(cached_run))
    assert [(each.family, each.served) for each in saved] == [("mobilenet_v2", 1), ("cnn", 1), ("dummy", 0)]
    assert in_all(saved).saved_s == pytest.approx(62.8)
    assert "saved 1 min 3 s of the 5 min 8 s" in verdict.savings(cached_run).replace("\u00a0", " ")
    assert "Together 2 of 9 5 min 8 s 1 min 3 s 20.4 %" in words(cached_run)


def test_without_savings_there_is_no_word_of_the_cache(run: Run) -> None:
    assert "cache" not in words(run)


# -- the section as a whole


def test_a_run_of_one_trial_has_all_that_one_trial_can_tell() -> None:
    said = words(run_of(trial("cnn", TPE, 0, 1, 0.9, 3.0, 10, params={"x": 1})))
    assert "What the engine found" in said
    assert "optuna:tpe 90.0 % after 1 trial, 4.5 s" in said
    assert "One worker was busy with trials for 100.0 % of the 4.5 s" in said
    assert "What was searched" not in said


def test_a_run_that_goes_on_leaves_importance_for_its_end() -> None:
    going = run_of(*searched(30), status="running")
    assert "Importance of hyperparameters is worked out when the run has ended." in words(going)
    assert "PED-ANOVA" not in words(going)
    ended = words(replace(going, status="complete"))
    assert "PED-ANOVA" in ended
    assert "a hint at most" in ended


def test_few_trials_have_a_space_but_no_importance(run: Run) -> None:
    assert "worked out from 10 distinct complete trials of a family on; no family has so many" in words(run)


def test_nothing_at_all_is_a_sentence(empty_run: Run) -> None:
    assert words(empty_run) == "Search The search is drawn from the first complete trial on."


def test_names_from_outside_are_text(hostile_run: Run) -> None:
    (study, *_) = hostile_run.studies
    more = [
        replace(study.trials[0], number=number, value=number / 100, params={HOSTILE: HOSTILE * number, "x": number})
        for number in range(3, 30)
    ]
    hostile = replace(hostile_run, studies=(replace(study, trials=(*study.trials, *more)),))
    html = shown(hostile)
    assert spaces(hostile)[0].importance is not None
    assert "<img" not in html
    assert "</script><b>" not in html
    assert not set(html) & {"\u2028", "\u202e", "\ud800"}
    charts = re.findall(r'data-chart="[^"]*">(.*?)</script>', html)
    assert len(charts) == 3
    assert all("<img" not in json.dumps(json.loads(chart)) for chart in charts)


@pytest.mark.slow
def test_five_thousand_trials_stay_small_and_that_is_said(tmp_path: Path) -> None:
    large = generate(tmp_path)
    assert len(shown(large).encode()) < 1_200_000
    said = words(large)
    assert "1 200 are drawn: the best, and an evenly spaced sample of the others." in said.replace("\u202f", " ")
    assert "The best 100 of 5 000 trials." in said.replace("\u202f", " ")
    assert "time is in 600 slots" in said


@pytest.mark.slow
def test_a_family_is_brought_forward_and_the_address_says_so(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "report.html"
    report.render(run, file)
    with launched() as browser, opened(browser, file) as shown_page:
        shown_page.locator("#chart-history").scroll_into_view_if_needed()
        shown_page.locator("#chart-history .point").first.wait_for()
        legend, back = shown_page.locator("#search-families button"), shown_page.locator("#search .lanes g.back")
        assert legend.all_text_contents() == ["dummy", "cnn", "mobilenet_v2 · random weights", "vgg19 · random weights"]
        assert back.count() == 0
        legend.nth(1).click()
        assert legend.nth(1).get_attribute("aria-pressed") == "true"
        assert back.count() == 3
        dimmed = shown_page.locator("#chart-history").evaluate("chart => chart.data.map(({opacity}) => opacity < 1)")
        assert set(dimmed) == {False, True}
        shown_page.reload()
        assert back.count() == 3
        legend.nth(1).press("Enter")
        assert back.count() == 0
        assert shown_page.evaluate("location.hash") == ""


@pytest.mark.slow
def test_a_bar_leads_to_its_trial(run: Run, tmp_path: Path) -> None:
    file, chosen = tmp_path / "report.html", run.ranking()[0]
    report.render(run, file)
    with launched() as browser, opened(browser, file) as shown_page:
        shown_page.locator(f'#search .lanes a[href="#{anchor(chosen)}"]').click()
        assert shown_page.evaluate("document.activeElement.id") == anchor(chosen)
