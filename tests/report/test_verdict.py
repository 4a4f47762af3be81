"""What the page says first."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from bench.records import FAIL, PRUNED, Failure, FailureKind, FamilyInfo, Metrics, Run, Screening, Study, Trial
from bench.report.sections.feature_cache import savings
from bench.report.sections.notices import hidden_classes, notices
from bench.report.sections.verdict import no_result, verdict
from bench.runs import predictions
from bench.text import plain

from .conftest import changed, only
from .saved import save_predictions


def said(run: Run) -> str:
    found = verdict(run)
    return " ".join((found.headline, *found.details)).replace("\u00a0", " ").replace("\u202f", " ")


def test_the_recommended_model_is_named_with_its_accuracy_and_its_reason(compared_run: Run) -> None:
    """The most accurate has 95 s of training, cnn 32 s, but it is 2.2 points worse, more than a standard error."""
    assert said(compared_run) == (
        "Ship mobilenet_v2 · random weights: 93.3 % of the test pictures are right (88.7–96.1 %), "
        "the most accurate; cnn is not told apart from it (p = 1)."
    )
    answer = verdict(compared_run)
    assert (answer.title, answer.shipped, answer.leader) == (
        "Ship mobilenet_v2 · random weights", compared_run.ranking()[0], compared_run.ranking()[0]
    )  # fmt: skip


def test_a_cheaper_model_that_is_as_good_is_recommended_with_what_it_costs_more(
    run: Run, predicted: Callable[..., Run]
) -> None:
    """Both differ on 2 pictures; cnn trains three times as fast and is the slower one at work."""
    picture = np.arange(180)
    close = predicted(only(run, "mobilenet_v2", "cnn"), {"mobilenet_v2": picture >= 12, "cnn": picture >= 14})

    def slow(trial: Trial) -> Trial:
        is_slow = trial.family == "cnn" and trial.cost
        return replace(trial, cost=replace(trial.cost, latency_ms=17.0)) if is_slow else trial  # type: ignore[type-var]

    reason = "as good as mobilenet_v2 · random weights (p = 0.50), 3 times cheaper to train"
    assert said(close) == f"Ship cnn: 92.2 % of the test pictures are right (87.4–95.3 %), {reason}."
    assert said(changed(close, slow)).endswith("3 times cheaper to train, but 2 times slower.")


def test_a_winner_is_named_with_its_lead(compared_run: Run) -> None:
    told = said(only(compared_run, "cnn", "dummy"))
    assert told.startswith("Ship cnn: 91.1 % of the test pictures are right (")
    assert told.endswith("41.7 points more accurate than dummy, the next.")
    going = verdict(replace(only(compared_run, "cnn", "dummy"), status="running"))
    assert (going.title, going.command) == ("cnn leads so far", "")


def test_a_model_that_guesses_is_not_to_be_shipped(run: Run, predicted: Callable[..., Run]) -> None:
    guessing = predicted(only(run, "cnn", "dummy"), {"cnn": np.arange(180) < 95, "dummy": np.arange(180) < 90})
    answer = verdict(guessing)
    assert said(guessing) == (
        "No model is better than always answering the most frequent class (50.0 %), "
        "the most accurate, cnn, has 52.8 % (45.5–59.9 %)."
    )
    assert (answer.shipped, answer.command) == (None, "")


def test_a_recommended_model_has_the_command_that_exports_it(compared_run: Run) -> None:
    assert verdict(compared_run).command.startswith("python -m bench export ")
    assert verdict(compared_run).command.endswith(" mobilenet_v2")


def test_with_several_seeds_the_mean_is_named(seeded_run: Run) -> None:
    """With the run's own seed alone mobilenet_v2 would win, 98.3 % against 88.9 %."""
    told = said(seeded_run)
    assert told.startswith("Ship mobilenet_v2 · random weights: 89.3 % of the test pictures are right (") or (
        told.startswith("Ship cnn: 90.6 % of the test pictures are right (")
    )
    assert "Test accuracy is the mean of 3 seeds" in told
    own = changed(seeded_run, lambda trial: replace(trial, repeats=(), over_seeds=None))
    assert said(own).startswith("Ship mobilenet_v2 · random weights: 98.3 %")
    assert "seed" not in said(own)


