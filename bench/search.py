"""One engine's search over all families: who is next, what is asked, what is recorded.

Every family gets its first known configuration, then the rest of the budget is shared evenly, a family's other known
configurations before the engine's own proposals. A family that has nothing left hands its share on. A configuration
that was trained before is answered from the record and not trained again; within one study that costs no budget.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from bench import engines
from bench.config import RunConfig
from bench.engines import Engine, Proposal
from bench.hyperparameters import Hyperparameter, Value
from bench.preparation import Family
from bench.progress import Progress
from bench.records import COMPLETE, FAIL, PRUNED, Cost, Epoch, Failure, Metrics, Trial, from_dict
from bench.store import RunFolder
from bench.workers import Job, Listener, Outcome, Pool

MAX_ANSWERS_IN_A_ROW = 20
"""So many proposals in a row that are known already, and a study counts as exhausted (Keras Tuner's number)."""

BUDGET_SPENT = "the time budget ended"
INTERRUPTED = "Interrupted"


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
            self.consider(trial)

    def would_be_best(self, trial: Trial) -> bool:
        """Whether a trial beats its family's best so far."""
        best = self.best.get(trial.family)
        return trial.state == COMPLETE and (best is None or trial.rank_key < best.rank_key)

    def consider(self, trial: Trial) -> None:
        """Keeps a trial as its family's best if it is."""
        if self.would_be_best(trial):
            self.best[trial.family] = trial

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
        counted: Trials that used up budget, running ones included.
        asked_known: How many known configurations were asked for.
        answers_in_a_row: Proposals since the last new one that were answered from the record.
        distinct: Configurations that were tried.
        countable: Whether all that trials were asked for had been declared before; a hyperparameter behind a plain
            `if` may not have been.
    """

    family: Family
    engine: Engine
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


class Search:
    """One engine on every family, within one budget.

    Args:
        engine: One of `config.ENGINES`.
        families: Those to be searched, in the order in which a small budget goes to them.
        config: The run's configuration.
        folder: Where everything is recorded.
        pool: Where trials run.
        ledger: Shared by all engines of the run.
        progress: Told of everything.
    """

    def __init__(
        self,
        engine: str,
        families: Sequence[Family],
        config: RunConfig,
        folder: RunFolder,
        pool: Pool,
        ledger: Ledger,
        progress: Progress,
    ) -> None:
        self.engine = engine
        self._config, self._folder, self._pool = config, folder, pool
        self._ledger, self._progress = ledger, progress
        trials = config.budget.trials
        share = None if trials is None else math.ceil(trials / max(1, len(families)))
        self.studies = [self._study(family, share) for family in families]
        seconds = config.budget.seconds
        self._deadline = time.monotonic() + seconds if seconds is not None else math.inf
        self._listeners: dict[int, TrialListener] = {}
        self._cancelled = False

    def _study(self, family: Family, share: int | None) -> Study:
        config = self._config
        settings = engines.Settings(
            config.seed, family.space, config.epochs, config.pruner, share, prefix=self._folder.prefix
        )
        return Study(family, engines.create(self.engine, family.name, self._folder.storage, settings))

    def step(self) -> list[Trial] | None:
        """Submits what there is room for and waits a moment; the trials that have ended, None when all is done."""
        submitted = self._submit()
        if not self._listeners and not submitted:
            return None
        if time.monotonic() > self._deadline and not self._cancelled:
            self._cancelled = True
            self._pool.cancel(BUDGET_SPENT, "stopped by the time budget")
        return [self._record(outcome) for outcome in self._pool.finished(0.5)]

    def interrupt(self) -> list[Trial]:
        """Stops the running trials and records them as failed."""
        self._pool.cancel(INTERRUPTED, "the run was interrupted")
        ended: list[Trial] = []
        while self._listeners:
            ended += [self._record(outcome) for outcome in self._pool.finished(0.5)]
        return ended

    # -- asking

    def _submit(self) -> bool:
        submitted = False
        while self._pool.has_room() and self._budget_left():
            asked = self._ask_in_turn()
            if asked is None:
                break
            study, proposal, known = asked
            listener = TrialListener(self, study, proposal, known)
            job = Job("trial", self._payload(study.family, proposal), self._config.trial_timeout_s)
            study.counted += 1
            self._listeners[id(job)] = listener
            self._pool.submit(job, listener)
            submitted = True
        return submitted

    def _budget_left(self) -> bool:
        trials = self._config.budget.trials
        counted = sum(study.counted for study in self.studies)
        return (trials is None or counted < trials) and time.monotonic() < self._deadline

    def _ask_in_turn(self) -> tuple[Study, Proposal, bool] | None:
        """Asks the family with the fewest trials that has something to propose."""
        for study in sorted(self.studies, key=lambda study: study.counted):
            if study.exhausted:
                continue
            asked = study.ask()
            if asked is not None:
                return study, *asked
        return None

    def _payload(self, family: Family, proposal: Proposal) -> dict[str, Any]:
        return {
            **trial_payload(self._config, self._folder, family),
            "epochs": min(self._config.epochs, proposal.epochs or self._config.epochs),
        }

    # -- recording

    def _record(self, outcome: Outcome) -> Trial:
        listener = self._listeners.pop(id(outcome.job))
        trial = listener.ended(outcome)
        self._progress.trial_ended(trial, self._ledger.best_of_all())
        return trial


def trial_payload(config: RunConfig, folder: RunFolder, family: Family) -> dict[str, Any]:
    """What every training of a family is told, as plain data."""
    split = folder.run.split
    return {
        "path": str(family.path),
        "class_names": list(split.classes),
        "input_sizes": list(split.input_sizes),
        "weights": config.weights,
        "files": dict(family.files),
        "manifest": str(folder.manifest.absolute()),
        "cache": str(folder.cache.absolute()),
        "epochs": config.epochs,
        "patience": config.patience,
        "seed": config.seed,
        "deterministic": True,
    }


class TrialListener(Listener):
    """One trial, seen from the driver: answers its questions and keeps its record."""

    def __init__(self, search: Search, study: Study, proposal: Proposal, known: bool) -> None:
        self._search, self._study, self._proposal, self._known = search, study, proposal, known
        self._folder, self._ledger = search._folder, search._ledger
        self._order = 0
        self._key = ""
        self._params: dict[str, Value] = {}
        self._answer: Trial | None = None
        self._twin_runs = False
        self._owns_key = False
        self._started_s = self._folder.elapsed_s()
        self._epochs = min(search._config.epochs, proposal.epochs or search._config.epochs)
        self._write_origin()

    def suggest(self, hyperparameter: Hyperparameter) -> Value:
        """Asks the engine."""
        return self._study.engine.suggest(self._proposal, hyperparameter)

    def report(self, epoch: int, figures: Mapping[str, Any]) -> bool:
        """Epoch 0, the model is built: whether its configuration is known already. Later: whether to prune."""
        if epoch == 0:
            return self._built(figures["params"])
        accuracy = float(figures["val_accuracy"])
        self._search._progress.epoch(self._order, epoch, self._epochs, accuracy)
        return self._study.engine.report(self._proposal, epoch, accuracy)

    def result(self, result: Mapping[str, Any]) -> Mapping[str, Any]:
        """Keeps the model of a trial that is its family's best so far."""
        if result.get("stopped"):
            return {}
        trial = self._trial(COMPLETE, result)
        keep = self._ledger.would_be_best(trial)
        return {"keep": str(self._folder.model(trial.family).absolute()) if keep else None}

    def ended(self, outcome: Outcome) -> Trial:
        """Writes the record, tells the engine, and gives the trial as it is now."""
        if self._answer is not None or self._twin_runs:
            return self._answer_from_record()
        trial = self._from_outcome(outcome)
        self._write(trial)
        if self._owns_key:
            self._ledger.end(self._key, None if _was_stopped(trial) else trial)
        elif trial.state == FAIL:  # it failed before its configuration was known
            self._study.answers_in_a_row = 0
        return trial

    # -- inside

    def _built(self, params: Mapping[str, Value]) -> bool:
        self._params = dict(params)
        self._key = json.dumps([self._study.family.name, self._params, self._epochs], sort_keys=True)
        self._folder.attach(self._proposal.trial, params=self._params)
        self._answer = self._ledger.find(self._key)
        if self._answer is None and self._ledger.begin(self._key):
            self._owns_key = True
            self._study.note_new(self._key, self._params)
            self._number()
            self._search._progress.trial_began(self._order, self._study.family.name, self._search.engine)
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
            "seed": self._search._config.seed,
            "max_epochs": self._epochs,
        }
        self._folder.attach(self._proposal.trial, origin=origin)

    def _from_outcome(self, outcome: Outcome) -> Trial:
        if outcome.result is not None and not outcome.result.get("stopped"):
            return self._finite(self._trial(COMPLETE, outcome.result))
        if outcome.result is not None:
            return self._trial(PRUNED, outcome.result, note=f"stopped by the pruner ({self._search._config.pruner})")
        failure = outcome.failure
        assert failure is not None
        if not self._order:
            self._number()
        if failure.kind == BUDGET_SPENT:
            return self._trial(PRUNED, {}, note="stopped by the time budget")
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
            engine=self._search.engine,
            number=self._proposal.trial.number,
            order=self._order,
            state=state,
            params=self._params,
            known=self._known,
            started_s=self._started_s,
            finished_s=self._folder.elapsed_s(),
            value=validation.accuracy if validation else None,
            validation=validation,
            cost=from_dict(Cost, result["cost"]) if "cost" in result else None,
            history=tuple(from_dict(Epoch, each) for each in result.get("history", ())),
            input_size=result.get("input_size"),
            weights=result.get("weights", self._study.family.info.weights),
            seed=self._search._config.seed,
            max_epochs=self._epochs,
            failure=failure,
            note=note,
        )

    def _answer_from_record(self) -> Trial:
        """The same configuration again: the engine is told what is known, the budget charged at most once a study."""
        study, original = self._study, self._answer
        other_study = original is not None and original.engine != self._search.engine
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
            engine=self._search.engine,
            number=self._proposal.trial.number,
            order=self._order,
            known=self._known,
            started_s=self._started_s,
            finished_s=self._folder.elapsed_s(),
            duplicate_of=f"{original.study}#{original.number}",
            note=f"answered from the record of {original.study} trial {original.number}",
        )

    def _write(self, trial: Trial, counted: bool = True) -> None:
        figures: dict[str, Any] = {
            "ending": {
                "finished_s": trial.finished_s,
                "input_size": trial.input_size,
                "weights": trial.weights,
                "duplicate_of": trial.duplicate_of,
                "counted": counted,
                "note": trial.note,
            }
        }
        for name in ("validation", "cost", "failure"):
            if getattr(trial, name) is not None:
                figures[name] = asdict(getattr(trial, name))
        if trial.history:
            figures["history"] = [asdict(epoch) for epoch in trial.history]
        self._folder.attach(self._proposal.trial, **figures)
        self._study.engine.tell(self._proposal, trial.state, trial.value, self._params)


def _was_stopped(trial: Trial) -> bool:
    """Stopped from outside: says nothing about the configuration, which may be tried again."""
    return trial.note == "stopped by the time budget" or (
        trial.failure is not None and trial.failure.kind == INTERRUPTED
    )
