"""Random alterations of training pictures, so that they differ from epoch to epoch (Krizhevsky et al., 2012).

This uses NumPy and OpenCV rather than Keras' random layers, for two reasons. `Model.fit` reads a batch before its first
epoch, and the layers' random state then advances by the number of prefetched batches, so that a seed is not
reproducible. And Keras' layers resample a picture three times, which takes about ten times as long.
"""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

from bench.hyperparameters import Value

ROTATION, ZOOM, SHIFT, BRIGHTNESS = 10.0, 0.1, 0.1, 0.1
"""Maximum change in either direction: in degrees, and as shares of the scale, the side and the range 0 to 255."""

Floats = NDArray[np.float64]
PictureArray = NDArray[np.uint8]
Augmentation = Callable[[PictureArray, np.random.Generator], PictureArray]
"""Returns randomly altered copies of pictures, uint8 (n, size, size, 3)."""


def none(pictures: PictureArray, random: np.random.Generator) -> PictureArray:
    """Return the pictures unchanged."""
    return pictures


def flip(pictures: PictureArray, random: np.random.Generator) -> PictureArray:
    """Mirror each picture horizontally with probability 0.5."""
    altered = pictures.copy()
    for index in np.flatnonzero(random.random(len(pictures)) < 0.5):
        cv2.flip(pictures[index], 1, dst=altered[index])
    return altered


def light(pictures: PictureArray, random: np.random.Generator) -> PictureArray:
    """Mirror each picture with probability 0.5, then rotate, zoom and shift it slightly, and change its brightness.

    Each picture is resampled once, bilinearly; pixels beyond its edge are reflected.
    """
    count, size = len(pictures), pictures.shape[1]
    mirror = np.where(random.random(count) < 0.5, -1.0, 1.0)
    angle, zoom, across, down, brightness = random.uniform(-1, 1, (5, count))
    shifts = SHIFT * size * np.stack([across, down], axis=-1)
    matrices = _affine_matrices(mirror, np.deg2rad(ROTATION) * angle, 1 + ZOOM * zoom, shifts, size)
    altered = np.empty_like(pictures)
    flags, border = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP, cv2.BORDER_REFLECT_101
    for picture, matrix, added, result in zip(pictures, matrices, 255 * BRIGHTNESS * brightness, altered, strict=True):
        cv2.warpAffine(picture, matrix, (size, size), dst=result, flags=flags, borderMode=border)
        cv2.add(result, np.full(3, added), dst=result)  # clips at 0 and 255
    return altered


def _affine_matrices(mirror: Floats, angles: Floats, scales: Floats, shifts: Floats, size: int) -> Floats:
    """Compute matrices, shape (n, 2, 3), that map pixels of the new pictures to positions in the old ones.

    They rotate and scale about the centre; a `mirror` of -1 mirrors a picture.
    """
    cosine, sine = scales * np.cos(angles), scales * np.sin(angles)
    rotations = np.array([[mirror * cosine, -sine], [mirror * sine, cosine]]).transpose(2, 0, 1)
    centre = np.full(2, (size - 1) / 2)
    translations = centre + shifts - rotations @ centre
    return np.concatenate([rotations, translations[..., np.newaxis]], axis=-1)


AUGMENTATIONS: dict[str, Augmentation] = {"none": none, "flip": flip, "light": light}
"""Values of the hyperparameter `augmentation`."""


def augmentation(value: Value) -> Augmentation:
    """Look up a value of the hyperparameter `augmentation`; None (not declared) means "none".

    Raises:
        ValueError: Unknown augmentation.
    """
    name = "none" if value is None else value
    if not isinstance(name, str) or name not in AUGMENTATIONS:
        raise ValueError(f"augmentation {name!r}: must be one of {', '.join(AUGMENTATIONS)}")
    return AUGMENTATIONS[name]
