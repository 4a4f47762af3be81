"""Check of a family before the search: its space, its builds and its weights files."""

from __future__ import annotations

import sys
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial
from operator import attrgetter
from pathlib import Path
from typing import Any, TypeVar

import keras
import tensorflow as tf

from bench.data.sources.file_names import SUFFIXES
from bench.errors import SpaceError, unknown
from bench.hyperparameters import Hyperparameter, HyperParameters, Suggest, Value, fixed
from bench.records import Limit, Speed, Work, exceeded
from bench.training import declarations, loading, pretrained
from bench.training.backbones import Scan, preprocessing_warning
from bench.training.dry_run import dry_run
from bench.training.estimators import Network, can_learn, weight_argument
from bench.training.frozen.features import FeatureCache
from bench.training.messages import Channel, FamilyJob, LintJob, ProbeJob, ProbeResult, WeightsFile, WeightsJob
from bench.training.objective import Objective, WrongModel, check_model
from bench.training.task import BuiltBackbones, ReusingTask, Task

KERAS_2 = ("tf_keras", "tensorflow_hub")
"""Libraries with models and layers of Keras 2."""

MAX_KNOWN_S = 5.0
"""Time for building known configurations; the first one is always built."""

MAX_PROPOSED_S = 3.0
"""Time for building the proposals of an engine."""

MAX_SMALLER_S = 15.0
"""Time for building smaller models if no other build is within the limits."""

JobT = TypeVar("JobT", bound=FamilyJob)

KERAS_3_NEEDED = "the suite trains models of Keras 3, with layers from `keras`"


def probe(job: ProbeJob, channel: Channel) -> ProbeResult:
    """Build a family with default values; collect its hyperparameters and the weights that it may need.

    Raises:
        SpaceError: The file, its output shape or a known configuration is invalid; names file and line.
    """
    loaded = loading.load(Path(job.path))
    keras.utils.set_random_seed(job.seed)
    if job.deterministic:
        tf.config.experimental.enable_op_determinism()  # as in a trial
    with recording_picture_access(loaded.path.parent) as accessed:
        scan, job, too_small = usable_sizes(loaded, job, job.only)
        warnings = list(size_warnings(too_small))
        if not job.input_sizes:
            return ProbeResult(space=(), too_small=tuple(too_small), warnings=tuple(warnings))
        declared = partial(_declared, loaded, job, {})
        start_s = time.perf_counter()
        hp, task, model = declared(fixed({}))
        build_s = time.perf_counter() - start_s
    if accessed:
        warnings.append(f"build reads pictures itself, e.g. {accessed[0]}: they may be test pictures")
    speed: Speed | None = None
    other_works = []
    if isinstance(model, keras.Model):
        try:
            other_works.append(_work(job, hp, task, model))
            tried = dry_run(model, hp.values, task.num_classes, job.seed, task.backbones)
        except ValueError as error:
            raise SpaceError(loaded.path, loaded.line, str(error)) from error
        warnings += tried.warnings
        if tried.predict_s > 0:
            speed = Speed(build_s, tried.predict_s, other_works[0], job.cores)
    sees_pictures = loaded.input == loading.PIXELS
    space, learns = hp.space, sees_pictures and can_learn(model)
    for corner in _corners(space, hp.values):
        try:
            corner_hp, corner_task, corner_model = declared(fixed(corner))
            other_works.append(_work(job, corner_hp, corner_task, corner_model, other_works))
        except (SpaceError, ValueError):
            continue  # a corner that does not build will be a failed trial; the file is valid
        learns = learns or (sees_pictures and can_learn(corner_model))
        space = space + [hyperparameter for hyperparameter in corner_hp.space if hyperparameter not in space]
    known = [checked_known(loaded, number, values, space) for number, values in enumerate(loaded.known)]
    if len(task.backbones) > 1:
        scan = Scan(loaded, job, job.only, task.backbones)
    works = tuple(_known_works(job, declared, known, other_works))
    other_works += _smaller_works(job, declared, space, [*other_works, *filter(None, works)])
    requests = scan.requests.values() if job.weights == "imagenet" else ()
    if requests and not scan.complete:
        warnings.append("not all configurations could be tried for backbones: the weights of some may be missing")
    return ProbeResult(
        space=tuple(space),
        known=tuple(known),
        weights_files=tuple(
            pretrained.find_weights(request.application, request.options, request.x.shape[1:], request.values)
            for request in requests
        ),
        backbones=len(scan.requests),
        known_backbones=scan.backbones_of(
            zip(known, works, strict=True) if known else [({}, next(iter(other_works), None))]
        ),
        too_small=tuple(too_small),
        learns=learns,
        gpus=tuple(device.name for device in tf.config.list_physical_devices("GPU")),
        warnings=(*warnings, *filter(None, map(preprocessing_warning, requests))),
        works=works,
        other_works=tuple(other_works),
        proposed_works=tuple(_proposed_works(job, channel, declared)),
        speed=speed,
    )


Declared = Callable[[Suggest], tuple[HyperParameters, Task, Any]]
"""Builds the family with these values; see `_declared`."""


