"""Describe key points of pictures, and find those that pictures share, such as turned, mirrored or cropped copies.

A key point is a blob: a local extremum of the difference of two averages (D. G. Lowe, Distinctive Image Features from
Scale-Invariant Keypoints, IJCV 2004). The patch around it is hashed to the signs of its low frequencies, as pHash does
with a whole picture, in a canonical pose: levels rise to the right and, less steeply, downwards. A cropped copy shows
the same blobs larger, so each picture is searched at two sizes. Hashes are computed exactly, from whole numbers.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import cv2
import numpy as np
import numpy.typing as npt

from bench.data.pictures import Pixels, ordered

FRAMES = (64, 80)
"""Sides in pixels of the squares that are searched. A copy that shows 64/80 of a picture's width has in its smaller
square what the picture has in its larger one."""

POINTS = 40
"""Maximum number of key points of a square: those of the highest contrast."""

KEY_BITS, UNSURE_BITS, MAX_FLIPS, MAX_BITS = 25, 4, 2, 7
"""Two points agree if their hashes differ in at most `MAX_BITS` of 46, and their first `KEY_BITS`, the lowest
frequencies, in at most `MAX_FLIPS`, all of the `UNSURE_BITS` of one of them that are nearest to a change of sign."""

LEAST_SHARED, LEAST_POINTS = 2, 28
"""Minimum number of points of a picture's smaller square that agree with points of another picture, and minimum number
of points of that square: simple drawings, such as handwritten digits, have fewer, and so many copies."""

MAX_NEIGHBOURS, MAX_AGREEING = 32, 4
"""Maximum number of points with which a point is compared for each choice of its unsure bits: the nearest by hash; and
maximum number of agreeing points that are used. More may agree, e.g. the corners of forms or letters."""

AT_ONCE = 2**14
"""Number of points to compare at once."""

Words = npt.NDArray[np.uint64]
Halves = npt.NDArray[np.uint32]
Rows = npt.NDArray[np.int64]
Maps = npt.NDArray[np.float64]

# A point is a number of 64 bits: hash (46), pose (3), row (7), column (7), 1. Zero is no point.
_HASH_BITS = 46
_POSE, _ROW, _COLUMN = (np.uint64(shift) for shift in (15, 8, 1))
_HASH = ~np.uint64(2 ** (64 - _HASH_BITS) - 1)
_KEY = ~np.uint64(2 ** (64 - KEY_BITS) - 1)

_GRID, _STEP = 7, 3
_MARGIN = _STEP * (_GRID // 2) + 2
_SPOT = np.ones((5, 5), np.uint8)
_REACH = np.arange(-(_GRID // 2), _GRID // 2 + 1) * _STEP

_FREQUENCIES = sorted(
    ((row, column) for row in range(_GRID) for column in range(_GRID) if row + column > 1),
    key=lambda frequency: (sum(frequency), frequency),
)
_COSINES = np.rint(7 * np.cos(np.pi / (2 * _GRID) * np.outer(np.arange(_GRID), 2 * np.arange(_GRID) + 1)))
_COSINES[:, _GRID // 2] -= _COSINES.sum(axis=1) * (np.arange(_GRID) > 0)  # so that brightness does not matter at all
_BASIS = np.stack([np.outer(_COSINES[row], _COSINES[column]) for row, column in [*_FREQUENCIES, (0, 1), (1, 0)]])
_BASIS = _BASIS.reshape(-1, _GRID**2).T.astype(np.float32)  # sums of levels stay below 2**24, so they are exact
_SQUARES = np.array([row**2 + column**2 for row, column in _FREQUENCIES[:KEY_BITS]], np.float32)
_KEY_NUMBERS = np.arange(KEY_BITS, dtype=np.int32)

# Poses, by number: 1 if levels fall to the right, + 2 if downwards, + 4 if they change more downwards.
_POSES = np.array([[[1 - 2 * (pose & 1), 0], [0, 1 - (pose & 2)]] for pose in range(4)], np.float64)
_POSES = np.concatenate([_POSES, _POSES[:, ::-1]])
_TURNS = (_POSES.transpose(0, 2, 1) @ _POSES[:, None]).reshape(8, 8, 4).astype(np.int64) @ (27, 9, 3, 1) + 40
_SWAPPED = np.array([*(_FREQUENCIES.index((column, row)) for row, column in _FREQUENCIES), *range(_HASH_BITS, 64)])
_BITS = np.uint64(1) << np.arange(63, 63 - _HASH_BITS, -1, dtype=np.uint64)
_ODD_ROWS, _ODD_COLUMNS = (_BITS[[frequency[axis] % 2 == 1 for frequency in _FREQUENCIES]].sum() for axis in (0, 1))
_MIRRORED = np.array([0, _ODD_COLUMNS, _ODD_ROWS, _ODD_ROWS ^ _ODD_COLUMNS], np.uint64)
_MIRRORED = np.concatenate([_MIRRORED, _MIRRORED[[0, 2, 1, 3]]])  # in which signs change, by pose


def describe(squares: Sequence[Pixels]) -> tuple[Words, Halves]:
    """Describe the key points of pictures, squeezed to grey squares of at least 128 pixels, uint8.

    Returns:
        The points of each picture in both scales, shape (n, scales, points), and the unsure bits of those of the
        smaller one, shape (n, points).
    """
    blobs = [_blobs(np.stack([_shrunk(square, side) for square in squares])) for side in FRAMES]
    places, patches = (np.stack(arrays, axis=1) for arrays in zip(*blobs, strict=True))
    levels = patches.astype(np.float32) @ _BASIS  # a product for each square: so small that it takes no threads
    right, down, levels = levels[..., -2], levels[..., -1], levels[..., :-2]
    steep = np.abs(down) > np.abs(right)
    pose = (right < 0) + 2 * (down < 0) + 4 * steep
    bits = np.zeros((*pose.shape, 64), np.bool_)
    np.greater(levels, 0, out=bits[..., :_HASH_BITS])
    bits[steep] = bits[steep][:, _SWAPPED]
    hashes = np.packbits(bits.ravel()).view(">u8").reshape(pose.shape) ^ _MIRRORED[pose]
    points = (hashes | (pose << 15).astype(np.uint64) | places) * (places > 0)
    certainty = np.minimum(np.abs(levels[:, 0, :, :KEY_BITS]) * _SQUARES, 2**24).astype(np.int32) * 32
    number = np.partition(certainty + _KEY_NUMBERS, UNSURE_BITS, axis=2)[..., :UNSURE_BITS] % 32
    number = np.where(steep[:, 0, :, None], _SWAPPED[number], number)
    unsure = (np.uint32(2**31) >> number.astype(np.uint32)).sum(axis=2, dtype=np.uint32)
    return points, unsure * (places[:, 0] > 0)


def _shrunk(square: Pixels, side: int) -> Pixels:
    return np.asarray(cv2.resize(square, (side, side), interpolation=cv2.INTER_LINEAR), np.uint8)


def _blobs(frames: Pixels) -> tuple[Words, npt.NDArray[np.uint16]]:
    """Find the blobs of squares, shape (n, side, side): their places, as in a point, and the patches around them.

    Squares follow one another in memory, and sums of places in two of them are in the margins, where no blob may be.
    """
    count, side, _ = frames.shape
    once = _sums(_sums(frames.ravel().astype(np.uint16), 1), side)
    fine, coarse = _sums(_sums(once, 1), side), _sums(_sums(once, 3), 3 * side)
    reach = 2 * (1 + side)
    contrast = np.zeros(frames.shape, np.uint16)
    contrast.ravel()[2 * reach : -2 * reach] = cv2.absdiff(fine[reach:-reach], coarse).ravel()
    inner = np.pad(contrast[:, _MARGIN:-_MARGIN, _MARGIN:-_MARGIN], ((0, 0), (0, 2), (0, 2)))  # 2 lines between squares
    width, inner = inner.shape[1], inner.ravel()
    highest = cv2.dilate(inner.reshape(-1, width), _SPOT).ravel()
    peak = np.flatnonzero(inner == np.maximum(highest, 1))
    square, place = np.divmod(peak, width**2)
    order = np.argsort((square << 16) - inner[peak], kind="stable")
    rank = places_among_equals(square)
    order, square, rank = order[rank < POINTS], square[rank < POINTS], rank[rank < POINTS]
    row, column = (at + _MARGIN for at in np.divmod(place[order], width))
    places, centre = np.zeros((count, POINTS), np.uint64), np.full((count, POINTS), _MARGIN * (side + 1) - reach)
    places[square, rank] = (row << 8) + (column << 1) + 1
    centre[square, rank] = square * side**2 + row * side + column - reach
    return places, fine.take(centre[..., None] + (_REACH[:, None] * side + _REACH).ravel())


def _sums(levels: npt.NDArray[np.uint16], step: int) -> npt.NDArray[np.uint16]:
    """Sums of three levels that are a step apart."""
    return levels[: -2 * step] + levels[step:-step] + levels[2 * step :]


def shared(points: Words, unsure: Halves) -> Rows:
    """Find the agreeing points of different pictures, as numbers in `points`, flattened.

    Args:
        points, unsure: Of all pictures, as `describe` gives them.

    Returns:
        Point of one picture, point of the other, and number of such points of the same two pictures, turned alike,
        shape (3, n).
    """
    size = len(FRAMES) * POINTS
    detailed = np.count_nonzero(points[:, 0], axis=1) >= LEAST_POINTS
    number = np.flatnonzero((points > 0) & detailed[:, None, None])
    values = points.ravel()[number]
    order = np.argsort(values)
    repeated = np.flatnonzero(np.diff(values[order]) == 0)  # a fast sort gives any order to equal points
    repeated = np.union1d(repeated, repeated + 1)
    order[repeated] = order[repeated][np.lexsort((order[repeated], values[order[repeated]]))]
    number, table = number[order], _Table(values[order])
    small = np.flatnonzero(number % size < POINTS)  # in the order of their hashes, so that near memory is read
    flips = unsure[number[small] // size, number[small] % size].astype(np.uint64) << np.uint64(32)

    def agreeing(begin: int) -> Rows:
        rows = small[begin : begin + AT_ONCE]
        parts = [table.agreeing(rows, flip) for flip in _choices(flips[begin : begin + AT_ONCE])]
        row, other, differing = np.concatenate(parts, axis=1)
        other = number[other]
        different = number[rows][row] // size != other // size
        nearest = np.sort(((row * 64 + differing) * points.size + other)[different])  # one key sorts faster than three
        row, other = nearest // (64 * points.size), nearest % points.size
        few = places_among_equals(row) < MAX_AGREEING
        return np.stack([number[rows][row[few]], other[few]])

    every = ordered(agreeing, range(0, len(small), AT_ONCE), batch_size=1)
    one, other = np.concatenate([np.empty((2, 0), np.int64), *every], axis=1)
    turn = _TURNS[_pose(points.ravel()[one]), _pose(points.ravel()[other])]
    pair = (one // size * len(points) + other // size) * 81 + turn  # of two pictures, turned alike
    _, pair, count = np.unique(pair, return_inverse=True, return_counts=True)
    several = np.flatnonzero(count[pair] >= LEAST_SHARED)
    several = several[np.lexsort((other[several], one[several]))]
    return np.stack([one[several], other[several], count[pair[several]]])


def places_among_equals(sorted_values: Rows) -> Rows:
    """Place of each value among those that are equal to it, from 0."""
    return np.arange(len(sorted_values)) - np.searchsorted(sorted_values, sorted_values)


def _choices(flips: Words) -> list[Words]:
    """All choices of at most `MAX_FLIPS` of the bits that are set in each number, the same count in all."""
    singles = []
    while flips.any():
        singles.append(flips & (~flips + np.uint64(1)))
        flips = flips ^ singles[-1]
    chosen = (some for count in range(MAX_FLIPS + 1) for some in combinations(singles, count))
    return [np.bitwise_or.reduce([np.zeros_like(flips), *some]) for some in chosen]


class _Table:
    """Sorted points, in blocks with the same first bits: few points each, however many there are."""

    def __init__(self, points: Words) -> None:
        self._points = points
        bits = min(len(points).bit_length() + 3, KEY_BITS)
        self._shift = np.uint64(64 - bits)
        blocks, self._start, self._size = np.unique(points >> self._shift, return_index=True, return_counts=True)
        self._number = np.zeros(2**bits, np.int32)  # of the block with these bits, from 1; most are empty
        self._number[blocks] = np.arange(1, len(blocks) + 1)

    def agreeing(self, rows: Rows, flip: Words) -> Rows:
        """Find points whose key is that of a point of the table with some bits flipped.

        Returns:
            Place in `rows`, row of the other point, and number of bits that differ, shape (3, some).
        """
        points = self._points[rows]
        number = self._number[((points ^ flip) >> self._shift).view(np.int64)]
        point = np.flatnonzero(number)
        number = number[point] - 1
        flipped, start, size = (points ^ flip)[point], self._start[number], self._size[number]
        crowded = np.flatnonzero(size > MAX_NEIGHBOURS)
        if len(crowded):
            middle = np.searchsorted(self._points, flipped[crowded]) - MAX_NEIGHBOURS // 2
            last = start[crowded] + size[crowded] - MAX_NEIGHBOURS
            start[crowded], size[crowded] = np.clip(middle, start[crowded], last), MAX_NEIGHBOURS
        place = np.arange(size.sum()) + np.repeat(start + size - np.cumsum(size), size)
        row = np.repeat(np.arange(len(point)), size)
        same = np.flatnonzero((flipped[row] ^ self._points[place]) & _KEY == 0)
        point, place = point[row[same]], place[same]
        bits = np.bitwise_count((points[point] ^ self._points[place]) & _HASH).astype(np.int64)
        agree = bits <= MAX_BITS
        return np.stack([point[agree], place[agree], bits[agree]])


def maps(points: Words, pairs: Rows) -> Maps:
    """Compute the affine maps that take one point, its pose and its scale, to the other, shape (n, 2, 3).

    They map places in one picture to places in the other, (x, y) from 0 to 1.
    """
    (one, pose, side), (other, other_pose, other_side) = (_placed(points.ravel(), number) for number in pairs[:2])
    turn = other_pose.transpose(0, 2, 1) @ pose * (side / other_side)[:, None, None]
    return np.concatenate([turn, other[..., None] - turn @ one[..., None]], axis=2)


def _placed(points: Words, number: Rows) -> tuple[Maps, Maps, Maps]:
    """Place, pose as a matrix that turns it to the canonical pose, and side of the square."""
    side = np.array(FRAMES, np.float64)[number // POINTS % len(FRAMES)]
    place = np.stack([points[number] >> shift & np.uint64(127) for shift in (_COLUMN, _ROW)], axis=1) + 0.5
    return place / side[:, None], _POSES[_pose(points[number])], side


def _pose(points: Words) -> Rows:
    return (points >> _POSE & np.uint64(7)).astype(np.int64)
