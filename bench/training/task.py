"""`task`: the second argument of a search space's `build`."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import keras
from keras import layers

from bench.records import Weights
from bench.training.frozen import sketch
from bench.training.frozen.identity import fingerprint


@dataclass(frozen=True)
class Backbone:
    """A backbone, or its sketch, that a family has asked for: a function of `keras.applications` and its arguments.

    Attributes:
        identity: Everything that it depends on (`sketch.identity`).
        pristine: Its fingerprint before the family changed anything; "" where none is needed.
    """

    application: Callable[..., Any]
    options: Mapping[str, Any]
    weights: Weights
    identity: Sequence[Any]
    pristine: str
    model: Any


class Task:
    """Description of the classification task, and source of backbones.

    Args:
        class_names: Names in the order of the labels.
        input_sizes: Picture sizes in pixels that suit the data.
        weights: "imagenet" or "random".
        files: Weights files by `backbone_key`.
        seed: Seed of random weights.
        outlines: Outlines of backbones that were built before; None neither reads nor records any.
        sketching: Whether a sketch stands for a backbone that has an outline.
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
    ) -> None:
        self.class_names = tuple(class_names)
        self.num_classes = len(self.class_names)
        self.input_sizes = list(input_sizes)
        self.backbones: list[Backbone] = []
        self._weights = Weights(weights)
        self._files = dict(files or {})
        self._seed, self._outlines, self._sketching = seed, outlines, sketching

    def classify(self, x: Any) -> Any:
        """Add the last layer, shape (batch, units): one sigmoid unit for two classes, else a softmax over all."""
        if self.num_classes == 2:
            return layers.Dense(1, activation="sigmoid", name="classify")(x)
        return layers.Dense(self.num_classes, activation="softmax", name="classify")(x)

    def backbone(self, application: Callable[..., Any], x: Any, **options: Any) -> tuple[Any, keras.Model]:
        """Put a Keras application, without its top, on a tensor of shape (batch, height, width, 3).

        Its batch normalisation is frozen, which keeps it in inference mode while the rest is fine-tuned: small batches
        of other pictures would spoil its statistics (Keras guide "Transfer learning & fine-tuning"). Calling the
        backbone with `training=False`, as that guide does, is not enough: Keras 3.15 lets the outer model's
        `training=True` override it.

        Args:
            application: A function of `keras.applications`; `options` are its arguments, e.g. `alpha=0.35`.
            x: The preprocessed pixels.

        Returns:
            Its feature maps, and the backbone itself, whose `layers` the family may freeze.
        """
        key = backbone_key(application, options)
        file = self._files.get(key)
        weights = Weights.MISSING if self._weights == Weights.IMAGENET and not file else self._weights
        identity = sketch.identity(key, file, x.shape[1:], self._seed + len(self.backbones))
        of_keras = application.__module__.startswith("keras.")  # other code may change between trials
        outlines = self._outlines if of_keras else None
        outline = outlines.find(identity) if outlines and self._sketching else None
        if outline is not None:
            sketched = sketch.Sketched(outline)
            features, model = sketched(x), cast(keras.Model, sketched.backbone)
        else:
            model = self._built(application, file, x, options)
            features = model(x)
        pristine = fingerprint(model) if outlines and not outline else ""
        self.backbones.append(Backbone(application, options, weights, identity, pristine, model))
        # Later random weights are then the same, whether the backbone is built or sketched.
        self._set_seed()
        return features, model

    def _set_seed(self) -> None:
        """Seed what is drawn next, by the number of backbones so far; Keras takes 32 bits."""
        keras.utils.set_random_seed((self._seed + len(self.backbones)) % 2**32)

    def _built(
        self, application: Callable[..., Any], file: str | None, x: Any, options: Mapping[str, Any]
    ) -> keras.Model:
        self._set_seed()
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*input_shape. is undefined or non-square.*")
            model: keras.Model = application(include_top=False, weights=file, input_shape=tuple(x.shape[1:]), **options)
        for layer in model.layers:
            if isinstance(layer, layers.BatchNormalization):
                layer.trainable = False
        return model

    @property
    def sketched(self) -> bool:
        """Tell whether a sketch stands for a backbone."""
        return any(isinstance(backbone.model, sketch.SketchedBackbone) for backbone in self.backbones)

    @property
    def weights_used(self) -> Weights:
        """Weights that the backbones started from."""
        used = {backbone.weights for backbone in self.backbones}
        return Weights.MISSING if Weights.MISSING in used else next(iter(used), Weights.NONE)


def backbone_key(application: Callable[..., Any], options: Mapping[str, Any]) -> str:
    """Name a backbone by what decides on its weights file, e.g. `MobileNetV2 {"alpha": 0.35}`."""
    return f"{application.__name__} {json.dumps(options, sort_keys=True, default=str)}"
