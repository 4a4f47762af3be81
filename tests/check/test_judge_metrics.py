"""Runs that chose by another metric than accuracy are compared by it, and classes by their recall."""

from __future__ import annotations

import json
from dataclasses import replace
from xml.etree import ElementTree

import numpy as np
import pytest
from scipy.special import softmax

from bench import Budget, RunConfig, runner
from bench.check import outputs
from bench.check.changes import expected_power, family_changes
from bench.check.findings import GateOutcome, Quantity
from bench.check.flips import recall_changes
from bench.check.judge import judge
from bench.check.policy import FamilyPolicy, Policy
from bench.check.series import StoredResults, history
from bench.cli import parser
from bench.metrics import metric, names
from bench.runs.results import FILE, ScoredPicture, ids_sha256, write
from bench.testing import FakePool

from .made import again, family, results

PASS, INFO, WARN, FAIL, SKIP = GateOutcome
N, RARE = 2000, 100
CLASSES = ("usual", "rare")
PRICES = (("rare", "usual", 50.0), ("usual", "rare", 1.0))
LABELS = (np.arange(N) < RARE).astype(np.int64)
PICTURES = [ScoredPicture(f"{place:064x}", f"{place}.jpg", CLASSES[label], "") for place, label in enumerate(LABELS)]
NAMES = tuple(f"{name}:rare" if metric_needs_class else name for name, metric_needs_class in
              ((name, name in ("recall", "precision", "f1")) for name in names()))  # fmt: skip


def trained(draw, rare=0.0, sure=1.0):
    """Probabilities by three trainings, shape (3, N, 2).

    Args:
        draw: Another one gives another luck of the trainings.
        rare: By how much pictures of the rare class look like the usual one.
        sure: How extreme the probabilities are; the answers are the same.
    """
    hard, luck = (np.random.default_rng(seed).standard_normal(shape) for seed, shape in ((0, N), (draw + 1, (3, N))))
    score = np.where(LABELS == 1, 2.0 - rare, -2.0) + 0.95 * hard + 0.3 * luck
    return softmax(sure * np.stack([-score, score], axis=-1), axis=-1)


def of(name, probabilities, groups=(), **families):
    """Results of a run that chose by a metric, with one family, `cnn`."""
    chosen = metric(name, CLASSES, PRICES if name == "cost" else ())
    right = probabilities.argmax(axis=-1) == LABELS
    values = np.zeros((0, 0)) if chosen.exact else np.array([chosen.values(each, LABELS) for each in probabilities])
    stored = values.astype(np.float32).astype(np.float64)
    cnn = family([0] * len(right), n=N, correct=right, values=stored)
    return results(
        {"cnn": cnn, **families},
        n=N,
        config={} if chosen.exact else {"metric": [name]},
        split={
            "class_counts": {"usual": N - RARE, "rare": RARE},
            "test_ids_sha256": ids_sha256(PICTURES),
            "groups": groups,
        },
    )


def judged(name, before, after, policy=None):
    """The finding on the metric."""
    found = judge(of(name, before), replace(of(name, after), run="later"), policy).findings
    return next(each for each in found if each.quantity == Quantity.METRIC)


BEFORE = trained(0)


def test_a_loss_in_the_rare_class_is_seen_by_macro_f1_and_not_by_accuracy():
    worse = trained(1, rare=0.7)
    assert judged("accuracy", BEFORE, worse).outcome in (PASS, WARN)
    finding = judged("macro_f1", BEFORE, worse)
    assert (finding.outcome, finding.mark, finding.metric) == (FAIL, "-", "macro_f1")
    assert finding.message.startswith(f"fell by {finding.change.removeprefix('-')} points from {finding.before}")
    assert "McNemar" not in finding.message
    assert finding.figures["difference"] == pytest.approx(
        metric("macro_f1").value(worse[0], LABELS) - metric("macro_f1").value(BEFORE[0], LABELS), abs=0.03
    )


def test_a_rise_of_log_loss_is_a_regression_that_accuracy_does_not_see():
    """The same answers, with timid probabilities."""
    finding, surer = judged("log_loss", BEFORE, trained(1, sure=0.3)), trained(1, sure=0.3)
    assert judged("accuracy", BEFORE, surer).outcome == PASS
    assert finding.outcome == FAIL
    assert finding.message.startswith("rose by 0.")
    assert "reaches the limit of 0.00" in finding.message
    assert finding.change.startswith("+0.")
    back = judged("log_loss", surer, trained(0))
    assert (back.outcome in (PASS, WARN), back.mark, back.change[0]) == (True, "+", "-")  # UNDERPOWERED


