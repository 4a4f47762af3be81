"""What the charts show, as data."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from bench.records import Run
from bench.report import figures
from bench.report.figures import anchor
from bench.report.sections import cost_charts
from bench.report.sections.learning_curves import learning_phases
from bench.report.styles import COLOURS, family_marks, interval_bar, marks


def test_every_complete_trial_is_a_point_and_answers_from_the_record_are_not(run: Run) -> None:
    charted = cost_charts.section(run).charts["train_time_s"].trials
    assert [(trial.study, trial.number) for trial in charted] == [
        ("dummy/optuna:tpe", 0),
        ("dummy/optuna:tpe", 1),
        ("cnn/optuna:tpe", 0),
        ("cnn/optuna:tpe", 1),
        ("mobilenet_v2/optuna:tpe", 0),
        ("mobilenet_v2/optuna:tpe", 1),
        ("cnn/keras-tuner:bayesian", 1),
        ("mobilenet_v2/keras-tuner:bayesian", 0),
    ]


def test_with_several_seeds_the_test_accuracy_is_their_mean(seeded_run: Run) -> None:
    cnn = seeded_run.best("cnn")
    assert cnn is not None
    assert cnn.over_seeds is not None
    assert cnn.test_with_interval == (pytest.approx(163 / 180), cnn.over_seeds.low, cnn.over_seeds.high)
    hover = cost_charts.section(seeded_run).hovers[anchor(cnn)]
    assert "test 90.6\u00a0%" in hover
    assert ", mean of 3\u00a0seeds)" in hover
    assert "mean of" not in cost_charts.section(seeded_run).hovers[anchor(seeded_run.trials[1])]


def test_without_an_interval_there_is_no_bar() -> None:
    mark = marks(["cnn"])["cnn"]
    assert interval_bar(mark, (0.0, 1.0), 0.5, None, 0.6) == ""
    assert "<svg" in interval_bar(mark, (0.0, 1.0), 0.5, 0.4, 0.6)


def test_random_weights_are_said_in_every_label(run: Run) -> None:
    labels = [label for label, _ in cost_charts.section(run).families]
    assert labels == ["dummy", "cnn", "mobilenet_v2 · random weights"]


def test_a_missing_interval_is_computed(run: Run) -> None:
    chosen = run.ranking()[0]
    assert chosen.test is not None
    bare = replace(chosen, test=replace(chosen.test, accuracy_low=None, accuracy_high=None))
    assert bare.test_with_interval == pytest.approx((0.9333, 0.8872, 0.9615), abs=1e-4)


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


def test_a_model_without_parameters_stands_left_of_the_others_at_a_zero(run: Run) -> None:
    trials = cost_charts.drawn(run)
    chart = cost_charts.draw_cost_chart(trials, trials[:1], "parameters", family_marks(run))
    (dummy,) = {x for trace in chart["data"] if trace["name"] == "dummy" for x in trace["x"]}
    axis = chart["layout"]["xaxis"]
    assert list(axis["ticktext"]) == ["0", "100\u00a0k", "1\u00a0M"]
    assert axis["tickvals"][0] == pytest.approx(dummy, rel=1e-4)
    assert 10 ** axis["range"][0] < dummy < 93_500 / 1.2
    paid = [trial for trial in trials if trial.cost and trial.cost.parameters]
    plain = cost_charts.draw_cost_chart(paid, paid[:1], "parameters", family_marks(run))
    assert "tickvals" not in plain["layout"]["xaxis"]


@pytest.mark.parametrize("values", [[5.0], [5.0, 5.1], [0.0], [0.001, 4000.0], [31.0, 95.0], [1e-5, 1e5]])
def test_a_logarithmic_axis_holds_its_values(values: list[float]) -> None:
    axis, zero_at, _ = figures.log_axis(values)
    low, high = axis["range"]
    assert high - low > 1.19
    assert all(10**low < (value or zero_at) < 10**high for value in values)


@pytest.mark.parametrize(
    ("longest_s", "said"), [(0.0, "seconds"), (90, "seconds"), (121, "minutes"), (7000, "minutes"), (1e6, "hours")]
)
def test_time_is_in_a_unit_that_suits_it(longest_s: float, said: str) -> None:
    axis, unit_s = figures.time_axis("Time", longest_s)
    assert axis["title"]["text"] == f"Time, {said}"
    assert axis["range"][1] > longest_s / unit_s


def test_chosen_trials_are_filled_with_error_bars_and_all_others_hollow(run: Run) -> None:
    chart = cost_charts.section(run).charts["parameters"]
    line, *drawn = chart.figure["data"]
    assert line["mode"] == "lines"
    hollow = [trace for trace in drawn if trace["marker"]["symbol"].endswith("-open")]
    filled = [trace for trace in drawn if not trace["marker"]["symbol"].endswith("-open")]
    assert sum(len(trace["x"]) for trace in hollow) == len(chart.trials)
    assert all("error_y" not in trace for trace in hollow)
    cnn = next(trace for trace in filled if trace["name"] == "cnn")
    assert cnn["y"] == pytest.approx([91.11])
    assert cnn["error_y"]["array"] == pytest.approx([3.34])
    assert cnn["error_y"]["arrayminus"] == pytest.approx([5.06])


def test_the_front_is_what_nothing_cheaper_reaches(run: Run) -> None:
    charts = cost_charts.section(run).charts
    front = [(trial.study, trial.number) for trial in charts["train_time_s"].front]
    assert front == [
        ("dummy/optuna:tpe", 1),
        ("dummy/optuna:tpe", 0),
        ("cnn/optuna:tpe", 0),
        ("cnn/keras-tuner:bayesian", 1),
        ("cnn/optuna:tpe", 1),
        ("mobilenet_v2/optuna:tpe", 1),
    ]
    line = charts["train_time_s"].figure["data"][0]
    assert line["line"]["shape"] == "hv"
    assert line["y"] == pytest.approx([48.33, 50, 86.1, 89.44, 92.22, 93.89, 93.89])
    assert len(charts["parameters"].front) == 5  # of the two dummies, the better one


def test_a_point_knows_the_row_of_its_trial(run: Run) -> None:
    anchors = {anchor(trial) for trial in run.trials}
    assert set(cost_charts.section(run).hovers) == {anchor(trial) for trial in cost_charts.drawn(run)}
    for chart in cost_charts.section(run).charts.values():
        points = [id for trace in chart.figure["data"] for id in trace.get("customdata", ())]
        assert set(points) <= anchors
        assert len(points) == 8 + 3  # every trial, and the chosen ones once more


def test_equal_points_are_on_the_front_once(run: Run) -> None:
    trials = cost_charts.drawn(run)
    assert cost_charts.front(trials * 2, "train_time_s") == cost_charts.front(trials, "train_time_s")


def test_plotly_is_given_no_markup_of_others(hostile_run: Run) -> None:
    found = cost_charts.section(hostile_run)
    charts: list[object] = [found.hovers, *(chart.figure for chart in found.charts.values())]
    written = json.dumps(charts, ensure_ascii=False)
    assert "<img" not in written
    assert "</script" not in written
    assert "&lt;img src=x" in written
    assert not set(written) & {"\u2028", "\u202e", "\ud800"}
