"""`task`: the second argument of a search space's `build`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import keras
from keras import layers

from bench.errors import WeightsError
from bench.records import Weights
from bench.training import pretrained
from bench.training.frozen import sketch
from bench.training.frozen.identity import fingerprint
from bench.training.keras_private import layers_within, without_dropout
from bench.training.pretrained import Application, backbone_key


@dataclass(frozen=True)
class Backbone:
    """A backbone that a family requested, or its sketch.

    Attributes:
        application, options: A function of `keras.applications`, and its arguments.
        identity: Everything that it depends on (`sketch.identity`).
        original_fingerprint: Fingerprint before the family changed anything; "" if not needed.
    """

    application: Application
    options: Mapping[str, Any]
    weights: Weights
    identity: Sequence[Any]
    original_fingerprint: str
    model: Any


class Task:
    """Description of the classification task, and source of backbones.

    Args:
        class_names: Names in the order of the labels.
        input_sizes: Picture sizes in pixels that suit the data.
        weights: "imagenet" or "random".
        files: Weights files by `backbone_key`; "" if unavailable.
        missing_weights: One of `config.RunConfig.missing_weights`; with "skip" and "error", a backbone whose weights
            are unavailable raises a WeightsError.
        seed: Seed of random weights.
        outlines: Outlines of backbones that were built before; None neither reads nor records any.
        sketching: Whether to replace backbones that have an outline by sketches.
        unbalanced: As in `records.SplitInfo`; families read it.
    """

    def __init__(
        self,
        class_names: Sequence[str],
        input_sizes: Sequence[int],
        weights: str = "random",
        files: Mapping[str, str] | None = None,
        seed: int = 0,
        outlines: sketch.Outlines | None = None,
        sketching: bool = False,
        missing_weights: str = "random",
        unbalanced: bool = False,
    ) -> None:
        self.class_names = tuple(class_names)
        self.num_classes = len(self.class_names)
        self.input_sizes = list(input_sizes)
        self.unbalanced = unbalanced
        self.backbones: list[Backbone] = []
        self._weights = Weights(weights)
        self._files = dict(files or {})
        self._missing_weights = missing_weights
        self._seed, self._outlines, self._sketching = seed, outlines, sketching

    def classify(self, x: Any) -> Any:
        """Add the last layer, shape (batch, units): one sigmoid unit for two classes, else a softmax over all."""
        if self.num_classes == 2:
            return layers.Dense(1, activation="sigmoid", name="classify")(x)
        return layers.Dense(self.num_classes, activation="softmax", name="classify")(x)

    def backbone(
        self, application: Application | str, x: Any, *, preprocess: bool = False, **options: Any
    ) -> tuple[Any, keras.Model]:
        """Apply a Keras application, without its top, to a tensor of shape (batch, height, width, 3).

        Its batch normalisation is frozen and therefore stays in inference mode during fine-tuning: small batches of
        other pictures would spoil its statistics (Keras guide "Transfer learning & fine-tuning"). For the same reason
        its dropout is off. Calling the backbone with `training=False`, as in that guide, is not enough: in Keras 3.15
        the outer model's `training=True` overrides it.

        Args:
            application: A function of `keras.applications`, its name, or a function with the same arguments that gets
                its weights from `keras.utils.get_file`.
            x: The preprocessed pixels; raw ones, 0 to 255, with `preprocess`.
            preprocess: Whether to apply the `preprocess_input` in the application's module first.
            options: Arguments of the application, e.g. `alpha=0.35`.

        Returns:
            The feature maps, and the backbone itself, whose `layers` the family may freeze.

        Raises:
            ConfigError: Unknown name.
            ValueError: The application's preprocessing is not known.
        """
        if isinstance(application, str):
            application = pretrained.application(application)
        return self._backbone(application, self._preprocessed(application, x) if preprocess else x, options)

    def _preprocessed(self, application: Application, x: Any) -> Any:
        preprocess_input = pretrained.preprocessing(application)
        if preprocess_input is None:
            raise ValueError(f"no preprocess_input beside {application.__name__}: preprocess its pixels in build")
        return preprocess_input(x)

    def _backbone(self, application: Application, x: Any, options: Mapping[str, Any]) -> tuple[Any, keras.Model]:
        key, shape = backbone_key(application, options), x.shape[1:]
        file = self._file(key, application, options, shape) if self._weights == Weights.IMAGENET else None
        weights = Weights.MISSING if self._weights == Weights.IMAGENET and not file else self._weights
        identity = sketch.identity(key, file, shape, self._seed + len(self.backbones))
        outlines = self._outlines if pretrained.is_from_keras(application) else None
        outline = outlines.find(identity) if outlines and self._sketching else None
        if outline is not None:
            sketched = sketch.Sketched(outline)
            features, model = sketched(x), cast(keras.Model, sketched.backbone)
        else:
            model = self._build(application, options, shape, file)
            features = model(x)
        original_fingerprint = fingerprint(model) if outlines and not outline else ""
        self.backbones.append(Backbone(application, options, weights, identity, original_fingerprint, model))
        # Makes later random weights the same for a built and a sketched backbone.
        self._set_seed()
        return features, model

    def _set_seed(self) -> None:
        """Set the random seed, which depends on the number of backbones so far; Keras takes 32 bits."""
        keras.utils.set_random_seed((self._seed + len(self.backbones)) % 2**32)

    def _file(
        self, key: str, application: Application, options: Mapping[str, Any], shape: Sequence[int | None]
    ) -> str | None:
        """Return the path of a backbone's weights file, None if unavailable; searched if the probe did not."""
        if key not in self._files:
            file = pretrained.find_weights(application, options, shape, load=False)
            self._files[key] = "" if file.missing or file.problem else file.path
        if not self._files[key] and self._missing_weights != "random":
            raise WeightsError(f"no imagenet weights for {key} (--missing-weights {self._missing_weights})")
        return self._files[key] or None

    def _build(
        self,
        application: Application,
        options: Mapping[str, Any],
        shape: Sequence[int | None],
        file: str | None,
    ) -> keras.Model:
        self._set_seed()
        model = pretrained.build(application, options, shape, file)
        for layer in layers_within(model):
            if isinstance(layer, layers.BatchNormalization):
                layer.trainable = False
            elif isinstance(layer, layers.Dropout):
                without_dropout(layer)
        return model

    @property
    def sketched(self) -> bool:
        """True if a sketch replaces one of the backbones."""
        return any(isinstance(backbone.model, sketch.SketchedBackbone) for backbone in self.backbones)

    @property
    def weights_used(self) -> Weights:
        """Weights that the backbones started from."""
        used = {backbone.weights for backbone in self.backbones}
        return Weights.MISSING if Weights.MISSING in used else next(iter(used), Weights.NONE)


BuiltBackbones = dict[tuple[int, str, tuple[int | None, ...]], tuple[keras.Model, list[bool]]]
"""Backbones by their number in the model, `backbone_key` and input shape, with `trainable` of all their layers."""


class ReusingTask(Task):
    """Task with random weights that builds each backbone only once, for models that are built but not trained.

    Args:
        built: Backbones of earlier builds; new ones are added.
    """

    def __init__(
        self, class_names: Sequence[str], input_sizes: Sequence[int], built: BuiltBackbones, unbalanced: bool = False
    ) -> None:
        super().__init__(class_names, input_sizes, unbalanced=unbalanced)
        self._built = built

    def _build(
        self, application: Application, options: Mapping[str, Any], shape: Sequence[int | None], file: str | None
    ) -> keras.Model:
        key = len(self.backbones), backbone_key(application, options), tuple(shape)
        if key not in self._built:
            model = super()._build(application, options, shape, file)
            self._built[key] = model, [layer.trainable for layer in layers_within(model)]
        model, trainable = self._built[key]
        for layer, original in zip(layers_within(model), trainable, strict=True):
            layer.trainable = original
        return model
