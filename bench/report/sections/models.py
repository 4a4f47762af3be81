"""The chosen models: learning curves, confusion, calibration and misclassified pictures."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup

from bench import text
from bench.records import Run, Trial
from bench.report.photos import Photo, PhotoAlbum
from bench.report.sections.confusion import Confusion, confusion
from bench.report.sections.learning_curves import PART_MARKS, LearningCurves, learning_curves
from bench.report.sections.reliability import BINS, Calibration, calibration, draw_reliability
from bench.report.styles import family_marks
from bench.runs import doubted, predictions
from bench.runs.doubted import DoubtedLabel
from bench.runs.predictions import Predictions, shared_mistakes
from bench.runs.thumbnails import DOUBTED, MISTAKES, SHARED_MISTAKES

MAX_BYTES = 600_000
"""Maximum size of the section's thumbnails; with the data section's samples they stay below 0.8 MB."""

OPEN = 2
"""Up to this many families are all unfolded; with more, only the best is."""


@dataclass(frozen=True)
class Mistake:
    """A misclassified picture.

    Attributes:
        true: Its class.
        predicted: The predicted class, in words; for several models `dog (2) and owl (1)`.
        probability: For one model, of the predicted class; for several models, their mean for the true class.
    """

    picture: Photo
    true: str
    predicted: str
    probability: float


@dataclass(frozen=True)
class Mistakes:
    """The mistakes of one model, or those that all `models` have in common: `count` of `n` pictures.

    Attributes:
        shown: Mistakes with a thumbnail or a name, the worst first: for one model the most confident, for several
            those with the lowest mean probability of the true class.
    """

    models: int
    count: int
    n: int
    shown: Sequence[Mistake]


@dataclass(frozen=True)
class Doubts:
    """Labels in doubt: `count` in all, those of them that are shown, and the effect on the ranks in a sentence."""

    count: int
    shown: Sequence[Mistake]
    effect: str


@dataclass(frozen=True)
class TestedModel:
    """Results of a model on the test pictures; `reliability` is the chart of the calibration."""

    confusion: Confusion
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
        models: Best first.
        shared: Mistakes that all models have in common; None if fewer than two have predictions.
        doubts: None if no label is in doubt.
        withheld: Number of thumbnails beyond the page's limit.
    """

    models: Sequence[ChosenModel]
    shared: Mistakes | None
    doubts: Doubts | None
    has_thumbnails: bool
    withheld: int
    summary: str

    bins = BINS
    open = OPEN
    looks = PART_MARKS


def section(run: Run) -> Models:
    """The chosen models of a run."""
    album, looks, classes = PhotoAlbum(run, MAX_BYTES), family_marks(run), run.split.classes
    suitable = {
        family: predicted
        for family, predicted in predictions.of_run(run).items()
        if _is_of_classes(predicted, len(classes))
    }
    # First, because the album has a limit of bytes.
    candidates = [predicted for family, predicted in suitable.items() if family not in run.baselines]
    shared = mistakes(candidates, classes, album) if len(candidates) > 1 else None
    doubts = _doubts(run, album) if len(candidates) > 1 else None
    models = []
    for trial in run.ranking():
        tested = None
        if predicted := suitable.get(trial.family):
            calibrated = calibration(predicted)
            tested = TestedModel(
                confusion=confusion(predicted, classes),
                calibration=calibrated,
                reliability=draw_reliability(calibrated, text.label(trial), looks[trial.family]),
                mistakes=mistakes([predicted], classes, album),
            )
        models.append(ChosenModel(trial, learning_curves(trial), tested))
    return Models(models, shared, doubts, bool(album.thumbnails), album.withheld, _summary(models, shared, doubts))


def _summary(models: Sequence[ChosenModel], shared: Mistakes | None, doubts: Doubts | None) -> str:
    """Summarise the section in a line; "" without a model."""
    parts = ["curves, confusion, calibration and mistakes of the chosen models"] if models else []
    if shared and shared.count:
        parts.append(f"{text.plural(shared.count, 'picture')} that all get wrong")
    if doubts:
        parts.append(f"{text.plural(doubts.count, 'label')} in doubt")
    return "; ".join(parts)


def _is_of_classes(predicted: Predictions, classes: int) -> bool:
    """True if the predictions fit this number of classes; a file that was put there by hand may not."""
    labels = predicted.labels
    return (
        predicted.probabilities.shape[1] == classes and len(labels) > 0 and 0 <= labels.min() <= labels.max() < classes
    )


def _doubts(run: Run, album: PhotoAlbum) -> Doubts | None:
    labels, classes = doubted.of_run(run), run.split.classes
    if not labels:
        return None
    shown = []
    for label in labels[:DOUBTED]:
        agreeing = f"{label.agreeing} of {text.plural(label.families, 'family', 'families')}"
        predicted = f"{text.one_line(classes[label.suggested])} by {agreeing}"
        shown.append(Mistake(album.photo(label.sha256), classes[label.label], predicted, label.probability))
    return Doubts(len(labels), shown, _effect(run, labels))


def _effect(run: Run, labels: Sequence[DoubtedLabel]) -> str:
    """Accuracies without doubted labels, in a sentence; "" if none is of a test picture."""
    tested = sum(label.part == "test" for label in labels)
    if not tested:
        return ""
    before, after = doubted.accuracies_without(run, []), doubted.accuracies_without(run, labels)
    changes = [
        f"{name} has {text.percent(share)} instead of {text.percent(before[name])}" for name, share in after.items()
    ]
    order = "the order of the families stays" if list(before) == list(after) else "the order of the families changes"
    return f"Without the {text.plural(tested, 'test picture')} among them, {text.listing(changes, 4)}; {order}."


def mistakes(models: Sequence[Predictions], classes: Sequence[str], album: PhotoAlbum) -> Mistakes:
    """The mistakes of one model, or the common mistakes of several on the same pictures in the same order."""
    first, alone = models[0], len(models) == 1
    wrong = first.mistakes if alone else shared_mistakes(models)
    guesses, sure, shown = [model.predicted for model in models], first.confidence, []
    for place in wrong[: MISTAKES if alone else SHARED_MISTAKES]:
        sha256, label = str(first.sha256[place]), int(first.labels[place])
        if sha256 in album.thumbnails:
            counts = Counter(text.one_line(classes[int(predicted[place])]) for predicted in guesses)
            names = [name if len(counts) == 1 else f"{name} ({count})" for name, count in counts.most_common()]
            of_truth = np.mean([model.probabilities[place, label] for model in models])
            probability = float(sure[place] if alone else of_truth)
            shown.append(Mistake(album.photo(sha256), classes[label], text.listing(names), probability))
    return Mistakes(len(models), len(wrong), len(first.labels), shown)
