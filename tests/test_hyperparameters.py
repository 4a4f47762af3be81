"""`hp`: the rules of bench.hyperparameters, and the same build functions under the real Keras Tuner."""

from __future__ import annotations

import json
import tracemalloc
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from bench.engines.distributions import distribution, nearest
from bench.hyperparameters import (
    Hyperparameter,
    HyperParameters,
    Value,
    configurations,
    fixed,
)
from bench.records import from_data, to_data


def taking(**values: Value) -> HyperParameters:
    return HyperParameters(fixed(values))


# -- one hyperparameter


def number(kind: str, low: float, high: float, **about: Any) -> Hyperparameter:
    return Hyperparameter(kind, "x", low, low=low, high=high, **about)


@pytest.mark.parametrize(
    ("hyperparameter", "values"),
    [
        (number("Int", 2, 5), (2, 3, 4, 5)),
        (number("Int", 6, 13, step=3), (6, 9, 12)),
        (number("Int", 2, 32, step=2, sampling="log"), (2, 4, 8, 16, 32)),
        (number("Int", 2, 32, step=2, sampling="reverse_log"), (2, 18, 26, 30, 32)),
        (number("Float", 0.0, 1.0, step=0.2), (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)),
        (number("Float", 0.0, 0.7, step=0.2), (0.0, 0.2, 0.4, 0.6)),
        (number("Float", 0.001, 10.0, step=10.0, sampling="log"), pytest.approx((0.001, 0.01, 0.1, 1.0, 10.0))),
        (number("Float", 0.0, 1.0), None),
        (number("Float", 0.001, 1.0, sampling="log"), None),
        (Hyperparameter("Choice", "x", "a", values=("a", "b")), ("a", "b")),
        (Hyperparameter("Boolean", "x", False), (False, True)),
        (Hyperparameter("Fixed", "x", 3, values=(3,)), (3,)),
    ],
)
def test_finite_values(hyperparameter: Hyperparameter, values: Any) -> None:
    finite = hyperparameter.finite_values()
    assert (None if finite is None else tuple(finite)) == values
    assert all(hyperparameter.accepts(value) for value in hyperparameter.finite_values() or ())


@pytest.mark.parametrize(
    ("hyperparameter", "value", "accepted"),
    [
        (number("Int", 2, 5), 5, True),
        (number("Int", 2, 5), 5.0, True),
        (number("Int", 2, 5), 6, False),
        (number("Int", 2, 5), 2.5, False),
        (number("Int", 0, 5), True, False),
        (number("Int", 6, 13, step=3), 10, False),
        (number("Float", 0.0, 1.0), 1, True),
        (number("Float", 0.0, 1.0), float("nan"), False),
        (number("Float", 0.0, 1.0), float("inf"), False),
        (number("Float", 0.0, 1.0), "0.5", False),
        (number("Float", 0.0, 0.6, step=0.2), 3 * 0.2, True),  # 0.6000000000000001
        (number("Float", 0.0, 0.6, step=0.2), 0.3, False),
        (number("Float", -0.3, 0.3, step=0.1), 0.0, True),
        (Hyperparameter("Choice", "x", 1, values=(1, 2)), 2, True),
        (Hyperparameter("Choice", "x", 1, values=(1, 2)), 2.0, False),
        (Hyperparameter("Choice", "x", 1, values=(0, 1)), True, False),
        (Hyperparameter("Boolean", "x", False), True, True),
        (Hyperparameter("Boolean", "x", False), 1, False),
        (Hyperparameter("Fixed", "x", None, values=(None,)), None, True),
    ],
)
def test_accepts(hyperparameter: Hyperparameter, value: Value, accepted: bool) -> None:
    assert hyperparameter.accepts(value) is accepted


def test_it_is_described_as_a_person_would() -> None:
    assert number("Float", 1e-4, 1e-2, sampling="log").describe() == "Float 0.0001 to 0.01, log"
    assert number("Int", 8, 64, step=8).describe() == "Int 8 to 64, step 8"
    assert Hyperparameter("Choice", "x", "adam", values=("adam", "sgd")).describe() == "Choice of adam, sgd"
    assert Hyperparameter("Boolean", "x", False).describe() == "Boolean"


def test_it_survives_json() -> None:
    hp = taking()
    hp.Choice("kind", ["a", "b"])
    hp.Float("x", 0, 1, step=0.25, parent_name="kind", parent_values=["a", "b"])
    for each in hp.space:
        assert from_data(Hyperparameter, json.loads(json.dumps(to_data(each)))) == each


