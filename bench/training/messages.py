"""Jobs, their results, and the channel between a worker process and the driver: typed, plain data, no TensorFlow."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

from bench.hyperparameters import Hyperparameter, Value
from bench.records import Cost, Ending, Epoch, Metrics, Prefix, Weights


@dataclass(frozen=True)
class WeightsFile:
    """The file of a backbone's ImageNet weights.

    Attributes:
        backbone: Its `pretrained.backbone_key`, e.g. `MobileNetV2(alpha=0.35)`.
        values: Hyperparameters with which its family asks for it.
        url, path: Address of it, and where the Keras cache has it or would have it; "" if there is no such file.
        hash: Its checksum; "" where Keras gives none.
        problem: Reason why there is none, or why the one that is there does not load; "" if it does, or is missing.
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
class ProbeResult:
    """A family after one build with default values; nothing is declared where no input size is left.

    Attributes:
        space: All hyperparameters that it declares, conditional ones included.
        known: Its known configurations, checked against the space.
        weights_files: Files of all backbones that it can ask for; none where weights are random.
        backbones: Number of backbones that it can ask for.
        too_small: Input sizes that are left out, since a backbone cannot be built for them.
        learns: Whether training can change it; see `estimators.can_learn`.
        gpus: Names of the GPUs that the process sees.
        warnings: What the user should know of the family before its search, a sentence each.
    """

    space: tuple[Hyperparameter, ...]
    known: tuple[Mapping[str, Value], ...] = ()
    weights_files: tuple[WeightsFile, ...] = ()
    backbones: int = 0
    too_small: tuple[int, ...] = ()
    learns: bool = True
    gpus: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class TrialResult:
    """A trained and validated configuration; the fields are those of `records.Trial`.

    Attributes:
        stopped: Whether it was stopped with nothing to keep; then nothing is measured.
        ending: Why its training ended early; None where it did not, or where another trial answers it.
        unsaved: Reason why the model could not be saved where the driver asked for it; "" where it was.
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
    """A model on the test pictures; `history` where it was trained for that."""

    test: Metrics
    history: tuple[Epoch, ...] = ()


# -- jobs


@dataclass(frozen=True, kw_only=True)
class Job:
    """One piece of work for a worker process, stopped after `timeout_s` seconds; the pool sets the number of cores."""

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
    """A job that builds the family in the file `path`, on backbones that start from one of `config.WEIGHTS`."""

    path: str
    class_names: tuple[str, ...]
    input_sizes: tuple[int, ...]
    weights: str
    seed: int
    deterministic: bool = True


@dataclass(frozen=True, kw_only=True)
class ProbeJob(FamilyJob):
    """Build a family once with default values.

    Attributes:
        only: The configuration whose weights are looked for; None looks for those of all configurations.
    """

    result_type: ClassVar[type] = ProbeResult

    only: Mapping[str, Value] | None = None


@dataclass(frozen=True, kw_only=True)
class WeightsJob(FamilyJob):
    """Check a weights file that has been downloaded."""

    result_type: ClassVar[type] = WeightsFile

    file: WeightsFile


@dataclass(frozen=True, kw_only=True)
class TrainingJob(FamilyJob):
    """Settings of every training.

    Attributes:
        files: Weights files, found and checked, by `pretrained.backbone_key`; "" where they cannot be had.
        manifest: The split, `split.json`.
        cache: The folder of decoded pictures and features.
        features: One of `config.FEATURES`.
        epochs: Maximum number of epochs in each phase.
        stop_after: Number of epochs, counted through all phases, after which training ends; None where none was cut.
        values: Hyperparameters to train with; None asks the driver's engine.
        predictions: A file for the class probabilities of the test pictures; "" writes none.
    """

    files: Mapping[str, str]
    manifest: str
    cache: str
    features: str
    epochs: int
    patience: int
    stop_after: int | None = None
    missing_weights: str = "random"
    values: Mapping[str, Value] | None = None
    predictions: str = ""


@dataclass(frozen=True, kw_only=True)
class TrialJob(TrainingJob):
    """Build, train and validate one configuration.

    Attributes:
        score: Score it on the test pictures too.
        whole: Build backbones rather than sketch them, so that the model is saved as a `.keras` file.
        time_s: Seconds from the start of the job after which training ends, in the middle of an epoch if need be;
            None where time does not limit it.
    """

    result_type: ClassVar[type] = TrialResult

    score: bool = False
    whole: bool = False
    time_s: float | None = None


@dataclass(frozen=True, kw_only=True)
class ScoreJob(TrainingJob):
    """Score the chosen trial's model on the test pictures.

    Attributes:
        trained: The file that the trial saved; "" trains the configuration again (scikit-learn models have no file).
        model: The `.keras` file, made where `trained` holds only what was trained beside a sketch.
    """

    result_type: ClassVar[type] = ScoreResult

    trained: str
    model: str


@dataclass(frozen=True, kw_only=True)
class RefitJob(TrainingJob):
    """Train a configuration on every picture outside the test set, then score it.

    Attributes:
        phase_epochs: Epochs of each phase; nothing is held out to stop early by.
        model: The `.keras` file to write; "" keeps none.
    """

    result_type: ClassVar[type] = ScoreResult

    phase_epochs: tuple[int, ...]
    model: str = ""


class Channel:
    """The way from a job to the driver; every call waits for its answer. This one answers for jobs that ask nothing."""

    def suggest(self, hyperparameter: Hyperparameter) -> Value:
        """Ask for the value of an active hyperparameter; a ValueError where the known one is outside its range."""
        return hyperparameter.default

    def progress(self, stage: str, done: int, total: int) -> Ending | None:
        """Report how much of a stage is done; `total` is 0 where that is not known. A reason stops the job."""
        return None

    def built(self, params: Mapping[str, Value], weights: Weights) -> bool:
        """Announce the built configuration; True stops the job, since the configuration was trained before."""
        return False

    def epoch(self, epoch: Epoch, fold: int, folds: int) -> Ending | None:
        """Report an epoch of `fold` (from 1) of `folds` (0 without folds).

        The answer is None to go on, PRUNER to drop the trial, or another reason to end the fold with its best epoch.
        """
        return None

    def result(self, result: TrialResult) -> str | None:
        """Send a trial's result while its model is in memory; the answer is the path to save the model to, or None."""
        return None
