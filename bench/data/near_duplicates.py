"""Find near duplicates: pictures that are nearly identical, or copies of one another with changes.

Nearly identical pictures, for instance re-encoded or resized ones: a picture is hashed to the signs of its low
frequencies (pHash: C. Zauner, Implementation and Benchmarking of Perceptual Image Hash Functions, 2010), and pictures
whose hashes differ in few bits are compared as thumbnails. The package ImageHash would double the time of an audit: it
resizes each picture with Pillow's Lanczos filter and calls SciPy for each transform.

Turned, mirrored, brightened and cropped copies: pictures that share key points are aligned (`keypoints`, `alignment`).

Hashes are computed exactly from whole numbers, so every machine compares the same pictures.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from itertools import combinations

import cv2
import numpy as np
import numpy.typing as npt

from bench.data import alignment, keypoints
from bench.data.keypoints import Rows
from bench.data.pictures import Pixels, ordered, resized
from bench.records import Change

SIDE = 32
"""Side of the grey square from which the hash and the thumbnail of a picture are computed."""

LEAST_SIDE = 96
"""Minimum side of a picture that has key points: smaller ones, such as icons, are too much alike when enlarged."""

AT_ONCE = 48
"""Number of pictures to fingerprint at once: with fewer, threads wait for one another at every small array."""

FINGERPRINT = np.dtype(
    [
        ("hash", "<u8"),
        ("square", "u1", (SIDE, SIDE)),
        ("points", "<u8", (len(keypoints.FRAMES), keypoints.POINTS)),
        ("unsure", "<u4", keypoints.POINTS),
    ]
)
"""Fingerprint of a picture: a bit for each of the 64 lowest frequencies, 1 if it is above their median; levels of grey;
key points."""

MAX_BITS = 3
"""Maximum number of different bits, of 64, in the hashes of near duplicates. This finds 99 to 100 % of 400 photographs
that were saved again at JPEG quality 30 or above, or resized by factors of 0.3 to 2; the nearest of 50 million other
pairs differ in 6 bits."""

LEAST_CORRELATION = 0.995
MAX_DIFFERENCE = 6.0
"""Minimum correlation (Pearson) of the thumbnails of near duplicates, and their maximum difference in levels of 255
(root mean square). This finds 99.5 to 100 % of the same photographs. Looser bounds find few more, and join simple
drawings, such as handwritten digits, into chains of hundreds."""

LEAST_CONTRAST = 2.0
"""Minimum standard deviation of a thumbnail's levels; flatter thumbnails have too little detail to be compared."""

MAX_NEIGHBOURS = 32
"""Maximum number of pictures, among those that agree in a part of the hash, with which a picture is compared: the
nearest by hash and brightness. More may agree, e.g. forms filled in on the same paper."""

PAIRS_AT_ONCE = 2**14
"""Number of thumbnails to compare at once."""

Hashes = npt.NDArray[np.uint64]

_COSINES = np.rint(2**12 * np.cos(np.pi / (2 * SIDE) * np.outer(np.arange(8), 2 * np.arange(SIDE) + 1)))
"""The 8 lowest rows of the discrete cosine transform (DCT-II), shape (8, 32), as whole numbers: the sums stay below
2**53 and are exact, so that no bit of a hash depends on the order of summation."""


def squeezed(pixels: Pixels) -> Pixels:
    """Squeeze a picture, RGB, uint8, shape (height, width, 3), to a grey square, a larger one if it has key points."""
    grey = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)
    while min(grey.shape) >= 8 * SIDE:  # halving is several times faster than other scales; an odd line is dropped
        height, width = grey.shape[0] // 2, grey.shape[1] // 2
        grey = cv2.resize(grey[: 2 * height, : 2 * width], (width, height), interpolation=cv2.INTER_AREA)
    return resized(np.asarray(grey, np.uint8), SIDE if min(grey.shape) < LEAST_SIDE else 4 * SIDE)


def fingerprints(squares: Sequence[Pixels]) -> bytes:
    """Compute the fingerprints of squeezed pictures, one after the other."""
    table = np.zeros(len(squares), FINGERPRINT)
    table["square"] = [resized(square, SIDE) for square in squares]
    low = (_COSINES @ (table["square"].astype(np.float64) @ _COSINES.T)).reshape(-1, 64)
    table["hash"] = np.packbits(low > np.sort(low, axis=1)[:, 31:32], axis=1).view(np.uint64).ravel()
    if detailed := [number for number, square in enumerate(squares) if len(square) > SIDE]:
        points, unsure = keypoints.describe([squares[number] for number in detailed])
        table["points"][detailed], table["unsure"][detailed] = points, unsure
    return table.tobytes()


