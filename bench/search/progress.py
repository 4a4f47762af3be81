"""Events of a run; `cli/console.py` shows them in the terminal."""

from __future__ import annotations

from pathlib import Path

from bench.config import RunConfig
from bench.records import FamilyInfo, Run, SearchPlan, SplitInfo, Trial


class Progress:
    """Receives the events of a run, in the driver's thread. The methods do nothing; override those of interest."""

    def stage(self, name: str, done: int, total: int) -> None:
        """Report work outside the search: `done` of `total` (0 if unknown) in the stage `name`."""

    def data(self, split: SplitInfo, config: RunConfig) -> None:
        """Report that the pictures are audited and split."""

    def warning(self, text: str) -> None:
        """Report a warning."""

    def begin(self, families: list[FamilyInfo], folder: Path, plan: SearchPlan) -> None:
        """Report the start of the search: families, run folder, and the budget over all engines."""

    def screened(self, run: Run) -> None:
        """Report that the backbones are screened: `run.screenings`."""

    def trial_began(self, order: int, family: str, engine: str) -> None:
        """Report that a trial starts to train; `order` counts from 1 over the whole run."""

    def epoch(self, order: int, epoch: int, epochs: int, value: float, fold: int, folds: int) -> None:
        """Report an epoch of a trial and its metric, in `fold` (from 1) of `folds`; without folds in fold 1 of 0.

        `epochs` is the limit per phase of training, while `epoch` counts through both phases, so it may be larger.
        """

    def trial_ended(self, trial: Trial, best: Trial | None) -> None:
        """Report a recorded trial; `best` is the best trial of the run so far."""

    def scoring(self, family: str, done: int, total: int) -> None:
        """Report that the chosen trial of a family is about to be scored; with folds, it is first trained on all."""

    def end(self, run: Run, report: Path) -> None:
        """Report that the run has ended and its report is written."""


SILENT = Progress()
"""Ignores all events."""
