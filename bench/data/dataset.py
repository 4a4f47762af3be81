"""`Dataset`: pictures, labels and the common split, and their manifest."""

from __future__ import annotations

import json
import re
from collections import Counter, defaultdict
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import numpy.typing as npt

from bench.cache.files import replacing, write_text
from bench.data.pictures import SIXTEEN_BITS, Picture
from bench.data.sources import PARTS, Source, rebuild
from bench.data.split import content_hash, rank
from bench.errors import DataError, reading
from bench.records import AuditFindings, LeftOutKind, SplitInfo, from_data, to_data, upgraded


@dataclass(frozen=True)
class Item:
    """One picture of the split.

    Attributes:
        id: Its path relative to the source, with "/" on every system.
        label: Index of its class.
        part: "train", "validation" or "test".
        sha256: Hash of its content, hexadecimal.
        fold: The fold in which it validates, from 0; None without folds, and in the test part.
        group: Name of its group, which is in one part and fold; "" without `--group-by`.
    """

    id: str
    label: int
    part: str
    sha256: str
    fold: int | None = None
    group: str = ""


Items = tuple[Item, ...]


@dataclass(frozen=True)
class Dataset(AuditFindings):
    """Labelled pictures and their common split.

    Attributes:
        source: Source of the pictures.
        classes: Names of the classes; a label is an index into them.
        items: Every picture that is used, ordered by part and content.
        input_sizes: Suitable input sizes in pixels.
        sha256: Hash of the split: parts, folds, classes and contents, without file names.
        unused: Near duplicates outside the sample, or left out as leaks; their part is "". Not in the manifest.
    """

    source: Source
    classes: tuple[str, ...]
    items: Items
    input_sizes: tuple[int, ...]
    sha256: str = field(init=False)
    unused: Items = ()

    def __post_init__(self) -> None:
        ordered = tuple(sorted(self.items, key=lambda item: (PARTS.index(item.part), item.sha256)))
        digest = content_hash(
            (item.part if item.fold is None else f"fold {item.fold}", self.classes[item.label], item.sha256)
            for item in ordered
        )
        object.__setattr__(self, "items", ordered)
        object.__setattr__(self, "sha256", digest)

    @property
    def folds(self) -> int:
        """Number of folds of the training part; 0 with a validation part."""
        return 1 + max((item.fold for item in self.items if item.fold is not None), default=-1)

    @property
    def grouped(self) -> bool:
        """True if the pictures are in groups (`--group-by`)."""
        return any(item.group for item in self.items)

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
            DataError: It is missing, cannot be decoded, or has changed since the split was made.
        """
        picture = self.source.picture(item.id, least)
        if picture.sha256 != item.sha256:
            raise DataError(f"picture {picture.name!r}: its content changed since the split was made")
        return picture.scaled(self.levels or SIXTEEN_BITS)

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
            groups={part: len({item.group for item in self.part(part)}) for part in PARTS} if self.grouped else {},
            **self.findings(),
        )

    def write(self, path: Path) -> None:
        """Write the manifest, whole or not at all."""
        content = _Manifest(
            self.sha256, self.source.describe(), self.classes, self.input_sizes, self.items, **self.findings()
        )
        data = {"schema_version": 1 + len(_UPGRADES), **to_data(content)}
        for item in data["items"]:
            for name in ("fold", "group"):
                if item.get(name) in (None, ""):
                    item.pop(name, None)
        write_text(path, json.dumps(data, indent=1) + "\n")


def labels(items: Items) -> npt.NDArray[np.int64]:
    """Labels of the pictures, shape (n,)."""
    return np.array([item.label for item in items], dtype=np.int64)


def sampled(items: Items, share: float, seed: int) -> Items:
    """Draw about this share of the pictures, stratified by class and with whole groups, ordered by content.

    The sample has a picture of every class. With the same seed, a smaller sample is part of a larger one.
    """
    groups: dict[str, list[Item]] = defaultdict(list)
    for item in items:
        groups[item.group or item.sha256].append(item)
    counts, before = Counter(item.label for item in items), Counter[int]()
    places = {}  # of a group: the smallest share, over its classes, of the class's pictures that come before it
    for name in sorted(groups, key=lambda name: rank(seed, name)):
        places[name] = min(before[item.label] / counts[item.label] for item in groups[name])
        before.update(item.label for item in groups[name])
    chosen: list[Item] = []
    for name in sorted(places, key=lambda name: places[name]):
        if places[name] and len(chosen) >= share * len(items):
            break
        chosen += groups[name]
    return tuple(sorted(chosen, key=lambda item: item.sha256))


def group_numbers(items: Items) -> npt.NDArray[np.int64] | None:
    """Number of each picture's group, from 0 without gaps, shape (pictures,); None without groups."""
    if not any(item.group for item in items):
        return None
    return np.unique([item.group for item in items], return_inverse=True)[1].astype(np.int64)


