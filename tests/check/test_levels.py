"""Levels of a series: noise gives none, a planted step is found where it was planted, and how often, by simulation.

`python -m pytest tests/check/test_levels.py -s` prints the tables of docs/statistics.md.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence

import numpy as np
import pytest
from scipy.special import ndtri

from bench.check.levels import LevelStep, Measured, smallest_visible, step_times, steps, values

POINT = 0.01
LEAST = 0.005


def trained(
    rng: np.random.Generator,
    m: int,
    changes: Mapping[int, float] | None = None,
    *,
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
        rng: The source of chance.
        m: How many runs.
        changes: By how much the accuracy of the method changes at a run.
        n, seeds, accuracy: Test pictures, trainings a run, and the accuracy of the method in the first one.
        seed_sd, run_sd: Standard deviation of the whole accuracy of a training and of a run.
        luck: How much chance decides on single pictures.
        churn: At a change, how far the difficulties become others: 0 not at all, 1 altogether.
        often: How often each run is made in a row, bit by bit the same; once, unless it is given.
    """
    scale = math.sqrt(1 + luck**2)
    slope = math.exp(-(ndtri(accuracy) ** 2) / 2) / math.sqrt(2 * math.pi) / scale
    difficulty, level, runs = rng.standard_normal(n), accuracy, []
    for run in range(m):
        if changes and run in changes:
            level += changes[run]
            difficulty = math.sqrt(1 - churn**2) * difficulty + churn * rng.standard_normal(n)
        shift = run_sd * rng.standard_normal() + seed_sd * rng.standard_normal((seeds, 1))
        runs.append(difficulty + luck * rng.standard_normal((seeds, n)) < ndtri(level) * scale + shift / slope)
    return [run for run, times in zip(runs, often or [1] * m, strict=True) for _ in range(times)]


def timed(
    rng: np.random.Generator, m: int, changes: Mapping[int, float] | None = None, *, sd: float = 0.03, busy: float = 0.0
) -> list[np.ndarray]:
    """Step times of m runs, ten each; a change is a factor, `busy` the share of runs that take half as long again."""
    level, runs = math.log(0.01), []
    for run in range(m):
        level += math.log((changes or {}).get(run, 1.0))
        slow = math.log(1.5) * (rng.random() < busy)
        runs.append(np.exp(level + slow + sd * rng.standard_normal() + 0.03 * rng.standard_normal(10)))
    return runs


def found(measured: Measured, families: int = 6, least: float = LEAST) -> list[LevelStep]:
    return steps(measured, least, families * len(measured.windows))


def places(runs: list[np.ndarray], families: int = 6) -> list[int]:
    return [step.at for step in found(values(runs), families)]


def places_of_times(runs: list[np.ndarray], families: int = 6) -> list[int]:
    return [step.at for step in found(step_times(runs), families, math.log(1.1))]


def test_a_step_is_found_where_it_is_with_its_size() -> None:
    runs = trained(np.random.default_rng(6), 14, {8: -2.5 * POINT})
    (step,) = found(values(runs))
    assert step.at == 8
    assert step.low < -2.5 * POINT < step.high < 0
    assert step.before == pytest.approx(np.mean([run.mean() for run in runs[:8]]))
    assert step.p < 0.001


@pytest.mark.parametrize("seed", [1, 2, 3, 55])
def test_a_large_step_in_a_long_series_is_one_change(seed: int) -> None:
    assert places(trained(np.random.default_rng(seed), 60, {30: -10 * POINT}, n=500)) == [30]


def test_a_drop_that_was_put_right_is_two_changes() -> None:
    assert places(trained(np.random.default_rng(7), 30, {12: -2 * POINT, 18: 2 * POINT})) == [12, 18]


def test_one_run_that_stands_out_is_no_change_but_two_are() -> None:
    rng = np.random.default_rng(8)
    assert places(trained(rng, 20, {9: -6 * POINT, 10: 6 * POINT})) == []
    assert places(trained(rng, 20, {9: -6 * POINT, 11: 6 * POINT})) == [9, 11]
    usual, worse = trained(rng, 2, {1: -8 * POINT})
    assert places([usual] * 6 + [worse] + [usual] * 6) == []
    assert places([usual] * 6 + [worse] * 2 + [usual] * 6) == [6, 8]


def test_the_luck_of_one_seed_is_no_change_where_seeds_are_known() -> None:
    """A harmless edit draws the luck anew; run after run repeats it, and that proves nothing."""
    lucky = trained(np.random.default_rng(2), 40, luck=0.05, seed_sd=0.006, seeds=1)
    lucky.sort(key=lambda run: run.mean())
    low, high = lucky[4], lucky[-5]
    assert places([low] * 10 + [high] * 10, families=1) == [10]
    assert places([np.concatenate(lucky[::8])] + [low] * 10 + [high] * 10, families=1) == []


def test_accuracies_that_never_change_have_no_change() -> None:
    assert places(trained(np.random.default_rng(11), 1, seeds=1) * 12) == []
    assert places([np.ones((1, 50), bool)] * 12) == []
    first, second = trained(np.random.default_rng(16), 2)
    assert places([first, second] * 10) == []


def test_times_change_by_a_factor_and_a_machine_that_is_busy_now_and_then_is_no_change() -> None:
    (step,) = found(step_times(timed(np.random.default_rng(12), 16, {8: 1.3})), least=math.log(1.1))
    assert step.at == 8
    assert math.exp(step.low) < 1.3 < math.exp(step.high)
    runs = timed(np.random.default_rng(13), 40)
    for run in (3, 17, 19, 30):
        runs[run] = runs[run] * 1.6
    assert places_of_times(runs) == []


