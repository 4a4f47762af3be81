"""The chosen models on further test sets: figures, ranks, and what is said of the recommended family."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from bench import report
from bench.cli.console import print_board
from bench.records import CORRUPTED_SETS, FurtherSet, LeftOutKind, Run, Trial
from bench.report.sections import further_sets
from bench.runs import predictions, shifts
from bench.stats import over_seeds
from bench.text import plain as plain_spaces

from .conftest import HOSTILE, TPE, changed, metrics, plain, run_of, section, trial

N = 300

Answers = Mapping[str, Mapping[str, NDArray[np.bool_]]]
"""True for correct answers of a family, by set and family."""


def right(share: float, n: int = N, seed: int = 0) -> NDArray[np.bool_]:
    answers = np.arange(n) < round(share * n)
    return np.random.default_rng(seed).permutation(answers)


def save_answers(file: Path, answers: NDArray[np.bool_], groups: NDArray[np.int64] | None = None) -> None:
    labels = np.arange(len(answers)) % 2
    grouped = {} if groups is None else {"groups": groups}
    file.parent.mkdir(exist_ok=True)
    np.savez_compressed(
        file,
        sha256=np.array([f"{n:064x}" for n in range(len(answers))]),
        labels=labels,
        probabilities=np.eye(2, dtype=np.float32)[np.where(answers, labels, 1 - labels)],
        **grouped,
    )


@pytest.fixture
def shifted(tmp_path) -> Callable[..., Run]:
    """A run of families with these answers on further sets; on the test pictures each is a little worse than before."""

    def make(*sets: FurtherSet, answers: Answers, tests: Mapping[str, float] | None = None) -> Run:
        families = list(next(iter(answers.values())))
        tests = tests or {family: 0.9 - 0.05 * place for place, family in enumerate(families)}

        def chosen(place: int, family: str) -> Trial:
            also = {name: metrics(float(of[family].mean()), len(of[family])) for name, of in answers.items()}
            save_answers(predictions.path(tmp_path, family), right(tests[family]))
            for name, of in answers.items():
                save_answers(predictions.further_path(tmp_path, family, name), of[family])
            score = metrics(tests[family], N)
            return trial(family, TPE, 0, place, tests[family], 10.0 + place, 1000, test=score, also=also)

        run = run_of(*(chosen(place, family) for place, family in enumerate(families, start=1)), path=tmp_path)
        infos = tuple(replace(info, learns=info.name != "dummy") for info in run.families)
        return replace(run, further=sets, families=infos, split=replace(run.split, input_sizes=(64, 96)))

    return make


def other(n: int = N, **more) -> FurtherSet:
    return FurtherSet("other", "photos/other", n, **more)


def corrupted_answers(**shares: float) -> Answers:
    """Answers on every corrupted set: each strength costs two points; JPEG ten more."""
    return {
        name: {
            family: right(share - 0.02 * strength - 0.1 * (kind == "jpeg"), seed=3) for family, share in shares.items()
        }
        for name, (kind, strength) in CORRUPTED_SETS.items()
    }


def test_the_recommended_family_still_leads(shifted):
    run = shifted(other(), answers={"other": {"vgg16": right(0.8), "cnn": right(0.6)}})
    (standing,) = shifts.set_standings(run)
    assert [(score.trial.family, score.rank) for score in standing.scores] == [("vgg16", 1), ("cnn", 2)]
    assert plain_spaces(standing.sentence) == (
        "On photos/other, vgg16 still leads with 80.0 % (−10.0 points), 20.0 points above cnn (p < 0.001); "
        "the order of the families stays."
    )


def test_another_family_leads(shifted):
    run = shifted(other(), answers={"other": {"vgg16": right(0.5), "cnn": right(0.7)}})
    (sentence,) = further_sets.shift_sentences(run)
    assert plain_spaces(sentence) == (
        "On photos/other, vgg16 does not lead: it has 50.0 % (−40.0 points), and cnn is 20.0 points above it "
        "(p < 0.001); the order of the families changes."
    )


def test_a_lead_within_the_noise_is_called_so(shifted):
    ahead, behind = right(0.7), right(0.7, seed=1)
    behind[np.flatnonzero(behind)[:2]] = False
    for answers, words in (
        ({"vgg16": ahead, "cnn": behind}, "still leads with 70.0 % (−20.0 points); cnn is not told apart from it (p ="),
        ({"vgg16": behind, "cnn": ahead}, "has 69.3 % (−20.7 points); cnn, 0.7 points above it, is not told apart"),
    ):
        (sentence,) = further_sets.shift_sentences(shifted(other(), answers={"other": answers}))
        assert words in plain_spaces(sentence)


def test_a_recommended_family_that_was_second_does_not_still_lead(shifted):
    """The cheaper one of two that are tied on the test pictures is recommended."""
    answers = {"other": {"vgg16": right(0.6), "cnn": right(0.8)}}
    run = shifted(other(), answers=answers, tests={"vgg16": 0.9, "cnn": 0.89})
    slow = changed(run, lambda trial: replace(trial, cost=replace(trial.cost, train_time_s=100.0)))
    run = replace(run, studies=(slow.studies[0], run.studies[1]))
    (sentence,) = further_sets.shift_sentences(run)
    assert plain_spaces(sentence).startswith("On photos/other, cnn leads with 80.0 % (−9.0 points), 20.0 points above")


def test_a_baseline_has_no_rank_and_leads_nowhere(shifted):
    run = shifted(other(), answers={"other": {"vgg16": right(0.4), "dummy": right(0.5)}})
    (standing,) = shifts.set_standings(run)
    assert [(score.trial.family, score.rank) for score in standing.scores] == [("vgg16", 1), ("dummy", None)]
    assert plain_spaces(standing.sentence) == "On photos/other, vgg16 has 40.0 % (−50.0 points)."


def test_corrupted_pictures_count_once_in_intervals(shifted):
    """Twelve corruptions of a picture are no twelve pictures."""
    run = shifted(
        FurtherSet("corrupted", "corrupted", N),
        answers=corrupted_answers(vgg16=0.9, cnn=0.8),
        tests={"vgg16": 0.91, "cnn": 0.8},
    )
    (standing,) = shifts.set_standings(run)
    best = standing.scores[0]
    every = [predictions.of_further(run, name)["vgg16"].right for name in shifts.CORRUPTIONS]
    assert best.value == pytest.approx(np.mean(every))
    assert (best.test, best.before) == (0.91, 0.9)  # the drop is that of the same pictures
    groups = np.tile(np.arange(N), len(every))
    _, low, high = over_seeds(np.concatenate(every)[np.newaxis], groups)
    assert (best.low, best.high) == (low, high)
    _, narrow_low, narrow_high = over_seeds(np.concatenate(every)[np.newaxis])
    assert high - low > 2 * (narrow_high - narrow_low)
    (row, _) = shifts.corruption_rows(standing)
    assert row.before == 0.9
    assert {kind: [round(value, 2) for value in strengths] for kind, strengths in row.strengths.items()} == {
        "blur": [0.88, 0.86, 0.84],
        "jpeg": [0.78, 0.76, 0.74],
        "noise": [0.88, 0.86, 0.84],
        "brightness": [0.88, 0.86, 0.84],
    }


def test_without_predictions_the_figures_stand_untested(shifted, tmp_path):
    run = shifted(other(), answers={"other": {"vgg16": right(0.8), "cnn": right(0.6)}})
    predictions.further_path(tmp_path, "cnn", "other").unlink()
    (standing,) = shifts.set_standings(run)
    assert standing.gap is None
    assert standing.scores[1].low is None
    assert "still leads with" in standing.sentence
    assert "p =" not in standing.sentence
    damaged = predictions.further_path(tmp_path, "vgg16", "other")
    damaged.write_bytes(b"PK")
    assert any(damaged.name in problem for problem in predictions.problems(run))


def test_a_set_on_which_nothing_was_scored_is_left_out(shifted):
    run = shifted(other(), FurtherSet("new", "new", 3), answers={"other": {"vgg16": right(0.8)}})
    assert [standing.further.name for standing in shifts.set_standings(run)] == ["other"]
    assert section(replace(run, further=()), "further_sets") == ""


def test_the_section_has_both_tables_and_what_is_left_out(shifted):
    answers = {**corrupted_answers(vgg16=0.9, dummy=0.6), "other": {"vgg16": right(0.8), "dummy": right(0.5)}}
    left = other(trained=3, left_out={LeftOutKind.DAMAGED: 2}, notes=("no pictures of 'dog'",))
    run = shifted(left, FurtherSet("corrupted", "corrupted", N), answers=answers)
    shown = plain(section(run, "further_sets"))
    assert "vgg16 90.0 % 80.0 % 75.1–84.1 % −10.0 points, rank 1 83.5 %" in plain_spaces(shown)
    assert "vgg16 90.0 % 86.0 % 88.0 · 86.0 · 84.0 76.0 % 78.0 · 76.0 · 74.0" in plain_spaces(shown)
    assert (
        "also-test 'photos/other': left out: 3 pictures (also in the training or validation part), 2 pictures (cannot "
        "be decoded); no pictures of 'dog'" in plain_spaces(shown)
    )
    assert "rank None" not in shown
    assert "applied at 96 pixels" in shown
    assert (
        plain_spaces(further_sets.section(run).summary)
        == "other: vgg16 80.0 %, rank 1 · corrupted: vgg16 83.5 %, rank 1"
    )


def test_the_terminal_and_markdown_say_it_in_a_sentence(shifted):
    run = shifted(other(), answers={"other": {"vgg16": right(0.8), "cnn": right(0.6)}})
    printed = io.StringIO()
    print_board(run, run.path / "report.html", printed)
    (line,) = [line for line in printed.getvalue().splitlines() if "photos/other" in line]
    assert line.startswith("On photos/other, vgg16 still leads with 80.0 %")
    assert "On photos/other, vgg16 still leads with 80.0" in plain_spaces(report.markdown(run))


def test_hostile_names_stay_text(shifted):
    named = replace(other(), source=HOSTILE, notes=(HOSTILE,))
    run = shifted(named, answers={"other": {"vgg16": right(0.8), "cnn": right(0.6)}})
    for markup in (section(run, "further_sets"), report.markdown(run)):
        assert "<img" not in markup
