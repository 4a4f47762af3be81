"""What is particular to Optuna's samplers and pruners; the rest is in test_contract.py."""

from __future__ import annotations

import importlib.util
import random
from typing import Any

import optuna
import pytest

from bench.config import PRUNERS
from bench.engines import Engine, Settings, create
from bench.engines.optuna import GRID_LIMIT, grid
from bench.errors import ConfigError
from bench.hyperparameters import Hyperparameter, HyperParameters

from .test_contract import declared, everything, finite, refusals, run, sized, take

SAMPLERS = ["tpe", "random", "cmaes", "grid"]


def plane(hp: HyperParameters) -> None:
    """A log-uniform rate, whose best is 1e-2, and a number that does not matter."""
    hp.Float("rate", 1e-4, 1e0, sampling="log")
    hp.Float("other", 0.0, 1.0)


def make(name: str, build: Any = everything, storage: Any = None, **settings: Any) -> Engine:
    about: dict[str, Any] = {"seed": 7, "space": declared(build), "epochs": 9} | settings
    return create(f"optuna:{name}", "family", storage or optuna.storages.InMemoryStorage(), Settings(**about))


@pytest.mark.parametrize("pruner", PRUNERS)
@pytest.mark.parametrize("name", SAMPLERS)
def test_every_sampler_runs_with_every_pruner(name: str, pruner: str) -> None:
    engine = make(name, pruner=pruner)
    assert len(run(engine, 20)) == 20
    states = {trial.state.name for trial in engine.study.get_trials()}
    assert states == ({"COMPLETE"} if pruner == "none" else {"COMPLETE", "PRUNED"})


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:CUDA initialization:UserWarning")  # see gp_marks in test_contract.py
def test_gp_runs_with_every_pruner() -> None:
    pytest.importorskip("torch", reason="optuna:gp needs PyTorch")
    for pruner in PRUNERS:
        assert len(run(make("gp", pruner=pruner), 8)) == 8


def test_gp_without_pytorch_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"'optuna:gp' needs .* pip install '\.\[gp\]'"):
        make("gp")


def test_tpe_models_the_score_within_a_small_budget() -> None:
    def distance(name: str, seed: int) -> float:
        taken = run(make(name, plane, seed=seed), 20, plane)
        return sum(abs(values["rate"] - 0.01) < 0.02 for values in taken[10:] if isinstance(values["rate"], float))

    assert sum(distance("tpe", seed) for seed in range(5)) > sum(distance("random", seed) for seed in range(5))


def test_tpe_learns_from_refused_configurations() -> None:
    def late(name: str) -> int:
        return sum(sum(refusals(make(name, sized, seed=seed), 60)[30:]) for seed in range(3))

    assert late("tpe") < 0.75 * late("random")


def test_cmaes_leaves_a_region_that_is_refused() -> None:
    """It learns from complete trials only, and would propose what is refused more than fifty times in a row."""
    for seed in range(3):
        refused = "".join("x" if refusal else " " for refusal in refusals(make("cmaes", sized, seed=seed), 80))
        assert max(map(len, refused.split())) < 25
        assert refused[40:].count(" ") >= 4


def test_cmaes_leaves_no_pickle_in_the_storage_and_goes_on_after_a_generation() -> None:
    storage = optuna.storages.InMemoryStorage()
    engine = make("cmaes", plane, storage)
    run(engine, 20, plane)
    run(make("cmaes", plane, storage), 10, plane)
    kept = [trial.system_attrs for trial in engine.study.get_trials()]
    assert not any("optimizer" in key for attributes in kept for key in attributes)
    assert max(attributes.get("cma:generation", 0) for attributes in kept) >= 2


def test_a_grid_is_walked_once_in_an_order_that_the_seed_decides() -> None:
    orders = [run(make("grid", finite, seed=seed), 50, finite) for seed in range(6)]
    assert all(len(order) == 3 for order in orders)
    assert len({str(order) for order in orders}) > 1


def test_a_grid_that_is_gone_on_with_skips_what_was_visited() -> None:
    storage = optuna.storages.InMemoryStorage()
    before = run(make("grid", everything, storage), 30)
    after = run(make("grid", everything, storage), 30)
    assert len({str(values) for values in before + after}) == 60


def test_a_running_grid_point_is_not_proposed_again() -> None:
    engine = make("grid", finite)
    proposals = [engine.ask() for _ in range(4)]
    assert proposals[3] is None
    assert engine.exhausted
    assert len({str(take(engine, each, finite)) for each in proposals[:3] if each}) == 3


def test_a_grid_is_thinned_to_its_limit() -> None:
    points = grid(declared(everything), random.Random(0))
    assert 1000 < len(points) <= GRID_LIMIT
    assert len({tuple(point.items()) for point in points}) == len(points)
    assert all(("kernel" in point) == (point["kind"] == "conv") for point in points)
    assert {point["units"] for point in points} == set(range(8, 57, 8))


def test_a_space_too_large_for_a_grid_is_sampled() -> None:
    space = [Hyperparameter("Choice", f"x{index}", 0, values=tuple(range(10))) for index in range(8)]
    points = grid(space, random.Random(0))
    assert GRID_LIMIT * 0.99 < len(points) <= GRID_LIMIT
    assert {point["x7"] for point in points} == set(range(10))


def test_optunas_own_log_level_is_left_as_it_was() -> None:
    before = optuna.logging.get_verbosity()
    run(make("tpe"), 2)
    assert optuna.logging.get_verbosity() == before
