"""Where pictures come from: each source lists its pictures with their labels and reads them one at a time.

A new source is a class with the four members of `Source` and a line in `create` and `rebuild`.
"""

from __future__ import annotations

import os
import stat
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from PIL import Image

from bench.config import RunConfig
from bench.data.pictures import Picture, PictureError, decode
from bench.errors import DataError, unknown

PARTS = ("train", "validation", "test")
"""The parts of a split, in order."""

PART_FOLDERS = {
    "train": ("train", "training", "training_set", "train_set"),
    "validation": ("val", "valid", "validation", "validation_set", "val_set"),
    "test": ("test", "testing", "test_set"),
}
"""Names of folders that hold a ready-made part, in any case."""

CLUTTER_FILES = frozenset({"thumbs.db", "desktop.ini", "ehthumbs.db"})
CLUTTER_FOLDERS = frozenset({"__macosx", "@eadir"})


@dataclass(frozen=True)
class Entry:
    """A picture that a source has: its id (a relative path), its class, and its part where that is ready-made."""

    id: str
    label: str
    part: str | None = None


@dataclass(frozen=True)
class Rejected:
    """A picture that is not used, and why."""

    id: str
    reason: str


@dataclass(frozen=True)
class Listing:
    """What a source has.

    Attributes:
        classes: Names of the classes, sorted; one may turn out to be empty.
        entries: The pictures, in any order.
        rejected: What is left out by name, e.g. a link out of the folder.
        ignored: How many files are no pictures and not meant to be, by reason.
    """

    classes: tuple[str, ...]
    entries: tuple[Entry, ...]
    rejected: tuple[Rejected, ...] = ()
    ignored: Mapping[str, int] = field(default_factory=dict)


class Source(Protocol):
    """Labelled pictures."""

    @property
    def title(self) -> str:
        """What people call it; without the path that leads to it."""
        ...

    @property
    def input_sizes(self) -> tuple[int, ...]:
        """Sides in pixels that suit its pictures; none leaves that to the pictures' own size."""
        return ()

    def describe(self) -> dict[str, Any]:
        """Plain data for the manifest; `rebuild` makes the same source of it in another process."""
        ...

    def listing(self) -> Listing:
        """Every picture with its label; DataError where there is no usable set of classes."""
        ...

    def picture(self, item_id: str) -> Picture:
        """One picture and the hash of its content; PictureError, with its path, where it cannot be had."""
        ...

    def image(self, item_id: str) -> Image.Image:
        """One picture: upright, mode RGB. PictureError, with its path, where it cannot be had."""
        return self.picture(item_id).image


@dataclass(frozen=True)
class Folder(Source):
    """A folder with one sub-folder a class, or with ready-made parts (`train/ test/`, `val/`) above these.

    A class folder is searched to its depths. Links are not followed unless they lead to a file inside the folder.
    """

    path: Path

    @property
    def title(self) -> str:
        return self.path.name or str(self.path)

    def describe(self) -> dict[str, Any]:
        return {"kind": "folder", "path": str(self.path)}

    def picture(self, item_id: str) -> Picture:
        path = self.path / item_id
        try:
            content = path.read_bytes()
        except OSError as error:
            raise PictureError(str(path), f"cannot be read: {error.strerror}") from None
        return decode(content, str(path))

    def listing(self) -> Listing:
        try:
            return _Walk(self.path).listing()
        except OSError as error:
            raise DataError(f"data folder {str(self.path)!r} cannot be read: {error.strerror}") from None