def groups(fingerprints: bytes | bytearray, rows: Sequence[int]) -> list[tuple[list[int], tuple[Change, ...]]]:
    """Group near duplicates, including those connected through others.

    Args:
        fingerprints: Concatenated fingerprints of all pictures.
        rows: Numbers of the pictures to compare, from 0; sorted by content.

    Returns:
        Groups of at least two numbers, and the changes between their pictures; most pictures are in none.
    """
    table, numbers = np.frombuffer(fingerprints, FINGERPRINT), np.asarray(rows, np.int64)
    thumbnails, hashes = _Thumbnails(table["square"]), table["hash"]
    candidates = numbers[thumbnails.contrast[numbers] > LEAST_CONTRAST]
    candidates = candidates[np.lexsort((thumbnails.brightness[candidates], hashes[candidates]))]
    alike = [thumbnails.alike(candidates[pairs]) for pairs in _close(hashes[candidates])]
    copies = list(_copies(table, numbers))
    pairs = np.concatenate([np.empty((2, 0), np.int64), *alike, *(pairs for pairs, _ in copies)], axis=1)
    changes: dict[int, set[Change]] = defaultdict(set)
    for copied, named in copies:
        for number, change in zip(copied[0].tolist(), named, strict=True):
            changes[number] |= change
    return [
        (group, tuple(change for change in Change if any(change in changes[number] for number in group)))
        for group in joined(pairs.T.tolist())
    ]


def _copies(table: npt.NDArray[np.void], numbers: Rows) -> Iterator[tuple[Rows, list[set[Change]]]]:
    """Yield pairs of numbers, shape (2, some), of pictures that show the same, and the changes of each pair."""
    points = table["points"][numbers]
    every = keypoints.shared(points, table["unsure"][numbers])

    def aligned(shared: Rows) -> tuple[Rows, list[set[Change]]]:
        involved, pairs = np.unique(numbers[shared[:2] // points[0].size], return_inverse=True)
        squares, maps = table["square"][involved], keypoints.maps(points, shared)
        pairs, maps = alignment.aligned(squares, pairs.reshape(2, -1), shared[2], maps)
        return involved[pairs], list(alignment.changes(squares, pairs, maps))

    return ordered(aligned, np.array_split(every, every.shape[1] // 2**10 + 1, axis=1), batch_size=1)


def _close(hashes: Hashes) -> Iterator[Rows]:
    """Yield pairs of rows, shape (2, some), whose hashes differ in at most `MAX_BITS`; each pair once.

    Hashes are cut into `MAX_BITS` + 2 blocks, so two such hashes have at least two equal blocks. The rows are sorted by
    every pair of blocks, and neighbours are compared (G. S. Manku et al., Detecting Near-Duplicates for Web Crawling,
    WWW 2007).
    """
    blocks = np.array_split(np.uint64(1) << np.arange(64, dtype=np.uint64), MAX_BITS + 2)
    masks = [one.sum() | other.sum() for one, other in combinations(blocks, 2)]
    for number, mask in enumerate(masks):
        order = np.argsort(hashes & mask, kind="stable")
        ordered = hashes[order]
        for distance in range(1, MAX_NEIGHBOURS + 1):
            differing = ordered[distance:] ^ ordered[:-distance]
            neighbours = differing & mask == 0
            if not neighbours.any():
                break
            close = neighbours & (np.bitwise_count(differing) <= MAX_BITS)
            for earlier in masks[:number]:  # if these blocks are equal too, the pair was yielded before
                close &= differing & earlier != 0
            first = np.flatnonzero(close)
            yield np.stack([order[first], order[first + distance]])


class _Thumbnails:
    """Thumbnails of 16 by 16 levels, and sums for comparing them, exact except for the square roots."""

    def __init__(self, squares: Pixels) -> None:
        parts = [np.empty((0, SIDE**2 // 4), np.uint8)]
        for part in np.array_split(squares, len(squares) // PAIRS_AT_ONCE + 1):
            rows = part[:, ::2].astype(np.uint16) + part[:, 1::2]
            parts.append(((rows[:, :, ::2] + rows[:, :, 1::2] + 2) // 4).astype(np.uint8).reshape(len(part), -1))
        self._pixels = pixels = np.concatenate(parts)
        self.brightness = pixels.mean(axis=1)
        self._square = _products(pixels, pixels)
        self.contrast = np.sqrt(self._square - self.brightness**2)

    def alike(self, pairs: Rows) -> Rows:
        """Select the pairs of rows, shape (2, n), whose thumbnails are nearly the same."""
        parts = np.array_split(pairs, pairs.shape[1] // PAIRS_AT_ONCE + 1, axis=1)
        return np.concatenate([part[:, self._are_alike(*part)] for part in parts], axis=1)

    def _are_alike(self, one: Rows, other: Rows) -> npt.NDArray[np.bool_]:
        product = _products(self._pixels[one], self._pixels[other])
        covariance = product - self.brightness[one] * self.brightness[other]
        correlation = covariance / (self.contrast[one] * self.contrast[other])
        difference = np.sqrt(self._square[one] + self._square[other] - 2 * product)
        alike: npt.NDArray[np.bool_] = (correlation >= LEAST_CORRELATION) & (difference <= MAX_DIFFERENCE)
        return alike


def _products(one: Pixels, other: Pixels) -> npt.NDArray[np.float64]:
    """Mean product of two arrays, row by row."""
    return np.asarray(np.einsum("ij,ij->i", one, other, dtype=np.int64) / one.shape[1])


def joined(pairs: Iterable[Sequence[int]]) -> list[list[int]]:
    """Group the numbers that pairs connect; groups and the numbers in them are sorted."""
    from scipy.cluster.hierarchy import DisjointSet

    links = list(pairs)
    forest = DisjointSet(sorted({number for pair in links for number in pair}))
    for one, other in links:
        forest.merge(one, other)
    return [sorted(group) for group in forest.subsets()]
