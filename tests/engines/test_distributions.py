"""How hyperparameters are written into Optuna trials."""

from __future__ import annotations

import warnings
from dataclasses import replace
from typing import Any

import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from bench.engines.distributions import Names, Parameter, Parameters, distribution, nearest, thinned
from bench.hyperparameters import Hyperparameter


def number(kind: str, low: float, high: float, **about: Any) -> Hyperparameter:
    return Hyperparameter(kind, "x", low, low=low, high=high, **about)


@pytest.mark.parametrize(
    ("hyperparameter", "expected"),
    [
        (number("Int", 2, 5), IntDistribution(2, 5)),
        (number("Int", 8, 60, step=8), IntDistribution(8, 56, step=8)),
        (number("Int", 4, 64, sampling="log"), IntDistribution(4, 64, log=True)),
        (number("Int", 4, 64, step=2, sampling="log"), CategoricalDistribution((4, 8, 16, 32, 64))),
        (number("Int", 4, 64, sampling="reverse_log"), IntDistribution(4, 64, log=True)),
        (number("Float", 0.0, 0.6), FloatDistribution(0.0, 0.6)),
        (number("Float", 0.0, 0.6, step=0.2), FloatDistribution(0.0, 0.6, step=0.2)),
        (number("Float", 0.0, 0.7, step=0.2), FloatDistribution(0.0, 0.6, step=0.2)),
        (number("Float", 1e-4, 1e-1, sampling="log"), FloatDistribution(1e-4, 1e-1, log=True)),
        (number("Float", 0.1, 0.9, sampling="reverse_log"), FloatDistribution(0.1, 0.9, log=True)),
        (Hyperparameter("Choice", "x", "a", values=("a", "b")), CategoricalDistribution(("a", "b"))),
        (Hyperparameter("Boolean", "x", False), CategoricalDistribution((False, True))),
    ],
)
def test_distribution(hyperparameter: Hyperparameter, expected: Any) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # Optuna warns where it trims a range itself
        assert distribution(hyperparameter) == expected


@pytest.mark.parametrize("step", [0.1, 0.2, 0.05, 1 / 3, 0.15])
def test_every_stepped_value_is_stored_and_read_as_it_is(step: float) -> None:
    parameter = Parameter("x", number("Float", -0.3, 1.0, step=step))
    for value in parameter.hyperparameter.finite_values() or ():
        about = distribution(parameter.hyperparameter)
        assert about._contains(about.to_internal_repr(parameter.encode(value)))
        assert parameter.decode(parameter.encode(value)) == value


def test_reverse_log_is_stored_mirrored_and_prefers_high_values() -> None:
    parameter = Parameter("x/reverse_log", number("Float", 0.001, 1.0, sampling="reverse_log"))
    assert parameter.encode(0.9) == pytest.approx(0.101)
    assert parameter.decode(0.101) == pytest.approx(0.9)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=1))
    values = [parameter.suggest(study.ask()) for _ in range(50)]
    assert sum(isinstance(value, float) and value > 0.9 for value in values) > 25
    whole = Parameter("x/reverse_log", number("Int", 1, 9, sampling="reverse_log"))
    assert [whole.decode(whole.encode(value)) for value in range(1, 10)] == list(range(1, 10))


def test_a_value_is_moved_to_the_nearest_that_is_allowed() -> None:
    assert nearest(number("Int", 8, 60, step=8), 100) == 56
    assert nearest(number("Float", 0.0, 1.0, step=0.25), 0.3) == 0.25
    assert nearest(number("Int", 1, 9), 4.6) == 5
    assert nearest(Hyperparameter("Choice", "x", "a", values=("a", "b")), "c") == "a"
    assert nearest(Hyperparameter("Boolean", "x", False), 1) is True  # Keras Tuner's


def test_a_grid_keeps_stated_values_and_thins_ranges_on_their_own_scale() -> None:
    assert tuple(thinned(number("Int", 8, 60, step=8), 3)) == (8, 16, 24, 32, 40, 48, 56)
    assert tuple(thinned(number("Int", 1, 3), 3)) == (1, 2, 3)
    assert thinned(number("Int", 0, 100), 3) == (0, 50, 100)
    assert thinned(number("Float", 0.01, 1.0, sampling="log"), 3) == pytest.approx((0.01, 0.1, 1.0))
    assert thinned(number("Float", 0.01, 1.0, sampling="reverse_log"), 3) == pytest.approx((0.01, 0.91, 1.0))
    assert thinned(number("Float", 0.5, 0.5), 3) == (0.5,)


def under(value: str, hyperparameter: Hyperparameter) -> Hyperparameter:
    return replace(hyperparameter, conditions=(("kind", (value,)),))


def test_one_name_under_two_conditions_is_stored_under_two_names() -> None:
    small, large = under("cnn", number("Int", 1, 3)), under("vgg", number("Int", 10, 30))
    parameters = Parameters(Names([small, large]), {})
    assert parameters.of(large).name == "x [kind=vgg]"
    assert parameters.of(small).name == "x"


def test_a_stored_range_of_another_kind_is_left_alone_where_a_study_is_gone_on_with() -> None:
    choice = Hyperparameter("Choice", "x", "a", values=("a",))
    stored = {"x": distribution(choice)}
    assert Parameters(Names(), stored).of(choice).name == "x"
    assert Parameters(Names(), stored).of(number("Int", 1, 3)).name.startswith("x [IntDistribution")


def test_a_range_that_depends_on_another_value_keeps_its_name_where_optuna_takes_it() -> None:
    parameters = Parameters(Names(), {})
    assert parameters.of(number("Int", 1, 3)).name == "x"
    assert parameters.of(number("Int", 1, 5)).name == "x"
    assert parameters.of(Hyperparameter("Choice", "x", "a", values=("a", "b"))).name != "x"
