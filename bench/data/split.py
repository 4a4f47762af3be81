"""Assign pictures to parts: pure functions of content hashes, labels and a seed.

File names, their order and the machine do not matter. Pictures are ranked by a hash of the seed and their content: the
same pictures give the same split everywhere, and a few additional pictures move only a few. Near duplicates (a group)
go to one part together, because a model that was trained on one would recognise the other.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from bench.data.pictures import Size
from bench.data.sources import PARTS
from bench.errors import DataError
from bench.records import LeftOut, LeftOutKind

TRAIN, VALIDATION, TEST = PARTS


@dataclass(frozen=True, slots=True)
class UsablePicture:
    """A picture that decodes, and its part.

    Attributes:
        id, label: Its path and its class.
        sha256: Hash of its content.
        part: Its part; None before the assignment.
        group: The smallest `sha256` among those that must stay together: near duplicates and `--group-by`; "" if alone.
        fold: The fold in which it validates, from 0; None without folds, and in the test part.
        size, notes: As in `pictures.Picture`.
    """

    id: str
    label: str
    sha256: str
    part: str | None = None
    group: str = ""
    fold: int | None = None
    size: Size = (0, 0)
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Bin:
    """A part, or one of the folds of the training part."""

    part: str
    share: float
    fold: int | None = None

    @property
    def name(self) -> str:
        return self.part if self.fold is None else f"fold {self.fold + 1}"


def allocate(total: int, weights: Sequence[float], turn: int = 0) -> list[int]:
    """Divide a whole number by largest remainders (Hamilton's method), within one of the exact shares.

    If `total` allows it, every share is at least 1, at the cost of the largest. An odd `turn` reverses the order of
    equal remainders, so that many small classes do not all favour the same part.
    """
    exact = [total * weight / sum(weights) for weight in weights]
    counts = [int(share + 1e-9) for share in exact]
    order = sorted(range(len(exact)), key=lambda i: (-round(exact[i] - counts[i], 9), -i if turn % 2 else i))
    for i in order[: total - sum(counts)]:
        counts[i] += 1
    while total >= len(counts) and 0 in counts:
        counts[counts.index(max(counts))] -= 1
        counts[counts.index(0)] += 1
    return counts


def assign(
    pictures: Iterable[UsablePicture],
    shares: tuple[float, float, float],
    seed: int,
    folds: int = 0,
    leak: LeftOutKind = LeftOutKind.LEAKED_NEAR_DUPLICATE,
) -> tuple[list[UsablePicture], list[LeftOut]]:
    """Assign every picture to a part, stratified by class, groups together.

    Ready-made parts stay. A missing part is taken from the rest in proportion to the shares. Of a group in several
    ready-made parts, those in the test part stay, else those in the validation part: a model must not be
    trained on pictures that score it.

    With folds, training and validation pictures together are divided into equal folds, and the validation part is
    empty.

    Args:
        pictures: Each content once; either all or none have a ready-made part.
        shares: Shares of train, validation and test.
        folds: Number of folds; 0 for one validation part.
        leak: Kind of a picture that is left out because its group is in a later part.

    Returns:
        The pictures with their parts, and the pictures that are left out.

    Raises:
        DataError: A class has too few pictures, or too few groups, to be in every part.
    """
    usable, left_out = _without_leaks(
        [replace(picture, part=TRAIN) if folds and picture.part == VALIDATION else picture for picture in pictures],
        leak,
    )
    ready = {picture.part for picture in usable} - {None, TRAIN}
    bins = [_Bin(part, share) for part, share in zip(PARTS, shares, strict=True) if part not in ready]
    if folds:
        bins = [_Bin(TRAIN, (shares[0] + shares[1]) / folds, fold) for fold in range(folds)]
        bins += [_Bin(TEST, shares[2])] if TEST not in ready else []
    placed = [picture for picture in usable if picture.part in ready]
    pool = [picture for picture in usable if picture.part not in ready]
    _check_classes(usable, pool, ready, bins)
    return placed + _deal(pool, bins, seed), left_out


def sample(pictures: Sequence[UsablePicture], limit: int, seed: int) -> list[UsablePicture]:
    """Draw `limit` pictures, stratified by part, fold and class; a smaller limit draws a subset of a larger one's."""
    if limit >= len(pictures):
        return list(pictures)
    cells: dict[tuple[str, int, str], list[UsablePicture]] = defaultdict(list)
    for picture in pictures:
        cells[str(picture.part), -1 if picture.fold is None else picture.fold, picture.label].append(picture)
    if limit < len(cells):
        raise DataError(f"limit {limit}: must be at least {len(cells)}, one picture per class and part")
    names = sorted(cells)
    counts = allocate(limit, [len(cells[name]) for name in names])
    return [
        picture
        for name, count in zip(names, counts, strict=True)
        for picture in sorted(cells[name], key=lambda picture: rank(seed, picture.sha256))[:count]
    ]


def rank(seed: int, sha256: str) -> str:
    """Sort key of a picture in the seeded draw: a hash, because random generators may change between versions."""
    return hashlib.sha256(f"{seed}/{sha256}".encode()).hexdigest()


def content_hash(items: Iterable[tuple[str, str, str]]) -> str:
    """SHA-256 over (part, class, content hash) of every picture, sorted."""
    digest = hashlib.sha256()
    for part, label, sha256 in sorted(items):
        digest.update(f"{part}\0{label}\0{sha256}\n".encode("utf-8", "surrogatepass"))
    return digest.hexdigest()


# -- inside


def _deal(pool: Sequence[UsablePicture], bins: Sequence[_Bin], seed: int) -> list[UsablePicture]:
    """Assign groups first, the largest first, each to the bin that lacks most; single pictures fill the rest."""
    singles: dict[str, list[UsablePicture]] = defaultdict(list)
    groups: dict[str, list[UsablePicture]] = defaultdict(list)
    for picture in pool:
        (groups[picture.group] if picture.group else singles[picture.label]).append(picture)
    counts = Counter(picture.label for picture in pool)
    shares = [target.share for target in bins]
    lacking = {label: allocate(counts[label], shares, turn) for turn, label in enumerate(sorted(counts))}
    placed: list[UsablePicture] = []
    for name in sorted(groups, key=lambda name: (-len(groups[name]), rank(seed, name))):
        sizes = Counter(picture.label for picture in groups[name])
        room = [min(lacking[label][number] - sizes[label] for label in sizes) for number in range(len(bins))]
        chosen = room.index(max(room))
        for label, count in sizes.items():
            lacking[label][chosen] -= count
        placed += [replace(picture, part=bins[chosen].part, fold=bins[chosen].fold) for picture in groups[name]]
    for label, left in singles.items():
        left.sort(key=lambda picture: rank(seed, picture.sha256))
        room = [max(0, number) for number in lacking[label]]
        while sum(room) > len(left):  # groups overfilled another bin
            room[room.index(max(room))] -= 1
        targets = [target for target, count in zip(bins, room, strict=True) for _ in range(count)]
        placed += [
            replace(picture, part=target.part, fold=target.fold) for target, picture in zip(targets, left, strict=True)
        ]
    _check_every_bin(placed, counts, bins)
    return placed


def _without_leaks(pictures: Sequence[UsablePicture], kind: LeftOutKind) -> tuple[list[UsablePicture], list[LeftOut]]:
    ready = [picture for picture in pictures if picture.group and picture.part]
    ready.sort(key=lambda picture: (PARTS.index(str(picture.part)), picture.sha256))
    last = {picture.group: picture for picture in ready}
    used, left_out = [], []
    for picture in pictures:
        other = last.get(picture.group)
        if other is None or other.part == picture.part:
            used.append(picture)
        else:
            detail = f"{other.id} in the {other.part} part"
            left_out.append(LeftOut(picture.id, kind, detail, picture.label))
    return used, left_out


def _check_classes(
    pictures: Sequence[UsablePicture], pool: Sequence[UsablePicture], ready: Iterable[str | None], bins: Sequence[_Bin]
) -> None:
    held = Counter((picture.label, picture.part) for picture in pictures)
    left = Counter(picture.label for picture in pool)
    for label in sorted({picture.label for picture in pictures}):
        if left[label] < len(bins):
            where = "in training " if ready else ""
            needed = f"at least {len(bins)} are needed, one for each of {', '.join(target.name for target in bins)}"
            pictures_left = f"{left[label]} picture{'s' * (left[label] != 1)}"
            raise DataError(f"class {label!r} has {pictures_left} {where}that can be used: {needed}")
        for part in ready:
            if not held[label, part]:
                raise DataError(f"class {label!r} has no {part} picture that can be used: at least 1 is needed")


def _check_every_bin(placed: Iterable[UsablePicture], counts: Iterable[str], bins: Sequence[_Bin]) -> None:
    held = {(picture.label, picture.part, picture.fold) for picture in placed}
    for label in sorted(counts):
        for target in bins:
            if (label, target.part, target.fold) not in held:
                raise DataError(
                    f"class {label!r} has too many pictures in groups (near duplicates, --group-by), which stay "
                    f"together: none is left for {target.name}. Add other pictures, or use --near-duplicates ignore"
                )
