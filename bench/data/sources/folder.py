"""A folder of pictures: one sub-folder per class, or the class in the files' names."""

from __future__ import annotations

import os
import re
import stat
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from io import FileIO
from pathlib import Path, PurePosixPath
from typing import Any

from bench.config import RunConfig
from bench.data.pictures import Picture, PictureError, decode
from bench.data.sources import PARTS, ListedPicture, Listing, Source, StageCallback, existing_path, part_named
from bench.errors import DataError
from bench.records import LeftOut, LeftOutKind

CLUTTER_FILES = frozenset({"thumbs.db", "desktop.ini", "ehthumbs.db"})
CLUTTER_FOLDERS = frozenset({"__macosx", "@eadir"})

SUFFIXES = frozenset(
    ".avif .bmp .gif .j2k .jfif .jp2 .jpe .jpeg .jpg .mpo .pgm .png .pnm .ppm .tif .tiff .webp".split()
)
"""Suffixes of pictures, for files outside class folders."""

LAYOUTS = (
    "must have one sub-folder per class, at least two, or files named cat.0.jpg, dog.0.jpg; either may be below train/ "
    "and test/"
)

_NAMED = re.compile(r"(.*[^\W\d_].*?)[._-]\d+", re.DOTALL)
"""A class with a letter in it, a separator and a number: `2024-01-05` names no class."""


@dataclass(frozen=True)
class Folder(Source):
    """A folder whose pictures are labelled by sub-folders or by file names, optionally below ready-made parts.

    Class folders are searched recursively. Without class folders, a picture's name gives its class, as in Kaggle's
    competition: `cat.0.jpg`, `dog.12499.jpg`. Links are followed only to files inside the folder.
    """

    path: Path

    @property
    def title(self) -> str:
        return self.path.name or str(self.path)

    def describe(self) -> dict[str, Any]:
        return {"kind": "folder", "path": str(self.path)}

    def picture(self, item_id: str, least: int = 0) -> Picture:
        return read(os.path.join(self.path, item_id), least)  # noqa: PTH118 - a path object takes a tenth of the time

    def file(self, item_id: str) -> Path:
        return self.path / item_id

    def listing(self) -> Listing:
        try:
            return _Walk(self.path).listing()
        except OSError as error:
            raise DataError(f"data folder {str(self.path)!r} cannot be read: {error.strerror}") from None


def open(config: RunConfig, progress: StageCallback | None) -> Folder:
    path = existing_path(config.data)
    return Folder(path.resolve() if path.exists() else path)


def rebuild(description: Mapping[str, Any]) -> Folder:
    return Folder(Path(description["path"]))


def read(path: str, least: int) -> Picture:
    """Read a picture from a file; see `Source.picture` for `least` and errors."""
    try:
        with FileIO(path) as file:
            content = file.readall()
    except OSError as error:
        raise PictureError(path, LeftOutKind.UNREADABLE, str(error.strerror)) from None
    return decode(content, path, least)


def class_in(name: str) -> str | None:
    """The class in a picture's name, or None: "cat" for `cat.0.jpg`, "maine_coon" for `maine_coon_12.png`."""
    path = PurePosixPath(name)
    match = _NAMED.fullmatch(path.stem)
    return match[1] if match and path.suffix.lower() in SUFFIXES else None


def is_clutter(name: str) -> bool:
    """Return whether a file is hidden or a system file."""
    return name.startswith(".") or name.casefold() in CLUTTER_FILES


