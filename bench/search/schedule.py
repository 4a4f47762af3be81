"""One engine's search over all families: who is next, what is asked, what is recorded.

Every family gets its first known configuration, then the rest of the budget is shared evenly, a family's other known
configurations before the engine's own proposals. A family that has nothing left hands its share on. A configuration
that was trained before is answered from the record and not trained again; within one study that costs no budget.
With `only_known` the search ends where the known configurations do.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from typing import Any

from bench import cache, engines
from bench.config import RunConfig
from bench.engines import Proposal
from bench.records import Run, Trial
from bench.search.families import Family
from bench.search.ledger import Study
from bench.search.listener import BUDGET_SPENT, INTERRUPTED, Context, TrialListener
from bench.workers import Job, Outcome, Pool


class Search:
    """One engine on every family, within one budget.

    Args:
        context: The engine, the configuration, and where everything is recorded.
        families: Those to be searched, in the order in which a small budget goes to them.
        pool: Where trials run.
    """

    def __init__(self, context: Context, families: Sequence[Family], pool: Pool) -> None:
        self.engine = context.engine
        self._context, self._pool = context, pool
        self._config, self._folder = context.config, context.folder
        config = context.config
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
        engine = engines.create(self.engine, family.name, self._folder.storage, settings)
        return Study(family, engine, config.only_known)

    def submit(self) -> bool:
        """Submits what there is room for, and writes what has ended while the processes start; False when all is done.

        So nothing waits for the database, and a crash costs at most the trials in flight.
        """
        while self._pool.has_room() and self._budget_left() and self._submit_next():
            pass
        self._folder.write_trials()
        return bool(self._listeners)

    def wait(self) -> list[Trial]:
        """Answers the running trials for a moment; those that have ended."""
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
        self._folder.write_trials()
        return ended

    # -- asking

    def _submit_next(self) -> bool:
        asked = self._ask_in_turn()
        if asked is None:
            return False
        study, proposal, known = asked
        listener = TrialListener(self._context, study, proposal, known)
        payload = trial_payload(self._config, self._folder.run, study.family)
        job = Job("trial", {**payload, "epochs": listener.max_epochs}, self._config.trial_timeout_s)
        study.counted += 1
        self._listeners[id(job)] = listener
        self._pool.submit(job, listener)
        return True

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

    # -- recording

    def _record(self, outcome: Outcome) -> Trial:
        listener = self._listeners.pop(id(outcome.job))
        trial = listener.ended(outcome)
        self._context.progress.trial_ended(trial, self._context.ledger.best_of_all())
        return trial


def trial_payload(config: RunConfig, run: Run, family: Family) -> dict[str, Any]:
    """What every training of a family is told, as plain data."""
    split = run.split
    return {
        "path": str(family.path),
        "class_names": list(split.classes),
        "input_sizes": list(split.input_sizes),
        "weights": config.weights,
        "files": dict(family.files),
        "manifest": str(run.manifest.absolute()),
        "cache": str(cache.folder()),
        "features": config.features,
        "epochs": config.epochs,
        "patience": config.patience,
        "seed": config.seed,
        "deterministic": True,
    }