def test_too_few_runs_show_nothing_and_more_runs_show_smaller_changes() -> None:
    rng = np.random.default_rng(14)
    assert found(values(trained(rng, 3))) == []
    assert smallest_visible(values(trained(rng, 3)), LEAST, 1) is None
    assert smallest_visible(step_times(timed(rng, 5)), 0.1, 1) is None
    few, many = (
        [smallest_visible(each, LEAST, 6 * len(each.windows)) for each in series]
        for series in ([values(trained(rng, m)) for _ in range(10)] for m in (6, 30))
    )
    assert LEAST <= np.mean(many) < np.mean(few)


# -- how often: the figures of docs/statistics.md

RUNS = int(os.environ.get("BENCH_SIMULATIONS", "120"))
"""Series in a cell; 400 for the tables. With 120, an estimated 2 % has a standard error of 1.3 points, 90 % has 2.7."""

STABLE = {
    "3 seeds": {},
    "1 seed": {"seeds": 1},
    "3 seeds, an edit that changes answers, not the accuracy": {"churn": 0.3},
    "1 seed, and seeds are all alike": {"seeds": 1, "seed_sd": 0.0},
    "3 seeds, runs scatter by 0.4 points beyond their seeds": {"run_sd": 0.004, "seed_sd": 0.003},
}

OFTEN = {
    "5 runs": [1] * 5,
    "10 runs": [1] * 10,
    "30 runs": [1] * 30,
    "8 runs, 4 + 4": [4, 4],
    "30 runs, every 5th differs": [5] * 6,
    "30 runs, 10 different": [9, 1, 1, 6, 2, 1, 4, 3, 2, 1],
}

UNKNOWABLE = {
    ("1 seed", "8 runs, 4 + 4"),
    ("3 seeds, runs scatter by 0.4 points beyond their seeds", "5 runs"),
    ("3 seeds, runs scatter by 0.4 points beyond their seeds", "10 runs"),
    ("3 seeds, runs scatter by 0.4 points beyond their seeds", "8 runs, 4 + 4"),
}
"""Two single trainings do not tell how far others differ, nor a few runs how far runs scatter."""


@pytest.mark.slow
def test_an_unchanged_series_has_a_change_at_most_once_in_twenty() -> None:
    """A single comparison has the level itself, so chance takes it above in half of the simulations: two deviations."""
    print(f"\n\n| % with a change | {' | '.join(OFTEN)} |")
    for kind, world in STABLE.items():
        rates = {}
        for name, often in OFTEN.items():
            rng, m = np.random.default_rng([25, len(often)]), len(often)
            edits = dict.fromkeys(range(1, m), 0.0) if max(often) > 1 else {m // 2: 0.0}
            series = [trained(rng, m, edits, often=often, **world) for _ in range(RUNS)]
            rates[name] = sum(bool(places(runs, families=1)) for runs in series) / RUNS
        print(f"| {kind} | {' | '.join(f'{100 * rate:.1f}' for rate in rates.values())} |")
        known = [rate for name, rate in rates.items() if (kind, name) not in UNKNOWABLE]
        assert max(known) <= 0.05 + 2 * math.sqrt(0.05 * 0.95 / RUNS)


@pytest.mark.slow
def test_a_step_of_three_points_is_found_four_times_in_five() -> None:
    print("\n\n| runs, step after | seeds | 1 point | 2 points | 3 points | elsewhere |")
    for m, at in ((10, 5), (16, 8), (30, 5), (30, 15)):
        for seeds in (1, 3):
            hits: dict[int, float] = {}
            beside = 0.0
            for size in (1, 2, 3):
                rng = np.random.default_rng([21, m, at, seeds, size])
                series = [trained(rng, m, {at: -size * POINT}, seeds=seeds, churn=0.15) for _ in range(RUNS // 2)]
                near = [[abs(place - at) <= 1 for place in places(runs)] for runs in series]
                hits[size] = float(np.mean([any(each) for each in near]))
                beside = float(np.mean([not all(each) for each in near]))
            print(
                f"| {m}, {at} | {seeds} | {' | '.join(f'{100 * rate:.0f}' for rate in hits.values())} | {beside:.3f} |"
            )
            assert hits[3] >= 0.8
            assert beside <= 0.05


@pytest.mark.slow
def test_stable_times_have_no_change_and_a_quarter_longer_is_found() -> None:
    print("\n\n| % with a change / with a step of 25 % found | 10 runs | 30 runs | 100 runs |")
    for sd in (0.03, 0.08):
        for busy in (0.0, 0.05):
            cells = []
            for m in (10, 30, 100):
                rng = np.random.default_rng([22, m, int(100 * sd), int(100 * busy)])
                still = [timed(rng, m, sd=sd, busy=busy) for _ in range(RUNS)]
                slower = [timed(rng, m, {m // 2: 1.25}, sd=sd, busy=busy) for _ in range(RUNS // 2)]
                false = float(np.mean([bool(places_of_times(runs, families=1)) for runs in still]))
                seen = float(np.mean([m // 2 in places_of_times(runs) for runs in slower]))
                cells.append(f"{100 * false:.1f} / {100 * seen:.0f}")
                assert false <= 0.05
                assert seen >= 0.8 or sd > 0.03 or busy
            print(f"| runs scatter by {100 * sd:.0f} %{', busy' if busy else ''} | {' | '.join(cells)} |")


@pytest.mark.slow
def test_the_interval_of_a_change_holds_its_size() -> None:
    """A bit less often than 95 %: only changes that were seen have one, and those look too large."""
    rng = np.random.default_rng(24)
    every = [step for _ in range(300) for step in found(values(trained(rng, 20, {10: -2 * POINT})))]
    held = float(np.mean([step.low <= -2 * POINT <= step.high for step in every]))
    print(f"\n\nintervals that hold the size of a step: {100 * held:.0f} %")
    assert held >= 0.9