# -- declarations


def test_a_suggestion_is_asked_for_once_and_only_while_active() -> None:
    asked: list[str] = []

    def suggest(hyperparameter: Hyperparameter) -> Value:
        asked.append(hyperparameter.name)
        return hyperparameter.default

    hp = HyperParameters(suggest)
    assert hp.Choice("kind", ["a", "b"]) == hp.Choice("kind", ["a", "b"]) == "a"
    assert hp.Int("depth", 1, 3, parent_name="kind", parent_values="b") is None
    assert hp.Fixed("loss", "mse") == "mse"
    assert asked == ["kind"]
    assert hp.values == {"kind": "a", "loss": "mse"}
    assert [each.name for each in hp.space] == ["kind", "depth", "loss"]


def test_a_range_redefined_names_both() -> None:
    hp = taking()
    hp.Int("depth", 1, 3)
    hp.Int("depth", 1, 3, default=2)  # the range is the same
    with pytest.raises(ValueError, match=r"'depth' is declared twice .* first Int 1 to 3, then Int 1 to 4"):
        hp.Int("depth", 1, 4)


def test_one_name_may_have_a_range_for_every_condition_but_not_two_at_once() -> None:
    hp = taking(kind="b")
    hp.Choice("kind", ["a", "b"])
    assert hp.Int("depth", 1, 3, parent_name="kind", parent_values="a") is None
    assert hp.Int("depth", 5, 9, parent_name="kind", parent_values="b") == 5
    with pytest.raises(ValueError, match=r"first Int 5 to 9, then Int 1 to 3"):
        hp.Int("depth", 1, 3)


@pytest.mark.parametrize(
    ("declare", "error", "message"),
    [
        (lambda hp: hp.Int("x", 3, 1), ValueError, r"hp.Int\('x'\): min_value <= max_value .* got 3 and 1"),
        (lambda hp: hp.Int("x", 1, 3.5), ValueError, "max_value must be a whole number, got 3.5"),
        (lambda hp: hp.Int("x", 1, 3, step=0), ValueError, "step must be above 0, got 0"),
        (lambda hp: hp.Int("x", 1, 8, step=1, sampling="log"), ValueError, "step must be above 1, got 1"),
        (lambda hp: hp.Float("x", 0, 1, sampling="log"), ValueError, "log sampling needs min_value > 0, got 0"),
        (lambda hp: hp.Float("x", 0, 1, sampling="cubic"), ValueError, "linear, log or reverse_log, got 'cubic'"),
        (lambda hp: hp.Float("x", 0, 1, default=2), ValueError, "default 2 is outside 0 to 1"),
        (lambda hp: hp.Choice("x", []), ValueError, "at least one value"),
        (lambda hp: hp.Choice("x", [1, 2.0]), TypeError, "one type"),
        (lambda hp: hp.Choice("x", [None]), TypeError, "int, float, str or bool"),
        (lambda hp: hp.Choice("x", ["a"], default="b"), ValueError, "'b' is not among"),
        (lambda hp: hp.Int("x", 1, 2, parent_name="y", parent_values=1), ValueError, "parent 'y' .* declared before"),
    ],
)
def test_a_wrong_declaration_names_the_value_and_the_rule(declare: Any, error: Any, message: str) -> None:
    with pytest.raises(error, match=message):
        declare(taking())


def test_a_hyperparameter_is_no_condition_of_itself() -> None:
    hp = taking()
    hp.Boolean("x")
    with pytest.raises(ValueError, match="'x' cannot be a condition of itself"):
        hp.Boolean("x", parent_name="x", parent_values=True)


def test_choices_of_numpy_become_plain() -> None:
    hp = taking()
    value = hp.Choice("x", list(np.linspace(0.0, 1.0, 3)))
    assert type(value) is float
    assert json.dumps(hp.space[0].values)


def test_reading() -> None:
    hp = taking()
    with hp.name_scope("head"):
        hp.Boolean("dense")
        hp.Int("units", 8, 64, parent_name="dense", parent_values=True)
        assert hp.get("dense") is hp["dense"] is False
        assert "dense" in hp
        assert "units" not in hp
        with pytest.raises(ValueError, match="head/units is currently inactive"):
            hp.get("units")
    assert "dense" not in hp
    assert "head/dense" in hp
    assert not hp.is_active("head/units")
    with pytest.raises(KeyError, match="dense does not exist"):
        hp.get("dense")


