"""One trial, seen from the driver: answers its process's questions and keeps its record."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from bench.config import RunConfig
from bench.engines import Proposal
from bench.hyperparameters import Hyperparameter, Value
from bench.records import COMPLETE, FAIL, PRUNED, Cost, Epoch, Failure, Metrics, Prefix, Trial, from_dict
from bench.runs.store import RunFolder
from bench.search.ledger import Ledger, Study
from bench.search.progress import Progress
from bench.workers import Listener, Outcome

BUDGET_SPENT = "BudgetSpent"
INTERRUPTED = "Interrupted"
"""Kinds of failure of a trial that was stopped from outside."""


@dataclass(frozen=True)
class Context:
    """What all trials of one engine's search share."""

    engine: str
    config: RunConfig
    folder: RunFolder
    ledger: Ledger
    progress: Progress


class TrialListener(Listener):
    """Answers a trial's questions, and writes its record when it has ended.

    Args:
        context: Shared by the search's trials.
        study: Its study.
        proposal: What the engine proposed.
        known: Whether that is one of the family's known configurations.

    Attributes:
        max_epochs: The cap on the trial's epochs: the run's, or the engine's lower one.
    """

    def __init__(self, context: Context, study: Study, proposal: Proposal, known: bool) -> None:
        self._context, self._study, self._proposal, self._known = context, study, proposal, known
        self._folder, self._ledger = context.folder, context.ledger
        self._order = 0
        self._key = ""
        self._params: dict[str, Value] = {}
        self._answer: Trial | None = None
        self._twin_runs = False
        self._owns_key = False
        self._started_s = self._folder.elapsed_s()
        self.max_epochs = min(context.config.epochs, proposal.epochs or context.config.epochs)
        self._write_origin()

    def suggest(self, hyperparameter: Hyperparameter) -> Value:
        """Asks the engine."""
        return self._study.engine.suggest(self._proposal, hyperparameter)

    def report(self, epoch: int, figures: Mapping[str, Any]) -> bool:
        """Epoch 0, the model is built: whether its configuration is known already; then perhaps how far the decoding of
        pictures is. Later: whether to prune.

        The engine hears of the first fold only: a pruner compares epochs, and those of another fold begin again at 1.
        """
        if "stage" in figures:
            self._context.progress.stage(figures["stage"], figures["done"], figures["total"])
            return False
        if epoch == 0:
            return self._built(figures["params"])
        accuracy = float(figures["val_accuracy"])
        fold, folds = int(figures.get("fold", 1)), int(figures.get("folds", 0))
        self._context.progress.epoch(self._order, epoch, self.max_epochs, accuracy, fold, folds)
        return fold == 1 and self._study.engine.report(self._proposal, epoch, accuracy)

    def result(self, result: Mapping[str, Any]) -> Mapping[str, Any]:
        """Keeps the model of a trial that is its family's best so far; none of a fold, which saw too little."""
        if result.get("stopped") or result.get("folds"):
            return {}
        keep = self._ledger.would_be_best(self._trial(COMPLETE, result))
        return {"keep": str(self._candidate.absolute()) if keep else None}

    def ended(self, outcome: Outcome) -> Trial:
        """Writes the record, tells the engine, and gives the trial as it is now."""
        if self._answer is not None or self._twin_runs:
            return self._answer_from_record()
        trial = self._from_outcome(outcome)
        self._write(trial)
        if self._owns_key:
            stopped = outcome.failure is not None and outcome.failure.kind in (BUDGET_SPENT, INTERRUPTED)
            self._ledger.end(self._key, None if stopped else trial)  # a stopped one may be tried again
            self._place_model(trial)
        elif trial.state == FAIL:  # it failed before its configuration was known
            self._study.answers_in_a_row = 0
        return trial

    # -- inside

    @property
    def _candidate(self) -> Path:
        """Where this trial's model waits until it is known to be its family's best: others may end meanwhile."""
        model = self._folder.run.model(self._study.family.name)
        return model.with_name(f".{self._context.engine.replace(':', '-')}-{self._proposal.trial.number}-{model.name}")

    def _place_model(self, trial: Trial) -> None:
        model = self._folder.run.model(trial.family)
        for suffix in (".keras", ".npz"):  # the latter where only what was trained is kept so far
            candidate, kept = self._candidate.with_suffix(suffix), model.with_suffix(suffix)
            if self._ledger.best.get(trial.family) is not trial:
                candidate.unlink(missing_ok=True)
            elif candidate.exists():
                candidate.replace(kept)
            else:  # it could not be saved, or has none to save: an earlier best's must not pass for it
                kept.unlink(missing_ok=True)

    def _built(self, params: Mapping[str, Value]) -> bool:
        self._params = dict(params)
        self._key = json.dumps([self._study.family.name, self._params, self.max_epochs], sort_keys=True)
        self._folder.attach(self._proposal.trial, params=self._params)
        self._answer = self._ledger.find(self._key)
        if self._answer is None and self._ledger.begin(self._key):
            self._owns_key = True
            self._study.note_new(self._key, self._params)
            self._number()
            self._context.progress.trial_began(self._order, self._study.family.name, self._context.engine)
            return False
        self._twin_runs = self._answer is None
        return True

    def _number(self) -> None:
        self._order = self._ledger.next_order()
        self._write_origin()

    def _write_origin(self) -> None:
        origin = {
            "order": self._order,
            "known": self._known,
            "started_s": self._started_s,
            "seed": self._context.config.seed,
            "max_epochs": self.max_epochs,
        }
        self._folder.attach(self._proposal.trial, origin=origin)

    def _from_outcome(self, outcome: Outcome) -> Trial:
        if outcome.result is not None and not outcome.result.get("stopped"):
            return self._finite(self._trial(COMPLETE, outcome.result))
        if outcome.result is not None:
            return self._trial(PRUNED, outcome.result, note=f"stopped by the pruner ({self._context.config.pruner})")
        failure = outcome.failure
        assert failure is not None
        if not self._order:
            self._number()
        if failure.kind == BUDGET_SPENT:
            return self._trial(PRUNED, {}, note=failure.message)
        return self._trial(FAIL, {}, failure=failure)

    def _finite(self, trial: Trial) -> Trial:
        value = trial.value if trial.value is not None else math.nan
        loss = trial.validation.log_loss if trial.validation else math.nan
        if math.isfinite(value) and math.isfinite(loss):
            return trial
        return self._trial(FAIL, {}, failure=Failure("NonFinite", f"validation accuracy {value}, log loss {loss}"))

    def _trial(self, state: str, result: Mapping[str, Any], failure: Failure | None = None, note: str = "") -> Trial:
        validation = from_dict(Metrics, result["validation"]) if "validation" in result else None
        return Trial(
            family=self._study.family.name,
            engine=self._context.engine,
            number=self._proposal.trial.number,
            order=self._order,
            state=state,
            params=self._params,
            known=self._known,
            started_s=self._started_s,
            finished_s=self._folder.elapsed_s(),
            value=validation.accuracy if validation else None,
            validation=validation,
            folds=tuple(from_dict(Metrics, each) for each in result.get("folds", ())),
            best_epochs=tuple(result.get("best_epochs", ())),
            cost=from_dict(Cost, result["cost"]) if "cost" in result else None,
            history=tuple(from_dict(Epoch, each) for each in result.get("history", ())),
            prefixes=tuple(Prefix.from_dict(each) for each in result.get("prefixes", ())),
            input_size=result.get("input_size"),
            weights=result.get("weights", self._study.family.info.weights),
            seed=self._context.config.seed,
            max_epochs=self.max_epochs,
            failure=failure,
            note=note,
        )

    def _answer_from_record(self) -> Trial:
        """The same configuration again: the engine is told what is known, the budget charged at most once a study."""
        study, original = self._study, self._answer
        other_study = original is not None and original.engine != self._context.engine
        first_here = other_study and self._key not in study.distinct
        study.note_answer(self._key)
        if first_here:
            study.answers_in_a_row = 0
            self._number()
        else:
            study.counted -= 1
        if original is None:
            trial = self._trial(FAIL, {}, Failure("Duplicate", "this configuration is being trained by another trial"))
        else:
            trial = self._copy(original)
        self._write(trial, counted=first_here)
        return trial

    def _copy(self, original: Trial) -> Trial:
        return replace(
            original,
            engine=self._context.engine,
            number=self._proposal.trial.number,
            order=self._order,
            known=self._known,
            started_s=self._started_s,
            finished_s=self._folder.elapsed_s(),
            duplicate_of=original.name,
            note=f"answered from the record of {original.study} trial {original.number}",
        )

    def _write(self, trial: Trial, counted: bool = True) -> None:
        figures: dict[str, Any] = {
            "ending": {
                "finished_s": trial.finished_s,
                "input_size": trial.input_size,
                "weights": trial.weights,
                "best_epochs": trial.best_epochs,
                "duplicate_of": trial.duplicate_of,
                "counted": counted,
                "note": trial.note,
            }
        }
        for name in ("validation", "cost", "failure"):
            if getattr(trial, name) is not None:
                figures[name] = asdict(getattr(trial, name))
        for name in ("history", "prefixes", "folds"):
            if getattr(trial, name):
                figures[name] = [asdict(each) for each in getattr(trial, name)]
        self._folder.attach(self._proposal.trial, **figures)
        self._study.engine.tell(self._proposal, trial.state, trial.value, self._params)
