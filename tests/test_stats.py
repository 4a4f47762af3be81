"""Intervals against published values."""

from __future__ import annotations

import pytest

from bench.stats import wilson


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
