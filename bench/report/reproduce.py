"""What it takes to repeat a run: command, seeds, versions, hardware, and its records."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from bench.records import Run


@dataclass(frozen=True)
class Reproduction:
    """The section.

    Attributes:
        environment: Names and values.
        configuration: The run's, as JSON.
    """

    environment: Sequence[tuple[str, str]]
    configuration: str


def section(run: Run) -> Reproduction:
    """How to repeat a run."""
    return Reproduction(environment_facts(run), json.dumps(run.config, indent=2, default=str, ensure_ascii=False))


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
