"""A working folder for drivers, and a run that nothing happened to."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from bench.records import Run
from bench.runs import store

from ..conftest import TINY
from .driver import TRIALS, Driver


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A working folder with two families, and the cache that all runs share."""
    path = tmp_path_factory.mktemp("kills")
    (path / "spaces").mkdir()
    for name in "ab":
        (path / "spaces" / f"{name}.py").write_text(TINY, encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def whole(folder) -> tuple[Run, float]:
    """An uninterrupted run, and the seconds that it took."""
    began = time.monotonic()
    assert Driver(folder, "run", "whole", str(TRIALS)).end() == 0
    return store.load(folder / "whole"), time.monotonic() - began
