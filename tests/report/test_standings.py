"""Families against the most accurate on the test pictures: ranks, ties, and the recommended one."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import bench
from bench import stats
from bench.records import FamilyInfo, Run, Study
from bench.runs import predictions
from bench.runs.standings import Standing, chance, recommended, standings
from bench.stats import Difference
from bench.text import points

from .conftest import Right, changed, only, plain, section


def markup(run: Run) -> str:
    return section(run, "differences")


def words(run: Run) -> str:
    return plain(markup(run))


def gap_of(standing: Standing) -> Difference:
    assert standing.gap is not None
    return standing.gap


def ranks(run: Run) -> list[tuple[str, int, bool]]:
    return [(family, each.rank, each.tied) for family, each in standings(run).items()]


def of_families(run: Run, right: Right, predicted: Callable[[Run, Right], Run], **trains_s: float) -> Run:
    """A run of families with these test answers and training times."""
    (cnn,) = (trial for trial in run.studies[1].trials if trial.test)
    assert cnn.cost is not None
    studies = tuple(
        Study(
            name,
            cnn.engine,
            (replace(cnn, family=name, repeats=(), cost=replace(cnn.cost, train_time_s=trains_s.get(name, 30.0))),),
        )
        for name in right
    )
    return predicted(replace(run, families=tuple(map(FamilyInfo, right)), studies=studies), right)


def test_every_family_has_its_place_and_its_distance_from_the_leader(compared_run: Run) -> None:
    """By hand: cnn has 8 pictures right that mobilenet_v2 has wrong, and 12 the other way round; dummy 12 and 91."""
    assert ranks(compared_run) == [("mobilenet_v2", 1, True), ("cnn", 1, True), ("dummy", 3, False)]
    found = standings(compared_run)
    assert found["mobilenet_v2"].gap is None
    cnn, dummy = gap_of(found["cnn"]), gap_of(found["dummy"])
    assert cnn.value == pytest.approx(-4 / 180)
    assert (cnn.p, dummy.p) == (1, pytest.approx(2 * float(stats.mcnemar(91, 12))))  # two tests
    low, high = stats.paired_difference(156, 8, 12, 4, tests=2)
    assert (cnn.low, cnn.high) == pytest.approx((float(low), float(high)))


def test_a_leader_above_all_is_tied_with_nobody(compared_run: Run) -> None:
    assert ranks(only(compared_run, "mobilenet_v2", "dummy")) == [("mobilenet_v2", 1, False), ("dummy", 2, False)]


def test_without_the_leaders_predictions_overlapping_intervals_are_ties(compared_run: Run) -> None:
    predictions.path(compared_run.path, "mobilenet_v2").unlink()
    assert ranks(compared_run) == [("mobilenet_v2", 1, True), ("cnn", 1, True), ("dummy", 3, False)]
    assert all(standing.gap is None for standing in standings(compared_run).values())


def test_predictions_of_other_pictures_are_not_compared(compared_run: Run) -> None:
    file = predictions.path(compared_run.path, "cnn")
    found = predictions.read(file)
    np.savez(file, sha256=found.sha256[::-1], labels=found.labels, probabilities=found.probabilities)
    assert [family for family, each in standings(compared_run).items() if each.gap] == ["dummy"]
    assert "damaged or of other pictures: cnn." in words(compared_run)


def test_files_that_were_replaced_are_read_again(compared_run: Run, predicted: Callable[..., Run]) -> None:
    assert standings(compared_run)["cnn"].tied
    predictions.path(compared_run.path, "cnn").unlink()
    worse = predicted(compared_run, {"cnn": np.arange(180) >= 70})
    assert not standings(worse)["cnn"].tied


def test_equal_accuracies_and_all_that_guess_have_equal_ranks(run: Run, predicted: Callable[..., Run]) -> None:
    """Half of the pictures are right by chance, from 45.0 to 57.2 % are no better."""
    picture = np.arange(1000)
    right = {
        "best": picture >= 20,
        "second": picture >= 200,
        "same": picture < 800,
        "guess": picture < 510,
        "guess_too": picture < 495,
    }
    found = of_families(run, right, predicted)
    assert chance(found) == 0.5
    assert ranks(found) == [
        ("best", 1, False), ("second", 2, False), ("same", 2, False), ("guess", 4, False), ("guess_too", 4, False)
    ]  # fmt: skip
    assert [family for family, each in standings(found).items() if each.guesses] == ["guess", "guess_too"]


def test_the_cheapest_of_the_tied_families_is_recommended_within_one_standard_error(
    run: Run, predicted: Callable[..., Run]
) -> None:
    """The most accurate has 960 of 1,000 right; one standard error is 0.6 points."""
    picture = np.arange(1000)
    right = {"best": picture >= 40, "near": picture < 957, "far": (picture >= 45) | (picture < 2)}
    names = ("best", "near", "far")

    def shipped(**trains_s: float) -> str:
        found = of_families(run, right, predicted, **trains_s)
        assert [standings(found)[name].tied for name in names] == [True] * 3
        trial = recommended(found)
        assert trial is not None
        return trial.family

    assert shipped(best=90.0, near=30.0, far=40.0) == "near"
    assert shipped(best=30.0, near=29.0, far=31.0) == "best"  # a thirtieth of the time decides nothing
    right["near"] = picture < 940  # it is tied, but 2 points worse
    right["far"] = picture < 938
    assert shipped(best=90.0, near=30.0, far=40.0) == "best"


def test_nothing_that_guesses_is_recommended(run: Run, predicted: Callable[..., Run]) -> None:
    guessing = of_families(run, {"one": np.arange(200) < 104, "other": np.arange(200) >= 99}, predicted)
    assert recommended(guessing) is None
    assert recommended(changed(guessing, lambda trial: replace(trial, test=None))) is None


def test_the_table_says_who_is_worse_and_by_which_tests(compared_run: Run) -> None:
    said = words(compared_run)
    assert "cnn −2.2 −8.4 to +3.8 p = 1 tied" in said
    assert re.search(r"dummy −43.9 −\d\d.\d to −\d\d.\d p < 0.001 significantly worse", said)
    assert "compared with the most accurate on the same 180 test pictures" in said
    assert "corrected for 2 comparisons (Bonferroni)" in said
    assert "Bonferroni" not in words(only(compared_run, "mobilenet_v2", "cnn"))


def test_fifty_families_stay_small(run: Run, predicted: Callable[..., Run]) -> None:
    drawn = np.random.default_rng(0)
    many = of_families(run, {f"family_{number}": drawn.random(2000) < 0.9 for number in range(50)}, predicted)
    assert all(standing.rank == 1 for standing in standings(many).values())
    assert len(markup(many)) < 60_000


def test_without_two_scored_families_there_is_no_section(run: Run, empty_run: Run, compared_run: Run) -> None:
    for alone in (empty_run, only(run, "cnn"), changed(compared_run, lambda trial: replace(trial, test=None))):
        assert markup(alone) == ""


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
    assert all(standing.gap is None for standing in standings(folder).values())


# -- several seeds


def right_over_seeds(run: Run, family: str) -> np.ndarray:
    trial = run.best(family)
    assert trial is not None
    return np.array([own.right for own in predictions.of_seeds(run, trial).values()])


def test_the_means_over_seeds_are_compared_and_ranked(seeded_run: Run) -> None:
    """One seed alone would put cnn 9.4 points below mobilenet_v2."""
    assert ranks(seeded_run) == [("cnn", 1, True), ("mobilenet_v2", 1, True), ("dummy", 3, False)]
    found = standings(seeded_run)
    cnn, *others = (right_over_seeds(seeded_run, family) for family in found)
    tests = [stats.difference_over_seeds(each, cnn, tests=2) for each in others]
    assert [found["mobilenet_v2"].gap, found["dummy"].gap] == tests
    assert found["mobilenet_v2"].seeds


def test_the_page_says_that_seeds_are_in_the_tests(seeded_run: Run) -> None:
    said = words(seeded_run)
    assert "their means are compared by a t test" in said
    gap = gap_of(standings(seeded_run)["mobilenet_v2"])
    assert f"−1.3 {points(gap.low)} to {points(gap.high)} p = 1 tied" in said
    for absent in ("McNemar", "one seed"):
        assert absent not in said


def lose_seeds(run: Run, *families: str) -> None:
    """Takes the predictions of the retrainings away; the records stay."""
    for family in families:
        for number in (1, 2):
            predictions.path(run.path, family, number).unlink()


def test_a_family_that_lost_its_seeds_is_compared_by_one_seed_and_says_so(seeded_run: Run) -> None:
    lose_seeds(seeded_run, "dummy")
    found = standings(seeded_run)
    assert [(family, each.seeds) for family, each in found.items()] == [
        ("cnn", False), ("mobilenet_v2", True), ("dummy", False)
    ]  # fmt: skip
    cnn, _, dummy = (right_over_seeds(seeded_run, family) for family in found)
    assert gap_of(found["dummy"]) == stats.difference(dummy[0], cnn[0], tests=2)
    said = words(seeded_run)
    assert "Else the models of the run's own seed are compared by McNemar's exact test" in said
    assert said.count("significantly worse one seed") == 1


def test_one_seed_decides_nothing_against_the_mean_of_several(seeded_run: Run) -> None:
    """On the run's own seed mobilenet_v2 is the better one, p = 2 / 2 ** 17; cnn leads in the mean."""
    lose_seeds(seeded_run, "cnn")
    assert ranks(seeded_run) == [("cnn", 1, True), ("mobilenet_v2", 1, True), ("dummy", 3, False)]
    gap = gap_of(standings(seeded_run)["mobilenet_v2"])
    assert (gap.value, gap.p, gap.low) == (pytest.approx(17 / 180), 1, 0)


