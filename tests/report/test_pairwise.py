"""Families compared in pairs on the test pictures: what is found, and how it is told."""

from __future__ import annotations

import html
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bench import predictions, stats
from bench.records import FamilyInfo, Metrics, Run, Study
from bench.report import pairwise
from bench.report.page import environment
from bench.report.pairwise import MATRIX_UP_TO, Standing, standings


def markup(run: Run) -> str:
    template = environment().get_template("sections/pairwise.html")
    return template.render(section=pairwise.section(run), run=run)


def words(run: Run) -> str:
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", markup(run))).split())


def only(run: Run, *families: str) -> Run:
    return replace(
        run,
        families=tuple(family for family in run.families if family.name in families),
        studies=tuple(study for study in run.studies if study.family in families),
    )


def unscored(run: Run, *families: str) -> Run:
    studies = tuple(
        replace(study, trials=tuple(replace(trial, test=None) for trial in study.trials))
        if study.family in families
        else study
        for study in run.studies
    )
    return replace(run, studies=studies)


@pytest.fixture
def crowded_run(run: Run, predicted: Callable[..., Run]) -> Run:
    """Fourteen families, f0 to f13, of which each has 20 pictures of 1,000 more wrong than the one before."""
    (cnn,) = (trial for trial in run.studies[1].trials if trial.test)
    names = [f"f{number}" for number in range(MATRIX_UP_TO + 2)]
    families = tuple(FamilyInfo(name) for name in names)
    studies = tuple(Study(name, cnn.engine, (replace(cnn, family=name, repeats=()),)) for name in names)
    right = {name: np.arange(1000) >= 20 * (number + 1) for number, name in enumerate(names)}
    return predicted(replace(run, families=families, studies=studies), right)


def test_every_family_has_its_place_and_its_distance_from_the_leader(compared_run: Run) -> None:
    """By hand: cnn has 8 pictures right that mobilenet_v2 has wrong, and 12 the other way round; dummy 12 and 91."""
    found = standings(compared_run)
    assert list(found) == ["mobilenet_v2", "cnn", "dummy"]
    assert found["mobilenet_v2"] == Standing("mobilenet_v2", 1, 2, True)
    cnn, dummy = found["cnn"], found["dummy"]
    assert (cnn.best_rank, cnn.worst_rank, cnn.tied) == (1, 2, True)
    assert (dummy.best_rank, dummy.worst_rank, dummy.tied) == (3, 3, False)
    assert cnn.difference == pytest.approx(-4 / 180)
    assert cnn.p == pytest.approx(stats.mcnemar(12, 8))  # the largest of three: Holm's step is 1
    assert dummy.p == pytest.approx(3 * float(stats.mcnemar(91, 12)))
    low, high = stats.paired_difference(156, 8, 12, 4)
    assert (cnn.difference_low, cnn.difference_high) == pytest.approx((float(low), float(high)))


def test_a_leader_above_all_is_tied_with_nobody(compared_run: Run) -> None:
    found = standings(only(compared_run, "mobilenet_v2", "dummy"))
    assert [(each.family, each.best_rank, each.worst_rank, each.tied) for each in found.values()] == [
        ("mobilenet_v2", 1, 1, False),
        ("dummy", 2, 2, False),
    ]


def test_without_the_leaders_predictions_nobody_has_a_standing(compared_run: Run) -> None:
    predictions.path(compared_run.path, "mobilenet_v2").unlink()
    assert standings(compared_run) == {}
    assert "Left out, since the predictions are missing, damaged or of other pictures: mobilenet_v2 · random" in words(
        compared_run
    )


def test_predictions_of_other_pictures_are_not_compared(compared_run: Run) -> None:
    file = predictions.path(compared_run.path, "cnn")
    found = predictions.read(file)
    np.savez(file, sha256=found.sha256[::-1], labels=found.labels, probabilities=found.probabilities)
    assert list(standings(compared_run)) == ["mobilenet_v2", "dummy"]


def test_files_that_were_replaced_are_read_again(compared_run: Run, predicted: Callable[..., Run]) -> None:
    assert standings(compared_run)["cnn"].tied
    predictions.path(compared_run.path, "cnn").unlink()
    worse = predicted(compared_run, {"cnn": np.arange(180) >= 70})
    assert not standings(worse)["cnn"].tied


def test_the_matrix_has_every_pair_once_and_marks_what_is_more_than_chance(compared_run: Run) -> None:
    said = words(compared_run)
    assert "The tests tell 2 of the 3 pairs apart." in said
    assert "on the same 180 test pictures" in said
    assert "corrected over all 3 pairs after Holm" in said
    table = said[said.index("in points") :]
    assert table.startswith("in points cnn dummy mobilenet_v2 · random weights +2.2 −2.9 to +7.5 p = 0.50 ▲")
    assert "▲ significantly better +43.9 +34.3 to +52.3 p < 0.001 cnn ▲ significantly better +41.7" in table


