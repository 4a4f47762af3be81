"""Base class of all engines: an Optuna study records the trials, the engine chooses their values."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler
from optuna.trial import FrozenTrial, TrialState

from bench.engines import Proposal, Settings, derived_seed, end_trial
from bench.engines.distributions import Names, Parameters, nearest
from bench.hyperparameters import Hyperparameter, Value, fixed
from bench.records import study_name

IMPORTANCE_TRIALS = 10
"""Minimum number of complete trials to compute the importance of hyperparameters."""


class StudyEngine:
    """An Optuna study whose values come from a known configuration, from `_propose`, or from the study's sampler."""

    def __init__(
        self, engine: str, family: str, storage: Any, settings: Settings, pruner: optuna.pruners.BasePruner
    ) -> None:
        self._places: dict[int, int] = {}  # of the engine's proposals in their order, by the number of the trial
        seed = derived_seed(settings.seed, engine, family)
        self._sampler = PresetSampler(
            lambda number, name: self._make_sampler(derived_seed(seed, self._places.get(number), name))
        )
        with quiet():
            self.study = optuna.create_study(
                study_name=study_name(engine, family, settings.prefix),
                storage=storage,
                sampler=self._sampler,
                pruner=pruner,
                direction="minimize" if settings.minimize else "maximize",
                load_if_exists=True,
            )
        self.study.set_user_attr("family", family)
        self.study.set_user_attr("engine", engine)
        self.exhausted = bool(self.study.user_attrs.get("exhausted", False))
        trials = self.study.get_trials(deepcopy=False)
        self._names = Names(settings.space)
        self._parameters = Parameters(self._names, {k: v for trial in trials for k, v in trial.distributions.items()})
        self._known: dict[int, Mapping[str, Value]] = {}

    def suggest(self, proposal: Proposal, hyperparameter: Hyperparameter) -> Value:
        """Return the known value, which must be in the range; without one that of the engine or the sampler.

        A known configuration uses the defaults of hyperparameters that it does not contain.
        """
        if hyperparameter.kind == "Fixed":
            return hyperparameter.default
        number = proposal.trial.number
        known = self._known.get(number)
        value = self._propose(number, hyperparameter) if known is None else fixed(known)(hyperparameter)
        parameter = self._parameters.of(hyperparameter)
        if value is not None:
            self._sampler.preset(number, parameter.name, parameter.encode(value))
        with quiet():
            sampled = parameter.suggest(proposal.trial)
        return sampled if value is None else nearest(hyperparameter, value)  # without the rounding of mirroring

    def report(self, proposal: Proposal, epoch: int, value: float) -> bool:
        with quiet():
            proposal.trial.report(value, epoch)
            return proposal.trial.should_prune()

    def tell(self, proposal: Proposal, state: str, value: float | None, params: Mapping[str, Value]) -> None:
        self._known.pop(proposal.trial.number, None)
        with quiet():
            end_trial(self.study, proposal.trial, state, value)
        self._sampler.forget(proposal.trial.number)

    def ask_again(self, number: int, known: bool, params: Mapping[str, Value]) -> None:
        """Count the proposal; the storage has the trial."""
        if not known:
            self._places.setdefault(number, len(self._places))

    def tell_again(self, number: int, state: str, value: float | None, params: Mapping[str, Value]) -> None:
        """Do nothing: the storage has the trial."""

    def _make_sampler(self, seed: int) -> BaseSampler:
        """The sampler of the values that `_propose` leaves to it; its only state are the trials in the storage."""
        return optuna.samplers.RandomSampler(seed=seed)

    def _start(self, known: Mapping[str, Value] | None) -> optuna.Trial:
        """Begin a trial, the first one in flight if the run was resumed: Optuna calls those WAITING."""
        with quiet():
            trial = self.study.ask()
        if known is not None:
            self._known[trial.number] = dict(known)
        StudyEngine.ask_again(self, trial.number, known is not None, {})
        return trial

    def _propose(self, number: int, hyperparameter: Hyperparameter) -> Value:
        """The engine's value in trial `number`; None leaves it to the study's sampler."""
        return None

    def _exhaust(self) -> None:
        self.exhausted = True
        self.study.set_user_attr("exhausted", True)


class PresetSampler(BaseSampler):
    """An Optuna sampler that returns preset values, and values of another sampler where none is preset.

    `Study.enqueue_trial` is no alternative: it needs every name before `build` has declared any. Joint (relative)
    sampling is delayed until a value is needed that is not preset, so a fully preset trial fits no model.

    Every draw is by a new sampler, so that a resumed study continues as if it had not been stopped.

    Args:
        make: Makes the other sampler for the number of a trial and the name of a value.
    """

    def __init__(self, make: Callable[[int, str], BaseSampler]) -> None:
        self._make = make
        self._presets: dict[int, dict[str, Any]] = {}
        self._joint: dict[int, dict[str, tuple[BaseDistribution, Any]]] = {}

    def preset(self, number: int, name: str, stored: Value) -> None:
        """Fix a value of trial `number` before it is suggested."""
        self._presets.setdefault(number, {})[name] = stored

    def sample_independently(self, number: int) -> None:
        """Sample the values of trial `number` one by one; the samplers `gp` and `cmaes` do so at random."""
        self._joint[number] = {}

    def forget(self, number: int) -> None:
        """Drop the values of an ended trial."""
        self._presets.pop(number, None)
        self._joint.pop(number, None)

    def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        return {}  # joint sampling is done in `sample_independent`

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        return {}

    def sample_independent(
        self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """The preset value, else the other sampler's joint value, else its independent value."""
        presets = self._presets.get(trial.number, {})
        if param_name in presets:
            return presets[param_name]
        if trial.number not in self._joint:
            inner = self._inner(trial.number, "")
            space = inner.infer_relative_search_space(study, trial)
            sampled = inner.sample_relative(study, trial, space)
            self._joint[trial.number] = {name: (space[name], value) for name, value in sampled.items()}
        distribution, value = self._joint[trial.number].get(param_name, (None, None))
        if distribution == param_distribution:
            return value
        return self._inner(trial.number, param_name).sample_independent(study, trial, param_name, param_distribution)

    def _inner(self, number: int, name: str) -> BaseSampler:
        with quiet():
            return self._make(number, name)


def importance(study: optuna.Study) -> dict[str, float]:
    """Importance of the hyperparameters (PED-ANOVA) as shares that add up to 1, largest first.

    Empty with fewer than `IMPORTANCE_TRIALS` complete trials, or if all trials are equal.

    Source:
        S. Watanabe, A. Bansal, F. Hutter (2023), "PED-ANOVA: Efficiently quantifying hyperparameter importance in
        arbitrary subspaces", IJCAI, as `optuna.importance` computes it.
    """
    complete = [trial for trial in study.get_trials(deepcopy=False) if trial.state == TrialState.COMPLETE]
    if len(complete) < IMPORTANCE_TRIALS or len({trial.value for trial in complete}) < 2:
        return {}
    evaluator = optuna.importance.PedAnovaImportanceEvaluator()
    with quiet(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        shares = optuna.importance.get_param_importances(study, evaluator=evaluator)
    return {name: value for name, value in shares.items() if math.isfinite(value)}


@contextmanager
def quiet() -> Iterator[None]:
    """Log only Optuna's warnings, without those about experimental features."""
    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(max(verbosity, optuna.logging.WARNING))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            yield
    finally:
        optuna.logging.set_verbosity(verbosity)
