"""Forecasts of trials, on families whose times are exact functions of their work."""

from dataclasses import replace
from pathlib import Path

import pytest

from bench.config import RunConfig
from bench.records import COMPLETE, FAIL, Cost, Ending, Epoch, FamilyInfo, PhaseWork, Speed, SplitInfo, Trial, Work
from bench.search import forecast
from bench.search.families import Family
from bench.search.forecast import Forecaster, count

COUNTS = {"train": {"cat": 60, "dog": 40}, "validation": {"cat": 20}}
SPLIT = SplitInfo("photos", ("cat", "dog"), COUNTS, "")

HEAD = Work(batch_size=10, phases=(PhaseWork(10, macs=100, prefix_macs=1_000_000, views=2, row_bytes=1000),))
WHOLE = Work(batch_size=10, phases=(PhaseWork(10, macs=10_000_000, memory_mb=300),))


def family(name="a", speed=None):
    return Family(FamilyInfo(name, sha256="f" * 64), Path(f"{name}.py"), (), (), {}, (32,), speed=speed)


def forecaster(*families, folder=None, split=SPLIT, **config):
    return Forecaster(RunConfig(**config), split, families or (family(),), folder)


def trial(work, start_s=3.0, per_mac_s=1e-9, per_step_s=0.01, epochs=10, name="a"):
    """A trial whose time is exactly proportional to its counts."""
    counts = count(work, SPLIT)
    share = epochs / counts.epochs if counts.epochs else 0
    epochs_s = share * (counts.steps * per_step_s + counts.training * per_mac_s)
    features_s = counts.features * per_mac_s
    cost = Cost(epochs_s, 0, features_time_s=features_s, peak_rss_mb=900 + counts.memory_mb)
    history = tuple(Epoch(number, 1, 1, 1, 1, epochs_s / epochs) for number in range(1, epochs + 1))
    finished_s = start_s + features_s + epochs_s
    return Trial(
        name, "e", 0, 1, COMPLETE, finished_s=finished_s, cost=cost, history=history, work=work, planned_epochs=10
    )


def test_features_are_counted_for_every_view_and_training_for_every_epoch():
    counts = count(HEAD, SPLIT)
    assert counts.cold_features == counts.features == (2 * 100 + 20) * 1_000_000
    assert counts.steps == 10 * 10
    assert counts.training == 10 * 100 * (3 * 100 + 20)
    assert counts.disk_mb == pytest.approx((2 * 100 + 20) * 1000 / 1e6)
    half = replace(HEAD, phases=(replace(HEAD.phases[0], cached=0.5),))
    assert count(half, SPLIT).features == counts.features / 2
    assert count(half, SPLIT).cold_features == counts.features


def test_screening_measures_the_features_until_a_trial_does():
    speed = Speed(build_s=1.5, predict_s=0.002, work=Work(macs=1_000_000))
    forecasts = forecaster(family(speed=speed))
    assert forecasts.features_s("a", 3_000_000) == (pytest.approx(3.5), pytest.approx(0.006))
    forecasts.learn_features("a", 3_000_000, 0.012)
    assert forecasts.features_s("a", 1_000_000)[1] == pytest.approx(0.004)
    forecasts.learn(trial(HEAD))
    assert forecasts.features_s("a", 1_000_000)[1] == pytest.approx(0.001)


def test_folds_are_counted_as_so_many_trainings():
    folds = SplitInfo("photos", ("cat", "dog"), {"train": COUNTS["train"]}, "", folds=5)
    counts = count(WHOLE, folds)
    assert counts.steps == 5 * 10 * 8
    assert counts.training == 5 * 10 * 10_000_000 * (3 * 80 + 20)


def test_a_trial_like_the_measured_ones_is_forecast_exactly():
    forecasts = forecaster()
    for work in (HEAD, WHOLE):
        forecasts.learn(trial(work))
    larger = replace(WHOLE, phases=(replace(WHOLE.phases[0], macs=20_000_000),))
    expected = trial(larger)
    assert forecasts.forecast("a", larger).time_s == pytest.approx(expected.took_s, rel=0.1)
    cached = replace(HEAD, phases=(replace(HEAD.phases[0], cached=1.0),))
    forecasts.learn(trial(cached, start_s=0.5))
    of_cached = forecasts.forecast("a", cached)
    assert of_cached.time_s == pytest.approx(0.5 + 100 * 0.01, rel=0.1)
    assert of_cached.cold_s == pytest.approx(of_cached.time_s + 0.22, rel=0.1)
    assert forecasts.forecast("a", HEAD).time_s == pytest.approx(trial(HEAD).took_s, rel=0.1)
    assert of_cached.disk_mb == 0
    assert forecasts.forecast("a", WHOLE).memory_mb == pytest.approx(900 + 300)


