"""What is trained, a Keras model or a scikit-learn classifier, behind one face."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import keras
import numpy as np
import tensorflow as tf
from keras.src.models.functional import Functional

from bench.cache.files import replacing
from bench.data.sources import StageCallback
from bench.hyperparameters import Value
from bench.records import Epoch, Prefix
from bench.training import cost, memory, metrics, trainer
from bench.training.augmentation import augmentation
from bench.training.cost import ModelCost
from bench.training.examples import Part
from bench.training.frozen import sketch, stage
from bench.training.frozen.features import FeatureCache
from bench.training.frozen.graph import Graph, Nested, NoPrefix, fingerprint
from bench.training.frozen.stage import Stage
from bench.training.phases import Phase, phases
from bench.training.task import Backbone
from bench.training.trainer import Best, EpochReport


@dataclass(frozen=True)
class Training:
    """What a training took.

    Attributes:
        history: Its epochs; none where nothing is trained by epochs.
        fit_time_s: Seconds of training and validation.
        features_time_s: Seconds that computing the features takes, as measured when it was done.
        saved_time_s: How many of these were saved, since features were there.
        prefixes: What became of the frozen layers, phase by phase.
    """

    history: tuple[Epoch, ...]
    fit_time_s: float
    features_time_s: float = 0.0
    saved_time_s: float = 0.0
    prefixes: tuple[Prefix, ...] = ()


class Estimator(Protocol):
    """A model that is trained once, and then predicts.

    Attributes:
        size: Side of the pictures that it takes, in pixels.
    """

    size: int

    def fit(self, train: Part, validation: Part, *, epochs: int, patience: int, report: EpochReport) -> Training:
        """Trains, stopping early where validation gets no better; see `keras_trainer.fit`."""
        ...

    def refit(self, train: Part, epochs: Sequence[int]) -> None:
        """Trains for so many epochs in each phase, with nothing held out."""
        ...

    def predict(self, part: Part) -> metrics.Probabilities:
        """Class probabilities, shape (n, classes)."""
        ...

    def cost(self) -> ModelCost:
        """Measure the cost of using it, once it is trained."""
        ...

    def is_ready(self, train: Part, validation: Part, epochs: int) -> bool:
        """Whether it can be trained without a backbone that it has only a sketch of."""
        ...

    def save(self, path: Path) -> None:
        """Writes it as a `.keras` file; nothing where it is no Keras model.

        With a sketch for a backbone it writes what was trained, an `.npz` file of the same name.
        """
        ...

    def release(self) -> None:
        """Gives its memory back; it is of no use afterwards."""
        ...


class Network:
    """A Keras model.

    Args:
        model: As the family built it.
        values: Hyperparameters.
        num_classes: How many classes there are.
        seed: Of the training.
        backbones: Those in it, which a first phase freezes.
        cache: Where features of frozen layers are kept; None trains everything end to end.
        progress: Told of the computing of features.

    Raises:
        WrongModel: It cannot be trained on these pictures.
        ValueError: There is no such augmentation.
    """

    def __init__(
        self,
        model: keras.Model,
        values: Mapping[str, Value],
        num_classes: int,
        seed: int,
        *,
        backbones: Sequence[Backbone] = (),
        cache: FeatureCache | None = None,
        progress: StageCallback | None = None,
    ) -> None:
        self.size = trainer.check_model(model, num_classes)
        augmentation(values.get("augmentation"))
        self._model, self._values, self._seed = model, values, seed
        self._backbones, self._cache, self._progress = backbones, cache, progress
        self._batch_size = int(values.get("batch_size") or trainer.BATCH_SIZE)
        self._graph = _graph(model)
        self._trained: Stage | None = None

    def fit(self, train: Part, validation: Part, *, epochs: int, patience: int, report: EpochReport) -> Training:
        """Trains phase by phase with early stopping; the best epoch's weights are restored.

        Raises:
            TooLarge: It would not fit into memory.
        """
        start = time.perf_counter()
        history: list[Epoch] = []
        best = Best()
        ready = self._prepared(train, validation, epochs)
        for phase, prepared in ready:
            assert prepared.validation is not None
            with phase.freezing(self._frozen_by_phases):
                model = self._compiled(phase, prepared)
                history += trainer.fit(
                    model,
                    prepared.train,
                    prepared.validation,
                    epochs=phase.epochs,
                    patience=patience,
                    batch_size=self._batch_size,
                    seed=self._seed,
                    report=report,
                    predict=prepared.predict,
                    best=best,
                    phase=phase.name,
                    before=len(history),
                )
        fetched = [prepared.fetched for _, prepared in ready if prepared.fetched]
        cold_s = max((each.cold_s for each in fetched), default=0.0)  # each is computed from the one before it
        return Training(
            history=tuple(history),
            fit_time_s=time.perf_counter() - start - sum(each.waited_s for each in fetched),
            features_time_s=cold_s,
            saved_time_s=max(0.0, cold_s - sum(each.spent_s for each in fetched)),
            prefixes=tuple(prepared.prefix for _, prepared in ready),
        )

    def refit(self, train: Part, epochs: Sequence[int]) -> None:
        """Trains for so many epochs in each phase, with nothing held out."""
        before = 0
        for (phase, prepared), count in zip(self._prepared(train, None, max(epochs)), epochs, strict=True):
            with phase.freezing(self._frozen_by_phases):
                trainer.refit(
                    self._compiled(phase, prepared),
                    prepared.train,
                    epochs=count,
                    batch_size=self._batch_size,
                    seed=self._seed,
                    before=before,
                )
            before += count

    def predict(self, part: Part) -> metrics.Probabilities:
        """Class probabilities, shape (n, classes), of the trained model."""
        assert self._trained is not None
        return self._trained.predict(self._trained.examples(part))

    def cost(self) -> ModelCost:
        """Measure speed, size and operations."""
        assert self._trained is not None
        sketched = [layer.outline for layer in self._model.layers if isinstance(layer, sketch.Sketched)]
        parameters = self._model.count_params() + sum(outline.parameters for outline in sketched)
        used = cost.uses(self._model) if isinstance(self._graph, NoPrefix) else cost.uses_of(self._graph.nodes)
        return ModelCost(
            latency_ms=self._trained.latency_ms(),
            parameters=parameters,
            trainable_parameters=sum(int(np.prod(weight.shape)) for weight in self._model.trainable_weights),
            macs=cost.macs(used),
            model_size_mb=4e-6 * parameters,
        )

    def is_ready(self, train: Part, validation: Part, epochs: int) -> bool:
        """Whether it can be trained on features that are in the cache already; a sketch cannot be trained otherwise."""
        if isinstance(self._graph, NoPrefix):
            return False
        given = self._data(train, validation)
        for phase in phases(self._values, epochs):
            with phase.freezing(self._frozen_by_phases):
                if not stage.is_ready(self._graph, given, phase.epochs):
                    return False
        return True

    def take_over(self, path: Path) -> None:
        """Takes what was trained with sketches for the backbones; see `save`."""
        backbones = [backbone.model for backbone in self._backbones]
        layers = [layer for layer in self._model.layers if layer not in backbones]
        with np.load(path, allow_pickle=False) as arrays:
            weights = [arrays[name] for name in arrays.files]
        for layer in layers:
            layer.set_weights([weights.pop(0) for _ in layer.weights])

    def save(self, path: Path) -> None:
        """Writes a `.keras` file without the optimizer's state, replacing the old one whole.

        With a sketch for a backbone it writes the weights of the other layers, an `.npz` file of the same name: a
        second is saved, and `take_over` makes the whole of it.
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
        """Gives back what the weights and the optimizer's state hold.

        Nothing else would: TensorFlow registers custom gradients for good (`tf.custom_gradient` in a graph), Keras sums
        gradients through one, and so every training's graph and its variables outlive the model. Their values do not.
        """
        models = [self._model] + ([self._trained.model] if self._trained else [])
        optimizers = [each.optimizer for each in models if each.compiled]
        for variable in {id(each): each for holder in (*models, *optimizers) for each in holder.variables}.values():
            nothing = tf.zeros((), variable.value.dtype)
            tf.raw_ops.AssignVariableOp(resource=variable.value.handle, value=nothing)

    def _prepared(self, train: Part, validation: Part | None, epochs: int) -> list[tuple[Phase, Stage]]:
        """What each phase trains, with its features.

        The last phase is prepared first: its cut is the shallowest, and the features of deeper ones start from there.
        """
        found, given = [], self._data(train, validation)
        for phase in reversed(phases(self._values, epochs)):
            with phase.freezing(self._frozen_by_phases):
                prepared = stage.prepare(self._model, self._graph, given, phase=phase.name, epochs=phase.epochs)
                self._keep_outlines(prepared)
            found.append((phase, prepared))
        return found[::-1]

    def _compiled(self, phase: Phase, prepared: Stage) -> keras.Model:
        trainer.compile_model(prepared.model, self._values, self._model, phase.learning_rate)
        trainer.refuse_too_large(prepared.model, self._batch_size, memory.available_mb())
        self._trained = prepared
        return prepared.model

    def _data(self, train: Part, validation: Part | None) -> stage.Data:
        return stage.Data(train, validation, self._values.get("augmentation"), self._seed, self._cache, self._progress)

    @property
    def _frozen_by_phases(self) -> list[Any]:
        """The backbones that a first phase freezes: those of the task, or else the models nested in this one."""
        nested = [layer for layer in self._model.layers if isinstance(layer, keras.Model)]
        return [backbone.model for backbone in self._backbones] or nested

    def _keep_outlines(self, prepared: Stage) -> None:
        """Notes what is known of the backbones that are frozen as a whole, so that other trials need not build them."""
        if prepared.cut is None or self._cache is None:
            return
        graph, outlines = prepared.cut.graph, sketch.Outlines(self._cache.root)
        frozen = {id(tensor) for node in graph.above(prepared.cut.tensors) for tensor in node.outputs}
        for nested in graph.nested:
            for backbone in self._backbones:
                there = backbone.model is nested.model and id(nested.outputs[0]) in frozen
                if there and backbone.pristine and backbone.pristine == fingerprint(nested.model):
                    outlines.keep(backbone.identity, _outline(graph, nested))


