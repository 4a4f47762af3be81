"""Replay of recorded trials on a simulated clock: a search of minutes takes a fraction of a second.

    recording = Recording.read(path)
    run = simulate(recording, RunConfig(budget=Budget(None, 300.0), seed=1))

The driver's code is the real one: schedule, shares, engines, deadline, records. Only the workers and the run folder are
replaced. A proposal gets the epochs and the times of the recorded trial of its family that is nearest to it, so the
accuracy of a simulation is that of the recording: differences between neighbours are lost.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from bench.config import RunConfig
from bench.hyperparameters import Hyperparameter, Value, fixed
from bench.records import (
    Cost,
    Ending,
    Epoch,
    Failure,
    FailureKind,
    FamilyInfo,
    Metrics,
    Run,
    RunStatus,
    Screening,
    Speed,
    SplitInfo,
    Trial,
    Work,
    from_data,
)
from bench.runs.store import RunFolder
from bench.search import screening, shares
from bench.search.families import Family
from bench.search.forecast import Forecaster
from bench.search.pace import Pace
from bench.search.progress import SILENT
from bench.search.schedule import Schedule
from bench.search.shares import INPUT_SIZE
from bench.search.state import Context, Ledger
from bench.search.stopping import Deadline, SignalStop
from bench.testing.fake import InProcessPool
from bench.training.messages import Job, KnownBackbones, ScreenJob, TrialJob, TrialResult
from bench.workers import Listener, Stop, run_jobs

MAX_BUILD_S = 1.0
"""Maximum part of a trial's time outside features and epochs that comes before them; the rest comes after them."""


@dataclass(frozen=True)
class RecordedFamily:
    """A family without its file; the fields are those of `Family`."""

    info: FamilyInfo
    space: tuple[Hyperparameter, ...]
    known: tuple[Mapping[str, Value], ...]
    input_sizes: tuple[int, ...]
    files: Mapping[str, str] = field(default_factory=dict)
    works: tuple[Work | None, ...] = ()
    other_works: tuple[Work, ...] = ()
    speed: Speed | None = None
    backbones: tuple[KnownBackbones, ...] = ()

    def family(self) -> Family:
        """Return the family."""
        values = {item.name: getattr(self, item.name) for item in fields(self)}
        return Family(path=Path(f"{self.info.name}.py"), **values)


@dataclass(frozen=True)
class Recording:
    """Trials of a run, to replay them.

    Attributes:
        note: Origin of the trials and how they were recorded.
        split: The split in numbers.
        families: The families, in the order of the run.
        trials: Trained and failed trials, with their epochs as `history`, also where the time limit ended them.
        screenings: Estimates of the families' backbones; a simulation screens nothing if there are none.
    """

    note: str
    split: SplitInfo
    families: tuple[RecordedFamily, ...]
    trials: tuple[Trial, ...]
    screenings: tuple[Screening, ...] = ()

    @classmethod
    def read(cls, path: Path) -> Recording:
        """Read the JSON data of a recording."""
        return from_data(cls, json.loads(path.read_text(encoding="utf-8")))


class SimulatedClock:
    """Seconds that pass only when a pool lets them pass."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


class ReplayPool(InProcessPool):
    """A pool that replays the trials of a recording, one at a time.

    Features take time when a simulated run uses them for the first time, whatever the recording had in its cache.

    Args:
        recording: The recorded trials.
        clock: Advanced by the recorded times.
    """

    def __init__(self, recording: Recording, clock: SimulatedClock) -> None:
        super().__init__()
        self._validation = recording.split.n("validation")
        self._screenings = {(screening.family, screening.input_size): screening for screening in recording.screenings}
        self._clock = clock
        self._trials = {
            family.info.name: _Neighbours(family.space, [t for t in recording.trials if t.family == family.info.name])
            for family in recording.families
        }
        self._cached: set[object] = set()

    def _run(self, job: Job, listener: Listener) -> TrialResult | Screening | Failure:
        if isinstance(job, ScreenJob):
            return self._screen(job)
        assert isinstance(job, TrialJob)
        trials = self._trials[Path(job.path).stem]
        params = trials.configuration(listener.suggest if job.values is None else fixed(job.values))
        recorded = trials.nearest(params)
        end_s = math.inf if job.time_s is None else self._clock.now_s + job.time_s
        return _Replay(self._clock, end_s, recorded, params, self._validation).run(job, listener, self._cached)

    def _screen(self, job: ScreenJob) -> Screening | Failure:
        """Return the recorded estimate, in the time for the job's number of pictures."""
        size = (job.values or {}).get(INPUT_SIZE)
        recorded = self._screenings[Path(job.path).stem, size if isinstance(size, int) else None]
        time_s = recorded.time_s + (job.pictures - recorded.n) * recorded.seconds_per_picture
        self._clock.now_s += min(time_s, job.timeout_s)
        if time_s > job.timeout_s:
            return Failure(FailureKind.TIMEOUT, f"the screening took longer than its {job.timeout_s:.0f} s")
        return replace(recorded, n=job.pictures, time_s=time_s)