@pytest.mark.parametrize("name", NAMES)
def test_equal_models_pass_by_every_metric(name):
    before = of(name, BEFORE)
    finding = next(each for each in judge(before, again(before)).findings if each.quantity == Quantity.METRIC)
    assert (finding.outcome, float(finding.change)) in ((PASS, 0.0), (WARN, 0.0))  # WARN: UNDERPOWERED
    assert "as in the baseline" in finding.message
    assert judged(name, BEFORE, trained(1)).outcome != FAIL


@pytest.mark.parametrize("name", NAMES)
def test_worse_is_worse_and_better_is_better_in_the_direction_of_every_metric(name):
    """Swapping the sides swaps the p-values, and turns the sign of the change."""
    weak = trained(1, rare=1.8)
    sides = (BEFORE, weak), (weak, BEFORE)
    worse, better = (family_changes(of(name, one), of(name, other))["cnn"] for one, other in sides)
    assert worse.gain < 0 < better.gain
    assert worse.p_worse == pytest.approx(better.p_better, abs=1e-12)
    assert worse.p_better == pytest.approx(better.p_worse, abs=1e-12)
    assert worse.gain == pytest.approx(-better.gain)
    lower = metric(name, CLASSES).lower_is_better
    assert (worse.change.difference > 0) == lower
    assert judged(name, weak, BEFORE).outcome in (PASS, WARN)  # UNDERPOWERED
    if name != "precision:rare":  # it does not depend on the rare pictures that are missed
        assert worse.p_worse < 0.001
        assert judged(name, BEFORE, weak).outcome == FAIL


