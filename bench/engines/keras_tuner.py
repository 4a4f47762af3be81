"""Keras Tuner's oracles: random, bayesian, hyperband and grid, driven by ask and tell. Tested with Keras Tuner 1.4.8.

An oracle proposes values and learns scores. The trials are in an Optuna study, as with every engine; the oracle writes
no file, prints nothing and needs no `tensorboard`. It depends only on its seed and the reported scores, so in a resumed
run it proposes the recorded configurations again and is told their recorded results.

Importing this module imports Keras and TensorFlow.
"""

from __future__ import annotations

import importlib
import math
import os
import sys
import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from types import MethodType
from typing import Any

import numpy as np
import optuna
import threadpoolctl

from bench.engines import Proposal, Settings, derived_seed, is_score
from bench.engines.base import StudyEngine
from bench.engines.distributions import Names, nearest
from bench.hyperparameters import Hyperparameter, Value, configurations
from bench.records import from_data, to_data

HYPERBAND_FACTOR = 3
"""One in three trials of a Hyperband round is promoted to the next round (Li et al., 2018, recommend 3 or 4)."""

_EXPECTED, _DISCOVERED = "expected", "discovered"
"""User attributes of a study: the expected number of proposals; and of a trial: hyperparameters beyond the space."""

_OBJECTIVE = "val_metric"
_MAX_COLLISIONS = 1000  # random draws of tried configurations in a row that end the search; Keras Tuner's is 20


@dataclass
class _Running:
    """A running trial.

    Attributes:
        oracle_trial: Keras Tuner's trial; None if the oracle does not learn from it.
        known: True if the oracle did not choose the values.
        values: Values that the oracle proposed.
        declared: Hyperparameters that the trial has asked for, by their names in Keras Tuner.
    """

    oracle_trial: Any
    known: bool
    values: Mapping[str, Any]
    declared: dict[str, Hyperparameter] = field(default_factory=dict)


