"""Export a trial's model as a `.keras` file: copied from the run folder, or trained again from the record."""

from __future__ import annotations

import contextlib
import shutil
import zipfile
from dataclasses import replace
from pathlib import Path

from bench import workers
from bench.cache.files import replacing
from bench.errors import ConfigError, WorkerError, reading, unknown
from bench.records import COMPLETE, Ending, Epoch, Run, Trial
from bench.runs import store
from bench.search import families
from bench.search.progress import Progress
from bench.search.scoring import retraining
from bench.training.messages import TrialJob, TrialResult
from bench.workers import Listener, Pool, Stop, run_jobs


def find(run: Run, name: str) -> Trial:
    """Find the trial that a user names: `FAMILY` for its chosen trial, or `FAMILY/ENGINE#NUMBER`.

    Raises:
        ConfigError: The trial does not exist or is not complete.
    """
    family, _, rest = name.partition("/")
    if not rest:
        chosen = run.best(family)
        if chosen is None:
            names = [info.name for info in run.families if run.best(info.name)]
            raise unknown("family with a complete trial", family, names)
        return chosen
    trials = {trial.name: trial for trial in run.trials}
    if name not in trials:
        raise unknown("trial", name, list(trials))
    if trials[name].state != COMPLETE:
        raise ConfigError(f"trial {name}: is {trials[name].state}; only a complete one has a model")
    trial = trials[name]
    return trials.get(trial.duplicate_of, trial)


def export(run: Run, trial: Trial, out: Path, progress: Progress, pool: Pool | None = None) -> float | None:
    """Copy a trial's model to a file, or train it again if the run did not keep it.

    Args:
        run: The trial's run.
        trial: A complete trial.
        out: The `.keras` file, which must not exist.
        progress: Receives the events of the training.
        pool: Pool for the training; None starts a process on this machine.

    Returns:
        The metric of the new training on the validation pictures; None if the model was copied.

    Raises:
        UsageError: The file cannot be written, or the trial cannot be trained again.
    """
    if out.suffix != ".keras" or out.exists():
        raise ConfigError(f"out {str(out)!r}: {'already exists' if out.exists() else 'must end in .keras'}")
    if any(info.name == trial.family and not info.learns for info in run.families):
        raise ConfigError(
            f"{trial.family}: is a baseline, which does not learn from pictures; it has no model to export"
        )
    file, place = store.model_file(run, trial), run.model(trial.family)
    if file == place:
        with replacing(out) as temporary:
            shutil.copyfile(file, temporary)
            _check_model(file, temporary)
        return None
    if file is None and place.is_file() and trial == run.best(trial.family):
        progress.warning(f"{place}: is not the model of {trial.name}, by its SHA-256; it is not used")
    if run.split.folds:
        raise ConfigError(f"{trial.family}: with folds only chosen trials have a model; this one has none")
    return _train(run, trial, out, progress, pool)


def _check_model(file: Path, copied: Path) -> None:
    """Compare all members of a copied `.keras` file, a ZIP archive, with their checksums; none of it is executed."""
    with reading(f"{file} (remove it to train the model again)"), zipfile.ZipFile(copied) as archive:
        if damaged := archive.testzip():
            raise ValueError(f"checksum of {damaged}")
        if "config.json" not in archive.namelist():
            raise ValueError("config.json is missing")


def _train(run: Run, trial: Trial, out: Path, progress: Progress, pool: Pool | None) -> float:
    out.parent.mkdir(parents=True, exist_ok=True)
    with contextlib.closing(pool or workers.start(replace(run.config, workers=1))) as used:
        config, family = families.prepare_again(run, trial, used, progress)
        job = TrialJob(
            id=f"export {trial.name}",
            timeout_s=config.trial_timeout_s,
            **retraining(config, run, family, trial),
            whole=True,
        )
        work = iter([(job, _ExportListener(out, job.epochs, progress))])
        (outcome,) = run_jobs(used, lambda: next(work, None), Stop())
    if outcome.failure:
        raise WorkerError(f"the training failed: {outcome.failure.name}: {outcome.failure.message}")
    assert isinstance(outcome.result, TrialResult)
    if outcome.result.unsaved:
        raise WorkerError(f"the model of {trial.name} could not be saved: {outcome.result.unsaved}")
    if not out.exists():
        raise ConfigError(f"{trial.family}: its model is not a Keras model, so it has no .keras file")
    assert outcome.result.validation is not None
    return outcome.result.validation.of(trial.metric).value


class _ExportListener(Listener):
    """Tells the job where to save its model, and reports its epochs."""

    def __init__(self, out: Path, epochs: int, progress: Progress) -> None:
        self._out, self._epochs, self._progress = out, epochs, progress

    def progress(self, stage: str, done: int, total: int) -> Ending | None:
        self._progress.stage(stage, done, total)
        return None

    def epoch(self, epoch: Epoch, fold: int, folds: int) -> Ending | None:
        self._progress.stage("training", epoch.epoch, max(epoch.epoch, self._epochs))
        return None

    def result(self, result: TrialResult) -> str | None:
        return str(self._out.absolute())