def test_of_many_tied_families_three_are_named(run: Run, predicted: Callable[..., Run]) -> None:
    (cnn,) = (trial for trial in run.studies[1].trials if trial.test)
    names = [f"f{number}" for number in range(6)]
    studies = tuple(Study(name, cnn.engine, (replace(cnn, family=name),)) for name in names)
    crowd = replace(run, families=tuple(FamilyInfo(name) for name in names), studies=studies)
    told = said(predicted(crowd, {name: np.arange(1000) >= 50 + number for number, name in enumerate(names)}))
    assert "the most accurate; f1, f2 and 3 more are not told apart from it (p ≥ 0.31)." in told


def test_before_the_test_set_is_used_the_verdict_says_so(run: Run) -> None:
    going = said(replace(changed(run, lambda trial: replace(trial, test=None)), status="running"))
    assert going == (
        "mobilenet_v2 · random weights leads so far with 93.9 % validation accuracy, "
        "no model has been scored on the test pictures yet."
    )


def test_each_situation_has_words_of_its_own(run: Run, empty_run: Run) -> None:
    assert "No trial has finished yet" in said(empty_run)
    assert "nothing was trained" in said(replace(empty_run, status="complete"))
    assert "stopped before its first trial" in said(replace(empty_run, status="partial"))
    vgg = only(run, "vgg19")
    assert "every trial failed (1 of 1)" in said(vgg)
    pruned = replace(vgg.studies[0].trials[0], state=PRUNED, failure=None)
    mixed = replace(vgg, studies=(Study("vgg19", "optuna:tpe", (*vgg.studies[0].trials, pruned)),))
    assert "no trial was trained to its end" in said(mixed)
    assert "Only this family was searched" in said(only(run, "cnn"))
    assert "the only family with a result" in said(only(run, "cnn", "vgg19"))


def test_a_family_without_a_result_has_its_reason(run: Run) -> None:
    reasons = {
        family.name: no_result(run, family).replace("\u00a0", " ").replace("\u202f", " ") for family in run.families
    }
    assert reasons["vgg16"] == "skipped: no ImageNet weights"
    assert reasons["vgg19"] == "no complete trial: 1 failed (ResourceExhaustedError: out of memory on a tensor of 2 GB)"
    assert reasons["mobilenet"] == "no trial: the budget went to other families"
    going = replace(run, status="running")
    assert no_result(going, run.families[2]) == "waiting for its turn"


def test_a_family_without_a_trial_has_its_estimate_instead(run: Run) -> None:
    screenings = (
        Screening("mobilenet", "MobileNet", 128, 0.9, 0.85, 0.93, 200),
        Screening("mobilenet", "MobileNet", 160, 0.94, 0.89, 0.97, 200),
        Screening("vgg19", "VGG19", 96, reason="the time for screening was over"),
    )
    run = replace(run, screenings=screenings)
    mobilenet, vgg19 = run.families[2], run.families[5]
    assert no_result(run, mobilenet) == "screened: 94\u202f% (89 to 97) on 200\u00a0pictures"
    assert no_result(replace(run, status="running"), mobilenet).startswith("waiting for its turn; screened: 94")
    assert no_result(run, vgg19).endswith("on a tensor of 2 GB); not screened: the time for screening was over")
    untried = replace(run, studies=())
    assert no_result(untried, vgg19).startswith("no trial: the budget went to other families; not screened: ")


def test_savings_are_of_what_was_trained_and_of_all_folds(cached_run: Run) -> None:
    """Trained: 61 + 95.3 + 77.7 s of mobilenet_v2, 74.3 s of cnn; saved: 60.3 and 2.5 s."""
    said = "The feature cache saved 1 min 3 s of the 5 min 8 s that all training takes from a cold start (20.4 %)."
    assert savings(cached_run).replace("\u00a0", " ").replace("\u202f", " ") == said
    folds = (Metrics(9, 0.9, 0.9, 0.9, 0.1, 0.1),) * 3
    tripled = changed(cached_run, lambda trial: replace(trial, folds=folds))
    assert "3 min 8 s of the 15 min 25 s" in savings(tripled).replace("\u00a0", " ").replace("\u202f", " ")
    assert "all training so far takes" in savings(replace(cached_run, status="running"))


