"""What a Keras model costs: multiply-accumulates, memory, seconds a picture."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np


def leaf_layers(model: keras.Model) -> Iterator[keras.layers.Layer]:
    """Every layer of a model that is not itself a model, nested ones included."""
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            yield from leaf_layers(layer)
        else:
            yield layer


def macs(model: keras.Model) -> int:
    """Multiply-accumulate operations for one picture: convolutions and dense layers, as the papers count them.

    A convolution makes `kernel x input channels / groups` multiplications for every number that it puts out; a
    depthwise one `kernel`; a separable one both in turn; a dense layer one a weight. Checked against the published
    0.30 G (MobileNetV2), 15.5 G (VGG16) and 19.6 G (VGG19) at 224 pixels.
    """
    return sum(_layer_macs(layer) for layer in leaf_layers(model))


def _layer_macs(layer: keras.layers.Layer) -> int:
    if isinstance(layer, keras.layers.Dense):
        return int(math.prod(layer.kernel.shape)) * math.prod(_output_shape(layer)[1:-1])
    outputs = math.prod(_output_shape(layer)[1:]) if getattr(layer, "kernel_size", None) else 0
    if not outputs:
        return 0
    kernel = int(math.prod(layer.kernel_size))
    if isinstance(layer, keras.layers.SeparableConv1D | keras.layers.SeparableConv2D):
        filters = int(layer.filters)
        channels = int(layer.depthwise_kernel.shape[-2]) * int(layer.depth_multiplier)
        return outputs // filters * channels * (kernel + filters)
    if isinstance(layer, keras.layers.DepthwiseConv1D | keras.layers.DepthwiseConv2D):
        return outputs * kernel
    kernel_weights = getattr(layer, "kernel", None)
    if kernel_weights is None:
        return 0
    if "Transpose" in type(layer).__name__:  # every input number is spread over the kernel
        return int(math.prod(layer.input.shape[1:])) * kernel * int(layer.filters)
    return outputs * kernel * int(kernel_weights.shape[-2])


def _output_shape(layer: keras.layers.Layer) -> tuple[int, ...]:
    try:
        shape = layer.output.shape
    except (AttributeError, ValueError):  # used several times, or in a subclassed model
        return (0,)
    return tuple(size or 1 for size in shape)


def training_memory_mb(model: keras.Model, batch_size: int) -> tuple[float, float]:
    """An estimate of what training needs, in 10**6 bytes: (parameters with gradients and moments, activations).

    Every parameter is kept once and a trainable one three times more (gradient and Adam's two moments); every layer's
    output of a batch is kept for the backward pass, and its gradient beside it.
    """
    trainable = sum(math.prod(weight.shape) for weight in model.trainable_weights)
    numbers = model.count_params() + 3 * trainable
    outputs = sum(math.prod(_output_shape(layer)[1:]) for layer in leaf_layers(model))
    return 4e-6 * numbers, 4e-6 * 2 * outputs * batch_size


def speed(
    predict: Callable[[Any], Any], picture_shape: tuple[int, int, int], batch_size: int = 32
) -> tuple[float, float]:
    """Median milliseconds for one picture, and pictures a second in batches, after warming up.

    Args:
        predict: Takes float32 pixels of shape (batch, height, width, 3).
        picture_shape: (height, width, 3).
        batch_size: Pictures in a batch.
    """
    one = np.zeros((1, *picture_shape), np.float32)
    many = np.zeros((batch_size, *picture_shape), np.float32)
    latency = _median_seconds(predict, one, repeats=15, at_most_s=0.5)
    batch = _median_seconds(predict, many, repeats=5, at_most_s=1.0)
    return 1e3 * latency, batch_size / batch


def _median_seconds(predict: Callable[[Any], Any], pixels: Any, repeats: int, at_most_s: float) -> float:
    np.asarray(predict(pixels))
    seconds: list[float] = []
    while len(seconds) < repeats and sum(seconds) < at_most_s:
        start = time.perf_counter()
        np.asarray(predict(pixels))
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds)
