"""Jobs, their results, and the channel between a worker process and the driver: typed data, without TensorFlow."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import ClassVar

from bench.hyperparameters import Hyperparameter, Value
from bench.metrics import Price
from bench.records import Cost, Ending, Epoch, Limit, Metrics, Prefix, Screening, Shortcuts, Speed, Weights, Work

FURTHER = "scoring on further test sets"
"""The stage of a job that scores on further test sets; a reason to stop there costs no other score."""


@dataclass(frozen=True)
class WeightsFile:
    """The file of a backbone's ImageNet weights.

    Attributes:
        backbone: Its `pretrained.backbone_key`, e.g. `MobileNetV2(alpha=0.35)`.
        values: Hyperparameters with which the family requests the backbone.
        url, path: Its address, and its path in the Keras cache, whether it exists or not; "" if there is no such file.
        hash: Its checksum; "" if Keras has none.
        problem: Reason why there is no such file, or why it cannot be loaded; else "".
    """

    backbone: str
    values: Mapping[str, Value] = field(default_factory=dict)
    url: str = ""
    path: str = ""
    hash: str = ""
    missing: bool = False
    problem: str = ""


# -- results


@dataclass(frozen=True)
class KnownBackbones:
    """The backbones that a known configuration requests.

    Attributes:
        names: Their `pretrained.backbone_key`.
        input_size: Side of the input of the first one, in pixels.
        values: The configuration.
        work: Its computations; None if it was not built.
    """

    names: tuple[str, ...]
    input_size: int
    values: Mapping[str, Value]
    work: Work | None = None


@dataclass(frozen=True)
class ProbeResult:
    """Result of building a family; `space` is empty if no input size is large enough.

    Attributes:
        space: All hyperparameters, including conditional ones.
        known: Known configurations, checked against the space.
        weights_files: Files of all backbones that it can request; none if weights are random.
        backbones: Number of backbones that it can request.
        known_backbones: Distinct backbones and input sizes of the known configurations, else of the defaults.
        too_small: Input sizes that are left out because a backbone cannot be built for them.
        learns: False for a baseline, which sees no pictures or ignores them; see `estimators.can_learn`.
        gpus: Names of the GPUs that the process sees.
        warnings: One sentence each.
        works: Computations of each known configuration; None for those that were not built.
        other_works: Those of the default configuration and of others that were built, the default first.
        proposed_works: Those of the first configurations that an engine proposes.
        speed: Speed of the default configuration; None if it was not measured.
    """

    space: tuple[Hyperparameter, ...]
    known: tuple[Mapping[str, Value], ...] = ()
    weights_files: tuple[WeightsFile, ...] = ()
    backbones: int = 0
    known_backbones: tuple[KnownBackbones, ...] = ()
    too_small: tuple[int, ...] = ()
    learns: bool = True
    gpus: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    works: tuple[Work | None, ...] = ()
    other_works: tuple[Work, ...] = ()
    proposed_works: tuple[Work, ...] = ()
    speed: Speed | None = None


@dataclass(frozen=True)
class TrialResult:
    """A trained and validated configuration; the fields are those of `records.Trial`.

    Attributes:
        stopped: True if it was stopped without a usable epoch; then there are no metrics.
        ending: Reason why training ended early; None if it did not, or if another trial answers it.
        unsaved: Reason why the model could not be saved; "" if it was saved, or the driver did not request it.
    """

    params: Mapping[str, Value]
    weights: Weights = Weights.NONE
    stopped: bool = False
    ending: Ending | None = None
    planned_epochs: int | None = None
    validation: Metrics | None = None
    test: Metrics | None = None
    folds: tuple[Metrics, ...] = ()
    best_epochs: tuple[int, ...] = ()
    history: tuple[Epoch, ...] = ()
    prefixes: tuple[Prefix, ...] = ()
    cost: Cost | None = None
    input_size: int | None = None
    unsaved: str = ""


@dataclass(frozen=True)
class ScoreResult:
    """Score on the test pictures, and on further test sets by name.

    Attributes:
        history: Empty if a saved model was scored.
        unscored: Reason for each further set on which it could not be scored.
    """

    test: Metrics
    history: tuple[Epoch, ...] = ()
    also: Mapping[str, Metrics] = field(default_factory=dict)
    unscored: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class SampleAnswers:
    """Answers of a model that was trained on a sample of the training pictures.

    Attributes:
        share: Share of the training pictures that was drawn, about.
        pictures: Number of pictures in the sample.
        right: For every validation picture "1" if its class was predicted, else "0".
    """

    share: float
    pictures: int
    right: str


@dataclass(frozen=True)
class CurveResult:
    """Trainings on samples of the training pictures.

    Attributes:
        groups: Group of every validation picture; empty without groups.
    """

    answers: tuple[SampleAnswers, ...]
    groups: tuple[str, ...] = ()


class LintKind(StrEnum):
    """Kind of a `LintFinding`."""

    BROKEN = "broken"
    UNUSED = "unused"
    UNREACHABLE = "unreachable"
    CONDITIONAL = "conditional"
    VALUE = "value"
    KNOWN = "known configuration"
    PIXELS = "pixels"
    PICTURES = "reads pictures"
    DIFFERS = "differs"
    DRY_RUN = "dry run"
    SLOW = "slow"


@dataclass(frozen=True)
class LintFinding:
    """A fault of a search space, one sentence, at a line of a file; `BROKEN` ones stop a run."""

    kind: LintKind
    message: str
    path: str
    line: int


@dataclass(frozen=True)
class Corner:
    """A configuration of a search space, e.g. that with the fewest parameters.

    Attributes:
        name: "smallest", "default", "largest" (by parameters), "fewest MACs" or "most MACs".
        values: Active hyperparameters.
        different: Those that differ from the default configuration.
        work: Size of its model, and computations of its training.
    """

    name: str
    values: Mapping[str, Value]
    different: Mapping[str, Value]
    work: Work


@dataclass(frozen=True)
class LintResult:
    """Check of a search space.

    Attributes:
        corners: Extreme configurations; none for models without parameters.
        builds: Number of configurations that were built.
        complete: False if the time was over before all values were tried.
        notes: One sentence each; no faults.
        speed: Speed of the default configuration; None if it was not measured.
    """

    corners: tuple[Corner, ...] = ()
    findings: tuple[LintFinding, ...] = ()
    builds: int = 0
    complete: bool = True
    notes: tuple[str, ...] = ()
    speed: Speed | None = None


# -- jobs


@dataclass(frozen=True, kw_only=True)
class Job:
    """A task for a worker process, stopped after `timeout_s` seconds; the pool sets the number of cores."""

    result_type: ClassVar[type]

    id: str
    timeout_s: float
    cores: int = 1

    @property
    def kind(self) -> str:
        """Noun for messages, e.g. "trial"."""
        return type(self).__name__.removesuffix("Job").lower()


@dataclass(frozen=True, kw_only=True)
class FamilyJob(Job):
    """A job that builds the family in the file `path`.

    Attributes:
        weights: One of `config.WEIGHTS`.
        unbalanced: As in `records.SplitInfo`.
    """

    path: str
    class_names: tuple[str, ...]
    input_sizes: tuple[int, ...]
    weights: str
    seed: int
    deterministic: bool = True
    unbalanced: bool = False


@dataclass(frozen=True, kw_only=True)
class ProbeJob(FamilyJob):
    """Build a family once with default values.

    Attributes:
        only: Find weights only for this configuration; None for all configurations.
        limits: Limits of the run. Builds are added, and latencies measured, until a configuration is within them.
        proposals: Maximum number of configurations to ask the driver for, to count their work.
        cache, features, epochs: As in a `TrainingJob`.
    """

    result_type: ClassVar[type] = ProbeResult

    only: Mapping[str, Value] | None = None
    limits: Mapping[Limit, float] = field(default_factory=dict)
    proposals: int = 0
    cache: str = ""
    features: str = "off"
    epochs: int = 10


@dataclass(frozen=True, kw_only=True)
class LintJob(FamilyJob):
    """Build the corners of a family's search space and look for faults.

    Attributes:
        cache, features, epochs: As in a `TrainingJob`.
    """

    result_type: ClassVar[type] = LintResult

    cache: str = ""
    features: str = "off"
    epochs: int = 10


@dataclass(frozen=True, kw_only=True)
class WeightsJob(FamilyJob):
    """Check a downloaded weights file."""

    result_type: ClassVar[type] = WeightsFile

    file: WeightsFile


@dataclass(frozen=True, kw_only=True)
class ShortcutJob(FamilyJob):
    """Classify the test pictures from their metadata.

    Attributes:
        manifest, cache: As in a `TrainingJob`.
    """

    result_type: ClassVar[type] = Shortcuts

    manifest: str
    cache: str


@dataclass(frozen=True, kw_only=True)
class TrainingJob(FamilyJob):
    """A job that trains a configuration.

    Attributes:
        files: Checked weights files by `pretrained.backbone_key`; "" if unavailable.
        manifest: The split, `split.json`.
        cache: The folder of decoded pictures and features.
        features: One of `config.FEATURES`.
        epochs: Maximum number of epochs in each phase.
        fit: One of `config.FITS`, unless the family declares the hyperparameter `fit`.
        stop_after: Number of epochs over all phases after which training ends; None without this limit.
        values: Hyperparameters to train with; None gets them from the driver's engine.
        halved: True to train with half the batch size.
        predictions: File for the class probabilities of the test pictures; "" writes none.
        metrics: Names of the run's metrics; the first one decides which epoch is best.
        prices: As in `metrics.metric`.
    """

    files: Mapping[str, str]
    manifest: str
    cache: str
    features: str
    epochs: int
    patience: int
    fit: str = "squash"
    stop_after: int | None = None
    missing_weights: str = "random"
    values: Mapping[str, Value] | None = None
    halved: bool = False
    predictions: str = ""
    metrics: tuple[str, ...] = ("accuracy",)
    prices: tuple[Price, ...] = ()


@dataclass(frozen=True, kw_only=True)
class TrialJob(TrainingJob):
    """Build, train and validate one configuration.

    Attributes:
        score: Also score it on the test pictures.
        whole: Build the backbones instead of sketching them, so that the model is saved as a `.keras` file.
        time_s: Seconds from the start of the job after which training ends, possibly within an epoch; None without a
            time limit.
        limits: Limits of the run. The latency is measured after the build only if it is limited.
    """

    result_type: ClassVar[type] = TrialResult

    score: bool = False
    whole: bool = False
    time_s: float | None = None
    limits: Mapping[Limit, float] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class ScreenJob(TrainingJob):
    """Estimate the accuracy of a configuration's frozen backbones on a sample of training and validation pictures.

    Attributes:
        pictures: Number of pictures in the sample.
    """

    result_type: ClassVar[type] = Screening

    pictures: int


@dataclass(frozen=True, kw_only=True)
class ChosenJob(TrainingJob):
    """A job that scores the model of a chosen trial.

    Attributes:
        also: For each further test set a file for the class probabilities of its pictures.
        also_time_s: Seconds for these sets.
    """

    also: Mapping[str, str] = field(default_factory=dict)
    also_time_s: float = math.inf


@dataclass(frozen=True, kw_only=True)
class ScoreJob(ChosenJob):
    """Score the chosen trial's model on the test pictures.

    Attributes:
        trained: The file that the trial saved; "" trains the configuration again (scikit-learn models are not saved).
        model: The `.keras` file to write if `trained` contains only the layers trained with a sketch.
        validated: File for the class probabilities of the validation pictures.
    """

    result_type: ClassVar[type] = ScoreResult

    trained: str
    model: str
    validated: str


@dataclass(frozen=True, kw_only=True)
class RefitJob(ChosenJob):
    """Train a configuration on all pictures outside the test set, then score it.

    Attributes:
        phase_epochs: Number of epochs in each phase; there is no early stopping.
        model: The `.keras` file to write; "" writes none.
    """

    result_type: ClassVar[type] = ScoreResult

    phase_epochs: tuple[int, ...]
    model: str = ""


@dataclass(frozen=True, kw_only=True)
class CurveJob(TrainingJob):
    """Train a configuration on samples of the training pictures, and validate it.

    Attributes:
        shares: Shares of the training pictures, ascending.
        draws: Maximum number of samples of each share.
        time_s: Seconds in which the job should end: no training starts that would take longer.
    """

    result_type: ClassVar[type] = CurveResult

    shares: tuple[float, ...]
    draws: int
    time_s: float


class Channel:
    """Calls from a job to the driver; each waits for its answer. This base class answers without a driver."""

    def suggest(self, hyperparameter: Hyperparameter) -> Value:
        """Return the value of an active hyperparameter; ValueError if the known value is outside its range."""
        return hyperparameter.default

    def progress(self, stage: str, done: int, total: int) -> Ending | None:
        """Report the progress of a stage, `total` is 0 if unknown; the answer is a reason to stop the job, or None."""
        return None

    def built(self, params: Mapping[str, Value], weights: Weights, work: Work) -> bool:
        """Report the built configuration; True stops the job, e.g. because the configuration was trained before."""
        return False

    def epoch(self, epoch: Epoch, fold: int, folds: int) -> Ending | None:
        """Report an epoch of `fold` (from 1) of `folds` (0 without folds).

        The answer is None to continue, PRUNER to drop the trial, or another reason to end the fold with its best epoch.
        """
        return None

    def result(self, result: TrialResult) -> str | None:
        """Send a trial's result; return the path for saving its model, None if it should not be saved."""
        return None
