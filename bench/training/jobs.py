"""The jobs of a worker process: check a family or its weights, train a configuration, score the chosen one."""

from __future__ import annotations

import gc
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from statistics import fmean
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from bench import data
from bench.cache.rows import Rows
from bench.config import LARGEST_SEED
from bench.data import machine
from bench.data.dataset import Items
from bench.data.further import load_set
from bench.data.metadata import metadata
from bench.data.pixels import pixels, row_keys
from bench.data.sources import StageCallback
from bench.errors import one_line
from bench.hyperparameters import Hyperparameter, HyperParameters, Suggest, Value, fixed
from bench.metrics import metric
from bench.metrics._metric import Metric
from bench.records import Cost, Ending, Epoch, Limit, Metrics, Screening, Shortcuts, Work, exceeded
from bench.training import declarations, linear_estimate, loading, shortcuts, trainer
from bench.training.batches import Part
from bench.training.estimators import Classifier, Estimator, FitSettings, Network, Training
from bench.training.footprint import peak_rss_mb
from bench.training.frozen import sketch
from bench.training.frozen.features import FeatureCache
from bench.training.frozen.identity import NoPrefix
from bench.training.imbalance import Balancing
from bench.training.lint import lint
from bench.training.messages import (
    FURTHER,
    Channel,
    ChosenJob,
    CurveJob,
    CurveResult,
    Job,
    LintJob,
    ProbeJob,
    RefitJob,
    SampleAnswers,
    ScoreJob,
    ScoreResult,
    ScreenJob,
    ShortcutJob,
    TrainingJob,
    TrialJob,
    TrialResult,
    WeightsJob,
)
from bench.training.probabilities import Probabilities, measure
from bench.training.probe import check_weights, probe
from bench.training.task import Task

AT_ONCE = 500
"""Number of pictures of a further test set that are predicted before it is asked whether to go on."""

PROGRESS_EVERY_S = 1.0
"""Minimum seconds between two progress reports."""


def run(job: Job, channel: Channel) -> object:
    """Run one job; return its result, an instance of `job.result_type`."""
    return JOBS[type(job)](job, channel)


# -- before the trials


def screen(job: ScreenJob, channel: Channel) -> Screening:
    """Estimate the accuracy of a configuration's frozen backbones on a sample of training and validation pictures.

    The driver adds the names and the interval.

    Raises:
        NoPrefix: The features of the backbones cannot be computed separately.
        ValueError: The sample has one class, or at most one picture of every class.
    """
    start = time.perf_counter()
    dataset = data.load(Path(job.manifest))
    sample = linear_estimate.sample(dataset, job.pictures)
    for build in (_build_sketched, _build):
        built = build(job, fixed(job.values or {}))
        network = _estimator(built, job, channel)
        if not isinstance(network, Network):
            raise NoPrefix("it is no network")
        part = _input(dataset, sample, network, job, channel)
        with suppress(sketch.NotSketched):
            fetched, features = network.backbone_features(part)
            break
    estimated = linear_estimate.probabilities(features, part.labels, len(job.class_names))
    chosen = _metrics(job)[0]
    return Screening(
        input_size=network.size,
        accuracy=metric("accuracy").value(estimated, part.labels),
        value=None if chosen.name == "accuracy" else chosen.value(estimated, part.labels),
        n=len(sample),
        time_s=time.perf_counter() - start,
        seconds_per_picture=fetched.cold_s / len(sample),
    )


def find_shortcuts(job: ShortcutJob, channel: Channel) -> Shortcuts:
    """Classify a sample of the test pictures from their metadata, trained on a sample of the training pictures."""
    dataset, loaded = data.load(Path(job.manifest)), loading.load(Path(job.path))
    task = Task(job.class_names, job.input_sizes)

    def build() -> Classifier:
        model = loaded.model(HyperParameters(fixed({})), task)
        return Classifier(model, min(job.input_sizes), job.seed, loaded.input)

    samples = (dataset.part(name)[: shortcuts.MAX_PICTURES] for name in ("train", "test"))
    train, test = (_input(dataset, items, build(), job, channel) for items in samples)
    return shortcuts.measure(build, train, test)


# -- a trial