def test_nothing_is_said_of_a_feature_cache_that_saved_nothing(run: Run, empty_run: Run) -> None:
    assert savings(run) == savings(empty_run) == ""


def test_banners_name_missing_weights_and_families_without_a_result(run: Run) -> None:
    said = {notice.title: notice.text for notice in notices(run)}
    assert "mobilenet_v2 and vgg19 started from random weights" in said["Pretrained weights missing"]
    assert said["Some families have no result"] == (
        "No complete trial: vgg19. No trial within the budget: mobilenet. Skipped: vgg16."
    )


def test_banners_tell_going_partial_and_failed_runs_apart(run: Run) -> None:
    kinds = {status: notices(replace(run, status=status))[0] for status in ("running", "partial", "failed")}
    assert [notice.kind for notice in kinds.values()] == ["going", "warning", "error"]
    assert "12 of 24\u00a0trials, mobilenet_v2 · random weights in training" in kinds["running"].text
    assert kinds["running"].share == 0.5
    assert "stopped after 12 of 24\u00a0trials" in kinds["partial"].text


def test_a_calm_run_has_no_banner(run: Run) -> None:
    assert notices(only(run, "cnn", "dummy")) == []


def test_a_note_of_the_run_is_a_banner(run: Run) -> None:
    assert notices(replace(run, notes=("dummy: every configuration was tried",)))[-1].text.startswith("dummy")


def test_a_failure_kind_stands_once_however_often_it_came(run: Run) -> None:
    trials = tuple(replace(run.studies[3].trials[0], number=i, failure=Failure(FailureKind.OOM, "")) for i in range(3))
    assert all(trial.state == FAIL for trial in trials)
    many = replace(run, studies=(Study("vgg19", "optuna:tpe", trials),))
    assert no_result(many, run.families[5]) == "no complete trial: 3\u00a0failed (OOM)"


def test_a_class_that_no_family_finds_is_a_warning_with_balanced_accuracies(run: Run, predicted: Callable) -> None:
    """Of 40 pictures 2 show a crack, which both families overlook, as one that always answers `free` does."""
    right = np.arange(40) < 38
    found = predicted(only(run, "cnn", "mobilenet_v2"), {"cnn": right, "mobilenet_v2": right})
    for family in ("cnn", "mobilenet_v2"):
        model = predictions.read(predictions.path(found.path, family))
        labels = np.where(right, 0, 1)
        probabilities = np.tile([0.9, 0.1], (40, 1))
        save_predictions(found.path, family, model.sha256, labels, probabilities)
    found = replace(found, split=replace(found.split, classes=("free", "crack")))
    (text,) = (notice.text for notice in notices(found) if notice.title == "Accuracy hides a class")
    text = plain(text)
    assert "No family finds crack: all have a recall of 0 of 2 test pictures." in text
    assert "No family is better than always answering free (95.0 %)." in text
    assert "Balanced accuracy: " in text


def test_families_that_find_every_class_have_no_such_warning(compared_run: Run) -> None:
    assert not hidden_classes(compared_run)


def test_the_luck_of_the_best_of_many_trials_is_named(compared_run: Run) -> None:
    """Of 148 trials on 60 pictures, all of which guess, the best has 65 % of them right."""
    (chosen,) = (trial for trial in compared_run.ranking()[:1])
    validation = replace(chosen.test, n=60, accuracy=0.65)
    values = np.random.default_rng(0).binomial(60, 0.5, 147) / 60
    trials = [replace(chosen, number=n + 1, value=min(float(value), 0.64), test=None) for n, value in enumerate(values)]
    best = replace(chosen, value=0.65, validation=validation)
    study = Study(chosen.family, chosen.engine, (best, *trials))
    run = replace(only(compared_run, chosen.family), studies=(study,))
    assert "was chosen from 148 trials by 60 pictures: 65.0 % there, 93.3 % on the test pictures. About 1" in said(run)
    few = replace(run, studies=(replace(study, trials=(best, *trials[:3])),))
    assert "was chosen from" not in said(few)
