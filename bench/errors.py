"""The exceptions of this package.

BenchError                exit status 1
├── UsageError            the user's mistake: one clear line, exit status 2
│   ├── ConfigError       an option or a setting
│   ├── DataError         the pictures or their split
│   ├── SpaceError        a search-space file; has the file and the line
│   ├── WeightsError      required pretrained weights that are missing
│   └── RunFolderError    a run folder that cannot be written, read or understood
├── BaselineError         a baseline that is missing, damaged or newer: exit status 3
├── IncompleteError       a run that is not complete but must be: exit status 4
├── WorkerError           worker processes that cannot be started, or a job that must not fail
└── Interrupted           Ctrl-C, SIGTERM or SIGHUP; finished trials are kept; has its exit status

A failed trial is not an exception but data: a `records.Failure` in the trial's record.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path


class BenchError(Exception):
    """Base of all errors that this package raises on purpose; the command then ends with `exit_status`."""

    exit_status: int = 1


class UsageError(BenchError):
    """The user's mistake; the message is one line that names the value, the rule and the choices."""

    exit_status = 2


class ConfigError(UsageError, ValueError):
    """An option or a setting is wrong."""


class DataError(UsageError):
    """The pictures, their labels or their split are wrong."""


class SpaceError(UsageError):
    """A search-space file is broken; lines count from 1."""

    def __init__(self, path: Path, line: int, message: str) -> None:
        super().__init__(f"{path}:{line}: {message}")
        self.path, self.line, self.message = path, line, message


class WeightsError(UsageError):
    """Pretrained weights are required (`--missing-weights error`) but not available."""


class RunFolderError(UsageError):
    """A run folder cannot be written, read or understood."""


class BaselineError(BenchError):
    """A file of results, e.g. a baseline, is missing, damaged, or written by a newer version."""

    exit_status = 3


class IncompleteError(BenchError):
    """A run is not complete but must be."""

    exit_status = 4


class WorkerError(BenchError):
    """Worker processes cannot be started, or a job that must not fail has failed."""


class Interrupted(BenchError):
    """The run was stopped by a signal; finished trials are recorded in its folder."""

    def __init__(self, signal_number: int, run_path: Path) -> None:
        super().__init__(f"interrupted by signal {signal_number}; the partial run is in {run_path}")
        self.run_path = run_path
        self.exit_status = 128 + signal_number  # as in shells


class NewerSchemaError(ValueError):
    """A file has a newer schema version than this program supports; callers add the file to the message."""

    def __init__(self, version: int, newest: int) -> None:
        from bench import __version__

        super().__init__(f"schema version {version}, this bench {__version__} knows up to {newest}; update bench")


@contextmanager
def reading(file: Path | str, kind: type[BenchError] = RunFolderError) -> Iterator[None]:
    """Turn every exception of the block, which reads a file, into one line that names the file.

    Parsers of a damaged file may raise anything. Errors of this package pass through.
    """
    try:
        yield
    except BenchError:
        raise
    except OSError as error:
        raise kind(f"{file}: cannot be read, {error.strerror or error}") from error
    except NewerSchemaError as error:
        raise kind(f"{file}: {error}") from error
    except Exception as error:
        reason = " ".join(f"{error}".split())[:300]
        raise kind(f"{file}: damaged, {reason if isinstance(error, ValueError) else one_line(error, 300)}") from error


def unknown(kind: str, name: str, choices: Iterable[str]) -> ConfigError:
    """Error for a name that is not among the choices; it suggests the nearest ones, else those that contain it."""
    known = sorted(choices)
    parts = [choice for choice in known if len(name) > 2 and name in choice]
    near = difflib.get_close_matches(name, known, n=2, cutoff=0.5) or parts[:2]
    hint = f" Did you mean {' or '.join(near)}?" if near else ""
    return ConfigError(f"unknown {kind} {name!r}.{hint} Choices: {', '.join(known)}")


def one_line(error: BaseException, max_characters: int | None = None) -> str:
    """Describe an exception in one line: its class, and so many characters of its message."""
    return f"{type(error).__name__}: {' '.join(str(error).split())[:max_characters]}"
