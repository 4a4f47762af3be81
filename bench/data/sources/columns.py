"""The columns of a table: which has the path, the class and the part of a picture."""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePath

from bench.data.sources import PART_FOLDERS, PARTS, part_named
from bench.data.sources.file_names import SUFFIXES
from bench.data.sources.sheet import Sheet
from bench.errors import DataError, unknown

COLUMNS = {
    "path": ("path", "file", "filename", "filepath", "image", "image_path", "image_name", "image_id", "id"),
    "label": ("label", "class", "class_name", "category", "target", "y", "dx"),
    "part": ("part", "split", "subset", "data_set", "is_valid"),
}
"""Known names of columns, best first; case, the characters "_", "-" and " " and a last "s" are ignored."""

OPTIONS = {"path": "path-column", "label": "label-column", "part": "split-column"}

TRUE, FALSE = ("1", "1.0", "true"), ("0", "0.0", "false")
"""Words of a truth value, in any case."""

INDEX = ("unnamed:", "__index_level_")
"""Beginnings of the names that pandas gives to an index, in small letters."""

FEW = 0.01
"""Share of rows with several labels up to which these rows are left out; with more the table is refused."""

SHOWN = 20
"""Maximum number of columns in a message."""


@dataclass(frozen=True)
class Columns:
    """The columns of a table that are used, as text of each row.

    Attributes:
        paths, labels: "" in a row without one.
        label_column: The column of the labels in words.
        parts: None without ready-made parts.
        faults: Reason why a row cannot be used, by its index.
        guesses: See `Listing`.
    """

    paths: Sequence[str]
    labels: Sequence[str]
    label_column: str
    parts: Sequence[str | None] | None
    faults: Mapping[int, str]
    guesses: tuple[str, ...]


def read_columns(sheet: Sheet, chosen: Mapping[str, str], with_labels: bool = True) -> Columns:
    """Find the columns of a table.

    Args:
        sheet: The table.
        chosen: Names of columns by kind ("path", "label" or "part") that the user chose.
        with_labels: False if the classes are not in the table.

    Raises:
        DataError: A column is missing, or pictures have several labels.
    """
    taken = {kind: _chosen(sheet, kind, chosen[kind]) for kind in COLUMNS if chosen.get(kind)}
    known = {kind: [taken[kind]] if kind in taken else _known(sheet, kind, taken.values()) for kind in COLUMNS}
    filled = {kind: [place for place in known[kind] if any(sheet.column(place))] for kind in COLUMNS}
    places = {kind: filled[kind] or known[kind][:1] for kind in COLUMNS}
    labels: _Labels | None = _Labels([""] * len(sheet.rows), (), "")
    if with_labels:
        by_name = filled["label"] or "label" in taken
        one_hot = None if by_name else _one_hot(sheet, {*known["path"], *known["part"]})
        labels = one_hot or (_in_column(sheet, places["label"][0]) if places["label"] else None)
    if not places["path"] or not labels:
        lacking = {"path": not places["path"], "label": not labels}
        raise DataError(f"{sheet.where}: {_missing(sheet, [kind for kind in lacking if lacking[kind]])}")
    _check_single(sheet, labels)
    faults = dict.fromkeys(labels.several, "several labels")
    if with_labels:
        faults = {index: "no label" for index, text in enumerate(labels.texts) if not text} | faults
    parts = _parts(sheet, filled["part"][0], faults) if filled["part"] else None
    width = len(sheet.names)
    for index, row in enumerate(sheet.rows):
        if len(row) > width and any(row[width:]):
            faults[index] = f"{len(row)} cells under {width} columns"
    guesses = [_preference(sheet, kind, places[kind]) for kind in COLUMNS if kind != "label" or with_labels]
    guesses = [guess for guess in (*guesses, labels.guess) if guess]
    return Columns(sheet.column(places["path"][0]), labels.texts, labels.where, parts, faults, tuple(guesses))


def _known(sheet: Sheet, kind: str, taken: Collection[int]) -> list[int]:
    """The columns with known names, best first, without those that are taken."""
    plain = [(place, _plain(name)) for place, name in enumerate(sheet.names) if place not in taken]
    return [place for known in COLUMNS[kind] for place, name in plain if name == _plain(known)]


def _chosen(sheet: Sheet, kind: str, chosen: str) -> int:
    """The column that the user chose."""
    for names, name in ((list(sheet.names), chosen.strip()), ([*map(_plain, sheet.names)], _plain(chosen))):
        if name in names:
            return names.index(name)
    raise DataError(f"{sheet.where}: {unknown(OPTIONS[kind], chosen, filter(None, sheet.names))}")


def _plain(name: str) -> str:
    return "".join(letter for letter in name.casefold() if letter not in "_- ").removesuffix("s")


