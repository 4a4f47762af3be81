"""Options that several commands share: the settings of a run, run folders to read, files to write."""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from bench.config import SETTINGS, RunConfig
from bench.engines import ENGINES
from bench.errors import ConfigError
from bench.metrics import names

BASELINE = Path("reports/baseline.json")
"""Default file of `bench baseline` and `bench check`."""

POLICY = Path("bench.toml")
"""Default policy of `bench baseline` and `bench check`, if it exists."""

RECORDS = ("run.json", "split.json", "trials.sqlite3", "results.json", "thumbnails.json")
"""Files of a run folder that only the run itself writes."""


def add_setting(add: Callable[..., Any], name: str, default: str = "") -> None:
    """Declare the option of a setting with a parser's `add_argument`; `default` describes its default."""
    setting = SETTINGS[name]
    value = setting.default
    text = setting.help.format(
        default=default or (",".join(map(str, value)) if isinstance(value, tuple) else value),
        choices=", ".join(setting.values.choices),
        engines=", ".join(ENGINES),
        metrics=", ".join(names()),
    )
    if setting.metavar:
        add(setting.flag, dest=name, metavar=setting.metavar, help=text)
    else:
        add(setting.flag, dest=name, action="store_true", default=None, help=text)


def add_settings(parser: argparse.ArgumentParser) -> dict[str, Any]:
    """Declare the options of all settings, in groups; return the groups by heading."""
    headings = dict.fromkeys(setting.group for setting in SETTINGS.values())
    groups = {heading: parser.add_argument_group(heading) for heading in headings}
    for name, setting in SETTINGS.items():
        add_setting(groups[setting.group].add_argument, name)
    return groups


def read_config(options: argparse.Namespace, names: Iterable[str] = tuple(SETTINGS)) -> RunConfig:
    """Read the configuration from the options of these settings; other settings keep their defaults."""
    texts = {name: getattr(options, name) for name in names}
    return RunConfig(**{name: text for name, text in texts.items() if text is not None})


def read_whole(name: str, text: str, least: int, most: int) -> int:
    """A whole number in a range; ConfigError where the text is none."""
    try:
        if least <= (number := int(text)) <= most:
            return number
    except ValueError:
        pass
    raise ConfigError(f"{name} {text!r}: must be {least} to {most}")


def run_folder(text: str) -> Path:
    """Path of a run folder; `.` and `..` are resolved, so that the path ends in the run's name."""
    path = Path(text)
    return path.resolve() if path.name in ("", "..") else path


def add_storage(parser: argparse.ArgumentParser) -> None:
    """Declare the storage of the trials, which a run folder from elsewhere may not choose."""
    parser.add_argument(
        "--storage", metavar="URL", default="", help="the storage of a run that had one; default $BENCH_STORAGE"
    )


def output(option: str, text: str | Path, example: str | Path) -> Path:
    """Path of a file to write.

    Raises:
        ConfigError: It is a folder.
    """
    path = Path(text)
    if path.is_dir():
        raise ConfigError(f"{option} {str(text)!r}: is a folder; name a file, e.g. {example}")
    return path


def add_policy(parser: argparse.ArgumentParser) -> None:
    """Declare the option of the gate's limits."""
    parser.add_argument(
        "--policy", metavar="FILE", help=f"the limits, as in `bench check --help`; default {POLICY}, if it exists"
    )


def policy_path(options: argparse.Namespace) -> Path | None:
    """The file of the gate's limits; None: the documented ones."""
    if options.policy == "":  # an unset variable of the CI
        raise ConfigError("policy '': a file is expected")
    return Path(options.policy) if options.policy else POLICY if POLICY.is_file() else None


@contextlib.contextmanager
def written(path: Path) -> Iterator[None]:
    """Turn a failure to write a file into a ConfigError, and refuse to replace the records of a run."""
    if path.name in RECORDS and (path.parent / "run.json").exists():
        raise ConfigError(f"{path}: contains the records of a run; name another file")
    try:
        yield
    except OSError as error:
        raise ConfigError(f"{path}: cannot be written: {error.strerror}") from None
