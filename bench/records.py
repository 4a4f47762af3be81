"""Records of a run as frozen dataclasses of plain data (Run, Study, Trial and their parts), and their codec.

`runs.store` writes and reads them; the report, the command line and `Run.leaderboard()` show them.
"""

from __future__ import annotations

import json
import math
import re
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from enum import StrEnum
from functools import cached_property
from html import escape
from pathlib import Path, PurePath
from statistics import fmean, stdev
from typing import TYPE_CHECKING, Any, Self, TypeVar
from urllib.parse import quote

import msgspec

from bench.config import RunConfig
from bench.errors import NewerSchemaError
from bench.hyperparameters import Value
from bench.metrics import metric

if TYPE_CHECKING:  # pandas is heavy, and only `leaderboard()` needs it
    import pandas

    from bench.metrics._metric import Metric

T = TypeVar("T")


class State(StrEnum):
    """State of a trial, in Optuna's words."""

    RUNNING = "RUNNING"
    COMPLETE = "COMPLETE"
    PRUNED = "PRUNED"
    FAIL = "FAIL"
    WAITING = "WAITING"


RUNNING, COMPLETE, PRUNED, FAIL, WAITING = State


class RunStatus(StrEnum):
    """Status of a run; "partial" was stopped before its budget was used, "failed" ended with a bug.

    KILLED is not recorded: a "running" run has it when its driver is gone.
    """

    RUNNING = "running"
    COMPLETE = "complete"
    PARTIAL = "partial"
    FAILED = "failed"
    KILLED = "stopped (killed)"


class Weights(StrEnum):
    """Initial weights of a backbone; MISSING are random ones, because pretrained ones were not available."""

    NONE = ""
    IMAGENET = "imagenet"
    RANDOM = "random"
    MISSING = "random (missing)"


class Ending(StrEnum):
    """Reason why a trial ended early without a failure.

    A COMPLETE trial with BUDGET or INTERRUPTED was cut: training ended early, with the model of its best epoch.
    """

    PRUNER = "pruner"
    BUDGET = "budget"
    INTERRUPTED = "interrupted"
    RECORD = "record"  # answered from another trial's record
    LIMIT = "limit"  # refused, see `Trial.limit`


class WordedEnum(StrEnum):
    """An enumeration whose members have `words` for people beside their value."""

    words: str

    def __new__(cls, value: str, words: str) -> Self:
        member = str.__new__(cls, value)
        member._value_, member.words = value, words
        return member


class Limit(WordedEnum):
    """A limit, named after the field of `Work`, `Cost` or `Forecast` that it limits; checked in this order.

    Its `words` are the unit.
    """

    PARAMETERS = "parameters", "parameters"
    MODEL_SIZE = "model_size_mb", "MB"
    LATENCY = "latency_ms", "ms"
    TIME = "time_s", "s"  # by the trial's share of the budget, not by a setting


class Origin(StrEnum):
    """Origin of a trial's configuration: one that the family's file lists, or a proposal of the engine."""

    KNOWN = "known"
    PROPOSED = "proposed"


class Corruption(WordedEnum):
    """A way in which test pictures are corrupted; its `words` name it. NONE leaves them as they are."""

    NONE = "none", "as they are"
    BLUR = "blur", "blur"
    JPEG = "jpeg", "JPEG"
    NOISE = "noise", "noise"
    BRIGHTNESS = "brightness", "brightness"


CORRUPTED = "corrupted"
"""The further test set of corrupted test pictures, which has a set for each corruption and strength."""

STRENGTHS = (1, 2, 3)

CORRUPTED_SETS: Mapping[str, tuple[Corruption, int]] = {f"{CORRUPTED}-{Corruption.NONE}": (Corruption.NONE, 0)} | {
    f"{CORRUPTED}-{corruption}-{strength}": (corruption, strength)
    for corruption in Corruption
    for strength in STRENGTHS
    if corruption is not Corruption.NONE
}
"""Corruption and strength of each of these sets; the first one has the same pictures as they are."""


class FailureKind(StrEnum):
    """Reason why a job has no result; ENVIRONMENT is a fault of pictures, cache or disk, which every trial meets."""

    EXCEPTION = "exception"
    OOM = "OOM"
    TOO_LARGE = "TooLarge"
    TIMEOUT = "TIMEOUT"
    SIGNAL = "signal"
    ENDED = "ProcessEnded"
    NON_FINITE = "NonFinite"
    INTERRUPTED = "Interrupted"
    BUDGET_SPENT = "BudgetSpent"
    ENVIRONMENT = "environment"


LEADERBOARD_COLUMNS = (
    "family engine trial state weights input_size val_accuracy test_accuracy test_accuracy_low test_accuracy_high "
    "train_time_s fit_time_s saved_time_s latency_ms parameters trainable_parameters macs model_size_mb peak_rss_mb "
    "val_accuracy_std seeds epochs ending"
).split()
"""The columns of a trial on the leaderboard, in order.

With folds, `val_accuracy` is their mean and `val_accuracy_std` their sample standard deviation; without folds the
latter is None. `test_accuracy` is the mean over `seeds` trainings; its interval includes the noise of seeds and test
pictures. `ending` is "budget" or "interrupted" if training ended early, after `epochs` epochs; else None.
"""

RANKED_COLUMNS = [
    *LEADERBOARD_COLUMNS,
    *"rank tied configuration val_balanced_accuracy test_balanced_accuracy recommended metric".split(),
]
"""The columns of `leaderboard.csv` and `Run.leaderboard()`, in order; new ones are added at the end.

After them come the `metric_columns` of the run's metrics; `metric` names the one that decides.

`rank` counts from 1, and families that the tests do not separate from all above them share one; None for a family that
is not ranked. `tied` is True for those that share the first rank. `configuration` has the hyperparameters by name.
`recommended` is True for the family to ship, which comes first.
"""


def metric_columns(names: Sequence[str]) -> list[str]:
    """The columns of metrics other than the accuracy: `val_NAME test_NAME test_NAME_low test_NAME_high` for each."""
    patterns = ("val_{}", "test_{}", "test_{}_low", "test_{}_high")
    return [pattern.format(name) for name in names if name != "accuracy" for pattern in patterns]


BY_CLASS_COLUMNS = (
    "family class support recall recall_low recall_high precision precision_low precision_high f1 f1_low f1_high"
).split()
"""The columns of `Run.by_class()`, in order; `support` is the number of test pictures of the class."""


@dataclass(frozen=True)
class Estimate:
    """Value of a metric on one part of the split.

    Attributes:
        low, high: 95 % interval (test part only); None without one.
        standard_error: Standard error of the pictures, or of their groups; None if it was not computed.
    """

    value: float
    low: float | None = None
    high: float | None = None
    standard_error: float | None = None


