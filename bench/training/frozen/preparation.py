"""Preparation of one phase of a training: a tail on features where that pays, else the whole model on pictures."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import keras

from bench.data.sources import StageCallback
from bench.hyperparameters import Value
from bench.records import Prefix
from bench.training import cost
from bench.training.augmentation import augmentation
from bench.training.batches import Examples, FeatureExamples, Part, PictureExamples
from bench.training.frozen.features import FeatureCache, Fetched
from bench.training.frozen.graph import Cut, Graph, NoPrefix
from bench.training.frozen.sketch import NotSketched
from bench.training.frozen.views import PictureView, views
from bench.training.trainer import Predictor

HELD_SHARE = 0.25
HELD_MB = 500.0
"""Largest features that are read into memory: a share of what is free, and 10**6 bytes; others are read by batch."""


@dataclass(frozen=True)
class TrainingPictures:
    """Pictures of a training, and how they are augmented.

    Attributes:
        train, validation: Pictures; no validation pictures where nothing is held out.
        augmentation: Value of the hyperparameter.
        seed: Seed of the views that are drawn.
        cache: Cache of features; None trains end to end.
        progress: Reports the computing of features.
    """

    train: Part
    validation: Part | None
    augmentation: Value
    seed: int
    cache: FeatureCache | None
    progress: StageCallback | None = None

    @cached_property
    def training_views(self) -> list[PictureView]:
        """Views of the training pictures that are trained on."""
        return views(self.train, self.augmentation, self.seed)

    @cached_property
    def views(self) -> list[PictureView]:
        """Views that features are needed of: those of the training pictures, then the validation pictures."""
        return [*self.training_views, *([PictureView(self.validation)] if self.validation else [])]


@dataclass(frozen=True)
class PreparedPhase:
    """One phase of a training, ready to be compiled and fitted.

    Attributes:
        model: The model that is trained.
        train, validation: Examples such as it takes.
        prefix: Use of the frozen layers, for the record.
        held_out: The validation pictures.
        cut: End of the frozen prefix; None where the model takes pictures.
        fetched: Features of all training and validation pictures.
        cache: Source of more features.
    """

    model: keras.Model
    train: Examples
    validation: Examples | None
    prefix: Prefix
    held_out: Part | None = None
    cut: Cut | None = None
    fetched: Fetched | None = None
    cache: FeatureCache | None = None

    @cached_property
    def predict(self) -> Predictor:
        """Predictor of the model; traced once."""
        return Predictor(self.model)

    def examples(self, part: Part) -> Examples:
        """Make examples of a part's pictures: the pictures themselves, or their features."""
        if part is self.held_out and self.validation is not None:
            return self.validation
        if self.cut is None or self.cache is None:
            return PictureExamples(part)
        fetched = self.cache.fetch(self.cut, [PictureView(part)])
        return FeatureExamples(fetched.rows, part.labels, 1, hold=_fits_memory(fetched.bytes))

    def latency_ms(self) -> float:
        """Measure the median milliseconds from one picture to its prediction, those of its features included."""
        latency_ms = cost.latency_ms(self.predict.raw, self.predict.shapes)
        return latency_ms + (self.fetched.latency_ms if self.fetched else 0.0)


def prepare(
    model: keras.Model, graph: Graph | NoPrefix, pictures: TrainingPictures, *, phase: str, epochs: int
) -> PreparedPhase:
    """Find the frozen prefix as the layers are frozen now, and compute its features.

    Args:
        model: The model as the family built it.
        graph: Its operations, or the reason why they are not known.
        pictures: Pictures of the training.
        phase: Name of the phase, for the record.
        epochs: Maximum number of its epochs.
    """
    try:
        return _on_features(graph, pictures, phase, epochs)
    except NoPrefix as reason:
        train = PictureExamples(pictures.train, augmentation(pictures.augmentation))
        validation = PictureExamples(pictures.validation) if pictures.validation else None
        return PreparedPhase(model, train, validation, Prefix(phase, reason=str(reason)), pictures.validation)


def is_ready(graph: Graph, pictures: TrainingPictures, epochs: int) -> bool:
    """Tell whether all features that a phase will be trained on are in the cache."""
    try:
        return pictures.cache is not None and pictures.cache.has(_cut(graph, pictures, epochs), pictures.views)
    except (NoPrefix, NotSketched):
        return False


def _on_features(graph: Graph | NoPrefix, pictures: TrainingPictures, phase: str, epochs: int) -> PreparedPhase:
    cut = _cut(graph, pictures, epochs)
    assert pictures.cache is not None
    fetched = pictures.cache.fetch(cut, pictures.views, pictures.progress)
    hold = _fits_memory(fetched.bytes)
    end, count = sum(map(len, pictures.training_views)), sum(map(len, pictures.views))
    train, validation = ([rows.select(some) for rows in fetched.rows] for some in (slice(end), slice(end, count)))
    held_out, view_count = pictures.validation, len(pictures.training_views)
    return PreparedPhase(
        model=cut.tail(),
        train=FeatureExamples(train, pictures.train.labels, view_count, hold),
        validation=FeatureExamples(validation, held_out.labels, 1, hold) if held_out else None,
        prefix=Prefix(
            phase=phase,
            used=True,
            cut=cut.layers,
            features=fetched.bytes // fetched.rows[0].dtype.itemsize // count,
            views=view_count,
            dtype=pictures.cache.dtype,
            disk_mb=fetched.bytes / 1e6,
            cached=fetched.cached,
        ),
        held_out=held_out,
        cut=cut,
        fetched=fetched,
        cache=pictures.cache,
    )


def _cut(graph: Graph | NoPrefix, pictures: TrainingPictures, epochs: int) -> Cut:
    """Find the cut whose features a phase is trained on.

    Raises:
        NoPrefix: The phase is trained on pictures.
    """
    if pictures.cache is None:
        raise NoPrefix("the feature cache is off")
    if isinstance(graph, NoPrefix):
        raise graph
    if len(pictures.training_views) > epochs:
        raise NoPrefix(f"{len(pictures.training_views)} views of every picture take more than {epochs} epochs")
    cut = graph.cut()
    pictures.cache.check(cut, sum(map(len, pictures.views)))
    return cut


def _fits_memory(size_bytes: int) -> bool:
    return size_bytes / 1e6 <= min(HELD_MB, HELD_SHARE * cost.available_mb())
