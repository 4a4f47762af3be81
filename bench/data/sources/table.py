"""A table of paths and labels; see `sheet` for its formats and `columns` for its columns."""

# With a million rows, path objects would take most of the time.
# ruff: noqa: PTH114, PTH116, PTH118, PTH119, PTH120, PTH122

from __future__ import annotations

import filecmp
import os
import stat
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from bench.config import RunConfig
from bench.data.pictures import Picture
from bench.data.sources import ListedPicture, Listing, Source, StageCallback, existing_path
from bench.data.sources.columns import Columns, read_columns
from bench.data.sources.file_names import SUFFIXES, naming
from bench.data.sources.folder import is_hidden_folder, read
from bench.data.sources.sheet import read_sheet
from bench.errors import DataError
from bench.records import LeftOut, LeftOutKind

TABLE_ROW = LeftOutKind.TABLE_ROW

IMPLIED_SUFFIXES = (".jpg", ".jpeg", ".png")
"""Suffixes tried in this order for a missing path without one: in Kaggle's tables an id is a picture's name."""

CLASS_PICTURES = 3
"""Pictures that every class needs at least: one for each part."""

FEW_ROWS = 10
"""Rows below which a table is not refused for its many labels."""

SHOWN_REASONS = 3
"""Maximum number of reasons for left out rows in the notes."""


@dataclass(frozen=True)
class Table(Source):
    """Pictures and classes listed in a table; its paths are absolute or relative to its folder.

    Attributes:
        columns: Names of columns by kind that the user chose; see `columns.read_columns`.
        label_from: Pattern of paths, whose group is the class; "" takes a column.
        group_by: The column of the pictures' groups, if it is the name of one.
        only_tested: True if any rows are enough, because nothing is trained on the pictures.
    """

    path: Path
    columns: Mapping[str, str] = field(default_factory=dict, compare=False)
    label_from: str = field(default="", compare=False)
    group_by: str = field(default="", compare=False)
    only_tested: bool = field(default=False, compare=False)

    @property
    def title(self) -> str:
        return self.path.name

    def describe(self) -> dict[str, Any]:
        return {"kind": "table", "path": str(self.path)}

    def picture(self, item_id: str, least: int = 0) -> Picture:
        return read(os.path.join(self.path.parent, item_id), least)

    def file(self, item_id: str) -> Path:
        return self.path.parent / item_id

    def listing(self) -> Listing:
        sheet = read_sheet(self.path)
        columns = read_columns(sheet, self.columns, with_labels=not self.label_from)
        finder = _PictureFinder(self.path.parent, columns.paths)
        rule = naming((), self.label_from) if self.label_from else None
        grouped = sheet.column(sheet.names.index(self.group_by)) if self.group_by in sheet.names else ()
        left_out: list[LeftOut] = []
        reasons: Counter[str] = Counter()
        rows_by_id: dict[str, list[tuple[str, ListedPicture]]] = defaultdict(list)
        for index, (number, path, label) in enumerate(zip(sheet.numbers, columns.paths, columns.labels, strict=True)):
            where = f"{sheet.unit} {number}"
            no_path = f"{self.path.name}, {where}", TABLE_ROW, "no path"
            item_id, kind, detail = finder.places[path] if path else no_path
            fault = columns.faults.get(index, "")
            if rule:
                label = rule.class_in(item_id) or ""
                fault = fault or ("" if label else "--label-from does not match its path")
            if kind is None and fault:
                kind, detail = TABLE_ROW, fault
            if kind:
                reasons[detail] += 1
                left_out.append(LeftOut(item_id, kind, f"{where}: {detail}" if detail else where, label))
            else:
                part, group = columns.parts[index] if columns.parts else None, grouped[index] if grouped else ""
                rows_by_id[item_id].append((where, ListedPicture(item_id, label, part, group)))
        entries = []
        for item_id, rows in rows_by_id.items():
            if reason := _contradiction(rows):
                left_out.append(LeftOut(item_id, TABLE_ROW, reason))
                continue
            (first, picture), *others = rows
            entries.append(picture)
            left_out += [LeftOut(item_id, TABLE_ROW, f"{where}: already named in {first}") for where, _ in others]
        frequent = [(reason, count) for reason, count in reasons.most_common(SHOWN_REASONS) if count > 1 and reason]
        notes = [f"{count} rows are left out: {reason}" for reason, count in frequent]
        classes = tuple(sorted({entry.label for entry in entries}))
        if objection := self._objection(columns, entries, left_out, len(classes)):
            raise DataError(f"{sheet.where} has {'; '.join([objection, *notes])}")
        return Listing(classes, tuple(entries), tuple(left_out), guesses=(*columns.guesses, *finder.guesses, *notes))

    def _objection(
        self, columns: Columns, entries: Sequence[ListedPicture], left_out: Sequence[LeftOut], classes: int
    ) -> str:
        """The reason why the rows are not enough for two classes in every part; "" if there is none."""
        if not entries:
            return "no row" + (f" that can be used; {left_out[0].id!r}: {left_out[0].reason}" if left_out else "")
        if self.only_tested:
            return ""
        if classes == 1:
            return f"one class, {entries[0].label!r}: at least two are needed"
        if columns.parts and all(entry.part != "train" for entry in entries):
            return "no row for training that can be used"
        if classes * CLASS_PICTURES > len(entries) >= FEW_ROWS:
            place = columns.label_column or f"what --label-from {self.label_from!r} reads"
            return (
                f"{classes} labels in {len(entries)} rows, in {place}: every class needs at least {CLASS_PICTURES} "
                "pictures, and numbers (regression) are not supported; --label-column names another column"
            )
        return ""


