"""Which hyperparameters tell a family's best trials from all of them: PED-ANOVA, by Optuna."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from bench.records import COMPLETE, Trial

if TYPE_CHECKING:  # optuna is heavy, and only `importance` needs it
    from optuna.distributions import BaseDistribution

T = TypeVar("T")

LEAST = 10
"""Of fewer distinct complete trials no importance is worked out."""

BEST = 5
"""How many trials there should be among the best (optuna.importance.PedAnovaImportanceEvaluator, second note)."""

MANY = 250
"""Of more trials an evenly spaced sample is taken: the estimate changes little, its cost would grow."""


@dataclass(frozen=True)
class Importance:
    """What the hyperparameters of a family weigh.

    Attributes:
        shares: By hyperparameter, largest first: its share of all importance, 0 to 1; they add up to 1.
        best: How many trials were held against all.
        of: How many all are.
    """

    shares: Mapping[str, float]
    best: int
    of: int


def distinct(trials: Sequence[Trial]) -> list[Trial]:
    """Complete trials with a finite accuracy, each configuration once, its best; in the order in which they came."""
    best: dict[tuple[tuple[str, str], ...], Trial] = {}
    for trial in trials:
        if trial.state != COMPLETE or trial.duplicate_of or trial.value is None or not math.isfinite(trial.value):
            continue
        key = tuple(sorted((name, repr(value)) for name, value in trial.params.items()))
        if key not in best or trial.rank_key < best[key].rank_key:
            best[key] = trial
    return list(best.values())


def leading(trials: Sequence[Trial]) -> list[Trial]:
    """The best tenth, but at least `BEST`, and of few at most the better half; all that are as good as the last.

    Args:
        trials: Complete trials, as `distinct` gives them.
    """
    if not trials:
        return []
    ordered = sorted((trial.value or 0.0 for trial in trials), reverse=True)
    least = ordered[math.ceil(_quantile(len(trials)) * len(trials)) - 1]
    return [trial for trial in trials if (trial.value or 0.0) >= least]


def importance(trials: Sequence[Trial]) -> Importance | None:
    """How much each hyperparameter's values differ between the best trials and all of them.

    The records have no ranges: they are taken from the values that were tried, and what a hyperparameter is from
    their type. A hyperparameter that is not active in every trial counts where it is active. The same trials always
    give the same figures.

    Args:
        trials: Complete trials of one family, as `distinct` gives them.

    Returns:
        None for fewer than `LEAST` trials, and where nothing tells the best apart.

    Source:
        S. Watanabe, A. Bansal and F. Hutter (2023), "PED-ANOVA: efficiently quantifying hyperparameter importance in
        arbitrary subspaces", IJCAI; of conditional hyperparameters as in optuna.importance, which computes it.
    """
    if len(trials) < LEAST:
        return None
    sample = spaced(trials, MANY)
    best = leading(sample)
    spaces = {name: space for name in _names(sample) if (space := _distribution(name, sample)) is not None}
    if len(best) == len(sample) or not spaces:
        return None
    weights = _ped_anova(sample, spaces)
    total = sum(weights.values())
    if not (math.isfinite(total) and total > 0):
        return None
    ordered = sorted(weights, key=lambda name: (-weights[name], name))
    return Importance({name: weights[name] / total for name in ordered}, len(best), len(sample))


def spaced(things: Sequence[T], most: int) -> list[T]:
    """At most so many of them, evenly spaced, the first and the last included."""
    if len(things) <= most:
        return list(things)
    step = (len(things) - 1) / max(most - 1, 1)
    return [things[round(place * step)] for place in range(most)]


def _quantile(n: int) -> float:
    return min(0.5, max(0.1, BEST / n))


def _names(trials: Sequence[Trial]) -> list[str]:
    return sorted({name for trial in trials for name in trial.params})


def _ped_anova(trials: Sequence[Trial], spaces: Mapping[str, BaseDistribution]) -> dict[str, float]:
    import optuna
    from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances

    with _silence(optuna):
        study = optuna.create_study(direction="maximize")
        study.add_trials([_frozen(trial, spaces) for trial in trials])
        evaluator = PedAnovaImportanceEvaluator(target_quantile=_quantile(len(trials)))
        found = get_param_importances(study, evaluator=evaluator, params=list(spaces), normalize=False)
    return {name: float(value) for name, value in found.items()}


def _frozen(trial: Trial, spaces: Mapping[str, BaseDistribution]) -> Any:
    from optuna.trial import create_trial

    own = {name: space for name, space in spaces.items() if name in trial.params}
    params = {name: _plain(trial.params[name], space) for name, space in own.items()}
    return create_trial(params=params, distributions=own, value=trial.value)


def _plain(value: Any, space: BaseDistribution) -> Any:
    """The value as its distribution has it: a choice by its text, so that True and 1 stay apart."""
    from optuna.distributions import CategoricalDistribution

    return repr(value) if isinstance(space, CategoricalDistribution) else value


def _distribution(name: str, trials: Sequence[Trial]) -> BaseDistribution | None:
    """What the tried values say of their range; None where there is but one."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    values = [trial.params[name] for trial in trials if name in trial.params]
    if len({repr(value) for value in values}) < 2:
        return None
    numbers = numeric(values)
    if numbers is None:
        return CategoricalDistribution(sorted({repr(value) for value in values}))
    low, high, log = min(numbers), max(numbers), logarithmic(numbers)
    if all(isinstance(value, int) for value in values):
        return IntDistribution(int(low), int(high), log=log)
    return FloatDistribution(low, high, log=log)


def numeric(values: Sequence[object]) -> list[float] | None:
    """The values as numbers; None where one of them is something else: a truth value, a text, not finite."""
    numbers = [float(v) for v in values if isinstance(v, int | float) and not isinstance(v, bool) and math.isfinite(v)]
    return numbers if len(numbers) == len(values) else None


def logarithmic(numbers: Sequence[float]) -> bool:
    """Whether numbers look as if drawn on a logarithmic scale.

    They span at least a decade, and their median is nearer, by its logarithm, to the geometric middle of their ends
    than to the arithmetic one.
    """
    low, high = min(numbers), max(numbers)
    if low <= 0 or high < 10 * low:
        return False
    median = math.log(sorted(numbers)[len(numbers) // 2])
    return abs(median - math.log(low * high) / 2) < abs(median - math.log((low + high) / 2))


@contextmanager
def _silence(optuna: Any) -> Iterator[None]:
    """Neither Optuna's greeting of a new study nor its warnings of few trials, of which the page speaks itself."""
    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        optuna.logging.set_verbosity(verbosity)
