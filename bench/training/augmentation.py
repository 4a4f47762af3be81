"""Random alterations of training pictures, so that no two epochs show the same (Krizhevsky et al., 2012).

NumPy and OpenCV rather than Keras' random layers, for two reasons. `Model.fit` looks at a batch before its first epoch,
and the layers' random state then moves on by the number of prefetched batches, so that a seed does not repeat. And they
resample a picture three times, which takes about ten times as long.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import cv2
import numpy as np
from numpy.typing import NDArray

from bench.hyperparameters import Hyperparameter, Value

ROTATION, ZOOM, SHIFT, BRIGHTNESS = 10.0, 0.1, 0.1, 0.1
"""Maximum change to either side: in degrees, and as shares of the scale, of the side and of the range 0 to 255."""

Floats = NDArray[np.float64]
PictureArray = NDArray[np.uint8]
Augmentation = Callable[[PictureArray, np.random.Generator], PictureArray]
"""Alters copies of pictures, uint8 (n, size, size, 3), each in another way."""


def none(pictures: PictureArray, random: np.random.Generator) -> PictureArray:
    """Return the pictures themselves."""
    return pictures


def flip(pictures: PictureArray, random: np.random.Generator) -> PictureArray:
    """Mirror each picture, left for right, with probability one half."""
    altered = pictures.copy()
    for index in np.flatnonzero(random.random(len(pictures)) < 0.5):
        cv2.flip(pictures[index], 1, dst=altered[index])
    return altered


def light(pictures: PictureArray, random: np.random.Generator) -> PictureArray:
    """Mirror each picture or not, then rotate, zoom and shift it a little, and change its brightness.

    One bilinear resampling a picture; pixels beyond its edge are reflected.
    """
    count, size = len(pictures), pictures.shape[1]
    side = np.where(random.random(count) < 0.5, -1.0, 1.0)
    angle, zoom, across, down, brightness = random.uniform(-1, 1, (5, count))
    shifts = SHIFT * size * np.stack([across, down], axis=-1)
    where = _positions(side, np.deg2rad(ROTATION) * angle, 1 + ZOOM * zoom, shifts, size)
    altered = np.empty_like(pictures)
    flags, border = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP, cv2.BORDER_REFLECT_101
    for picture, matrix, added, result in zip(pictures, where, 255 * BRIGHTNESS * brightness, altered, strict=True):
        cv2.warpAffine(picture, matrix, (size, size), dst=result, flags=flags, borderMode=border)
        cv2.add(result, np.full(3, added), dst=result)  # stops at 0 and 255
    return altered


def _positions(side: Floats, angles: Floats, scales: Floats, shifts: Floats, size: int) -> Floats:
    """Map pixels of the new pictures to places in the old ones: affine, about the centre, shape (n, 2, 3).

    A side of -1 mirrors a picture.
    """
    cosine, sine = scales * np.cos(angles), scales * np.sin(angles)
    turned = np.array([[side * cosine, -sine], [side * sine, cosine]]).transpose(2, 0, 1)
    centre = np.full(2, (size - 1) / 2)
    moved = centre + shifts - turned @ centre
    return np.concatenate([turned, moved[..., np.newaxis]], axis=-1)


AUGMENTATIONS: dict[str, Augmentation] = {"none": none, "flip": flip, "light": light}
"""Values of the hyperparameter `augmentation`."""


def augmentation(value: Value) -> Augmentation:
    """Look up a value of the hyperparameter `augmentation`; None (it is not declared) is "none".

    Raises:
        ValueError: There is no such augmentation.
    """
    name = "none" if value is None else value
    if not isinstance(name, str) or name not in AUGMENTATIONS:
        raise ValueError(f"augmentation {name!r}: must be one of {', '.join(AUGMENTATIONS)}")
    return AUGMENTATIONS[name]


def check_declared(space: Iterable[Hyperparameter]) -> None:
    """Raise ValueError where a family declares an unknown augmentation."""
    for declared in space:
        if declared.name == "augmentation":
            for value in declared.finite_values() or (declared.default,):
                augmentation(value)
