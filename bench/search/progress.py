"""Events of a run. The base class is silent; the command line draws (`cli/console.py`)."""

from __future__ import annotations

from pathlib import Path

from bench.config import RunConfig
from bench.records import FamilyInfo, Run, SplitInfo, Trial


class Progress:
    """Told of everything that happens in a run, from the driver's thread. Override what is of interest."""

    def stage(self, what: str, done: int, total: int) -> None:
        """Work before the search: `done` of `total` (0 where that is not known) of `what`."""

    def data(self, split: SplitInfo, config: RunConfig) -> None:
        """The pictures are audited and split."""

    def warning(self, text: str) -> None:
        """Something that the user should know now."""

    def begin(self, families: list[FamilyInfo], folder: Path, trials: int | None, seconds: float | None) -> None:
        """The search begins: its families, the run's folder, and how much is to be done over all engines."""

    def trial_began(self, order: int, family: str, engine: str) -> None:
        """A trial's model is built and it starts to train; `order` counts from 1 over the whole run."""

    def epoch(self, order: int, epoch: int, epochs: int, val_accuracy: float, fold: int, folds: int) -> None:
        """An epoch of a trial has ended, in `fold` of `folds` from 1; without folds in 1 of 0.

        `epochs` is the cap in each phase of the training, and `epoch` counts through both: it may be the greater one.
        """

    def trial_ended(self, trial: Trial, best: Trial | None) -> None:
        """A trial is recorded; `best` is the best one of the run so far."""

    def scoring(self, family: str, done: int, total: int) -> None:
        """The chosen trial of a family is about to be scored on the test pictures; with folds, first trained on all."""

    def end(self, run: Run, report: Path) -> None:
        """The run is over and its report written."""


SILENT = Progress()
"""Shows nothing."""
