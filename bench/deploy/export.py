"""A trial's model as a `.keras` file: the one that its run kept, or trained again from the record."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from bench import workers
from bench.cache.files import replacing
from bench.config import RunConfig
from bench.errors import ConfigError, WorkerError, unknown
from bench.records import COMPLETE, Run, Trial
from bench.search import families as preparation
from bench.search.families import Family
from bench.search.progress import Progress
from bench.search.schedule import trial_payload
from bench.workers import Job, Listener, Pool


def find(run: Run, name: str) -> Trial:
    """The trial that a user names: `FAMILY`, its chosen one, or `FAMILY/ENGINE#NUMBER`.

    Raises:
        ConfigError: There is none, or it is not complete.
    """
    family, _, rest = name.partition("/")
    if not rest:
        chosen = run.best(family)
        if chosen is None:
            families = [each.name for each in run.families if run.best(each.name)]
            raise unknown("family with a complete trial", family, families)
        return chosen
    found = {trial.name: trial for trial in run.trials}
    if name not in found:
        raise unknown("trial", name, list(found))
    if found[name].state != COMPLETE:
        raise ConfigError(f"trial {name}: is {found[name].state}; only a complete one has a model")
    trial = found[name]
    return found.get(trial.duplicate_of, trial)


def kept(run: Run, trial: Trial) -> Path | None:
    """The model that the run kept of a trial, if it is its family's chosen one."""
    best, file = run.best(trial.family), run.model(trial.family)
    return file if best and best.name == trial.name and file.is_file() else None


def export(run: Run, trial: Trial, out: Path, progress: Progress, pool: Pool | None = None) -> float | None:
    """Writes a trial's model.

    Args:
        run: Of the trial.
        trial: A complete one.
        out: The `.keras` file; it must not be there yet.
        progress: Told of the training, where the model was not kept.
        pool: Where it is trained; None starts a process on this machine.

    Returns:
        The validation accuracy with which it was trained again; None where the run had kept it.

    Raises:
        UsageError: The file cannot be written, or the trial cannot be trained again.
    """
    if out.suffix != ".keras" or out.exists():
        raise ConfigError(f"out {str(out)!r}: {'is there already' if out.exists() else 'must end in .keras'}")
    if file := kept(run, trial):
        with replacing(out) as temporary:
            shutil.copyfile(file, temporary)
        return None
    if run.split.folds:
        raise ConfigError(f"{trial.family}: of data in folds only chosen trials have a model; this one has none")
    return _train(run, trial, out, progress, pool)


def _train(run: Run, trial: Trial, out: Path, progress: Progress, pool: Pool | None) -> float:
    out.parent.mkdir(parents=True, exist_ok=True)
    with contextlib.closing(pool or workers.start(replace(run.config, workers=1))) as used:
        config, family = preparation.prepare_again(run, trial, used, progress)
        found = _trained(_job(config, run, trial, family), out, used, progress)
    if not out.exists():
        raise ConfigError(f"{trial.family}: its model is no Keras model, so there is no .keras file of it")
    return float(found["validation"]["accuracy"])


def _job(config: RunConfig, run: Run, trial: Trial, family: Family) -> Job:
    again = {"values": dict(trial.params), "epochs": trial.max_epochs or config.epochs, "whole": True}
    return Job("trial", {**trial_payload(config, run, family), **again}, config.trial_timeout_s)


def _trained(job: Job, out: Path, pool: Pool, progress: Progress) -> Mapping[str, Any]:
    pool.submit(job, _Keeping(out, job.payload["epochs"], progress))
    while not (outcomes := pool.finished(0.5)):
        pass
    (outcome,) = outcomes
    if outcome.failure:
        raise WorkerError(f"the training failed: {outcome.failure.kind}: {outcome.failure.message}")
    assert outcome.result is not None
    return outcome.result


class _Keeping(Listener):
    """Has the job keep its model, and tells of its epochs."""

    def __init__(self, out: Path, epochs: int, progress: Progress) -> None:
        self._out, self._epochs, self._progress = out, epochs, progress

    def report(self, epoch: int, figures: Mapping[str, Any]) -> bool:
        if "stage" in figures:
            self._progress.stage(figures["stage"], figures["done"], figures["total"])
        elif epoch:
            self._progress.stage("training", epoch, max(epoch, self._epochs))
        return False

    def result(self, result: Mapping[str, Any]) -> Mapping[str, Any]:
        return {"keep": str(self._out.absolute())}
