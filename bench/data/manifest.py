"""The manifest of a split, `split.json`: its fields, and the steps from older versions."""

from __future__ import annotations

import json
import re
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from bench.cache.files import write_text
from bench.errors import DataError, NewerSchemaError
from bench.records import AuditFindings, LeftOutKind, from_data, to_data, upgraded


@dataclass(frozen=True)
class Item:
    """One picture of the split.

    Attributes:
        id: Its path relative to the source, with "/" on every system.
        label: Index of its class.
        part: "train", "validation" or "test".
        sha256: Hash of its content, hexadecimal.
        fold: The fold in which it validates, from 0; None without folds, and in the test part.
    """

    id: str
    label: int
    part: str
    sha256: str
    fold: int | None = None


Items = tuple[Item, ...]


@dataclass(frozen=True)
class Manifest(AuditFindings):
    """Content of a manifest; for the fields see `Dataset`.

    Attributes:
        source: Plain data that `sources.rebuild` takes.
    """

    sha256: str
    source: dict[str, Any]
    classes: tuple[str, ...]
    input_sizes: tuple[int, ...]
    items: Items


def write(path: Path, manifest: Manifest) -> None:
    """Write a manifest, whole or not at all."""
    data = to_data(manifest)
    for item in data["items"]:
        if item.get("fold") is None:
            item.pop("fold", None)
    write_text(path, json.dumps({"schema_version": 1 + len(UPGRADES), **data}, indent=1) + "\n")


def read(path: Path) -> Manifest:
    """Read a manifest of this version or an older one.

    `json` parses it, not msgspec: file names may be of any bytes, and msgspec refuses lone surrogates.

    Raises:
        DataError: It is not there, damaged, or of a newer version.
    """
    try:
        return from_data(Manifest, upgraded(json.loads(path.read_text(encoding="utf-8")), UPGRADES))
    except OSError as error:
        raise DataError(f"{path}: the split cannot be read: {error.strerror}") from None
    except NewerSchemaError as error:
        raise DataError(f"{path}: {error}") from None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{path}: not a split manifest ({type(error).__name__}: {error})") from None


# -- older versions


def upgrade_split_v1(split: dict[str, Any]) -> dict[str, Any]:
    """Turn the sentences of `run.json` version 1 (`id` and `reason`) into kinds, details and labels."""
    classes = frozenset(split["classes"])
    sentences = split.get("quarantined", ())
    return {**split, "quarantined": [_left_out(each["id"], each["reason"], classes) for each in sentences]}


def _manifest_1_to_2(manifest: dict[str, Any]) -> dict[str, Any]:
    """Version 1 had no folds and less of the audit: all that is new has a default."""
    return manifest


UPGRADES = (_manifest_1_to_2, upgrade_split_v1)


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
"""Sentences of older versions: a pattern whose groups are the detail, and the kind."""


def _left_out(item_id: str, reason: str, classes: Collection[str]) -> dict[str, Any]:
    matches = ((kind, re.fullmatch(pattern, reason, re.DOTALL)) for pattern, kind in _REASONS)
    kind, detail = next((kind, " ".join(match.groups())) for kind, match in matches if match)
    return {"id": item_id, "kind": kind, "detail": detail, "label": _class_of(item_id, classes)}


def _class_of(item_id: str, classes: Collection[str]) -> str:
    """The class that a folder of the path, or the beginning of the file's name, is called after; "" where none is."""
    path = PurePosixPath(item_id)
    names = (*path.parts[:-1], path.name.partition(".")[0])
    return next((name for name in names if name in classes), "")
