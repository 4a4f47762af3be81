"""Change points: what noise gives is none, what is planted is found where it was planted."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import ndtri

from bench.check.changepoints import Levels, accuracies, change_points, comparisons, scatter, smallest_visible, times

POINT = 0.01
LEAST = 0.005


def trained(
    rng: np.random.Generator,
    m: int,
    steps: Mapping[int, float] | None = None,
    n: int = 2000,
    seeds: int = 3,
    accuracy: float = 0.9,
    seed_sd: float = 0.0035,
    run_sd: float = 0.0,
    luck: float = 0.2,
    churn: float = 0.0,
    often: Sequence[int] = (),
) -> list[np.ndarray]:
    """Right answers of the models of m runs, each of shape (seeds, n), on pictures of normally distributed difficulty.

    Args:
        rng: Where chance comes from.
        m: How many runs.
        steps: By how much the accuracy of the method changes at a run.
        n, seeds, accuracy: Test pictures, trainings a run, and the accuracy of the method in the first one.
        seed_sd, run_sd: Standard deviation of the whole accuracy of a training and of a run.
        luck: How much chance decides on single pictures.
        churn: At a step, how far the difficulties become others: 0 not at all, 1 altogether.
        often: How often each run is made in a row, bit by bit the same; once, unless it is given.
    """
    scale = math.sqrt(1 + luck**2)
    slope = math.exp(-(ndtri(accuracy) ** 2) / 2) / math.sqrt(2 * math.pi) / scale
    difficulty, level, runs = rng.standard_normal(n), accuracy, []
    for run in range(m):
        if steps and run in steps:
            level += steps[run]
            difficulty = math.sqrt(1 - churn**2) * difficulty + churn * rng.standard_normal(n)
        shift = run_sd * rng.standard_normal() + seed_sd * rng.standard_normal((seeds, 1))
        runs.append(difficulty + luck * rng.standard_normal((seeds, n)) < ndtri(level) * scale + shift / slope)
    return [run for run, times in zip(runs, often or [1] * m, strict=True) for _ in range(times)]


def timed(
    rng: np.random.Generator, m: int, steps: Mapping[int, float] | None = None, sd: float = 0.03, busy: float = 0.0
) -> list[np.ndarray]:
    """Step times of m runs, ten each; a step is a factor, and `busy` the share of runs that take half as long again."""
    level, runs = math.log(0.01), []
    for run in range(m):
        level += math.log((steps or {}).get(run, 1.0))
        slow = math.log(1.5) * (rng.random() < busy)
        runs.append(np.exp(level + slow + sd * rng.standard_normal() + 0.03 * rng.standard_normal(10)))
    return runs


def in_all(m: int, families: int, shortest: int = 2) -> int:
    return families * len(comparisons(np.ones(m, int), shortest)[0])


def found(runs: list[np.ndarray], families: int = 6) -> list[int]:
    levels = accuracies(runs)
    return [point.at for point in change_points(levels, LEAST, families * len(levels.comparisons[0]))]


def found_times(runs: list[np.ndarray], families: int = 6) -> list[int]:
    return [point.at for point in change_points(times(runs), math.log(1.1), in_all(len(runs), families, 3))]


# -- what is compared


@given(st.lists(st.integers(1, 6), max_size=60), st.integers(1, 4))
def test_every_place_is_looked_at_once_a_window_and_both_sides_are_long_enough(often: list[int], shortest: int) -> None:
    ends = np.concatenate([[0], np.cumsum(often)]).astype(int)
    begin, split, end = comparisons(np.array(often, int), shortest)
    every = {k for k in range(1, len(often)) if shortest <= ends[k] <= ends[-1] - shortest}
    assert set(split.tolist()) == every
    assert ((ends[split] - ends[begin] >= shortest) & (ends[end] - ends[split] >= shortest)).all()
    assert len({*zip(begin.tolist(), split.tolist(), end.tolist(), strict=True)}) == len(split)


@given(st.integers(2, 50), st.integers(2, 6), st.integers(2, 50))
def test_what_lasted_two_runs_or_more_is_compared_with_what_was_before(before: int, during: int, after: int) -> None:
    windows = {*zip(*(each.tolist() for each in comparisons(np.array([before, during, after]))), strict=True)}
    assert windows == {(0, 1, 2), (1, 2, 3), (0, 1, 3), (0, 2, 3)}


def test_a_difference_has_the_paired_noise_of_its_pictures_and_the_noise_of_its_runs() -> None:
    runs = trained(np.random.default_rng(0), 7)
    levels = accuracies(runs)
    difference, error, freedom = levels.compare(*(np.array([place]) for place in (1, 3, 7)))
    shares = np.stack([run.mean(axis=0) for run in runs])
    each = shares[3:7].mean(axis=0) - shares[1:3].mean(axis=0)
    noise = levels.variance[0] * (1 / 2 + 1 / 4)
    assert difference[0] == pytest.approx(each.mean())
    assert error[0] == pytest.approx(math.sqrt(each.var(ddof=1) / 2000 + noise))
    assert freedom[0] > levels.freedom
    seeds = [run.mean(axis=1) for run in runs]
    assert levels.variance[0] >= np.mean([own.var(ddof=1) for own in seeds]) / 3 - 1e-12


def test_runs_that_repeat_each_other_count_once() -> None:
    runs = trained(np.random.default_rng(1), 3, {2: -4 * POINT})
    alone, often = (accuracies([runs[0]] * a + [runs[1]] * b + [runs[2]] * c) for a, b, c in ((1, 1, 2), (30, 1, 40)))
    whole = [np.array([each]) for each in (0, 2, 3)]
    assert np.array_equal(alone.compare(*whole), often.compare(*whole))
    assert alone.freedom == often.freedom == 6
    assert (len(often), often.different) == (3, 3)
    (point,) = change_points(often, LEAST, len(often.comparisons[0]))
    assert point.at == 31
    assert point.before == pytest.approx((runs[0].mean() + runs[1].mean()) / 2)


def test_two_runs_that_differ_are_one_comparison_however_often_they_are_made() -> None:
    before, after = trained(np.random.default_rng(1), 2, {1: -4 * POINT}, seeds=2)
    p = set()
    for often in (2, 4, 40):
        levels = accuracies([before] * often + [after] * often)
        assert len(levels.comparisons[0]) == 1
        (point,) = change_points(levels, LEAST, 1)
        assert point.at == often
        p.add(point.p)
    assert len(p) == 1


def test_a_program_that_went_back_to_what_it_was_says_nothing_new() -> None:
    first, second, third = trained(np.random.default_rng(16), 3)
    levels = accuracies([first, second, first, third])
    assert (len(levels), levels.different, levels.freedom) == (4, 3, 6)
    _, error, _ = levels.compare(*(np.array([each]) for each in (0, 3, 4)))
    shares = np.stack([run.mean(axis=0) for run in (first, second, third)])
    pictures = (shares[2] - (2 * shares[0] + shares[1]) / 3).var(ddof=1) / 2000
    assert error[0] ** 2 == pytest.approx(pictures + levels.variance[0] * (1 + (2 / 3) ** 2 + (1 / 3) ** 2))
    assert found([first, second] * 10) == []


def test_one_run_between_repeats_is_no_change_but_two_are() -> None:
    usual, worse = trained(np.random.default_rng(17), 2, {1: -8 * POINT})
    assert found([usual] * 6 + [worse] + [usual] * 6) == []
    assert found([usual] * 6 + [worse] * 2 + [usual] * 6) == [6, 8]


def test_the_luck_of_one_seed_is_no_change_where_seeds_are_known() -> None:
    """A harmless edit draws the luck anew; run after run repeats it, and that proves nothing."""
    rng = np.random.default_rng(2)
    lucky = trained(rng, 40, luck=0.05, seed_sd=0.006, seeds=1)
    lucky.sort(key=lambda run: run.mean())
    calibration = [np.concatenate(lucky[::8])]
    low, high = lucky[4], lucky[-5]
    assert high.mean() - low.mean() > POINT
    assert found([low] * 10 + [high] * 10, families=1) == [10]
    assert found(calibration + [low] * 10 + [high] * 10, families=1) == []


def test_without_seeds_and_with_few_runs_the_noise_is_not_known() -> None:
    rng = np.random.default_rng(3)
    assert not accuracies(trained(rng, 4, seeds=1)).calibrated
    assert accuracies(trained(rng, 5, seeds=1)).calibrated
    assert accuracies(trained(rng, 1, seeds=2)).calibrated
    assert accuracies([np.repeat(run, 3, axis=0) for run in trained(rng, 2, seeds=1)]).calibrated


@pytest.mark.parametrize("m", [5, 10, 30])
def test_scatter_is_the_variance_of_normal_values(m: int) -> None:
    rng = np.random.default_rng(4)
    every = [scatter(rng.standard_normal(m)) for _ in range(1000)]
    assert np.mean([variance for variance, _ in every]) == pytest.approx(1, abs=0.1)
    freedom = 2 / np.var([variance for variance, _ in every])
    assert every[0][1] == pytest.approx(freedom, rel=0.25)


def test_scatter_does_not_take_changes_for_noise() -> None:
    values = np.random.default_rng(5).standard_normal(30)
    values[10:] += 50
    values[20:] -= 50
    assert scatter(values)[0] < 2


# -- what is found


def test_a_step_is_found_where_it_is_with_its_size() -> None:
    runs = trained(np.random.default_rng(6), 14, {8: -2.5 * POINT})
    (point,) = change_points(accuracies(runs), LEAST, in_all(14, 6))
    assert point.at == 8
    assert point.low <= point.difference <= point.high < 0
    assert point.low < -2.5 * POINT < point.high
    assert point.before == pytest.approx(np.mean([run.mean() for run in runs[:8]]))
    assert point.p < 0.001


@pytest.mark.parametrize("seed", [1, 2, 3, 55])
def test_a_large_step_in_a_long_series_is_one_change(seed: int) -> None:
    """Splits beside it are as unlikely by chance: all of its noise is that of the pictures that changed."""
    assert found(trained(np.random.default_rng(seed), 60, {30: -10 * POINT}, n=500)) == [30]


def test_a_drop_that_was_put_right_is_two_changes() -> None:
    assert found(trained(np.random.default_rng(7), 30, {12: -2 * POINT, 18: 2 * POINT})) == [12, 18]


def test_one_run_that_stands_out_is_no_change_but_two_are() -> None:
    rng = np.random.default_rng(8)
    assert found(trained(rng, 20, {9: -6 * POINT, 10: 6 * POINT})) == []
    assert found(trained(rng, 20, {9: -6 * POINT, 11: 6 * POINT})) == [9, 11]


def test_a_change_of_less_than_the_least_is_none() -> None:
    runs = trained(np.random.default_rng(9), 60, {30: -1.5 * POINT}, n=5000)
    levels, tests = accuracies(runs), in_all(60, 1)
    assert [point.at for point in change_points(levels, LEAST, tests)] == [30]
    assert change_points(levels, 2.5 * POINT, tests) == []


def test_more_comparisons_ask_for_more() -> None:
    levels = accuracies(trained(np.random.default_rng(10), 12, {6: -1.2 * POINT}))
    (point,) = change_points(levels, LEAST, 10)
    assert change_points(levels, LEAST, round(10 * 0.06 / point.p) + 10) == []


def test_accuracies_that_never_change_have_no_change() -> None:
    runs = trained(np.random.default_rng(11), 1, seeds=1) * 12
    assert found(runs) == []
    assert found([np.ones((1, 50), bool)] * 12) == []


def test_times_change_by_a_factor() -> None:
    runs = timed(np.random.default_rng(12), 16, {8: 1.3})
    (point,) = change_points(times(runs), math.log(1.1), in_all(16, 6, 3))
    assert point.at == 8
    assert math.exp(point.low) < 1.3 < math.exp(point.high)


def test_a_machine_that_is_busy_now_and_then_is_no_change() -> None:
    runs = timed(np.random.default_rng(13), 40)
    for run in (3, 17, 19, 30):
        runs[run] = runs[run] * 1.6
    assert found_times(runs) == []


def test_too_few_runs_show_nothing() -> None:
    rng = np.random.default_rng(14)
    short = accuracies(trained(rng, 3))
    assert change_points(short, LEAST, 1) == []
    assert smallest_visible(short, LEAST, 1) is None
    assert smallest_visible(times(timed(rng, 5)), 0.1, 1) is None


def test_more_runs_show_smaller_changes() -> None:
    rng = np.random.default_rng(15)
    sizes = [smallest_visible(accuracies(trained(rng, m)), LEAST, in_all(m, 6)) for m in (6, 12, 48)]
    assert sizes == sorted(sizes, reverse=True)
    assert all(size is not None and size > LEAST for size in sizes)


@pytest.mark.parametrize(
    "correct", [[], [np.ones((1, 5), bool), np.ones((1, 6), bool)], [np.ones((0, 5), bool)], [np.ones((1, 1), bool)]]
)
def test_accuracies_that_do_not_pair_are_refused(correct: list[np.ndarray]) -> None:
    with pytest.raises(ValueError, match="but got"):
        accuracies(correct)


@pytest.mark.parametrize("seconds", [[], [[0.1], []], [[0.1], [0.0]]])
def test_times_that_are_none_are_refused(seconds: list[list[float]]) -> None:
    with pytest.raises(ValueError, match="above 0"):
        times(seconds)


def test_levels_without_noise_change_where_they_change() -> None:
    values = np.array([1.0, 1, 1, 2, 2, 2])
    exact = Levels(values, np.ones(6, int), np.zeros(6), 0.0, np.zeros((6, 6)), np.arange(6))
    assert [(point.at, point.low, point.high) for point in change_points(exact, 0.5, 99)] == [(3, 1.0, 1.0)]


# -- how often, over many series: the figures of docs/statistics.md

NULLS = {
    "seeds": {},
    "seeds, little luck": {"luck": 0.05, "seed_sd": 0.004},
    "one seed": {"seeds": 1},
    "runs scatter beyond their seeds": {"run_sd": 0.004, "seed_sd": 0.003},
    "an edit that changes answers but not the accuracy": {"churn": 0.3},
}


@pytest.mark.slow
@pytest.mark.parametrize("m", [10, 30])
@pytest.mark.parametrize("kind", NULLS)
def test_a_stable_series_has_a_change_point_at_most_once_in_twenty(kind: str, m: int) -> None:
    rng = np.random.default_rng(20)
    series = [trained(rng, m, {m // 2: 0.0}, **NULLS[kind]) for _ in range(400)]
    assert sum(bool(found(runs, families=1)) for runs in series) <= 0.05 * 400


REPEATED = {
    "8 runs, 2 different": [4, 4],
    "30 runs, every 5th differs": [5] * 6,
    "30 runs, 10 different": [9, 1, 1, 6, 2, 1, 4, 3, 2, 1],
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", [{}, {"seeds": 2}, {"churn": 0.3}, {"seeds": 1, "seed_sd": 0.0}])
@pytest.mark.parametrize("often", REPEATED)
def test_a_stable_series_of_repeats_has_a_change_point_at_most_once_in_twenty(often: str, kind: dict) -> None:
    """With one seed that holds where seeds are all alike: two trainings do not tell how far others differ.

    A single comparison has the level itself, so chance takes it above in half of the simulations: two deviations.
    """
    rng, m = np.random.default_rng(25), len(REPEATED[often])
    edits = dict.fromkeys(range(1, m), 0.0)
    series = [trained(rng, m, edits, often=REPEATED[often], **kind) for _ in range(400)]
    assert sum(bool(found(runs, families=1)) for runs in series) <= 0.05 * 400 + 2 * math.sqrt(400 * 0.05 * 0.95)


@pytest.mark.slow
@pytest.mark.parametrize(("often", "places"), [([4, 4], {4}), ([5] * 6, {10, 15, 20})])
def test_a_step_between_repeats_is_found_four_times_in_five(often: list[int], places: set[int]) -> None:
    rng, m = np.random.default_rng(26), len(often)
    series = [trained(rng, m, {m // 2: -3 * POINT}, often=often) for _ in range(200)]
    assert sum(bool(places.intersection(found(runs, families=1))) for runs in series) >= 0.8 * 200


@pytest.mark.slow
@pytest.mark.parametrize("churn", [0.0, 0.15])
@pytest.mark.parametrize(("m", "at"), [(10, 5), (16, 8), (30, 5), (30, 15), (30, 25)])
def test_a_step_of_two_points_is_found_four_times_in_five(m: int, at: int, churn: float) -> None:
    rng = np.random.default_rng(21)
    series = [trained(rng, m, {at: -2 * POINT}, churn=churn) for _ in range(200)]
    hits = [[abs(place - at) <= 1 for place in found(runs)] for runs in series]
    assert sum(any(each) for each in hits) >= 0.8 * 200
    assert sum(not all(each) for each in hits) <= 0.05 * 200


@pytest.mark.slow
@pytest.mark.parametrize("busy", [0.0, 0.05])
@pytest.mark.parametrize("m", [10, 30])
def test_stable_times_have_a_change_point_at_most_once_in_twenty(m: int, busy: float) -> None:
    rng = np.random.default_rng(22)
    assert sum(bool(found_times(timed(rng, m, busy=busy), families=1)) for _ in range(400)) <= 0.05 * 400


@pytest.mark.slow
def test_steps_that_take_a_quarter_longer_are_found_four_times_in_five() -> None:
    rng = np.random.default_rng(23)
    for m in (12, 30):
        hits = sum(m // 2 in found_times(timed(rng, m, {m // 2: 1.25})) for _ in range(200))
        assert hits >= 0.8 * 200


@pytest.mark.slow
def test_the_interval_of_a_change_holds_its_size() -> None:
    """A bit less often than 95 %: only changes that were seen have one, and those look too large."""
    rng = np.random.default_rng(24)
    points = [
        point
        for _ in range(300)
        for point in change_points(accuracies(trained(rng, 20, {10: -2 * POINT})), LEAST, in_all(20, 6))
    ]
    assert np.mean([point.low <= -2 * POINT <= point.high for point in points]) >= 0.9
