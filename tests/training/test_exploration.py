"""Other values than the defaults are built to see what changes the model, and which are the smallest and largest."""

from __future__ import annotations

import pytest

from bench.hyperparameters import HyperParameters, fixed
from bench.training.exploration import Exploration, NoBuild, OutOfTime, Variant, nearest


def explored(declare, limit=1000):
    """Explores a space; `declare` returns what determines the model, its parameters and its MACs."""
    built = []

    def build(values):
        if len(built) >= limit:
            raise OutOfTime
        hp = HyperParameters(nearest(values))
        model, parameters, macs = declare(hp)
        built.append(hp.values)
        return Variant(dict(hp.values), tuple(hp.space), repr(model), parameters, parameters, macs)

    exploration = Exploration(build)
    exploration.run()
    return exploration


def network(hp):
    """Few blocks leave large maps, so that the largest dense layer is behind the fewest blocks."""
    blocks = hp.Int("blocks", 2, 5, default=4)
    dense = hp.Boolean("dense")
    units = hp.Choice("units", [32, 128, 64], parent_name="dense", parent_values=[True])
    rate = hp.Float("rate", 1e-4, 1e-1, sampling="log")
    size = 2 ** (6 - blocks)
    return (blocks, dense, units, rate), 10 * blocks + size**2 * (units or 1), 1000 * blocks


def test_the_corners_combine_values():
    corners = {name: corner.values for name, corner in explored(network).corners().items()}
    assert corners["largest"] | {"rate": 0} == {"blocks": 2, "dense": True, "units": 128, "rate": 0}
    assert corners["smallest"] | {"rate": 0} == {"blocks": 5, "dense": False, "rate": 0}
    assert corners["default"]["blocks"] == 4
    assert corners["fewest MACs"]["blocks"] == 2
    assert corners["most MACs"]["blocks"] == 5


def test_few_builds_suffice():
    assert len(explored(network).variants) < 30


def test_corners_are_listed_once():
    exploration = explored(lambda hp: ((width := hp.Int("width", 1, 9)), width, width))
    assert [*exploration.corners()] == ["smallest", "default", "largest"]


def test_what_changes_the_model_is_used():
    exploration = explored(network)
    assert (exploration.unused, exploration.conditional, exploration.failures) == ([], {}, {})
    assert exploration.complete


@pytest.mark.parametrize(
    "declaration",
    [
        lambda hp: hp.Float("lr", 0.0, 1.0),
        lambda hp: hp.Choice("kind", ["a", "b"]),
        lambda hp: hp.Boolean("wide", parent_name="dense", parent_values=[True]),
    ],
)
def test_what_changes_nothing_is_unused(declaration):
    def declare(hp):
        model = network(hp)
        declaration(hp)
        return model

    exploration = explored(declare)
    assert exploration.unused == [exploration.space[-1].name]


def test_a_hyperparameter_of_one_value_cannot_be_judged():
    def declare(hp):
        hp.Fixed("recipe", "a")
        hp.Choice("input_size", [64])
        return network(hp)

    assert explored(declare).unused == []


def test_one_that_matters_only_with_another_choice_is_conditional():
    def declare(hp):
        dense, units = hp.Boolean("dense"), hp.Int("units", 1, 9)
        return (dense, units * dense), 1 + units * dense, 1

    exploration = explored(declare)
    assert (exploration.unused, exploration.conditional) == ([], {"units": ("dense", True)})


def test_one_that_matters_only_in_the_middle_of_a_range_is_used():
    exploration = explored(lambda hp: ((hp.Int("cut", 0, 9) // 3 == 1, hp.Boolean("deep")), 1, 1))
    assert exploration.unused == []


def test_one_that_a_plain_if_declares_is_varied():
    def declare(hp):
        units = [hp.Int(f"units_{number}", 1, 9) for number in range(hp.Int("blocks", 1, 3))]
        hp.Boolean("idle")
        return units, sum(units), 1

    exploration = explored(declare)
    assert exploration.unused == ["idle"]
    assert exploration.corners()["largest"].parameters == 27


def test_a_value_that_does_not_build_is_a_failure_with_its_reason():
    def declare(hp):
        if (blocks := hp.Int("blocks", 1, 9)) > 5:
            raise NoBuild("the maps are empty", "space.py", 7)
        return blocks, blocks, blocks

    exploration = explored(declare)
    value, failure = exploration.failures["blocks"]
    assert (value, str(failure), failure.line) == (9, "the maps are empty", 7)
    assert exploration.corners()["largest"] is exploration.default


def test_defaults_that_do_not_build_end_it():
    def declare(hp):
        raise NoBuild("no")

    with pytest.raises(NoBuild, match="no"):
        explored(declare)


def test_what_was_seen_when_the_time_is_over_counts():
    exploration = explored(network, limit=3)
    assert not exploration.complete
    assert len(exploration.variants) == 3
    assert exploration.unused == []


def test_a_misspelt_name_is_found_before_the_time_is_over():
    def declare(hp):
        model = network(hp)
        hp.Choice("kind", ["a", "b", "c"])
        hp.Float("lr", 1e-4, 1e-2)
        hp.Int("batch_size", 1, 99)
        return model

    exploration = explored(declare, limit=6)
    assert not exploration.complete
    assert exploration.unused == ["lr"]


def test_a_value_outside_a_range_becomes_the_nearest():
    hp = HyperParameters(nearest({"a": 9, "b": 0, "kind": "other", "wide": True}))
    assert (hp.Int("a", 1, 5), hp.Float("b", 0.5, 1.0), hp.Choice("kind", ["x", "y"])) == (5, 0.5, "x")
    assert hp.Boolean("wide") is True
    with pytest.raises(ValueError, match="outside"):
        HyperParameters(fixed({"a": 9})).Int("a", 1, 5)
