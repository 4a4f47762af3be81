"""Sketches of backbones: placeholders that a family gets for backbones that were built before.

Building MobileNetV2 and loading its weights takes a second, most of the time of a trial whose features are in the
cache. A sketch is a layer with the backbone's output shape and the names, classes and `trainable` of its layers. If the
family uses more than that, if part of the backbone is trained, or if features are missing, the family is built again
with the backbone itself.
"""

from __future__ import annotations

import hashlib
import json
import pkgutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import keras

from bench.cache import directory
from bench.cache.files import write_text
from bench.training.keras_private import Functional


class NotSketched(Exception):
    """A family used something of a sketch that only the backbone has."""


@dataclass(frozen=True)
class Outline:
    """Recorded description of a backbone.

    Attributes:
        output_shape: Shape of its output for one picture.
        layers: Name, module and class of every layer, in order.
        frozen: For every layer, whether `Task` has frozen it.
        macs: Multiply-accumulates for one picture.
        keys: Keys of its output by key of its input (`graph.Graph.key`).
    """

    name: str
    output_shape: tuple[int, ...]
    layers: Sequence[tuple[str, str, str]]
    frozen: Sequence[bool]
    parameters: int
    macs: int
    keys: Mapping[str, str]


class Outlines:
    """Outlines in the feature cache; `root` is the folder of the cache."""

    def __init__(self, root: Path) -> None:
        self._folder = directory.kind_folder("features", root) / "outlines"

    def find(self, identity: Sequence[Any]) -> Outline | None:
        """Read the outline of a backbone that was built before."""
        try:
            return Outline(**json.loads(self._path(identity).read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):  # missing or damaged
            return None

    def save(self, identity: Sequence[Any], outline: Outline) -> None:
        """Record the outline of a backbone; its keys are added to those recorded before."""
        recorded = self.find(identity)
        keys = recorded.keys if recorded else {}
        if not set(outline.keys) <= set(keys):
            write_text(self._path(identity), json.dumps({**asdict(outline), "keys": {**keys, **outline.keys}}))

    def _path(self, identity: Sequence[Any]) -> Path:
        return self._folder / f"{hashlib.sha256(json.dumps(identity).encode()).hexdigest()[:32]}.json"


def identity(backbone: str, file: str | None, shape: Sequence[int], seed: int) -> list[Any]:
    """List everything that a backbone depends on.

    Args:
        backbone: Its `pretrained.backbone_key`.
        file: Its weights file; None for random weights from this seed.
        shape: Shape of one picture.
    """
    status = Path(file).stat() if file else None
    weights = [file, status.st_size, status.st_mtime_ns] if status else [seed]
    return [3, keras.version(), backbone, weights, list(shape)]


class Sketched(keras.layers.Layer):
    """Layer that replaces a backbone; the family can freeze layers of its `backbone`."""

    backbone: SketchedBackbone

    def __init__(self, outline: Outline) -> None:
        super().__init__(name=outline.name)
        self.outline = outline
        object.__setattr__(self, "backbone", SketchedBackbone(outline))  # Keras would track it as a sublayer

    @property
    def frozen(self) -> bool:
        """True if no layer of the backbone is trained."""
        return not any(layer.trainable for layer in self.backbone.layers)

    def key(self, input_key: str) -> str:
        """Look up the key of its output by the key of its input."""
        if input_key not in self.outline.keys:
            raise NotSketched(f"{self.name} on other inputs")
        return self.outline.keys[input_key]

    def call(self, inputs: Any) -> Any:
        """Raise NotSketched: only the backbone can compute its output."""
        raise NotSketched(f"the output of {self.name}")

    def compute_output_spec(self, inputs: Any) -> Any:
        """Return a symbolic tensor of the shape of the backbone's output."""
        return keras.KerasTensor((None, *self.outline.output_shape), "float32")


class _Placeholder:
    """Placeholder for a layer or model, with a name and `trainable`; other attributes raise `NotSketched`.

    For `isinstance` it is an instance of the replaced class.
    """

    def __init__(self, name: str, cls: type, trainable: bool) -> None:
        vars(self).update(name=name, trainable=trainable, _cls=cls)

    def __setattr__(self, name: str, value: Any) -> None:
        if name != "trainable":
            raise NotSketched(f"another {name} of {self.name}")
        super().__setattr__(name, value)

    @property  # type: ignore[misc]
    def __class__(self) -> type:
        cls: type = self._cls
        return cls

    def __getattr__(self, name: str) -> Any:
        raise NotSketched(f"{name} of {self.__dict__.get('name')}")

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        raise NotSketched(f"a call of {self.name}")


class SketchedBackbone(_Placeholder):
    """Placeholder for a backbone, with placeholders for its layers."""

    def __init__(self, outline: Outline) -> None:
        super().__init__(outline.name, Functional, True)
        vars(self)["layers"] = [
            _Placeholder(name, pkgutil.resolve_name(f"{module}:{cls}"), not frozen)
            for (name, module, cls), frozen in zip(outline.layers, outline.frozen, strict=True)
        ]

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(name, value)
        for layer in self.layers:  # as in Keras
            layer.trainable = value

    def get_layer(self, name: str | None = None, index: int | None = None) -> Any:
        """Return a layer by name or number, as `keras.Model.get_layer` does."""
        for number, layer in enumerate(self.layers):
            if layer.name == name or number == index:
                return layer
        raise NotSketched(f"layer {name or index} of {self.name}")

    def _flatten_layers(self) -> list[Any]:
        return [self, *self.layers]
