"""`RunConfig` and `Budget`: every default of a run, once."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from bench.errors import ConfigError, unknown

PRUNERS = ("none", "median", "successive-halving", "hyperband")
WEIGHTS = ("imagenet", "random")
MISSING_WEIGHTS = ("random", "skip", "error")
FEATURES = ("float32", "float16", "off")
NEAR_DUPLICATES = ("group", "ignore")
PLOTLYJS = ("inline", "directory", "cdn")

MOST_FOLDS = 20

_DURATION = re.compile(r"(\d+(?:\.\d+)?)(s|m|h)")
_SECONDS = {"s": 1.0, "m": 60.0, "h": 3600.0}


def parse_duration(text: str, what: str) -> float:
    """`90s`, `30m` or `1.5h` in seconds; ConfigError otherwise."""
    match = _DURATION.fullmatch(text.strip())
    if not match or float(match[1]) <= 0:
        raise ConfigError(f"{what} {text!r}: must be a time above 0 such as 90s, 30m or 1.5h")
    return float(match[1]) * _SECONDS[match[2]]


@dataclass(frozen=True)
class Budget:
    """How much an engine may spend on the whole run: trials, seconds of wall-clock, or whichever ends first.

    Neither is no limit, for a run of known configurations only.
    """

    trials: int | None = 20
    seconds: float | None = None

    def __post_init__(self) -> None:
        if self.trials is not None and self.trials < 1:
            raise ConfigError(f"budget {self.trials}: must be at least 1 trial")
        if self.seconds is not None and not self.seconds > 0:
            raise ConfigError(f"budget of {self.seconds} s: must be above 0")

    @classmethod
    def parse(cls, text: str) -> Budget:
        """Reads `20`, `30m` or `20,30m`."""
        trials: int | None = None
        seconds: float | None = None
        for part in text.split(","):
            part = part.strip()
            if re.fullmatch(r"\d+", part) and trials is None:
                trials = int(part)
            elif _DURATION.fullmatch(part) and seconds is None:
                seconds = parse_duration(part, "budget")
            else:
                raise ConfigError(
                    f"budget {text!r}: must be a number of trials (20), a time (90s, 30m, 1.5h) or both (20,30m)"
                )
        return cls(trials, seconds)

    def __str__(self) -> str:
        parts = [f"{self.trials} trials"] if self.trials is not None else []
        if self.seconds is not None:
            parts.append(f"{self.seconds / 60:g} min" if self.seconds >= 60 else f"{self.seconds:g} s")
        return " or ".join(parts) or "no limit"


DEFAULT_BUDGET = Budget()
NO_LIMIT = Budget(trials=None, seconds=None)


@dataclass(frozen=True)
class RunConfig:
    """Everything that one run is told.

    Attributes:
        data: A known data set ("drawn", "cats_vs_dogs", "tfds:NAME"), a folder of pictures, or a table of their paths
            and labels.
        images: How many pictures `drawn` makes.
        limit: A stratified sample of that many pictures; None takes all.
        split: Shares of train, validation and test.
        folds: Trains every configuration on so many common folds and takes the mean; 0 keeps one validation part.
        split_file: A manifest (`split.json`) whose split is used again; empty makes one.
        near_duplicates: Whether pictures that show nearly the same stay in one part: one of `NEAR_DUPLICATES`.
        spaces: Family names, search-space files or folders of them; empty takes every family.
        engines: Who proposes configurations, names in `engines.ENGINES`; each gets the whole budget.
        budget: Trials, time, or both, for each engine; with `only_known`, no limit unless one is given.
        only_known: Runs the known configurations of the families, each once, and nothing that an engine proposes.
        pruner: Stops poor trials early (Optuna engines only): one of `PRUNERS`.
        features: How the features of frozen layers are stored, so that they are computed once: one of `FEATURES`.
        epochs: At most so many epochs a trial, in each phase of its training.
        patience: Epochs without a better validation accuracy or loss after which a trial stops.
        seed: Of the drawn pictures, the split, the engines and the training.
        workers: Trials at a time; each gets an equal share of the cores.
        trial_timeout_s: Seconds after which a trial, all its folds together, is stopped and recorded as TIMEOUT.
        weights: What backbones start from: one of `WEIGHTS`.
        missing_weights: What to do where those cannot be had: one of `MISSING_WEIGHTS`.
        input_sizes: Picture sizes in pixels that families may choose from; empty takes what suits the data.
        repeats: How often the best trial of each family is retrained, with other seeds; 0 scores it as it is.
        storage: URL of the Optuna storage; empty is SQLite in the run folder.
        out: The run folder; empty names it by time under `reports/`.
        plotlyjs: Where the page has Plotly from: in itself, in a file beside it, or from Plotly's own address; one of
            `PLOTLYJS`.
    """

    data: str = "drawn"
    images: int = 480
    limit: int | None = None
    split: tuple[float, float, float] = (0.6, 0.2, 0.2)
    folds: int = 0
    split_file: str = ""
    near_duplicates: str = "group"
    spaces: tuple[str, ...] = ()
    engines: tuple[str, ...] = ("optuna:tpe",)
    budget: Budget = DEFAULT_BUDGET
    only_known: bool = False
    pruner: str = "none"
    features: str = "float32"
    epochs: int = 10
    patience: int = 3
    seed: int = 0
    workers: int = 1
    trial_timeout_s: float = 3600.0
    weights: str = "imagenet"
    missing_weights: str = "random"
    input_sizes: tuple[int, ...] = ()
    repeats: int = 0
    storage: str = ""
    out: str = ""
    plotlyjs: str = "inline"

    def __post_init__(self) -> None:
        if self.only_known and self.budget is DEFAULT_BUDGET:  # that very object: one of 20 trials that is given counts
            object.__setattr__(self, "budget", NO_LIMIT)
        if not self.only_known and self.budget == NO_LIMIT:
            raise ConfigError("budget: at least one of trials and seconds must be given")
        for name, least in (
            ("images", 12),
            ("epochs", 1),
            ("patience", 1),
            ("workers", 1),
            ("repeats", 0),
            ("seed", 0),
        ):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < least:
                raise ConfigError(f"{name} {value!r}: must be a whole number of at least {least}")
        if self.limit is not None and self.limit < 12:
            raise ConfigError(f"limit {self.limit}: must be at least 12 pictures")
        if not self.trial_timeout_s > 0:
            raise ConfigError(f"trial_timeout_s {self.trial_timeout_s}: must be above 0")
        if not self.engines:
            raise ConfigError("engines: at least one must be given, see `python -m bench list`")
        if len(set(self.engines)) < len(self.engines):
            raise ConfigError(f"engines {', '.join(self.engines)}: each may be named once")
        for name, value, choices in (
            ("pruner", self.pruner, PRUNERS),
            ("weights", self.weights, WEIGHTS),
            ("missing-weights", self.missing_weights, MISSING_WEIGHTS),
            ("features", self.features, FEATURES),
            ("near-duplicates", self.near_duplicates, NEAR_DUPLICATES),
            ("plotlyjs", self.plotlyjs, PLOTLYJS),
        ):
            if value not in choices:
                raise unknown(name, value, choices)
        if len(self.split) != 3 or min(self.split) <= 0 or abs(sum(self.split) - 1) > 1e-6:
            raise ConfigError(f"split {self.split}: must be three shares above 0 that sum to 1, e.g. 0.7,0.15,0.15")
        if isinstance(self.folds, bool) or self.folds not in (0, *range(2, MOST_FOLDS + 1)):
            raise ConfigError(f"folds {self.folds!r}: must be 2 to {MOST_FOLDS}, or 0 for one validation part")
        if self.split_file:
            self._check_nothing_else_decides_the_split()
        for size in self.input_sizes:
            if not 8 <= size <= 1024:
                raise ConfigError(f"input size {size}: must be 8 to 1024 pixels")

    def _check_nothing_else_decides_the_split(self) -> None:
        for name in ("limit", "split", "folds", "near_duplicates"):
            if getattr(self, name) != getattr(RunConfig, name):
                raise ConfigError(
                    f"split_file {self.split_file!r}: holds the split as it is; leave out --{name.replace('_', '-')}"
                )

    def to_dict(self) -> dict[str, Any]:
        """As plain data for JSON."""
        return {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(self).items()}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> RunConfig:
        """The inverse of `to_dict`, also after a trip through JSON; unknown keys are left out."""
        names = {each.name for each in fields(cls)}
        values: dict[str, Any] = {
            key: tuple(value) if isinstance(value, list) else value for key, value in data.items() if key in names
        }
        values["budget"] = Budget(**data["budget"])
        return replace(cls(), **values)
