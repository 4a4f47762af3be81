"""One engine's search over all families: choose the next trial, and record ended ones.

`shares` divides the budget. The unused share of a family goes to the others. A configuration that was trained before is
answered from the record instead of being trained again; within one study this uses no budget. A configuration that
another trial is training is answered when that trial ends.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace

from bench.errors import DataError
from bench.records import FailureKind, Trial, limits
from bench.search.allocation import LATEST_FIRST, LEAST_ERROR, adaptively, affordable_s, evenly, is_known_due
from bench.search.families import Family, training
from bench.search.listener import TrialListener, was_stopped
from bench.search.settled import settled
from bench.search.shares import expected_proposals
from bench.search.state import Context, StudyState
from bench.training.messages import Job, TrialJob
from bench.workers import Listener, Outcome

MAX_ENVIRONMENT_FAULTS = 3
"""Trials in a row that fail by the pictures, the cache or the disk, after which the run ends."""


class Schedule:
    """One engine on every family, within one budget of trials.

    Args:
        context: The engine, the configuration and the run folder.
        families: The families, in the order in which a small budget is spent.
    """

    def __init__(self, context: Context, families: Sequence[Family]) -> None:
        self._context, self._config = context, context.config
        self._studies = [study for family in families if (study := self._study(family))]
        self._running: dict[str, TrialListener] = {}
        self._waiting: list[TrialListener] = []
        self._halved: list[tuple[Outcome, TrialListener]] = []
        self._environment_faults = 0
        self._counted: list[Trial] = []
        self._settled = False
        self._repeat()

    def _repeat(self) -> None:
        """Repeat the recorded trials of a resumed run, in the order of their starts and ends, without training any."""
        studies = {study.family.name: study for study in self._studies}
        recorded = [trial for trial in self._context.folder.run.trials if trial.engine == self._context.engine]
        trials = [trial for trial in recorded if trial.family in studies and trial.seed is not None]
        events = [(trial.started_s, trial.number, False, trial) for trial in trials]
        events += [(trial.finished_s, trial.number, True, trial) for trial in trials if trial.finished_s is not None]
        for _, _, ended, trial in sorted(events, key=lambda event: event[:3]):
            if not ended:
                studies[trial.family].ask_again(trial)
                continue
            studies[trial.family].tell_again(trial, was_stopped(trial))
            if trial.counted:
                self._counted.append(trial)
        self._context.clock.charge(max((trial.charged_s or 0.0 for trial in trials), default=0.0))

    def _study(self, family: Family) -> StudyState | None:
        """The study of a family; None if the engine cannot be created."""
        try:
            return StudyState(self._context, family, expected_proposals(self._context.plan, family))
        except Exception as error:
            self._context.warn_of_fault(family.name, error)
            return None

    def ask(self) -> tuple[Job, Listener] | None:
        """Return the next trial; None if there is none for now, or at all."""
        if self._halved:
            outcome, listener = self._halved.pop()
            self._running[outcome.job.id] = listener
            left_s = self._context.deadline.left_s()
            assert isinstance(outcome.job, TrialJob)
            return replace(outcome.job, values=listener.trial.params, halved=True, time_s=left_s), listener
        plan = self._context.plan
        owed = [study for study in self._studies if study.is_owed]
        if plan.trials is not None and sum(study.trials for study in self._studies) >= plan.trials:
            return None
        if self._config.until_settled and not owed and self._has_settled():
            return None
        waiting = [listener.study for listener in self._waiting]
        share_s = self._share_s()
        for study in [*owed, *self._in_order()]:
            if study.is_done or study in waiting or not self._context.deadline.fits(study.family.name):
                continue
            if asked := study.ask(is_known_due(study, self._studies, plan), share_s):
                listener = TrialListener(study, *asked, share_s=share_s)
                name = f"{self._context.engine} {listener.trial.name}"
                job = TrialJob(
                    id=name,
                    timeout_s=self._config.trial_timeout_s,
                    **training(self._config, self._context.folder.run, study.family),
                    epochs=listener.trial.max_epochs or self._config.epochs,
                    time_s=self._context.deadline.left_s(),
                    limits=limits(self._config),
                )
                self._running[name] = listener
                return job, listener
        return None

    def _in_order(self) -> list[StudyState]:
        """Return the studies in the order in which they should get the next trial."""
        if self._config.allocation == "even":
            return evenly(self._studies, self._context.plan)
        split = self._context.folder.run.split
        validated = split.n("train") if split.folds else split.n("validation")
        used_s, budget_s = self._context.clock.read_s(), self._config.budget.seconds
        first_s = math.inf
        if budget_s is not None and used_s < LATEST_FIRST * budget_s:
            first_s = affordable_s(used_s, budget_s)
        return adaptively(self._studies, LEAST_ERROR / max(1, validated), first_s)

    def _share_s(self) -> float:
        """Return the seconds for the next trial: the remaining time, divided by the families, until each has had one.

        Then it is what the search can afford. There is no limit for the only family.
        """
        left_s, searched = self._context.deadline.left_s(), [study for study in self._studies if not study.is_done]
        budget_s = self._config.budget.seconds
        if left_s is None or budget_s is None or self._config.allocation == "even" or len(searched) < 2:
            return math.inf
        if any(not study.trials for study in searched):
            return left_s / len(searched)
        return affordable_s(self._context.clock.read_s(), budget_s)

    def record(self, outcome: Outcome) -> Iterator[Trial]:
        """Record an ended trial and those that waited for it; yield them as they are recorded.

        Raises:
            DataError: Several trials in a row failed by the pictures, the cache or the disk, as all others would.
        """
        if self._running[outcome.job.id].halve(outcome):
            self._halved.append((outcome, self._running.pop(outcome.job.id)))
            return
        for trial in self._recorded(outcome):
            if trial.counted:
                self._counted.append(trial)
            yield trial
        failure = outcome.failure
        is_fault = failure is not None and failure.kind is FailureKind.ENVIRONMENT
        self._environment_faults = self._environment_faults + 1 if is_fault else 0
        if failure and self._environment_faults >= MAX_ENVIRONMENT_FAULTS:
            raise DataError(f"{failure.message}; it ended the last {self._environment_faults} trials, so the run ends")

    def _recorded(self, outcome: Outcome) -> Iterator[Trial]:
        listener, ledger = self._running.pop(outcome.job.id), self._context.ledger
        listener.note_failed_build(outcome)
        if not listener.twin:
            trial = listener.end(outcome)
            yield trial
            for twin in [twin for twin in self._waiting if twin.key == listener.key]:
                self._waiting.remove(twin)
                yield twin.answer(trial)
        elif original := ledger.find(listener.key) or ledger.find_stopped(listener.key):
            yield listener.answer(original)
        else:
            self._waiting.append(listener)

    def _has_settled(self) -> bool:
        """Return whether the search has settled; add a note when it does."""
        if not self._settled:
            searched = {study.family.name for study in self._studies if not study.is_done}
            if figures := settled(self._counted, searched, self._context.plan.baselines):
                self._settled = True
                self._context.folder.note(f"{self._context.engine}: {figures}")
        return self._settled

    def end(self) -> None:
        """Record the trials that were not trained again, and the facts about each study."""
        for outcome, listener in self._halved:
            listener.end(outcome)
        for study in self._studies:
            study.end()
