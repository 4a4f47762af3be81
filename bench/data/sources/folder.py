"""A folder of pictures: one sub-folder per class, or the class in the files' names."""

from __future__ import annotations

import os
import re
import shlex
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any

from bench.cache import files
from bench.config import RunConfig
from bench.data import masks
from bench.data.pictures import Picture, PictureError, decode, is_picture
from bench.data.sources import PARTS, TABLES, ListedPicture, Listing, Source, StageCallback, existing_path, part_named
from bench.data.sources.file_names import SUFFIXES, Naming, naming
from bench.errors import DataError
from bench.records import LeftOut, LeftOutKind

CLUTTER_FILES = frozenset({"thumbs.db", "desktop.ini", "ehthumbs.db"})
CLUTTER_FOLDERS = frozenset({"__macosx", "@eadir"})

RUN_FILE = "run.json"
"""The file that marks a run folder of this suite, which has thumbnails: such a folder is never read."""

MAX_DEPTH = 100
"""Maximum number of folders in each other that are searched."""

LAYOUTS = (
    "must have one sub-folder per class, at least two, or files named cat.0.jpg, dog.0.jpg; either may be below train/ "
    "and test/; --label-from REGEX reads the class in other names: its first group is the class"
)


@dataclass(frozen=True)
class Folder(Source):
    """A folder whose pictures are labelled by sub-folders or by file names, optionally below ready-made parts.

    Class folders are searched recursively. Without class folders, a picture's name gives its class, as in Kaggle's
    competition: `cat.0.jpg`, `dog.12499.jpg`. Links are followed only to files inside the folder.

    Attributes:
        label_from: Pattern of names or paths, whose group is the class; "" takes the folders or guesses a pattern.
        only_tested: True if one class is enough, because nothing is trained on the pictures.
    """

    path: Path
    label_from: str = field(default="", compare=False, kw_only=True)
    only_tested: bool = field(default=False, compare=False, kw_only=True)

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
            return _Walk(self.path, self.label_from, self.only_tested).listing()
        except OSError as error:
            folder = error.filename or str(self.path)
            raise DataError(f"data folder {folder!r} cannot be read: {error.strerror}") from None


def open(config: RunConfig, progress: StageCallback | None) -> Folder:
    path = existing_path(config.data)
    return Folder(path.resolve() if path.exists() else path, label_from=config.label_from)


def rebuild(description: Mapping[str, Any]) -> Folder:
    return Folder(Path(description["path"]))


def read(path: str, least: int) -> Picture:
    """Read a picture from a file; see `Source.picture` for `least` and errors."""
    try:
        content = files.read(path)
    except OSError as error:
        if _is_annexed(path):
            raise PictureError(path, LeftOutKind.ANNEX_POINTER) from None
        raise PictureError(path, LeftOutKind.UNREADABLE, str(error.strerror)) from None
    return decode(content, path, least)


def is_clutter(name: str) -> bool:
    """Return whether a file is hidden or a system file."""
    return name.startswith(".") or name.casefold() in CLUTTER_FILES


def is_hidden_folder(name: str) -> bool:
    """Return whether a folder is hidden or a system folder."""
    return name.startswith(".") or name.casefold() in CLUTTER_FOLDERS


@dataclass(eq=False)
class _Folder:
    """A folder as one pass over the data found it, without hidden files and without run folders.

    Attributes:
        path: Its path relative to the data folder, with "/" on every system; "" is the data folder.
        files: Paths of its files and of its links to files inside the data folder.
        folders: Its sub-folders.
        left_out, ignored: What else it has, without its sub-folders.
        has_pictures: True if a picture is in it or below it: by its suffix, or else by its first bytes.
    """

    path: str
    files: list[str] = field(default_factory=list)
    folders: list[_Folder] = field(default_factory=list)
    left_out: list[LeftOut] = field(default_factory=list)
    ignored: Counter[str] = field(default_factory=Counter)
    has_pictures: bool = False

    @property
    def name(self) -> str:
        return _name(self.path)

    @property
    def with_pictures(self) -> list[_Folder]:
        """The sub-folders that may be classes or parts."""
        return [folder for folder in self.folders if folder.has_pictures]

    @cached_property
    def named(self) -> set[str]:
        """The classes in the names of the files."""
        names = naming(map(_name, self.files))
        return {label for path in self.files if (label := names.class_in(path))} if names else set()

    def tree(self) -> Iterator[_Folder]:
        """This folder and those below it."""
        yield self
        for folder in self.folders:
            yield from folder.tree()

    def all_files(self) -> list[str]:
        """Its files and those below it."""
        return [path for folder in self.tree() for path in folder.files]


