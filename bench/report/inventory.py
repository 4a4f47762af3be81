"""A run's pictures and the findings of their audit, in numbers and words, for the page and the terminal."""

from __future__ import annotations

import shlex
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import astuple, dataclass

from bench import text
from bench.config import RunConfig
from bench.records import Change, LeftOutKind, SplitInfo, SuggestedGroups

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


def accuracy_misleads(split: SplitInfo, config: RunConfig) -> bool:
    """True if no metric is named and the classes are unbalanced, so that balanced accuracy stands beside accuracy."""
    return config.metric == ("accuracy",) and split.unbalanced


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
        losses, doubts, suggestions, misleading: Warnings about pictures that are left out, about contradictory labels,
            about names that suggest groups, and about an accuracy of unbalanced classes.
    """

    def __init__(self, split: SplitInfo, config: RunConfig) -> None:
        self.split = split
        names = {"train": "train", "validation": "validation", "test": "test"}
        if split.folds:
            names = {"train": f"in {split.folds} folds", "test": "test"}
        self.parts = {name: split.n(part) for part, name in names.items()}
        self.total, self.lost = sum(self.parts.values()), len(split.quarantined)
        rows = [self._row(name, names) for name in split.classes]
        self.rows = sorted(rows, key=lambda row: -row.total)
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
        self.losses = [*self._leaks(), *self._not_pictures(), *([] if sampled else self._losses())]
        self.doubts = []
        if count := len(split.contradicting):
            groups = f"{text.plural(count, 'group')} of near-duplicates {'carries' if count == 1 else 'carry'}"
            self.doubts = [f"{groups} several labels, one of which is likely to be wrong."]
        self.doubts += _look_alikes(split.classes)
        self.suggestions = [self._suggestion(split.suggested)] if split.suggested else []
        self.misleading = []
        if accuracy_misleads(split, config):
            self.misleading.append(
                f"The largest class has {split.imbalance:.3g} times the training pictures of the smallest, of which an "
                "accuracy says little: balanced accuracy stands beside it; --metric balanced_accuracy decides by that."
            )

    @property
    def warnings(self) -> list[str]:
        """All warnings."""
        return [*self.losses, *self.doubts, *self.suggestions, *self.misleading]

    @property
    def given_groups(self) -> str:
        """A sentence about the groups of `--group-by`; "" without them."""
        if not self.split.groups:
            return ""
        return (
            f"Groups of pictures: {_by_part(self.split.groups)}. Each is in one part; intervals and tests count groups."
        )

    @property
    def sizes(self) -> str:
        """Smallest, median and largest picture size; "" if sizes were not measured."""
        if not self.split.sizes:
            return ""
        smallest, median, largest = (f"{width} × {height}" for width, height in astuple(self.split.sizes))
        return f"{smallest} to {largest} pixels, median {median}" if smallest != largest else f"{smallest} pixels"

    @property
    def depth(self) -> str:
        """The levels of pictures of more than 8 bits that are scaled to 8; "" without such pictures."""
        if not self.split.levels:
            return ""
        lowest, bits = self.split.levels
        levels = f"{text.thousands(lowest)} to {text.thousands(lowest + 2**bits - 1)}"
        return f"deep pictures use {bits} bits, the levels {levels}, which are scaled to 0 to 255"

    @property
    def sound(self) -> str:
        """A sentence if the audit found nothing; else ""."""
        if self.left_out or self.ignored or self.noticed or self.alike:
            return ""
        alike = " or nearly the same" if self.sizes else ""
        return f"Nothing is left out: every file is a picture that decodes, and no two are the same{alike}."

    @property
    def headline(self) -> str:
        """Summary: `photos, 2 classes, 10,000 pictures: 6,000 train, 2,000 validation, 2,000 test`."""
        parts = ", ".join(f"{text.thousands(count)} {part}" for part, count in self.parts.items())
        classes, pictures = text.plural(len(self.rows), "class", "classes"), text.plural(self.total, "picture")
        sample = f", {self.sample}" if self.sample else ""
        return f"{text.one_line(self.split.source)}, {classes}, {pictures}{sample}: {parts}"

    @property
    def sample(self) -> str:
        """The set that `--limit` drew from: `a sample of 10,000`; "" without a limit, and in older records."""
        return f"a sample of {text.thousands(self.split.available)}" if self.split.available > self.total else ""

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

    def _suggestion(self, suggested: SuggestedGroups) -> str:
        examples = ", ".join(map(text.one_line, suggested.examples))
        parts = f", with {_by_part(suggested.parts)}" if suggested.parts else ""
        return (
            f"Names repeat: {text.thousands(suggested.groups)} groups of {text.plural(suggested.pictures, 'picture')}, "
            f"e.g. {examples}. If a group shows one patient, object or scene, its pictures must stay in one part: "
            f"--group-by {shlex.quote(suggested.pattern)}{parts}."
        )

    def _leaks(self) -> list[str]:
        leaks = sum(picture.kind.is_leak for picture in self.split.quarantined)
        verb = "repeats" if leaks == 1 else "repeat"
        pictures = f"{text.plural(leaks, 'picture')} of the ready-made parts {verb} one of a later part"
        return [f"{pictures}: left out, so that no model is trained on pictures that score it."] if leaks else []

    def _not_pictures(self) -> Iterator[str]:
        """Say how to use masks and pointers."""
        left_out = self.split.quarantined
        gone = {picture.label for picture in left_out if picture.kind is LeftOutKind.MASK} - set(self.split.classes)
        for kind, count in Counter(picture.kind for picture in left_out).items():
            if kind is LeftOutKind.MASK:
                masks = text.plural(count, "mask") + (f" (all of {text.listing(sorted(gone))})" if gone else "")
                yield f"{masks} beside pictures: left out; --masks use takes them as pictures."
            elif kind.download:
                yield f"{text.plural(count, 'file')}: {kind.words}; run {kind.download} to have the pictures."

    def _losses(self) -> list[str]:
        """Warn about every class of which more than `MANY` is left out, masks not counted."""
        lost = Counter(picture.label for picture in self.split.quarantined if picture.kind is not LeftOutKind.MASK)
        warnings = []
        for name in self.split.classes:
            total = lost[name] + sum(counts.get(name, 0) for counts in self.split.counts.values())
            if total and lost[name] / total > MANY:
                of = f"{text.thousands(lost[name])} of {text.plural(total, 'picture')}"
                warnings.append(f"Of {text.one_line(name)}, {of} ({text.percent(lost[name] / total)}) are left out.")
        if len(warnings) > 4:
            warnings[3:] = [f"{text.plural(len(warnings) - 3, 'more class', 'more classes')} lost as much."]
        return warnings


def _look_alikes(classes: Iterable[str]) -> Iterator[str]:
    """Warn about classes whose names differ only in case, blanks or Unicode form."""
    alike: dict[str, list[str]] = defaultdict(list)
    for name in classes:
        alike["".join(unicodedata.normalize("NFKC", name).casefold().split())].append(name)
    for names in alike.values():
        if len(names) > 1:
            look_equal = len({unicodedata.normalize("NFKC", name) for name in names}) < len(names)
            shown = " and ".join((ascii if look_equal else repr)(text.one_line(name)) for name in names)
            yield f"Classes {shown} differ only in case, blanks or Unicode form: if they are one, give them one name."


def _by_part(groups: Mapping[str, int]) -> str:
    return ", ".join(f"{text.thousands(count)} in {part}" for part, count in groups.items() if count)
