"""Proposals of an engine before the search, to predict its costs."""

from __future__ import annotations

from collections.abc import Mapping

from bench import engines
from bench.config import RunConfig
from bench.engines import Engine, Proposal, Settings
from bench.hyperparameters import Hyperparameter, Value
from bench.records import FAIL, Weights, Work
from bench.workers import Listener


class Drafts(Listener):
    """Answers a probe with the first proposals of the run's first engine, in a study that is not recorded.

    Without any result, TPE and random search propose the same as at the start of a search; other engines are replaced
    by random search.
    """

    def __init__(self, config: RunConfig, family: str) -> None:
        self._config, self._family = config, family
        self._engine: Engine | None = None
        self._proposal: Proposal | None = None

    def suggest(self, hyperparameter: Hyperparameter) -> Value:
        if self._proposal is None:
            self._proposal = self._opened().ask()
        return self._opened().suggest(self._proposal, hyperparameter) if self._proposal else hyperparameter.default

    def built(self, params: Mapping[str, Value], weights: Weights, work: Work) -> bool:
        """End the proposal; a failed trial teaches an engine nothing."""
        if self._proposal is not None:
            self._opened().tell(self._proposal, FAIL, None, params)
        self._proposal = None
        return False

    def _opened(self) -> Engine:
        if self._engine is None:
            import optuna

            engine = self._config.engines[0]
            name = engine if engine == "optuna:tpe" else "optuna:random"
            settings = Settings(self._config.seed, space=(), epochs=self._config.epochs)
            self._engine = engines.create(name, self._family, optuna.storages.InMemoryStorage(), settings)
        return self._engine
