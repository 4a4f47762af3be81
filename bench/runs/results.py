"""The results of a run in one small file, which can be committed and which the regression gate compares.

Every run folder has one, `results.json`, written when the run ends; a baseline (`reports/baseline.json`) is a committed
one. It is JSON and is read without Optuna, pandas, the predictions or code of a family. Its keys are the fields of
`Results`, plus digests and accuracies, which can be derived from them and serve to detect damage.

`correct` has one bit per test picture, which allows paired tests from a small file. The bits are in the order of the
pictures' SHA-256, packed as by `numpy.packbits`, padded with zeros, in base64. If the run chose by another metric than
accuracy, `values` has the values of the pictures (`metrics.Metric.values`) in the same order: little-endian float32 in
base64, with the SHA-256 of the bytes of all seeds.
"""

from __future__ import annotations

import base64
import hashlib
import json
import math
import sys
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from functools import cached_property
from pathlib import Path
from statistics import fmean, stdev
from typing import Annotated, Any, NamedTuple

import numpy as np
from msgspec import Meta
from numpy.typing import NDArray

from bench import stats, text
from bench.cache import files
from bench.cache.files import write_text
from bench.config import SETTINGS
from bench.errors import BaselineError, ConfigError, reading
from bench.hyperparameters import Value
from bench.metrics import metric
from bench.metrics._metric import Metric
from bench.records import Estimate, FamilyInfo, Repeat, Run, from_data, to_data, upgraded
from bench.runs import predictions
from bench.runs.by_class import ClassScores, by_class

SCHEMA_VERSION = 1

FILE = "results.json"
"""Name of the file in a run folder."""

STORED = np.dtype("<f4")
"""Type of the values of pictures in a file."""

Count = Annotated[int, Meta(ge=0)]
Seconds = Annotated[float, Meta(ge=0, le=sys.float_info.max)]


class FamilyStatus(StrEnum):
    """Status of a family: scored; every trial failed; left out; trained but not scored; not tried."""

    COMPLETE = "complete"
    FAILED = "failed"
    SKIPPED = "skipped"
    UNSCORED = "unscored"
    UNTRIED = "no trial"


@dataclass(frozen=True, eq=False)
class FamilyResult:
    """A family's result: its chosen configuration, trained with one seed or several.

    Attributes:
        status: Every status but COMPLETE has a `reason`.
        weights: Initial weights of its backbone: "imagenet", "random", "random (missing)"; "" without one.
        parameters: None if they were not counted.
        cut_after: Epoch after which the budget or Ctrl-C ended its training; None if training did not end early.
        on_features: True if its steps were timed on features of frozen layers instead of pictures.
        seeds: Seeds of its trainings, the run's own first.
        correct: True for test pictures that each seed's model classifies correctly, shape (seeds, n).
        values: Values of the pictures of the run's metric, rounded to `STORED`, shape (seeds, n); empty if it is the
            accuracy.
        classes: By class the support, and recall, precision and F1 with the ends of their 95 % intervals
            (`by_class.ClassScores`), None without pictures or answers; derived from the predictions, and not compared.
        step_time_s: Seconds of a training step in steady state, one value per epoch, over all seeds.
        step_cpu_s: CPU seconds of the same steps, over all cores, which other programs hardly change.
        file_sha256: Hash of its file and the shared parts next to it; "" in older files.
        also: Accuracy of its model on further test sets, by `records.FurtherSet.names`; the gate does not use it.
    """

    status: FamilyStatus
    reason: str = ""
    weights: str = ""
    params: Mapping[str, Value] = field(default_factory=dict)
    parameters: Count | None = None
    cut_after: Count | None = None
    on_features: bool = False
    seeds: tuple[Count, ...] = ()
    correct: NDArray[np.bool_] = field(default_factory=lambda: np.zeros((0, 0), np.bool_))
    values: NDArray[np.float64] = field(default_factory=lambda: np.zeros((0, 0)))
    classes: Mapping[str, Mapping[str, int | tuple[float, float, float] | None]] = field(default_factory=dict)
    step_time_s: tuple[Seconds, ...] = ()
    step_cpu_s: tuple[Seconds, ...] = ()
    file_sha256: str = ""
    also: Mapping[str, float] = field(default_factory=dict)

    @cached_property
    def accuracies(self) -> tuple[float, ...]:
        """Test accuracy of each seed's model."""
        return tuple(float(share) for share in self.correct.mean(axis=1)) if self.correct.size else ()

    @property
    def accuracy(self) -> float | None:
        """Mean test accuracy over the seeds; None if it was not scored."""
        return fmean(self.accuracies) if self.accuracies else None

    @property
    def compared(self) -> NDArray[np.generic]:
        """The values of the run's metric: the right and wrong answers if it is the accuracy; shape (seeds, n)."""
        return self.values if self.values.size else self.correct

    @cached_property
    def by_seed(self) -> tuple[float, ...]:
        """The run's metric of each seed's model."""
        return tuple(map(float, self.compared.mean(axis=1))) if self.compared.size else ()

    @property
    def value(self) -> float | None:
        """Mean of the run's metric over the seeds; None if it was not scored."""
        return fmean(self.by_seed) if self.by_seed else None

    @property
    def seed_sd(self) -> float | None:
        """Sample standard deviation of the run's metric over seeds; None with fewer than `CALIBRATION_SEEDS`."""
        return stdev(self.by_seed) if len(self.by_seed) >= stats.CALIBRATION_SEEDS else None

    @property
    def config_sha256(self) -> str:
        """Digest of the chosen configuration and its initial weights."""
        return digest({"params": dict(self.params), "weights": self.weights})


