"""Adaptive allocation: which family gets the next trial, and what fits its share; nothing is trained."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

import bench
from bench import Budget, RunConfig, runner, text
from bench.hyperparameters import HyperParameters, Value
from bench.records import Ending, Limit, PhaseWork, Run, Screening, Work
from bench.search.allocation import Outlook, affordable_s
from bench.testing import FakePool

LEAST = 0.001


def build(hp: HyperParameters, family: str) -> None:
    hp.Choice("input_size", [32, 64, 128])
    hp.Int("depth", 1, 1000)


def work(family: str, params: Mapping[str, Value]) -> Work:
    """Computations in proportion to the pixels; "dear" has many more than "cheap". A model of even depth is larger."""
    pixels, parameters = int(params.get("input_size") or 32) ** 2, 10 - 9 * (int(params.get("depth") or 0) % 2)
    macs = pixels * {"dear": 10**7, "vast": 10**9}.get(family, 1000)
    return Work(parameters, batch_size=10, phases=(PhaseWork(4, macs=macs),))


Search = Callable[..., Run]


@pytest.fixture
def search(tmp_path: Path, space: Callable[[str], str], monkeypatch: pytest.MonkeyPatch, in_memory) -> Search:
    """Runs the driver on families whose trials have these accuracies and take so many seconds."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("bench.report.render", lambda run, path: None)
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("bench.search.schedule.LEAST_ERROR", 0.005)  # as if there were a thousand pictures
    now_s = 1000.0
    monkeypatch.setattr("time.monotonic", lambda: now_s)

    def run(seconds: Mapping[str, float], accuracy: Callable[[str, Mapping[str, Value]], float], **config: Any) -> Run:
        families = list(seconds)

        def score(family: str, params: Mapping[str, Value]) -> float:
            nonlocal now_s
            now_s += seconds[family]
            return accuracy(family, params)

        def wait(epoch_s: float) -> None:
            nonlocal now_s
            now_s += epoch_s

        known = config.pop("known", {family: [{"input_size": 128, "depth": 5}] for family in families})
        epoch_s = config.pop("epoch_s", 0.01)
        baselines = config.pop("baselines", ())
        pool = FakePool(build, score, known, epochs=4, epoch_s=epoch_s, wait=wait, work=work, baselines=baselines)
        settings = {"images": 24, "out": str(tmp_path / "run"), "budget": Budget(None, 100.0), **config}
        return runner.run(RunConfig(spaces=tuple(space(family) for family in families), **settings), pool=pool)

    return run


def order(run: Run) -> list[str]:
    return [trial.family for trial in sorted(run.trials, key=lambda trial: trial.order) if trial.order]


def test_every_family_comes_first_once_and_the_cheapest_before_the_others(search: Search) -> None:
    run = search({"dear": 9.0, "medium": 3.0, "cheap": 1.0}, lambda family, params: 0.9, budget=Budget(6))
    assert order(run)[:3] in (["medium", "cheap", "dear"], ["cheap", "medium", "dear"])


def test_a_trial_may_take_a_fifth_of_the_time_so_far_and_a_little_from_the_beginning() -> None:
    assert affordable_s(40.0, 100.0) == 10.0
    assert affordable_s(0.0, 100.0) == 5.0


def test_a_time_budget_is_not_spent_on_the_first_trial_of_a_dear_family_at_once(search: Search) -> None:
    run = search({"dear": 12.0, "cheap": 1.0}, lambda family, params: 0.9)
    dear = next(trial for trial in run.trials if trial.family == "dear")
    assert 33.0 < dear.started_s < 36.0
    assert order(run)[: order(run).index("dear")].count("cheap") > 20


def test_a_family_whose_trials_fail_gets_fewer(search: Search) -> None:
    def accuracy(family: str, params: Mapping[str, Value]) -> float:
        if family == "broken":
            raise MemoryError
        return 0.8 + int(params["depth"] or 0) / 10_000

    run = search({"broken": 2.0, "good": 2.0}, accuracy)
    counts = Counter(order(run))
    assert counts["good"] > 4 * counts["broken"] > 0


