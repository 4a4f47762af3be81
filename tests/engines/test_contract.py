"""What every engine owes the driver. A new engine inherits `EngineContract` and names itself."""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Callable
from typing import Any

import optuna
import pytest

from bench.engines import Engine, Proposal, Settings, create
from bench.hyperparameters import Hyperparameter, HyperParameters, Value, fixed
from bench.records import study_name

Build = Callable[[HyperParameters], Any]
Configuration = dict[str, Value]


def everything(hp: HyperParameters) -> None:
    """One hyperparameter of each kind, and one name under two conditions with different ranges."""
    hp.Choice("kind", ["dense", "conv"])
    hp.Int("units", 8, 60, step=8)
    hp.Int("filters", 4, 64, sampling="log")
    hp.Int("batch", 16, 128, step=2, sampling="log")
    hp.Float("rate", 1e-4, 1e-1, sampling="log")
    hp.Float("dropout", 0, 0.6, step=0.2)
    hp.Float("momentum", 0.1, 0.99, sampling="reverse_log")
    hp.Boolean("augment")
    hp.Fixed("loss", "mse")
    with hp.conditional_scope("kind", ["conv"]):
        hp.Int("kernel", 1, 7)
        hp.Choice("depth", [10, 20])
    hp.Int("depth", 1, 3, parent_name="kind", parent_values=["dense"])


def finite(hp: HyperParameters) -> None:
    """Three configurations."""
    hp.Choice("a", ["x", "y"])
    hp.Boolean("b", parent_name="a", parent_values=["x"])


def discovering(hp: HyperParameters) -> None:
    """Declares some of it in plain `if`s, so that a first build does not see it."""
    if hp.Choice("kind", ["dense", "conv"]) == "conv":
        hp.Int("kernel", 1, 7, default=3)
        if hp.Boolean("residual"):
            hp.Float("scale", 0.1, 1.0, sampling="reverse_log")


KNOWN: Configuration = {"kind": "conv", "units": 24, "batch": 64, "dropout": 0.4, "momentum": 0.9, "depth": 20}


def declared(build: Build) -> tuple[Hyperparameter, ...]:
    hp = HyperParameters(fixed({}))
    build(hp)
    return tuple(hp.space)


def take(engine: Engine, proposal: Proposal, build: Build) -> Configuration:
    hp = HyperParameters(lambda hyperparameter: engine.suggest(proposal, hyperparameter))
    build(hp)
    return dict(hp.values)


def score(values: Configuration) -> float:
    rate = values.get("rate", 1e-2)
    assert isinstance(rate, float)
    return 0.9 - 0.1 * abs(math.log10(rate) + 2) - (0.2 if values.get("kind") == "dense" else 0.0)


def run(
    engine: Engine,
    trials: int,
    build: Build = everything,
    known: Configuration | None = None,
    score: Callable[[Configuration], float] = score,
) -> list[Configuration]:
    """A driver in miniature: one trial at a time."""
    taken = []
    for index in range(trials):
        proposal = engine.ask(known if index == 0 else None)
        if proposal is None:
            break
        values = take(engine, proposal, build)
        for epoch in range(1, 4):
            if engine.report(proposal, epoch, score(values) * epoch / 3):
                engine.tell(proposal, "PRUNED", None, values)
                break
        else:
            engine.tell(proposal, "COMPLETE", score(values), values)
        taken.append(values)
    return taken


def sized(hp: HyperParameters) -> None:
    hp.Int("depth", 1, 8)
    hp.Float("width", 1, 100, sampling="log")


def refusals(engine: Engine, trials: int) -> list[bool]:
    """Whether each proposal was refused: a fifth of the space is within the limit, and larger models are better."""
    refused = []
    for _ in range(trials):
        proposal = engine.ask()
        assert proposal is not None
        values = take(engine, proposal, sized)
        size = float(values["depth"] or 0) * float(values["width"] or 0)
        refused.append(size > 10)
        state, value = ("PRUNED", None) if refused[-1] else ("COMPLETE", size / 10)
        engine.tell(proposal, state, value, values)
    return refused