@dataclass(frozen=True)
class Split:
    """The common split: digests of all of it, and of its `n` test pictures with their labels.

    `groups` has the number of each test picture's group, in the order of `FamilyResult.correct`; empty without groups.
    """

    source: str
    sha256: str
    test_ids_sha256: str
    n: Count
    class_counts: Mapping[str, Count]
    groups: tuple[Count, ...] = ()

    @property
    def group_numbers(self) -> NDArray[np.int64] | None:
        """`groups` as an array, shape (n,); None without groups."""
        return np.array(self.groups, np.int64) if self.groups else None

    @property
    def independent(self) -> int:
        """Number of independent test pictures: of groups, where there are groups."""
        return len(set(self.groups)) or self.n

    def support(self, metric: Metric) -> float:
        """`Metric.support` of the test pictures, at most `independent`."""
        counts = list(self.class_counts.values())
        return min(metric.support(np.repeat(np.arange(len(counts)), counts)), self.independent)


@dataclass(frozen=True)
class Environment:
    """Hardware and versions of a run; `cores` is the number per trial, `gpu` is "" without one."""

    python: str
    keras: str
    backend: str
    cpu: str
    cores: Count
    gpu: str

    @property
    def hardware(self) -> tuple[str, int, str]:
        """The fields that must be equal for times to be comparable."""
        return self.cpu, self.cores, self.gpu


@dataclass(frozen=True)
class Results:
    """The results of a run; `config` has the settings that must be equal for two runs to be comparable."""

    run: str
    status: str
    created_utc: str
    git_sha: str
    tool_version: str
    config: Mapping[str, Any]
    split: Split
    env: Environment
    families: Mapping[str, FamilyResult]

    @property
    def config_sha256(self) -> str:
        """Digest of `config`."""
        return digest(self.config)

    @cached_property
    def metric(self) -> Metric:
        """The metric that the run chose by, without the prices of a cost."""
        return metric(self.config.get("metric", NEWER_SETTINGS["metric"])[0], tuple(self.split.class_counts))

    def over_seeds(self, family: FamilyResult, metric: Metric | None = None) -> tuple[float, float, float]:
        """A scored family's mean over seeds with its 95 % interval, of the run's metric or of the accuracy."""
        of, groups = metric or self.metric, self.split.group_numbers
        values = family.correct if of.exact else family.compared
        return predictions.interval(of, values, groups, self.split.support(of))

    @property
    def head(self) -> dict[str, Any]:
        """All but the families, as plain data."""
        return {
            "created_utc": self.created_utc,
            "git_sha": self.git_sha,
            "tool_version": self.tool_version,
            "run": self.run,
            "status": self.status,
            "config": self.config,
            "config_sha256": self.config_sha256,
            "split": to_data(self.split),
            "env": to_data(self.env),
        }