def trial(job: TrialJob, channel: Channel) -> TrialResult:
    """Build, train and validate one configuration; save its model if the driver answers with a path.

    With data in folds, a new model is built for every fold, with the same values and the same seed. It is trained on
    the other folds, with early stopping on this one, and validated on this one. The result contains the metrics of all
    folds and their mean, the epochs of the first fold, and the number of epochs for training on all folds. The models
    of the folds are neither saved nor scored: `refit` trains the chosen configuration.
    """
    with _time_limit(job.time_s) as over:
        result, estimator = _train(job, channel, job.score, over)
    if estimator is not None and (path := channel.result(result)):
        try:
            estimator.save(Path(path))
        except Exception as error:  # a full disk, or a layer that Keras cannot save: the trial's figures are valid
            traceback.print_exc()
            return replace(result, unsaved=one_line(error))
    return result


@contextmanager
def _time_limit(seconds: float | None) -> Iterator[tf.Variable | None]:
    """Yield a variable that becomes True after this time, even while a graph runs; None without a limit."""
    if seconds is None:
        yield None
        return
    with tf.device("CPU:0"):
        over = tf.Variable(False, trainable=False)
    timer = threading.Timer(max(0.0, seconds), over.assign, [True])
    timer.daemon = True
    timer.start()
    try:
        yield over
    finally:
        timer.cancel()


def _train(
    job: TrainingJob, channel: Channel, score: bool, over: tf.Variable | None = None
) -> tuple[TrialResult, Estimator | None]:
    """Train and validate a configuration, and score it if `score`; the estimator is None if the driver stopped it."""
    start = time.perf_counter()
    dataset = data.load(Path(job.manifest))
    folds = [dataset.fold(number) for number in range(dataset.folds)]
    splits = folds or [(dataset.part("train"), dataset.part("validation"))]
    sketching = job.features != "off" and not score and not (isinstance(job, TrialJob) and job.whole)
    suggest = channel.suggest if job.values is None else fixed(job.values)
    built, estimator, work = _built_for(dataset, splits[0], job, channel, suggest, sketching)
    if isinstance(job, TrialJob) and Limit.LATENCY in job.limits and not exceeded(job.limits, work):
        parts = [_unread(dataset, items, estimator) for items in splits[0]]
        work = replace(work, latency_ms=estimator.latency_ms(job.epochs, parts))
    stopped = TrialResult(built.params, built.task.weights_used, stopped=True)
    if channel.built(built.params, built.task.weights_used, work):
        return stopped, None
    chosen = _metrics(job)
    trainings: list[Training] = []
    validations: list[Metrics] = []
    cost: Cost | None = None
    try:
        for number, split in enumerate(splits, start=1):
            train, validation = (_input(dataset, items, estimator, job, channel) for items in split)
            report = partial(_report, job, channel, number, len(folds))
            settings = FitSettings(job.epochs, job.patience, report, chosen[0], over)
            try:
                trainings.append(estimator.fit(train, validation, settings))
            except sketch.NotSketched:  # the features were cleared meanwhile
                built, estimator, _ = _built_for(dataset, split, job, channel, fixed(built.params), sketching=False)
                trainings.append(estimator.fit(train, validation, settings))
            validations.append(
                measure(estimator.predict(validation), validation.labels, chosen, data.group_numbers(split[1]))
            )
            cost = cost or estimator.cost()
            cost = cost if work.latency_ms is None else replace(cost, latency_ms=work.latency_ms)
            if number < len(splits):
                params = built.params
                estimator.release()  # the next fold's model needs the memory
                del built, estimator
                _clear_memory()
                built, estimator, _ = _built_for(dataset, splits[number], job, channel, fixed(params), sketching)
    except trainer.Stopped as reason:
        return replace(stopped, ending=reason.ending), None
    assert cost is not None
    test = _score(estimator, dataset, job, channel) if score and not folds else None
    result = TrialResult(
        params=built.params,
        weights=built.task.weights_used,
        validation=Metrics.mean(validations),
        test=test,
        folds=tuple(validations) if folds else (),
        best_epochs=_best_epochs(trainings, chosen[0]) if folds else (),
        planned_epochs=trainings[0].planned_epochs,
        ending=next((training.ending for training in trainings if training.ending), None),
        history=trainings[0].history,
        prefixes=trainings[0].prefixes,
        cost=replace(
            _training_cost(cost, trainings),
            total_time_s=time.perf_counter() - start,
            peak_rss_mb=peak_rss_mb(),
            cores=job.cores,
        ),
        input_size=estimator.size,
    )
    return result, estimator


