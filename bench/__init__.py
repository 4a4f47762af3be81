"""An AutoML model-selection benchmark for images: it finds the architecture and training that are worth their cost.

import bench
run = bench.run(bench.RunConfig(data="photos/", budget=bench.Budget(trials=20)))
print(run.leaderboard())
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING

from bench.config import Budget, RunConfig
from bench.errors import BenchError

if TYPE_CHECKING:
    from bench.records import Run

__all__ = ["BenchError", "Budget", "Run", "RunConfig", "__version__", "load", "run"]
__version__ = "0.1.0"

logging.getLogger(__name__).addHandler(logging.NullHandler())  # applications decide what is shown


def run(config: RunConfig | None = None) -> Run:
    """Search, score, write a run folder with its report, and return the run.

    Args:
        config: The settings; None: the defaults.

    Raises:
        UsageError: The configuration, the data or a search space is wrong.
        Interrupted: Ctrl-C or SIGTERM; the partial run is in its folder.
    """
    from bench import runner

    return runner.run(config or RunConfig())


def load(path: str | Path) -> Run:
    """Read a run folder.

    Raises:
        RunFolderError: It is not a run folder, is damaged, or of a newer version.
    """
    from bench.runs import store

    return store.load(Path(path))


def __getattr__(name: str) -> object:
    if name == "Run":
        from bench.records import Run

        return Run
    raise AttributeError(f"module 'bench' has no attribute {name!r}")