NEWER_SETTINGS: Mapping[str, Any] = {
    "allocation": "even",
    "max_parameters": None,
    "max_model_mb": None,
    "max_latency_ms": None,
    "until_settled": False,
    "group_by": "",
    "fit": "squash",
    "metric": ("accuracy",),
    "costs": (),
}
"""Comparable settings that older files lack, left out with the value that those runs had, so that runs compare."""


def digest(data: Mapping[str, Any]) -> str:
    """SHA-256 of plain data, independent of the order of keys."""
    return hashlib.sha256(json.dumps(data, sort_keys=True, default=str).encode()).hexdigest()


# -- from a run


def of_path(path: Path, storage: str = "") -> Results:
    """Results of a file or a run folder. In a folder without the file (the run was killed), its records are used.

    `storage` is as for `store.load`.

    Raises:
        RunFolderError: It is not a run folder, is damaged, or was written by a newer version.
        BaselineError: The file is damaged or of a newer version.
    """
    if path.is_dir() and not ((path / FILE).exists() or (path / FILE).is_symlink()):
        from bench.runs import store

        return of_run(store.load(path, storage))
    return read(path / FILE if path.is_dir() else path)


def of_run(run: Run) -> Results:
    """Results of a run from its records, its split and its predictions.

    Raises:
        RunFolderError: The manifest of the split is damaged.
    """
    pictures = manifest_pictures(run.path, run.split.classes)
    return Results(
        run=run.path.name,
        status=run.status,
        created_utc=run.created_utc,
        git_sha=run.commit,
        tool_version=str(run.environment.get("bench", "")),
        config=_comparable_settings(run),
        split=_split_of(run, pictures),
        env=environment_of(run),
        families={family.name: _family_of(run, family, pictures) for family in run.families},
    )


def environment_of(run: Run) -> Environment:
    """Hardware and versions of a run, from its records."""
    environment, packages = run.environment, run.environment.get("packages", {})
    cores = {trial.cost.cores for trial in run.trials if trial.cost}
    return Environment(
        python=str(environment.get("python", "")),
        keras=str(packages.get("keras", "")),
        backend=f"tensorflow {packages.get('tensorflow', '')}".strip(),
        cpu=str(environment.get("cpu", "")),
        cores=max(cores, default=int(environment.get("cores") or 0)),
        gpu=", ".join(map(str, environment.get("gpus", ()))),
    )


def _comparable_settings(run: Run) -> dict[str, Any]:
    """The comparable settings, as read from a file; without those of engines if no engine proposes.

    Of several metrics only the first one, since the others decide nothing.
    """
    decides = run.config.metric[:1]
    config = replace(run.config, metric=decides, costs=run.config.costs if decides == ("cost",) else ())
    idle = {"engines", "pruner"} if config.only_known else set()
    idle |= {name for name, value in NEWER_SETTINGS.items() if getattr(config, name) == value}
    names = [name for name, setting in SETTINGS.items() if setting.comparable and name not in idle]
    settings = {name: value for name, value in to_data(config).items() if name in names}
    return dict(json.loads(json.dumps(settings)))


def _split_of(run: Run, pictures: Sequence[ScoredPicture]) -> Split:
    split = run.split
    names = [picture.group for picture in pictures]
    groups = np.unique(names, return_inverse=True)[1].tolist() if any(names) else []
    counts = dict(split.counts.get("test", {}))
    return Split(split.source, split.sha256, ids_sha256(pictures), split.n("test"), counts, tuple(groups))


class ScoredPicture(NamedTuple):
    """A picture of the manifest; `id` is its path relative to the data's source, `label` its class."""

    sha256: str
    id: str
    label: str
    group: str


