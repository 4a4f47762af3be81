"""Convert a run to a recording for `bench.testing.replay`: `python -m tests.benchmarks.record RUN`.

The families are built once more, for what they declare, so this takes some seconds.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import re
from dataclasses import MISSING, fields, is_dataclass, replace
from pathlib import Path
from typing import Any

import bench
from bench import data, workers
from bench.records import COMPLETE, Epoch, FailureKind, Run, Trial, to_data
from bench.search import families, spaces
from bench.search.progress import SILENT
from bench.testing.replay import RecordedFamily, Recording

RECORDED = Path(__file__).with_name("recorded.json")

DIGITS = 4
"""Significant digits of the numbers in a recording."""

NOTE = (
    "Trials of `bench run --engine optuna:random` on photographs of cats and dogs, two at a time on one core each,"
    " while other programs used the same two cores: the times are noisy. A trial that its time limit ended has state"
    " FAIL; its time is spread evenly over the epochs that it completed and half of another one."
)


def recording(run: Run) -> Recording:
    """Return the trained trials of a run, and the trials that its time limit ended, with their epochs."""
    dataset = data.load(run.manifest)
    with contextlib.closing(workers.start(run.config)) as pool:
        prepared, _ = families.prepare(run.config, spaces.select(run.config.spaces), dataset, pool, SILENT)
    trials = [replayable(trial) for trial in run.trials if not trial.duplicate_of and trial.finished_s is not None]
    timed_out = [trial for trial in trials if trial.failure and trial.failure.kind is FailureKind.TIMEOUT]
    return Recording(
        note=NOTE,
        split=replace(run.split, sha256="", source="photographs", quarantined=(), alike=()),
        families=tuple(
            RecordedFamily(**{field.name: getattr(family, field.name) for field in fields(RecordedFamily)})
            for family in prepared
        ),
        trials=tuple(trial for trial in trials if trial.state == COMPLETE or trial in timed_out),
    )


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
        for name in ("families", "trials")
    }
    path.write_text("{\n" + ",\n".join(f'"{name}": {line}' for name, line in lines.items()) + "\n}\n", "utf-8")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    write(recording(bench.load(parser.parse_args().run)))