def test_fixed_values_are_checked_and_what_is_left_out_is_the_default() -> None:
    assert taking().Int("units", 32, 512, step=32, default=100) == 100
    assert taking(units=64).Int("units", 32, 512, step=32) == 64
    with pytest.raises(ValueError, match="units=65 is outside Int 32 to 512, step 32"):
        taking(units=65).Int("units", 32, 512, step=32)


# -- a whole space


def test_configurations_leave_out_what_is_inactive() -> None:
    hp = taking()
    hp.Choice("a", ["x", "y"])
    hp.Boolean("b", parent_name="a", parent_values="x")
    hp.Fixed("c", 1)
    assert configurations(hp.space, 10) == [
        {"a": "x", "b": False, "c": 1},
        {"a": "x", "b": True, "c": 1},
        {"a": "y", "c": 1},
    ]
    assert configurations(hp.space, 2) is None
    assert configurations([], 1) == [{}]
    assert configurations([number("Float", 0.0, 1.0)], 100) is None


# -- beside the real Keras Tuner

Build = Callable[[Any], list[Any]]
Conditions = list[tuple[str, list[Value]]]


def positional(hp: Any) -> list[Any]:
    return [
        hp.Int("units", 32, 512, 32, "linear", 128),
        hp.Int("plain", 1, 9),
        hp.Int("none", 1, 9, None, None, None),
        hp.Float("rate", 1e-4, 1e-1, None, "log", 1e-3),
        hp.Choice("optimizer", ["adam", "sgd"], False, "sgd"),
        hp.Choice("size", [32, 64, 96], True),
        hp.Boolean("augment", True),
        hp.Fixed("loss", "mse"),
        hp.Fixed("folds", 5),
    ]


def stepped(hp: Any) -> list[Any]:
    return [
        hp.Int("batch", 16, 128, step=2, sampling="log"),
        hp.Float("decay", 1e-5, 1e-1, step=10, sampling="log"),
        hp.Int("late", 2, 32, step=2, sampling="reverse_log"),
        hp.Float("momentum", 0.1, 0.99, sampling="reverse_log"),
        hp.Int("wide", 3, 300, sampling="REVERSE_LOG"),
        hp.Int("off", 0, 100, step=30, default=45),
        hp.Float("dropout", min_value=0, max_value=1, step=0.25, default=0.5),
    ]


def conditional(hp: Any) -> list[Any]:
    taken = [hp.Choice("kind", ["cnn", "mlp", "linear"])]
    with hp.conditional_scope("kind", ["cnn", "mlp"]):
        taken.append(hp.Int("layers", 1, 3))
        taken.append(hp.Boolean("norm"))
        with hp.conditional_scope("norm", [True]):
            taken.append(hp.Float("momentum", 0.5, 1.0))
        taken.append(hp.Choice("pool", ["max", "mean"], parent_name="norm", parent_values=[False]))
    taken.append(hp.Int("depth", 1, 3, parent_name="kind", parent_values="cnn"))
    taken.append(hp.Int("depth", 10, 30, parent_name="kind", parent_values=("mlp",)))
    taken.append(hp.Fixed("bias", True, parent_name="kind", parent_values=["linear"]))
    taken.append(hp.Int("again", 1, 3, parent_name="", parent_values=None))
    return taken


def scoped(hp: Any) -> list[Any]:
    taken = []
    for index in range(hp.Int("blocks", 1, 3, default=2)):
        with hp.name_scope(f"block_{index}"):
            taken.append(hp.Choice("kind", ["conv", "pool"]))
            with hp.name_scope("inner"):
                taken.append(hp.Int(f"filters_{index}", 8, 64, step=8))
            taken.append(hp.Int("kernel", 1, 7, parent_name="kind", parent_values=["conv"]))
            taken += [hp.get("kind"), hp["kind"], "kind" in hp, "kernel" in hp, "missing" in hp]
    taken += [hp.get("blocks"), "block_0/kind" in hp, "kind" in hp, hp.is_active("block_0/kernel")]
    return taken


def repeated(hp: Any) -> list[Any]:
    return [hp.Int("x", 1, 9), hp.Int("x", 1, 9), hp.get("x"), hp.Choice("y", [0.1, 0.2]), hp.Choice("y", [0.1, 0.2])]


def plain_if(hp: Any) -> list[Any]:
    taken = [hp.Boolean("dense")]
    if hp.get("dense"):
        taken.append(hp.Int("units", 8, 64))
    return taken


@pytest.fixture(scope="module")
def keras_tuner() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import keras_tuner

        return keras_tuner