def write_predictions(path: Path, items: Items, probabilities: npt.NDArray[np.floating[Any]]) -> None:
    """Write class probabilities, shape (pictures, classes), as the .npz file that `runs.predictions` reads."""
    arrays: dict[str, Any] = {
        "sha256": np.array([item.sha256 for item in items]),
        "labels": labels(items),
        "probabilities": probabilities.astype(np.float32),
    }
    if (groups := group_numbers(items)) is not None:
        arrays["groups"] = groups
    with replacing(path) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, **arrays)


# -- the manifest


@dataclass(frozen=True)
class _Manifest(AuditFindings):
    """Content of `split.json`: the fields of `Dataset`, with `source` in the form for `sources.rebuild`."""

    sha256: str
    source: dict[str, Any]
    classes: tuple[str, ...]
    input_sizes: tuple[int, ...]
    items: Items


def load(path: Path) -> Dataset:
    """Open the data set of a manifest of this version or an older one, without reading the pictures.

    `json` parses it, not msgspec: file names may contain any bytes, and msgspec refuses lone surrogates.

    Raises:
        DataError: The manifest is missing, damaged, edited by hand, or of a newer version.
    """
    with reading(path, DataError):
        content = from_data(_Manifest, upgraded(json.loads(path.read_text(encoding="utf-8")), _UPGRADES))
        source = rebuild(content.source)
        dataset = Dataset(source, content.classes, content.items, content.input_sizes, **content.findings())
    if dataset.sha256 != content.sha256:
        raise DataError(f"{path}: its sha256 does not match its pictures; it was edited by hand or damaged")
    return dataset


# -- older versions


def upgrade_split_v1(split: dict[str, Any]) -> dict[str, Any]:
    """Turn the sentences of `run.json` version 1 (`id` and `reason`) into kinds, details and labels."""
    classes = frozenset(split["classes"])
    sentences = split.get("quarantined", ())
    return {**split, "quarantined": [_left_out(entry["id"], entry["reason"], classes) for entry in sentences]}


_UPGRADES = (lambda manifest: manifest, upgrade_split_v1)
"""Version 1 had no folds and fewer findings; the fields that version 2 added have defaults."""

_REASONS = (
    (r"empty file \(0 bytes\)", LeftOutKind.EMPTY),
    (r"cannot be decoded: (.*)", LeftOutKind.DAMAGED),
    (r"cannot be read: (.*)", LeftOutKind.UNREADABLE),
    (r"(.* pixels, limit .*)", LeftOutKind.TOO_LARGE),
    (r"not a picture of a known format", LeftOutKind.UNKNOWN_FORMAT),
    (r"the same content as (.*), which is (in the \w+ part)", LeftOutKind.LEAKED_DUPLICATE),
    (r"the same content as (.*)", LeftOutKind.DUPLICATE),
    (r"nearly the same picture as (.*), which is (in the \w+ part)", LeftOutKind.LEAKED_NEAR_DUPLICATE),
    (r"the same content is labelled (.*)", LeftOutKind.CONTRADICTING_LABELS),
    (r"link, not followed", LeftOutKind.LINK),
    (r"link (?:that )?(.*?)(?:, not followed)?", LeftOutKind.LINK),
    (r"not a regular file", LeftOutKind.NOT_A_FILE),
    (r"(line \d+: .*|its (?:label|part) is .*)", LeftOutKind.TABLE_ROW),
    (r"(.*)", LeftOutKind.OTHER),
)
"""Sentences of version 1: a pattern whose groups are the detail, and the kind."""


def _left_out(item_id: str, reason: str, classes: Collection[str]) -> dict[str, Any]:
    matches = ((kind, re.fullmatch(pattern, reason, re.DOTALL)) for pattern, kind in _REASONS)
    kind, detail = next((kind, " ".join(match.groups())) for kind, match in matches if match)
    return {"id": item_id, "kind": kind, "detail": detail, "label": _class_of(item_id, classes)}


def _class_of(item_id: str, classes: Collection[str]) -> str:
    """The class that is named by a folder of the path or by the first part of the file's name; "" without one."""
    path = PurePosixPath(item_id)
    names = (*path.parts[:-1], path.name.partition(".")[0])
    return next((name for name in names if name in classes), "")
