"""Mistakes: the test pictures that a model gets wrong, and those that all models get wrong."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from bench import text
from bench.report.photos import Photo, PhotoAlbum
from bench.runs.predictions import Predictions, shared_mistakes
from bench.runs.thumbnails import MISTAKES, SHARED_MISTAKES


@dataclass(frozen=True)
class Mistake:
    """A picture that is classified wrongly.

    Attributes:
        true: Its class.
        predicted: The class that it is taken for, in words; of several models `dog (2) and owl (1)`.
        probability: Of one model that of the predicted class, of several the mean of that of the true class.
    """

    picture: Photo
    true: str
    predicted: str
    probability: float


@dataclass(frozen=True)
class Mistakes:
    """The mistakes of one model, or those that all models make.

    Attributes:
        models: Number of models.
        count, n: Number of mistakes, and of pictures.
        shown: Mistakes with a thumbnail or a name, the worst first: those of which one model is the surest, or those of
            which all models are the furthest from right.
    """

    models: int
    count: int
    n: int
    shown: tuple[Mistake, ...]


def mistakes(predictions: Predictions, classes: Sequence[str], album: PhotoAlbum) -> Mistakes:
    """The mistakes of a model.

    Args:
        predictions: Its predictions.
        classes: Names of the classes.
        album: Source of the pictures.
    """
    wrong = predictions.mistakes
    guesses, sure = predictions.predicted, predictions.confidence
    shown = tuple(
        Mistake(
            picture=album.photo(str(predictions.sha256[place])),
            true=classes[int(predictions.labels[place])],
            predicted=text.one_line(classes[int(guesses[place])]),
            probability=float(sure[place]),
        )
        for place in wrong[:MISTAKES]
        if str(predictions.sha256[place]) in album.thumbnails
    )
    return Mistakes(models=1, count=len(wrong), n=len(predictions.labels), shown=shown)


def mistakes_of_all(every: Mapping[str, Predictions], classes: Sequence[str], album: PhotoAlbum) -> Mistakes | None:
    """The mistakes that all models make; None where there are not at least two models.

    Args:
        every: Predictions by family, of the same pictures in the same order.
        classes, album: As for `mistakes`.
    """
    if len(every) < 2:
        return None
    first, *_ = models = list(every.values())
    wrong = shared_mistakes(models)
    shown = []
    for place in wrong[:SHARED_MISTAKES]:
        sha256, label = str(first.sha256[place]), int(first.labels[place])
        if sha256 in album.thumbnails:
            guesses = Counter(text.one_line(classes[int(model.probabilities[place].argmax())]) for model in models)
            names = [f"{name} ({count})" for name, count in guesses.most_common()]
            shown.append(
                Mistake(
                    picture=album.photo(sha256),
                    true=classes[label],
                    predicted=text.listing(names) if len(guesses) > 1 else next(iter(guesses)),
                    probability=float(np.mean([model.probabilities[place, label] for model in models])),
                )
            )
    return Mistakes(models=len(models), count=len(wrong), n=len(first.labels), shown=tuple(shown))
