"""Cost of a model: multiply-accumulates, memory in 10**6 bytes, milliseconds per picture."""

from __future__ import annotations

import math
import statistics
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import keras
import numpy as np
import psutil

from bench.training.frozen.graph import Graph
from bench.training.frozen.identity import NoPrefix
from bench.training.frozen.sketch import Sketched
from bench.training.keras_private import Node, layers_within


class Use(NamedTuple):
    """One use of an operation or layer in a model; the shapes are without the batch dimension."""

    operation: Any
    input_shape: tuple[int, ...]
    output_shape: tuple[int, ...]


def uses(model: keras.Model) -> list[Use]:
    """List the operations of a model in order; for a subclassed model, the layers that Keras knows."""
    try:
        return uses_of(Graph(model).nodes)
    except NoPrefix:
        innermost = [layer for layer in layers_within(model) if len(layers_within(layer)) == 1]
        return [Use(layer, (), _output_shape(layer)) for layer in innermost]


def uses_of(nodes: Iterable[Node]) -> list[Use]:
    """List the operations of part of a graph."""
    return [
        Use(node.operation, _sizes(node.input_tensors[0].shape), _sizes(node.outputs[0].shape))
        for node in nodes
        if node.input_tensors
    ]


def macs(uses: Iterable[Use]) -> int:
    """Count the multiply-accumulate operations of convolutions and dense layers for one picture, as the papers do.

    A convolution needs `kernel x input channels / groups` of them for each output number, a depthwise one `kernel`, a
    separable one the sum of both, a dense layer one per weight. Checked against the published 0.30 G (MobileNetV2),
    15.5 G (VGG16) and 19.6 G (VGG19) at 224 pixels.
    """
    return sum(_macs(*use) for use in uses)


def _macs(layer: Any, input_shape: tuple[int, ...], output_shape: tuple[int, ...]) -> int:
    outputs = math.prod(output_shape)
    if isinstance(layer, Sketched):
        return layer.outline.macs
    if isinstance(layer, keras.layers.Dense):
        return int(math.prod(layer.kernel.shape)) * math.prod(output_shape[:-1])
    if not outputs or not getattr(layer, "kernel_size", None):
        return 0
    kernel = int(math.prod(layer.kernel_size))
    if isinstance(layer, keras.layers.SeparableConv1D | keras.layers.SeparableConv2D):
        filters = int(layer.filters)
        channels = int(layer.depthwise_kernel.shape[-2]) * int(layer.depth_multiplier)
        return outputs // filters * channels * (kernel + filters)
    if isinstance(layer, keras.layers.DepthwiseConv1D | keras.layers.DepthwiseConv2D):
        return outputs * kernel
    if getattr(layer, "kernel", None) is None:
        return 0
    if "Transpose" in type(layer).__name__:  # every input number is multiplied by the whole kernel
        return math.prod(input_shape) * kernel * int(layer.filters)
    return outputs * kernel * int(layer.kernel.shape[-2])


def _output_shape(layer: keras.layers.Layer) -> tuple[int, ...]:
    try:
        return _sizes(layer.output.shape)
    except (AttributeError, ValueError):  # a layer that is used several times, or part of a subclassed model
        return (0,)


def _sizes(shape: Sequence[int | None]) -> tuple[int, ...]:
    return tuple(size or 1 for size in shape[1:])


def training_memory_mb(
    weights: Iterable[Any], trainable: Iterable[Any], used: Iterable[Use], batch_size: int
) -> tuple[float, float]:
    """Estimate the memory needed for training: (parameters with gradients and moments, activations).

    Every parameter is in memory once, a trainable one three times more (its gradient and Adam's two moments). The
    outputs of all layers for a batch are in memory for the backward pass, together with their gradients.
    """
    parameters = count(weights) + 3 * count(trainable)
    outputs = sum(math.prod(use.output_shape) for use in used)
    return 4e-6 * parameters, 4e-6 * 2 * outputs * batch_size


def count(weights: Iterable[Any]) -> int:
    """Count the numbers in these variables."""
    return sum(math.prod(weight.shape) for weight in weights)


_LEARNED = "coef_ intercept_ components_ mean_ scale_ coefs_ intercepts_ support_vectors_ dual_coef_".split()
"""Arrays of fitted scikit-learn estimators that a prediction computes with."""


def learned(model: Any) -> int | None:
    """Count what a fitted scikit-learn estimator has learned: its coefficients, or the nodes of its trees.

    Parts of a pipeline, a forest or a boosted ensemble are counted together. None if the estimator that predicts has
    nothing that is known here, e.g. neighbours; steps before it then count for nothing.
    """
    if hasattr(model, "tree_"):
        return int(model.tree_.node_count)
    if hasattr(model, "steps"):
        *before, last = [learned(step) for _, step in model.steps]
        return None if last is None else last + sum(filter(None, before))
    if hasattr(model, "estimators_"):
        parts = model.estimators_.ravel() if isinstance(model.estimators_, np.ndarray) else model.estimators_
        counts = [learned(part) for part in parts]
        return None if None in counts else sum(filter(None, counts)) or None
    arrays = [getattr(model, name) for name in _LEARNED if getattr(model, name, None) is not None]
    return sum(np.size(part) for array in arrays for part in (array if isinstance(array, list) else [array])) or None


def latency_ms(predict: Callable[..., Any], example: Sequence[Any]) -> float:
    """Measure the median milliseconds for predicting one example, after a warm-up; 15 times, or for half a second.

    Args:
        predict: Takes one array for each input.
        example: These arrays, each of shape (1, …), e.g. (1, height, width, 3).
    """
    predict(*example)
    seconds: list[float] = []
    while len(seconds) < 15 and sum(seconds) < 0.5:
        start = time.perf_counter()
        np.asarray(predict(*example))
        seconds.append(time.perf_counter() - start)
    return 1e3 * statistics.median(seconds)


def peak_rss_mb() -> float:
    """Return the peak resident memory of this process."""
    if sys.platform == "win32":
        return float(psutil.Process().memory_info().peak_wset) / 1e6
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 1e6 if sys.platform == "darwin" else peak * 1024 / 1e6
