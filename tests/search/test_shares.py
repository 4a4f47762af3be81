"""Shares of a budget: known configurations, proposals, families, and the engines' clocks; nothing is trained."""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bench import Budget, RunConfig, runner, text
from bench.config import USUAL_SPLIT
from bench.hyperparameters import HyperParameters, Value
from bench.records import Cost, Origin, Prefix, Run, Trial
from bench.report.sections import search_history
from bench.report.sections.search_history import best_so_far
from bench.search.spaces import BUILT_IN, ORDER
from bench.testing import FakePool, Score
from bench.training.messages import TrialResult

TPE, BAYESIAN, RANDOM = "optuna:tpe", "keras-tuner:bayesian", "optuna:random"


def build(hp: HyperParameters, family: str) -> None:
    hp.Int("depth", 1, 1000)


def score(family: str, params: Mapping[str, Value]) -> float:
    return float(params["depth"] or 0) / 1001


def known(**counts: int) -> dict[str, list[dict[str, Value]]]:
    return {family: [{"depth": number} for number in range(1, count + 1)] for family, count in counts.items()}


def declared(family: str) -> int:
    """The number of known configurations in the file of a built-in family, which is not imported."""
    for node in ast.parse((BUILT_IN / f"{family}.py").read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "KNOWN_CONFIGURATIONS":
            assert isinstance(node.value, ast.List)
            return len(node.value.elts)
    raise AssertionError(f"{family} has no KNOWN_CONFIGURATIONS")


BASELINES = ("dummy", "metadata")

Search = Callable[..., Run]


@pytest.fixture
def search(tmp_path: Path, space: Callable[[str], str], monkeypatch: pytest.MonkeyPatch, in_memory) -> Search:
    """Runs the driver on families with these numbers of known configurations."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("bench.report.render", lambda run, path: None)

    def run(counts: Mapping[str, int], pool: FakePool | None = None, **config: Any) -> Run:
        baselines = [family for family in counts if family in BASELINES]
        pool = pool or FakePool(build, score, known(**counts), baselines=baselines)
        config = {"images": 24, "split": USUAL_SPLIT, "out": str(tmp_path / "run"), "engines": (TPE,), **config}
        return runner.run(RunConfig(spaces=tuple(space(family) for family in counts), **config), pool=pool)

    return run


class Clock:
    """A clock that a test moves."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now_s = 1000.0
        monkeypatch.setattr("time.monotonic", lambda: self.now_s)

    def costing(self, **seconds: float) -> Score:
        """A pool's score, which takes so many seconds by family."""

        def score(family: str, params: Mapping[str, Value]) -> float:
            self.now_s += seconds[family]
            return 0.5

        return score


def counted(run: Run, engine: str = TPE) -> list[Trial]:
    return [trial for trial in run.trials if trial.counted and trial.engine == engine]


def by_origin(trials: list[Trial]) -> Counter[Origin]:
    return Counter(trial.origin for trial in trials)


# -- known configurations and proposals


def test_of_the_budget_in_the_readme_most_trials_of_families_that_learn_are_proposals(search: Search) -> None:
    counts = {family: declared(family) for family in ORDER}
    assert sum(counts.values()) >= 20
    run = search(counts, budget=Budget(20))
    trials = counted(run)
    learning = [trial for trial in trials if trial.family not in BASELINES]
    assert [trial.family for trial in trials[: len(ORDER)]] == list(ORDER)
    assert all(trial.known for trial in trials[: len(ORDER)])
    assert by_origin(learning) == {Origin.KNOWN: 6, Origin.PROPOSED: 12}
    assert Counter(trial.family for trial in trials) == {
        "dummy": 1, "metadata": 1, "gradients": 3, "cnn": 3, "mobilenet": 3, "mobilenet_v2": 3, "vgg16": 3, "vgg19": 3
    }  # fmt: skip
    assert run.plan is not None
    assert text.search_plan(run.plan).replace("\u00a0", " ").replace("\u202f", " ") == (
        "20 trials: 8 known configurations first, one per family, then 12 proposals by optuna:tpe; "
        "dummy and metadata take one trial each, since they cannot learn"
    )
    assert search_history.section(run).summary.startswith("optuna:tpe proposed 12 of 18, best at ")


@pytest.mark.parametrize(
    ("counts", "trials", "expected"),
    [
        ({"a": 9}, 12, 3),
        ({"a": 2}, 12, 2),
        ({"a": 9, "b": 9}, 40, 10),
        ({"a": 9, "b": 0}, 4, 1),
        ({"a": 1, "b": 1, "c": 1}, 6, 3),
        ({"a": 1, "b": 1, "c": 1}, 2, 2),
        ({"a": 0, "b": 0}, 6, 0),
        ({"dummy": 9, "a": 1}, 40, 2),
    ],
)
def test_a_quarter_of_the_trials_or_one_a_family_are_known(
    search: Search, counts: dict[str, int], trials: int, expected: int
) -> None:
    run = search(counts, budget=Budget(trials))
    assert run.plan is not None
    assert run.plan.known == by_origin(counted(run))[Origin.KNOWN] == expected
    assert run.plan.proposals == by_origin(counted(run))[Origin.PROPOSED] == trials - expected


def test_under_a_time_budget_a_quarter_of_the_trials_begun_are_known(
    search: Search, monkeypatch: pytest.MonkeyPatch
) -> None:
    pool = FakePool(build, Clock(monkeypatch).costing(a=1.0, b=1.0), known(a=9, b=9))
    run = search({"a": 9, "b": 9}, pool, budget=Budget(trials=None, seconds=30.0))
    origins = [trial.origin for trial in counted(run)]
    assert origins[:2] == [Origin.KNOWN] * 2
    assert by_origin(counted(run))[Origin.KNOWN] == len(counted(run)) // 4
    for begun in range(3, len(origins) + 1):
        assert origins[:begun].count(Origin.KNOWN) <= max(2, begun // 4)


def test_a_run_of_known_configurations_says_that_no_engine_proposed_anything(search: Search) -> None:
    run = search({"a": 3, "dummy": 2}, only_known=True, budget=None)
    nothing = "no engine has proposed a configuration: all trials are known configurations"
    assert search_history.section(run).summary == nothing
    assert run.plan is not None
    assert text.search_plan(run.plan).replace("\u00a0", " ").replace("\u202f", " ") == (
        "5 trials: 5 known configurations, no proposals"
    )
    assert Counter(trial.family for trial in run.trials) == {"a": 3, "dummy": 2}


# -- families


def test_a_baseline_takes_one_trial_of_each_engine(search: Search) -> None:
    run = search({"dummy": 0, "a": 0}, budget=Budget(6), engines=(TPE, RANDOM))
    for engine in (TPE, RANDOM):
        assert Counter(trial.family for trial in counted(run, engine)) == {"dummy": 1, "a": 5}
    assert {family.name: family.learns for family in run.families} == {"dummy": False, "a": True}


def test_a_baseline_without_a_choice_is_not_said_to_be_used_up(search: Search) -> None:
    def fixed(hp: HyperParameters, family: str) -> None:
        hp.Int("depth", 1, 1 if family == "dummy" else 1000)

    run = search({"dummy": 0, "a": 0}, FakePool(fixed, score, baselines=["dummy"]), budget=Budget(4))
    assert Counter(trial.family for trial in counted(run)) == {"dummy": 1, "a": 3}
    assert run.notes == ()


def test_a_baseline_alone_gets_the_whole_budget(search: Search) -> None:
    run = search({"dummy": 1}, budget=Budget(6))
    assert by_origin(counted(run)) == {Origin.KNOWN: 1, Origin.PROPOSED: 5}
    assert "cannot learn" not in text.search_plan(run.plan)
    assert search_history.section(run).summary.startswith("optuna:tpe proposed 5 of 6")


def test_under_a_time_budget_families_get_the_same_seconds(search: Search, monkeypatch: pytest.MonkeyPatch) -> None:
    pool = FakePool(build, Clock(monkeypatch).costing(cheap=1.0, dear=10.0))
    run = search({"cheap": 0, "dear": 0}, pool, budget=Budget(trials=None, seconds=100.0), allocation="even")
    seconds = Counter[str]()
    for trial in run.trials:
        seconds[trial.family] += round(trial.took_s)
    assert seconds["cheap"] == pytest.approx(seconds["dear"], abs=10)
    assert sum(seconds.values()) >= 90  # scoring is reserved


# -- engines race


def raced(search: Search, monkeypatch: pytest.MonkeyPatch, engines: tuple[str, ...], trials: int = 12) -> Run:
    """Engines on one family with nine known configurations; the trial of depth n takes n seconds."""
    clock = Clock(monkeypatch)

    def slow(family: str, params: Mapping[str, Value]) -> float:
        clock.now_s += float(params["depth"] or 0)
        return score(family, params)

    def few(hp: HyperParameters, family: str) -> None:
        hp.Int("depth", 1, 30)

    return search({"cnn": 9}, FakePool(few, slow, known(cnn=9)), engines=engines, budget=Budget(trials))


@pytest.mark.parametrize("engines", [(TPE, RANDOM), pytest.param((TPE, BAYESIAN), marks=pytest.mark.slow)])
def test_each_engine_proposes_its_own_and_the_curves_start_at_the_known_configuration(
    search: Search, monkeypatch: pytest.MonkeyPatch, engines: tuple[str, ...]
) -> None:
    run = raced(search, monkeypatch, engines)
    for engine in engines:
        assert by_origin(counted(run, engine)) == {Origin.KNOWN: 3, Origin.PROPOSED: 9}
    curves = best_so_far(run)
    first, second = (curves[engine] for engine in engines)
    starts = [(step.n, step.best, step.time_s) for step in first[:3]]
    assert starts == [(n, pytest.approx(n / 1001), pytest.approx(n * (n + 1) / 2)) for n in (1, 2, 3)]
    assert [(step.n, step.best, step.time_s) for step in second[:3]] == starts
    trained = [trial for trial in run.trials if not trial.duplicate_of]
    assert Counter(trial.params["depth"] for trial in trained).most_common(1)[0][1] == 1


def test_a_time_budget_is_spent_by_the_clock_of_each_engine(search: Search, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)
    pool = FakePool(build, clock.costing(a=10.0), known(a=1))
    run = search({"a": 1}, pool, engines=(RANDOM, TPE), budget=Budget(trials=None, seconds=45.0))
    assert {engine: len(curve) for engine, curve in best_so_far(run).items()} == {RANDOM: 4, TPE: 4}
    assert len(pool.trained) == 7 + 1  # one is the chosen one, scored; a fifth of an engine would end too late
    assert [trial.charged_s for trial in counted(run)] == pytest.approx([10.0, 20.0, 30.0, 40.0])


def test_an_answer_is_charged_its_cold_time_to_the_engine_that_proposed_it(
    search: Search, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = raced(search, monkeypatch, (RANDOM, TPE), 24)
    answered = [trial for trial in counted(run, TPE) if trial.duplicate_of and not trial.known]
    assert answered
    trials = sorted((trial for trial in run.trials if trial.engine == TPE), key=lambda trial: trial.charged_s or 0.0)
    clock_s = 0.0
    for trial in trials:
        if trial.counted:
            # The pool's trials say that they take a second, whatever the clock says.
            expected = 1.0 if trial.duplicate_of and not trial.known else float(trial.params["depth"] or 0)
            assert (trial.charged_s or 0.0) - clock_s == pytest.approx(expected)
        clock_s = trial.charged_s or 0.0


def test_features_that_another_engine_has_computed_are_charged_once(
    search: Search, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Features take 20 seconds, of which the cache saves all but the first; the rest of a trial takes one."""
    clock = Clock(monkeypatch)

    class Frozen(FakePool):
        def _train(self, *arguments: Any) -> TrialResult:
            result = super()._train(*arguments)
            cached = len(self.trained) > 1
            clock.now_s += 1.0 if cached else 21.0
            cost = Cost(1.0, 1.0, saved_time_s=20.0 if cached else 0.0)
            return replace(result, prefixes=(Prefix(used=True, cut=("conv5",)),), cost=cost)

    run = search({"a": 0}, Frozen(build, score), engines=(RANDOM, TPE), budget=Budget(4))
    assert not any(trial.duplicate_of for trial in run.trials)
    for curve in best_so_far(run).values():
        assert [step.time_s for step in curve] == pytest.approx([21.0, 22.0, 23.0, 24.0])


def test_a_known_configuration_that_leaves_out_a_value_is_trained_once_for_all_engines(search: Search) -> None:
    def two(hp: HyperParameters, family: str) -> None:
        hp.Int("depth", 1, 1000)
        hp.Float("dropout", 0.0, 1.0)

    run = search({"a": 1}, FakePool(two, score, known(a=1)), engines=(RANDOM, TPE), only_known=True, budget=None)
    first, second = run.trials
    assert first.params == second.params == {"depth": 1, "dropout": 0.0}
    assert second.duplicate_of == first.name