def _missing(sheet: Sheet, kinds: Sequence[str]) -> str:
    """Message that there are no columns of these kinds."""
    if any(PurePath(name).suffix.lower() in SUFFIXES for name in sheet.names):
        return f"its first line {','.join(sheet.names)!r} is no header: names of columns are needed, e.g. path,label"
    required = " and ".join(f"one of {', '.join(COLUMNS[kind])} for the {kind}" for kind in kinds)
    others = " and ".join(f"--{OPTIONS[kind]}" for kind in kinds)
    from_name = "; --label-from REGEX reads the label in the path" if "label" in kinds else ""
    return (
        f"its header names the columns {_quoted(sheet.names) or 'nothing'}; it must have {required}, or {others} "
        f"with another name{from_name}"
    )


def _preference(sheet: Sheet, kind: str, places: Sequence[int]) -> str:
    """The column that was taken of several; "" if there is no choice."""
    if len(places) < 2:
        return ""
    first, *others = (sheet.names[place] for place in places)
    return f"the {kind} is in the column {first!r}, not in {_quoted(others)}; --{OPTIONS[kind]} names another"


def _quoted(names: Sequence[str]) -> str:
    more = [f"{len(names) - SHOWN} more"] if len(names) > SHOWN else []
    return ", ".join([*map(repr, names[:SHOWN]), *more])


# -- labels and parts


@dataclass(frozen=True)
class _Labels:
    """Labels of the rows, each "" without one.

    Attributes:
        several: Rows with several labels.
        where: The columns in words.
    """

    texts: Sequence[str]
    several: Sequence[int]
    where: str
    guess: str = ""


def _check_single(sheet: Sheet, labels: _Labels) -> None:
    if len(labels.several) > FEW * len(sheet.rows):
        text = labels.texts[labels.several[0]]
        raise DataError(
            f"{sheet.where}: {len(labels.several)} of {len(sheet.rows)} rows have several labels in {labels.where}"
            f"{f', e.g. {text!r}' if text else ''}; several labels for a picture (multi-label) are not supported; "
            "--label-column names another column"
        )


def _in_column(sheet: Sheet, place: int) -> _Labels:
    texts = sheet.column(place)
    return _Labels(texts, _several(texts), f"the column {sheet.names[place]!r}")


def _one_hot(sheet: Sheet, others: Collection[int]) -> _Labels | None:
    """The labels in two or more columns of 0 and 1, where most rows have a 1 in one of them; None without these."""
    marks: dict[str, list[bool]] = {}
    for place, name in enumerate(sheet.names):
        if place not in others and name and not name.casefold().startswith(INDEX):
            cells = sheet.column(place)
            words = {cell: cell.casefold() for cell in set(cells)}
            if set(words.values()) <= {*TRUE, *FALSE} and not set(words.values()) <= {*TRUE}:
                marks[name] = [words[cell] in TRUE for cell in cells]
    rows = [[name for name, mark in zip(marks, row, strict=True) if mark] for row in zip(*marks.values(), strict=True)]
    if len(marks) < 2 or 2 * sum(map(bool, rows)) < len(rows):
        return None
    texts = [row[0] if len(row) == 1 else "" for row in rows]
    several = [index for index, row in enumerate(rows) if len(row) > 1]
    where = f"the columns {_quoted(tuple(marks))} of 0 and 1"
    guess = f"the label is the one that has a 1 of {where}; --label-column names another column"
    return _Labels(texts, several, where, guess)


def _several(labels: Sequence[str]) -> list[int]:
    """The rows whose label consists of labels of other rows: "a b", "a|b", "a; b" or "a,b"."""
    counts = Counter(labels)
    several = {
        label
        for label in counts
        for separator in "|;, "
        if len(parts := [part.strip() for part in label.split(separator)]) > 1
        and all(part and part in counts for part in parts)
    }
    return [index for index, label in enumerate(labels) if label in several] if several else []


def _parts(sheet: Sheet, place: int, faults: dict[int, str]) -> list[str | None]:
    """The part of each row; unknown words are added to the faults."""
    cells = sheet.column(place)
    meanings: dict[str, str | None] = {"": "train"}  # some tables mark only test pictures
    for cell in {*cells} - {""}:
        meanings[cell] = part_named(cell)
        if _plain(sheet.names[place]) == _plain("is_valid") and cell.casefold() in (*TRUE, *FALSE):
            meanings[cell] = "validation" if cell.casefold() in TRUE else "train"
    reasons = {cell: _no_part(cell) for cell, part in meanings.items() if part is None}
    for index, cell in enumerate(cells):
        if cell in reasons:
            faults.setdefault(index, reasons[cell])
    return [meanings[cell] for cell in cells]


def _no_part(word: str) -> str:
    words = [name for names in PART_FOLDERS.values() for name in names]
    near = difflib.get_close_matches(word.casefold(), words, n=1, cutoff=0.6)
    hint = f". Did you mean {part_named(near[0])}?" if near else ""
    return f"part {word!r}: must be one of {', '.join(PARTS)}{hint}"
