"""Audit: decode every picture once before training. Files are never deleted or changed."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import PurePosixPath

from PIL import Image

from bench.data import masks, near_duplicates
from bench.data.pictures import SHARED_SIDE, PictureError, Pixels, levels, ordered, quiet
from bench.data.sources import PARTS, ListedPicture, Listing, Source, StageCallback
from bench.data.split import UsablePicture
from bench.errors import DataError
from bench.records import AuditFindings, Change, LeftOut, LeftOutKind, PictureSizes

FOREIGN = (LeftOutKind.EMPTY, LeftOutKind.UNKNOWN_FORMAT)
"""Kinds of files that are not pictures."""

POSES = {Change.MIRRORED, Change.TURNED}
"""Changes after which another label may be right: a left hand mirrored, a 6 turned round."""

PixelSink = Callable[[str, Pixels], None]
"""Called with the SHA-256 of a picture's content and its pixels, uint8, shape (height, width, 3)."""


def audit(
    source: Source,
    listing: Listing,
    progress: StageCallback | None = None,
    keep: PixelSink | None = None,
    use_masks: bool = False,
) -> tuple[tuple[UsablePicture, ...], AuditFindings]:
    """Decode every picture of the source and leave out those that cannot be used.

    Args:
        source, listing: The source and its list of pictures.
        progress: Called after every picture.
        keep: Called with every picture that decodes, from several threads at once. The pixels have enough detail for
            squares of up to `pictures.SHARED_SIDE`.
        use_masks: Use masks beside pictures as pictures.

    Returns:
        The usable pictures, each content once, and the findings.

    Raises:
        DataError: A class has no pictures, or no usable ones.
    """
    if empty := set(listing.classes) - {entry.label for entry in listing.entries}:
        raise DataError(f"class {min(empty)!r} has no pictures: at least 3 are needed, one for each part")
    left_out, ignored = list(listing.left_out), Counter(listing.ignored)
    sound: list[UsablePicture] = []
    fingerprints = bytearray()
    suspects = {} if use_masks else masks.suspects([entry.id for entry in listing.entries])
    flat: set[str] = set()
    extremes: list[tuple[int, int]] = []

    def look_at(entries: Sequence[ListedPicture]) -> tuple[list[UsablePicture | LeftOut], bytes]:
        squares: list[Pixels] = []
        seen = [decoded(entry, squares) for entry in entries]
        return seen, near_duplicates.fingerprints(squares) if squares else b""

    def decoded(entry: ListedPicture, squares: list[Pixels]) -> UsablePicture | LeftOut:
        try:
            picture = source.picture(entry.id, SHARED_SIDE)
        except PictureError as fault:
            return LeftOut(entry.id, fault.kind, fault.detail, entry.label)
        if keep and picture.deep is None:  # deep pictures are scaled by the levels of all of them
            keep(picture.sha256, picture.pixels)
        if picture.extremes:
            extremes.append(picture.extremes)
            picture = picture.scaled(levels([picture.extremes]))
        if suspects and masks.is_flat(picture.pixels):
            flat.add(entry.id)
        squares.append(near_duplicates.squeezed(picture.pixels))
        return UsablePicture(entry.id, entry.label, picture.sha256, entry.part, size=picture.size, notes=picture.notes)

    step, done = near_duplicates.AT_ONCE, 0
    batches = [listing.entries[begin : begin + step] for begin in range(0, len(listing.entries), step)]
    with quiet():
        for batch, prints in ordered(look_at, batches, batch_size=1):
            fingerprints += prints
            for seen in batch:
                done += 1
                if not isinstance(seen, LeftOut):
                    sound.append(seen)
                elif (
                    seen.kind in FOREIGN and PurePosixPath(seen.id).suffix.lower() not in Image.registered_extensions()
                ):
                    ignored["not a picture"] += 1
                else:
                    left_out.append(seen)
                if progress:
                    progress("checking pictures", done, len(listing.entries))
    masked = masks.select(suspects, {picture.id for picture in sound}, flat) if suspects else {}
    rows, repeated = _without_repetitions(sound, masked)
    left_out += repeated
    usable = [sound[row] for row in rows]
    labels = {picture.label for picture in usable}
    no_classes = {
        picture.label for picture in repeated if picture.kind is LeftOutKind.MASK and masks.is_word(picture.label)
    }
    if lost := set(listing.classes) - labels - no_classes:
        first = next((picture for picture in left_out if picture.label == min(lost)), None)
        if first and first.kind.download:
            count = sum(picture.kind is first.kind for picture in left_out)
            files = f"{count:,} of {len(listing.entries):,} files are {first.kind.words}s"
            raise DataError(f"{files}: run {first.kind.download}")
        reason = f"; {first.id!r}: {first.reason}" if first else ""
        raise DataError(f"class {min(lost)!r} has no picture that can be used{reason}")
    if len(labels) == 1 and no_classes:
        raise DataError(
            f"data {source.title!r} has one class, {min(labels)!r}, and masks ({min(no_classes)!r}): at least two are "
            "needed; --masks use takes masks as pictures"
        )
    alike = [([sound[row] for row in group], changes) for group, changes in near_duplicates.groups(fingerprints, rows)]
    groups = [group for group, _ in alike]
    names = {picture.sha256: min(other.sha256 for other in group) for group in groups for picture in group}
    sizes = sorted((picture.size for picture in usable), key=lambda size: (size[0] * size[1], size))
    findings = AuditFindings(
        quarantined=tuple(sorted(left_out, key=lambda picture: picture.id)),
        ignored=dict(sorted(ignored.items())),
        noticed=dict(sorted(Counter(note for picture in usable for note in picture.notes).items())),
        sizes=PictureSizes(sizes[0], sizes[len(sizes) // 2], sizes[-1]),
        levels=levels(extremes) if extremes else None,
        alike=_ids(groups),
        changes=tuple(changes for _, changes in sorted((_ids([group]), changes) for group, changes in alike)),
        contradicting=_ids(
            group
            for group, changes in alike
            if len({picture.label for picture in group}) > 1 and POSES.isdisjoint(changes)
        ),
        guesses=listing.guesses,
    )
    return tuple(replace(picture, group=names.get(picture.sha256, "")) for picture in usable), findings


def _without_repetitions(sound: Sequence[UsablePicture], masked: Mapping[str, str]) -> tuple[list[int], list[LeftOut]]:
    """Select one row per content, ordered by content, and list the rest as left out; masks first.

    Contents with contradictory labels are left out. Of equal files the one in the latest ready-made part stays: the
    test part keeps its pictures, training loses them.
    """
    repeated: dict[str, list[int]] = defaultdict(list)
    unique, left_out = [], []
    for row, picture in enumerate(sound):
        if picture.id in masked:
            left_out.append(LeftOut(picture.id, LeftOutKind.MASK, masked[picture.id], picture.label))
        else:
            repeated[picture.sha256].append(row)
    for _, rows in sorted(repeated.items()):
        rows.sort(key=lambda row: (-PARTS.index(sound[row].part or PARTS[0]), sound[row].id))
        first, *others = (sound[row] for row in rows)
        labels = sorted({first.label, *(picture.label for picture in others)})
        if len(labels) > 1:
            detail, kind = " and ".join(labels), LeftOutKind.CONTRADICTING_LABELS
            left_out += [LeftOut(picture.id, kind, detail, picture.label) for picture in (first, *others)]
            continue
        unique.append(rows[0])
        for picture in others:
            kind, detail = LeftOutKind.DUPLICATE, first.id
            if picture.part != first.part:
                kind, detail = LeftOutKind.LEAKED_DUPLICATE, f"{first.id} in the {first.part} part"
            left_out.append(LeftOut(picture.id, kind, detail, picture.label))
    return unique, left_out


def _ids(groups: Iterable[Sequence[UsablePicture]]) -> tuple[tuple[str, ...], ...]:
    return tuple(sorted(tuple(sorted(picture.id for picture in group)) for group in groups))
