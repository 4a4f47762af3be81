"""Labels to look at: pictures that most families put into another class, and the ceiling that they mean."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bench import text
from bench.records import Run
from bench.report.photos import PhotoAlbum
from bench.report.sections.models import Mistake
from bench.runs import doubted, predictions
from bench.runs.doubted import DoubtedLabel
from bench.runs.predictions import Predictions
from bench.runs.thumbnails import DOUBTED, SHARED_MISTAKES

MAX_BYTES = 250_000
"""Maximum size of the section's thumbnails."""


@dataclass(frozen=True)
class DoubtfulLabels:
    """The section.

    Attributes:
        pictures: Labels in doubt, the least probable first, then the other mistakes that all families have in common.
        doubted: Number of labels in doubt, which `doubted-labels.csv` lists.
        parts: The same by part, in words: `2 test pictures and 1 validation picture`.
        shared: Number of the other mistakes that all families have in common.
        families: Number of families that learn and have predictions.
        effect: Consequences if the doubted labels are wrong: the ceiling and the accuracies without them; "" if none is
            of a test picture.
    """

    pictures: Sequence[Mistake]
    doubted: int
    parts: str
    shared: int
    families: int
    effect: str

    @property
    def summary(self) -> str:
        """The section in a line; "" without such pictures."""
        count = self.doubted + self.shared
        return f"{text.plural(count, 'picture')} that most families get wrong" if count else ""


def section(run: Run) -> DoubtfulLabels:
    """Collect the pictures that most families get wrong; none if fewer than two families have predictions."""
    by_family = {
        name: predicted
        for name, predicted in predictions.of_run(run).items()
        if name not in run.baselines and predicted.is_of_classes(len(run.split.classes))
    }
    if len(by_family) < 2:
        return DoubtfulLabels((), 0, "", 0, len(by_family), effect="")
    models, labels, album = list(by_family.values()), doubted.of_run(run), PhotoAlbum(run, MAX_BYTES)
    names = {label.sha256 for label in labels}
    others = [label for label in doubted.shared_mistakes(models) if label.sha256 not in names]
    known = [label for label in others[:SHARED_MISTAKES] if label.sha256 in album.thumbnails]
    places = {str(sha256): place for place, sha256 in enumerate(models[0].sha256)}
    classes, pictures = [text.one_line(name) for name in run.split.classes], []
    for label in (*labels[:DOUBTED], *known):
        families = f"{label.agreeing} of {text.plural(label.families, 'family', 'families')}"
        predicted, place = f"{classes[label.suggested]} by {families}", places.get(label.sha256)
        rows = {} if place is None else {name: model.probabilities[place] for name, model in by_family.items()}
        says = [f"{name}: {classes[row.argmax()]} {text.percent(float(row.max()))}" for name, row in rows.items()]
        photo, true = album.photo(label.sha256), classes[label.label]
        pictures.append(Mistake(photo, true, predicted, label.probability, ", ".join(says)))
    parts = {part: sum(label.part == part for label in labels) for part in ("test", "validation")}
    return DoubtfulLabels(
        pictures=pictures,
        doubted=len(labels),
        parts=text.listing([text.plural(count, f"{part} picture") for part, count in parts.items() if count]),
        shared=len(others),
        families=len(models),
        effect=_effect(run, labels, by_family) if parts["test"] else "",
    )


def _effect(run: Run, labels: Sequence[DoubtedLabel], by_family: Mapping[str, Predictions]) -> str:
    """The ceiling on the test pictures, and the accuracies without the doubted labels, in sentences."""
    n, tested = len(next(iter(by_family.values())).labels), sum(label.part == "test" for label in labels)
    before, after = (
        {name: share for name, share in doubted.accuracies_without(run, without).items() if name in by_family}
        for without in ([], labels)
    )
    changes = [
        f"{name} has {text.percent(share)} instead of {text.percent(before[name])}" for name, share in after.items()
    ]
    order = "the order of the families stays" if list(before) == list(after) else "the order of the families changes"
    several = f"labels of the {text.thousands(tested)} test pictures are"
    wrong = "label of the test picture is" if tested == 1 else several
    return (
        f"If the {wrong} wrong, {text.percent((n - tested) / n)} is the ceiling: a model that is right about all "
        f"{text.plural(n, 'test picture')} scores no more on these labels. Without {'it' if tested == 1 else 'them'}, "
        f"{text.listing(changes, 4)}; {order}."
    )
