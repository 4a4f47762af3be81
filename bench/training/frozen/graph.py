"""The graph of a Keras model, and its frozen prefix: the part that is a fixed function of the picture.

An operation is frozen if all its inputs are frozen, it has no trainable variable, and it does the same in training and
in prediction. The outputs of frozen operations that other operations take are the model's features: the prefix computes
them from pictures, and the tail is trained on them. Both use the model's layers, so training the tail trains the model.

A tensor in the prefix has a key: a hash of the operations that compute it from the picture, with their settings and
weights (Merkle, 1987). Models with the same prefix therefore have the same keys, independent of who built them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from bench.data import pixels
from bench.training.frozen.identity import NoPrefix, digest, identity, is_other_code
from bench.training.frozen.sketch import Sketched
from bench.training.keras_private import Functional, Node, is_random, layers_within, nodes_of, takes_training

Tensor = Any
"""A `keras.KerasTensor`."""

EXAMPLES = 4
"""Number of random inputs for testing a layer from outside Keras."""


@dataclass(frozen=True)
class Nested:
    """A model nested in another, with its inputs and outputs in that model."""

    model: keras.Model
    inputs: Sequence[Tensor]
    outputs: Sequence[Tensor]


class Graph:
    """Operations of a functional or sequential model on pictures, including those of nested models.

    Attributes:
        input, output: Input and output tensor.
        nested: Nested models; their operations are in `nodes` too.
        nodes: Every use of an operation, in order of computation.

    Raises:
        NoPrefix: The model is of another class, or has several inputs or outputs.
    """

    def __init__(self, model: keras.Model) -> None:
        if type(model) not in (Functional, keras.Sequential):
            raise NoPrefix(f"{type(model).__name__} is a subclassed model, not a functional one")
        if len(model.inputs) != 1 or len(model.outputs) != 1:
            raise NoPrefix(f"the model has {len(model.inputs)} inputs and {len(model.outputs)} outputs")
        self.model = model
        self.input = keras.Input(batch_shape=model.inputs[0].shape, dtype=model.inputs[0].dtype)
        self.nested: list[Nested] = []
        (self.output,) = self._flattened(model, [self.input])
        self.nodes = nodes_of(keras.Model(self.input, self.output))
        self._producers = {id(tensor): node for node in self.nodes for tensor in node.outputs}
        self._keys: dict[int, str] = {}
        self._deterministic: dict[int, bool] = {}

    def _flattened(self, model: keras.Model, inputs: Sequence[Tensor]) -> list[Tensor]:
        """Call the layers of a model and of its nested models one by one on other inputs; return the outputs."""
        if not isinstance(model, Functional):
            model = keras.Model(model.inputs, model.outputs)
        tensors = {id(old): new for old, new in zip(model.inputs, inputs, strict=True)}
        for node in nodes_of(model):
            if type(node.operation) in (Functional, keras.Sequential):
                nested_inputs = [tensors[id(tensor)] for tensor in node.input_tensors]
                outputs = self._flattened(node.operation, nested_inputs)
                self.nested.append(Nested(node.operation, nested_inputs, outputs))
            else:
                outputs = _call_on(node, tensors)
            tensors |= {id(old): new for old, new in zip(node.outputs, outputs, strict=True)}
        return [tensors[id(tensor)] for tensor in model.outputs]

    def producer(self, tensor: Tensor) -> Node:
        """Return the use of an operation that computes a tensor."""
        return self._producers[id(tensor)]

    def cut(self) -> Cut:
        """Find the end of the frozen prefix with the layers' current `trainable`; NoPrefix if there is none."""
        frozen = {id(self.input)}
        for node in self.nodes:
            if all(id(tensor) in frozen for tensor in node.input_tensors) and self._is_fixed(node):
                frozen.update(id(tensor) for tensor in node.outputs)
        if id(self.output) in frozen or not self.model.trainable:
            raise NoPrefix("none of its layers is trained")
        crossing: dict[int, Tensor] = {}
        for node in self.nodes:
            if id(node.outputs[0]) not in frozen:
                ends = (self._smallest_source(tensor) for tensor in node.input_tensors if id(tensor) in frozen)
                crossing |= {id(tensor): tensor for tensor in ends}
        if id(self.input) in crossing and len(crossing) > 1:
            raise NoPrefix("the pictures also bypass the frozen layers")
        cut = Cut(self, tuple(crossing.values()))
        if not any(_has_weights(node.operation) for node in self.ancestors(cut.tensors)):
            first = next((node for node in self.nodes if id(node.outputs[0]) not in frozen), self.nodes[0]).operation
            raise NoPrefix(f"it begins with no frozen layer: {first.name} ({type(first).__name__}) comes first")
        return cut

    def _is_fixed(self, node: Node) -> bool:
        """Return whether an operation is a fixed function of each picture."""
        if isinstance(node.operation, Sketched):
            return node.operation.frozen
        if _is_variable(node.operation):
            return False
        if not is_other_code(node.operation):
            return True
        if id(node) not in self._deterministic:
            self._deterministic[id(node)] = _is_deterministic(node)
        return self._deterministic[id(node)]

    def _smallest_source(self, tensor: Tensor) -> Tensor:
        """Return the tensor, or a smaller one from which it is computed without weights, e.g. by padding."""
        while tensor is not self.input:
            node = self.producer(tensor)
            inputs = node.input_tensors
            if _has_weights(node.operation) or len(inputs) != 1 or _size(inputs[0]) >= _size(tensor):
                break
            (tensor,) = inputs
        return tensor

    def ancestors(self, tensors: Sequence[Tensor], known: Sequence[Tensor] = ()) -> list[Node]:
        """Return the nodes that compute these tensors from the input, or from known tensors."""
        needed = {id(tensor) for tensor in tensors}
        starts = {id(tensor) for tensor in (self.input, *known)}
        nodes = []
        for node in reversed(self.nodes):
            if any(id(tensor) in needed - starts for tensor in node.outputs):
                nodes.append(node)
                needed.update(id(tensor) for tensor in node.input_tensors)
        return nodes[::-1]

    # -- keys

    def key(self, tensor: Tensor) -> str:
        """Hash everything besides the pictures that a tensor's values depend on: 32 hexadecimal digits.

        Raises:
            NoPrefix: The configuration or code of an operation cannot be read.
        """
        if tensor is self.input:
            return digest("pictures", pixels.VERSION, keras.version(), tensor.shape[1:], tensor.dtype)
        keys = self._keys
        if id(tensor) not in keys:
            for node in self.ancestors([tensor]):  # in order, which avoids a deep recursion in a deep model
                if id(node.outputs[0]) not in keys:
                    input_keys = [self.key(tensor) for tensor in node.input_tensors]
                    for number, output in enumerate(node.outputs):
                        if isinstance(node.operation, Sketched):
                            keys[id(output)] = node.operation.key(*input_keys)
                        else:
                            arguments = [list(node.arguments.args), dict(node.arguments.kwargs)]
                            keys[id(output)] = digest(number, identity(node.operation, arguments), input_keys)
        return keys[id(tensor)]