def test_seconds_go_where_more_can_be_gained(search: Search) -> None:
    def accuracy(family: str, params: Mapping[str, Value]) -> float:
        return 0.95 + int(params["depth"] or 0) / 25_000 if family == "good" else 0.5

    run = search({"good": 2.0, "bad": 2.0}, accuracy)
    counts = Counter(order(run))
    assert counts["good"] > 8 * counts["bad"]
    (bad,) = [study for study in run.studies if study.family == "bad"]
    reason = " ".join(bad.dropped.split())  # without the narrow spaces
    assert "its 1 trial reached 50.0 %; the probability that another improves on 9" in reason
    assert bad.dropped_s is not None
    assert 2 <= bad.dropped_s < 20
    assert not next(study.dropped for study in run.studies if study.family == "good")


def test_of_equal_families_the_cheaper_gets_more_trials(search: Search) -> None:
    def accuracy(family: str, params: Mapping[str, Value]) -> float:
        return 0.8 + int(params["depth"] or 0) / 10_000

    counts = Counter(order(search({"fast": 1.0, "slow": 12.0}, accuracy)))
    assert counts["fast"] > 4 * counts["slow"] >= 4


def test_what_a_baseline_reaches_is_not_to_be_beaten(search: Search) -> None:
    def accuracy(family: str, params: Mapping[str, Value]) -> float:
        return 1.0 if family == "metadata" else 0.6 + float(params["depth"] or 0) / 10_000

    run = search({"metadata": 1.0, "a": 2.0, "b": 2.0}, accuracy, baselines=("metadata",))
    counts = Counter(order(run))
    assert counts["metadata"] == 1
    assert min(counts["a"], counts["b"]) > 10
    assert [study.dropped for study in run.studies] == ["", "", ""]


def test_evenly_a_bad_family_gets_its_share(search: Search) -> None:
    def accuracy(family: str, params: Mapping[str, Value]) -> float:
        return 0.95 if family == "good" else 0.5

    counts = Counter(order(search({"good": 2.0, "bad": 2.0}, accuracy, allocation="even")))
    assert abs(counts["good"] - counts["bad"]) <= 1


def test_a_trial_that_exceeds_its_share_ends_with_its_best_epoch(search: Search) -> None:
    run = search({"a": 1.0, "b": 1.0}, lambda family, params: 0.9, epoch_s=20.0)
    first = next(trial for trial in run.trials if trial.order == 1)
    assert (first.epochs, first.ending, first.state) == (2, Ending.BUDGET, "COMPLETE")
    assert first.note == "stopped by the budget after epoch 2 of 4"


def test_configurations_that_exceed_their_share_are_refused_at_the_cost_of_their_build(search: Search) -> None:
    known = {"cheap": [{"input_size": 32, "depth": 1}], "vast": []}
    run = search({"cheap": 1.0, "vast": 1.0}, lambda family, params: 0.9, known=known, budget=Budget(None, 20.0))
    refused = [trial for trial in run.trials if trial.family == "vast"]
    assert [(trial.state, trial.ending, trial.counted) for trial in refused] == [("PRUNED", Ending.LIMIT, False)] * 5
    assert all(trial.took_s < 0.1 for trial in refused)
    assert all("above the share of the budget" in trial.note for trial in refused)
    assert "above their share of the time" in text.refusals(run.trials, run.config)
    (study,) = [study for study in run.studies if study.family == "vast"]
    reason = " ".join(study.dropped.split())
    assert reason == "5 configurations in a row would exceed their share of the time"


def test_refusals_for_size_and_for_time_are_counted_apart(search: Search) -> None:
    known = {"cheap": [{"input_size": 32, "depth": 1}], "vast": []}
    limited = {"max_parameters": 5, "budget": Budget(None, 20.0), "known": known}
    run = search({"cheap": 1.0, "vast": 1.0}, lambda family, params: 0.9, **limited)
    refused = [trial.limit for trial in run.trials if trial.family == "vast"]
    assert refused.count(Limit.PARAMETERS) > 0
    assert refused.count(Limit.TIME) == 5


def test_a_known_configuration_gets_a_smaller_input_to_fit_its_share(search: Search) -> None:
    run = search({"cheap": 1.0, "dear": 1.0}, lambda family, params: 0.9)
    first = {trial.family: trial for trial in run.trials if trial.number == 0}
    assert first["cheap"].params["input_size"] == 128
    assert first["cheap"].fitted == ""
    assert first["dear"].params["input_size"] in (32, 64)
    assert first["dear"].fitted.startswith(f"input size {first['dear'].params['input_size']} instead of 128: about ")
    assert first["dear"].note.startswith("input size")


