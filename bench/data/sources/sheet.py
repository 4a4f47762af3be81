"""The cells of a table as text: CSV (RFC 4180) with commas, semicolons, tabs or pipes, or Parquet."""

from __future__ import annotations

import csv
import importlib
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.errors import DataError

DELIMITERS = ",;\t|"


@dataclass(frozen=True)
class Sheet:
    """The cells of a table.

    Attributes:
        where: The table in words, for messages.
        names: Names of the columns.
        numbers: Number of each row: its last line in a text file, or its place in a Parquet file, from 1.
        rows: Cells of each row; there may be more or fewer than columns.
        unit: "line" or "row", for messages.
    """

    where: str
    names: Sequence[str]
    numbers: Sequence[int]
    rows: Sequence[Sequence[str]]
    unit: str = "line"

    def column(self, place: int) -> list[str]:
        """The cells of a column, without blanks around them; "" where a row is too short."""
        return [row[place].strip() if place < len(row) else "" for row in self.rows]


def read_sheet(path: Path) -> Sheet:
    """Read a table; DataError if that is impossible."""
    where = f"data table {str(path)!r}"
    try:
        return _parquet(path, where) if path.suffix.lower() == ".parquet" else _text(path, where)
    except OSError as error:
        missing = isinstance(error, FileNotFoundError)
        raise DataError(f"{where} " + ("does not exist" if missing else f"cannot be read: {error.strerror}")) from None


def _text(path: Path, where: str) -> Sheet:
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise DataError(f"{where}, line {line}: is not UTF-8 text") from None
    first = next(filter(str.strip, io.StringIO(text, newline="")), "")
    delimiter = max(DELIMITERS, key=lambda delimiter: _width(first, delimiter))
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    numbers, rows = [], []
    try:
        for row in reader:
            if any(map(str.strip, row)):
                numbers.append(reader.line_num)
                rows.append(row)
    except csv.Error as error:
        raise DataError(f"{where}, line {reader.line_num}: {error}") from None
    header = [name.strip() for name in rows[0]] if rows else []
    return Sheet(where, header, numbers[1:], rows[1:])


def _width(line: str, delimiter: str) -> int:
    """Number of cells in a line; 0 for one that `csv` refuses."""
    try:
        return len(next(csv.reader([line], delimiter=delimiter), []))
    except csv.Error:
        return 0


def _parquet(path: Path, where: str) -> Sheet:
    """Read the columns of text and numbers; pictures and lists in a cell are no path and no class."""
    try:
        pyarrow: Any = importlib.import_module("pyarrow")
        parquet: Any = importlib.import_module("pyarrow.parquet")
    except ModuleNotFoundError as error:
        if error.name != "pyarrow":
            raise
        raise DataError(
            f"{where}: Parquet needs the package pyarrow: pip install 'image-model-bench[parquet]'"
        ) from None
    with path.open("rb") as file:
        try:
            content = parquet.ParquetFile(file)
            kinds = pyarrow.types
            names = [
                field.name
                for field in content.schema_arrow
                if not (kinds.is_nested(field.type) or kinds.is_binary(field.type) or kinds.is_large_binary(field.type))
            ]
            columns = [column.to_pylist() for column in content.read(columns=names).columns]
        except pyarrow.ArrowException as error:
            raise DataError(f"{where} cannot be read: {' '.join(str(error).split())}") from None
    rows = [["" if cell is None else str(cell) for cell in row] for row in zip(*columns, strict=True)]
    return Sheet(where, names, range(1, len(rows) + 1), rows, "row")
