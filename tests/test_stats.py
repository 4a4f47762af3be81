"""Intervals and tests against published values, and what must hold for any counts."""

from __future__ import annotations

import subprocess
import sys
from itertools import combinations, product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.stats import binomtest, mannwhitneyu, norm, rankdata, t

from bench.stats import (
    EXACT_UP_TO,
    by_group,
    change,
    detectable,
    difference,
    difference_over_seeds,
    holm,
    luck_of_best,
    mcnemar,
    over_seeds,
    paired_difference,
    sign_flips,
    slower,
    standard_error,
    wilson,
)

COUNTS = st.integers(0, 3000)
FOURFOLD = st.tuples(COUNTS, COUNTS, COUNTS, COUNTS).filter(any)


def right(*rows: str) -> NDArray[np.bool_]:
    """A row a seed, `1` where the picture is right."""
    return np.array([[each == "1" for each in row] for row in rows])


def drawn(accuracy: float, seeds: int, n: int, seed: int = 0) -> NDArray[np.bool_]:
    """Seeds that have nothing in common."""
    return np.random.default_rng(seed).random((seeds, n)) < accuracy


@pytest.mark.parametrize(
    ("correct", "n", "expected"),
    [
        # R. G. Newcombe (1998), "Two-sided confidence intervals for the single proportion", Statistics in Medicine 17,
        # 857-872, table I, method 3.
        (81, 263, (0.2553, 0.3662)),
        (15, 148, (0.0624, 0.1605)),
        (0, 20, (0.0, 0.1611)),
        (1, 29, (0.0061, 0.1718)),
    ],
)
def test_wilson_gives_newcombes_values(correct: int, n: int, expected: tuple[float, float]) -> None:
    assert wilson(correct, n) == pytest.approx(expected, abs=5e-5)


@given(st.integers(1, 10_000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_agrees_with_scipy(counts: tuple[int, int]) -> None:
    assert wilson(*counts) == pytest.approx(tuple(binomtest(*counts).proportion_ci(method="wilson")), abs=1e-12)


def test_wilson_stays_within_zero_and_one() -> None:
    assert wilson(0, 1)[0] == 0.0
    assert wilson(7, 7)[1] == 1.0


@pytest.mark.parametrize(("correct", "n"), [(1, 0), (-1, 5), (6, 5)])
def test_wilson_refuses_what_is_no_proportion(correct: int, n: int) -> None:
    with pytest.raises(ValueError, match=str(correct)):
        wilson(correct, n)


def test_mcnemar_gives_published_values() -> None:
    """Airway hyper-responsiveness, 1 against 7 discordant (Bentur et al., 2009), from Fagerland, Lydersen and Laake
    (2013), BMC Medical Research Methodology 13:91; two media, 12 against 2, from Armitage and Berry (1994), p. 127.
    """
    assert mcnemar([1, 12], [7, 2]) == pytest.approx([0.0703, 0.0129], abs=5e-5)


@given(COUNTS, COUNTS)
def test_mcnemar_is_the_binomial_test_either_way_round(first: int, second: int) -> None:
    p = float(mcnemar(first, second))
    assert p == float(mcnemar(second, first))
    assert p == pytest.approx(binomtest(first, first + second).pvalue if first + second else 1.0, abs=1e-10)


def test_mcnemar_refuses_a_negative_count() -> None:
    with pytest.raises(ValueError, match="-3"):
        mcnemar([1, -3], [0, 2])


def test_holm_steps_down() -> None:
    """By hand: 4 x 0.005, 3 x 0.01, 2 x 0.03, then 1 x 0.04, which may not fall below the step before."""
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.4, 0.9]).tolist() == [0.8, 0.9]
    assert holm([]).tolist() == []


@given(st.lists(st.floats(0, 1), max_size=30))
def test_holm_only_raises_and_keeps_the_order(p: list[float]) -> None:
    adjusted = holm(p)
    assert all(before <= after <= 1 for before, after in zip(p, adjusted, strict=True))
    assert all(np.diff(adjusted[np.argsort(p, kind="stable")]) >= 0)


def test_the_paired_interval_gives_published_values() -> None:
    """Complete response before and after consolidation therapy (Cavo et al., 2012), in Fagerland, Lydersen and Laake
    (2017), "Statistical Analysis of Contingency Tables", chapter 8, as their software prints it.
    """
    low, high = paired_difference(59, 6, 16, 80)
    assert (float(low), float(high)) == pytest.approx((-0.1186, -0.0046), abs=5e-5)