def test_the_first_known_configuration_that_fits_is_taken_as_it_is(search: Search) -> None:
    known = {
        "cheap": [{"input_size": 64, "depth": 1}],
        "dear": [{"input_size": 128, "depth": 1}, {"input_size": 32, "depth": 2}, {"input_size": 32, "depth": 3}],
    }
    run = search({"cheap": 1.0, "dear": 1.0}, lambda family, params: 0.9, known=known)
    first = next(trial for trial in run.trials if trial.family == "dear" and trial.number == 0)
    assert (first.params, first.fitted) == ({"input_size": 32, "depth": 2}, "")


def test_the_record_on_disk_says_why_a_family_was_dropped(
    tmp_path: Path, space: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("bench.search.schedule.LEAST_ERROR", 0.005)
    pool = FakePool(lambda hp, family: hp.Int("depth", 1, 9), lambda family, params: {"a": 0.99, "b": 0.5}[family])
    config = RunConfig(spaces=(space("a"), space("b")), images=24, out="run", budget=Budget(12), allocation="adaptive")
    done = runner.run(config, pool=pool)
    loaded = bench.load(tmp_path / "run")
    assert [(study.dropped, study.dropped_s) for study in loaded.studies] == [
        (study.dropped, study.dropped_s) for study in done.studies
    ]
    assert any(study.dropped for study in loaded.studies)


def test_a_family_whose_screening_cannot_catch_up_gets_no_trial(
    tmp_path: Path, space: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("bench.search.schedule.LEAST_ERROR", 0.005)

    def screen(families: Any, folder: Any, *_: Any) -> None:
        for family, accuracy in {"a": 0.9, "b": 0.6}.items():
            folder.screened(Screening(family, "Net", 32, accuracy, accuracy - 0.05, accuracy + 0.03, n=200))

    monkeypatch.setattr("bench.search.screening.screen", screen)
    pool = FakePool(build, lambda family, params: {"a": 0.99, "b": 0.5}[family], {"a": [{}], "b": [{}]}, work=work)
    settings = {"budget": Budget(8), "allocation": "adaptive"}
    run = runner.run(RunConfig(spaces=(space("a"), space("b")), images=24, out="run", **settings), pool=pool)
    assert {trial.family for trial in run.trials} == {"a"}
    (study,) = [study for study in run.studies if study.family == "b"]
    reason = " ".join(study.dropped.split())
    assert reason == "screened: 60.0 %; the probability that another improves on 99.0 % is below 1.0 %"


def test_the_plan_says_that_known_configurations_come_with_the_turns_of_their_families(search: Search) -> None:
    run = search({"a": 1.0, "b": 1.0}, lambda family, params: 0.9)
    assert run.plan is not None
    assert text.search_plan(run.plan).endswith(
        "each trial goes to the family with the largest expected gain a second: first its known configuration, then "
        "proposals by optuna:tpe"
    )


def test_gain_is_the_mean_improvement_of_the_outlook() -> None:
    outlook = Outlook(math.log(0.1), 0.5)
    errors = [math.exp(outlook.log_error + outlook.spread * z) for z in _normal_scores(20_000)]
    for best in (0.05, 0.1, 0.3):
        expected = sum(max(0.0, best - error) for error in errors) / len(errors)
        assert outlook.gain(best) == pytest.approx(expected, rel=0.01)
        assert outlook.chance(best) == pytest.approx(sum(error < best for error in errors) / len(errors), abs=0.01)


def test_the_outlook_follows_the_trials_and_before_them_the_screening() -> None:
    screened = Outlook.of([], 0.97, LEAST)
    assert screened.log_error == pytest.approx(math.log(0.03))
    unseen = Outlook.of([], None, LEAST)
    assert unseen.log_error > screened.log_error
    even, uneven = Outlook.of([0.9] * 6, 0.97, LEAST), Outlook.of([0.99, 0.5] * 3, 0.97, LEAST)
    assert even.log_error == pytest.approx(math.log(0.1))
    assert even.spread < 0.5 < 1 < uneven.spread
    assert Outlook.of([1.0], None, LEAST).log_error == pytest.approx(math.log(LEAST))


def _normal_scores(n: int) -> list[float]:
    from statistics import NormalDist

    return [NormalDist().inv_cdf((number + 0.5) / n) for number in range(n)]
