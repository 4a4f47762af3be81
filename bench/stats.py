"""Statistics of comparisons: pure functions, each with its source."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from operator import le

import numpy as np
from numpy.typing import ArrayLike, NDArray

LEVEL = 0.05
"""Significance level: a corrected p-value below it is significant."""

QUANTILE = 0.975
"""Quantile for two-sided 95 % intervals."""

DROP_LEVEL = 0.05
"""One-sided significance level of a drop, before any correction for several families."""

CALIBRATION_SEEDS = 5
"""Minimum number of seeds for a calibration, a standard deviation over seeds that is used for other runs."""

ROUNDING = 1e-12
"""Distance from an end of its range at which a metric counts as being there."""

EXACT_UP_TO = 40
"""Maximum number of step times, on both sides together, for the exact rank test; above, it is approximated."""

Floats = NDArray[np.float64]
Counts = NDArray[np.int64]


def wilson(correct: int, n: int) -> tuple[float, float]:
    """Lower and upper bound of Wilson's score interval of a proportion, 95 %, without continuity correction.

    Unlike the textbook interval it stays inside 0 to 1 and holds its level for shares near 0 and 1 and for small n.

    Source:
        E. B. Wilson (1927), "Probable inference, the law of succession, and statistical inference", Journal of the
        American Statistical Association 22, 209-212; recommended by Brown, Cai and DasGupta (2001), "Interval
        estimation for a binomial proportion", Statistical Science 16(2), 101-133.
    """
    if n < 1 or not 0 <= correct <= n:
        raise ValueError(f"0 <= correct <= n and n >= 1 must hold, but got correct={correct}, n={n}")
    low, high = _score_bounds(np.asarray(correct), np.asarray(n), _quantile())
    return float(low), float(high)


def by_group(values: NDArray[np.generic], groups: Counts | None) -> Floats:
    """Return one value for each group of pictures, whose variance is that of the metric over groups.

    With p a metric on n pictures in G groups, the value of a group with m pictures, whose values sum to s, is
    p + (s - p m) G / n. Their mean is p, and their variance divided by G is the variance of p where whole groups are
    drawn, not single pictures, to first order. Without groups the values are those of the pictures.

    Args:
        values: Values of the pictures (`metrics.Metric.values`), True or 1 for correct answers, shape (..., n).
        groups: Number of each picture's group, shape (n,); None without groups.

    Returns:
        The values, shape (..., groups).

    Source:
        W. G. Cochran (1977), "Sampling Techniques", 3rd edition, sections 6.3 and 9A.1: a ratio estimate with clusters
        of unequal sizes. Measured beside the bootstrap over groups: docs/statistics.md.
    """
    by_picture = values.astype(np.float64)
    if groups is None:
        return by_picture
    _, numbers, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    mean = by_picture.mean(axis=-1, keepdims=True)
    sums = np.apply_along_axis(lambda row: np.bincount(numbers, row), -1, by_picture)
    of_groups: Floats = mean + (sums - mean * sizes) * len(sizes) / len(numbers)
    return of_groups


def freedom_of(values: Floats) -> float:
    """Degrees of freedom of the variance of values, shape (n,), at most n - 1: few if few values make up most of it.

    A mean over classes gives each picture of a rare class a large value, and the others nearly none.

    Source:
        The variance of a variance, from the kurtosis, and the chi-squared distribution that has it: F. E. Satterthwaite
        (1946), "An approximate distribution of estimates of variance components", Biometrics Bulletin 2(6), 110-114.
    """
    centred = values - values.mean()
    squared = float((centred**2).mean())
    if squared <= 0:
        return max(1.0, len(values) - 1)
    excess = float((centred**4).mean()) / squared**2 - 1
    return max(1.0, min(len(values) - 1, 2 * len(values) / excess if excess > 0 else np.inf))


def sign_flips(differences: ArrayLike) -> float:
    """Two-sided p-value of the exact sign test on whole-number differences, e.g. one for each group of pictures.

    Under the null hypothesis every difference is equally likely to have the other sign. For differences of -1, 0 and 1
    this is McNemar's exact test.

    Source:
        R. A. Fisher (1935), "The Design of Experiments", section 21; McNemar's test as its special case: E. L. Lehmann
        (1975), "Nonparametrics: Statistical Methods Based on Ranks", chapter 3.
    """
    values = np.asarray(differences, np.int64)
    return _sign_flips(np.sort(np.abs(values)).tobytes(), abs(int(values.sum())))


@lru_cache(maxsize=256)
def _sign_flips(sizes: bytes, observed: int) -> float:
    """The p-value from the sorted sizes of the differences; kept, since a page asks for the same test several times."""
    values = np.frombuffer(sizes, np.int64)
    total = int(values.sum())
    chances = np.zeros(2 * total + 1)  # of every sum, from -total to total
    chances[total] = 1.0
    for value in values[values > 0].tolist():
        chances = (np.roll(chances, value) + np.roll(chances, -value)) / 2
    return min(1.0, 2.0 * float(chances[total + observed :].sum())) if observed else 1.0


def above_chance(correct: int, n: int, chance: float) -> float:
    """One-sided exact binomial p-value: the probability of at least this many correct answers.

    Args:
        chance: Probability that an answer is correct, e.g. the share of the largest class for the best constant answer.

    Source:
        C. J. Clopper and E. S. Pearson (1934), "The use of confidence or fiducial limits illustrated in the case of the
        binomial", Biometrika 26(4), 404-413.
    """
    from scipy.special import bdtrc

    return float(bdtrc(correct - 1, n, chance)) if correct else 1.0


def mcnemar(only_first: ArrayLike, only_second: ArrayLike) -> Floats:
    """Two-sided p-values of McNemar's exact test of equal accuracy of two classifiers on the same pictures.

    Pictures that both classify correctly, or both wrongly, do not count. Under the null hypothesis each other picture
    is equally likely to be in favour of either classifier, so the count is binomial with probability 1/2.

    Args:
        only_first, only_second: Number of pictures that only one classifies correctly; equal shapes.

    Returns:
        The p-values, same shape; 1 if both counts are 0.

    Source:
        Q. McNemar (1947), "Note on the sampling error of the difference between correlated proportions or
        percentages", Psychometrika 12(2), 153-157. For classifiers that were trained once, on one split:
        T. G. Dietterich (1998), "Approximate statistical tests for comparing supervised classification learning
        algorithms", Neural Computation 10(7), 1895-1923.
    """
    from scipy.special import bdtr

    first, second = np.asarray(only_first, np.int64), np.asarray(only_second, np.int64)
    if (first < 0).any() or (second < 0).any():
        raise ValueError(f"counts must be >= 0, but got {int(min(first.min(), second.min()))}")
    # With probability 1/2 the distribution is symmetric: both tails together are twice the smaller one.
    tails = np.asarray(2.0 * bdtr(np.minimum(first, second).astype(np.float64), first + second, 0.5), np.float64)
    return np.minimum(tails, 1.0)


def holm(p: ArrayLike) -> Floats:
    """Adjust the p-values of several tests so that the chance of any false positive is at most the level.

    The tests may depend on each other in any way. Everything significant after Bonferroni's correction stays so.

    Returns:
        The adjusted p-values in the same order, at most 1.

    Source:
        S. Holm (1979), "A simple sequentially rejective multiple test procedure", Scandinavian Journal of Statistics
        6(2), 65-70.
    """
    values = np.asarray(p, np.float64)
    order = np.argsort(values, kind="stable")
    steps = values[order] * np.arange(len(values), 0, -1)
    adjusted = np.empty_like(values)
    adjusted[order] = np.minimum(np.maximum.accumulate(steps), 1.0)
    return adjusted


def paired_difference(
    both: ArrayLike,
    only_first: ArrayLike,
    only_second: ArrayLike,
    neither: ArrayLike,
    freedom: float = np.inf,
    tests: int = 1,
) -> tuple[Floats, Floats]:
    """Newcombe's 95 % interval of the difference between two accuracies on the same pictures.

    It combines Wilson's intervals of the two shares and their correlation. It stays inside -1 to 1 and holds its level
    for shares near 1 and for few discordant pictures.

    Args:
        both, only_first, only_second, neither: Number of pictures that both, only the first, only the second, and
            neither classify correctly; equal shapes, each sum at least 1. Need not be whole.
        freedom: Degrees of freedom of the quantile, Student's t; infinite for independent pictures.
        tests: Number of simultaneous intervals (Bonferroni).

    Returns:
        Lower and upper bounds of the first share minus the second, same shape.

    Source:
        R. G. Newcombe (1998), "Improved confidence intervals for the difference between binomial proportions based on
        paired data", Statistics in Medicine 17, 2635-2650, method 10.
    """
    cells = np.stack([np.asarray(count, np.float64) for count in (both, only_first, only_second, neither)])
    e, f, g, h = cells
    n = cells.sum(axis=0)
    if (cells < 0).any() or (n < 1).any():
        raise ValueError(f"counts must be >= 0 and their sum >= 1, but got {cells.reshape(4, -1).T.tolist()}")
    first, second = (e + f) / n, (e + g) / n
    z = _quantile(freedom, tests)
    low_first, high_first = _score_bounds(e + f, n, z)
    low_second, high_second = _score_bounds(e + g, n, z)
    correlation = _correlation(e, f, g, h)

    def reach(one: Floats, other: Floats) -> Floats:
        squared: Floats = one**2 - 2 * correlation * one * other + other**2
        return np.sqrt(np.maximum(squared, 0.0))

    difference = first - second
    low = difference - reach(first - low_first, high_second - second)
    high = difference + reach(high_first - first, second - low_second)
    return low, high


def exact_test(one: NDArray[np.bool_], other: NDArray[np.bool_], groups: Counts | None) -> float:
    """Two-sided p-value of equal accuracy of two classifiers on the same pictures: McNemar's, or of their groups.

    Args:
        one, other: True for correct answers, shape (n,).
        groups: As for `by_group`.
    """
    if groups is None:
        return float(mcnemar(int((one & ~other).sum()), int((other & ~one).sum())))
    return sign_flips(np.bincount(groups, one.astype(np.int64) - other))


@dataclass(frozen=True)
class Difference:
    """One value of a metric minus another on the same pictures.

    Attributes:
        low, high: Its 95 % interval, one of several simultaneous ones if several differences are tested.
        p: Two-sided p-value of no difference, multiplied by the number of tests (Bonferroni). It is below `LEVEL` if
            and only if the interval excludes zero.
    """

    value: float
    low: float
    high: float
    p: float

    @property
    def significant(self) -> bool:
        """True if the test finds a difference."""
        return self.p < LEVEL

    def undecided(self) -> Difference:
        """The difference without a test that could decide: p is 1, and the interval contains zero."""
        return Difference(self.value, min(self.low, 0.0), max(self.high, 0.0), 1.0)


def difference(
    one: NDArray[np.generic], other: NDArray[np.generic], groups: Counts | None = None, tests: int = 1
) -> Difference:
    """Compare two classifiers on the same pictures, one of several `tests`.

    Right and wrong answers are compared by the `exact_test` and Newcombe's interval, values of another metric by
    Student's t (`difference_over_seeds` with one seed).

    With groups, e.g. of one patient, the pictures are not independent. The interval then has as many pictures as would
    have the variance of the difference over groups, at most all, and Student's t of groups - 1 degrees of freedom.

    The exact test and the interval can contradict each other. A difference is then not significant, and the interval is
    extended to zero.

    Args:
        one, other: True for correct answers, or values of pictures, shape (n,).
        groups: As for `by_group`.
        tests: Number of differences that are tested together.
    """
    if one.dtype != np.bool_:
        return difference_over_seeds(one[None], other[None], groups, tests)
    return _difference_of_answers(one.astype(np.bool_), other.astype(np.bool_), groups, tests)


def _difference_of_answers(
    one: NDArray[np.bool_], other: NDArray[np.bool_], groups: Counts | None, tests: int
) -> Difference:
    both, first, second, neither = (cell.sum() for cell in (one & other, one & ~other, ~one & other, ~one & ~other))
    share, freedom = 1.0, np.inf
    if groups is not None:
        by_picture = one.astype(np.int64) - other
        of_groups = by_group(by_picture, groups)
        independent, over_groups = by_picture.var() / len(by_picture), of_groups.var() / len(of_groups)
        share = min(1.0, float(independent / over_groups)) if over_groups > 0 else len(of_groups) / len(groups)
        freedom = max(1, len(of_groups) - 1)
    cells = share * both, share * first, share * second, share * neither
    low, high = map(float, paired_difference(*cells, freedom, tests))
    p = min(1.0, tests * exact_test(one, other, groups))
    compared = Difference(float(one.mean() - other.mean()), low, high, p)
    if p >= LEVEL:
        return Difference(compared.value, min(low, 0.0), max(high, 0.0), p)
    return compared.undecided() if low <= 0 <= high else compared


@dataclass(frozen=True)
class MeanChange:
    """Change of a mean from one group of trainings to another, and its noise.

    Accuracies are shares, not points; step times are logarithms.

    Attributes:
        difference: Mean after minus mean before.
        standard_error: Standard error of the difference, over test pictures and trainings.
        p_drop: One-sided p-value of a drop: small if the mean fell by more than noise.
        low, high: 95 % interval of the difference.
        calibrated: True if the standard error includes the noise of the trainings of both sides.
        freedom: Degrees of freedom of the standard error; few if most of it is the noise of few seeds.
    """

    difference: float
    standard_error: float
    p_drop: float
    low: float
    high: float
    calibrated: bool
    freedom: float = float("inf")

    @property
    def p_rise(self) -> float:
        """One-sided p-value of a rise; at least 0.5 without one."""
        return 1 - self.p_drop if self.difference > 0 else max(0.5, 1 - self.p_drop)

    @property
    def p(self) -> float:
        """Two-sided p-value of no difference."""
        return min(1.0, 2 * min(self.p_drop, self.p_rise)) if self.difference else 1.0

    def detectable(self, level: float = DROP_LEVEL, pictures: float = 0) -> float:
        """The smallest detectable drop, see the function `detectable`."""
        return detectable(self.standard_error, self.freedom, level, pictures)


def change(
    before: NDArray[np.generic],
    after: NDArray[np.generic],
    seed_sd: float | None = None,
    groups: Counts | None = None,
) -> MeanChange:
    """Test for a change of a family's metric between two versions beyond the noise of test pictures and seeds.

    Args:
        before, after: Values of the pictures by each seed's model, True for correct answers, shapes (seeds, n): the
            same two or more pictures in the same order on both sides, and at least one seed on each.
        seed_sd: As for `change_of_means`.
        groups: As for `by_group`.
    """
    if before.ndim != 2 or after.ndim != 2 or before.shape[1] != after.shape[1] or before.shape[1] < 2:
        raise ValueError(f"shapes must be (seeds, n) with the same n >= 2, but got {before.shape}, {after.shape}")
    if not len(before) or not len(after):
        raise ValueError(f"each side needs a seed, but got {len(before)} and {len(after)}")
    values = by_group(after.mean(axis=0) - before.mean(axis=0), groups)
    freedom = np.inf if before.dtype == np.bool_ else freedom_of(values)
    return change_of_means(before.mean(axis=1), after.mean(axis=1), values, seed_sd, freedom)


def repetition(right: NDArray[np.generic], groups: Counts | None = None) -> MeanChange:
    """The `change` to expect from training the same code again with as many other seeds: none, with its noise.

    Args:
        right: Values of the pictures by each seed's model, shape (seeds, n), at least two seeds.
        groups: As for `by_group`.
    """
    from scipy.special import stdtrit

    values, seeds = by_group(right, groups), len(right)
    between = 2 / seeds * float(right.mean(axis=1).var(ddof=1))
    squared = between + 2 / seeds * float(values.var(axis=0, ddof=1).mean()) / values.shape[1]
    freedom = 2 * (seeds - 1) * (squared / between) ** 2 if between else float("inf")
    error = float(np.sqrt(squared))
    reach = float(stdtrit(freedom, QUANTILE)) * error
    return MeanChange(0.0, error, 0.5, low=-reach, high=reach, calibrated=True, freedom=freedom)


def change_of_means(
    before: Floats,
    after: Floats,
    by_picture: Floats | None = None,
    seed_sd: float | None = None,
    picture_freedom: float = np.inf,
) -> MeanChange:
    """Test for different means of two groups of trainings: Welch's test, with the noise of shared pictures.

    With c the difference of the two means over trainings at each picture, the squared standard error is
    var(c) / n + var(before) / trainings before + var(after) / trainings after. The test is Student's t with
    Satterthwaite's degrees of freedom. With two or three seeds whose noise exceeds that of the pictures, a normal
    quantile would raise false alarms in more than one of ten cases.

    Args:
        before, after: A figure of each training, shapes (trainings before,) and (trainings after,), at least one each.
        by_picture: The c of a metric, shape (n,), or their `by_group`; None for figures without pictures.
        seed_sd: Standard deviation of the figure over seeds, from a calibration; used for a side with one training.
            None: such a side is treated as free of noise, and the change is not `calibrated`.
        picture_freedom: Degrees of freedom of the variance of `by_picture`.

    Source:
        B. L. Welch (1947), "The generalization of 'Student's' problem when several different population variances are
        involved", Biometrika 34, 28-35. The test pictures are crossed with the trainings, like cases with readers in
        studies of diagnostic imaging, and paired between the versions; the trainings of two versions are independent:
        D. D. Dorfman, K. S. Berbaum and C. E. Metz (1992), "Receiver operating characteristic rating analysis:
        generalization to the population of readers and patients with the jackknife method", Investigative Radiology
        27(9), 723-731. The randomness of single pictures is in both parts of the sum, in the variance of the pictures
        and in that of the seeds, so the error is rather too large, which is the safe side for a gate.
    """
    from scipy.special import stdtr, stdtrit

    difference = round(float(after.mean() - before.mean()), 12)  # exactly 0 for equal counts of correct answers
    several = [side for side in (before, after) if len(side) > 1]
    between = [float(side.var(ddof=1)) / len(side) for side in several]
    uncertain = sum(part**2 / (len(side) - 1) for part, side in zip(between, several, strict=True))
    if seed_sd is not None and len(several) < 2:  # the error of the calibration is the same in all its parts
        between += [seed_sd**2] * (2 - len(several))
        uncertain = sum(between) ** 2 / (CALIBRATION_SEEDS - 1)
    pictures = 0.0 if by_picture is None else float(by_picture.var(ddof=1)) / len(by_picture)
    squared, uncertain = pictures + sum(between), uncertain + pictures**2 / picture_freedom
    freedom = squared**2 / uncertain if uncertain > 0 else float("inf")
    error = float(np.sqrt(squared))
    p_drop = float(stdtr(freedom, difference / error)) if error > 0 else float(difference >= 0)
    reach = float(stdtrit(freedom, QUANTILE)) * error
    calibrated = seed_sd is not None or len(several) == 2
    return MeanChange(
        difference=difference,
        standard_error=error,
        p_drop=p_drop,
        low=difference - reach,
        high=difference + reach,
        calibrated=calibrated,
        freedom=freedom,
    )


def detectable(
    standard_error: float, freedom: float = float("inf"), level: float = DROP_LEVEL, pictures: float = 0
) -> float:
    """The smallest drop that a one-sided test at `level` detects with 80 % power, in the unit of the standard error.

    At `DROP_LEVEL` it is 2.486 standard errors, and more if the error has few degrees of freedom.

    Args:
        pictures: Number of pictures if the error is that of a share, divided by the range of another metric that has
            one; else 0. A drop d of a share itself adds an error of sqrt(d / pictures). Without it, a test on a few
            pictures that are all correct would claim to detect the smallest drop.

    Source:
        J. Cohen (1988), "Statistical Power Analysis for the Behavioral Sciences", 2nd edition, chapter 1.
    """
    from scipy.special import stdtrit

    drop = float(stdtrit(freedom, 1 - level) + stdtrit(freedom, 0.8)) * standard_error
    return max(drop, detectable(1.0, level=level) ** 2 / pictures) if pictures else drop


def over_seeds(
    values: NDArray[np.generic],
    groups: Counts | None = None,
    worst: float = 0.0,
    best: float = 1.0,
    support: float | None = None,
) -> tuple[float, float, float]:
    """Metric of a configuration over several trainings, with an interval over test pictures and seeds.

    The variance of the mean comes from an analysis of variance with pictures and seeds crossed, both random. The
    interval is Wilson's with the number of pictures that would have this variance, p (1 - p) / variance, with p the
    place of the mean between the worst and the best value, so that it stays between them; its quantile is Student's t,
    since the noise of few seeds or of few pictures of a rare class may be a large part. Without a worst value it is the
    mean plus and minus Student's t times the standard error, at most the best value.

    Few wrong answers tell little about the variance. A prior of half a picture that all seeds get wrong pulls the
    interval towards Wilson's with n, which is also the interval of seeds that agree on every picture.

    Args:
        values: Values of the pictures by each training's model, True for correct answers, shape (seeds, n), both at
            least 1.
        groups: As for `by_group`; the groups then take the place of the pictures.
        worst, best: Range of the metric; infinite without one.
        support: As `metrics.Metric.support`; None for the number of pictures or groups.

    Returns:
        The mean, and the lower and the upper bound. With one seed the bounds are about that one model and not about
        other seeds; those of an accuracy are Wilson's.

    Source:
        J. Cornfield and J. W. Tukey (1956), "Average values of mean squares in factorials", Annals of Mathematical
        Statistics 27(4), 907-949. F. E. Satterthwaite (1946), "An approximate distribution of estimates of variance
        components", Biometrics Bulletin 2(6), 110-114. The effective number: E. L. Korn and B. I. Graubard (1998),
        "Confidence intervals for proportions with small expected number of positive counts estimated from survey
        data", Survey Methodology 24(2), 193-201. Measured: docs/statistics.md.
    """
    if values.ndim != 2 or not values.size:
        raise ValueError(f"shape must be (seeds, n), both at least 1, but got {values.shape}")
    mean, span = float(values.mean()), abs(best - worst)
    of_groups = by_group(values, groups) / (span if np.isfinite(span) else 1.0)
    seeds, n = of_groups.shape
    support = float(n) if support is None else max(1.0, min(support, n))
    if seeds > 1:
        pictures, interaction, between = _components(of_groups)
    else:
        pictures, interaction, between = float(of_groups.var()) / n, 0.0, 0.0
    squared = max(pictures + between - interaction, pictures, between)  # the interaction is in both
    uncertain = between**2 / (seeds - 1) if between > 0 else 0.0
    if values.dtype != np.bool_:
        uncertain += pictures**2 / freedom_of(of_groups.mean(axis=0))
    elif groups is not None:
        uncertain += pictures**2 / max(1, n - 1)
    if not np.isfinite(span):
        reach = _quantile(squared**2 / uncertain if uncertain > 0 else np.inf) * float(np.sqrt(squared))
        ends = sorted((mean - reach, mean + reach))
        return mean, max(ends[0], best) if best < worst else ends[0], ends[1] if best < worst else min(ends[1], best)
    share = min(1.0, max(0.0, (mean - min(worst, best)) / span))
    if min(share, 1 - share) < ROUNDING or (seeds == 1 and groups is None and values.dtype == np.bool_):
        low, high = _score_bounds(np.asarray(round(share * support, 9)), np.asarray(support), _quantile())
    else:
        alike = share * (1 - share) / support  # the variance if the seeds agreed on every picture
        prior = 0.5 / (support * share * (1 - share) + 0.5)
        squared = max(squared, (1 - prior) * squared + prior * alike)
        freedom = squared**2 / uncertain if uncertain > 0 else np.inf
        effective = support * alike / squared
        low, high = _score_bounds(np.asarray(share * effective), np.asarray(effective), _quantile(freedom))
    lowest = min(worst, best)
    return mean, lowest + span * float(low), lowest + span * float(high)


def difference_over_seeds(
    one: NDArray[np.generic], other: NDArray[np.generic], groups: Counts | None = None, tests: int = 1
) -> Difference:
    """Compare a metric of two configurations that were each trained with as many seeds as wanted, one of `tests`.

    Args:
        one, other: Values of the pictures by each training's model, True for correct answers, shapes (seeds, n): the
            same pictures in the same order, n at least 2. With one seed the noise of seeds is not included.
        groups: As for `by_group`; the groups then take the place of the pictures.
        tests: Number of differences that are tested together.

    Source:
        The variances are those of `over_seeds`, with paired pictures and independent seeds. The test is Student's t
        with Satterthwaite's degrees of freedom, taken as infinite for the pictures of an accuracy.
        See also N. A. Obuchowski and H. E. Rockette (1995), "Hypothesis testing of diagnostic accuracy for multiple
        readers and multiple tests", Communications in Statistics - Simulation and Computation 24(2), 285-308. Measured:
        docs/statistics.md.
    """
    from scipy.special import stdtr

    if (
        one.ndim != 2
        or other.ndim != 2
        or one.shape[1] != other.shape[1]
        or one.shape[1] < 2
        or not one.size * other.size
    ):
        raise ValueError(f"shapes must be (seeds, n), same n of at least 2, but got {one.shape}, {other.shape}")
    sides = by_group(one, groups), by_group(other, groups)
    by_picture = sides[0].mean(axis=0) - sides[1].mean(axis=0)
    value = round(float(by_picture.mean()), 12)
    pictures = float(by_picture.var(ddof=1)) / len(by_picture)
    squared, uncertain = pictures, 0.0
    if one.dtype != np.bool_:
        uncertain = pictures**2 / freedom_of(by_picture)
    elif groups is not None:
        uncertain = pictures**2 / (len(by_picture) - 1)
    for side in (side for side in sides if len(side) > 1):
        _, interaction, between = _components(side)
        squared += between - interaction
        uncertain += between**2 / (len(side) - 1)
    squared = max(squared, pictures)
    if squared <= 0:
        return Difference(value, value, value, float(value == 0))
    error = float(np.sqrt(squared))
    freedom = squared**2 / uncertain if uncertain > 0 else np.inf
    reach = _quantile(freedom, tests) * error
    p = min(2.0 * tests * float(stdtr(freedom, -abs(value) / error)), 1.0)
    widest = 1.0 if one.dtype == np.bool_ else np.inf
    return Difference(value, max(value - reach, -widest), min(value + reach, widest), p)


def standard_error(accuracy: float, n: int) -> float:
    """Standard error of an accuracy on n pictures, the noise of a set of pictures as if it were another one.

    Half a picture is added on both sides, so that it is above 0 if all or none are classified correctly.
    """
    share = (accuracy * n + 0.5) / (n + 1)
    return float(np.sqrt(share * (1 - share) / n))


def luck_of_best(values: Sequence[float], noise: float) -> float:
    """Estimate how much of the highest of several values of a metric on the same pictures is luck.

    The true values are taken to be normal around their mean, with this standard error of the pictures. The highest
    one is then expected to be nearer to the mean by the noise's share of the variance, but at most by what the highest
    of as many equal ones would exceed it.

    Source:
        B. Efron and C. Morris (1977), "Stein's paradox in statistics", Scientific American 236(5), 119-127. The highest
        of k normal values: G. Blom (1958), "Statistical estimates and transformed beta-variables".
    """
    from scipy.special import ndtri

    measured = np.asarray(values, np.float64)
    k, mean = len(measured), float(measured.mean())
    if k < 2 or noise <= 0:
        return 0.0
    variance = max(float(measured.var(ddof=1)), noise**2)
    highest = float(ndtri((k - 0.375) / (k + 0.25))) * noise
    return min((float(measured.max()) - mean) * noise**2 / variance, highest)


def slower(before: ArrayLike, after: ArrayLike) -> tuple[float, float]:
    """Test for slower steps: the ratio of the medians and its p-value.

    Args:
        before, after: Step times above 0 in the same unit, at least one each.

    Returns:
        Median after / median before, and the one-sided p-value of the Mann-Whitney U test for longer times after. Up to
        `EXACT_UP_TO` times it is exact, with or without ties: 6 against 6 give at best 1 / 924 = 0.0011. Two-sided that
        would be 0.0022, and 0.0025 by the normal approximation that many programs use as soon as there is a tie.

    Raises:
        ValueError: A side has no time, or one that is not above 0.

    Source:
        H. B. Mann and D. R. Whitney (1947), "On a test of whether one of two random variables is stochastically larger
        than the other", Annals of Mathematical Statistics 18(1), 50-60. With ties, the distribution over all divisions
        of the mid-ranks: E. L. Lehmann (1975), "Nonparametrics: Statistical Methods Based on Ranks", chapter 1.
    """
    first, second = np.asarray(before, np.float64), np.asarray(after, np.float64)
    if not first.size or not second.size or not (np.concatenate([first, second]) > 0).all():
        raise ValueError(f"step times must be above 0, at least one each, but got {first.tolist()}, {second.tolist()}")
    return float(np.median(second) / np.median(first)), _larger(first, second)


def _larger(first: Floats, second: Floats) -> float:
    """One-sided p-value of the Mann-Whitney U test for larger second values."""
    values, which, counts = np.unique(np.concatenate([first, second]), return_inverse=True, return_counts=True)
    doubled = (2 * np.cumsum(counts) - counts + 1)[which]  # mid-ranks, times 2 to be whole
    some, of_second, total = len(second), int(doubled[len(first) :].sum()), len(doubled)
    if total <= EXACT_UP_TO:
        ways = np.zeros((some + 1, int(doubled.sum()) + 1))  # [k, s]: ways to choose k ranks of sum s, exact to 2**53
        ways[0, 0] = 1
        for rank in doubled:
            ways[1:, rank:] += ways[:-1, :-rank].copy()
        return float(ways[some, of_second:].sum() / ways[some].sum())
    from scipy.special import ndtr

    spread = (total + 1 - float((counts.astype(np.float64) ** 3 - counts).sum()) / (total * (total - 1))) / 12
    excess = (of_second - some * (total + 1)) / 2 - 0.5  # over the expected sum of ranks, continuity corrected
    return float(ndtr(-excess / np.sqrt(some * len(first) * spread))) if len(values) > 1 else 1.0


def pareto(points: Sequence[Sequence[float]]) -> list[int]:
    """The Pareto front of points whose figures are all better the smaller they are.

    Args:
        points: All of one length, without NaN; infinity is the worst.

    Returns:
        The positions of the points that no other point dominates, ascending. A point dominates another if it is at most
        as large in every figure and smaller in one, so equal points are either all on the front or all not.

    Source:
        H. T. Kung, F. Luccio and F. P. Preparata (1975), "On finding the maxima of a set of vectors", Journal of the
        ACM 22(4), 469-476: in lexicographic order a point can only be dominated by one before it.
    """
    front: list[int] = []
    for place in sorted(range(len(points)), key=lambda place: tuple(points[place])):
        point = tuple(points[place])
        rivals = (tuple(points[other]) for other in front)
        if not any(rival != point and all(map(le, rival, point)) for rival in rivals):
            front.append(place)
    return sorted(front)


def _components(values: Floats) -> tuple[float, float, float]:
    """Components of the variance of a mean over pictures (or groups) and seeds, from shape (seeds >= 2, n).

    Returns:
        The variance of the pictures and of the seeds, both with the interaction, and between them that of the
        interaction alone.
    """
    seeds, n = values.shape
    of_picture, of_seed = values.mean(axis=0), values.mean(axis=1)
    rest = max(float(values.var()) - float(of_picture.var()) - float(of_seed.var()), 0.0)  # rounding may be below 0
    return float(of_picture.var()) / n, rest / (n * (seeds - 1)), float(of_seed.var(ddof=1)) / seeds


def _quantile(freedom: float = np.inf, tests: int = 1) -> float:
    """Return Student's t quantile of a two-sided 95 % interval, one of `tests` simultaneous ones (Bonferroni)."""
    from scipy.special import ndtri, stdtrit

    below = 1 - (1 - QUANTILE) / tests
    return float(ndtri(below) if np.isinf(freedom) else stdtrit(freedom, below))


def _score_bounds(correct: NDArray[np.generic], n: NDArray[np.generic], z: float) -> tuple[Floats, Floats]:
    """Wilson's intervals, any shape, with a quantile `z`."""
    total = n.astype(np.float64)
    share = correct.astype(np.float64) / total
    centre = (share + z**2 / (2 * total)) / (1 + z**2 / total)
    half = z / (1 + z**2 / total) * np.sqrt(share * (1 - share) / total + z**2 / (4 * total**2))
    return np.where(share == 0, 0.0, centre - half), np.where(share == 1, 1.0, centre + half)


def _correlation(e: Floats, f: Floats, g: Floats, h: Floats) -> Floats:
    """Correlation of two classifiers' correct answers, with Newcombe's continuity correction; 0 if it is undefined."""
    product = (e + f) * (g + h) * (e + g) * (f + h)
    covariance = e * h - f * g
    corrected = np.where(covariance > 0, np.maximum(covariance - (e + f + g + h) / 2, 0.0), covariance)
    return np.where(product > 0, corrected / np.sqrt(np.where(product > 0, product, 1.0)), 0.0)