class _Walk:
    """One pass over a folder: collects its pictures, and what is left out."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.entries: list[Entry] = []
        self.rejected: list[Rejected] = []
        self.ignored: Counter[str] = Counter()

    def listing(self) -> Listing:
        if not self.root.exists():
            raise DataError(f"data folder {str(self.root)!r} does not exist")
        if not self.root.is_dir():
            raise DataError(f"data {str(self.root)!r} is a file: a folder with one sub-folder a class is expected")
        top = self._subfolders(self.root)
        parts = self._parts(top)
        folders: dict[str | None, list[Path]] = {part: self._subfolders(folder) for part, folder in parts.items()}
        folders = folders or {None: top}
        leading = folders.get("train", top)
        classes = {each.name for each in leading}
        self._check_parts(parts, folders, classes)
        self._check_classes(classes, parts.get("train", self.root), leading)
        for part, class_folders in folders.items():
            for folder in class_folders:
                self._collect(folder, folder.name, part)
        return Listing(tuple(sorted(classes)), tuple(self.entries), tuple(self.rejected), dict(self.ignored))

    def _parts(self, folders: list[Path]) -> dict[str, Path]:
        """Ready-made parts by name; empty where the folders are classes."""
        found: dict[str, Path] = {}
        for folder in folders:
            part = part_named(folder.name)
            if part in found:
                raise DataError(
                    f"data folder {str(self.root)!r}: {found[part].name!r} and {folder.name!r} both mean {part}"
                )
            if part:
                found[part] = folder
        held = {part: folder for part, folder in found.items() if any(_is_class(each) for each in folder.iterdir())}
        if "train" not in held or len(found) < 2:
            return {}
        for folder in folders:
            if folder not in held.values():  # e.g. Kaggle's unlabelled test/1.jpg
                self.ignored["outside the parts"] += sum(len(files) for _, _, files in os.walk(folder))
        return {part: held[part] for part in PARTS if part in held}

    def _check_parts(
        self, parts: Mapping[str, Path], folders: Mapping[str | None, list[Path]], classes: set[str]
    ) -> None:
        for part, above in parts.items():
            names, train = {folder.name for folder in folders[part]}, parts["train"]
            for here, there, missing in ((above, train, names - classes), (train, above, classes - names)):
                if missing:
                    where = f"is in {here.name}/ but not in {there.name}/"
                    raise DataError(f"data folder {str(self.root)!r}: class {min(missing)!r} {where}")

    def _check_classes(self, classes: set[str], above: Path, folders: list[Path]) -> None:
        where = repr(str(above))
        if not classes:
            files = sum(self.ignored.values())
            what = f"{files} files but no sub-folder" if files else "nothing"
            raise DataError(f"data folder {where} holds {what}: one sub-folder a class is expected, at least two")
        if len(classes) == 1:
            inner = [each.name for each in folders[0].iterdir() if _is_class(each)]
            hint = f". Did you mean {str(folders[0])!r}?" if len(inner) > 1 else ""
            raise DataError(f"data folder {where} holds one class, {min(classes)!r}: at least two are needed{hint}")

    def _subfolders(self, folder: Path) -> list[Path]:
        """Folders that count; the rest of what lies there is noted."""
        kept = []
        for path in sorted(folder.iterdir()):
            if path.is_symlink():
                self._reject(path, "link, not followed")
            elif _is_class(path):
                kept.append(path)
            else:
                self.ignored["beside the classes"] += 1
        return kept

    def _collect(self, folder: Path, label: str, part: str | None) -> None:
        for path in self._files(folder):
            mode = path.lstat().st_mode
            if is_clutter(path.name):
                self.ignored["hidden or system file"] += 1
            elif stat.S_ISREG(mode) or (stat.S_ISLNK(mode) and self._leads_inside(path)):
                self.entries.append(Entry(path.relative_to(self.root).as_posix(), label, part))
            elif not stat.S_ISLNK(mode):
                self._reject(path, "not a regular file")

    def _files(self, folder: Path) -> Iterator[Path]:
        for above, folders, files in os.walk(folder, onerror=_raise):
            for name in sorted(folders):
                path = Path(above, name)
                if path.is_symlink():
                    self._reject(path, "link to a folder, not followed")
                elif not _is_class(path):
                    self.ignored["hidden or system folder"] += 1
            folders[:] = sorted(name for name in folders if _is_class(Path(above, name)))
            yield from (Path(above, name) for name in sorted(files))

    def _leads_inside(self, link: Path) -> bool:
        try:
            target = link.resolve(strict=True)
        except (OSError, RuntimeError):  # RuntimeError: a loop of links, up to Python 3.12
            self._reject(link, "link that leads nowhere")
            return False
        if not target.is_relative_to(self.root.resolve()) or not target.is_file():
            self._reject(link, "link that leads outside the folder, not followed")
            return False
        return True

    def _reject(self, path: Path, reason: str) -> None:
        self.rejected.append(Rejected(path.relative_to(self.root).as_posix(), reason))


def part_named(name: str) -> str | None:
    """The part that a folder's name stands for, or None."""
    plain = name.casefold().replace("-", "_").replace(" ", "_")
    return next((part for part, names in PART_FOLDERS.items() if plain in names), None)


def is_clutter(name: str) -> bool:
    """Whether a file is none of the user's: hidden, or left behind by a system."""
    return name.startswith(".") or name.casefold() in CLUTTER_FILES


def create(config: RunConfig) -> Source:
    """The source that `--data` names.

    Raises:
        DataError: No such data set or folder.
    """
    from bench.data.drawn import Drawn

    name = config.data
    if name == "drawn":
        return Drawn(config.images, config.seed)
    path = Path(name).expanduser()
    if path.exists() or _looks_like_a_path(name):
        return Folder(path.resolve() if path.exists() else path)
    raise DataError(f"{unknown('data set', name, ['drawn'])}, or an existing folder")


def rebuild(description: Mapping[str, Any]) -> Source:
    """The source that `Source.describe` described."""
    from bench.data.drawn import Drawn

    match description["kind"]:
        case "drawn":
            return Drawn(int(description["images"]), int(description["seed"]))
        case "folder":
            return Folder(Path(description["path"]))
        case kind:
            raise DataError(f"unknown kind of source {kind!r}: this version knows drawn and folder")


def _is_class(path: Path) -> bool:
    hidden = path.name.startswith(".") or path.name.casefold() in CLUTTER_FOLDERS
    return not hidden and path.is_dir() and not path.is_symlink()


def _looks_like_a_path(name: str) -> bool:
    return any(mark in name for mark in "/\\") or name.startswith((".", "~"))


def _raise(error: OSError) -> None:
    raise error
