"""`Dataset`: pictures, labels and the common split, and the manifest that they are written to."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from bench.cache.files import replacing
from bench.data import manifest
from bench.data.manifest import Item, Items, Manifest
from bench.data.pictures import Picture
from bench.data.sources import PARTS, Source, rebuild
from bench.data.split import content_hash
from bench.errors import DataError
from bench.records import AuditFindings, SplitInfo


@dataclass(frozen=True)
class Dataset(AuditFindings):
    """Labelled pictures and their common split.

    Attributes:
        source: Source of the pictures.
        classes: Names of the classes; a label is an index into them.
        items: Every picture that is used, ordered by part and content.
        input_sizes: Sides in pixels that suit the pictures.
        sha256: Hash of the split: parts, folds, classes and contents, but not file names.
    """

    source: Source
    classes: tuple[str, ...]
    items: Items
    input_sizes: tuple[int, ...]
    sha256: str = field(init=False)

    def __post_init__(self) -> None:
        ordered = tuple(sorted(self.items, key=lambda item: (PARTS.index(item.part), item.sha256)))
        digest = content_hash((_place(item), self.classes[item.label], item.sha256) for item in ordered)
        object.__setattr__(self, "items", ordered)
        object.__setattr__(self, "sha256", digest)

    @property
    def folds(self) -> int:
        """Number of folds of the training part; 0 with a validation part."""
        return 1 + max((item.fold for item in self.items if item.fold is not None), default=-1)

    def part(self, name: str) -> Items:
        """The pictures of "train", "validation" or "test", ordered by content."""
        if name not in PARTS:
            raise ValueError(f"part {name!r}: must be one of {', '.join(PARTS)}")
        return tuple(item for item in self.items if item.part == name)

    def fold(self, number: int) -> tuple[Items, Items]:
        """Training and validation pictures of a fold, from 0; both ordered by content."""
        if not 0 <= number < self.folds:
            raise ValueError(f"fold {number}: must be 0 to {self.folds - 1}")
        pool = [item for item in self.items if item.fold is not None]
        return tuple(item for item in pool if item.fold != number), tuple(item for item in pool if item.fold == number)

    def picture(self, item: Item, least: int = 0) -> Picture:
        """Decode a picture; see `Source.picture`.

        Raises:
            DataError: It vanished, cannot be decoded any more, or has changed since the split was made.
        """
        picture = self.source.picture(item.id, least)
        if picture.sha256 != item.sha256:
            raise DataError(f"picture {picture.name!r}: its content changed since the split was made")
        return picture

    def info(self) -> SplitInfo:
        """The split in numbers."""
        counted = Counter((item.part, item.label) for item in self.items)
        return SplitInfo(
            source=self.source.title,
            classes=self.classes,
            counts={part: {name: counted[part, label] for label, name in enumerate(self.classes)} for part in PARTS},
            sha256=self.sha256,
            input_sizes=self.input_sizes,
            folds=self.folds,
            **self.findings(),
        )

    def write(self, path: Path) -> None:
        """Write the manifest, whole or not at all."""
        content = Manifest(
            sha256=self.sha256,
            source=self.source.describe(),
            classes=self.classes,
            input_sizes=self.input_sizes,
            items=self.items,
            **self.findings(),
        )
        manifest.write(path, content)


def labels(items: Items) -> npt.NDArray[np.int64]:
    """Labels of pictures, shape (n,), in the same order."""
    return np.array([item.label for item in items], dtype=np.int64)


def write_predictions(path: Path, items: Items, probabilities: npt.NDArray[np.floating[Any]]) -> None:
    """Write class probabilities of pictures as an .npz file, whole or not at all; `runs.predictions` reads it.

    Args:
        path: The file.
        items: The pictures.
        probabilities: Shape (pictures, classes), in the order of the pictures.

    Raises:
        OSError: It cannot be written.
    """
    with replacing(path) as temporary, temporary.open("wb") as file:
        np.savez_compressed(
            file,
            sha256=np.array([item.sha256 for item in items]),
            labels=labels(items),
            probabilities=probabilities.astype(np.float32),
        )


def load(path: Path) -> Dataset:
    """Open the data set of a manifest, without looking at the pictures.

    Raises:
        DataError: It is not there, damaged, changed by hand, or of a newer version.
    """
    content = manifest.read(path)
    try:
        dataset = Dataset(
            source=rebuild(content.source),
            classes=content.classes,
            items=content.items,
            input_sizes=content.input_sizes,
            **content.findings(),
        )
    except (ValueError, KeyError, TypeError, IndexError) as error:  # of a part, a label or a source that there is not
        raise DataError(f"{path}: not a split manifest ({type(error).__name__}: {error})") from None
    if dataset.sha256 != content.sha256:
        raise DataError(f"{path}: its pictures are not those of its sha256; it was changed by hand or damaged")
    return dataset


def _place(item: Item) -> str:
    return item.part if item.fold is None else f"fold {item.fold}"
