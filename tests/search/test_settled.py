"""`--until-settled`: a search ends before its budget when another trial would gain less than the noise."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest

from bench import Budget, RunConfig, runner, stats
from bench.errors import ConfigError
from bench.hyperparameters import HyperParameters, Value
from bench.records import COMPLETE, FAIL, Metrics, Origin, Run, Trial
from bench.search.allocation import Outlook
from bench.search.settled import MIN_FAMILY_PROPOSALS, MIN_PROPOSALS, settled
from bench.testing import FakePool, Score


def trials(accuracies: Sequence[float | None], family: str = "a", n: int = 500, known: int = 0) -> list[Trial]:
    """Trials with these validation accuracies on n pictures, the first ones known configurations; None is a failure."""
    return [
        Trial(
            family=family,
            engine="optuna:tpe",
            number=number,
            order=number + 1,
            state=FAIL if accuracy is None else COMPLETE,
            origin=Origin.KNOWN if number < known else Origin.PROPOSED,
            value=accuracy,
            validation=None if accuracy is None else Metrics(n, accuracy, accuracy, None, 0.5, 0.5),
        )
        for number, accuracy in enumerate(accuracies)
    ]


# -- the rule


def test_equal_accuracies_settle_after_the_least_number_of_proposals() -> None:
    assert settled(trials([0.9] * (MIN_PROPOSALS - 1)), ["a"]) is None
    figures = settled(trials([0.9] * MIN_PROPOSALS), ["a"])
    assert figures is not None
    assert (figures.trials, figures.family, figures.recent, figures.recent_gain) == (10, "a", 5, 0.0)
    assert 0 < figures.gain < figures.noise == stats.standard_error(0.9, 500)


def test_accuracies_that_rise_step_by_step_do_not_settle() -> None:
    """Each step of 0.5 points is below the noise of 2.2; the later half together is not."""
    rising = [0.5 + 0.005 * step for step in range(40)]
    assert not any(settled(trials(rising[:count]), ["a"]) for count in range(41))
    assert settled(trials(rising + [0.6] * 40), ["a"]) is not None


def test_accuracies_that_scatter_widely_do_not_settle() -> None:
    assert settled(trials([0.9, 0.2, 0.88, 0.35, 0.6, 0.95, 0.5, 0.8, 0.3, 0.7], n=20_000), ["a"]) is None


def test_known_configurations_are_to_be_beaten_and_are_no_proposals() -> None:
    assert settled(trials([0.9] * 12, known=5), ["a"]) is None
    figures = settled(trials([0.98, *[0.9] * 10], known=1), ["a"])
    assert figures is not None
    assert figures.noise == stats.standard_error(0.98, 500)


def test_a_family_that_is_still_searched_must_have_had_its_chance() -> None:
    others = trials([0.9] * 20)
    few = trials([0.9] * (MIN_FAMILY_PROPOSALS - 1), "b")
    assert settled(others + few, ["a", "b"]) is None
    assert settled(others + few, ["a"]) is not None  # nothing is left to try in b
    assert settled(others + trials([0.9] * 2 * MIN_FAMILY_PROPOSALS, "b"), ["a", "b"]) is not None


def test_a_family_far_behind_and_one_that_fails_do_not_keep_the_search_alive() -> None:
    figures = settled(
        trials([0.98] * 10) + trials([0.5, 0.7, 0.6], "b") + trials([None, None, None], "c"), ["a", "b", "c"]
    )
    assert figures is not None
    assert figures.family == "a"


def test_without_a_result_nothing_settles() -> None:
    assert settled(trials([None] * 20), ["a"]) is None
    assert settled([], []) is None


def test_the_expected_gain_is_that_of_the_next_draw_on_average() -> None:
    generator = np.random.default_rng(0)
    expected, gained = [], []
    for _ in range(1000):
        accuracies = 1 / (1 + np.exp(-generator.normal(2.5, 0.5, 6)))
        best = float(accuracies[:5].max())
        expected.append(Outlook.of(accuracies[:5].tolist(), None, 1e-6).gain(1 - best))
        gained.append(max(0.0, float(accuracies[5]) - best))
    assert np.mean(expected) == pytest.approx(np.mean(gained), rel=0.25)


def test_a_perfect_accuracy_has_a_standard_error_above_0() -> None:
    assert 0 < stats.standard_error(1.0, 100) < stats.standard_error(0.5, 100) == 0.05


# -- a run


Search = Callable[..., Run]


def test_what_a_baseline_reaches_settles_nothing() -> None:
    rising = [0.5 + 0.005 * step for step in range(40)]
    perfect = trials([1.0], "metadata", known=1)
    assert settled(perfect + trials(rising), ["a"], ["metadata"]) is None
    figures = settled(perfect + trials([0.9] * MIN_PROPOSALS), ["a", "metadata"], ["metadata"])
    assert figures is not None
    assert (figures.trials, figures.noise) == (MIN_PROPOSALS + 1, stats.standard_error(0.9, 500))


@pytest.fixture
def search(tmp_path: Path, space: Callable[[str], str], monkeypatch: pytest.MonkeyPatch, in_memory) -> Search:
    """Runs the driver until it settles."""
    monkeypatch.chdir(tmp_path)

    def build(hp: HyperParameters, family: str) -> None:
        hp.Float("rate", 0.0, 1.0)

    def run(score: Score, families: Sequence[str] = ("a", "b"), **config: object) -> Run:
        pool = FakePool(build, score, {"a": [{"rate": 0.5}], "dummy": [{"rate": 0.5}]}, baselines=["dummy"])
        settings = {"images": 24, "out": str(tmp_path / "run"), "budget": Budget(60), "until_settled": True, **config}
        return runner.run(RunConfig(spaces=tuple(space(family) for family in families), **settings), pool=pool)

    return run


def test_a_search_with_flat_scores_ends_early_and_says_so_with_the_numbers(search: Search, tmp_path: Path) -> None:
    run = search(lambda family, params: 0.9, ("a", "b", "dummy"))
    assert len(run.trials) == 1 + 1 + MIN_PROPOSALS
    (note,) = [note.replace("\u00a0", " ").replace("\u202f", " ") for note in run.notes]
    assert note.startswith("optuna:tpe: settled after 12 trials, another trial of ")
    assert note.endswith(
        "(the last 5 proposals gained 0.0 points), less than the standard error of 100 validation pictures, 3.1 points"
    )
    assert "settled after" in (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    assert json.loads((tmp_path / "run" / "run.json").read_text(encoding="utf-8"))["notes"] == list(run.notes)
    assert run.status == "complete"
    assert run.best("b") is not None


def test_a_search_that_improves_uses_its_budget(search: Search) -> None:
    calls = iter(range(1000))

    def rising(family: str, params: Mapping[str, Value]) -> float:
        return 0.3 + 0.01 * next(calls)

    run = search(rising)
    assert len(run.trials) == 60
    assert run.notes == ()


def test_without_the_option_flat_scores_use_the_budget(search: Search) -> None:
    assert len(search(lambda family, params: 0.9, until_settled=False).trials) == 60


def test_each_engine_settles_by_its_own_proposals(search: Search) -> None:
    run = search(lambda family, params: 0.9, ("a",), engines=("optuna:random", "optuna:tpe"))
    assert [sum(trial.engine == engine for trial in run.trials) for engine in run.config.engines] == [11, 11]
    assert [note.split(":")[1] for note in run.notes] == ["random", "tpe"]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, "until-settled: needs a limit of trials or time, e.g. --budget 100 or --budget 2h"),
        ({"only_known": True}, "until-settled: needs a limit"),
        ({"only_known": True, "budget": Budget(5)}, "until-settled: only-known has a fixed list of trials; leave out"),
    ],
)
def test_until_settled_needs_a_limit_and_proposals(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        RunConfig(until_settled=True, **settings)  # type: ignore[arg-type]
