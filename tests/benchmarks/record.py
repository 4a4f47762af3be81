"""Convert a run to a recording for `bench.testing.replay`: `python -m tests.benchmarks.record RUN`.

The families are built once more, for what they declare; trials that were recorded without their work, too, which takes
a second for each. Set `BENCH_CACHE` to an empty folder, so that no features are there.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, fields, is_dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any
from unittest import mock

import bench
from bench import Budget, RunConfig, data, workers
from bench.hyperparameters import Value
from bench.records import COMPLETE, Epoch, FailureKind, Run, Screening, SplitInfo, Trial, Weights, Work, to_data
from bench.search import families, screening, spaces
from bench.search.forecast import Forecaster
from bench.search.progress import SILENT
from bench.testing.replay import MemoryFolder, RecordedFamily, Recording, SimulatedClock
from bench.training.messages import TrialJob
from bench.workers import Listener

RECORDED = Path(__file__).with_name("recorded.json")

DIGITS = 4
"""Significant digits of the numbers in a recording."""

NOTE = (
    "Trials of `bench run --engine optuna:random` on photographs of cats and dogs, two at a time on one core each,"
    " while other programs used the same two cores: the times are noisy. A trial that its time limit ended has state"
    " FAIL; its time is spread evenly over the epochs that it completed and half of another one. The times of dry runs"
    " and screenings, measured later, are scaled to the pace of the trials."
)


def recording(run: Run) -> Recording:
    """Return the trained trials of a run, and the trials that its time limit ended, with their epochs."""
    dataset = data.load(run.manifest)
    with contextlib.closing(workers.start(run.config)) as pool:
        prepared, _ = families.prepare(run.config, spaces.select(run.config.spaces), dataset, pool, SILENT)
        trials = [trial for trial in run.trials if not trial.duplicate_of and trial.finished_s is not None]
        works = counted(run, trials, {family.name: family for family in prepared}, pool)
        screenings = screened(run, prepared, pool)
    trials = [replayable(replace(trial, work=trial.work or works[trial.name])) for trial in trials]
    timed_out = [trial for trial in trials if trial.failure and trial.failure.kind is FailureKind.TIMEOUT]
    raw = Recording(
        note=NOTE,
        split=replace(run.split, sha256="", source="photographs", quarantined=(), alike=()),
        families=tuple(
            RecordedFamily(**{field.name: getattr(family, field.name) for field in fields(RecordedFamily)})
            for family in (replace(family, files=file_names(family.files)) for family in prepared)
        ),
        trials=tuple(trial for trial in trials if trial.state == COMPLETE or trial in timed_out),
        screenings=screenings,
    )
    return at_recorded_pace(raw, run.config)


def at_recorded_pace(recording: Recording, config: RunConfig) -> Recording:
    """Return a recording whose dry runs and screenings are as fast as its trials: the machine may be busier now."""
    forecaster = Forecaster(config, recording.split, [family.family() for family in recording.families])
    first = {trial.family: trial for trial in reversed(recording.trials) if trial.cost and trial.history}
    factor = median(trial.cold_s / forecaster.forecast(name, trial.work).cold_s for name, trial in first.items())
    slow = ("build_s", "predict_s")
    speeds = [
        family.speed and replace(family.speed, **{name: factor * getattr(family.speed, name) for name in slow})
        for family in recording.families
    ]
    return replace(
        recording,
        families=tuple(replace(family, speed=speed) for family, speed in zip(recording.families, speeds, strict=True)),
        screenings=tuple(paced(estimate, recording.trials, recording.split) for estimate in recording.screenings),
    )


def paced(estimate: Screening, trials: Sequence[Trial], split: SplitInfo) -> Screening:
    """Return a screening at the pace of the first trial on the same features."""
    trial = next(
        trial
        for trial in trials
        if trial.family == estimate.family
        and trial.input_size == estimate.input_size
        and trial.cost
        and [(prefix.used, prefix.views, prefix.cached) for prefix in trial.prefixes] == [(True, 1, 0.0)]
    )
    features_s = trial.cost.features_time_s
    picture_s = features_s / (split.n("train") + split.n("validation"))
    start_s = trial.took_s - features_s - sum(epoch.time_s for epoch in trial.history)
    return replace(estimate, seconds_per_picture=picture_s, time_s=start_s + estimate.n * picture_s, trial_s=None)


def file_names(files: Mapping[str, str]) -> dict[str, str]:
    """Return the weights files without their folders; "" if unavailable."""
    return {backbone: path and Path(path).name for backbone, path in files.items()}


def screened(run: Run, prepared: Sequence[families.Family], pool: workers.Pool) -> tuple[Screening, ...]:
    """Screen all backbones, whatever it takes."""
    config = replace(run.config, budget=Budget(None, 1e6))
    folder = MemoryFolder(replace(run, config=config, screenings=()), SimulatedClock())
    forecaster = Forecaster(config, run.split, prepared)
    with mock.patch.object(screening, "WORTHWHILE", 0.0):
        screening.screen(prepared, folder, forecaster, pool, workers.Stop(), SILENT, lambda: None)
    return tuple(estimate for estimate in folder.run.screenings if estimate.accuracy is not None)


class Counting(Listener):
    """Keeps the work of a trial, and stops it after its build."""

    def __init__(self) -> None:
        self.work: Work | None = None

    def built(self, params: Mapping[str, Value], weights: Weights, work: Work) -> bool:
        self.work = work
        return True


def counted(
    run: Run, trials: Sequence[Trial], prepared: Mapping[str, families.Family], pool: workers.Pool
) -> dict[str, Work | None]:
    """Build the trials of an older record again, which have no work; return it by the names of the trials."""
    listeners = {trial.name: Counting() for trial in trials}
    jobs = iter(
        TrialJob(
            id=trial.name,
            timeout_s=run.config.trial_timeout_s,
            epochs=trial.max_epochs or run.config.epochs,
            values=trial.params,
            **families.training(run.config, run, prepared[trial.family]),
        )
        for trial in trials
        if trial.work is None
    )
    for _ in workers.run_jobs(pool, lambda: next(((job, listeners[job.id]) for job in jobs), None), workers.Stop()):
        pass
    return {name: listener.work for name, listener in listeners.items()}


def replayable(trial: Trial) -> Trial:
    """Return a trial without what a replay does not need."""
    history = trial.history or tuple(
        Epoch(number, 0.0, None, 1 - accuracy, accuracy, trial.took_s / (len(trial.intermediate_values) + 0.5))
        for number, accuracy in trial.intermediate_values.items()
    )
    return replace(
        trial,
        history=tuple(replace(epoch, step_time_s=None, step_cpu_s=None) for epoch in history),
        prefixes=tuple(replace(prefix, cut=tuple(map(plain_name, prefix.cut))) for prefix in trial.prefixes),
        validation=None if history else trial.validation,
        failure=trial.failure and replace(trial.failure, traceback=""),
        started_s=0.0,
        finished_s=trial.took_s,
        charged_s=None,
        intermediate_values={},
        test=None,
        worker=None,
    )


def plain_name(layer: str) -> str:
    """Return the name of a layer without the number that Keras gives the same layer in later models of a process."""
    return re.sub(r"^(global_average_pooling2d|flatten)_\d+$", r"\1", layer)


def compact(record: object) -> Any:
    """Convert a record to JSON data with rounded numbers, without the fields that have their default."""
    if is_dataclass(record):
        defaults = {field.name: default(field) for field in fields(record)}
        values = {name: getattr(record, name) for name in defaults}
        return {name: compact(value) for name, value in values.items() if value != defaults[name]}
    if isinstance(record, dict):
        return {name: compact(value) for name, value in record.items()}
    if isinstance(record, list | tuple):
        return [compact(value) for value in record]
    return float(f"{record:.{DIGITS}g}") if isinstance(record, float) else to_data(record)


def default(field: Any) -> Any:
    """Return the default of a dataclass field."""
    return field.default if field.default_factory is MISSING else field.default_factory()


def write(recording: Recording, path: Path = RECORDED) -> None:
    """Write a recording with one trial a line."""
    content = compact(recording)
    lines = {name: json.dumps(content[name]) for name in ("note", "split")} | {
        name: "[\n" + ",\n".join(json.dumps(entry, separators=(",", ":")) for entry in content[name]) + "\n]"
        for name in ("families", "screenings", "trials")
    }
    path.write_text("{\n" + ",\n".join(f'"{name}": {line}' for name, line in lines.items()) + "\n}\n", "utf-8")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    write(recording(bench.load(parser.parse_args().run)))
