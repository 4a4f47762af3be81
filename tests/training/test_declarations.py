"""What is wrong with a declaration is seen without a build: it is never active, or its name is misspelt."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import bench
from bench.hyperparameters import HyperParameters, fixed
from bench.training import declarations


def space(declare):
    hp = HyperParameters(fixed({}))
    declare(hp)
    return hp.space


def unreachable(declare):
    return {hyperparameter.name: reason for hyperparameter, reason in declarations.unreachable(space(declare))}


def test_the_list_of_what_the_trainer_reads_is_complete():
    read = set()
    for path in (Path(bench.__file__).parent / "training").rglob("*.py"):
        if path.name == "lint.py":
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            match node:
                case ast.Call(
                    func=ast.Attribute(value=ast.Name(id="values") | ast.Attribute(attr="_values"), attr="get"),
                    args=[ast.Constant(value=str(name)), *_],
                ):
                    read.add(name)
    assert read == set(declarations.TRAINER_READS)


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("lr", "learning_rate"),
        ("learningrate", "learning_rate"),
        ("Learning_Rate", "learning_rate"),
        ("base_lr", "learning_rate"),
        ("train/learning_rate", "learning_rate"),
        ("fine_tune_lr", "fine_tune_learning_rate"),
        ("batchsize", "batch_size"),
        ("augment", "augmentation"),
        ("optimiser", "optimizer"),
        ("num_epochs", "epochs"),
        ("filters", ""),
        ("dropout", ""),
        ("units_3", ""),
    ],
)
def test_a_misspelt_name_has_a_suggestion(name, meant):
    assert declarations.intended(name) == meant


def test_a_value_that_the_parent_cannot_take_is_named():
    def declare(hp):
        hp.Choice("head", ["flat", "pooled"])
        hp.Int("units", 1, 9, parent_name="head", parent_values=["dense"])

    assert unreachable(declare) == {"units": "it needs head to be 'dense', but head is Choice of flat, pooled"}


@pytest.mark.parametrize("wanted", [2.0, [7, 9], [1, 3]])
def test_a_value_that_a_number_takes_is_fine(wanted):
    def declare(hp):
        hp.Int("blocks", 2, 8)
        hp.Boolean("wide", parent_name="blocks", parent_values=wanted)

    assert unreachable(declare) == {}


def test_a_step_leaves_values_out():
    def declare(hp):
        hp.Int("blocks", 2, 8, step=2)
        hp.Boolean("wide", parent_name="blocks", parent_values=[3])

    assert list(unreachable(declare)) == ["wide"]


def test_conditions_that_contradict_each_other():
    def declare(hp):
        hp.Choice("head", ["flat", "dense"])
        with hp.conditional_scope("head", ["dense"]):
            hp.Boolean("deep")
        with hp.conditional_scope("head", ["flat"]), hp.conditional_scope("deep", [True]):
            hp.Int("units", 1, 9)

    assert list(unreachable(declare)) == ["units"]


def test_what_depends_on_an_unreachable_one_is_not_repeated():
    def declare(hp):
        hp.Boolean("deep")
        hp.Boolean("wide", parent_name="deep", parent_values=["yes"])
        hp.Int("units", 1, 9, parent_name="wide", parent_values=[True])

    assert list(unreachable(declare)) == ["wide"]


def test_a_second_declaration_of_the_parent_can_reach_it():
    def declare(hp):
        hp.Choice("kind", ["a", "b"])
        with hp.conditional_scope("kind", ["a"]):
            hp.Choice("size", [1, 2])
        with hp.conditional_scope("kind", ["b"]):
            hp.Choice("size", [3, 4])
        hp.Boolean("large", parent_name="size", parent_values=[4])

    assert unreachable(declare) == {}


def test_the_line_of_a_declaration(tmp_path):
    path = tmp_path / "space.py"
    path.write_text('def build(hp):\n    hp.Int("a", 1, 2)\n    hp.Float(name="b")\n    hp.Int(f"units_{1}", 1, 2)\n')
    assert declarations.place_of("a", [path]) == (path, 2)
    assert declarations.place_of("scope/b", [path]) == (path, 3)
    assert declarations.place_of("units_7", [path]) == (path, 4)
    assert declarations.place_of("units", [path]) is None


def test_the_line_of_a_known_configuration(tmp_path):
    path = tmp_path / "space.py"
    path.write_text("KNOWN = [\n    {},\n    dict(\n        a=1,\n    ),\n]\nMORE = [*KNOWN, {}]\n")
    assert [declarations.element(path, "KNOWN", number) for number in (0, 1, 2)] == [(path, 2), (path, 3), None]
    assert declarations.element(path, "MORE", 1) is None
