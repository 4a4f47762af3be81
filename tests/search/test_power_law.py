"""The fit and the extrapolation of a learning curve, on pictures of which the truth is known."""

from __future__ import annotations

import numpy as np
import pytest

from bench.search.power_law import SAMPLES, bounds, extrapolate

SIZES = (125, 250, 500, 1000)


def error(n, a, b, c):
    return a + b * (n / 1000) ** -c


def answers(draw, truth, pictures=400, trainings=3, groups=None):
    """The same pictures are hard for all trainings, except for a tenth, on which each training has its own luck."""
    hardness = draw.random(pictures if groups is None else groups.max() + 1)
    hardness = hardness if groups is None else hardness[groups]

    def one(n):
        own = np.where(draw.random(pictures) < 0.1, draw.random(pictures), hardness)
        return own >= error(n, *truth)

    return [np.stack([one(n) for _ in range(trainings)]) for n in SIZES]


@pytest.mark.parametrize(
    "truth", [(0.02, 0.04, 0.5), (0.0, 0.1, 0.3), (0.1, 0.1, 0.5), (0.05, 0.05, 0.9), (0.04, 0.0, 0.5)]
)
def test_the_interval_at_four_times_the_pictures_contains_the_truth(truth):
    draw, cases, hits, gains = np.random.default_rng(1), 40, 0, 0
    for _ in range(cases):
        curve = extrapolate(SIZES, answers(draw, truth), (), [1000, 2000, 4000])
        low, high = bounds(curve.expected[:, 2])
        hits += low <= 1 - error(4000, *truth) <= high
        low, high = bounds(curve.expected[:, 1] - curve.expected[:, 0])
        gains += low - 5e-4 <= error(1000, *truth) - error(2000, *truth) <= high + 5e-4
    assert hits >= 0.9 * cases
    assert gains >= 0.9 * cases


def test_an_exact_curve_is_found():
    pictures = 20_000
    wrong = [round(pictures * error(n, 0.02, 0.08, 0.5)) for n in SIZES]
    right = [np.arange(pictures)[None] >= number for number in wrong]
    curve = extrapolate(SIZES, right, (), [500, 4000, 16_000])
    assert curve.expected[0] == pytest.approx([1 - error(n, 0.02, 0.08, 0.5) for n in (500, 4000, 16_000)], abs=0.003)


def test_the_error_is_never_negative_and_falls():
    curve = extrapolate(SIZES, answers(np.random.default_rng(0), (0.0, 0.01, 0.9)), (), [1000, 4000, 10**6])
    assert (np.diff(curve.expected, axis=1) >= 0).all()
    assert curve.expected.max() <= 1.0
    assert len(curve.expected) == 1 + SAMPLES


def test_few_groups_say_less_than_as_many_pictures():
    groups = np.repeat(np.arange(20), 20)
    right = answers(np.random.default_rng(2), (0.1, 0.1, 0.5), groups=groups)

    def width(names):
        low, high = bounds(extrapolate(SIZES, right, names, [1000]).expected[:, 0])
        return high - low

    assert width([f"patient {number}" for number in groups]) > 2 * width(())


def test_one_training_of_each_size_gives_a_curve():
    curve = extrapolate(SIZES, answers(np.random.default_rng(3), (0.02, 0.1, 0.5), trainings=1), (), [4000])
    assert np.isfinite(curve.single).all()


@pytest.mark.parametrize("answer", [True, False])
def test_the_same_answer_everywhere_gains_nothing(answer):
    curve = extrapolate(SIZES, [np.full((2, 30), answer)] * 4, (), [1000, 4000])
    assert curve.expected == pytest.approx(float(answer))