@dataclass(frozen=True)
class Metrics:
    """Quality of a model on one part of the split.

    Attributes:
        accuracy: Share of pictures whose most probable class is the true one.
        balanced_accuracy: Mean over classes of the recall.
        roc_auc: Area under the ROC curve; with more than two classes the macro average of one class against the rest;
            None if it is undefined (a single class in the part).
        log_loss: Mean negative log-likelihood in nats, with probabilities clipped to the resolution of float32.
        brier: Mean over pictures of the squared distance to the one-hot label, 0 to 2, halved for two classes
            (Brier, 1950).
        accuracy_low, accuracy_high: 95 % Wilson interval of `accuracy` (test part only).
        estimates: The run's metrics other than the accuracy, by name.
    """

    n: int
    accuracy: float
    balanced_accuracy: float
    roc_auc: float | None
    log_loss: float
    brier: float
    accuracy_low: float | None = None
    accuracy_high: float | None = None
    estimates: Mapping[str, Estimate] = field(default_factory=dict)

    def of(self, name: str) -> Estimate:
        """The value of one of the run's metrics, or of another one that is a field, then without an interval."""
        from bench.stats import standard_error

        if name == "accuracy":
            error = standard_error(self.accuracy, self.n) if self.n else None
            return Estimate(self.accuracy, self.accuracy_low, self.accuracy_high, error)
        return self.estimates[name] if name in self.estimates else Estimate(getattr(self, name))

    @classmethod
    def mean(cls, folds: Sequence[Metrics]) -> Metrics:
        """The mean of every metric over one or more folds with equal weight, and the total number of pictures.

        `roc_auc` is the mean over the folds in which it is defined.
        """
        areas = [fold.roc_auc for fold in folds if fold.roc_auc is not None]
        return cls(
            n=sum(fold.n for fold in folds),
            accuracy=fmean(fold.accuracy for fold in folds),
            balanced_accuracy=fmean(fold.balanced_accuracy for fold in folds),
            roc_auc=fmean(areas) if areas else None,
            log_loss=fmean(fold.log_loss for fold in folds),
            brier=fmean(fold.brier for fold in folds),
            estimates={name: _mean([fold.estimates[name] for fold in folds]) for name in folds[0].estimates},
        )


def _mean(folds: Sequence[Estimate]) -> Estimate:
    errors = [fold.standard_error or 0.0 for fold in folds]
    return Estimate(fmean(fold.value for fold in folds), standard_error=math.hypot(*errors) / len(folds))


@dataclass(frozen=True)
class Epoch:
    """One epoch of training; `loss` is the optimizer's loss, averaged over the epoch's batches.

    `phase` is "head" while only the head is trained and "fine-tuning" afterwards; "" with one phase. Epochs are counted
    through both phases. `time_s` is the time of the epoch with validation; `step_time_s` is the mean time of its
    training steps, `step_cpu_s` their mean CPU time over all cores, without waiting, and `val_time_s` the time of the
    validation; these three are None in older records. `value` is the run's metric, None for the accuracy.
    """

    epoch: int
    loss: float
    accuracy: float | None
    val_loss: float
    val_accuracy: float
    time_s: float
    phase: str = ""
    step_time_s: float | None = None
    step_cpu_s: float | None = None
    val_time_s: float | None = None
    value: float | None = None

    @property
    def measured(self) -> float:
        """The run's metric on the validation pictures."""
        return self.val_accuracy if self.value is None else self.value


def steady(history: Sequence[Epoch]) -> tuple[Epoch, ...]:
    """The epochs whose steps were timed in steady state: those of the last phase except its first.

    The first epoch of a phase includes the tracing of its graph.
    """
    last = [epoch for epoch in history if epoch.phase == history[-1].phase]
    return tuple(epoch for epoch in last[1:] if epoch.step_time_s is not None)


@dataclass(frozen=True)
class Prefix:
    """The frozen part of a trial's model in one phase of its training.

    Attributes:
        used: True if the model was trained on the features, which are computed once; else it was trained end to end.
        cut: The layers whose outputs are the features.
        features: Number of values per view of a picture.
        views: Number of views of every training picture: 1, 2 with flips, more with other augmentation.
        disk_mb: Size of the features on disk, for training and validation pictures, 10**6 bytes.
        cached: Share of the features that was already in the cache, 0 to 1.
    """

    phase: str = ""
    used: bool = False
    reason: str = ""
    cut: tuple[str, ...] = ()
    features: int = 0
    views: int = 1
    dtype: str = ""
    disk_mb: float = 0.0
    cached: float = 0.0


@dataclass(frozen=True)
class Cost:
    """Cost of training and using a trial's model; with folds, `fit_time_s` and `train_time_s` are means over them.

    Attributes:
        fit_time_s: Seconds for training steps and validation, including tracing.
        features_time_s: Seconds for computing the features of the frozen layers, measured by the trial that did it.
        train_time_s: Seconds that the trial would take alone, with an empty cache: `fit_time_s` + `features_time_s`.
        saved_time_s: Seconds of `train_time_s` that the feature cache saved.
        total_time_s: Seconds from start to end of the trial, including all folds, building and measuring.
        latency_ms: Median milliseconds for one picture, in a batch of one.
        parameters: What is learned and stays in the model (`training.footprint.learned`); None if it cannot be counted.
        macs: Multiply-accumulate operations for one picture.
        model_size_mb: Size of the parameters in memory, 10**6 bytes.
        peak_rss_mb: Peak resident memory of the trial's process, 10**6 bytes, including TensorFlow.
    """

    fit_time_s: float
    train_time_s: float
    features_time_s: float = 0.0
    saved_time_s: float = 0.0
    total_time_s: float = 0.0
    latency_ms: float | None = None
    parameters: int | None = None
    trainable_parameters: int | None = None
    macs: int | None = None
    model_size_mb: float | None = None
    peak_rss_mb: float = 0.0
    cores: int = 0


@dataclass(frozen=True)
class PhaseWork:
    """Computations of one phase of a training, counted from the model.

    Attributes:
        epochs: Maximum number of epochs.
        macs: Multiply-accumulates for one picture in a forward pass of the trained model: of the tail behind the
            features, or of the whole model without features.
        prefix_macs: Multiply-accumulates for the features of one view of a picture; 0 without features.
        views: Number of views of every training picture.
        cached: Share of the features that is in the cache, 0 to 1.
        row_bytes: Size of the features of one view.
        memory_mb: Memory for parameters, gradients and activations of a batch, 10**6 bytes.
    """

    epochs: int
    macs: int
    prefix_macs: int = 0
    views: int = 1
    cached: float = 0.0
    row_bytes: int = 0
    memory_mb: float = 0.0


