"""Backbones that need not be built: what is known of one that was built before stands for it.

Building MobileNetV2 and loading its weights takes a second, which is most of a trial whose features are in the cache.
A family gets a sketch instead of the backbone: a layer with the backbone's output shape, and the backbone's layers,
which can be looked at and frozen. Where more is asked of it, where it is not frozen as a whole, or where features are
missing, the family is built again with the backbone itself.
"""

from __future__ import annotations

import functools
import hashlib
import importlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import keras
from keras.src.models.functional import Functional

from bench.cache import directory
from bench.cache.files import write_text


class NotSketched(Exception):
    """A family wants something of a backbone that its sketch does not know."""


@dataclass(frozen=True)
class Outline:
    """What is known of a backbone.

    Attributes:
        name: The model's.
        output_shape: For one picture.
        layers: Name, module and class of every layer, in order.
        frozen: Of every layer, whether it was frozen to begin with.
        parameters, macs: Numbers in it, and multiply-accumulates for one picture.
        keys: The key of its output by that of its input (`prefix.Graph.key`).
    """

    name: str
    output_shape: tuple[int, ...]
    layers: Sequence[tuple[str, str, str]]
    frozen: Sequence[bool]
    parameters: int
    macs: int
    keys: Mapping[str, str]


class Outlines:
    """Outlines that are kept in the feature cache.

    Args:
        root: The folder of the cache.
    """

    def __init__(self, root: Path) -> None:
        self._folder = directory.kind_folder("features", root) / "outlines"

    def find(self, identity: Sequence[Any]) -> Outline | None:
        """The outline of a backbone that was built before; see `identity`."""
        try:
            return Outline(**json.loads(self._path(identity).read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):  # none, or damaged: the backbone is built
            return None

    def keep(self, identity: Sequence[Any], outline: Outline) -> None:
        """Adds what was found out of a backbone."""
        known = self.find(identity)
        if known is not None and set(outline.keys) <= set(known.keys):
            return
        keys = {**(known.keys if known else {}), **outline.keys}
        self._folder.mkdir(exist_ok=True)
        write_text(self._path(identity), json.dumps({**asdict(outline), "keys": keys}))

    def _path(self, identity: Sequence[Any]) -> Path:
        return self._folder / f"{hashlib.sha256(json.dumps(identity).encode()).hexdigest()[:32]}.json"


def identity(backbone: str, file: str | None, shape: Sequence[int], seed: int) -> list[Any]:
    """What decides on a backbone: its application and options, its weights, its pictures' shape.

    Args:
        backbone: `task.backbone_key`.
        file: The weights file; None where weights are drawn from the seed.
        shape: Of its input, for one picture.
        seed: Of that drawing.
    """
    about = Path(file).stat() if file else None
    weights = [file, about.st_size, about.st_mtime_ns] if about else [seed]
    return [1, keras.version(), backbone, weights, list(shape)]


class Sketched(keras.layers.Layer):  # type: ignore[misc]
    """Stands in a model for a backbone that is not built.

    Attributes:
        outline: What is known of it.
    """

    def __init__(self, outline: Outline) -> None:
        super().__init__(name=outline.name)
        self.outline = outline
        backbone = SketchedBackbone(outline)
        self._backbone: Callable[[], SketchedBackbone] = lambda: (
            backbone
        )  # Keras makes a layer of what passes for a model

    @property
    def backbone(self) -> SketchedBackbone:
        """What the family freezes."""
        return self._backbone()

    @property
    def frozen(self) -> bool:
        """Whether nothing of it would be trained."""
        return not any(layer.trainable for layer in self.backbone.layers)

    def key(self, above: str) -> str:
        """The key of its output, given that of its input."""
        if above not in self.outline.keys:
            raise NotSketched(f"{self.name} on other inputs")
        return self.outline.keys[above]

    def call(self, inputs: Any) -> Any:
        """Not to be computed."""
        raise NotSketched(f"the output of {self.name}")

    def compute_output_spec(self, inputs: Any) -> Any:
        """A tensor of the shape that the backbone gives."""
        return keras.KerasTensor((None, *self.outline.output_shape), "float32")


class _Known:
    """An object of which some things are known; asking for others raises `NotSketched`.

    It passes for an instance of the class that it stands for.
    """

    def __init__(self, name: str, cls: Callable[[], type], trainable: bool) -> None:
        vars(self).update(name=name, trainable=trainable, _cls=cls)

    def __setattr__(self, name: str, value: Any) -> None:
        if name != "trainable":
            raise NotSketched(f"another {name} of {self.name}")
        super().__setattr__(name, value)

    @property  # type: ignore[misc]
    def __class__(self) -> type:
        stands_for: type = self._cls()
        return stands_for

    def __getattr__(self, name: str) -> Any:
        raise NotSketched(f"{name} of {self.__dict__.get('name')}")

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        raise NotSketched(f"a call of {self.name}")


class SketchedBackbone(_Known):
    """What a family gets in place of the backbone: its layers, by name and number, and whether they are trained."""

    def __init__(self, outline: Outline) -> None:
        super().__init__(outline.name, lambda: Functional, True)
        vars(self)["layers"] = [
            _Known(name, functools.partial(_class, module, cls), not frozen)
            for (name, module, cls), frozen in zip(outline.layers, outline.frozen, strict=True)
        ]

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(name, value)
        for layer in self.layers:  # as Keras does
            layer.trainable = value

    def get_layer(self, name: str | None = None, index: int | None = None) -> Any:
        """A layer, as `keras.Model.get_layer` gives it."""
        for number, layer in enumerate(self.layers):
            if layer.name == name or number == index:
                return layer
        raise NotSketched(f"layer {name or index} of {self.name}")

    def _flatten_layers(self) -> list[Any]:
        return [self, *self.layers]


def _class(module: str, name: str) -> type:
    found: type = getattr(importlib.import_module(module), name)
    return found
