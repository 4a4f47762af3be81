"""The saved runs whose pages are opened in a browser: a golden one, real photographs, hostile names, several seeds."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import fields, is_dataclass, replace
from enum import Enum
from pathlib import Path
from typing import Any

import pytest

import bench
from bench import Budget, RunConfig
from bench.records import FamilyInfo, LeftOut, LeftOutKind, Run, Trial, Weights
from bench.runs import predictions
from bench.runs.store import SCHEMA_VERSION
from bench.runs.thumbnails import Thumbnail

from .conftest import HOSTILE, TPE
from .generated import Size, digest, generate
from .saved import save, save_predictions, save_thumbnails

GOLDEN = Path(__file__).parent / "runs" / f"v{SCHEMA_VERSION}"

SHOWN = ("photographs" if os.environ.get("BENCH_ASSETS") else "engines", "hostile")
"""Real photographs, or two engines on drawn pictures where there are none; and a run whose every text is hostile."""


def save_shown(name: str, folder: Path, fixture: Callable[[str], Any]) -> None:
    """Saves one of `SHOWN`, or copies a golden run.

    Args:
        name: Which; also "seeds", a run with three seeds of each family, of which one has lost the others' predictions.
        folder: New.
        fixture: Gives pytest's fixtures `assets` and `hostile_run`.
    """
    if name == "photographs":
        photographs(fixture("assets"), folder)
    elif name == "seeds":
        seeds(folder)
    elif name == "hostile":
        hostile(fixture("hostile_run"), folder)
    else:
        shutil.copytree(GOLDEN / name, folder)


def photographs(assets: Path, folder: Path) -> None:
    """A search on a few real photographs, with a frozen MobileNetV2 that has learned from a million others."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KERAS_HOME", str(assets / "keras"))
        bench.run(
            RunConfig(
                data=str(assets / "photos"), limit=60, spaces=("dummy", "mobilenet_v2"), budget=Budget(2), epochs=2,
                input_sizes=(96,), missing_weights="error", out=str(folder),
            )
        )  # fmt: skip


def hostile(run: Run, folder: Path) -> None:
    """Saves the hostile run, as far as it can be saved, with a second family, predictions and pictures of that kind.

    The engine becomes one that there is, and what a file or a database would refuse is left out of the names.
    """
    (study,) = run.studies
    name = HOSTILE.replace("/", "").replace("\ud800", "")
    names = (f"={name}", f"{name}2")
    run = texts(run, {study.engine: TPE, study.family: names[0], run.families[1].name: names[1]})
    (study,), (family, skipped) = run.studies, run.families
    second = texts(study, {names[0]: names[1]})
    classes = (run.split.classes[0], "dog")
    counts = {"train": dict.fromkeys(classes, 30), "validation": dict.fromkeys(classes, 10)}
    split = replace(run.split, classes=classes, counts=counts | {"test": dict.fromkeys(classes, 50)})
    alike = ((f"train/{HOSTILE}.jpg", f"test/{HOSTILE}.jpg"),)
    quarantined = (LeftOut(f"train/{HOSTILE}.png", LeftOutKind.DAMAGED, HOSTILE),)
    split = texts(replace(split, alike=alike, contradicting=alike, quarantined=quarantined), {})
    families = (family, replace(skipped, skipped=""))
    config = replace(run.config, storage="")
    save(replace(run, studies=(study, second), families=families, split=split, config=config), folder)
    pictures = [digest(f"test {number}") for number in range(100)]
    for wrong, name in ((10, names[0]), (14, names[1])):
        right = [number >= wrong for number in range(100)]
        probabilities = [[0.9, 0.1] if (number % 2 == 0) == good else [0.2, 0.8] for number, good in enumerate(right)]
        save_predictions(folder, name, pictures, [number % 2 for number in range(100)], probabilities)
    shown = [Thumbnail(each, f"test/{number}{HOSTILE}.jpg", number % 2, "test") for number, each in enumerate(pictures)]
    save_thumbnails(folder, shown[:20])


def seeds(folder: Path) -> None:
    """Saves a made-up run of four families with three seeds each; in pairs with the second one, one of them counts."""
    beside = folder.with_name("made")
    run = generate(beside, Size(trials=40, families=4, engines=2, epochs=4, pictures=200, classes=3, seeds=3))
    save(run, folder)
    for number in (1, 2):
        predictions.path(beside, run.ranking()[1].family, number).unlink()
    shutil.copytree(beside, folder, dirs_exist_ok=True)


def texts(value: Any, renamed: dict[str, str]) -> Any:
    """A record that can be saved: some texts replaced, no lone surrogates, which no database takes, known weights."""
    if isinstance(value, Enum):
        return value
    if isinstance(value, str):
        return renamed.get(value, value).replace("\ud800", "")
    if is_dataclass(value) and not isinstance(value, type):
        values = {each.name: texts(getattr(value, each.name), renamed) for each in fields(value)}
        return replace(value, **values | ({"weights": Weights.NONE} if isinstance(value, Trial | FamilyInfo) else {}))
    if isinstance(value, dict):
        return {texts(key, renamed): texts(each, renamed) for key, each in value.items()}
    if isinstance(value, tuple | list):
        return type(value)(texts(each, renamed) for each in value)
    return value
