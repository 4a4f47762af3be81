"""The graph of a Keras model, and its frozen prefix: the part that is a fixed function of the picture.

An operation is frozen when all its inputs are, it has no trainable variable, and it does the same in training as in
prediction. The tensors that cross from frozen operations to others are the model's features: the prefix computes them
from pictures, and the tail is trained on them. Both share the model's own layers, so that training the tail trains the
model.

A tensor that the prefix computes has a key: a hash of the operations above it, their settings and their weights, down
to the pictures (Merkle, 1987). Two models that share a prefix share the keys of its tensors, whoever built them.
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
"""Rows of random numbers on which a layer of other code is tried."""


@dataclass(frozen=True)
class Nested:
    """A model inside another, with its inputs and outputs there."""

    model: keras.Model
    inputs: Sequence[Tensor]
    outputs: Sequence[Tensor]


class Graph:
    """Operations of a functional or sequential model on pictures, with those of the models nested in it.

    Attributes:
        input, output: Its tensors.
        nested: Models in it; their operations are in `nodes` too.
        nodes: Every use of an operation, in order of computation.

    Raises:
        NoPrefix: The model is of another class, or has several inputs or outputs.
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
        self.nodes = nodes_of(keras.Model(self.input, self.output))
        self._makers = {id(tensor): node for node in self.nodes for tensor in node.outputs}
        self._keys: dict[int, str] = {}
        self._repeating: dict[int, bool] = {}

    def _flattened(self, model: keras.Model, inputs: Sequence[Tensor]) -> list[Tensor]:
        """Call a model's layers one by one on other inputs, also those of nested models; return the outputs."""
        if not isinstance(model, Functional):
            model = keras.Model(model.inputs, model.outputs)
        tensors = {id(old): new for old, new in zip(model.inputs, inputs, strict=True)}
        for node in nodes_of(model):
            if type(node.operation) in (Functional, keras.Sequential):
                nested_inputs = [tensors[id(tensor)] for tensor in node.input_tensors]
                outputs = self._flattened(node.operation, nested_inputs)
                self.nested.append(Nested(node.operation, nested_inputs, outputs))
            else:
                outputs = _called_again(node, tensors)
            tensors |= {id(old): new for old, new in zip(node.outputs, outputs, strict=True)}
        return [tensors[id(tensor)] for tensor in model.outputs]

    def maker(self, tensor: Tensor) -> Node:
        """Return the use of an operation that computes a tensor."""
        return self._makers[id(tensor)]

    def cut(self) -> Cut:
        """Find the end of the frozen prefix, as the layers are frozen now; NoPrefix where there is none."""
        frozen = {id(self.input)}
        for node in self.nodes:
            if all(id(tensor) in frozen for tensor in node.input_tensors) and self._is_fixed(node):
                frozen.update(id(tensor) for tensor in node.outputs)
        if id(self.output) in frozen or not self.model.trainable:
            raise NoPrefix("nothing of it is trained")
        crossing: dict[int, Tensor] = {}
        for node in self.nodes:
            if id(node.outputs[0]) not in frozen:
                ends = (self._before_growth(tensor) for tensor in node.input_tensors if id(tensor) in frozen)
                crossing |= {id(tensor): tensor for tensor in ends}
        if id(self.input) in crossing and len(crossing) > 1:
            raise NoPrefix("its pictures go past the frozen layers")
        cut = Cut(self, tuple(crossing.values()))
        if not any(_has_weights(node.operation) for node in self.above(cut.tensors)):
            first = next((node for node in self.nodes if id(node.outputs[0]) not in frozen), self.nodes[0]).operation
            raise NoPrefix(f"it begins with no frozen layer: {first.name} ({type(first).__name__}) comes first")
        return cut

    def _is_fixed(self, node: Node) -> bool:
        """Tell whether an operation is a fixed function of each picture."""
        if isinstance(node.operation, Sketched):
            return node.operation.frozen
        if _changes(node.operation):
            return False
        if not is_other_code(node.operation):
            return True
        if id(node) not in self._repeating:
            self._repeating[id(node)] = _repeats(node)
        return self._repeating[id(node)]

    def _before_growth(self, tensor: Tensor) -> Tensor:
        """Return the tensor, or a smaller one that it is computed from without weights, e.g. by padding."""
        while tensor is not self.input:
            node = self.maker(tensor)
            inputs = node.input_tensors
            if _has_weights(node.operation) or len(inputs) != 1 or _size(inputs[0]) >= _size(tensor):
                break
            (tensor,) = inputs
        return tensor

    def above(self, tensors: Sequence[Tensor], known: Sequence[Tensor] = ()) -> list[Node]:
        """List the nodes that compute these tensors from the input, or from tensors that are known."""
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
        """Hash everything that a tensor's values depend on, given the same pictures: 32 hexadecimal digits.

        NoPrefix where an operation above it has no configuration or code to hash.
        """
        if tensor is self.input:
            return digest("pictures", pixels.VERSION, keras.version(), tensor.shape[1:], tensor.dtype)
        known = self._keys
        if id(tensor) not in known:
            for node in self.above([tensor]):  # in order, so that a deep model is no deep recursion
                if id(node.outputs[0]) not in known:
                    above = [self.key(tensor) for tensor in node.input_tensors]
                    for number, output in enumerate(node.outputs):
                        if isinstance(node.operation, Sketched):
                            known[id(output)] = node.operation.key(*above)
                        else:
                            arguments = [list(node.arguments.args), dict(node.arguments.kwargs)]
                            known[id(output)] = digest(number, identity(node.operation, arguments), above)
        return known[id(tensor)]


