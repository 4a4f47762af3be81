"""Align pictures that may show the same, and decide by their middle frequencies whether they do.

These frequencies hardly depend on brightness and contrast.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from bench.data.keypoints import Maps, Rows, places_among_equals
from bench.data.pictures import Pixels
from bench.records import Change

COARSE, FINE = 12, 24
"""Number of places in a row and in a column at which pictures are compared: while aligning, and in the end."""

WHILE_ALIGNING = (0.3, 0.4, 0.5, 0.6, 0.6)
"""Minimum correlation (Pearson) before each step of aligning."""

MAX_MAPS = 4
"""Maximum number of maps of a pair that are improved: those of the highest correlation."""

FEW_POINTS, LEAST_CORRELATIONS = (5, 10), np.array([0.9, 0.87, 0.83])
"""Minimum correlation in the end: with fewer shared points than the first number, than the second, and with more.
Of 10,000 photographs no other pair that lies within one another exceeds 0.73."""

CELLS, DISAGREEING, LEAST_OF_A_CELL = 4, 4, 0.8
"""Number of cells in a row and in a column, of which all but `DISAGREEING` must have a minimum correlation: the same
frame, or the same pose before a wall, is not enough."""

BLACK, WHITE, LEAST_SEEN = 4, 250, 0.3
"""Levels, of 255, beyond which a picture may have lost its details; minimum share of a pair without such places."""

LEAST_SHARE, LEAST_INSIDE = 0.4, 0.9
"""Minimum shares that two pictures show of each other: one lies within the other."""

TURNED, UNCROPPED = np.radians(2), 0.93
LIGHTER, STRONGER = 8, 1.2
"""Maximum angle of pictures that are not turned, and minimum area that they share if none is cropped; maximum
difference in mean level, of 255, and factor between the contrasts of pictures that are equally bright."""

Bands = npt.NDArray[np.float32]
Values = npt.NDArray[np.float64]


def bands(levels: npt.NDArray[Any], seen: npt.NDArray[Any]) -> Bands:
    """Compute the middle frequencies of grey squares, shape (n, side, side): averages over 3 x 3 places less 7 x 7.

    Only places that are seen count: `seen` is 1 there and 0 elsewhere, of the same shape or for one square.
    """
    fine, coarse = (_sums(levels * seen, side) / np.maximum(_sums(seen, side), 1) for side in (3, 7))
    return np.asarray(fine - coarse, np.float32)


def _sums(values: npt.NDArray[Any], side: int) -> Bands:
    """Sums over the places around each place."""
    padded = np.pad(values.astype(np.float32), ((0, 0), (3, 3), (3, 3)))
    sums = cv2.boxFilter(padded.reshape(-1, padded.shape[2]), cv2.CV_32F, (side, side), normalize=False)
    return np.asarray(sums.reshape(padded.shape)[:, 3:-3, 3:-3], np.float32)


def aligned(squares: Pixels, pairs: Rows, counts: Rows, maps: Maps) -> tuple[Rows, Maps]:
    """Improve affine maps by least squares and select the pairs that then agree.

    The method is that of B. D. Lucas and T. Kanade, An Iterative Image Registration Technique, IJCAI 1981.

    Args:
        squares: Grey squares, uint8, shape (n, side, side).
        pairs: Numbers of the squares that may show the same, shape (2, m).
        counts: Number of key points that they share, shape (m,).
        maps: Maps from places in one picture to places in the other, (x, y) from 0 to 1, shape (m, 2, 3).

    Returns:
        The pairs that agree, each once, first the picture that shows a part of the other, and their maps.
    """
    if not len(maps):
        return pairs, maps
    levels = bands(squares, np.ones_like(squares[:1]))
    for least in WHILE_ALIGNING:
        one, other, inside = laid_over(levels, pairs, maps, COARSE)
        correlation, pair = _correlation(one, other, inside), pairs[0] * len(squares) + pairs[1]
        best = np.lexsort((-correlation, pair))
        best = best[(places_among_equals(pair[best]) < MAX_MAPS) & (correlation[best] >= least)]
        pairs, counts, maps = pairs[:, best], counts[best], maps[best]
        maps = maps + _steps(levels, pairs[1], maps, one[best], other[best], inside[best])
    if not len(maps):
        return pairs, maps
    pairs, maps = _part_first(pairs, maps)
    one, other, inside = laid_over(squares, pairs, maps, FINE)
    share = inside.mean(axis=1)
    seen = inside * (np.minimum(one, other) > BLACK) * (np.maximum(one, other) < WHITE)
    shown = (bands(*(part.reshape(-1, FINE, FINE) for part in (picture, seen))) for picture in (one, other))
    one, other = (band.reshape(one.shape).astype(np.float64) for band in shown)
    correlation = _correlation(one, other, seen)
    agree = correlation >= LEAST_CORRELATIONS[np.searchsorted(FEW_POINTS, counts, side="right")]
    agree &= (share >= LEAST_INSIDE) & (share * area(maps) >= LEAST_SHARE) & (seen.mean(axis=1) >= LEAST_SEEN)
    shape = (-1, CELLS, FINE // CELLS, CELLS, FINE // CELLS)
    cells = (image.reshape(shape).swapaxes(2, 3).reshape(-1, (FINE // CELLS) ** 2) for image in (one, other, inside))
    agree &= np.sort(_correlation(*cells).reshape(-1, CELLS**2), axis=1)[:, DISAGREEING] >= LEAST_OF_A_CELL
    best = np.flatnonzero(agree)[np.argsort(-correlation[agree], kind="stable")]
    _, first = np.unique(np.sort(pairs[:, best], axis=0), axis=1, return_index=True)
    return pairs[:, best[first]], maps[best[first]]


def _part_first(pairs: Rows, maps: Maps) -> tuple[Rows, Maps]:
    """Turn round the maps that take a picture to a part of another, or the other way round: the part comes first."""
    larger = area(maps) > 1
    linear = np.linalg.inv(maps[larger, :, :2])
    maps = maps.copy()
    maps[larger] = np.concatenate([linear, -linear @ maps[larger, :, 2:]], axis=2)
    return np.where(larger, pairs[::-1], pairs), maps


def changes(squares: Pixels, pairs: Rows, maps: Maps) -> Iterator[set[Change]]:
    """Yield the changes that take one picture of each pair to the other, from aligned grey squares."""
    one, other, inside = laid_over(squares, pairs, maps, COARSE)
    share = inside.mean(axis=1)
    mirrored = np.linalg.det(maps[:, :, :2]) < 0
    linear = np.where(mirrored[:, None, None], maps[:, :, :2] * np.array([-1.0, 1.0]), maps[:, :, :2])
    angle = np.abs(np.arctan2(linear[:, 1, 0] - linear[:, 0, 1], linear[:, 0, 0] + linear[:, 1, 1]))
    levels = np.stack([_moments(picture, inside) for picture in (one, other)])
    lighter = np.abs(levels[0, 0] - levels[1, 0]) > LIGHTER
    lighter |= np.abs(np.log(np.maximum(levels[0, 1], 1) / np.maximum(levels[1, 1], 1))) > np.log(STRONGER)
    changed = {
        Change.MIRRORED: mirrored,
        Change.TURNED: np.where(mirrored, np.minimum(angle, np.pi - angle), angle) > TURNED,
        Change.CROPPED: np.minimum(share, share * area(maps)) < UNCROPPED,
        Change.BRIGHTENED: lighter,
    }
    for number in range(len(maps)):
        yield {change for change, is_changed in changed.items() if is_changed[number]}


def area(maps: Maps) -> Values:
    """Area of a picture under each map."""
    return np.asarray(np.abs(np.linalg.det(maps[:, :, :2])))


def laid_over(levels: npt.NDArray[Any], pairs: Rows, maps: Maps, side: int) -> tuple[Values, Values, Values]:
    """Read one picture at side x side places, and the other where they are mapped to; 1 if they are inside, or 0."""
    x, y = _grid(side)
    u, v = _mapped(maps, x, y)
    inside = ((u >= 0) & (u <= 1) & (v >= 0) & (v <= 1)).astype(np.float64)
    return _read(levels, pairs[0], x[None], y[None]), _read(levels, pairs[1], u, v), inside


def _grid(side: int) -> tuple[Values, Values]:
    middles = (np.arange(side) + 0.5) / side
    return np.tile(middles, side), np.repeat(middles, side)


def _mapped(maps: Maps, x: Values, y: Values) -> tuple[Values, Values]:
    u, v = (maps[:, axis, :1] * x + maps[:, axis, 1:2] * y + maps[:, axis, 2:] for axis in (0, 1))
    return u, v


def _read(levels: npt.NDArray[Any], number: Rows, x: Values, y: Values) -> Values:
    """Interpolate bilinearly."""
    side, flat = levels.shape[2], levels.reshape(-1)
    x, y = (np.clip(place * side - 0.5, 0, side - 1.001) for place in (x, y))
    column, row = x.astype(np.int64), y.astype(np.int64)
    x, y = x - column, y - row
    at = number[:, None] * side**2 + row * side + column
    above, below = (flat[at + down] * (1 - x) + flat[at + down + 1] * x for down in (0, side))
    return np.asarray(above * (1 - y) + below * y)


def _steps(levels: Bands, number: Rows, maps: Maps, one: Values, other: Values, inside: Values) -> Maps:
    """Change of each map that brings the other picture nearest to a multiple of the one."""
    side, flat = levels.shape[2], levels.reshape(-1)
    x, y = _grid(COARSE)
    column, row = (np.clip(place * side, 1, side - 2).astype(np.int64) for place in _mapped(maps, x, y))
    at = number[:, None] * side**2 + row * side + column
    slopes = [(flat[at + step] - flat[at - step]) * (side / 2) * inside for step in (1, side)]
    factor = (one * other * inside).sum(axis=1) / np.maximum((one**2 * inside).sum(axis=1), 1)
    rest = (factor[:, None] * one - other) * inside
    slope = np.stack([slope * place for slope in slopes for place in (x, y, np.ones_like(x))], axis=2)
    normal = slope.transpose(0, 2, 1) @ slope
    normal += (1e-3 * np.trace(normal, axis1=1, axis2=2)[:, None, None] + 1e-6) * np.eye(6)  # never singular
    return np.asarray(np.linalg.solve(normal, slope.transpose(0, 2, 1) @ rest[:, :, None]).reshape(-1, 2, 3))


def _moments(levels: Values, inside: Values) -> Values:
    """Mean and standard deviation."""
    count = np.maximum(inside.sum(axis=1), 1)
    mean = (levels * inside).sum(axis=1) / count
    return np.stack([mean, np.sqrt(((levels - mean[:, None]) ** 2 * inside).sum(axis=1) / count)])


def _correlation(one: Values, other: Values, inside: Values) -> Values:
    count = np.maximum(inside.sum(axis=1), 1)
    one, other = one * inside, other * inside
    one, other = (levels - (levels.sum(axis=1) / count)[:, None] * inside for levels in (one, other))
    squares = (one**2).sum(axis=1) * (other**2).sum(axis=1)
    return np.asarray((one * other).sum(axis=1) / np.sqrt(np.maximum(squares, 1)))
