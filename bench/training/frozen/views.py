"""Views of pictures that features are computed of: the picture itself, its mirror image, or random alterations.

A network that is trained on features sees a finite number of views of each picture, drawn once. A flip has two; other
augmentation has `VIEWS`, each another draw, the same for the same seed, picture and number.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from bench.hyperparameters import Value
from bench.training.augmentation import AUGMENTATIONS, PictureArray
from bench.training.batches import Part

VIEWS = {"none": 1, "flip": 2, "light": 4}
"""Number of views of a training picture, by augmentation."""

VERSION = 1
"""Version of the views; increase it when the same seed draws others."""


@dataclass(frozen=True)
class PictureView:
    """One view of every picture of a part.

    Attributes:
        part: The pictures.
        augmentation: A name in `AUGMENTATIONS`.
        number: Number of the view, below `VIEWS`.
        seed: Seed of the draw.
    """

    part: Part
    augmentation: str = "none"
    number: int = 0
    seed: int = 0

    def __len__(self) -> int:
        return len(self.part.sha256)

    @cached_property
    def sha256(self) -> Sequence[str]:
        """Keys of the pictures' features, hexadecimal; of a plain picture the hash of its content."""
        if self._plain:
            return self.part.sha256
        drawn = [self.number] if self.augmentation == "flip" else [self.number, self.seed]
        view = f"{self.augmentation} {drawn}, version {VERSION}"
        return [hashlib.sha256(f"{sha256} {view}".encode()).hexdigest() for sha256 in self.part.sha256]

    def pictures(self, indices: Sequence[int]) -> PictureArray:
        """Read this view of some pictures, uint8, shape (n, size, size, 3)."""
        pictures: PictureArray = self.part.pixels[np.asarray(indices)]
        if self._plain:
            return pictures
        if self.augmentation == "flip":
            return np.ascontiguousarray(pictures[:, :, ::-1])
        alter = AUGMENTATIONS[self.augmentation]
        return np.concatenate(
            [alter(picture[np.newaxis], self._random(index)) for picture, index in zip(pictures, indices, strict=True)]
        )

    @property
    def _plain(self) -> bool:
        return self.augmentation == "none" or (self.augmentation == "flip" and self.number == 0)

    def _random(self, index: int) -> np.random.Generator:
        return np.random.default_rng([self.seed, self.number, int(self.part.sha256[index][:16], 16)])


def views(part: Part, augmentation: Value, seed: int) -> list[PictureView]:
    """List the views of training pictures under a value of the hyperparameter `augmentation`."""
    name = str(augmentation or "none")
    return [PictureView(part, name, number, seed) for number in range(VIEWS[name])]
