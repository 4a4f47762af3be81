"""A stopped run continued: where its pictures are, and how they and all else differ from what they were."""

from __future__ import annotations

import platform
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from bench import data, text
from bench.config import RunConfig
from bench.data import Dataset
from bench.data.sources import KNOWN, existing_path
from bench.errors import RunFolderError
from bench.records import Run
from bench.runs import environment
from bench.search.families import Family


def located(config: RunConfig, start: Path) -> RunConfig:
    """Return a configuration whose pictures are found from here, if their relative path starts from another folder."""
    paths: dict[str, Any] = {}
    for name in ("data", "split_file"):
        value = getattr(config, name)
        if value not in ("", *KNOWN) and (path := start / existing_path(value)).exists():
            paths[name] = str(path)
    return replace(config, **paths)


def accepted_changes(run: Run, dataset: Dataset, prepared: Sequence[Family], accept: bool) -> list[str]:
    """Compare pictures, split, weights, families' files and packages with the run's; return the accepted changes.

    Raises:
        RunFolderError: Something changed, other than files and packages where `accept` is set.
    """
    before = {info.name: info for info in run.families}
    refused = list(_of_pictures(run, dataset)) if dataset.sha256 != run.split.sha256 else []
    changed = [f"the family {name} is missing" for name in before.keys() - {family.name for family in prepared}]
    for family in prepared:
        info, now = before.get(family.name), family.info
        if info is None or info.sha256 not in ("", now.sha256):
            changed.append(f"{family.path} or a _*.py next to it changed" if info else f"{family.path} is new")
        if info and (info.weights, info.skipped) != (now.weights, now.skipped):
            was, is_now = (record.skipped or record.weights or "none" for record in (info, now))
            refused.append(f"the weights of {family.name} were {was} and are {is_now}")
    if refused:
        raise RunFolderError(f"{run.path}: cannot be resumed, {text.listing(refused, 5)}")
    old = {"python": run.environment.get("python", ""), **run.environment.get("packages", {})}
    new = {"python": platform.python_version(), **environment.packages()}
    for name in sorted(old.keys() | new.keys()):
        if old.get(name) != new.get(name):
            changed.append(f"{name} was {old.get(name) or 'missing'} and is {new.get(name) or 'missing'}")
    if changed and not accept:
        raise RunFolderError(f"{run.path}: not resumed, {text.listing(changed, 5)}; --accept-changes goes on")
    return changed


def _of_pictures(run: Run, dataset: Dataset) -> Iterator[str]:
    before = {item.id: item.sha256 for item in data.load(run.manifest).items}
    now = {item.id: item.sha256 for item in dataset.items}
    changed = {name for name in now.keys() & before.keys() if now[name] != before[name]}
    for what, names in (
        ("new", now.keys() - before.keys()),
        ("missing", before.keys() - now.keys()),
        ("changed", changed),
    ):
        if names:
            yield f"{text.plural(len(names), 'picture')} {what}, e.g. {text.one_line(min(names))}"
    if now == before:
        yield "the split of the pictures changed"
