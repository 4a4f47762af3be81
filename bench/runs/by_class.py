"""Recall, precision and F1 of every class, with intervals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from bench.metrics import metric
from bench.records import Estimate, Run, Trial
from bench.runs import predictions
from bench.runs.standings import scored

LEAST_MISSED = 2
"""Minimum number of test pictures of a class that counts as not found by any family."""

OTHERS, CLASS = "others", "class"
"""The two classes of one class against the rest."""


@dataclass(frozen=True)
class ClassScores:
    """Scores of a class on the test pictures, by one configuration: means over its trainings, with 95 % intervals.

    Attributes:
        support: Number of test pictures of the class.
        recall: Share of these that are answered with the class; None without a picture.
        precision: Share of right answers among those with the class; None without an answer.
        f1: Their harmonic mean; None without a picture and an answer.
    """

    name: str
    support: int
    recall: Estimate | None
    precision: Estimate | None
    f1: Estimate | None


def by_class(run: Run, trial: Trial, labels: Sequence[int] | None = None) -> tuple[ClassScores, ...]:
    """Compute the scores of the classes of these labels, all by default, of a scored trial; empty without predictions.

    An interval is `stats.over_seeds` of the metric's values, with as many pictures as its share is of: those of the
    class for the recall, the answers for the precision, half of both for the F1.
    """
    trainings = list(predictions.of_seeds(run, trial).values())
    if not trainings:
        return ()
    truth, groups, names = trainings[0].labels, trainings[0].groups, run.split.classes
    predicted = np.array([training.predicted for training in trainings])

    def estimate(name: str, right: Sequence[np.ndarray], is_class: np.ndarray, support: float) -> Estimate | None:
        if support <= 0:
            return None
        of_class = metric(f"{name}:{CLASS}", (OTHERS, CLASS))
        values = np.array([of_class.values(answers, is_class) for answers in right])
        return Estimate(*predictions.interval(of_class, values, groups, support))

    scores = []
    for label in range(len(names)) if labels is None else labels:
        is_class, answered = (truth == label).astype(np.int64), (predicted == label).astype(np.int64)
        answers = np.eye(2)[answered]
        support, answers_n = int(is_class.sum()), float(answered.sum(axis=1).mean())
        scores.append(
            ClassScores(
                name=names[label],
                support=support,
                recall=estimate("recall", answers, is_class, support),
                precision=estimate("precision", answers, is_class, answers_n),
                f1=estimate("f1", answers, is_class, (support + answers_n) / 2),
            )
        )
    return tuple(scores)


def rows(run: Run) -> list[dict[str, Any]]:
    """The scores of every scored family, best first, as rows with `records.BY_CLASS_COLUMNS`."""
    return [
        {"family": trial.family, "class": scores.name, "support": scores.support, **_figures(scores)}
        for trial in run.ranking()
        if trial.test
        for scores in by_class(run, trial)
    ]


def _figures(scores: ClassScores) -> dict[str, float | None]:
    figures: dict[str, float | None] = {}
    for name in ("recall", "precision", "f1"):
        estimate: Estimate | None = getattr(scores, name)
        for end, value in (("", "value"), ("_low", "low"), ("_high", "high")):
            figures[name + end] = getattr(estimate, value, None)
    return figures


def unfound(run: Run) -> dict[str, int]:
    """Number of test pictures by class, of the classes that no scored family finds; baselines do not count."""
    by_family = predictions.of_run(run)
    models = [by_family[trial.family] for trial in scored(run) if trial.family in by_family]
    if not models:
        return {}
    labels, recalled = models[0].labels, np.any([model.right for model in models], axis=0)
    counts = np.bincount(labels, minlength=len(run.split.classes)).tolist()
    return {
        name: count
        for label, (name, count) in enumerate(zip(run.split.classes, counts, strict=False))
        if count >= LEAST_MISSED and not recalled[labels == label].any()
    }
