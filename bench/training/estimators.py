"""Estimators: a Keras model, trained phase by phase, and a scikit-learn classifier."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from bench.cache.files import replacing
from bench.data import machine
from bench.data.metadata import FEATURES
from bench.data.sources import StageCallback
from bench.hyperparameters import Value
from bench.metrics._metric import Metric
from bench.records import Cost, Ending, Epoch, PhaseWork, Prefix, Work
from bench.training import footprint, trainer
from bench.training.augmentation import augmentation
from bench.training.batches import NATURAL, Examples, Part
from bench.training.footprint import Use
from bench.training.frozen import sketch
from bench.training.frozen.features import VIEWS, FeatureCache, Fetched, PictureView, views
from bench.training.frozen.graph import Cut, Graph, Nested
from bench.training.frozen.identity import NoPrefix, fingerprint
from bench.training.imbalance import Balancing
from bench.training.keras_private import Functional
from bench.training.loading import METADATA, PIXELS
from bench.training.objective import Objective, WrongModel, check_model
from bench.training.phases import PreparedPhase, TrainingPhase, phases
from bench.training.probabilities import Probabilities, as_probabilities
from bench.training.task import Backbone
from bench.training.trainer import BestEpoch, EpochReport

MAX_MEMORY_SHARE = 0.25
MAX_MEMORY_MB = 500.0
"""Maximum size of features in memory, as a share of the free memory and in 10**6 bytes; others are read per batch."""


@dataclass(frozen=True)
class FitSettings:
    """Arguments of a training with early stopping; see `trainer.fit`."""

    epochs: int
    patience: int
    report: EpochReport
    metric: Metric
    over: tf.Variable | None = None


@dataclass(frozen=True)
class Training:
    """Record of one training; its fields are those of `records.Trial` and `records.Cost`.

    Attributes:
        phases: Number of phases, including those left out because training ended early; 0 without epochs.
    """

    history: tuple[Epoch, ...]
    fit_time_s: float
    phases: int = 0
    planned_epochs: int | None = None
    ending: Ending | None = None
    features_time_s: float = 0.0
    saved_time_s: float = 0.0
    prefixes: tuple[Prefix, ...] = ()


class Estimator:
    """A model that is trained once and then predicts.

    Attributes:
        size: Side length of its pictures in pixels.
        input: One of `loading.INPUTS`.
        square: Way in which its pictures become square, one of `config.FITS`.
    """

    size: int
    input = PIXELS
    square: str

    def fit(self, train: Part, validation: Part, settings: FitSettings) -> Training:
        """Train with early stopping, and restore the best epoch's weights; see `trainer.fit`."""
        raise NotImplementedError

    def refit(self, train: Part, epochs: Sequence[int]) -> None:
        """Train for this number of epochs in each phase, without validation."""
        raise NotImplementedError

    def predict(self, part: Part) -> Probabilities:
        """Return class probabilities, shape (n, classes)."""
        raise NotImplementedError

    def cost(self) -> Cost:
        """Measure the cost of using the trained model; the training times are 0."""
        raise NotImplementedError

    def work(self, epochs: int, parts: Sequence[Part] = ()) -> Work:
        """Count the computations of its training.

        Args:
            epochs: Maximum number of epochs in each phase.
            parts: The training part, which comes first, and others whose features may be in the cache.
        """
        return Work(input_size=self.size)

    def latency_ms(self, epochs: int, parts: Sequence[Part] = ()) -> float | None:
        """Measure the median milliseconds for predicting one picture before training; None if that is impossible.

        Args:
            epochs, parts: As for `work`.
        """
        return None

    def save(self, path: Path) -> None:
        """Write a Keras model; scikit-learn classifiers are not saved, because loading a pickle is unsafe."""

    def release(self) -> None:
        """Free the memory that would outlive the last reference; the estimator cannot be used afterwards."""