class KerasTunerEngine(StudyEngine):
    """A Keras Tuner oracle on a family.

    A hyperparameter that the oracle does not know yet takes its default and is searched from the next trial on.

    Random and Bayesian search learn from known configurations as from their own. Grid search and Hyperband do not: a
    value off the grid would stop the former, and an additional trial would disturb the brackets of the latter.

    Hyperband trains a promoted configuration from scratch for its larger number of epochs, while Keras Tuner would load
    the weights of the shorter trial. So cost and score of a trial do not depend on other trials.
    """

    def __init__(self, engine: str, family: str, storage: Any, settings: Settings) -> None:
        super().__init__(engine, family, storage, settings, optuna.pruners.NopPruner())
        kind = engine.removeprefix("keras-tuner:")
        if kind == "hyperband" and all(hyperparameter.kind == "Fixed" for hyperparameter in settings.space):
            kind = "random"  # to Hyperband, a configuration without values means the end of the search
        self._minimize = settings.minimize
        self._learns_known = kind in ("random", "bayesian")
        expected = self.study.user_attrs.get(_EXPECTED, settings.trials)  # a resumed run may have a larger budget
        settings = replace(settings, trials=expected)
        self.study.set_user_attr(_EXPECTED, expected)
        self._space, self._searched = _Space(self._names), tuple(settings.space)
        _keras_tuner()  # imported before threads are limited, since it loads more libraries with threads
        with _undisturbed():
            self._oracle = _oracle(kind, settings, self._space, derived_seed(settings.seed, engine, family))
        self._running: dict[int, _Running] = {}
        self._again: dict[int, _Running] = {}  # asked again and not told again: in flight when the run was stopped
        self._asked = 0
        self._scores: list[float] = []

    def ask(self, known: Mapping[str, Value] | None = None) -> Proposal | None:
        running = self._again.pop(min(self._again)) if self._again else self._proposed(known)
        if running is None:
            return None
        trial = self._start(known)
        self._running[trial.number] = running
        return Proposal(trial, running.values.get("tuner/epochs"), known or {})

    def _proposed(self, known: Mapping[str, Value] | None) -> _Running | None:
        oracle_trial = self._ask_oracle() if known is None or self._learns_known else None
        if oracle_trial is None and known is None:
            return None
        if oracle_trial is not None and known is not None:
            self._override(oracle_trial, known)
        values = {} if oracle_trial is None else dict(oracle_trial.hyperparameters.values)
        return _Running(oracle_trial, known is not None, values)

    def ask_again(self, number: int, known: bool, params: Mapping[str, Value]) -> None:
        """Ask the oracle again; if it proposes other values, e.g. in another version, it gets the recorded ones."""
        running = self._proposed(params if known else None)
        if running is None:
            return
        self._again[number] = running
        trial = running.oracle_trial
        if trial is not None and not known and params and self._differs(running.values, params):
            self._space.put(trial.hyperparameters, params)
            running.values = dict(trial.hyperparameters.values)

    def _differs(self, values: Mapping[str, Any], params: Mapping[str, Value]) -> bool:
        active = [hp for hp in self._searched if hp.name in params and hp.is_active(params)]
        return any(nearest(hp, values.get(self._names.of(hp), hp.default)) != params[hp.name] for hp in active)

    def tell_again(self, number: int, state: str, value: float | None, params: Mapping[str, Value]) -> None:
        if running := self._again.pop(number, None):
            recorded = self.study.get_trials(deepcopy=False)[number].user_attrs.get(_DISCOVERED, ())
            space = (*self._searched, *(from_data(Hyperparameter, hp) for hp in recorded))
            declared = (hp for hp in space if hp.name in params and hp.is_active(params))
            running.declared.update({self._names.of(hp): hp for hp in declared})
            self._tell_oracle(running, state, value, params)

    def suggest(self, proposal: Proposal, hyperparameter: Hyperparameter) -> Value:
        declared, name = self._running[proposal.trial.number].declared, self._names.of(hyperparameter)
        if name not in declared:
            declared[name] = hyperparameter
            if hyperparameter not in self._searched:
                new = [to_data(hp) for hp in declared.values() if hp not in self._searched]
                proposal.trial.set_user_attr(_DISCOVERED, new)
        return super().suggest(proposal, hyperparameter)

    def tell(self, proposal: Proposal, state: str, value: float | None, params: Mapping[str, Value]) -> None:
        """Tell the oracle too; a PRUNED trial (out of time) counts as failed, because its score is not comparable.

        A refused one is as bad as the worst so far: the Gaussian process skips failed trials and would propose the
        same region again.
        """
        super().tell(proposal, state, value, params)
        if running := self._running.pop(proposal.trial.number, None):
            self._tell_oracle(running, state, value, params)

    def _tell_oracle(self, running: _Running, state: str, value: float | None, params: Mapping[str, Value]) -> None:
        oracle, trial = self._oracle, running.oracle_trial
        if trial is None:
            return
        if state == "PRUNED" and value is None:
            state, value = "COMPLETE", (max if self._minimize else min)(self._scores, default=0.0)
        complete = state == "COMPLETE" and is_score(value)
        with _undisturbed():
            if complete:
                self._scores.append(value or 0.0)
                oracle.update_trial(trial.trial_id, {_OBJECTIVE: value})
            trial.status = "COMPLETED" if complete else "FAILED"
            known_before = len(oracle.hyperparameters.space)
            self._space.learn(trial.hyperparameters, running.declared.values(), params if running.known else {})
            oracle.end_trial(trial)
            if len(oracle.hyperparameters.space) > known_before:
                self._widen()

    def _propose(self, number: int, hyperparameter: Hyperparameter) -> Value:
        values = self._running[number].values
        return nearest(hyperparameter, values.get(self._names.of(hyperparameter), hyperparameter.default))

    def _ask_oracle(self) -> Any:
        with _undisturbed():
            trial = self._oracle.create_trial(f"tuner{self._asked}")  # a tuner has one trial at a time
        if trial.status == "RUNNING":
            self._asked += 1
            return trial
        if trial.status == "STOPPED":
            self._exhaust()
        return None

    def _override(self, oracle_trial: Any, known: Mapping[str, Value]) -> None:
        """Put known values and defaults into the oracle's trial before the first value is asked for."""
        oracle_trial.hyperparameters.values.clear()
        self._space.put(oracle_trial.hyperparameters, known)
        with _undisturbed():
            self._oracle._record_values(oracle_trial)

    def _widen(self) -> None:
        """Add the defaults of new hyperparameters to earlier trials; the order of the grid needs every value."""
        for trial in self._oracle.trials.values():
            trial.hyperparameters.merge(self._oracle.hyperparameters, overwrite=False)
            _settle(trial.hyperparameters)
        if hasattr(self._oracle, "gpr"):  # fitted in fewer dimensions
            self._oracle.gpr = _Regressor(self._oracle._make_gpr())


