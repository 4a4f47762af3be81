"""A trial's model as a file: what the run kept is copied, everything else is trained again."""

from __future__ import annotations

import json
import shutil
import zipfile
from dataclasses import replace

import pytest

from bench import Budget, RunConfig, runner
from bench.config import USUAL_SPLIT
from bench.deploy import export
from bench.errors import ConfigError, RunFolderError, WorkerError
from bench.records import FAIL
from bench.search.progress import Progress
from bench.testing import FakePool
from bench.training.messages import TrialJob

from ..conftest import TINY


def build(hp, family):
    hp.Int("layers", 1, 9)


def score(family, params):
    return 0.5 + params["layers"] / 20


class Recording(FakePool):
    """Remembers the jobs that it was given."""

    def __init__(self):
        super().__init__(build, score)
        self.jobs = []

    def submit(self, job, listener):
        self.jobs.append(job)
        super().submit(job, listener)


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    folder = tmp_path_factory.mktemp("saved")
    (folder / "net.py").write_text(TINY, encoding="utf-8")
    config = RunConfig(
        images=24, split=USUAL_SPLIT, spaces=(str(folder / "net.py"),), budget=Budget(trials=4), out=str(folder / "run")
    )
    return runner.run(config, pool=FakePool(build, score))


@pytest.fixture
def run(saved, tmp_path):
    """A copy of a run, since tests damage its model."""
    return replace(saved, path=shutil.copytree(saved.path, tmp_path / "run"))


def test_the_chosen_trial_is_known_by_its_family_and_any_by_its_name(run):
    best = run.best("net")
    assert export.find(run, "net") == best
    for trial in run.trials:
        assert export.find(run, f"{trial.study}#{trial.number}") == trial
    with pytest.raises(ConfigError, match="net"):
        export.find(run, "nett")
    with pytest.raises(ConfigError, match="optuna:tpe#0"):
        export.find(run, "net/optuna:tpe#9")


def test_a_trial_that_failed_has_no_model(run):
    (study,) = run.studies
    broken = replace(study, trials=(replace(study.trials[0], state=FAIL), *study.trials[1:]))
    with pytest.raises(ConfigError, match="is FAIL"):
        export.find(replace(run, studies=(broken,)), "net/optuna:tpe#0")


def test_a_model_that_was_kept_is_copied(run, tmp_path):
    trial, used = export.find(run, "net"), Recording()
    assert export.export(run, trial, tmp_path / "best.keras", Progress(), used) is None
    assert (tmp_path / "best.keras").read_bytes() == (run.path / "models" / "net.keras").read_bytes()
    assert used.jobs == []


def test_a_damaged_model_is_not_exported(run, tmp_path):
    kept = run.path / "models" / "net.keras"
    whole = kept.read_bytes()
    older = replace(export.find(run, "net"), model_sha256=None)  # a record without the model's hash
    for content in (b"", whole[:-1], whole[: len(whole) // 2], whole.replace(b"layers", b"lagers", 1)):
        kept.write_bytes(content)
        with pytest.raises(RunFolderError, match=r"net\.keras .*damaged"):
            export.export(run, older, tmp_path / "best.keras", Progress(), Recording())
        assert not (tmp_path / "best.keras").exists()


def test_any_other_is_trained_again_with_its_own_configuration(run, tmp_path):
    trial = min(run.trials, key=lambda trial: trial.value)
    used = Recording()
    out = tmp_path / "deeper" / "worst.keras"
    assert export.export(run, trial, out, Progress(), used) == trial.value
    assert json.loads(zipfile.Path(out, "config.json").read_text()) == dict(trial.params)
    (job,) = (job for job in used.jobs if isinstance(job, TrialJob))
    assert (job.values, job.seed, job.whole) == (dict(trial.params), 0, True)
    assert job.manifest == str(run.path / "split.json")
    assert not job.score  # the test pictures are left alone


def test_a_model_that_cannot_be_saved_is_an_error_with_the_reason(run, tmp_path):
    class Full(FakePool):
        def _save(self, path, values):
            raise OSError("No space left on device")

    trial = min(run.trials, key=lambda trial: trial.value)
    with pytest.raises(WorkerError, match=f"the model of {trial.name} could not be saved: No space left on device"):
        export.export(run, trial, tmp_path / "worst.keras", Progress(), Full(build, score))


def test_no_file_is_overwritten(run, tmp_path):
    (tmp_path / "there.keras").write_text("precious")
    for name, says in (("there.keras", "already exists"), ("model.h5", "must end in .keras")):
        with pytest.raises(ConfigError, match=says):
            export.export(run, export.find(run, "net"), tmp_path / name, Progress(), Recording())
    assert (tmp_path / "there.keras").read_text() == "precious"


def test_a_baseline_has_no_model_to_export_and_is_not_trained_for_it(run, tmp_path):
    pool = Recording()
    baseline = replace(run, families=tuple(replace(family, learns=False) for family in run.families))
    with pytest.raises(ConfigError, match="net: is a baseline, which does not learn from pictures"):
        export.export(baseline, export.find(run, "net"), tmp_path / "net.keras", Progress(), pool)
    assert pool.jobs == []


def test_a_model_of_another_trial_is_refused_and_trained_again(run, tmp_path):
    """As a driver leaves it that is killed between a trial's record and its model."""
    said: list[str] = []

    class Listening(Progress):
        def warning(self, text):
            said.append(text)

    kept = run.path / "models" / "net.keras"
    kept.write_text("the model of an earlier best")
    trial, out = export.find(run, "net"), tmp_path / "net.keras"
    assert export.export(run, trial, out, Listening(), Recording()) == trial.value
    assert json.loads(zipfile.Path(out, "config.json").read_text()) == dict(trial.params)
    assert said == [f"{kept}: is not the model of {trial.name}, by its SHA-256; it is not used"]