class Classifier(Estimator):
    """A scikit-learn classifier on flattened pixels, 0 to 255, or on metadata, trained on all pictures at once.

    Every `random_state` that is None, including those of pipeline steps, is set to the seed.

    Raises:
        WrongModel: It cannot be weighted by class.
    """

    def __init__(
        self,
        model: Any,
        size: int,
        seed: int,
        input: str = PIXELS,
        square: str = "squash",
        balancing: Balancing = NATURAL,
    ) -> None:
        parameters = model.get_params() if hasattr(model, "get_params") else {}
        states = [name for name in parameters if name.rpartition("__")[2] == "random_state"]
        if unset := {name: seed for name in states if parameters[name] is None}:
            model.set_params(**unset)
        self.size, self.input, self.square = size, input, square
        self._model, self._seed, self._balancing = model, seed, balancing
        self._weight = weight_argument(model) if balancing.weighted else ""

    def fit(self, train: Part, validation: Part, settings: FitSettings) -> Training:
        """Train; TooLarge if the pictures do not fit into memory."""
        return Training((), self._train(train))

    def refit(self, train: Part, epochs: Sequence[int]) -> None:
        self._train(train)

    def _train(self, train: Part) -> float:
        """Train and return the seconds, without those for reading the pictures."""
        if self._balancing.sampled:
            drawn = self._balancing.draw(train.labels, np.random.default_rng(self._seed))
            train = Part(train.pixels.select(drawn), train.labels[drawn])
        weights = {self._weight: self._balancing.weights(train.labels)} if self._weight else {}
        pictures = self._vectors(train)
        start = time.perf_counter()
        with self._threads():
            self._model.fit(pictures, train.labels, **weights)
        return time.perf_counter() - start

    def predict(self, part: Part) -> Probabilities:
        with self._threads():
            return self._probabilities(self._vectors(part))

    def cost(self) -> Cost:
        length = len(FEATURES) if self.input == METADATA else 3 * self.size**2
        picture = np.random.default_rng(0).integers(0, 256, (1, length), np.uint8)
        with self._threads():
            latency_ms = footprint.latency_ms(self._probabilities, [picture])
        return Cost(0.0, 0.0, latency_ms=latency_ms, parameters=footprint.learned(self._model))

    def _threads(self) -> AbstractContextManager[object]:
        """Use one thread for metadata: OpenMP's threads wait actively, 7 s instead of 0.3 s on a busy machine."""
        return threadpool_limits(1, user_api="openmp") if self.input == METADATA else nullcontext()

    def _probabilities(self, vectors: Any) -> Probabilities:
        return as_probabilities(self._model.predict_proba(vectors))

    def _vectors(self, part: Part) -> Any:
        """Return pictures as vectors; they stay on disk for a classifier that ignores them, such as a dummy.

        Most of scikit-learn computes with 8-byte numbers, which an estimator copies from the pixels when it validates
        its input.
        """
        vectors = part.pixels.flattened()
        if _skips_validation(self._model):
            return vectors
        first = self._model.steps[0][1] if hasattr(self._model, "steps") else self._model
        copied = hasattr(first, "__sklearn_tags__") and not _skips_validation(first)
        needed_mb, free_mb = math.prod(vectors.shape) * (9 if copied else 1) / 1e6, machine.available_mb()
        if needed_mb > free_mb:
            raise trainer.TooLarge(
                f"{len(vectors):,} pictures of {self.size} pixels need about {needed_mb:,.0f} MB"
                f"{' including a copy as 8-byte numbers' if copied else ''}, but {free_mb:,.0f} MB are free"
            )
        return np.asarray(vectors)


def weight_argument(model: Any) -> str:
    """Return the argument of a classifier's `fit` that weights pictures, in a pipeline that of its last step.

    It is "" for a classifier with a `class_weight` of its own, because the weights would count twice.

    Raises:
        WrongModel: Its `fit` takes no weights.
    """
    from sklearn.utils.validation import has_fit_parameter

    prefix, classifier = (f"{model.steps[-1][0]}__", model.steps[-1][1]) if hasattr(model, "steps") else ("", model)
    if getattr(classifier, "class_weight", None) is not None:
        return ""
    if not has_fit_parameter(classifier, "sample_weight"):
        lacking = f"{type(classifier).__name__}.fit takes no sample_weight"
        raise WrongModel(f"class_weight is declared, but {lacking}: declare sampling instead")
    return f"{prefix}sample_weight"