@dataclass(frozen=True)
class Work:
    """Size of a configuration's model and the computations for training it, counted after its build.

    Attributes:
        macs: Multiply-accumulates for one picture.
        model_size_mb: Size of the parameters in memory, 10**6 bytes.
        phases: Phases of its training; empty for a model that is not trained in epochs.
        latency_ms: Milliseconds for one picture, in a batch of one; None unless it is limited.
    """

    parameters: int = 0
    trainable_parameters: int = 0
    macs: int = 0
    model_size_mb: float = 0.0
    batch_size: int = 1
    input_size: int | None = None
    phases: tuple[PhaseWork, ...] = ()
    latency_ms: float | None = None

    def with_cached(self, *shares: float) -> Work:
        """The same work with these shares of the features in the cache, of each phase or the same of all.

        A phase without features stays at 0.
        """
        if len(shares) == 1:
            shares *= len(self.phases)
        phases = (
            replace(phase, cached=share if phase.prefix_macs else 0.0)
            for phase, share in zip(self.phases, shares, strict=True)
        )
        return replace(self, phases=tuple(phases))


def limits(config: RunConfig) -> dict[Limit, float]:
    """The limits that are set."""
    values = {
        Limit.PARAMETERS: config.max_parameters,
        Limit.MODEL_SIZE: config.max_model_mb,
        Limit.LATENCY: config.max_latency_ms,
    }
    return {limit: value for limit, value in values.items() if value is not None}


def exceeded(limits: Mapping[Limit, float], model: Work | Cost) -> Limit | None:
    """The first limit that a model exceeds; None within all. What is not known exceeds none."""
    return next((limit for limit in Limit if limit in limits and (getattr(model, limit) or 0) > limits[limit]), None)


@dataclass(frozen=True)
class Speed:
    """Speed of a family's default configuration on this machine, measured in its dry run.

    Attributes:
        build_s: Seconds for building it.
        predict_s: Seconds that a prediction takes for each further picture.
        work: Its computations.
        cores: Number of CPU cores; 0 for as many as a trial has.
    """

    build_s: float
    predict_s: float
    work: Work
    cores: int = 0


@dataclass(frozen=True)
class Forecast:
    """Predicted cost of a trial, made before its training; `low_s` to `high_s` is a 90 % interval of `time_s`.

    Attributes:
        time_s: Seconds from its start to its end, with the features that are in the cache.
        cold_s: The same with an empty feature cache.
        first_epoch_s: Seconds from its start to the end of its first epoch.
        memory_mb: Peak resident memory of its process, 10**6 bytes.
        disk_mb: Features that it adds to the cache, 10**6 bytes.
    """

    time_s: float
    low_s: float
    high_s: float
    cold_s: float
    first_epoch_s: float
    memory_mb: float
    disk_mb: float


@dataclass(frozen=True)
class Repeat:
    """The chosen configuration, trained again with another seed and scored on the test pictures.

    Attributes:
        number: From 1; the seed is the run's plus this number.
        step_time_s, step_cpu_s: Times of its training steps (see `Epoch`), one value per `steady` epoch.
    """

    number: int
    test: Metrics
    step_time_s: tuple[float, ...] = ()
    step_cpu_s: tuple[float, ...] = ()

    @classmethod
    def of(cls, number: int, test: Metrics, history: Sequence[Epoch]) -> Repeat:
        """The repeat with the step times of these epochs."""
        timed = steady(history)
        clock = tuple(epoch.step_time_s or 0.0 for epoch in timed)
        cpu = tuple(epoch.step_cpu_s or 0.0 for epoch in timed)
        return cls(number, test, clock, cpu)


@dataclass(frozen=True)
class OverSeeds:
    """The run's metric on the test pictures, for one configuration over several seeds, including the run's own.

    Attributes:
        low, high: 95 % interval, which includes the noise of test pictures and seeds (`stats.over_seeds`).
        sd: Sample standard deviation over the seeds.
    """

    seeds: int
    value: float
    low: float
    high: float
    sd: float


_VARYING = re.compile(r"""'[^']*'|"[^"]*"|\S*/\S*|0x[0-9a-f]+|[\d.,]+""")


@dataclass(frozen=True)
class Failure:
    """The reason why a job has no result.

    Attributes:
        traceback: End of the traceback or of the process's output.
        error: Class of the exception or name of the signal; "" for other kinds.
        path, line: Position in the family's file, or in one beside it, if code there raised the exception or called
            what did; else empty. Older records have them for a `SpaceError` only.
    """

    kind: FailureKind
    message: str
    traceback: str = ""
    error: str = ""
    path: str = ""
    line: int = 0

    @property
    def place(self) -> str:
        """Its position: `search_spaces/mine.py:12`; "" if unknown."""
        path = PurePath(self.path)
        return f"{path.parent.name}/{path.name}:{self.line}".removeprefix("/") if self.path else ""

    @property
    def name(self) -> str:
        """The exception's class, the signal's name, or the kind."""
        return self.error or self.kind.value

    @property
    def shape(self) -> str:
        """The name and the message without numbers, names in quotes and paths, which differ between alike failures."""
        return f"{self.name}: {_VARYING.sub('…', self.message)}"


