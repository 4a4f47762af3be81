"""Data: from `--data` to one audited split that all families share."""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import replace
from pathlib import Path

from bench.config import RunConfig
from bench.data import groups
from bench.data.audit import PixelSink, audit
from bench.data.dataset import Dataset, Item, group_numbers, labels, load, sampled, write_predictions
from bench.data.pictures import SHARED_SIDE, ordered, quiet
from bench.data.pixels import recording
from bench.data.sources import PARTS, StageCallback, create
from bench.data.split import UsablePicture, assign, sample
from bench.errors import DataError
from bench.records import LeftOutKind, PictureSizes, SuggestedGroups

__all__ = ["Dataset", "Item", "group_numbers", "labels", "load", "open", "sampled", "write_predictions"]

SMALL_SIZES = (32, 48, 64)
"""Input sizes for small pictures."""

PHOTO_SIZES = (96, 128, 160, 192, 224)
"""Input sizes for photographs: those of MobileNet's released ImageNet weights, and 96."""

MAX_SIZES_AT_ONCE = 2
"""Maximum number of input sizes decoded during the audit. With more, a size is decoded when a trial needs it."""


def open(config: RunConfig, progress: StageCallback | None = None, cache: Path | None = None) -> Dataset:
    """List, audit and split the pictures that `config.data` names.

    Every picture is decoded once. The split depends only on the pictures' contents, their labels and the seed. With
    `config.split_file` the split is that of the manifest, and every picture must be unchanged.

    Args:
        config: Uses the settings of the pictures and `seed`.
        progress: Called with the stage, the number done and the total.
        cache: Folder of decoded pictures. With it and one or two `input_sizes`, the audit stores the resized pictures,
            so that no picture is decoded twice.

    Raises:
        DataError: The data cannot be used: no such folder, a single class, a class with too few pictures, ….
    """
    if config.split_file:
        return _reopened(config, progress, cache)
    source = create(config, progress)
    listing = source.listing()
    try:
        with _recording(config, len(listing.entries), cache) as keep:
            usable, findings = audit(source, listing, progress, keep, config.masks == "use")
        if config.near_duplicates == "ignore":
            usable = tuple(replace(picture, group="") for picture in usable)
        suggested, leak = None, LeftOutKind.LEAKED_NEAR_DUPLICATE
        if config.group_by:
            usable = groups.joined(usable, groups.names(config.group_by, listing.entries))
            leak = LeftOutKind.LEAKED_GROUP
        else:
            suggested = _suggested(usable, config)
        placed, leaks = assign(usable, config.split, config.seed, config.folds, leak)
    except DataError as error:  # a wrong guess may be the cause
        raise DataError("; ".join([str(error), *listing.guesses])) from None
    available = len(placed)
    if config.limit is not None:
        placed = sample(placed, config.limit, config.seed)
    used, alike = {picture.id for picture in placed}, {name for group in findings.alike for name in group}
    classes = tuple(sorted({picture.label for picture in usable}, key=_natural))
    numbers = {name: number for number, name in enumerate(classes)}
    left_out = tuple(sorted((*findings.quarantined, *leaks), key=lambda picture: picture.id))
    return Dataset(
        source=source,
        classes=classes,
        items=tuple(
            Item(p.id, numbers[p.label], str(p.part), p.sha256, p.fold, p.group or p.sha256 if config.group_by else "")
            for p in placed
        ),
        input_sizes=config.input_sizes or source.input_sizes or _input_sizes(findings.sizes),
        unused=tuple(Item(p.id, numbers[p.label], "", p.sha256) for p in usable if p.id in alike - used),
        **(findings.findings() | {"quarantined": left_out, "suggested": suggested, "available": available}),
    )


def _suggested(pictures: Sequence[UsablePicture], config: RunConfig) -> SuggestedGroups | None:
    """Suggest groups by the names of the pictures, with the split that would follow."""
    suggested = groups.suggest(pictures)
    if suggested is None:
        return None
    together = groups.joined(pictures, groups.by_pattern(suggested.pattern, [picture.id for picture in pictures]))
    with suppress(DataError):  # no such split is possible
        placed, _ = assign(together, config.split, config.seed, config.folds)
        parts = {
            part: len({picture.group or picture.sha256 for picture in placed if picture.part == part}) for part in PARTS
        }
        return replace(suggested, parts=parts)
    return suggested


def _reopened(config: RunConfig, progress: StageCallback | None, cache: Path | None) -> Dataset:
    """Open the data set of a manifest and compare every picture with it; `config.data` may name a new location."""
    dataset = load(Path(config.split_file))
    if config.data != RunConfig.data:
        dataset = replace(dataset, source=create(config, progress))
    if config.input_sizes:
        dataset = replace(dataset, input_sizes=config.input_sizes)
    with _recording(config, len(dataset.items), cache) as keep, quiet():

        def look_at(item: Item) -> None:
            picture = dataset.picture(item, SHARED_SIDE)
            if keep and picture.deep is None:
                keep(picture.sha256, picture.pixels)

        for done, _ in enumerate(ordered(look_at, dataset.items), start=1):
            if progress:
                progress("comparing pictures with the split", done, len(dataset.items))
    return dataset


def _recording(config: RunConfig, count: int, cache: Path | None) -> AbstractContextManager[PixelSink | None]:
    """Store decoded pictures at the input sizes, if the run will need all of them."""
    if cache is None or config.limit is not None or len(config.input_sizes) > MAX_SIZES_AT_ONCE:
        return nullcontext()
    return recording(config.input_sizes, config.fit, count, cache)


def _natural(name: str) -> tuple[list[str | int], str]:
    """Sort key of a class: numbers by value, so that 10 follows 9."""
    return [int(piece) if piece.isdecimal() else piece for piece in re.split(r"(\d+)", name)], name


def _input_sizes(sizes: PictureSizes | None) -> tuple[int, ...]:
    """Choose input sizes by the shorter side of the median picture."""
    side = min(sizes.median) if sizes else 0
    if side >= PHOTO_SIZES[0]:
        return PHOTO_SIZES
    return tuple(size for size in SMALL_SIZES if size <= side) or SMALL_SIZES[:1]
