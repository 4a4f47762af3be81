"""What the chosen models say of the test pictures: class probabilities, as a run folder keeps them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from bench.records import Run


@dataclass(frozen=True)
class Predictions:
    """Of one model on the test pictures.

    Attributes:
        sha256: Of each picture's content, hexadecimal, shape (n,).
        labels: The right classes, int64, shape (n,).
        probabilities: float32, shape (n, classes).
    """

    sha256: NDArray[np.str_]
    labels: NDArray[np.int64]
    probabilities: NDArray[np.float32]

    @property
    def predicted(self) -> NDArray[np.int64]:
        """The most probable classes, shape (n,)."""
        most: NDArray[np.int64] = self.probabilities.argmax(axis=1)
        return most

    @property
    def right(self) -> NDArray[np.bool_]:
        """Which pictures are classified rightly, shape (n,)."""
        correct: NDArray[np.bool_] = self.predicted == self.labels
        return correct


def path(run: Path, family: str) -> Path:
    """Where a run folder keeps a family's."""
    return run / "predictions" / f"{family}.npz"


def read(file: Path) -> Predictions:
    """Reads one file.

    Raises:
        OSError: It is not there or cannot be read.
        ValueError: It is damaged.
    """
    try:
        with np.load(file, allow_pickle=False) as arrays:
            found = Predictions(arrays["sha256"], arrays["labels"], arrays["probabilities"])
    except (KeyError, BadZipFile, EOFError) as error:
        raise ValueError(f"{file}: no predictions ({type(error).__name__}: {error})") from None
    if not len(found.sha256) == len(found.labels) == len(found.probabilities) or found.probabilities.ndim != 2:
        raise ValueError(f"{file}: {len(found.labels)} labels, but probabilities {found.probabilities.shape}")
    return found


def of_run(run: Run) -> dict[str, Predictions]:
    """Those of the chosen trials, by family, best first; all of the same pictures in the same order.

    A family whose file is missing or damaged, or has other pictures than the first, is left out.
    """
    found: dict[str, Predictions] = {}
    for trial in run.ranking():
        if trial.test is None:
            continue
        try:
            own = read(path(run.path, trial.family))
        except (OSError, ValueError):
            continue
        first = next(iter(found.values()), own)
        if np.array_equal(own.sha256, first.sha256) and np.array_equal(own.labels, first.labels):
            found[trial.family] = own
    return found
