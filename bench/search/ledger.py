"""What a search knows while it goes on: every configuration of the run, and one engine's way through one family."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from bench.engines import Engine, Proposal
from bench.hyperparameters import Value
from bench.records import COMPLETE, Trial
from bench.search.families import Family

MAX_ANSWERS_IN_A_ROW = 20
"""So many proposals in a row that are known already, and a study counts as exhausted (Keras Tuner's number)."""


class Ledger:
    """What is known of all configurations of a run: which were trained, and the best of every family."""

    def __init__(self) -> None:
        self._trained: dict[str, Trial] = {}
        self._in_training: set[str] = set()
        self.best: dict[str, Trial] = {}
        self.orders = 0

    def find(self, key: str) -> Trial | None:
        """The trial that has trained this configuration."""
        return self._trained.get(key)

    def begin(self, key: str) -> bool:
        """Marks a configuration as in training; False where it is so already."""
        if key in self._in_training:
            return False
        self._in_training.add(key)
        return True

    def end(self, key: str, trial: Trial | None) -> None:
        """The configuration was trained; None where it was not, so that it may be tried again."""
        self._in_training.discard(key)
        if trial is not None:
            self._trained[key] = trial
            if self.would_be_best(trial):
                self.best[trial.family] = trial

    def would_be_best(self, trial: Trial) -> bool:
        """Whether a trial beats its family's best so far."""
        best = self.best.get(trial.family)
        return trial.state == COMPLETE and (best is None or trial.rank_key < best.rank_key)

    def best_of_all(self) -> Trial | None:
        """The best trial of the run so far."""
        return min(self.best.values(), key=lambda trial: trial.rank_key, default=None)

    def next_order(self) -> int:
        """The number of a new trial in the run, from 1."""
        self.orders += 1
        return self.orders


@dataclass
class Study:
    """One engine on one family, while it is searched.

    Attributes:
        only_known: Whether nothing but the family's known configurations is asked for.
        counted: Trials that used up budget, running ones included.
        asked_known: How many known configurations were asked for.
        answers_in_a_row: Proposals since the last new one that were answered from the record.
        distinct: Configurations that were tried.
        countable: Whether all that trials were asked for had been declared before; a hyperparameter behind a plain
            `if` may not have been.
    """

    family: Family
    engine: Engine
    only_known: bool = False
    counted: int = 0
    asked_known: int = 0
    answers_in_a_row: int = 0
    distinct: set[str] = field(default_factory=set)
    countable: bool = True
    exhausted: bool = False

    def ask(self) -> tuple[Proposal, bool] | None:
        """The next proposal and whether it is a known configuration; None for now, or for good (`exhausted`)."""
        known = self.family.known
        if self.asked_known < len(known):
            values = known[self.asked_known]
            proposal = self.engine.ask(values)
            self.asked_known += 1
            if proposal is not None:
                return proposal, True
        if self.only_known:
            return None
        proposal = self.engine.ask()
        if proposal is None:
            self.exhausted = self.engine.exhausted
            return None
        return proposal, False

    def note_answer(self, key: str) -> None:
        """Counts a proposal that was answered from the record."""
        self.distinct.add(key)
        self.answers_in_a_row += 1
        self.exhausted = self.exhausted or self.answers_in_a_row >= MAX_ANSWERS_IN_A_ROW or self._all_tried()

    def note_new(self, key: str, params: Mapping[str, Value]) -> None:
        """Counts a proposal that is trained."""
        self.distinct.add(key)
        self.answers_in_a_row = 0
        self.countable = self.countable and set(params) <= {each.name for each in self.family.space}
        self.exhausted = self.exhausted or self._all_tried()

    def _all_tried(self) -> bool:
        count = self.family.info.configurations
        return self.countable and count is not None and len(self.distinct) >= count
