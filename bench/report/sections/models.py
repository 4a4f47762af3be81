"""The chosen models one by one: learning curves, confusion, calibration and mistakes."""

from __future__ import annotations

from dataclasses import dataclass

from markupsafe import Markup

from bench import text
from bench.records import Run, Trial
from bench.report.photos import PhotoAlbum
from bench.report.sections.confusion import Confusion, confusion
from bench.report.sections.learning_curves import PART_MARKS, LearningCurves, learning_curves
from bench.report.sections.mistakes import Mistakes, mistakes, mistakes_of_all
from bench.report.sections.reliability import BINS, Calibration, calibration, draw_reliability
from bench.report.styles import Mark, family_marks
from bench.runs import predictions
from bench.runs.predictions import Predictions

MOST_BYTES = 600_000
"""Limit on the section's thumbnails; with the samples of the data they stay below 0.8 MB."""

OPEN = 2
"""Limit on the families that all stand open; of more, only the best one does."""


@dataclass(frozen=True)
class TestedModel:
    """The results of a model on the test pictures; `reliability` is the chart of the calibration."""

    confusion: Confusion
    calibration: Calibration
    reliability: Markup
    mistakes: Mistakes


@dataclass(frozen=True)
class ChosenModel:
    """The chosen model of a family.

    Attributes:
        curves: None where nothing was trained by epochs.
        tested: None where there are no predictions, for the reason in `untested`.
    """

    trial: Trial
    label: str
    mark: Mark
    opened: bool
    curves: LearningCurves | None
    tested: TestedModel | None
    untested: str


@dataclass(frozen=True)
class Models:
    """The section.

    Attributes:
        models: Best first.
        shared: Mistakes of all models; None where fewer than two have predictions.
        withheld: Number of thumbnails that the page has no room for.
    """

    models: tuple[ChosenModel, ...]
    shared: Mistakes | None
    has_thumbnails: bool
    withheld: int

    bins = BINS
    looks = PART_MARKS


def section(run: Run) -> Models:
    """The chosen models of a run."""
    album, looks, ranking = PhotoAlbum(run, MOST_BYTES), family_marks(run), run.ranking()
    suitable = {
        family: predicted for family, predicted in predictions.of_run(run).items() if _is_of_classes(predicted, run)
    }
    shared = mistakes_of_all(suitable, run.split.classes, album)  # the first to take of the page's room
    models = []
    for place, trial in enumerate(ranking):
        label, mark, predicted = text.label(trial), looks[trial.family], suitable.get(trial.family)
        models.append(
            ChosenModel(
                trial=trial,
                label=label,
                mark=mark,
                opened=place == 0 or len(ranking) <= OPEN,
                curves=learning_curves(trial, label),
                tested=_tested(predicted, run, album, label, mark) if predicted else None,
                untested="" if predicted else _why_untested(trial, run),
            )
        )
    return Models(tuple(models), shared, bool(album.thumbnails), album.withheld)


def _is_of_classes(predicted: Predictions, run: Run) -> bool:
    """True if predictions can be of this run's classes; a file that was put there by hand need not be."""
    classes = len(run.split.classes)
    labels = predicted.labels
    return (
        predicted.probabilities.shape[1] == classes and len(labels) > 0 and 0 <= labels.min() <= labels.max() < classes
    )


def _tested(predicted: Predictions, run: Run, album: PhotoAlbum, label: str, mark: Mark) -> TestedModel:
    classes, calibrated = run.split.classes, calibration(predicted)
    return TestedModel(
        confusion=confusion(predicted, classes),
        calibration=calibrated,
        reliability=draw_reliability(calibrated, label, mark),
        mistakes=mistakes(predicted, classes, album),
    )


def _why_untested(trial: Trial, run: Run) -> str:
    if trial.test is not None:
        return "Its predictions on the test pictures are not in the run folder, or cannot be read."
    if run.status == "running":
        return "It is not scored on the test pictures yet: that is done once the search is over."
    return "It was not scored on the test pictures."
