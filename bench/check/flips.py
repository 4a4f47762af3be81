"""The pictures that a family's model got right in one run and wrong in the other, and the recall of every class.

Both are of the models of the runs' own seeds. Another seed flips pictures too, and changes a recall by several points,
so with several seeds on both sides the recall of a class must also pass the gate's test over seeds. With one seed the
exact test is of these two models alone, which every output says.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bench import stats
from bench.check.changes import scored_pairs
from bench.check.wording import chance, percent, short
from bench.errors import RunFolderError
from bench.runs import predictions
from bench.runs.predictions import Predictions
from bench.runs.results import Results, ScoredPicture, ids_sha256, manifest_pictures
from bench.text import listing, plain, plural, thousands

LISTED = 24
"""Maximum number of pictures of a family that are listed in one direction; the others are counted."""

NAMED = 3
"""Maximum number of pictures that a sentence names."""

TABLED = 12
"""Maximum number of classes in a table; those with the lowest p-values are listed."""


@dataclass(frozen=True)
class Flip:
    """A picture with another answer.

    Attributes:
        id: Its path relative to the data's source.
        label: Its class.
        predicted: The wrong answer; "" if the run's predictions are missing.
        confidence: Probability of the wrong answer; None without it.
    """

    sha256: str
    id: str
    label: str
    predicted: str = ""
    confidence: float | None = None

    @property
    def words(self) -> str:
        """Its class and the wrong answer: `cat, taken for dog (98.1 %)`."""
        answer = f", taken for {short(self.predicted) or 'another class'} ({percent(self.confidence)})"
        return short(self.label) if self.confidence is None else f"{short(self.label)}{answer}"


@dataclass(frozen=True)
class RecallChange:
    """The change of a class's recall: of its `n` test pictures, `before` and `after` were right.

    Attributes:
        p: Two-sided p-value after Holm over the classes: of the exact paired test (McNemar's; with groups their sign
            test), or the larger one of `stats.change` if both runs have several seeds.
    """

    label: str
    n: int
    before: int
    after: int
    p: float

    @property
    def words(self) -> str:
        """The change in a few words: `cat 95.0 % to 88.0 % (p = 0.012)`."""
        shares = " to ".join(percent(right / self.n) for right in (self.before, self.after))
        return f"{short(self.label)} {shares} ({chance(self.p)})"


@dataclass(frozen=True)
class Flips:
    """The pictures of a family with another answer.

    Attributes:
        lost, gained: Pictures that were right and are wrong, and the other way round: the most confident wrong answers
            first, at most `LISTED`.
        lost_count, gained_count: The number of all.
        classes: The lowest p-value first.
        calibrated: True if the p-values include the noise of seeds.
    """

    lost: Sequence[Flip]
    gained: Sequence[Flip]
    lost_count: int
    gained_count: int
    classes: Sequence[RecallChange]
    calibrated: bool

    @property
    def significant(self) -> Sequence[RecallChange]:
        """The classes whose recall changed by more than noise, see `calibrated`."""
        return [change for change in self.classes if change.p < stats.LEVEL]

    @property
    def counts(self) -> str:
        """The number of flips in a sentence."""
        verb = "was right and is" if self.lost_count == 1 else "were right and are"
        return plain(
            f"{plural(self.lost_count, 'picture')} {verb} wrong now, {thousands(self.gained_count)} the other way"
        )

    @property
    def words(self) -> str:
        """The flips in a sentence, with the names of a few lost pictures and the classes that changed."""
        names = [short(flip.id) for flip in self.lost[:NAMED]]
        more = [f"{thousands(self.lost_count - len(names))} more"] if self.lost_count > len(names) else []
        changes = listing([change.words for change in self.significant], NAMED)
        changes += "" if self.calibrated else ", by these two models; another seed may change as much"
        which = f" ({listing([*names, *more], NAMED + 1)})" if names else ""
        return f"{self.counts}{which}{f'; recall of {changes}' if self.significant else ''}"


def flips(before: Results, after: Results, folders: tuple[Path, Path], classes: Sequence[str] = ()) -> dict[str, Flips]:
    """The flips of every family with a test accuracy in both runs; families without any are left out.

    Args:
        before, after: Results of the two.
        folders: Paths of the two. The names of the pictures come from the manifest of one that is a run folder;
            without any the result is empty.
        classes: As for `manifest_pictures`.
    """
    pictures = _pictures(before, after, folders, classes)
    if not pictures:
        return {}
    return {
        name: _of_family(name, old.correct, new.correct, pictures, before, folders)
        for name, (old, new) in scored_pairs(before, after).items()
        if not np.array_equal(old.correct[0], new.correct[0])
    }


def _pictures(
    before: Results, after: Results, folders: tuple[Path, Path], classes: Sequence[str]
) -> list[ScoredPicture]:
    """The test pictures of both runs, in the order of `FamilyResult.correct`; empty if they are unknown or differ."""
    digest = before.split.test_ids_sha256
    for folder in reversed(folders):
        try:
            pictures = manifest_pictures(folder, classes)
        except RunFolderError:
            continue
        if digest == after.split.test_ids_sha256 == ids_sha256(pictures):
            return pictures
    return []


def _of_family(
    name: str,
    old: NDArray[np.bool_],
    new: NDArray[np.bool_],
    pictures: Sequence[ScoredPicture],
    before: Results,
    folders: tuple[Path, Path],
) -> Flips:
    lost, gained = (np.flatnonzero(one[0] & ~other[0]) for one, other in ((old, new), (new, old)))
    return Flips(
        lost=_listed(lost, pictures, _predicted(folders[1], name)),
        gained=_listed(gained, pictures, _predicted(folders[0], name)),
        lost_count=len(lost),
        gained_count=len(gained),
        classes=_recalls(old, new, [picture.label for picture in pictures], before.split.group_numbers),
        calibrated=min(len(old), len(new)) > 1,
    )


def _predicted(folder: Path, family: str) -> Predictions | None:
    """The predictions of a family in a run folder; None without them."""
    try:
        return predictions.read(predictions.path(folder, family))
    except RunFolderError:
        return None


def _listed(places: NDArray[np.int64], pictures: Sequence[ScoredPicture], predicted: Predictions | None) -> list[Flip]:
    """The pictures at these places, the most confident wrong answers first."""
    answers = dict(_answers(predicted, pictures)) if predicted else {}
    listed = [Flip(*pictures[place][:3], *answers.get(pictures[place].sha256, ())) for place in places.tolist()]
    return sorted(listed, key=lambda flip: -(flip.confidence or 0.0))[:LISTED]


def _answers(predicted: Predictions, pictures: Sequence[ScoredPicture]) -> Iterator[tuple[str, tuple[str, float]]]:
    """The answer for every picture and its probability; "" for a class without test pictures, whose name is unknown."""
    labels = {picture.sha256: picture.label for picture in pictures}
    sha256 = predicted.sha256.tolist()
    names = {label: labels.get(name, "") for label, name in zip(predicted.labels.tolist(), sha256, strict=True)}
    for name, answer, sure in zip(sha256, predicted.predicted.tolist(), predicted.confidence.tolist(), strict=True):
        yield name, (names.get(answer, ""), sure)


def _recalls(
    old: NDArray[np.bool_], new: NDArray[np.bool_], labels: Sequence[str], groups: NDArray[np.int64] | None
) -> list[RecallChange]:
    """The change of every class's recall, from the correct answers of every seed, shapes (seeds, n)."""
    names, numbers = np.unique(labels, return_inverse=True)
    changes = []
    for number, name in enumerate(names.tolist()):
        among = numbers == number
        one, other = old[0, among], new[0, among]
        of_class = None if groups is None else groups[among]
        p = stats.exact_test(one, other, of_class)
        if min(len(old), len(new)) > 1 < len(one):
            p = max(p, stats.change(old[:, among], new[:, among], groups=of_class).p)
        changes.append(RecallChange(name, len(one), int(one.sum()), int(other.sum()), p))
    corrected = stats.holm([change.p for change in changes]).tolist()
    changes = [replace(change, p=p) for change, p in zip(changes, corrected, strict=True)]
    return sorted(changes, key=lambda change: (change.p, change.after / change.n - change.before / change.n))
