"""`task`: all that a search-space file asks of the suite."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import keras
from keras import layers

from bench.training.frozen import sketch
from bench.training.frozen.graph import fingerprint

MISSING = "random (missing)"
"""The label of a backbone whose pretrained weights could not be had."""


@dataclass(frozen=True)
class Backbone:
    """A backbone that a family has asked for.

    Attributes:
        application: A function of `keras.applications`.
        options: What it was called with.
        weights: The label of what it started from.
        identity: What decides on it (`sketch.identity`).
        pristine: Its fingerprint before the family did anything with it; "" where none is needed.
        model: The backbone, or its sketch.
    """

    application: Callable[..., Any]
    options: Mapping[str, Any]
    weights: str
    identity: Sequence[Any]
    pristine: str
    model: Any


class Task:
    """What is classified, and with which weights backbones start.

    Args:
        class_names: In the order of the labels.
        input_sizes: Picture sizes in pixels that suit the data.
        weights: "imagenet" or "random".
        files: Weights files that were found and checked, by `backbone_key`.
        seed: Of what is drawn: weights that come from no file.
        outlines: What is known of backbones that were built before; None where nobody wants to know.
        sketching: Whether those need not be built.

    Attributes:
        backbones: Every backbone asked for so far.
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
        self._weights = weights
        self._files = dict(files or {})
        self._seed, self._outlines, self._sketching = seed, outlines, sketching

    def classify(self, x: Any) -> Any:
        """The last layer, shape (batch, units): one sigmoid unit for two classes, else a softmax over all."""
        if self.num_classes == 2:
            return layers.Dense(1, activation="sigmoid", name="classify")(x)
        return layers.Dense(self.num_classes, activation="softmax", name="classify")(x)

    def backbone(self, application: Callable[..., Any], x: Any, **options: Any) -> tuple[Any, keras.Model]:
        """A Keras application, without its top, on a tensor of shape (batch, height, width, 3).

        Its batch normalisation is frozen, and so in inference mode while the rest is fine-tuned: small batches of
        another kind of picture would spoil its statistics (Keras guide "Transfer learning & fine-tuning"). Calling the
        backbone with `training=False`, as that guide does, is not enough: Keras 3.15 lets the outer model's
        `training=True` override it.

        Args:
            application: A function of `keras.applications`.
            x: The preprocessed pixels.
            options: Passed on to the application, e.g. `alpha=0.35`.

        Returns:
            Its feature maps, and the backbone itself, whose `layers` can be frozen.
        """
        key = backbone_key(application, options)
        file = self._files.get(key)
        used = self._weights if file or self._weights == "random" else MISSING
        which = sketch.identity(key, file, x.shape[1:], self._seed + len(self.backbones))
        own = not application.__module__.startswith("keras.")  # its code may be another tomorrow
        outlines = None if own else self._outlines
        outline = outlines.find(which) if outlines and self._sketching else None
        if outline is not None:
            sketched = sketch.Sketched(outline)
            features, model = sketched(x), sketched.backbone
        else:
            model = self._built(application, file, x, options)
            features = model(x)
        pristine = fingerprint(model) if outlines and not outline else ""
        self.backbones.append(Backbone(application, options, used, which, pristine, model))
        keras.utils.set_random_seed(self._seed + len(self.backbones))  # what follows is drawn alike, built or sketched
        return features, model

    def _built(
        self, application: Callable[..., Any], file: str | None, x: Any, options: Mapping[str, Any]
    ) -> keras.Model:
        keras.utils.set_random_seed(self._seed + len(self.backbones))
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*input_shape. is undefined or non-square.*")
            model = application(include_top=False, weights=file, input_shape=tuple(x.shape[1:]), **options)
        for layer in model.layers:
            if isinstance(layer, layers.BatchNormalization):
                layer.trainable = False
        return model

    @property
    def weights_used(self) -> str:
        """The label of what the backbones started from; "" where none was asked for."""
        used = {backbone.weights for backbone in self.backbones}
        return MISSING if MISSING in used else ", ".join(sorted(used))


def backbone_key(application: Callable[..., Any], options: Mapping[str, Any]) -> str:
    """Names a backbone by what decides on its weights file, e.g. `MobileNetV2 {"alpha": 0.35}`."""
    return f"{application.__name__} {json.dumps(options, sort_keys=True, default=str)}"
