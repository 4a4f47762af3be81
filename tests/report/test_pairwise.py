"""Families compared in pairs on the test pictures: what is found, and how it is told."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import bench
from bench import stats
from bench.records import FamilyInfo, Metrics, Repeat, Run, Study
from bench.report.page import OPEN_UP_TO
from bench.report.sections.pairwise import Difference, Standing, standings
from bench.runs import predictions
from bench.text import points

from .conftest import changed, only, plain, section


def markup(run: Run) -> str:
    return section(run, "pairwise")


def words(run: Run) -> str:
    return plain(markup(run))


def gap_of(standing: Standing) -> Difference:
    assert standing.gap is not None
    return standing.gap


def over_seeds(standing: Standing) -> bool:
    return standing.gap is not None and standing.gap.over_seeds


def unscored(run: Run, *families: str) -> Run:
    return changed(run, lambda trial: replace(trial, test=None) if trial.family in families else trial)


@pytest.fixture
def crowded_run(run: Run, predicted: Callable[..., Run]) -> Run:
    """Fourteen families, f0 to f13, of which each has 20 pictures of 1,000 more wrong than the one before."""
    (cnn,) = (trial for trial in run.studies[1].trials if trial.test)
    names = [f"f{number}" for number in range(OPEN_UP_TO + 2)]
    families = tuple(FamilyInfo(name) for name in names)
    studies = tuple(Study(name, cnn.engine, (replace(cnn, family=name, repeats=()),)) for name in names)
    right = {name: np.arange(1000) >= 20 * (number + 1) for number, name in enumerate(names)}
    return predicted(replace(run, families=families, studies=studies), right)


def test_every_family_has_its_place_and_its_distance_from_the_leader(compared_run: Run) -> None:
    """By hand: cnn has 8 pictures right that mobilenet_v2 has wrong, and 12 the other way round; dummy 12 and 91."""
    found = standings(compared_run)
    assert list(found) == ["mobilenet_v2", "cnn", "dummy"]
    assert found["mobilenet_v2"] == Standing(1, 2, True)
    cnn, dummy = found["cnn"], found["dummy"]
    assert (cnn.best_rank, cnn.worst_rank, cnn.tied) == (1, 2, True)
    assert (dummy.best_rank, dummy.worst_rank, dummy.tied) == (3, 3, False)
    assert gap_of(cnn).value == pytest.approx(-4 / 180)
    assert gap_of(cnn).p == pytest.approx(stats.mcnemar(12, 8))  # the largest of three: Holm's step is 1
    assert gap_of(dummy).p == pytest.approx(3 * float(stats.mcnemar(91, 12)))
    low, high = stats.paired_difference(156, 8, 12, 4)
    assert (gap_of(cnn).low, gap_of(cnn).high) == pytest.approx((float(low), float(high)))


def test_a_leader_above_all_is_tied_with_nobody(compared_run: Run) -> None:
    found = standings(only(compared_run, "mobilenet_v2", "dummy"))
    assert [(name, each.best_rank, each.worst_rank, each.tied) for name, each in found.items()] == [
        ("mobilenet_v2", 1, 1, False),
        ("dummy", 2, 2, False),
    ]


def test_without_the_leaders_predictions_nobody_has_a_standing(compared_run: Run) -> None:
    predictions.path(compared_run.path, "mobilenet_v2").unlink()
    assert standings(compared_run) == {}
    assert (
        "Left out, because the predictions are missing, damaged or of other pictures: mobilenet_v2 · random"
        in words(compared_run)
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
    assert "2 of the 3 pairs differ significantly." in said
    assert "on the same 180 test pictures" in said
    assert "corrected for all 3 pairs (Holm)" in said
    table = said[said.index("in points") :]
    assert table.startswith("in points cnn dummy mobilenet_v2 · random weights +2.2 −2.9 to +7.5 p = 0.50 ▲")
    assert "▲ significantly better +43.9 +34.3 to +52.3 p < 0.001 cnn ▲ significantly better +41.7" in table


def test_one_pair_needs_no_correction(compared_run: Run) -> None:
    said = words(only(compared_run, "mobilenet_v2", "cnn"))
    assert "The two families do not differ significantly." in said
    assert "Holm" not in said
    assert "The two families differ significantly." in words(only(compared_run, "cnn", "dummy"))


def test_other_seeds_without_predictions_are_said_not_to_count(compared_run: Run, crowded_run: Run) -> None:
    assert "do not include the effect of another seed; the leaderboard has the range over 2 other seeds." in words(
        compared_run
    )
    assert "seed" not in words(crowded_run)


def test_of_many_families_each_is_held_against_the_leader_and_the_matrix_is_folded(crowded_run: Run) -> None:
    shown = markup(crowded_run)
    said = words(crowded_run)
    listed = said[: said.index("All 91 pairs as a matrix")]
    assert "Test accuracy minus that of f0 , the leader, in points" in listed
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
    assert "at the end of the run, after their models are scored" in words(empty_run)
    assert "No trial is complete" in words(replace(empty_run, status="complete"))
    assert "Only one family was searched" in words(only(run, "cnn"))
    assert "Only cnn has a result" in words(only(run, "cnn", "vgg19"))
    assert "Fewer than two families were scored" in words(unscored(only(run, "cnn", "dummy"), "cnn"))
    assert "The predictions of the test pictures are missing" in words(run)
    partly = words(unscored(compared_run, "dummy"))
    assert "Not scored on the test pictures: dummy." in partly
    assert "The two families do not differ significantly." in partly


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
    repeats = tuple(Repeat(number, one) for number in (1, 2, 3, 4))
    more = changed(compared_run, lambda t: replace(t, repeats=repeats) if t.family == "dummy" and t.test else t)
    assert "the range over 4 other seeds" in words(more)


# -- several seeds


def right_over_seeds(run: Run, family: str) -> np.ndarray:
    trial = run.best(family)
    assert trial is not None
    return np.array([own.right for own in predictions.of_seeds(run, trial).values()])


def test_the_means_over_seeds_are_compared_and_ranked(seeded_run: Run) -> None:
    """One seed alone would put cnn 9.4 points below mobilenet_v2."""
    found = standings(seeded_run)
    assert list(found) == [trial.family for trial in seeded_run.ranking()] == ["cnn", "mobilenet_v2", "dummy"]
    places = [(each.best_rank, each.worst_rank, each.tied, over_seeds(each)) for each in found.values()]
    assert places == [(1, 2, True, False), (1, 2, True, True), (3, 3, False, True)]
    cnn, second, dummy = (right_over_seeds(seeded_run, family) for family in found)
    tests = [stats.difference_over_seeds(each, cnn) for each in (second, dummy)]
    between = stats.difference_over_seeds(second, dummy)
    standing = found["mobilenet_v2"]
    assert (gap_of(standing).value, gap_of(standing).low, gap_of(standing).high) == pytest.approx(
        (tests[0].value, tests[0].low, tests[0].high)
    )
    corrected = stats.holm([tests[0].p, tests[1].p, between.p])
    assert (gap_of(found["mobilenet_v2"]).p, gap_of(found["dummy"]).p) == pytest.approx((corrected[0], corrected[1]))


def test_the_page_says_that_seeds_are_in_the_tests(seeded_run: Run) -> None:
    said = words(seeded_run)
    assert "the difference in mean accuracy over the seeds, its 95 % interval, and the p-value of a t test" in said
    assert "both include the noise of the test pictures and of the seeds" in said
    gap = gap_of(standings(seeded_run)["mobilenet_v2"])
    assert f"+1.3 {points(-gap.high)} to {points(-gap.low)} p = 0." in said
    for absent in ("McNemar", "One training of each", "one seed"):
        assert absent not in said


def lose_seeds(run: Run, *families: str) -> None:
    """Takes the predictions of the retrainings away; the records stay."""
    for family in families:
        for number in (1, 2):
            predictions.path(run.path, family, number).unlink()


def test_where_a_family_lost_its_seeds_its_pairs_are_of_one_seed_and_say_so(seeded_run: Run) -> None:
    lose_seeds(seeded_run, "dummy")
    found = standings(seeded_run)
    assert [(family, over_seeds(each)) for family, each in found.items()] == [
        ("cnn", False), ("mobilenet_v2", True), ("dummy", False)
    ]  # fmt: skip
    cnn, second, dummy = (right_over_seeds(seeded_run, family) for family in found)
    first = [(own[0] & ~dummy[0], dummy[0] & ~own[0]) for own in (cnn, second)]
    single = [float(stats.mcnemar(ahead.sum(), behind.sum())) for ahead, behind in first]
    corrected = stats.holm([stats.difference_over_seeds(cnn, second).p, *single])
    assert (gap_of(found["mobilenet_v2"]).p, gap_of(found["dummy"]).p) == pytest.approx((corrected[0], corrected[1]))
    assert gap_of(found["dummy"]).value == pytest.approx((20 - 91) / 180)
    said = words(seeded_run)
    assert "In 1 of the 3 pairs both families have several seeds" in said
    assert "by Newcombe's interval for paired data and McNemar's exact test" in said
    assert said.count("p < 0.001 one seed") == 2


def test_one_seed_decides_nothing_against_the_mean_of_several(seeded_run: Run) -> None:
    """On the run's own seed mobilenet_v2 is the better one, p = 2 / 2 ** 17; cnn leads in the mean."""
    lose_seeds(seeded_run, "cnn")
    found = standings(seeded_run)
    assert next(iter(found)) == "cnn"
    assert (gap_of(found["mobilenet_v2"]).p, found["mobilenet_v2"].tied) == (1, True)
    assert gap_of(found["mobilenet_v2"]).value == pytest.approx(17 / 180)
    assert [(each.best_rank, each.worst_rank) for each in found.values()] == [(1, 2), (1, 2), (3, 3)]


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
    assert [(family, each.best_rank, each.worst_rank) for family, each in found.items()] == [
        ("cnn", 1, 2), ("mobilenet_v2", 1, 2)
    ]  # fmt: skip
    assert gap_of(found["mobilenet_v2"]).p == 1


def test_in_the_matrix_a_mark_stands_with_what_one_seed_tells(seeded_run: Run) -> None:
    lose_seeds(seeded_run, "cnn", "mobilenet_v2", "dummy")
    said = words(seeded_run)
    assert "McNemar's exact test" in said
    assert "One training of each family is compared." in said
    assert "one seed" not in said
    assert "−9.4 −14.6 to −5.3 p = 1 " in said


def test_the_leaderboard_as_data_has_equal_ranks_for_tied_families(compared_run: Run) -> None:
    rows = [(row["family"], row["rank"], row["tied"]) for row in bench.leaderboard(compared_run)]
    assert rows == [("mobilenet_v2", 1, True), ("cnn", 1, True), ("dummy", 3, False)]
    families = tuple(replace(family, learns=family.name != "dummy") for family in compared_run.families)
    assert bench.leaderboard(replace(compared_run, families=families))[2]["rank"] is None