@dataclass(frozen=True)
class Trial:
    """One configuration, built, trained and scored.

    Attributes:
        family, engine, number: Its study and its number there.
        order: Its number in the run over all studies, from 1; 0 if it was answered from the record.
        origin: Whether the engine proposed it.
        duplicate_of: Name of the trial whose record answered this one; "" if it was trained.
        counted: True if it used budget (an answer from the same study's record does not).
        started_s, finished_s: Monotonic seconds since the run's start.
        charged_s: Its engine's clock when the trial ended: seconds of the engine's search, and those charged for work
            of other engines. None in older records and while the trial is running.
        value: The metric on the validation pictures, reported to the engine (best epoch; with folds, their mean).
        validation, test: Metrics; `test` only for the chosen trial of a family.
        folds: Validation metrics of every fold, with mean `validation`; empty without folds.
        best_epochs: For each phase, the mean over folds of the best epoch; the chosen trial is trained this long on all
            folds together. Empty without folds, or without training in epochs.
        over_seeds: Test result over all its seeds; None with one seed, or if their predictions are missing.
        also: Metrics of its model on further test sets, by `FurtherSet.names`; only for the chosen trial of a family.
        history: Every epoch of the training; with folds, of the first one.
        prefixes: The frozen layers by phase; with folds, of the first one. Empty without training in epochs.
        intermediate_values: The metric of the validation by epoch, of the first fold; also while the trial is running.
        planned_epochs: Maximum number of epochs over all phases; None in older records and without epochs.
        ending: Reason why it ended early; None if it was trained to its end or failed.
        limit: The limit that its model exceeds. It was refused after its build, or after training if the figure was not
            known before.
        worker: Number of the worker that trained it, from 0; None in older records and before training.
        work: Computations of its training; None in older records and before its model is built.
        forecast: Forecast of its cost; None if there was none.
        fitted: Changes to a known configuration that fit it to its family's share of the budget, in words.
        model_sha256: Hash of its model's file, if it was its family's best when it ended; "" without a file, None in
            older records.
        halved: True if memory ran out, and it was trained again with half the batch size.
        metric: The run's metric, by which it is chosen.
    """

    family: str
    engine: str
    number: int
    order: int
    state: State
    params: Mapping[str, Value] = field(default_factory=dict)
    origin: Origin = Origin.PROPOSED
    duplicate_of: str = ""
    counted: bool = True
    started_s: float = 0.0
    finished_s: float | None = None
    charged_s: float | None = None
    value: float | None = None
    validation: Metrics | None = None
    test: Metrics | None = None
    folds: tuple[Metrics, ...] = ()
    best_epochs: tuple[int, ...] = ()
    repeats: tuple[Repeat, ...] = ()
    over_seeds: OverSeeds | None = None
    also: Mapping[str, Metrics] = field(default_factory=dict)
    cost: Cost | None = None
    history: tuple[Epoch, ...] = ()
    prefixes: tuple[Prefix, ...] = ()
    intermediate_values: Mapping[int, float] = field(default_factory=dict)
    input_size: int | None = None
    weights: Weights = Weights.NONE
    seed: int | None = None
    max_epochs: int | None = None
    planned_epochs: int | None = None
    failure: Failure | None = None
    ending: Ending | None = None
    limit: Limit | None = None
    worker: int | None = None
    work: Work | None = None
    forecast: Forecast | None = None
    fitted: str = ""
    model_sha256: str | None = None
    halved: bool = False
    metric: str = "accuracy"

    @property
    def study(self) -> str:
        """Name of its study, `family/engine`."""
        return study_name(self.engine, self.family)

    @property
    def name(self) -> str:
        """Its name for users: `family/engine#number`."""
        return f"{self.study}#{self.number}"

    @property
    def known(self) -> bool:
        """True for a known configuration."""
        return self.origin is Origin.KNOWN

    @property
    def took_s(self) -> float:
        """Seconds from its start to its end; 0 while it is running."""
        return 0.0 if self.finished_s is None else max(0.0, self.finished_s - self.started_s)

    @property
    def saved_s(self) -> float:
        """Seconds that the feature cache saved, over all folds."""
        return self.cost.saved_time_s * max(1, len(self.folds)) if self.cost else 0.0

    @property
    def cold_s(self) -> float:
        """Seconds that it would take with an empty feature cache, including all folds, building and measuring."""
        return self.cost.total_time_s + self.saved_s if self.cost else self.took_s

    @property
    def note(self) -> str:
        """Deviations from the usual course, as phrases, e.g. the reason why it ended early."""
        halved = "half the batch size, since memory ran out" if self.halved else ""
        return "; ".join(filter(None, (self.fitted, halved, self._ended_early)))

    @property
    def _ended_early(self) -> str:
        limit = "share of the budget" if self.limit is Limit.TIME else "limit"
        where = f" after epoch {self.epochs} of {self.planned_epochs}" if self.cut else ""
        return {
            None: "",
            Ending.PRUNER: "stopped by the pruner",
            Ending.BUDGET: f"stopped by the {'' if self.cut else 'time '}budget{where}",
            Ending.INTERRUPTED: f"stopped by Ctrl-C{where}",
            Ending.RECORD: f"answered from the record of {self.duplicate_of}",
            Ending.LIMIT: f"refused: {self.limited_figure} above the {limit}",
        }[self.ending]

    @property
    def limited_figure(self) -> str:
        """The figure that exceeds the limit, with its unit; "" without one."""
        limited = self.forecast if self.limit is Limit.TIME else self.cost or self.work
        figure = getattr(limited, self.limit, None) if self.limit else None
        if self.limit is None or figure is None:
            return ""
        return f"{figure:,} {self.limit.words}" if isinstance(figure, int) else f"{figure:.4g} {self.limit.words}"

    @property
    def interrupted(self) -> bool:
        """True if a signal ended it early, so that a resumed run trains it again."""
        return self.ending is Ending.INTERRUPTED or bool(self.failure and self.failure.kind is FailureKind.INTERRUPTED)

    @property
    def cut(self) -> bool:
        """True if its training ended early with the model of its best epoch."""
        return self.state == COMPLETE and self.ending in (Ending.BUDGET, Ending.INTERRUPTED)

    @property
    def epochs(self) -> int:
        """Number of trained epochs; with folds, of the first one."""
        return len(self.history) or len(self.intermediate_values)

    @property
    def spread(self) -> float | None:
        """Sample standard deviation of the folds' validation results; None with fewer than two."""
        return _spread([fold.of(self.metric).value for fold in self.folds])

    def quality(self, value: float | None) -> float:
        """A value of its metric as a figure that is better the higher it is, 1 at best; minus infinity for None."""
        return -math.inf if value is None else metric(self.metric).quality(value)

    @property
    def test_value(self) -> float | None:
        """The metric on the test pictures, for ranking (the mean of several seeds); None if it was not scored."""
        if self.over_seeds:
            return self.over_seeds.value
        return self.test.of(self.metric).value if self.test else None

    @property
    def test_accuracy(self) -> float | None:
        """Accuracy on the test pictures (the mean of several seeds); None if it was not scored."""
        if self.metric == "accuracy" or self.test is None:
            return self.test_value
        return fmean(one.accuracy for one in (self.test, *(repeat.test for repeat in self.repeats)))

    @property
    def test_interval(self) -> tuple[float | None, float | None]:
        """95 % interval of `test_value`; with several seeds it includes their noise; twice None without one.

        Older records have no interval: it is Wilson's.
        """
        if self.over_seeds:
            return self.over_seeds.low, self.over_seeds.high
        if self.test is None:
            return None, None
        test = self.test.of(self.metric)
        if self.metric == "accuracy" and (test.low is None or test.high is None):
            from bench.stats import wilson

            return wilson(round(test.value * self.test.n), self.test.n)
        return test.low, test.high

    @property
    def test_with_interval(self) -> tuple[float | None, float | None, float | None]:
        """`test_value` and the bounds of `test_interval`."""
        return self.test_value, *self.test_interval

    @property
    def rank_key(self) -> tuple[float, float, int]:
        """Sort key, best first: the metric of the validation, then its log loss, then the order."""
        loss = self.validation.log_loss if self.validation else float("inf")
        return (-self.quality(self.value), loss, self.order)