def _training_cost(cost: Cost, trainings: Sequence[Training]) -> Cost:
    """Add the training times, averaged over the folds, to the cost of using a model."""
    fit_time_s = fmean(training.fit_time_s for training in trainings)
    features_time_s = fmean(training.features_time_s for training in trainings)
    return replace(
        cost,
        fit_time_s=fit_time_s,
        features_time_s=features_time_s,
        train_time_s=fit_time_s + features_time_s,
        saved_time_s=fmean(training.saved_time_s for training in trainings),
    )


def _best_epochs(trainings: Sequence[Training], chosen: Metric) -> tuple[int, ...]:
    """Average each phase's best epochs over the folds; 0 for phases that were left out."""
    counts = [trainer.best_epochs(training.history, chosen) for training in trainings]
    padded = [count + (0,) * (training.phases - len(count)) for count, training in zip(counts, trainings, strict=True)]
    return tuple(round(fmean(epochs)) for epochs in zip(*padded, strict=True))


def _report(job: TrainingJob, channel: Channel, fold: int, folds: int, epoch: Epoch) -> Ending | None:
    """Report an epoch; return the driver's reason to end training, BUDGET after epoch `job.stop_after`."""
    ending = channel.epoch(epoch, fold, folds)
    return ending or (Ending.BUDGET if job.stop_after is not None and epoch.epoch >= job.stop_after else None)


# -- the chosen trials


def score(job: ScoreJob, channel: Channel) -> ScoreResult:
    """Load the chosen trial's model and score it on the test pictures; if it was not saved, train it again.

    If `job.trained` contains only the layers that were trained with a sketched backbone, complete the model and save it
    as `job.model`.
    """
    if not job.trained:
        result, estimator = _train(job, channel, score=True)
        assert result.test is not None
        assert estimator is not None
        return ScoreResult(result.test, result.history, *_score_further(estimator, job, channel))
    built, trained = _build(job, fixed(job.values or {})), Path(job.trained)
    network = _estimator(built, job, channel)
    assert isinstance(network, Network)
    if trained.suffix == ".npz":
        network.load_without_backbones(trained)
        network.save(Path(job.model))
        trained.unlink()
    else:
        built.model.load_weights(trained)
    test = _score(network, data.load(Path(job.manifest)), job, channel)
    return ScoreResult(test, (), *_score_further(network, job, channel))


def refit(job: RefitJob, channel: Channel) -> ScoreResult:
    """Train a configuration on all pictures outside the test set for `job.phase_epochs`, and score it.

    This gives the chosen trial its model if the data is in folds. There is no early stopping.
    """
    dataset = data.load(Path(job.manifest))
    estimator = _estimator(_build(job, fixed(job.values or {})), job, channel)
    items = dataset.part("train") + dataset.part("validation")
    estimator.refit(_input(dataset, items, estimator, job, channel), job.phase_epochs)
    if job.model:
        estimator.save(Path(job.model))
    return ScoreResult(_score(estimator, dataset, job, channel), (), *_score_further(estimator, job, channel))


def curve(job: CurveJob, channel: Channel) -> CurveResult:
    """Train a configuration on samples of the training pictures, with early stopping; with folds, in the first one.

    Each draw has a seed of its own, not the trial's, for the sample and the training. Only validation pictures are
    predicted.
    """
    begun_s = time.perf_counter()
    dataset, sketching = data.load(Path(job.manifest)), job.features != "off"
    everything, held_out = dataset.fold(0) if dataset.folds else (dataset.part("train"), dataset.part("validation"))
    answers: list[SampleAnswers] = []
    seconds: dict[float, float] = {}
    needed_s = 0.0
    for number in range(len(job.shares) * job.draws):
        draw, place = divmod(number, len(job.shares))
        share, start_s = job.shares[place], time.perf_counter()
        if start_s - begun_s + seconds.get(share, needed_s) > job.time_s:
            break
        seeded = replace(job, seed=(job.seed + 1 + draw) % (LARGEST_SEED + 1))
        split = data.sampled(everything, share, seeded.seed), held_out
        built, estimator, _ = _built_for(dataset, split, seeded, channel, fixed(job.values or {}), sketching)
        report = partial(_report, job, channel, 1, 0)
        train, validation = (_input(dataset, items, estimator, job, channel) for items in split)
        estimator.fit(train, validation, FitSettings(job.epochs, job.patience, report, _metrics(job)[0]))
        right = estimator.predict(validation).argmax(axis=1) == validation.labels
        answers.append(SampleAnswers(share, len(split[0]), "".join(map(str, right.astype(int)))))
        estimator.release()
        del built, estimator
        _clear_memory()
        seconds[share] = time.perf_counter() - start_s
        needed_s = seconds[share] * job.shares[min(place + 1, len(job.shares) - 1)] / share
        channel.progress(f"training on {share:.3g} of the training pictures", number + 1, len(job.shares) * job.draws)
    return CurveResult(tuple(answers), tuple(item.group for item in held_out) if dataset.grouped else ())