class _Level:
    """Entries of a folder, sorted by name: folders that may be classes, links, and others."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.folders: list[Path] = []
        self.links: list[Path] = []
        self.others: list[Path] = []
        for entry in sorted(os.scandir(path), key=lambda entry: entry.name):
            is_folder = entry.is_dir(follow_symlinks=False) and not _is_hidden_folder(entry.name)
            entries = self.links if entry.is_symlink() else self.folders if is_folder else self.others
            entries.append(path / entry.name)

    @property
    def named(self) -> list[str]:
        """The classes in the names of the files."""
        return sorted({name for path in (*self.others, *self.links) if (name := class_in(path.name))})


_Classes = Mapping[str, list[Path]]
"""Paths of each class: one folder, or single files."""


class _Walk:
    """One pass over a folder that collects its pictures and the files that are left out."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.entries: list[ListedPicture] = []
        self.left_out: list[LeftOut] = []
        self.ignored: Counter[str] = Counter()

    def listing(self) -> Listing:
        if not self.root.exists():
            raise DataError(f"data folder {str(self.root)!r} does not exist")
        if not self.root.is_dir():
            raise DataError(f"data {str(self.root)!r} is a file: must be a folder of pictures")
        classes_by_part = self._by_part()
        for part, classes in classes_by_part.items():
            for label, path in ((label, path) for label, paths in classes.items() for path in paths):
                self._collect(path, label, part)
        names = next(iter(classes_by_part.values()))
        return Listing(tuple(sorted(names)), tuple(self.entries), tuple(self.left_out), dict(+self.ignored))

    def _by_part(self) -> dict[str | None, _Classes]:
        """The classes of every part, train first; without parts, those of the whole folder."""
        top = _Level(self.root)
        parts = self._parts(top)
        train = _Level(parts["train"]) if parts else top
        train_classes = self._classes(train)
        self._check_classes(train_classes, train)
        if not parts:
            return {None: train_classes}
        for link in top.links:
            self._reject(link, LeftOutKind.LINK)
        self.ignored["beside the classes"] += len(top.others)
        for folder in set(top.folders) - set(parts.values()):
            self.ignored["outside the parts"] += sum(len(files) for _, _, files in os.walk(folder))
        classes_by_part: dict[str | None, _Classes] = {"train": train_classes}
        for part in PARTS[1:]:
            if part in parts and (classes := self._classes(_Level(parts[part]), train_classes)):
                if odd := classes.keys() ^ train_classes.keys():
                    name = min(classes.keys() - train_classes.keys() or odd)
                    here, there = (parts[part], train.path) if name in classes else (train.path, parts[part])
                    where = f"is in {here.name}/ but not in {there.name}/"
                    raise DataError(f"data folder {str(self.root)!r}: class {name!r} {where}")
                classes_by_part[part] = classes
        return classes_by_part

    def _parts(self, top: _Level) -> dict[str, Path]:
        """Folders of ready-made parts; empty if the folders are classes, one of which may be named "test"."""
        parts: dict[str, Path] = {}
        for folder in top.folders:
            part = part_named(folder.name)
            if part in parts:
                raise DataError(
                    f"data folder {str(self.root)!r}: {parts[part].name!r} and {folder.name!r} both mean {part}"
                )
            if part:
                parts[part] = folder
        if "train" not in parts:
            return {}
        train = _Level(parts["train"])
        several, nothing_else = len(parts) > 1, len(parts) == len(top.folders)
        if train.folders:
            return parts if several else {}
        by_name = len(train.named) > 1
        return parts if (several and nothing_else) or (by_name and (several or nothing_else)) else {}

    def _classes(self, level: _Level, known: Iterable[str] = ()) -> _Classes:
        """Classes by sub-folders if there are any, else by file names; restricted to `known`, unless that is empty."""
        if level.folders:
            for link in level.links:
                self._reject(link, LeftOutKind.LINK)
            self.ignored["beside the classes"] += len(level.others)
            return {folder.name: [folder] for folder in level.folders}
        classes: dict[str, list[Path]] = defaultdict(list)
        for path in (*level.others, *level.links):
            label = class_in(path.name)
            if label and not path.name.startswith(".") and (not known or label in known):
                classes[label].append(path)
            elif path.is_symlink():
                self._reject(path, LeftOutKind.LINK)
            elif path.is_dir():
                self.ignored["hidden or system folder"] += 1
            elif is_clutter(path.name):
                self.ignored["hidden or system file"] += 1
            else:
                is_picture = path.suffix.lower() in SUFFIXES
                self.ignored["unlabelled: no class in the name" if is_picture else "not a picture"] += 1
        return classes

    def _check_classes(self, classes: _Classes, level: _Level) -> None:
        where = f"data folder {str(level.path)!r}"
        if len(level.folders) == 1 and len(named := level.named) > 1:
            some = ", ".join([*map(repr, named[:3]), *(["…"] if len(named) > 3 else [])])
            raise DataError(
                f"{where} has pictures named after their class ({some}) beside the sub-folder "
                f"{level.folders[0].name!r}; it {LAYOUTS}"
            )
        if not classes:
            count = len(level.others)
            files = "1 file" if count == 1 else f"{count} files"
            content = f"has {files} but no sub-folder, and none named after its class" if count else "is empty"
            raise DataError(f"{where} {content}; it {LAYOUTS}")
        if len(classes) == 1:
            below = [folder for folder in level.folders if len(_Level(folder).folders) > 1]
            hint = f". Did you mean {str(below[0])!r}?" if below else ""
            raise DataError(f"{where} has one class, {min(classes)!r}: at least two are needed{hint}")

    def _collect(self, path: Path, label: str, part: str | None) -> None:
        """Collect a picture, or all pictures of a folder, recursively."""
        mode = path.lstat().st_mode
        if stat.S_ISDIR(mode):
            if _is_hidden_folder(path.name):
                self.ignored["hidden or system folder"] += 1
                return
            for name in sorted(os.listdir(path)):  # noqa: PTH208 - fewer path objects
                self._collect(path / name, label, part)
        elif stat.S_ISLNK(mode) and path.is_dir():
            self._reject(path, LeftOutKind.LINK, "leads to a folder", label)
        elif is_clutter(path.name):
            self.ignored["hidden or system file"] += 1
        elif stat.S_ISREG(mode) or (stat.S_ISLNK(mode) and self._leads_inside(path, label)):
            self.entries.append(ListedPicture(path.relative_to(self.root).as_posix(), label, part))
        elif not stat.S_ISLNK(mode):
            self._reject(path, LeftOutKind.NOT_A_FILE, label=label)

    def _leads_inside(self, link: Path, label: str) -> bool:
        detail = "leads outside the folder"
        try:
            target = link.resolve(strict=True)
            if target.is_relative_to(self.root.resolve()) and target.is_file():
                return True
        except (OSError, RuntimeError):  # RuntimeError: a loop of links, up to Python 3.12
            detail = "leads nowhere"
        self._reject(link, LeftOutKind.LINK, detail, label)
        return False

    def _reject(self, path: Path, kind: LeftOutKind, detail: str = "", label: str = "") -> None:
        self.left_out.append(LeftOut(path.relative_to(self.root).as_posix(), kind, detail, label))


def _is_hidden_folder(name: str) -> bool:
    return name.startswith(".") or name.casefold() in CLUTTER_FOLDERS
