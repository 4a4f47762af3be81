"""What a run writes beside its records: its page, its table and its results; drawn from the records alone."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from bench import report
from bench.errors import BenchError
from bench.records import Run
from bench.report import index
from bench.runs import results
from bench.runs.store import RunFolder

RENDERING_SHARE = 0.05
"""At most so much of a run's time goes into drawing its page while it goes on."""


class Page:
    """Writes a run's page, table and results; a fault in that never costs a record."""

    def __init__(self, folder: RunFolder, warn: Callable[[str], None]) -> None:
        self._folder, self._warn = folder, warn
        self._spent_s, self._broken = 0.0, False
        self._listed = ""

    @property
    def path(self) -> Path:
        """The page."""
        return self._folder.path / "report.html"

    def refresh(self) -> None:
        """Draws the page of a run that goes on, unless that has taken too much of its time already."""
        if self._spent_s <= RENDERING_SHARE * self._folder.elapsed_s():
            self.write("running")

    def write(self, status: str) -> Run:
        """Reads the records, writes everything and gives the run."""
        begun = time.monotonic()
        run = self._folder.snapshot(status)
        if status != "running":
            self._write_results(run)
        try:
            report.render(run, self.path)
            report.write_csv(run, self._folder.path / "leaderboard.csv")
            if status != self._listed:  # where it begins and where it ends
                index.update(self._folder.path)
                self._listed = status
        except Exception as error:
            if not self._broken:
                self._warn(
                    f"the page could not be drawn ({type(error).__name__}: {error}); the results are safe, "
                    f"`python -m bench report {self._folder.path}` draws it again"
                )
            self._broken = True
        self._spent_s += time.monotonic() - begun
        return run

    def _write_results(self, run: Run) -> None:
        path = self._folder.path / results.FILE
        try:
            path.unlink(missing_ok=True)  # an old one must not stand for this run
            results.write(path, results.of_run(run))
        except (OSError, BenchError) as error:
            self._warn(f"{path} could not be written ({error}); the results are safe in the records")
