"""Regressions that are planted in real runs of a tiny network: each has its own exit status and message."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from bench import RunConfig, runner, workers
from bench.cli import parser
from bench.records import Run

pytestmark = pytest.mark.slow

NETWORK = """\
import keras
from keras import layers


def build(hp, task):
    filters = hp.Int("filters", 2, 64)
    x = inputs = keras.Input((16, 16, 3))
    x = layers.Rescaling(1 / 127.5, offset=-1)(x)
    x = layers.Conv2D(filters, 4, strides=hp.Choice("strides", [4, -1]))(x)
    hp.Float("learning_rate", 1e-7, 1e-1)
    return keras.Model(inputs, task.classify(layers.Flatten()(x)))


KNOWN_CONFIGURATIONS = [{"filters": 8, "learning_rate": 2e-3, "strides": 4}]
"""

ANY_SPEED = "[check]\nmax_slowdown = 100.0\n"
"""A policy for tests of accuracy: the machine may be busy for one of two trainings."""


def pictures(folder: Path, count: int) -> Path:
    """Noise of 16 x 16 pixels, with a faint pattern for either class: nobody gets all of them right."""
    draw = np.random.default_rng(0)
    patterns = draw.normal(0, 14, (2, 16, 16, 3))
    for number in range(count):
        label = number % 2
        pixels = 128 + patterns[label] + draw.normal(0, 80, (16, 16, 3))
        path = folder / "ab"[label] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)).save(path)
    return folder


Train = Callable[..., Run]


@pytest.fixture(scope="module")
def train(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Train]:
    """Runs the network's known configuration, after changes to its file; 1,000 test pictures, two seeds."""
    folder = tmp_path_factory.mktemp("planted")
    photos = pictures(folder / "photos", 1600)
    config = RunConfig(
        data=str(photos),
        split=(0.3, 0.075, 0.625),
        only_known=True,
        epochs=8,
        patience=8,
        repeats=1,
        input_sizes=(16,),
    )

    with contextlib.closing(workers.start(config)) as pool, pytest.MonkeyPatch.context() as patch:
        patch.setattr(pool, "close", lambda: None)  # several runs use it, so that TensorFlow is imported once

        def run(name: str, *changes: tuple[str, str], **more: Any) -> Run:
            text = NETWORK
            for before, after in changes:
                assert before in text
                text = text.replace(before, after)
            space = folder / name / "network.py"
            space.parent.mkdir()
            space.write_text(text, encoding="utf-8")
            own = {"spaces": (str(space),), "out": str(folder / name / "run"), **more}
            return runner.run(RunConfig(**{**vars(config), **own}), pool=pool)

        yield run


@pytest.fixture(scope="module")
def baseline(train: Train) -> Path:
    run = train("before")
    assert 0.8 < (run.ranking()[0].test_accuracy or 0) < 1
    path = run.path.parent / "baseline.json"
    assert parser.main(["baseline", str(run.path), "--out", str(path)]) == 0
    return path


@pytest.fixture
def check(baseline: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str]]:
    """Checks a run; gives the exit status and all that is said, on one line."""

    def checked(run: Run | Path, *options: str) -> tuple[int, str]:
        capsys.readouterr()
        path = run if isinstance(run, Path) else run.path
        status = parser.main(["check", str(path), "--baseline", str(baseline), *options])
        told = capsys.readouterr()
        return status, " ".join((told.out + told.err).split())

    return checked


def test_an_unchanged_family_passes_five_times_out_of_five(
    train: Train, baseline: Path, check: Callable[..., tuple[int, str]]
) -> None:
    """How often chance fails a family is in `test_simulations`."""
    split = str(baseline.parent / "run" / "split.json")
    same = train("same")
    assert check(same)[0] == 0
    for seed in range(10, 50, 10):  # other seeds: other weights to begin with, another order of the pictures
        run = train(f"seed-{seed}", seed=seed, split_file=split, split=RunConfig.split)
        status, told = check(run)
        assert status == 0, told
        assert run.split.sha256 == same.split.sha256


def test_a_spoiled_learning_rate_is_a_regression(train: Train, check: Callable[..., tuple[int, str]]) -> None:
    status, told = check(train("spoiled", ('"learning_rate": 2e-3', '"learning_rate": 1e-7')))
    assert status == 1
    assert "FAIL" in told
    assert "network" in told
    assert "accuracy" in told


def test_a_family_that_fails_is_a_regression(train: Train, check: Callable[..., tuple[int, str]]) -> None:
    run = train("failing", ('"strides": 4}', '"strides": -1}'))
    assert run.failed_families() == ["network"]
    status, told = check(run)
    assert status == 1
    assert "no complete trial out of 1" in told
    assert "ValueError" in told


def test_a_family_that_is_missing_is_a_regression(train: Train, check: Callable[..., tuple[int, str]]) -> None:
    status, told = check(train("missing", spaces=("dummy",)))
    assert status == 1
    assert "network" in told
    assert "missing" in told


def test_more_parameters_warn_and_a_cap_makes_that_a_failure(
    train: Train, check: Callable[..., tuple[int, str]], tmp_path: Path
) -> None:
    grown = train("grown", ('"filters": 8', '"filters": 10'))
    cap = tmp_path / "bench.toml"
    cap.write_text(ANY_SPEED)
    status, told = check(grown, "--policy", str(cap))
    assert status == 0
    assert "parameters" in told
    assert "warn" in told.lower()
    cap.write_text("[check.families.network]\nmax_parameters = 500\n")
    status, told = check(grown, "--policy", str(cap))
    assert status == 1
    assert "500" in told


@pytest.mark.parametrize(("change", "what"), [({"limit": 1500}, "test pictures"), ({"epochs": 5}, "epochs")])
def test_other_pictures_or_settings_do_not_compare(
    train: Train, check: Callable[..., tuple[int, str]], change: dict[str, Any], what: str
) -> None:
    status, told = check(train(f"other-{what.split()[0]}", **change))
    assert status == 3
    assert what in told


def test_a_run_that_was_killed_is_incomplete(baseline: Path, check: Callable[..., tuple[int, str]]) -> None:
    run = baseline.parent / "run"
    killed = run.with_name("killed")
    killed.mkdir()
    for name in ("run.json", "split.json", "trials.sqlite3", "predictions"):
        (killed / name).symlink_to(run / name)
    data = json.loads((run / "run.json").read_text())
    (killed / "run.json").unlink()
    (killed / "run.json").write_text(json.dumps({**data, "status": "running"}))
    status, told = check(killed)
    assert status == 4
    assert "stopped (killed)" in told
    assert parser.main(["baseline", str(killed), "--out", str(killed / "baseline.json")]) == 4


def test_a_calibrated_baseline_lets_a_single_seed_fail(
    train: Train, baseline: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = train("one-seed", repeats=0)
    spoiled = train("one-seed-spoiled", ('"learning_rate": 2e-3', '"learning_rate": 1e-7'), repeats=0)
    path, policy = tmp_path / "baseline.json", tmp_path / "bench.toml"
    policy.write_text(ANY_SPEED)

    def judged() -> int:
        return parser.main(["check", str(spoiled.path), "--baseline", str(path), "--policy", str(policy)])

    assert parser.main(["baseline", str(before.path), "--out", str(path)]) == 0
    assert "a check can only warn" in capsys.readouterr().out
    assert judged() == 0
    assert parser.main(["baseline", str(before.path), "--seeds", "5", "--out", str(path)]) == 0
    assert "5 seeds" in capsys.readouterr().out
    assert judged() == 1
