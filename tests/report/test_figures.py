"""What the charts show, as data."""

from __future__ import annotations

import html
import math
import re
from dataclasses import replace
from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.records import FamilyInfo, Run, Trial
from bench.report import figures, svg
from bench.report.figures import anchor
from bench.report.sections import cost_charts
from bench.report.sections.learning_curves import learning_phases
from bench.report.sections.reliability import Bin, Calibration, draw_reliability
from bench.report.styles import COLOURS, family_marks, interval_bar, marks
from bench.runs.standings import chance
from bench.text import seconds

from .conftest import HOSTILE, changed, only, plain, section


def charts(run: Run) -> cost_charts.CostCharts:
    found = cost_charts.section(run)
    assert found is not None
    return found


def marks_of(run: Run, cost: str) -> list[str]:
    """The hover texts of a chart's marks."""
    return html.unescape(charts(run).charts[cost].drawing).split("<title>")[1:]


def words_in(run: Run, cost: str) -> str:
    """The texts of a chart: ticks and labels."""
    drawing = charts(run).charts[cost].drawing
    return (
        html.unescape(" | ".join(re.findall(r"<text[^>]*>([^<]*)</text>", drawing)))
        .replace("\u00a0", " ")
        .replace("\u202f", " ")
    )


def test_the_chosen_trials_alone_are_drawn_and_no_baseline(run: Run) -> None:
    learning = without_learning(run, "dummy")
    assert [trial.name for trial in charts(learning).trials] == ["mobilenet_v2/optuna:tpe#1", "cnn/optuna:tpe#1"]
    for cost in cost_charts.COSTS:
        first, second = marks_of(learning, cost)
        assert first.startswith("mobilenet_v2 · random weights: test 93.3\u202f% (88.7–96.1\u202f%), ")
        assert second.startswith("cnn: test 91.1\u202f%")
        assert "mobilenet_v2 | cnn" in words_in(learning, cost)
    assert "10 ms" not in words_in(learning, "train_time_s")  # the baseline's millisecond does not stretch the axis


def without_learning(run: Run, *names: str) -> Run:
    families = (replace(family, learns=family.name not in names) for family in run.families)
    return replace(run, families=tuple(families))


def test_while_nothing_is_scored_accuracies_are_those_of_validation_and_that_is_said(run: Run) -> None:
    going = changed(run, lambda trial: replace(trial, test=None))
    assert not charts(going).scored
    assert marks_of(going, "parameters")[0].startswith("mobilenet_v2 · random weights: validation 93.9\u202f%")
    assert "Validation accuracy of each family’s best trial: nothing is scored" in plain(section(going, "cost_charts"))
    assert "chance" not in words_in(going, "parameters")
    half = changed(run, lambda trial: replace(trial, test=None) if trial.family == "cnn" else trial)
    assert [trial.family for trial in charts(half).trials] == ["mobilenet_v2", "dummy"]
    assert "Not scored: cnn." in plain(section(half, "cost_charts"))


def test_a_model_without_a_count_of_parameters_is_named_below_the_chart(run: Run) -> None:
    def uncounted(trial: Trial) -> Trial:
        counted = trial.cost and trial.family != "cnn"
        return trial if counted or not trial.cost else replace(trial, cost=replace(trial.cost, parameters=0))

    odd = without_learning(changed(run, uncounted), "dummy")
    assert len(marks_of(odd, "parameters")) == 1
    assert len(marks_of(odd, "latency_ms")) == 2
    assert "Not in the chart, parameters unknown: cnn." in plain(section(odd, "cost_charts"))


def test_chance_is_a_line_or_below_the_chart_in_words(run: Run) -> None:
    assert chance(run) == 0.5
    assert "chance 50.0 % |" in words_in(run, "latency_ms") + " |"
    assert "chance 50.0 % ↓" in words_in(without_learning(run, "dummy"), "latency_ms")
    more_dogs = replace(run.split, counts=run.split.counts | {"test": {"cat": 30, "dog": 90}})
    assert chance(replace(run, split=more_dogs)) == 0.75
    assert chance(replace(run, split=replace(run.split, counts={}))) is None


