"""Objective of a Keras model: its loss, the targets for the loss, the meaning of its outputs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, softmax

from bench.hyperparameters import Value
from bench.training.frozen.identity import is_keras
from bench.training.keras_private import compile_settings, producer
from bench.training.probabilities import Probabilities, as_probabilities

LEARNING_RATE = 1e-3
OPTIMIZER = "adam"
"""Defaults if a family does not declare the hyperparameter."""

Loss = str | Callable[..., Any]


class WrongModel(ValueError):
    """The return value of `build` cannot be trained on these pictures."""


def input_shapes(model: keras.Model) -> list[tuple[Any, ...]]:
    """Return the shape of every input of a model, with the batch dimension; WrongModel if it is unknown."""
    if getattr(model, "inputs", None):
        return [tuple(tensor.shape) for tensor in model.inputs]
    built = model.get_build_config() or {}
    shapes = [built["input_shape"]] if "input_shape" in built else list(built.get("shapes_dict", {}).values())
    if not shapes:
        raise WrongModel("the model has no input shape: call it in build, e.g. model(keras.Input((size, size, 3)))")
    return [tuple(shapes[0])]


def output_shape(model: keras.Model) -> tuple[Any, ...]:
    """Return the shape of a model's output, with the batch dimension; WrongModel if it is not a single tensor."""
    if isinstance(model, keras.Sequential) and model.built:
        (output,) = model.outputs
    elif getattr(model, "inputs", None):
        output = model.output
    else:
        output = model.compute_output_spec(keras.KerasTensor(input_shapes(model)[0]))
    if not isinstance(output, keras.KerasTensor):
        form = "a dict" if isinstance(output, dict) else f"{len(keras.tree.flatten(output))} tensors"
        raise WrongModel(f"the model's output is {form}: must be one tensor, e.g. that of task.classify(x)")
    return tuple(output.shape)


def check_model(model: keras.Model, num_classes: int) -> int:
    """Return a model's input size in pixels; WrongModel if its input or output does not suit the pictures."""
    shapes = input_shapes(model)
    if len(shapes) != 1:
        raise WrongModel(f"the model has {len(shapes)} inputs: must have one, raw RGB pixels")
    (shape,) = shapes
    if len(shape) != 4 or shape[1] != shape[2] or not shape[1] or shape[3] != 3:
        raise WrongModel(f"the model's input shape is {shape}: must be (None, size, size, 3), raw RGB pixels")
    output = output_shape(model)
    allowed = [(None, num_classes)] + ([(None, 1)] if num_classes == 2 else [])
    if output not in allowed:
        raise WrongModel(
            f"the model's output shape is {output}: must be {' or '.join(map(str, allowed))} for {num_classes} classes;"
            " task.classify(x) makes such a layer"
        )
    return int(shape[1])


@dataclass(frozen=True)
class Objective:
    """Loss and outputs of a model with one output, shape (batch, units).

    Attributes:
        units: 1 for two classes in one column, else one per class.
        loss: The loss that the family compiled, else cross-entropy.
        integers: Whether the loss takes class numbers, rather than a column or one-hot rows.
        logits: Whether the outputs are logits rather than probabilities.
    """

    units: int
    loss: Loss
    integers: bool
    logits: bool

    @classmethod
    def of(cls, model: keras.Model) -> Objective:
        """Read the objective of a family's model; WrongModel if its outputs do not suit its loss."""
        units, activation = output_shape(model)[-1], output_activation(model)
        if units == 1 and activation == "softmax":
            raise WrongModel(
                "its last layer is a softmax over one unit, which is always 1: use a sigmoid, or two units"
            )
        loss = _only_loss(model.loss) if model.compiled else None
        if loss is None:
            logits = activation == "linear"
            cross_entropy = (
                keras.losses.BinaryCrossentropy if units == 1 else keras.losses.SparseCategoricalCrossentropy
            )
            return cls(units, cross_entropy(from_logits=logits), integers=units > 1, logits=logits)
        takes_logits = _takes_logits(loss)
        if activation == "linear" and not takes_logits:
            raise WrongModel(
                f"its last layer has no activation, and its loss {_name(loss)} is not known to take logits: give the"
                " layer a softmax or sigmoid, or compile a loss of keras.losses with from_logits=True"
            )
        logits = takes_logits and activation not in ("softmax", "sigmoid")
        return cls(units, loss, integers=units > 1 and _takes_integers(loss, units), logits=logits)

    def targets(self, labels: NDArray[np.int64]) -> NDArray[Any]:
        """Convert labels, shape (n,), to the targets of the loss."""
        if self.units == 1:
            return labels.astype(np.float32).reshape(-1, 1)
        return labels if self.integers else np.eye(self.units, dtype=np.float32)[labels]

    def probabilities(self, output: NDArray[np.floating]) -> Probabilities:
        """Convert outputs, shape (n, units), to class probabilities, shape (n, classes)."""
        if self.logits:
            output = expit(output) if self.units == 1 else softmax(output, axis=-1)
        try:
            return as_probabilities(output)
        except ValueError as error:
            raise WrongModel(str(error)) from None

    def compile(self, model: keras.Model, values: Mapping[str, Value], source: keras.Model, rate: Value = None) -> None:
        """Compile a model with the hyperparameters `optimizer` and `learning_rate`.

        Args:
            model: The model to train: `source`, or its tail.
            source: The model that the family built. If it is compiled, its optimizer and settings are used.
            rate: Learning rate that replaces the hyperparameter; the optimizer is then a new one.
        """
        settings: dict[str, Any] = {}
        if not source.compiled:
            optimizer = keras.optimizers.get(str(values.get("optimizer", OPTIMIZER)))
            optimizer.learning_rate = float(rate or values.get("learning_rate") or LEARNING_RATE)
        elif source is model and source.loss is self.loss and rate is None:
            return
        else:
            optimizer = source.optimizer if rate is None else _with_rate(source.optimizer, float(rate))
            settings = {"run_eagerly": source.run_eagerly, "jit_compile": source.jit_compile}
            weights = keras.tree.flatten(compile_settings(source).get("loss_weights"))
            settings["loss_weights"] = weights[0] if weights and isinstance(weights[0], int | float) else None
        # Keras' "accuracy" treats the outputs of one unit as probabilities.
        accuracy = (
            keras.metrics.BinaryAccuracy("accuracy", threshold=0.0) if self.logits and self.units == 1 else "accuracy"
        )
        model.compile(optimizer=optimizer, loss=self.loss, metrics=[accuracy], **settings)


