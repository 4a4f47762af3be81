"""Data: from `--data` to one audited, common split."""

from __future__ import annotations

from bench.config import RunConfig
from bench.data.audit import Progress, audit
from bench.data.dataset import Dataset, Item, load
from bench.data.sources import create
from bench.data.split import assign, sample

__all__ = ["Dataset", "Item", "load", "open"]

SMALL_SIZES = (32, 48, 64)
"""Input sizes for small pictures."""

PHOTO_SIZES = (96, 128, 160, 192, 224)
"""Input sizes for photographs: those that MobileNet's released ImageNet weights were trained at, and 96."""


def open(config: RunConfig, progress: Progress | None = None) -> Dataset:
    """Lists, audits and splits the pictures that `config.data` names.

    Every picture is decoded once. The split depends on the pictures' contents, their labels and the seed alone.

    Args:
        config: What is read of it: `data images limit split seed input_sizes`.
        progress: Called with what is being done, how much of it is done, and how much there is.

    Raises:
        DataError: The data cannot be used: no such folder, a single class, a class with fewer than 3 pictures, ….
    """
    source = create(config)
    found = audit(source, progress)
    placed = assign(found.usable, config.split, config.seed)
    if config.limit is not None:
        placed = sample(placed, config.limit, config.seed)
    labels = {name: label for label, name in enumerate(found.classes)}
    return Dataset(
        source=source,
        classes=found.classes,
        items=tuple(Item(each.id, labels[each.label], str(each.part), each.sha256) for each in placed),
        quarantined=found.rejected,
        input_sizes=config.input_sizes or source.input_sizes or _input_sizes(found.median_side),
        ignored=found.ignored,
    )


def _input_sizes(side: int) -> tuple[int, ...]:
    """What suits pictures whose shorter side has that median, in pixels."""
    if side >= PHOTO_SIZES[0]:
        return PHOTO_SIZES
    return tuple(size for size in SMALL_SIZES if size <= side) or SMALL_SIZES[:1]