def _clear_memory() -> None:
    keras.utils.clear_session()
    gc.collect()


def _score(estimator: Estimator, dataset: data.Dataset, job: TrainingJob, channel: Channel) -> Metrics:
    """Score on the test pictures; write their class probabilities to `job.predictions`, if it names a file."""
    items = dataset.part("test")
    test = _record(_predict(estimator, dataset, items, job, channel), items, job.predictions, job)
    if isinstance(job, ScoreJob) and (items := dataset.part("validation")):  # none with folds
        data.write_predictions(Path(job.validated), items, _predict(estimator, dataset, items, job, channel))
    return test


def _score_further(estimator: Estimator, job: ChosenJob, channel: Channel) -> tuple[dict[str, Metrics], dict[str, str]]:
    """Score on the further test sets, until their time is over or the driver has a reason to stop.

    Returns:
        The metrics by set, and the reasons for sets that could not be scored.
    """
    scores, reasons = dict[str, Metrics](), dict[str, str]()
    manifest, end_s = Path(job.manifest), time.monotonic() + job.also_time_s
    dataset = data.load(manifest) if job.also else None
    for done, (name, file) in enumerate(job.also.items()):
        try:
            assert dataset is not None
            further, outputs = load_set(dataset, manifest.parent, name, job.seed), []
            items = further.part("test")
            for begin in range(0, len(items), AT_ONCE):
                if channel.progress(FURTHER, done, len(job.also)):
                    return scores, reasons
                if time.monotonic() > end_s:
                    raise TimeoutError(f"its time was over after {begin} of {len(items)} pictures")
                outputs.append(_predict(estimator, further, items[begin : begin + AT_ONCE], job, channel))
            scores[name] = _record(np.concatenate(outputs), items, file, job)
        except Exception as error:  # pictures that changed meanwhile, or a full disk: the other scores are valid
            traceback.print_exc()
            reasons[name] = one_line(error)
    return scores, reasons


def _predict(
    estimator: Estimator, dataset: data.Dataset, items: Items, job: TrainingJob, channel: Channel
) -> Probabilities:
    return estimator.predict(_input(dataset, items, estimator, job, channel))


def _record(probabilities: Probabilities, items: Items, file: str, job: TrainingJob) -> Metrics:
    """Measure predictions; write the class probabilities to a file, if it has a name."""
    if file:
        data.write_predictions(Path(file), items, probabilities)
    return measure(probabilities, data.labels(items), _metrics(job), data.group_numbers(items))


def _metrics(job: TrainingJob) -> list[Metric]:
    return [metric(name, job.class_names, job.prices) for name in job.metrics]


JOBS: dict[type[Job], Callable[[Any, Channel], object]] = {
    ProbeJob: probe,
    LintJob: lint,
    WeightsJob: check_weights,
    TrialJob: trial,
    ScreenJob: screen,
    ShortcutJob: find_shortcuts,
    ScoreJob: score,
    RefitJob: refit,
    CurveJob: curve,
}
"""The function that runs each class of job."""


# -- shared


class _Built(NamedTuple):
    """Return value of a family's `build`, its active hyperparameters, its task, and its models' input."""

    model: Any
    params: Mapping[str, Value]
    task: Task
    input: str


def _built_for(
    dataset: data.Dataset, split: Sequence[Items], job: TrainingJob, channel: Channel, suggest: Suggest, sketching: bool
) -> tuple[_Built, Estimator, Work]:
    """Build a configuration for these parts, with sketches only if all features are in the cache; count its work."""
    built = (_build_sketched if sketching else _build)(job, suggest)
    estimator = _estimator(built, job, channel)
    work = estimator.work(job.epochs, [_unread(dataset, items, estimator) for items in split])
    if built.task.sketched and not all(phase.cached == 1 for phase in work.phases):
        return _built_for(dataset, split, job, channel, fixed(built.params), sketching=False)
    return built, estimator, work