def manifest_pictures(
    run: Path, classes: Sequence[str] = (), parts: Collection[str] = ("test",)
) -> list[ScoredPicture]:
    """The pictures of some parts in the manifest of a run folder, sorted by the hash of their content.

    `classes` are those of the manifest, unless others are named.

    Raises:
        RunFolderError: The manifest is missing or damaged.
    """
    manifest = run / "split.json"
    with reading(manifest):
        data = json.loads(files.read(manifest))
        names = classes or data["classes"]
        texts = ((item, *(str(item.get(key, "")) for key in ("sha256", "id", "group"))) for item in data["items"])
        return sorted(
            ScoredPicture(sha256, name, names[item["label"]], group)
            for item, sha256, name, group in texts
            if item["part"] in parts
        )


def ids_sha256(pictures: Sequence[ScoredPicture]) -> str:
    """Digest of test pictures with their labels."""
    digest = hashlib.sha256()
    for picture in pictures:
        digest.update(f"{picture.sha256} {picture.label}\n".encode(errors="backslashreplace"))
    return digest.hexdigest()


def _family_of(run: Run, family: FamilyInfo, pictures: Sequence[ScoredPicture]) -> FamilyResult:
    trial = run.best(family.name)
    if trial is None:
        return FamilyResult(*_without_model(run, family), file_sha256=family.sha256)
    chosen = FamilyResult(
        FamilyStatus.UNSCORED,
        weights=trial.weights,
        params=dict(trial.params),
        parameters=trial.cost.parameters if trial.cost else None,
        cut_after=trial.epochs if trial.cut else None,
        on_features=bool(trial.prefixes and trial.prefixes[-1].used),
        file_sha256=family.sha256,
    )
    if trial.test is None:
        reason = "scoring it on the test pictures failed" if run.status == "complete" else "the run ended before that"
        return replace(chosen, reason=reason)
    scored = predictions.of_seeds(run, trial)
    if not scored:
        return replace(chosen, reason="its predictions of the test pictures are missing or damaged")
    order = np.argsort(scored[0].sha256, kind="stable")
    if scored[0].sha256[order].tolist() != [picture.sha256 for picture in pictures]:
        return replace(chosen, reason="its predictions are not of this split's test pictures")
    values = np.zeros((0, 0))
    if run.metric.name != "accuracy":
        exact = np.array([predicted.values(run.metric)[order] for predicted in scored.values()])
        values = exact.astype(STORED).astype(np.float64)
        if not np.isfinite(values).all():
            return replace(chosen, reason=f"the {run.metric.title} of these test pictures is not defined")
    trainings = (Repeat.of(0, trial.test, trial.history), *trial.repeats)
    return replace(
        chosen,
        status=FamilyStatus.COMPLETE,
        seeds=tuple(run.config.seed + number for number in scored),
        correct=np.array([predicted.right[order] for predicted in scored.values()]),
        values=values,
        classes={scores.name: _class_as_data(scores) for scores in by_class(run, trial)},
        step_time_s=tuple(time for training in trainings for time in training.step_time_s),
        step_cpu_s=tuple(time for training in trainings for time in training.step_cpu_s),
        also={name: round(metrics.of(trial.metric).value, 6) for name, metrics in trial.also.items()},
    )


def _class_as_data(scores: ClassScores) -> dict[str, Any]:
    def rounded(estimate: Estimate | None) -> tuple[float, ...] | None:
        ends = (estimate.value, estimate.low, estimate.high) if estimate else ()
        return tuple(round(end, 6) for end in ends if end is not None) or None

    measured = {name: rounded(getattr(scores, name)) for name in ("recall", "precision", "f1")}
    return {"support": scores.support, **measured}