def _outline(graph: Graph, nested: Nested) -> sketch.Outline:
    (given,), (output,) = nested.inputs, nested.outputs
    return sketch.Outline(
        name=nested.model.name,
        output_shape=tuple(output.shape[1:]),
        layers=[(layer.name, type(layer).__module__, type(layer).__qualname__) for layer in nested.model.layers],
        frozen=[isinstance(layer, keras.layers.BatchNormalization) for layer in nested.model.layers],  # as in `Task`
        parameters=nested.model.count_params(),
        macs=cost.macs(cost.uses_of(graph.above([output], [given]))),
        keys={graph.key(given): graph.key(output)},
    )


def _graph(model: keras.Model) -> Graph | NoPrefix:
    try:
        return Graph(model)
    except NoPrefix as reason:
        return reason


class Classifier:
    """A scikit-learn classifier on flattened pixels, 0 to 255.

    Args:
        model: It has `fit` and `predict_proba`.
        size: Side of the pictures, in pixels.
        seed: Its `random_state`, where it has one.
    """

    def __init__(self, model: Any, size: int, seed: int) -> None:
        if "random_state" in model.get_params():
            model.set_params(random_state=seed)
        self.size = size
        self._model = model

    def fit(self, train: Part, validation: Part, *, epochs: int, patience: int, report: EpochReport) -> Training:
        """Trains on all training pictures at once; nothing is validated meanwhile or reported."""
        pictures = _flat(train.pixels)
        start = time.perf_counter()
        self._model.fit(pictures, train.labels)
        return Training((), time.perf_counter() - start)

    def refit(self, train: Part, epochs: Sequence[int]) -> None:
        """Trains on all pictures at once."""
        self._model.fit(_flat(train.pixels), train.labels)

    def predict(self, part: Part) -> metrics.Probabilities:
        """Class probabilities, shape (n, classes)."""
        return self._probabilities(part.pixels)

    def cost(self) -> ModelCost:
        """Measure its speed."""
        return ModelCost(cost.latency_ms(self._probabilities, [(self.size, self.size, 3)]))

    def is_ready(self, train: Part, validation: Part, epochs: int) -> bool:
        """Always: it has no backbone."""
        return True

    def save(self, path: Path) -> None:
        """Nothing: it could only be kept as a pickle, which nobody should load."""

    def release(self) -> None:
        """Nothing: the last reference to it does that."""

    def _probabilities(self, pictures: Any) -> metrics.Probabilities:
        return metrics.as_probabilities(self._model.predict_proba(_flat(pictures)))


def _flat(pictures: Any) -> Any:
    return np.asarray(pictures).reshape(len(pictures), -1)
