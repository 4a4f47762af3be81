"""The settings of a run: `RunConfig` declares each one once, with its default, help text and rule.

The command line is derived from it (`cli/options.py`): a new setting is one more field of `RunConfig`.
"""

from __future__ import annotations

import csv
import math
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from numbers import Real
from pathlib import Path
from typing import Any, Self

from bench import metrics
from bench.errors import ConfigError, unknown
from bench.metrics import Price

ALLOCATIONS = ("even", "adaptive")

FITS = ("squash", "crop", "pad")

PRUNERS = ("none", "median", "successive-halving", "hyperband")

MAX_FOLDS = 20

MAX_WORKERS = 1024

USUAL_SPLIT = (0.6, 0.2, 0.2)
DRAWN_SPLIT = (0.25, 0.15, 0.6)
"""Default shares of train, validation and test; a large test part of drawn pictures costs only the drawing."""

LARGEST_SEED = 2**32 - 1
"""The largest seed that NumPy, Keras and scikit-learn accept."""

BUDGETS = "a number of trials (20), a time (90s, 30m, 1.5h) or both (20,30m)"
"""The budgets in words, to follow "must be"."""

_DURATION = re.compile(r"(\d+(?:\.\d+)?)(s|m|h)")
_QUANTITY = re.compile(r"(\d+(?:\.\d+)?)(k|M|G|)")
_FACTORS = {"": 1.0, "k": 1e3, "M": 1e6, "G": 1e9}
_SECONDS = {"s": 1.0, "m": 60.0, "h": 3600.0}


