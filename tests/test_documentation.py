"""Every command, option, path and name that the documents mention is there."""

from __future__ import annotations

import argparse
import ast
import re
import shlex
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
from markdown_it import MarkdownIt

from bench.cli.parser import COMMANDS, _parser
from bench.config import SETTINGS
from bench.engines import ENGINES
from bench.errors import ConfigError

ROOT = Path(__file__).parents[1]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), ROOT / "reports/README.md"])
PRESENT = [path for path in DOCUMENTS if path.name != "CHANGELOG.md"]
"""The documents that describe the code of today."""

SOURCES = sorted(path for folder in ("bench", "search_spaces") for path in (ROOT / folder).rglob("*.py"))
PACKAGES = sorted(path.parent.name for path in (ROOT / "bench").glob("*/__init__.py"))
MODULES = {path.stem: path for path in SOURCES if path.stem != "__init__" and "cli" not in path.parts}
LIBRARIES = {"optuna", "keras_tuner"}
"""Modules of `bench/engines` that bear the name of a library, which a dotted name means."""

EXAMPLES = {"mine.py", "costs.csv", "bench/metrics/g_mean.py"}
"""Files that a reader writes."""

FILE_TYPES = set("json csv tsv html css js txt md toml yml xml npz keras sqlite3 png jpg".split())
"""Endings of names that are no module's."""


def mentions(text: str) -> Iterator[tuple[str, str]]:
    """The code and the links of a document: kind ("block", "span" or "link") and text."""
    for token in MarkdownIt("commonmark").enable("table").parse(text):
        if token.type in ("fence", "code_block"):
            yield "block", token.content
        for child in token.children or ():
            if child.type == "code_inline":
                yield "span", child.content
            elif child.type in ("link_open", "image"):
                yield "link", str(child.attrGet("href") or child.attrGet("src"))


def commands(block: str) -> Iterator[list[str]]:
    """The arguments of every `python -m bench` in a block of code."""
    for line in block.replace("\\\n", " ").splitlines():
        words = shlex.shlex(re.split(r"\s#\s", line)[0], posix=True, punctuation_chars="|&;>")
        words.whitespace_split = True
        try:
            tokens = list(words)
        except ValueError:  # no shell: an apostrophe in Python or a comment
            continue
        for at, token in enumerate(tokens):
            if token == "bench" and tokens[max(at - 1, 0)] == "-m":
                rest = tokens[at + 1 :]
                end = next((place for place, word in enumerate(rest) if set(word) <= set("|&;>")), len(rest))
                yield rest[:end]


def refusal(argv: list[str]) -> str:
    """The reason why the command line does not take these arguments; "" where it does."""
    try:
        options, unknown = _parser().parse_known_args(argv)
        if unknown:
            return f"does not know {' '.join(unknown)}"
        for name, setting in SETTINGS.items():
            if isinstance(text := getattr(options, name, None), str) and text not in EXAMPLES:
                setting.read(text)
    except (ConfigError, SystemExit) as error:
        return str(error)
    return ""


@cache
def options_of(command: str) -> set[str]:
    """The options of a command; of all commands for ""."""
    found = set()
    for name, module in COMMANDS.items():
        if command in ("", name):
            parser = argparse.ArgumentParser()
            module.add_arguments(parser)
            found |= {option for action in parser._actions for option in action.option_strings}
    return found


def wrong_options(span: str) -> list[str]:
    """The options in a span of code that no command of the suite has, or not the one that the span names."""
    words = span.removeprefix("python -m ").split()
    if not words or not (words[0] == "bench" or words[0] in COMMANDS or words[0].startswith("--")):
        return []
    if words[0] == "bench":
        words = words[1:]
    command = words[0] if words and not words[0].startswith("-") else ""
    if command and command not in COMMANDS:
        return [command]
    options = [word.partition("=")[0] for word in words if re.match(r"--\w", word)]
    return [option for option in options if option not in options_of(command)]


