"""Budgets and configurations are checked where they are made, with the value, the rule and the choices."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from bench import Budget, RunConfig
from bench.errors import ConfigError


@pytest.mark.parametrize(
    ("text", "trials", "seconds"),
    [
        ("20", 20, None),
        ("30m", None, 1800),
        ("90s", None, 90),
        ("1.5h", None, 5400),
        ("20,30m", 20, 1800),
        ("30m, 20", 20, 1800),
    ],
)
def test_budgets_are_read(text, trials, seconds):
    assert Budget.parse(text) == Budget(trials, seconds)


@pytest.mark.parametrize(
    "text", ["0", "-1", "", "many", "20,20", "30m,40m", "0m", "20 trials", "1e3", "3 0", "nan", "∞h"]
)
def test_what_is_no_budget_is_refused(text):
    with pytest.raises(ConfigError, match="budget"):
        Budget.parse(text)


@pytest.mark.parametrize(("budget", "text"), [("20", "20 trials"), ("30m", "30 min"), ("20,45s", "20 trials or 45 s")])
def test_a_budget_reads_as_a_person_would_say_it(budget, text):
    assert str(Budget.parse(budget)) == text


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"engines": ()}, "at least one"),
        ({"engines": ("optuna:tpe", "optuna:tpe")}, "named once"),
        ({"pruner": "medien"}, "unknown pruner 'medien'. Did you mean median"),
        ({"weights": "imagnet"}, "Did you mean imagenet"),
        ({"missing_weights": "ignore"}, "Choices: error, random, skip"),
        ({"features": "float61"}, "unknown features 'float61'. Did you mean float16"),
        ({"budget": Budget(trials=None)}, "at least one of trials and seconds"),
        ({"workers": 0}, "workers 0: must be a whole number of at least 1"),
        ({"seed": -1}, "seed -1"),
        ({"seed": True}, "seed True"),
        ({"epochs": 1.5}, "epochs 1.5"),
        ({"limit": 3}, "limit 3"),
        ({"split": (0.5, 0.5, 0.5)}, "sum to 1"),
        ({"split": (1.0, 0.0, 0.0)}, "above 0"),
        ({"input_sizes": (4,)}, "input size 4"),
        ({"trial_timeout_s": 0}, "above 0"),
    ],
)
def test_a_wrong_setting_names_value_rule_and_choices(given, says):
    with pytest.raises(ConfigError) as caught:
        RunConfig(**given)
    assert says in str(caught.value)


@pytest.mark.parametrize(
    ("given", "trials"), [({}, None), ({"budget": Budget(20)}, 20), ({"budget": Budget(3)}, 3), ({"epochs": 2}, None)]
)
def test_known_configurations_alone_have_no_limit_unless_one_is_given(given, trials):
    config = RunConfig(only_known=True, **given)
    assert config.budget.trials == trials
    assert replace(RunConfig(), only_known=True, **given) == config
    assert as_read(config) == config
    assert str(RunConfig(only_known=True).budget) == "no limit"


def as_read(config):
    return RunConfig.from_dict(json.loads(json.dumps(config.to_dict())))


def test_a_configuration_survives_json():
    config = RunConfig(budget=Budget(5, 60), engines=("optuna:gp", "optuna:grid"), input_sizes=(32, 64), limit=100)
    assert as_read(config) == config
    assert as_read(RunConfig(features="float16")).features == "float16"


def test_a_configuration_of_a_later_version_may_know_more():
    assert RunConfig.from_dict({**RunConfig().to_dict(), "of_the_future": 1}) == RunConfig()
