"""A table of paths and labels, as CSV (RFC 4180) or with semicolons or tabs."""

# With a million rows, path objects would take most of the time.
# ruff: noqa: PTH114, PTH116, PTH118, PTH120, PTH122

from __future__ import annotations

import csv
import io
import os
import stat
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from bench.config import RunConfig
from bench.data.pictures import Picture
from bench.data.sources import PARTS, ListedPicture, Listing, Source, StageCallback, existing_path, part_named
from bench.data.sources.folder import SUFFIXES, read
from bench.errors import DataError
from bench.records import LeftOut, LeftOutKind

COLUMNS = {
    "path": ("path", "file", "filename", "image", "id"),
    "label": ("label", "class", "category", "target", "y"),
    "part": ("part", "split", "subset"),
}
"""Accepted names of columns, best first; case and the characters "_", "-" and " " are ignored. "part" is optional."""

TABLE_ROW = LeftOutKind.TABLE_ROW

IMPLIED_SUFFIXES = (".jpg", ".jpeg", ".png")
"""Suffixes tried in this order for a missing path without one: in Kaggle's tables an id is a picture's name."""


@dataclass(frozen=True)
class Table(Source):
    """Pictures and classes listed in a table; its paths are absolute or relative to its folder."""

    path: Path

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
        finder = _PictureFinder(self.path.parent)
        left_out: list[LeftOut] = []
        rows_by_id: dict[str, list[_Row]] = defaultdict(list)
        for row in _rows(self.path):
            where = f"line {row.line}"
            no_path = f"{self.path.name}, {where}", TABLE_ROW, "no path"
            item_id, kind, detail = finder.find(row.path) if row.path else no_path
            if kind is None and row.fault:
                kind, detail = TABLE_ROW, row.fault
            if kind:
                left_out.append(LeftOut(item_id, kind, f"{where}: {detail}" if detail else where, row.label))
            else:
                rows_by_id[item_id].append(row)
        entries = []
        for item_id, item_rows in rows_by_id.items():
            if reason := _contradiction(item_rows):
                left_out.append(LeftOut(item_id, TABLE_ROW, reason))
                continue
            first, *repetitions = item_rows
            entries.append(ListedPicture(item_id, first.label, first.part))
            left_out += [
                LeftOut(item_id, TABLE_ROW, f"line {row.line}: already named in line {first.line}")
                for row in repetitions
            ]
        classes = tuple(sorted({entry.label for entry in entries}))
        subject = f"data table {str(self.path)!r} has"
        if not classes:
            reason = f" that can be used; {left_out[0].id!r}: {left_out[0].reason}" if left_out else ""
            raise DataError(f"{subject} no row{reason}")
        if len(classes) == 1:
            raise DataError(f"{subject} one class, {classes[0]!r}: at least two are needed")
        return Listing(classes, tuple(entries), tuple(left_out))


def open(config: RunConfig, progress: StageCallback | None) -> Table:
    return Table(existing_path(config.data).absolute())


def rebuild(description: Mapping[str, Any]) -> Table:
    return Table(Path(description["path"]))


@dataclass(frozen=True)
class _Row:
    """One row: its line in the file, its cells, and the reason if it cannot be used."""

    line: int
    path: str
    label: str
    part: str | None
    fault: str


def _rows(path: Path) -> list[_Row]:
    """The rows below the header; DataError if the file cannot be read or lacks a required column."""
    where = f"data table {str(path)!r}"
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        missing = isinstance(error, FileNotFoundError)
        raise DataError(f"{where} " + ("does not exist" if missing else f"cannot be read: {error.strerror}")) from None
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise DataError(f"{where}, line {line}: is not UTF-8 text") from None
    delimiter, columns = _header(text, where)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        cells = [(reader.line_num, [cell.strip() for cell in row]) for row in reader if any(map(str.strip, row))]
    except csv.Error as error:
        raise DataError(f"{where}, line {reader.line_num}: {error}") from None
    (_, header), *below = cells
    has_parts = "part" in columns and any(len(row) > columns["part"] and row[columns["part"]] for _, row in below)
    return [_row(line, row, columns, len(header), has_parts) for line, row in below]


def _header(text: str, where: str) -> tuple[str, Mapping[str, int]]:
    """The delimiter, and the positions of the columns."""
    first = next((line for line in text.splitlines() if line.strip()), "")
    headers = {delimiter: next(csv.reader([first], delimiter=delimiter), []) for delimiter in ",;\t"}
    for delimiter, names in headers.items():
        columns = _columns(names)
        if {"path", "label"} <= columns.keys():
            return delimiter, columns
    names = max(headers.values(), key=len)
    missing = [kind for kind in ("path", "label") if kind not in _columns(names)]
    required = " and ".join(f"one of {', '.join(COLUMNS[kind])} for the {kind}" for kind in missing)
    present = ", ".join(map(repr, names[:8])) or "nothing"
    raise DataError(f"{where}: its first line names the columns {present}; it must have {required}")


def _columns(names: Sequence[str]) -> dict[str, int]:
    plain = ["".join(letter for letter in name.casefold() if letter not in "_- ") for name in names]
    return {
        kind: plain.index(known)
        for kind, accepted in COLUMNS.items()
        if (known := next((name for name in accepted if name in plain), ""))
    }


def _row(line: int, cells: Sequence[str], columns: Mapping[str, int], width: int, has_parts: bool) -> _Row:
    values = {kind: cells[place] if place < len(cells) else "" for kind, place in columns.items()}
    part, fault = None, ""
    if has_parts:  # an empty cell means training: some tables mark only test pictures
        part = part_named(values["part"] or "train")
        fault = "" if part else f"part {values['part']!r}: must be one of {', '.join(PARTS)}"
    if not values["label"]:
        fault = "no label"
    if any(cells[width:]):
        fault = f"{len(cells)} cells under {width} columns"
    return _Row(line, values["path"], values["label"], part, fault)


def _contradiction(rows: Sequence[_Row]) -> str:
    """Contradiction between the rows of one picture; "" if they agree."""
    for kind in ("label", "part"):
        values = {getattr(row, kind): row.line for row in reversed(rows)}  # the first line of each value
        if len(values) > 1:
            (first, line), (other, other_line) = sorted(values.items(), key=lambda value: value[1])[:2]
            return f"its {kind} is {first} in line {line} and {other} in line {other_line}"
    return ""


class _PictureFinder:
    """Finds the pictures of a table, below its folder or at absolute paths."""

    def __init__(self, folder: Path) -> None:
        root = folder.resolve()
        self._folder = str(folder)
        self._is_inside = cache(lambda path: Path(path).resolve().is_relative_to(root))

    def find(self, path: str) -> tuple[str, LeftOutKind | None, str]:
        """The id of a picture (its path with "/" on every system), and the kind and detail of its fault."""
        if "\0" in path:
            return path, TABLE_ROW, "a null character in its path"
        plain = os.path.normpath(path)
        existing = (reading for reading in _readings(plain) if os.path.lexists(os.path.join(self._folder, reading)))
        item_id = next(existing, plain)
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


def _readings(path: str) -> Iterator[str]:
    """Possible readings of a path: as written, with Windows separators, and with an omitted suffix."""
    yield path
    slashed = os.path.normpath(path.replace("\\", "/"))
    yield slashed
    if os.path.splitext(slashed)[1].lower() not in SUFFIXES:
        yield from (slashed + suffix for suffix in IMPLIED_SUFFIXES)