@dataclass(frozen=True)
class Study:
    """One engine on one family within a run.

    Attributes:
        importance: Share of each hyperparameter in the variance of the validation accuracy (PED-ANOVA), largest first;
            empty with too few trials.
        dropped: Reason why the allocation gave it no more trials; "" if it could get more until the end.
        dropped_s: Seconds since the run's start at which that was decided.
    """

    family: str
    engine: str
    trials: tuple[Trial, ...] = ()
    exhausted: bool = False
    dropped: str = ""
    dropped_s: float | None = None
    importance: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class FamilyInfo:
    """Facts about a family that are known before training.

    Attributes:
        name: Stem of its file.
        skipped: Reason why it is not trained; "" if it is.
        configurations: Number of distinct configurations; None if they are not countable.
        sha256: Hash of its file and the shared parts next to it; "" in older records.
        learns: False for a baseline, which sees no pictures or ignores them; see `training.estimators.can_learn`.
    """

    name: str
    title: str = ""
    weights: Weights = Weights.NONE
    skipped: str = ""
    configurations: int | None = None
    sha256: str = ""
    learns: bool = True


@dataclass(frozen=True, kw_only=True)
class SearchPlan:
    """Division of every engine's budget, decided before the search.

    Attributes:
        trials, seconds: Budget of each engine; None where it has no such limit.
        known: Number of known configurations that come first.
        families: Number of families to search, including baselines.
        baselines: Families that cannot learn and get one trial each; empty if there are no others.
        only_known: True if no engine proposes anything.
        allocation: One of `config.ALLOCATIONS`.
        order: Names of the families in the order in which a small budget is spent; empty in older records.
    """

    engines: tuple[str, ...]
    trials: int | None
    seconds: float | None
    known: int
    families: int
    baselines: tuple[str, ...] = ()
    only_known: bool = False
    allocation: str = "even"
    order: tuple[str, ...] = ()

    @property
    def proposals(self) -> int | None:
        """Number of configurations that each engine proposes; None if only time limits them."""
        return None if self.trials is None else self.trials - self.known


@dataclass(frozen=True)
class Screening:
    """Estimate of a family's validation accuracy on a sample of pictures, before its trials.

    Attributes:
        backbone: The frozen backbone, e.g. `MobileNetV2(alpha=0.35)`; "" if the family has no pretrained one.
        accuracy: Cross-validated share of the sample that a linear classifier on the backbone's features classifies
            correctly; None without an estimate, and `reason` says why.
        low, high: 95 % Wilson interval of `accuracy`.
        n: Number of pictures in the sample.
        time_s: Seconds of the whole job, including building the backbone.
        seconds_per_picture: Seconds for computing the features of a picture, with an empty cache.
        trial_s: Forecast seconds of a trial of the screened configuration; None if unknown.
        value: Estimate of the run's metric; None if it is the accuracy, and without an estimate.
    """

    family: str = ""
    backbone: str = ""
    input_size: int | None = None
    accuracy: float | None = None
    low: float = 0.0
    high: float = 1.0
    n: int = 0
    time_s: float = 0.0
    seconds_per_picture: float = 0.0
    trial_s: float | None = None
    reason: str = ""
    value: float | None = None

    @property
    def measured(self) -> float | None:
        """Estimate of the run's metric; None without an estimate."""
        return self.accuracy if self.value is None else self.value


class FeatureKind(WordedEnum):
    """Kind of features in a picture's metadata; its `words` name them."""

    FILE = "file", "file format and size"
    COMPRESSION = "compression", "JPEG compression and camera"
    LIGHT = "light", "brightness, sharpness and border colour"
    ALL = "all", "all metadata (file, compression, camera, light and border)"


@dataclass(frozen=True)
class Shortcuts:
    """Test of the data for shortcuts: answers of a classifier that sees the pictures' metadata, but not the pictures.

    Attributes:
        n: Number of test pictures: all, or the first of them in the order of the split.
        constant: Number of these that the best constant answer gets right.
        right: A bit for each picture, set if the answer is right, packed into bytes; by the kind of features that the
            classifier was limited to.
    """

    n: int = 0
    constant: int = 0
    right: Mapping[FeatureKind, bytes] = field(default_factory=dict)


@dataclass(frozen=True)
class CurvePoint:
    """Validation accuracy with a number of training pictures.

    Attributes:
        pictures: Number of training pictures.
        accuracy: Mean of the trainings, or that of the fitted curve.
        low, high: Lowest and highest of the trainings; for the fitted curve a 95 % interval of one training.
    """

    pictures: int
    accuracy: float
    low: float
    high: float


@dataclass(frozen=True)
class SampleCurve:
    """Accuracy of a configuration by the number of training pictures, measured and extrapolated.

    Attributes:
        trial: Name of its trial: the chosen one of the family, or one that is trained in less time.
        validation: Number of validation pictures; with folds, those of the first one.
        measured: Trainings on samples of the training pictures, the smallest first.
        fitted: Fitted curve at the same numbers, and at twice and four times as many as there are.
        more: Number of further pictures whose worth is estimated.
        gain: Rise of the accuracy from them, by the fitted curve; `gain_low` to `gain_high` is a 95 % interval.
        reason: Reason why there is no curve; else "".
    """

    family: str
    trial: str
    validation: int = 0
    measured: tuple[CurvePoint, ...] = ()
    fitted: tuple[CurvePoint, ...] = ()
    more: int = 0
    gain: float = 0.0
    gain_low: float = 0.0
    gain_high: float = 0.0
    reason: str = ""


@dataclass(frozen=True)
class PictureSizes:
    """The smallest, the median and the largest picture by area, each as (width, height) in pixels."""

    smallest: tuple[int, int]
    median: tuple[int, int]
    largest: tuple[int, int]


