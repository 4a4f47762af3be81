"""Looks at every picture once before anything trains; nothing is deleted or rewritten."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath

from PIL import Image

from bench.data.parallel import ordered
from bench.data.pictures import PictureError, quiet
from bench.data.sources import PARTS, Entry, Rejected, Source
from bench.data.split import Placed
from bench.errors import DataError

Progress = Callable[[str, int, int], None]
"""Called with what is being done, how much of it is done, and how much there is."""


@dataclass(frozen=True)
class Audit:
    """What an audit found.

    Attributes:
        classes: Names of the classes, sorted.
        usable: Pictures that decode, each content once.
        rejected: What was quarantined, and why; sorted by id.
        ignored: How many files are no pictures and not meant to be, by reason.
        median_side: Median of the usable pictures' shorter sides, in pixels.
    """

    classes: tuple[str, ...]
    usable: tuple[Placed, ...]
    rejected: tuple[Rejected, ...]
    ignored: Mapping[str, int]
    median_side: int


@dataclass(frozen=True)
class _Checked:
    entry: Entry
    sha256: str = ""
    side: int = 0
    fault: PictureError | None = None


def audit(source: Source, progress: Progress | None = None) -> Audit:
    """Decodes every picture of the source, and sorts out what cannot be used.

    Raises:
        DataError: The source has no usable set of classes, or none of a class can be used.
    """
    listing = source.listing()
    _check_none_is_empty(listing.classes, listing.entries)
    rejected, ignored = list(listing.rejected), Counter(listing.ignored)
    sound: list[_Checked] = []
    for each in _check_all(source, listing.entries, progress):
        if not each.fault:
            sound.append(each)
        elif each.fault.foreign and not _is_picture_name(each.entry.id):
            ignored["not a picture"] += 1
        else:
            rejected.append(Rejected(each.entry.id, each.fault.reason))
    kept, repeated = _without_repetitions(sound)
    rejected += repeated
    _check_none_is_lost(listing.classes, kept, rejected)
    sides = sorted(each.side for each in kept)
    return Audit(
        classes=listing.classes,
        usable=tuple(Placed(each.entry.id, each.entry.label, each.sha256, each.entry.part) for each in kept),
        rejected=tuple(sorted(rejected, key=lambda each: each.id)),
        ignored=dict(sorted(ignored.items())),
        median_side=sides[len(sides) // 2],
    )


def _check_all(source: Source, entries: tuple[Entry, ...], progress: Progress | None) -> Iterable[_Checked]:
    def check(entry: Entry) -> _Checked:
        try:
            picture = source.picture(entry.id)
        except PictureError as fault:
            return _Checked(entry, fault=fault)
        return _Checked(entry, picture.sha256, min(picture.image.size))

    with quiet():
        for done, checked in enumerate(ordered(check, entries), start=1):
            if progress:
                progress("checking pictures", done, len(entries))
            yield checked


def _without_repetitions(sound: Iterable[_Checked]) -> tuple[list[_Checked], list[Rejected]]:
    """Each content once, and the rest; of a content that two classes claim, none.

    Which of several equal files stays has no influence on the split, but for its ready-made part: the test set
    keeps its pictures, and training loses them.
    """
    groups: dict[str, list[_Checked]] = defaultdict(list)
    for each in sound:
        groups[each.sha256].append(each)
    kept, rejected = [], []
    for group in groups.values():
        first, *others = sorted(group, key=lambda each: (-_place(each.entry.part), each.entry.id))
        labels = sorted({each.entry.label for each in group})
        if len(labels) > 1:
            reason = f"the same content is labelled {' and '.join(labels)}"
            rejected += [Rejected(each.entry.id, reason) for each in group]
            continue
        kept.append(first)
        rejected += [Rejected(each.entry.id, f"the same content as {first.entry.id}") for each in others]
    return kept, rejected


def _place(part: str | None) -> int:
    return PARTS.index(part) if part else 0


def _is_picture_name(item_id: str) -> bool:
    return PurePosixPath(item_id).suffix.lower() in Image.registered_extensions()


def _check_none_is_empty(classes: Iterable[str], entries: Iterable[Entry]) -> None:
    counts = Counter(entry.label for entry in entries)
    for name in classes:
        if not counts[name]:
            raise DataError(f"class {name!r} has no pictures: at least 3 are needed, one for each part")


def _check_none_is_lost(classes: Iterable[str], kept: Iterable[_Checked], rejected: list[Rejected]) -> None:
    counts = Counter(each.entry.label for each in kept)
    for name in classes:
        if not counts[name]:
            first = next((each for each in rejected if name in PurePosixPath(each.id).parts), None)
            why = f"; {first.id!r}: {first.reason}" if first else ""
            raise DataError(f"class {name!r} has no picture that can be used{why}")