def can_learn(model: Any) -> bool:
    """Return whether training on pictures changes a model.

    False for a Keras model without trainable weights and a scikit-learn classifier that ignores its input: the tag
    `no_validation` "is only meant for stateless and dummy transformers" (scikit-learn, `sklearn.utils.Tags`).
    """
    if isinstance(model, keras.Model):
        return bool(model.trainable_weights)
    return not _skips_validation(model.steps[-1][1] if hasattr(model, "steps") else model)


def _skips_validation(model: Any) -> bool:
    """Return whether an estimator has scikit-learn's tag `no_validation`."""
    return hasattr(model, "__sklearn_tags__") and bool(model.__sklearn_tags__().no_validation)


class Network(Estimator):
    """A Keras model.

    Args:
        values: Hyperparameters.
        backbones: Backbones in the model, which the phase "head" freezes.
        cache: Cache of the features of frozen layers; None trains everything end to end.
        progress: Called during the computation of features.

    Attributes:
        objective: Its loss, and the meaning of its outputs.

    Raises:
        ValueError: The model cannot be trained on these pictures, or the augmentation is unknown.
    """

    def __init__(
        self,
        model: keras.Model,
        values: Mapping[str, Value],
        num_classes: int,
        seed: int,
        *,
        backbones: Sequence[Backbone],
        cache: FeatureCache | None,
        progress: StageCallback,
        square: str = "squash",
        halved: bool = False,
    ) -> None:
        self.size, self.square = check_model(model, num_classes), square
        self.objective = Objective.of(model)
        augmentation(values.get("augmentation"))
        self._model, self._values, self._seed, self._balancing = model, values, seed, Balancing.of(values)
        self._backbones, self._cache, self._progress = backbones, cache, progress
        batch_size = int(values.get("batch_size") or trainer.BATCH_SIZE)
        self._batch_size = max(1, batch_size // 2) if halved else batch_size
        try:
            self._graph: Graph | NoPrefix = Graph(model)
        except NoPrefix as reason:
            self._graph = reason
        self._trained: PreparedPhase | None = None
        nested = [layer for layer in model.layers if isinstance(layer, keras.Model)]
        self._frozen_by_phases: list[Any] = [backbone.model for backbone in backbones] or nested

    def fit(self, train: Part, validation: Part, settings: FitSettings) -> Training:
        """Train phase by phase with early stopping; TooLarge if it would not fit into memory.

        If the time is over in one phase, the model has the weights of the best epoch so far; later phases are left out.
        """
        start = time.perf_counter()
        history: list[Epoch] = []
        best = BestEpoch(settings.metric)
        ready = self._prepared(train, validation, settings.epochs)
        for prepared in ready:
            before = len(history)
            assert prepared.validation is not None
            with prepared.phase.freezing(self._frozen_by_phases):
                history += trainer.fit(
                    self._compiled(prepared),
                    self.objective,
                    prepared.train,
                    prepared.validation,
                    epochs=prepared.phase.epochs,
                    patience=settings.patience,
                    batch_size=self._batch_size,
                    seed=self._seed,
                    report=settings.report,
                    predict=prepared.predict,
                    best=best,
                    phase=prepared.phase.name,
                    before=before,
                    over=settings.over,
                )
            if best.ending:
                break
        if prepared is ready[-1] and (
            len(history) - before == prepared.phase.epochs or best.waited >= settings.patience
        ):
            best.ending = None  # it would have ended anyway
        fetched = [prepared.fetched for prepared in ready if prepared.fetched]
        cold_s = max((features.cold_s for features in fetched), default=0.0)  # the last phase's include the others'
        return Training(
            history=tuple(history),
            fit_time_s=time.perf_counter() - start - sum(features.waited_s for features in fetched),
            phases=len(ready),
            planned_epochs=sum(prepared.phase.epochs for prepared in ready),
            ending=best.ending,
            features_time_s=cold_s,
            saved_time_s=max(0.0, cold_s - sum(features.spent_s for features in fetched)),
            prefixes=tuple(prepared.prefix for prepared in ready),
        )

    def refit(self, train: Part, epochs: Sequence[int]) -> None:
        before = 0
        for prepared, count in zip(self._prepared(train, None, max(epochs)), epochs, strict=True):
            with prepared.phase.freezing(self._frozen_by_phases):
                trainer.refit(
                    self._compiled(prepared),
                    self.objective,
                    prepared.train,
                    epochs=count,
                    batch_size=self._batch_size,
                    seed=self._seed,
                    before=before,
                )
            before += count

    def predict(self, part: Part) -> Probabilities:
        if self._trained is None:  # its weights were loaded from a file
            return trainer.Predictor(self._model, self.objective)(part.examples())
        return self._trained.predict(self._trained.examples(part))

    def cost(self) -> Cost:
        assert self._trained is not None
        return Cost(fit_time_s=0.0, train_time_s=0.0, latency_ms=self._trained.latency_ms(), **self._size())

    def work(self, epochs: int, parts: Sequence[Part] = ()) -> Work:
        return Work(
            **self._size(),
            batch_size=self._batch_size,
            input_size=self.size,
            phases=tuple(self._phase_work(phase, parts) for phase in phases(self._values, epochs)),
        )

    def latency_ms(self, epochs: int, parts: Sequence[Part] = ()) -> float | None:
        phase, wanted = phases(self._values, epochs)[-1], self._views(parts)
        with phase.freezing(self._frozen_by_phases):
            try:
                cut, cache = self._cut(phase, sum(map(len, wanted)))
            except NoPrefix:
                return trainer.latency_ms(self._model)
            return cache.latency_ms(cut, wanted) + trainer.latency_ms(cut.tail())

    def _size(self) -> dict[str, Any]:
        """Return the size of the model: fields of `Work` and `Cost`."""
        sketched = [layer.outline for layer in self._model.layers if isinstance(layer, sketch.Sketched)]
        parameters = self._model.count_params() + sum(outline.parameters for outline in sketched)
        return {
            "parameters": parameters,
            "trainable_parameters": footprint.count(self._model.trainable_weights),
            "macs": footprint.macs(self._uses()),
            "model_size_mb": 4e-6 * parameters,
        }

    def _uses(self) -> list[Use]:
        return (
            footprint.uses(self._model) if isinstance(self._graph, NoPrefix) else footprint.uses_of(self._graph.nodes)
        )

    def _phase_work(self, phase: TrainingPhase, parts: Sequence[Part]) -> PhaseWork:
        with phase.freezing(self._frozen_by_phases):
            try:
                wanted = self._views(parts)
                cut, cache = self._cut(phase, sum(map(len, wanted)))
                cached = cache.cached(cut, wanted) if wanted else 0.0
            except (NoPrefix, sketch.NotSketched):
                weights, trained = self._model.weights, self._model.trainable_weights
                memory_mb = footprint.training_memory_mb(weights, trained, self._uses(), self._batch_size)
                return PhaseWork(phase.epochs, footprint.macs(self._uses()), memory_mb=sum(memory_mb))
            prefix = cut.graph.ancestors(cut.tensors)
            in_prefix = set(map(id, prefix))
            tail = [node for node in cut.graph.nodes if id(node) not in in_prefix]
            layers = {id(node.operation): node.operation for node in tail if isinstance(node.operation, keras.Layer)}
            memory_mb = footprint.training_memory_mb(
                [weight for layer in layers.values() for weight in layer.weights],
                [weight for layer in layers.values() for weight in layer.trainable_weights],
                footprint.uses_of(tail),
                self._batch_size,
            )
        return PhaseWork(
            epochs=phase.epochs,
            macs=footprint.macs(footprint.uses_of(tail)),
            prefix_macs=footprint.macs(footprint.uses_of(prefix)),
            views=VIEWS[self._augmentation],
            cached=cached,
            row_bytes=cache.row_bytes(cut),
            memory_mb=sum(memory_mb),
        )

    def backbone_features(self, part: Part) -> tuple[Fetched, NDArray[np.float32]]:
        """Compute the features of its backbones, all layers frozen; trials with the same cut find them in the cache.

        Returns:
            Their cost, and the features, shape (n, features), averaged over the positions in the picture.

        Raises:
            NoPrefix: Its frozen layers cannot be computed separately.
            NotSketched: It has a sketch, and the features are not in the cache.
        """
        if self._cache is None:
            raise NoPrefix("the feature cache is off")
        if isinstance(self._graph, NoPrefix):
            raise self._graph
        with TrainingPhase("", 1, head_only=True).freezing(self._frozen_by_phases):
            cut = self._graph.cut()
            fetched = self._cache.fetch(cut, [PictureView(part)], self._progress)
            self._save_outlines(cut, sketch.Outlines(self._cache.root))
        features = [
            np.asarray(rows).reshape(len(rows), -1, shape[-1]).mean(axis=1)
            for rows, shape in zip(fetched.rows, cut.map_shapes, strict=True)
        ]
        return fetched, np.concatenate(features, axis=1, dtype=np.float32)

    def load_without_backbones(self, path: Path) -> None:
        """Load the weights that `save` wrote for a model with sketches."""
        backbones = [backbone.model for backbone in self._backbones]
        layers = [layer for layer in self._model.layers if layer not in backbones]
        with np.load(path, allow_pickle=False) as arrays:
            weights = [arrays[name] for name in arrays.files]
        for layer in layers:
            layer.set_weights([weights.pop(0) for _ in layer.weights])

    def save(self, path: Path) -> None:
        """Write a `.keras` file without the optimizer's state, atomically.

        If the model has a sketch for a backbone, write only the weights of the other layers, as an `.npz` file with the
        same name. Building the backbone would take a second; `load_without_backbones` completes the model later.
        """
        model = self._model
        layers = [layer for layer in model.layers if not isinstance(layer, sketch.Sketched)]
        if len(layers) < len(model.layers):
            with replacing(path.with_suffix(".npz")) as temporary, temporary.open("wb") as file:
                np.savez(file, *(weights for layer in layers for weights in layer.get_weights()))
            return
        if type(model) is Functional:
            model = keras.Model(model.input, model.output, name=model.name)  # shares the layers, is not compiled
        temporary = path.with_name(f".{os.getpid()}-{path.name}")
        model.save(temporary)
        temporary.replace(path)

    def release(self) -> None:
        """Empty the variables of the model and of the optimizer.

        Their memory is not freed otherwise: TensorFlow never releases the custom gradients of a graph
        (`tf.custom_gradient`), and Keras sums gradients with one, so the graph and its variables outlive the model.
        """
        models = [self._model] + ([self._trained.model] if self._trained else [])
        optimizers = [model.optimizer for model in models if model.compiled]
        variables = {id(variable): variable for owner in (*models, *optimizers) for variable in owner.variables}
        for variable in variables.values():
            empty = tf.zeros((), variable.value.dtype)
            tf.raw_ops.AssignVariableOp(resource=variable.value.handle, value=empty)

    def _prepared(self, train: Part, validation: Part | None, epochs: int) -> list[PreparedPhase]:
        """Prepare all phases, the last one first, because deeper cuts are computed from its shallower cut."""
        ready = []
        for phase in reversed(phases(self._values, epochs)):
            with phase.freezing(self._frozen_by_phases):
                try:
                    prepared = self._on_features(phase, train, validation)
                except NoPrefix as reason:
                    pictures = train.examples(augmentation(self._values.get("augmentation")), self._balancing)
                    held_out = validation.examples() if validation else None
                    prefix = Prefix(phase.name, reason=str(reason))
                    prepared = PreparedPhase(
                        phase, self._model, self.objective, pictures, held_out, prefix, Part.examples
                    )
            ready.append(prepared)
        return ready[::-1]

    def _on_features(self, phase: TrainingPhase, train: Part, validation: Part | None) -> PreparedPhase:
        """Find the frozen prefix of the model with the currently frozen layers, and compute its features."""
        wanted = self._views([part for part in (train, validation) if part is not None])
        cut, cache = self._cut(phase, sum(map(len, wanted)))
        fetched = cache.fetch(cut, wanted, self._progress)
        self._save_outlines(cut, sketch.Outlines(cache.root))
        in_memory, count = _fits_memory(fetched), sum(map(len, wanted))
        end = count - (len(validation.labels) if validation else 0)
        to_train, held_out = ([rows.select(some) for rows in fetched.rows] for some in (slice(end), slice(end, count)))
        view_count = end // len(train.labels)
        validating = Examples(held_out, validation.labels, in_memory=in_memory) if validation else None

        def examples(part: Part) -> Examples:
            if part is validation and validating is not None:
                return validating
            more = cache.fetch(cut, [PictureView(part)])
            return Examples(more.rows, part.labels, in_memory=_fits_memory(more))

        prefix = Prefix(
            phase=phase.name,
            used=True,
            cut=cut.layers,
            features=fetched.bytes // fetched.rows[0].dtype.itemsize // count,
            views=view_count,
            dtype=cache.dtype,
            disk_mb=fetched.bytes / 1e6,
            cached=fetched.cached,
        )
        training = Examples(to_train, train.labels, views=view_count, balancing=self._balancing, in_memory=in_memory)
        return PreparedPhase(
            phase, cut.tail(), self.objective, training, validating, prefix=prefix, examples=examples, fetched=fetched
        )

    @property
    def _augmentation(self) -> str:
        return str(self._values.get("augmentation") or "none")

    def _views(self, parts: Sequence[Part]) -> list[PictureView]:
        """Return the views of the training part, which comes first, and of the other parts."""
        views_of_train = [view for part in parts[:1] for view in views(part, self._augmentation, self._seed)]
        return views_of_train + [PictureView(part) for part in parts[1:]]

    def _cut(self, phase: TrainingPhase, view_count: int) -> tuple[Cut, FeatureCache]:
        """Find the cut for a phase; NoPrefix if the features of this number of views would not save time."""
        if self._cache is None:
            raise NoPrefix("the feature cache is off")
        if isinstance(self._graph, NoPrefix):
            raise self._graph
        if VIEWS[self._augmentation] > phase.epochs:
            raise NoPrefix(f"{VIEWS[self._augmentation]} views of every picture take more than {phase.epochs} epochs")
        cut = self._graph.cut()
        self._cache.check(cut, view_count)
        return cut, self._cache

    def _compiled(self, prepared: PreparedPhase) -> keras.Model:
        self.objective.compile(prepared.model, self._values, self._model, prepared.phase.learning_rate)
        trainer.refuse_too_large(prepared.model, self._batch_size)
        self._trained = prepared
        return prepared.model

    def _save_outlines(self, cut: Cut, outlines: sketch.Outlines) -> None:
        """Record outlines of the completely frozen backbones, so that other trials need not build them."""
        frozen = {id(tensor) for node in cut.graph.ancestors(cut.tensors) for tensor in node.outputs}
        for nested in cut.graph.nested:
            for backbone in self._backbones:
                is_frozen = backbone.model is nested.model and id(nested.outputs[0]) in frozen
                original = backbone.original_fingerprint
                if is_frozen and original and original == fingerprint(nested.model):
                    outlines.save(backbone.identity, _outline(cut.graph, nested))


def _outline(graph: Graph, nested: Nested) -> sketch.Outline:
    (inputs,), (output,) = nested.inputs, nested.outputs
    return sketch.Outline(
        name=nested.model.name,
        output_shape=tuple(output.shape[1:]),
        layers=[(layer.name, type(layer).__module__, type(layer).__qualname__) for layer in nested.model.layers],
        frozen=[isinstance(layer, keras.layers.BatchNormalization) for layer in nested.model.layers],  # as in `Task`
        parameters=nested.model.count_params(),
        macs=footprint.macs(footprint.uses_of(graph.ancestors([output], [inputs]))),
        keys={graph.key(inputs): graph.key(output)},
    )


def _fits_memory(features: Fetched) -> bool:
    return features.bytes / 1e6 <= min(MAX_MEMORY_MB, MAX_MEMORY_SHARE * machine.available_mb())
