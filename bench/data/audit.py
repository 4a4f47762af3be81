"""Decode every picture once before anything trains; nothing is deleted or rewritten."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from PIL import Image

from bench.data import near_duplicates
from bench.data.parallel import ordered
from bench.data.pictures import SHARED_SIDE, PictureError, Pixels, Size, quiet
from bench.data.sources import PARTS, ListedPicture, Listing, Source, StageCallback
from bench.data.split import UsablePicture
from bench.errors import DataError
from bench.records import AuditFindings, LeftOut, LeftOutKind, PictureSizes

FOREIGN = (LeftOutKind.EMPTY, LeftOutKind.UNKNOWN_FORMAT)
"""Kinds of content that is no picture at all."""

PixelSink = Callable[[str, Pixels], None]
"""Called with the SHA-256 of a picture's content and its pixels, uint8, shape (height, width, 3)."""


@dataclass(frozen=True, kw_only=True)
class Audit(AuditFindings):
    """Result of an audit.

    Attributes:
        classes: Names of the classes, sorted.
        usable: Pictures that decode, each content once.
        sizes: Smallest, median and largest usable picture.
    """

    classes: tuple[str, ...]
    usable: tuple[UsablePicture, ...]
    sizes: PictureSizes


@dataclass(frozen=True, slots=True)
class _DecodedPicture:
    """A picture that decodes."""

    entry: ListedPicture
    sha256: str
    size: Size
    notes: tuple[str, ...]


def audit(
    source: Source, listing: Listing, progress: StageCallback | None = None, keep: PixelSink | None = None
) -> Audit:
    """Decode every picture of the source and leave out those that cannot be used.

    Args:
        source: Source of the pictures.
        listing: Its pictures.
        progress: Called after every picture.
        keep: Called with every picture that decodes, from several threads at once. The pixels are fit for squares of up
            to `pictures.SHARED_SIDE`; larger squares need another decoding.

    Raises:
        DataError: A class has no pictures, or none that can be used.
    """
    _check_none_is_empty(listing.classes, listing.entries)
    left_out, ignored = list(listing.left_out), Counter(listing.ignored)
    sound: list[_DecodedPicture] = []
    looks = near_duplicates.NearDuplicates()
    for entry, seen in _look_at_all(source, listing.entries, progress, keep):
        if not isinstance(seen, PictureError):
            sound.append(seen[0])
            looks.add(seen[1])
        elif seen.kind in FOREIGN and not _is_picture_name(entry.id):
            ignored["not a picture"] += 1
        else:
            left_out.append(LeftOut(entry.id, seen.kind, seen.detail, entry.label))
    rows, repeated = _without_repetitions(sound)
    left_out += repeated
    usable = [sound[row] for row in rows]
    _check_none_is_lost(listing.classes, usable, left_out)
    groups = [[sound[row] for row in group] for group in looks.groups(rows)]
    return Audit(
        classes=listing.classes,
        usable=_placed(usable, groups),
        quarantined=tuple(sorted(left_out, key=lambda picture: picture.id)),
        ignored=dict(sorted(ignored.items())),
        noticed=dict(sorted(Counter(note for picture in usable for note in picture.notes).items())),
        sizes=_sizes(usable),
        alike=_ids(groups),
        contradicting=_ids(group for group in groups if len({picture.entry.label for picture in group}) > 1),
    )


def _look_at_all(
    source: Source, entries: Sequence[ListedPicture], progress: StageCallback | None, keep: PixelSink | None
) -> Iterator[tuple[ListedPicture, tuple[_DecodedPicture, Pixels] | PictureError]]:
    """Every picture with its grey square, or the error."""

    def look_at(entry: ListedPicture) -> tuple[ListedPicture, tuple[_DecodedPicture, Pixels] | PictureError]:
        try:
            picture = source.picture(entry.id, SHARED_SIDE)
        except PictureError as fault:
            return entry, fault
        if keep:
            keep(picture.sha256, picture.pixels)
        return entry, (
            _DecodedPicture(entry, picture.sha256, picture.size, picture.notes),
            near_duplicates.grey_square(picture.pixels),
        )

    with quiet():
        for done, seen in enumerate(ordered(look_at, entries), start=1):
            if progress:
                progress("checking pictures", done, len(entries))
            yield seen


def _without_repetitions(sound: Sequence[_DecodedPicture]) -> tuple[list[int], list[LeftOut]]:
    """One row of each content, in order of the contents, and what is left out; no row if the labels contradict.

    Of equal files the one in the latest ready-made part stays: the test part keeps its pictures, training loses them.
    """
    repeated: dict[str, list[int]] = defaultdict(list)
    for row, picture in enumerate(sound):
        repeated[picture.sha256].append(row)
    unique, left_out = [], []
    for _, rows in sorted(repeated.items()):
        rows.sort(key=lambda row: (-_place(sound[row].entry.part), sound[row].entry.id))
        first, *others = (sound[row].entry for row in rows)
        labels = sorted({first.label, *(picture.label for picture in others)})
        if len(labels) > 1:
            detail = " and ".join(labels)
            kind = LeftOutKind.CONTRADICTING_LABELS
            left_out += [LeftOut(picture.id, kind, detail, picture.label) for picture in (first, *others)]
            continue
        unique.append(rows[0])
        left_out += [_duplicate(picture, first) for picture in others]
    return unique, left_out


def _duplicate(entry: ListedPicture, first: ListedPicture) -> LeftOut:
    if entry.part == first.part:
        return LeftOut(entry.id, LeftOutKind.DUPLICATE, first.id, entry.label)
    return LeftOut(entry.id, LeftOutKind.LEAKED_DUPLICATE, f"{first.id} in the {first.part} part", entry.label)


def _place(part: str | None) -> int:
    return PARTS.index(part) if part else 0


def _placed(
    pictures: Iterable[_DecodedPicture], groups: Iterable[Sequence[_DecodedPicture]]
) -> tuple[UsablePicture, ...]:
    names = {picture.sha256: min(other.sha256 for other in group) for group in groups for picture in group}
    return tuple(
        UsablePicture(
            picture.entry.id, picture.entry.label, picture.sha256, picture.entry.part, names.get(picture.sha256, "")
        )
        for picture in pictures
    )


def _ids(groups: Iterable[Sequence[_DecodedPicture]]) -> tuple[tuple[str, ...], ...]:
    return tuple(sorted(tuple(sorted(picture.entry.id for picture in group)) for group in groups))


def _sizes(pictures: Iterable[_DecodedPicture]) -> PictureSizes:
    sizes = sorted((picture.size for picture in pictures), key=lambda size: (size[0] * size[1], size))
    return PictureSizes(sizes[0], sizes[len(sizes) // 2], sizes[-1])


def _is_picture_name(item_id: str) -> bool:
    return PurePosixPath(item_id).suffix.lower() in Image.registered_extensions()


def _check_none_is_empty(classes: Iterable[str], entries: Iterable[ListedPicture]) -> None:
    counts = Counter(entry.label for entry in entries)
    for name in classes:
        if not counts[name]:
            raise DataError(f"class {name!r} has no pictures: at least 3 are needed, one for each part")


def _check_none_is_lost(classes: Iterable[str], usable: Iterable[_DecodedPicture], left_out: Iterable[LeftOut]) -> None:
    counts = Counter(picture.entry.label for picture in usable)
    for name in classes:
        if not counts[name]:
            first = next((picture for picture in left_out if picture.label == name), None)
            why = f"; {first.id!r}: {first.reason}" if first else ""
            raise DataError(f"class {name!r} has no picture that can be used{why}")