@given(FOURFOLD)
def test_the_paired_interval_holds_the_difference_and_turns_with_it(counts: tuple[int, int, int, int]) -> None:
    both, first, second, neither = counts
    low, high = paired_difference(both, first, second, neither)
    difference = (first - second) / sum(counts)
    assert -1 - 1e-9 <= low <= difference <= high <= 1 + 1e-9
    turned = paired_difference(both, second, first, neither)
    assert (-turned[1], -turned[0]) == pytest.approx((low, high), abs=1e-12)


def test_the_paired_interval_is_narrower_where_two_agree_more() -> None:
    """Both classify 90 % rightly; one pair differs on 20 of 1,000 pictures, the other on 180."""
    low, high = paired_difference([890, 810], [10, 90], [10, 90], [90, 10])
    assert high[0] - low[0] < 0.02 < high[1] - low[1]


@given(st.integers(2, 120), st.floats(0, 1), st.floats(0, 1), st.integers(1, 9), st.integers(0, 4), st.integers(0, 99))
def test_an_interval_and_its_p_value_never_contradict(
    n: int, one: float, other: float, tests: int, groups: int, seed: int
) -> None:
    """Exact tests and intervals of single seeds, with and without groups, and t tests over seeds."""
    numbers = np.arange(n) % (n // 2 + 1) if groups else None
    first, second = drawn(one, 3, n, seed), drawn(other, 3, n, seed + 1)
    for found in (
        difference(first[0], second[0], numbers, tests),
        difference_over_seeds(first, second, numbers, tests),
    ):
        assert found.low <= found.value <= found.high
        assert found.significant == (found.low > 0 or found.high < 0)
        assert 0 <= found.p <= 1


@given(st.integers(20, 120), st.integers(2, 9), st.integers(0, 99))
def test_of_several_differences_intervals_are_wider_and_p_values_larger(n: int, tests: int, seed: int) -> None:
    one, other = drawn(0.9, 1, n, seed)[0], drawn(0.7, 1, n, seed + 1)[0]
    alone, together = difference(one, other), difference(one, other, tests=tests)
    assert together.low <= alone.low <= alone.high <= together.high
    assert together.p >= alone.p


@pytest.mark.parametrize("counts", [(0, 0, 0, 0), (5, -1, 0, 0)])
def test_the_paired_interval_refuses_what_is_no_table(counts: tuple[int, int, int, int]) -> None:
    with pytest.raises(ValueError, match=r"counts must be >= 0 and their sum >= 1"):
        paired_difference(*counts)


@given(st.integers(1, 300), st.integers(1, 12), st.floats(0, 1), st.integers(0, 99))
def test_seeds_that_agree_in_all_say_no_more_than_one(n: int, seeds: int, accuracy: float, seed: int) -> None:
    one = drawn(accuracy, 1, n, seed)
    share, low, high = over_seeds(np.repeat(one, seeds, axis=0))
    assert share == pytest.approx(one.mean())
    assert (low, high) == pytest.approx(wilson(int(one.sum()), n), abs=1e-12)


def test_the_interval_of_one_seed_is_wilsons() -> None:
    assert over_seeds(right("1101")) == (0.75, *wilson(3, 4))


@given(st.integers(1, 40), st.integers(1, 6), st.floats(0, 1), st.integers(0, 99))
def test_the_interval_over_seeds_stays_inside_and_holds_the_share(
    n: int, seeds: int, accuracy: float, seed: int
) -> None:
    share, low, high = over_seeds(drawn(accuracy, seeds, n, seed))
    assert 0 <= low <= share + 1e-12
    assert share - 1e-12 <= high <= 1


def score(share: float, n: float, z: float) -> tuple[float, float]:
    """Wilson's bounds as the roots of |share - p| = z sqrt(p (1 - p) / n)."""
    low, high = sorted(np.roots([n + z**2, -(2 * n * share + z**2), n * share**2]))
    return float(low), float(high)


def test_the_variance_over_seeds_is_that_of_the_crossed_design() -> None:
    """By hand. First: seeds alike in accuracy, each wrong where the other is right. The interaction is larger than all,
    so the pictures' 1/64 stands: 0.6 of it with 0.4 of 3/64, for p (1 - p) n is 3/4. Second: the seeds' part, 1/16, is
    the largest, with one degree of freedom.
    """
    assert over_seeds(right("1110", "1101"))[1:] == pytest.approx(score(0.75, 0.1875 / 0.028125, 1.959964), abs=1e-6)
    assert over_seeds(right("1111", "1100"))[1:] == pytest.approx(score(0.75, 0.1875 / 0.0625, 12.706205), abs=1e-6)


def test_the_interval_is_narrower_where_seeds_err_apart_and_wider_where_their_accuracy_differs() -> None:
    def width(right: NDArray[np.bool_]) -> float:
        _, low, high = over_seeds(right)
        return high - low

    apart, alike = drawn(0.9, 5, 2000), np.repeat(drawn(0.9, 1, 2000), 5, axis=0)
    unequal = np.concatenate([drawn(each, 1, 2000, 1) for each in (0.8, 0.85, 0.9, 0.95, 1.0)])
    assert width(apart) < 0.7 * width(alike)
    assert width(unequal) > 3 * width(alike)


@pytest.mark.parametrize("shape", [(0, 5), (3, 0), (4,)])
def test_the_interval_over_seeds_needs_a_seed_and_a_picture(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"shape must be \(seeds, n\)"):
        over_seeds(np.ones(shape, bool))


def test_a_change_has_the_error_of_pictures_and_seeds() -> None:
    """By hand: differences 0, 0, -1/2, -1/2 have the variance 1/12; accuracies 1 and 1/2 the variance 1/8."""
    found = change(right("1111"), right("1111", "1100"), seed_sd=0.25)
    assert found.difference == -0.25
    assert found.standard_error == pytest.approx(np.sqrt(1 / 12 / 4 + 0.25**2 + 1 / 8 / 2))
    assert found.freedom == pytest.approx(found.standard_error**4 / ((0.25**2 + 1 / 8 / 2) ** 2 / 4))
    assert found.p_drop == pytest.approx(t.cdf(-0.25 / found.standard_error, found.freedom))
    reach = t.ppf(0.975, found.freedom) * found.standard_error
    assert (found.low, found.high) == pytest.approx((-0.25 - reach, -0.25 + reach))
    assert found.detectable() == pytest.approx(detectable(found.standard_error, found.freedom))


def test_where_nothing_is_known_of_the_seeds_the_test_is_the_normal_one() -> None:
    found = change(drawn(0.9, 1, 500), drawn(0.85, 1, 500, 1))
    assert found.freedom == np.inf
    assert found.p_drop == pytest.approx(norm.cdf(found.difference / found.standard_error))


def test_a_change_is_calibrated_where_the_noise_of_both_sides_seeds_is_known() -> None:
    one, three = drawn(0.9, 1, 500), drawn(0.9, 3, 500, 1)
    assert not change(one, three).calibrated
    assert not change(three, one).calibrated
    assert change(three, one, seed_sd=0.004).calibrated
    assert change(three, three[:2]).calibrated
    assert change(one, three, 0.004).standard_error > change(one, three).standard_error
    assert change(three, three, 0.5) == change(three, three)


def test_versions_that_answer_alike_have_not_dropped() -> None:
    found = change(right("1101"), right("1101"))
    assert (found.difference, found.standard_error, found.p_drop) == (0, 0, 1)
    assert change(right("1111"), right("0000")).p_drop == 0
    assert change(right("0000"), right("1111")).p_drop == 1


def test_a_drop_of_just_a_point_is_just_a_point() -> None:
    """Twenty of 2,000 pictures less, over three seeds of which none has exactly that: no rounding moves it."""
    before, after = np.ones((3, 2000), bool), np.ones((3, 2000), bool)
    after[0, :10] = after[1, :20] = after[2, :30] = False
    assert change(before, after).difference == -0.01


@pytest.mark.parametrize(("before", "after"), [((1, 5), (1, 4)), ((1, 1), (1, 1)), ((0, 5), (1, 5)), ((5,), (1, 5))])
def test_a_change_needs_the_same_pictures_and_a_seed(before: tuple[int, ...], after: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="but got"):
        change(np.ones(before, bool), np.ones(after, bool))


def test_the_detectable_drop_is_seen_with_80_percent_power() -> None:
    assert detectable(0.5) == pytest.approx((norm.ppf(0.95) + norm.ppf(0.80)) / 2)
    assert detectable(1.0) == pytest.approx(2.486, abs=5e-4)
    assert detectable(1.0, 4) == pytest.approx(t.ppf(0.95, 4) + t.ppf(0.80, 4))


def test_the_difference_over_seeds_takes_the_interaction_out() -> None:
    """By hand: 1/48 of the pictures, 1/16 of the other's seeds, less 1/64 of the interaction."""
    found = difference_over_seeds(right("1111", "1111"), right("1111", "1100"))
    error, freedom = np.sqrt(1 / 48 + 1 / 16 - 1 / 64), (13 / 192 * 16) ** 2
    assert found.value == 0.25
    assert found.p == pytest.approx(2 * t.sf(0.25 / error, freedom))
    assert (found.low, found.high) == (-1, 1)


@given(st.integers(2, 60), st.integers(2, 5), st.integers(2, 5), st.integers(0, 99))
def test_the_difference_over_seeds_turns_with_its_sides(n: int, seeds: int, others: int, seed: int) -> None:
    one, other = drawn(0.9, seeds, n, seed), drawn(0.8, others, n, seed + 1)
    found, turned = difference_over_seeds(one, other), difference_over_seeds(other, one)
    assert found.low <= found.value <= found.high
    assert (-turned.high, -turned.value, -turned.low) == pytest.approx((found.low, found.value, found.high))
    assert turned.p == pytest.approx(found.p)
    assert (found.p < 0.05) == (found.low > 0 or found.high < 0)


def test_configurations_that_answer_alike_do_not_differ() -> None:
    same = np.repeat(drawn(0.9, 1, 50), 3, axis=0)
    found = difference_over_seeds(same, same)
    assert (found.value, found.low, found.high, found.p) == (0, 0, 0, 1)


@pytest.mark.parametrize(("one", "other"), [((0, 5), (2, 5)), ((2, 5), (2, 6)), ((2, 1), (2, 1)), ((5,), (2, 5))])
def test_the_difference_over_seeds_needs_the_same_pictures(one: tuple[int, ...], other: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="same n of at least 2"):
        difference_over_seeds(np.ones(one, bool), np.ones(other, bool))


def test_six_times_that_are_all_longer_are_unlikely_enough() -> None:
    assert slower([1, 2, 3, 4, 5, 6], [7, 8, 9, 10, 11, 12]) == (pytest.approx(9.5 / 3.5), pytest.approx(1 / 924))
    ratio, p = slower([1, 1, 1, 1, 1, 1.1], [1.5, 1.5, 1.5, 1.5, 1.6, 1.6])
    assert (ratio, p) == (1.5, pytest.approx(1 / 924))
    assert slower([7, 8, 9], [1, 2, 3])[1] == 1


@given(st.lists(st.integers(1, 5), min_size=1, max_size=6), st.lists(st.integers(1, 5), min_size=1, max_size=6))
def test_the_rank_test_counts_all_ways_to_divide_the_times(before: list[int], after: list[int]) -> None:
    ranks = rankdata(before + after)
    observed = ranks[len(before) :].sum()
    sums = [sum(each) for each in combinations(ranks, len(after))]
    assert slower(before, after)[1] == pytest.approx(np.mean([each >= observed - 1e-9 for each in sums]))


@pytest.mark.parametrize(("each", "method"), [(EXACT_UP_TO // 2, "exact"), (EXACT_UP_TO, "asymptotic")])
def test_the_rank_test_agrees_with_scipy(each: int, method: str) -> None:
    rng = np.random.default_rng(0)
    before, after = rng.lognormal(size=each), rng.lognormal(0.3, size=each)
    if method == "asymptotic":
        before, after = np.ceil(before * 4), np.ceil(after * 4)  # ties
    expected = mannwhitneyu(after, before, alternative="greater", method=method).pvalue
    assert slower(before, after)[1] == pytest.approx(expected, rel=1e-9)
    assert slower(np.ones(50), np.ones(50)) == (1, 1)


@pytest.mark.parametrize(("before", "after"), [([], [1.0]), ([1.0], []), ([0.0], [1.0]), ([1.0], [float("nan")])])
def test_times_must_be_times(before: list[float], after: list[float]) -> None:
    with pytest.raises(ValueError, match="above 0"):
        slower(before, after)


def test_what_the_gate_needs_does_not_load_scipy_stats() -> None:
    """It takes a second, which is all that `check` has."""
    code = """
import sys, numpy
from bench import stats
right = numpy.eye(3, 9, dtype=bool)
stats.change(right, right[:1], 0.1), stats.over_seeds(right), stats.difference_over_seeds(right, right)
stats.slower(range(1, 7), range(2, 8)), stats.slower(range(1, 99), range(2, 99)), stats.mcnemar(3, 4)
assert "scipy.stats" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True)


GROUPS = st.lists(st.integers(0, 4), min_size=2, max_size=40).map(lambda g: np.unique(g, return_inverse=True)[1])


@given(st.lists(st.integers(-1, 1), max_size=60))
def test_the_sign_test_of_single_pictures_is_mcnemars(differences: list[int]) -> None:
    ahead, behind = differences.count(1), differences.count(-1)
    assert sign_flips(differences) == pytest.approx(float(mcnemar(ahead, behind)), abs=1e-12)


@given(st.lists(st.integers(-4, 4), max_size=9))
def test_the_sign_test_counts_all_signs(differences: list[int]) -> None:
    observed = abs(sum(differences))
    sums = [sum(np.multiply(differences, signs)) for signs in product([-1, 1], repeat=len(differences))]
    extreme = sum(abs(total) >= observed for total in sums) / len(sums)
    assert sign_flips(differences) == pytest.approx(extreme, abs=1e-12)


@given(GROUPS, st.integers(0, 2**32))
def test_the_values_of_groups_keep_the_accuracy(groups: np.ndarray, seed: int) -> None:
    right = np.random.default_rng(seed).random((3, len(groups))) < 0.7
    values = by_group(right, groups)
    assert values.shape == (3, groups.max() + 1)
    assert values.mean(axis=1) == pytest.approx(right.mean(axis=1))
    assert by_group(right, np.arange(len(groups))) == pytest.approx(by_group(right, None))


def test_groups_of_equal_size_have_the_accuracies_as_values() -> None:
    right = np.array([True, True, False, True, False, False])
    assert by_group(right, np.array([0, 0, 0, 1, 1, 1])) == pytest.approx([2 / 3, 1 / 3])


def test_pictures_alone_in_their_groups_are_compared_as_without_groups() -> None:
    generator = np.random.default_rng(3)
    one, other = generator.random((2, 200)) < [[0.8], [0.6]]
    found = difference(one, other, np.arange(200))
    usual = difference(one, other)
    assert (
        found.p == pytest.approx(usual.p) == pytest.approx(float(mcnemar((one & ~other).sum(), (other & ~one).sum())))
    )
    assert (found.low, found.high) == pytest.approx((usual.low, usual.high), abs=0.002)  # Student's t


def test_the_interval_over_groups_covers_the_accuracy_and_wilsons_does_not() -> None:
    """Patients of five pictures each, which are all right or all wrong in most of them."""
    generator, covered, without = np.random.default_rng(0), 0, 0
    groups = np.repeat(np.arange(40), 5)
    for _ in range(300):
        patient = generator.beta(0.4, 0.1, 40)  # of mean 0.8
        right = generator.random(200) < patient[groups]
        _, low, high = over_seeds(right[np.newaxis], groups)
        covered += low <= 0.8 <= high
        without += wilson(int(right.sum()), 200)[0] <= 0.8 <= wilson(int(right.sum()), 200)[1]
    assert covered >= 0.92 * 300
    assert without <= 0.8 * 300


def test_the_test_over_groups_holds_its_level() -> None:
    """Two models that are equally good, each better on whole patients."""
    generator, found = np.random.default_rng(1), 0
    groups = np.repeat(np.arange(30), 6)
    for _ in range(300):
        better = generator.normal(0, 0.4, 30)[groups]
        one, other = generator.random((2, 180)) < np.clip([0.7 + better, 0.7 - better], 0, 1)
        found += difference(one, other, groups).significant
    assert found <= 0.08 * 300


@pytest.mark.parametrize("seeds", [1, 3])
def test_a_change_over_groups_has_their_error(seeds: int) -> None:
    generator = np.random.default_rng(2)
    groups = np.repeat(np.arange(25), 8)
    patient = generator.random(25)[groups]
    before, after = generator.random((2, seeds, 200)) < patient
    by_picture, by_patient = change(before, after), change(before, after, groups=groups)
    assert by_picture.difference == by_patient.difference
    difference = (after.mean(axis=0) - before.mean(axis=0)).reshape(25, 8).mean(axis=1)
    seeds_part = by_picture.standard_error**2 - (after.mean(axis=0) - before.mean(axis=0)).var(ddof=1) / 200
    assert by_patient.standard_error**2 == pytest.approx(difference.var(ddof=1) / 25 + seeds_part)


def test_of_equal_classifiers_the_best_is_all_luck_and_of_unequal_ones_hardly() -> None:
    generator = np.random.default_rng(4)
    gaps = {"equal": [], "unequal": []}
    for name, spread in (("equal", 0.0), ("unequal", 0.2)):
        for _ in range(200):
            true = np.clip(generator.normal(0.6, spread, 50), 0.05, 0.95)
            values = generator.binomial(100, true) / 100
            best = int(values.argmax())
            gaps[name].append(
                (values[best] - true[best], luck_of_best(values.tolist(), standard_error(float(values.mean()), 100)))
            )
    for name, pairs in gaps.items():
        real, estimated = np.mean(pairs, axis=0)
        assert estimated == pytest.approx(real, abs=0.02), name
    assert np.mean(gaps["equal"], axis=0)[1] > 0.08


def test_a_single_trial_has_no_luck_of_the_best() -> None:
    assert luck_of_best([0.7], 0.05) == 0.0