class LeftOutKind(WordedEnum):
    """Reason why a picture is not used, with a description in `words`."""

    EMPTY = "empty", "empty file (0 bytes)"
    DAMAGED = "damaged", "cannot be decoded"
    UNREADABLE = "unreadable", "cannot be read"
    TOO_LARGE = "too_large", "too many pixels"
    UNKNOWN_FORMAT = "unknown_format", "not a picture of a known format"
    DUPLICATE = "duplicate", "the same content as another picture"
    LEAKED_DUPLICATE = "leaked_duplicate", "the same content as a picture in another part"
    LEAKED_NEAR_DUPLICATE = "leaked_near_duplicate", "nearly the same as a picture in another part"
    LEAKED_GROUP = "leaked_group", "of the same group as a picture in another part"
    CONTRADICTING_LABELS = "contradicting_labels", "the same content under several labels"
    LINK = "link", "link, not followed"
    NOT_A_FILE = "not_a_file", "not a regular file"
    MASK = "mask", "mask of a picture"
    LFS_POINTER = "lfs_pointer", "Git LFS pointer"
    ANNEX_POINTER = "annex_pointer", "git-annex pointer"
    TABLE_ROW = "table_row", "row of the table that cannot be used"
    OTHER = "other", "another reason"

    @property
    def is_leak(self) -> bool:
        """True for a picture that is in two ready-made parts."""
        return self in (LeftOutKind.LEAKED_DUPLICATE, LeftOutKind.LEAKED_NEAR_DUPLICATE, LeftOutKind.LEAKED_GROUP)

    @property
    def download(self) -> str:
        """The command that downloads the picture of a pointer; "" for other kinds."""
        return {LeftOutKind.LFS_POINTER: "git lfs pull", LeftOutKind.ANNEX_POINTER: "git annex get"}.get(self, "")

    def reason(self, detail: str) -> str:
        """The kind and the detail of a picture, in words."""
        return f"{self.words}: {detail}" if detail else self.words


@dataclass(frozen=True)
class LeftOut:
    """A picture that is not used.

    Attributes:
        id: Its path relative to the source.
        detail: Detail of the reason, e.g. the decoder's message or the id of the equal picture.
        label: Its class; "" if unknown.
    """

    id: str
    kind: LeftOutKind
    detail: str = ""
    label: str = ""

    @property
    def reason(self) -> str:
        """Kind and detail in words."""
        return self.kind.reason(self.detail)


@dataclass(frozen=True)
class SuggestedGroups:
    """Groups that names suggest, see `data.groups`.

    Attributes:
        pattern: Value for `--group-by`.
        groups, pictures: Number of groups, and of all pictures.
        examples: Ids of some pictures of one group.
        parts: Number of groups in each part of the split that would follow; empty if there is none.
    """

    pattern: str
    groups: int
    pictures: int
    examples: tuple[str, ...]
    parts: Mapping[str, int] = field(default_factory=dict)


class Change(StrEnum):
    """Change between two pictures that show the same."""

    MIRRORED = "mirrored"
    TURNED = "turned"
    CROPPED = "cropped"
    BRIGHTENED = "brightened"


@dataclass(frozen=True, kw_only=True)
class AuditFindings:
    """Findings of an audit of pictures.

    Attributes:
        ignored: Number of files that are not meant to be pictures, by reason.
        noticed: Number of pictures that decoding corrected, by oddity.
        alike: Groups of near duplicates, by id.
        changes: Changes between the pictures of each such group; none if they are nearly identical.
        contradicting: The groups among these that have several labels, other than turned and mirrored copies.
        sizes: Smallest, median and largest picture; None if they were not measured.
        levels: Lowest level and number of bits of the pictures of more than 8 bits; None without any.
        suggested: Groups that the names suggest; None if groups are given, or none are found.
        guesses: Notes on the layout: what was guessed, each in one line with the way to decide otherwise.
        available: Number of usable pictures, of which `--limit` draws a sample; 0 in older records.
    """

    quarantined: tuple[LeftOut, ...] = ()
    ignored: Mapping[str, int] = field(default_factory=dict)
    noticed: Mapping[str, int] = field(default_factory=dict)
    alike: tuple[tuple[str, ...], ...] = ()
    changes: tuple[tuple[Change, ...], ...] = ()
    contradicting: tuple[tuple[str, ...], ...] = ()
    sizes: PictureSizes | None = None
    levels: tuple[int, int] | None = None
    suggested: SuggestedGroups | None = None
    guesses: tuple[str, ...] = ()
    available: int = 0

    def findings(self) -> dict[str, Any]:
        """Only these fields, as keyword arguments."""
        return {finding.name: getattr(self, finding.name) for finding in fields(AuditFindings)}


BALANCED_RATIO = 3
"""Largest ratio of two classes' training pictures that counts as balanced."""


@dataclass(frozen=True)
class SplitInfo(AuditFindings):
    """The common split in numbers, and the findings of the audit of the pictures.

    Attributes:
        counts: Number of pictures by part and class.
        sha256: Hash of parts, classes and contents.
        input_sizes: Suitable input sizes in pixels.
        folds: Number of folds of the training part; 0 with a validation part.
        groups: Number of groups by part; empty if no groups are given.
    """

    source: str
    classes: tuple[str, ...]
    counts: Mapping[str, Mapping[str, int]]
    sha256: str
    input_sizes: tuple[int, ...] = ()
    folds: int = 0
    groups: Mapping[str, int] = field(default_factory=dict)

    def n(self, part: str) -> int:
        """Number of pictures in a part ("train", "validation" or "test")."""
        return sum(self.counts.get(part, {}).values())

    @property
    def imbalance(self) -> float:
        """Training pictures of the largest class by those of the smallest one that has any; 1 without any."""
        counts = [count for count in self.counts.get("train", {}).values() if count]
        return max(counts) / min(counts) if counts else 1.0

    @property
    def unbalanced(self) -> bool:
        """True if a class has more than `BALANCED_RATIO` times the training pictures of another."""
        return self.imbalance > BALANCED_RATIO


