"""Pictures altered at random while a model is trained, so that no two epochs show the same (Krizhevsky et al., 2012).

NumPy and OpenCV rather than Keras' random layers: their random state has moved on by as many batches as happened to be
prefetched when `Model.fit` looks at one before its first epoch, so that a seed does not repeat; and they resample a
picture three times, which takes about ten times as long.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import cv2
import numpy as np
from numpy.typing import NDArray

from bench.hyperparameters import Hyperparameter, Value

ROTATION = 10.0
"""Degrees to either side, at most."""
ZOOM = 0.1
"""The share by which a picture is made larger or smaller, at most."""
SHIFT = 0.1
"""The share of its side by which a picture is moved along each axis, at most."""
BRIGHTNESS = 0.1
"""The share of the range 0 to 255 that is added or taken away, at most."""

PictureArray = NDArray[np.uint8]
Augmentation = Callable[[PictureArray, np.random.Generator], PictureArray]
"""Alters pictures, uint8 (n, size, size, 3), each in its own way; those given are left as they are."""


def none(pictures: PictureArray, random: np.random.Generator) -> PictureArray:
    """The pictures themselves."""
    return pictures


def flip(pictures: PictureArray, random: np.random.Generator) -> PictureArray:
    """Each picture or, as often, its mirror image, left for right."""
    altered = pictures.copy()
    for index in np.flatnonzero(random.random(len(pictures)) < 0.5):
        cv2.flip(pictures[index], 1, dst=altered[index])
    return altered


def light(pictures: PictureArray, random: np.random.Generator) -> PictureArray:
    """Flipped, then a little turned, zoomed, shifted, and lighter or darker.

    One bilinear resampling a picture; what comes in from outside its edge is its reflection.
    """
    count, size = len(pictures), pictures.shape[1]
    mirrored = random.random(count) < 0.5
    angle, zoom, across, down, brightness = random.uniform(-1, 1, (5, count))
    where = _positions(
        mirrored, np.deg2rad(ROTATION) * angle, 1 + ZOOM * zoom, SHIFT * size * np.stack([across, down], axis=-1), size
    )
    altered = np.empty_like(pictures)
    for picture, matrix, added, result in zip(pictures, where, 255 * BRIGHTNESS * brightness, altered, strict=True):
        cv2.warpAffine(
            picture,
            matrix,
            (size, size),
            dst=result,
            flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
            borderMode=cv2.BORDER_REFLECT_101,
        )
        cv2.add(result, np.full(3, added), dst=result)  # stops at 0 and 255
    return altered


def _positions(
    mirrored: NDArray[np.bool_],
    angles: NDArray[np.float64],
    scales: NDArray[np.float64],
    shifts: NDArray[np.float64],
    size: int,
) -> NDArray[np.float64]:
    """Where in the old picture a pixel of the new one lies: affine maps about the centre, shape (n, 2, 3)."""
    cosine, sine = scales * np.cos(angles), scales * np.sin(angles)
    side = np.where(mirrored, -1, 1)
    turned = np.array([[side * cosine, -sine], [side * sine, cosine]]).transpose(2, 0, 1)
    centre = np.full(2, (size - 1) / 2)
    moved = centre + shifts - turned @ centre
    return np.concatenate([turned, moved[..., np.newaxis]], axis=-1)


AUGMENTATIONS: dict[str, Augmentation] = {"none": none, "flip": flip, "light": light}
"""What the hyperparameter `augmentation` can be."""


def augmentation(value: Value) -> Augmentation:
    """What a value of the hyperparameter `augmentation` stands for; None (it is not declared) stands for "none".

    Raises:
        ValueError: There is no such augmentation.
    """
    name = "none" if value is None else value
    if not isinstance(name, str) or name not in AUGMENTATIONS:
        raise ValueError(f"augmentation {name!r}: must be one of {', '.join(AUGMENTATIONS)}")
    return AUGMENTATIONS[name]


def check_declared(space: Iterable[Hyperparameter]) -> None:
    """Raises ValueError where a family offers an augmentation that there is not."""
    for declared in space:
        if declared.name == "augmentation":
            for value in declared.finite_values() or (declared.default,):
                augmentation(value)
