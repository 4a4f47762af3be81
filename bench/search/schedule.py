"""One engine's search over all families: which trial is next, and its record once it has ended.

Every family gets its first known configuration, then the rest of the budget is shared evenly, a family's other known
configurations before the engine's own proposals. A family that has nothing left hands its share on. A configuration
that was trained before is answered from the record and not trained again; within one study that costs no budget. One
that is in training is answered when that trial ends. With `only_known` the search ends with the known configurations.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from bench import engines
from bench.records import Trial
from bench.search.families import Family, training
from bench.search.listener import Context, TrialListener
from bench.search.state import StudyState
from bench.workers import Job, Listener, Outcome, TrialJob


class Schedule:
    """One engine on every family, within one budget of trials.

    Args:
        context: The engine, the configuration, and where everything is recorded.
        families: Those to be searched, in the order in which a small budget goes to them.

    Attributes:
        studies: The engine on each of them.
    """

    def __init__(self, context: Context, families: Sequence[Family]) -> None:
        self._context, self._config = context, context.config
        trials = context.config.budget.trials
        share = None if trials is None else math.ceil(trials / max(1, len(families)))
        self.studies = [self._study(family, share) for family in families]
        self._running: dict[str, TrialListener] = {}
        self._waiting: list[TrialListener] = []

    def _study(self, family: Family, share: int | None) -> StudyState:
        config, folder = self._config, self._context.folder
        settings = engines.Settings(
            seed=config.seed,
            space=family.space,
            epochs=config.epochs,
            pruner=config.pruner,
            trials=share,
            prefix=folder.prefix,
        )
        engine = engines.create(self._context.engine, family.name, folder.storage, settings)
        return StudyState(family, engine, self._warn, config.only_known)

    def ask(self) -> tuple[Job, Listener] | None:
        """The next trial: of the family with the fewest ones that has something to propose; None where none has."""
        trials = self._config.budget.trials
        if trials is not None and sum(study.counted for study in self.studies) >= trials:
            return None
        paused = [listener.study for listener in self._waiting]
        for study in sorted(self.studies, key=lambda study: study.counted):
            if not study.exhausted and study not in paused and (asked := study.ask()):
                proposal, known = asked
                listener = TrialListener(self._context, study, proposal, known)
                name = f"{self._context.engine} {listener.trial.name}"
                job = TrialJob(
                    id=name,
                    timeout_s=self._config.trial_timeout_s,
                    **training(self._config, self._context.folder.run, study.family),
                    epochs=listener.trial.max_epochs or self._config.epochs,
                )
                study.counted += 1
                self._running[name] = listener
                return job, listener
        return None

    def record(self, outcome: Outcome) -> Iterator[Trial]:
        """Record a trial that has ended, and those that waited for it; gives each as it is recorded."""
        listener = self._running.pop(outcome.job.id)
        if not listener.twin:
            trial = listener.end(outcome)
            yield trial
        elif original := listener.original():
            yield listener.answer(original)
            return
        else:
            self._waiting.append(listener)
            return
        for twin in [twin for twin in self._waiting if twin.key == listener.key]:
            self._waiting.remove(twin)
            yield twin.answer(trial)

    def end(self) -> None:
        """Record what the search has shown of each study, and note those that were used up."""
        folder = self._context.folder
        for study in self.studies:
            used_up = study.exhausted and not study.only_known
            shares = study.importance()
            name, tried = study.family.name, len(study.distinct)
            folder.end_study(self._context.engine, name, study.engine.study, exhausted=used_up, importance=shares)
            if used_up and study.family.info.configurations == tried:
                folder.note(f"{name}: all {tried} configurations were tried, the rest of its share went to others")
            elif used_up:
                folder.note(f"{name}: {self._context.engine} proposed nothing new after {tried} configurations")

    def _warn(self, text: str, trace: str) -> None:
        folder, progress = self._context.folder, self._context.progress
        folder.note(f"{self._context.engine}, {text}")
        folder.log(trace)
        progress.warning(f"{self._context.engine}, {text}")