class _Neighbours:
    """The recorded trials of a family, by the distance of their configurations."""

    def __init__(self, space: Sequence[Hyperparameter], trials: Sequence[Trial]) -> None:
        self._space, self._trials = space, trials

    def configuration(self, suggest: Any) -> dict[str, Value]:
        """Ask for every active hyperparameter, in the order in which the family declares them."""
        values: dict[str, Value] = {}
        for hyperparameter in self._space:
            if hyperparameter.name not in values and hyperparameter.is_active(values):
                is_fixed = hyperparameter.kind == "Fixed"
                values[hyperparameter.name] = hyperparameter.default if is_fixed else suggest(hyperparameter)
        return values

    def nearest(self, params: Mapping[str, Value]) -> Trial:
        """Return the trial with the smallest sum of `_distance` over the active hyperparameters; the first in a tie."""
        active = [hyperparameter for hyperparameter in self._space if hyperparameter.is_active(params)]
        return min(
            self._trials,
            key=lambda trial: sum(
                _distance(hyperparameter, params[hyperparameter.name], trial.params.get(hyperparameter.name))
                for hyperparameter in active
            ),
        )


def _distance(hyperparameter: Hyperparameter, one: Value, other: Value) -> float:
    """Return the distance of two values, 0 to 1: of numbers on the hyperparameter's scale, else 1 if they differ."""
    if one == other:
        return 0.0
    if hyperparameter.kind not in ("Int", "Float") or not isinstance(one, int | float) or other is None:
        return 1.0
    assert isinstance(other, int | float)
    low, high = hyperparameter.low, hyperparameter.high
    if hyperparameter.sampling == "log":
        return abs(math.log(one / other)) / math.log(high / low)
    return abs(one - other) / (high - low)