@dataclass(frozen=True)
class FurtherSet:
    """A further test set (`--also-test`), on which the chosen models are scored after the search.

    Attributes:
        name: Its name in the records and in names of files; CORRUPTED for the run's test pictures, corrupted.
        source: Its name in the setting.
        n: Number of its pictures.
        trained: Number of pictures that are left out, because they are also in the run's training or validation part.
        left_out: Number of the other pictures that are left out, by kind, the most frequent first.
        notes: Differences between its classes and those of the run, one line each.
    """

    name: str
    source: str
    n: int
    trained: int = 0
    left_out: Mapping[LeftOutKind, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """Its name, or for corrupted pictures those of `CORRUPTED_SETS`."""
        return tuple(CORRUPTED_SETS) if self.name == CORRUPTED else (self.name,)


@dataclass(frozen=True, kw_only=True)
class RunHeader:
    """A run without its trials.

    Attributes:
        config: Settings of the run.
        environment: Versions, hardware, git commits.
        command: Command line that repeats it.
        started_in: Working folder of that command, relative to the run's; "" in older records.
        elapsed_s: Monotonic seconds so far.
        notes: Notes for readers of the run.
        plan: Division of the budget; None in older records and before the search.
        screenings: Estimates before the search, in the order in which they were made; empty without a time budget.
        shortcuts: Test of the data for shortcuts; None in older records, and if it was not completed.
        sample_curves: Worth of more pictures for the two best families; empty before the end and in older records.
        further: Further test sets, in the order of the setting.
    """

    status: RunStatus
    created_utc: str
    config: RunConfig
    environment: Mapping[str, Any]
    split: SplitInfo
    families: tuple[FamilyInfo, ...]
    command: str = ""
    started_in: str = ""
    elapsed_s: float = 0.0
    notes: tuple[str, ...] = ()
    plan: SearchPlan | None = None
    screenings: tuple[Screening, ...] = ()
    shortcuts: Shortcuts | None = None
    sample_curves: tuple[SampleCurve, ...] = ()
    further: tuple[FurtherSet, ...] = ()

    def header(self) -> dict[str, Any]:
        """Only these fields, as keyword arguments."""
        return {entry.name: getattr(self, entry.name) for entry in fields(RunHeader)}


@dataclass(frozen=True, kw_only=True)
class Run(RunHeader):
    """One invocation: data, split, families, engines, budget, seed, environment, and every trial.

    Attributes:
        storage: URL of the shared storage that it was read from, with its password; never written.
    """

    path: Path
    studies: tuple[Study, ...]
    storage: str = field(default="", repr=False, compare=False)

    @property
    def manifest(self) -> Path:
        return self.path / "split.json"

    @property
    def working_folder(self) -> Path:
        """Folder that relative paths of its settings start from; this one if that is unknown or no longer there."""
        folder = (self.path.resolve() / self.started_in).resolve()
        return folder if self.started_in and folder.is_dir() else Path()

    def model(self, family: str) -> Path:
        return self.path / "models" / f"{family}.keras"

    @cached_property
    def metrics(self) -> tuple[Metric, ...]:
        """The run's metrics; the first one decides."""
        return tuple(metric(name, self.split.classes, self.config.costs) for name in self.config.metric)

    @property
    def metric(self) -> Metric:
        """The metric by which trials are chosen and ranked."""
        return self.metrics[0]

    @cached_property
    def baselines(self) -> frozenset[str]:
        """Families that cannot learn from pictures, which are measures and no candidates; empty without others."""
        baselines = frozenset(family.name for family in self.families if not family.learns)
        return baselines if len(baselines) < len(self.families) else frozenset()

    @cached_property
    def trials(self) -> tuple[Trial, ...]:
        """Every trial of every study, in start order."""
        trials = [trial for study in self.studies for trial in study.trials]
        return tuple(sorted(trials, key=lambda trial: (trial.started_s, trial.study, trial.number)))

    def commits(self) -> dict[str, str]:
        """Git commits of the suite, `git_commit`, and of the project, `project_commit`; "" outside git.

        Older records have only the commit of the folder in which the run was started, that of the project.
        """
        commits = {name: str(self.environment.get(name) or "") for name in ("git_commit", "project_commit")}
        return commits if "project_commit" in self.environment else {"project_commit": commits["git_commit"]}

    @property
    def commit(self) -> str:
        """The commit that differs between the runs of a project: that of the project, else that of the suite."""
        return self.commits()["project_commit"] or self.commits().get("git_commit", "")

    def best(self, family: str) -> Trial | None:
        """The family's chosen trial: best validation result over all engines, ties broken by log loss."""
        complete = [trial for trial in self.trials if trial.family == family and trial.state == COMPLETE]
        originals = [trial for trial in complete if not trial.duplicate_of]
        return min(originals, key=lambda trial: trial.rank_key, default=None)

    def ranking(self) -> list[Trial]:
        """The chosen trial of every family that has one, best first: by the test result, else by the validation's.

        The `baselines` come last, whatever they reach.
        """

        def key(trial: Trial) -> tuple[bool, float, tuple[float, float, int]]:
            return trial.family in self.baselines, -trial.quality(trial.test_value), trial.rank_key

        return sorted((trial for family in self.families if (trial := self.best(family.name))), key=key)

    def screening(self, family: str) -> Screening | None:
        """The family's highest estimate; without one, the first reason; None if it was not screened."""
        screenings = [screening for screening in self.screenings if screening.family == family]

        def key(screening: Screening) -> float:
            return -math.inf if screening.measured is None else self.metric.quality(screening.measured)

        return max(screenings, key=key, default=None)

    def failed_families(self) -> list[str]:
        """Families that were tried and have no complete trial, not only because of a limit."""
        tried = {trial.family for trial in self.trials if trial.state in (FAIL, PRUNED) and not trial.limit}
        return [family.name for family in self.families if family.name in tried and self.best(family.name) is None]

    def leaderboard(self) -> pandas.DataFrame:
        """The leaderboard as data, one row per family, best first, with `ranked_columns`."""
        import pandas

        from bench import leaderboard

        whole = dict.fromkeys(("rank", "parameters", "trainable_parameters", "macs"), "Int64")
        return pandas.DataFrame(leaderboard(self), columns=self.ranked_columns).astype(whole)

    @property
    def ranked_columns(self) -> list[str]:
        """The columns of the leaderboard as data: `RANKED_COLUMNS`, and those of the run's metrics that they lack."""
        return list(dict.fromkeys([*RANKED_COLUMNS, *metric_columns(self.config.metric)]))

    def by_class(self) -> pandas.DataFrame:
        """Recall, precision and F1 of every class, one row per scored family and class, with `BY_CLASS_COLUMNS`."""
        import pandas

        from bench import by_class

        return pandas.DataFrame(by_class(self), columns=BY_CLASS_COLUMNS)

    def __repr__(self) -> str:
        from bench import leaderboard

        name = "" if self.metric.name == "accuracy" else f"{self.metric.title} "
        best = [f"best {row['family']} {name}{self._shown(row)}" for row in leaderboard(self)[:1]]
        counts = f"families: {len(self.families)}, trials: {len(self.trials)}"
        return f"<Run {self.path}: {', '.join([self.status, counts, *best])}>"

    def _repr_html_(self) -> str:
        """A small table with a link to the page, for notebooks."""
        from bench import leaderboard

        rows, of = [], f"test_{self.metric.name}"
        for row in leaderboard(self):
            seconds = "" if row["train_time_s"] is None else f"{row['train_time_s']:.1f} s"
            low, high = row[f"{of}_low"], row[f"{of}_high"]
            interval = "" if low is None or high is None else f"{self._number(low)} to {self._number(high)}"
            cells = (row["rank"] or "", row["family"], self._shown(row), interval, seconds)
            rows.append("".join(f"<td>{escape(str(cell))}</td>" for cell in cells))
        names = ("rank", "family", self.metric.title, "95 % interval", "training")
        heads = "".join(f"<th>{escape(name)}</th>" for name in names)
        table = "".join(f"<tr>{row}</tr>" for row in (heads, *rows))
        page = escape(quote((self.path / "report.html").as_posix()))
        return f'<table>{table}</table><p>{escape(self.status)} · <a href="{page}">report.html</a></p>'

    def _shown(self, row: Mapping[str, Any]) -> str:
        """The run's metric in a row of the leaderboard: on the test pictures, else in the validation."""
        test, validation = (row[f"{part}_{self.metric.name}"] for part in ("test", "val"))
        value, part = (validation, " (validation)") if test is None else (test, "")
        return "" if value is None else f"{self._number(value)}{' %' if self.metric.percent else ''}{part}"

    def _number(self, value: float) -> str:
        return f"{100 * value:.1f}" if self.metric.percent else f"{value:.3f}"


@dataclass(frozen=True)
class Leader:
    """The leading family of a run; `family` is "" without a result.

    Attributes:
        metric: The run's metric.
        val_value, test_value: Its values; `test_low` to `test_high` is the latter's 95 % interval.
    """

    family: str = ""
    weights: str = ""
    metric: str = "accuracy"
    val_value: float | None = None
    test_value: float | None = None
    test_low: float | None = None
    test_high: float | None = None

    @classmethod
    def of(cls, trial: Trial) -> Leader:
        """The record of a trial."""
        return cls(trial.family, trial.weights, trial.metric, trial.value, *trial.test_with_interval)


@dataclass(frozen=True, kw_only=True)
class RunRecord(RunHeader):
    """Content of `run.json`, which is enough for a list of runs.

    Attributes:
        prefix: Prefix of the names of the run's studies in the storage.
        trials: Number of trials in each state, without answers from the record.
        best: The recommended family; without one, the most accurate.
    """

    prefix: str
    trials: Mapping[str, int] = field(default_factory=dict)
    best: Leader | None = None


@dataclass(frozen=True)
class Summary:
    """A run in a list of runs; `problem` is the reason if its record cannot be read."""

    path: Path
    record: RunRecord | None = None
    problem: str = ""


def study_name(engine: str, family: str, prefix: str = "") -> str:
    """Name of a study in the storage; the prefix distinguishes runs that share a storage."""
    return f"{prefix}{family}/{engine}"


def state_counts(trials: Iterable[Trial]) -> Counter[str]:
    """Number of trials in each state, without answers from the record and refused ones."""
    return Counter(trial.state.value for trial in trials if not (trial.duplicate_of or trial.limit))


def leaderboard_row(trial: Trial, metrics: Sequence[str] = ()) -> dict[str, Any]:
    """A trial as a row of the leaderboard; values that were not measured are None.

    The accuracy of several seeds has an interval only if it is the run's metric.

    Args:
        metrics: Names of the metrics whose `metric_columns` follow; those of the run's own seed but for its metric.
    """
    cost = asdict(trial.cost) if trial.cost else {}
    row = {
        **cost,
        **_metric_values(trial, "accuracy"),
        "family": trial.family,
        "engine": trial.engine,
        "trial": trial.number,
        "state": trial.state,
        "weights": trial.weights,
        "input_size": trial.input_size,
        "val_accuracy_std": _spread([fold.accuracy for fold in trial.folds]),
        "seeds": (trial.over_seeds.seeds if trial.over_seeds else 1) if trial.test else None,
        "epochs": trial.epochs,
        "ending": trial.ending if trial.cut else None,
    }
    for name in metrics:
        row |= _metric_values(trial, name)
    return {column: row.get(column) for column in (*LEADERBOARD_COLUMNS, *metric_columns(metrics))}


def _metric_values(trial: Trial, name: str) -> dict[str, Any]:
    columns = (f"val_{name}", f"test_{name}", f"test_{name}_low", f"test_{name}_high")
    if name == trial.metric:
        return dict(zip(columns, (trial.value, *trial.test_with_interval), strict=True))
    validation, test = (part.of(name) if part else Estimate(math.nan) for part in (trial.validation, trial.test))
    values: tuple[float | None, ...] = (validation.value, test.value, test.low, test.high)
    if name == "accuracy":
        ends = (None, None) if trial.over_seeds else (test.low, test.high)
        values = (validation.value, trial.test_accuracy, *ends)
    return {
        column: None if value is None or math.isnan(value) else value
        for column, value in zip(columns, values, strict=True)
    }


def _spread(values: Sequence[float]) -> float | None:
    return stdev(values) if len(values) > 1 else None


# -- the codec: records to JSON data and back


def to_data(record: object) -> Any:
    """Convert a record to JSON data: dataclasses become objects, tuples lists, enums their values, paths text."""
    return msgspec.to_builtins(record, str_keys=True)


def from_data(kind: type[T], data: object) -> T:
    """Convert JSON data to a record; unknown keys are ignored.

    Raises:
        ValueError: A field is missing or has the wrong type; the message has its path.
    """
    return msgspec.convert(data, kind, str_keys=True)


def sealed(data: Mapping[str, Any]) -> dict[str, Any]:
    """Add a checksum to a record's JSON data, because a database has none."""
    return {**data, "crc32": zlib.crc32(json.dumps(data, sort_keys=True).encode())}


def unsealed(data: Mapping[str, Any]) -> dict[str, Any]:
    """Return a record's JSON data without its checksum, if it has one; ValueError if they do not match it."""
    rest = {name: value for name, value in data.items() if name != "crc32"}
    if "crc32" in data and data != sealed(rest):
        raise ValueError("a record does not match its checksum")
    return rest


Upgrade = Callable[[dict[str, Any]], dict[str, Any]]
"""Converts the data of one schema version to the next."""


def upgraded(data: object, upgrades: Sequence[Upgrade]) -> dict[str, Any]:
    """Upgrade a file's data to the newest schema version, step by step.

    The steps lead from version 1 to 2, from 2 to 3, and so on; the newest version is their number plus one.

    Raises:
        NewerSchemaError: It was written by a newer version of this program.
        ValueError: It has no version.
    """
    newest = len(upgrades) + 1
    version = data.get("schema_version") if isinstance(data, dict) else None
    if not isinstance(data, dict) or not isinstance(version, int) or isinstance(version, bool) or version < 1:
        raise ValueError("has no schema_version")
    if version > newest:
        raise NewerSchemaError(version, newest)
    for upgrade in upgrades[version - 1 :]:
        data = upgrade(data)
    return {**data, "schema_version": newest}
