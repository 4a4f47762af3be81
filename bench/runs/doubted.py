"""Labels in doubt: pictures that independent families, not trained on them, agree to put into another class.

`doubted-labels.csv` in the run folder lists them, to be looked at and labelled again.
"""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bench.cache.files import write_text
from bench.records import Run
from bench.runs import predictions
from bench.runs.predictions import Predictions
from bench.runs.results import manifest_pictures

FILE = "doubted-labels.csv"
"""Name of the file in a run folder."""

COLUMNS = ("path", "label", "suggested", "part", "agreeing", "families", "probability_of_label")

LEAST_AGREEING = 2
"""Minimum number of families that must agree; also more than half of those that can tell the classes apart."""


@dataclass(frozen=True)
class DoubtedLabel:
    """A picture whose label is in doubt.

    Attributes:
        sha256: Hash of its content.
        part: Its part of the split, which no model was trained on.
        label, suggested: Index of its class, and of the class on which the families agree.
        agreeing, families: Number of families that predict the suggested class, and of all that were asked.
        probability: Mean probability of its label.
    """

    sha256: str
    part: str
    label: int
    suggested: int
    agreeing: int
    families: int
    probability: float


def of_run(run: Run) -> list[DoubtedLabel]:
    """Find the doubted labels of the test and validation pictures, the least probable label first.

    A label is in doubt if most families predict the same other class, and if its mean probability over the families is
    at least the usual one: its mean over the pictures labelled so. Only families that can learn, and are better than
    always answering the most frequent class, are asked.

    Source:
        C. G. Northcutt, L. Jiang and I. L. Chuang (2021), "Confident learning: estimating uncertainty in dataset
        labels", Journal of Artificial Intelligence Research 70, 1373-1411: the threshold of a class.
    """
    learning = {family.name for family in run.families if family.learns}
    tested = {name: scored for name, scored in predictions.of_run(run).items() if name in learning}
    able = [name for name, scored in tested.items() if scored.right.mean() > _largest_share(scored.labels)]
    parts = {"test": [tested[name] for name in able], "validation": predictions.of_validation(run, able)}
    doubted = [label for part, scored in parts.items() for label in _doubted(part, scored, len(run.split.classes))]
    return sorted(doubted, key=lambda label: (label.probability, label.sha256))


def shared_mistakes(models: Sequence[Predictions]) -> list[DoubtedLabel]:
    """The test pictures that all models misclassify, and the class that most predict; least probable labels first."""
    answers = [model.predicted for model in models]
    return [
        _doubt("test", models, place, Counter(int(predicted[place]) for predicted in answers).most_common(1)[0][0])
        for place in predictions.shared_mistakes(models)
    ]


def accuracies_without(run: Run, doubted: Sequence[DoubtedLabel]) -> dict[str, float]:
    """Test accuracy of every family without the doubted labels, the most accurate first."""
    names = [label.sha256 for label in doubted]
    by_family = predictions.of_run(run)
    shares = {
        family: float(scored.right[rest].mean())
        for family, scored in by_family.items()
        if (rest := ~np.isin(scored.sha256, names)).any()
    }
    return dict(sorted(shares.items(), key=lambda item: -item[1]))


def write(run: Run, path: Path) -> None:
    """Write the doubted labels as a table, or remove an older one if there are none."""
    doubted = of_run(run)
    if not doubted:
        path.unlink(missing_ok=True)
        return
    classes, text = run.split.classes, io.StringIO(newline="")
    pictures = manifest_pictures(run.path, classes, ("validation", "test"))
    ids, writer = {picture.sha256: picture.id for picture in pictures}, csv.writer(text)
    writer.writerow(COLUMNS)
    for label in doubted:
        names = [ids.get(label.sha256, label.sha256), classes[label.label], classes[label.suggested]]
        writer.writerow([*names, label.part, label.agreeing, label.families, round(label.probability, 4)])
    write_text(path, text.getvalue())


def _largest_share(labels: NDArray[np.int64]) -> float:
    return float(np.bincount(labels).max()) / len(labels)


def _doubted(part: str, scored: Sequence[Predictions], classes: int) -> list[DoubtedLabel]:
    if len(scored) < LEAST_AGREEING or scored[0].probabilities.shape[1] != classes:
        return []
    labels = scored[0].labels
    means = np.mean([model.probabilities for model in scored], axis=0)
    usual = np.ones(classes)
    for label in np.unique(labels):
        usual[label] = means[labels == label, label].mean()
    suggested = means.argmax(axis=1)
    agreeing = np.sum([model.predicted == suggested for model in scored], axis=0)
    least = max(LEAST_AGREEING, len(scored) // 2 + 1)
    is_usual = means[np.arange(len(labels)), suggested] >= usual[suggested]
    places = np.flatnonzero((suggested != labels) & (agreeing >= least) & is_usual)
    return [_doubt(part, scored, int(place), int(suggested[place])) for place in places]


def _doubt(part: str, models: Sequence[Predictions], place: int, suggested: int) -> DoubtedLabel:
    rows, label = [model.probabilities[place] for model in models], int(models[0].labels[place])
    return DoubtedLabel(
        sha256=str(models[0].sha256[place]),
        part=part,
        label=label,
        suggested=suggested,
        agreeing=sum(int(row.argmax()) == suggested for row in rows),
        families=len(models),
        probability=float(np.mean([row[label] for row in rows])),
    )
