"""The files that a run writes besides its records: the page, the leaderboard and the results."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from pathlib import Path

from bench import report
from bench.records import Run, RunStatus
from bench.report import index
from bench.runs import doubted, optuna_storage, results
from bench.runs.store import RunFolder

_logger = logging.getLogger(__name__)

RENDERING_SHARE = 0.05
"""Maximum share of a run's time that is spent on drawing its page while it runs."""


class LivePage:
    """Writes a run's page, leaderboard and results. An error there becomes a warning and never stops the run.

    Args:
        folder: The run's folder.
        warn: Called with the first error of each kind; its traceback is logged.

    Attributes:
        last_s: Seconds for writing the page the last time.
    """

    def __init__(self, folder: RunFolder, warn: Callable[[str], None]) -> None:
        self._folder, self._warn = folder, warn
        self._spent_s = 0.0
        self.last_s = 0.0
        self._faults: set[str] = set()
        self._listed: RunStatus | None = None

    @property
    def path(self) -> Path:
        """The page's file."""
        return self._folder.path / "report.html"

    def refresh(self) -> None:
        """Draw the page of a running run, unless drawing has taken more than `RENDERING_SHARE` of its time.

        First the ended trials are moved out of the database's write-ahead log.
        """
        storage = self._folder.storage
        self._try(lambda: optuna_storage.checkpoint(storage), f"{self._folder.path / optuna_storage.FILE} is behind")
        if self._spent_s <= RENDERING_SHARE * self._folder.elapsed_s():
            self.write(RunStatus.RUNNING)

    def write(self, status: RunStatus) -> Run:
        """Write `run.json`, the results, the page and the leaderboard; return the run as it is now."""
        begun_s = time.monotonic()
        folder = self._folder.path
        self._try(lambda: self._folder.snapshot(status), f"{folder / 'run.json'} could not be written")
        run = self._folder.run
        if status != RunStatus.RUNNING:
            self._try(lambda: self._write_results(run), f"{folder / results.FILE} could not be written")
            self._try(
                lambda: doubted.write(run, folder / doubted.FILE), f"{folder / doubted.FILE} could not be written"
            )
        self._try(
            lambda: self._draw(run, status),
            f"the page could not be drawn, `python -m bench report {folder}` draws it again",
        )
        self.last_s = time.monotonic() - begun_s
        self._spent_s += self.last_s
        return run

    def _draw(self, run: Run, status: RunStatus) -> None:
        report.render(run, self.path)
        report.write_csv(run, self._folder.path / "leaderboard.csv")
        if status != self._listed:  # once at the start and once at the end
            index.update(self._folder.path)
            self._listed = status

    def _write_results(self, run: Run) -> None:
        path = self._folder.path / results.FILE
        path.unlink(missing_ok=True)  # if writing fails, no older results must remain
        results.write(path, results.of_run(run))

    def _try(self, write: Callable[[], object], fault: str) -> None:
        try:
            write()
        except Exception as error:
            if fault not in self._faults:
                self._warn(f"{fault} ({type(error).__name__}: {error}); the records are safe")
                _logger.exception(fault)
            self._faults.add(fault)
