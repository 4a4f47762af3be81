"""The whole program as a user starts it: real processes, real training of tiny models, real signals."""

from __future__ import annotations

import csv
import json
import math
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from statistics import fmean, stdev

import numpy as np
import psutil
import pytest
from PIL import Image

import bench
from bench import Budget, RunConfig
from bench.config import USUAL_SPLIT
from bench.data import machine
from bench.records import Ending

pytestmark = pytest.mark.slow

ROOT = Path(bench.__file__).parents[1]

SLEEPY = """\
import time
from sklearn.dummy import DummyClassifier

def build(hp, task):
    x = hp.Float("x", 0.0, 1.0)
    if x > 0:  # not when the family is only looked at
        time.sleep({seconds})
    return DummyClassifier(strategy="prior")
"""


@pytest.fixture
def start(tmp_path):
    """Starts `python -m bench` in an empty folder."""

    def run(*arguments):
        environment = {
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "PYTHONUNBUFFERED": "1",
            "KERAS_HOME": str(tmp_path / "no"),
        }
        command = [sys.executable, "-m", "bench", *arguments]
        return subprocess.Popen(
            command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    return run


def finish(process):
    out, err = process.communicate(timeout=300)
    return process.returncode, out, err


@pytest.fixture
def search(start, space):
    """Searches dummy and a tiny family on 60 pictures into the folder `here`; gives what that printed."""

    def run(*options):
        status, out, err = finish(
            start("run", *options, "--budget", "3", "--images", "60", "--split", "0.6,0.2,0.2", "--epochs", "2",
                  "--spaces", f"dummy,{space('tiny')}", "--out", "here")
        )  # fmt: skip
        assert status == 0, err
        return out, err

    return run


def test_two_engines_search_a_family_file_and_both_are_on_the_page(search, tmp_path):
    out, err = search("--engine", "optuna:tpe,keras-tuner:bayesian")
    assert "trial   6 of 6" in err
    assert "WARNING" not in err + out
    run = bench.load(tmp_path / "here")
    assert run.status == "complete"
    assert {study.engine for study in run.studies} == {"optuna:tpe", "keras-tuner:bayesian"}
    assert all(run.best(name).test.n == run.split.n("test") for name in ("dummy", "tiny"))
    assert (tmp_path / "here" / "models" / "tiny.keras").is_file()
    assert {path.name for path in (tmp_path / "here" / "predictions").iterdir()} == {
        "dummy.npz", "dummy.validation.npz", "tiny.npz", "tiny.validation.npz",
    }  # fmt: skip
    data = re.search(
        r'<script[^>]*type="application/json"[^>]*>(.*?)</script>',
        (tmp_path / "here" / "report.html").read_text(),
        re.S,
    )
    assert "optuna:tpe" in data[1]
    assert "keras-tuner:bayesian" in data[1]
    assert run.shortcuts.n == run.split.n("test")
    assert "Shortcut in the data" not in (tmp_path / "here" / "report.html").read_text(encoding="utf-8")


def test_five_folds_from_the_command_line_to_the_page_and_the_kept_model(search, tmp_path):
    out, _ = search("--folds", "5")
    run = bench.load(tmp_path / "here")
    outside = run.split.n("train")
    assert (run.split.folds, run.split.n("validation"), outside + run.split.n("test")) == (5, 0, 60)
    for trial in run.trials:
        assert len(trial.folds) == 5
        assert trial.value == pytest.approx(fmean(fold.accuracy for fold in trial.folds))
        assert trial.validation.n == sum(fold.n for fold in trial.folds) == outside
        assert trial.spread == pytest.approx(stdev(fold.accuracy for fold in trial.folds))
        assert 5 * trial.cost.fit_time_s < trial.cost.total_time_s
    chosen = run.best("tiny")
    assert 1 <= chosen.best_epochs[0] <= 2
    assert chosen.test.n == run.split.n("test")
    assert [path.name for path in (tmp_path / "here" / "models").iterdir()] == ["tiny.keras"]
    assert {path.name for path in (tmp_path / "here" / "predictions").iterdir()} == {"dummy.npz", "tiny.npz"}
    _check_that_the_model_made_the_predictions(tmp_path / "here", "tiny")
    cell = f"{100 * chosen.value:.1f} % ± {100 * chosen.spread:.1f}"
    shown = (
        (tmp_path / "here" / "report.html").read_text(encoding="utf-8").replace("\u00a0", " ").replace("\u202f", " ")
    )
    for text in (shown, out):
        assert cell in text
        assert "mean of 5 folds ± standard deviation" in text
    assert f"{outside} in 5 folds · {run.split.n('test')} test" in shown
    rows = list(csv.DictReader((tmp_path / "here" / "leaderboard.csv").read_text(encoding="utf-8").splitlines()))
    assert {row["family"]: float(row["val_accuracy_std"]) for row in rows} == {
        name: run.best(name).spread for name in ("dummy", "tiny")
    }


WEIGHED = """\
import keras
from keras import layers


def build(hp, task):
    inputs = keras.Input((8, 8, 3))
    x = layers.GlobalAveragePooling2D()(layers.Rescaling(1 / 40, offset=-3)(inputs))
    hp.Choice("class_weight", ["none", "balanced"])
    hp.Fixed("learning_rate", 0.1)
    return keras.Model(inputs, task.classify(x))


KNOWN_CONFIGURATIONS = [{"class_weight": "none"}, {"class_weight": "balanced"}]
"""


def grey_pictures(folder, counts):
    """Pictures of one grey each; the classes overlap, so that a rare one is best never named, by accuracy."""
    random = np.random.default_rng(3)
    for name, (count, light) in counts.items():
        (folder / name).mkdir(parents=True)
        for number in range(count):
            grey = np.clip(random.normal(light, 22) + random.normal(0, 3, (8, 8, 1)), 0, 255)
            Image.fromarray(np.repeat(grey, 3, 2).astype(np.uint8)).save(folder / name / f"{number}.png")


def test_the_metric_decides_which_configuration_of_a_rare_class_is_shipped(start, space, tmp_path):
    """At 1:30 accuracy ships the training that never finds a crack, and says so; balanced accuracy the weighted one."""
    grey_pictures(tmp_path / "photos", {"free": (1800, 120), "crack": (60, 154)})
    common = ["run", "--data", "photos", "--spaces", f"{space('weighed', WEIGHED)},dummy", "--only-known"]
    runs, printed = {}, {}
    for metric in ("accuracy", "balanced_accuracy"):
        out = ["--input-sizes", "8", "--near-duplicates", "ignore", "--metric", metric, "--out", metric]
        status, printed[metric], errors = finish(start(*common, *out))
        assert status == 0, errors
        runs[metric] = bench.load(tmp_path / metric)
    chosen = {metric: run.best("weighed") for metric, run in runs.items()}
    assert {metric: trial.params["class_weight"] for metric, trial in chosen.items()} == {
        "accuracy": "none",
        "balanced_accuracy": "balanced",
    }
    recalls = {metric: run.by_class().set_index("class").loc[["crack"], "recall"].max() for metric, run in runs.items()}
    assert recalls["accuracy"] == 0 < 0.5 < recalls["balanced_accuracy"]
    assert "No model finds crack" in printed["accuracy"]
    assert "Ship weighed: balanced accuracy" in printed["balanced_accuracy"]
    assert "test balanced accuracy" in printed["accuracy"]  # beside it, since the classes are unbalanced
    assert "Ship weighed: balanced accuracy" in (tmp_path / "balanced_accuracy" / "report.html").read_text("utf-8")


@pytest.fixture
def cut_at_three(monkeypatch):
    """Runs end their trial at its third epoch, as if no time was left for a fourth."""
    from bench import runner
    from bench.search.stopping import Deadline

    class ThreeEpochs(Deadline):
        reports = 0

        def ending(self, next_s=0.0, later_s=0.0):
            self.reports += bool(next_s)
            return Ending.BUDGET if self.reports >= 3 else None

    monkeypatch.setattr(runner, "Deadline", ThreeEpochs)


def test_a_trial_that_is_cut_at_epoch_3_of_10_is_on_the_board_and_exported_as_it_was(
    start, space, tmp_path, monkeypatch, cut_at_three
):
    import keras
    import numpy as np

    monkeypatch.chdir(tmp_path)
    budget = Budget(None, 600.0)
    bench.run(
        RunConfig(
            images=60, split=USUAL_SPLIT, spaces=(space("tiny"),), epochs=10, patience=10, out="here", budget=budget
        )
    )
    run = bench.load(tmp_path / "here")
    (trial,) = run.trials
    assert (trial.state, trial.epochs, trial.note) == ("COMPLETE", 3, "stopped by the budget after epoch 3 of 10")
    best = max(trial.history, key=lambda epoch: (epoch.val_accuracy, -epoch.val_loss))
    assert trial.validation.log_loss == pytest.approx(best.val_loss, abs=1e-6)
    assert trial.test is not None
    _check_that_the_model_made_the_predictions(tmp_path / "here", "tiny")
    assert trial.note in (tmp_path / "here" / "report.html").read_text(encoding="utf-8")
    (row,) = csv.DictReader((tmp_path / "here" / "leaderboard.csv").read_text(encoding="utf-8").splitlines())
    assert (row["epochs"], row["ending"]) == ("3", "budget")

    status, out, err = finish(start("export", "here", "tiny", "--out", "kept.keras"))
    assert status == 0, err
    assert trial.note in out
    run.model("tiny").unlink()
    status, out, err = finish(start("export", "here", "tiny", "--out", "again.keras"))
    assert status == 0, err
    assert "as recorded" in out
    models = [keras.models.load_model(tmp_path / name).get_weights() for name in ("kept.keras", "again.keras")]
    assert all(np.allclose(*pair, atol=1e-6) for pair in zip(*models, strict=True))


def _check_that_the_model_made_the_predictions(folder, family):
    """The kept model, loaded alone, gives the probabilities that were recorded of the test pictures."""
    import keras
    import numpy as np

    from bench import data
    from bench.data.pictures import resized

    model = keras.saving.load_model(folder / "models" / f"{family}.keras", safe_mode=True)
    dataset = data.load(folder / "split.json")
    pictures = [resized(dataset.picture(item).pixels, model.input_shape[1]) for item in dataset.part("test")]
    with np.load(folder / "predictions" / f"{family}.npz", allow_pickle=False) as stored:
        predicted = model.predict(np.asarray(pictures, np.float32), verbose=0)[:, 0]
        np.testing.assert_allclose(predicted, stored["probabilities"][:, 1], atol=1e-4)


def test_a_script_without_a_main_guard_can_call_the_api_and_loads_no_tensorflow(tmp_path):
    script = tmp_path / "mine.py"
    script.write_text(
        "import sys\n"
        "import bench\n"
        "run = bench.run(bench.RunConfig(spaces=('dummy',), budget=bench.Budget(2), images=24, out='here'))\n"
        "heavy = [name for name in ('tensorflow', 'keras', 'keras_tuner') if name in sys.modules]\n"
        "print(list(run.leaderboard()['family']), heavy)\n"
    )
    done = subprocess.run(
        [sys.executable, str(script)],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert done.stdout == "['dummy'] []\n", done.stderr


def test_a_broken_family_stops_before_anything_is_made(start, space, tmp_path):
    text = "import keras\n\ndef build(hp, task):\n    hp.Int('a', 1, 2)\n    hp.Int('a', 1, 3)\n"
    path = space("broken", text)
    status, _, err = finish(start("run", "--spaces", path, "--images", "24", "--out", "here"))
    assert status == 2
    assert err.splitlines()[-1].startswith(f"error: {path}:5: ValueError: hp: 'a' is declared twice")
    assert not (tmp_path / "here").exists()


def test_missing_weights_are_an_error_where_they_are_wanted(start, tmp_path):
    begun = time.monotonic()
    process = start("run", "--spaces", "mobilenet_v2", "--missing-weights", "error", "--images", "24", "--out", "here")
    status, _, err = finish(process)
    if status == 0:
        pytest.skip("the weights could be downloaded: there is a network")
    assert status == 2
    assert "no imagenet weights for MobileNetV2" in err
    assert "--missing-weights" in err
    assert not (tmp_path / "here").exists()
    assert begun < time.monotonic()


def test_a_killed_trial_is_one_failure(start, space, tmp_path):
    process = start("run", "--spaces", space("sleepy", SLEEPY.format(seconds=2)), "--budget", "3", "--images", "24",
                    "--out", "here")  # fmt: skip
    _job_process(process, "watch it grow").kill()
    status, _, err = finish(process)
    assert status == 0, err
    states = [(trial.state, trial.failure and trial.failure.name) for trial in bench.load(tmp_path / "here").trials]
    assert sorted(states, key=str) == [("COMPLETE", None), ("COMPLETE", None), ("FAIL", "SIGKILL")]


def test_an_interrupted_run_leaves_its_report_and_no_process(start, space, tmp_path):
    process = start("run", "--spaces", space("sleepy", SLEEPY.format(seconds=60)), "--images", "24", "--out", "here")
    trial = _job_process(process, "watch it grow")
    family = [trial, *psutil.Process(process.pid).children(recursive=True)]
    process.send_signal(signal.SIGTERM)
    assert finish(process)[0] == 143
    assert psutil.wait_procs(family, timeout=20)[1] == []
    run = bench.load(tmp_path / "here")
    assert run.status == "partial"
    assert [trial.failure.name for trial in run.trials] == ["Interrupted"]
    assert (tmp_path / "here" / "report.html").is_file()
    assert json.loads((tmp_path / "here" / "run.json").read_text())["status"] == "partial"


def test_a_run_that_is_interrupted_before_its_search_leaves_nothing(start, space, tmp_path):
    path = space("slow", "import time\n\ndef build(hp, task):\n    time.sleep(60)\n")
    process = start("run", "--spaces", path, "--images", "24", "--out", "here")
    _job_process(process, "building every family once")
    family = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(signal.SIGINT)
    assert finish(process)[0] == 130
    assert not (tmp_path / "here").exists()
    assert psutil.wait_procs(family, timeout=20)[1] == []


def _job_process(process, message):
    """The process of a job, a child of the fork server, once the run has printed a message."""
    assert any(message in line for line in iter(process.stderr.readline, ""))
    driver = psutil.Process(process.pid)
    until = time.monotonic() + 60
    while time.monotonic() < until:
        for server in driver.children():
            for child in server.children():
                return child
    raise AssertionError("no trial began")


def test_the_driver_stays_small_over_many_trials(space, tmp_path, monkeypatch):
    """100 trials, each in a process of its own; the driver's memory after 100 is what it was after 40."""
    from bench import runner
    from bench.search.progress import Progress

    monkeypatch.chdir(tmp_path)
    driver, sizes = psutil.Process(), {}

    class Watching(Progress):
        def trial_ended(self, trial, best):
            sizes[trial.order] = driver.memory_info().rss / 1e6

    runner.run(
        RunConfig(
            spaces=(space("sleepy", SLEEPY.format(seconds=0)),),
            engines=("optuna:random",),
            budget=Budget(100),
            images=24,
        ),
        Watching(),
    )
    assert len(sizes) == 100
    assert sizes[100] < sizes[40] + 11
    alive = [each for each in driver.children(recursive=True) if "resource_tracker" not in " ".join(each.cmdline())]
    assert alive == []


def test_two_workers_do_the_same_search(space, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run = bench.run(
        RunConfig(spaces=(space("tiny"), "dummy"), budget=Budget(4), images=60, split=USUAL_SPLIT, epochs=1, workers=2)
    )
    assert [trial.state for trial in run.trials if trial.counted] == ["COMPLETE"] * 4
    assert {trial.cost.cores for trial in run.trials} == {math.ceil(machine.core_count() / 2)}


def test_real_photographs_and_real_weights(assets, start, tmp_path, monkeypatch):
    """MobileNetV2's frozen features tell cats from dogs, screening says so before; the dummy cannot."""
    monkeypatch.setenv("KERAS_HOME", str(assets / "keras"))
    monkeypatch.setattr("bench.search.screening.WORTHWHILE", 0.0)  # screen, although a trial takes hardly longer
    run = bench.run(
        RunConfig(
            data=str(assets / "photos"), limit=300, spaces=("dummy", "mobilenet_v2"), budget=Budget(2, 600.0),
            missing_weights="error", input_sizes=(128,), epochs=8, out=str(tmp_path / "here"),
        )
    )  # fmt: skip
    best = run.best("mobilenet_v2")
    assert best.weights == "imagenet"
    assert best.test.accuracy > 0.85
    assert 0.3 < run.best("dummy").test.accuracy < 0.7
    screening = run.screening("mobilenet_v2")
    assert (screening.backbone, screening.input_size, screening.n) == ("MobileNetV2", 128, 200)
    assert 0.85 < screening.low < screening.accuracy
    assert best.prefixes[0].cached > 0.5  # the trial found the sample's features
