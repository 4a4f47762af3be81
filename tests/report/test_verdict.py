"""What the page says first."""

from __future__ import annotations

from dataclasses import replace

from bench.records import FAIL, PRUNED, Failure, Metrics, Run, Study
from bench.report.verdict import no_result, notices, savings, unseparated, verdict


def said(run: Run) -> str:
    found = verdict(run)
    return " ".join((found.headline, *found.details)).replace("\u00a0", " ")


def only(run: Run, *families: str) -> Run:
    return replace(
        run,
        families=tuple(family for family in run.families if family.name in families),
        studies=tuple(study for study in run.studies if study.family in families),
    )


def test_the_leader_is_named_with_interval_cost_and_label(run: Run) -> None:
    assert said(run) == (
        "mobilenet_v2 · random weights leads with 93.3 % test accuracy (95 % interval 88.7–96.1 %), "
        "not separated from cnn. It trains in 1 min 35 s, has 2.4 M parameters and classifies a picture in 8.5 ms. "
        "The 95 % interval of cnn (91.1 %) overlaps its own."
    )


def test_only_overlapping_intervals_count_as_not_separated(run: Run) -> None:
    assert [trial.family for trial in unseparated(run.ranking())] == ["cnn"]
    clear = only(run, "cnn", "dummy")
    assert unseparated(clear.ranking()) == []
    assert "Its 95 % interval lies above that of every other family." in said(clear)


def test_before_the_test_set_is_used_the_verdict_says_so(run: Run) -> None:
    studies = tuple(
        replace(study, trials=tuple(replace(trial, test=None) for trial in study.trials)) for study in run.studies
    )
    going = said(replace(run, studies=studies, status="running"))
    assert "mobilenet_v2 · random weights leads so far with 93.9 % validation accuracy." in going
    assert "The test set has not been touched yet." in going


def test_each_situation_has_words_of_its_own(run: Run, empty_run: Run) -> None:
    assert "No trial has finished yet." in said(empty_run)
    assert "nothing was trained" in said(replace(empty_run, status="complete"))
    assert "stopped before its first trial" in said(replace(empty_run, status="partial"))
    vgg = only(run, "vgg19")
    assert "every trial failed (1 of 1)" in said(vgg)
    pruned = replace(vgg.studies[0].trials[0], state=PRUNED, failure=None)
    mixed = replace(vgg, studies=(Study("vgg19", "optuna:tpe", (*vgg.studies[0].trials, pruned)),))
    assert "no trial was trained to its end" in said(mixed)
    assert "Only this family was searched" in said(only(run, "cnn"))
    assert "No other family has a result" in said(only(run, "cnn", "vgg19"))


def test_a_family_without_a_result_has_its_reason(run: Run) -> None:
    reasons = {family.name: no_result(run, family).replace("\u00a0", " ") for family in run.families}
    assert reasons["vgg16"] == "skipped: no ImageNet weights"
    assert reasons["vgg19"] == "no complete trial: 1 failed (ResourceExhaustedError: out of memory on a tensor of 2 GB)"
    assert reasons["mobilenet"] == "no trial: the budget went to other families"
    going = replace(run, status="running")
    assert no_result(going, run.families[2]) == "waiting for its turn"


def test_savings_are_of_what_was_trained_and_of_all_folds(cached_run: Run) -> None:
    """Trained: 61 + 95.3 + 77.7 s of mobilenet_v2, 74.3 s of cnn; saved: 60.3 and 2.5 s."""
    said = "The feature cache saved 1 min 3 s of the 5 min 8 s that all training takes from a cold start (20.4 %)."
    assert savings(cached_run).replace("\u00a0", " ") == said
    folds = (Metrics(9, 0.9, 0.9, 0.9, 0.1, 0.1),) * 3
    tripled = tuple(
        replace(study, trials=tuple(replace(trial, folds=folds) for trial in study.trials))
        for study in cached_run.studies
    )
    assert "3 min 8 s of the 15 min 25 s" in savings(replace(cached_run, studies=tripled)).replace("\u00a0", " ")
    assert "all training so far takes" in savings(replace(cached_run, status="running"))


def test_nothing_is_said_of_a_feature_cache_that_saved_nothing(run: Run, empty_run: Run) -> None:
    assert savings(run) == savings(empty_run) == ""


def test_banners_name_missing_weights_and_families_without_a_result(run: Run) -> None:
    said = {notice.title: notice.text for notice in notices(run)}
    assert "mobilenet, mobilenet_v2 and vgg19 started from random weights" in said["Pretrained weights missing"]
    assert said["Some families have no result"] == (
        "No complete trial: vgg19. No trial within the budget: mobilenet. Skipped: vgg16."
    )


def test_banners_tell_going_partial_and_failed_runs_apart(run: Run) -> None:
    kinds = {status: notices(replace(run, status=status))[0] for status in ("running", "partial", "failed")}
    assert [notice.kind for notice in kinds.values()] == ["going", "warning", "error"]
    assert "12 of 24\u00a0trials, 1 in training" in kinds["running"].text
    assert "stopped after 12 of 24\u00a0trials" in kinds["partial"].text


def test_a_calm_run_has_no_banner(run: Run) -> None:
    assert notices(only(run, "cnn", "dummy")) == []


def test_a_note_of_the_run_is_a_banner(run: Run) -> None:
    assert notices(replace(run, notes=("dummy: every configuration was tried",)))[-1].text.startswith("dummy")


def test_a_failure_kind_stands_once_however_often_it_came(run: Run) -> None:
    trials = tuple(replace(run.studies[3].trials[0], number=i, failure=Failure("OOM", "")) for i in range(3))
    assert all(trial.state == FAIL for trial in trials)
    many = replace(run, studies=(Study("vgg19", "optuna:tpe", trials),))
    assert no_result(many, run.families[5]) == "no complete trial: 3\u00a0failed (OOM)"