_Classes = Mapping[str, _Folder]
"""The pictures of each class."""


class _Walk:
    """One pass over a folder that lists what is in it, and the layout that follows from it."""

    def __init__(self, root: Path, label_from: str = "", only_tested: bool = False) -> None:
        self.root, self.label_from, self.only_tested = root, label_from, only_tested
        self.naming: Naming | None = None
        self.entries: list[ListedPicture] = []
        self.left_out: list[LeftOut] = []
        self.ignored: Counter[str] = Counter()
        self.guesses: list[str] = []

    def listing(self) -> Listing:
        if not self.root.exists():
            raise DataError(f"data folder {str(self.root)!r} does not exist")
        if not self.root.is_dir():
            raise DataError(f"data {str(self.root)!r} is a file: must be a folder of pictures")
        if (self.root / RUN_FILE).exists():
            raise DataError(f"data folder {str(self.root)!r} is a run folder: its pictures are thumbnails")
        classes_by_part = self._by_part(self._scan(""))
        for part, classes in classes_by_part.items():
            for label, folder in classes.items():
                self.entries += (ListedPicture(path, label, part) for path in folder.all_files())
                for below in folder.tree():
                    self.left_out += (replace(fault, label=label) for fault in below.left_out)
                    self.ignored += below.ignored
        names = tuple(sorted(next(iter(classes_by_part.values()))))
        return Listing(names, tuple(self.entries), tuple(self.left_out), dict(+self.ignored), tuple(self.guesses))

    # -- the pass

    def _scan(self, path: str) -> _Folder:
        folder = _Folder(path)
        for entry in sorted(os.scandir(self._full(path)), key=lambda entry: entry.name):
            below = f"{path}/{entry.name}" if path else entry.name
            if entry.is_dir(follow_symlinks=False):
                if is_hidden_folder(entry.name):
                    folder.ignored["hidden or system folder"] += 1
                elif os.path.exists(self._full(f"{below}/{RUN_FILE}")):  # noqa: PTH110 - as in `Folder.picture`
                    folder.ignored["run folder"] += 1
                elif below.count("/") >= MAX_DEPTH:
                    folder.ignored[f"folder more than {MAX_DEPTH} levels down"] += 1
                else:
                    folder.folders.append(self._scan(below))
            elif is_clutter(entry.name):
                folder.ignored["hidden or system file"] += 1
            elif fault := self._fault(entry, below):
                folder.left_out.append(fault)
            else:
                folder.files.append(below)
        folder.has_pictures = (
            any(_suffix(below) in SUFFIXES for below in folder.files)
            or any(below.has_pictures for below in folder.folders)
            or any(is_picture(self._full(below)) for below in folder.files)
        )
        return folder

    def _fault(self, entry: os.DirEntry[str], path: str) -> LeftOut | None:
        if not entry.is_symlink():
            return None if entry.is_file() else LeftOut(path, LeftOutKind.NOT_A_FILE)
        link = Path(entry.path)
        try:
            target = link.resolve(strict=True)
        except (OSError, RuntimeError):  # RuntimeError: a loop of links, up to Python 3.12
            return None if _is_annexed(entry.path) else LeftOut(path, LeftOutKind.LINK, "leads nowhere")
        if target.is_dir():
            return LeftOut(path, LeftOutKind.LINK, "leads to a folder")
        if not target.is_relative_to(self.root.resolve()) or not target.is_file():
            return LeftOut(path, LeftOutKind.LINK, "leads outside the folder")
        return None

    def _full(self, path: str) -> str:
        return os.path.join(self.root, path)  # noqa: PTH118 - as in `Folder.picture`

    # -- the layout

    def _by_part(self, top: _Folder) -> dict[str | None, _Classes]:
        """The classes of every part, train first; without parts, those of the whole folder."""
        parts = self._parts(top)
        if not parts:
            top = self._inner(top)
            parts = self._parts(top)
        if not parts:
            classes = self._classes(top)
            self._check_classes(classes, top, top.with_pictures)
            return {None: classes}
        self._leave(top, list(parts.values()))
        train = self._inner(parts["train"])
        known = self._classes(train)
        self._check_classes(known, train, list(parts.values()))
        classes_by_part: dict[str | None, _Classes] = {"train": known}
        for part in PARTS[1:]:
            if part in parts and (classes := self._labelled(self._inner(parts[part], known), known, part, train)):
                classes_by_part[part] = classes
        return classes_by_part

    def _inner(self, top: _Folder, known: Collection[str] = ()) -> _Folder:
        """Descend through folders with a single sub-folder of pictures to the one that holds several classes."""
        passed = [top]
        while len(passed[-1].named) < 2 and (below := self._only_below(passed[-1])) and below.name not in known:
            passed.append(below)
        level = passed[-1]
        if level is top or len(level.with_pictures) + len(level.named) < 2:
            return top
        for outer, inner in pairwise(passed):
            self._leave(outer, [inner])
        self.guesses.append(f"the classes are in {level.path}/; --data names another folder")
        return level

    def _only_below(self, folder: _Folder) -> _Folder | None:
        """The single sub-folder with pictures, apart from folders of masks; else the single one with parts."""
        below = [] if self.label_from else folder.with_pictures  # paths that the user's pattern reads stay whole
        if len(below) > 1:
            below = [inner for inner in below if not (masks.is_word(inner.name) and self._holds_masks(inner))]
        if len(below) > 1:
            train = [self._parts(inner).get("train") for inner in below]
            below = [inner for inner, part in zip(below, train, strict=True) if part and len(part.with_pictures) > 1]
        return below[0] if len(below) == 1 else None

    def _holds_masks(self, folder: _Folder) -> bool:
        try:
            return all(masks.is_flat(read(self._full(path), 0).pixels) for path in folder.all_files()[:5])
        except PictureError:
            return False

    def _parts(self, top: _Folder) -> dict[str, _Folder]:
        """Folders of ready-made parts; empty if the folders are classes, one of which may be named "test".

        Their names may begin alike: `seg_train`, `seg_test`.
        """
        folders = top.with_pictures
        alike = re.sub(r"[^_ -]*$", "", os.path.commonprefix([folder.name for folder in folders]))  # noqa: RUF071
        parts: dict[str, _Folder] = {}
        for folder in folders:
            part = part_named(folder.name.removeprefix(alike))
            if part in parts:
                raise DataError(
                    f"data folder {self._full(top.path)!r}: {parts[part].name!r} and {folder.name!r} both mean {part}"
                )
            if part:
                parts[part] = folder
        if "train" not in parts:
            return {}
        several, nothing_else = len(parts) > 1, len(parts) == len(folders)
        if parts["train"].with_pictures:
            return parts if several else {}
        by_name = len(parts["train"].named) > 1
        return parts if by_name + several + nothing_else > 1 else {}

    def _classes(self, level: _Folder, known: Collection[str] = ()) -> _Classes:
        """Classes by sub-folders if there are any, else by file names; restricted to `known`, unless that is empty.

        The pattern of the names of the first level is that of the other levels.
        """
        if level.with_pictures and not self.label_from:
            folders = _without_copy(level.with_pictures)
            self._leave(level, folders)
            if not known and (below := _other_classes(folders)):
                names = _some(folder.name for folder in folders)
                self.guesses.append(f"the classes are {names}; if {below} are, name their folder with --data")
            return {folder.name: folder for folder in folders}
        visited = list(level.tree()) if self.label_from else [level]
        for folder in visited:
            self._leave(folder, folder.folders if self.label_from else [], files=False)
        if not self.naming and (pattern := naming(map(_name, level.files), self.label_from)):
            self.naming = pattern
            self.guesses += filter(None, [pattern.note(map(_name, level.files))])
        classes: dict[str, _Folder] = {}
        for path in (path for folder in visited for path in folder.files):
            is_named = _suffix(path) in SUFFIXES
            label = self.naming.class_in(path.removeprefix(f"{level.path}/")) if self.naming and is_named else None
            if label and (not known or label in known):
                classes.setdefault(label, _Folder(label)).files.append(path)
            else:
                self.ignored["unlabelled: no class in the name" if is_named else "not a picture"] += 1
        return classes

    def _labelled(self, level: _Folder, known: _Classes, part: str, train: _Folder) -> _Classes:
        """The classes of a later part, which are those of the training part; none if it has no labels.

        A folder that is no class is left out if it stands alone, or if it has the file names of those beside it.
        """
        classes, unlabelled = dict(self._classes(level, known)), level
        if len(unknown := classes.keys() - known.keys()) == 1:
            pile = classes[min(unknown)]
            beside = {_name(path) for folder in classes.values() if folder is not pile for path in folder.all_files()}
            if not beside or beside.issuperset(map(_name, pile.all_files())):
                unlabelled = classes.pop(pile.name)
                self._ignore(pile, "unlabelled: no class folder")
                if beside:
                    self.guesses.append(f"{pile.path}/ is no class of {train.path}/: left out")
        if not classes:
            self.guesses.append(f"{unlabelled.path}/ has no labels: left out, a {part} part is split off {train.path}/")
        elif odd := classes.keys() ^ known.keys():
            name = min(classes.keys() - known.keys() or odd)
            here, there = (level, train) if name in classes else (train, level)
            raise DataError(
                f"data folder {str(self.root)!r}: class {name!r} is in {here.path}/ but not in {there.path}/; add its "
                f"pictures there, or let the suite split one folder: --data {shlex.quote(self._full(train.path))}"
            )
        return classes

    def _leave(self, level: _Folder, used: Sequence[_Folder], files: bool = True) -> None:
        """Count what a folder has beside the sub-folders that are used."""
        self.left_out += level.left_out
        self.ignored += level.ignored
        self.ignored["beside the classes"] += len(level.files) * files
        rest = sorted(set(level.folders).difference(used), key=lambda folder: folder.path)
        for folder in rest:
            self._ignore(folder, "in other folders" if folder.has_pictures else "in folders without pictures")
        if others := [folder.path for folder in rest if folder.has_pictures]:
            names = _some(folder.name for folder in used)
            self.guesses.append(f"left out beside {names}: {_some(others)}; --data names another folder")
        if empty := [folder.path for folder in rest if not folder.has_pictures]:
            self.guesses.append(f"no pictures, so no classes: {_some(empty)}")

    def _ignore(self, folder: _Folder, reason: str) -> None:
        for below in folder.tree():
            self.ignored += below.ignored
            self.ignored[reason] += len(below.files) + len(below.left_out)

    def _check_classes(self, classes: _Classes, level: _Folder, others: Sequence[_Folder]) -> None:
        where = f"data folder {self._full(level.path).rstrip('/')!r}"
        if len(level.with_pictures) == 1 and len(level.named) > 1 and not self.label_from:
            raise DataError(
                f"{where} has pictures named after their class ({_some(level.named)}) beside the sub-folder "
                f"{level.with_pictures[0].name!r}; it {LAYOUTS}"
            )
        empty = _some(folder.name for folder in level.folders if not folder.has_pictures)
        likely = [folder.path for folder in others if len(folder.with_pictures) > 1]
        likely += [path for path in level.files if _suffix(path) in TABLES]
        hint = f". Did you mean {self._full(likely[0])!r}?" if likely else ""
        if not classes and self.label_from:
            example = next((f", e.g. {_name(path)!r}" for path in level.all_files()), "")
            raise DataError(f"{where}: label-from {self.label_from!r} matches none of its files{example}")
        if not classes:
            count = len(level.all_files())
            sub_folder = "no sub-folder with pictures" if empty else "no sub-folder"
            content = f"has {count} file{'s' * (count != 1)} but {sub_folder}, and none named after its class"
            if level.left_out:
                content = f"has nothing that can be used; {level.left_out[0].id!r}: {level.left_out[0].reason}"
            elif not count and not empty:
                content = "is empty"
            raise DataError(f"{where} {content}; it {LAYOUTS}{hint}")
        if len(classes) == 1 and not self.only_tested:
            guesses = "" if hint or empty else "".join(f"; {guess}" for guess in self.guesses)
            hint = (f" (class {empty} has no pictures)" if empty else "") + hint + guesses
            raise DataError(f"{where} has one class, {min(classes)!r}: at least two are needed{hint}")


