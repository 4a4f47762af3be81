"""What is particular to Keras Tuner's oracles; the rest is in test_contract.py."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import optuna
import pytest

from bench.engines import Engine, Settings, create
from bench.hyperparameters import HyperParameters

from .test_contract import KNOWN, Configuration, declared, everything, finite, refusals, run, sized, take

pytestmark = pytest.mark.slow  # imports TensorFlow


def line(hp: HyperParameters) -> None:
    """One log-uniform rate, whose best is 1e-2."""
    hp.Float("rate", 1e-4, 1e0, sampling="log")


def growing(hp: HyperParameters) -> None:
    """A second dimension that only half of the builds see."""
    rate = hp.Float("rate", 1e-4, 1e0, sampling="log")
    if rate > 1e-2:
        hp.Int("depth", 1, 9)


def make(name: str, build: Any = everything, storage: Any = None, **settings: Any) -> Engine:
    about: dict[str, Any] = {"seed": 7, "space": declared(build), "epochs": 9, "trials": 12} | settings
    return create(f"keras-tuner:{name}", "family", storage or optuna.storages.InMemoryStorage(), Settings(**about))


def test_bayesian_search_begins_within_a_small_budget_and_repeats_nothing() -> None:
    taken = run(make("bayesian", line), 10, line)
    near = [values for values in taken[3:] if isinstance(values["rate"], float) and 1e-3 < values["rate"] < 1e-1]
    assert len(near) >= 4  # half of the range by chance
    assert len({str(values) for values in taken}) == 10
    assert run(make("bayesian", line), 6, line) == taken[:6]


def test_bayesian_search_learns_from_a_known_configuration() -> None:
    assert run(make("bayesian", line), 5, line, {"rate": 1e-2})[4:] != run(make("bayesian", line), 5, line)[4:]


def test_bayesian_search_learns_from_refused_configurations() -> None:
    assert sum(refusals(make("bayesian", sized), 30)[15:]) <= 8  # of 15; four in five by chance


def test_bayesian_search_goes_on_when_a_dimension_is_found_while_a_trial_runs() -> None:
    engine = make("bayesian", growing)
    run(engine, 3, growing)
    for rate in (0.5, 0.6, 0.7):
        running = engine.ask()
        assert running is not None
        take(engine, running, growing)
        run(engine, 1, growing, {"rate": rate})
        engine.tell(running, "FAIL", None, {})
    taken = run(engine, 3, growing)
    assert len(taken) == 3


@pytest.mark.parametrize("name", ["random", "bayesian"])
def test_a_known_configuration_is_not_proposed_again(name: str) -> None:
    taken = run(make(name, finite), 20, finite, {"a": "x", "b": True})
    assert len(taken) == 3


@pytest.mark.parametrize("name", ["grid", "hyperband"])
def test_a_known_configuration_does_not_disturb(name: str) -> None:
    off_the_grid: Configuration = {**KNOWN, "rate": 0.0123}
    assert run(make(name), 8, known=off_the_grid)[1:] == run(make(name), 7)


def epochs(engine: Engine, trials: int) -> list[tuple[int | None, Configuration]]:
    taken = []
    for index in range(trials):
        proposal = engine.ask()
        assert proposal is not None
        values = take(engine, proposal, everything)
        engine.tell(proposal, "COMPLETE", index / trials, values)
        taken.append((proposal.epochs, values))
    return taken


def test_hyperband_promotes_the_best_to_more_epochs() -> None:
    engine = make("hyperband", trials=13)
    taken = epochs(engine, 13)
    lengths = [length for length, _ in taken]
    assert sorted(length for length in lengths if length) == [1] * 9 + [3] * 3 + [9]
    promoted = next(values for length, values in taken if length == 9)
    assert promoted in [values for length, values in taken if length == 3]
    recorded = {name for trial in engine.study.get_trials() for name in trial.params}
    assert not any(name.startswith("tuner/") for name in recorded)


@pytest.mark.parametrize(
    ("trials", "expected"),
    [(2, [9, 9]), (3, [3, 3, 9]), (6, [3] * 4 + [9] * 2), (8, [1] * 5 + [3] * 2 + [9]), (None, [1] * 9 + [3] * 3)],
)
def test_hyperband_fits_its_first_bracket_to_the_budget(trials: int | None, expected: list[int]) -> None:
    lengths = [length for length, _ in epochs(make("hyperband", trials=trials), trials or 12)]
    assert sorted(length for length in lengths if length) == expected


def test_hyperband_waits_for_running_trials_without_being_exhausted() -> None:
    engine = make("hyperband", finite)
    running = [engine.ask() for _ in range(4)]
    assert running[3] is None
    assert not engine.exhausted
    for each in running[:3]:
        assert each is not None
        engine.tell(each, "COMPLETE", 0.5, take(engine, each, finite))
    promoted = engine.ask()
    assert promoted is not None
    assert promoted.epochs == 9


def test_grid_search_reaches_every_value_of_a_stepped_range() -> None:
    def build(hp: HyperParameters) -> None:
        hp.Float("dropout", 0.0, 0.6, step=0.2)
        hp.Boolean("augment", default=True)

    taken = run(make("grid", build), 50, build)
    assert {values["dropout"] for values in taken} == {0.0, 0.2, 0.4, 0.6}
    assert len(taken) == 8
    assert taken[0] == {"dropout": 0.0, "augment": True}


def test_one_name_under_two_conditions_is_searched_in_both_ranges() -> None:
    taken = run(make("random", trials=60), 60)
    assert {values["depth"] for values in taken} == {1, 2, 3, 10, 20}


def test_a_fresh_process_stays_silent_and_leaves_no_file(tmp_path: Path) -> None:
    script = """
import optuna
from bench.engines import Settings, create
from bench.hyperparameters import Hyperparameter
space = [Hyperparameter("Int", "x", 1, low=1, high=9)]
engine = create("keras-tuner:random", "family", optuna.storages.InMemoryStorage(), Settings(0, space, 3))
proposal = engine.ask()
engine.tell(proposal, "COMPLETE", 0.5, {"x": engine.suggest(proposal, space[0])})
"""
    root = Path(__file__).parents[2]
    ended = subprocess.run(
        [sys.executable, "-W", "default", "-c", f"import sys; sys.path.insert(0, {str(root)!r})\n{script}"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert (ended.stdout, ended.stderr) == ("", "")
    assert list(tmp_path.iterdir()) == []
