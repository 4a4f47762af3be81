"""Inventory of a run's pictures and of what their audit found, for the page and the terminal."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import astuple, dataclass

from bench import text
from bench.config import RunConfig
from bench.records import PictureSizes, SplitInfo

UNBALANCED = 1.5
"""Largest ratio of class sizes that is not called unbalanced."""

MANY = 0.05
"""Largest share of a class that may be left out without a warning."""


@dataclass(frozen=True)
class ClassRow:
    """A class: its pictures by part, in the order of `Inventory.parts`; in all; and as a share of all pictures."""

    name: str
    counts: tuple[int, ...]
    total: int
    share: float


@dataclass(frozen=True)
class Balance:
    """Balance of the classes.

    Attributes:
        largest, smallest: Classes, by their pictures outside the test part.
        ratio: Pictures of the largest for each of the smallest.
        majority_accuracy: Test accuracy of a model that always answers the largest.
    """

    largest: str
    smallest: str
    ratio: float
    majority_accuracy: float

    def __str__(self) -> str:
        largest, smallest = text.one_line(self.largest), text.one_line(self.smallest)
        reach = f"lways answering {largest} is right for {text.percent(self.majority_accuracy)} of the test pictures"
        if self.ratio <= UNBALANCED:
            return f"A{reach}"
        return f"Unbalanced: {largest} has {self.ratio:.1f} times as many pictures as {smallest}; a{reach}"


@dataclass(frozen=True)
class LeftOutGroup:
    """Pictures that are not used for the same kind of reason.

    Attributes:
        title: The kind in words.
        pictures: Their ids, each with its detail or "".
    """

    title: str
    pictures: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Inventory:
    """The pictures of a run, in numbers and words.

    Attributes:
        source: Name of the data.
        parts: Names of the parts, with pictures in each.
        rows: The classes, the largest first.
        balance: Balance of the classes; None without test pictures.
        sizes: The smallest, the median and the largest picture; "" if they were not measured.
        left_out: Pictures that are not used, the most frequent kind first.
        ignored, noticed: Reasons with counts, the most frequent first; see `SplitInfo`.
        alike: Groups of near duplicates by id, those of several labels first.
        contradicting: Those of these groups whose pictures carry several labels.
        together: True if each of those groups is kept in one part; None if that is not known.
        sha256: Hash of the split.
        losses: Warnings about pictures that are left out.
        doubts: Warnings about labels that contradict each other.
    """

    source: str
    parts: Mapping[str, int]
    rows: tuple[ClassRow, ...]
    balance: Balance | None
    sizes: str
    left_out: tuple[LeftOutGroup, ...]
    ignored: tuple[tuple[str, int], ...]
    noticed: tuple[tuple[str, int], ...]
    alike: tuple[tuple[str, ...], ...]
    contradicting: tuple[tuple[str, ...], ...]
    together: bool | None
    sha256: str
    losses: tuple[str, ...]
    doubts: tuple[str, ...]

    @property
    def warnings(self) -> tuple[str, ...]:
        """All warnings; they stand before any figure."""
        return (*self.losses, *self.doubts)

    @property
    def total(self) -> int:
        """Number of pictures that are used."""
        return sum(self.parts.values())

    @property
    def lost(self) -> int:
        """Number of pictures that are left out."""
        return sum(len(group.pictures) for group in self.left_out)

    @property
    def sound(self) -> str:
        """A sentence if nothing at all was found; else ""."""
        if self.left_out or self.ignored or self.noticed or self.alike:
            return ""
        alike = " or nearly the same" if self.sizes else ""
        return f"Nothing is left out: every file is a picture that decodes, and no two are the same{alike}."

    @property
    def headline(self) -> str:
        """Summary: `photos, 2 classes, 10 000 pictures: 6 000 train, 2 000 validation, 2 000 test`."""
        parts = ", ".join(f"{text.thousands(count)} {part}" for part, count in self.parts.items())
        source = text.one_line(self.source)
        classes, pictures = text.plural(len(self.rows), "class", "classes"), text.plural(self.total, "picture")
        return f"{source}, {classes}, {pictures}: {parts}"

    @property
    def findings(self) -> str:
        """Findings in a few words; "" if there are none."""
        reasons = [f"{group.title}: {text.thousands(len(group.pictures))}" for group in self.left_out]
        parts = [f"{text.thousands(self.lost)} left out ({text.listing(reasons)})"] if self.left_out else []
        if self.alike:
            parts.append(self.groups)
        if ignored := sum(count for _, count in self.ignored):
            parts.append(f"{text.plural(ignored, 'other file')} ignored")
        return ", ".join(parts)

    @property
    def groups(self) -> str:
        """Number of groups of near-duplicates, and whether they are kept together."""
        became = {True: " kept together", False: " not kept together", None: ""}[self.together]
        return f"{text.plural(len(self.alike), 'group')} of near-duplicates{became}"


def inventory(split: SplitInfo, config: RunConfig) -> Inventory:
    """Take the inventory of a split.

    Args:
        split: The split.
        config: The run's configuration; read are `limit`, `near_duplicates` and `split_file`.
    """
    parts = {"train": "train", "validation": "validation", "test": "test"}
    if split.folds:
        parts = {"train": f"in {split.folds} folds", "test": "test"}
    reused = bool(config.split_file)
    return Inventory(
        source=split.source,
        parts={name: split.n(part) for part, name in parts.items()},
        rows=_rows(split, tuple(parts)),
        balance=_balance(split),
        sizes=_sizes(split.sizes) if split.sizes else "",
        left_out=_left_out(split),
        ignored=_most_first(split.ignored),
        noticed=_most_first(split.noticed),
        alike=tuple(sorted(split.alike, key=lambda group: group not in split.contradicting)),
        contradicting=split.contradicting,
        together=None if reused else config.near_duplicates == "group",
        sha256=split.sha256,
        losses=(*_leaks(split), *(() if reused or config.limit else _losses(split))),
        doubts=_contradictions(split),
    )


def _rows(split: SplitInfo, parts: tuple[str, ...]) -> tuple[ClassRow, ...]:
    every = sum(split.n(part) for part in parts)
    rows = []
    for name in split.classes:
        counts = tuple(split.counts.get(part, {}).get(name, 0) for part in parts)
        rows.append(ClassRow(name, counts, sum(counts), sum(counts) / every if every else 0.0))
    return tuple(sorted(rows, key=lambda row: (-row.total, row.name)))


def _balance(split: SplitInfo) -> Balance | None:
    held: Counter[str] = Counter(dict.fromkeys(split.classes, 0))
    for part in ("train", "validation"):
        held.update(split.counts.get(part, {}))
    ordered = sorted(held, key=lambda name: (-held[name], name))
    if not split.n("test") or not held[ordered[-1]]:
        return None
    largest, smallest = ordered[0], ordered[-1]
    right = split.counts["test"].get(largest, 0) / split.n("test")
    return Balance(largest, smallest, held[largest] / held[smallest], right)


def _left_out(split: SplitInfo) -> tuple[LeftOutGroup, ...]:
    groups: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for picture in split.quarantined:
        groups[picture.kind.words].append((picture.id, picture.detail))
    ordered = sorted(groups.items(), key=lambda group: (-len(group[1]), group[0]))
    return tuple(LeftOutGroup(title, tuple(pictures)) for title, pictures in ordered)


def _leaks(split: SplitInfo) -> tuple[str, ...]:
    leaks = sum(picture.kind.is_leak for picture in split.quarantined)
    if not leaks:
        return ()
    show = "shows" if leaks == 1 else "show"
    pictures = f"{text.plural(leaks, 'picture')} of the ready-made parts {show} the same as one of a later part"
    return (f"{pictures}: left out, so that no model sees what it is judged by.",)


def _contradictions(split: SplitInfo) -> tuple[str, ...]:
    count = len(split.contradicting)
    if not count:
        return ()
    carry = "carries" if count == 1 else "carry"
    groups = f"{text.plural(count, 'group')} of near-duplicates"
    return (f"{groups} {carry} several labels, one of which is likely to be wrong.",)


def _losses(split: SplitInfo) -> tuple[str, ...]:
    """Warn of classes that lost much."""
    lost = Counter(picture.label for picture in split.quarantined)
    warnings = []
    for name in split.classes:
        total = lost[name] + sum(counts.get(name, 0) for counts in split.counts.values())
        if total and lost[name] / total > MANY:
            of = f"{text.thousands(lost[name])} of {text.plural(total, 'picture')}"
            warnings.append(f"Of {text.one_line(name)}, {of} ({text.percent(lost[name] / total)}) are left out.")
    if len(warnings) > 4:
        warnings[3:] = [f"{text.plural(len(warnings) - 3, 'more class', 'more classes')} lost as much."]
    return tuple(warnings)


def _most_first(counts: Mapping[str, int]) -> tuple[tuple[str, int], ...]:
    return tuple(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def _sizes(sizes: PictureSizes) -> str:
    smallest, median, largest = (f"{width} × {height}" for width, height in astuple(sizes))
    return f"{smallest} to {largest} pixels, median {median}" if smallest != largest else f"{smallest} pixels"
