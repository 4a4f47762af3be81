"""Corrupted test pictures: blurred, compressed, noisy or too bright, each in three strengths.

Source: D. Hendrycks and T. Dietterich (2019), "Benchmarking Neural Network Robustness to Common Corruptions and
Perturbations", International Conference on Learning Representations. The amounts are those of the authors' code
(github.com/hendrycks/robustness) for the severities 1, 3 and 5.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
from PIL import Image

from bench.data.dataset import Dataset, Item, sampled
from bench.data.pictures import SIXTEEN_BITS, Picture, Pixels
from bench.errors import DataError
from bench.records import Corruption

VERSION = 1
"""Part of the hash of a corrupted picture; increased when a corruption gives different pixels."""

MAX_PICTURES = 1000
"""Maximum number of test pictures that are corrupted, in a dozen ways; of more, a stratified sample is taken."""

SIDES = (32, 64, 224)
"""Shorter sides in pixels of the pictures of CIFAR-10-C, Tiny-ImageNet-C and ImageNet-C."""

AMOUNTS: Mapping[Corruption, Sequence[Sequence[float]]] = {
    Corruption.BLUR: ((0.4, 0.5, 1.0), (0.7, 1.0, 3.0), (1.0, 1.5, 6.0)),  # standard deviation in pixels
    Corruption.JPEG: ((80, 65, 25), (58, 50, 15), (40, 25, 7)),  # quality
    Corruption.NOISE: ((0.04, 0.04, 0.08), (0.08, 0.12, 0.18), (0.1, 0.18, 0.38)),  # standard deviation, white is 1
    Corruption.BRIGHTNESS: ((0.05, 0.1, 0.1), (0.15, 0.3, 0.3), (0.3, 0.5, 0.5)),  # added to the value of HSV, 0 to 1
}
"""For each strength the amount at each of `SIDES`; between them it is interpolated, since a blur of six pixels leaves
nothing of a picture of 32."""


@dataclass(frozen=True)
class CorruptedDataset(Dataset):
    """Pictures of a data set's test part, corrupted in one way; see `corrupted`.

    The hash of a picture's content begins with the first half of the original's, so that both are in the same order.

    Attributes:
        side: Maximum length in pixels of the shorter side; larger pictures are first reduced to it.
        strength: 1 to 3; 0 for pictures that are only reduced.
        seed: Seed of the noise.
    """

    side: int = SIDES[-1]
    corruption: Corruption = Corruption.NONE
    strength: int = 0
    seed: int = 0

    def picture(self, item: Item, least: int = 0) -> Picture:
        original = self.source.picture(item.id, self.side)
        sha256 = self.sha256_of(original.sha256)
        if sha256 != item.sha256:
            raise DataError(f"picture {original.name!r}: its content changed since the split was made")
        pixels = _reduced(original.scaled(self.levels or SIXTEEN_BITS).pixels, self.side)
        random = np.random.default_rng(list(bytes.fromhex(sha256)))
        pixels = corrupt(pixels, self.corruption, self.strength, random)
        return Picture(pixels, sha256, original.name, original.size)

    def sha256_of(self, original: str) -> str:
        """Hash of a corrupted picture, from that of its content and of all that the corruption depends on."""
        text = f"{original} {self.corruption} {self.strength} {self.side} {self.levels} {self.seed} {VERSION}"
        return original[:32] + hashlib.sha256(text.encode()).hexdigest()[:32]


def corrupted(dataset: Dataset, corruption: Corruption, strength: int, seed: int) -> CorruptedDataset:
    """Return the test pictures of a data set, corrupted in one way, the same ones in the same order for every way.

    Pictures are corrupted at the largest input size of the run, not at that of a model: all models see the same
    pictures, and a blur is not lost where a large photograph is reduced.
    """
    test = dataset.part("test")
    chosen = sampled(test, min(1.0, MAX_PICTURES / len(test)), seed)
    empty = CorruptedDataset(
        source=dataset.source,
        classes=dataset.classes,
        items=(),
        input_sizes=dataset.input_sizes,
        levels=dataset.levels,
        side=max(dataset.input_sizes),
        corruption=corruption,
        strength=strength,
        seed=seed,
    )
    return replace(empty, items=tuple(replace(item, sha256=empty.sha256_of(item.sha256)) for item in chosen))


def corrupt(pixels: Pixels, corruption: Corruption, strength: int, random: np.random.Generator) -> Pixels:
    """Corrupt a picture.

    Args:
        pixels: RGB, uint8, shape (height, width, 3).
        strength: 1 to 3.
        random: Source of the noise.
    """
    if corruption is Corruption.NONE:
        return pixels
    amount = float(np.interp(min(pixels.shape[:2]), SIDES, AMOUNTS[corruption][strength - 1]))
    if corruption is Corruption.JPEG:
        encoded = io.BytesIO()
        Image.fromarray(pixels).save(encoded, "JPEG", quality=round(amount))
        return np.asarray(Image.open(encoded))
    if corruption is Corruption.BLUR:
        return np.asarray(cv2.GaussianBlur(pixels, (0, 0), amount), np.uint8)
    if corruption is Corruption.NOISE:
        noise = random.standard_normal(pixels.shape, np.float32)
        return np.asarray(np.rint(np.clip(pixels + 255 * amount * noise, 0, 255)), np.uint8)
    hsv = cv2.cvtColor(pixels.astype(np.float32) / 255, cv2.COLOR_RGB2HSV)
    hsv[..., 2] = np.minimum(hsv[..., 2] + amount, 1)
    return np.asarray(np.rint(255 * cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)), np.uint8)


def _reduced(pixels: Pixels, side: int) -> Pixels:
    height, width = pixels.shape[:2]
    scale = side / min(height, width)
    if scale >= 1:
        return pixels
    size = max(side, round(scale * width)), max(side, round(scale * height))
    return np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), np.uint8)
