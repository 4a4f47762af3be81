"""What several commands ask for, and how the arguments become a `RunConfig`."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from bench.config import MOST_FOLDS, NEAR_DUPLICATES, PLOTLYJS, Budget, RunConfig, parse_duration
from bench.errors import ConfigError

DATA = (
    "drawn (cats and dogs drawn from the seed); cats_vs_dogs or tfds:NAME, downloaded once; a folder with a "
    "sub-folder a class, also below train/ and test/; a folder of cat.0.jpg, dog.0.jpg, …; a table of paths and labels"
)
"""What `--data` takes, in short; `bench.data.sources.KNOWN` has it a line each."""

DEFAULTS = RunConfig()


def add_pictures(add: Callable[..., Any]) -> None:
    """How pictures are chosen and split: the same for every command that does so."""
    add("--images", metavar="N", help=f"how many pictures to draw; default {DEFAULTS.images}")
    add("--limit", metavar="N", help="take a stratified sample of N pictures")
    add(
        "--split",
        metavar="S",
        help=f"shares of train, validation and test; default {','.join(map(str, DEFAULTS.split))}",
    )
    add(
        "--folds",
        metavar="K",
        help=f"no validation part, but K common folds (2 to {MOST_FOLDS}): every configuration is trained on each "
        "and scored by the mean",
    )
    group, ignore = NEAR_DUPLICATES
    add("--near-duplicates", metavar="HOW", help=f"pictures that show nearly the same: {group} (they stay in one part) "
        f"or {ignore}; default {DEFAULTS.near_duplicates}")  # fmt: skip
    add("--input-sizes", metavar="LIST", help="picture sizes in pixels to choose from; default what suits the pictures")


def add_seed(add: Callable[..., Any], what: str) -> None:
    add("--seed", metavar="S", help=f"of {what}; default {DEFAULTS.seed}")


def add_plotlyjs(add: Callable[..., Any], default: str) -> None:
    inline, directory, cdn = PLOTLYJS
    add(
        "--plotlyjs",
        metavar="HOW",
        help=f"where the page has Plotly from, which draws its charts: {inline} (one file that needs no other), "
        f"{directory} (plotly.min.js beside the page) or {cdn} (Plotly's own address, over the network); {default}",
    )


def read_config(options: argparse.Namespace) -> RunConfig:
    """The options that were given, over the defaults; a command need not have all of them."""
    readers: dict[str, tuple[str, Callable[[str], Any]]] = {
        "budget": ("budget", Budget.parse),
        "only_known": ("only_known", bool),
        "spaces": ("spaces", _names),
        "engine": ("engines", _names),
        "pruner": ("pruner", str),
        "repeats": ("repeats", whole("repeats")),
        "data": ("data", str),
        "images": ("images", whole("images")),
        "limit": ("limit", whole("limit")),
        "split": ("split", _shares),
        "folds": ("folds", whole("folds")),
        "split_file": ("split_file", str),
        "near_duplicates": ("near_duplicates", str),
        "input_sizes": ("input_sizes", lambda text: tuple(whole("input-sizes")(each) for each in _names(text))),
        "features": ("features", str),
        "epochs": ("epochs", whole("epochs")),
        "patience": ("patience", whole("patience")),
        "trial_timeout": ("trial_timeout_s", lambda text: parse_duration(text, "trial-timeout")),
        "weights": ("weights", str),
        "missing_weights": ("missing_weights", str),
        "seed": ("seed", whole("seed")),
        "workers": ("workers", whole("workers")),
        "out": ("out", str),
        "storage": ("storage", str),
        "plotlyjs": ("plotlyjs", str),
    }
    given = {
        field: read(text)
        for option, (field, read) in readers.items()
        if (text := getattr(options, option, None)) is not None
    }
    return replace(DEFAULTS, **given)


def _names(text: str) -> tuple[str, ...]:
    names = tuple(each.strip() for each in text.split(",") if each.strip())
    if not names:
        raise ConfigError(f"{text!r}: must be names separated by commas")
    return names


def whole(what: str) -> Callable[[str], int]:
    def read(text: str) -> int:
        try:
            return int(text)
        except ValueError:
            raise ConfigError(f"{what} {text!r}: must be a whole number") from None

    return read


def _shares(text: str) -> tuple[float, ...]:
    try:
        return tuple(float(each) for each in text.split(","))
    except ValueError:
        raise ConfigError(f"split {text!r}: must be three shares that sum to 1, e.g. 0.7,0.15,0.15") from None
