"""An AutoML model-selection benchmark for images: it finds the architecture and training that are worth their cost.

import bench
run = bench.run(data="photos/", budget=20)
print(run.leaderboard())
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.config import Budget, RunConfig
from bench.errors import BenchError, ConfigError

if TYPE_CHECKING:
    from bench.records import Run

__all__ = [
    "BenchError",
    "Budget",
    "Run",
    "RunConfig",
    "__version__",
    "by_class",
    "leaderboard",
    "load",
    "resume",
    "run",
]
__version__ = "0.1.0"

logging.getLogger(__name__).addHandler(logging.NullHandler())  # applications decide what is shown


def run(config: RunConfig | str | Path | None = None, *, progress: bool | None = None, **settings: Any) -> Run:
    """Search, score, write a run folder with its report, and return the run.

        bench.run("photos/")
        bench.run(data="photos/", budget="30m", spaces="cnn,mobilenet_v2")
        bench.run(bench.RunConfig(data="photos/"))

    Args:
        config: The settings, or the data alone; None: the defaults.
        progress: True to show progress on standard error, in a notebook below the cell; None: in a terminal and in a
            notebook only.
        settings: Fields of `RunConfig`, instead of one.

    Raises:
        UsageError: The configuration, the data or a search space is wrong.
        Interrupted: Ctrl-C, SIGTERM or SIGHUP; the partial run is in its folder.
    """
    if isinstance(config, RunConfig) and settings:
        raise ConfigError(f"run: takes a RunConfig or settings, not both; add {', '.join(settings)} to the RunConfig")
    if not isinstance(config, RunConfig):
        data: dict[str, Any] = {} if config is None else {"data": config}
        config = RunConfig(**data, **settings)
    from bench import runner
    from bench.cli.console import progress_in_python

    with progress_in_python(progress) as shown:
        return runner.run(config, shown)


def resume(
    path: str | Path,
    budget: Budget | int | str | None = None,
    *,
    accept_changes: bool = False,
    progress: bool | None = None,
) -> Run:
    """Continue a run that was killed, interrupted, or has used its budget, and return it.

    Arguments and errors are those of `runner.resume`, and `progress` is that of `run`.
    """
    from bench import runner
    from bench.cli.console import progress_in_python

    total = budget if budget is None or isinstance(budget, Budget) else Budget.parse(str(budget))
    with progress_in_python(progress) as shown:
        return runner.resume(Path(path), total, shown, accept_changes)


def leaderboard(run: Run) -> list[dict[str, Any]]:
    """The leaderboard of a run as rows of plain data, best first, with the columns of `Run.leaderboard()`."""
    from bench.report import ranked_rows

    return ranked_rows(run)


def by_class(run: Run) -> list[dict[str, Any]]:
    """Recall, precision and F1 of every class by every scored family, as rows with the columns of `Run.by_class()`."""
    from bench.runs.by_class import rows

    return rows(run)


def load(path: str | Path, storage: str = "") -> Run:
    """Read a run folder; `storage` is the URL of its storage, if the run had a shared one.

    Raises:
        RunFolderError: It is not a run folder, is damaged, or of a newer version.
    """
    from bench.runs import store

    return store.load(Path(path), storage)


def __getattr__(name: str) -> object:
    if name == "Run":
        from bench.records import Run

        return Run
    raise AttributeError(f"module 'bench' has no attribute {name!r}")