def _known_works(
    job: ProbeJob, declared: Declared, known: Sequence[Mapping[str, Value]], earlier: Sequence[Work]
) -> Iterator[Work | None]:
    """Build the known configurations and count their work; None for those that cannot be built or come too late."""
    start_s = time.monotonic()
    for values in known:
        work = None
        if job.only is None and time.monotonic() - start_s < MAX_KNOWN_S:
            with suppress(SpaceError, ValueError):
                work = _work(job, *declared(fixed(values)), earlier)
        yield work


def _smaller_works(
    job: ProbeJob, declared: Declared, space: Sequence[Hyperparameter], works: Sequence[Work]
) -> Iterator[Work]:
    """Search for a smaller model if no build is within the limits, one hyperparameter after the other."""
    start_s, values = time.monotonic(), dict[str, Value]()
    size = attrgetter("macs" if set(job.limits) == {Limit.LATENCY} else "parameters")
    least = size(works[0]) if works else 0  # of the default configuration
    for hyperparameter in space:
        allowed = hyperparameter.finite_values() or (hyperparameter.low, hyperparameter.high)
        for value in dict.fromkeys((allowed[0], allowed[-1])):
            if not all(exceeded(job.limits, work) for work in works) or time.monotonic() - start_s > MAX_SMALLER_S:
                return
            with suppress(SpaceError, ValueError):
                work = _work(job, *declared(fixed({**values, hyperparameter.name: value})))
                works = [*works, work]
                if size(work) < least:
                    least, values[hyperparameter.name] = size(work), value
                yield work


def _proposed_works(job: ProbeJob, channel: Channel, declared: Declared) -> Iterator[Work]:
    """Build configurations that the driver's engine proposes, and count their work; at least one."""
    end_s = time.monotonic() + MAX_PROPOSED_S
    for _ in range(job.proposals):
        with suppress(SpaceError, ValueError):
            hp, task, model = declared(channel.suggest)
            yield (work := count_work(job, hp, task, model))
            channel.built(hp.values, task.weights_used, work)
        if time.monotonic() > end_s:
            return


def _work(job: ProbeJob, hp: HyperParameters, task: Task, model: Any, earlier: Sequence[Work] = ()) -> Work:
    """Count the work of a build; measure its latency if it is limited and no `earlier` build is within the limits."""
    work = count_work(job, hp, task, model)
    within = any(other.latency_ms is not None and not exceeded(job.limits, other) for other in earlier)
    if Limit.LATENCY in job.limits and not within and not exceeded(job.limits, work) and isinstance(model, keras.Model):
        work = replace(work, latency_ms=_network(job, hp, task, model).latency_ms(job.epochs))
    return work


def count_work(job: ProbeJob | LintJob, hp: HyperParameters, task: Task, model: Any) -> Work:
    """Count the computations of a model's training; a classifier has no epochs."""
    return _network(job, hp, task, model).work(job.epochs) if isinstance(model, keras.Model) else Work()


def _network(job: ProbeJob | LintJob, hp: HyperParameters, task: Task, model: keras.Model) -> Network:
    cache = None if job.features == "off" else FeatureCache(Path(job.cache), job.features, job.cores)
    return Network(
        model,
        hp.values,
        task.num_classes,
        job.seed,
        backbones=task.backbones,
        cache=cache,
        progress=lambda *_: None,
    )


def usable_sizes(
    loaded: loading.LoadedFamily, job: JobT, only: Mapping[str, Value] | None = None
) -> tuple[Scan, JobT, dict[int, str]]:
    """Find the backbones, and leave out the input sizes that they cannot be built for.

    Returns:
        The scan and the job without these sizes, and a reason for each of them.
    """
    scan = Scan(loaded, job, only)
    too_small = scan.too_small()
    if too_small:
        job = replace(job, input_sizes=tuple(size for size in job.input_sizes if size not in too_small))
        scan = Scan(loaded, job, only) if job.input_sizes else scan
    return scan, job, too_small


def size_warnings(too_small: Mapping[int, str]) -> Iterator[str]:
    for reason in dict.fromkeys(too_small.values()):
        sizes = [str(size) for size in too_small if too_small[size] == reason]
        yield f"input {'size' if len(sizes) == 1 else 'sizes'} {', '.join(sizes)} left out, {reason}"


def _corners(space: Sequence[Hyperparameter], values: Mapping[str, Value]) -> list[dict[str, Value]]:
    """Find values that activate the inactive hyperparameters in few builds, as each may take a second."""
    corners: list[dict[str, Value]] = []
    for hyperparameter in space:
        if hyperparameter.is_active(values):
            continue
        parents = {parent: allowed[0] for parent, allowed in hyperparameter.conditions}
        for corner in corners:
            if all(corner.get(name, value) == value for name, value in parents.items()):
                corner.update(parents)
                break
        else:
            corners.append(parents)
    return corners


def _declared(
    loaded: loading.LoadedFamily, job: FamilyJob, built: BuiltBackbones, suggest: Suggest
) -> tuple[HyperParameters, Task, Any]:
    """Build once with these values, reusing backbones; SpaceError if the model cannot be trained."""
    task = ReusingTask(job.class_names, job.input_sizes, built, job.unbalanced)
    hp = HyperParameters(suggest)
    return hp, task, checked_model(loaded, hp, task)