@dataclass(frozen=True)
class Budget:
    """Budget of an engine in a run: trials, seconds of wall-clock time, or both, whichever is spent first.

    Neither means no limit, which is allowed only for runs of the known configurations.
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
        """Read `20`, `30m` or `20,30m`."""
        trials: int | None = None
        seconds: float | None = None
        for part in text.split(","):
            part = part.strip()
            if re.fullmatch(r"\d+", part) and trials is None:
                trials = int(part)
            elif _DURATION.fullmatch(part) and seconds is None:
                seconds = _read_duration(part)
            else:
                raise ConfigError(f"budget {text!r}: must be {BUDGETS}")
        return cls(trials, seconds)

    def __str__(self) -> str:
        parts = [f"{self.trials} trials"] if self.trials is not None else []
        if self.seconds is not None:
            parts.append(f"{self.seconds / 60:g} min" if self.seconds >= 60 else f"{self.seconds:g} s")
        return " or ".join(parts) or "no limit"


NO_LIMIT = Budget(trials=None, seconds=None)


# -- the allowed values of settings


@dataclass(frozen=True)
class Values:
    """The allowed values of a setting.

    Attributes:
        rule: The values in words, to follow "must be".
        allow: Returns whether a value is allowed.
        read: Converts text to a value; raises ValueError or LookupError if that is impossible.
        choices: All values, if they are few.
    """

    rule: str
    allow: Callable[[Any], bool]
    read: Callable[[str], Any] = str
    choices: tuple[str, ...] = ()


def at_least(least: int) -> Values:
    """Whole numbers of at least `least`."""
    return Values(f"a whole number of at least {least}", lambda value: _is_whole(value, least), int)


def between(least: int, most: int) -> Values:
    """Whole numbers from `least` to `most`."""
    return Values(f"{least} to {most}", lambda value: _is_whole(value, least, most), int)


def one_of(*choices: str) -> Values:
    """One of a few names."""
    return Values(f"one of {', '.join(choices)}", choices.__contains__, choices=choices)


def _read_names(text: str) -> tuple[str, ...]:
    if names := tuple(name.strip() for name in text.split(",") if name.strip()):
        return names
    raise ValueError("no name")


def _read_quantity(text: str) -> float:
    if match := _QUANTITY.fullmatch(text.strip()):
        return float(match[1]) * _FACTORS[match[2]]
    raise ValueError("no quantity")


def _read_duration(text: str) -> float:
    if match := _DURATION.fullmatch(text.strip()):
        return float(match[1]) * _SECONDS[match[2]]
    raise ValueError("no duration")


def _is_whole(value: Any, least: int, most: float = math.inf) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and least <= value <= most


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _all(allow: Callable[[Any], bool], values: Any) -> bool:
    return isinstance(values, tuple) and all(map(allow, values))


def _are_names(values: Any) -> bool:
    return _all(lambda value: isinstance(value, str), values)


def _has_group(value: Any) -> bool:
    try:
        return value == "" or re.compile(value).groups > 0
    except (re.error, TypeError):
        return False


def _are_shares(values: Any) -> bool:
    return _all(_is_number, values) and len(values) == 3 and min(values) > 0 and abs(sum(values) - 1) <= 1e-6


def _are_prices(values: Any) -> bool:
    def is_price(row: Any) -> bool:
        return isinstance(row, tuple) and len(row) == 3 and _is_number(row[2]) and 0 <= row[2] < math.inf

    return _all(is_price, values) and all(isinstance(name, str) for row in values for name in row[:2])


def _read_prices(path: str) -> tuple[Price, ...]:
    """Read a CSV file of true class, predicted class and price, with or without a line of headings."""
    rule = "must be a CSV file with the columns true class, predicted class, price"
    try:
        with Path(path).open(encoding="utf-8-sig", newline="") as file:
            rows = [[cell.strip() for cell in row] for row in csv.reader(file) if any(map(str.strip, row))]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ConfigError(f"costs {path!r}: {rule}; {error}") from None
    prices: dict[tuple[str, str], float] = {}
    for number, row in enumerate(rows, start=1):
        try:
            true, predicted, price = row[0], row[1], float(row[2])
        except (ValueError, IndexError):
            if number == 1 and len(row) >= 3:
                continue  # headings
            raise ConfigError(f"costs {path!r}, row {number}: {','.join(row)[:80]!r}, {rule}") from None
        if not 0 <= price < math.inf or (true, predicted) in prices:
            wrong = "a price must be a number from 0" if (true, predicted) not in prices else "this pair is there twice"
            raise ConfigError(f"costs {path!r}, row {number}: {','.join(row)[:80]!r}, {wrong}")
        prices[true, predicted] = price
    if not any(prices.values()):
        raise ConfigError(f"costs {path!r}: {rule}; no price is above 0")
    return tuple((true, predicted, price) for (true, predicted), price in prices.items())


def _plain(value: Any) -> Any:
    """Turn paths into text and lists into tuples."""
    if isinstance(value, list | tuple):
        return tuple(map(_plain, value))
    return os.fspath(value) if isinstance(value, os.PathLike) else value


TEXT = Values("text", lambda value: isinstance(value, str))
REGEX = Values(r"a regular expression with a group, e.g. '(.+)_\d+'", _has_group)
FLAG = Values("True or False", lambda value: isinstance(value, bool), {"True": True, "False": False}.__getitem__)
# fmt: off
BUDGET = Values(BUDGETS, lambda value: isinstance(value, Budget), Budget.parse)
NAMES = Values("names separated by commas (in Python also a list)", _are_names, _read_names)
ENGINE_NAMES = Values(
    "names separated by commas, at least one and each named once; see `python -m bench list`",
    lambda value: _are_names(value) and 0 < len(value) == len(set(value)), _read_names)
DURATION = Values(
    "a time above 0 such as 90s, 30m or 1.5h", lambda value: _is_number(value) and value > 0, _read_duration)
COUNT = Values(
    "a whole number above 0 such as 240k, 1.5M or 5000000", lambda value: value is None or _is_whole(value, 1),
    lambda text: round(_read_quantity(text)))
AMOUNT = Values(
    "a number above 0", lambda value: value is None or (_is_number(value) and 0 < value < math.inf), _read_quantity)
SHARES = Values(
    "three shares above 0 that sum to 1, e.g. 0.7,0.15,0.15",
    lambda value: value == () or _are_shares(value), lambda text: tuple(map(float, text.split(","))))
SAMPLE = Values(
    "at least 12 pictures, a whole number of them", lambda value: value is None or _is_whole(value, 12), int)
FOLDS = Values(
    f"2 to {MAX_FOLDS}, or 0 for one validation part",
    lambda value: _is_whole(value, 0, MAX_FOLDS) and value != 1, int)
PRICES = Values("a CSV file with the columns true class, predicted class, price", _are_prices, _read_prices)
SIDES = Values(
    "whole numbers of 8 to 1024 pixels, separated by commas",
    lambda value: _all(lambda side: _is_whole(side, 8, 1024), value),
    lambda text: tuple(map(int, _read_names(text))))
# fmt: on


# -- settings


@dataclass(frozen=True, kw_only=True)
class Setting:
    """The declaration of a field of `RunConfig`.

    Attributes:
        name: Name of the field.
        default: Default value.
        values: Allowed values.
        group: Heading in `--help`.
        metavar: Placeholder of the value in `--help`; "" for an option without a value.
        help: Help text, in which `{default}`, `{choices}` and `{engines}` are replaced.
        option: Option on the command line; "" for one named after the field.
        comparable: True if two runs are comparable in the regression gate only with equal values. Settings of the
            pictures are not, because pictures are compared by content, nor those that do not affect accuracy.
    """

    name: str
    default: Any
    values: Values
    group: str
    metavar: str
    help: str
    option: str = ""
    comparable: bool = False

    @property
    def flag(self) -> str:
        """The option on the command line: `--near-duplicates`."""
        return self.option or f"--{self.name.replace('_', '-')}"

    def read(self, value: Any) -> Any:
        """Convert what a person gives to an allowed value: text as on the command line, a number, a path, a list.

        Raises:
            ConfigError: That is impossible, or the value is not allowed.
        """
        plain = _plain(value)
        if not self.values.allow(plain) and isinstance(plain, str | Real) and not isinstance(plain, bool):
            try:
                plain = self.values.read(str(plain))
            except ConfigError:  # from `Budget.parse`, whose message is more specific
                raise
            except (ValueError, LookupError):
                raise self._refusal(plain) from None
        if not self.values.allow(plain):
            raise self._refusal(plain)
        return plain

    def _refusal(self, value: Any) -> ConfigError:
        name = self.flag.removeprefix("--")
        if self.values.choices:
            return unknown(name, str(value), self.values.choices)
        return ConfigError(f"{name} {value!r}: must be {self.values.rule}")


def setting(default: Any, values: Values, group: str, metavar: str, help: str, **more: Any) -> Any:
    """Declare a field of `RunConfig` with the parts of its `Setting`."""
    return field(default=default, metadata={"values": values, "group": group, "metavar": metavar, "help": help, **more})


DATA = (
    "drawn (cats and dogs drawn from the seed); cats_vs_dogs or tfds:NAME, downloaded once; a folder with one "
    "sub-folder per class, also below train/ and test/; a folder of cat.0.jpg, dog.0.jpg, …; a table of paths and "
    "labels"
)
"""Help text of the data sources; `bench.data.sources.KNOWN` has a line for each."""

READING = ("path_column", "label_column", "split_column", "label_from")
"""Settings that say which class and part a picture has."""

SEARCH, PICTURES, TRIAL, RUN = "the search", "the pictures", "a trial", "the run"


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """The settings of one run, which the help texts of the fields describe.

    A setting takes its value, or that as text of the command line: `budget=20`, `"30m"`, `spaces="cnn,vgg16"`.

    Raises:
        ConfigError: There is no such setting, or its value is not allowed.
    """

    # fmt: off
    budget: Budget = setting(  # noqa: RUF009
        None, BUDGET, SEARCH, "B",  # `__post_init__` replaces None
        "trials (20), time of the whole run (30m, 1.5h, 90s) or both (20,30m), for each engine; "
        f"default {Budget.trials}, with --only-known no limit", comparable=True)
    spaces: tuple[str, ...] = setting(
        (), NAMES, SEARCH, "LIST",
        "families: names, search-space files or folders of them, separated by commas; default all but optional ones")
    only_known: bool = setting(
        False, FLAG, SEARCH, "",
        "train only the known configurations in the families' files, each once, without an engine", comparable=True)
    engines: tuple[str, ...] = setting(
        ("optuna:tpe",), ENGINE_NAMES, SEARCH, "LIST",
        "engines that propose configurations, separated by commas; each gets the whole budget; default {default}. "
        "Choices: {engines}",
        option="--engine", comparable=True)
    allocation: str = setting(
        "", one_of("", *ALLOCATIONS), SEARCH, "A",
        "which family gets the next trial: even (all get the same: trials, or seconds under a time budget) or adaptive "
        "(the one with the largest expected gain a second); default adaptive with a time budget alone, else even",
        comparable=True)
    pruner: str = setting(
        "none", one_of(*PRUNERS), SEARCH, "P",
        "stop poor trials early (Optuna engines only): {choices}; default {default}", comparable=True)
    until_settled: bool = setting(
        False, FLAG, SEARCH, "",
        "end an engine's search before its --budget when another trial is expected to gain less than the noise of the "
        "validation pictures", comparable=True)
    max_parameters: int | None = setting(
        None, COUNT, SEARCH, "N",
        "refuse configurations with more than N parameters (240k, 5M) when they are built, at no cost to the budget",
        comparable=True)
    max_model_mb: float | None = setting(
        None, AMOUNT, SEARCH, "MB", "refuse configurations whose parameters take more than this in memory, 10**6 bytes",
        comparable=True)
    max_latency_ms: float | None = setting(
        None, AMOUNT, SEARCH, "MS",
        "refuse configurations that take longer than this for one picture in a batch of one, measured on this machine",
        comparable=True)
    metric: tuple[str, ...] = setting(
        ("accuracy",), NAMES, SEARCH, "LIST",
        "what is chosen, ranked and guarded by: {metrics}; of one class as recall:NAME; several separated by commas, "
        "of which the first decides and the others are shown; default accuracy", comparable=True)
    costs: tuple[Price, ...] = setting(
        (), PRICES, SEARCH, "FILE",
        "for --metric cost: a CSV file with the columns true class, predicted class, price; pairs that it lacks cost 0",
        comparable=True)
    repeats: int = setting(
        0, at_least(0), SEARCH, "K", "train the best of each family again with K other seeds; default {default}")
    data: str = setting(
        "drawn", TEXT, PICTURES, "D", f"{DATA}; default {{default}}")
    path_column: str = setting(
        "", TEXT, PICTURES, "NAME", "the column of a table with the paths of the pictures; default: a known name")
    label_column: str = setting(
        "", TEXT, PICTURES, "NAME",
        "the column of a table with the classes; default: a known name, or a column of 0 and 1 for each class")
    split_column: str = setting(
        "", TEXT, PICTURES, "NAME",
        "the column of a table with the parts: train, validation or test; default: a known name")
    label_from: str = setting(
        "", REGEX, PICTURES, "REGEX",
        r"read the class in the name of a picture's file, else in its path, e.g. '^(.+)_\d+': the first group, or the "
        "group named label")
    images: int = setting(
        2000, at_least(12), PICTURES, "N", "number of pictures to draw; default {default}")
    limit: int | None = setting(
        None, SAMPLE, PICTURES, "N", "take a stratified sample of N pictures")
    split: tuple[float, float, float] = setting(
        (), SHARES, PICTURES, "S",
        "shares of train, validation and test; default 0.6,0.2,0.2, of drawn pictures 0.25,0.15,0.6")
    folds: int = setting(
        0, FOLDS, PICTURES, "K",
        f"K common folds (2 to {MAX_FOLDS}) instead of a validation part: every configuration is trained on each and "
        "scored by the mean", comparable=True)
    near_duplicates: str = setting(
        "group", one_of("group", "ignore"), PICTURES, "HOW",
        "nearly identical pictures: group (they stay in one part) or ignore; default {default}")
    masks: str = setting(
        "leave-out", one_of("leave-out", "use"), PICTURES, "HOW",
        "masks beside pictures (the same name with another suffix, *_mask, a folder masks): leave-out or use them as "
        "pictures; default {default}")
    group_by: str = setting(
        "", TEXT, PICTURES, "REGEX",
        "pictures that stay in one part, e.g. those of a patient: a regular expression for their paths, whose first "
        r"group names what they share, as '(\d+)_', or a column of the table; intervals and tests then count groups",
        comparable=True)
    input_sizes: tuple[int, ...] = setting(
        (), SIDES, PICTURES, "LIST",
        "picture sizes in pixels that families may choose from; default: chosen by the size of the pictures",
        comparable=True)
    fit: str = setting(
        "squash", one_of(*FITS), PICTURES, "HOW",
        "how a picture becomes a square: squash (its aspect ratio changes), crop (its ends are cut off) or pad (black "
        "borders), unless a family declares the hyperparameter fit; default {default}", comparable=True)
    split_file: str = setting(
        "", TEXT, PICTURES, "FILE",
        "use the split.json of an earlier run; --data names a new location of its pictures")
    also_test: tuple[str, ...] = setting(
        (), NAMES, PICTURES, "LIST",
        "further test sets, on which the best of each family is scored after the search: folders, tables or names as "
        "for --data, with the same classes, separated by commas; corrupted stands for the run's test pictures with "
        "blur, JPEG, noise and brightness in three strengths")
    epochs: int = setting(
        10, at_least(1), TRIAL, "N", "at most N epochs in each phase of training; default {default}",
        comparable=True)
    patience: int = setting(
        3, at_least(1), TRIAL, "N", "stop after N epochs without a better validation result; default {default}",
        comparable=True)
    trial_timeout_s: float = setting(
        3600.0, DURATION, TRIAL, "T",
        "stop a trial, including all its folds, after this time (90s, 10m); default 1h", option="--trial-timeout")
    features: str = setting(
        "float32", one_of("float32", "float16", "off"), TRIAL, "F",
        "type of the cached outputs of frozen layers, which are computed once for all trials and runs: float32, "
        "float16 (half the disk), or off (every trial trains end to end); default {default}", comparable=True)
    weights: str = setting(
        "imagenet", one_of("imagenet", "random"), TRIAL, "W",
        "initial weights of backbones: {choices}; default {default}", comparable=True)
    missing_weights: str = setting(
        "skip", one_of("skip", "random", "error"), TRIAL, "M",
        "if weights are not available: skip the family, random (labelled), or error; default {default}")
    seed: int = setting(
        0, between(0, LARGEST_SEED), RUN, "S", "seed of the drawn pictures, the split, the engines and the training; "
        "default {default}")
    workers: int = setting(
        1, between(1, MAX_WORKERS), RUN, "N", "trials at the same time, which share the cores; default {default}")
    out: str = setting(
        "", TEXT, RUN, "DIR", "the run folder; default reports/<utc time>-<data>")
    storage: str = setting(
        "", TEXT, RUN, "URL",
        "Optuna storage (postgresql://…, mysql+pymysql://…); default SQLite in the run folder")
    plotlyjs: str = setting(
        "inline", one_of("inline", "directory", "cdn"), RUN, "HOW",
        "location of Plotly, which draws the page's charts: inline (in the page), directory (plotly.min.js beside the "
        "page) or cdn (loaded from the network); default {default}")
    # fmt: on

    def __new__(cls, *arguments: Any, **settings: Any) -> Self:
        for name in settings.keys() - SETTINGS.keys():
            raise unknown("setting", name, SETTINGS)
        return super().__new__(cls)

    def __post_init__(self) -> None:
        if self.until_settled and self.budget in (None, NO_LIMIT):
            raise ConfigError("until-settled: needs a limit of trials or time, e.g. --budget 100 or --budget 2h")
        if self.until_settled and self.only_known:
            raise ConfigError("until-settled: only-known has a fixed list of trials; leave out one of the two")
        if self.budget is None:
            object.__setattr__(self, "budget", NO_LIMIT if self.only_known else Budget())
        for name, setting in SETTINGS.items():
            object.__setattr__(self, name, setting.read(getattr(self, name)))
        self._check_metrics()
        if not self.allocation:
            by_time = self.budget.trials is None and self.budget.seconds is not None
            object.__setattr__(self, "allocation", "adaptive" if by_time else "even")
        if not self.only_known and self.budget == NO_LIMIT:
            raise ConfigError("budget: must have trials, seconds or both")
        if self.label_column and self.label_from:
            raise ConfigError("label-from: reads the class in the names of the files; leave out --label-column")
        if not self.split:
            drawn = self.data == "drawn" and not self.split_file
            object.__setattr__(self, "split", DRAWN_SPLIT if drawn else USUAL_SPLIT)
        whole_split = ("limit", "split", "folds", "near_duplicates", "masks", "group_by", *READING)
        for name in whole_split if self.split_file else ():
            if getattr(self, name) not in (SETTINGS[name].default, USUAL_SPLIT, DRAWN_SPLIT):
                flag = SETTINGS[name].flag
                raise ConfigError(f"split_file {self.split_file!r}: defines the whole split; leave out {flag}")

    def _check_metrics(self) -> None:
        if repeated := [name for name in self.metric if self.metric.count(name) > 1]:
            raise ConfigError(f"metric {repeated[0]}: is named twice")
        for name in self.metric if self.metric != SETTINGS["metric"].default else ():
            metrics.metric(name)
        if self.costs and "cost" not in self.metric:
            raise ConfigError("costs: only --metric cost reads them")
        if "cost" in self.metric and not self.costs:
            raise ConfigError("metric cost: needs --costs FILE, with a price for every pair of classes that costs")


SETTINGS: Mapping[str, Setting] = {
    field.name: Setting(name=field.name, default=field.default, **field.metadata) for field in fields(RunConfig)
}
"""Every setting by its field, in the order of `--help`."""
