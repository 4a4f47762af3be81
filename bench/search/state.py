"""The state of a search: every configuration of the run, and one engine's way through one family."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from bench.engines import Engine, Proposal, end_trial
from bench.hyperparameters import Hyperparameter, Value
from bench.records import COMPLETE, Trial
from bench.search.families import Family

T = TypeVar("T")

MAX_ANSWERS_IN_A_ROW = 20
"""A study counts as exhausted after so many proposals in a row that are known already (Keras Tuner's number)."""

MAX_ENGINE_FAULTS = 3
"""An engine is asked no more on a family after so many exceptions."""


class Ledger:
    """All configurations of a run: which were trained, which are in training, and the best of every family."""

    def __init__(self) -> None:
        self._trained: dict[str, Trial] = {}
        self._in_training: set[str] = set()
        self.best: dict[str, Trial] = {}
        self._orders = 0

    def find(self, key: str) -> Trial | None:
        """The trial that has trained this configuration."""
        return self._trained.get(key)

    def begin(self, key: str) -> bool:
        """Mark a configuration as in training; False where it is so already."""
        if key in self._in_training:
            return False
        self._in_training.add(key)
        return True

    def end(self, key: str, trial: Trial | None) -> None:
        """Mark a configuration as trained; None where it was stopped, so that it may be tried again."""
        self._in_training.discard(key)
        if trial is not None:
            self._trained[key] = trial
            if self.would_be_best(trial):
                self.best[trial.family] = trial

    def would_be_best(self, trial: Trial) -> bool:
        """Compare a trial with its family's best so far."""
        best = self.best.get(trial.family)
        return trial.state == COMPLETE and (best is None or trial.rank_key < best.rank_key)

    def best_of_all(self) -> Trial | None:
        """The best trial of the run so far."""
        return min(self.best.values(), key=lambda trial: trial.rank_key, default=None)

    def next_order(self) -> int:
        """The number of a new trial in the run, from 1."""
        self._orders += 1
        return self._orders


@dataclass
class StudyState:
    """One engine on one family, while it is searched. An exception of the engine ends neither the run nor the search.

    Attributes:
        warn: Takes a warning and the traceback behind it.
        only_known: Whether nothing but the family's known configurations is asked for.
        counted: Trials that used up budget, running ones included.
        asked_known: How many known configurations were asked for.
        answers_in_a_row: Proposals since the last new one that were answered from the record.
        distinct: Configurations that were tried.
        countable: Whether all that trials were asked for had been declared before; a hyperparameter behind a plain
            `if` may not have been.
        faults: Exceptions of the engine so far.
    """

    family: Family
    engine: Engine
    warn: Callable[[str, str], None]
    only_known: bool = False
    counted: int = 0
    asked_known: int = 0
    answers_in_a_row: int = 0
    distinct: set[str] = field(default_factory=set)
    countable: bool = True
    exhausted: bool = False
    faults: int = 0

    def ask(self) -> tuple[Proposal, bool] | None:
        """The next proposal and whether it is a known configuration; None for now, or for good (`exhausted`)."""
        known = self.family.known
        if self.asked_known < len(known):
            values = known[self.asked_known]
            self.asked_known += 1
            proposal = self._guarded(lambda: self.engine.ask(values), None)
            if proposal is not None:
                return proposal, True
        if self.only_known:
            return None
        proposal = self._guarded(self.engine.ask, None)
        if proposal is None:
            self.exhausted = self.exhausted or self.engine.exhausted
            return None
        return proposal, False

    def suggest(self, proposal: Proposal, hyperparameter: Hyperparameter) -> Value:
        """Ask the engine for a value.

        Raises:
            ValueError: The known value is outside the range, or the engine has failed: the trial fails.
        """
        try:
            return self.engine.suggest(proposal, hyperparameter)
        except ValueError:
            raise
        except Exception as error:
            raise ValueError(self._note_fault(error)) from error

    def report(self, proposal: Proposal, epoch: int, value: float) -> bool:
        """Tell the engine the validation accuracy after an epoch; True prunes the trial."""
        return self._guarded(lambda: self.engine.report(proposal, epoch, value), False)

    def tell(self, proposal: Proposal, trial: Trial) -> None:
        """Tell the engine how a trial ended; where that fails, the record's storage is told without it."""
        try:
            self.engine.tell(proposal, trial.state, trial.value, trial.params)
        except Exception as error:
            self._note_fault(error)
            end_trial(self.engine.study, proposal.trial, trial.state, trial.value)

    def importance(self) -> dict[str, float]:
        """The share of each hyperparameter in what makes trials good; empty where that cannot be told."""
        from bench.engines.base import importance

        return self._guarded(lambda: importance(self.engine.study), {})

    def note_answer(self, key: str) -> None:
        """Count a proposal that is answered from the record."""
        self.distinct.add(key)
        self.answers_in_a_row += 1
        self.exhausted = self.exhausted or self.answers_in_a_row >= MAX_ANSWERS_IN_A_ROW or self._all_tried()

    def note_new(self, key: str, params: Mapping[str, Value]) -> None:
        """Count a proposal that is trained."""
        self.distinct.add(key)
        self.answers_in_a_row = 0
        self.countable = self.countable and set(params) <= {each.name for each in self.family.space}
        self.exhausted = self.exhausted or self._all_tried()

    def _all_tried(self) -> bool:
        count = self.family.info.configurations
        return self.countable and count is not None and len(self.distinct) >= count

    def _guarded(self, call: Callable[[], T], otherwise: T) -> T:
        try:
            return call()
        except Exception as error:
            self._note_fault(error)
            return otherwise

    def _note_fault(self, error: Exception) -> str:
        self.faults += 1
        self.exhausted = self.exhausted or self.faults >= MAX_ENGINE_FAULTS
        text = f"the engine failed: {type(error).__name__}: {' '.join(str(error).split())[:200]}"
        self.warn(f"{self.family.name}: {text}", traceback.format_exc())
        return text
