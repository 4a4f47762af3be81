"""Who is in which part: pure functions of content hashes, labels and a seed.

Nothing here depends on file names, their order or the machine: pictures are ranked by a hash of the seed and their
content, so that the same pictures give the same split anywhere, and a few pictures more move only a few.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from bench.data.sources import PARTS
from bench.errors import DataError


@dataclass(frozen=True)
class Placed:
    """A usable picture: its id, its class, the SHA-256 of its content, its part where that is decided."""

    id: str
    label: str
    sha256: str
    part: str | None = None


def allocate(total: int, weights: Sequence[float], turn: int = 0) -> list[int]:
    """Shares out whole numbers by largest remainders (Hamilton's method): within one of the exact share.

    Where `total` allows it, every share gets at least 1, at the cost of the largest.

    Args:
        total: What is shared out.
        weights: Non-negative, not all 0.
        turn: Odd, the last comes first among equal remainders: many small classes do not all favour the same part.
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


def assign(pictures: Iterable[Placed], shares: tuple[float, float, float], seed: int) -> list[Placed]:
    """Gives every picture a part, stratified by class.

    Ready-made parts stay. A part that nobody is in is taken from the rest in proportion to the shares.

    Args:
        pictures: Each content once; all of them with a ready-made part, or none.
        shares: Of train, validation and test.
        seed: Of the draw.

    Raises:
        DataError: A class has fewer pictures than there are parts to fill.
    """
    classes: dict[str, list[Placed]] = defaultdict(list)
    for picture in pictures:
        classes[picture.label].append(picture)
    ready = {picture.part for each in classes.values() for picture in each} - {None, "train"}
    drawn = [part for part in PARTS if part not in ready]
    weights = [shares[PARTS.index(part)] for part in drawn]
    placed: list[Placed] = []
    for turn, label in enumerate(sorted(classes)):
        pool = [each for each in classes[label] if each.part not in ready]
        _check_class(label, classes[label], pool, ready, drawn)
        pool.sort(key=lambda each: rank(seed, each.sha256))
        counts = allocate(len(pool), weights, turn)
        parts = [part for part, count in zip(drawn, counts, strict=True) for _ in range(count)]
        placed += [replace(each, part=part) for each, part in zip(pool, parts, strict=True)]
        placed += [each for each in classes[label] if each.part in ready]
    return placed


def sample(pictures: Sequence[Placed], limit: int, seed: int) -> list[Placed]:
    """A sample of `limit` pictures, stratified by part and class; a smaller limit samples a subset.

    Raises:
        DataError: The limit is less than one picture of every class in every part.
    """
    if limit >= len(pictures):
        return list(pictures)
    cells: dict[tuple[str, str], list[Placed]] = defaultdict(list)
    for picture in pictures:
        cells[str(picture.part), picture.label].append(picture)
    if limit < len(cells):
        raise DataError(f"limit {limit}: one picture of every class in every part takes at least {len(cells)}")
    names = sorted(cells)
    counts = allocate(limit, [len(cells[name]) for name in names])
    return [
        picture
        for name, count in zip(names, counts, strict=True)
        for picture in sorted(cells[name], key=lambda each: rank(seed, each.sha256))[:count]
    ]


def rank(seed: int, sha256: str) -> str:
    """A picture's place in the seeded draw: a hash, not a generator whose stream may change between versions."""
    return hashlib.sha256(f"{seed}/{sha256}".encode()).hexdigest()


def content_hash(items: Iterable[tuple[str, str, str]]) -> str:
    """SHA-256 over (part, class, content hash) of every picture, in an order of its own."""
    digest = hashlib.sha256()
    for part, label, sha256 in sorted(items):
        digest.update(f"{part}\0{label}\0{sha256}\n".encode("utf-8", "surrogatepass"))
    return digest.hexdigest()


def _check_class(
    label: str, every: Sequence[Placed], pool: Sequence[Placed], ready: Iterable[str | None], drawn: Sequence[str]
) -> None:
    if len(pool) < len(drawn):
        where = "in training " if ready else ""
        needed = f"at least {len(drawn)} are needed, one for each of {', '.join(drawn)}"
        raise DataError(f"class {label!r} has {_pictures(len(pool))} {where}that can be used: {needed}")
    held: Mapping[str | None, int] = {part: sum(each.part == part for each in every) for part in ready}
    for part, count in held.items():
        if not count:
            raise DataError(f"class {label!r} has no {part} picture that can be used: at least 1 is needed")


def _pictures(count: int) -> str:
    return f"{count} picture" if count == 1 else f"{count} pictures"
