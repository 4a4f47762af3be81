"""The chosen models one by one: how they learnt, what they take for what, how sure they are, what they get wrong."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from markupsafe import Markup

from bench import text
from bench.records import Run, Trial
from bench.report.photos import PhotoAlbum
from bench.report.sections.confusion import Confusion, confusion
from bench.report.sections.learning_curves import LOOKS, LearningCurves, learning_curves
from bench.report.sections.mistakes import Mistakes, SharedMistakes, mistakes, mistakes_of_all
from bench.report.sections.reliability import BINS, Calibration, calibration, draw_reliability
from bench.report.styles import Mark, family_marks
from bench.runs import predictions
from bench.runs.predictions import Predictions

MOST_BYTES = 600_000
"""The section's thumbnails take at most so much of the page; with the samples of the data they stay below 0.8 MB."""

OPEN = 2
"""So many families at most stand open; of more, the best one."""


@dataclass(frozen=True)
class Tested:
    """What the predictions of a model on the test pictures show."""

    confusion: Confusion
    calibration: Calibration
    reliability: Markup
    mistakes: Mistakes


@dataclass(frozen=True)
class Model:
    """The chosen model of a family.

    Attributes:
        trial: The chosen trial.
        label: The family's name, with the label that its weights demand.
        mark: How the family is drawn.
        opened: Whether it stands open.
        curves: How it learnt; None where nothing was trained by epochs.
        tested: What its predictions show; None where there are none.
        untested: Why there are none, in a sentence; "" where there are.
    """

    trial: Trial
    label: str
    mark: Mark
    opened: bool
    curves: LearningCurves | None
    tested: Tested | None
    untested: str


@dataclass(frozen=True)
class Models:
    """The section.

    Attributes:
        models: The chosen model of every family that has one, best first.
        shared: What all of them get wrong; None where fewer than two have predictions.
        has_thumbnails: Whether the run has any.
        withheld: How many thumbnails are left out of the page, for it would have got too heavy.
        bins: Of the calibration.
        looks: How training and validation are drawn.
    """

    models: tuple[Model, ...]
    shared: SharedMistakes | None
    has_thumbnails: bool
    withheld: int
    bins: int
    looks: Mapping[str, Mark]


def section(run: Run) -> Models:
    """The chosen models of a run."""
    album = PhotoAlbum(run, MOST_BYTES)
    found = {family: each for family, each in predictions.of_run(run).items() if _suits(each, run)}
    shared = mistakes_of_all(found, run.split.classes, album)  # the first to take of what the page can carry
    ranking, looks = run.ranking(), family_marks(run)
    models = []
    for place, trial in enumerate(ranking):
        label = text.label(trial)
        tested = _tested(found[trial.family], run, album, label, looks[trial.family]) if trial.family in found else None
        models.append(
            Model(
                trial,
                label,
                looks[trial.family],
                place == 0 or len(ranking) <= OPEN,
                learning_curves(trial, label),
                tested,
                "" if tested else _why_untested(trial, run),
            )
        )
    return Models(tuple(models), shared, bool(album.thumbnails), album.withheld, BINS, LOOKS)


def _suits(found: Predictions, run: Run) -> bool:
    """Whether predictions can be of this run's classes; a file that was put there by hand need not."""
    classes = len(run.split.classes)
    labels = found.labels
    return found.probabilities.shape[1] == classes and len(labels) > 0 and 0 <= labels.min() <= labels.max() < classes


def _tested(found: Predictions, run: Run, album: PhotoAlbum, label: str, mark: Mark) -> Tested:
    classes, calibrated = run.split.classes, calibration(found)
    return Tested(
        confusion(found, classes),
        calibrated,
        draw_reliability(calibrated, label, mark),
        mistakes(found, classes, album),
    )


def _why_untested(trial: Trial, run: Run) -> str:
    if trial.test is not None:
        return "Its predictions on the test pictures are not in the run folder, or cannot be read."
    if run.status == "running":
        return "It is not scored on the test pictures yet: that is done once the search is over."
    return "It was not scored on the test pictures."