class EngineContract:
    """Subclasses parametrise `name`."""

    def make(self, name: str, build: Build = everything, **settings: Any) -> Engine:
        about = {"seed": 7, "space": declared(build), "epochs": 9, "trials": 48} | settings
        return create(name, "family", optuna.storages.InMemoryStorage(), Settings(**about))

    def test_values_are_allowed_and_only_active_ones_are_sampled(self, name: str) -> None:
        space = declared(everything)
        for values in run(self.make(name), 12):
            active = [each for each in space if each.is_active(values)]
            assert {each.name for each in active} == set(values)
            assert all(each.accepts(values[each.name]) for each in active)

    def test_the_same_seed_proposes_the_same(self, name: str) -> None:
        assert run(self.make(name), 12) == run(self.make(name), 12)

    def test_a_loss_is_searched_as_its_negative_is(self, name: str) -> None:
        by_score = run(self.make(name), 16)
        by_loss = run(self.make(name, minimize=True), 16, score=lambda values: -score(values))
        assert by_loss == by_score

    def test_another_seed_proposes_others(self, name: str) -> None:
        if name == "keras-tuner:grid":
            pytest.skip("walks the grid in order, by definition")
        assert run(self.make(name, seed=0), 8) != run(self.make(name, seed=1), 8)
        assert run(self.make(name, seed=0), 8) == run(self.make(name, seed=0), 8)

    def test_known_values_are_taken_and_the_others_are_defaults(self, name: str) -> None:
        first, second, *_ = run(self.make(name), 8, known=KNOWN)
        hp = HyperParameters(fixed(KNOWN))
        everything(hp)
        assert first == pytest.approx(hp.values)
        assert {key: second.get(key) for key in KNOWN} != KNOWN

    def test_a_known_configuration_may_be_all_defaults(self, name: str) -> None:
        first, *_ = run(self.make(name), 1, known={})
        hp = HyperParameters(fixed({}))
        everything(hp)
        assert first == pytest.approx(hp.values)

    def test_a_known_value_outside_its_range_is_an_error_that_names_both(self, name: str) -> None:
        engine = self.make(name)
        proposal = engine.ask({"units": 9})
        assert proposal is not None
        with pytest.raises(ValueError, match=r"units=9 is outside Int 8 to 60, step 8"):
            take(engine, proposal, everything)

    def test_a_value_asked_again_is_the_same(self, name: str) -> None:
        engine = self.make(name)
        proposal = engine.ask()
        assert proposal is not None
        assert take(engine, proposal, everything) == take(engine, proposal, everything)

    def test_a_running_trial_shows_its_values_in_the_storage(self, name: str) -> None:
        engine = self.make(name)
        proposal = engine.ask()
        assert proposal is not None
        values = take(engine, proposal, everything)
        assert engine.study.study_name == study_name(name, "family")
        assert engine.study.user_attrs.items() >= {"family": "family", "engine": name}.items()
        (record,) = engine.study.get_trials()
        assert record.state.name == "RUNNING"
        for key in ("kind", "units", "filters", "batch", "rate", "dropout", "augment"):
            assert record.params[key] == pytest.approx(values[key])
        assert 0.1 + 0.99 - record.params["momentum/reverse_log"] == pytest.approx(values["momentum"])

    def test_the_record_says_how_a_trial_ended(self, name: str) -> None:
        engine = self.make(name)
        for state, value in (("COMPLETE", 0.8), ("PRUNED", None), ("FAIL", None), ("COMPLETE", float("nan"))):
            proposal = engine.ask()
            assert proposal is not None
            values = take(engine, proposal, everything)
            engine.report(proposal, 1, 0.5)
            engine.tell(proposal, state, value, values)
            engine.tell(proposal, "FAIL", None, values)  # told twice, the first stays
        trials = engine.study.get_trials()
        assert [trial.state.name for trial in trials] == ["COMPLETE", "PRUNED", "FAIL", "FAIL"]
        assert trials[0].value == 0.8
        assert trials[0].intermediate_values == {1: 0.5}

    def test_failures_do_not_end_the_search(self, name: str) -> None:
        engine = self.make(name, trials=48)
        for _ in range(10):
            proposal = engine.ask()
            assert proposal is not None
            engine.tell(proposal, "FAIL", None, {})
        assert len(run(engine, 4)) == 4

    def test_two_trials_run_at_a_time(self, name: str) -> None:
        engine = self.make(name, trials=48)
        run(engine, 9, known=KNOWN)
        for _ in range(3):
            first, second = engine.ask(), engine.ask()
            assert first is not None
            values = take(engine, first, everything)
            if second is None:  # it waits for the first
                assert not engine.exhausted
            else:
                others = take(engine, second, everything)
                assert others != values
                engine.tell(second, "COMPLETE", score(others), others)
            engine.tell(first, "COMPLETE", score(values), values)

    def test_a_hyperparameter_that_only_a_later_build_declares_is_searched(self, name: str) -> None:
        taken = run(self.make(name, discovering, trials=48), 30, discovering)
        found = [values for values in taken if values["kind"] == "conv"]
        assert found
        assert all("kernel" in values for values in found)

    def test_a_family_without_a_choice_is_tried_once(self, name: str) -> None:
        assert {} in run(self.make(name, lambda hp: None), 2, lambda hp: None)

    def test_a_study_goes_on_as_if_it_had_not_been_stopped(self, name: str) -> None:
        storage = optuna.storages.InMemoryStorage()
        settings = Settings(seed=7, space=declared(everything), epochs=9, trials=48)
        taken = run(create(name, "family", storage, settings), 4)
        engine = create(name, "family", storage, settings)
        for number, values in enumerate(taken):
            engine.ask_again(number, False, values)
            engine.tell_again(number, "COMPLETE", score(values), values)
        assert taken + run(engine, 4) == run(self.make(name), 8)
        assert [trial.number for trial in engine.study.get_trials()] == list(range(8))

    def test_it_writes_no_file_and_prints_nothing(
        self, name: str, tmp_path: Any, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.chdir(tmp_path)
        run(self.make(name), 12, known=KNOWN)
        assert list(tmp_path.iterdir()) == []
        assert capfd.readouterr() == ("", "")


class ExhaustionContract:
    """For engines that know when a finite space is used up."""

    def test_a_finite_space_is_used_up(self, name: str) -> None:
        about = Settings(seed=7, space=declared(finite), epochs=3, trials=50)
        engine = create(name, "family", optuna.storages.InMemoryStorage(), about)
        taken = run(engine, 50, finite)
        assert sorted({tuple(values.items()) for values in taken}) == [
            (("a", "x"), ("b", False)),
            (("a", "x"), ("b", True)),
            (("a", "y"),),
        ]
        assert engine.ask() is None
        assert engine.exhausted
        assert engine.study.user_attrs["exhausted"]
        known = engine.ask({"a": "y"})  # is tried all the same
        assert known is not None
        assert take(engine, known, finite) == {"a": "y"}


gp_marks = [
    pytest.mark.slow,
    pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="optuna:gp needs PyTorch"),
    # PyTorch, in a process in which TensorFlow has looked for a GPU that has no driver; a driver loads no TensorFlow.
    pytest.mark.filterwarnings("ignore:CUDA initialization:UserWarning"),
]


@pytest.mark.parametrize(
    "name",
    ["optuna:tpe", "optuna:random", "optuna:cmaes", "optuna:grid", pytest.param("optuna:gp", marks=gp_marks)],
)
class TestOptuna(EngineContract):
    pass


@pytest.mark.parametrize("name", ["optuna:grid"])
class TestOptunaGrid(ExhaustionContract):
    pass


@pytest.mark.slow  # imports TensorFlow
@pytest.mark.parametrize(
    "name", ["keras-tuner:random", "keras-tuner:bayesian", "keras-tuner:hyperband", "keras-tuner:grid"]
)
class TestKerasTuner(EngineContract, ExhaustionContract):
    pass
