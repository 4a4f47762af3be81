"""The exceptions of this package.

BenchError                exit status 1
├── UsageError            the user's mistake: one clear line, exit status 2
│   ├── ConfigError       an option or a setting
│   ├── DataError         the pictures or their split
│   ├── SpaceError        a search-space file; knows the file and the line
│   ├── WeightsError      pretrained weights that are required and not there
│   └── RunFolderError    a run folder that cannot be written, read or understood
├── BaselineError         a baseline that is missing, damaged or newer: exit status 3
├── IncompleteError       a run that is not complete, where a complete one is needed: exit status 4
├── WorkerError           the processes that trials run in could not be started
└── Interrupted           Ctrl-C or SIGTERM: what was finished is kept; knows its exit status

A trial that fails is no exception here: it is data, a `records.Failure` in the trial's record.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from pathlib import Path


class BenchError(Exception):
    """Base of all errors that this package raises on purpose; a command that meets one ends with `exit_status`."""

    exit_status: int = 1


class UsageError(BenchError):
    """The user's mistake; the message is one line that names the value, the rule and the choices."""

    exit_status = 2


class ConfigError(UsageError, ValueError):
    """An option or a setting is wrong."""


class DataError(UsageError):
    """The pictures, their labels or their split are wrong."""


class SpaceError(UsageError):
    """A search-space file is broken, at a line counted from 1."""

    def __init__(self, path: Path, line: int, message: str) -> None:
        super().__init__(f"{path}:{line}: {message}")
        self.path, self.line, self.message = path, line, message


class WeightsError(UsageError):
    """Pretrained weights are required (`--missing-weights error`) and cannot be had."""


class RunFolderError(UsageError):
    """A run folder cannot be written, read or understood."""


class BaselineError(BenchError):
    """A file of results, a baseline for instance, is missing, damaged, or written by a newer version."""

    exit_status = 3


class IncompleteError(BenchError):
    """A run is not complete, where a complete one is needed."""

    exit_status = 4


class WorkerError(BenchError):
    """The processes that trials run in could not be started."""


class Interrupted(BenchError):
    """The run was stopped by a signal; what was finished is recorded in its folder."""

    def __init__(self, signal_number: int, run_path: Path) -> None:
        super().__init__(f"interrupted by signal {signal_number}; the partial run is in {run_path}")
        self.run_path = run_path
        self.exit_status = 128 + signal_number  # as shells report it


class NewerSchemaError(ValueError):
    """A file has a schema version that this version of the program does not know; readers name the file."""

    def __init__(self, version: int, newest: int) -> None:
        from bench import __version__

        super().__init__(f"schema version {version}, this bench {__version__} knows up to {newest}; update bench")


def unknown(kind: str, name: str, choices: Iterable[str]) -> ConfigError:
    """An error for a name that is not among the choices, with the nearest ones."""
    known = sorted(choices)
    near = difflib.get_close_matches(name, known, n=2, cutoff=0.5)
    hint = f" Did you mean {' or '.join(near)}?" if near else ""
    return ConfigError(f"unknown {kind} {name!r}.{hint} Choices: {', '.join(known)}")
