"""All private members of Keras that the suite uses. Tested with Keras 3.14.0 to 3.15.1.

`tests/test_private.py` fails if a member no longer exists, or if another module uses one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras
from keras.src.backend import config  # for `keras_home()`, the folder of KERAS_HOME
from keras.src.models.functional import Functional  # the class of `keras.Model(inputs, outputs)`

__all__ = ["Functional", "config"]

Node = Any
"""One use of an operation, a `keras.src.ops.node.Node`: its `operation`, `arguments`, `input_tensors`, `outputs`."""


def layers_within(layer: keras.Layer) -> list[keras.Layer]:
    """Return a layer or model and all layers in it, at any depth, a model before its layers."""
    return list(layer._flatten_layers())


def nodes_of(model: Functional) -> list[Node]:
    """Return every use of an operation in a model except its inputs, in order of computation."""
    by_depth = model._nodes_by_depth
    return [node for depth in sorted(by_depth, reverse=True) for node in by_depth[depth] if not node.is_input]


def producer(tensor: Any) -> Node:
    """Return the use of an operation that computes a `keras.KerasTensor`."""
    operation, number, _ = tensor._keras_history
    return operation._inbound_nodes[number]


def is_random(layer: keras.Layer) -> bool:
    """Return whether a layer draws random numbers from Keras' seed generators."""
    return bool(layer._seed_generators)


def without_dropout(layer: keras.layers.Dropout) -> None:
    """Make a dropout layer the identity, without the state of a random generator."""
    layer.rate = 0.0
    layer._seed_generators.clear()


def takes_training(layer: keras.Layer) -> bool:
    """Return whether a layer's `call`, or the function of a `Lambda`, has the argument `training`."""
    return bool(getattr(layer, "_fn_expects_training_arg", layer._call_has_training_arg))


def compile_settings(model: keras.Model) -> Mapping[str, Any]:
    """Return the arguments with which a model was compiled; `get_compile_config` would serialise them."""
    settings: Mapping[str, Any] = model._compile_config.config
    return settings