def output_activation(model: keras.Model) -> str:
    """Return the name of a model's last activation, e.g. "softmax" or "linear"; "" if unknown."""
    if not getattr(model, "outputs", None):
        return ""
    tensor = model.outputs[0]
    while True:
        node = producer(tensor)
        operation = node.operation
        layer = type(operation).__name__
        if isinstance(operation, keras.Model):
            return output_activation(operation)
        if layer in ("Softmax", "Sigmoid"):
            return layer.lower()
        if not is_keras(type(operation)):
            return ""
        activation = getattr(operation, "activation", None)
        name = str(getattr(activation, "__name__", type(activation).__name__)).lower()
        if layer in ("Flatten", "Reshape", "Identity", "Cast") or (layer == "Activation" and name == "linear"):
            (tensor,) = node.input_tensors
        elif layer in ("Activation", "Dense", "EinsumDense") or "Conv" in layer:
            return next((known for known in ("softmax", "sigmoid") if name in (known, f"{known}_v2")), name)
        else:
            return ""


def _only_loss(loss: Any) -> Loss | None:
    """Return the loss from the list or dict in which it was compiled; None if there is none."""
    losses: list[Loss] = [part for part in keras.tree.flatten(loss) if part is not None]
    if len(losses) > 1:
        raise WrongModel(f"the model is compiled with {len(losses)} losses: must be one, since it has one output")
    return losses[0] if losses else None


def _name(loss: Loss) -> str:
    if isinstance(loss, partial):
        return _name(loss.func)
    return loss if isinstance(loss, str) else getattr(loss, "name", getattr(loss, "__name__", type(loss).__name__))


def _takes_logits(loss: Loss) -> bool:
    function = keras.losses.get(loss)
    if isinstance(function, keras.losses.Loss):
        try:
            config = function.get_config()
        except NotImplementedError:
            config = {}
        return bool(config.get("from_logits", getattr(function, "from_logits", False)))
    return bool(getattr(function, "keywords", {}).get("from_logits"))  # of a functools.partial


def _takes_integers(loss: Loss, units: int) -> bool:
    """Return whether a loss takes class numbers: its name says so, or it does not accept one-hot rows."""
    if "sparse" in _name(loss).lower():
        return True
    one_hot, output = np.eye(units, dtype=np.float32), np.full((units, units), 1 / units, np.float32)
    try:
        value = keras.losses.get(loss)(keras.ops.convert_to_tensor(one_hot), keras.ops.convert_to_tensor(output))
        return len(value.shape) > 1
    except Exception:  # a family's function may raise anything
        return True


def _with_rate(optimizer: Any, learning_rate: float) -> Any:
    """Return a new optimizer with the same settings; Keras wraps it again if mixed precision requires it."""
    inner = getattr(optimizer, "inner_optimizer", optimizer)
    return type(inner).from_config({**inner.get_config(), "learning_rate": learning_rate})
