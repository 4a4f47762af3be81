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
from bench.training.pretrained import Application, backbone_key


@dataclass(frozen=True)
class Backbone:
    """A backbone, or its sketch, that a family has asked for: a function of `keras.applications` and its arguments.

    Attributes:
        identity: Everything that it depends on (`sketch.identity`).
        pristine: Its fingerprint before the family changed anything; "" where none is needed.
    """

    application: Application
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
        files: Weights files by `backbone_key`; "" where they cannot be had.
        missing_weights: One of `config.RunConfig.missing_weights`; with "skip" and "error" a backbone whose weights
            cannot be had is a WeightsError.
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
        missing_weights: str = "random",
    ) -> None:
        self.class_names = tuple(class_names)
        self.num_classes = len(self.class_names)
        self.input_sizes = list(input_sizes)
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

    def backbone(self, application: Application, x: Any, **options: Any) -> tuple[Any, keras.Model]:
        """Put a Keras application, without its top, on a tensor of shape (batch, height, width, 3).

        Its batch normalisation is frozen, which keeps it in inference mode while the rest is fine-tuned: small batches
        of other pictures would spoil its statistics (Keras guide "Transfer learning & fine-tuning"). Calling the
        backbone with `training=False`, as that guide does, is not enough: Keras 3.15 lets the outer model's
        `training=True` override it.

        Args:
            application: A function of `keras.applications`, or one that takes its arguments and asks
                `keras.utils.get_file` for its weights; `options` are its arguments, e.g. `alpha=0.35`.
            x: The preprocessed pixels.

        Returns:
            Its feature maps, and the backbone itself, whose `layers` the family may freeze.
        """
        key, shape = backbone_key(application, options), x.shape[1:]
        file = self._file(key, application, options, shape) if self._weights == Weights.IMAGENET else None
        weights = Weights.MISSING if self._weights == Weights.IMAGENET and not file else self._weights
        identity = sketch.identity(key, file, shape, self._seed + len(self.backbones))
        outlines = self._outlines if pretrained.of_keras(application) else None
        outline = outlines.find(identity) if outlines and self._sketching else None
        if outline is not None:
            sketched = sketch.Sketched(outline)
            features, model = sketched(x), cast(keras.Model, sketched.backbone)
        else:
            model = self._built(application, options, shape, file)
            features = model(x)
        pristine = fingerprint(model) if outlines and not outline else ""
        self.backbones.append(Backbone(application, options, weights, identity, pristine, model))
        # Later random weights are then the same, whether the backbone is built or sketched.
        self._set_seed()
        return features, model

    def _set_seed(self) -> None:
        """Seed what is drawn next, by the number of backbones so far; Keras takes 32 bits."""
        keras.utils.set_random_seed((self._seed + len(self.backbones)) % 2**32)

    def _file(
        self, key: str, application: Application, options: Mapping[str, Any], shape: Sequence[int | None]
    ) -> str | None:
        """Name a backbone's weights file; looked for here if the family's probe has not met the backbone."""
        if key not in self._files:
            found = pretrained.look(application, options, shape, load=False)
            self._files[key] = "" if found.missing or found.problem else found.path
        if not self._files[key] and self._missing_weights != "random":
            raise WeightsError(f"no imagenet weights for {key} (--missing-weights {self._missing_weights})")
        return self._files[key] or None

    def _built(
        self,
        application: Application,
        options: Mapping[str, Any],
        shape: Sequence[int | None],
        file: str | None,
    ) -> keras.Model:
        self._set_seed()
        model = pretrained.build(application, options, shape, file)
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
