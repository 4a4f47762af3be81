"""The frozen prefix: the part of a Keras model that is a fixed function of the picture, and where it ends.

An operation is frozen when all its inputs are, it has no trainable variable, and it does the same at training time as
at prediction. The tensors that cross from frozen operations to others are the model's features: the prefix computes
them from pictures, and the tail, which is what gets trained, takes them. Both share the model's own layers, so that the
whole model is there, trained, when the tail is.

A tensor that the prefix computes has a key: a hash of the operations above it, their settings and their weights, down
to the pictures (Merkle, 1987). Two models that share a prefix share the keys of its tensors, whoever built them.
"""

from __future__ import annotations

import hashlib
import inspect
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras.src.models.functional import Functional  # what `keras.Model(inputs, outputs)` gives; it has no public name

from bench.data import pixels
from bench.training.frozen.sketch import Sketched

Tensor = Any
"""A `keras.KerasTensor`."""

Node = Any
"""One use of an operation: its `operation`, `arguments`, `input_tensors` and `outputs`."""


class NoPrefix(Exception):
    """A model is trained end to end; says why."""


@dataclass(frozen=True)
class Nested:
    """A model inside another: what goes in and comes out."""

    model: keras.Model
    inputs: Sequence[Tensor]
    outputs: Sequence[Tensor]


class Graph:
    """The operations of a functional or sequential model, those of models that are nested in it included.

    Args:
        model: On pictures of shape (size, size, 3).

    Attributes:
        model: The model.
        input, output: Its tensors.
        nested: Models in it, whose operations are among its own.
        nodes: Every use of an operation, inputs before what they go into.

    Raises:
        NoPrefix: The model is no such model, or trains in a way of its own.
    """

    def __init__(self, model: keras.Model) -> None:
        if type(model) not in (Functional, keras.Sequential):
            raise NoPrefix(f"{type(model).__name__} is a class of its own, not a functional model")
        if len(model.inputs) != 1 or len(model.outputs) != 1:
            raise NoPrefix(f"the model has {len(model.inputs)} inputs and {len(model.outputs)} outputs")
        self.model = model
        self.input = keras.Input(batch_shape=model.inputs[0].shape, dtype=model.inputs[0].dtype)
        self.nested: list[Nested] = []
        (self.output,) = self._flattened(model, [self.input])
        self.nodes = list(_nodes(self.input, self.output))
        self._makers = {id(tensor): node for node in self.nodes for tensor in node.outputs}
        self._keys: dict[int, str] = {}

    def _flattened(self, model: keras.Model, inputs: Sequence[Tensor]) -> list[Tensor]:
        """A model's outputs for other inputs, the layers of models nested in it called one by one."""
        if not isinstance(model, Functional):
            model = keras.Model(model.inputs, model.outputs)
        tensors = {id(old): new for old, new in zip(model.inputs, inputs, strict=True)}
        for depth in sorted(model._nodes_by_depth, reverse=True):
            for node in model._nodes_by_depth[depth]:
                if node.is_input:
                    continue
                if type(node.operation) in (Functional, keras.Sequential):
                    given = [tensors[id(tensor)] for tensor in node.input_tensors]
                    outputs = self._flattened(node.operation, given)
                    self.nested.append(Nested(node.operation, given, outputs))
                else:
                    outputs = _called_again(node, tensors)
                tensors |= {id(old): new for old, new in zip(node.outputs, outputs, strict=True)}
        return [tensors[id(tensor)] for tensor in model.outputs]

    def maker(self, tensor: Tensor) -> Node:
        """The use of an operation that a tensor comes from."""
        return self._makers[id(tensor)]

    def cut(self) -> Cut:
        """Where the frozen prefix ends, as the layers are frozen now.

        Raises:
            NoPrefix: Nothing is trained, or no layer with weights is frozen at the beginning.
        """
        frozen = {id(self.input)}
        for node in self.nodes:
            if all(id(tensor) in frozen for tensor in node.input_tensors) and not _changes(node.operation):
                frozen.update(id(tensor) for tensor in node.outputs)
        if id(self.output) in frozen or not self.model.trainable:
            raise NoPrefix("nothing of it is trained")
        crossing: dict[int, Tensor] = {}
        for node in self.nodes:
            if id(node.outputs[0]) not in frozen:
                found = (self._before_growth(tensor) for tensor in node.input_tensors if id(tensor) in frozen)
                crossing |= {id(tensor): tensor for tensor in found}
        if id(self.input) in crossing and len(crossing) > 1:
            raise NoPrefix("its pictures go past the frozen layers")
        cut = Cut(self, tuple(crossing.values()))
        if not any(_has_weights(node.operation) for node in self.above(cut.tensors)):
            raise NoPrefix("it begins with no frozen layer")
        return cut

    def _before_growth(self, tensor: Tensor) -> Tensor:
        """The tensor, or a smaller one that it is made of without weights, e.g. by padding."""
        while tensor is not self.input:
            node = self.maker(tensor)
            if _has_weights(node.operation) or len(node.input_tensors) != 1:
                break
            if _size(node.input_tensors[0]) >= _size(tensor):
                break
            tensor = node.input_tensors[0]
        return tensor

    def above(self, tensors: Sequence[Tensor], given: Sequence[Tensor] = ()) -> list[Node]:
        """What computes these tensors from the input, or from tensors that are given."""
        needed = {id(tensor) for tensor in tensors}
        known = {id(tensor) for tensor in (self.input, *given)}
        found = []
        for node in reversed(self.nodes):
            if any(id(tensor) in needed - known for tensor in node.outputs):
                found.append(node)
                needed.update(id(tensor) for tensor in node.input_tensors)
        return found[::-1]

    # -- keys

    def key(self, tensor: Tensor) -> str:
        """Tells apart what tensors hold, given the same pictures: 32 hexadecimal digits.

        Raises:
            NoPrefix: An operation above it does not say what it does.
        """
        if tensor is self.input:
            return _digest("pictures", pixels.VERSION, keras.version(), tensor.shape[1:], tensor.dtype)
        known = self._keys
        if id(tensor) not in known:
            for node in self.above([tensor]):
                for number, output in enumerate(node.outputs):
                    if id(output) not in known:
                        above = [self.key(each) for each in node.input_tensors]
                        if isinstance(node.operation, Sketched):
                            known[id(output)] = node.operation.key(*above)
                        else:
                            known[id(output)] = _digest(number, _identity(node), above)
        return known[id(tensor)]


