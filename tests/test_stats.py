"""Intervals and tests against published values, and what must hold for any counts."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from bench.stats import discordant, holm, mcnemar, paired_difference, rank_intervals, tied_with_best, wilson

COUNTS = st.integers(0, 3000)
FOURFOLD = st.tuples(COUNTS, COUNTS, COUNTS, COUNTS).filter(any)


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


def test_wilson_is_wider_at_a_higher_confidence() -> None:
    low, high = wilson(90, 100, confidence=0.99)
    assert low < wilson(90, 100)[0] < wilson(90, 100)[1] < high


@pytest.mark.parametrize(("correct", "n", "confidence"), [(1, 0, 0.95), (-1, 5, 0.95), (6, 5, 0.95), (1, 5, 1.0)])
def test_wilson_refuses_what_is_no_proportion(correct: int, n: int, confidence: float) -> None:
    with pytest.raises(ValueError, match=str(correct) if confidence < 1 else "confidence"):
        wilson(correct, n, confidence)


def test_discordant_pictures_are_counted_for_every_pair() -> None:
    right = np.array([[1, 1, 1, 0], [1, 0, 0, 0], [0, 0, 1, 1]], bool)
    assert discordant(right).tolist() == [[0, 2, 2], [0, 0, 1], [1, 2, 0]]


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


@pytest.mark.parametrize("counts", [(0, 0, 0, 0), (5, -1, 0, 0)])
def test_the_paired_interval_refuses_what_is_no_table(counts: tuple[int, int, int, int]) -> None:
    with pytest.raises(ValueError, match=r"counts must be >= 0 and their sum >= 1"):
        paired_difference(*counts)


def test_ranks_count_only_who_is_significantly_better_or_worse() -> None:
    """The first is tied with the second, though not the third; the second and the third are not told apart."""
    accuracy = np.array([0.95, 0.94, 0.92, 0.5])
    p = np.array([[1, 0.4, 0.01, 0.001], [0.4, 1, 0.2, 0.001], [0.01, 0.2, 1, 0.001], [0.001, 0.001, 0.001, 1]])
    assert rank_intervals(p, accuracy).tolist() == [[1, 2], [1, 3], [2, 3], [4, 4]]
    assert tied_with_best(p, accuracy).tolist() == [True, True, False, False]
    assert tied_with_best(p, accuracy, level=0.5).tolist() == [True, False, False, False]


def test_a_difference_of_nothing_is_never_significant() -> None:
    equal = np.array([0.9, 0.9])
    assert rank_intervals(np.zeros((2, 2)), equal).tolist() == [[1, 2], [1, 2]]
    assert tied_with_best(np.zeros((2, 2)), equal).tolist() == [True, True]