def test_a_run_without_a_complete_trial_has_no_charts(run: Run, empty_run: Run) -> None:
    assert cost_charts.section(empty_run) is None
    assert cost_charts.section(only(run, "vgg19")) is None


def test_with_several_seeds_the_test_accuracy_is_their_mean(seeded_run: Run) -> None:
    cnn = seeded_run.best("cnn")
    assert cnn is not None
    assert cnn.over_seeds is not None
    assert cost_charts.result(cnn) == (pytest.approx(163 / 180), cnn.over_seeds.low, cnn.over_seeds.high)
    (hover,) = (mark for mark in marks_of(seeded_run, "parameters") if mark.startswith("cnn"))
    assert "test 90.6\u202f%" in hover
    assert ", mean of 3\u00a0seeds)" in hover


def test_the_front_is_what_nothing_cheaper_reaches(run: Run) -> None:
    found = charts(run).charts
    fronts = {cost: [trial.family for trial in chart.front] for cost, chart in found.items()}
    assert fronts["train_time_s"] == ["dummy", "cnn", "mobilenet_v2"]
    best = replace(run.ranking()[1], test=replace(run.ranking()[0].test, accuracy=0.99))  # type: ignore[type-var]
    better = changed(run, lambda trial: best if trial.name == best.name else trial)
    assert [trial.family for trial in charts(better).charts["train_time_s"].front] == ["dummy", "cnn"]
    assert charts(better).fronts(best) == ["training time", "parameters", "latency"]


def test_equal_trials_are_on_the_front_once(run: Run) -> None:
    trials = run.ranking()
    assert cost_charts.front(trials * 2, "train_time_s") == cost_charts.front(trials, "train_time_s")


def test_a_mark_leads_to_the_row_of_its_trial(run: Run) -> None:
    drawing = charts(run).charts["train_time_s"].drawing
    assert re.findall(r'<a href="#([^"]*)"', drawing) == [anchor(trial) for trial in charts(run).trials]


def test_names_from_outside_are_text_in_the_charts(run: Run) -> None:
    studies = tuple(
        replace(study, family=HOSTILE, trials=tuple(replace(trial, family=HOSTILE) for trial in study.trials))
        if study.family == "cnn"
        else study
        for study in run.studies
    )
    hostile = replace(run, studies=studies, families=(*run.families, FamilyInfo(HOSTILE)))
    drawn = "".join(chart.drawing for chart in charts(hostile).charts.values())
    assert "<img" not in drawn
    assert "<b>" not in drawn
    assert "&lt;img src=x" in drawn
    assert not set(drawn) & {"\u2028", "\u202e", "\ud800"}


@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0.5, 1)), min_size=1, max_size=10))
def test_labels_cover_neither_marks_nor_each_other(places: list[tuple[float, float]]) -> None:
    frame = svg.Frame(svg.Axis("", -0.1, 1.1, ()), svg.percentages("", 0.5, 1.0), 260)
    drawn = frame.labels([(place, f"family_{n}") for n, place in enumerate(places)])
    texts = re.findall(r'class="label" x="([-\d.]+)" y="([-\d.]+)" text-anchor="start">(\w+)<', drawn)
    boxes = [(float(x), float(y), float(x) + svg.LETTER * len(name)) for x, y, name in texts]
    assert len(boxes) == len(places)
    assert all(left >= 0 and right <= svg.WIDTH and 0 < y < 260 for left, y, right in boxes)
    for (left, y, right), (left_, y_, right_) in combinations(boxes, 2):
        assert right <= left_ + 0.1 or right_ <= left + 0.1 or abs(y - y_) >= svg.LINE - 0.1
    for x, y in (frame.place(*place) for place in places):
        assert not any(left < x < right and abs(middle - 4 - y) < 7 for left, middle, right in boxes)