def _build_sketched(job: TrainingJob, suggest: Suggest) -> _Built:
    """Build a family with sketches of the backbones that were built before, if sketches suffice for the family."""
    answers: dict[str, Value] = {}

    def remembered(hyperparameter: Hyperparameter) -> Value:
        if hyperparameter.name not in answers:
            answers[hyperparameter.name] = suggest(hyperparameter)
        return answers[hyperparameter.name]

    path = Path(job.path)
    if any(b"type(" in file.read_bytes() for file in (path, *path.parent.glob("_*.py"))):  # a sketch's type differs
        return _build(job, suggest)
    try:
        return _build(job, remembered, sketching=True)
    except sketch.NotSketched:
        return _build(job, remembered)


def _build(job: TrainingJob, suggest: Suggest, sketching: bool = False) -> _Built:
    """Set the seed, import a family's file again and build it; the result does not depend on earlier builds."""
    cache = _feature_cache(job)
    keras.utils.set_random_seed(job.seed)
    if job.deterministic:
        tf.config.experimental.enable_op_determinism()
    outlines = sketch.Outlines(cache.root) if cache else None
    task = Task(
        job.class_names,
        job.input_sizes,
        job.weights,
        job.files,
        job.seed,
        outlines=outlines,
        sketching=sketching,
        missing_weights=job.missing_weights,
        unbalanced=job.unbalanced,
    )
    hp = HyperParameters(suggest)
    loaded = loading.load(Path(job.path))
    with machine.limited_memory():
        model = loaded.model(hp, task)
    declarations.check_choices(hp.space)
    return _Built(model, dict(hp.values), task, loaded.input)


def _estimator(built: _Built, job: TrainingJob, channel: Channel) -> Estimator:
    """Return an estimator for a built model; a classifier without `input_size` takes the smallest pictures."""
    values = built.params
    square = str(values.get("fit") or job.fit)
    if not isinstance(built.model, keras.Model):
        size = int(built.params.get("input_size") or min(job.input_sizes))
        return Classifier(built.model, size, job.seed, built.input, square, Balancing.of(values))
    return Network(
        built.model,
        values,
        len(job.class_names),
        job.seed,
        backbones=built.task.backbones,
        cache=_feature_cache(job),
        progress=_throttled(channel.progress),
        square=square,
        halved=job.halved,
    )


def _feature_cache(job: TrainingJob) -> FeatureCache | None:
    return None if job.features == "off" else FeatureCache(Path(job.cache), job.features, job.cores)


def _input(
    dataset: data.Dataset, items: Items, estimator: Estimator, job: TrainingJob | ShortcutJob, channel: Channel
) -> Part:
    """Return the pictures of a part as an estimator sees them."""
    part = _part(dataset, items, estimator.size, estimator.square, job, channel)
    if estimator.input == loading.METADATA:
        return replace(part, pixels=Rows.of(metadata(dataset, items, part.pixels)))
    return part


def _part(
    dataset: data.Dataset, items: Items, size: int, fit: str, job: TrainingJob | ShortcutJob, channel: Channel
) -> Part:
    pictures = pixels(dataset, items, size, Path(job.cache), _throttled(channel.progress), fit)
    return Part(pictures, data.labels(items), row_keys(dataset, items, fit))


def _unread(dataset: data.Dataset, items: Items, estimator: Estimator) -> Part:
    """Return a part without its pixels."""
    return Part(Rows.of(np.empty((0, 0), np.uint8)), data.labels(items), row_keys(dataset, items, estimator.square))


def _throttled(progress: Callable[[str, int, int], Ending | None]) -> StageCallback:
    """Pass on one progress report every `PROGRESS_EVERY_S` seconds; raise Stopped if the answer is a reason to stop."""
    last_s = time.monotonic()

    def report(stage: str, done: int, total: int) -> None:
        nonlocal last_s
        if time.monotonic() - last_s >= PROGRESS_EVERY_S:
            last_s = time.monotonic()
            if ending := progress(stage, done, total):
                raise trainer.Stopped(ending)

    return report
