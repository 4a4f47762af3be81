"""A trial as seen by the driver: answer the questions of its process, and build its record."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from bench.cache.files import sha256
from bench.engines import Proposal
from bench.hyperparameters import Hyperparameter, Value
from bench.records import (
    COMPLETE,
    FAIL,
    PRUNED,
    RUNNING,
    Ending,
    Epoch,
    Failure,
    FailureKind,
    Forecast,
    Limit,
    Origin,
    Trial,
    Weights,
    Work,
    exceeded,
    limits,
)
from bench.search.state import StudyState, configuration_key
from bench.search.stopping import INTERRUPTED
from bench.training.messages import TrialResult
from bench.workers import Listener, Outcome

MAX_OVERRUN = 2.0
"""Maximum time for preparing a training, relative to the trial's share of the budget."""


class TrialListener(Listener):
    """Answers a trial's questions and builds its record. No other code creates a `Trial` of a running search.

    A trial whose configuration was trained before, or is in training, is stopped after the build, and is answered from
    the record of the other trial.

    Args:
        study: Its study.
        proposal: The engine's proposal.
        origin: Its origin.
        fitted: Changes to a known configuration that fit it to its family's share.
        share_s: Seconds of its share of the budget, after which it ends with its best epoch.

    Attributes:
        trial: The current record.
        key: Key of the configuration in the ledger; "" until the model is built.
        twin: True if another trial trains or has trained this configuration.
    """

    def __init__(
        self, study: StudyState, proposal: Proposal, origin: Origin, fitted: str = "", share_s: float = math.inf
    ) -> None:
        self.study, self.proposal, self._share_s = study, proposal, share_s
        self._context, self._folder = study.context, study.context.folder
        config = self._context.config
        self.key, self.twin = "", False
        self._limits = limits(config)
        self._suggested: dict[str, Value] | None = {}  # None after a question without an answer
        self.trial = Trial(
            family=study.family.name,
            engine=self._context.engine,
            number=proposal.trial.number,
            order=0,
            state=RUNNING,
            params=proposal.known,
            origin=origin,
            started_s=self._folder.elapsed_s(),
            weights=study.family.info.weights,
            seed=config.seed,
            max_epochs=min(config.epochs, proposal.epochs or config.epochs),
            fitted=fitted,
            metric=config.metric[0],
        )
        self._later_folds_s = 0.0
        self._context.deadline.pace.began(self.trial)
        self._folder.record(self.trial, proposal.trial)

    def started(self, worker: int) -> None:
        """Record the worker."""
        self.trial = replace(self.trial, worker=worker)
        self._folder.keep(self.trial)

    def suggest(self, hyperparameter: Hyperparameter) -> Value:
        suggested, self._suggested = self._suggested, None
        value = self.study.suggest(self.proposal, hyperparameter)
        if suggested is not None:
            self._suggested = {**suggested, hyperparameter.name: value}
        return value

    def progress(self, stage: str, done: int, total: int) -> Ending | None:
        """Report a stage to the user; return a reason to end the trial if there is one."""
        self._context.progress.stage(stage, done, total)
        if self._used_s() > MAX_OVERRUN * self._share_s:
            return Ending.BUDGET
        return self._context.deadline.ending()

    def built(self, params: Mapping[str, Value], weights: Weights, work: Work) -> bool:
        """Look up the built configuration, and forecast its cost; True if it need not or must not be trained."""
        forecast = self._context.forecaster.forecast(self.trial.family, work)
        limit = exceeded(self._limits, work) or self._exceeds_time(forecast)
        self.trial = replace(self.trial, weights=weights, work=work, forecast=forecast, limit=limit)
        self._context.deadline.pace.built(self.trial)
        if not self.trial.halved:
            self._look_up(params)
        if weights == Weights.MISSING and all(self.study.family.files.values()):
            self._warn_of_unseen_backbone()
        if not self.twin and not limit:
            self._context.progress.trial_began(self.trial.order, self.trial.family, self.trial.engine)
        self._folder.record(self.trial, self.proposal.trial)
        return self.twin or limit is not None

    def epoch(self, epoch: Epoch, fold: int, folds: int) -> Ending | None:
        """Report an epoch to the user and, in the first fold, to the engine: other folds start at epoch 1 again.

        The remaining time is divided evenly among the folds.
        """
        deadline = self._context.deadline
        deadline.pace.epoch(self.trial, epoch)
        if epoch.epoch == 1:
            later = max(0, folds - fold)
            self._later_folds_s = ((deadline.left_s() or 0.0) + epoch.time_s) * later / (later + 1)
        cap = self.trial.max_epochs or epoch.epoch
        self._context.progress.epoch(self.trial.order, epoch.epoch, cap, epoch.measured, fold, folds)
        if fold == 1:
            is_new = epoch.epoch not in self.trial.intermediate_values  # else reported before memory ran out
            values = {**self.trial.intermediate_values, epoch.epoch: epoch.measured}
            self.trial = replace(self.trial, intermediate_values=values)
            self._folder.keep(self.trial)
            if is_new and self.study.report(self.proposal, epoch.epoch, epoch.measured):
                return Ending.PRUNER
        if self._used_s() + epoch.time_s + self._later_folds_s > self._share_s:
            return Ending.BUDGET
        return deadline.ending(epoch.time_s, self._later_folds_s)

    def result(self, result: TrialResult) -> str | None:
        """Return a path if the model is its family's best so far; None with folds, since it saw only some pictures."""
        complete = not result.stopped and not result.folds and not self._exceeded(result)
        best = complete and self._context.ledger.would_be_best(self._complete(result))
        return str(self._candidate.absolute()) if best else None

    def halve(self, outcome: Outcome) -> bool:
        """Return True once, if memory ran out in a training, which may fit with half the batch size."""
        ran_out = outcome.failure is not None and outcome.failure.kind is FailureKind.OOM
        if self.trial.halved or not ran_out or not self.key or self.twin or self.trial.limit:
            return False
        self.trial = replace(self.trial, halved=True)
        return True

    def note_failed_build(self, outcome: Outcome) -> None:
        """Look up a configuration whose build raised an exception, because it would raise again."""
        raised = outcome.failure is not None and outcome.failure.kind == FailureKind.EXCEPTION
        if not self.key and raised and self._suggested:
            self._look_up(self._suggested)

    def end(self, outcome: Outcome) -> Trial:
        """Write the record of a trial that was trained, refused or has failed, and tell the engine."""
        if self.trial.limit:
            return self._refuse()
        if not self.trial.order:  # it failed before the configuration was complete
            self.study.answers_in_a_row = 0
            self._number()
        trial = self._ended(outcome)
        if self._context.ledger.owes_features(trial, trial.engine):
            self._charge(trial.saved_s)
            trial = self._timed(trial)
        files = self._files if self._context.ledger.would_be_best(trial) else []
        trial = replace(trial, model_sha256=max((sha256(candidate) for candidate, _ in files), default=""))
        if self.key:
            self._context.ledger.end(self.key, trial, was_stopped(trial))
        self._write(trial)
        self._context.deadline.pace.ended(trial)
        self._context.forecaster.learn(trial)
        return trial

    def answer(self, original: Trial) -> Trial:
        """Write the record of a trial that is answered from another; it uses budget at most once per study.

        Args:
            original: The trained trial. If it was stopped by the user or the budget, this trial ends in the same way.
        """
        if self._context.ledger.find(self.key) is None:
            self.study.uncount(self.trial.origin)
            ended = replace(self._timed(self.trial), counted=False, duplicate_of=original.name)
            self._write(replace(ended, state=original.state, ending=original.ending, failure=original.failure))
            return self.trial
        trial = self.trial
        first_here = original.engine != trial.engine and self.key not in self.study.distinct
        self.study.note_answer(self.key, first_here)
        if first_here:
            self._number()
            self._charge_answer(original)
        else:
            self.study.uncount(trial.origin)
        trial = replace(
            original,
            engine=trial.engine,
            number=trial.number,
            order=self.trial.order,
            origin=trial.origin,
            started_s=trial.started_s,
            intermediate_values={},
            duplicate_of=original.name,
            counted=first_here,
            ending=Ending.RECORD,
            worker=None,
        )
        trial = self._timed(trial)
        self._write(trial)
        return trial

    # -- inside

    def _timed(self, trial: Trial) -> Trial:
        return replace(trial, finished_s=self._folder.elapsed_s(), charged_s=self._context.clock.read_s())

    def _charge(self, seconds: float) -> None:
        """Charge the engine for work of another engine, divided by the number of workers, which run in parallel."""
        self.study.charge(max(0.0, seconds) / self._context.config.workers)

    def _charge_answer(self, original: Trial) -> None:
        """Charge the engine as if it had trained the answer itself.

        For a known configuration this is the time that the first engine needed. For a proposal it is the time with an
        empty feature cache, because an engine must not gain from the features that another one has cached.
        """
        charge_s = original.took_s if self.trial.known else original.cold_s
        self._charge(charge_s - (self._folder.elapsed_s() - self.trial.started_s))
        self._context.ledger.owes_features(original, self.trial.engine)  # it has now been charged for them

    def _warn_of_unseen_backbone(self) -> None:
        """Warn once per family of a backbone that its probe missed and whose weights are not in the Keras cache."""
        text = (
            f"{self.study.family.path}: no imagenet weights in the Keras cache for a backbone that was not found before"
            " the search; it runs from random initialisation, labelled so"
        )
        if text not in self._folder.run.notes:
            self._folder.note(text)
            self._context.progress.warning(text)

    @property
    def _candidate(self) -> Path:
        """File of this trial's model until its record is written."""
        model = self._folder.run.model(self.trial.family)
        return model.with_name(f".{self.trial.engine.replace(':', '-')}-{self.trial.number}-{model.name}")

    @property
    def _files(self) -> list[tuple[Path, Path]]:
        """Files of this trial's model, complete and as trained weights alone, and their places if it is the best."""
        model = self._folder.run.model(self.trial.family)
        return [(self._candidate.with_suffix(end), model.with_suffix(end)) for end in (".keras", ".npz")]

    def _place_model(self, trial: Trial) -> None:
        for candidate, target in self._files:
            if self._context.ledger.best.get(trial.family) is not trial:
                candidate.unlink(missing_ok=True)
            elif candidate.exists():
                candidate.replace(target)
            else:  # no model was saved: remove that of an earlier best trial
                target.unlink(missing_ok=True)

    def _look_up(self, params: Mapping[str, Value]) -> None:
        """Look up the configuration in the ledger; a new one gets its number in the run."""
        self.trial = replace(self.trial, params=dict(params))
        self.key = configuration_key(self.trial)
        self.twin = not self._context.ledger.begin(self.key, self.trial.engine)
        if self.trial.limit and not self.twin:
            self.study.note_refused(self.key, self.trial.limit)
        elif not self.twin:
            self.study.note_new(self.key, params, capped=self.proposal.epochs is not None)
            self._number()

    def _refuse(self) -> Trial:
        """Write the record of a configuration that exceeds a limit; it uses no budget."""
        self.study.uncount(self.trial.origin)
        trial = replace(self._timed(self.trial), state=PRUNED, ending=Ending.LIMIT, counted=False)
        self._context.ledger.end(self.key, trial, stopped=trial.limit is Limit.TIME)
        self._write(trial)
        self._context.deadline.pace.ended(trial)
        return trial

    def _used_s(self) -> float:
        return self._folder.elapsed_s() - self.trial.started_s

    def _exceeds_time(self, forecast: Forecast | None) -> Limit | None:
        """Return a limit if the trial is unlikely to end within its share of the time.

        A family's first trial may exceed its share; its first epoch must be likely to end within the budget.
        """
        left_s = self._context.deadline.left_s()
        if forecast is None or left_s is None:
            return None
        end_s = left_s + self._used_s()
        earliest_s = forecast.first_epoch_s * forecast.low_s / forecast.time_s
        if self.study.trials > 1:
            earliest_s, end_s = forecast.low_s, min(end_s, self._share_s)
        return Limit.TIME if earliest_s > end_s else None

    def _exceeded(self, result: TrialResult) -> Limit | None:
        """Return the limit that a trained model exceeds, e.g. a classifier, whose latency is not known before."""
        return exceeded(self._limits, result.cost) if result.cost else None

    def _number(self) -> None:
        self.trial = replace(self.trial, order=self._context.ledger.next_order())

    def _ended(self, outcome: Outcome) -> Trial:
        trial, failure = self._timed(self.trial), outcome.failure
        if failure is not None and failure.kind == FailureKind.BUDGET_SPENT:
            return _pruned(trial, Ending.BUDGET)
        if failure is not None:
            return replace(trial, state=FAIL, failure=failure)
        assert isinstance(outcome.result, TrialResult)
        if outcome.result.ending is Ending.INTERRUPTED and outcome.result.stopped:
            return replace(trial, state=FAIL, failure=Failure(FailureKind.INTERRUPTED, INTERRUPTED))
        if outcome.result.stopped:
            return _pruned(trial, outcome.result.ending or Ending.PRUNER)
        if limit := self._exceeded(outcome.result):
            return replace(trial, state=PRUNED, ending=Ending.LIMIT, limit=limit, cost=outcome.result.cost)
        if outcome.result.unsaved:
            self._context.progress.warning(f"the model of {trial.name} could not be saved: {outcome.result.unsaved}")
        complete = replace(self._complete(outcome.result), finished_s=trial.finished_s, charged_s=trial.charged_s)
        loss = complete.validation.log_loss if complete.validation else math.nan
        if complete.value is not None and math.isfinite(complete.value) and math.isfinite(loss):
            return complete
        message = f"{self._folder.run.metric.title} of the validation: {complete.value}, log loss: {loss}"
        return replace(trial, state=FAIL, failure=Failure(FailureKind.NON_FINITE, message))

    def _complete(self, result: TrialResult) -> Trial:
        return replace(
            self.trial,
            state=COMPLETE,
            value=result.validation.of(self.trial.metric).value if result.validation else None,
            validation=result.validation,
            folds=result.folds,
            best_epochs=result.best_epochs,
            cost=result.cost,
            history=result.history,
            prefixes=result.prefixes,
            input_size=result.input_size,
            planned_epochs=result.planned_epochs,
            ending=result.ending,
        )

    def _write(self, trial: Trial) -> None:
        """Write the record, then place the model, then tell the engine: a crash leaves no model without a record."""
        self.trial = trial
        self._folder.record(trial, self.proposal.trial)
        self._place_model(trial)
        self.study.tell(self.proposal, trial)


def _pruned(trial: Trial, ending: Ending) -> Trial:
    """Return a trial as pruned; its value is that of the last epoch, as in Optuna."""
    last = list(trial.intermediate_values.values())[-1:]
    value = last[0] if last and math.isfinite(last[0]) else None
    return replace(trial, state=PRUNED, ending=ending, value=value)


def was_stopped(trial: Trial) -> bool:
    """Return whether the user or the budget stopped a trial before its first epoch ended."""
    return trial.state != COMPLETE and (trial.interrupted or trial.ending is Ending.BUDGET)
