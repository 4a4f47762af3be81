"""`Dataset`: pictures, labels and the common split, and the manifest that they are written to."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from bench.atomic import write_text
from bench.data.pictures import PictureError
from bench.data.sources import PARTS, Rejected, Source, rebuild
from bench.data.split import content_hash
from bench.errors import DataError
from bench.records import SplitInfo, from_dict

SCHEMA_VERSION = 1


@dataclass(frozen=True)
class Item:
    """One picture of the split.

    Attributes:
        id: Its path relative to the source, with "/" on every system.
        label: Index of its class.
        part: "train", "validation" or "test".
        sha256: Of its content, hexadecimal.
    """

    id: str
    label: int
    part: str
    sha256: str


@dataclass(frozen=True)
class Dataset:
    """Labelled pictures and their common split.

    Attributes:
        source: Where the pictures come from.
        classes: Names of the classes; a label is an index into them.
        items: Every picture that is used, ordered by part and content.
        quarantined: What is not used, and why.
        input_sizes: Sides in pixels that suit the pictures.
        ignored: How many files are no pictures and not meant to be, by reason.
        sha256: Of the split: parts, classes and contents, whatever the files are called.
    """

    source: Source
    classes: tuple[str, ...]
    items: tuple[Item, ...]
    quarantined: tuple[Rejected, ...]
    input_sizes: tuple[int, ...]
    ignored: Mapping[str, int] = field(default_factory=dict)
    sha256: str = field(init=False)

    def __post_init__(self) -> None:
        ordered = tuple(sorted(self.items, key=lambda item: (PARTS.index(item.part), item.sha256)))
        digest = content_hash((item.part, self.classes[item.label], item.sha256) for item in ordered)
        object.__setattr__(self, "items", ordered)
        object.__setattr__(self, "sha256", digest)

    def part(self, name: str) -> tuple[Item, ...]:
        """The pictures of "train", "validation" or "test", ordered by content."""
        if name not in PARTS:
            raise ValueError(f"part {name!r}: must be one of {', '.join(PARTS)}")
        return tuple(item for item in self.items if item.part == name)

    def labels(self, part: str) -> npt.NDArray[np.int64]:
        """The labels of a part, shape (n,), in the order of `part`."""
        return np.array([item.label for item in self.part(part)], dtype=np.int64)

    def image(self, item: Item) -> Image.Image:
        """The picture, upright, mode RGB.

        Raises:
            DataError: It vanished, cannot be decoded any more, or is another one than when the split was made.
        """
        picture = self.source.picture(item.id)
        if picture.sha256 != item.sha256:
            raise PictureError(picture.name, "its content changed since the split was made")
        return picture.image

    def info(self) -> SplitInfo:
        """The split in numbers."""
        counted = Counter((item.part, item.label) for item in self.items)
        return SplitInfo(
            source=self.source.title,
            classes=self.classes,
            counts={part: {name: counted[part, label] for label, name in enumerate(self.classes)} for part in PARTS},
            sha256=self.sha256,
            quarantined=tuple(asdict(each) for each in self.quarantined),
            input_sizes=self.input_sizes,
        )

    def write(self, path: Path) -> None:
        """Writes the manifest, whole or not at all."""
        manifest = {
            "schema_version": SCHEMA_VERSION,
            "sha256": self.sha256,
            "source": self.source.describe(),
            "classes": self.classes,
            "input_sizes": self.input_sizes,
            "items": [asdict(item) for item in self.items],
            "quarantined": [asdict(each) for each in self.quarantined],
            "ignored": dict(self.ignored),
        }
        write_text(path, json.dumps(manifest, indent=1) + "\n")


def load(manifest_path: Path) -> Dataset:
    """The data set of a manifest, without looking at the pictures.

    Raises:
        DataError: It is not there, damaged, changed by hand, or of a newer version.
    """
    path = manifest_path
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
        version = manifest["schema_version"]
        if version > SCHEMA_VERSION:
            raise DataError(
                f"{path}: schema version {version} is newer than {SCHEMA_VERSION}, the newest that this bench reads"
            )
        dataset = _from_manifest(manifest)
    except OSError as error:
        raise DataError(f"{path}: the split cannot be read: {error.strerror}") from None
    except (ValueError, KeyError, TypeError, IndexError, AttributeError) as error:
        raise DataError(f"{path}: not a split manifest ({type(error).__name__}: {error})") from None
    if dataset.sha256 != manifest.get("sha256"):
        raise DataError(f"{path}: its pictures are not those of its sha256; it was changed by hand or damaged")
    return dataset


def _from_manifest(manifest: Mapping[str, Any]) -> Dataset:
    return Dataset(
        source=rebuild(manifest["source"]),
        classes=tuple(manifest["classes"]),
        items=tuple(from_dict(Item, each) for each in manifest["items"]),
        quarantined=tuple(from_dict(Rejected, each) for each in manifest["quarantined"]),
        input_sizes=tuple(manifest["input_sizes"]),
        ignored=manifest.get("ignored", {}),
    )