def _without_model(run: Run, family: FamilyInfo) -> tuple[FamilyStatus, str]:
    if family.skipped:
        return FamilyStatus.SKIPPED, text.shorten(text.clean(family.skipped), 200)
    every = [trial for trial in run.trials if trial.family == family.name]
    trials = [trial for trial in every if not trial.limit]
    if every and not trials:
        return FamilyStatus.SKIPPED, text.refusals(every, run.config)
    if not trials:
        reason = "the budget went to other families" if run.status == "complete" else "the run ended before that"
        return FamilyStatus.UNTRIED, reason
    failures = [f"{trial.failure.name}: {trial.failure.message}" for trial in trials if trial.failure]
    last = f"; the last failure: {text.shorten(text.clean(failures[-1]), 200)}" if failures else ""
    return FamilyStatus.FAILED, f"no complete trial out of {len(trials)}{last}"


def flat_settings(config: Mapping[str, object], above: str = "") -> dict[str, object]:
    """Settings of a configuration by full name; nested ones are named like `budget.trials`."""
    settings: dict[str, object] = {}
    for name, value in config.items():
        if isinstance(value, Mapping) and value:
            settings |= flat_settings(value, f"{above}{name}.")
        else:
            settings[f"{above}{name}"] = value
    return settings


# -- as a file

FAMILY_KEYS = frozenset(
    "status weights params parameters on_features seeds accuracy correct step_time_s step_cpu_s".split()
)
"""Keys of every family that are required and read."""


def write(path: Path, results: Results) -> None:
    """Write a file of results, whole or not at all; equal results give equal files, byte by byte.

    Raises:
        OSError: It cannot be written.
    """
    families = {
        name: {
            "status": family.status,
            **({"reason": family.reason} if family.reason else {}),
            "weights": family.weights,
            "params": family.params,
            "config_sha256": family.config_sha256,
            "parameters": family.parameters,
            **({} if family.cut_after is None else {"cut_after": family.cut_after}),
            **({"file_sha256": family.file_sha256} if family.file_sha256 else {}),
            "on_features": family.on_features,
            "seeds": family.seeds,
            "accuracy": [round(share, 6) for share in family.accuracies],
            "correct": [_encoded(np.packbits(bits).tobytes()) for bits in family.correct],
            **(_values_as_data(family.values) if family.values.size else {}),
            **({"classes": family.classes} if family.classes else {}),
            "step_time_s": [float(f"{time:.4g}") for time in family.step_time_s],
            "step_cpu_s": [float(f"{time:.4g}") for time in family.step_cpu_s],
            "seed_sd": None if family.seed_sd is None else round(family.seed_sd, 6),
            **({"also": family.also} if family.also else {}),
        }
        for name, family in results.families.items()
    }
    write_text(path, _indented({"schema_version": SCHEMA_VERSION, **results.head, "families": families}) + "\n")


def _encoded(content: bytes) -> str:
    return base64.b64encode(content).decode()


def _values_as_data(values: NDArray[np.float64]) -> dict[str, Any]:
    rows = [row.astype(STORED).tobytes() for row in values]
    return {
        "value": [float(f"{value:.6g}") for value in values.mean(axis=1)],
        "values": [_encoded(row) for row in rows],
        "values_sha256": hashlib.sha256(b"".join(rows)).hexdigest(),
    }


def _indented(value: Any, depth: int = 0) -> str:
    """JSON with one value per line, so that a change is one line of a diff; lists of numbers are on one line."""
    if isinstance(value, Mapping) and value:
        lines = [f"{json.dumps(key)}: {_indented(item, depth + 1)}" for key, item in value.items()]
        return "{\n" + ",\n".join(" " * (depth + 1) + line for line in lines) + "\n" + " " * depth + "}"
    if isinstance(value, list | tuple) and any(isinstance(item, str) for item in value) and len(value) > 1:
        lines = [json.dumps(item) for item in value]
        return "[\n" + ",\n".join(" " * (depth + 1) + line for line in lines) + "\n" + " " * depth + "]"
    return json.dumps(value, allow_nan=False)


def read(path: Path) -> Results:
    """Read and check a file of results; a flipped bit is detected by the recorded accuracy.

    Raises:
        BaselineError: It is missing, damaged, cut short, or written by a newer version.
    """
    with reading(path, BaselineError):
        try:
            content = files.read(path)
        except FileNotFoundError:
            raise BaselineError(f"{path}: no such file; `python -m bench baseline RUN` writes one") from None
        return _results(upgraded(json.loads(content), ()))