@cache
def names_in(path: Path) -> set[str]:
    """Everything that a module defines: functions, classes, methods, fields and constants."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            names.add(node.attr)
        elif isinstance(node, ast.alias):
            names.add(node.asname or node.name)
    return names


def files_named(place: str) -> list[Path]:
    """The files and folders that a path of the repository or of `bench/` stands for; a module may lack its suffix."""
    patterns = [place.rstrip("/"), f"{place}.py", f"bench/{place.rstrip('/')}", f"bench/{place}.py"]
    return [path for pattern in patterns for path in ROOT.glob(pattern)]


def is_missing(span: str) -> bool:
    """True where a span of code names a file, module, function or class of the project that is not there."""
    name = span.split("(")[0].removeprefix("W ")
    if name in EXAMPLES or not re.fullmatch(r"[\w.*/-]+", name) or name.rpartition(".")[2] in FILE_TYPES:
        return False
    if "/" in name:
        first = name.split("/")[0]
        if first not in {"bench", "tests", "docs", "search_spaces", *PACKAGES}:
            return False
        place, _, chain = (name, "", "") if name.endswith(".py") else name.partition(".")
        files = files_named(place)
        if not files:
            return True
        modules = [path / "__init__.py" if path.is_dir() else path for path in files]
        return bool(chain) and not any(set(chain.split(".")) <= names_in(path) for path in modules)
    if name.endswith(".py"):
        return not any(path.match(name) for path in SOURCES)
    first, _, chain = name.partition(".")
    path = ROOT / "bench" / first / "__init__.py" if first in PACKAGES else MODULES.get(first)
    if not chain or first in LIBRARIES or path is None:
        return False
    return not set(chain.split(".")) <= names_in(path)


def leads_somewhere(document: Path, link: str) -> bool:
    """True where a link within the repository has its file and, after `#`, its heading (as GitHub names it)."""
    file, _, heading = link.partition("#")
    target = document.parent / file if file else document
    if not heading:
        return target.exists()
    titles = re.findall(r"^#+ (.*)", target.read_text(encoding="utf-8"), re.MULTILINE)
    return heading in [re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles]


def wrong_engines(text: str) -> list[str]:
    """The engines in a text that are not known."""
    return [name for name in re.findall(r"\b(?:optuna|keras-tuner):[a-z]+\b", text) if name not in ENGINES]


def wrong_extras(text: str) -> list[str]:
    """The extras in a text that the project does not have."""
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    return [extra for names in re.findall(r"\.\[([\w,]+)\]", text) for extra in names.split(",") if extra not in extras]


by_name = pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
of_today = pytest.mark.parametrize("path", PRESENT, ids=lambda path: str(path.relative_to(ROOT)))


@of_today
def test_the_command_line_takes_every_command(path: Path):
    blocks = [text for kind, text in mentions(path.read_text(encoding="utf-8")) if kind == "block"]
    assert {tuple(argv): why for block in blocks for argv in commands(block) if (why := refusal(argv))} == {}


@of_today
def test_every_option_and_name_is_there(path: Path):
    spans = [text for kind, text in mentions(path.read_text(encoding="utf-8")) if kind == "span"]
    assert [span for span in spans if wrong_options(span) or is_missing(span)] == []


@by_name
def test_every_link_leads_to_a_file_and_a_heading(path: Path):
    links = [text for kind, text in mentions(path.read_text(encoding="utf-8")) if kind == "link"]
    assert [link for link in links if "://" not in link and not leads_somewhere(path, link)] == []


@by_name
def test_every_engine_and_extra_is_there(path: Path):
    text = path.read_text(encoding="utf-8")
    assert wrong_engines(text) + wrong_extras(text) == []


@pytest.mark.parametrize(
    "block",
    [
        "python -m bench rum --budget 20",
        "python -m bench run --budgets 20",
        "python -m bench run --budget 20 || exit\npython -m bench check",
        "- run: python -m bench run --features float8 || [ $? -eq 4 ]",
        "python -m bench run --only-known \\\n    --input-size 96  # pixels",
    ],
)
def test_a_wrong_command_is_found(block: str):
    assert any(refusal(argv) for argv in commands(block))


def test_a_right_command_is_not():
    block = "a && .venv/bin/python -m bench run --budget 20\npython -m bench check run --json > check.json || status=$?"
    assert [refusal(argv) for argv in commands(block)] == ["", ""]


@pytest.mark.parametrize("link", ["docs/nothing.md", "docs/data.md#nothing", "#nothing"])
def test_a_wrong_link_is_found(link: str):
    assert not leads_somewhere(ROOT / "README.md", link)


@pytest.mark.parametrize("span", ["--seedz 5", "bench export --seeds 5", "python -m bench plans", "baseline --seed 1"])
def test_a_wrong_option_is_found(span: str):
    assert wrong_options(span)


@pytest.mark.parametrize("span", ["--seeds 5", "bench baseline RUN --seeds 5", "pip install --user"])
def test_a_right_option_is_not(span: str):
    assert wrong_options(span) == []


@pytest.mark.parametrize(
    "span",
    [
        "bench/nothing.py",
        "cli/parser.nothing",
        "store.RunFolder.nothing",
        "nothing.py",
        "engines.NOTHING",
        "data/none/",
    ],
)
def test_a_wrong_name_is_found(span: str):
    assert is_missing(span)


@pytest.mark.parametrize(
    "span",
    ["bench/stats.py", "cli/parser.main", "store.RunFolder.begin", "engines/*.ask", "_*.py", "keras.Model", "run.json"],
)
def test_a_right_name_is_not(span: str):
    assert not is_missing(span)
