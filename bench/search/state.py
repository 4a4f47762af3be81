"""The state of a search: all configurations of the run, and the study of one engine on one family."""

from __future__ import annotations

import json
import logging
import math
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from itertools import zip_longest
from statistics import fmean, median
from typing import TypeVar

from bench import engines, text
from bench.config import RunConfig
from bench.engines import Proposal, Settings, end_trial
from bench.errors import RunFolderError, one_line
from bench.hyperparameters import Hyperparameter, OutsideRangeError, Value
from bench.records import COMPLETE, Ending, FailureKind, Limit, Origin, SearchPlan, Trial
from bench.runs.store import RunFolder
from bench.search import shares
from bench.search.families import Family
from bench.search.forecast import Forecaster
from bench.search.progress import Progress
from bench.search.shares import Fitted
from bench.search.stopping import Deadline, EngineClock

T = TypeVar("T")

_logger = logging.getLogger(__name__)

MAX_ANSWERS_IN_A_ROW = 20
"""Consecutive proposals answered from the record after which a study counts as exhausted (Keras Tuner's number)."""

MIN_TRIAL_S = 0.1
"""Minimum estimate of a trial's time."""

MAX_TOO_LONG_IN_A_ROW = 5
"""Configurations in a row that exceed their share of the time, after which a family gets no more."""

MAX_REFUSALS_IN_A_ROW = 50
"""The same for proposals that a limit refuses: random ones of which one in 20 is within it are 50 in a row in 8 %."""

MAX_ENGINE_FAULTS = 3
"""Exceptions of an engine on a family after which it is no longer asked."""

MAX_ALIKE = 5
"""First trials of a family that fail alike, after which it gets no more."""


def configuration_key(trial: Trial) -> str:
    """The key of a trial's configuration in the ledger."""
    return json.dumps([trial.family, dict(trial.params), trial.max_epochs], sort_keys=True)


class Ledger:
    """All configurations of a run: those trained, those in training, and the best of every family.

    Args:
        baselines: Families that are not the best of all while another has a result.
    """

    def __init__(self, baselines: Collection[str] = ()) -> None:
        self._baselines = baselines
        self._trained: dict[str, Trial] = {}
        self._in_training: set[str] = set()
        self._stopped: dict[str, Trial] = {}
        self._payers: defaultdict[tuple[object, ...], set[str]] = defaultdict(set)
        self.best: dict[str, Trial] = {}
        self.fitted: dict[tuple[str, int], Fitted] = {}
        self._orders = 0

    def find(self, key: str) -> Trial | None:
        """Return the trial that trained this configuration, if any."""
        return self._trained.get(key)

    def find_stopped(self, key: str) -> Trial | None:
        """Return the trial of this configuration that the user or the budget stopped; None while one is running."""
        return None if key in self._in_training else self._stopped.get(key)

    def begin(self, key: str, engine: str) -> bool:
        """Mark a configuration as in training; return False if it already is, or was trained.

        A trial stopped by one engine's pruner or budget does not answer other engines, which might continue it.
        """
        earlier = self._trained.get(key)
        if key in self._in_training or (earlier and (earlier.ending is None or earlier.engine == engine)):
            return False
        self._trained.pop(key, None)
        self._in_training.add(key)
        return True

    def end(self, key: str, trial: Trial, stopped: bool) -> None:
        """Mark a configuration as trained, or as stopped; a stopped one may be tried again."""
        self._orders = max(self._orders, trial.order)
        self._in_training.discard(key)
        (self._stopped if stopped else self._trained)[key] = trial
        if not stopped and self.would_be_best(trial):
            self.best[trial.family] = trial

    def owes_features(self, trial: Trial, engine: str) -> bool:
        """Record the features that an engine has used; return True if only other engines were charged for some."""
        owes = False
        for prefix in trial.prefixes:
            if prefix.used:
                payers = self._payers[trial.family, trial.input_size, prefix.cut, prefix.views, prefix.dtype]
                owes = owes or (bool(payers) and engine not in payers)
                payers.add(engine)
        return owes

    def would_be_best(self, trial: Trial) -> bool:
        """Return whether a trial is better than its family's best so far."""
        best = self.best.get(trial.family)
        return trial.state == COMPLETE and (best is None or trial.rank_key < best.rank_key)

    def best_of_all(self) -> Trial | None:
        """Return the best trial of the run so far."""
        return min(
            self.best.values(), key=lambda trial: (trial.family in self._baselines, trial.rank_key), default=None
        )

    def next_order(self) -> int:
        """Return the number of a new trial in the run, from 1, above those of a resumed run's trials."""
        self._orders += 1
        return self._orders


