"""Results made up from a seed, with exact numbers of right answers: what the gate compares, without a run.

    before = results({"cnn": 0.9, "vgg16": family((0.91, 0.9, 0.92), parameters=10_000)}, n=2000, seeds=3)
    after = again(before, cnn=family(0.88, n=2000, seeds=3, draw=1))

Pictures are hard or easy for all, and a little luck of each training's own is added: as with real models, two trainings
are mostly right on the same pictures.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from bench.runs.results import Environment, FamilyResult, FamilyStatus, Results, Split

N = 2000
SEEDS = 3
LUCK = 0.05
"""Standard deviation of a training's own luck, where the difficulty of the pictures is spread from 0 to 1."""

SPLIT = Split("drawn", "5" * 64, "7" * 64, N, {"cat": N // 2, "dog": N // 2})
ENVIRONMENT = Environment("3.11.9", "3.14.0", "tensorflow 2.20.0", "Fake CPU @ 2.40GHz", 4, "")
CONFIG: Mapping[str, Any] = {"data": "drawn", "images": 9000, "budget": {"trials": 20, "seconds": None}, "seed": 0}
STEPS = (0.0100, 0.0101, 0.0102, 0.0103, 0.0104, 0.0105)
"""Step times, as many as a verdict on time needs."""


def bits(accuracy: float, n: int = N, draw: int = 0, luck: float = LUCK) -> np.ndarray:
    """Which of `n` pictures one training has right: exactly round(accuracy * n) of them, shape (n,).

    Args:
        accuracy: Share of right answers.
        n: Test pictures.
        draw: The training's own randomness.
        luck: How much of it there is; 0: trainings of one accuracy are right on the same pictures.
    """
    difficulty = np.random.default_rng(0).random(n) + luck * np.random.default_rng([1, draw]).standard_normal(n)
    right = np.zeros(n, np.bool_)
    right[np.argsort(difficulty)[: round(accuracy * n)]] = True
    return right


def family(
    accuracy: float | Sequence[float] = 0.9,
    n: int = N,
    seeds: int = SEEDS,
    draw: int = 0,
    luck: float = LUCK,
    **changes: Any,
) -> FamilyResult:
    """A family with a scored model, as it is or with fields changed.

    Args:
        accuracy: Of each seed; a single number stands for all of them.
        n: Test pictures.
        seeds: How many, where one number is given.
        draw: Another one gives another luck: what the same code would come to if it was trained again.
        luck: As for `bits`.
        changes: Fields of `FamilyResult`.
    """
    shares = [accuracy] * seeds if isinstance(accuracy, int | float) else list(accuracy)
    correct = [bits(share, n, 1000 * draw + seed, luck) for seed, share in enumerate(shares)]
    usual: dict[str, Any] = {
        "status": FamilyStatus.COMPLETE,
        "params": {"learning_rate": 0.001, "depth": 4},
        "parameters": 100_000,
        "seeds": tuple(range(len(shares))),
        "correct": np.array(correct) if correct else np.zeros((0, n), np.bool_),
        "step_time_s": STEPS,
    }
    return FamilyResult(**{**usual, **changes})


def results(
    families: Mapping[str, FamilyResult | float | Sequence[float]] | None = None,
    n: int = N,
    seeds: int = SEEDS,
    draw: int = 0,
    luck: float = LUCK,
    **changes: Any,
) -> Results:
    """A complete run, as it is or with fields changed.

    Args:
        families: By name: what they came to, or their accuracy as for `family`; by default "cnn" and "dummy".
        n, seeds, draw, luck: Of the families that are given by their accuracy.
        changes: Fields of `Results`; `split` and `env` may also be mappings of what is different in them, and what
            `config` names is changed or added.
    """
    given = {"cnn": 0.9, "dummy": 0.5} if families is None else families
    made = {
        name: each if isinstance(each, FamilyResult) else family(each, n, seeds, draw, luck)
        for name, each in given.items()
    }
    split = replace(SPLIT, n=n, class_counts={"cat": n - n // 2, "dog": n // 2})
    for part, whole in (("split", split), ("env", ENVIRONMENT)):
        changed = changes.pop(part, {})
        changes[part] = replace(whole, **changed) if isinstance(changed, Mapping) else changed
    usual: dict[str, Any] = {
        "run": "2026-11-20T120000-drawn",
        "status": "complete",
        "created_utc": "2026-11-20T12:00:00+00:00",
        "git_sha": "0123456789ab",
        "tool_version": "0.1.0",
        "families": made,
    }
    return Results(**{**usual, **changes, "config": {**CONFIG, **changes.get("config", {})}})


def again(before: Results, **families: FamilyResult) -> Results:
    """The same run once more, with some families changed or added."""
    later = {"run": "2026-11-21T090000-drawn", "created_utc": "2026-11-21T09:00:00+00:00", "git_sha": "ba9876543210"}
    return replace(before, **later, families={**before.families, **families})