def _results(data: Mapping[str, Any]) -> Results:
    results = from_data(Results, {**data, "families": {}})
    n, counts, groups = results.split.n, results.split.class_counts, results.split.groups
    if sum(counts.values()) != n:
        raise ValueError(f"split: class_counts do not sum to n={n}")
    if groups and (len(groups) != n or set(groups) != set(range(max(groups) + 1))):
        raise ValueError(f"split: groups must be n={n} numbers without gaps")
    if results.config_sha256 != data["config_sha256"]:
        raise ValueError("config does not match config_sha256")
    from_data(tuple[str, ...], results.config.get("metric", ()))
    try:
        others = results.metric.name != "accuracy"
    except ConfigError as error:
        raise ValueError(f"config: {error}") from None
    families = {}
    for name, family in from_data(dict[str, dict[str, Any]], data["families"]).items():
        try:
            families[name] = _family(family, n, others)
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from None
    return replace(results, families=families)


def _family(data: Mapping[str, Any], n: int, others: bool) -> FamilyResult:
    """Read a family; `others` is True if it has values of another metric than accuracy."""
    if missing := FAMILY_KEYS - data.keys():
        raise ValueError(f"{min(missing)!r} is missing")
    data = {**data, "parameters": data["parameters"] or None}  # 0 in older files: could not be counted
    family = from_data(FamilyResult, {key: value for key, value in data.items() if key not in ("correct", "values")})
    accuracies = from_data(tuple[float, ...], data["accuracy"])
    family = replace(family, correct=_unpacked(from_data(tuple[bytes, ...], data["correct"]), n))
    seeds = family.seeds
    if others and seeds:
        family = replace(family, values=_values(data, len(seeds), n))
    if not len(seeds) == len(accuracies) == len(family.correct):
        raise ValueError(f"{len(seeds)} seeds, {len(accuracies)} accuracies, {len(family.correct)} bitsets")
    if len(set(seeds)) < len(seeds):
        raise ValueError(f"a seed occurs twice in {list(seeds)}")
    if (family.status == FamilyStatus.COMPLETE) != bool(seeds):
        raise ValueError(f"is {family.status}, with {len(seeds)} seeds")
    for seed, written, counted in zip(seeds, accuracies, family.accuracies, strict=True):
        if not math.isclose(written, counted, abs_tol=1e-6):
            raise ValueError(f"seed {seed}: accuracy {written}, but its bits give {counted:.6g}")
    return family


def _unpacked(rows: Sequence[bytes], n: int) -> NDArray[np.bool_]:
    """The bits of each seed, shape (seeds, n)."""
    for row in rows:
        if len(row) != (n + 7) // 8:
            raise ValueError(f"correct has {8 * len(row)} bits for {n} test pictures")
    packed = np.frombuffer(b"".join(rows), np.uint8).reshape(len(rows), (n + 7) // 8)
    bits = np.unpackbits(packed, axis=1).astype(np.bool_)
    if bits[:, n:].any():
        raise ValueError("correct has bits after the last test picture")
    return bits[:, :n]


def _values(data: Mapping[str, Any], seeds: int, n: int) -> NDArray[np.float64]:
    """The values of the pictures of another metric than accuracy, shape (seeds, n)."""
    rows = from_data(tuple[bytes, ...], data.get("values", ()))
    if len(rows) != seeds or any(len(row) != n * STORED.itemsize for row in rows):
        raise ValueError(f"values must be {n:,} numbers of every one of {seeds} seeds")
    content = b"".join(rows)
    if hashlib.sha256(content).hexdigest() != data.get("values_sha256"):
        raise ValueError("values do not match values_sha256")
    values = np.frombuffer(content, STORED).astype(np.float64).reshape(seeds, n)
    if not np.isfinite(values).all():
        raise ValueError("values must be finite")
    return values
