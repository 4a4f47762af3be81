"""The pictures that a family's model got right in one run and wrong in the other, and the recall of every class.

The pictures are of the models of the runs' own seeds. Another seed flips pictures too, and changes a recall by several
points, so the gate judges the recall over all seeds. With one seed the tests are of these two models alone, which every
output says.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
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
    """The change of a class's recall: of its `n` test pictures, `before` and `after` were right by the first seeds.

    Attributes:
        p: Two-sided p-value after Holm over the classes: of the exact paired test (McNemar's; with groups their sign
            test), or the larger one of `stats.change` if both runs have several seeds.
        recalls: Mean over the seeds, before and after.
        change: Its test over pictures and seeds.
        p_drop: One-sided p-value of a drop over all seeds, after Holm over the classes of all families: the larger one
            of `change` and of the exact sign test of the pictures, which holds for few pictures too.
        p_all: The same, two-sided.
    """

    label: str
    n: int
    before: int
    after: int
    p: float
    recalls: tuple[float, float]
    change: stats.MeanChange
    p_drop: float
    p_all: float

    @property
    def changed(self) -> bool:
        """True if the recall changed by more than noise, as tested over the classes of all families."""
        return self.p_all < stats.LEVEL

    @property
    def over_seeds(self) -> str:
        """The change over all seeds: `cat 95.0 % to 88.0 % (p = 0.012)`."""
        ends = " to ".join(map(percent, self.recalls))
        return f"{short(self.label)} {ends} ({chance(self.p_drop if self.change.difference < 0 else self.p_all)})"

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


def flips(
    before: Results,
    after: Results,
    folders: tuple[Path, Path],
    pictures: Sequence[ScoredPicture],
    recalls: Mapping[str, Sequence[RecallChange]],
) -> dict[str, Flips]:
    """The flips of every family with a test accuracy in both runs; families without any are left out.

    Args:
        before, after: Results of the two.
        folders: Paths of the two.
        pictures: The `scored_pictures`; without any the result is empty.
        recalls: The `recall_changes`.
    """
    return {
        name: _of_family(name, old.correct, new.correct, pictures, recalls[name], folders)
        for name, (old, new) in scored_pairs(before, after).items()
        if pictures and not np.array_equal(old.correct[0], new.correct[0])
    }


def scored_pictures(
    before: Results, after: Results, folders: tuple[Path, Path], classes: Sequence[str] = ()
) -> list[ScoredPicture]:
    """The test pictures of both runs, in the order of `FamilyResult.correct`; empty if they are unknown or differ.

    They come from the manifest of a folder that is a run folder; `classes` is as for `manifest_pictures`.
    """
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
    recalls: Sequence[RecallChange],
    folders: tuple[Path, Path],
) -> Flips:
    lost, gained = (np.flatnonzero(one[0] & ~other[0]) for one, other in ((old, new), (new, old)))
    return Flips(
        lost=_listed(lost, pictures, _predicted(folders[1], name)),
        gained=_listed(gained, pictures, _predicted(folders[0], name)),
        lost_count=len(lost),
        gained_count=len(gained),
        classes=recalls,
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


def recall_changes(
    before: Results, after: Results, pictures: Sequence[ScoredPicture]
) -> dict[str, Sequence[RecallChange]]:
    """The change of every class's recall by family, the lowest p-value first; empty without `scored_pictures`."""
    if not pictures:
        return {}
    names, numbers = np.unique([picture.label for picture in pictures], return_inverse=True)
    by_family = {
        name: _recalls(old.correct, new.correct, names.tolist(), numbers, before.split.group_numbers)
        for name, (old, new) in scored_pairs(before, after).items()
    }
    every = [change for changes in by_family.values() for change in changes]
    drops, both = (stats.holm([getattr(change, name) for change in every]).tolist() for name in ("p_drop", "p_all"))
    corrected = iter([replace(change, p_drop=p, p_all=q) for change, p, q in zip(every, drops, both, strict=True)])
    return {
        name: sorted(islice(corrected, len(changes)), key=lambda change: (change.p, change.change.difference))
        for name, changes in by_family.items()
    }


def _recalls(
    old: NDArray[np.bool_],
    new: NDArray[np.bool_],
    names: Sequence[str],
    numbers: NDArray[np.int64],
    groups: NDArray[np.int64] | None,
) -> list[RecallChange]:
    """The change of every class's recall, from the correct answers of every seed, shapes (seeds, n).

    `p_drop` and `p_all` are not yet corrected.
    """
    changes = []
    for number, name in enumerate(names):
        among = numbers == number
        one, other = old[:, among], new[:, among]
        of_class = None if groups is None else groups[among]
        change = _change(one, other, of_class)
        p = stats.exact_test(one[0], other[0], of_class)
        if min(len(old), len(new)) > 1:
            p = max(p, change.p)
        flipped = len(old) * other.sum(axis=0) - len(new) * one.sum(axis=0)  # whole numbers, whatever the seeds
        exact = stats.sign_flips(flipped if of_class is None else np.bincount(of_class, flipped).round())
        changes.append(
            RecallChange(
                label=name,
                n=one.shape[1],
                before=int(one[0].sum()),
                after=int(other[0].sum()),
                p=p,
                recalls=(float(one.mean()), float(other.mean())),
                change=change,
                p_drop=max(change.p_drop, exact / 2 if change.difference < 0 else 1.0),
                p_all=max(change.p, exact),
            )
        )
    corrected = stats.holm([change.p for change in changes]).tolist()
    return [replace(change, p=p) for change, p in zip(changes, corrected, strict=True)]


def _change(one: NDArray[np.bool_], other: NDArray[np.bool_], groups: NDArray[np.int64] | None) -> stats.MeanChange:
    """The change of a recall, with the noise of seeds from a calibrated side if the other one has a single seed."""
    means = one.mean(axis=1), other.mean(axis=1)
    if one.shape[1] < 2:
        return stats.change_of_means(*means)
    calibrated = [float(side.std(ddof=1)) for side in means if len(side) >= stats.CALIBRATION_SEEDS]
    return stats.change(one, other, calibrated[0] if calibrated else None, groups)