def test_groups_count_once_by_any_metric():
    groups = tuple((np.arange(N) // 20).tolist())
    alone, grouped = (
        family_changes(*(of("macro_f1", side, of_pictures) for side in (BEFORE, trained(1, rare=0.7))))["cnn"]
        for of_pictures in ((), groups)
    )
    assert alone.change.difference == pytest.approx(grouped.change.difference)
    assert (alone.independent, grouped.independent) == (N, 100)
    assert alone.change.standard_error != grouped.change.standard_error


def test_the_limit_and_the_power_are_in_the_unit_of_the_metric():
    before = of("log_loss", BEFORE)
    value = before.families["cnn"].value
    (power,) = expected_power(before, Policy()).values()
    assert power.limit == pytest.approx(0.05 * value)
    assert power.words.startswith("a rise of 0.0")
    (power,) = expected_power(of("macro_f1", BEFORE), Policy()).values()
    assert power.limit == 0.01
    assert power.words.startswith("a drop of ")
    assert power.words.endswith(" points")
    finding = judged("log_loss", BEFORE, trained(1, sure=0.3), Policy(usual=FamilyPolicy(max_drop=0.2)))
    assert finding.figures["max_drop"] == pytest.approx(0.2 * value)


@pytest.mark.parametrize(
    ("before", "after", "says"),
    [
        (
            {"metric": ["macro_f1"]},
            {"metric": ["log_loss"]},
            "setting metric: macro_f1 in the baseline, log_loss in this run",
        ),
        ({}, {"metric": ["log_loss"]}, "setting metric: accuracy in the baseline, log_loss in this run"),
        (
            {"metric": ["cost"], "costs": [["rare", "usual", 50.0]]},
            {"metric": ["cost"], "costs": [["rare", "usual", 20.0]]},
            "setting costs: ['rare', 'usual', 50.0] in the baseline, ['rare', 'usual', 20.0] in this run",
        ),
    ],
)  # fmt: skip
def test_another_metric_or_other_prices_do_not_compare(before, after, says):
    one, other = (of(side.get("metric", ["accuracy"])[0], BEFORE) for side in (before, after))
    one, other = (replace(each, config={**each.config, **side}) for each, side in ((one, before), (other, after)))
    judgement = judge(one, replace(other, run="later"))
    assert judgement.exit_status == 3
    assert judgement.differences == [says]
    assert {finding.outcome for finding in judgement.findings} == {SKIP}
    assert family_changes(one, other) == {}
    series = history(StoredResults((one, replace(other, run="later", created_utc="2026-11-22T00:00:00Z")))).series
    assert [(len(each.runs), each.families[0].metric) for each in series] == [
        (1, after.get("metric", ["accuracy"])[0]),
        (1, before.get("metric", ["accuracy"])[0]),
    ]


def test_a_floor_of_the_accuracy_and_a_worst_value_of_the_metric():
    limits = Policy(usual=FamilyPolicy(min_accuracy=0.999))
    finding = judged("macro_f1", BEFORE, BEFORE, limits)
    assert finding.outcome == FAIL
    assert finding.message.startswith("accuracy is 9")
    assert finding.figures["min_accuracy"] == 0.999
    assert finding.figures["after"] == of("macro_f1", BEFORE).families["cnn"].value
    loss = of("log_loss", BEFORE).families["cnn"].value
    for worst, outcome in ((loss / 2, FAIL), (loss * 2, PASS), (loss * 0.99, WARN)):
        finding = judged("log_loss", BEFORE, BEFORE, Policy(usual=FamilyPolicy(worst_value=worst)))
        assert finding.outcome == outcome, finding.message
    finding = judged("log_loss", BEFORE, BEFORE, Policy(usual=FamilyPolicy(worst_value=0.01)))
    assert "significantly above the ceiling of 0.01 (95 % interval from 0.0" in finding.message


def test_history_follows_the_metric():
    def stored(name):
        runs = [of(name, trained(draw, rare=0.0 if draw < 5 else 1.2)) for draw in range(10)]
        days = [f"2026-11-{at + 1:02}T00:00:00Z" for at in range(10)]
        dated = (replace(run, run=day, created_utc=day) for run, day in zip(runs, days, strict=True))
        return StoredResults(tuple(dated))

    (cnn,) = history(stored("macro_f1")).series[0].families
    (change,) = cnn.quality.changes
    assert (change.at, cnn.metric, cnn.figure.name) == (5, "macro_f1", "macro F1")
    assert change.after < change.before
    assert all(reading.low < reading.value < reading.high for reading in cnn.quality.readings)
    (cnn,) = history(stored("log_loss")).series[0].families
    (change,) = cnn.quality.changes
    assert change.after > change.before
    assert cnn.figure.size(change.before, change.after).startswith("+0.")
    json.dumps(history(stored("log_loss")).as_data())


# -- by class

BY_CLASS = Policy(usual=FamilyPolicy(max_drop_by_class=0.1))


def classes(before, after, policy=BY_CLASS):
    """The judgement and its finding on the classes, by accuracy."""
    one, other = of("accuracy", before), replace(of("accuracy", after), run="later")
    judgement = judge(one, other, policy, recall_changes(one, other, PICTURES))
    return judgement, next((each for each in judgement.findings if each.quantity == Quantity.CLASSES), None)


def test_a_drop_of_one_class_is_a_regression_if_it_is_set():
    worse = trained(1, rare=1.0)
    assert classes(BEFORE, worse, Policy())[1] is None
    judgement, finding = classes(BEFORE, worse)
    assert (finding.outcome, judgement.exit_status) == (FAIL, 1)
    assert finding.message.startswith("of rare 9")
    assert "reaches the limit of 10.0 points and is more than noise, after Holm over 2 classes" in finding.message
    assert [(name, change.label) for name, change in judgement.changed_classes] == [("cnn", "rare")]
    data = json.loads(outputs.as_json(judgement))["changed_classes"]
    assert (data[0]["family"], data[0]["label"], data[0]["n"]) == ("cnn", "rare", RARE)
    assert "|`cnn`|`rare`|100|" in outputs.markdown(judgement)
    tree = ElementTree.fromstring(outputs.junit(judgement).encode())
    assert tree.find(".//testcase[@name='recall by class']/failure") is not None


def test_classes_without_a_change_pass_and_small_ones_say_what_they_cannot_show():
    judgement, finding = classes(BEFORE, trained(1))
    assert (finding.outcome, judgement.changed_classes) == (PASS, [])
    strict = Policy(usual=FamilyPolicy(max_drop_by_class=0.01))
    assert "a drop of twice the limit could go unseen in rare" in classes(BEFORE, trained(1), strict)[1].message


def test_with_one_seed_a_class_only_warns():
    _, finding = classes(BEFORE[:1], trained(1, rare=1.5)[:1])
    assert finding.outcome == WARN
    assert "only warns, because with one seed the noise of seeds is unknown" in finding.message


def test_classes_are_corrected_over_all_families():
    worse = trained(1, rare=1.0)

    def p_drop(families):
        same = {f"same{place}": of("accuracy", BEFORE).families["cnn"] for place in range(families)}
        one, other = (of("accuracy", side, **same) for side in (BEFORE, worse))
        return min(change.p_drop for change in recall_changes(one, other, PICTURES)["cnn"])

    assert p_drop(4) == pytest.approx(5 * p_drop(0))


def test_few_pictures_of_a_class_prove_nothing():
    """Three of five pictures lost, by all seeds: the normal approximation would say p = 0.007."""
    pictures = [picture._replace(label="rare" if place < 5 else "usual") for place, picture in enumerate(PICTURES)]
    right = np.ones((3, N), np.bool_)
    lost = right.copy()
    lost[:, :3] = False
    split = {"test_ids_sha256": ids_sha256(pictures), "class_counts": {"usual": N - 5, "rare": 5}}
    before = results({"cnn": family([0] * 3, n=N, correct=right)}, n=N, split=split)
    after = again(before, cnn=family([0] * 3, n=N, correct=lost))
    changes = {change.label: change for change in recall_changes(before, after, pictures)["cnn"]}
    assert changes["rare"].recalls == (1.0, 0.4)
    assert changes["rare"].p_drop == pytest.approx(2 * 0.5**3)


def test_check_judges_classes_from_a_run_folder_and_refuses_without_one(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    items = [
        {"sha256": each.sha256, "id": each.id, "label": CLASSES.index(each.label), "part": "test"} for each in PICTURES
    ]
    (tmp_path / "after").mkdir()
    (tmp_path / "after" / "split.json").write_text(json.dumps({"classes": CLASSES, "items": items}))
    before = of("macro_f1", BEFORE)
    write(tmp_path / "base.json", before)
    write(tmp_path / "after" / FILE, replace(of("macro_f1", trained(1, rare=1.0)), run="later"))
    (tmp_path / "bench.toml").write_text("[check]\nmax_drop_by_class = 0.1\n")
    command = ["check", "after", "--baseline", "base.json"]
    assert parser.main(command) == 1
    told = " ".join(capsys.readouterr().out.split())
    assert "FAIL cnn, macro_f1: fell by" in told
    assert "FAIL cnn, recall by class: of rare 9" in told
    assert "family class, recall over the seeds pictures before after p cnn rare 100" in told
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "after" / FILE).rename(tmp_path / "elsewhere" / FILE)
    assert parser.main(["check", f"elsewhere/{FILE}", "--baseline", "base.json"]) == 2
    assert "max_drop_by_class: needs a run folder" in capsys.readouterr().err


# -- all commands, on runs of a pool that trains nothing


@pytest.mark.slow
@pytest.mark.storage
def test_every_command_compares_runs_by_their_metric(tmp_path, space, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)

    def told(*command):
        capsys.readouterr()
        return parser.main(list(command)), " ".join(capsys.readouterr().out.split())

    for name, metric_name, accuracy in (
        ("before", "log_loss", 0.9),
        ("same", "log_loss", 0.9),
        ("worse", "log_loss", 0.8),
        ("other", "macro_f1", 0.9),
    ):
        pool = FakePool(
            lambda hp, family: hp.Int("depth", 1, 9), lambda family, params, share=accuracy: share, epochs=3
        )
        settings = {"images": 400, "budget": Budget(2), "seed": 7, "repeats": 2, "spaces": (space("cnn"),)}
        runner.run(RunConfig(out=f"reports/{name}", metric=(metric_name,), **settings), pool=pool)
    status, said = told("baseline", "reports/before")
    assert (status, "a check with 3 seeds detects a rise of 0." in said) == (0, True)
    assert told("check", "reports/same")[0] == 0
    status, said = told("check", "reports/worse")
    assert (status, "FAIL cnn, log_loss: rose by" in said) == (1, True)
    status, said = told("check", "reports/other")
    assert (status, "setting metric: log_loss in the baseline, macro_f1 in this run" in said) == (3, True)
    status, said = told("compare", "reports/before", "reports/worse")
    assert "cnn is measurably worse than before." in said
    assert "log loss: mean of 3 seeds" in said
    assert "Test log loss of every family" in (tmp_path / "reports" / "compare-before-worse.html").read_text()
    said = told("compare", "reports/before", "reports/other")[1]
    assert "The runs chose by different metrics, log loss before and macro F1 after." in said
    said = told("history", "--all")[1]
    assert "changed since the series before: metric log_loss → macro_f1" in said
    told("history", "--out", "reports/history.html")
    page = (tmp_path / "reports" / "history.html").read_text()
    assert "Test log loss: " in page
    assert "Test macro F1: " in page
