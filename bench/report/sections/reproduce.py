"""Instructions for repeating a run: commands, seeds, versions, hardware, and the record of every trial."""

from __future__ import annotations

import base64
import gzip
import json
import math
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from markupsafe import Markup

from bench import text
from bench.records import LEADERBOARD_COLUMNS, Run, leaderboard_row, metric_columns, to_data

DIGITS = 5
"""Significant digits of numbers in the page's record; trials.sqlite3 has all digits."""

TIMES = ("started_s", "finished_s", "charged_s")
"""Columns of seconds since the run's start; they are rounded to a tenth, so that their differences stay exact."""

FORECASTS = "time_s low_s high_s cold_s memory_mb disk_mb".split()
"""Fields of a forecast, whose columns have the prefix `forecast_`."""

FIELDS = (
    "order started_s finished_s charged_s origin counted duplicate_of failure note".split()
    + [f"forecast_{name}" for name in FORECASTS]
    + ["params"]
)
"""Columns of the page's record that follow those of the leaderboard."""


@dataclass(frozen=True)
class Reproduction:
    """The section: commands by purpose, environment by name, configuration as JSON, and the `packed` trials."""

    commands: Sequence[tuple[str, str]]
    environment: Mapping[str, str]
    configuration: str
    trials: Markup

    summary = "command, seed, split, environment, raw data"


def section(run: Run) -> Reproduction:
    """Collect what is needed to repeat a run."""
    return Reproduction(
        commands=commands(run),
        environment=environment_facts(run),
        configuration=json.dumps(to_data(run.config), indent=2, default=str, ensure_ascii=False),
        trials=packed(trial_table(run)) if run.trials else Markup(),
    )


def commands(run: Run) -> list[tuple[str, str]]:
    """The commands that repeat a run, or a part of it.

    Of an absolute path only the last part is shown, because the rest describes the machine.
    """
    folder = str(run.path) if not run.path.is_absolute() else run.path.name
    bench = ["python", "-m", "bench"]
    first = [("The run", run.command)] if run.command else []
    return [
        *first,
        ("Another run on the same split", shlex.join([*bench, "run", "--split-file", f"{folder}/split.json"])),
        ("This page, from the records", shlex.join([*bench, "report", folder])),
    ]


def environment_facts(run: Run) -> dict[str, str]:
    """The environment by name: hardware and commits, then versions."""
    titles = {"cpu": "CPU", "cores": "Cores", "memory_gb": "Memory, GB", "gpus": "GPUs"}
    titles |= {"git_commit": "Commit of the suite", "project_commit": "Commit of the project"}
    titles |= {"platform": "Platform", "python": "Python"}
    values = {**run.environment, "git_commit": "", **run.commits()}
    packages = values.pop("packages", None) or {}
    facts = {title: values.pop(name, None) for name, title in titles.items()} | values | packages
    return {name: ", ".join(map(str, v)) if isinstance(v, list | tuple) else str(v) for name, v in facts.items() if v}


# -- the record of every trial, which the page's script exports as CSV and JSON


def trial_table(run: Run) -> dict[str, Any]:
    """Every trial as plain data, in start order.

    Returns:
        `columns` (those of the leaderboard, then `FIELDS`) and `rows`; the last column has the hyperparameters by name.
    """
    rows = []
    for trial in run.trials:
        values = leaderboard_row(trial, run.config.metric) | {name: getattr(trial, name, None) for name in FIELDS}
        values["failure"] = trial.failure.name if trial.failure else ""
        values |= {f"forecast_{name}": getattr(trial.forecast, name, None) for name in FORECASTS}
        rows.append([_plain(value, tenths=column in TIMES) for column, value in values.items()])
    return {"columns": [*LEADERBOARD_COLUMNS, *metric_columns(run.config.metric), *FIELDS], "rows": rows}


def packed(data: Mapping[str, Any]) -> Markup:
    """Encode plain data as JSON, gzip (RFC 1952) and base64: a third of the size, and free of markup."""
    encoded = json.dumps(data, allow_nan=False, separators=(",", ":")).encode()
    return Markup(base64.b64encode(gzip.compress(encoded, compresslevel=6, mtime=0)).decode())


_clean = lru_cache(maxsize=1000)(text.clean)  # every row repeats the same few texts


def _plain(value: Any, tenths: bool = False) -> Any:
    """Shorten numbers, clean texts, and replace numbers that are not finite by None."""
    if isinstance(value, str):
        return _clean(value)
    if isinstance(value, Mapping):
        return {_clean(name): _plain(item) for name, item in value.items()}
    if isinstance(value, float):
        if not math.isfinite(value):
            return None
        rounded = round(value, 1) if tenths else float(f"{value:.{DIGITS}g}")
        return int(rounded) if rounded.is_integer() else rounded
    return value
