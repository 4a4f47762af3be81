"""Makes the golden runs of the present schema version; those of older versions stay as they are.

Run in the repository's root, once for each new version: `python -m tests.report.golden`. They are real runs on drawn
pictures, small enough to be kept for good: no models and no pages, and a database without empty space.
"""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
import sys
import tempfile
from contextlib import chdir
from dataclasses import replace
from pathlib import Path

import bench
from bench import Budget, RunConfig, runner
from bench.config import USUAL_SPLIT
from bench.runs.store import SCHEMA_VERSION

from .saved import shrink

FOLDER = Path(__file__).parent / "runs" / f"v{SCHEMA_VERSION}"

BRITTLE = """\
\"\"\"Fails for one of its configurations.\"\"\"

import keras
from keras import layers


def build(hp, task):
    x = inputs = keras.Input((16, 16, 3))
    x = layers.Conv2D(4, 3, strides=hp.Choice("strides", [4, 2, -1]))(layers.Rescaling(1 / 255)(x))
    return keras.Model(inputs, task.classify(layers.GlobalAveragePooling2D()(x)))
"""

RUNS = {
    "engines": RunConfig(
        engines=("optuna:tpe", "keras-tuner:random"), spaces=("dummy", "cnn", "brittle.py"), budget=Budget(9),
        images=120, split=USUAL_SPLIT, epochs=8, patience=8, input_sizes=(32,),
    ),
    "folds": RunConfig(
        spaces=("dummy", "cnn"), budget=Budget(4), folds=3, repeats=2, images=60, split=USUAL_SPLIT, epochs=3,
        input_sizes=(32,),
    ),
}  # fmt: skip
"""By the name of their folder."""


def make(name: str, config: RunConfig, folder: Path) -> None:
    """Runs it and keeps of it what another version has to read."""
    (folder / "brittle.py").write_text(BRITTLE, encoding="utf-8")
    with chdir(folder):
        runner.run(replace(config, out=name), command=f"python -m bench run --out {name}")
    made = folder / name
    shutil.rmtree(made / "models")
    (made / "report.html").unlink()
    forget(made / "trials.sqlite3", [str(folder), str(Path(bench.__file__).parents[1]), sys.prefix, sys.base_prefix])
    shrink(made)
    shutil.copytree(made, FOLDER / name)


def forget(database: Path, places: list[str]) -> None:
    """Takes the folders of this machine out of the tracebacks."""
    with contextlib.closing(sqlite3.connect(database)) as connection, connection:
        for place in places:
            command = "UPDATE trial_user_attributes SET value_json = replace(value_json, ?, '')"
            connection.execute(command, (f"{place}/",))


if __name__ == "__main__":
    for name, config in RUNS.items():
        with tempfile.TemporaryDirectory() as folder:
            make(name, config, Path(folder))