def outcome(build: Build, hp: Any) -> tuple[list[Any], dict[str, Value], list[tuple[str, Conditions]]]:
    """What a build got, what is active after it, and what it declared under which conditions."""
    taken = build(hp)
    if isinstance(hp, HyperParameters):
        declared = [(each.name, [(name, list(values)) for name, values in each.conditions]) for each in hp.space]
    else:
        declared = [(each.name, [(when.name, list(when.values)) for when in each.conditions]) for each in hp.space]
    return taken, dict(hp.values), declared


def sampled(keras_tuner: Any, build: Build, seed: int) -> dict[str, Value]:
    """Random values as Keras Tuner's oracles draw them."""
    known = keras_tuner.HyperParameters()
    build(known)
    drawn = keras_tuner.HyperParameters()
    for offset, each in enumerate(known.space):
        drawn.merge([each])
        if drawn.is_active(each):
            drawn.values[each.name] = each.random_sample(seed + offset)
    return dict(drawn.values)


@pytest.mark.slow  # imports TensorFlow
@pytest.mark.parametrize("build", [positional, stepped, conditional, scoped, repeated, plain_if])
def test_a_build_function_runs_as_under_keras_tuner(keras_tuner: Any, build: Build) -> None:
    assert outcome(build, taking()) == outcome(build, keras_tuner.HyperParameters())
    for seed in range(0, 2000, 100):
        values = sampled(keras_tuner, build, seed)
        theirs = keras_tuner.HyperParameters()
        theirs.values = dict(values)
        ours = taking(**values)
        expected = outcome(build, theirs)
        taken, active, declared = outcome(build, ours)
        assert (taken, declared) == (expected[0], expected[2])
        # They carry values along that no build has declared.
        assert active == {name: value for name, value in expected[1].items() if name in dict(declared)}
        assert all(each.accepts(active[each.name]) for each in ours.space if each.is_active(active))


@pytest.mark.parametrize("step", [None, 1, 3])
def test_a_wide_range_of_whole_numbers_takes_no_memory(step):
    hp = HyperParameters(fixed({}))
    hp.Int("random_state", 0, 2**31 - 1, step=step)
    (wide,) = hp.space
    tracemalloc.start()
    values = wide.finite_values()
    assert len(values) == (2**31 - 1) // (step or 1) + 1
    assert configurations(hp.space, 10_000) is None
    assert wide.accepts(3 * 10**8)
    assert nearest(wide, 3 * 10**8 + 0.2) == 3 * 10**8
    assert distribution(wide).high == values[-1]
    assert not wide.accepts(2**31)
    assert tracemalloc.get_traced_memory()[1] < 1_000_000
    tracemalloc.stop()


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ([(3, 3), (5, 5)], "got (3, 3); write {'(3, 3)': (3, 3), …}.get(hp.Choice('kernel', ['(3, 3)', …]))"),
        ([None, "relu"], "got None; write {'None': None, …}.get(hp.Choice('kernel', ['None', …]))"),
        (["relu", None], "got None; write {'None': None, …}"),
        ([[3], [5]], "got [3]; write {'[3]': [3], …}"),
    ],
)
def test_a_choice_of_what_is_no_plain_value_says_what_to_write_instead(values, says):
    hp = HyperParameters(fixed({}))
    with pytest.raises(TypeError, match=r"hp\.Choice\('kernel'\): values must be int, float, str or bool") as caught:
        hp.Choice("kernel", values)
    assert says in str(caught.value)
    assert {"(3, 3)": (3, 3), "(5, 5)": (5, 5)}.get(hp.Choice("kernel", ["(3, 3)", "(5, 5)"])) == (3, 3)


@pytest.mark.parametrize("value", [None, (3, 3), [3]])
def test_a_fixed_value_must_be_plain(value):
    with pytest.raises(TypeError, match=r"hp\.Fixed\('kernel'\): the value must be an int, float, str or bool, got "):
        HyperParameters(fixed({})).Fixed("kernel", value)


def test_a_copy_declares_without_asking_and_apart_from_the_original():
    hp = HyperParameters(fixed({"a": 3, "b": 3}))
    hp.Int("a", 1, 9)
    with hp.name_scope("inner"):
        twin = hp.copy()
    assert twin.Int("b", 1, 9) == 1
    assert (hp.values, twin.values) == ({"a": 3}, {"a": 3, "inner/b": 1})
    assert [declared.name for declared in hp.space] == ["a"]
