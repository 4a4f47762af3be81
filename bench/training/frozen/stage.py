"""What one phase of a training trains: a tail on features where that is worth it, else the whole model on pictures."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import keras

from bench.data.sources import StageCallback
from bench.hyperparameters import Value
from bench.records import Prefix
from bench.training import cost, memory
from bench.training.augmentation import augmentation
from bench.training.examples import Examples, Features, Part, Pictures
from bench.training.frozen.features import FeatureCache, Fetched
from bench.training.frozen.graph import Cut, Graph, NoPrefix
from bench.training.frozen.sketch import NotSketched
from bench.training.frozen.views import View, views
from bench.training.trainer import Predictor

HELD_SHARE = 0.25
HELD_MB = 500.0
"""Features are held in memory up to this share of what is free, and up to so much; others are read batch by batch."""


@dataclass(frozen=True)
class Data:
    """What a training is given.

    Attributes:
        train, validation: Pictures; no validation pictures where nothing is held out.
        augmentation: The hyperparameter's value.
        seed: Of the views that are drawn.
        cache: Where features are kept; None trains end to end.
        progress: Told of the computing of features.
    """

    train: Part
    validation: Part | None
    augmentation: Value
    seed: int
    cache: FeatureCache | None
    progress: StageCallback | None = None

    @cached_property
    def trained(self) -> list[View]:
        """The views of the training pictures that features are needed of."""
        return views(self.train, self.augmentation, self.seed)

    @cached_property
    def views(self) -> list[View]:
        """All that features are needed of: the training pictures' views, then the validation pictures."""
        return [*self.trained, *([View(self.validation)] if self.validation else [])]


@dataclass(frozen=True)
class Stage:
    """One phase of a training, ready to be compiled and fitted.

    Attributes:
        model: What is trained.
        train, validation: Examples such as it takes.
        prefix: What became of the frozen layers, for the record.
        cut: Where the features are; None where it takes pictures.
        held_out: The validation pictures.
        fetched: The features of all training and validation pictures.
        cache: Where more features come from.
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
        """Of the model; traced once."""
        return Predictor(self.model)

    def examples(self, part: Part) -> Examples:
        """A part's pictures as they are, or their features."""
        if part is self.held_out and self.validation is not None:
            return self.validation
        if self.cut is None or self.cache is None:
            return Pictures(part)
        fetched = self.cache.fetch(self.cut, [View(part)])
        return Features(fetched.rows, part.labels, 1, hold=_fits_memory(fetched.bytes))

    def latency_ms(self) -> float:
        """Median milliseconds from one picture to its prediction; on features, those of computing them included."""
        latency_ms = cost.latency_ms(self.predict.raw, self.predict.shapes)
        return latency_ms + (self.fetched.latency_ms if self.fetched else 0.0)


def prepare(model: keras.Model, graph: Graph | NoPrefix, data: Data, *, phase: str, epochs: int) -> Stage:
    """Looks for the frozen prefix as the layers are frozen now, and has its features computed.

    Args:
        model: As the family built it.
        graph: Its operations, or why they are not known.
        data: What it is trained on.
        phase: The phase's name, for the record.
        epochs: How many it may take.
    """
    try:
        return _on_features(graph, data, phase, epochs)
    except NoPrefix as reason:
        train = Pictures(data.train, augmentation(data.augmentation))
        validation = Pictures(data.validation) if data.validation else None
        return Stage(model, train, validation, Prefix(phase, reason=str(reason)), data.validation)


def is_ready(graph: Graph, data: Data, epochs: int) -> bool:
    """Whether a phase will be trained on features that are in the cache already."""
    try:
        return data.cache is not None and data.cache.has(_cut(graph, data, epochs), data.views)
    except (NoPrefix, NotSketched):
        return False


def _on_features(graph: Graph | NoPrefix, data: Data, phase: str, epochs: int) -> Stage:
    cut = _cut(graph, data, epochs)
    assert data.cache is not None
    fetched = data.cache.fetch(cut, data.views, data.progress)
    hold = _fits_memory(fetched.bytes)
    end, rows = sum(map(len, data.trained)), sum(map(len, data.views))
    train, validation = ([each.select(some) for each in fetched.rows] for some in (slice(end), slice(end, rows)))
    return Stage(
        model=cut.tail(),
        train=Features(train, data.train.labels, len(data.trained), hold),
        validation=Features(validation, data.validation.labels, 1, hold) if data.validation else None,
        prefix=Prefix(
            phase=phase,
            used=True,
            cut=cut.layers,
            features=fetched.bytes // fetched.rows[0].dtype.itemsize // rows,
            views=len(data.trained),
            dtype=data.cache.dtype,
            disk_mb=fetched.bytes / 1e6,
            cached=fetched.cached,
        ),
        held_out=data.validation,
        cut=cut,
        fetched=fetched,
        cache=data.cache,
    )


def _cut(graph: Graph | NoPrefix, data: Data, epochs: int) -> Cut:
    """Where the features are, if they are to be used."""
    if data.cache is None:
        raise NoPrefix("the feature cache is off")
    if isinstance(graph, NoPrefix):
        raise graph
    if len(data.trained) > epochs:
        raise NoPrefix(f"{len(data.trained)} views of every picture take more than {epochs} epochs")
    cut = graph.cut()
    data.cache.check(cut, sum(map(len, data.views)))
    return cut


def _fits_memory(size_bytes: int) -> bool:
    return size_bytes / 1e6 <= min(HELD_MB, HELD_SHARE * memory.available_mb())
