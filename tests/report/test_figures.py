"""What the charts show, as data."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from bench.records import Run
from bench.report import accuracy, figures, search, verdict
from bench.report.marks import COLOURS, engine_marks, family_marks, learning_phases, marks


def test_every_complete_trial_is_a_point_and_answers_from_the_record_are_not(run: Run) -> None:
    points = accuracy.accuracy_against(run, "train_time_s")
    assert [(point.trial.study, point.trial.number) for point in points] == [
        ("dummy/optuna:tpe", 0),
        ("dummy/optuna:tpe", 1),
        ("cnn/optuna:tpe", 0),
        ("cnn/optuna:tpe", 1),
        ("mobilenet_v2/optuna:tpe", 0),
        ("mobilenet_v2/optuna:tpe", 1),
        ("cnn/keras-tuner:bayesian", 1),
        ("mobilenet_v2/keras-tuner:bayesian", 0),
    ]
    assert [point.x for point in points[2:4]] == [14.2, 31.7]


def test_only_chosen_trials_have_test_accuracy_and_interval(run: Run) -> None:
    scored = [point for point in accuracy.accuracy_against(run, "parameters") if point.test is not None]
    assert [(point.trial.family, point.test, point.low, point.high) for point in scored] == [
        ("dummy", 0.4944, 0.4222, 0.5669),
        ("cnn", 0.9111, 0.8605, 0.9445),
        ("mobilenet_v2", 0.9333, 0.8872, 0.9614),
    ]


def test_random_weights_are_said_in_every_label(run: Run) -> None:
    labels = {point.label for point in accuracy.accuracy_against(run, "parameters")}
    assert labels == {"dummy", "cnn", "mobilenet_v2 · random weights"}


def test_a_missing_interval_is_computed(run: Run) -> None:
    chosen = run.ranking()[0]
    assert chosen.test is not None
    bare = replace(chosen, test=replace(chosen.test, accuracy_low=None, accuracy_high=None))
    assert verdict.test_interval(bare) == pytest.approx((0.9333, 0.8872, 0.9615), abs=1e-4)


def test_best_so_far_never_falls_and_counts_what_used_budget(run: Run) -> None:
    searches = search.best_so_far(run)
    assert [step.best for step in searches["optuna:tpe"]] == [0.5, 0.5, 0.861, 0.861, 0.9222, 0.9222, 0.9222, 0.9389]
    assert [step.best for step in searches["keras-tuner:bayesian"]] == [0.861, 0.8944, 0.8944, 0.9167]
    assert [step.n for step in searches["keras-tuner:bayesian"]] == [1, 2, 3, 4]


def test_both_engines_are_drawn_and_told_apart_without_colour(run: Run) -> None:
    figure = search.draw_best_so_far(search.best_so_far(run), engine_marks(run))
    assert [trace["name"] for trace in figure["data"]] == ["optuna:tpe", "keras-tuner:bayesian"]
    assert len({trace["line"]["dash"] for trace in figure["data"]}) == 2
    assert figure["data"][1]["y"] == pytest.approx([86.1, 89.44, 89.44, 91.67])


def test_an_engine_without_a_result_has_steps_but_no_line(run: Run) -> None:
    study = run.studies[3]  # vgg19, which only failed
    alone = replace(run, studies=(study,), config={**run.config, "engines": ["optuna:tpe"]})
    searches = search.best_so_far(alone)
    assert [step.best for step in searches["optuna:tpe"]] == [None]
    assert search.draw_best_so_far(searches, engine_marks(alone))["data"] == []


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


def test_a_model_without_parameters_has_its_place_on_the_logarithmic_axis() -> None:
    axis = figures.log_axis([0, 93_500, 2_260_000], "parameters")
    assert axis.zero_at is not None
    assert 10**axis.low < axis.zero_at < 93_500 / 1.2
    assert axis.place(0) == axis.zero_at
    assert axis.place(93_500) == 93_500
    assert axis.ticks[0] == (axis.zero_at, "0")
    assert all(value > axis.zero_at for value, _ in axis.ticks[1:])


@pytest.mark.parametrize("values", [[5.0], [5.0, 5.1], [0.0], [0.001, 4000.0], [31.0, 95.0], [1e-5, 1e5]])
@pytest.mark.parametrize("cost", list(accuracy.COSTS))
def test_an_axis_always_has_ticks_and_holds_its_values(values: list[float], cost: str) -> None:
    axis = figures.log_axis(values, cost)
    assert axis.low < axis.high
    assert all(10**axis.low <= axis.place(value) <= 10**axis.high for value in values)
    assert 2 <= len(axis.ticks) <= 12


def test_ticks_of_time_are_a_clocks() -> None:
    labels = [label.replace("\u00a0", " ") for _, label in figures.log_axis([3.0, 1500.0], "train_time_s").ticks]
    assert labels == ["10 s", "1 min", "10 min"]


def test_chosen_trials_are_filled_with_error_bars_and_all_others_hollow(run: Run) -> None:
    points = accuracy.accuracy_against(run, "parameters")
    drawn = accuracy.draw_accuracy_against(points, "parameters", family_marks(run))["data"]
    hollow = [trace for trace in drawn if trace["marker"]["symbol"].endswith("-open")]
    filled = [trace for trace in drawn if not trace["marker"]["symbol"].endswith("-open")]
    assert sum(len(trace["x"]) for trace in hollow) == len(points)
    assert all("error_y" not in trace for trace in hollow)
    cnn = next(trace for trace in filled if trace["name"] == "cnn")
    assert cnn["y"] == pytest.approx([91.11])
    assert cnn["error_y"]["array"] == pytest.approx([3.34])
    assert cnn["error_y"]["arrayminus"] == pytest.approx([5.06])


def test_plotly_is_given_no_markup_of_others(hostile_run: Run) -> None:
    charts = [figure for _, figure in accuracy.accuracy_charts(hostile_run).values()]
    charts.append(search.draw_best_so_far(search.best_so_far(hostile_run), engine_marks(hostile_run)))
    written = json.dumps(charts, ensure_ascii=False)
    assert "<img" not in written
    assert "</script" not in written
    assert "&lt;img src=x" in written
    assert not set(written) & {"\u2028", "\u202e", "\ud800"}
