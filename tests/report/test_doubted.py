"""Labels in doubt: found where families agree against the label, listed, and what they change."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bench.records import FamilyInfo, Run, Study
from bench.report.page import html
from bench.runs import doubted, predictions

from .conftest import changed, metrics, plain
from .saved import save_predictions

N, WRONG = 100, (3, 50, 97)


@pytest.fixture
def doubtful_run(run: Run, tmp_path: Path) -> Callable[..., Run]:
    """A run of families that answer the true class of 100 pictures but for a few; three labels are wrong."""

    def make(families: dict[str, float] | None = None) -> Run:
        truth = np.arange(N) % 2
        labels = truth.copy()
        labels[list(WRONG)] = 1 - truth[list(WRONG)]
        for place, (name, errors) in enumerate((families or {"cnn": 0.05, "vgg16": 0.1, "mobilenet": 0.0}).items()):
            generator = np.random.default_rng(place)
            wrong = (generator.random(N) < errors) & ~np.isin(np.arange(N), WRONG)
            sure = np.where(wrong, 0.2, 0.9)
            answers = np.where(truth == 1, sure, 1 - sure)
            if name == "dummy":
                answers = np.full(N, 0.99)
            save_predictions(
                tmp_path, name, [f"{n:064x}" for n in range(N)], labels, np.stack([1 - answers, answers], 1)
            )
        names = list(families or {"cnn": 0, "vgg16": 0, "mobilenet": 0})
        (chosen,) = (trial for trial in run.studies[1].trials if trial.test)
        studies = tuple(Study(name, chosen.engine, (replace(chosen, family=name, repeats=()),)) for name in names)
        infos = tuple(FamilyInfo(name, learns=name != "dummy") for name in names)
        split = replace(run.split, classes=("cat", "dog"))
        (tmp_path / "split.json").write_text(
            json.dumps(
                {"items": [{"id": f"p/{n}.png", "sha256": f"{n:064x}", "part": "test", "label": 0} for n in range(N)]}
            )
        )
        return replace(run, families=infos, studies=studies, split=split, path=tmp_path)

    return make


def test_the_wrong_labels_are_found_and_listed(doubtful_run, tmp_path):
    run = doubtful_run()
    assert {int(label.sha256, 16) for label in doubted.of_run(run)} == set(WRONG)
    doubted.write(run, tmp_path / "doubted-labels.csv")
    rows = list(csv.DictReader((tmp_path / "doubted-labels.csv").read_text().splitlines()))
    assert {row["path"] for row in rows} == {f"p/{n}.png" for n in WRONG}
    (row,) = (row for row in rows if row["path"] == "p/50.png")
    assert (row["label"], row["suggested"], row["part"], row["families"]) == ("dog", "cat", "test", "3")
    assert float(row["probability_of_label"]) < 0.3


def test_validation_pictures_are_looked_at_too(doubtful_run, tmp_path):
    run = doubtful_run()
    for family in ("cnn", "vgg16", "mobilenet"):
        source = predictions.path(tmp_path, family)
        predictions.validation_path(tmp_path, family).write_bytes(source.read_bytes())
    assert [label.part for label in doubted.of_run(run)].count("validation") == len(WRONG)


@pytest.mark.parametrize(
    "families",
    [
        {"cnn": 0.05},  # alone
        {"cnn": 0.05, "dummy": 0.5},  # a baseline says nothing about a label
        {"cnn": 0.05, "vgg16": 0.6},  # no better than always the same class
    ],
)
def test_fewer_than_two_able_families_doubt_nothing(doubtful_run, tmp_path, families):
    run = doubtful_run(families)
    assert doubted.of_run(run) == []
    (tmp_path / "doubted-labels.csv").write_text("of an earlier page")
    doubted.write(run, tmp_path / "doubted-labels.csv")
    assert not (tmp_path / "doubted-labels.csv").exists()


def test_pictures_that_one_family_gets_wrong_are_not_doubted(doubtful_run):
    run = doubtful_run({"cnn": 0.3, "vgg16": 0.0, "mobilenet": 0.0})
    assert {int(label.sha256, 16) for label in doubted.of_run(run)} == set(WRONG)


def test_the_page_shows_them_and_the_accuracies_without_them(doubtful_run):
    run = doubtful_run()
    accuracies = doubted.accuracies_without(run, doubted.of_run(run))
    assert accuracies["mobilenet"] == 1.0
    assert len(accuracies) == 3
    page = plain(html(changed(run, lambda trial: replace(trial, test=metrics(0.97, N, 0.9, 0.99)))))
    assert "agree on another class than the label for 3 test pictures, on which" in page
    assert "If the labels of the 3 test pictures are wrong, 97.0 % is the ceiling: a model that is right about" in page
    assert "mobilenet has 100.0 % instead of 97.0 %" in page
    assert "predicted as cat by 3 of 3 families" in page