def _oracle(kind: str, settings: Settings, space: _Space, seed: int) -> Any:
    """Create an oracle that writes no files, prints nothing and never stops after failures."""
    keras_tuner, oracles = _keras_tuner(), _keras_tuner().oracles
    searched = sum(hyperparameter.kind != "Fixed" for hyperparameter in settings.space)
    # Keras Tuner's default, 3 per dimension, exceeds most budgets.
    initial = min(3 * searched, max(3, (settings.trials or 40) // 4))
    brackets = {"max_epochs": settings.epochs, "factor": HYPERBAND_FACTOR, "hyperband_iterations": None}
    kinds: dict[str, tuple[Any, dict[str, Any]]] = {
        "random": (oracles.RandomSearchOracle, {"max_trials": None}),
        "bayesian": (oracles.BayesianOptimizationOracle, {"max_trials": None, "num_initial_points": initial}),
        "hyperband": (oracles.HyperbandOracle, brackets),
        "grid": (oracles.GridSearchOracle, {}),
    }
    make, options = kinds[kind]
    oracle = make(
        objective=keras_tuner.Objective(_OBJECTIVE, "min" if settings.minimize else "max"),
        hyperparameters=space.container(settings.space),
        seed=seed,
        max_consecutive_failed_trials=math.inf,
        **options,
    )
    oracle.verbose = 0
    oracle._max_collisions = _MAX_COLLISIONS
    oracle.save = lambda: None
    oracle._save_trial = lambda trial: None
    if kind == "bayesian":
        oracle.gpr = _Regressor(oracle.gpr)
        oracle.populate_space = MethodType(_populate_distinct, oracle)
    if kind == "hyperband":
        _fit_bracket(oracle, settings)
    return oracle


def _populate_distinct(oracle: Any, trial_id: str) -> dict[str, Any]:
    """Propose a random configuration if the best one of Bayesian search was already tried."""
    response: dict[str, Any] = type(oracle).populate_space(oracle, trial_id)
    if response["values"] is not None and oracle._duplicate(response["values"]):
        response = oracle._random_populate_space()
    return response


class _Regressor:
    """scikit-learn's Gaussian process with faster prediction, which skips the checks of the input.

    The oracle predicts tens of thousands of points per proposal, one at a time, which takes seconds, mostly for checks.
    The formulas are (2.25) and (2.26) of Rasmussen and Williams (2006), on standardised scores.
    """

    def __init__(self, regressor: Any) -> None:
        self._regressor = regressor
        self._inverse: Any = None  # inverse of the Cholesky factor of the covariance
        self._mean = self._scale = 0.0

    def fit(self, x: Any, y: Any) -> None:
        self._regressor.fit(x, y)
        self._mean, self._scale = y.mean(), y.std() or 1.0
        self._inverse = np.linalg.inv(self._regressor.L_)

    def predict(self, x: Any, return_std: bool = True) -> tuple[Any, Any]:
        """Means and standard deviations; those of the prior before a fit."""
        fitted = self._regressor
        if self._inverse is None:
            prior: tuple[Any, Any] = fitted.predict(x, return_std=True)
            return prior
        cross = fitted.kernel_(x, fitted.X_train_)
        explained = (cross @ self._inverse.T) ** 2
        variance = np.maximum(fitted.kernel_.diag(x) - explained.sum(axis=1), 0.0)
        return self._mean + self._scale * (cross @ fitted.alpha_), self._scale * np.sqrt(variance)


def _fit_bracket(oracle: Any, settings: Settings) -> None:
    """Shrink Hyperband's brackets to fit the budget and the size of the space.

    For 12 epochs the first bracket is 12 + 4 + 2 trials, of which the first 12 have 2 epochs. With a smaller budget or
    space, no trial would ever get more epochs. So the first bracket is the most aggressive one in which every round is
    smaller than the previous one.
    """
    original = oracle._get_size
    top, sizes = 0, [1]
    for top in reversed(range(oracle._get_num_brackets())):
        sizes = _rounds(original(top, 0), top + 1, settings)
        if all(later < earlier for earlier, later in pairwise(sizes)):
            break
    oracle._get_size = lambda bracket_num, round_num: min(original(bracket_num, round_num), sizes[round_num])
    oracle._get_num_brackets = lambda: top + 1
    oracle._brackets, oracle._current_bracket = [], top
    oracle._start_new_bracket()


def _rounds(first: int, count: int, settings: Settings) -> list[int]:
    """Number of trials in each of `count` rounds, starting with at most `first`."""
    distinct = configurations(settings.space, first)
    largest = len(distinct) if distinct else first
    for start in range(largest, 0, -1):
        sizes = [math.ceil(start / HYPERBAND_FACTOR**number) for number in range(count)]
        if settings.trials is None or sum(sizes) <= settings.trials:
            return sizes
    return [1] * count


class _Space:
    """Converts hyperparameters and their values to Keras Tuner's."""

    def __init__(self, names: Names) -> None:
        self._names = names

    def container(self, space: Iterable[Hyperparameter]) -> Any:
        container = _keras_tuner().HyperParameters()
        container.merge(self._translated(space))
        return container

    def put(self, container: Any, values: Mapping[str, Value]) -> None:
        """Put values, under declared names, into a trial's container if it accepts them."""
        declared = self._names.declared()
        for hp in container.space:
            if declared[hp.name] in values:
                value = values[declared[hp.name]]
                if not hasattr(hp, "ordered") or value in hp.values:  # a Choice accepts only its values
                    container.values[hp.name] = value
        _settle(container)

    def learn(self, container: Any, declared: Iterable[Hyperparameter], known: Mapping[str, Value]) -> None:
        """Add the declared hyperparameters to a trial's container, with their known values or defaults."""
        container.merge(self._translated(declared), overwrite=False)
        self.put(container, known)

    def _translated(self, space: Iterable[Hyperparameter]) -> list[Any]:
        classes = importlib.import_module("keras_tuner.engine.hyperparameters")
        supported = [hp for hp in space if hp.values != (None,)]  # Keras Tuner has no Fixed(None)
        return [getattr(classes, hp.kind).from_config(self._config(hp)) for hp in supported]

    def _config(self, hp: Hyperparameter) -> dict[str, Any]:
        config: dict[str, Any] = {
            "name": self._names.of(hp),
            "conditions": [
                {"class_name": "Parent", "config": {"name": name, "values": list(values)}}
                for name, values in hp.conditions
            ],
        }
        if hp.kind == "Fixed":
            return config | {"value": hp.default}
        config["default"] = nearest(hp, hp.default)
        if hp.kind == "Boolean":
            return config
        if hp.kind == "Choice":
            return config | {"values": list(hp.values)}
        high = hp.high
        if hp.kind == "Float" and hp.step is not None and hp.sampling == "linear":
            # Keras Tuner's floor division drops the last value if the step is not a binary fraction.
            high = hp.low + (len(hp.finite_values() or ()) - 0.5) * hp.step
        return config | {"min_value": hp.low, "max_value": high, "step": hp.step, "sampling": hp.sampling}


def _settle(hyperparameters: Any) -> None:
    """Keep values of exactly the active hyperparameters; Keras Tuner would fill in random ones without a seed."""
    for hp in hyperparameters.space:
        if not hyperparameters.is_active(hp):
            hyperparameters.values.pop(hp.name, None)
        else:
            hyperparameters.values.setdefault(hp.name, hp.default)


def _keras_tuner() -> Any:
    if "keras_tuner" in sys.modules:
        return sys.modules["keras_tuner"]
    with _standard_error_closed(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return importlib.import_module("keras_tuner")


@contextmanager
def _standard_error_closed() -> Iterator[None]:
    """Close standard error: TensorFlow's C++ code writes to the descriptor, regardless of TF_CPP_MIN_LOG_LEVEL."""
    real = os.dup(2)
    with Path(os.devnull).open("w") as nowhere:
        os.dup2(nowhere.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(real, 2)
        os.close(real)


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Suppress warnings (deprecation, convergence) and use one thread.

    On matrices as small as the Bayesian oracle's, threads of the linear algebra wait for each other: a proposal in 11
    dimensions took five times as long on two threads.
    """
    with warnings.catch_warnings(), threadpoolctl.threadpool_limits(1):
        warnings.simplefilter("ignore")
        yield