@dataclass(frozen=True)
class Cut:
    """End of a model's frozen prefix: the features, tensors that cross from the prefix into the tail."""

    graph: Graph
    tensors: tuple[Tensor, ...]

    @property
    def layers(self) -> tuple[str, ...]:
        """Names of the layers whose outputs are the features."""
        return tuple(self.graph.maker(tensor).operation.name for tensor in self.tensors)

    @property
    def keys(self) -> list[str]:
        """Keys of the features."""
        return [self.graph.key(tensor) for tensor in self.tensors]

    @property
    def shapes(self) -> list[tuple[int, ...]]:
        """Shapes of the features, for one picture."""
        return [tuple(tensor.shape[1:]) for tensor in self.tensors]

    def tail(self) -> keras.Model:
        """Make the model that is trained: from the features to the model's output. It shares the model's layers."""
        inputs, (output,) = self._replayed(self.tensors, [self.graph.output])
        return keras.Model(inputs if len(inputs) > 1 else inputs[0], output)

    def prefix(self, known: Sequence[Tensor]) -> keras.Model:
        """Make a model from known tensors, e.g. the input, to the features; it takes and returns lists."""
        return keras.Model(*self._replayed(known, self.tensors))

    def _replayed(self, known: Sequence[Tensor], wanted: Sequence[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        """Call the layers once more on new inputs, since a layer may be used on both sides of the cut."""
        inputs = [keras.Input(batch_shape=tensor.shape, dtype=tensor.dtype) for tensor in known]
        tensors = {id(old): new for old, new in zip(known, inputs, strict=True)}
        for node in self.graph.above(wanted, known):
            tensors |= {id(old): new for old, new in zip(node.outputs, _called_again(node, tensors), strict=True)}
        return inputs, [tensors[id(tensor)] for tensor in wanted]


# -- the graph


def _called_again(node: Node, tensors: Mapping[int, Tensor]) -> list[Tensor]:
    """Call an operation on other tensors, which are found under the ids of the original ones."""
    args, kwargs = node.arguments.fill_in(tensors)
    outputs: list[Tensor] = keras.tree.flatten(node.operation(*args, **kwargs))
    return outputs


def _changes(operation: Any) -> bool:
    """Tell whether an operation is trained, is random, or does something else in training than in prediction."""
    if not isinstance(operation, keras.Layer):
        return False
    return any(_changes_itself(layer) for layer in layers_within(operation))


def _changes_itself(layer: keras.Layer) -> bool:
    if layer.trainable_variables or is_random(layer) or getattr(layer, "activity_regularizer", None):
        return True
    if isinstance(layer, keras.layers.BatchNormalization):  # frozen, it is in inference mode even while training
        return bool(layer.trainable)
    if is_other_code(layer):  # it may use the argument in any way
        return takes_training(layer)
    return isinstance(layer, keras.layers.SpectralNormalization)


def _repeats(node: Node) -> bool:
    """Call a layer on random numbers, once more, and on some of them; tell whether each row keeps its output.

    A layer of other code can draw random numbers, count its calls, or mix the pictures of a batch, unknown to Keras.
    """
    random = np.random.default_rng(0)
    inputs = {}
    for tensor in node.input_tensors:
        shape = [EXAMPLES, *(size or 1 for size in tensor.shape[1:])]
        inputs[id(tensor)] = random.uniform(0, 255, shape).astype(tensor.dtype)
    state = [np.array(variable) for variable in node.operation.variables]

    def outputs(step: int) -> list[NDArray[Any]]:
        tensors = {key: keras.ops.convert_to_tensor(array[::step]) for key, array in inputs.items()}
        return [np.asarray(keras.ops.cast(output, "float32")) for output in _called_again(node, tensors)]

    try:
        first, second, some = outputs(1), outputs(1), outputs(-2)
        return all(
            len(one) == EXAMPLES
            and np.array_equal(one, other, equal_nan=True)
            and np.allclose(one[::-2], part, atol=1e-5 * np.nanmax(np.abs(one)), equal_nan=True)
            for one, other, part in zip(first, second, some, strict=True)
        )
    except Exception:  # whatever other code raises: it is then trained end to end
        return False
    finally:
        for variable, value in zip(node.operation.variables, state, strict=True):
            variable.assign(value)


def _has_weights(operation: Any) -> bool:
    return isinstance(operation, Sketched) or (isinstance(operation, keras.Layer) and bool(operation.variables))


def _size(tensor: Tensor) -> int:
    return math.prod(size or 1 for size in tensor.shape[1:])