@dataclass
class _Replay:
    """One trial; `end_s` is the time on the clock at which its training must end."""

    clock: SimulatedClock
    end_s: float
    recorded: Trial
    params: Mapping[str, Value]
    validation: int

    def run(self, job: TrialJob, listener: Listener, cached: set[object]) -> TrialResult | Failure:
        """Replay the trial, and add its features to the cached ones."""
        recorded, began_s = self.recorded, self.clock.now_s
        stopped = TrialResult(self.params, recorded.weights, stopped=True)
        cold_s = recorded.cost.features_time_s if recorded.cost else 0.0
        saved_s = recorded.cost.saved_time_s if recorded.cost else 0.0
        other_s = recorded.took_s - (cold_s - saved_s) - sum(epoch.time_s for epoch in recorded.history)
        build_s = min(MAX_BUILD_S, other_s / 2)
        keys = {
            (recorded.family, recorded.input_size, prefix.cut, prefix.views, prefix.dtype)
            for prefix in recorded.prefixes
            if prefix.used
        }
        features_s = 0.0 if keys <= cached else cold_s
        self.clock.now_s += build_s
        if listener.built(self.params, recorded.weights, self._work(job.epochs, keys <= cached)):
            return stopped
        if not self._spend(features_s) or (features_s and listener.progress("computing features", 0, 0)):
            return replace(stopped, ending=Ending.BUDGET)
        cached |= keys
        planned = self._epochs(job.epochs)
        done, ending = self._train(planned, listener)
        if ending is Ending.PRUNER or (ending and not done):
            return replace(stopped, ending=ending)
        self.clock.now_s += other_s - build_s
        if recorded.failure and not ending:
            return recorded.failure
        fit_s = sum(epoch.time_s for epoch in done)
        result = TrialResult(
            params=self.params,
            weights=recorded.weights,
            validation=self._metrics(done),
            planned_epochs=recorded.planned_epochs,
            ending=ending,
            history=tuple(done),
            prefixes=recorded.prefixes,
            cost=replace(
                recorded.cost or Cost(0.0, 0.0),
                fit_time_s=fit_s,
                features_time_s=cold_s,
                train_time_s=fit_s + cold_s,
                saved_time_s=cold_s - features_s,
                total_time_s=self.clock.now_s - began_s,
            ),
            input_size=recorded.input_size,
        )
        listener.result(result)
        return result

    def _work(self, most: int, is_cached: bool) -> Work:
        """Return the recorded work, for at most so many epochs of each phase and this simulated run's cache."""
        work = self.recorded.work or Work()
        phases = tuple(replace(phase, epochs=min(phase.epochs, most)) for phase in work.phases)
        return replace(work, phases=phases).with_cached(float(is_cached))

    def _spend(self, seconds: float) -> bool:
        """Let time pass, at most until the training must end; return whether it was enough."""
        left_s = self.end_s - self.clock.now_s
        self.clock.now_s += max(0.0, min(seconds, left_s))
        return seconds <= left_s

    def _epochs(self, most: int) -> list[Epoch]:
        """Return the recorded epochs, at most so many of each phase."""
        counts: dict[str, int] = {}
        epochs: list[Epoch] = []
        for epoch in self.recorded.history:
            counts[epoch.phase] = counts.get(epoch.phase, 0) + 1
            if counts[epoch.phase] <= most:
                epochs.append(replace(epoch, epoch=len(epochs) + 1))
        return epochs

    def _train(self, planned: Sequence[Epoch], listener: Listener) -> tuple[list[Epoch], Ending | None]:
        """Replay epochs until the listener or the time ends the training; return them and the reason."""
        done: list[Epoch] = []
        for epoch in planned:
            if not self._spend(epoch.time_s):
                return done, Ending.BUDGET
            done.append(epoch)
            ending = listener.epoch(epoch, 1, 0)
            if ending is Ending.PRUNER or (ending and (len(done) < len(planned) or self.recorded.failure)):
                return done, ending
        return done, None

    def _metrics(self, done: Sequence[Epoch]) -> Metrics | None:
        """Return the metrics of the best epoch; those of the recorded trial if it was not trained in epochs."""
        if not done:
            return self.recorded.validation
        best = max(done, key=lambda epoch: (epoch.val_accuracy, -epoch.val_loss))
        accuracy = best.val_accuracy
        return Metrics(self.validation, accuracy, accuracy, None, best.val_loss, 1 - accuracy)


class MemoryFolder(RunFolder):
    """A run folder that is not on the disk."""

    def __init__(self, run: Run, clock: SimulatedClock) -> None:
        import optuna

        super().__init__(run.path, run, "", optuna.storages.InMemoryStorage())
        self._clock = clock

    def elapsed_s(self) -> float:
        return self._clock.now_s

    def record(self, trial: Trial, optuna_trial: Any) -> None:
        self.keep(trial)


def simulate(recording: Recording, config: RunConfig) -> Run:
    """Screen and search the recorded families with every engine, on a simulated clock that begins before both."""
    clock, ledger = SimulatedClock(), Ledger()
    families = [family.family() for family in recording.families]
    forecaster = Forecaster(config, recording.split, families)
    families = shares.cheapest_first(families, forecaster)
    plan = shares.make_plan(config, families)
    run = Run(
        path=Path("simulated"),
        status=RunStatus.RUNNING,
        created_utc="",
        config=config,
        environment={},
        split=recording.split,
        families=tuple(family.info for family in families),
        studies=(),
        plan=plan,
    )
    folder, pool = MemoryFolder(run, clock), ReplayPool(recording, clock)
    pace, seconds = Pace(config, recording.split, clock), config.budget.seconds
    if recording.screenings:
        screening.screen(families, folder, forecaster, pool, Stop(), SILENT, lambda: None)
    if seconds is not None:
        seconds -= folder.elapsed_s() / len(config.engines)
    for engine in config.engines:
        deadline = Deadline(SignalStop(), pace, seconds, ledger.best.values, len(config.engines))
        context = Context(engine, config, folder, ledger, SILENT, plan, deadline, forecaster)
        schedule = Schedule(context, families)
        deadline.clock.start()
        for outcome in run_jobs(pool, schedule.ask, deadline):
            for _ in schedule.record(outcome):
                pass
    return folder.as_run(RunStatus.COMPLETE)