def open(config: RunConfig, progress: StageCallback | None) -> Table:
    columns = {"path": config.path_column, "label": config.label_column, "part": config.split_column}
    return Table(existing_path(config.data).absolute(), columns, config.label_from, config.group_by)


def rebuild(description: Mapping[str, Any]) -> Table:
    return Table(Path(description["path"]))


def _contradiction(rows: Sequence[tuple[str, ListedPicture]]) -> str:
    """Contradiction between the rows of one picture, each with its place in words; "" if they agree."""
    (first, picture), *others = rows
    for where, other in others:
        for kind in ("label", "part"):
            if getattr(other, kind) != getattr(picture, kind):
                return f"its {kind} is {getattr(picture, kind)} in {first} and {getattr(other, kind)} in {where}"
    return ""


class _PictureFinder:
    """Finds the pictures of a table, below its folder or at absolute paths.

    Attributes:
        places: For each path, the id of the picture (its path with "/" on every system), and the kind and detail of its
            fault.
        guesses: See `Listing`.
    """

    def __init__(self, folder: Path, paths: Iterable[str]) -> None:
        root = folder.resolve()
        self._folder = str(folder)
        self._is_inside = cache(lambda path: Path(path).resolve().is_relative_to(root))
        self._missing: list[str] = []
        self.places = {path: self._find(path) for path in dict.fromkeys(paths) if path}
        self.guesses = self._search() if self._missing else ()

    def _find(self, path: str) -> _Place:
        if "\0" in path:
            return path, TABLE_ROW, "a null character in its path"
        plain = os.path.normpath(path)
        existing = (reading for reading in _readings(plain) if os.path.lexists(os.path.join(self._folder, reading)))
        item_id = next(existing, "")
        if not item_id and os.path.basename(plain) == path:
            self._missing.append(path)
        return self._place(item_id or plain)

    def _place(self, item_id: str) -> _Place:
        return item_id.replace(os.sep, "/"), *self._fault(item_id, os.path.join(self._folder, item_id))

    def _fault(self, item_id: str, full: str) -> tuple[LeftOutKind | None, str]:
        try:
            if full != item_id:  # it is relative
                if item_id == os.pardir or item_id.startswith(os.pardir + os.sep):
                    return TABLE_ROW, "path that leads outside the table's folder"
                if not self._is_inside(full if os.path.islink(full) else os.path.dirname(full)):
                    return LeftOutKind.LINK, "leads outside the table's folder"
            return (None if stat.S_ISREG(os.stat(full).st_mode) else LeftOutKind.NOT_A_FILE), ""
        except (OSError, RuntimeError):  # RuntimeError: a loop of links, up to Python 3.12
            return None, ""  # the audit will report that it cannot be read

    def _search(self) -> tuple[str, ...]:
        """Search the folders below that of the table once for the missing names, with or without their suffix."""
        matches: dict[str, list[str]] = {name: [] for name in self._missing}
        for folder, folders, files in os.walk(self._folder):
            folders[:] = sorted(name for name in folders if not is_hidden_folder(name))
            for file in files:
                stem, suffix = os.path.splitext(file)
                if suffix.lower() in SUFFIXES and (name := file if file in matches else stem) in matches:
                    matches[name].append(os.path.relpath(os.path.join(folder, file), self._folder))
        unique, several = [], []
        for name, paths in matches.items():
            best = min(map(_suffix_rank, paths), default=0)
            paths = [path for path in paths if _suffix_rank(path) == best]
            if paths and self._are_equal(paths):
                self.places[name] = self._place(paths[0])
                unique.append(f"{name} is {self.places[name][0]}")
            elif paths:
                detail = f"several files have this name: {' and '.join(sorted(paths)[:2])}"
                self.places[name] = name, TABLE_ROW, detail.replace(os.sep, "/")
                several.append(f"{name!r}: {self.places[name][2]}")
        searched = f"pictures found by name in the folders below: {len(unique)}, e.g. {unique[0]}" if unique else ""
        ambiguous = f"ambiguous names, left out: {len(several)}, e.g. {several[0]}" if several else ""
        way = "; a path in the table decides otherwise"
        return tuple(note + way for note in (searched, ambiguous) if note)

    def _are_equal(self, paths: Sequence[str]) -> bool:
        """Return whether files have the same content, as where an archive was unpacked twice."""
        first, *others = (os.path.join(self._folder, path) for path in paths)
        try:
            return all(filecmp.cmp(first, other, shallow=False) for other in others)
        except OSError:
            return False


_Place = tuple[str, LeftOutKind | None, str]


def _suffix_rank(path: str) -> int:
    suffix = os.path.splitext(path)[1].lower()
    return IMPLIED_SUFFIXES.index(suffix) if suffix in IMPLIED_SUFFIXES else len(IMPLIED_SUFFIXES)


def _readings(path: str) -> Iterator[str]:
    """Possible readings of a path: as written, with Windows separators, and with an omitted suffix."""
    yield path
    if "\\" in path:
        path = os.path.normpath(path.replace("\\", "/"))
        yield path
    if os.path.splitext(path)[1].lower() not in SUFFIXES:
        yield from (path + suffix for suffix in IMPLIED_SUFFIXES)