def checked_model(loaded: loading.LoadedFamily, hp: HyperParameters, task: Task) -> Any:
    """Build a model; SpaceError if that fails, or if the model cannot be trained."""
    try:
        model = loaded.model(hp, task)
    except Exception as error:
        raise _build_error(loaded, error) from error
    try:
        declarations.check_choices(hp.space)
        if isinstance(model, keras.Model):
            if loaded.input != loading.PIXELS:
                raise WrongModel(
                    f"{loading.INPUT} = {loaded.input!r} needs a scikit-learn classifier, not a Keras model"
                )
            check_model(model, task.num_classes)
            Objective.of(model)
            nested = any(isinstance(layer, keras.Model) for layer in model.layers)
            if "head_epochs" in [hyperparameter.name for hyperparameter in hp.space] and not nested:
                raise WrongModel("head_epochs is declared, but there is no backbone to freeze: use task.backbone")
        elif any(cls.__module__.split(".")[0] in KERAS_2 for cls in type(model).__mro__):
            raise WrongModel(f"build returned a model of Keras 2: {KERAS_3_NEEDED}")
        elif not (hasattr(model, "fit") and hasattr(model, "predict_proba")):
            raise WrongModel(
                f"build returned {type(model).__name__}: must be a Keras model or a scikit-learn classifier"
                " with predict_proba"
            )
        elif "class_weight" in hp.values:
            weight_argument(model)
    except ValueError as error:
        raise SpaceError(loaded.path, loaded.line, str(error)) from error
    return model


def _build_error(loaded: loading.LoadedFamily, error: Exception) -> SpaceError:
    """Describe an exception from `build` in one line; if a library of Keras 2 raised it, say so."""
    space_error = loading.space_error(loaded.path, error, loaded.line)
    for frame, _ in traceback.walk_tb(error.__traceback__):
        library = str(frame.f_globals.get("__name__")).split(".")[0]
        if library in KERAS_2:
            return SpaceError(
                space_error.path, space_error.line, f"a layer of {library} is one of Keras 2: {KERAS_3_NEEDED}"
            )
    return space_error


@contextmanager
def recording_picture_access(space_folder: Path) -> Iterator[list[str]]:
    """Record the picture files that are opened meanwhile, and the folders with pictures that are listed.

    Installed packages and the folder of the search-space files are ignored; the suite itself lists the latter.
    """
    accessed: list[str] = []
    enabled = True

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal enabled
        if not enabled or event not in ("open", "os.listdir", "os.scandir") or not isinstance(arguments[0], str):
            return
        enabled, path = False, Path(arguments[0])  # ignores the hook's own access
        if path != space_folder and not path.is_relative_to(sys.prefix) and _has_pictures(path):
            accessed.append(str(path))
        enabled = True

    sys.addaudithook(hook)  # it cannot be removed
    try:
        yield accessed
    finally:
        enabled = False


def _has_pictures(path: Path) -> bool:
    try:
        return any(file.suffix.lower() in SUFFIXES for file in (path.iterdir() if path.is_dir() else [path]))
    except OSError:
        return False


def checked_known(
    loaded: loading.LoadedFamily, number: int, values: Mapping[str, Value], space: list[Hyperparameter]
) -> dict[str, Value]:
    """Check a known configuration against the declared space.

    `input_size` becomes the nearest size that suits the data, so that a file can be used for small and large pictures.
    """
    checked: dict[str, Value] = {}
    line = loading.line_of(loaded.path, loading.KNOWN)
    for name, value in values.items():
        namesakes = [hyperparameter for hyperparameter in space if hyperparameter.name == name]
        if not namesakes:
            message = str(unknown("hyperparameter", name, [hyperparameter.name for hyperparameter in space]))
            raise SpaceError(loaded.path, line, f"configuration {number}: {message}")
        if name == "input_size" and namesakes[0].kind == "Choice" and isinstance(value, int):
            preferred = value
            value = min((int(size or 0) for size in namesakes[0].values), key=lambda size: abs(size - preferred))
        if namesakes[0].kind == "Float" and isinstance(value, int) and not isinstance(value, bool):
            value = float(value)
        if not any(hyperparameter.accepts(value) for hyperparameter in namesakes):
            message = f"configuration {number}: {name}={value!r} is outside {namesakes[0].describe()}"
            raise SpaceError(loaded.path, line, message)
        checked[name] = value
    return checked


def check_weights(job: WeightsJob, channel: Channel) -> WeightsFile:
    """Check a downloaded weights file again; see `pretrained.find_weights`."""
    loaded = loading.load(Path(job.path))
    key, values = job.file.backbone, job.file.values
    request = Scan(loaded, job, values).requests.get(key)
    if request is None:  # not the first backbone of its family
        _, task, _ = _declared(loaded, job, {}, fixed(values))
        request = Scan(loaded, job, values, task.backbones).requests[key]
    return pretrained.find_weights(request.application, request.options, request.x.shape[1:], request.values)