@dataclass(frozen=True)
class Context:
    """Objects shared by the trials of one engine's search."""

    engine: str
    config: RunConfig
    folder: RunFolder
    ledger: Ledger
    progress: Progress
    plan: SearchPlan
    deadline: Deadline
    forecaster: Forecaster

    @property
    def clock(self) -> EngineClock:
        """The engine's clock."""
        return self.deadline.clock

    def warn(self, text: str) -> None:
        """Add a note about the engine to the run, and warn the user."""
        self.folder.note(f"{self.engine}, {text}")
        self.progress.warning(f"{self.engine}, {text}")

    def warn_of_fault(self, family: str, error: Exception) -> str:
        """Warn of an exception of the engine, and log its traceback; return the message; raise one of the storage."""
        if isinstance(error, RunFolderError):
            raise error
        text = f"the engine failed: {one_line(error, 200)}"
        self.warn(f"{family}: {text}")
        _logger.error("%s, %s: the engine failed", self.engine, family, exc_info=error)
        return text


class StudyState:
    """One engine on one family during the search. Exceptions of the engine stop neither the run nor the search.

    Args:
        context: Shared objects of the search.
        family: The family.
        expected: Expected number of proposals; None if only time limits them.

    Attributes:
        answers_in_a_row: Number of consecutive proposals that were answered from the record.
        values: Quality of its complete trials on the validation pictures (`Trial.quality`), in their order.
        screened: Quality that its best screening estimates; None without one.
        dropped: Reason why the allocation gives it no more trials; "" while it may get more.
        distinct: Keys of the tried configurations.
        exhausted: True if there is nothing new to propose.
        failed: True if the engine has failed too often to be asked again.
    """

    def __init__(self, context: Context, family: Family, expected: int | None) -> None:
        config, folder = context.config, context.folder
        settings = Settings(
            seed=config.seed,
            space=family.space,
            epochs=config.epochs,
            pruner=config.pruner,
            trials=expected,
            prefix=folder.prefix,
            minimize=folder.run.metric.lower_is_better,
        )
        self.context, self.family = context, family
        self.engine = engines.create(context.engine, family.name, folder.storage, settings)
        self.answers_in_a_row = 0
        self.distinct: set[str] = set()
        self.exhausted = self.failed = False
        self.values: list[float] = []
        screening = folder.run.screening(family.name)
        screened = screening.measured if screening else None
        self.screened = None if screened is None else folder.run.metric.quality(screened)
        self.dropped = ""
        self._dropped_s: float | None = None
        self._known = list(zip_longest(family.known, family.works[: len(family.known)]))
        self._proposals_s: list[float] = []
        self._refused = 0
        self._refused_in_a_row: Counter[Limit] = Counter()
        self._is_baseline = family.name in context.plan.baselines
        self._counted: Counter[Origin] = Counter()
        self._began_s: dict[int, float] = {}  # of the running trials, by number
        self._ended = 0
        self._ended_s = 0.0
        self._faults = 0
        self._failures: list[str] = []
        self._countable = True  # until a trial has a hyperparameter hidden by a plain `if`, or its own limit of epochs
        self._in_flight: list[Trial] = []  # when the run was stopped

    @property
    def trials(self) -> int:
        """Number of trials that used budget, including running ones."""
        return self._counted.total()

    @property
    def known_trials(self) -> int:
        """Number of known configurations among these."""
        return self._counted[Origin.KNOWN]

    @property
    def is_done(self) -> bool:
        """True if it gets no more trials."""
        return self.exhausted or self.failed or bool(self.dropped) or (self._is_baseline and self.trials > 0)

    @property
    def is_owed(self) -> bool:
        """True if a trial that was in flight when the run was stopped is to be run again."""
        return bool(self._in_flight)

    @property
    def running(self) -> int:
        """Number of its running trials."""
        return len(self._began_s)

    @property
    def success_rate(self) -> float:
        """Expected share of its trials that have a result; 1 before the first one has ended."""
        return (len(self.values) + 1) / (self._ended + 1)

    def spent_s(self) -> float:
        """Return the seconds that its trials took so far, including charged time."""
        now_s = self.context.folder.elapsed_s()
        return self._ended_s + sum(now_s - began_s for began_s in self._began_s.values())

    def next_s(self) -> float:
        """Forecast the seconds of its next trial; those of a known configuration before its first one."""
        if self._proposals_s:
            return median(self._proposals_s)
        known = [work for _, work in self._known[:1] if work] if not self.trials else []
        works = known or [work for work in (*self.family.works, *self.family.other_works) if work]
        forecasts = [self.context.forecaster.trial_s(self.family.name, work) for work in works]
        seconds = [predicted_s for predicted_s in forecasts if predicted_s is not None]
        return fmean(seconds) if seconds else max(MIN_TRIAL_S, self.spent_s() / max(1, self.trials))

    def drop(self, reason: str) -> None:
        """Give it no more trials."""
        self.dropped, self._dropped_s = reason, self.context.folder.elapsed_s()

    def ask(self, known: bool, share_s: float = math.inf) -> tuple[Proposal, Origin, str] | None:
        """Return the next proposal, its origin and how it was fitted; None for now, or finally (`exhausted`).

        Args:
            known: Whether to return the next known configuration, if one is left.
            share_s: Maximum seconds of a known configuration.
        """
        if self._in_flight:
            trial = self._in_flight.pop(0)
            again = self._guarded(lambda: self.engine.ask(trial.params if trial.known else None), None)
            return (*self._begun(again, trial.origin), trial.fitted) if again else None
        if known and self._known and (fitted := self._fitted(share_s)):
            del self._known[fitted.number]
            proposal = self._guarded(lambda: self.engine.ask(fitted.values), None)
            if proposal is not None:
                return *self._begun(proposal, Origin.KNOWN), fitted.change
        if self.context.plan.only_known:
            return None
        proposal = self._guarded(self.engine.ask, None)
        if proposal is None:
            self.exhausted = self.exhausted or self.engine.exhausted
            return None
        return *self._begun(proposal, Origin.PROPOSED), ""

    def _fitted(self, share_s: float) -> Fitted | None:
        """Return the next known configuration that fits the share; only the first one is changed to fit.

        The other engines get the same one.
        """
        chosen, key = self.context.ledger.fitted, (self.family.name, len(self._known))
        if key not in chosen:
            arguments = self.family, self._known, share_s, self.context.forecaster
            fitted = shares.fitting(*arguments)
            if fitted is None and self.trials:
                return None
            chosen[key] = fitted or shares.fitted(*arguments)
        return chosen[key]

    def _begun(self, proposal: Proposal, origin: Origin) -> tuple[Proposal, Origin]:
        self._counted[origin] += 1
        self._began_s[proposal.trial.number] = self.context.folder.elapsed_s()
        return proposal, origin

    def ask_again(self, trial: Trial) -> None:
        """Repeat the start of a recorded trial of a resumed run."""
        if trial.known and self._known:
            place = min(range(len(self._known)), key=lambda place: _differences(self._known[place][0], trial.params))
            values = {name: trial.params.get(name, value) for name, value in self._known[place][0].items()}
            fitted = Fitted(place, values, trial.fitted)
            self.context.ledger.fitted.setdefault((self.family.name, len(self._known)), fitted)
            del self._known[place]
        self._guarded(lambda: self.engine.ask_again(trial.number, trial.known, trial.params), None)
        if trial.finished_s is None:
            self._in_flight.append(trial)
        else:
            self._counted[trial.origin] += trial.counted
            self._began_s[trial.number] = trial.started_s

    def tell_again(self, trial: Trial, stopped: bool) -> None:
        """Repeat the end of a recorded trial of a resumed run; `stopped` as for `Ledger.end`."""
        ledger, key = self.context.ledger, configuration_key(trial)
        if trial.duplicate_of:
            if trial.ending is Ending.RECORD:
                self.note_answer(key, trial.counted)
        elif not trial.params and trial.failure:  # it failed before its configuration was complete
            self.answers_in_a_row = 0
        else:
            if trial.limit and not trial.counted:
                self.note_refused(key, trial.limit)
            else:
                capped = (trial.max_epochs or 0) < self.context.config.epochs
                self.note_new(key, trial.params, capped)
                self.context.forecaster.learn(trial)
            ledger.end(key, trial, stopped)
        ledger.owes_features(trial, trial.engine)
        self.context.deadline.pace.restore(trial)
        self._note_end(trial)
        self._guarded(lambda: self.engine.tell_again(trial.number, trial.state, trial.value, trial.params), None)

    def uncount(self, origin: Origin) -> None:
        """Return the budget of a trial that turned out to use none."""
        self._counted[origin] -= 1

    def charge(self, seconds: float) -> None:
        """Charge the engine and the family for work done in trials of other engines."""
        self.context.clock.charge(seconds)
        self._ended_s += seconds

    def suggest(self, proposal: Proposal, hyperparameter: Hyperparameter) -> Value:
        """Ask the engine for a value.

        Raises:
            ValueError: The known value is outside the range, or the engine has failed: the trial fails.
        """
        try:
            return self.engine.suggest(proposal, hyperparameter)
        except OutsideRangeError:
            raise
        except Exception as error:
            raise ValueError(self._note_fault(error)) from error

    def report(self, proposal: Proposal, epoch: int, value: float) -> bool:
        """Report the validation accuracy after an epoch to the engine; True prunes the trial."""
        return self._guarded(lambda: self.engine.report(proposal, epoch, value), False)

    def tell(self, proposal: Proposal, trial: Trial) -> None:
        """Report the end of a trial to the engine; if that fails, only the Optuna trial is finished."""
        self._note_end(trial)
        try:
            self.engine.tell(proposal, trial.state, trial.value, trial.params)
        except Exception as error:
            self._note_fault(error)
            end_trial(self.engine.study, proposal.trial, trial.state, trial.value)

    def _note_end(self, trial: Trial) -> None:
        del self._began_s[trial.number]
        self._ended_s += trial.took_s
        if trial.counted:
            self._ended += 1
            if trial.state == COMPLETE and trial.value is not None:
                self.values.append(trial.quality(trial.value))
            if trial.failure and trial.failure.kind is not FailureKind.INTERRUPTED:
                self._failures.append(trial.failure.shape)
                if self._ended == len(self._failures) == MAX_ALIKE and len(set(self._failures)) == 1:
                    self.drop(f"its first {MAX_ALIKE} trials failed alike")
                    self.context.warn(f"{self.family.name}: {self.dropped}, {text.shorten(self._failures[0], 200)}")
            if not trial.known and not trial.duplicate_of:
                self._proposals_s.append(trial.took_s)

    def note_answer(self, key: str, new_here: bool) -> None:
        """Count a proposal that is answered from the record; `new_here` if it is new in this study."""
        self.distinct.add(key)
        self.answers_in_a_row = 0 if new_here else self.answers_in_a_row + 1
        self.exhausted = self.exhausted or self.answers_in_a_row >= MAX_ANSWERS_IN_A_ROW or self._all_tried()

    def note_refused(self, key: str, limit: Limit) -> None:
        """Count a configuration that a limit refuses after its build; some in a row end the family's search."""
        self._refused_in_a_row[limit] += 1
        if limit is Limit.TIME:  # it may fit later
            if self._refused_in_a_row[limit] >= MAX_TOO_LONG_IN_A_ROW:
                count = text.plural(self._refused_in_a_row[limit], "configuration")
                self.drop(f"{count} in a row would exceed their share of the time")
            return
        self.distinct.add(key)
        self._refused += 1
        of_models = self._refused_in_a_row.total() - self._refused_in_a_row[Limit.TIME]
        self.exhausted = self.exhausted or of_models >= MAX_REFUSALS_IN_A_ROW or self._all_tried()

    def note_new(self, key: str, params: Mapping[str, Value], capped: bool) -> None:
        """Count a trained proposal; if the engine has `capped` its epochs, it may come again with more."""
        self.distinct.add(key)
        self.answers_in_a_row = 0
        self._refused_in_a_row.clear()
        declared = set(params) <= {hyperparameter.name for hyperparameter in self.family.space}
        self._countable = self._countable and declared and not capped
        self.exhausted = self.exhausted or self._all_tried()

    def end(self) -> None:
        """Record the facts about the study, and add a note if it was exhausted."""
        from bench.engines.base import importance

        importances: dict[str, float] = self._guarded(lambda: importance(self.engine.study), {})
        exhausted = self.exhausted and not (self.context.plan.only_known or self._is_baseline)
        folder, engine = self.context.folder, self.context.engine
        name, tried = self.family.name, len(self.distinct)
        facts = {"dropped": self.dropped, "dropped_s": self._dropped_s, "importance": importances}
        folder.end_study(engine, name, self.engine.study, exhausted=exhausted, **facts)
        new = f"nothing new within the limits ({self._refused} refused)" if self._refused else "nothing new"
        if exhausted and self._all_tried():
            folder.note(f"{name}: all {tried} configurations were tried; the rest of its share went to other families")
        elif exhausted:
            folder.note(f"{name}: {engine} proposed {new} after {tried} configurations")

    def _all_tried(self) -> bool:
        count = self.family.info.configurations
        return self._countable and count is not None and len(self.distinct) >= count

    def _guarded(self, call: Callable[[], T], otherwise: T) -> T:
        try:
            return call()
        except Exception as error:
            self._note_fault(error)
            return otherwise

    def _note_fault(self, error: Exception) -> str:
        self._faults += 1
        self.failed = self._faults >= MAX_ENGINE_FAULTS
        return self.context.warn_of_fault(self.family.name, error)


def _differences(known: Mapping[str, Value], params: Mapping[str, Value]) -> int:
    """Number of values of a known configuration that a trial does not have."""
    return sum(params.get(name) != value for name, value in known.items())
