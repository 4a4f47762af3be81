"""Further test sets (`--also-test`): other pictures of the same classes, or the run's test pictures, corrupted."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import count
from pathlib import Path, PurePath

from bench.config import RunConfig
from bench.data import groups
from bench.data.audit import audit
from bench.data.corruptions import corrupted
from bench.data.dataset import Dataset, Item, load
from bench.data.sources import StageCallback, create, reading_other
from bench.data.sources.folder import Folder
from bench.data.sources.table import Table
from bench.errors import DataError
from bench.records import CORRUPTED, CORRUPTED_SETS, Corruption, FurtherSet

FOLDER = "also"
"""Folder of a run with the manifests of the further sets."""

Opened = Sequence[tuple[FurtherSet, Dataset]]
"""Sets with their pictures; the corrupted ones are represented by those that are not corrupted."""


def open(config: RunConfig, dataset: Dataset, progress: StageCallback | None = None) -> Opened:
    """List and audit the sets that `config.also_test` names.

    Raises:
        DataError: There is no such folder, or it has no picture for the run's classes that the run was not trained on.
    """
    opened: list[tuple[FurtherSet, Dataset]] = []
    taken = {CORRUPTED, *CORRUPTED_SETS}
    for source in dict.fromkeys(config.also_test):
        if source == CORRUPTED:
            as_they_are = corrupted(dataset, Corruption.NONE, 0, config.seed)
            opened.append((FurtherSet(CORRUPTED, source, len(as_they_are.items)), as_they_are))
            continue
        try:
            record, further = _opened(source, config, dataset, progress)
        except DataError as error:
            choice = "" if "/" in source else f"; the test pictures with added faults are named {CORRUPTED}"
            raise DataError(f"also-test {source!r}: {error}{choice}") from None
        stem = re.sub(r"[^\w.-]+", "-", PurePath(source).name).strip(".-") or "set"
        name = next(name for n in count(1) if (name := stem if n == 1 else f"{stem}-{n}") not in taken)
        taken.add(name)
        opened.append((replace(record, name=name), further))
    return opened


def write(opened: Opened, run: Path) -> None:
    """Write the manifests into a run folder."""
    for record, further in opened:
        if record.name != CORRUPTED:
            (run / FOLDER).mkdir(exist_ok=True)
            further.write(_manifest(run, record.name))


def load_set(dataset: Dataset, run: Path, name: str, seed: int) -> Dataset:
    """Open a set of a run, one of `FurtherSet.names`, whose pictures are all in its test part.

    Raises:
        DataError: Its manifest is missing or damaged.
    """
    if name in CORRUPTED_SETS:
        return corrupted(dataset, *CORRUPTED_SETS[name], seed)
    return load(_manifest(run, name))


def _manifest(run: Path, name: str) -> Path:
    return run / FOLDER / f"{name}.json"


def _opened(
    name: str, config: RunConfig, dataset: Dataset, progress: StageCallback | None
) -> tuple[FurtherSet, Dataset]:
    reading = reading_other(config, name)
    source = create(reading, progress)
    if isinstance(source, Folder | Table):
        source = replace(source, only_tested=True)
    listing = source.listing()
    entries = tuple(replace(entry, part=None) for entry in listing.entries if entry.label in dataset.classes)
    present = {entry.label for entry in entries}
    unknown = Counter(entry.label for entry in listing.entries if entry.label not in dataset.classes)
    if not entries:
        raise DataError(f"has no picture of a class of the run ({_some(dataset.classes)}), but of {_some(unknown)}")
    known = replace(listing, entries=entries, classes=tuple(sorted(present)))
    usable, findings = audit(source, known, progress, use_masks=config.masks == "use")
    notes = []
    if unknown:
        n = sum(unknown.values())
        notes.append(f"{n} picture{'s' * (n != 1)} of classes that the run does not know: {_some(unknown)}")
    if missing := [label for label in dataset.classes if label not in present]:
        notes.append(f"no pictures of {_some(missing)}")
    names: Mapping[str, str] = {}
    if config.group_by:
        try:
            names = groups.names(config.group_by, entries)
        except DataError:
            notes.append(f"group-by {config.group_by!r} matches none of its pictures, so intervals count pictures")
    trained = {item.sha256 for item in dataset.items if item.part != "test"}
    fresh = [picture for picture in usable if picture.sha256 not in trained]
    if not fresh:
        raise DataError(f"all its {len(usable)} pictures are in the training or validation part of the run")
    if config.near_duplicates == "ignore":
        fresh = [replace(picture, group="") for picture in fresh]
    if names:
        fresh = list(groups.joined(fresh, names))
    numbers = {label: number for number, label in enumerate(dataset.classes)}
    further = Dataset(
        source=source,
        classes=dataset.classes,
        items=tuple(
            Item(
                picture.id,
                numbers[picture.label],
                "test",
                picture.sha256,
                group=(picture.group or picture.sha256) if names else "",
            )
            for picture in fresh
        ),
        input_sizes=dataset.input_sizes,
        **(findings.findings() | {"levels": dataset.levels, "available": len(usable)}),
    )
    kinds = Counter(picture.kind for picture in findings.quarantined)
    record = FurtherSet(
        name="",
        source=name,
        n=len(fresh),
        trained=len(usable) - len(fresh),
        left_out=dict(sorted(kinds.items(), key=lambda kind: (-kind[1], kind[0]))),
        notes=tuple(notes),
    )
    return record, further


def _some(names: Iterable[str]) -> str:
    first = sorted(names)
    return ", ".join([*map(repr, first[:4]), *(["…"] if len(first) > 4 else [])])