def _is_annexed(path: str) -> bool:
    """Return whether a file is a link of git-annex."""
    return os.path.islink(path) and ".git/annex/objects/" in Path(path).readlink().as_posix()  # noqa: PTH114


def _name(path: str) -> str:
    return path.rpartition("/")[2]


def _suffix(path: str) -> str:
    return "." + path.rpartition(".")[2].lower()


def _without_copy(folders: list[_Folder]) -> list[_Folder]:
    """The class folders, without one that has all others again (`flowers/flowers`)."""
    names = {folder.name for folder in folders}
    copies = [
        folder
        for folder in folders
        if 1 < len(folder.with_pictures) == len(folders) - 1
        and {inner.name for inner in folder.with_pictures} == names - {folder.name}
    ]
    return [folder for folder in folders if folder is not copies[0]] if len(copies) == 1 else folders


def _other_classes(folders: Sequence[_Folder]) -> str:
    """Sub-folders that may be the classes instead: those of one folder alone, or of all as in `color/` and `grey/`."""
    below = [{inner.name for inner in folder.with_pictures} for folder in folders]
    several = [names for names in below if len(names) > 1 and not any(map(masks.is_word, names))]
    is_odd = len(several) == 1 or (len(several) == len(below) and all(names == below[0] for names in below))
    return _some(several[0]) if len(folders) > 1 and is_odd else ""


def _some(names: Iterable[str]) -> str:
    first = sorted(names)
    return ", ".join([*map(repr, first[:3]), *(["…"] if len(first) > 3 else [])])
