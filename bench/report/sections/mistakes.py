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
    """A picture that a model gets wrong: its class, what the model takes it for, and how sure it is of that."""

    picture: Photo
    true: str
    predicted: str
    probability: float


@dataclass(frozen=True)
class Mistakes:
    """What one model gets wrong.

    Attributes:
        count, n: So many of so many pictures.
        shown: Those with a thumbnail or a name, most confidently wrong first.
    """

    count: int
    n: int
    shown: tuple[Mistake, ...]


@dataclass(frozen=True)
class SharedMistake:
    """A picture that all models get wrong.

    Attributes:
        picture: The picture.
        true: Its class.
        predicted: Classes that models take it for, with how many do, most first.
        probability: What they give to its class, in the mean.
    """

    picture: Photo
    true: str
    predicted: tuple[tuple[str, int], ...]
    probability: float

    @property
    def taken_for(self) -> str:
        """What it is taken for, in words: `dog`; where they differ `dog (2) and owl (1)`."""
        if len(self.predicted) == 1:
            return text.one_line(self.predicted[0][0])
        return text.listing([f"{text.one_line(name)} ({count})" for name, count in self.predicted])


@dataclass(frozen=True)
class SharedMistakes:
    """What all models get wrong.

    Attributes:
        models: How many models there are, at least 2.
        count, n: So many of so many pictures.
        shown: Those with a thumbnail or a name, those that are the furthest from right first.
    """

    models: int
    count: int
    n: int
    shown: tuple[SharedMistake, ...]


def mistakes(predictions: Predictions, classes: Sequence[str], album: PhotoAlbum) -> Mistakes:
    """The mistakes of a model.

    Args:
        predictions: What it says.
        classes: Names of the classes.
        album: Has the pictures.
    """
    wrong = predictions.mistakes
    guesses, sure = predictions.predicted, predictions.confidence
    shown = tuple(
        Mistake(
            album.photo(str(predictions.sha256[place])),
            classes[int(predictions.labels[place])],
            classes[int(guesses[place])],
            float(sure[place]),
        )
        for place in wrong[:MISTAKES]
        if str(predictions.sha256[place]) in album.thumbnails
    )
    return Mistakes(len(wrong), len(predictions.labels), shown)


def mistakes_of_all(
    every: Mapping[str, Predictions], classes: Sequence[str], album: PhotoAlbum
) -> SharedMistakes | None:
    """What all models get wrong; None where there are not at least two.

    Args:
        every: Predictions by family, of the same pictures in the same order.
        classes, album: As for `mistakes`.
    """
    if len(every) < 2:
        return None
    found = list(every.values())
    wrong = shared_mistakes(found)
    shown = []
    for place in wrong[:SHARED_MISTAKES]:
        sha256, label = str(found[0].sha256[place]), int(found[0].labels[place])
        if sha256 not in album.thumbnails:
            continue
        guesses = Counter(classes[int(each.probabilities[place].argmax())] for each in found)
        truth = float(np.mean([each.probabilities[place, label] for each in found]))
        shown.append(SharedMistake(album.photo(sha256), classes[label], tuple(guesses.most_common()), truth))
    return SharedMistakes(len(found), len(wrong), len(found[0].labels), tuple(shown))