@dataclass(frozen=True)
class Cut:
    """End of a model's frozen prefix; its `tensors` are the features, the inputs of the tail."""

    graph: Graph
    tensors: tuple[Tensor, ...]

    @property
    def layers(self) -> tuple[str, ...]:
        """Names of the layers whose outputs are the features."""
        return tuple(self.graph.producer(tensor).operation.name for tensor in self.tensors)

    @property
    def keys(self) -> list[str]:
        """Keys of the features."""
        return [self.graph.key(tensor) for tensor in self.tensors]

    @property
    def shapes(self) -> list[tuple[int, ...]]:
        """Shapes of the features of one picture."""
        return [tuple(tensor.shape[1:]) for tensor in self.tensors]

    @property
    def map_shapes(self) -> list[tuple[int, ...]]:
        """Shapes of the features of one picture before they were flattened."""
        return [tuple(self._before_flattening(tensor).shape[1:]) for tensor in self.tensors]

    def _before_flattening(self, tensor: Tensor) -> Tensor:
        node = None if tensor is self.graph.input else self.graph.producer(tensor)
        if node is None or not isinstance(node.operation, keras.layers.Flatten):
            return tensor
        return self._before_flattening(node.input_tensors[0])

    def tail(self) -> keras.Model:
        """Return the model from the features to the output, which is trained. It shares the layers of the model."""
        inputs, (output,) = self._rebuild(self.tensors, [self.graph.output])
        return keras.Model(inputs if len(inputs) > 1 else inputs[0], output)

    def prefix(self, known: Sequence[Tensor]) -> keras.Model:
        """Return a model from known tensors, e.g. the input, to the features; it takes and returns lists."""
        return keras.Model(*self._rebuild(known, self.tensors))

    def _rebuild(self, known: Sequence[Tensor], outputs: Sequence[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        """Call the layers again on new inputs, because a layer may be used on both sides of the cut."""
        inputs = [keras.Input(batch_shape=tensor.shape, dtype=tensor.dtype) for tensor in known]
        tensors = {id(old): new for old, new in zip(known, inputs, strict=True)}
        for node in self.graph.ancestors(outputs, known):
            tensors |= {id(old): new for old, new in zip(node.outputs, _call_on(node, tensors), strict=True)}
        return inputs, [tensors[id(tensor)] for tensor in outputs]


# -- the graph


def _call_on(node: Node, tensors: Mapping[int, Tensor]) -> list[Tensor]:
    """Call an operation on other tensors, given by the ids of the original ones."""
    args, kwargs = node.arguments.fill_in(tensors)
    outputs: list[Tensor] = keras.tree.flatten(node.operation(*args, **kwargs))
    return outputs


def _is_variable(operation: Any) -> bool:
    """Return whether an operation is trained, is random, or differs between training and prediction."""
    if not isinstance(operation, keras.Layer):
        return False
    return any(_is_variable_layer(layer) for layer in layers_within(operation))


def _is_variable_layer(layer: keras.Layer) -> bool:
    if layer.trainable_variables or is_random(layer) or getattr(layer, "activity_regularizer", None):
        return True
    if isinstance(layer, keras.layers.BatchNormalization):  # if frozen, it is in inference mode during training
        return bool(layer.trainable)
    if is_other_code(layer):  # it may use the argument `training` in any way
        return takes_training(layer)
    return isinstance(layer, keras.layers.SpectralNormalization)


def _is_deterministic(node: Node) -> bool:
    """Return whether a layer computes the same output for a row in repeated calls and in another batch.

    A layer from outside Keras can draw random numbers, count its calls, or mix the pictures of a batch.
    """
    random = np.random.default_rng(0)
    inputs = {}
    for tensor in node.input_tensors:
        shape = [EXAMPLES, *(size or 1 for size in tensor.shape[1:])]
        inputs[id(tensor)] = random.uniform(0, 255, shape).astype(tensor.dtype)
    state = [np.array(variable) for variable in node.operation.variables]

    def outputs(step: int) -> list[NDArray[Any]]:
        tensors = {key: keras.ops.convert_to_tensor(array[::step]) for key, array in inputs.items()}
        return [np.asarray(keras.ops.cast(output, "float32")) for output in _call_on(node, tensors)]

    try:
        return all(
            len(first) == EXAMPLES
            and np.array_equal(first, second, equal_nan=True)
            and np.allclose(first[::-2], subset, atol=1e-5 * np.nanmax(np.abs(first)), equal_nan=True)
            for first, second, subset in zip(outputs(1), outputs(1), outputs(-2), strict=True)
        )
    except Exception:  # other code may raise anything; the model is then trained end to end
        return False
    finally:
        for variable, value in zip(node.operation.variables, state, strict=True):
            variable.assign(value)


def _has_weights(operation: Any) -> bool:
    return isinstance(operation, Sketched) or (isinstance(operation, keras.Layer) and bool(operation.variables))


def _size(tensor: Tensor) -> int:
    return math.prod(size or 1 for size in tensor.shape[1:])