@pytest.mark.parametrize("values", [[5.0], [5.0, 5.1], [0.001, 4000.0], [31.0, 95.0], [1e-5, 1e5], [25.0, 260.0]])
@pytest.mark.parametrize("rounds", [svg.DECADES, svg.DURATIONS])
def test_a_logarithmic_axis_holds_its_values_and_has_ticks(
    values: list[float], rounds: tuple[tuple[float, ...], ...]
) -> None:
    axis = svg.logarithmic("", values, seconds, rounds)
    assert axis.low < math.log10(min(values)) <= math.log10(max(values)) < axis.high
    assert len(axis.ticks) >= 2
    assert all(axis.low <= place <= axis.high for place, _ in axis.ticks)


def test_ticks_of_time_are_round_in_their_unit() -> None:
    axis = svg.logarithmic("", [4.0, 4000.0], seconds, svg.DURATIONS)
    assert [label.replace("\u00a0", " ").replace("\u202f", " ") for _, label in axis.ticks] == [
        "10 s",
        "1 min",
        "10 min",
        "1 h",
    ]


def test_a_bar_of_a_reliability_diagram_has_its_number_of_pictures() -> None:
    bins = tuple(Bin(n / 15, (n + 1) / 15, count, 0.5, 0.5, 0.4, 0.6) for n, count in ((7, 12), (14, 3480)))
    drawn = draw_reliability(Calibration(bins, 0.5, 0.5), "cnn", marks(["cnn"])["cnn"])
    assert re.findall(r'class="count-label"[^>]*>([^<]*)<', drawn) == ["12", "3.5\u00a0k"]


def test_without_an_interval_there_is_no_bar() -> None:
    mark = marks(["cnn"])["cnn"]
    assert interval_bar(mark, (0.0, 1.0), 0.5, None, 0.6) == ""
    assert "<svg" in interval_bar(mark, (0.0, 1.0), 0.5, 0.4, 0.6)


def test_a_missing_interval_is_computed(run: Run) -> None:
    chosen = run.ranking()[0]
    assert chosen.test is not None
    bare = replace(chosen, test=replace(chosen.test, accuracy_low=None, accuracy_high=None))
    assert cost_charts.result(bare) == pytest.approx((0.9333, 0.8872, 0.9615), abs=1e-4)


def test_a_learning_curve_is_in_phases(cached_run: Run) -> None:
    curves = {(trial.study, trial.number): learning_phases(trial) for trial in cached_run.trials}
    tuned = curves["mobilenet_v2/optuna:tpe", 1]
    assert [(phase.name, len(phase.values)) for phase in tuned] == [("head", 5), ("fine-tuning", 3)]
    assert tuned[1].values[-1] == pytest.approx(0.9389)
    assert [(phase.name, len(phase.values)) for phase in curves["cnn/optuna:tpe", 1]] == [("", 8)]
    assert [phase.values for phase in curves["mobilenet_v2/keras-tuner:bayesian", 1]] == [(0.6, 0.8)]  # in training
    assert curves["vgg19/optuna:tpe", 0] == []


def test_families_differ_in_shape_as_well_as_colour(run: Run) -> None:
    looks = family_marks(run).values()
    assert len({look.symbol for look in looks}) == len({look.colour for look in looks}) == 6
    many = marks([str(i) for i in range(56)]).values()
    assert len({(look.symbol, look.colour) for look in many}) == 56
    assert {look.colour for look in many} == {f"var(--series-{i + 1})" for i in range(COLOURS)}


@pytest.mark.parametrize(
    ("longest_s", "said"), [(0.0, "seconds"), (90, "seconds"), (121, "minutes"), (7000, "minutes"), (1e6, "hours")]
)
def test_time_is_in_a_unit_that_suits_it(longest_s: float, said: str) -> None:
    axis, unit_s = figures.time_axis("Time", longest_s)
    assert axis["title"]["text"] == f"Time, {said}"
    assert axis["range"][1] > longest_s / unit_s
