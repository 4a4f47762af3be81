"""Budgets and configurations are checked where they are made, with the value, the rule and the choices."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bench import Budget, RunConfig
from bench.errors import ConfigError
from bench.records import from_data, to_data


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
        ({"budget": Budget(trials=None)}, "must have trials, seconds or both"),
        ({"workers": 0}, "workers 0: must be 1 to 1024"),
        ({"workers": 10**9}, "workers 1000000000: must be 1 to 1024"),
        ({"seed": -1}, "seed -1"),
        ({"seed": True}, "seed True"),
        ({"seed": 5_000_000_000}, "seed 5000000000: must be 0 to 4294967295"),
        ({"epochs": 1.5}, "epochs 1.5"),
        ({"limit": 3}, "limit 3"),
        ({"split": (0.5, 0.5, 0.5)}, "sum to 1"),
        ({"split": (1.0, 0.0, 0.0)}, "above 0"),
        ({"input_sizes": (4,)}, "input-sizes (4,): must be whole numbers of 8 to 1024 pixels"),
        ({"spaces": " , "}, "spaces ' , ': must be names separated by commas (in Python also a list)"),
        ({"spaces": ("cnn", 3)}, "spaces ('cnn', 3): must be names"),
        ({"engines": "optuna:tpe,optuna:tpe"}, "engine ('optuna:tpe', 'optuna:tpe'): must be names"),
        ({"limit": 12.5}, "limit 12.5: must be at least 12 pictures, a whole number of them"),
        ({"split": ("a", "b", "c")}, "three shares"),
        ({"folds": True}, "folds True: must be 2 to 20"),
        ({"only_known": "no"}, "only-known 'no': must be True or False"),
        ({"data": None}, "data None: must be text"),
        ({"budget": True}, "budget True: must be a number of trials (20), a time (90s, 30m, 1.5h) or both (20,30m)"),
        ({"budget": "20 trials"}, "budget '20 trials': must be a number of trials"),
        ({"limit": "300.5"}, "limit '300.5': must be at least 12 pictures"),
        ({"limit": "3"}, "limit 3: must be at least 12 pictures"),
        ({"trial_timeout_s": "600"}, "trial-timeout '600': must be a time above 0 such as 90s"),
        ({"engine": "optuna:tpe"}, "unknown setting 'engine'. Did you mean engines"),
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
    assert as_read(config) == config
    assert str(RunConfig(only_known=True).budget) == "no limit"


def test_lists_and_paths_are_as_good_as_tuples_and_text():
    given = RunConfig(data=Path("photos"), spaces=["cnn"], split=[0.5, 0.25, 0.25])
    assert given == RunConfig(data="photos", spaces=("cnn",), split=(0.5, 0.25, 0.25))


@pytest.mark.parametrize(
    ("taken", "value"),
    [
        ({"spaces": "cnn, mobilenet_v2"}, {"spaces": ("cnn", "mobilenet_v2")}),
        ({"spaces": Path("mine.py")}, {"spaces": ("mine.py",)}),
        ({"spaces": [Path("mine.py"), "cnn"]}, {"spaces": ("mine.py", "cnn")}),
        ({"engines": "optuna:tpe"}, {"engines": ("optuna:tpe",)}),
        ({"budget": 20}, {"budget": Budget(20)}),
        ({"budget": "30m"}, {"budget": Budget(None, 1800)}),
        ({"limit": "300"}, {"limit": 300}),
        ({"input_sizes": 96}, {"input_sizes": (96,)}),
        ({"epochs": np.int64(5)}, {"epochs": 5}),
        ({"max_parameters": "5M"}, {"max_parameters": 5_000_000}),
        ({"split": "0.5,0.25,0.25"}, {"split": (0.5, 0.25, 0.25)}),
        ({"trial_timeout_s": "10m"}, {"trial_timeout_s": 600.0}),
    ],
)
def test_a_setting_takes_what_a_person_would_write(taken, value):
    config = RunConfig(**taken)
    assert config == RunConfig(**value)
    assert as_read(config) == config


def as_read(config):
    return from_data(RunConfig, json.loads(json.dumps(to_data(config))))


def test_a_configuration_survives_json():
    config = RunConfig(budget=Budget(5, 60), engines=("optuna:gp", "optuna:grid"), input_sizes=(32, 64), limit=100)
    assert as_read(config) == config
    assert as_read(RunConfig(features="float16")).features == "float16"


def test_a_damaged_configuration_is_a_value_error_as_any_damaged_record():
    with pytest.raises(ValueError, match="unknown pruner 'medien'"):
        from_data(RunConfig, {"pruner": "medien"})
    with pytest.raises(ValueError, match="epochs"):
        from_data(RunConfig, {"epochs": "many"})


def test_a_configuration_of_a_later_version_may_know_more():
    assert from_data(RunConfig, {**to_data(RunConfig()), "of_the_future": 1}) == RunConfig()


def test_most_of_the_drawn_pictures_are_for_the_test_and_most_of_others_for_training():
    assert RunConfig().split == (0.25, 0.15, 0.6)
    assert RunConfig(data="photos").split == (0.6, 0.2, 0.2)
    assert RunConfig(split="0.5,0.2,0.3").split == (0.5, 0.2, 0.3)


def test_the_configuration_of_a_split_file_is_read_again():
    config = RunConfig(split_file="split.json")
    assert from_data(RunConfig, to_data(config)) == config
    assert replace(RunConfig(), split_file="split.json").split_file == "split.json"


@pytest.mark.parametrize("headings", ["", "true class,predicted class,price\n"])
def test_costs_are_read_from_a_table_and_recorded(tmp_path, headings):
    (tmp_path / "costs.csv").write_text(f"{headings}crack,free,50\n\nfree, crack ,1.5\n", encoding="utf-8")
    config = RunConfig(metric="cost,accuracy", costs=tmp_path / "costs.csv")
    assert config.costs == (("crack", "free", 50.0), ("free", "crack", 1.5))
    assert RunConfig(metric=config.metric, costs=config.costs) == config


@pytest.mark.parametrize(
    ("content", "error"),
    [
        ("crack,free", "row 1: 'crack,free'"),
        ("crack,free,1\ncrack,free,2", "row 2: .* this pair is there twice"),
        ("crack,free,-1", "a price must be a number from 0"),
        ("crack,free,nan", "a price must be a number from 0"),
        ("crack,free,0", "no price is above 0"),
        ("a,b,price", "no price is above 0"),
        ("a,b,1\nc,d,much", "row 2: 'c,d,much'"),
    ],
)
def test_costs_that_make_no_sense_are_named_by_their_row(tmp_path, content, error):
    (tmp_path / "costs.csv").write_text(content, encoding="utf-8")
    with pytest.raises(ConfigError, match=error):
        RunConfig(metric="cost", costs=str(tmp_path / "costs.csv"))


def test_costs_without_their_metric_are_refused(tmp_path):
    with pytest.raises(ConfigError, match="only --metric cost reads them"):
        RunConfig(costs=(("a", "b", 1.0),))
    with pytest.raises(ConfigError, match=r"missing\.csv"):
        RunConfig(metric="cost", costs=tmp_path / "missing.csv")
