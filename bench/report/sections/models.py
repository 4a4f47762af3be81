"""The chosen models: learning curves, confusion, calibration and misclassified pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from bench import text
from bench.records import Run, Trial
from bench.report.photos import Photo, PhotoAlbum
from bench.report.sections.confusion import Confusion, confusion
from bench.report.sections.learning_curves import PART_MARKS, LearningCurves, learning_curves
from bench.report.sections.reliability import BINS, Calibration, calibration, draw_reliability
from bench.report.styles import family_marks
from bench.runs import predictions
from bench.runs.by_class import ClassScores, by_class
from bench.runs.predictions import Predictions
from bench.runs.standings import recommended
from bench.runs.thumbnails import MISTAKES

MAX_BYTES = 350_000
"""Maximum size of the section's thumbnails; those of all sections stay below 1 MB."""

NAMED = 5
"""Maximum number of classes whose probability stands beside an enlarged picture."""


@dataclass(frozen=True)
class Mistake:
    """A misclassified picture.

    Attributes:
        true, predicted: Its class and the predicted one, for several models in words: `dog by 2 of 3 families`.
        probability: Probability of the predicted class; for several models their mean for the true class.
        answers: The most probable classes, or the answer of each model, in words.
        pair: Indices of both classes, as in the cells of the confusion matrix: `0-2`.
    """

    picture: Photo
    true: str
    predicted: str
    probability: float
    answers: str
    pair: str = ""


@dataclass(frozen=True)
class Mistakes:
    """The mistakes of a model, `count` of `n` pictures; those `shown` have a thumbnail, the most confident first."""

    count: int
    n: int
    shown: Sequence[Mistake]


@dataclass(frozen=True)
class TestedModel:
    """Results of a model on the test pictures; `reliability` is the chart of the calibration.

    `by_class` has the scores over all seeds, of all classes or those with the lowest recall.
    """

    confusion: Confusion
    by_class: Sequence[ClassScores]
    calibration: Calibration
    reliability: Markup
    mistakes: Mistakes


@dataclass(frozen=True)
class ChosenModel:
    """The chosen model of a family.

    Attributes:
        curves: None if it was not trained in epochs.
        tested: None without predictions.
    """

    trial: Trial
    curves: LearningCurves | None
    tested: TestedModel | None


@dataclass(frozen=True)
class Models:
    """The section.

    Attributes:
        models: The recommended one first, which is unfolded, then the best.
        withheld: Number of thumbnails beyond the page's limit.
    """

    models: Sequence[ChosenModel]
    has_thumbnails: bool
    withheld: int
    summary: str

    bins = BINS
    looks = PART_MARKS


def section(run: Run) -> Models:
    """The chosen models of a run."""
    shipped = recommended(run)
    album, looks, classes = PhotoAlbum(run, MAX_BYTES), family_marks(run), run.split.classes
    by_family, models = predictions.of_run(run), []
    for trial in sorted(run.ranking(), key=lambda trial: trial is not shipped):
        tested, predicted = None, by_family.get(trial.family)
        if predicted and predicted.is_of_classes(len(classes)):
            calibrated, confused = calibration(predicted), confusion(predicted, classes)
            tested = TestedModel(
                confusion=confused,
                by_class=by_class(run, trial, confused.hardest),
                calibration=calibrated,
                reliability=draw_reliability(calibrated, text.label(trial), looks[trial.family]),
                mistakes=mistakes(predicted, classes, album, 0 if trial.family in run.baselines else MISTAKES),
            )
        models.append(ChosenModel(trial, learning_curves(trial), tested))
    summary = f"learning curves, confusion, calibration and mistakes of {text.plural(len(models), 'chosen model')}"
    return Models(models, bool(album.thumbnails), len(album.withheld), summary if models else "")


def mistakes(predicted: Predictions, classes: Sequence[str], album: PhotoAlbum, limit: int) -> Mistakes:
    """Select up to `limit` mistakes that have a thumbnail: as many confusions as possible, the most confident first."""
    every = predicted.mistakes
    known = [place for place in every if str(predicted.sha256[place]) in album.thumbnails]
    guesses, names, shown = predicted.predicted, [text.one_line(name) for name in classes], []
    for place in predicted.varied(known, limit):
        row, true, guess = predicted.probabilities[place], int(predicted.labels[place]), int(guesses[place])
        likely = sorted(range(len(row)), key=lambda label: -row[label])[:NAMED]
        answers = ", ".join(f"{names[label]} {text.percent(float(row[label]))}" for label in likely)
        picture = album.photo(str(predicted.sha256[place]))
        shown.append(Mistake(picture, names[true], names[guess], float(row[guess]), answers, f"{true}-{guess}"))
    return Mistakes(len(every), len(predicted.labels), shown)
