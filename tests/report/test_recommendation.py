"""What can be the best within some limits, and how to have it."""

from __future__ import annotations

import random
import re
import shlex
from dataclasses import replace
from pathlib import Path

import pytest

from bench import stats
from bench.cli.parser import _parser
from bench.deploy import export
from bench.records import FamilyInfo, Run, Study, Trial
from bench.report.sections import recommendation

from .conftest import TPE, build, plain, section, trial


def of(*trials: Trial) -> Run:
    return build((Study("cnn", TPE, trials),), (FamilyInfo("cnn"),))


def words(run: Run) -> str:
    return plain(section(run, "recommendation"))


def names(trials: list[Trial]) -> list[tuple[str, int]]:
    return [(each.study, each.number) for each in trials]


# -- the front


@pytest.mark.parametrize(
    ("points", "front"),
    [
        ([], []),
        ([(1, 1)], [0]),
        ([(1, 2), (2, 1), (2, 2)], [0, 1]),
        ([(2, 2), (1, 1)], [1]),
        ([(1, 1), (1, 1), (1, 2)], [0, 1]),  # equal points stand together
        ([(1, float("inf")), (2, 3)], [0, 1]),
        ([(1, float("inf")), (1, 3)], [1]),
    ],
)
def test_the_front_is_what_no_other_point_dominates(points: list[tuple[float, ...]], front: list[int]) -> None:
    assert stats.pareto(points) == front


def test_the_front_is_that_of_its_definition() -> None:
    draw = random.Random(0)
    for dimensions in (1, 2, 3, 4):
        points = [tuple(draw.randint(0, 6) for _ in range(dimensions)) for _ in range(120)]

        def dominated(point: tuple[int, ...], points: list[tuple[int, ...]] = points) -> bool:
            rivals = (other for other in points if other != point)
            return any(all(a <= b for a, b in zip(other, point, strict=True)) for other in rivals)

        assert stats.pareto(points) == [i for i, point in enumerate(points) if not dominated(point)]


# -- the candidates


def test_what_another_trial_beats_in_everything_is_no_candidate(run: Run) -> None:
    assert names(recommendation.efficient(run)) == [
        ("mobilenet_v2/optuna:tpe", 1),
        ("cnn/optuna:tpe", 1),
        ("cnn/keras-tuner:bayesian", 1),
        ("cnn/optuna:tpe", 0),  # not its duplicate
        ("dummy/optuna:tpe", 0),
        ("dummy/optuna:tpe", 1),
    ]


def is_within(trial: Trial, most: dict[str, float]) -> bool:
    """Whether no cost is above its limit, which has six significant digits; a cost that was not measured is."""
    return all((getattr(trial.cost, cost) or 99) <= 1.00001 * most[cost] for cost in most)


def test_the_best_within_any_limits_is_a_candidate() -> None:
    draw = random.Random(1)
    run = of(
        *(
            replace(each, cost=replace(each.cost, latency_ms=draw.choice([None, 1.0, 2.0, 3.0])))  # type: ignore[type-var]
            for number in range(200)
            for each in [trial("cnn", TPE, number, number + 1, draw.random(), draw.random(), draw.randint(1, 9))]
        )
    )
    candidates = recommendation.section(run).candidates
    steps = recommendation.section(run).steps
    for _ in range(200):
        places = [draw.randrange(len(choices)) for choices in steps.values()]
        most = {cost: choices[place][0] for (cost, choices), place in zip(steps.items(), places, strict=True)}

        fit = [each for each in run.trials if is_within(each, most)]
        within = [each for each in candidates if all(own <= p for own, p in zip(each.steps, places, strict=True))]
        assert (within[0].trial if within else None) == min(fit, key=lambda each: each.rank_key, default=None)


def test_what_was_not_measured_is_within_no_limit() -> None:
    measured = trial("cnn", TPE, 0, 1, 0.8, 10.0, 1000)
    assert measured.cost is not None
    unmeasured = replace(trial("cnn", TPE, 1, 2, 0.9, 10.0, 1000), cost=replace(measured.cost, latency_ms=None))
    found = recommendation.section(of(measured, unmeasured))
    latency = list(found.steps).index("latency_ms")
    assert [each.steps[latency] for each in found.candidates] == [1, 0]
    assert len(found.steps["latency_ms"]) == 1


def test_only_chosen_trials_have_a_model(run: Run, tmp_path: Path) -> None:
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "cnn.keras").touch()
    found = {(each.trial.family, each.trial.number, each.trial.engine): each for each in _candidates(run, tmp_path)}
    assert {name for name, each in found.items() if each.chosen} == {
        ("mobilenet_v2", 1, TPE), ("cnn", 1, TPE), ("dummy", 0, TPE)
    }  # fmt: skip
    assert [name for name, each in found.items() if each.model] == [("cnn", 1, TPE)]
    assert found["cnn", 1, TPE].model == "models/cnn.keras"


def _candidates(run: Run, folder: Path) -> tuple[recommendation.Candidate, ...]:
    return recommendation.section(replace(run, path=folder)).candidates


# -- how to have it


def test_the_command_is_one_that_the_command_line_takes(run: Run, tmp_path: Path) -> None:
    found = {(each.trial.study, each.trial.number): each.command for each in _candidates(run, tmp_path / "a run")}
    names = {name: shlex.split(command)[5:] for name, command in found.items() if command}
    assert names["cnn/optuna:tpe", 1] == ["cnn"]
    assert names["cnn/optuna:tpe", 0] == ["cnn/optuna:tpe#0"]
    assert "dummy/optuna:tpe" not in {study for study, _ in names}  # it is no Keras model
    for command in filter(None, found.values()):
        words = shlex.split(command)
        options = _parser().parse_args(words[3:])
        assert (words[:4], options.run) == (["python", "-m", "bench", "export"], str(tmp_path / "a run"))
        assert export.find(run, options.trial).state == "COMPLETE"


def test_of_data_in_folds_only_a_kept_model_can_be_had(folded_run: Run, tmp_path: Path) -> None:
    assert not any(each.command for each in _candidates(folded_run, tmp_path))


def test_the_page_shows_the_most_accurate_first_and_needs_no_script(run: Run) -> None:
    said = words(run)
    assert "Without limits mobilenet_v2 · random weights optuna:tpe #1 : 93.9 % validation accuracy, 93.3 %" in said
    assert "input_size 64, learning_rate 0.00031" in said
    assert "All possible answers: 6 trials" in said
    assert "bench export reports/20261121T001800-drawn mobilenet_v2" in said


def test_with_several_seeds_the_model_has_an_accuracy_of_its_own(seeded_run: Run) -> None:
    folder = seeded_run.path / "models"
    folder.mkdir()
    (folder / "mobilenet_v2.keras").touch()
    said = words(seeded_run)
    assert re.search(r"93\.9 % validation accuracy, 89\.3 % test accuracy \(\S+ %, mean of 3 seeds\);", said)
    assert "models/mobilenet_v2.keras , from the run's own seed, with 98.3 % test accuracy. This command" in said


def test_nothing_complete_is_nothing_to_ship(empty_run: Run) -> None:
    assert words(empty_run) == words(replace(empty_run, status="partial")) == ""
