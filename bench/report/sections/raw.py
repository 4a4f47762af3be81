"""The record of every trial as the page carries it: packed, for its script to make CSV and JSON of."""

from __future__ import annotations

import base64
import gzip
import json
import math
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

from markupsafe import Markup

from bench import text
from bench.records import LEADERBOARD_COLUMNS, Run, Trial, leaderboard_row

DIGITS = 5
"""Significant digits of what is not a whole number; trials.sqlite3 has them all."""

MOMENTS = ("started_s", "finished_s")
"""Columns of seconds since the run's start, to a tenth: what is between two of them must not be rounded away."""

MORE: Mapping[str, Callable[[Trial], Any]] = {
    "order": lambda trial: trial.order,
    "started_s": lambda trial: trial.started_s,
    "finished_s": lambda trial: trial.finished_s,
    "epochs": lambda trial: trial.epochs,
    "known": lambda trial: trial.known,
    "counted": lambda trial: trial.counted,
    "duplicate_of": lambda trial: trial.duplicate_of,
    "failure": lambda trial: trial.failure.name if trial.failure else "",
    "note": lambda trial: trial.note,
    "params": lambda trial: trial.params,
}
"""What a trial has beside the columns of the leaderboard, as in `records.Trial`; of a failure, its kind."""


_clean = lru_cache(maxsize=1000)(text.clean)  # the same few texts come again in every row


def table(run: Run) -> dict[str, Any]:
    """Every trial of a run as plain data, in the order in which they were started.

    Returns:
        `columns`, those of the leaderboard and then `MORE`, and `rows`; in the last column the hyperparameters by name.
    """
    columns = [*LEADERBOARD_COLUMNS, *MORE]
    return {"columns": columns, "rows": [_row(trial) for trial in run.trials]}


def _row(trial: Trial) -> list[Any]:
    cells = {**leaderboard_row(trial), **{column: read(trial) for column, read in MORE.items()}}
    return [_plain(value, tenths=column in MOMENTS) for column, value in cells.items()]


def packed(data: Mapping[str, Any]) -> Markup:
    """Plain data as JSON, gzip (RFC 1952) and base64: a third of its size, and nothing in it is markup."""
    written = json.dumps(data, allow_nan=False, separators=(",", ":")).encode()
    return Markup(base64.b64encode(gzip.compress(written, compresslevel=6, mtime=0)).decode())


def _plain(value: Any, tenths: bool = False) -> Any:
    """Short numbers, texts without what a page must not show, and nothing for what is no number."""
    if isinstance(value, str):
        return _clean(value)
    if isinstance(value, Mapping):
        return {_clean(name): _plain(each) for name, each in value.items()}
    if isinstance(value, float):
        if not math.isfinite(value):
            return None
        rounded = round(value, 1) if tenths else float(f"{value:.{DIGITS}g}")
        return int(rounded) if rounded.is_integer() else rounded
    return value
