"""Sources of pictures: each lists its pictures with their labels and reads them one at a time.

A source is a file here and a line in `_SOURCES`. The file has a class with the members of `Source` and two functions:
`open(config, progress)` opens the source that `config.data` names, downloading it if needed; `rebuild(description)`
opens the source of a `Source.describe()` without reading its pictures. Both raise DataError.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

from bench.config import READING, SETTINGS, RunConfig
from bench.data.pictures import Picture
from bench.errors import DataError, unknown
from bench.records import LeftOut

PARTS = ("train", "validation", "test")
"""The parts of a split, in order."""

PART_FOLDERS = {
    "train": ("train", "training", "training_set", "train_set"),
    "validation": ("val", "valid", "validation", "validation_set", "val_set"),
    "test": ("test", "testing", "test_set", "test1"),  # the last: Kaggle's Dogs vs. Cats
}
"""Names of ready-made parts, in upper or lower case, in folders, in tables and in TensorFlow Datasets."""

_SOURCES = {
    # value of --data: (file here that reads it, description)
    "drawn": ("drawn", "cats and dogs drawn from the seed; no download"),
    "cats_vs_dogs": ("cats_vs_dogs", "25,000 photographs, downloaded once (825 MB)"),
    "tfds:NAME": ("tfds", "a data set of TensorFlow Datasets, e.g. tfds:oxford_flowers102; needs the extra tfds"),
    "FOLDER": ("folder", "one sub-folder per class, or files named cat.0.jpg; also below train/ and test/"),
    "FILE.csv": ("table", "a table of paths and labels, optionally parts; also FILE.tsv, FILE.parquet"),
}

KNOWN: Mapping[str, str] = {name: description for name, (_, description) in _SOURCES.items()}
"""Values of `--data` with descriptions. A folder with the name of a data set must be written as a path: ./drawn."""

TABLES = (".csv", ".tsv", ".parquet")
"""Suffixes of tables."""

_READERS = {name: ("table", "folder") if name == "label_from" else ("table",) for name in READING}
"""Kinds of sources that use these settings."""

StageCallback = Callable[[str, int, int], None]
"""Called with the stage, the number done and the total (0 if unknown)."""


@dataclass(frozen=True)
class ListedPicture:
    """A picture of a source: its id (a path), its class, its ready-made part and its group, if it has them."""

    id: str
    label: str
    part: str | None = None
    group: str = ""


@dataclass(frozen=True)
class Listing:
    """The pictures of a source.

    Attributes:
        classes: Names of the classes, sorted; one may turn out to be empty.
        entries: The pictures, in any order.
        left_out: Pictures that cannot be used, e.g. a link out of the folder.
        ignored: Number of files that are not meant to be pictures, by reason.
        guesses: Notes on the layout: what was guessed, each in one line with the way to decide otherwise.
    """

    classes: tuple[str, ...]
    entries: tuple[ListedPicture, ...]
    left_out: tuple[LeftOut, ...] = ()
    ignored: Mapping[str, int] = field(default_factory=dict)
    guesses: tuple[str, ...] = ()


class Source(Protocol):
    """Labelled pictures."""

    @property
    def title(self) -> str:
        """Name for people, without a path."""
        ...

    @property
    def input_sizes(self) -> tuple[int, ...]:
        """Suitable input sizes in pixels; empty: chosen by the size of the pictures."""
        return ()

    def describe(self) -> dict[str, Any]:
        """Plain data for the manifest: the name of the source's file as `kind`, and the arguments of `rebuild`."""
        ...

    def listing(self) -> Listing:
        """Every picture with its label; DataError without usable classes."""
        ...

    def file(self, item_id: str) -> Path | None:
        """The file of a picture; None if the source has no files."""
        return None

    def picture(self, item_id: str, least: int = 0) -> Picture:
        """Read one picture and the hash of its content (thread-safe); PictureError names its path.

        Args:
            item_id: An id of the listing.
            least: Side in pixels of the largest square that will be computed from it; it may be decoded smaller.
        """
        ...


def create(config: RunConfig, progress: StageCallback | None = None) -> Source:
    """Open the source that `config.data` names: a known data set (downloaded if needed), a folder or a table."""
    kind = _kind(config.data)
    for name, readers in _READERS.items():
        if getattr(config, name) and kind not in readers:
            flag = SETTINGS[name].flag
            raise DataError(f"data {config.data!r}: is not a {' or a '.join(readers)}, so leave out {flag}")
    source: Source = _file(kind).open(config, progress)
    return source


def reading_other(config: RunConfig, name: str) -> RunConfig:
    """The configuration for reading other data than `config.data`, without settings that its kind of source ignores."""
    kind = _kind(name)
    unread: dict[str, Any] = {setting: "" for setting, readers in _READERS.items() if kind not in readers}
    return replace(config, data=name, **unread)


def rebuild(description: Mapping[str, Any]) -> Source:
    """Open the source of a `Source.describe()`; DataError if this version does not know its kind."""
    kinds = [file for file, _ in _SOURCES.values()]
    if description["kind"] not in kinds:
        raise DataError(f"unknown kind of source {description['kind']!r}: this version knows {', '.join(kinds)}")
    source: Source = _file(description["kind"]).rebuild(description)
    return source


def part_named(name: str) -> str | None:
    """Part that a folder's name or a word in a table means; None without one."""
    plain = name.strip().casefold().replace("-", "_").replace(" ", "_")
    return next((part for part, names in PART_FOLDERS.items() if plain in names), None)


def existing_path(name: str) -> Path:
    """The path that `--data` names, with `~` expanded."""
    try:
        return Path(name).expanduser()
    except RuntimeError:  # the home of an unknown user
        return Path(name)


def _kind(name: str) -> str:
    """Return the name of the module that reads this kind of `--data`; DataError if there is none."""
    for known, (file, _) in _SOURCES.items():
        word, colon, _ = known.partition(":")
        if name.startswith(word + colon) if colon else name == known:
            return file
    path = existing_path(name)
    try:
        is_folder, exists = path.is_dir(), path.exists()
    except OSError as error:
        raise DataError(f"data {name!r} cannot be read: {error.strerror}") from None
    if not is_folder and path.suffix.lower() in TABLES:
        return "table"
    if exists and not is_folder:
        raise DataError(
            f"data {name!r} is a file: must be a folder of pictures or a table ({' or '.join(TABLES)}); "
            "unpack an archive first"
        )
    if is_folder or "/" in name or "\\" in name or name.startswith((".", "~")):
        return "folder"
    words = [known for known in _SOURCES if known[0].islower()]
    raise DataError(f"{unknown('data set', name, words)}, or an existing folder or table ({' or '.join(TABLES)})")


def _file(name: str) -> Any:
    return importlib.import_module(f"{__name__}.{name}")
