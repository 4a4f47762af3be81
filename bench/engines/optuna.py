"""Optuna's samplers and pruners: tpe, random, gp, cmaes and grid. Tested with Optuna 5.0.0."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any

import optuna
from optuna.samplers import BaseSampler
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from bench.engines import Proposal, Settings, derived_seed
from bench.engines.base import StudyEngine
from bench.engines.distributions import thinned
from bench.hyperparameters import Hyperparameter, Value, configurations

STARTUP_TRIALS = 2
"""Trials of a study, known configurations included, before a model is fitted. With Optuna's default, 10, all proposals
of a small budget would be random."""

GRID_LIMIT = 10_000
"""Maximum number of points of a grid."""

GRID_POINTS = (10, 7, 5, 4, 3, 2)
"""Numbers of values for a range without a step in a grid; the first one within `GRID_LIMIT` is used."""

_GRID_POINT = "grid_point"  # user attribute of a trial: its position in the shuffled grid


class OptunaEngine(StudyEngine):
    """An Optuna sampler on a family.

    The grid is a list of active configurations, shuffled by the seed to spread a small budget over it. Optuna's
    own `GridSampler` multiplies inactive hyperparameters, stops the study from inside `tell`, and raises for a
    hyperparameter that is declared later; here such a hyperparameter keeps its default.
    """

    def __init__(self, engine: str, family: str, storage: Any, settings: Settings) -> None:
        self._engine = engine
        super().__init__(engine, family, storage, settings, _pruner(settings.pruner, settings.epochs))
        self._learns_refusals = engine not in _COMPLETE_ONLY
        self._is_stuck = False
        self._grid: list[dict[str, Value]] | None = None
        self._points: dict[int, dict[str, Value]] = {}
        if engine == "optuna:grid":
            self._grid = grid(settings.space, random.Random(derived_seed(settings.seed, engine, family)))
        begun = [trial for trial in self.study.get_trials(deepcopy=False) if trial.state != TrialState.WAITING]
        visited = {trial.user_attrs.get(_GRID_POINT) for trial in begun}
        self._unvisited = iter([point for point in range(len(self._grid or ())) if point not in visited])

    def ask(self, known: Mapping[str, Value] | None = None) -> Proposal | None:
        if self._grid is None or known is not None:
            trial = self._start(known)
            if self._is_stuck:
                self._sampler.sample_independently(trial.number)
            return Proposal(trial, known=known or {})
        place = next(self._unvisited, None)
        if place is None:
            self._exhaust()
            return None
        trial = self._start(None)
        self._points[trial.number] = self._grid[place]
        trial.set_user_attr(_GRID_POINT, place)
        return Proposal(trial)

    def tell(self, proposal: Proposal, state: str, value: float | None, params: Mapping[str, Value]) -> None:
        super().tell(proposal, state, value, params)
        self.tell_again(proposal.trial.number, state, value, params)
        self._points.pop(proposal.trial.number, None)

    def tell_again(self, number: int, state: str, value: float | None, params: Mapping[str, Value]) -> None:
        self._is_stuck = state == "PRUNED" and value is None and not self._learns_refusals

    def _make_sampler(self, seed: int) -> BaseSampler:
        return _SAMPLERS.get(self._engine, super()._make_sampler)(seed)

    def _propose(self, number: int, hyperparameter: Hyperparameter) -> Value:
        if self._grid is None:
            return None
        return self._points.get(number, {}).get(hyperparameter.name, hyperparameter.default)


def grid(space: Iterable[Hyperparameter], generator: random.Random) -> list[dict[str, Value]]:
    """The active configurations of a thinned space in random order, at most `GRID_LIMIT`.

    A space with more configurations even at two values per range is represented by a random sample of `GRID_LIMIT`.
    """
    space = list(space)
    for points in GRID_POINTS:
        listed = configurations(space, GRID_LIMIT, partial(thinned, points=points))
        if listed is not None:
            generator.shuffle(listed)
            return listed
    options = {hyperparameter: thinned(hyperparameter, GRID_POINTS[-1]) for hyperparameter in space}
    drawn = (_draw(options, generator) for _ in range(GRID_LIMIT))
    return list({tuple(values.items()): values for values in drawn}.values())


def _draw(options: Mapping[Hyperparameter, Sequence[Value]], generator: random.Random) -> dict[str, Value]:
    values: dict[str, Value] = {}
    for hyperparameter, choices in options.items():
        if hyperparameter.name not in values and hyperparameter.is_active(values):
            values[hyperparameter.name] = generator.choice(choices)
    return values


class _CmaEsSampler(optuna.samplers.CmaEsSampler):
    """CMA-ES that learns all generations again from the recorded trials, whenever it is asked.

    Optuna's sampler stores a pickle of its state and loads it again, so that the author of a storage could run code
    here.
    """

    _complete: Sequence[FrozenTrial] = ()

    def _split_optimizer_str(self, optimizer_str: str) -> dict[str, str]:
        return {}

    def _restore_optimizer(self, completed_trials: list[FrozenTrial]) -> Any:
        self._complete = completed_trials
        return None

    def _init_optimizer(self, trans: Any, direction: Any) -> Any:
        optimizer: Any = super()._init_optimizer(trans, direction)
        while True:
            trials = self._get_solution_trials(list(self._complete), optimizer.generation)
            if len(trials) < optimizer.population_size:
                return optimizer
            generation = trials[: optimizer.population_size]
            sign = 1.0 if direction == StudyDirection.MINIMIZE else -1.0
            optimizer.tell([(trans.transform(trial.params), sign * (trial.value or 0.0)) for trial in generation])


_SAMPLERS: Mapping[str, Callable[[int], BaseSampler]] = {
    # Optuna 5 models hyperparameters jointly by default, e.g. learning rate together with optimizer or depth.
    "optuna:tpe": lambda seed: optuna.samplers.TPESampler(seed=seed, n_startup_trials=STARTUP_TRIALS),
    "optuna:random": lambda seed: optuna.samplers.RandomSampler(seed=seed),
    "optuna:gp": lambda seed: optuna.samplers.GPSampler(
        seed=seed, n_startup_trials=STARTUP_TRIALS, warn_independent_sampling=False
    ),
    "optuna:cmaes": lambda seed: _CmaEsSampler(seed=seed, warn_independent_sampling=False),
}


_COMPLETE_ONLY = ("optuna:gp", "optuna:cmaes")
"""Samplers that learn from COMPLETE trials only. After a refused one they would propose the same region again, so their
next values are random."""


def _pruner(name: str, epochs: int) -> optuna.pruners.BasePruner:
    """A pruner by the validation result per epoch, with thresholds for tens of trials of about ten epochs."""
    if name == "median":
        return optuna.pruners.MedianPruner(n_startup_trials=3, n_warmup_steps=1)
    if name == "successive-halving":
        return optuna.pruners.SuccessiveHalvingPruner(min_resource=1, reduction_factor=3)
    if name == "hyperband":
        return optuna.pruners.HyperbandPruner(min_resource=1, max_resource=epochs, reduction_factor=3)
    return optuna.pruners.NopPruner()