def test_one_seed_decides_nothing_where_the_intervals_over_seeds_overlap(
    run: Run, predicted: Callable[..., Run]
) -> None:
    """McNemar's test on the run's own seeds alone would put cnn below mobilenet_v2: p = 2 / 2 ** 14."""
    picture = np.arange(180)
    wrong = {"mobilenet_v2": [6, 14, 25], "cnn": [20]}
    right = {family: np.array([picture >= n for n in numbers]) for family, numbers in wrong.items()}
    found = standings(predicted(only(run, "mobilenet_v2", "cnn"), right))
    assert [each.tied for each in found.values()] == [True, True]
    alone = standings(predicted(only(run, "mobilenet_v2", "cnn"), {family: own[0] for family, own in right.items()}))
    assert [each.tied for each in alone.values()] == [False, False]


def test_one_seed_that_is_an_exception_decides_nothing(run: Run, predicted: Callable[..., Run]) -> None:
    """The run's own seed of cnn has 400 pictures wrong, its eleven others 100; mobilenet_v2 has 250 wrong."""
    picture = np.arange(2000)
    right = {"cnn": np.array([picture >= n for n in [400] + 11 * [100]]), "mobilenet_v2": picture >= 250}
    scored = predicted(only(run, "mobilenet_v2", "cnn"), right)
    cnn, other = scored.ranking()
    assert (cnn.test_interval[0] or 0) > (other.test_interval[1] or 0)
    found = standings(scored)
    assert ranks(scored) == [("cnn", 1, True), ("mobilenet_v2", 1, True)]
    assert gap_of(found["mobilenet_v2"]).p == 1


def test_the_leaderboard_as_data_has_equal_ranks_for_tied_families(compared_run: Run) -> None:
    rows = [(row["family"], row["rank"], row["tied"]) for row in bench.leaderboard(compared_run)]
    assert rows == [("mobilenet_v2", 1, True), ("cnn", 1, True), ("dummy", 3, False)]
    families = tuple(replace(family, learns=family.name != "dummy") for family in compared_run.families)
    assert bench.leaderboard(replace(compared_run, families=families))[2]["rank"] is None
