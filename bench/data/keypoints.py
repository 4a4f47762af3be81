"""Describe key points of pictures, and find those that pictures share, such as turned, mirrored or cropped copies.

A key point is a blob: a local extremum of the difference of two averages (D. G. Lowe, Distinctive Image Features from
Scale-Invariant Keypoints, IJCV 2004). The patch around it is hashed to the signs of its low frequencies, as pHash does
with a whole picture, in a canonical pose: levels rise to the right and, less steeply, downwards. A cropped copy shows
the same blobs larger, so each picture is searched at two sizes. Hashes are computed exactly, from whole numbers.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import cv2
import numpy as np
import numpy.typing as npt

from bench.data.pictures import Pixels, ordered

FRAMES = (64, 80)
"""Sides in pixels of the squares that are searched. A copy that shows 64/80 of a picture's width has in its smaller
square what the picture has in its larger one."""

POINTS = 40
"""Maximum number of key points of a square: those of the highest contrast."""

KEY_BITS, UNSURE_BITS, MAX_BITS = 25, 4, 6
"""Two points agree if their hashes differ in at most `MAX_BITS` of 46, and their first `KEY_BITS`, the lowest
frequencies, only in the `UNSURE_BITS` of one of them that are nearest to a change of sign."""

LEAST_SHARED, LEAST_POINTS = 2, 28
"""Minimum number of points of a picture's smaller square that agree with points of another picture, and minimum number
of points of that square: simple drawings, such as handwritten digits, have fewer, and so many copies."""

MAX_NEIGHBOURS, MAX_AGREEING = 32, 4
"""Maximum number of points with which a point is compared for each choice of its unsure bits: the nearest by hash; and
maximum number of agreeing points that are used. More may agree, e.g. the corners of forms or letters."""

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

_FREQUENCIES = sorted(
    ((row, column) for row in range(_GRID) for column in range(_GRID) if row + column > 1),
    key=lambda frequency: (sum(frequency), frequency),
)
_COSINES = np.rint(7 * np.cos(np.pi / (2 * _GRID) * np.outer(np.arange(_GRID), 2 * np.arange(_GRID) + 1)))
_COSINES[:, _GRID // 2] -= _COSINES.sum(axis=1) * (np.arange(_GRID) > 0)  # so that brightness does not matter at all
_BASIS = np.stack(
    [np.outer(_COSINES[row], _COSINES[column]).ravel() for row, column in [*_FREQUENCIES, (0, 1), (1, 0)]], 1
)
_BASIS = _BASIS.astype(np.float32)  # sums of levels stay below 2**24, so they are exact
_SWAPPED = [_FREQUENCIES.index((column, row)) for row, column in _FREQUENCIES]
_BITS = np.uint64(1) << np.arange(63, 63 - _HASH_BITS, -1, dtype=np.uint64)
_ODD_ROW, _ODD_COLUMN = (_BITS[[frequency[axis] % 2 == 1 for frequency in _FREQUENCIES]].sum() for axis in (0, 1))
_FLIPS = (_BITS[:KEY_BITS] >> np.uint64(32)).astype(np.uint32)
_WEIGHTS = KEY_BITS * np.array([row**2.0 + column**2 for row, column in _FREQUENCIES[:KEY_BITS]])

_LEFT = np.cumsum([0, *FRAMES[:-1]])
_WIDTH = sum(FRAMES)
_INSIDE = np.zeros((FRAMES[-1], _WIDTH), np.uint16)  # 1 where the whole patch is in the square
for _side, _left in zip(FRAMES, _LEFT, strict=True):
    _INSIDE[_MARGIN : _side - _MARGIN, _left + _MARGIN : _left + _side - _MARGIN] = 1
_REACH = np.arange(-(_GRID // 2), _GRID // 2 + 1) * _STEP
_PATCH = (_REACH[:, None] * _WIDTH + _REACH).ravel()


def describe(squares: Sequence[Pixels]) -> tuple[Words, Halves]:
    """Describe the key points of pictures, squeezed to grey squares of at least 128 pixels, uint8.

    Returns:
        The points of each picture in both scales, shape (n, scales, points), and the unsure bits of those of the
        smaller one, shape (n, points).
    """
    canvas = np.zeros((FRAMES[-1], _WIDTH), np.uint8)  # both squares of a picture side by side
    fine, contrast = np.empty((2, len(squares) * FRAMES[-1], _WIDTH), np.uint16)
    peak = np.empty(fine.shape, np.bool_)
    for top, square in zip(range(0, len(fine), FRAMES[-1]), squares, strict=True):
        for side, left in zip(FRAMES, _LEFT, strict=True):
            canvas[:side, left : left + side] = cv2.resize(square, (side, side), interpolation=cv2.INTER_LINEAR)
        once = cv2.boxFilter(canvas, cv2.CV_16U, (3, 3), normalize=False)
        twice = cv2.boxFilter(once, cv2.CV_16U, (3, 3), normalize=False)
        difference = cv2.absdiff(twice, cv2.boxFilter(canvas, cv2.CV_16U, (9, 9), normalize=False))
        difference *= _INSIDE
        rows = slice(top, top + FRAMES[-1])
        fine[rows], contrast[rows] = twice, difference
        peak[rows] = (difference == cv2.dilate(difference, _SPOT)) & (difference > 0)
    centre = np.flatnonzero(peak)
    row, column = np.divmod(centre, _WIDTH)
    group = row // FRAMES[-1] * len(FRAMES) + np.searchsorted(_LEFT, column, side="right") - 1
    order = np.argsort(group * 2**16 - contrast.ravel()[centre], kind="stable")
    group = group[order]
    rank = np.arange(len(order)) - np.searchsorted(group, group)
    order, slot = order[rank < POINTS], (group * POINTS + rank)[rank < POINTS]
    centre, row = centre[order], row[order] % FRAMES[-1]
    column = column[order] - _LEFT[slot // POINTS % len(FRAMES)]
    patches = fine.ravel().take(centre[:, None] + _PATCH).astype(np.float32)
    parts = np.array_split(patches, len(squares))  # so small that the product takes no threads of its own
    levels = np.concatenate([part @ _BASIS for part in parts])
    right, down, bits = levels[:, -2], levels[:, -1], levels > 0
    falling, rising, steep = right < 0, down < 0, np.abs(down) > np.abs(right)
    bits[steep, :_HASH_BITS] = bits[steep][:, _SWAPPED]
    hashes = np.zeros((len(bits), 8), np.uint8)
    hashes[:, : -(-_HASH_BITS // 8)] = np.packbits(bits[:, :_HASH_BITS], axis=1)
    hash = hashes.view(">u8").ravel().astype(np.uint64)
    hash ^= np.where(steep, rising, falling) * _ODD_COLUMN ^ np.where(steep, falling, rising) * _ODD_ROW
    pose = falling + 2 * rising + 4 * steep
    points = np.zeros(len(squares) * len(FRAMES) * POINTS, np.uint64)
    points[slot] = hash | ((pose << 15) + (row << 8) + (column << 1) + 1).astype(np.uint64)
    unsure = np.zeros(points.shape, np.uint32)
    small = np.flatnonzero(slot // POINTS % len(FRAMES) == 0)
    surety = np.abs(levels[small, :KEY_BITS]) * _WEIGHTS + np.arange(KEY_BITS)  # no two are equal
    flips = np.argpartition(surety, UNSURE_BITS, axis=1)[:, :UNSURE_BITS]
    unsure[slot[small]] = np.where(steep[small, None], _FLIPS[_SWAPPED[:KEY_BITS]][flips], _FLIPS[flips]).sum(axis=1)
    shape = (len(squares), len(FRAMES), POINTS)
    return points.reshape(shape), unsure.reshape(shape)[:, 0]


def shared(points: Words, unsure: Halves, at_once: int = 2**10) -> Iterator[Rows]:
    """Yield agreeing points of different pictures, as numbers in `points`, flattened, in parts of shape (3, some).

    Third comes the number of such points of the same two pictures.

    Args:
        points, unsure: Of all pictures, as `describe` gives them.
        at_once: Number of pictures whose points are compared at once.
    """
    size = len(FRAMES) * POINTS
    detailed = np.count_nonzero(points[:, 0], axis=1) >= LEAST_POINTS
    every = np.where(detailed[:, None, None], points, 0).ravel()
    order = np.argsort(every, kind="stable")[np.count_nonzero(every == 0) :]
    table = every[order]
    bits = min(len(table).bit_length() + 1, KEY_BITS)
    block = np.uint64(64 - bits)  # blocks of few points, however many there are
    stops = np.zeros(2**bits + 1, np.int64)
    np.cumsum(np.bincount((table >> block).astype(np.int64), minlength=2**bits), out=stops[1:])

    def agreeing(begin: int) -> Rows:
        number = (np.arange(begin, min(begin + at_once, len(points)))[:, None] * size + np.arange(POINTS)).ravel()
        flips = unsure[begin : begin + at_once].ravel()[every[number] > 0].astype(np.uint64) << np.uint64(32)
        number = number[every[number] > 0]
        parts = [_agreeing(every[number] ^ flip, flip, table, stops, block) for flip in _subsets(flips)]
        one, place, differing = np.concatenate(parts, axis=1)
        one, other = number[one], order[place]
        different = one // size != other // size
        nearest = np.lexsort((other[different], differing[different], one[different]))
        one, other = one[different][nearest], other[different][nearest]
        few = np.ones(len(one), np.bool_)
        few[MAX_AGREEING:] = one[MAX_AGREEING:] != one[:-MAX_AGREEING]
        one, other = one[few], other[few]
        _, pair, count = np.unique(one // size * len(points) + other // size, return_inverse=True, return_counts=True)
        several = count[pair] >= LEAST_SHARED
        return np.stack([one[several], other[several], count[pair[several]]])

    yield from ordered(agreeing, range(0, len(points), at_once), batch_size=1)


def _subsets(flips: Words) -> list[Words]:
    """All choices of the bits that are set in each number, the same count in all."""
    chosen = [np.zeros_like(flips)]
    while flips.any():
        lowest = flips & (~flips + np.uint64(1))
        flips = flips ^ lowest
        chosen += [one | lowest for one in chosen]
    return chosen


def _agreeing(flipped: Words, flip: Words, table: Words, stops: Rows, shift: np.uint64) -> Rows:
    """Find points of a sorted table whose key is that of a point with some bits flipped.

    Args:
        flipped, flip: The points with these bits flipped, and the bits.
        table, stops: Other points, sorted, and the end of each block of them: those with the same first bits.
        shift: Shift of a point that gives the number of its block.

    Returns:
        Place among the points, place in the table, and number of bits that differ, shape (3, some).
    """
    block = (flipped >> shift).astype(np.int64)
    start, stop = stops[block], stops[block + 1]
    point = np.flatnonzero(start < stop)
    start, stop = start[point], stop[point]
    crowded = np.flatnonzero(stop - start > MAX_NEIGHBOURS)
    if len(crowded):
        middle = np.searchsorted(table, flipped[point[crowded]]) - MAX_NEIGHBOURS // 2
        start[crowded] = np.clip(middle, start[crowded], stop[crowded] - MAX_NEIGHBOURS)
        stop[crowded] = start[crowded] + MAX_NEIGHBOURS
    many = stop - start
    place = np.arange(many.sum()) + np.repeat(stop - np.cumsum(many), many)
    point = np.repeat(point, many)
    same = np.flatnonzero((flipped[point] ^ table[place]) & _KEY == 0)
    point, place = point[same], place[same]
    bits = np.bitwise_count((flipped[point] ^ flip[point] ^ table[place]) & _HASH).astype(np.int64)
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
    return place / side[:, None], _POSES[(points[number] >> _POSE & np.uint64(7)).astype(np.int64)], side


_POSES = np.array([[[1 - 2 * (pose & 1), 0], [0, 1 - (pose & 2)]] for pose in range(4)], np.float64)
_POSES = np.concatenate([_POSES, _POSES[:, ::-1]])