def test_one_pair_needs_no_correction(compared_run: Run) -> None:
    said = words(only(compared_run, "mobilenet_v2", "cnn"))
    assert "The tests do not tell the two apart." in said
    assert "Holm" not in said
    assert "The tests tell the two apart." in words(only(compared_run, "cnn", "dummy"))


def test_other_seeds_are_said_not_to_count(compared_run: Run, crowded_run: Run) -> None:
    assert "not in these p-values; the leaderboard has the range over 2 other seeds." in words(compared_run)
    assert "seed" not in words(crowded_run)


def test_of_many_families_each_is_held_against_the_leader_and_the_matrix_is_folded(crowded_run: Run) -> None:
    shown = markup(crowded_run)
    said = words(crowded_run)
    listed = said[: said.index("All 91 pairs as a matrix")]
    assert "Test accuracy less that of f0 , the leader, in points" in listed
    assert "f1 ▼ significantly worse −2.0 −3.1 to −1.2 p < 0.001" in listed
    assert len(re.findall("significantly worse", listed)) == 14  # 13 families and the explanation
    assert shown.index("<details") < shown.index('aria-label="Pairwise comparison, as a matrix"')
    assert len(re.findall("<small>p", shown)) == 91


def test_fifty_families_stay_small(crowded_run: Run, predicted: Callable[..., Run]) -> None:
    (study, *_) = crowded_run.studies
    names = [f"family_{number}" for number in range(50)]
    studies = tuple(Study(name, study.engine, (replace(study.trials[0], family=name),)) for name in names)
    chance = np.random.default_rng(0)
    right = {name: chance.random(2000) < 0.9 for name in names}
    run = predicted(replace(crowded_run, families=tuple(map(FamilyInfo, names)), studies=studies), right)
    assert all(standing.best_rank == 1 for standing in standings(run).values())
    assert len(markup(run)) < 400_000


def test_each_emptiness_has_words_of_its_own(run: Run, empty_run: Run, compared_run: Run) -> None:
    assert "at the end of the run, once their models are scored" in words(empty_run)
    assert "No trial is complete" in words(replace(empty_run, status="complete"))
    assert "Only one family was searched" in words(only(run, "cnn"))
    assert "Only cnn has a result" in words(only(run, "cnn", "vgg19"))
    assert "Fewer than two families were scored" in words(unscored(only(run, "cnn", "dummy"), "cnn"))
    assert "The predictions of the test pictures are missing" in words(run)
    partly = words(unscored(compared_run, "dummy"))
    assert "Not scored on the test pictures: dummy." in partly
    assert "The tests do not tell the two apart." in partly


def test_names_from_outside_stay_text(compared_run: Run, tmp_path: Path) -> None:
    hostile = "<img src=x>\u202e"
    renamed = tuple(
        replace(study, family=hostile, trials=tuple(replace(trial, family=hostile) for trial in study.trials))
        if study.family == "cnn"
        else study
        for study in compared_run.studies
    )
    predictions.path(tmp_path, "cnn").rename(predictions.path(tmp_path, hostile))
    run = replace(compared_run, families=(*compared_run.families, FamilyInfo(hostile)), studies=renamed)
    assert hostile in standings(run)
    assert "<img" not in markup(run)
    assert "\u202e" not in markup(run)


def test_no_picture_is_no_comparison(run: Run, predicted: Callable[..., Run]) -> None:
    none = np.zeros(0, bool)
    empty = replace(run, studies=tuple(study for study in run.studies if study.family in ("cnn", "dummy")))
    folder = predicted(empty, {})
    for family in ("cnn", "dummy"):
        file = predictions.path(folder.path, family)
        file.parent.mkdir(exist_ok=True)
        np.savez(file, sha256=none.astype(str), labels=none.astype(int), probabilities=np.zeros((0, 2)))
    assert standings(folder) == {}


def test_repeats_of_any_family_count(compared_run: Run) -> None:
    one = Metrics(180, 0.5, 0.5, 0.5, 0.7, 0.5)
    studies = tuple(
        replace(
            study,
            trials=tuple(
                replace(trial, repeats=(one,) * 4) if trial.family == "dummy" and trial.test else trial
                for trial in study.trials
            ),
        )
        for study in compared_run.studies
    )
    assert "the range over 4 other seeds" in words(replace(compared_run, studies=studies))