@dataclass(frozen=True)
class Cut:
    """Where a model's frozen prefix ends.

    Attributes:
        graph: The model's.
        tensors: The features: what crosses from the prefix into the tail.
    """

    graph: Graph
    tensors: tuple[Tensor, ...]

    @property
    def layers(self) -> tuple[str, ...]:
        """The layers whose outputs the features are."""
        return tuple(self.graph.maker(tensor).operation.name for tensor in self.tensors)

    @property
    def keys(self) -> list[str]:
        """The features' keys."""
        return [self.graph.key(tensor) for tensor in self.tensors]

    @property
    def shapes(self) -> list[tuple[int, ...]]:
        """The features' shapes, for one picture."""
        return [tuple(tensor.shape[1:]) for tensor in self.tensors]

    def tail(self) -> keras.Model:
        """What is trained: a model from the features to the model's output. It shares the model's layers."""
        inputs, (output,) = self._replayed(self.tensors, [self.graph.output])
        return keras.Model(inputs if len(inputs) > 1 else inputs[0], output)

    def prefix(self, given: Sequence[Tensor]) -> keras.Model:
        """A model from tensors that are known, e.g. the input, to the features; it takes and gives lists."""
        return keras.Model(*self._replayed(given, self.tensors))

    def _replayed(self, given: Sequence[Tensor], wanted: Sequence[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        """Calls the layers once more, from new inputs on, since one may be used on both sides of the cut."""
        inputs = [keras.Input(batch_shape=tensor.shape, dtype=tensor.dtype) for tensor in given]
        tensors = {id(old): new for old, new in zip(given, inputs, strict=True)}
        for node in self.graph.above(wanted, given):
            tensors |= {id(old): new for old, new in zip(node.outputs, _called_again(node, tensors), strict=True)}
        return inputs, [tensors[id(tensor)] for tensor in wanted]


# -- the graph


def _nodes(given: Tensor, wanted: Tensor) -> Iterator[Node]:
    by_depth = keras.Model(given, wanted)._nodes_by_depth
    return (node for depth in sorted(by_depth, reverse=True) for node in by_depth[depth] if not node.is_input)


def _called_again(node: Node, tensors: Mapping[int, Tensor]) -> list[Tensor]:
    """What an operation gives for other tensors, which are found under the ids of those that it was used on."""
    args, kwargs = node.arguments.fill_in(tensors)
    outputs: list[Tensor] = keras.tree.flatten(node.operation(*args, **kwargs))
    return outputs


def _changes(operation: Any) -> bool:
    """Whether an operation is trained, is random, or does something else at training time than at prediction."""
    if isinstance(operation, Sketched):
        return not operation.frozen
    if not isinstance(operation, keras.Layer):
        return False
    return any(_changes_itself(layer) for layer in operation._flatten_layers())


def _changes_itself(layer: keras.Layer) -> bool:
    if layer.trainable_variables or layer._seed_generators or getattr(layer, "activity_regularizer", None):
        return True
    if isinstance(layer, keras.layers.BatchNormalization):  # frozen, it is in inference mode even while training
        return bool(layer.trainable)
    if not _is_keras(type(layer)):  # nobody knows what it does with it
        return bool(layer._call_has_training_arg)
    return isinstance(layer, keras.layers.Lambda | keras.layers.SpectralNormalization)


def _has_weights(operation: Any) -> bool:
    return isinstance(operation, Sketched) or (isinstance(operation, keras.Layer) and bool(operation.variables))


def _size(tensor: Tensor) -> int:
    return math.prod(size or 1 for size in tensor.shape[1:])


# -- what an operation does


def _identity(node: Node) -> list[Any]:
    """What tells apart two uses of operations on the same inputs: class, settings, arguments and weights."""
    operation = node.operation
    arguments = keras.tree.map_structure(_described, [list(node.arguments.args), dict(node.arguments.kwargs)])
    return [_code(operation), _settings(operation), arguments, _weights(operation)]


def _settings(operation: Any) -> dict[str, Any]:
    """Those that decide on what it computes."""
    try:
        settings = operation.get_config()
    except NotImplementedError:
        raise NoPrefix(f"{type(operation).__name__} has no get_config, so its features cannot be told apart") from None
    return {name: each for name, each in settings.items() if name not in ("name", "trainable")}


def _described(argument: Any) -> str:
    if isinstance(argument, keras.KerasTensor):
        return "tensor"
    if hasattr(argument, "__array__"):  # its `repr` would leave numbers out
        return _digest_of(argument)
    return repr(argument)


def _weights(layer: Any) -> list[str]:
    return [_digest_of(variable.value) for variable in getattr(layer, "variables", ())]


def _code(operation: Any) -> list[Any]:
    """The class of an operation, and what its settings do not say: code and attributes that are not Keras' own."""
    found: list[Any] = [f"{type(operation).__module__}.{type(operation).__qualname__}"]
    own = [cls for cls in type(operation).__mro__ if not _is_keras(cls)]
    functions = [each for cls in own for each in vars(cls).values() if inspect.isfunction(each)]
    attributes = vars(operation)
    functions += [each for each in attributes.values() if inspect.isfunction(each) and not _is_keras(each)]
    for function in functions:
        try:
            found.append(_file_digest(Path(inspect.unwrap(function).__code__.co_filename)))
        except OSError:
            raise NoPrefix(f"the code of {function.__qualname__} cannot be read") from None
        found += [repr(cell.cell_contents) for cell in function.__closure__ or ()]
    if own:
        plain = {name: each for name, each in attributes.items() if isinstance(each, (bool, int, float, str, tuple))}
        found.append({name: repr(plain[name]) for name in sorted(plain) if not name.startswith("_") and name != "name"})
    return found


def _file_digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _is_keras(thing: Any) -> bool:
    return str(thing.__module__).split(".")[0] in ("keras", "tensorflow", "builtins", "abc")


def fingerprint(model: keras.Model) -> str:
    """Tells whether a model's layers still have the settings and weights that they had, whatever is frozen of them."""
    layers = [each for each in model._flatten_layers(include_self=False) if not isinstance(each, keras.Model)]
    return _digest([_settings(layer) for layer in layers], [_weights(layer) for layer in layers])


def _digest_of(array: Any) -> str:
    return hashlib.sha256(np.ascontiguousarray(array).data).hexdigest()


def _digest(*parts: Any) -> str:
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=_described).encode()).hexdigest()[:32]
