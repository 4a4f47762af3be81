"""The layout that a newcomer guesses right: few entries at the top, one name for one thing, docstrings that say it."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import bench
from bench.search.spaces import BUILT_IN

from .house import FAMILIES, FILES, ROOT, place, tree

MAX_ENTRIES = 23

QUESTIONS = ("What", "How", "Whether", "Where")
"""A docstring that begins so answers a question that nobody asked; an imperative or a noun phrase says what it is."""


def repeated(names: Iterator[tuple[str, Path]]) -> dict[str, list[str]]:
    """The names that stand in several files, with these."""
    places = defaultdict(list)
    for name, path in names:
        places[name].append(place(path))
    return {name: files for name, files in places.items() if len(files) > 1}


def test_the_top_of_the_package_is_seen_at_a_glance():
    assert len([entry for entry in ROOT.iterdir() if entry.name != "__pycache__" and entry != BUILT_IN]) <= MAX_ENTRIES


def test_no_class_name_stands_twice():
    classes = ((node.name, path) for path in FILES for node in tree(path).body if isinstance(node, ast.ClassDef))
    assert repeated(classes) == {}


def test_no_module_name_stands_twice_but_that_of_a_command():
    modules = ((path.stem, path) for path in FILES if path.parent.name != "cli" and not path.stem.startswith("__"))
    assert repeated(modules) == {}


def test_no_docstring_begins_with_a_question_word():
    docstrings = (
        (f"{place(path)}:{node.lineno}", node.value.value)
        for path in FILES
        for node in ast.walk(tree(path))
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
    )
    assert [where for where, text in docstrings if text.split(" ")[0] in QUESTIONS] == []


def test_the_citation_names_this_version():
    citation = Path(__file__).parents[1] / "CITATION.cff"
    assert f"\nversion: {bench.__version__}\n" in citation.read_text(encoding="utf-8")


# -- names

VAGUE = {"each", "own", "about", "made", "given", "told", "kept", "found"}
"""Words that do not name the thing: `trial` instead of `each`, `argv` instead of `given`."""


def names(node: ast.AST) -> Iterator[str]:
    """The names that a node gives to parameters, variables and attributes."""
    if isinstance(node, ast.arg):
        yield node.arg
    elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
        yield node.id
    elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
        yield node.attr
    elif isinstance(node, (ast.ExceptHandler, ast.MatchAs, ast.MatchStar)) and node.name:
        yield node.name
    elif isinstance(node, ast.alias) and node.asname:
        yield node.asname


def test_no_parameter_variable_or_attribute_has_a_vague_name():
    vague = [
        f"{path.name}:{getattr(node, 'lineno', 0)} {name}"
        for path in FILES + FAMILIES
        for node in ast.walk(tree(path))
        for name in names(node)
        if VAGUE.intersection(name.lower().split("_"))
    ]
    assert vague == []
