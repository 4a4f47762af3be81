"""Statistics of a comparison: pure functions, each with its source."""

from __future__ import annotations


def wilson(correct: int, n: int, confidence: float = 0.95) -> tuple[float, float]:
    """Wilson's score interval of a proportion, without continuity correction.

    Unlike the textbook interval it stays inside 0 to 1 and holds its level for shares near 0 and 1 and for small n.

    Args:
        correct: Number of successes, 0 to n.
        n: Number of trials, at least 1.
        confidence: Its level, above 0 and below 1.

    Returns:
        The lower and the upper bound.

    Raises:
        ValueError: An argument is outside its range.

    Source:
        E. B. Wilson (1927), "Probable inference, the law of succession, and statistical inference", Journal of the
        American Statistical Association 22, 209-212; recommended by Brown, Cai and DasGupta (2001), "Interval
        estimation for a binomial proportion", Statistical Science 16(2), 101-133.
    """
    if n < 1 or not 0 <= correct <= n:
        raise ValueError(f"0 <= correct <= n and n >= 1 must hold, but got correct={correct}, n={n}")
    if not 0 < confidence < 1:
        raise ValueError(f"0 < confidence < 1 must hold, but got {confidence}")
    from scipy.stats import binomtest

    interval = binomtest(correct, n).proportion_ci(confidence_level=confidence, method="wilson")
    return float(interval.low), float(interval.high)