def test_the_interval_narrows_with_the_family_s_trials():
    forecasts = forecaster()
    widths = []
    for _ in range(4):
        predicted = forecasts.forecast("a", WHOLE)
        assert predicted.low_s < predicted.time_s < predicted.high_s
        widths.append(predicted.high_s / predicted.low_s)
        forecasts.learn(trial(WHOLE))
    assert widths[0] > widths[1] > widths[2] >= widths[3]


def test_the_dry_run_forecasts_the_first_trial():
    speed = Speed(build_s=1.0, predict_s=0.5, work=replace(WHOLE, macs=10_000_000))
    slow, fast = (forecaster(family(speed=given)) for given in (speed, replace(speed, predict_s=0.005)))
    assert slow.forecast("a", WHOLE).time_s > 20 * fast.forecast("a", WHOLE).time_s


def test_a_dry_run_is_corrected_as_those_of_other_families_turned_out_wrong():
    speed = Speed(build_s=1.0, predict_s=0.01, work=replace(WHOLE, macs=10_000_000))
    forecasts = forecaster(family("a", speed=speed), family("b", speed=speed))
    before = forecasts.forecast("b", HEAD)
    forecasts.learn_features("a", 10_000_000, 0.05)
    assert forecasts.forecast("b", HEAD).time_s > 1.2 * before.time_s
    picture_s = [forecasts.features_s(name, 10_000_000)[1] for name in ("a", "b")]
    assert picture_s == pytest.approx([0.05, 0.05])


def test_other_families_forecast_a_family_that_was_never_measured():
    forecasts = forecaster(family("a"), family("b"))
    before = forecasts.forecast("b", WHOLE)
    forecasts.learn(trial(WHOLE, per_mac_s=1e-7))
    assert forecasts.forecast("b", WHOLE).time_s > 10 * before.time_s


def test_early_stopping_is_expected_as_often_as_it_was_seen():
    forecasts = forecaster()
    forecasts.learn(trial(WHOLE, epochs=5))
    assert forecasts.forecast("a", WHOLE).time_s == pytest.approx(trial(WHOLE, epochs=5).took_s, rel=0.05)


def test_failed_answered_and_old_trials_teach_nothing():
    forecasts = forecaster()
    before = forecasts.forecast("a", WHOLE)
    done = trial(WHOLE, per_mac_s=1e-6)
    for other in (
        replace(done, state=FAIL),
        replace(done, duplicate_of="a/e#0", ending=Ending.RECORD),
        replace(done, work=None),
        replace(done, cost=None),
    ):
        forecasts.learn(other)
    assert forecasts.forecast("a", WHOLE) == before


def test_a_cut_trial_says_nothing_of_early_stopping():
    forecasts = forecaster()
    forecasts.learn(replace(trial(WHOLE, epochs=2), ending=Ending.BUDGET))
    assert forecasts.forecast("a", WHOLE).time_s == pytest.approx(
        trial(WHOLE, epochs=8).took_s, rel=0.05
    )  # `TYPICAL` expects 8 of 10 epochs


def test_a_classifier_is_forecast_from_its_earlier_trials_alone():
    forecasts = forecaster()
    assert forecasts.forecast("a", Work()) is None
    forecasts.learn(replace(trial(Work(), start_s=7.0, epochs=1), history=()))
    assert forecasts.forecast("a", Work()).time_s == pytest.approx(7.0)


def test_later_runs_on_this_machine_know_the_speeds(tmp_path):
    forecaster(folder=tmp_path).learn(trial(WHOLE))
    expected = trial(WHOLE).took_s
    assert forecaster(folder=tmp_path).forecast("a", WHOLE).time_s == pytest.approx(expected, rel=0.05)
    changed = replace(family(), info=replace(family().info, sha256="0" * 64))
    assert forecaster(changed, folder=tmp_path).forecast("a", WHOLE).time_s != pytest.approx(expected, rel=0.05)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"a": {"start": "x"}}'])
def test_damaged_speeds_are_measured_again(tmp_path, text):
    forecaster(folder=tmp_path).learn(trial(WHOLE))
    (path,) = (tmp_path / "speeds").glob("*.json")
    path.write_text(text)
    assert forecaster(folder=tmp_path).forecast("a", WHOLE) == forecaster().forecast("a", WHOLE)


def test_a_full_disk_costs_no_forecast(tmp_path, monkeypatch):
    def full(path, text):
        raise OSError("no space left on device")

    forecasts = forecaster(folder=tmp_path)
    monkeypatch.setattr(forecast, "write_text", full)
    forecasts.learn(trial(WHOLE))
    assert forecasts.forecast("a", WHOLE).time_s == pytest.approx(trial(WHOLE).took_s, rel=0.05)
