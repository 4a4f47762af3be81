"""What it takes to repeat a run: command, seeds, versions, hardware, and its records."""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from bench.records import Run, to_data
from bench.report.sections import raw


@dataclass(frozen=True)
class Reproduction:
    """The section.

    Attributes:
        commands: What each does, and the command line.
        environment: Names and values.
        configuration: The run's, as JSON.
        trials: The record of every trial, packed (`raw.py`); empty where there is no trial.
        files: The records that lie beside the page: name and what is in it.
    """

    commands: Sequence[tuple[str, str]]
    environment: Sequence[tuple[str, str]]
    configuration: str
    trials: Markup
    files: Sequence[tuple[str, str]]


def section(run: Run) -> Reproduction:
    """How to repeat a run."""
    return Reproduction(
        commands(run),
        environment_facts(run),
        json.dumps(to_data(run.config), indent=2, default=str, ensure_ascii=False),
        raw.packed(raw.table(run)) if run.trials else Markup(),
        _files(run),
    )


def commands(run: Run) -> list[tuple[str, str]]:
    """What repeats a run, or a part of it.

    A run folder is named as it was given where that is a relative path; an absolute one says more of the machine than
    of the run, so only its last part is shown.
    """
    folder = str(run.path) if not run.path.is_absolute() else run.path.name
    bench = ["python", "-m", "bench"]
    found = [("The run", run.command)] if run.command else []
    return [
        *found,
        ("Another run on the same split", shlex.join([*bench, "run", "--split-file", f"{folder}/split.json"])),
        ("This page, from the records", shlex.join([*bench, "report", folder])),
    ]


def _files(run: Run) -> list[tuple[str, str]]:
    files = [
        ("leaderboard.csv", "the leaderboard"),
        ("split.json", "every picture with its part, its label and the hash of its content"),
        ("run.json", "configuration, environment and status"),
    ]
    stored = [] if run.config.storage else [("trials.sqlite3", "every trial, for optuna-dashboard")]
    return files + stored


def environment_facts(run: Run) -> list[tuple[str, str]]:
    """The environment in full, as names and values: hardware and commit first, then versions."""
    known = {"cpu": "CPU", "cores": "Cores", "memory_gb": "Memory, GB", "gpus": "GPUs", "git_commit": "Commit"}
    known |= {"platform": "Platform", "python": "Python"}
    packages = run.environment.get("packages") or {}
    rest = {name: value for name, value in run.environment.items() if name not in known and name != "packages"}
    every = {title: run.environment.get(name) for name, title in known.items()} | rest | packages
    return [(name, _plain(value)) for name, value in every.items() if value]


def _plain(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
