"""The rule of the gate, border by border, on results made up with exact numbers of right answers."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from bench import stats
from bench.check.changes import expected_power
from bench.check.findings import GateOutcome, Quantity
from bench.check.judge import judge
from bench.check.policy import FamilyPolicy, Policy
from bench.check.wording import amount, exact, percent, ratio, signed, sized, value
from bench.metrics import metric
from bench.runs.results import FamilyResult, FamilyStatus

from .made import STEPS, again, family, results

PASS, INFO, WARN, FAIL, SKIP = GateOutcome
PRESENCE, ACCURACY, CLASSES, TIME, PARAMETERS = Quantity
GONE = FamilyResult(FamilyStatus.FAILED, "no complete trial out of 5; the last failure: OOM: too large")
SHARE, LOSS = metric("accuracy"), metric("log_loss")
SLOW = tuple(time * 1.6 for time in STEPS)


def found(judgement, name="cnn", quantity=ACCURACY):
    """The one finding of a family and a metric; None where there is none."""
    own = [each for each in judgement.findings if (each.family, each.quantity) == (name, quantity)]
    assert len(own) <= 1
    return own[0] if own else None


def accuracy_of(before, after, policy=None):
    """The finding on a family that had one result and has another."""
    old = results({"cnn": before}, n=before.correct.shape[1])
    return found(judge(old, again(old, cnn=after), policy))


def with_right(counts, n, start=0):
    """A family whose seeds each have the first `count` pictures right, counted from picture `start`."""
    places = (np.arange(n) - start) % n
    return family([0] * len(counts), n=n, correct=np.array([places < count for count in counts]))


# -- accuracy


def test_an_unchanged_run_passes():
    before = results()
    judgement = judge(before, again(before))
    assert judgement.exit_status == 0
    assert {finding.outcome for finding in judgement.findings} == {PASS}
    assert judgement.headline == "PASS: no regression in 2 families (baseline 01234567, 2026-11-20)"
    finding = found(judgement)
    assert (finding.change, finding.mde, finding.mark, finding.underpowered) == ("0.0", "0.4", "", False)
    assert finding.message == "is 90.0 %, as in the baseline"


def test_a_large_and_sure_drop_is_a_regression_that_tells_its_numbers():
    before = results({"cnn": 0.9, "vgg16": 0.8})
    judgement = judge(before, again(before, cnn=family(0.88, draw=1)))
    finding = found(judgement)
    assert (finding.outcome, finding.mark, finding.change) == (FAIL, "-", "-2.0")
    assert (finding.before, finding.after, finding.mde) == ("90.0 %", "88.0 %", "0.9")
    assert finding.message == (
        "fell by 2.0 points from 90.0 % to 88.0 %: that reaches the limit of 1.0 points and is more than noise "
        "(p < 0.001 after Holm over 2 families; exact McNemar of the first seeds p < 0.001)"
    )
    assert judgement.exit_status == 1
    assert judgement.headline.startswith("FAIL: 1 regression in 2 families (baseline 01234567")


def test_the_same_the_other_way_round_is_an_improvement_that_passes():
    before = results({"cnn": 0.88})
    finding = found(judge(before, again(before, cnn=family(0.9, draw=1))))
    assert (finding.outcome, finding.mark, finding.change) == (PASS, "+", "+2.0")
    assert finding.message.startswith("rose by 2.0 points from 88.0 % to 90.0 %: that is more than noise (p < 0.001")


@pytest.mark.parametrize("seeds", [(3, 3), (3, 5), (7, 3)])
def test_a_drop_of_exactly_the_limit_fails_and_one_right_answer_less_lost_only_warns(seeds):
    before = family(0.9, n=3000, seeds=seeds[0], luck=0)
    after = family(0.89, n=3000, seeds=seeds[1], luck=0)
    finding = accuracy_of(before, after)
    assert finding.figures["difference"] == -0.01
    assert (finding.outcome, finding.mark, finding.change) == (FAIL, "-", "-1.0")

    one_more = after.correct.copy()
    one_more[0, np.flatnonzero(~one_more[0])[0]] = True
    finding = accuracy_of(before, replace(after, correct=one_more))
    assert -0.01 < finding.figures["difference"] < -0.0098
    assert (finding.outcome, finding.mark) == (WARN, "-")
    assert float(finding.change) > -1.0  # as many decimals as tell it from the limit
    assert "that is more than noise" in finding.message
    assert "but less than the limit of 1.0 points" in finding.message


def test_a_drop_whose_p_is_at_the_level_does_not_fail_and_just_below_it_does():
    before, after = family((0.905, 0.9, 0.895)), family((0.891, 0.885, 0.878), draw=1)
    p = stats.change(before.correct, after.correct).p_drop
    assert accuracy_of(before, after, Policy(alpha=p)).outcome == WARN
    finding = accuracy_of(before, after, Policy(alpha=np.nextafter(p, 1)))
    assert (finding.outcome, finding.mark) == (FAIL, "-")


def test_a_large_drop_that_may_be_noise_warns():
    finding = accuracy_of(family((0.94, 0.9, 0.86)), family((0.92, 0.88, 0.84), draw=1))
    assert (finding.outcome, finding.mark) == (WARN, "~")
    assert "fell by 2.0 points from 90.0 % to 88.0 %: that reaches the limit of 1.0 points but may be noise (p = 0" in (
        finding.message
    )


def test_a_small_drop_within_noise_passes():
    finding = accuracy_of(family(0.9), family(0.898, draw=1))
    assert (finding.outcome, finding.mark, finding.change) == (PASS, "", "-0.2")
    assert "within noise" in finding.message


def test_what_is_sure_for_one_family_is_not_for_the_worst_of_twenty():
    before, after = family((0.905, 0.9, 0.895)), family((0.89, 0.885, 0.88), draw=1)
    p = stats.change(before.correct, after.correct).p_drop
    assert 0.05 / 20 < p < 0.05
    assert accuracy_of(before, after).outcome == FAIL
    many = results({"cnn": before, **{f"other{i}": 0.5 for i in range(19)}})
    finding = found(judge(many, again(many, cnn=after)))
    assert finding.outcome == WARN
    assert finding.figures["p_drop_holm"] == pytest.approx(20 * p)
    assert "after Holm over 20 families" in finding.message


def test_identical_predictions_do_not_make_other_families_look_better():
    steady = {f"other{i}": 0.5 for i in range(9)}
    before = results({"cnn": family((0.885, 0.88, 0.875)), **steady})
    after = family((0.9, 0.895, 0.89), draw=1)
    change = stats.change(before.families["cnn"].correct, after.correct)
    assert 0.05 / 10 < 1 - change.p_drop < 0.05
    assert found(judge(before, again(before, cnn=after))).mark != "+"


# -- one seed


def test_one_seed_without_calibration_warns_at_most_and_says_how_to_calibrate():
    before = results({"cnn": 0.9}, seeds=1)
    judgement = judge(before, again(before, cnn=family(0.8, seeds=1, draw=1)))
    finding = found(judgement)
    assert (finding.outcome, finding.mark, judgement.exit_status) == (WARN, "-", 0)
    assert finding.mde.startswith(">")
    assert judgement.headline.startswith("PASS: no regression, 1 warning, 1 UNCALIBRATED in 1 family")
    assert "only warns, because with one seed the noise of seeds is unknown" in finding.message
    assert any("`python -m bench baseline RUN --seeds 5` measures it" in note for note in judgement.notes)


@pytest.mark.parametrize("calibrated_side", ["baseline", "run"])
def test_five_seeds_on_either_side_stand_for_the_single_one_on_the_other(calibrated_side):
    five, one = (0.902, 0.9, 0.898, 0.901, 0.899), (0.9,)
    before, after = (five, (0.87,)) if calibrated_side == "baseline" else (one, tuple(x - 0.03 for x in five))
    old = results({"cnn": before})
    judgement = judge(old, again(old, cnn=family(after, draw=1)))
    finding = found(judgement)
    assert finding.outcome == FAIL
    assert finding.figures["seed_sd"] == pytest.approx(np.std(five, ddof=1))
    assert not judgement.notes


@pytest.mark.parametrize(("before", "after", "outcome"), [(4, 1, WARN), (2, 2, FAIL)])
def test_five_seeds_on_one_side_or_two_on_each_are_needed(before, after, outcome):
    assert accuracy_of(family(0.9, seeds=before), family(0.8, seeds=after, draw=1)).outcome == outcome


# -- underpowered


def test_a_test_that_could_not_have_seen_twice_the_limit_is_never_a_bare_pass():
    before = results({"cnn": 0.9}, n=200)
    judgement = judge(before, again(before, cnn=family(0.9, n=200, draw=1, luck=0.5)))
    finding = found(judgement)
    assert (finding.outcome, finding.mark, finding.underpowered) == (WARN, "~", True)
    assert float(finding.mde) > 2.0
    assert f"UNDERPOWERED: with 80 % power only a drop of {finding.mde} points or more is detected" in finding.message
    assert judgement.headline.startswith("PASS: no regression, 1 warning, 1 UNDERPOWERED in 1 family")
    assert judgement.exit_status == 0


@pytest.mark.parametrize(("n", "underpowered"), [(20, True), (300, True), (320, False)])
def test_a_few_pictures_that_are_all_right_could_not_have_shown_the_drop_either(n, underpowered):
    finding = accuracy_of(family(1.0, n=n), family(1.0, n=n, draw=1))
    assert finding.figures["standard_error"] == 0
    assert (finding.underpowered, finding.outcome) == (underpowered, WARN if underpowered else PASS)
    assert float(finding.mde) == pytest.approx(618 / n, abs=0.06)


def test_a_baseline_foretells_what_a_check_detects():
    """The same formula, from one side alone: 3 seeds on 2,000 pictures, also where they are in groups."""
    for groups in ((), tuple(np.arange(2000) // 4)):
        before = results({"cnn": 0.9, "vgg16": (0.88, 0.9, 0.92)}, split={"groups": groups})
        after = again(before, cnn=family(0.9, draw=1), vgg16=family((0.88, 0.9, 0.92), draw=1))
        seen = {found.family: found.figures for found in judge(before, after).findings if found.metric == "accuracy"}
        for name, power in expected_power(before, Policy()).items():
            assert power.drop == pytest.approx(seen[name]["minimum_detectable_drop"], rel=0.15)
            assert power.underpowered == (name == "vgg16")
    assert expected_power(results({"cnn": 0.9}, seeds=1), Policy()) == {}


def test_a_looser_limit_is_enough_power():
    before, after = family(0.9, n=200, luck=0.3), family(0.9, n=200, draw=1, luck=0.3)
    mde = stats.change(before.correct, after.correct).detectable()
    for limit, outcome in ((mde / 2 * 1.001, PASS), (mde / 2 * 0.999, WARN)):
        finding = accuracy_of(before, after, Policy(usual=FamilyPolicy(max_drop=limit)))
        assert (finding.outcome, finding.underpowered) == (outcome, outcome == WARN)


# -- floor


def test_an_accuracy_surely_below_the_floor_fails_though_it_did_not_change():
    limits = Policy(families={"cnn": FamilyPolicy(min_accuracy=0.95)})
    finding = accuracy_of(family(0.9), family(0.9), limits)
    assert (finding.outcome, finding.mark) == (FAIL, "-")
    assert "is 90.0 %, significantly below the floor of 95.0 % (95 % Wilson interval up to 91.2 %)" in finding.message


def test_the_border_of_the_floor_is_wilson_s_upper_bound():
    upper = stats.wilson(1800, 2000)[1]
    for floor, outcome in ((upper, WARN), (np.nextafter(upper, 1), FAIL)):
        finding = accuracy_of(family(0.9), family(0.9), Policy(usual=FamilyPolicy(min_accuracy=float(floor))))
        assert finding.outcome == outcome


def test_a_regression_that_is_perhaps_below_the_floor_stays_one():
    finding = accuracy_of(family(0.9), family(0.88, draw=1), Policy(usual=FamilyPolicy(min_accuracy=0.885)))
    assert (finding.outcome, finding.mark) == (FAIL, "-")
    assert "perhaps below the floor of 88.5 %" in finding.message


def test_at_the_floor_is_fine_and_a_new_family_is_held_against_it_too():
    limits = Policy(usual=FamilyPolicy(min_accuracy=0.9))
    before = results({"cnn": 0.9})
    assert found(judge(before, again(before), limits)).outcome == PASS
    judgement = judge(before, again(before, new=family(0.5)), limits)
    assert (found(judgement, "new").outcome, found(judgement, "new", PRESENCE).outcome) == (FAIL, INFO)
    assert judgement.exit_status == 1


# -- presence


@pytest.mark.parametrize(
    ("now", "says"),
    [
        (None, "had a test accuracy of 90.0 % in the baseline and is not in this run: was its file renamed"),
        (GONE, "and has none now (failed): no complete trial out of 5; the last failure: OOM: too large"),
        (FamilyResult(FamilyStatus.SKIPPED, "no weights"), "and has none now (skipped): no weights"),
        (FamilyResult(FamilyStatus.UNSCORED, "damaged"), "and has none now (unscored): damaged"),
        (
            FamilyResult(FamilyStatus.UNTRIED, "no trial: the budget went to other families"),
            "has none now (no trial): no trial",
        ),
        (family((), reason=""), "and has none now (not scored)"),
    ],
)
def test_a_family_that_had_a_result_and_has_none_now_is_a_regression(now, says):
    before = results()
    after = again(before)
    if now is None:
        after.families.pop("cnn")
    else:
        after.families["cnn"] = now
    judgement = judge(before, after)
    finding = found(judgement, quantity=PRESENCE)
    assert (finding.outcome, finding.mark, judgement.exit_status) == (FAIL, "!", 1)
    assert says in finding.message
    assert found(judgement) is None


def test_a_new_family_and_one_that_failed_before_are_told():
    before = results({"cnn": 0.9, "late": GONE})
    judgement = judge(before, again(before, late=family(0.8), new=family(0.7)))
    for name, says in (("late", "had none in the baseline (failed)"), ("new", "is not in the baseline")):
        finding = found(judgement, name, PRESENCE)
        assert (finding.outcome, finding.mark) == (INFO, "*")
        assert says in finding.message
        assert found(judgement, name, PARAMETERS) is None
    assert judgement.exit_status == 0


def test_a_family_without_a_result_on_both_sides_warns():
    before = results({"cnn": 0.9, "broken": GONE})
    judgement = judge(before, again(before, new=GONE))
    for name in ("broken", "new"):
        finding = found(judgement, name, PRESENCE)
        assert (finding.outcome, finding.mark) == (WARN, "!")
    assert judgement.exit_status == 0


# -- step time


def timed(before, after, policy=None, env=None, cpu_before=(), gpu="", **changes):
    """The finding on step times that were and are so long."""
    old = results({"cnn": family(step_time_s=before, step_cpu_s=cpu_before)})
    old = replace(old, env=replace(old.env, gpu=gpu))
    new = replace(again(old, cnn=family(step_time_s=after, **changes)), env=replace(old.env, **(env or {})))
    judgement = judge(old, new, policy)
    assert judgement.exit_status == int(bool(judgement.of(FAIL)))
    return found(judgement, quantity=TIME)


def test_slower_steps_on_the_same_hardware_are_a_regression():
    finding = timed(STEPS, SLOW)
    assert (finding.outcome, finding.mark, finding.change) == (FAIL, "-", "x1.60")
    assert finding.message == (
        "a step takes 16.4 ms, 1.60 times the baseline's 10.2 ms (medians): that is above the limit of 1.25 and more "
        "than noise (p = 0.001)"
    )


def test_steps_that_only_waited_longer_warn():
    """Another program on the machine: the clock went on, the CPU worked no more than before."""
    finding = timed(STEPS, SLOW, cpu_before=STEPS, step_cpu_s=STEPS)
    assert (finding.outcome, finding.mark) == (WARN, "~")
    assert finding.message.endswith(
        "the CPU time is 1.00 times the baseline's: steps waited, most likely for other programs"
    )
    assert timed(STEPS, SLOW, cpu_before=STEPS, step_cpu_s=SLOW).outcome == FAIL
    assert timed(STEPS, SLOW, cpu_before=STEPS, step_cpu_s=STEPS[:5]).outcome == FAIL  # too few to tell
    assert timed(STEPS, SLOW, cpu_before=STEPS, step_cpu_s=(0.0, *STEPS)).outcome == FAIL  # not measured
    assert timed(STEPS, SLOW, cpu_before=STEPS, step_cpu_s=STEPS, gpu="H200").outcome == FAIL  # a CPU that waits for it
    assert timed(SLOW, STEPS, cpu_before=STEPS, step_cpu_s=STEPS).mark == ""
    assert timed(SLOW, STEPS, cpu_before=SLOW, step_cpu_s=STEPS).mark == "+"


@pytest.mark.parametrize("env", [{"cpu": "Other"}, {"cores": 8}, {"gpu": "H200"}])
def test_on_other_hardware_slower_steps_only_warn(env):
    finding = timed(STEPS, SLOW, env=env)
    assert (finding.outcome, finding.mark) == (WARN, "~")
    assert "only warns, because the two ran on different hardware" in finding.message
    assert timed(STEPS, SLOW, env={"python": "3.13.1"}).outcome == FAIL
    same = timed(STEPS, STEPS, env=env)
    assert (same.outcome, same.mark) == (SKIP, "x")


def test_steps_on_features_are_not_held_against_steps_on_pictures():
    finding = timed(STEPS, SLOW, on_features=True)
    assert finding.outcome == WARN
    assert "its steps were on pictures in the baseline and are on features of frozen layers now" in finding.message


def test_six_times_on_each_side_are_needed():
    finding = timed(STEPS, SLOW[:5])
    assert (finding.outcome, finding.mark) == (WARN, "~")
    assert "a verdict needs 6 step times on each side, but there are 6 and 5" in finding.message
    assert timed(STEPS, STEPS[:1]).outcome == PASS


def test_the_limit_itself_is_not_above_it():
    even = (0.01,) * 6
    assert timed(even, (0.0125,) * 6).outcome == PASS
    assert timed(even, (0.012501,) * 6).outcome == FAIL
    assert timed(even, (0.012501,) * 6).change == "x1.2501"
    assert timed(even, (0.0125,) * 6, Policy(usual=FamilyPolicy(max_slowdown=1.2))).outcome == FAIL


def test_a_higher_median_that_may_be_noise_warns():
    finding = timed((0.01,) * 6, (0.009, 0.009, 0.02, 0.02, 0.02, 0.02))
    assert finding.outcome == WARN
    assert "but may be noise (p = 0.12)" in finding.message


def test_much_faster_steps_are_marked():
    assert (timed(SLOW, STEPS).outcome, timed(SLOW, STEPS).mark) == (PASS, "+")
    assert timed(STEPS, [time / 1.2 for time in STEPS]).mark == ""
    assert timed(SLOW * 2, STEPS[:5]).mark == ""  # too few, though no chance would order them so


def test_times_that_are_missing_are_not_judged():
    assert timed((), ()) is None
    for before, after in ((STEPS, ()), ((), STEPS), (STEPS, (0.0, *STEPS))):
        assert (timed(before, after).outcome, timed(before, after).mark) == (SKIP, "x")


# -- parameters


def test_a_model_of_another_size_warns_and_above_the_cap_fails():
    before = results({"cnn": 0.9})
    larger = again(before, cnn=family(parameters=120_000))
    finding = found(judge(before, larger), quantity=PARAMETERS)
    assert (finding.outcome, finding.mark, finding.change) == (WARN, "~", "+20,000")
    assert finding.message == "were 100,000 and are 120,000: it is a different model"
    for cap, outcome in ((120_000, WARN), (119_999, FAIL)):
        judgement = judge(before, larger, Policy(usual=FamilyPolicy(max_parameters=cap)))
        assert found(judgement, quantity=PARAMETERS).outcome == outcome
    assert "that is more than the cap of 119,999" in found(judgement, quantity=PARAMETERS).message


def test_a_size_that_is_not_known_is_no_pass_under_a_cap():
    before = results({"cnn": family(parameters=None)})
    assert found(judge(before, again(before)), quantity=PARAMETERS) is None
    capped = Policy(usual=FamilyPolicy(max_parameters=10))
    assert found(judge(before, again(before), capped), quantity=PARAMETERS).outcome == WARN
    lost = judge(results({"cnn": 0.9}), again(before))
    assert found(lost, quantity=PARAMETERS).outcome == WARN
    counted = judge(before, again(before, cnn=family(parameters=5)))  # by a newer version: no other model
    assert found(counted, quantity=PARAMETERS) is None


def test_a_new_family_is_held_against_the_cap():
    before = results({"cnn": 0.9})
    judgement = judge(before, again(before, new=family()), Policy(usual=FamilyPolicy(max_parameters=99_999)))
    assert found(judgement, "new", PARAMETERS).outcome == FAIL


# -- comparable


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"split": {"test_ids_sha256": "8" * 64}}, "different test pictures: 2,000 in both, but not the same ones"),
        ({"split": {"sha256": "8" * 64}}, "different split: the test pictures are the same, but not those"),
        ({"config": {"images": 10}}, "setting images: 9000 in the baseline, 10 in this run"),
        ({"config": {"budget": {"trials": 30, "seconds": None}}}, "setting budget.trials: 20 in the baseline, 30 in"),
        ({"config": {"epochs": 3}}, "setting epochs: absent in the baseline, 3 in this run"),
        ({"config": {"seed": False}}, "setting seed: 0 in the baseline, False in this run"),
        ({"config": {"data": "a\nb"}}, "setting data: 'drawn' in the baseline, 'a\\nb' in this run"),
        ({"config": {"images": 10, "seed": 1}}, "setting seed: 0 in the baseline, 1 in this run"),
        ({"families": {"cnn": family(weights="random (missing)")}},
         "cnn started from no weights in the baseline and from weights 'random (missing)' in this run"),
        ({"families": {"cnn": family(cut_after=3)}},
         "cnn was trained to the end in the baseline and only until epoch 3 in this run"),
    ],
)  # fmt: skip
def test_what_does_not_compare_is_never_judged(changes, says):
    before = results({"cnn": 0.9})
    judgement = judge(before, results(**{"families": {"cnn": family(0.1), "new": family(0.2)}, **changes}))
    assert any(says in difference for difference in judgement.differences), judgement.differences
    assert {(finding.outcome, finding.mark) for finding in judgement.findings} == {(SKIP, "x")}
    assert judgement.exit_status == 3
    assert judgement.headline.startswith("NOT COMPARABLE: ")


def test_what_cannot_be_compared_or_makes_no_difference():
    said = "different test pictures: 2,000 in the baseline, 1,000 in this run"
    assert judge(results(n=2000), results(n=1000)).differences[0] == said
    other = results(n=1000, split={"source": "photos"})
    assert judge(results(n=2000), other).differences[0] == f"{said} (data drawn in the baseline, photos in this run)"
    single = results({"cnn": 1.0}, n=1)
    assert judge(single, again(single)).differences == ["too few test pictures to compare anything: 1"]
    assert judge(results({"cnn": GONE}), results({"cnn": 0.9})).exit_status == 3
    assert judge(results({}), results({})).exit_status == 3
    before = results({"cnn": 0.9, "vgg16": family(weights="imagenet")})
    assert judge(before, again(before, vgg16=GONE)).differences == []


@pytest.mark.parametrize("status", ["partial", "failed", "running"])
def test_a_baseline_of_a_run_that_is_not_complete_does_not_compare(status):
    before = results(status=status)
    judgement = judge(before, replace(again(before), status="complete"))
    assert judgement.differences == [f"the baseline's run is {status}, not complete"]


# -- incomplete, and what counts first


@pytest.mark.parametrize(
    ("status", "says"), [("partial", "stopped"), ("running", "was killed"), ("failed", "ended with an error")]
)
def test_a_run_that_is_not_complete_is_judged_and_told(status, says):
    before = results()
    judgement = judge(before, replace(again(before, cnn=family(0.5)), status=status))
    assert says in judgement.incomplete
    assert found(judgement).outcome == FAIL
    assert judgement.exit_status == 4
    assert judgement.headline.startswith(f"INCOMPLETE: the run is {status}: ")


def test_not_comparable_counts_before_incomplete_and_that_before_a_regression():
    before = results()
    worse = again(before, cnn=family(0.5, draw=1))
    assert judge(before, worse).exit_status == 1
    assert judge(before, replace(worse, status="partial")).exit_status == 4
    assert judge(before, replace(worse, status="partial", config={})).exit_status == 3


# -- order, notes, words


def test_failures_stand_first_then_warnings_then_the_baseline_s_order():
    before = results({"a": 0.5, "b": 0.6, "c": 0.7, "d": 0.8, "gone": 0.9})
    after = again(before, b=family(0.6, parameters=1), d=family(0.7, draw=1), new=family())
    after.families.pop("gone")
    names = [finding.family for finding in judge(before, after).findings]
    assert list(dict.fromkeys(names)) == ["d", "gone", "b", "a", "c", "new"]


def test_notes_tell_what_else_is_different():
    before = results({"cnn": 0.9})
    after = replace(
        again(before, cnn=family(params={"learning_rate": 0.01, "blocks": 2})),
        env=replace(before.env, python="3.13.1", cpu="Other CPU", gpu="H200"),
    )
    notes = judge(before, after).notes
    assert notes == [
        "different hardware, so step times only warn: Fake CPU @ 2.40GHz, 4 cores in the baseline, Other CPU, 4 cores, "
        "H200 in this run",
        "different versions: Python '3.11.9', now '3.13.1'",
        "cnn: a different configuration was chosen: learning_rate 0.001, now 0.01; depth 4, now absent; "
        "blocks absent, now 2",
    ]


def test_a_run_held_against_itself_is_told():
    assert judge(results(), results()).notes == ["the baseline was made from this run"]


@pytest.mark.parametrize(
    ("before", "after", "notes"),
    [("a", "b", ["mymob.py changed since the baseline"]), ("a", "a", []), ("", "b", []), ("a", "", [])],
)
def test_an_edited_file_is_named_and_an_older_baseline_says_nothing(before, after, notes):
    old = results({"cnn": family(file_sha256="a"), "mymob": family(file_sha256=before)})
    new = again(old, mymob=family(file_sha256=after, draw=1))
    assert judge(old, new).notes == notes


@pytest.mark.parametrize(
    ("shown", "expected"),
    [
        (amount(-0.0213, SHARE, 0.01), "2.1"),
        (amount(-0.0096, SHARE, 0.01), "0.96"),
        (amount(-0.00996, SHARE, 0.01), "0.996"),
        (amount(-0.01, SHARE, 0.01), "1.0"),
        (amount(-0.0104, SHARE, 0.01), "1.0"),
        (amount(-0.0699, SHARE, 0.07), "6.99"),
        (amount(-0.07, SHARE, 0.07), "7.0"),
        (signed(0.0, SHARE, 0.01 if 0.0 < 0 else None), "0.0"),
        (signed(-0.0, SHARE, 0.01 if -0.0 < 0 else None), "0.0"),
        (signed(-0.0001, SHARE, 0.01 if -0.0001 < 0 else None), "0.0"),
        (signed(0.0096, SHARE, 0.01 if 0.0096 < 0 else None), "+1.0"),
        (percent(0.8999, 0.9), "89.99 %"),
        (percent(None), ""),
        (exact(0.01, SHARE), "1.0 points"),
        (exact(0.0125, SHARE), "1.25 points"),
        (exact(0.07, SHARE), "7.0 points"),
        (sized(-0.0213, SHARE), "2.1 points"),
        (sized(-0.0213, LOSS), "0.021"),
        (amount(0.0096, LOSS, 0.01), "0.0096"),
        (amount(0.00996, LOSS, 0.01), "0.00996"),
        (signed(-0.0004, LOSS), "0.000"),
        (exact(0.0125, LOSS), "0.0125"),
        (value(-0.25, LOSS), "-0.250"),
        (value(0.5, SHARE), "50.0 %"),
        (value(None, LOSS), ""),
        (ratio(1.251, 1.25), "1.251"),
        (ratio(1.6, 1.25), "1.60"),
    ],
)
def test_a_rounded_figure_is_on_its_side_of_the_limit(shown, expected):
    assert shown == expected
