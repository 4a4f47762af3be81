"""A run's pictures and the findings of their audit, in numbers and words, for the page and the terminal."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import astuple, dataclass

from bench import text
from bench.config import RunConfig
from bench.records import Change, SplitInfo

UNBALANCED = 1.5
"""Classes are called unbalanced above this ratio of the largest to the smallest."""

MANY = 0.05
"""A warning names each class of which more than this share is left out."""


@dataclass(frozen=True)
class ClassRow:
    """A class: its pictures by part, in the order of `Inventory.parts`, in total, and as a share of all pictures."""

    name: str
    counts: tuple[int, ...]
    total: int
    share: float


@dataclass(frozen=True)
class Balance:
    """Balance of the classes.

    Attributes:
        largest, smallest: The classes with most and fewest pictures outside the test part.
        ratio: Size of the largest divided by that of the smallest.
        majority_accuracy: Test accuracy of a model that always predicts the largest.
    """

    largest: str
    smallest: str
    ratio: float
    majority_accuracy: float

    def __str__(self) -> str:
        largest, smallest = text.one_line(self.largest), text.one_line(self.smallest)
        baseline = (
            f"always answering {largest} is right for {text.percent(self.majority_accuracy)} of the test pictures"
        )
        if self.ratio <= UNBALANCED:
            return baseline[0].upper() + baseline[1:]
        return f"Unbalanced: {largest} has {self.ratio:.1f} times as many pictures as {smallest}; {baseline}"


class Inventory:
    """The pictures of a split, in numbers and words.

    Args:
        split: The split.
        config: The run's configuration, of which `limit`, `near_duplicates` and `split_file` are used.

    Attributes:
        parts: Number of pictures by part.
        total, lost: Number of pictures that are used, and of those that are left out.
        rows: The classes, the largest first.
        balance: Balance of the classes; None without test pictures.
        left_out: Id and detail (or "") of every picture that is left out, by kind, the most frequent kind first.
        ignored, noticed: Reasons with counts, the most frequent first; see `SplitInfo`.
        alike: Groups of near duplicates by id, those with several labels first.
        changes: Changes between the pictures of each such group, if that is known.
        together: True if every such group is in one part; None if that is not known.
        losses, doubts: Warnings about pictures that are left out, and about contradictory labels.
    """

    def __init__(self, split: SplitInfo, config: RunConfig) -> None:
        self.split = split
        names = {"train": "train", "validation": "validation", "test": "test"}
        if split.folds:
            names = {"train": f"in {split.folds} folds", "test": "test"}
        self.parts = {name: split.n(part) for part, name in names.items()}
        self.total, self.lost = sum(self.parts.values()), len(split.quarantined)
        rows = [self._row(name, names) for name in split.classes]
        self.rows = sorted(rows, key=lambda row: (-row.total, row.name))
        self.balance = self._balance()
        left_out: dict[str, list[tuple[str, str]]] = defaultdict(list)
        for picture in split.quarantined:
            left_out[picture.kind.words].append((picture.id, picture.detail))
        self.left_out = dict(sorted(left_out.items(), key=lambda group: (-len(group[1]), group[0])))
        self.ignored, self.noticed = (
            sorted(counts.items(), key=lambda item: (-item[1], item[0])) for counts in (split.ignored, split.noticed)
        )
        self.alike = sorted(split.alike, key=lambda group: group not in split.contradicting)
        self.changes = dict(zip(split.alike, split.changes, strict=False))
        self.together = None if config.split_file else config.near_duplicates == "group"
        sampled = config.split_file or config.limit
        self.losses = [*self._leaks(), *([] if sampled else self._losses())]
        self.doubts = []
        if count := len(split.contradicting):
            groups = f"{text.plural(count, 'group')} of near-duplicates {'carries' if count == 1 else 'carry'}"
            self.doubts = [f"{groups} several labels, one of which is likely to be wrong."]

    @property
    def warnings(self) -> list[str]:
        """All warnings."""
        return [*self.losses, *self.doubts]

    @property
    def sizes(self) -> str:
        """Smallest, median and largest picture size; "" if sizes were not measured."""
        if not self.split.sizes:
            return ""
        smallest, median, largest = (f"{width} × {height}" for width, height in astuple(self.split.sizes))
        return f"{smallest} to {largest} pixels, median {median}" if smallest != largest else f"{smallest} pixels"

    @property
    def sound(self) -> str:
        """A sentence if the audit found nothing; else ""."""
        if self.left_out or self.ignored or self.noticed or self.alike:
            return ""
        alike = " or nearly the same" if self.sizes else ""
        return f"Nothing is left out: every file is a picture that decodes, and no two are the same{alike}."

    @property
    def headline(self) -> str:
        """Summary: `photos, 2 classes, 10 000 pictures: 6 000 train, 2 000 validation, 2 000 test`."""
        parts = ", ".join(f"{text.thousands(count)} {part}" for part, count in self.parts.items())
        classes, pictures = text.plural(len(self.rows), "class", "classes"), text.plural(self.total, "picture")
        return f"{text.one_line(self.split.source)}, {classes}, {pictures}: {parts}"

    @property
    def findings(self) -> str:
        """Findings in a few words; "" if there are none."""
        reasons = [f"{title}: {text.thousands(len(pictures))}" for title, pictures in self.left_out.items()]
        findings = [f"{text.thousands(self.lost)} left out ({text.listing(reasons)})"] if reasons else []
        if self.alike:
            findings.append(self.groups)
        if ignored := sum(count for _, count in self.ignored):
            findings.append(f"{text.plural(ignored, 'other file')} ignored")
        return ", ".join(findings)

    @property
    def groups(self) -> str:
        """Number of groups of near-duplicates, and whether they are kept together."""
        treatment = {True: " kept together", False: " not kept together", None: ""}[self.together]
        counts = Counter(change for changes in self.changes.values() for change in changes)
        kinds = ", ".join(f"{change} {counts[change]}" for change in Change if counts[change])
        return f"{text.plural(len(self.alike), 'group')} of near-duplicates{treatment}{f' ({kinds})' if kinds else ''}"

    def _row(self, name: str, parts: Iterable[str]) -> ClassRow:
        counts = tuple(self.split.counts.get(part, {}).get(name, 0) for part in parts)
        return ClassRow(name, counts, sum(counts), sum(counts) / self.total if self.total else 0.0)

    def _balance(self) -> Balance | None:
        split = self.split
        sizes = Counter(dict.fromkeys(split.classes, 0))
        for part in ("train", "validation"):
            sizes.update(split.counts.get(part, {}))
        ordered = sorted(sizes, key=lambda name: (-sizes[name], name))
        if not split.n("test") or not sizes[ordered[-1]]:
            return None
        largest, smallest = ordered[0], ordered[-1]
        right = split.counts["test"].get(largest, 0) / split.n("test")
        return Balance(largest, smallest, sizes[largest] / sizes[smallest], right)

    def _leaks(self) -> list[str]:
        leaks = sum(picture.kind.is_leak for picture in self.split.quarantined)
        verb = "repeats" if leaks == 1 else "repeat"
        pictures = f"{text.plural(leaks, 'picture')} of the ready-made parts {verb} one of a later part"
        return [f"{pictures}: left out, so that no model is trained on pictures that score it."] if leaks else []

    def _losses(self) -> list[str]:
        """Warn about every class of which more than `MANY` is left out."""
        lost = Counter(picture.label for picture in self.split.quarantined)
        warnings = []
        for name in self.split.classes:
            total = lost[name] + sum(counts.get(name, 0) for counts in self.split.counts.values())
            if total and lost[name] / total > MANY:
                of = f"{text.thousands(lost[name])} of {text.plural(total, 'picture')}"
                warnings.append(f"Of {text.one_line(name)}, {of} ({text.percent(lost[name] / total)}) are left out.")
        if len(warnings) > 4:
            warnings[3:] = [f"{text.plural(len(warnings) - 3, 'more class', 'more classes')} lost as much."]
        return warnings
